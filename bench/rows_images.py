# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows about disk images: kvasir-img against qemu-img on the same files, in turns.

Files lie in the build folder, so on the disk that is there: cached reads, O_DIRECT reads and
writes, allocation, conversion. Disks are noisy: everything is run in turns, medians are shown.
"""
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time

from rows_start import figure

ROUNDS = 7
DEPTH = ["-d", "64"]
MIB = 1 << 20


class Files:
    """A folder for images, removed in the end. Fresh files of its helpers replace older ones."""

    def __init__(self, build):
        if not shutil.which("qemu-img"):
            raise RuntimeError("qemu-img is not installed (make setup-bench)")
        self.ours = f"{build}/kvasir-img"
        self.folder = tempfile.TemporaryDirectory(dir=build, prefix="bench-images-")

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def make(self, name, size_mib, *options, fmt="qcow2"):
        """An empty image."""
        path = self.path(name)
        run("qemu-img", "create", "-q", "-f", fmt, *options, path, f"{size_mib}M")
        return path

    def filled(self, name, size_mib, fmt):
        """An image whose every cluster is allocated, with random data."""
        path = self.make(name, size_mib, fmt=fmt)
        source = self.path("source")
        if not os.path.exists(source):
            with open(source, "wb") as file:
                for _ in range(size_mib):
                    file.write(os.urandom(MIB))
        run("qemu-img", "convert", "-O", fmt, source, path)
        return path


def run(*command):
    # Python's own time limit looks every 50 ms whether the process has ended: that would be the
    # grain of every figure. So the wait is the kernel's, and another thread minds the limit.
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        limit = threading.Timer(600, process.kill)
        limit.start()
        try:
            status = process.wait()
        finally:
            limit.cancel()
    if status != 0:
        raise subprocess.CalledProcessError(status, command)


def seconds(*command, before=None):
    if before:
        before()
    os.sync()  # what the last one left to write is not this one's
    begin = time.monotonic()
    run(*command)
    return time.monotonic() - begin


def in_turns(commands, rounds=ROUNDS, before=None):
    """{name: median seconds} of {name: command}, run in turns."""
    times = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(seconds(*command, before=before))
    return {name: statistics.median(values) for name, values in times.items()}


def bench(program, fmt, cache, count, path, *more):
    return [program, "bench", "-f", fmt, "-t", cache, "-i", "io_uring", "-c", str(count), *DEPTH,
            *more, path]


def against(name, files, fmts, targets, cache, count, *more, rounds=ROUNDS, before=None):
    """Figures of one access pattern: ours on qcow2 against qemu-img on each format's file."""
    commands = {"ours": bench(files.ours, "qcow2", cache, count, fmts["qcow2"], *more)}
    for fmt in targets:
        commands[fmt] = bench("qemu-img", fmt, cache, count, fmts[fmt], *more)
    times = in_turns(commands, rounds, before)
    for fmt, target in targets.items():
        yield figure(name, times["ours"] * 1000, times[fmt] * 1000, "ms", f"qemu-img, {fmt}",
                     target)


def image_accesses(build):
    """4 KiB reads and rewrites of allocated images, queue depth 64"""
    stride = ["-s", "4096", "-S", "65536"]
    with Files(build) as files:
        fmts = {fmt: files.filled(f"full.{fmt}", 1024, fmt) for fmt in ("qcow2", "raw")}
        yield from against("4 KiB reads, page cache", files, fmts, {"qcow2": "<= 0.6"},
                           "writeback", 100000, *stride)
        yield from against("4 KiB reads, cache none", files, fmts,
                           {"raw": "<= 1.15", "qcow2": "< 1"}, "none", 100000, *stride)
        yield from against("4 KiB rewrites, cache none", files, fmts,
                           {"raw": "<= 1.1", "qcow2": ""}, "none", 50000, "-w", *stride)


def image_allocation(build):
    """64 KiB writes to fresh images, queue depth 64"""
    with Files(build) as files:
        fmts = {fmt: files.path(f"fresh.{fmt}") for fmt in ("qcow2", "raw")}

        def fresh():
            for fmt in fmts:
                files.make(f"fresh.{fmt}", 2048, fmt=fmt)

        yield from against("64 KiB allocating writes, cache none", files, fmts,
                           {"qcow2": "<= 0.5", "raw": "aim 1.3"}, "none", 20000, "-w", "-s", "65536",
                           before=fresh)


def image_conversion(build):
    """raw to qcow2, 1 GiB of data in 2 GiB, plain and compressed"""
    with Files(build) as files:
        source, target = files.path("source.raw"), files.path("target")
        with open(source, "wb") as file:
            for _ in range(512):  # half of it compresses
                file.write(os.urandom(MIB) + (os.urandom(64) * (MIB // 64)))
            file.truncate(2048 * MIB)

        def convert(program, *more):
            return [program, "convert", "-O", "qcow2", *more, source, target]

        def gone():
            if os.path.exists(target):
                os.unlink(target)

        times = in_turns({"ours": convert(files.ours), "theirs": convert("qemu-img"),
                          "cp": ["cp", source, target]}, before=gone)
        yield figure("convert raw to qcow2", times["ours"] * 1000, times["theirs"] * 1000, "ms",
                     "qemu-img", "<= 0.8")
        yield figure("convert raw to qcow2", times["ours"] * 1000, times["cp"] * 1000, "ms", "cp")
        times = in_turns({"ours": convert(files.ours, "-c"), "theirs": convert("qemu-img", "-c")},
                         rounds=3, before=gone)
        yield figure("convert -c raw to qcow2", times["ours"] * 1000, times["theirs"] * 1000, "ms",
                     "qemu-img", "<= 0.55")


ROWS = [image_accesses, image_allocation, image_conversion]
