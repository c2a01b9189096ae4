# SPDX-License-Identifier: GPL-2.0-or-later
"""What lies inside qcow2 images: snapshots, damage and its repair."""

import re
import struct

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
    twins.same("measure", "-O", "qcow2", "-l", "first", "a", clean=lambda text: text.replace("bitmaps size: 0\n", ""))
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
