# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks and CD-ROMs at controllers: where they are, that machines boot from them, what is told of them."""
import os
import re

import libvirt
import pytest

from boot_disk import BootDisk
from kv_daemon import Console, Refused, domain_xml, wait_for

LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")

BIOS_MACHINE = """<domain type='kvm'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os><features><acpi/></features>
<devices>{devices}<serial type='pty'/></devices></domain>"""


def drive(path, target, bus, kind="disk", more=""):
    source = f"<source file='{path}'/>" if path else ""
    return (f"<disk type='file' device='{kind}'><driver name='qemu' type='raw'/>{source}"
            f"<target dev='{target}' bus='{bus}'/>{more}</disk>")


@pytest.fixture
def image(daemon):
    def make(name, size=1 << 20):
        path = os.path.join(daemon.folder, name)
        with open(path, "wb") as f:
            f.truncate(size)
        os.chmod(path, 0o666)
        return path
    return make


def test_a_machine_boots_from_a_lun_of_scsi_and_its_reads_are_counted(daemon, conn):
    disk = BootDisk(os.path.dirname(daemon.program), daemon.folder, "s", "a LUN")
    place = "<address type='drive' controller='0' bus='0' target='2' unit='3'/>"
    other = BootDisk(os.path.dirname(daemon.program), daemon.folder, "o", "another LUN")
    devices = drive(other.path, "sdb", "scsi", more="<boot order='2'/>") + drive(
        disk.path, "sda", "scsi", more=place + "<boot order='1'/>")
    domain = conn.createXML(BIOS_MACHINE.format(name="luns", devices=devices).replace("<boot dev='hd'/>", ""),
                            libvirt.VIR_DOMAIN_START_PAUSED)
    console = Console(domain)
    reads = domain.blockStats("sda")[0]
    assert reads == 0 and domain.blockInfo("sdb")[0] == os.path.getsize(other.path)
    domain.resume()
    console.expect(b"boot sector of s: a LUN")
    wait_for(lambda: disk.runs() == 1, "the boot sector's note")
    console.close()
    assert other.runs() == 0


def test_scsi_disks_have_aliases_limits_and_a_controller(daemon, conn, image):
    devices = drive(image("one"), "sda", "scsi", more="<iotune><total_iops_sec>500</total_iops_sec></iotune>") + drive(
        None, "sdb", "scsi", "cdrom") + drive(image("two"), "sdq", "scsi")
    devices += "<controller type='scsi' index='0' model='virtio-scsi'><driver cmd_per_lun='16' max_sectors='256'/></controller>"
    domain = conn.defineXML(domain_xml("scsi", devices=devices))
    domain.create()
    live = domain.XMLDesc()
    assert re.findall(r"alias name='(scsi[^']*)'", live) == ["scsi0-0-0-0", "scsi0-0-0-1", "scsi1-0-0-1", "scsi0", "scsi1"]
    assert domain.blockIoTune("sda")["total_iops_sec"] == 500
    domain.setBlockIoTune("sda", {"read_bytes_sec": 1 << 20}, LIVE)
    assert domain.blockIoTune("sda", LIVE)["read_bytes_sec"] == 1 << 20
    assert "block.2.name" in conn.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_BLOCK)[0][1]
    assert "sdb" in daemon.virsh("domblklist", "scsi")
    domain.destroy()
    with Refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, "'8': a SCSI controller has 1"):
        conn.defineXML(domain_xml("queues", devices="<controller type='scsi'><driver queues='8'/></controller>"))


def test_a_machine_boots_from_a_namespace_of_nvme(daemon, conn):
    disk = BootDisk(os.path.dirname(daemon.program), daemon.folder, "n", "a namespace")
    domain = conn.defineXML(BIOS_MACHINE.format(name="namespaces", devices=drive(
        disk.path, "nvme0n2", "nvme") + "<controller type='nvme' index='0'><serial>ours</serial></controller>"))
    text = domain.XMLDesc()
    assert "<address type='drive' controller='0' bus='0' target='0' unit='1'/>" in text and "<serial>ours</serial>" in text
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    assert "<alias name='nvme0-0-1'/>" in domain.XMLDesc() and "<alias name='nvme0'/>" in domain.XMLDesc()
    console = Console(domain)
    domain.resume()
    console.expect(b"boot sector of n: a namespace")
    wait_for(lambda: disk.runs() == 1, "the boot sector's note")
    console.close()


def test_capabilities_name_the_buses(conn):
    caps = conn.getDomainCapabilities()
    bus = re.search(r"<enum name='bus'>(.*?)</enum>", caps, re.S).group(1)
    assert set(re.findall("<value>(.*?)</value>", bus)) == {"virtio", "sata", "scsi", "nvme"}
