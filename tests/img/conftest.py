# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs kvasir-img and the distribution's qemu-img side by side.

A test gets `twins`: each command runs once with each program in a folder of
its own, and what they print and how they exit has to be the same.
"""

import json
import os
import re
import subprocess

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"))
OURS = f"{BUILD}/kvasir-img"
THEIRS = "qemu-img"
DISTURBED = 10  # times that a command of theirs may be given again


class Result:  # pylint: disable=too-few-public-methods
    def __init__(self, status, out, err):
        self.status = status
        self.out = re.sub(r"\b(kvasir|qemu)-img\b", "IMG", out)
        self.err = re.sub(r"\b(kvasir|qemu)-img\b", "IMG", err)

    def __repr__(self):
        return f"status {self.status}\nout: {self.out}\nerr: {self.err}"


def start(program, words, folder, **options):
    return subprocess.Popen([program, *words], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **options)


def finish(process, timeout=60):
    with process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return Result(process.returncode, out, err)


def run(program, words, folder, **options):
    done = finish(start(program, words, folder, **options))
    # qemu-img measures the processor before it derives a key, and gives up where that is disturbed.
    for _ in range(DISTURBED):
        if program != THEIRS or "Unable to get accurate CPU usage" not in done.err:
            break
        done = finish(start(program, words, folder, **options))
    return done


class Twins:
    """Two folders, one for each program."""

    def __init__(self, path):
        self.ours, self.theirs = str(path / "ours"), str(path / "theirs")
        os.mkdir(self.ours)
        os.mkdir(self.theirs)

    def prepare(self, *words):
        """The same preparation in both folders, by the distribution's tools."""
        for folder in (self.ours, self.theirs):
            subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=60)

    def write(self, name, data):
        for folder in (self.ours, self.theirs):
            with open(f"{folder}/{name}", "wb") as to:
                to.write(data)

    def io(self, image, *commands, fmt="qcow2"):
        self.prepare("qemu-io", "-f", fmt, *[word for command in commands for word in ("-c", command)], image)

    def run(self, *words):
        """At the same time."""
        both = start(OURS, words, self.ours), start(THEIRS, words, self.theirs)
        return tuple(finish(process) for process in both)

    def same(self, *words, out=True, err=True, clean=lambda text: text):
        """Both say the same and exit the same."""
        ours, theirs = self.run(*words)
        assert ours.status == theirs.status, (words, ours, theirs)
        if out:
            assert clean(ours.out) == clean(theirs.out), (words, ours, theirs)
        if err:
            assert clean(ours.err) == clean(theirs.err), (words, ours, theirs)
        return ours

    def same_json(self, *words, ignore=()):
        ours, theirs = self.run(*words)
        assert ours.status == theirs.status == 0, (words, ours, theirs)
        a, b = json.loads(ours.out), json.loads(theirs.out)
        for answer in (a, b):
            for item in answer if isinstance(answer, list) else [answer]:
                for name in ignore:
                    item.pop(name, None)
        assert a == b, words
        return a

    def ours_only(self, *words):
        return run(OURS, words, self.ours)

    def theirs_on_ours(self, *words):
        return run(THEIRS, words, self.ours)

    def contents_are_equal(self, ours, theirs=None):
        """Judged by the distribution's qemu-img."""
        result = run(THEIRS, ["compare", f"{self.ours}/{ours}", f"{self.theirs}/{theirs or ours}"], "/")
        assert (result.status, result.out) == (0, "Images are identical.\n"), result

    def is_sound(self, name):
        result = self.theirs_on_ours("check", name)
        assert result.status == 0, result


@pytest.fixture
def twins(tmp_path):
    return Twins(tmp_path)
