# SPDX-License-Identifier: GPL-2.0-or-later
"""Images, made and changed by both programs: the same words, the same content, sound files."""

import json
import re

import pytest

QCOW2_OPTIONS = [
    "cluster_size=512",
    "cluster_size=2M",
    "compat=0.10",
    "compat=v3",
    "lazy_refcounts=on",
    "refcount_bits=1",
    "refcount_bits=64",
    "extended_l2=on",
    "compression_type=zstd",
    "preallocation=metadata",
    "preallocation=full",
    "data_file=data.raw,data_file_raw=on",
    "extended_l2=on,cluster_size=128k,refcount_bits=8,lazy_refcounts=on,compression_type=zstd",
]


def without_times(text):
    """Snapshot dates and what files take on disk differ between two runs."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", text)
    return re.sub(r"disk size: .*", "disk size", text)


def shape(result):
    """Of map --output=json: what is there, whatever place it has in the file."""
    merged = []
    for entry in json.loads(result.out):
        kind = [entry[name] for name in ("depth", "present", "zero", "data")]
        if merged and merged[-1][1] == kind:
            merged[-1][0] += entry["length"]
        else:
            merged.append([entry["length"], kind])
    return merged


def some_content():
    """Data, zeros that are stored, and a hole."""
    block = bytes(range(256)) * 256
    return block * 7 + b"\0" * 300_000 + block[:5000] + b"\0" * (4096 * 5 + 512 * 3) + block * 3


@pytest.mark.parametrize("line", [
    "create -f raw a 10M",
    "create -f raw a 1000",
    "create -f raw a 1.5k",
    "create -f raw -o preallocation=falloc a 1M",
    "create -f raw -o preallocation=full a 1M",
    "create a 1M",
    "create -q -f qcow2 a 1M",
    "create -f qcow2 a 10M",
    "create -f qcow2 -o size=3M a",
    "create -f qcow2 -o lazy_refcounts=off,refcount_bits=16 a 1M",
] + [f"create -f qcow2 -o {options} a 5M" for options in QCOW2_OPTIONS])
def test_create_prints_the_line_and_makes_the_image(twins, line):
    twins.same(*line.split())
    if "help" not in line:
        ours, theirs = (twins.theirs_on_ours("info", "a"), twins.same("info", "a", clean=without_times))
        assert without_times(ours.out) == without_times(theirs.out)
        if "qcow2" in line:
            twins.is_sound("a")


@pytest.mark.parametrize("line", [
    "create -f qcow2 -o cluster_size=3k a 1M",
    "create -f qcow2 -o preallocation=bad a 1M",
    "create -f qcow2 -o compat=0.10,lazy_refcounts=on a 4M",
    "create -f qcow2 -o compat=0.10,refcount_bits=8 a 4M",
    "create -f qcow2 -F qcow2 a 4M",
    "create -f qcow2 /nonexistent/a 4M",
    "create -f raw /nonexistent/a 4M",
])
def test_create_says_what_it_would_make_and_why_it_cannot(twins, line):
    twins.same(*line.split())


def test_create_over_a_backing_file_takes_its_size(twins):
    twins.same("create", "-f", "qcow2", "base", "3M")
    twins.same("create", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top")
    twins.same("create", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top2", "5M")
    twins.same("create", "-f", "qcow2", "-b", "base", "wrong", clean=str.rstrip)
    for name in ("top", "top2"):
        twins.same("info", name, clean=without_times)
        twins.same("info", "--backing-chain", name, clean=without_times)
        twins.same_json("info", "--backing-chain", "--output=json", name, ignore=("actual-size",))


@pytest.mark.parametrize("options", QCOW2_OPTIONS)
def test_info_and_map_of_an_image_of_qemu_img_are_the_same(twins, options):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "a", "6M")
    twins.io("a", "write -P 1 0 1M", "write -P 2 3M 64k", "write -z 5M 64k", "write -P 3 3500k 3k")
    if "data_file" not in options:  # where we count the data file too
        twins.same("info", "a", clean=without_times)
        twins.same_json("info", "--output=json", "a", ignore=("actual-size",))
    ours, theirs = twins.run("map", "--output=json", "a")
    assert shape(ours) == shape(theirs)
    if "extended_l2" not in options:  # where qemu-img has offsets for what is not there
        assert json.loads(ours.out) == json.loads(theirs.out)
    twins.same("map", "a")
    twins.same("map", "--start-offset=64k", "--max-length=100k", "a")
    twins.same("map", "--start-offset=50M", "--output=json", "a")


@pytest.mark.parametrize("options", QCOW2_OPTIONS)
def test_convert_to_qcow2_and_back_keeps_every_byte(twins, options):
    twins.write("a.raw", some_content())
    twins.same("convert", "-O", "qcow2", "-o", options, "a.raw", "b")
    twins.is_sound("b")
    if "data_file" not in options:  # found from the image's folder by us, from the current one by qemu-img
        twins.contents_are_equal("b")
    twins.same_json("map", "--output=json", "a.raw")
    twins.same("convert", "-O", "raw", "b", "c.raw")
    twins.contents_are_equal("c.raw", "a.raw")
    ours, theirs = twins.run("map", "--output=json", "b")
    if "extended_l2" not in options and "preallocation" not in options:
        assert shape(ours) == shape(theirs)


@pytest.mark.parametrize("options", ["compression_type=zlib", "compression_type=zstd", "cluster_size=4k",
                                     "cluster_size=2M"])
def test_compressed_images_read_the_same_everywhere(twins, options):
    twins.write("a.raw", some_content())
    twins.same("convert", "-c", "-O", "qcow2", "-o", options, "a.raw", "b")
    twins.is_sound("b")
    twins.contents_are_equal("b", "a.raw")
    twins.same("map", "b")
    twins.same_json("map", "--output=json", "b")
    twins.same("compare", "b", "a.raw")


@pytest.mark.parametrize("words", ["-S 0", "-S 64k", "-m 1", "-m 16 -W", "-r 100M", "-C", "-t none", "-T none", "-q -p",
                                   "-p"])
def test_the_ways_to_convert_all_give_the_same_content(twins, words):
    twins.write("a.raw", some_content())
    twins.same("convert", *words.split(), "-O", "raw", "a.raw", "b.raw", out=words != "-p")
    twins.contents_are_equal("b.raw")


def test_convert_of_a_chain_flattens_it_or_keeps_its_backing_file(twins):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "base", "4M")
    twins.io("base", "write -P 1 0 1M")
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top")
    twins.io("top", "write -P 2 512k 1M", "write -z 3M 64k")
    twins.same("convert", "-O", "qcow2", "top", "flat")
    twins.contents_are_equal("flat")
    twins.same("convert", "-O", "qcow2", "-B", "base", "-F", "qcow2", "top", "thin")
    twins.contents_are_equal("thin")
    twins.same_json("map", "--output=json", "thin")
    twins.same("convert", "-O", "raw", "top", "base", "both")
    twins.contents_are_equal("both")


def test_convert_into_an_existing_image_overwrites_all_of_it(twins):
    twins.write("a.raw", some_content())
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "b", "4M")
    twins.io("b", "write -P 9 0 4M")
    twins.write("source.raw", some_content().ljust(4 << 20, b"\0"))
    twins.same("convert", "-n", "-f", "raw", "-O", "qcow2", "source.raw", "b")
    twins.contents_are_equal("b", "source.raw")
    twins.is_sound("b")
    twins.same("convert", "-n", "-f", "raw", "--target-image-opts", "source.raw", "driver=qcow2,file.filename=b")
    twins.contents_are_equal("b", "source.raw")


def test_resize_grows_and_shrinks(twins):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "a", "4M")
    twins.io("a", "write -P 1 3M 1M")
    for words in ("10M", "+1M", "--shrink 5M", "--shrink -2M", "-q 8M", "8M"):
        options, size = (words.split()[:-1], words.split()[-1])
        twins.same("resize", *options, "a", size)
        twins.contents_are_equal("a")
        twins.is_sound("a")
    twins.prepare("qemu-img", "create", "-q", "-f", "raw", "b", "4M")
    for size in ("+512", "6M", "6291457"):
        twins.same("resize", "-f", "raw", "b", size)
        twins.contents_are_equal("b")
    twins.same("resize", "-f", "raw", "--preallocation=full", "b", "+1M")
    twins.same_json("map", "--output=json", "-f", "raw", "b")


def test_compare_finds_the_first_difference(twins):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "a", "4M")
    twins.prepare("qemu-img", "create", "-q", "-f", "raw", "small", "1M")
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "large", "8M")
    twins.io("a", "write -P 1 0 1M")
    twins.prepare("cp", "a", "b")
    twins.io("b", "write -P 7 2000k 1k")
    twins.io("large", "write -P 7 6M 1k")
    for words in ("a a", "-q a b", "a b", "-s a b", "a small", "-s small a", "small large", "large small", "-s large b",
                  "-q small large", "a large", "-F raw small a", "-s a a"):
        twins.same("compare", *words.split(), out=words != "-s a b")


def test_measure_foretells_the_size(twins):
    twins.write("a.raw", some_content())
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "a", "4M")
    twins.io("a", "write -P 1 0 1M")
    twins.prepare("qemu-img", "bitmap", "--add", "-g", "512", "a", "x")
    twins.prepare("qemu-img", "bitmap", "--add", "a", "a longer name")
    for words in ("a.raw", "a", "-O qcow2 -o cluster_size=512 a", "-O qcow2 -o compat=0.10 a", "-O qcow2 a.raw", "-O qcow2 a", "-O qcow2 --size 1G", "-O qcow2 -o cluster_size=2M --size 1T",
                  "-O raw --size 1000000", "-O qcow2 -o cluster_size=3k --size 1G", "-O qcow2 -o extended_l2=on --size 3T",
                  "-O qcow2 -o preallocation=full --size 100M", "-O qcow2 -o refcount_bits=1 --size 77G"):
        twins.same("measure", *words.split())
        if "3k" not in words:
            twins.same_json("measure", "--output=json", *words.split())


def test_dd_copies_blocks(twins):
    twins.write("s.raw", some_content()[:5000] + b"x")
    for words in ("", "bs=1M", "bs=1000 count=2", "bs=1000 skip=1", "bs=1000 skip=10", "count=0", "bs=512 count=3", "bs=7 count=100",
                  "bs=1k skip=2"):
        twins.same("dd", "if=s.raw", "of=o.raw", *words.split())
        with open(f"{twins.ours}/o.raw", "rb") as ours, open(f"{twins.theirs}/o.raw", "rb") as theirs:
            assert ours.read() == theirs.read(), words
    twins.same("dd", "-O", "qcow2", "if=s.raw", "of=o.qcow2", "bs=64k")
    twins.contents_are_equal("o.qcow2")


def test_amend_changes_options(twins):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "a", "4M")
    twins.io("a", "write -P 1 0 1M")
    for options in ("compat=0.10", "refcount_bits=64", "compat=1.1,lazy_refcounts=on", "size=8M", "lazy_refcounts=off",
                    "compat=7"):
        twins.same("amend", "-o", options, "a")
        ours = twins.theirs_on_ours("info", "a")
        theirs = twins.run("info", "a")[1]
        assert without_times(ours.out) == without_times(theirs.out)
        twins.is_sound("a")
    twins.same("amend", "-f", "qcow2", "-o", "help")


def test_bench_says_what_it_sends(twins):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "a", "4M")
    for words in ("-c 100", "-c 0", "-w -c 200 --flush-interval 80", "-w -c 200 --flush-interval 80 --no-drain --pattern 5",
                  "-c 10 -o 3M", "-c 50 -d 4 -s 64k -S 4k"):
        twins.same("bench", *words.split(), "a", clean=lambda text: re.sub(r"[\d.]+ seconds", "seconds", text))
    assert twins.ours_only("bench", "-w", "-c", "100", "-n", "-t", "none", "a").status == 0
    twins.is_sound("a")


def test_rebase_keeps_the_content_or_only_renames(twins):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "base", "4M")
    twins.io("base", "write -P 1 0 1M")
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "mid")
    twins.io("mid", "write -P 2 1M 1M", "write -z 0 64k")
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "-b", "mid", "-F", "qcow2", "top", "5M")
    twins.io("top", "write -P 3 2M 64k")
    twins.prepare("cp", "top", "kept")
    twins.same("rebase", "-b", "base", "-F", "qcow2", "top")
    twins.contents_are_equal("top", "kept")
    twins.is_sound("top")
    twins.same("info", "top", clean=without_times)
    twins.same("rebase", "-b", "", "top")
    twins.contents_are_equal("top", "kept")
    twins.same("info", "top", clean=without_times)
    twins.same("rebase", "-u", "-b", "elsewhere", "-F", "qcow2", "top")
    twins.same("info", "top", clean=without_times)
    twins.same("rebase", "-u", "-b", "", "top")
    twins.same("info", "top", clean=without_times)


@pytest.mark.parametrize("words", ["", "-d", "-b base", "-p"])
def test_commit_writes_into_the_backing_file(twins, words):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "base", "4M")
    twins.io("base", "write -P 1 0 1M")
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "mid")
    twins.io("mid", "write -P 2 512k 1M", "write -z 0 64k")
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "-b", "mid", "-F", "qcow2", "top", "6M")
    twins.io("top", "write -P 3 2M 64k", "write -P 4 5M 3k", "write -z 600k 100k")
    twins.same("commit", *words.split(), "top", out=words != "-p")
    for name in ("base", "mid", "top"):
        if "base" in words and name == "mid":
            continue
        twins.contents_are_equal(name)
        twins.is_sound(name)
    if words in ("", "-d"):
        twins.same("check", "top", clean=lambda text: text.split("Image end")[0])


def test_raw_in_other_images_is_found_by_content_and_told(twins):
    twins.write("a.raw", some_content())
    for fmt in ("vdi", "vpc", "vhdx", "vmdk"):
        twins.prepare("qemu-img", "convert", "-O", fmt, "a.raw", f"a.{fmt}")
        ours, theirs = twins.run("info", "--output=json", f"a.{fmt}")
        for name in ("format", "virtual-size"):
            assert json.loads(ours.out)[name] == json.loads(theirs.out)[name]
        assert twins.ours_only("convert", "-O", "qcow2", f"a.{fmt}", "b.qcow2").status == 0
        twins.contents_are_equal("b.qcow2", f"a.{fmt}")
        twins.same("compare", "a.raw", f"a.{fmt}")
