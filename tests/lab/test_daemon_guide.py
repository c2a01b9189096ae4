# SPDX-License-Identifier: GPL-2.0-or-later
"""A guide's programs against kvasird where guides expect libvirt: qemu:///system, no socket named.

They are ours (guide/), or with KVASIR_GUIDE a folder of others with the same calls. What
the guide has prepared by hand is prepared here: a disk, a machine vm1. A kernel and a bridge
stand in for a firmware, which takes long in an emulated host (test_boots_guide.py has it), and for a
network 'default', which does not exist yet.
"""

import os
import re
import signal
import subprocess

import libvirt
import pytest

from kv_daemon import BUILD, PATIENCE, wait_for
from kv_stock import CMDLINE

HERE = os.path.dirname(os.path.realpath(__file__))
OURS = {"1_create_vm.py": "guide/create_vm.py", "5_connection.py": "guide/connection.py", "6_virsh.sh": "guide/virsh.sh"}
DISK = "/path/to/disk_image.qcow2"
ADDRESS = "192.168.122.77"

# Only an emulated host is thrown away, and may have its daemons replaced.
pytestmark = pytest.mark.skipif("KVASIR_LAB" not in os.environ, reason="would take libvirt's own socket paths")


@pytest.fixture(scope="module")
def system():
    """kvasird as the only daemon of this host, without any option."""
    for name in ("libvirtd", "virtqemud"):
        if os.path.exists(f"/usr/sbin/{name}"):
            os.unlink(f"/usr/sbin/{name}")
    with open("/run/kvasird.log", "wb") as log:
        process = subprocess.Popen([os.path.join(BUILD, "kvasird")], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def answers():
        assert process.poll() is None, f"kvasird ended with {process.returncode}"
        try:
            libvirt.open("qemu:///system").close()
            return True
        except libvirt.libvirtError:
            return False
    wait_for(answers, "qemu:///system")
    connection = libvirt.open("qemu:///system")
    yield connection
    for domain in connection.listAllDomains():
        if domain.isActive():
            domain.destroy()
    connection.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def with_kernel(stock):
    """What stands in for a boot by firmware."""
    cmdline = CMDLINE.removeprefix("console=ttyS0 ")  # the guide's machine has no serial port
    boot = f"<kernel>{stock.kernel}</kernel><initrd>{stock.initrd}</initrd><cmdline>{cmdline}</cmdline>"
    return {"<boot dev='hd'/>": boot}


def program(name, stock, changes):
    """The text of the guide's program, with a bridge for the network that does not exist yet, and changes."""
    folder = os.environ.get("KVASIR_GUIDE")
    path = os.path.join(folder, name) if folder else os.path.join(HERE, OURS[name])
    with open(path, encoding="utf-8") as f:
        text = f.read()
    bridge = {"<interface type='network'>": "<interface type='bridge'>",
              "<source network='default'/>": f"<source bridge='{stock.bridge}'/>"}
    for there, here in {**bridge, **changes}.items():
        text = text.replace(there, here)
    return text


def run(name, stock, interpreter, changes=None):
    done = subprocess.run([interpreter], input=program(name, stock, changes or {}), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120, env=dict(os.environ, LC_ALL="C.UTF-8"), check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.usefixtures("system")
def test_a_connection_is_alive_and_tells_type_and_version(stock):
    said = run("5_connection.py", stock, "/usr/bin/python3")
    assert re.search(r"alive: 1\n.*type: QEMU\n.*version: \d{7}\n", said), said


def test_a_machine_is_listed_started_and_looked_at(system, stock):
    system.defineXML(stock.xml("vm1"))
    said = run("6_virsh.sh", stock, "/bin/sh")
    assert re.search(r"^kvm\b.*", said, re.M)
    assert re.search(r"^ -\s+vm1\s+shut off$", said, re.M)
    assert "Domain 'vm1' started" in said
    assert re.search(r"^State:\s+running$", said, re.M)
    assert re.search(r"^CPU\(s\):\s+1$", said, re.M)
    assert re.search(r"^Max memory:\s+196608 KiB$", said, re.M)
    system.lookupByName("vm1").destroy()


def test_a_machine_is_created_from_python_and_boots(system, stock, make_disk):
    """It has no console: that it booted from its disk is seen on the network."""
    raw = make_disk(size="32M", script=f"#!/bin/sh\nifconfig eth0 {ADDRESS}\nsleep 600\n")
    os.makedirs(os.path.dirname(DISK), exist_ok=True)
    subprocess.run([os.path.join(BUILD, "kvasir-img"), "convert", "-q", "-O", "qcow2", raw, DISK], check=True)
    run("1_create_vm.py", stock, "/usr/bin/python3", with_kernel(stock))
    machine = system.lookupByName("my_vm")
    assert (machine.isActive(), machine.isPersistent(), machine.maxMemory()) == (1, 0, 976563)
    address = re.search(r"<mac address='(52:54:00(?::[0-9a-f]{2}){3})'/>", machine.XMLDesc())[1]
    ping = ["ping", "-c", "1", "-w", "5", ADDRESS]  # it gives up as soon as nobody is known at that address
    wait_for(lambda: subprocess.run(ping, stdout=subprocess.DEVNULL, check=False).returncode == 0, "an answer", 100)
    neighbour = subprocess.run(["ip", "neigh", "show", ADDRESS], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert address in neighbour
    machine.destroy()
