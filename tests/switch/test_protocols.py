# SPDX-License-Identifier: GPL-2.0-or-later
"""What bridges agree on with their neighbours: two bridges of one switch, joined by wires of the kernel."""

import contextlib
import os
import subprocess
import time

import pytest
from conftest import BUILD, pings, run
from kv_switch import Refused, Switch


class Wires:
    """veth pairs between two bridges, br0 and br1; each bridge has a station in a network namespace of its own."""

    def __init__(self, switch):
        self.switch, self.links, self.spaces = switch, [], []
        switch.execute("add-bridge", name="br1")

    def add(self, number, **port):
        """A wire, whose ends are ports of those names. A bond's name has that of the end's bridge at its end."""
        ends = [f"kvw{number}{end}{os.getpid()}"[:15] for end in "ab"]
        run("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        self.links.append(ends[0])
        for bridge, name in zip(("br0", "br1"), ends):
            run("ip", "link", "set", name, "up")
            named = {key: f"{value}{bridge}" if key == "bond" else value for key, value in port.items()}
            self.switch.execute("add-port", bridge=bridge, name=name, type="interface", **named)
        return ends

    def add_station(self, bridge, address):
        name = f"kvp{bridge}x{os.getpid()}"[:15]
        self.switch.execute("add-port", bridge=bridge, name=name, type="tap")
        run("ip", "netns", "add", name)
        self.spaces.append(name)
        run("ip", "link", "set", name, "netns", name)
        run("ip", "netns", "exec", name, "ip", "link", "set", name, "up")
        run("ip", "netns", "exec", name, "ip", "address", "add", address, "dev", name)
        return name

    def port(self, name):
        return next(p for b in self.switch.execute("query-bridges") for p in b["ports"] if p["name"] == name)

    def remove(self):
        with contextlib.suppress(OSError):
            self.switch.__exit__()
        for name in self.links:
            run("ip", "link", "del", name)
        for name in self.spaces:
            run("ip", "netns", "del", name)


@pytest.fixture(name="wires")
def wires_(folder):
    if os.geteuid() != 0:
        pytest.skip("network namespaces want root")
    switch = Switch(BUILD, folder)
    switch.execute("add-bridge", name="br0")
    wires = Wires(switch)
    yield wires
    ended = switch.process.poll()
    wires.remove()
    assert ended is None, switch.words()


def wait(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def make_bonds(wires, **options):
    ends = [wires.add(number, bond="bond") for number in range(2)]
    for bridge in ("br0", "br1"):
        wires.switch.execute("add-port", bridge=bridge, name=f"bond{bridge}", type="bond", **options)
    return ends


def used(wires, bond):
    return [m["name"] for m in wires.port(bond)["members"] if m["used"]]


def test_two_bridges_use_the_links_that_lacp_agrees_on(wires):
    a, b = wires.add_station("br0", "198.51.100.1/24"), wires.add_station("br1", "198.51.100.2/24")
    ends = make_bonds(wires, mode="balance-tcp", lacp="active", lacp_time="fast")
    assert not wires.port("bondbr0")["up"]
    wait(lambda: len(used(wires, "bondbr0")) == len(used(wires, "bondbr1")) == 2)
    assert {m["lacp"] for m in wires.port("bondbr0")["members"]} == {"current"}
    assert pings(a, "198.51.100.2")
    assert all(pings(b, "198.51.100.1", 1) for _ in range(3))
    macs = {row["port"] for row in wires.switch.execute("query-macs", bridge="br0")}
    assert macs == {a, "bondbr0"}
    run("ip", "link", "set", ends[0][1], "down")
    wait(lambda: used(wires, "bondbr0") == [ends[1][0]])
    assert pings(a, "198.51.100.2")


def test_a_backup_takes_over_when_the_active_link_is_lost(wires):
    a = wires.add_station("br0", "198.51.100.1/24")
    wires.add_station("br1", "198.51.100.2/24")
    ends = make_bonds(wires)
    wait(lambda: wires.port("bondbr0").get("active") == ends[0][0] and len(used(wires, "bondbr1")) == 2)
    assert pings(a, "198.51.100.2")
    assert wires.switch.statistics(a)["out-frames"] < 50  # no frame goes round
    run("ip", "link", "set", ends[0][0], "down")
    wait(lambda: wires.port("bondbr0")["active"] == ends[1][0] and wires.port("bondbr1")["active"] == ends[1][1])
    assert pings(a, "198.51.100.2")
    wires.switch.execute("remove-port", name=ends[1][0])
    wait(lambda: "active" not in wires.port("bondbr0"))
    wires.switch.execute("remove-port", name="bondbr0")
    assert not pings(a, "198.51.100.2", 1)


@pytest.mark.parametrize("lie", [
    {"type": "bond", "mode": "balance-tcp"}, {"type": "bond", "bond": "other"}, {"type": "tap", "lacp": "active"},
    {"type": "tap", "bond": "b", "tag": 5}, {"type": "bond", "path": "/x"}, {"type": "tap", "bond": "p"}])
def test_bonds_that_cannot_be_are_refused(wires, lie):
    with pytest.raises(Refused):
        wires.switch.execute("add-port", bridge="br0", name="p", **lie)


def test_two_links_between_bridges_with_rstp_are_no_loop(wires):
    for bridge, priority in (("br0", 4096), ("br1", 32768)):
        wires.switch.execute("set-bridge", name=bridge, rstp=True, rstp_priority=priority)
    a = wires.add_station("br0", "198.51.100.1/24")
    wires.add_station("br1", "198.51.100.2/24")
    ends = [wires.add(number) for number in range(2)]
    role = lambda name: wires.port(name)["rstp-state"]["role"]
    wait(lambda: [role(ends[0][1]), role(ends[1][1])] == ["Root", "Alternate"])
    wait(lambda: wires.port(ends[0][1])["rstp-state"]["state"] == "Forwarding")
    wait(lambda: pings(a, "198.51.100.2", 1))
    assert wires.switch.statistics(a)["out-frames"] < 200  # nothing goes round
    run("ip", "link", "set", ends[0][0], "down")
    wait(lambda: role(ends[1][1]) == "Root")
    wait(lambda: pings(a, "198.51.100.2", 1))
    for bridge in ("br0", "br1"):
        wires.switch.execute("remove-port", name=ends[bridge == "br1"][0])
        wires.switch.execute("set-bridge", name=bridge)
    with pytest.raises(Refused):
        wires.switch.execute("set-bridge", name="br0", rstp=True, rstp_priority=5)


LISTEN = """
import socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.1.2.3") + socket.inet_aton(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
"""
SHOUT = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
for _ in range(100):
    s.sendto(b"x" * 900, ("239.1.2.3", 9))
"""


def shout(space, address):
    run("ip", "netns", "exec", space, "python3", "-c", SHOUT, address)


def test_groups_reach_those_who_joined_them(wires):
    switch = wires.switch
    switch.execute("set-bridge", name="br1", snooping=True, drop_unregistered=True)
    sender = wires.add_station("br1", "198.51.100.1/24")
    names = [sender]
    for number in (2, 3):  # further stations of the same bridge
        name = f"kvq{number}x{os.getpid()}"[:15]
        switch.execute("add-port", bridge="br1", name=name, type="tap", fast_leave=True)
        run("ip", "netns", "add", name)
        wires.spaces.append(name)
        run("ip", "link", "set", name, "netns", name)
        run("ip", "netns", "exec", name, "ip", "link", "set", name, "up")
        run("ip", "netns", "exec", name, "ip", "address", "add", f"198.51.100.{number}/24", "dev", name)
        names.append(name)
    groups = {"group": "01:00:5e:01:02:03", "vlan": 0, "port": names[1]}
    with subprocess.Popen(["ip", "netns", "exec", names[1], "python3", "-c", LISTEN, "198.51.100.2"], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as listener:
        try:
            assert listener.stdout.readline() == "ready\n"
            wait(lambda: any(groups.items() <= row.items() for row in switch.execute("query-groups", bridge="br1")))
            time.sleep(0.05)
            shout(sender, "198.51.100.1")
            assert switch.statistics(names[1])["out-bytes"] > 90000 > switch.statistics(names[2])["out-bytes"]
        finally:
            listener.stdin.close()
    wait(lambda: not any(groups.items() <= row.items() for row in switch.execute("query-groups", bridge="br1")))
    time.sleep(0.05)
    before = switch.statistics(names[1])["out-bytes"]
    shout(sender, "198.51.100.1")
    assert switch.statistics(names[1])["out-bytes"] < before + 90000
    switch.execute("set-bridge", name="br1")
    shout(sender, "198.51.100.1")
    assert switch.statistics(names[2])["out-bytes"] > 90000
