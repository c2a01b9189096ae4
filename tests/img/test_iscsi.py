# SPDX-License-Identifier: GPL-2.0-or-later
"""iSCSI against Debian's tgt, whose tgtd is a plain process."""

import json
import os
import shutil
import socket
import subprocess
import time

import pytest

from conftest import OURS, THEIRS, finish, run, start

MIB = 1 << 20
TARGET = "iqn.2026-01.example:disk"

if not shutil.which("tgtd") or not shutil.which("tgtadm"):
    pytest.skip("tgt is needed", allow_module_level=True)
if "built without" in run(OURS, ["info", "iscsi://127.0.0.1:1/x/1"], "/").err:
    pytest.skip("this build has no iSCSI", allow_module_level=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Target:
    """A tgtd with one unit of 32 MiB, thin."""

    def __init__(self, folder):
        self.folder, self.port, self.process, self.accounts = str(folder), free_port(), None, []
        self.image = f"{self.folder}/unit.img"
        # tgtadm reaches its daemon through a socket that is known by a number.
        self.control = str(self.port % 30000)
        self.url = f"iscsi://127.0.0.1:{self.port}/{TARGET}/1"
        with open(self.image, "wb") as image:
            image.truncate(32 * MIB)
        os.makedirs("/var/run/tgtd", exist_ok=True)

    def admin(self, *words):
        subprocess.run(["tgtadm", "-C", self.control, "--lld", "iscsi", *words], check=True, timeout=20,
                       stdout=subprocess.DEVNULL)

    def start(self):
        with open(f"{self.folder}/tgtd.log", "ab") as log:
            self.process = subprocess.Popen(["tgtd", "-f", "-C", self.control, "--iscsi", f"portal=127.0.0.1:{self.port}"],
                                            stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while subprocess.run(["tgtadm", "-C", self.control, "--lld", "iscsi", "--mode", "sys", "--op", "show"],
                             check=False, timeout=20, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            assert time.monotonic() < deadline and self.process.poll() is None, "tgtd did not come up"
            time.sleep(0.05)
        self.admin("--mode", "target", "--op", "new", "--tid", "1", "-T", TARGET)
        self.admin("--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1", "-b", self.image)
        self.admin("--mode", "logicalunit", "--op", "update", "--tid", "1", "--lun", "1", "--params",
                   "thin_provisioning=1")
        for user, password in self.accounts:
            self.admin("--mode", "account", "--op", "new", "--user", user, "--password", password)
            self.admin("--mode", "account", "--op", "bind", "--tid", "1", "--user", user)
        self.admin("--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL")

    def end(self):
        # It takes no notice of SIGTERM while there are targets.
        if self.process:
            self.process.kill()
            self.process.wait(20)
        self.process = None


@pytest.fixture
def target(tmp_path):
    one = Target(tmp_path)
    yield one
    one.end()
    for leftover in (f"/var/run/tgtd/socket.{one.control}", f"/var/run/tgtd/socket.{one.control}.lock"):
        if os.path.exists(leftover):
            os.unlink(leftover)


def ours(*words, status=0):
    result = run(OURS, words, "/")
    assert result.status == status, (words, result)
    return result


def make_source(path):
    with open(path, "wb") as source:
        source.write(os.urandom(5 * MIB))
        source.truncate(32 * MIB)


def test_a_unit_is_written_and_read_and_qemu_agrees(target, tmp_path):
    target.start()
    source = f"{tmp_path}/source.raw"
    make_source(source)
    ours("convert", "-n", "-f", "raw", "-O", "raw", source, target.url)
    ours("compare", "-f", "raw", "-F", "raw", source, target.url)
    theirs = run(THEIRS, ["compare", "-f", "raw", "-F", "raw", source, target.url], "/")
    if "Unknown protocol" not in theirs.err:
        assert theirs.status == 0, theirs
        assert json.loads(ours("map", "--output=json", "-f", "raw", target.url).out) == \
            json.loads(run(THEIRS, ["map", "--output=json", "-f", "raw", target.url], "/").out)
    # Zeros and what is discarded have no place in the target's file.
    assert os.stat(target.image).st_blocks * 512 <= 6 * MIB


def test_a_format_lies_on_a_unit(target, tmp_path):
    target.start()
    source = f"{tmp_path}/source.raw"
    make_source(source)
    image = f"{tmp_path}/image.qcow2"
    ours("convert", "-f", "raw", "-O", "qcow2", source, image)
    ours("dd", "-f", "raw", "-O", "raw", "bs=1M", f"if={image}", f"of={tmp_path}/copy")
    ours("convert", "-n", "-f", "raw", "-O", "raw", f"{tmp_path}/copy", target.url)
    assert json.loads(ours("info", "--output=json", target.url).out)["format"] == "qcow2"
    ours("compare", "-f", "qcow2", "-F", "raw", target.url, source)


def test_bytes_that_are_no_blocks_are_written_by_whole_ones(target):
    target.start()
    with open(target.image, "r+b") as image:
        image.write(b"\x11" * 4096)
    window = json.dumps({"driver": "raw", "offset": 512, "size": 1024, "file": {
        "driver": "iscsi", "portal": f"127.0.0.1:{target.port}", "target": TARGET, "lun": 1}})
    ours("bench", "-c", "1", "-w", "--pattern=34", "-o", "100", "-s", "300", "-f", "raw", f"json:{window}")
    with open(target.image, "rb") as image:
        assert image.read(4096) == b"\x11" * 612 + b"\x22" * 300 + b"\x11" * (4096 - 912)


def test_a_target_wants_a_password(target):
    target.accounts = [("someone", "opensesame123")]
    target.start()
    assert "refused" in ours("info", "-f", "raw", target.url, status=1).err
    for password, status in (("opensesame123", 0), ("wrongpassword", 1)):
        ours("info", "--object", f"secret,id=sec0,data={password}", "--image-opts",
             f"driver=raw,file.driver=iscsi,file.portal=127.0.0.1:{target.port},file.target={TARGET},"
             "file.lun=1,file.user=someone,file.password-secret=sec0", status=status)
    assert "needs both" in ours("info", "--image-opts",
                                f"driver=raw,file.driver=iscsi,file.portal=127.0.0.1:{target.port},"
                                f"file.target={TARGET},file.user=someone", status=1).err


def test_requests_wait_for_a_target_that_comes_back(target, tmp_path):
    target.start()
    source = f"{tmp_path}/source.raw"
    with open(source, "wb") as data:
        data.write(os.urandom(32 * MIB))
    process = start(OURS, ["convert", "-n", "-f", "raw", "-O", "raw", "-r", "16M", "-t", "writethrough", source, target.url], "/")
    time.sleep(0.7)
    target.end()
    time.sleep(0.5)
    target.start()
    result = finish(process)
    assert result.status == 0, result
    assert "connection is lost" in result.err
    ours("compare", "-f", "raw", "-F", "raw", source, target.url)


def test_what_is_not_there_is_told(target):
    target.start()
    base = f"iscsi://127.0.0.1:{target.port}"
    assert "LUN 7" in ours("info", f"{base}/{TARGET}/7", status=1).err
    assert "refused" in ours("info", f"{base}/iqn.2026-01.example:other/1", status=1).err
    assert "iscsi://" in ours("info", "iscsi://nowhere", status=1).err
    target.end()
    assert "target" in ours("info", target.url, status=1).err
