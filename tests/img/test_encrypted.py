# SPDX-License-Identifier: GPL-2.0-or-later
"""Encrypted images and persistent bitmaps: what one program makes, the other reads."""

import json
import subprocess

import pytest
from conftest import OURS, run

SECRET = ("--object", "secret,id=s,data=correct horse")
WRONG = ("--object", "secret,id=s,data=battery staple")
FORMATS = {
    "luks": ("key-secret=s,iter-time=100", "driver=luks,key-secret=s,file.filename={}"),
    "qcow2": ("encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=100",
              "driver=qcow2,encrypt.key-secret=s,file.filename={}"),
}


@pytest.fixture(name="raw")
def raw_fixture(tmp_path):
    path = tmp_path / "raw"
    path.write_bytes(b"plain text " * 50176 + bytes(1 << 20) + b"end" * 512)
    return path


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("writer,reader", [(OURS, "qemu-img"), ("qemu-img", OURS)])
def test_what_one_encrypts_the_other_reads(tmp_path, raw, fmt, writer, reader):
    options, description = FORMATS[fmt]
    made = run(writer, ["convert", *SECRET, "-f", "raw", "-O", fmt, "-o", options, "raw", "image"], tmp_path)
    assert made.status == 0, made
    back = ["convert", "--image-opts", description.format("image"), "-O", "raw", "back"]
    read = run(reader, [*back[:1], *SECRET, *back[1:]], tmp_path)
    assert read.status == 0, read
    assert (tmp_path / "back").read_bytes() == raw.read_bytes()
    assert b"plain text plain text" not in (tmp_path / "image").read_bytes()
    refused = run(reader, [*back[:1], *WRONG, *back[1:]], tmp_path)
    assert refused.status == 1
    assert "Invalid password, cannot unlock any keyslot" in refused.err


@pytest.mark.parametrize("fmt", FORMATS)
def test_info_needs_no_key(tmp_path, fmt):
    made = run(OURS, ["create", *SECRET, "-f", fmt, "-o", FORMATS[fmt][0], "image", "1M"], tmp_path)
    assert made.status == 0, made
    for words in (["info", "image"], ["info", "--output=json", "image"]):
        ours, theirs = run(OURS, words, tmp_path), run("qemu-img", words, tmp_path)
        assert ours.status == 0, ours
        assert ours.out == theirs.out


def marked(tmp_path, name):
    """Ranges of a bitmap, as qemu-nbd shows them."""
    server = subprocess.Popen(["qemu-nbd", "-r", "-f", "qcow2", "-k", tmp_path / "s", "-B", name, "--fork", "image"],
                              cwd=tmp_path)
    assert server.wait(30) == 0
    words = ["map", "--output=json", "--image-opts",
             f"driver=nbd,server.type=unix,server.path={tmp_path}/s,x-dirty-bitmap=qemu:dirty-bitmap:{name}"]
    return [(e["start"], e["length"]) for e in json.loads(run("qemu-img", words, tmp_path).out) if not e["data"]]


def test_writes_by_ours_are_in_bitmaps_made_by_theirs(tmp_path, raw):
    for words in ("create -q -f qcow2 image 4M", "bitmap --add image b"):
        assert run("qemu-img", words.split(), tmp_path).status == 0
    done = run(OURS, f"dd -f raw -O raw if={raw} of=part bs=65536 count=3".split(), tmp_path)
    assert done.status == 0, done
    done = run(OURS, "convert -n -f raw -O qcow2 part image".split(), tmp_path)
    assert done.status == 0 or "smaller" not in done.err, done
    assert run("qemu-img", ["check", "image"], tmp_path).status == 0
    assert marked(tmp_path, "b")[0] == (0, 3 * 65536)
