# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls that newer clients have better ones for, and programs still make; and what is asked of machines without it."""
import os

import libvirt
import pytest

from kv_daemon import EventLoop, Refused, domain_xml, wait_for

needs_kvm = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")
DISK = "<disk type='file' device='disk'><source file='/x'/><target dev='vdq' bus='virtio'/></disk>"


def test_names_and_numbers_of_things_agree(conn):
    assert conn.isSecure() == 1
    assert len(conn.listInterfaces()) == conn.numOfInterfaces() and "lo" in conn.listInterfaces()
    assert len(conn.listDefinedInterfaces()) == conn.numOfDefinedInterfaces()
    assert conn.listSecrets() == [] and conn.numOfSecrets() == 0
    secret = conn.secretDefineXML("<secret ephemeral='no' private='no'><description>one</description></secret>")
    assert conn.listSecrets() == [secret.UUIDString()] and conn.numOfSecrets() == 1
    assert len(conn.listDevices(None)) == conn.numOfDevices(None) > 0
    computer = conn.nodeDeviceLookupByName("computer")
    assert computer.listCaps() == ["system"] and computer.numOfCaps() == 1
    with Refused(libvirt.VIR_ERR_NO_NODE_DEVICE, "no SCSI host with WWNN '1' and WWPN '2'"):
        conn.nodeDeviceLookupSCSIHostByWWN("1", "2", 0)


@pytest.mark.parametrize("kind", ["network", "nodeDevice", "secret", "storagePool"])
def test_events_of_a_kind_are_asked_for_and_not_any_more(conn, kind):
    EventLoop.start()
    number = getattr(conn, f"{kind}EventRegisterAny")(None, 0, lambda *_: None, None)
    assert getattr(conn, f"{kind}EventDeregisterAny")(number) is None
    with pytest.raises(libvirt.libvirtError):
        getattr(conn, f"{kind}EventDeregisterAny")(number)


def test_events_of_domains_without_a_kind_are_their_lives(conn):
    EventLoop.start()
    seen = []

    def note(_, domain, event, detail, __):
        seen.append((domain.name(), event, detail))
    conn.domainEventRegister(note, None)
    domain = conn.defineXML(domain_xml("a"))
    wait_for(lambda: seen, "the event")
    conn.domainEventDeregister(note)
    domain.undefine()
    conn.getLibVersion()  # what the daemon sent before is here now
    assert seen == [("a", libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_ADDED)]


@needs_kvm
def test_machines_are_started_with_descriptors(conn):
    ours, its = os.pipe()
    try:
        domain = conn.defineXML(domain_xml("a"))
        assert domain.createWithFiles([ours, its], 0) == 0
        assert domain.isActive()
        other = conn.createXMLWithFiles(domain_xml("b"), [ours], 0)
        assert other.isActive() and not other.isPersistent()
    finally:
        os.close(ours)
        os.close(its)
        for name in ("a", "b"):
            conn.lookupByName(name).destroy()


@needs_kvm
def test_what_a_machine_does_not_have_is_told(conn):
    domain = conn.defineXML(domain_xml("a"))
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"):
        domain.detachDevice(DISK)
    assert domain.managedSaveRemove(0) == 0
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "does not have managed save image"):
        domain.managedSaveDefineXML("<x/>")
    assert domain.snapshotListNames() == []
    domain.create()
    try:
        with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "no job is active"):
            domain.abortJobFlags(0)
        with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "cannot find channel no"):
            domain.openChannel("no", conn.newStream(), 0)
        with Refused(libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, "guest agent is not configured"):
            domain.setTime({"seconds": 1})
    finally:
        domain.destroy()
