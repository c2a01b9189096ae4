# SPDX-License-Identifier: GPL-2.0-or-later
"""Images that others use, that are remote, that cannot be read or written."""

import contextlib
import os
import resource
import signal
import subprocess
import time

import pytest

from conftest import OURS, THEIRS, run


@contextlib.contextmanager
def held(folder, image, *options):
    """qemu-io has the image open."""
    with subprocess.Popen(["qemu-io", *options, image], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as io:
        io.stdin.write(b"read 0 512\n")
        io.stdin.flush()
        while b"ops" not in io.stdout.readline():
            pass
        yield
        io.stdin.close()
        io.wait(10)


WRITERS = ["resize a 5M", "create -f qcow2 a 3M", "convert -O qcow2 r a", "snapshot -c x a", "check -r all a",
           "amend -o lazy_refcounts=on a", "rebase -u -b '' a"]
READERS = ["info a", "check a", "map a", "convert a b", "compare a r", "snapshot -l a"]


def test_an_image_that_is_written_by_others_is_left_alone(twins):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "a", "4M")
    twins.prepare("qemu-img", "create", "-q", "-f", "raw", "r", "4M")
    with held(twins.ours, "a"), held(twins.theirs, "a"):
        for line in WRITERS[:3] + READERS[:2]:
            assert twins.same(*line.replace("''", "").split()).status != 0
        assert twins.same("info", "-U", "a").status == 0
        assert twins.same("map", "-U", "a").status == 0
    twins.contents_are_equal("a")


def test_an_image_that_is_read_by_others_can_be_read_but_not_written(twins):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "a", "4M")
    with held(twins.ours, "a", "-r"), held(twins.theirs, "a", "-r"):
        twins.same("info", "a")
        assert twins.same("resize", "a", "5M").status == 1


@pytest.mark.parametrize("fmt", ["raw", "qcow2"])
def test_an_image_is_not_converted_onto_itself(twins, fmt):
    twins.write("a.raw", os.urandom(100_000).ljust(1 << 20, b"\0"))
    twins.prepare("qemu-img", "convert", "-O", fmt, "a.raw", "a")
    with open(f"{twins.ours}/a", "rb") as image:
        before = image.read()
    twins.same("convert", "-O", fmt, "a", "a")
    with open(f"{twins.ours}/a", "rb") as image:
        assert image.read() == before


def limited(program, words, folder, size):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    return run(program, words, folder, preexec_fn=limit)


def test_a_target_that_does_not_fit_is_an_error_and_no_signal(twins):
    twins.write("a.raw", os.urandom(3 << 20))
    for words in (["convert", "-O", "raw", "a.raw", "b"], ["convert", "-O", "qcow2", "a.raw", "b"],
                  ["convert", "-c", "-O", "qcow2", "a.raw", "b"], ["create", "-f", "raw", "b", "3M"],
                  ["dd", "if=a.raw", "of=b", "bs=1M"]):
        ours, theirs = limited(OURS, words, twins.ours, 1 << 20), limited(THEIRS, words, twins.theirs, 1 << 20)
        assert ours.status == theirs.status == 1, (words, ours, theirs)
        assert "File too large" in ours.err, (words, ours)


def test_salvage_goes_on_behind_what_cannot_be_read(twins):
    twins.write("a.raw", b"x" * (1 << 20))
    faults = ('json:{"driver":"raw","file":{"driver":"blkdebug","image":{"driver":"file","filename":"a.raw"},'
              '"inject-error":[{"event":"none","iotype":"read","sector":1024,"errno":5,"immediately":false}]}}')
    for salvage in (False, True):
        ours, theirs = twins.run("convert", *(["--salvage"] if salvage else []), "-O", "raw", faults, "b.raw")
        assert ours.status == theirs.status == (0 if salvage else 1), (ours, theirs)
        if salvage:
            assert ours.err == theirs.err
            twins.contents_are_equal("b.raw")
            with open(f"{twins.ours}/b.raw", "rb") as salvaged:
                assert salvaged.read() == b"x" * (512 << 10) + b"\0" * 512 + b"x" * ((512 << 10) - 512)


@contextlib.contextmanager
def served(folder, image, *options, program=(OURS, "nbd")):
    path = f"{folder}/socket"
    with subprocess.Popen([*program, "-t", "-k", path, *options, image], cwd=folder) as server:
        for _ in range(100):
            if os.path.exists(path):
                break
            time.sleep(0.05)
        try:
            yield f"nbd+unix:///?socket={path}"
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(10)


def test_images_are_served_and_used_over_nbd(twins):
    twins.write("a.raw", os.urandom(300_000).ljust(2 << 20, b"\0"))
    twins.prepare("qemu-img", "convert", "-O", "qcow2", "a.raw", "a")
    with served(twins.ours, "a", "-f", "qcow2") as uri:
        assert run(THEIRS, ["compare", uri, f"{twins.theirs}/a.raw"], "/").status == 0
        assert run(OURS, ["compare", uri, f"{twins.theirs}/a.raw"], "/").status == 0
        assert run(OURS, ["convert", "-O", "qcow2", uri, f"{twins.ours}/b"], "/").status == 0
    twins.contents_are_equal("b", "a.raw")
    twins.write("c.raw", b"\1" * (2 << 20))
    with served(twins.ours, "c.raw", "-f", "raw", program=("qemu-nbd",)) as uri:
        assert run(OURS, ["convert", "-O", "raw", f"{twins.ours}/a", uri], "/").status == 0
        result = run(OURS, ["convert", "-O", "qcow2", f"{twins.ours}/a", uri], "/")
        assert result.status == 1 and "-n" in result.err
    twins.contents_are_equal("c.raw", "a.raw")


def test_a_snapshot_is_served(twins):
    twins.prepare("qemu-img", "create", "-q", "-f", "qcow2", "a", "2M")
    twins.io("a", "write -P 1 0 1M")
    twins.prepare("cp", "a", "before")
    twins.prepare("qemu-img", "snapshot", "-c", "one", "a")
    twins.io("a", "write -P 2 0 1M")
    with served(twins.ours, "a", "-l", "one") as uri:
        assert run(THEIRS, ["compare", uri, f"{twins.ours}/before"], "/").status == 0
