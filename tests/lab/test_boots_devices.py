# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock systems find what they are given: what is typed, pointed at and copied arrives, a TPM with a FIFO works.

Linux, UEFI's shell, and Memtest86+, which has drivers of its own.

In the suite of the other test_boots_*.py: it takes minutes in an emulated host.
"""

import shutil
import struct
import time

import pytest

from conftest import guest_tool
from test_boots_debian import LONG, PATIENCE
from test_firmware import BIOS, OVMF, VARIABLES
from test_full_kernel import software_tpm  # noqa: F401  pylint: disable=unused-import
from vnc_viewer import Viewer, read_text

pytestmark = LONG
MEMTEST = "/boot/memtest86+x64.bin"  # package memtest86+
MEMTEST_CD = "/usr/lib/memtest86+/memtest86+x64.iso"
MODULES = {"usb": ["xhci_pci", "usbhid", "hid_generic", "evdev"], "virtio": ["virtio_input", "evdev"]}
NAMES = {"usb": ("Kvasir USB keyboard", "Kvasir USB tablet"), "virtio": ("Kvasir virtio keyboard", "Kvasir virtio tablet")}
KEY_A, EV_KEY, EV_ABS = 30, 1, 3


def send_key(guest, *codes):
    guest.qmp("send-key", keys=[{"type": "qcode", "data": code} for code in codes])


def until(ready, what, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, what()
        time.sleep(0.5)


def listen(guest, name):
    """A function that says what an input device has told so far: (type, code, value) of each event."""
    block = next(block for block in guest.shell("cat /proc/bus/input/devices").split("\n\n") if f'Name="{name}"' in block)
    event = next(word for word in block.split() if word.startswith("event"))
    guest.shell(f"cat /dev/input/{event} > /tmp/{event} &")

    def told():
        data = bytes.fromhex("".join(guest.shell(f"od -An -v -tx1 /tmp/{event}").split()))
        return [struct.unpack_from("<HHi", data, at + 16) for at in range(0, len(data) - 23, 24)]
    return told


@pytest.mark.parametrize("bus", MODULES)
def test_keys_and_the_pointer_come_through_evdev(bus, start_guest, make_initrd):
    guest = start_guest("--vga", "", "--input", f"keyboard,bus={bus}", "--input", f"tablet,bus={bus}",
                        initrd=make_initrd(module=MODULES[bus], kernel="full"), kernel=guest_tool("kernel", "--full"),
                        memory="512M")
    devices = ""

    def there():
        nonlocal devices
        devices = guest.shell("cat /proc/bus/input/devices")
        return all(f'Name="{name}"' in devices for name in NAMES[bus])
    until(there, lambda: devices)
    keyboard, tablet = (listen(guest, name) for name in NAMES[bus])
    send_key(guest, "a")
    until(lambda: (EV_KEY, KEY_A, 0) in keyboard(), keyboard)
    assert [event for event in keyboard() if event[0] == EV_KEY] == [(EV_KEY, KEY_A, 1), (EV_KEY, KEY_A, 0)]
    guest.qmp("input-send-event", events=[{"type": "abs", "data": {"axis": axis, "value": value}}
                                          for axis, value in (("x", 8192), ("y", 24576))])
    until(lambda: (EV_ABS, 1, 24576) in tablet(), tablet)
    assert (EV_ABS, 0, 8192) in tablet()


def agent(kind, body):
    """A message of SPICE's agent in one chunk, for printf."""
    message = struct.pack("<IIQI", 1, kind, 0, len(body)) + body
    return "".join(f"\\{byte:03o}" for byte in struct.pack("<II", 1, len(message)) + message)


