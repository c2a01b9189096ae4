# SPDX-License-Identifier: GPL-2.0-or-later
"""However a machine ends, its images are closed clean and their bitmaps saved."""

import json
import os
import signal

from kv_disks import Machine, check_clean, make, qemu_img_info, run, serving


def image(folder):
    path = make(f"{folder}/disk.qcow2")
    run("qemu-img", "bitmap", "--add", path, "changes")
    return path


def dirty_ranges(folder, path):
    """Of the bitmap "changes", as qemu-nbd shows it."""
    with serving(folder, path, "-r", "-f", "qcow2", "-B", "changes") as (sock, _):
        shown = run("nbdinfo", "--json", "--map=qemu:dirty-bitmap:changes", f"nbd+unix:///?socket={sock}")
    return [(row["offset"], row["length"]) for row in json.loads(shown) if row["type"] == 1]


def ends_clean(folder, jail, end):
    path = image(folder)
    with Machine(folder, f"path={path},format=qcow2,id=d", jail=jail) as machine:
        machine.guest.write(0x100, 16, 0x5a)
        machine.guest.write(0x4000, 16, 0x5b)
        end(machine)
        assert machine.wait() == 0
    check_clean(path)
    bitmap = qemu_img_info(path)["format-specific"]["data"]["bitmaps"][0]
    assert bitmap["name"] == "changes" and bitmap["flags"] == ["auto"]
    assert dirty_ranges(folder, path) == [(0x20000, 0x10000), (0x800000, 0x10000)]


def test_quit_saves_bitmaps_and_leaves_a_clean_image(folder, jail):
    ends_clean(folder, jail, lambda machine: machine.qmp.execute("quit"))


def test_sigterm_saves_bitmaps_and_leaves_a_clean_image(folder, jail):
    ends_clean(folder, jail, lambda machine: os.kill(machine.process.pid, signal.SIGTERM))


def test_a_guest_that_switches_off_leaves_a_clean_image(folder, jail):
    ends_clean(folder, jail, lambda machine: machine.guest.end())
