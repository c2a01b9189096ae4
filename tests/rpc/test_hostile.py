# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients that send nonsense, or nothing, or do not read: the others are served in time."""
import array
import os
import random
import select
import socket
import struct
import time

import libvirt
import pytest

import wire
from daemon import Daemon

REMOTE = wire.procedures()


def ends(sock):
    """The daemon closes the connection (it may answer before)."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize("data", [
    struct.pack(">I", 0),
    struct.pack(">I", 27),
    struct.pack(">I", (32 << 20) + 5),
    struct.pack(">I", 0xFFFFFFFF),
    wire.packet(157, kind=7),
    wire.packet(157, status=3),
    wire.packet(157, kind=wire.REPLY),
    wire.packet(107, kind=wire.MESSAGE),
    wire.packet(157, kind=wire.CALL_FDS),
    wire.packet(157, struct.pack(">I", 33), kind=wire.CALL_FDS),
    wire.packet(157, struct.pack(">I", 0xFFFFFFFF), kind=wire.CALL_FDS),
    wire.packet(157, struct.pack(">I", 1), kind=wire.CALL_FDS) + b"\0",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * 64,
], ids=lambda data: data[:36].hex())
def test_what_is_no_packet_ends_the_connection(daemon, data):
    with daemon.connect() as sock:
        sock.sendall(data)
        assert ends(sock)


@pytest.mark.parametrize("data", [
    wire.packet(157, program=0x1234),
    wire.packet(157, version=2),
    wire.packet(0), wire.packet(-1), wire.packet(99999), wire.packet(0x7FFFFFFF),
    wire.packet(157, status=wire.ERROR),
    wire.packet(REMOTE["DOMAIN_EVENT_LIFECYCLE"][0]),
    wire.packet(REMOTE["CONNECT_OPEN"][0], b"\0\0\0\1\xff\xff\xff\xff"),
    wire.packet(REMOTE["CONNECT_OPEN"][0], b"\0\0\0\1" + struct.pack(">I", 4194304)),
    wire.packet(REMOTE["NODE_GET_FREE_PAGES"][0], struct.pack(">I", 1024)),
])
def test_calls_that_cannot_be_are_answered_with_an_error(daemon, data):
    with daemon.connect() as sock:
        sock.sendall(data)
        _, kind, _, status, answer = wire.receive(sock)
        assert (kind, status) == (wire.REPLY, wire.ERROR) and wire.error_of(answer)[1]
        assert wire.is_alive(sock)


def test_packets_of_streams_that_are_not_there_are_dropped(daemon):
    with daemon.connect() as sock:
        for kind in (wire.STREAM, wire.HOLE):
            for status in (wire.OK, wire.ERROR, wire.CONTINUE):
                sock.sendall(wire.packet(201, b"x" * 12, kind=kind, status=status))
        assert wire.is_alive(sock)


def test_a_packet_may_come_byte_by_byte_and_many_at_once(daemon):
    with daemon.connect() as sock:
        for byte in wire.packet(157):
            sock.sendall(bytes([byte]))
        assert wire.receive(sock)[3] == wire.OK
        sock.sendall(b"".join(wire.packet(157, serial=n) for n in range(300)))
        assert [wire.receive(sock)[2] for _ in range(300)] == list(range(300))


def test_calls_at_a_time_beyond_the_limit_wait_and_are_all_answered(daemon):
    with daemon.connect() as sock:
        number = REMOTE["NODE_GET_INFO"][0]
        sock.sendall(b"".join(wire.packet(number, serial=n) for n in range(500)))
        assert sorted(wire.receive(sock)[2] for _ in range(500)) == list(range(500))


def test_descriptors_that_nobody_wants_are_closed(daemon):
    def count():
        return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
    before = count()
    with daemon.connect() as sock, open("/dev/null", "rb") as file:
        fds = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()]))]
        for _ in range(20):
            sock.sendall(wire.packet(157, struct.pack(">I", 2), kind=wire.CALL_FDS))
            sock.sendmsg([b"\0"], fds)
            sock.sendmsg([b"\0"], fds)
            assert wire.receive(sock)[3] == wire.OK
        assert count() <= before + 1
        many = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()] * 40))]
        sock.sendmsg([b"\0"], many)
        assert ends(sock)
    daemon.wait_until(lambda: count() <= before)


def test_a_thousand_clients_that_say_half_a_packet_keep_nobody_waiting(own_daemon):
    clients = []
    try:
        for n in range(1000):
            clients.append(own_daemon.connect())
            clients[-1].sendall(wire.packet(157)[:n % 28])
        connection = libvirt.open(own_daemon.uri())
        begin = time.monotonic()
        for _ in range(100):
            connection.getLibVersion()
        assert time.monotonic() - begin < 2
        connection.close()
        for sock in clients[::100]:
            sock.shutdown(socket.SHUT_WR)
            assert ends(sock)
    finally:
        for sock in clients:
            sock.close()
    assert own_daemon.memory_kib() < 16 << 10


def test_a_client_that_does_not_read_is_not_listened_to(own_daemon):
    with own_daemon.connect() as sock:
        sock.settimeout(1)
        data = wire.packet(REMOTE["CONNECT_GET_SYSINFO"][0], b"\0\0\0\0") * 1000
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 200 << 20:
                sent += sock.send(data)
        with own_daemon.connect() as other:
            assert wire.is_alive(other)
        assert own_daemon.memory_kib() < 64 << 10


def test_clients_beyond_the_limit_wait_until_one_leaves():
    daemon = Daemon(max_clients=3)
    try:
        clients = [daemon.connect() for _ in range(3)]
        assert all(wire.is_alive(sock) for sock in clients)
        with daemon.connect() as late:
            late.sendall(wire.packet(157))
            late.settimeout(0.5)
            with pytest.raises(TimeoutError):
                wire.receive(late)
            clients.pop().close()
            late.settimeout(20)
            assert wire.receive(late)[3] == wire.OK
        for sock in clients:
            sock.close()
    finally:
        daemon.remove()


def test_random_arguments_of_every_procedure_break_nothing(own_daemon):
    dice = random.Random(7)
    never = {"DOMAIN_OPEN_CONSOLE"}
    for name, (number, flags) in REMOTE.items():
        if "EVENT" in flags.replace("RPC_EVENT", "EVENT") and "READ" not in flags and "WRITE" not in flags:
            continue
        if name in never:
            continue
        with own_daemon.connect("libvirt-sock-ro") as sock:
            for _ in range(5):
                payload = dice.randbytes(dice.choice([0, 3, 4, 20, 64, 400]))
                sock.sendall(wire.packet(number, payload))
                assert wire.receive(sock)[1] in (wire.REPLY, wire.REPLY_FDS)
    with own_daemon.connect() as sock:
        assert wire.is_alive(sock)


def test_halves_of_large_packets_are_kept_within_bounds(own_daemon):
    """A read-only socket is everybody's."""
    clients = [own_daemon.connect("libvirt-sock-ro") for _ in range(40)]
    most = 0
    for sock in clients:
        try:
            sock.sendall(struct.pack(">I", 32 << 20) + b"\0\0" * 12 + wire.packet(157)[4:] + b"x" * (15 << 20))
        except (BrokenPipeError, ConnectionResetError):
            pass
        most = max(most, own_daemon.memory_kib())
    with own_daemon.connect() as other:
        assert wire.is_alive(other)
    assert 100 << 10 < most < 400 << 10
    for sock in clients:
        sock.close()
    own_daemon.wait_until(lambda: own_daemon.memory_kib() < 32 << 10)


def test_a_daemon_without_descriptors_left_rests_and_goes_on_when_there_are_some():
    daemon = Daemon(files=120)
    try:
        with daemon.connect() as known:
            clients = [daemon.connect() for _ in range(150)]
            for sock in clients:
                sock.sendall(wire.packet(157))
            assert wire.is_alive(known)
            before = daemon.cpu_seconds()
            time.sleep(1.5)
            assert daemon.cpu_seconds() - before < 0.3
            served = [sock for sock in clients if can_read(sock)]
            assert 50 < len(served) < 120
            for sock in served:
                sock.close()
            daemon.wait_until(lambda: all(can_read(sock) for sock in clients if sock not in served))
            for sock in clients:
                sock.close()
            assert wire.is_alive(known)
    finally:
        daemon.remove()


def can_read(sock):
    return bool(select.select([sock], [], [], 0)[0])
