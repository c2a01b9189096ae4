# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest whose root is a qcow2 image over a compressed one that comes over NBD."""

import json
import os
import shutil
import subprocess
import time

import prepared
import pytest

ROOT = "root=/dev/vda rw"
# Two processes that write at random places of files on the root, then read all of it back and compare.
VERIFY = ("fio --name=check --directory=/ --size=4M --numjobs=2 --rw=randwrite --bsrange=4k-64k --direct=1 --ioengine=libaio "
          "--iodepth=8 --verify=crc32c --verify_fatal=1 --group_reporting --output-format=terse --terse-version=3")


@pytest.fixture
def img(build):
    """Runs kvasir-img; its output."""
    def run(*words):
        done = subprocess.run([build / "kvasir-img", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout
    return run


@pytest.fixture
def over_nbd(build, scratch, img):
    """An overlay whose backing file is a compressed qcow2, which an NBD server hands out."""
    overlay, socket = scratch / "overlay.qcow2", scratch / "nbd.sock"
    base = prepared.compressed_root(build, os.environ.get("KVASIR_PREPARED", scratch))
    assert json.loads(img("check", "--output=json", base))["compressed-clusters"] > 100
    server = subprocess.Popen([build / "kvasir-img", "nbd", "-k", socket, "-t", "-e", "0", "-r", "-f", "raw", base])
    try:
        while not socket.exists():
            assert server.poll() is None
            time.sleep(0.05)
        img("create", "-f", "qcow2", "-b", f"nbd+unix:///?socket={socket}", "-F", "qcow2", overlay)
        yield overlay
    finally:
        server.terminate()
        server.wait()


def check_both(img, overlay):
    assert "No errors were found" in img("check", overlay)
    if shutil.which("qemu-img"):
        subprocess.run(["qemu-img", "check", "-q", overlay], check=True)


def test_a_root_over_nbd_is_verified_and_checks_clean(start_guest, make_initrd, over_nbd, img):
    guest = start_guest("--disk", f"path={over_nbd},format=qcow2,discard=on", initrd=make_initrd(), append=ROOT, cpus=2,
                        memory="512M")
    guest.shell("mount -o remount,discard /")
    assert " / ext4 rw,relatime,discard" in guest.shell("grep ' / ' /proc/mounts")
    for _ in range(2):  # the second time in space that was discarded
        said = guest.shell(VERIFY)
        assert said.split(";")[4] == "0", said  # terse: version, fio, name, group, error
        guest.shell("rm /check*; sync")
    assert guest.qmp("query-blockstats")[0]["stats"]["unmap_operations"] > 0
    chain = guest.qmp("query-block")[0]["inserted"]
    assert chain["drv"] == "qcow2" and chain["backing_file_depth"] == 1
    guest.send("poweroff -f\n")
    assert guest.wait() == 0
    check_both(img, over_nbd)


def test_an_image_whose_monitor_was_killed_checks_clean_and_boots(start_guest, make_initrd, over_nbd, img, build):
    disk = ("--disk", f"path={over_nbd},format=qcow2,discard=on")
    guest = start_guest(*disk, initrd=make_initrd(), append=ROOT, cpus=2, memory="512M")
    guest.shell("mount -o remount,discard /; echo promised >/kept; sync")
    guest.send(f"while :; do {VERIFY} >/fio; rm /check*; done\n")
    deadline = time.monotonic() + 150
    while guest.qmp("query-blockstats")[0]["stats"]["wr_operations"] < 200:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    guest.end()  # SIGKILL
    # Clusters that were to be used next may be lost, as after a power cut, but nothing else.
    done = subprocess.run([build / "kvasir-img", "check", "--output=json", over_nbd], stdout=subprocess.PIPE, check=False)
    result = json.loads(done.stdout)
    assert (done.returncode, "corruptions" in result, result["check-errors"]) == (3 if result.get("leaks") else 0, False, 0)
    img("check", "-q", "-r", "leaks", over_nbd)
    check_both(img, over_nbd)
    again = start_guest(*disk, initrd=make_initrd(), append=ROOT)
    assert again.shell("cat /kept").strip() == "promised"
