# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces of domains whose other end is another process: its guest (tests/guest/net.c) sends and receives."""
import os
import re
import signal
import sys

import libvirt
import pytest

from kv_daemon import TOP, Console, Refused, domain_xml, wait_for

sys.path += [f"{TOP}/tests/disks", f"{TOP}/tests/nics"]
from kv_nics import switch  # noqa: E402  pylint: disable=wrong-import-position

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")


def vhost_user(path, mode, more="", inside=""):
    return (f"<interface type='vhostuser'><source type='unix' path='{path}' mode='{mode}'>{inside}</source>"
            f"<model type='virtio'/>{more}</interface>")


def exchange(console, byte):
    console.say(b"t 3c %x\n" % byte)
    console.expect(b"= 0")
    console.say(b"r\n")
    console.expect(b"= 3c %x 0" % byte)


@pytest.mark.parametrize("mode", ["client", "server"])
def test_a_vhost_user_interface_outlives_its_switch(daemon, conn, mode):
    folder, path = daemon.folder, f"{daemon.folder}/vu"
    domain = conn.defineXML(domain_xml("one", "net", devices=vhost_user(path, mode)))
    assert f"<source type='unix' path='{path}' mode='{mode}'/>" in domain.XMLDesc()
    with switch(folder, path, client=mode == "server"):
        domain.create()
        console = Console(domain)
        console.expect(b"= status f")
        exchange(console, 0x11)
    with switch(folder, path, client=mode == "server"):
        exchange(console, 0x22)
        console.close()
        domain.destroy()
    assert not os.path.exists(path)


def test_what_vhost_user_cannot_do_is_refused(daemon, conn):
    path = f"{daemon.folder}/nobody"
    with Refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, "'reconnect' attribute unsupported 'server' mode"):
        conn.defineXML(domain_xml("one", devices=vhost_user(path, "server", inside="<reconnect enabled='yes'/>")))
    limited = vhost_user(path, "client", "<bandwidth><inbound average='10'/></bandwidth>")
    with Refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, "the switch's to limit"):
        conn.createXML(domain_xml("one", devices=limited))
    with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, f"vhost-user socket '{path}': No such file"):
        conn.createXML(domain_xml("one", devices=vhost_user(path, "client")))
    assert conn.listAllDomains() == [] and wait_for(lambda: not daemon.monitors(), "no monitor")


@pytest.mark.skipif(not os.path.exists("/usr/lib/ipxe/qemu/pxe-virtio.rom"), reason="no ipxe-qemu")
@pytest.mark.parametrize("rom,said", [("", b"iPXE (http://ipxe.org)"), ("<rom enabled='no'/>", b"No bootable device")])
def test_a_bios_boots_from_an_interface_by_ipxe(daemon, conn, rom, said):
    path = f"{daemon.folder}/vu"
    devices = vhost_user(path, "client", f"<boot order='1'/>{rom}")
    document = re.sub("<kernel>.*</kernel>", "", domain_xml("one", devices=devices))
    with switch(daemon.folder, path):
        domain = conn.createXML(document)
        console = Console(domain)
        console.expect(said)
        console.close()
        domain.destroy()


def passt_of(daemon):
    """The processes of that name that the daemon started."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", encoding="ascii") as f:
                comm, rest = f.read().rsplit(")", 1)
        except OSError:
            continue
        if "(passt" in comm and int(rest.split()[1]) == daemon.process.pid and rest.split()[0] != "Z":
            found.append(int(entry))
    return found


def test_a_passt_that_dies_is_noticed_by_guest_and_daemon(daemon, conn):
    nic = "<interface type='user'><backend type='passt'/><model type='virtio'/></interface>"
    domain = conn.createXML(domain_xml("one", "net", devices=nic))
    console = Console(domain)
    console.expect(b"= status f")
    console.say(b"l\n")
    console.expect(b"= 1")
    (passt,) = passt_of(daemon)
    os.kill(passt, signal.SIGKILL)

    def link_is_down():
        console.say(b"l\n")
        console.expect(b"= ")
        while len(console.text) < 1:
            console.text += console.stream.recv(16)
        return console.text[:1] == b"0"
    wait_for(link_is_down, "the link to go down")
    wait_for(lambda: "passt ended" in daemon.log(), "the daemon's word")
    assert domain.isActive()
