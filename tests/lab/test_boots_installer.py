# SPDX-License-Identifier: GPL-2.0-or-later
"""virt-install with Debian's netboot installer on a CD-ROM reaches the installer's first screen."""

import os
import subprocess
import time

import pytest

from conftest import guest_tool
from lablib.talk import Terminal
from test_boots_debian import LONG, PATIENCE
from test_boots_guide import screenshot
from test_daemon_guide import system  # noqa: F401  pylint: disable=unused-import
from vnc_viewer import read_text, unifont

pytestmark = LONG
GLANCE = 10  # seconds between two; reading takes seconds of an emulated host
IMAGES = "/var/lib/libvirt/images"


@pytest.fixture
def images():
    """Where virt-install puts a disk of 20 GiB, and first asks whether there is room."""
    os.makedirs(IMAGES, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24G", "images", IMAGES], check=True)
    yield
    subprocess.run(["umount", IMAGES], check=True)


@pytest.fixture
def virt_install(system, stock, images):  # noqa: F811  pylint: disable=redefined-outer-name,unused-argument
    """The program at a terminal without a screen: it makes the machine and waits for the installation's end."""
    program = Terminal(["virt-install", "--cdrom", guest_tool("installer"), "--network", f"bridge={stock.bridge}"],
                       "virt-install", env={name: value for name, value in os.environ.items() if name != "DISPLAY"})
    yield program
    program.end()
    for domain in system.listAllDomains():
        domain.destroy()
        domain.undefine()


def test_virt_installs_defaults_show_the_installers_first_screen(virt_install, system):  # noqa: F811  pylint: disable=redefined-outer-name
    virt_install.expect("Waiting for the installation to complete", PATIENCE)
    machine, = system.listAllDomains()
    xml = machine.XMLDesc()
    assert "<boot dev='cdrom'/>" in xml and "bus='sata'" in xml and "<graphics type='vnc'" in xml
    deadline, font, seen = time.monotonic() + PATIENCE, unifont(), ""
    while "[!!] Select a language" not in seen:
        assert time.monotonic() < deadline, seen
        time.sleep(GLANCE)
        seen = read_text(screenshot(machine), known=font)
