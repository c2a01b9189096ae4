# SPDX-License-Identifier: GPL-2.0-or-later
"""The check of floors finds what goes up, and only that."""

import os
import subprocess

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def check(tmp_path, files):
    for name, text in files.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    result = subprocess.run([f"{TOP}/tools/check-floors", "--root", tmp_path], stdout=subprocess.PIPE, text=True, check=False)
    return result.returncode, result.stdout


def test_includes_of_the_same_floor_and_lower_ones_are_fine(tmp_path):
    status, out = check(tmp_path, {
        "base/a.h": "#include <stdio.h>\n", "vring/b.h": '#include "base/a.h"\n', "block/c.h": '#include "vring/b.h"\n',
        "vmm/kvm/d.c": '#include "base/a.h"\n#include "block/c.h"\n#include "base/version.h"\n'})
    assert status == 0, out


@pytest.mark.parametrize("upper, lower", [("vmm", "base"), ("vring", "base"), ("switch", "block"), ("cli", "rpc"), ("daemon", "vmm")])
def test_an_include_that_goes_up_is_named_with_its_line(tmp_path, upper, lower):
    status, out = check(tmp_path, {f"{upper}/high.h": "", f"{lower}/low.c": f'/* x */\n\n#  include "{upper}/high.h"\n'})
    assert status == 1
    assert f"src/{lower}/low.c:3: " in out and f"'{upper}/high.h'" in out


@pytest.mark.parametrize("text, word", [
    ('#include "gone.h"\n', "there is no src/gone.h"), ('#include "../base/a.h"\n', "not written from src/"),
    ('#include "attic/x.h"\n', "has no floor")])
def test_an_include_of_nothing_known_is_refused(tmp_path, text, word):
    status, out = check(tmp_path, {"base/a.h": "", "attic/x.h": "", "base/b.c": text})
    assert status == 1
    assert f"src/base/b.c:1: " in out and word in out


def test_an_empty_tree_is_no_success(tmp_path):
    assert check(tmp_path, {})[0] == 1
