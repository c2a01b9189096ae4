# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk that a BIOS boots (guest/bootsector.S): it prints, resets the machine once, and switches it off.
And a CD-ROM (guest/cdsector.S) that prints its name and switches the machine off."""

import os
import struct

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


CD_BLOCK = 2048


def make_boot_cd(build, path, name):
    """A CD-ROM's image with a volume descriptor, a boot record (El Torito) and nothing else."""
    volume = bytearray(b"\x01CD001\x01".ljust(CD_BLOCK, b"\0"))
    volume[40:72] = name.encode().ljust(32, b"\0")
    record = bytearray(b"\0CD001\x01EL TORITO SPECIFICATION".ljust(CD_BLOCK, b"\0"))
    record[0x47:0x4b] = struct.pack("<I", 19)
    validation = bytearray(struct.pack("<BBH24sHBB", 1, 0, 0, b"", 0, 0x55, 0xaa))
    validation[28:30] = struct.pack("<H", -sum(struct.unpack("<16H", validation)) & 0xffff)
    entry = struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, CD_BLOCK // SECTOR, 20)
    with open(f"{build}/tests/guest/cdsector", "rb") as file:
        sector = file.read()
    with open(path, "wb") as file:
        file.write(bytes(16 * CD_BLOCK) + volume + record + b"\xffCD001\x01".ljust(CD_BLOCK, b"\0") +
                   (validation + entry).ljust(CD_BLOCK, b"\0") + sector.ljust(CD_BLOCK, b"\0") + bytes(1 << 20))
    os.chmod(path, 0o666)
