# SPDX-License-Identifier: GPL-2.0-or-later
"""virt-install makes a machine with its own defaults, except for the bridge: all it chooses is taken, and boots."""

import os
import re

import pytest

from kv_stock import CMDLINE, GUEST, HOST, VirshConsole
from lablib.talk import PATIENCE, Terminal


@pytest.fixture(scope="module")
def installed(daemon, stock):
    """virt-install on a terminal, told of a kernel, a bridge and the system's name, which it insists on."""
    program = Terminal(["virt-install", "--connect", daemon.uri(), "--import", "--name", "vi1", "--memory", "384",
                        "--noautoconsole", "--osinfo", "debian11", "--disk", f"path={stock.disk()}", "--network", f"bridge={stock.bridge}",
                        "--boot", f"kernel={stock.kernel},initrd={stock.initrd},kernel_args={CMDLINE}"],
                       "virt-install", env={name: value for name, value in os.environ.items() if name != "DISPLAY"})
    try:
        status = program.wait(2 * PATIENCE)  # it loads much
        said = program.output.decode()
    finally:
        program.end()
    assert status == 0, said
    assert "Domain creation completed" in said
    connection = daemon.connect()
    domain = connection.lookupByName("vi1")
    yield domain
    if domain.isActive():
        domain.destroy()
    domain.undefine()
    connection.close()


@pytest.mark.usefixtures("installed")
def test_it_has_the_screen_and_the_tablet_that_virt_install_chose(daemon, tmp_path):
    assert re.match(r"127\.0\.0\.1:\d+$", daemon.virsh("vncdisplay", "vi1").strip())
    daemon.virsh("screenshot", "vi1", str(tmp_path / "shot"))
    assert (tmp_path / "shot").read_bytes().startswith(b"\x89PNG")
    assert "<input type='tablet' bus='usb'>" in daemon.virsh("dumpxml", "vi1")


def test_a_machine_that_virt_install_made_boots_from_its_disk_and_reaches_its_host(daemon, installed):
    assert (installed.isActive(), installed.isPersistent(), installed.maxVcpus()) == (1, 1, 2)
    console = VirshConsole(daemon, "console", "vi1").connected()
    try:
        console.send("\n")
        assert console.shell("grep ' / ext' /proc/mounts").startswith("/dev/vda / ext4 rw")
        console.shell(f"ifconfig eth0 {GUEST}; ping -c 1 -w 20 {HOST}")
        assert "org.qemu.guest_agent.0" in console.shell("cat /sys/class/virtio-ports/*/name")
        assert "0x0c0330" in console.shell("cat /sys/bus/pci/devices/*/class")  # xHCI, the tablet's
        assert "virtio_rng" in console.shell("cat /sys/class/misc/hw_random/rng_available")
        daemon.virsh("shutdown", "vi1")
        console.expect("reboot: Power down")
        assert console.wait() == 0
    finally:
        console.end()
