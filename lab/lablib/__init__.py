# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's own modules: kernels, initramfs, emulated hosts, sessions. lab/lab and lab/guest/* use them."""
