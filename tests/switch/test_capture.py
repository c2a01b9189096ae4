# SPDX-License-Identifier: GPL-2.0-or-later
"""kvasir switch capture: frames as pcapng, read by a reader of the test's own and by tcpdump."""

import os
import shutil
import signal
import struct
import subprocess
import time

import pytest
from conftest import BUILD, pings
from kv_switch import Refused

SECTION, INTERFACE, STATISTICS, FRAME = 0x0A0D0D0A, 1, 5, 6


def options(data):
    found = {}
    while len(data) >= 4:
        code, length = struct.unpack(">HH", data[:4])
        found[code] = data[4:4 + length]
        data = data[4 + (length + 3) // 4 * 4:]
    return found


def read(path):
    """Names of interfaces, frames as (interface, time, bytes, length, comment), and frames and missing ones at the end."""
    with open(path, "rb") as file:
        data = file.read()
    names, frames, sums = [], [], None
    while data:
        kind, size = struct.unpack(">II", data[:8])
        assert size % 4 == 0 and struct.unpack(">I", data[size - 4:size])[0] == size
        body, data = data[8:size - 4], data[size:]
        if kind == SECTION:
            assert struct.unpack(">IHH", body[:8]) == (0x1A2B3C4D, 1, 0)
        elif kind == INTERFACE:
            assert struct.unpack(">H", body[:2])[0] == 1
            names.append(options(body[8:])[2].decode())
        elif kind == FRAME:
            interface, high, low, length, whole = struct.unpack(">IIIII", body[:20])
            rest = options(body[20 + (length + 3) // 4 * 4:])
            frames.append((names[interface], (high << 32 | low) / 1e9, body[20:20 + length], whole, rest[1].decode()))
        elif kind == STATISTICS:
            sums = tuple(int.from_bytes(options(body[12:])[code], "big") for code in (4, 5))
    return names, frames, sums


def capture(switch, *words, **more):
    return subprocess.Popen([f"{BUILD}/kvasir", "switch", "capture", "br0", "--socket", switch.path, *words],
                            stderr=subprocess.PIPE, **more)


def echoes(path):
    """Frames of IPv4."""
    return [frame for frame in read(path)[1] if frame[2][12:14] == b"\x08\x00"]


def wait_for(capturing, condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert capturing.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def test_a_ping_is_captured_with_where_it_came_from_and_went(switch, spaces, folder):
    a = spaces.add(0, "192.0.2.1/24")
    b = spaces.add(1, "192.0.2.2/24")
    spaces.add(2, "192.0.2.3/24")
    assert pings(a, "192.0.2.2")
    begin = time.time()
    path = f"{folder}/ping.pcapng"
    with capture(switch, "--port", b, "--write", path, "--bytes", "100") as capturing:
        wait_for(capturing, lambda: os.path.exists(path) and os.path.getsize(path))
        assert pings(a, "192.0.2.3") and pings(a, "192.0.2.2", size=500)
        wait_for(capturing, lambda: len(echoes(path)) >= 2)
        capturing.send_signal(signal.SIGINT)
        assert capturing.wait(10) == 0
    assert [(frame[0], frame[4]) for frame in echoes(path)] == [(a, f"to {b}"), (b, f"to {a}")]
    for _, when, data, length, _ in echoes(path):
        assert begin - 1 < when < time.time() + 1 and len(data) == 100 and length == 542
    if shutil.which("tcpdump"):
        text = subprocess.run(["tcpdump", "-n", "-r", path], capture_output=True, text=True, check=True, timeout=20).stdout
        assert text.count("ICMP echo re") == 2
    with capture(switch, "--count", "1", "--write", path) as capturing:
        wait_for(capturing, lambda: os.path.getsize(path))
        assert pings(b, "192.0.2.1") and capturing.wait(10) == 0
    assert len(read(path)[1]) == 1 and read(path)[2] == (1, 0)


def test_a_capture_ends_with_its_reader_or_its_port_and_lies_are_refused(switch, spaces, folder):
    a = spaces.add(0, "192.0.2.1/24")
    with capture(switch, stdout=subprocess.PIPE) as capturing:
        assert capturing.stdout.read(4) == b"\x0a\x0d\x0d\x0a"
        capturing.terminate()
    with capture(switch, "--port", a, "--write", f"{folder}/x") as capturing:
        wait_for(capturing, lambda: os.path.exists(f"{folder}/x") and os.path.getsize(f"{folder}/x"))
        switch.execute("remove-port", name=a)
        assert capturing.wait(10) == 0
    for words in (["--port", "nobody"], ["--bytes", "5"], ["--count", "0"], ["--bytes", "9000"]):
        with capture(switch, *words, "--write", f"{folder}/y") as capturing:
            assert capturing.wait(10) != 0
    with pytest.raises(Refused, match="a pipe must come along"):
        switch.execute("capture", bridge="br0")
