# SPDX-License-Identifier: GPL-2.0-or-later
"""kvasir answers as virsh does: output, errors and status, byte for byte."""
import shutil

import pytest

import alike

LINES = list(alike.lines())


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    if not shutil.which("virsh"):
        pytest.skip("virsh is not installed")
    folder = str(tmp_path_factory.mktemp("alike"))
    theirs, ours = alike.Side(["virsh"], folder), alike.Side([alike.KVASIR], folder, True)
    yield theirs, ours
    theirs.end()
    ours.end()


def test_there_are_at_least_150_lines():
    assert len(LINES) >= 150


@pytest.mark.parametrize("volatile,line", LINES, ids=[f"{n}: {line}" for n, (_, line) in enumerate(LINES)])
def test_the_answer_is_virsh_s(sides, volatile, line):
    theirs, ours = (side.run(line) for side in sides)
    if volatile:
        theirs, ours = alike.without_numbers(theirs), alike.without_numbers(ours)
    assert ours == theirs
