# SPDX-License-Identifier: GPL-2.0-or-later
"""Two guests with stock kernels on one kvasir-switchd by vhost-user; what happens there is seen by tcpdump and nfdump."""

import contextlib
import json
import subprocess
import time

import pytest
from conftest import CMDLINE
from kv_collector import Collector
from kv_guest import Guest
from kv_switch import Switch

ADDRESSES = {"a": "192.0.2.1", "b": "192.0.2.2"}
RATE_KIB = 512
STREAM_MIN = 1 << 16  # bytes in some seconds of a machine that is emulated twice, however busy
WATCHER = "kvspan"  # a tap of the bridge


class Pair:
    """The switch, with its ports a and b and the guests of these names."""

    def __init__(self, switch, guests):
        self.switch, self.guests = switch, guests

    def reset(self):
        for name in self.guests:
            self.switch.execute("set-filter", port=name)
            self.switch.execute("set-mirror", port=name)
            self.switch.execute("set-port", name=name)

    def pings(self, source, to, count=1):
        said = self.guests[source].shell(f"ping -c {count} -W 4 {ADDRESSES[to]} >/dev/null && echo heard || echo silence")
        return "heard" in said

    def stream(self, seconds):
        """What iperf3 says of TCP from a to b."""
        text = self.guests["a"].shell(f"iperf3 -c {ADDRESSES['b']} -t {seconds} -J")
        return json.loads(text[text.index("{"):text.rindex("}") + 1])

    def number(self, port):
        bridge, = self.switch.execute("query-bridges")
        return next(str(p["number"]) for p in bridge["ports"] if p["name"] == port)


def start(build, kernel, initrd, folder, name, number):
    words = [build / "kvasir-vmm", "--memory", "128M", "--cpus", 1, "--control", f"{folder}/{name}.qmp", "--kernel", kernel,
             "--cmdline", CMDLINE, "--initrd", initrd, "--serial", "stdio",
             "--net", f"vhost-user={folder}/{name}.sock,mac=52:54:00:02:00:0{number}"]
    return Guest(words, folder, name)


@pytest.fixture(scope="module", name="running")
def running_(build, kernel, make_initrd, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("switch"))
    initrd = make_initrd(bin=["iperf3"])
    with contextlib.ExitStack() as ends:
        switch = ends.enter_context(Switch(build, folder))
        switch.execute("add-bridge", name="br0")
        switch.execute("add-port", bridge="br0", name=WATCHER, type="tap")
        guests = {}
        for number, name in enumerate(ADDRESSES, 1):
            switch.execute("add-port", bridge="br0", name=name, type="vhost-user-server", path=f"{folder}/{name}.sock")
            guests[name] = start(build, kernel, initrd, folder, name, number)
            ends.callback(guests[name].end)
        for name, guest in guests.items():
            guest.shell(f"ip link set lo up; ip addr add {ADDRESSES[name]}/24 dev eth0; ip link set eth0 up")
        guests["b"].shell("iperf3 -s -D")
        yield Pair(switch, guests)


@pytest.fixture(name="pair")
def pair_(request, running):
    request.node.guests = list(running.guests.values())
    running.reset()
    return running


def test_guests_ping_and_stream_to_each_other(pair):
    assert pair.pings("a", "b", 3) and pair.pings("b", "a", 3)
    pair.guests["a"].shell(f"ping -c 2 -W 5 -s 8000 {ADDRESSES['b']}")
    assert pair.stream(3)["end"]["sum_received"]["bytes"] > STREAM_MIN


def test_guests_in_different_vlans_hear_nothing(pair):
    pair.switch.execute("set-port", name="a", tag=10)
    pair.switch.execute("set-port", name="b", tag=20)
    before = pair.switch.statistics("b")["out-frames"]
    assert not pair.pings("a", "b") and not pair.pings("b", "a")
    assert pair.switch.statistics("b")["out-frames"] == before
    pair.switch.execute("set-port", name="b", tag=10)
    assert pair.pings("a", "b") and pair.pings("b", "a")


def test_an_acl_denies_what_its_rules_say(pair):
    pair.switch.execute("set-acl", name="quiet", default="allow", rules=[{"action": "deny", "protocol": "icmp"}])
    pair.switch.execute("set-filter", port="b", acl="quiet")
    assert not pair.pings("a", "b")
    assert pair.stream(3)["end"]["sum_received"]["bytes"] > STREAM_MIN
    assert pair.switch.statistics("b")["drops"]["acl"] + pair.switch.statistics("a")["drops"].get("acl", 0) > 0


def test_a_security_group_lets_answers_in_and_nothing_else(pair):
    group = {"name": "group", "default": "deny", "stateful": True,
             "rules": [{"action": "allow", "direction": "in"}, {"action": "allow", "direction": "out", "type": "arp"}]}
    pair.switch.execute("set-acl", **group)
    pair.switch.execute("set-filter", port="a", acl="group")
    assert pair.pings("a", "b")
    assert not pair.pings("b", "a")
    assert pair.stream(3)["end"]["sum_received"]["bytes"] > STREAM_MIN


def test_a_mirror_is_seen_by_tcpdump(pair):
    subprocess.run(["ip", "link", "set", WATCHER, "up"], check=True)
    pair.switch.execute("set-mirror", port="a", to=WATCHER)
    command = ["timeout", "60", "tcpdump", "-l", "-n", "-i", WATCHER, "-c", "4", "icmp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tcpdump:
        assert "listening on" in tcpdump.stderr.readline() + tcpdump.stderr.readline()
        assert pair.pings("a", "b", 2)
        lines = tcpdump.stdout.read().splitlines()
    words = [line.split("IP ", 1)[1].rsplit(", id", 1)[0] for line in lines]
    a, b = ADDRESSES["a"], ADDRESSES["b"]
    assert words == [f"{a} > {b}: ICMP echo request", f"{b} > {a}: ICMP echo reply"] * 2


@pytest.mark.parametrize("kind, program", [("sflow", "sfcapd"), ("ipfix", "nfcapd")])
def test_a_collector_is_told_of_flows(pair, tmp_path, kind, program):
    assert pair.pings("a", "b")  # now the bridge knows where they are
    with contextlib.closing(Collector(program, str(tmp_path))) as collector:
        pair.switch.execute(f"set-{kind}", bridge="br0", collector=f"127.0.0.1:{collector.port}", sampling=1)
        assert pair.pings("a", "b", 5)
        pair.switch.execute(f"set-{kind}", bridge="br0")
        time.sleep(0.5)
        rows = [row for row in collector.flows() if row["pr"] == "ICMP" and row["sa"] == ADDRESSES["a"]]
    assert sum(int(row["ipkt"]) for row in rows) == 5
    for row in rows:
        assert row["da"] == ADDRESSES["b"]
        assert [row["in"], row["out"]] == [pair.number("a"), pair.number("b")]


def test_a_port_is_held_to_its_rate(pair):
    def sent():
        return time.monotonic(), pair.switch.statistics("b")["out-bytes"]
    pair.switch.execute("set-port", name="b", **{"out-average": RATE_KIB})
    pair.guests["a"].shell(f"iperf3 -c {ADDRESSES['b']} -t 20 >/dev/null 2>&1 &")
    time.sleep(5)
    shares = []
    # A machine that stands still for a while sends less: then it is measured again.
    for _ in range(3):
        begin, before = sent()
        time.sleep(4)
        end, after = sent()
        shares.append((after - before) / (end - begin) / (RATE_KIB << 10))
        if 0.95 < shares[-1] < 1.05:
            break
    assert 0.95 < shares[-1] < 1.05, shares
