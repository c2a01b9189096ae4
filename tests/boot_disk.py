# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk that a BIOS boots (guest/bootsector.S): it prints, resets the machine once, and switches it off."""

import os

SECTOR = 512
NAME_AT = 5


class BootDisk:
    """A raw image: the boot sector with the disk's name, a sector with a text and the count of runs."""

    def __init__(self, build, folder, name, text):
        self.path = f"{folder}/disk-{name}"
        with open(f"{build}/tests/guest/bootsector", "rb") as file:
            sector = bytearray(file.read())
        sector[NAME_AT] = ord(name)
        with open(self.path, "wb") as file:
            file.write(sector + (b"KVSR" + bytes(4) + text.encode() + b"\0").ljust(SECTOR, b"\0") + bytes(1 << 20))
        os.chmod(self.path, 0o666)

    def runs(self):
        with open(self.path, "rb") as file:
            file.seek(SECTOR + 4)
            return file.read(1)[0]