def test_texts_are_copied_between_a_stock_guest_and_a_viewer(shell_guest, tmp_path):
    capabilities, grab, request, text = 6, 7, 8, 4
    utf8 = struct.pack("<II", 0, 1)  # of the clipboard proper
    guest = shell_guest("--vga", "", "--vnc", f"unix:{tmp_path}/vnc", "--port", "vdagent,name=com.redhat.spice.0")
    port, = guest.shell("grep -l com.redhat.spice.0 /sys/class/virtio-ports/*/name | cut -d/ -f5").split()
    viewer = Viewer(f"{tmp_path}/vnc", timeout=PATIENCE)
    guest.shell(f"exec 3<>/dev/{port}")
    guest.shell(f"printf '{agent(capabilities, struct.pack('<II', 1, 1 << 5 | 1 << 6))}' >&3")
    guest.shell(f"printf '{agent(grab, utf8)}' >&3; head -c 108 <&3 | wc -c")  # capabilities, twice, and a request
    guest.shell(f"printf '{agent(text, utf8 + b'from the guest')}' >&3")
    assert viewer.cut_text() == b"from the guest"
    viewer.copy("from the viewer")
    guest.shell(f"head -c 36 <&3 | wc -c; printf '{agent(request, utf8)}' >&3")
    assert guest.shell("head -c 51 <&3 | tail -c 15").strip() == "from the viewer"


def test_a_stock_kernel_uses_a_tpm_with_a_fifo(start_guest, make_initrd, software_tpm):  # noqa: F811
    guest = start_guest("--tpm", f"fd:{software_tpm.fileno()},model=tis", initrd=make_initrd(kernel="full"),
                        kernel=guest_tool("kernel", "--full"), memory="256M", pass_fds=[software_tpm.fileno()])
    assert guest.shell("basename $(readlink -f /sys/class/tpm/tpm0/device/driver)").strip() == "tpm_tis"
    assert guest.shell("cat /sys/class/tpm/tpm0/tpm_version_major").strip() == "2"
    assert len(guest.shell("cat /sys/class/tpm/tpm0/pcr-sha256/0").strip()) == 64


def test_a_usb_keyboard_types_into_uefis_shell(start_guest, tmp_path):
    shutil.copyfile(VARIABLES, tmp_path / "variables")
    guest = start_guest("--firmware", OVMF, "--nvram", tmp_path / "variables", "--vga", "keyboard=off", "--input",
                        "keyboard,bus=usb", kernel=None, memory="256M")
    guest.expect("Shell> ", timeout=PATIENCE)
    for code in ("e", "c", "h", "o", "spc", "4", "2", "ret"):
        send_key(guest, code)
        time.sleep(1)
    guest.expect("^[^>]*42\r", timeout=PATIENCE)


def test_memtest_runs_from_a_disk_and_finds_the_usb_keyboard(start_guest, make_initrd, tmp_path):
    disk = tmp_path / "disk"
    guest_tool("mkbootdisk", "--out", disk, "--kernel", MEMTEST, "--initrd", make_initrd(), "--cmdline",
               "console=ttyS0,115200 keyboard=usb")
    guest = start_guest("--firmware", BIOS, "--disk", f"path={disk}", "--vga", "keyboard=off", "--input", "keyboard,bus=usb",
                        kernel=None, memory="64M")
    guest.expect("Memtest86\\+ v", timeout=PATIENCE)
    guest.expect("Using: .*Core", timeout=PATIENCE)
    send_key(guest, "f1")
    guest.expect("Test selection", timeout=PATIENCE)


def test_memtest_runs_from_its_cd(start_guest, tmp_path):
    start_guest("--firmware", BIOS, "--cdrom", MEMTEST_CD, "--vga", "", "--vnc", f"unix:{tmp_path}/vnc", kernel=None,
                memory="64M")
    until((tmp_path / "vnc").exists, lambda: "no socket")
    viewer = Viewer(f"{tmp_path}/vnc", timeout=PATIENCE)
    seen = ""

    def shown():
        nonlocal seen
        viewer.update(False)
        seen = read_text(viewer.pixels)
        return "Memtest86+" in seen and "Testing" in seen
    until(shown, lambda: seen)
