# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guide to KVM has its readers do: with virsh and Python as they are, and every step's answer."""
import os
import re
import subprocess
import time

import libvirt
import pytest

from boot_disk import BootDisk
from kv_daemon import Console, domain_xml

needs_kvm = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")

CONNECTION_FACTS = """
import sys
import libvirt
conn = libvirt.open(sys.argv[1])
if conn is None:
    sys.exit(1)
print('alive:', conn.isAlive())
print('type:', conn.getType())
print('version:', conn.getVersion())
conn.close()
"""

# Units and defaults as a guide writes them.
MACHINE = """
<domain type='kvm'>
  <name>my_vm</name>
  <memory unit='MB'>128</memory>
  <vcpu placement='static'>2</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{disk}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <console type='pty'/>
  </devices>
</domain>
"""


def test_facts_of_a_connection(daemon):
    told = subprocess.run(["/usr/bin/python3", "-c", CONNECTION_FACTS, daemon.uri()], stdout=subprocess.PIPE,
                          text=True, timeout=60, check=True).stdout
    assert re.fullmatch(r"alive: 1\ntype: QEMU\nversion: \d{7,}\n", told), told


@needs_kvm
def test_a_machine_created_from_python_boots_its_disk_by_the_bios(daemon, conn):
    build = os.path.dirname(daemon.program)
    disk, image = BootDisk(build, daemon.folder, "g", "a guide's machine"), os.path.join(daemon.folder, "disk.qcow2")
    subprocess.run([os.path.join(build, "kvasir-img"), "convert", "-O", "qcow2", disk.path, image],
                   stdout=subprocess.DEVNULL, timeout=60, check=True)
    os.chmod(image, 0o666)
    domain = conn.createXML(MACHINE.format(disk=image), libvirt.VIR_DOMAIN_START_PAUSED)
    assert domain.name() == "my_vm"
    assert domain.isActive() == 1
    assert domain.maxMemory() == 125000
    assert domain.maxVcpus() == 2
    console = Console(domain)
    domain.resume()
    console.expect(b"boot sector of g: a guide's machine map acpi")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and conn.listAllDomains():
        time.sleep(0.1)
    assert conn.listAllDomains() == []  # it switched itself off, and was transient


@needs_kvm
def test_a_machine_is_listed_started_and_looked_at_with_virsh(daemon, conn):
    conn.defineXML(domain_xml("vm1", "obey"))
    assert re.search(r"^ -\s+vm1\s+shut off$", daemon.virsh("list", "--all"), re.M)
    assert "Domain 'vm1' started" in daemon.virsh("start", "vm1")
    assert re.search(r"^ \d+\s+vm1\s+running$", daemon.virsh("list"), re.M)
    info = dict(re.findall(r"^([^:\n]+):\s+(.*)$", daemon.virsh("dominfo", "vm1"), re.M))
    assert info["State"] == "running"
    assert info["OS Type"] == "hvm"
    assert (info["CPU(s)"], info["Max memory"], info["Used memory"]) == ("1", "65536 KiB", "65536 KiB")
    assert (info["Persistent"], info["Autostart"], info["Managed save"]) == ("yes", "disable", "no")
    assert "error: Domain is already active" in daemon.virsh("start", "vm1", status=1)


@needs_kvm
def test_a_machines_life_with_virsh(daemon):
    path = os.path.join(daemon.folder, "vm2.xml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(domain_xml("vm2", "obey"))
    assert "Domain 'vm2' defined" in daemon.virsh("define", path)
    daemon.virsh("start", "vm2", "--paused")
    assert daemon.virsh("domstate", "vm2", "--reason").strip() == "paused (user)"
    daemon.virsh("resume", "vm2")
    daemon.virsh("suspend", "vm2")
    daemon.virsh("resume", "vm2")
    daemon.virsh("reset", "vm2")
    assert "<name>vm2</name>" in daemon.virsh("dumpxml", "vm2")
    assert "vm2" in daemon.virsh("domstats", "vm2")
    assert "vda" not in daemon.virsh("domblklist", "vm2")
    assert daemon.virsh("domid", "vm2").strip().isdigit()
    assert daemon.virsh("vcpucount", "vm2", "--live", "--current").strip() == "1"
    assert "running" in daemon.virsh("vcpuinfo", "vm2")
    assert "rss" in daemon.virsh("dommemstat", "vm2")
    assert "tty" in daemon.virsh("ttyconsole", "vm2") or "/dev/pts/" in daemon.virsh("ttyconsole", "vm2")
    daemon.virsh("autostart", "vm2")
    daemon.virsh("desc", "vm2", "--config", "--live", "--title", "A machine")
    assert "A machine" in daemon.virsh("list", "--all", "--title")
    daemon.virsh("destroy", "vm2")
    assert daemon.virsh("domstate", "vm2", "--reason").strip() == "shut off (destroyed)"
    daemon.virsh("domrename", "vm2", "vm3")
    assert "Domain 'vm3' has been undefined" in daemon.virsh("undefine", "vm3", "--nvram")
    assert "failed to get domain 'vm3'" in daemon.virsh("domstate", "vm3", status=1)
