# SPDX-License-Identifier: GPL-2.0-or-later
"""Initial RAM disks: cpio archives ("newc"), written so that equal content gives equal bytes."""

import os
import shutil
import stat
import subprocess

from .cache import LabError


class Archive:
    """Collects files, then writes them in the order of their names."""

    def __init__(self):
        self.items = {}

    def folder(self, path, mode=0o755):
        path = path.strip("/")
        if path and path not in self.items:
            self._parents(path)
            self.items[path] = (stat.S_IFDIR | mode, b"", 0, 0)

    def data(self, path, content, mode=0o644):
        path = path.strip("/")
        self._parents(path)
        if isinstance(content, str):
            content = content.encode()
        self.items[path] = (stat.S_IFREG | mode, content, 0, 0)

    def link(self, path, target):
        path = path.strip("/")
        self._parents(path)
        self.items[path] = (stat.S_IFLNK | 0o777, target.encode(), 0, 0)

    def character_device(self, path, major, minor, mode=0o600):
        path = path.strip("/")
        self._parents(path)
        self.items[path] = (stat.S_IFCHR | mode, b"", major, minor)

    def copy(self, source, path):
        """A file or a whole folder of the machine; symbolic links stay links inside folders."""
        if os.path.isdir(source):
            self.folder(path)
            for name in sorted(os.listdir(source)):
                inner = os.path.join(source, name)
                if os.path.islink(inner):
                    self.link(f"{path}/{name}", os.readlink(inner))
                else:
                    self.copy(inner, f"{path}/{name}")
            return
        try:
            with open(source, "rb") as f:
                self.data(path, f.read(), stat.S_IMODE(os.stat(source).st_mode))
        except OSError as e:
            raise LabError(f"{source}: {e.strerror}") from e

    def program(self, source, path=None):
        """A program of the machine with the shared libraries it needs, at the places they have here."""
        found = shutil.which(source, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if not found:
            raise LabError(f"program '{source}': not found")
        self.copy(found, path or os.path.join("bin", os.path.basename(found)))
        for library in libraries(found):
            self.copy(library, library)

    def _parents(self, path):
        parent = os.path.dirname(path)
        if parent:
            self.folder(parent)

    def bytes(self):
        out = bytearray()
        for inode, path in enumerate(sorted(self.items), 1):
            mode, content, major, minor = self.items[path]
            _member(out, inode, path, mode, content, major, minor)
        _member(out, 0, "TRAILER!!!", 0, b"", 0, 0)
        out += bytes(-len(out) % 512)
        return bytes(out)


def _member(out, inode, path, mode, content, major, minor):
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (inode, mode, 0, 0, links, 0, len(content), 0, 0, major, minor, len(name), 0)
    out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
    out += bytes(-len(out) % 4)
    out += content
    out += bytes(-len(out) % 4)


def libraries(program):
    """Absolute paths of the shared libraries (and the loader) that a program needs."""
    result = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found = []
    for line in result.stdout.splitlines():
        for word in line.split():
            if word.startswith("/"):
                found.append(word)
                break
        else:
            if "not found" in line:
                raise LabError(f"{program}: needs {line.split()[0]}, which is not installed")
    return found


def busybox():
    """The static busybox: the only shell and tools inside our RAM disks."""
    path = shutil.which("busybox")
    if not path or libraries(path):
        raise LabError("busybox: a static one is needed; 'make setup' installs it (package busybox-static)")
    return path


def busybox_links(archive, folder="bin"):
    """busybox with all its applets as links beside it."""
    path = busybox()
    archive.copy(path, f"{folder}/busybox")
    applets = subprocess.run([path, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            archive.link(f"{folder}/{applet}", "busybox")
