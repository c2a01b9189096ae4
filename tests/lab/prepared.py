# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that take too long to make in an emulated host: tests/lab/run makes them before it starts one."""

import os
import subprocess
import tempfile

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
ROOT_SIZE = "160M"


def compressed_root(build, folder):
    """A root file system with fio as compressed qcow2 image; its path. One that is there is kept."""
    path = os.path.join(folder, "root.qcow2")
    if not os.path.exists(path):
        with tempfile.TemporaryDirectory(dir=folder) as work:
            raw, image = os.path.join(work, "root"), os.path.join(work, "root.qcow2")
            subprocess.run([os.path.join(PROJECT, "lab/guest/mkdisk"), "--out", raw, "--size", ROOT_SIZE, "--bin", "fio"],
                           stdout=subprocess.DEVNULL, check=True)
            subprocess.run([os.path.join(build, "kvasir-img"), "convert", "-c", "-O", "qcow2", raw, image],
                           stdout=subprocess.DEVNULL, check=True)
            os.rename(image, path)
    return path


def stock_initrd():
    """The RAM disk of the machines of kv_stock.py, kept in the lab's cache; its path."""
    done = subprocess.run([os.path.join(PROJECT, "lab/guest/mkinitrd"), "--module", "button", "--module", "evdev"],
                          stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()
