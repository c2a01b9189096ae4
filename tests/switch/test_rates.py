# SPDX-License-Identifier: GPL-2.0-or-later
"""Rates of ports, measured by what comes through between two taps."""

import contextlib
import subprocess
import sys
import time

import pytest
from conftest import inside
from kv_switch import Refused

RATE_KIB = 2048
PAYLOAD = 1400

# Broadcast datagrams: so many at a time, as many times, with a pause between.
SENDER = """
import socket, sys, time
burst, times, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for _ in range(times):
    for _ in range(burst):
        s.sendto(bytes(%d), ("192.0.2.255", 9))
    time.sleep(pause)
""" % PAYLOAD


@contextlib.contextmanager
def stream(space):
    """Some 14 MB a second until the block's end."""
    sender = subprocess.Popen(["ip", "netns", "exec", space, sys.executable, "-c", SENDER, "50", "100000", "0.005"])
    try:
        yield
    finally:
        sender.kill()
        sender.wait()


def rate_at(switch, port, seconds):
    """Bytes a second that go out at the port."""
    begin, before = time.monotonic(), switch.statistics(port)["out-bytes"]
    time.sleep(seconds)
    after, end = switch.statistics(port)["out-bytes"], time.monotonic()
    return (after - before) / (end - begin)


def wait_for_drops(switch, port, why):
    deadline = time.monotonic() + 20
    while not switch.statistics(port)["drops"].get(why):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("direction, why", [("in", "policed"), ("out", "queue-full")])
def test_a_port_is_held_to_its_average_rate(switch, spaces, direction, why):
    a = spaces.add(0, "192.0.2.1/24")
    b = spaces.add(1, "192.0.2.2/24")
    limited = a if direction == "in" else b
    switch.execute("set-port", name=limited, **{f"{direction}-average": RATE_KIB})
    with stream(a):
        wait_for_drops(switch, limited, why)
        # A machine that stands still for a while sends less: then it is measured again.
        for _ in range(6):
            share = rate_at(switch, b, 1) / (RATE_KIB << 10)
            if 0.95 < share < 1.05:
                break
        assert 0.95 < share < 1.05
        switch.execute("set-port", name=limited)
        assert rate_at(switch, b, 0.5) > 2 * (RATE_KIB << 10)


def test_a_burst_that_fits_the_queue_arrives_whole_and_later(switch, spaces):
    a = spaces.add(0, "192.0.2.1/24")
    b = spaces.add(1, "192.0.2.2/24", out_average=512, out_peak=1024, out_burst=16)
    before = switch.statistics(b)["out-frames"]
    begin = time.monotonic()
    inside(a, sys.executable, "-c", SENDER, "130", "1", "0")
    while switch.statistics(b)["out-frames"] < before + 130:
        assert time.monotonic() < begin + 20
        time.sleep(0.005)
    assert time.monotonic() - begin > (130 * PAYLOAD - (16 << 10)) / (512 << 10) * 0.95
    assert "queue-full" not in switch.statistics(b)["drops"]


def told(switch):
    """Of the first port; the host may speak at any time, so not how many addresses it has."""
    row = switch.execute("query-bridges")[0]["ports"][0]
    del row["macs"]
    return row


def test_rates_are_told_and_nonsense_is_refused(switch, spaces):
    a = spaces.add(0, "192.0.2.1/24", in_average=100, in_peak=200, in_burst=50)
    row = told(switch)
    assert {k: v for k, v in row.items() if k.startswith(("in-", "out-"))} == {
        "in-average": 100, "in-peak": 200, "in-burst": 50}
    for lie in ({"in-peak": 5}, {"out-burst": 5}, {"in-average": 10, "in-peak": 9}, {"in-average": 0},
                {"out-average": 1 << 40}):
        with pytest.raises(Refused):
            switch.execute("set-port", name=a, **lie)
    assert told(switch) == row
