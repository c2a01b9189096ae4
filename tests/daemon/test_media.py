# SPDX-License-Identifier: GPL-2.0-or-later
"""Media of CD-ROMs: changed while the machine runs, by the host and by its guest, and missing at the start."""
import os
import re

import libvirt
import pytest

from kv_daemon import Console, Refused, domain_xml, wait_for

LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
FORCE = libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE
TRAY = libvirt.VIR_DOMAIN_EVENT_ID_TRAY_CHANGE
DISK_CHANGE = libvirt.VIR_DOMAIN_EVENT_ID_DISK_CHANGE
pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")


def drive(path, target="sda", bus="scsi", kind="cdrom", policy=None, more=""):
    policy = f" startupPolicy='{policy}'" if policy else ""
    source = f"<source file='{path}'{policy}/>" if path else ""
    return (f"<disk type='file' device='{kind}'><driver name='qemu' type='raw'/>{source}"
            f"<target dev='{target}' bus='{bus}'/>{more}</disk>")


@pytest.fixture
def medium(daemon):
    def make(byte):
        path = os.path.join(daemon.folder, f"cd-{byte:x}")
        with open(path, "wb") as f:
            f.write(bytes([byte]) * 65536)
        return path
    return make


@pytest.fixture
def machine(conn):
    def start(devices, name="media"):
        domain = conn.defineXML(domain_xml(name, guest="tray", devices=devices))
        domain.create()
        console = Console(domain)
        console.expect(b"ready")
        return domain, console
    return start


def sources(domain, flags=0):
    return re.findall(r"<source file='([^']*)'", domain.XMLDesc(flags))


def told(console, letter, answer):
    console.say(letter)
    console.expect(answer)


def test_virsh_changes_a_medium_and_the_guest_reads_the_new_one(daemon, machine, medium):
    domain, console = machine(drive(medium(0x11)))
    told(console, b"r", b"= 0 0 11")
    daemon.virsh("change-media", "media", "sda", medium(0x22), "--update", "--live")
    assert sources(domain) == [medium(0x22)] and sources(domain, libvirt.VIR_DOMAIN_XML_INACTIVE) == [medium(0x11)]
    told(console, b"r", b"= 0 0 22")
    daemon.virsh("change-media", "media", "sda", "--eject", "--live", "--config")
    assert sources(domain) == sources(domain, libvirt.VIR_DOMAIN_XML_INACTIVE) == []
    told(console, b"r", b"= 2 23a01")
    assert "already has media" not in daemon.virsh("change-media", "media", "sda", medium(0x33), "--insert")
    told(console, b"r", b"= 0 0 33")
    assert sources(domain) == [medium(0x33)] and sources(domain, libvirt.VIR_DOMAIN_XML_INACTIVE) == []
    # As virDomainAttachDevice has it.
    domain.attachDeviceFlags(drive(medium(0x44)), LIVE)
    told(console, b"r", b"= 0 0 44")
    assert domain.blockInfo("sda")[0] == 65536
    assert daemon.virsh("qemu-monitor-command", "media", '{"execute":"query-fdsets"}').count("opaque") == 1


def test_what_cannot_be_inserted_leaves_the_old_medium_in(machine, medium, daemon):
    domain, console = machine(drive(medium(0x11)))
    for bad, words in ((drive("/nowhere/cd"), "Could not open '/nowhere/cd'"),
                       (drive(medium(0x22)).replace("type='raw'", "type='qcow2'"), "")):
        with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, words):
            domain.updateDeviceFlags(bad, LIVE | CONFIG)
        assert sources(domain) == sources(domain, libvirt.VIR_DOMAIN_XML_INACTIVE) == [medium(0x11)]
        assert "tray=" not in domain.XMLDesc()
        told(console, b"r", b"= 0 0 11")


