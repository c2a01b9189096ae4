# SPDX-License-Identifier: GPL-2.0-or-later
"""Images of `kvasir image build debian` boot to their login: by both firmwares, from each kind of disk.

These take minutes each in an emulated host, so they are a suite of their own: tests/run boots.
"""

import shutil
import subprocess
import time

import pytest

from conftest import guest_tool
from test_firmware import BIOS, OVMF, VARIABLES

PATIENCE = 600  # seconds
KERNELS = {"virtio": "cloud", "scsi": "cloud", "sata": "generic"}  # the cloud kernel has no AHCI


def debian_disk(build, folder, kernel="cloud"):
    """A disk of one machine, on an image that kvasir built."""
    disk = folder / "disk.qcow2"
    subprocess.run([build / "kvasir-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b",
                    guest_tool("debian", "--build", build, "--kernel", kernel), disk], check=True)
    return disk


@pytest.mark.parametrize("bus", KERNELS)
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_a_built_debian_boots_to_its_login(firmware, bus, start_guest, build, scratch, capsys):
    disk, variables = debian_disk(build, scratch, KERNELS[bus]), scratch / "variables"
    shutil.copyfile(VARIABLES, variables)
    words = ["--firmware", BIOS] if firmware == "bios" else ["--firmware", OVMF, "--nvram", variables]
    begin = time.monotonic()
    guest = start_guest(*words, "--disk", f"path={disk},format=qcow2,bus={bus}", kernel=None, memory="512M")
    guest.expect("Booting `Debian GNU/Linux'", timeout=PATIENCE)
    loader = time.monotonic() - begin
    guest.expect("debian login: ", timeout=PATIENCE)
    login = time.monotonic() - begin
    with capsys.disabled():
        print(f"\n{firmware}, {bus}: the loader's menu after {loader:.1f} s, the login after {login:.1f} s")
    guest.send("root\n")
    guest.expect("debian:~# ", timeout=PATIENCE)
    guest.send("systemctl poweroff\n")
    assert guest.wait(PATIENCE) == 0
