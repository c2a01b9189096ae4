# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows with an installed system as guest: firmware, GRUB and Debian, against QEMU with the same firmware and image."""
import os
import select
import shutil
import subprocess
import tempfile
import time

from rows_guest import guest_tool, scratch_folder, through_lab
from rows_start import figure

BIOS = "/usr/share/seabios/bios-256k.bin"
OVMF = "/usr/share/OVMF/OVMF_CODE_4M.fd"
VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"
MARKS = (b"Booting `Debian GNU/Linux'", b"debian login: ")  # of the boot loader; of the system
TIMEOUT_S = 580  # each; an emulated host takes minutes


def ours(build, disk, variables):
    firmware = ["--firmware", OVMF, "--nvram", variables] if variables else ["--firmware", BIOS]
    return [f"{build}/kvasir-vmm", *firmware, "--memory", "512M", "--serial", "stdio", "--disk",
            f"path={disk},format=qcow2"]


def qemu(disk, variables):
    firmware = ["-bios", BIOS]
    if variables:
        firmware = ["-drive", f"if=pflash,unit=0,readonly=on,format=raw,file={OVMF}",
                    "-drive", f"if=pflash,unit=1,format=raw,file={variables}"]
    return ["qemu-system-x86_64", "-M", "q35,accel=kvm", "-cpu", "host", "-nodefaults", "-no-user-config",
            "-display", "none", "-m", "512", *firmware, "-serial", "stdio", "-drive",
            f"if=none,id=disk,file={disk},format=qcow2", "-device", "virtio-blk-pci,drive=disk"]


def times_to(command):
    """Seconds from the start until the serial port has said each mark."""
    said, times, begin = b"", [], time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            while len(times) < len(MARKS):
                if time.monotonic() - begin > TIMEOUT_S:
                    raise RuntimeError(f"{command[0]}: no {MARKS[len(times)]!r} in {TIMEOUT_S} s: {said[-300:]!r}")
                if not select.select([process.stdout], [], [], 1)[0]:
                    continue
                piece = os.read(process.stdout.fileno(), 65536)
                if not piece:
                    raise RuntimeError(f"{command[0]} ended: {process.stderr.read()[-300:]!r} {said[-300:]!r}")
                said += piece
                while len(times) < len(MARKS) and MARKS[len(times)] in said:
                    times.append(time.monotonic() - begin)
            return times
        finally:
            process.kill()
            process.wait()


def measure(build, image, command, uefi):
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as folder:
        disk, variables = f"{folder}/disk.qcow2", f"{folder}/variables" if uefi else None
        subprocess.run([f"{build}/kvasir-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image, disk], check=True)
        if uefi:
            shutil.copyfile(VARIABLES, variables)
        return times_to(command(disk, variables))


def boots(build, uefi):
    image = guest_tool("debian", "--build", build)
    commands = {"ours": lambda *disk: ours(build, *disk), "QEMU q35": qemu}
    times = {}
    for name, command in commands.items():
        try:
            times[name] = measure(build, image, command, uefi)
        except RuntimeError as e:
            print(f"  {name}: {e}", flush=True)
    for i, what in enumerate(("boot loader", "login")):
        mine, theirs = (times[name][i] * 1000 if name in times else None for name in commands)
        yield figure(f"{'OVMF' if uefi else 'SeaBIOS'}, start to {what}", mine, theirs, "ms", "QEMU q35", "< 1")


def firmware_bios(build):
    """an installed Debian by SeaBIOS, to GRUB and to its login (512 MiB, 1 vCPU)"""
    yield from boots(build, False)


def firmware_uefi(build):
    """an installed Debian by OVMF, to GRUB and to its login (512 MiB, 1 vCPU)"""
    yield from boots(build, True)


def prepared(row):
    """The row with the image made before the lab, which has no network, starts."""
    def run(build):
        guest_tool("debian", "--build", build)
        yield from row(build)
    run.__name__, run.__doc__ = row.__name__, row.__doc__
    return run


ROWS = [prepared(through_lab(row)) for row in (firmware_bios, firmware_uefi)]
