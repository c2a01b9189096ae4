# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guide to KVM has its readers do: with virsh and Python as they are, and every step's answer."""
import os
import re
import subprocess

import pytest

from kv_daemon import domain_xml, payload

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

# Units and defaults as a guide writes them; a kernel, because a disk needs firmware to boot.
MACHINE = """
<domain type='kvm'>
  <name>my_vm</name>
  <memory unit='MB'>128</memory>
  <vcpu placement='static'>2</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><kernel>{kernel}</kernel></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{disk}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>
"""


def virsh(daemon, *words, status=0):
    done = subprocess.run(["virsh", "-c", daemon.uri(), *words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
                          env=dict(os.environ, LC_ALL="C"), check=False)
    assert done.returncode == status, done.stdout
    return done.stdout


def test_facts_of_a_connection(daemon):
    told = subprocess.run(["/usr/bin/python3", "-c", CONNECTION_FACTS, daemon.uri()], stdout=subprocess.PIPE,
                          text=True, timeout=60, check=True).stdout
    assert re.fullmatch(r"alive: 1\ntype: QEMU\nversion: \d{7,}\n", told), told


@needs_kvm
def test_a_machine_is_created_from_python(daemon, conn):
    disk = os.path.join(daemon.folder, "disk.qcow2")
    subprocess.run([os.path.join(os.path.dirname(daemon.program), "kvasir-img"), "create", "-f", "qcow2", disk,
                    "1M"], stdout=subprocess.DEVNULL, timeout=60, check=True)
    os.chmod(disk, 0o666)
    domain = conn.createXML(MACHINE.format(kernel=payload("sleep"), disk=disk), 0)
    assert domain.name() == "my_vm"
    assert domain.isActive() == 1
    assert domain.maxMemory() == 125000
    assert domain.maxVcpus() == 2


@needs_kvm
def test_a_machine_is_listed_started_and_looked_at_with_virsh(daemon, conn):
    conn.defineXML(domain_xml("vm1", "obey"))
    assert re.search(r"^ -\s+vm1\s+shut off$", virsh(daemon, "list", "--all"), re.M)
    assert "Domain 'vm1' started" in virsh(daemon, "start", "vm1")
    assert re.search(r"^ \d+\s+vm1\s+running$", virsh(daemon, "list"), re.M)
    info = dict(re.findall(r"^([^:\n]+):\s+(.*)$", virsh(daemon, "dominfo", "vm1"), re.M))
    assert info["State"] == "running"
    assert info["OS Type"] == "hvm"
    assert (info["CPU(s)"], info["Max memory"], info["Used memory"]) == ("1", "65536 KiB", "65536 KiB")
    assert (info["Persistent"], info["Autostart"], info["Managed save"]) == ("yes", "disable", "no")
    assert "error: Domain is already active" in virsh(daemon, "start", "vm1", status=1)


@needs_kvm
def test_a_machines_life_with_virsh(daemon):
    path = os.path.join(daemon.folder, "vm2.xml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(domain_xml("vm2", "obey"))
    assert "Domain 'vm2' defined" in virsh(daemon, "define", path)
    virsh(daemon, "start", "vm2", "--paused")
    assert virsh(daemon, "domstate", "vm2", "--reason").strip() == "paused (user)"
    virsh(daemon, "resume", "vm2")
    virsh(daemon, "suspend", "vm2")
    virsh(daemon, "resume", "vm2")
    virsh(daemon, "reset", "vm2")
    assert "<name>vm2</name>" in virsh(daemon, "dumpxml", "vm2")
    assert "vm2" in virsh(daemon, "domstats", "vm2")
    assert "vda" not in virsh(daemon, "domblklist", "vm2")
    assert virsh(daemon, "domid", "vm2").strip().isdigit()
    assert virsh(daemon, "vcpucount", "vm2", "--live", "--current").strip() == "1"
    assert "running" in virsh(daemon, "vcpuinfo", "vm2")
    assert "rss" in virsh(daemon, "dommemstat", "vm2")
    assert "tty" in virsh(daemon, "ttyconsole", "vm2") or "/dev/pts/" in virsh(daemon, "ttyconsole", "vm2")
    virsh(daemon, "autostart", "vm2")
    virsh(daemon, "desc", "vm2", "--config", "--live", "--title", "A machine")
    assert "A machine" in virsh(daemon, "list", "--all", "--title")
    virsh(daemon, "destroy", "vm2")
    assert virsh(daemon, "domstate", "vm2", "--reason").strip() == "shut off (destroyed)"
    virsh(daemon, "domrename", "vm2", "vm3")
    assert "Domain 'vm3' has been undefined" in virsh(daemon, "undefine", "vm3", "--nvram")
    assert "failed to get domain 'vm3'" in virsh(daemon, "domstate", "vm3", status=1)
