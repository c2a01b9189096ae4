# SPDX-License-Identifier: GPL-2.0-or-later
"""Images of other products as qemu-img writes them: contents and maps."""

import os

import pytest

MIB = 1 << 20

FORMATS = ["vmdk subformat=monolithicSparse", "vmdk subformat=monolithicFlat", "vmdk subformat=twoGbMaxExtentSparse",
           "vmdk subformat=twoGbMaxExtentFlat", "vmdk subformat=streamOptimized", "vdi static=off", "vdi static=on",
           "vpc subformat=dynamic", "vpc subformat=fixed", "vhdx subformat=dynamic", "vhdx subformat=fixed"]


def make(twins, fmt, option):
    data = bytearray(20 * MIB)
    data[:3 * MIB] = os.urandom(3 * MIB)
    data[15_000_000] = 1
    twins.write("source.raw", data)
    twins.prepare("qemu-img", "convert", "-f", "raw", "-O", fmt, "-o", option, "source.raw", "image")


@pytest.mark.parametrize("kind", FORMATS)
def test_contents_and_maps_are_those_of_qemu_img(twins, kind):
    fmt, option = kind.split()
    make(twins, fmt, option)
    twins.same("compare", "-f", fmt, "-F", "raw", "image", "source.raw")
    if fmt != "vhdx":
        twins.same_json("map", "--output=json", "-f", fmt, "image")
        twins.same("map", "-f", fmt, "image")
        return
    # qemu-img takes all of a VHDX image for data; here blocks without a place are zeros.
    extents = twins.ours_only("map", "--output=json", "-f", fmt, "image").out
    assert '"start": 16777216, "length": 4194304, "depth": 0, "present": true, "zero": true' in extents
