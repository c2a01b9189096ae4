# SPDX-License-Identifier: GPL-2.0-or-later
"""virt-manager, unmodified: its pages open on kvasird and do what they say."""
import os

import libvirt
import pytest

import kv_gui
from kv_daemon import Events, domain_xml, payload, wait_for

REASON = kv_gui.missing()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")

MANY_DEVICES = """
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{folder}/first.raw'/>
      <target dev='vda' bus='virtio'/></disk>
    <interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/></interface>
    <console type='pty'><target type='virtio'/></console>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <input type='tablet' bus='usb'/><graphics type='vnc'/><video><model type='vga'/></video>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <panic model='isa'/><vsock><cid auto='yes'/></vsock>
    <controller type='usb' model='qemu-xhci'/>"""

PAGES = ["Overview", "OS information", "Performance", "CPUs", "Memory", "Boot Options", "VirtIO Disk 1",
         "NIC :11:22:33", "Tablet", "Display VNC", "Serial 1", "Console 1", "Channel (qemu-ga)", "Video VGA",
         "Controller USB 0", "Controller PCIe 0", "Controller VirtIO Serial 0", "RNG /dev/urandom",
         "Panic Notifier", "VirtIO VSOCK"]


@pytest.fixture(scope="module")
def desktop(daemon):
    folder = os.path.join(daemon.folder, "images")
    os.mkdir(folder)
    for name in ("first.raw", "second.raw"):
        with open(os.path.join(folder, name), "wb") as image:
            image.truncate(16 << 20)
    connection = daemon.connect()
    # Without it virt-manager would make one in /var/lib/libvirt/images.
    connection.storagePoolDefineXML(
        f"<pool type='dir'><name>default</name><target><path>{folder}</path></target></pool>").create()
    connection.storagePoolLookupByName("default").createXML(
        "<volume><name>third.qcow2</name><capacity unit='MiB'>32</capacity>"
        "<target><format type='qcow2'/></target></volume>")
    for xml in (domain_xml("runs"), domain_xml("waits"),
                domain_xml("has-all", devices=MANY_DEVICES.format(folder=folder))):
        connection.defineXML(xml)
    connection.lookupByName("runs").create()
    own = kv_gui.Desktop(f"qemu:///system?socket={daemon.socket()}")
    try:
        own.start()
        own.connection = connection
        own.images = folder
        yield own
    finally:
        own.end()


@pytest.fixture(autouse=True)
def quiet(request):
    """Whatever a test does, the log has neither error, warning nor exception afterwards."""
    own = request.getfixturevalue("desktop")
    start = len(own.log())
    yield
    assert own.complaints(start) == []


def domain(desktop, name):
    return desktop.connection.lookupByName(name)


def wait_for_state(desktop, name, state):
    wait_for(lambda: domain(desktop, name).state()[0] == state, f"{name} to be in state {state}")


def edit(desktop, name):
    desktop.show("--show-domain-editor", name)
    return f"{name} on"


def turn_to_page(desktop, window, page):
    desktop.do("choose", window, "hw-list", value=page)


def apply(desktop, window):
    desktop.click(window, "config-apply")
    wait_for(lambda: not desktop.do("is", window, "config-apply", value="SENSITIVE"), "the change to be made")


def test_the_list_shows_machines_and_their_states(desktop):
    manager = "Virtual Machine Manager"
    wait_for(lambda: "waits\nShutoff" in desktop.do("rows", manager, "vm-list"), "the machines in the list")
    rows = desktop.do("rows", manager, "vm-list")
    assert "runs\nRunning" in rows and "QEMU/KVM" in rows
    domain(desktop, "waits").create()
    wait_for(lambda: "waits\nRunning" in desktop.do("rows", manager, "vm-list"), "the event of a start")
    domain(desktop, "waits").destroy()
    wait_for(lambda: "waits\nShutoff" in desktop.do("rows", manager, "vm-list"), "the event of an end")


def test_the_console_page_shows_what_the_machine_prints(desktop):
    desktop.show("--show-domain-console", "runs")
    desktop.expect("up\n", "runs on", "Serial Terminal", "text")


def expect_screen_seen(events):
    wait_for(lambda: [event[2] for event in events.list] == [libvirt.VIR_DOMAIN_EVENT_GRAPHICS_CONNECT,
                                                             libvirt.VIR_DOMAIN_EVENT_GRAPHICS_INITIALIZE],
             "virt-manager to see the screen")
    events.end()


def test_the_console_page_shows_a_machines_screen(desktop):
    """virt-manager brings a socket of its own to the daemon (virDomainOpenGraphicsFD) or connects: it sees the screen."""
    events = Events(desktop.connection, (libvirt.VIR_DOMAIN_EVENT_ID_GRAPHICS,))
    domain(desktop, "has-all").create()
    desktop.show("--show-domain-console", "has-all")
    expect_screen_seen(events)
    domain(desktop, "has-all").destroy()


def test_every_page_of_a_machine_opens(desktop):
    window = edit(desktop, "has-all")
    wait_for(lambda: "Display VNC" in desktop.do("rows", window, "hw-list"),
             "the page of what is left out while it runs")
    names = desktop.do("rows", window, "hw-list")
    for name in PAGES:
        assert name in names, f"no page '{name}' among {names}"
    said = {"Overview": ["has-all", "KVM", "Q35"], "CPUs": ["host-passthrough"], "VirtIO Disk 1": ["16.00 MiB"],
            "Boot Options": [payload("sleep")], "NIC :11:22:33": ["52:54:00:11:22:33"], "Console 1": ["virtio"]}
    for name in names:
        turn_to_page(desktop, window, name)
        for words in said.get(name, []):
            desktop.expect(words, window)


