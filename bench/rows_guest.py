# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows with a stock kernel as guest."""

ROWS = []
