# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache folder: where it is, and how two programs that want the same entry at once share the work.

It lies in .cache/ of the project; the environment variable KVASIR_CACHE names
another place, so that several worktrees can share one. Everything in it can be
made again: removing it is always safe while no lab runs.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class LabError(Exception):
    """Something the user can act on; the message is the whole report."""


def folder():
    """The lab's part of the cache, created when missing."""
    root = os.environ.get("KVASIR_CACHE") or os.path.join(PROJECT, ".cache")
    path = os.path.join(os.path.abspath(root), "lab")
    os.makedirs(path, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(name):
    """Hold the lock of one cache entry; others that want to make it wait here."""
    locks = os.path.join(folder(), "locks")
    os.makedirs(locks, exist_ok=True)
    with open(os.path.join(locks, name), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def entry(name, make):
    """Path of the cache entry `name`; make(path) creates the file or folder when it is missing.

    It is made under another name and renamed, so an entry that exists is complete.
    """
    path = os.path.join(folder(), name)
    if os.path.exists(path):
        return path
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with locked(name.replace("/", "-")):
        if os.path.exists(path):
            return path
        work = tempfile.mkdtemp(prefix=".making-", dir=os.path.dirname(path))
        try:
            made = os.path.join(work, os.path.basename(path))
            make(made)
            os.rename(made, path)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return path


def digest(*parts):
    """A short name for content: parts are bytes, text, or anything with a stable repr."""
    h = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        h.update(b"%d:" % len(data))
        h.update(data)
    return h.hexdigest()[:16]


def file_identity(path):
    """What changes when a file changes, without reading it."""
    st = os.stat(path)
    return f"{os.path.realpath(path)}:{st.st_size}:{st.st_mtime_ns}"
