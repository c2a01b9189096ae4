# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows about NBD: kvasir-img's client against qemu-img's, on one server, at several depths."""
import shutil
import subprocess
import time

from rows_images import MIB, Files, in_turns
from rows_start import figure

SIZE_MIB = 128
DEPTHS = {1: 4000, 4: 10000, 16: 15000, 64: 15000}  # and how many requests


class Server:
    """nbdkit or qemu-nbd with an image in the page cache, on a unix socket."""

    def __init__(self, files, program):
        if not shutil.which(program):
            raise RuntimeError(f"{program} is not installed (make setup-bench)")
        image, self.socket = files.path("image.raw"), files.path("socket")
        with open(image, "wb") as to:
            for _ in range(SIZE_MIB):
                to.write(b"\x5a" * MIB)
        self.command = {"nbdkit": ["nbdkit", "-f", "-U", self.socket, "file", image],
                        "qemu-nbd": ["qemu-nbd", "-t", "-f", "raw", "--cache=writeback", "-k", self.socket, image]}[program]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            if subprocess.run(["nbdinfo", "--size", self.url()], check=False, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.05)
        return self

    def __exit__(self, *args):
        self.process.kill()
        self.process.wait()

    def url(self):
        return f"nbd+unix:///?socket={self.socket}"


def nbd_client(build):
    """4 KiB reads over NBD, page cache, depths 1 to 64"""
    for program in ("nbdkit", "qemu-nbd"):
        with Files(build) as files, Server(files, program) as server:
            for depth, count in DEPTHS.items():
                words = ["bench", "-c", str(count), "-d", str(depth), "-s", "4096", "-f", "raw", server.url()]
                times = in_turns({"ours": [files.ours, *words], "theirs": ["qemu-img", *words]}, rounds=5)
                yield figure(f"4 KiB reads over NBD, {program}, depth {depth}", times["ours"] * 1000,
                             times["theirs"] * 1000, "ms", "qemu-img", "<= 1.0")


ROWS = [nbd_client]
