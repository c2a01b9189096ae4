# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices whose drivers Debian's cloud kernel leaves out, with its full one: virtio-gpu and the TPM."""
import os
import socket
import subprocess
import sys
import time

import pytest
from conftest import PROJECT, guest_tool

sys.path.insert(0, os.path.join(PROJECT, "tests"))
from vnc_viewer import read_ppm  # noqa: E402  pylint: disable=wrong-import-position


@pytest.fixture
def software_tpm(tmp_path):
    """The control socket of a swtpm."""
    ours, theirs = socket.socketpair()
    state = tmp_path / "tpm"
    state.mkdir()
    with ours, theirs:
        process = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--ctrl",
                                    f"type=unixio,clientfd={theirs.fileno()}"], pass_fds=[theirs.fileno()])
        yield ours
        process.kill()
        process.wait()


def picture(guest, path):
    with open(path, "w+b") as file:
        guest.monitor.send_fd(file.fileno(), {"execute": "getfd", "arguments": {"fdname": "shot"}})
        assert "return" in guest.monitor.receive(60)
        guest.qmp("screendump", filename="shot")
        file.seek(0)
        return read_ppm(file.read())


def test_a_stock_kernel_draws_on_virtio_gpu_and_uses_the_tpm(start_guest, make_initrd, software_tpm, tmp_path):
    initrd = make_initrd(module=["virtio-gpu"], kernel="full")
    guest = start_guest("--vga", "model=virtio,xres=1024,yres=768", "--tpm", f"fd:{software_tpm.fileno()}",
                        initrd=initrd, kernel=guest_tool("kernel", "--full"), memory="512M", pass_fds=[software_tpm.fileno()])
    assert guest.shell("cat /sys/class/tpm/tpm0/tpm_version_major").strip() == "2"
    assert "MSFT0101" in guest.shell("readlink -f /sys/class/tpm/tpm0/device")
    assert len(guest.shell("cat /sys/class/tpm/tpm0/pcr-sha256/0").strip()) == 64
    assert guest.shell("cat /sys/class/drm/card0-Virtual-1/status").strip() == "connected"
    assert guest.shell("head -1 /sys/class/drm/card0-Virtual-1/modes").strip() == "1024x768"
    assert guest.shell("cat /sys/class/graphics/fb0/virtual_size").strip() == "1024,768"
    # In one piece: of many small writes Linux 6.1 tells the device only some.
    guest.shell("head -c 3145728 /dev/zero | tr '\\0' '\\377' > /tmp/white; dd if=/tmp/white of=/dev/fb0 bs=3145728")
    deadline = time.monotonic() + 60
    while len(rows := picture(guest, tmp_path / "shot")) != 768 or rows[700][1000] != (255, 255, 255):
        assert time.monotonic() < deadline, f"{len(rows)} rows"
        time.sleep(0.5)
    assert guest.qmp("query-status")["running"]