def test_the_dialog_of_the_connection_shows_host_networks_and_storage(desktop):
    desktop.show("--show-host-summary")
    window = "Connection Details"
    desktop.expect(desktop.uri, window)
    desktop.do("turn_to", window, "Virtual Networks", "page tab")
    desktop.do("rows", window, "net-list")
    desktop.do("turn_to", window, "Storage", "page tab")
    desktop.expect("first.raw", window)
    assert desktop.images in desktop.words(window)


def test_buttons_start_pause_and_power_off(desktop):
    desktop.show("--show-domain-console", "waits")
    window = "waits on"
    desktop.click(window, "Run", "push button")
    wait_for_state(desktop, "waits", libvirt.VIR_DOMAIN_RUNNING)
    desktop.click(window, "Pause")
    wait_for_state(desktop, "waits", libvirt.VIR_DOMAIN_PAUSED)
    wait_for(lambda: desktop.do("is", window, "Pause", value="CHECKED"), "the button to show it")
    desktop.click(window, "Pause")
    wait_for_state(desktop, "waits", libvirt.VIR_DOMAIN_RUNNING)
    desktop.click(window, "Menu", "toggle button")
    desktop.click(window, "Force Off", "menu item")
    assert "force poweroff" in desktop.answer("Yes")
    wait_for_state(desktop, "waits", libvirt.VIR_DOMAIN_SHUTOFF)


def test_changes_on_the_pages_are_kept(desktop):
    window = edit(desktop, "waits")
    turn_to_page(desktop, window, "Memory")
    desktop.do("number", window, "Maximum allocation:", "spin button", 256)
    desktop.do("number", window, "Current allocation:", "spin button", 96)
    apply(desktop, window)
    turn_to_page(desktop, window, "CPUs")
    desktop.do("number", window, "vCPU allocation:", "spin button", 2)
    apply(desktop, window)
    turn_to_page(desktop, window, "Boot Options")
    desktop.click(window, "Start virtual machine on host boot up")
    apply(desktop, window)
    turn_to_page(desktop, window, "Overview")
    desktop.write(window, "Description:", "of a test")
    apply(desktop, window)
    changed = domain(desktop, "waits")
    assert changed.maxMemory() == 256 << 10 and changed.info()[2] == 96 << 10
    assert changed.maxVcpus() == 2 and changed.autostart() == 1
    assert "<description>of a test</description>" in changed.XMLDesc()


def add_hardware(desktop, window, kind, path=None):
    page = "Add New Virtual Hardware"
    desktop.click(window, "add-hardware")
    desktop.do("choose", page, "", "table", kind)
    desktop.expect(kind, page)
    if path:
        desktop.click(page, "Select or create custom storage")
        desktop.write(page, "storage-entry", path)
    desktop.click(page, "Finish", "push button")
    wait_for(lambda: page not in desktop.windows(), f"{kind} to be added")


def test_devices_are_added_and_removed(desktop):
    window = edit(desktop, "waits")
    add_hardware(desktop, window, "RNG")
    add_hardware(desktop, window, "Storage", os.path.join(desktop.images, "second.raw"))
    xml = domain(desktop, "waits").XMLDesc()
    assert "<rng model='virtio'>" in xml
    assert f"<source file='{desktop.images}/second.raw'/>" in xml
    assert "<target dev='sda' bus='sata'/>" in xml  # its choice for a system that it does not know
    turn_to_page(desktop, window, "RNG /dev/urandom")
    desktop.click(window, "config-remove", "push button")
    assert "remove" in desktop.answer("Yes")
    wait_for(lambda: "<rng" not in domain(desktop, "waits").XMLDesc(), "the device to be removed")


def test_the_wizard_makes_a_machine_of_its_own_choices(desktop):
    window, image = "New VM", os.path.join(desktop.images, "third.qcow2")
    desktop.show("--show-domain-creator")
    desktop.click(window, "Import existing disk image")
    desktop.click(window, "Forward", "push button")
    desktop.expect("Step 2", window)
    desktop.write(window, "import-entry", image)
    desktop.write(window, "oslist-entry", "linux2022")
    desktop.do("activate", window, "Generic Linux 2022 (linux2022)", "table cell")
    desktop.expect("Generic Linux 2022", window, "oslist-entry", "text")
    desktop.click(window, "Forward", "push button")
    desktop.expect("Step 3", window)
    desktop.click(window, "Forward", "push button")
    desktop.expect("Step 4", window)
    desktop.write(window, "Name:", "made")
    desktop.click(window, "Customize configuration before install")
    desktop.write(window, "Device name:", "kvasir-none0")
    desktop.click(window, "Finish", "push button")

    window = "made on"
    nic = next(name for name in desktop.do("rows", window, "hw-list") if name.startswith("NIC "))
    turn_to_page(desktop, window, nic)
    desktop.click(window, "config-remove", "push button")
    desktop.answer("Yes")
    turn_to_page(desktop, window, "Boot Options")
    desktop.click(window, "Direct kernel boot", "toggle button")
    desktop.click(window, "Enable direct kernel boot")
    desktop.write(window, "Kernel path:", payload("sleep"))
    apply(desktop, window)
    events = Events(desktop.connection, (libvirt.VIR_DOMAIN_EVENT_ID_GRAPHICS,))
    desktop.click(window, "Begin Installation")
    expect_screen_seen(events)
    xml = domain(desktop, "made").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert f"<source file='{image}'/>" in xml and "<target dev='vda' bus='virtio'/>" in xml
    assert "mode='host-passthrough'" in xml and "machine='pc-q35" in xml and "<graphics type='vnc'" in xml
