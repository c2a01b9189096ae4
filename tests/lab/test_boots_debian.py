# SPDX-License-Identifier: GPL-2.0-or-later
"""Images of `kvasir image build debian` boot to their login: by both firmwares, from each kind of disk.

The login is read off the serial port and off a VNC viewer's picture. These take minutes each in an
emulated host, so they are, with the other test_boots_*.py, a suite of their own: tests/run boots.
"""

import shutil
import subprocess
import time

import pytest

from conftest import guest_tool
from test_firmware import BIOS, OVMF, VARIABLES
from vnc_viewer import Viewer

PATIENCE = 600  # seconds, for a step
LONG = pytest.mark.seconds(2 * PATIENCE)
pytestmark = LONG
KERNELS = {"virtio": "cloud", "scsi": "cloud", "sata": "generic", "nvme": "cloud"}  # the cloud kernel has no AHCI


def debian_disk(build, folder, kernel="cloud"):
    """A disk of one machine, on an image that kvasir built."""
    disk = folder / "disk.qcow2"
    subprocess.run([build / "kvasir-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b",
                    guest_tool("debian", "--build", build, "--kernel", kernel), disk], check=True)
    return disk


@pytest.mark.parametrize("bus,cpus", [("virtio", 4), *((bus, 1) for bus in KERNELS)])
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_a_built_debian_boots_to_its_login(firmware, bus, cpus, start_guest, build, scratch, tmp_path, capsys):
    disk, variables = debian_disk(build, scratch, KERNELS[bus]), scratch / "variables"
    shutil.copyfile(VARIABLES, variables)
    words = ["--firmware", BIOS] if firmware == "bios" else ["--firmware", OVMF, "--nvram", variables]
    begin = time.monotonic()
    guest = start_guest(*words, "--disk", f"path={disk},format=qcow2,bus={bus}", "--vga", "", "--vnc", f"unix:{tmp_path}/vnc",
                        kernel=None, memory="512M", cpus=cpus)
    guest.expect("Booting `Debian GNU/Linux'", timeout=PATIENCE)
    loader = time.monotonic() - begin
    guest.expect("debian login: ", timeout=PATIENCE)
    login = time.monotonic() - begin
    viewer = Viewer(f"{tmp_path}/vnc", timeout=PATIENCE)
    viewer.wait_for("debian login: ")
    viewer.close()
    with capsys.disabled():
        print(f"\n{firmware}, {bus}, {cpus} processors: the loader's menu after {loader:.1f} s, the login after {login:.1f} s")
    guest.send("root\n")
    guest.expect("debian:~# ", timeout=PATIENCE)
    guest.send("nproc\n")
    guest.expect(f"[\r\n]{cpus}\r", timeout=PATIENCE)
    guest.send("systemctl poweroff\n")
    assert guest.wait(PATIENCE) == 0
