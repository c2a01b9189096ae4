# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines that boot like machines: SeaBIOS or OVMF, GRUB from the disk, a stock kernel."""

import shutil

from conftest import CMDLINE, guest_tool

BIOS = "/usr/share/seabios/bios-256k.bin"
OVMF = "/usr/share/OVMF/OVMF_CODE_4M.fd"
VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"
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


def test_uefi_boots_the_disks_loader_and_keeps_its_variables(start_guest, tmp_path):
    disk, variables = tmp_path / "disk", tmp_path / "variables"
    guest_tool("mkefidisk", "--out", disk, "--say", "the loader speaks")
    shutil.copyfile(VARIABLES, variables)
    guest = start_guest("--firmware", OVMF, "--nvram", variables, "--disk", f"path={disk}", kernel=None)
    guest.expect("the loader speaks", timeout=SLOW)
    assert guest.wait() == 0
    entry = "Boot0001".encode("utf-16-le")
    with open(variables, "rb") as file:
        assert entry in file.read()