def test_a_locked_tray_is_respected_unless_forced(machine, medium):
    domain, console = machine(drive(medium(0x11)))
    told(console, b"l", b"= 0 0")
    with Refused(libvirt.VIR_ERR_OPERATION_FAILED, "timed out waiting to open tray of 'sda'"):
        domain.updateDeviceFlags(drive(None), LIVE)
    told(console, b"r", b"= 0 0 11")
    domain.updateDeviceFlags(drive(medium(0x22)), LIVE | FORCE)
    told(console, b"r", b"= 0 0 22")


def test_the_guest_moves_its_tray_and_clients_see_it(conn, machine, medium):
    seen = []
    handle = conn.domainEventRegisterAny(None, TRAY, lambda _c, d, alias, why, _o: seen.append((d.name(), alias, why)), None)
    domain, console = machine(drive(medium(0x11)))
    told(console, b"o", b"= 0 0")
    wait_for(lambda: "<target dev='sda' bus='scsi' tray='open'/>" in domain.XMLDesc(), "the open tray in the document")
    assert "tray=" not in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    told(console, b"c", b"= 0 0")
    wait_for(lambda: "tray=" not in domain.XMLDesc(), "the closed tray in the document")
    wait_for(lambda: len(seen) == 2, "both events")
    assert seen == [("media", "scsi0-0-0-0", libvirt.VIR_DOMAIN_EVENT_TRAY_CHANGE_OPEN),
                    ("media", "scsi0-0-0-0", libvirt.VIR_DOMAIN_EVENT_TRAY_CHANGE_CLOSE)]
    conn.domainEventDeregisterAny(handle)


def test_what_else_a_running_disk_has_stays(machine, medium):
    domain, _ = machine(drive(medium(0x11)) + drive(medium(0x22), "sdb", "sata") + drive(medium(0x33), "vda", "virtio", "disk"))
    for xml, code, words in (
            (drive(medium(0x11), more="<serial>x</serial>"), libvirt.VIR_ERR_OPERATION_UNSUPPORTED, "field 'serial'"),
            (drive(medium(0x44), "vda", "virtio", "disk"), libvirt.VIR_ERR_INTERNAL_ERROR, "only in removable drives"),
            (drive(medium(0x44), "sdx"), libvirt.VIR_ERR_INTERNAL_ERROR, "disk 'sdx' not found"),
            ("<memballoon model='virtio'/>", libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
             "live update of device 'memballoon' is not supported")):
        with Refused(code, words):
            domain.updateDeviceFlags(xml, LIVE)
    with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "No device with bus 'scsi' and target 'sdx'"):
        domain.attachDevice(drive(medium(0x44), "sdx"))
    domain.updateDeviceFlags(drive(medium(0x11), policy="optional"), LIVE)
    assert "startupPolicy='optional'" in domain.XMLDesc()
    domain.updateDeviceFlags(drive(medium(0x44), "sdb", "sata"), LIVE)
    assert medium(0x44) in sources(domain)


def test_a_missing_source_is_what_its_policy_says(conn, machine, medium):
    seen = []
    handle = conn.domainEventRegisterAny(
        None, DISK_CHANGE, lambda _c, d, old, new, alias, why, _o: seen.append((old, new, alias, why)), None)
    domain, _ = machine(drive("/nowhere/cd", policy="optional") + drive("/nowhere/disk", "vda", "virtio", "disk", "optional"))
    live = domain.XMLDesc()
    assert "nowhere" not in live and "dev='sda'" in live and "dev='vda'" not in live
    assert len(sources(domain, libvirt.VIR_DOMAIN_XML_INACTIVE)) == 2
    wait_for(lambda: len(seen) == 2, "both events")
    assert set(seen) == {("/nowhere/cd", None, "scsi0-0-0-0", libvirt.VIR_DOMAIN_EVENT_DISK_CHANGE_MISSING_ON_START),
                         ("/nowhere/disk", None, "virtio-disk0", libvirt.VIR_DOMAIN_EVENT_DISK_DROP_MISSING_ON_START)}
    conn.domainEventDeregisterAny(handle)
    for policy in ("requisite", "mandatory"):
        other = conn.defineXML(domain_xml(policy, devices=drive("/nowhere/cd", policy=policy)))
        with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "/nowhere/cd"):
            other.create()
