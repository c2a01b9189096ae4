# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMU has to be helped with.

QEMU 7.2 ends with a failed assertion when a guest of an emulated processor
writes CR8 while an interrupt waits for it: the processor tells itself of the
interrupt without the lock that others need for that. OVMF writes CR8 whenever
its timer ticks. So the lab's QEMU has a copy of its module in which that
assertion is not looked at. Other versions, and other builds, are left alone.
"""

import glob
import os
import re
import subprocess

from .cache import digest, entry

MODULE = "accel-tcg-x86_64.so"
FUNCTION = "tcg_handle_interrupt"
# call; test %al,%al; jne over the assertion's failure
CHECK = re.compile(rb"\xe8....\x84\xc0\x75.", re.DOTALL)
REACH = 64   # bytes of the function that are searched
JNE, JMP = 0x75, 0xeb


def _function(path):
    """Offset of the function in the module; None when it is not there."""
    result = subprocess.run(["nm", "-D", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    match = re.search(rf"^([0-9a-f]+) T {FUNCTION}$", result.stdout, re.MULTILINE)
    return int(match[1], 16) if match else None


def _helped(path):
    """The module's bytes without the check; None when it does not look as it is known to."""
    at = _function(path)
    with open(path, "rb") as f:
        data = bytearray(f.read())
    if at is None or b"qemu_mutex_iothread_locked()\0" not in data:
        return None
    found = [m.end() - 2 for m in CHECK.finditer(bytes(data[at:at + REACH]))]
    if len(found) != 1:
        return None
    data[at + found[0]] = JMP
    return bytes(data)


def environment():
    """The environment to start QEMU in."""
    for path in glob.glob(f"/usr/lib/*/qemu/{MODULE}"):
        helped = _helped(path)
        if not helped:
            continue

        def make(folder, data=helped):
            os.mkdir(folder)
            with open(os.path.join(folder, MODULE), "wb") as out:
                out.write(data)
        return {**os.environ, "QEMU_MODULE_DIR": entry("qemu-" + digest(helped), make)}
    return dict(os.environ)
