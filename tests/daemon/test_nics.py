# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces of domains whose other end is another process: its guest (tests/guest/net.c) sends and receives."""
import os
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
