# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock Debian kernels, fetched into the cache and never installed.

`full` (linux-image-amd64) runs the emulated hosts, `cloud`
(linux-image-cloud-amd64) the guests. Each is unpacked as the package lays it
out, with modules.dep made by depmod, plus the ELF image `vmlinux` taken out of
the bzImage: that one starts through PVH and need not unpack itself.
"""

import glob
import lzma
import os
import re
import shutil
import struct
import subprocess

from . import packages
from .cache import LabError, entry

PACKAGES = {"full": "linux-image-amd64", "cloud": "linux-image-cloud-amd64"}


class Kernel:
    """One unpacked kernel: `root` is the folder, `release` what uname -r says in it."""

    def __init__(self, root):
        self.root = os.path.realpath(root)
        found = glob.glob(os.path.join(self.root, "lib/modules/*/modules.dep"))
        if not found:
            raise LabError(f"{self.root}: holds no kernel modules; remove it and start again")
        self.modules = os.path.dirname(found[0])
        self.release = os.path.basename(self.modules)
        self.bzimage = os.path.join(self.root, "boot", "vmlinuz-" + self.release)
        self.vmlinux = os.path.join(self.root, "boot", "vmlinux-" + self.release)
        self._depends = None
        self._builtin = None

    def _load(self):
        self._depends = {}
        with open(os.path.join(self.modules, "modules.dep")) as dep:
            for line in dep:
                path, _, needs = line.partition(":")
                self._depends[module_name(path)] = (path, needs.split())
        with open(os.path.join(self.modules, "modules.builtin")) as builtin:
            self._builtin = {module_name(line.strip()) for line in builtin}

    def module_files(self, names):
        """Paths of the named modules and all they need, in the order to load them."""
        if self._depends is None:
            self._load()
        order = []
        for name in names:
            name = name.replace("-", "_")
            if name in self._builtin:
                continue
            if name not in self._depends:
                raise LabError(f"module '{name}': kernel {self.release} has none of this name")
            path, needs = self._depends[name]
            # modules.dep lists the nearest need first; the farthest must be loaded first.
            for item in list(reversed(needs)) + [path]:
                if item not in order:
                    order.append(item)
        return [os.path.join(self.modules, item) for item in order]


def module_name(path):
    return os.path.basename(path).split(".ko")[0].replace("-", "_")


def extract_vmlinux(bzimage, out):
    """Take the ELF image out of a bzImage (boot protocol 2.08: payload_offset, payload_length)."""
    with open(bzimage, "rb") as f:
        data = f.read()
    if data[0x202:0x206] != b"HdrS":
        raise LabError(f"{bzimage}: no bzImage: the boot protocol's signature is missing")
    setup_sectors = data[0x1F1] or 4
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    # The payload's last four bytes are the unpacked size, not part of the stream.
    payload = data[start:start + length - 4]
    for magic, unpack in UNPACKERS.items():
        if payload.startswith(magic):
            break
    else:
        raise LabError(f"{bzimage}: payload starts with {payload[:4].hex()}; xz and lz4 can be unpacked")
    with open(out, "wb") as f:
        f.write(unpack(payload))


def _unpack_xz(payload):
    return lzma.LZMADecompressor().decompress(payload)


def _unpack_lz4(payload):
    """LZ4's legacy frame: a magic, then blocks of up to 8 MiB, each after its packed size."""
    out = bytearray()
    at = 4
    while at + 4 <= len(payload):
        (size,) = struct.unpack_from("<I", payload, at)
        at += 4
        out += _unpack_lz4_block(payload[at:at + size])
        at += size
    return out


def _unpack_lz4_block(src):
    out = bytearray()
    at, end = 0, len(src)
    while at < end:
        token = src[at]
        at += 1
        length = token >> 4
        if length == 15:
            while True:
                more = src[at]
                at += 1
                length += more
                if more != 255:
                    break
        out += src[at:at + length]
        at += length
        if at >= end:
            break  # the last sequence of a block is literals only
        distance = src[at] | src[at + 1] << 8
        at += 2
        length = token & 15
        if length == 15:
            while True:
                more = src[at]
                at += 1
                length += more
                if more != 255:
                    break
        length += 4
        begin = len(out) - distance
        if distance >= length:
            out += out[begin:begin + length]
        else:  # the copy overlaps itself: a pattern that repeats
            pattern = bytes(out[begin:])
            out += (pattern * (length // distance + 1))[:length]
    return out


UNPACKERS = {b"\xfd7zXZ\0": _unpack_xz, b"\x02\x21\x4c\x18": _unpack_lz4}


def _package_of(kind):
    """The package that the metapackage stands for today, e.g. linux-image-6.1.0-49-amd64."""
    for attempt in range(2):
        out = subprocess.run(["apt-cache", "depends", PACKAGES[kind]], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True).stdout
        found = re.search(r"Depends: (linux-image-\S+)", out)
        if found:
            return found.group(1)
        if attempt == 0 and os.geteuid() == 0:
            packages.run(["apt-get", "-qq", "update"])
    raise LabError(f"{PACKAGES[kind]}: apt knows no such package; run 'apt-get update' as root and start again")


def _fetch(kind, out):
    packages.fetch(_package_of(kind), out)
    shutil.rmtree(os.path.join(out, "usr/share"), ignore_errors=True)
    (bzimage,) = glob.glob(os.path.join(out, "boot/vmlinuz-*"))
    release = os.path.basename(bzimage)[len("vmlinuz-"):]
    packages.run([packages.tool("depmod"), "-b", out, release])
    extract_vmlinux(bzimage, os.path.join(out, "boot", "vmlinux-" + release))


def get(kind):
    """The kernel of this kind, fetched at first use."""
    if kind not in PACKAGES:
        raise LabError(f"kernel '{kind}': the kinds are {' and '.join(PACKAGES)}")
    return Kernel(entry(f"kernel-{kind}", lambda out: _fetch(kind, out)))
