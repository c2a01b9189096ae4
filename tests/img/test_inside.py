# SPDX-License-Identifier: GPL-2.0-or-later
"""What lies inside qcow2 images: snapshots, damage and its repair."""

import json
import os
import re
import struct
import subprocess
import time

import pytest


def without_times(text):
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", text)
    return re.sub(r"disk size: .*", "disk size", text)


def test_snapshots_are_made_listed_applied_and_deleted(twins):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "a", "6M")
    twins.io("a", "write -P 1 0 1M")
    twins.same("snapshot", "-c", "first", "a")
    twins.io("a", "write -P 2 64k 2M")
    twins.same("snapshot", "-c", "second with a name that is long", "a")
    twins.io("a", "write -P 3 128k 3M")
    twins.same("snapshot", "-l", "a", clean=without_times)
    twins.same("snapshot", "a", clean=without_times)
    twins.same("info", "a", clean=without_times)
    answers = [re.sub(r'("date-n?sec"|"actual-size"): \d+', "N", result.out)
               for result in twins.run("info", "--output=json", "a")]
    assert answers[0] == answers[1]
    for name in ("first", "snapshot.id=2", "snapshot.name=first", "2"):
        twins.same("convert", "-l", name, "-O", "raw", "a", "s.raw")
        twins.contents_are_equal("s.raw")
    twins.same("convert", "-l", "none", "-O", "raw", "a", "t.raw")
    twins.same("measure", "-O", "qcow2", "-l", "first", "a")
    for words in ("-a first", "-a 2", "-d 9", "-a none", "-d first", "-d 2",
                  "-d second"):
        twins.same("snapshot", *words.split(), "a")
        twins.contents_are_equal("a")
        twins.is_sound("a")
    twins.same("snapshot", "-l", "a")


@pytest.mark.parametrize("options", ["cluster_size=64k", "cluster_size=4k", "compat=0.10", "refcount_bits=8", "extended_l2=on"])
def test_check_of_sound_images_says_the_same(twins, options):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "a", "6M")
    twins.same("check", "a")
    twins.io("a", "write -P 1 0 1M", "write -P 2 3M 64k", "write -z 5M 64k", "write -P 3 3500k 3k")
    twins.same("check", "a")
    twins.same("check", "-q", "a")
    twins.same_json("check", "--output=json", "a")
    twins.prepare("qemu-img", "convert", "-c", "-O", "qcow2", "a", "c")
    twins.same("check", "c")
    twins.same_json("check", "--output=json", "c")


def set_refcounts(path, changes):
    """Of 16 bits, in the first refcount block."""
    with open(path, "r+b") as image:
        image.seek(48)
        table = struct.unpack(">Q", image.read(8))[0]
        image.seek(table)
        block = struct.unpack(">Q", image.read(8))[0]
        for cluster, value in changes.items():
            image.seek(block + 2 * cluster)
            image.write(struct.pack(">H", value))


def damaged(twins, changes):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "a", "6M")
    twins.io("a", "write -P 1 0 1M", "write -P 2 3M 64k")
    for folder in (twins.ours, twins.theirs):
        set_refcounts(f"{folder}/a", changes)


LEAKED = {30: 1, 31: 2}
HIGH = {6: 5}
LOST = {7: 0}


@pytest.mark.parametrize("changes", [LEAKED, HIGH, LOST, {**LEAKED, **HIGH}])
def test_check_finds_what_qemu_img_finds(twins, changes):
    damaged(twins, changes)
    twins.same("check", "a")
    ours, theirs = twins.run("check", "--output=json", "a")
    assert (ours.status, ours.out) == (theirs.status, theirs.out)


@pytest.mark.parametrize("changes", [LEAKED, HIGH])
@pytest.mark.parametrize("what", ["leaks", "all"])
def test_check_repairs_what_qemu_img_repairs(twins, changes, what):
    damaged(twins, changes)
    twins.same("check", "-r", what, "a", err=False)
    twins.same("check", "a")
    twins.is_sound("a")
    twins.contents_are_equal("a")


