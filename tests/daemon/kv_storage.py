# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of storage have in common: documents, pools that go away, images made by hand."""
import os
import struct
import subprocess

import libvirt

from kv_daemon import wait_for

GONE = libvirt.VIR_ERR_NO_STORAGE_VOL
INVALID = libvirt.VIR_ERR_OPERATION_INVALID
UNSUPPORTED = libvirt.VIR_ERR_CONFIG_UNSUPPORTED
STORAGE = libvirt.VIR_FROM_STORAGE


def pool_xml(name, path, more="", kind="dir", uuid=""):
    uuid = f"<uuid>{uuid}</uuid>" if uuid else ""
    return f"<pool type='{kind}'><name>{name}</name>{uuid}<target><path>{path}</path>{more}</target></pool>"


def volume_xml(name, capacity=1 << 20, form="raw", more="", allocation=0, target=""):
    allocation = "" if allocation is None else f"<allocation>{allocation}</allocation>"
    return (f"<volume><name>{name}</name><capacity>{capacity}</capacity>{allocation}"
            f"<target><format type='{form}'/>{target}</target>{more}</volume>")


def is_stopped(pool):
    """Streams that a client gave up may still be ending."""
    try:
        pool.destroy()
    except libvirt.libvirtError as error:
        assert "asynchronous jobs" in str(error)
        return False
    return True


def remove_pools(connection):
    for pool in connection.listAllStoragePools():
        if pool.isActive():
            wait_for(lambda one=pool: is_stopped(one), "the pool's jobs")
    for pool in connection.listAllStoragePools():
        pool.undefine()


def qemu_info(path):
    return subprocess.run(["qemu-img", "info", path], stdout=subprocess.PIPE, text=True, timeout=60,
                          check=True).stdout


def qcow2_header(size=1 << 20, backing=b"", version=3, bits=16, form=b"", length=None):
    """A header with nothing behind it, as anybody may put one into a pool."""
    extension = struct.pack(">II", 0xe2792aca, len(form)) + form.ljust(8, b"\0") if form else b""
    where = 104 + len(extension) + 8 if backing else 0
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", version, where, len(backing) if length is None else length,
                       bits, size, 0, 1, 0x30000, 0x10000, 1, 0, 0)
    head += struct.pack(">QQQII", 0, 0, 0, 4, 104)
    return head + extension + bytes(8) + backing


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)
    return path


def names(pool):
    return sorted(pool.listVolumes())


class Pool:
    """A pool of a folder of its own."""

    def __init__(self, connection, folder, name="images"):
        self.path = os.path.join(folder, name)
        self.pool = connection.storagePoolDefineXML(pool_xml(name, self.path))
        self.pool.build()
        self.pool.create()

    def file(self, name):
        return os.path.join(self.path, name)
