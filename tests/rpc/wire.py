# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt's protocol by hand, for what no client's library would send."""
import os
import re
import socket
import struct

from daemon import TOP

REMOTE, QEMU, ADMIN, KEEPALIVE = 0x20008086, 0x20008087, 0x06900690, 0x6B656570
CALL, REPLY, MESSAGE, STREAM, CALL_FDS, REPLY_FDS, HOLE = range(7)
OK, ERROR, CONTINUE = range(3)


def packet(procedure, payload=b"", *, program=REMOTE, version=1, kind=CALL, serial=1, status=OK):
    return struct.pack(">IIIiIII", 28 + len(payload), program, version, procedure, kind, serial, status) + payload


def connect(path):
    to = socket.socket(socket.AF_UNIX)
    to.settimeout(20)
    to.connect(path)
    return to


def text(value):
    data = value.encode()
    return struct.pack(">I", len(data)) + data + b"\0" * (-len(data) % 4)


def receive_exactly(sock, length):
    data = b""
    while len(data) < length:
        more = sock.recv(length - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def receive(sock):
    """(procedure, kind, serial, status, payload)"""
    length, = struct.unpack(">I", receive_exactly(sock, 4))
    rest = receive_exactly(sock, length - 4)
    _, _, procedure, kind, serial, status = struct.unpack(">IIiIII", rest[:24])
    return procedure, kind, serial, status, rest[24:]


def error_of(payload):
    """(code, message)"""
    code, _, present = struct.unpack(">iiI", payload[:12])
    if not present:
        return code, ""
    length, = struct.unpack(">I", payload[12:16])
    return code, payload[16:16 + length].decode()


def call(sock, procedure, payload=b"", **more):
    """The reply's (status, payload)."""
    sock.sendall(packet(procedure, payload, **more))
    while True:
        _, kind, _, status, answer = receive(sock)
        if kind in (REPLY, REPLY_FDS):
            return status, answer


def is_alive(sock):
    """The connection answers: CONNECT_GET_LIB_VERSION."""
    status, answer = call(sock, 157)
    return status == OK and len(answer) == 8


def procedures(name="remote"):
    """{name: (number, flags)} of a program, from the table that the daemon is made of."""
    with open(os.path.join(TOP, "src", "rpc", f"{name}_procedures.def"), encoding="utf-8") as table:
        return {found[2]: (int(found[1]), found[3])
                for found in re.finditer(r"^P\((\d+), (\w+), \w+, \w+, (.*)\)$", table.read(), re.M)}
