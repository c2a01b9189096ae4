# SPDX-License-Identifier: GPL-2.0-or-later
"""Streams of volumes with packets that no client's library would send."""
import os
import struct
import time

import libvirt
import pytest

import wire

UPLOAD, DOWNLOAD = 208, 209
SPARSE = 1
SIZE = 1 << 20


@pytest.fixture
def volume(daemon, tmp_path):
    """Its arguments on the wire, and its file."""
    connection = libvirt.open(daemon.uri())
    (tmp_path / "v").write_bytes(b"x" * SIZE)
    pool = connection.storagePoolCreateXML(f"<pool type='dir'><name>p</name><target><path>{tmp_path}</path>"
                                           "</target></pool>")
    yield wire.text("p") + wire.text("v") + wire.text(str(tmp_path / "v")), tmp_path / "v"
    end = time.monotonic() + 20
    while pool.isActive():
        try:
            pool.destroy()
            break
        except libvirt.libvirtError:
            assert time.monotonic() < end, "a stream does not end"
            time.sleep(0.01)
    connection.close()


def begin(sock, procedure, name, flags):
    status, _ = wire.call(sock, procedure, name + struct.pack(">QQI", 0, 0, flags))
    assert status == wire.OK


def hole(length, flags=0):
    return struct.pack(">QI", length, flags)


def send(sock, kind, payload, status=wire.CONTINUE):
    sock.sendall(wire.packet(UPLOAD, payload, kind=kind, status=status))


@pytest.mark.parametrize("flags, payload", [(0, hole(4096)), (SPARSE, b""), (SPARSE, hole(1)[:8]),
                                            (SPARSE, hole(1, 7)), (SPARSE, hole(1 << 63)), (SPARSE, hole(1) + b"x")])
def test_a_hole_that_cannot_be_ends_the_stream_with_an_error(daemon, volume, flags, payload):
    with daemon.connect() as sock:
        begin(sock, UPLOAD, volume[0], flags)
        send(sock, wire.HOLE, payload)
        _, kind, _, status, answer = wire.receive(sock)
        assert (kind, status) == (wire.STREAM, wire.ERROR) and "hole" in wire.error_of(answer)[1]
        assert wire.is_alive(sock)
    assert volume[1].stat().st_size == SIZE


def test_a_hole_beyond_what_a_file_can_be_is_told_and_harms_nobody(daemon, volume):
    with daemon.connect() as sock:
        begin(sock, UPLOAD, volume[0], SPARSE)
        for _ in range(3):
            send(sock, wire.HOLE, hole((1 << 63) - 1))
        send(sock, wire.STREAM, b"", wire.OK)
        assert wire.receive(sock)[3] == wire.ERROR
        assert wire.is_alive(sock)


def test_many_small_pieces_and_empty_ones_are_all_taken(daemon, volume):
    with daemon.connect() as sock:
        begin(sock, UPLOAD, volume[0], SPARSE)
        for number in range(5000):
            send(sock, wire.STREAM, bytes([number % 256]))
            send(sock, wire.STREAM, b"") if number % 7 == 0 else send(sock, wire.HOLE, hole(0))
        send(sock, wire.HOLE, hole(10))
        send(sock, wire.STREAM, b"", wire.OK)
        assert wire.receive(sock)[3] == wire.OK
    assert volume[1].read_bytes() == bytes(n % 256 for n in range(5000)) + bytes(10) + b"x" * (SIZE - 5010)


def test_what_is_sent_into_a_download_and_after_the_end_is_of_no_use(daemon, volume):
    with daemon.connect() as sock:
        begin(sock, DOWNLOAD, volume[0], 0)
        for payload in (b"y" * 1000, b""):
            sock.sendall(wire.packet(DOWNLOAD, payload, kind=wire.STREAM, status=wire.CONTINUE))
        got = b""
        while True:
            _, kind, _, status, data = wire.receive(sock)
            assert (kind, status) == (wire.STREAM, wire.CONTINUE)
            if not data:
                break
            got += data
        assert got == b"x" * SIZE
        for _ in range(3):
            sock.sendall(wire.packet(DOWNLOAD, kind=wire.STREAM, status=wire.OK))
        assert wire.receive(sock)[3] == wire.OK
        assert wire.is_alive(sock)
    assert volume[1].read_bytes() == b"x" * SIZE


def test_clients_that_vanish_in_the_middle_leave_nothing_behind(daemon, volume):
    before = len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
    for number in range(30):
        with daemon.connect() as sock:
            begin(sock, DOWNLOAD, volume[0], number % 2)
            if number % 3 == 0:
                sock.sendall(b"\0\0")
    end = time.monotonic() + 20
    while len(os.listdir(f"/proc/{daemon.process.pid}/fd")) > before:
        assert time.monotonic() < end, "descriptors are left"
        time.sleep(0.01)
