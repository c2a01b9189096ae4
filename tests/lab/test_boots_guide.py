# SPDX-License-Identifier: GPL-2.0-or-later
"""The guide's machine (test_daemon_guide.py) boots as it says: by BIOS and GRUB, from a disk with an installed Debian."""

import os
import re
import shutil
import subprocess

import pytest

from kv_daemon import wait_for
from kv_stock import StreamConsole
from test_boots_debian import LONG, PATIENCE, debian_disk
from test_daemon_guide import DISK, run, system  # noqa: F401  pylint: disable=unused-import
from vnc_viewer import read_png, read_text

pytestmark = LONG
CONSOLES = "<serial type='pty'/><graphics type='vnc'/></devices>"


@pytest.fixture
def create(system, stock, build, scratch):  # noqa: F811  pylint: disable=redefined-outer-name
    """create(changes=None): runs the guide's program with these; its machine, which boots."""
    os.makedirs(os.path.dirname(DISK), exist_ok=True)
    os.symlink(debian_disk(build, scratch), DISK)

    def create_machine(changes=None):
        run("1_create_vm.py", stock, "/usr/bin/python3", changes)
        return system.lookupByName("my_vm")
    yield create_machine
    for domain in system.listAllDomains():
        domain.destroy()
    shutil.rmtree(os.path.dirname(DISK))


def screenshot(domain):
    """Its picture."""
    stream, parts = domain.connect().newStream(), []
    domain.screenshot(stream, 0)
    stream.recvAll(lambda _, data, parts: parts.append(data), parts)
    stream.finish()
    return read_png(b"".join(parts))


def link_local(mac):
    """The IPv6 address that a system gives itself (RFC 4291, appendix A)."""
    a, *middle, f = bytes.fromhex(mac.replace(":", ""))
    b, c, d, e = middle
    return f"fe80::{a ^ 2:02x}{b:02x}:{c:02x}ff:fe{d:02x}:{e:02x}{f:02x}"


def test_the_guides_machine_boots_and_answers_on_its_bridge(create, stock):
    """It has neither a serial port nor a screen."""
    mac = re.search(r"<mac address='(.*)'/>", create().XMLDesc())[1]
    ping = ["ping", "-c", "1", "-w", "2", f"{link_local(mac)}%{stock.bridge}"]
    wait_for(lambda: subprocess.run(ping, stdout=subprocess.DEVNULL, check=False).returncode == 0, "an answer", PATIENCE)


def test_with_a_serial_port_and_a_screen_both_show_its_login(create):
    machine = create({"</devices>": CONSOLES})
    console = StreamConsole(machine)
    try:
        console.expect("Booting `Debian GNU/Linux'", PATIENCE)
        console.expect("debian login: ", PATIENCE)
        wait_for(lambda: "debian login: " in read_text(screenshot(machine)), "the login on the screen", PATIENCE)
    finally:
        console.end()
