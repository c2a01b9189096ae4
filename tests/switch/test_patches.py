# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches between bridges, with ping and TCP in network namespaces."""

import os
import time

import pytest
from conftest import BUILD, Spaces, pings, send_by_tcp
from kv_switch import Refused, Switch

HOPS_MAX = 32


def add_patches(switch, *pairs):
    """Between br0 and br1."""
    for a, b in pairs:
        switch.execute("add-port", bridge="br0", name=a, type="patch", peer=b)
        switch.execute("add-port", bridge="br1", name=b, type="patch", peer=a)


def test_stations_on_two_bridges_reach_each_other_through_a_patch(switch, spaces):
    switch.execute("add-bridge", name="br1")
    a = spaces.add(0, "192.0.2.1/24", tag=10)
    b = spaces.add(1, "192.0.2.2/24", bridge="br1", tag=10)
    spaces.add(2, "192.0.2.3/24", bridge="br1", tag=20)
    assert not pings(a, "192.0.2.2", 0.3)
    add_patches(switch, ("to1", "to0"))
    switch.wait_up("to1", "to0")
    assert pings(a, "192.0.2.2") and not pings(a, "192.0.2.3", 0.3)
    size = 4 << 20
    send_by_tcp(a, b, "192.0.2.2", size)
    send_by_tcp(b, a, "192.0.2.1", size)
    seen = switch.statistics("to1")
    assert seen["out-bytes"] > size and size / seen["out-frames"] > 4000, "segments pass uncut"
    assert not seen["drops"] and not switch.statistics("to0")["drops"]


def test_a_patch_is_up_while_its_peer_names_it(switch):
    def up(name):
        return next(p["up"] for bridge in switch.execute("query-bridges") for p in bridge["ports"] if p["name"] == name)

    switch.execute("add-bridge", name="br1")
    switch.execute("add-port", bridge="br0", name="p0", type="patch", peer="p1")
    assert not up("p0")
    switch.execute("add-port", bridge="br1", name="p1", type="patch", peer="somebody")
    assert not up("p0") and not up("p1")
    switch.execute("remove-port", name="p1")
    switch.execute("add-port", bridge="br1", name="p1", type="patch", peer="p0")
    assert up("p0") and up("p1")
    switch.execute("remove-port", name="p0")
    assert not up("p1")
    for lie in ({}, {"peer": ""}, {"peer": "p1", "out-average": 100}, {"peer": "p1", "path": "/run/x"}):
        with pytest.raises(Refused):
            switch.execute("add-port", bridge="br0", name="p0", type="patch", **lie)
    with pytest.raises(Refused):
        switch.execute("add-port", bridge="br0", name="t0", type="tap", peer="p1")
    with pytest.raises(Refused):
        switch.execute("set-port", name="p1", **{"out-average": 100})


def test_a_frame_does_not_go_round_for_ever(switch, spaces):
    switch.execute("add-bridge", name="br1")
    a = spaces.add(0, "192.0.2.1/24")
    add_patches(switch, ("x0", "x1"), ("y0", "y1"))
    assert not pings(a, "192.0.2.9", 0.3)
    before = switch.statistics("x0")
    assert before["drops"].get("loop", 0) > 0 and before["out-frames"] >= HOPS_MAX / 2
    spent = switch.cpu_seconds()
    time.sleep(0.3)
    assert switch.cpu_seconds() - spent <= 0.05, "and then the bridges are silent"


def test_a_patch_joins_bridges_of_two_threads(folder):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor")
    with Switch(BUILD, folder, "--core", ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))) as switch:
        spaces = Spaces(switch)
        try:
            switch.execute("add-bridge", name="br0")
            switch.execute("add-bridge", name="br1")
            a = spaces.add(0, "192.0.2.1/24")
            b = spaces.add(1, "192.0.2.2/24", bridge="br1")
            add_patches(switch, ("to1", "to0"))
            assert pings(a, "192.0.2.2")
            send_by_tcp(b, a, "192.0.2.1", 4 << 20)
            assert not switch.statistics("to1")["drops"]
        finally:
            spaces.remove()
        assert switch.process.poll() is None, switch.words()