def test_check_repairs_lost_refcounts(twins):
    damaged(twins, LOST)
    before = twins.theirs_on_ours("convert", "-O", "raw", "a", "before.raw")
    assert before.status == 0
    assert twins.ours_only("check", "-r", "all", "a").status == 0
    twins.is_sound("a")
    assert twins.theirs_on_ours("compare", "a", "before.raw").status == 0


def test_bitmaps_are_managed_as_qemu_img_does(twins):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "a", "6M")
    for words in ("--add a one", "--add -g 128k a two", "--add --disable a three", "--disable a two", "--add a one", "--remove a none",
                  "--merge one a two", "--merge none a two", "--enable a three", "--clear a one", "--add -g 3k a four",
                  "--add -g 256 a four", "--add -g 4G a four", "--remove a three"):
        twins.same("bitmap", *words.split())
        twins.same("info", "a", clean=without_times)
        twins.is_sound("a")
    twins.same("bitmap", "--add", "--image-opts", "driver=raw,file.filename=a", "one", err=False)


def dirty_ranges(folder, image, name):
    """Of a disabled bitmap, asked of the distribution's tools."""
    path = f"{folder}/dirty"
    with subprocess.Popen(["qemu-nbd", "-r", "-k", path, "-B", name, image], cwd=folder) as server:
        while not os.path.exists(path):
            time.sleep(0.02)
        out = subprocess.run(["qemu-img", "map", "--output=json", "--image-opts",
                              f"driver=nbd,server.type=unix,server.path={path},x-dirty-bitmap=qemu:dirty-bitmap:{name}"],
                             stdout=subprocess.PIPE, check=True, timeout=30).stdout
        server.wait(10)
    if os.path.exists(path):
        os.unlink(path)
    return [(e["start"], e["length"]) for e in json.loads(out) if not e["data"]]


def test_bitmaps_keep_what_was_written_and_go_along_with_convert(twins):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "a", "6M")
    twins.prepare("qemu-img", "bitmap", "--add", "a", "one")
    twins.prepare("qemu-img", "bitmap", "--add", "-g", "4k", "a", "two")
    twins.io("a", "write -P 1 1M 64k", "write -P 1 3000k 5k")
    for name in ("one", "two"):
        twins.same("bitmap", "--disable", "a", name)
    twins.same("convert", "--bitmaps", "-O", "qcow2", "a", "b")
    twins.same("info", "b", clean=without_times)
    twins.is_sound("b")
    twins.same("bitmap", "--add", "--disable", "-g", "32k", "a", "sum")
    twins.same("bitmap", "--merge", "two", "a", "sum")
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "c", "6M")
    twins.same("bitmap", "--add", "--disable", "-b", "a", "-F", "qcow2", "--merge", "one", "c", "far")
    for image, name in (("a", "one"), ("a", "two"), ("b", "one"), ("b", "two"), ("a", "sum"), ("c", "far")):
        ours, theirs = dirty_ranges(twins.ours, image, name), dirty_ranges(twins.theirs, image, name)
        assert ours == theirs and ours, (image, name, ours, theirs)


@pytest.mark.parametrize("sizes", (["160M"], ["--shrink 36M"], ["160M", "--shrink 5M", "41M"]))
def test_bitmaps_go_along_when_an_image_is_resized(twins, sizes):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "a", "40M")
    twins.prepare("qemu-img", "bitmap", "--add", "-g", "512", "a", "on")
    twins.prepare("qemu-img", "bitmap", "--add", "-g", "64k", "a", "off")
    twins.io("a", "write -P 1 0 100k", "write -P 1 39M 1M", "write -P 1 35M 3M")
    twins.same("bitmap", "--disable", "a", "off")
    for size in sizes:
        twins.same("resize", *size.split()[:-1], "a", size.split()[-1])
        twins.io("a", "write -P 2 4M 8k")
        twins.is_sound("a")
    for name in ("on", "off"):
        ours, theirs = dirty_ranges(twins.ours, "a", name), dirty_ranges(twins.theirs, "a", name)
        assert ours == theirs and ours, (name, ours, theirs)
