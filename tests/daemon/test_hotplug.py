# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that come to a running domain and leave it; the guest (tests/guest/plug.c) does as an operating system would."""
import glob
import json
import os
import re
import socket

import libvirt
import pytest

from kv_daemon import Console, Events, Refused, domain_xml, wait_for

LIVE, CONFIG, INACTIVE = (libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG,
                          libvirt.VIR_DOMAIN_XML_INACTIVE)
ADDED, REMOVED, FAILED = (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
                          libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED)
RNG = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
MAC = "52:54:00:11:22:33"
pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")


def disk(path, target="vdb", more=""):
    return (f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{path}'/>"
            f"<target dev='{target}' bus='virtio'/>{more}</disk>")


def interface(mac="", more=""):
    mac = f"<mac address='{mac}'/>" if mac else ""
    return f"<interface type='user'>{mac}<model type='virtio'/><backend type='passt'/>{more}</interface>"


@pytest.fixture
def image(daemon):
    path = os.path.join(daemon.folder, "image.raw")
    with open(path, "wb") as f:
        f.truncate(1 << 20)
    return path


@pytest.fixture
def machine(conn):
    domain = conn.defineXML(domain_xml("plug", guest="plug"))
    domain.create()
    console = Console(domain)
    console.expect(b"ready")
    yield domain, console
    console.close()


@pytest.fixture
def told(conn):
    record = Events(conn, (ADDED, REMOVED, FAILED))
    yield record
    record.end()


def slot_of(domain, alias, flags=0):
    """Of the device with the alias; None: there is no such device."""
    for device in re.findall(r"<(?:disk|interface|rng) .*?</(?:disk|interface|rng)>", domain.XMLDesc(flags), re.S):
        if f"<alias name='{alias}'/>" in device:
            return int(re.search(r"<address type='pci'.* slot='(0x[0-9a-f]*)'", device).group(1), 0)
    return None


def descriptors(daemon):
    """Of the monitor in its jail."""
    return sorted(len(os.listdir(f"/proc/{pid}/fd")) for pid in daemon.monitors())


def test_disk_interface_and_random_numbers_come_and_go(daemon, machine, told, image):
    domain, console = machine
    before, devices = descriptors(daemon), domain.XMLDesc()
    for xml, alias in ((disk(image), "virtio-disk1"), (interface(MAC), "net0"), (RNG, "rng0")):
        domain.attachDevice(xml)
        told.expect(("plug", f"id {ADDED}", alias))
        console.expect(b"new %d works" % slot_of(domain, alias))
    assert "<target dev='vdb' bus='virtio'/>" not in domain.XMLDesc(INACTIVE)
    assert domain.blockStats("vdb")[0] >= 0 and domain.blockInfo("vdb")[0] == 1 << 20
    for xml, alias in ((disk(image), "virtio-disk1"), (interface(MAC), "net0"), (RNG, "rng0")):
        slot = slot_of(domain, alias)
        domain.detachDevice(xml)
        told.expect(("plug", f"id {REMOVED}", alias))
        console.expect(b"gone %d" % slot)
    assert domain.XMLDesc() == devices
    wait_for(lambda: descriptors(daemon) == before, "what the devices had is closed")


def test_virsh_attaches_and_detaches_in_what_runs_and_in_the_definition(daemon, machine, image):
    domain, console = machine
    daemon.virsh("attach-disk", "plug", image, "vdb", "--live", "--config")
    console.expect(b"works")
    assert "vdb" in domain.XMLDesc() and "vdb" in domain.XMLDesc(INACTIVE)
    daemon.virsh("detach-disk", "plug", "vdb", "--live", "--config")
    console.expect(b"gone")
    assert "vdb" not in domain.XMLDesc() and "vdb" not in domain.XMLDesc(INACTIVE)
    path = os.path.join(daemon.folder, "nic.xml")
    with open(path, "w", encoding="ascii") as f:
        f.write(interface(more="<alias name='ua-second'/>"))
    daemon.virsh("attach-device", "plug", path, "--live", "--config")
    console.expect(b"works")
    macs = [re.search(r"<mac address='([^']*)'", domain.XMLDesc(flags)).group(1) for flags in (0, INACTIVE)]
    assert macs[0] == macs[1]
    daemon.virsh("domif-setlink", "plug", macs[0], "down")
    assert "<link state='down'/>" in domain.XMLDesc() and "link state" not in domain.XMLDesc(INACTIVE)
    assert "down" in daemon.virsh("domif-getlink", "plug", macs[0])
    daemon.virsh("domif-setlink", "plug", macs[0], "up")
    daemon.virsh("detach-device-alias", "plug", "ua-second", "--live", "--config")
    console.expect(b"gone")
    assert "<interface" not in domain.XMLDesc() + domain.XMLDesc(INACTIVE)


