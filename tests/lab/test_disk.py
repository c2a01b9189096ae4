# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks: the root file system, data that comes back as written, errors and limits."""

import hashlib
import os
import subprocess

ROOT = "root=/dev/vda rw"
DATA = 48 << 20  # bytes


def disk(path, **options):
    return ("--disk", ",".join([f"path={path}", *(f"{k}={v}" for k, v in options.items())]))


def make_data(path, size=DATA):
    """A file of pseudo-random bytes; its SHA-256."""
    digest = hashlib.sha256()
    with open(path, "wb") as f:
        block = hashlib.shake_128(b"kvasir").digest(1 << 20)
        for i in range(size >> 20):
            piece = i.to_bytes(8, "little") + block[8:]
            digest.update(piece)
            f.write(piece)
    return digest.hexdigest()


def file_hash(path, size):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while size:
            piece = f.read(min(size, 1 << 20))
            digest.update(piece)
            size -= len(piece)
    return digest.hexdigest()


def test_a_root_file_system_on_virtio_blk_keeps_its_data(start_guest, make_disk, make_initrd, scratch):
    """Written buffered and direct, read buffered and direct, found on the host afterwards, and after a reboot."""
    root = make_disk(size="128M", folder=scratch)
    source, target = scratch / "source", scratch / "target"
    expected = make_data(source)
    target.touch()
    os.truncate(target, DATA)
    disks = (*disk(root), *disk(source, readonly="on", serial="source0"), *disk(target, cache="none", discard="on"))

    guest = start_guest(*disks, initrd=make_initrd(), append=ROOT, cpus=2, memory="512M")
    assert " / ext4 rw" in guest.shell("grep ' / ' /proc/mounts")
    assert guest.shell("cat /sys/block/vdb/serial").strip() == "source0"
    assert guest.shell("cat /sys/block/vdb/ro").strip() == "1"
    assert guest.shell("sha256sum </dev/vdb").split()[0] == expected
    guest.shell("dd if=/dev/vdb of=/dev/vdc bs=64k oflag=direct 2>/dev/null")
    guest.shell("sync; echo 3 >/proc/sys/vm/drop_caches")
    assert guest.shell("dd if=/dev/vdc bs=1M iflag=direct 2>/dev/null | sha256sum").split()[0] == expected
    guest.shell("dd if=/dev/zero of=/dev/vdc bs=4k count=256 2>/dev/null; dd if=/dev/vdb of=/dev/vdc bs=4k 2>/dev/null")
    guest.shell("echo kept >/kept; sync; poweroff -f &")
    assert guest.wait() == 0
    assert file_hash(target, DATA) == expected

    again = start_guest(*disk(root), initrd=make_initrd(), append=ROOT)
    assert again.shell("cat /kept").strip() == "kept"


def test_discard_gives_the_host_its_space_back(shell_guest, scratch):
    path = scratch / "disk"
    make_data(path, 16 << 20)
    os.sync()
    before = os.stat(path).st_blocks
    guest = shell_guest(*disk(path, discard="on"))
    guest.shell("blkdiscard -o 0 -l $((8 << 20)) /dev/vda 2>/dev/null || blkdiscard /dev/vda")
    assert os.stat(path).st_blocks < before * 3 // 4


def test_a_disk_grows_while_the_guest_looks(shell_guest, scratch):
    path = scratch / "disk"
    make_data(path, 8 << 20)
    guest = shell_guest("--disk", f"path={path},id=grow")
    assert guest.shell("cat /sys/block/vda/size").strip() == str((8 << 20) // 512)
    guest.qmp("block_resize", device="grow", size=16 << 20)
    guest.shell("for i in 1 2 3 4 5 6 7 8 9; do [ $(cat /sys/block/vda/size) = 32768 ] && exit 0; sleep 1; done; exit 1"
                .replace("exit", "true ||"))
    assert guest.shell("cat /sys/block/vda/size").strip() == "32768"


def test_reading_beyond_a_truncated_file_is_an_error_of_the_guest_alone(shell_guest, scratch):
    path = scratch / "disk"
    make_data(path, 8 << 20)
    guest = shell_guest(*disk(path))
    os.truncate(path, 1 << 20)
    status, _ = guest.shell("dd if=/dev/vda of=/dev/null bs=1M skip=4 count=1 iflag=direct 2>/dev/null", check=False)
    assert guest.running()
    assert status in (0, 1)  # zeroes or an error, as the host says
    assert guest.qmp("query-status")["running"] is True


def test_a_rate_limit_holds(shell_guest, scratch):
    import time
    path = scratch / "disk"
    make_data(path, 16 << 20)
    guest = shell_guest("--disk", f"path={path},bps-total=4M")
    guest.shell("true")
    begin = time.monotonic()
    guest.shell("dd if=/dev/vda of=/dev/null bs=256k iflag=direct 2>/dev/null")
    took = time.monotonic() - begin
    assert took > 3.2  # 16 MiB at 4 MiB/s, less the burst


def test_a_full_host_stops_the_guest_and_nothing_is_lost_when_it_goes_on(shell_guest, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "small", small], check=True)
    try:
        (small / "disk").touch()
        os.truncate(small / "disk", 32 << 20)
        guest = shell_guest("--disk", f"path={small}/disk,id=full")
        guest.qmp("query-status")  # events come from here on
        expected = guest.shell("dd if=/dev/urandom of=/tmp/data bs=64k count=128 2>/dev/null; sha256sum </tmp/data")
        guest.send("dd if=/tmp/data of=/dev/vda bs=64k oflag=direct 2>/dev/null; sync; echo wr''itten\n")
        error = guest.event("BLOCK_IO_ERROR")["data"]
        assert (error["device"], error["operation"], error["action"], error["nospace"]) == ("full", "write", "stop", True)
        guest.event("STOP")
        assert guest.qmp("query-status")["status"] == "io-error"
        assert guest.qmp("query-block")[0]["io-status"] == "nospace"
        subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
        guest.qmp("cont")
        guest.expect("written")
        assert guest.qmp("query-block")[0]["io-status"] == "ok"
        assert file_hash(small / "disk", 8 << 20) == expected.split()[0]
        guest.end()
    finally:
        subprocess.run(["umount", "-l", small], check=True)
