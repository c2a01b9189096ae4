# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of network devices on /dev/kvm with a bare-metal guest; each has a folder of its own."""

import os
import sys

sys.path.insert(0, f"{os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}/disks")
from conftest_shared import folder, jail  # noqa: E402,F401  pylint: disable=wrong-import-position,unused-import
