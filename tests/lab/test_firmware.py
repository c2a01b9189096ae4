# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine that boots like one: SeaBIOS, GRUB from its disk, a stock kernel."""

from conftest import CMDLINE, guest_tool

BIOS = "/usr/share/seabios/bios-256k.bin"
SLOW = 240  # seconds: BIOS calls change modes all the time, and processors are emulated twice here


def test_the_bios_boots_grub_from_a_disk_and_grub_a_stock_kernel(start_guest, kernel, make_initrd, tmp_path):
    initrd = make_initrd(script="#!/bin/sh\necho processors: $(nproc)\n"
                                "dmesg | grep -c 'ACPI: RSDP' | sed 's/^/tables: /'\n")
    disk = tmp_path / "disk"
    guest_tool("mkbootdisk", "--out", disk, "--kernel", kernel, "--initrd", initrd, "--cmdline", CMDLINE)
    guest = start_guest("--firmware", BIOS, "--disk", f"path={disk}", kernel=None, cpus=2)
    guest.expect("SeaBIOS", timeout=SLOW)
    guest.expect("processors: 2", timeout=SLOW)
    guest.expect("tables: 1")
    assert guest.wait() == 0
