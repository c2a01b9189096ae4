# SPDX-License-Identifier: GPL-2.0-or-later
"""Files in pcap's format, and checksums of what is in them."""

import socket
import struct

MAGIC, MAGIC_NANO, ETHERNET = 0xa1b2c3d4, 0xa1b23c4d, 1


def write(path, frames, order="<", magic=MAGIC, linktype=ETHERNET):
    with open(path, "wb") as file:
        file.write(struct.pack(f"{order}IHHIIII", magic, 2, 4, 0, 0, 65535, linktype))
        for frame in frames:
            file.write(struct.pack(f"{order}IIII", 0, 0, len(frame), len(frame)) + frame)


def read(path):
    """All frames of a file that kvasir-switchd wrote."""
    with open(path, "rb") as file:
        magic, *_, linktype = struct.unpack("<IHHIIII", file.read(24))
        assert (magic, linktype) == (MAGIC_NANO, ETHERNET)
        frames = []
        while header := file.read(16):
            captured, length = struct.unpack("<8xII", header)
            frames.append(file.read(captured))
            assert captured == length == len(frames[-1])
        return frames


def sum_of(data):
    data = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def check_tcp(frame):
    """A TCP segment over IPv4 without a tag whose lengths and checksums are right: its payload's bytes, else None."""
    if frame[12:14] != b"\x08\x00" or frame[23] != socket.IPPROTO_TCP:
        return None
    header = (frame[14] & 15) * 4
    total, = struct.unpack_from("!H", frame, 16)
    segment = frame[14 + header:14 + total]
    pseudo = frame[26:34] + struct.pack("!HH", socket.IPPROTO_TCP, len(segment))
    assert sum_of(frame[14:14 + header]) == 0xffff, "the header's checksum"
    assert sum_of(pseudo + segment) == 0xffff, "the segment's checksum"
    return len(segment) - (segment[12] >> 4) * 4
