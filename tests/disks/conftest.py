# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of a monitor's disks run on /dev/kvm with a bare-metal guest."""

from conftest_shared import folder, jail  # noqa: F401  pylint: disable=unused-import
