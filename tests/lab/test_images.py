# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest whose root is a qcow2 image over a compressed one that comes over NBD."""

import os
import shutil
import subprocess
import time

import pytest

ROOT = "root=/dev/vda rw"
# Blocks of random data at random places, then all of them compared.
WORK = """i=0; while [ $i -lt 40 ]; do
    dd if=/dev/urandom of=/tmp/block bs=4k count=$((i % 7 + 1)) 2>/dev/null
    at=$((i * 37 % 64 * 8))
    dd if=/tmp/block of=/data bs=4k seek=$at conv=notrunc,fsync 2>/dev/null
    dd if=/tmp/block of=/tmp/copy bs=4k seek=$at conv=notrunc 2>/dev/null
    i=$((i + 1))
done; echo 3 >/proc/sys/vm/drop_caches; cmp /data /tmp/copy"""


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
def over_nbd(build, scratch, img, make_disk):
    """An overlay whose backing file is a compressed qcow2, which an NBD server hands out."""
    root = make_disk(size="64M", folder=scratch)
    base, overlay, socket = scratch / "base.qcow2", scratch / "overlay.qcow2", scratch / "nbd.sock"
    img("convert", "-c", "-O", "qcow2", root, base)
    assert os.stat(base).st_size < os.stat(root).st_size
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
    assert " / ext4 rw" in guest.shell("grep ' / ' /proc/mounts")
    guest.shell(WORK)
    guest.shell("rm /data; sync; fstrim / || true")
    chain = guest.qmp("query-block")[0]["inserted"]
    assert chain["drv"] == "qcow2" and chain["backing_file_depth"] == 1
    guest.send("poweroff -f\n")
    assert guest.wait() == 0
    check_both(img, over_nbd)


def test_an_image_whose_monitor_was_killed_checks_clean_and_boots(start_guest, make_initrd, over_nbd, img):
    disk = ("--disk", f"path={over_nbd},format=qcow2,discard=on")
    guest = start_guest(*disk, initrd=make_initrd(), append=ROOT, cpus=2, memory="512M")
    guest.shell("echo promised >/kept; sync")
    guest.send("while :; do dd if=/dev/urandom of=/noise bs=64k count=64 conv=fsync 2>/dev/null; rm /noise; fstrim /; done\n")
    time.sleep(5)
    guest.end()  # SIGKILL
    check_both(img, over_nbd)
    again = start_guest(*disk, initrd=make_initrd(), append=ROOT)
    assert again.shell("cat /kept").strip() == "promised"
