# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the tools: those of lab/lab start emulated hosts, hence a second try."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from second_try import pytest_runtest_protocol, pytest_terminal_summary  # noqa: E402,F401
