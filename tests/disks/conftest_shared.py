# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests with a bare-metal guest share: a folder each, with and without the jail."""

import tempfile

import pytest


@pytest.fixture
def folder():
    """Short enough for the names of sockets."""
    with tempfile.TemporaryDirectory(prefix="kv-") as path:
        yield path


@pytest.fixture(params=[False, True], ids=["free", "jail"])
def jail(request):
    """Both without and with the jail."""
    return request.param