def test_a_guest_that_refuses_keeps_its_device(machine, told, image):
    domain, console = machine
    domain.attachDevice(disk(image))
    console.expect(b"works")
    console.say(b"r")
    console.expect(b"refusing")
    with Refused(libvirt.VIR_ERR_OPERATION_FAILED, "unplug of device was rejected by the guest"):
        domain.detachDeviceAlias("virtio-disk1", LIVE)
    told.expect(("plug", f"id {ADDED}", "virtio-disk1"), ("plug", f"id {FAILED}", "virtio-disk1"))
    assert "vdb" in domain.XMLDesc()
    domain.detachDeviceAlias("virtio-disk1", LIVE)
    told.expect(("plug", f"id {REMOVED}", "virtio-disk1"))


def take_away(daemon, alias):
    daemon.virsh("qemu-monitor-command", "plug",
                 json.dumps({"execute": "device_del", "arguments": {"id": alias, "force": True}}))


def test_a_device_that_leaves_by_itself_is_told_and_taken_out(daemon, machine, told):
    domain, console = machine
    domain.attachDevice(RNG)
    console.expect(b"works")
    take_away(daemon, "rng0")
    told.expect(("plug", f"id {ADDED}", "rng0"), ("plug", f"id {REMOVED}", "rng0"))
    assert "<rng" not in domain.XMLDesc()


def test_a_guest_that_does_not_answer_is_waited_for_5_seconds(daemon, machine, told, request):
    if not request.config.getoption("--long"):
        pytest.skip("--long waits")
    domain, console = machine
    domain.attachDevice(RNG)
    console.expect(b"works")
    console.say(b"i")
    console.expect(b"ignoring")
    domain.detachDeviceAlias("rng0", LIVE)  # nothing comes, which is no error
    assert "<rng" in domain.XMLDesc()
    told.expect(("plug", f"id {ADDED}", "rng0"))
    take_away(daemon, "rng0")
    told.expect(("plug", f"id {REMOVED}", "rng0"))
    assert "<rng" not in domain.XMLDesc()


def test_what_cannot_come_or_go_is_refused_and_leaves_no_trace(daemon, machine, image, told):
    domain, _console = machine
    before, devices = descriptors(daemon), domain.XMLDesc()
    sata = disk(image).replace("bus='virtio'", "bus='sata'").replace("vdb", "sdb")
    for xml, code, words in (
            (sata, libvirt.VIR_ERR_OPERATION_UNSUPPORTED, "disk bus 'sata' cannot be hotplugged"),
            (disk("/nowhere/image"), libvirt.VIR_ERR_INTERNAL_ERROR, "/nowhere/image"),
            (disk(image).replace("type='raw'", "type='qcow2'"), libvirt.VIR_ERR_INTERNAL_ERROR, "qcow2"),
            ("<watchdog model='i6300esb' action='reset'/>", libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
             "live attach of device 'watchdog' is not supported"),
            ("<interface type='bridge'><source bridge='nowhere0'/><model type='virtio'/></interface>",
             libvirt.VIR_ERR_INTERNAL_ERROR, "nowhere0")):
        with Refused(code, words):
            domain.attachDevice(xml)
    with Refused(libvirt.VIR_ERR_OPERATION_UNSUPPORTED, "live detach of device 'serial' is not supported"):
        domain.detachDeviceAlias("serial0", LIVE)
    with Refused(libvirt.VIR_ERR_DEVICE_MISSING, "no device found with alias net9"):
        domain.detachDeviceAlias("net9", LIVE)
    with Refused(libvirt.VIR_ERR_DEVICE_MISSING, "disk vdb not found"):
        domain.detachDevice(disk(image))
    assert domain.XMLDesc() == devices and descriptors(daemon) == before
    assert told.list == []


