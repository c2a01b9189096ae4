# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows about the switch and the kernel: two network namespaces joined by taps of kvasir-switchd, and by the Linux
bridge with veth; and what the bridge forwards between two taps of guests (DPDK's testpmd)."""
import contextlib
import os
import subprocess
import tempfile
import time

from kv_switch import Switch, Testpmd
from rows_start import figure
from rows_switch import (GUEST_CORE, ROUNDS, SECONDS, SWITCH_CORE, huge_pages, median, need_testpmd, our_segments, ours,
                         segments)

PID = os.getpid()


def ip(*words):
    subprocess.run(["ip", *words], check=True, timeout=20)


def remove(*words):
    subprocess.run(["ip", *words], check=False, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def spaces():
    names = [f"kvb{n}x{PID}" for n in range(2)]
    try:
        for name in names:
            ip("netns", "add", name)
        yield names
    finally:
        for name in names:
            remove("netns", "del", name)


@contextlib.contextmanager
def joined_by_switch(build, folder, names):
    with Switch(build, folder, "--core", str(SWITCH_CORE)) as switch:
        switch.execute("add-bridge", name="br0")
        for name in names:
            switch.execute("add-port", bridge="br0", name=name[:15], type="tap")
            ip("link", "set", name[:15], "netns", name)
            ip("-n", name, "link", "set", name[:15], "up")
        yield [name[:15] for name in names]


@contextlib.contextmanager
def joined_by_bridge(names):
    bridge, ports = f"kvbr{PID}"[:15], [f"kvp{n}x{PID}"[:15] for n in range(2)]
    try:
        ip("link", "add", bridge, "type", "bridge")
        ip("link", "set", bridge, "up")
        for name, port in zip(names, ports):
            ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", port, "master", bridge, "up")
            ip("-n", name, "link", "set", "eth0", "up")
        yield ["eth0", "eth0"]
    finally:
        for link in [*ports, bridge]:
            remove("link", "del", link)


def frames(build, names, interfaces, size, what, seconds):
    ends = [word for pair in zip(names, interfaces) for word in pair]
    done = subprocess.run([f"{build}/bench/frames", *ends, str(size), what, str(seconds)], stdout=subprocess.PIPE,
                          text=True, check=True, timeout=60)
    return [float(word) for word in done.stdout.split()]


def ask_all(build, names, interfaces):
    time.sleep(0.5)
    # Each end is learned before it counts.
    frames(build, names[::-1], interfaces[::-1], 64, "latency", 1)
    return ([frames(build, names, interfaces, size, "rate", SECONDS)[0] / 1e6 for size in (64, 1500)] +
            frames(build, names, interfaces, 64, "latency", 2))


def switch_taps(build):
    """Frames between two network namespaces by taps of the switch; by the Linux bridge with veth"""
    rows = [("64-byte frames between namespaces", "Mpps", ""), ("1500-byte frames between namespaces", "Mpps", ""),
            *((f"latency of 64 bytes, {p}", "us", "") for p in ("p50", "p99", "p99.9"))]
    mine, other = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder, spaces() as names:
            with joined_by_switch(build, folder, names) as interfaces:
                mine.append(ask_all(build, names, interfaces))
        with spaces() as names, joined_by_bridge(names) as interfaces:
            other.append(ask_all(build, names, interfaces))
    for n, (name, unit, target) in enumerate(rows):
        yield figure(name, median([values[n] for values in mine]), median([values[n] for values in other]), unit,
                     "Linux bridge, veth", target)


def bridge_and_taps(folder):
    """Frames that circulate between two guests on taps of the bridge; millions a second."""
    bridge, taps = f"kvbr{PID}"[:15], [f"kvt{n}x{PID}"[:15] for n in range(2)]
    vdevs = [f"--vdev=net_tap{n},iface={tap}" for n, tap in enumerate(taps)]
    memory = ["--no-huge", "-m", "256", *vdevs]
    try:
        ip("link", "add", bridge, "type", "bridge")
        ip("link", "set", bridge, "up")
        with Testpmd(folder, [], memory, words=["--total-num-mbufs=8192"], core=GUEST_CORE) as guests:
            guests.wait_for("Done")
            for tap in taps:
                ip("link", "set", tap, "master", bridge, "up")
            time.sleep(0.5)
            guests.say("start tx_first 32")
            time.sleep(0.5)
            return sum(guests.rates(SECONDS)) / 1e6
    finally:
        remove("link", "del", bridge)


def switch_bridge(build):
    """64-byte frames between two guests by vhost-user; by the Linux bridge and two taps"""
    need_testpmd()
    with tempfile.TemporaryDirectory() as folder, huge_pages(folder) as mount:
        mine, other = [], []
        for _ in range(ROUNDS):
            mine.append(ours(build, folder, mount)[0])
            other.append(bridge_and_taps(folder))
        yield figure("64-byte frames between two guests", median(mine), median(other), "Mpps", "Linux bridge, taps",
                     ">= 5")


def segments_by_taps(build):
    """By the Linux bridge, in the system calls of the program that sends and receives."""
    bridge, taps = f"kvbr{PID}"[:15], [f"kvs{n}x{PID}"[:15] for n in range(2)]
    try:
        ip("link", "add", bridge, "type", "bridge")
        ip("link", "set", bridge, "up")
        for tap in taps:
            ip("tuntap", "add", tap, "mode", "tap", "vnet_hdr")
            ip("link", "set", tap, "master", bridge, "up")
        return segments(build, "taps", taps, lambda: None)
    finally:
        for link in [*taps, bridge]:
            remove("link", "del", link)


def switch_segments_bridge(build):
    """TCP segments of 64 KB between two guests by vhost-user; by the Linux bridge and two taps"""
    with tempfile.TemporaryDirectory() as folder:
        mine, other = [], []
        for _ in range(ROUNDS):
            mine.append(our_segments(build, folder))
            other.append(segments_by_taps(build))
        yield figure("segments of 64 KB between two guests", median(mine), median(other), "Gbit/s", "Linux bridge, taps")


ROWS = [switch_taps, switch_bridge, switch_segments_bridge]
