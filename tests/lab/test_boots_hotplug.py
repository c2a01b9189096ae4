# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that come to a running machine with a stock kernel and leave it: what its user sees in the guest."""

import re

import libvirt
import pytest

from kv_daemon import wait_for
from kv_stock import StreamConsole

LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
MAC = "52:54:00:aa:bb:cc"


@pytest.fixture(scope="module")
def machine(daemon, stock):
    connection = daemon.connect()
    domain = connection.createXML(stock.xml("plug"))
    console = StreamConsole(domain)
    console.shell("true")
    yield domain, console
    console.end()
    domain.destroy()
    connection.close()


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "second.raw"
    with open(path, "wb") as f:
        f.write(b"KVASIR" * 1000)
        f.truncate(8 << 20)
    return path


def within(console, command):
    """Until it succeeds in the guest; a minute."""
    console.shell(f"for i in $(seq 600); do {command} && break; sleep 0.1; done; {command}")


def test_a_disk_comes_is_read_and_leaves(daemon, machine, image):
    domain, console = machine
    daemon.virsh("attach-disk", "plug", image, "vdb", "--live")
    within(console, "test -b /dev/vdb")
    assert "KVASIR" in console.shell("head -c 12 /dev/vdb; echo")
    assert "16384" in console.shell("cat /sys/block/vdb/size")
    daemon.virsh("detach-disk", "plug", "vdb", "--live")
    within(console, "test ! -e /dev/vdb")
    wait_for(lambda: "vdb" not in domain.XMLDesc(), "the disk to be gone")


def test_an_interface_comes_carries_frames_and_leaves(daemon, machine, stock):
    domain, console = machine
    daemon.virsh("attach-interface", "plug", "bridge", stock.bridge, "--mac", MAC, "--model", "virtio", "--live")
    within(console, "test -e /sys/class/net/eth1")
    assert MAC in console.shell("cat /sys/class/net/eth1/address")
    console.shell("ip link set eth1 up")
    within(console, "grep -q 1 /sys/class/net/eth1/carrier")
    daemon.virsh("domif-setlink", "plug", MAC, "down")
    within(console, "grep -q 0 /sys/class/net/eth1/carrier")
    taps = re.findall(r"<target dev='(vnet\d+)'/>", domain.XMLDesc())
    assert len(taps) == 2
    daemon.virsh("detach-interface", "plug", "bridge", "--mac", MAC, "--live")
    within(console, "test ! -e /sys/class/net/eth1")
    wait_for(lambda: MAC not in domain.XMLDesc(), "the interface to be gone")