def test_of_an_interface_only_the_link_changes_while_it_runs(machine):
    domain, console = machine
    domain.attachDevice(interface(MAC))
    console.expect(b"works")
    live = domain.XMLDesc()
    domain.updateDeviceFlags(interface(MAC, "<link state='down'/>"), LIVE)
    assert domain.XMLDesc() == live.replace("</interface>", "  <link state='down'/>\n    </interface>") or \
        "<link state='down'/>" in domain.XMLDesc()
    with Refused(libvirt.VIR_ERR_OPERATION_UNSUPPORTED, "cannot modify network MTU"):
        domain.updateDeviceFlags(interface(MAC, "<mtu size='1400'/>"), LIVE)


def test_slots_run_out_and_a_definition_of_root_ports_still_takes_more(conn, daemon, image):
    ports = "".join(f"<controller type='pci' index='{i}' model='pcie-root-port'/>" for i in (1, 2))
    moved = "".join(f"<{what}<address type='pci' domain='0x0000' bus='0x0{bus}' slot='0x00' function='0x0'/></{end}>"
                    for bus, what, end in ((1, "rng model='virtio'><backend model='random'>/dev/urandom</backend>", "rng"),
                                           (2, "memballoon model='virtio'>", "memballoon")))
    domain = conn.createXML(domain_xml("ports", guest="plug", devices=ports + moved))
    console = Console(domain)
    console.expect(b"ready")
    domain.attachDevice(disk(image))
    console.expect(b"new %d works" % slot_of(domain, "virtio-disk1"))
    free = 31 - len(set(re.findall(r'"slot":(\d+)', daemon.virsh("qemu-monitor-command", "ports",
                                                                 '{"execute": "query-pci"}'))))
    for _ in range(free):
        domain.attachDevice(RNG)
    with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "No more available PCI slots"):
        domain.attachDevice(RNG)
    console.close()


def helpers_of(daemon, domain):
    """Processes that the machine's record names."""
    path, = glob.glob(f"{daemon.folder}/**/{domain.UUIDString()}.json", recursive=True)
    with open(path, "rb") as f:
        return [undo["pid"] for undo in json.load(f)["undo"] if undo["kind"] == "process"]


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return ") Z " not in f.read()
    except OSError:
        return False


def test_hot_devices_outlive_the_daemon_and_what_they_had_ends_with_them(fresh):
    conn = fresh.connect()
    domain = conn.defineXML(domain_xml("plug", guest="plug"))
    domain.create()
    domain.attachDevice(interface(MAC))
    domain.attachDevice(RNG)
    passt, = helpers_of(fresh, domain)
    control, = glob.glob(f"{fresh.folder}/**/{domain.UUIDString()}.qmp", recursive=True)
    conn.close()
    fresh.kill()
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(control)
        monitor.sendall(b'{"execute": "qmp_capabilities"}'
                        b'{"execute": "device_del", "arguments": {"id": "rng0", "force": true}}')
        said = b""
        while b"DEVICE_DELETED" not in said:
            said += monitor.recv(4096)
    fresh.start()
    conn = fresh.connect()
    domain = conn.lookupByName("plug")
    assert "<alias name='net0'/>" in domain.XMLDesc() and runs(passt)
    wait_for(lambda: "<rng" not in domain.XMLDesc(), "what left meanwhile is not shown any more")
    domain.detachDeviceAlias("net0", LIVE)
    assert helpers_of(fresh, domain) == [] and not runs(passt)
    domain.destroy()
    conn.close()
