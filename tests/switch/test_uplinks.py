# SPDX-License-Identifier: GPL-2.0-or-later
"""Ports at interfaces of the host (veth), whose other ends are in network namespaces."""

import os
import socket
import struct
import subprocess

import pytest
from conftest import inside, pings, run, send_by_tcp
from kv_switch import Refused

SIZE = 20 << 20


def test_stations_behind_uplinks_and_taps_reach_each_other(spaces):
    wire = spaces.add_uplink(0, "203.0.113.1/24")
    other = spaces.add_uplink(1, "203.0.113.2/24")
    tap = spaces.add(2, "203.0.113.3/24")
    assert pings(wire, "203.0.113.2") and pings(wire, "203.0.113.3")
    assert pings(tap, "203.0.113.1") and pings(other, "203.0.113.3")


def test_tcp_passes_in_segments_that_nobody_cuts(switch, spaces):
    wire = spaces.add_uplink(0, "203.0.113.1/24")
    tap = spaces.add(1, "203.0.113.2/24")
    for source, space, address in ((wire, tap, "203.0.113.2"), (tap, wire, "203.0.113.1")):
        before = switch.statistics(source), switch.statistics(space)
        send_by_tcp(source, space, address, SIZE)
        after = switch.statistics(source), switch.statistics(space)
        frames = after[0]["in-frames"] - before[0]["in-frames"]
        assert SIZE / frames > 8000, "long segments come in"
        assert after[1]["out-frames"] - before[1]["out-frames"] <= frames + 2, "and go out as they are"
    assert not {"malformed", "too-long"} & (set(after[0]["drops"]) | set(after[1]["drops"]))


def test_tcp_over_ipv6_passes_too(switch, spaces):
    wire = spaces.add_uplink(0, "203.0.113.1/24")
    tap = spaces.add(1, "203.0.113.2/24")
    inside(wire, "ip", "address", "add", "2001:db8::1/64", "dev", spaces.inner(wire), "nodad")
    inside(tap, "ip", "address", "add", "2001:db8::2/64", "dev", tap, "nodad")
    send_by_tcp(wire, tap, "2001:db8::2", SIZE)
    send_by_tcp(tap, wire, "2001:db8::1", SIZE)
    assert not {"malformed", "too-long"} & set(switch.statistics(tap)["drops"])


def test_jumbo_frames_that_are_longer_than_a_slot_arrive(spaces):
    wire = spaces.add_uplink(0, "203.0.113.1/24", mtu=9000)
    spaces.add_uplink(1, "203.0.113.2/24", mtu=9000)
    for size in (1472, 1900, 2100, 8972):
        assert pings(wire, "203.0.113.2", size=size)


SOL_PACKET, PACKET_AUXDATA = 263, 8
STATION = bytes.fromhex("02000000002a")


class Ear:
    """Hears what arrives at an interface of this namespace."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.bind((name, 0))
        self.socket.settimeout(5)

    def next(self):
        """VLAN tag (0: none) and bytes of STATION's next frame."""
        while True:
            frame, extra, *_ = self.socket.recvmsg(2048, 128)
            if frame[6:12] == STATION:
                return struct.unpack("=IIIHHHH", extra[0][2])[5], frame


TELL = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
s.send(bytes.fromhex(sys.argv[2]))
"""


def test_tags_that_the_kernel_takes_out_are_put_back(switch, spaces):
    wire = spaces.add_uplink(0, "203.0.113.1/24", trunks="10,20")
    names = [f"kva{os.getpid()}", f"kvb{os.getpid()}"]
    switch.execute("add-port", bridge="br0", name=names[0], type="tap", tag=10)
    switch.execute("add-port", bridge="br0", name=names[1], type="tap", trunks="10,20")
    access, trunk = (Ear(name) for name in names)
    for tag in ("8100200a", "81000014", "8100001e"):
        inside(wire, "python3", "-c", TELL, spaces.inner(wire), "ff" * 6 + STATION.hex() + tag + "88b5" + "5a" * 60)
    plain = b"\xff" * 6 + STATION + b"\x88\xb5" + b"\x5a" * 60
    assert access.next() == (0, plain)
    assert [trunk.next(), trunk.next()] == [(0x200a, plain), (0x14, plain)]
    assert switch.statistics(wire)["drops"]["vlan"] >= 1


def test_what_the_host_sends_there_itself_does_not_come_in(switch, spaces):
    wire = spaces.add_uplink(0, "203.0.113.1/24")
    spaces.add(1, "203.0.113.2/24")
    run("ip", "address", "add", "203.0.113.9/24", "dev", wire)
    assert subprocess.run(["ping", "-c", "1", "-W", "4", "-I", wire, "203.0.113.1"], check=False,
                          stdout=subprocess.DEVNULL).returncode == 0
    with open(f"/sys/class/net/{wire}/address", encoding="ascii") as address:
        own = address.read().strip()
    assert own not in {row["mac"] for row in switch.execute("query-macs", bridge="br0")}


def test_an_interface_that_goes_away_or_down_costs_its_port_only(switch, spaces):
    wire = spaces.add_uplink(0, "203.0.113.1/24")
    a = spaces.add(1, "203.0.113.2/24")
    spaces.add(2, "203.0.113.3/24")
    assert pings(a, "203.0.113.1")
    run("ip", "link", "set", wire, "down")
    assert not pings(a, "203.0.113.1", 1) and pings(a, "203.0.113.3")
    run("ip", "link", "set", wire, "up")
    assert pings(a, "203.0.113.1")
    run("ip", "link", "del", wire)
    assert pings(a, "203.0.113.3")
    switch.execute("remove-port", name=wire)


@pytest.mark.parametrize("port, words", [
    ({"interface": "kvnowhere"}, "interface 'kvnowhere': No such device"),
    ({"interface": "lo"}, "Ethernet (1) is accepted"),
    ({"interface": "a" * 16}, "1 to 15 characters"),
    ({"interface": ""}, "1 to 15 characters"),
    ({"path": "/tmp/x"}, "interface has no 'path'"),
])
def test_what_is_no_uplink_is_refused(switch, port, words):
    with pytest.raises(Refused) as refused:
        switch.execute("add-port", bridge="br0", name="u", type="interface", **port)
    assert words in str(refused.value)
    assert switch.execute("query-bridges")[0]["ports"] == []
