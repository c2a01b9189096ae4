# SPDX-License-Identifier: GPL-2.0-or-later
"""ACLs and port security, with ping, TCP and ARP in network namespaces."""

import contextlib
import json
import subprocess
import sys

import pytest
from conftest import BUILD, inside, pings
from kv_switch import Refused, Switch

ARP = {"action": "allow", "type": "arp", "priority": 9}


@pytest.fixture(name="pair")
def pair_(spaces):
    return spaces.add(0, "192.0.2.1/24"), spaces.add(1, "192.0.2.2/24")


LISTEN = """
import socket
with socket.create_server(("", {port})) as server:
    print("ready", flush=True)
    server.settimeout(20)
    server.accept()
"""


@contextlib.contextmanager
def listening(space, port):
    with subprocess.Popen(["ip", "netns", "exec", space, sys.executable, "-c", LISTEN.format(port=port)],
                          stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout.readline() == b"ready\n"
            yield
        finally:
            server.kill()


def connects(space, address, port, seconds=4):
    """Whether a TCP connection comes about."""
    words = f"import socket; socket.create_connection(({address!r}, {port}), {seconds})"
    done = subprocess.run(["ip", "netns", "exec", space, sys.executable, "-c", words], check=False,
                          stderr=subprocess.DEVNULL, timeout=20)
    return done.returncode == 0


def drops(switch, port):
    return switch.statistics(port)["drops"]


def test_an_acl_denies_and_says_what_its_rules_decided(switch, pair):
    a, b = pair
    switch.execute("set-acl", name="quiet", rules=[
        {"action": "deny", "protocol": "icmp", "icmp-type": 8, "direction": "in"}, ARP])
    switch.execute("set-filter", port=a, acl="quiet")
    assert not pings(a, "192.0.2.2", 1)
    assert pings(b, "192.0.2.1")
    acl, = switch.execute("query-acls", name="quiet")
    assert acl["rules"][0]["frames"] >= 1 and acl["rules"][0]["bytes"] >= 98
    assert acl["rules"][1]["frames"] >= 1
    assert acl["unmatched"]["in"]["frames"] >= 1  # the answer
    assert drops(switch, a)["acl"] == acl["rules"][0]["frames"]
    switch.execute("set-filter", port=a)
    assert pings(a, "192.0.2.2")
    assert "filter" not in switch.execute("query-bridges")[0]["ports"][0]


def test_an_acl_is_replaced_as_a_whole_where_it_is_used(switch, pair):
    a, b = pair
    allowed = [ARP, {"action": "allow", "protocol": "tcp", "to": "@servers", "to-ports": "8000-8001", "direction": "out"},
               {"action": "allow", "protocol": "tcp", "from": "@servers", "from-ports": "8000-8001", "direction": "in"}]
    acl = {"name": "web", "default": "deny", "sets": {"servers": ["192.0.2.2", "192.0.2.64/26"]}, "rules": allowed}
    switch.execute("set-acl", **acl)
    switch.execute("set-filter", port=b, acl="web")
    with listening(b, 8001), listening(b, 8002):
        assert connects(a, "192.0.2.2", 8001)
        assert not connects(a, "192.0.2.2", 8002, 1)
    assert not pings(a, "192.0.2.2", 1)
    with pytest.raises(Refused, match="rule 3: .*'10.0.0.0/33'"):
        switch.execute("set-acl", **dict(acl, rules=[*allowed, {"action": "allow", "from": "10.0.0.0/33"}]))
    assert not pings(a, "192.0.2.2", 1)
    switch.execute("set-acl", **dict(acl, rules=[*allowed, {"action": "allow", "protocol": "icmp"}]))
    assert pings(a, "192.0.2.2")
    with pytest.raises(Refused, match=f"is used by port '{b}'"):
        switch.execute("remove-acl", name="web")
    switch.execute("remove-port", name=b)
    switch.execute("remove-acl", name="web")
    assert switch.execute("query-acls") == []


GROUP = {"name": "group", "default": "deny", "stateful": True, "rules": [
    {"action": "allow", "type": "arp"}, {"action": "allow", "protocol": "icmpv6"}, {"action": "allow", "direction": "in"},
    {"action": "allow", "direction": "out", "protocol": "tcp", "to-ports": "22"}]}


def test_a_security_group_lets_answers_in_and_nothing_else(switch, pair):
    a, b = pair
    switch.execute("set-acl", **GROUP)
    switch.execute("set-filter", port=a, acl="group", connections=100)
    with listening(b, 8001), listening(a, 8001), listening(a, 22):
        assert connects(a, "192.0.2.2", 8001)
        assert not connects(b, "192.0.2.1", 8001, 1)
        assert connects(b, "192.0.2.1", 22)
    assert pings(a, "192.0.2.2")
    assert not pings(b, "192.0.2.1", 1)
    inside(a, "ping", "-c", "1", "-W", "4", "-s", "5000", "192.0.2.2")  # in fragments, both ways
    acl, = switch.execute("query-acls", name="group")
    assert acl["answers"]["out"]["frames"] >= 6 and acl["answers"]["in"]["frames"] >= 2
    dropped = drops(switch, a)
    assert dropped["acl"] >= 2 and not {"state", "connections", "fragment"} & set(dropped)
    # Nobody listens there: the answer is an ICMP error.
    words = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(4); " \
            "s.connect(('192.0.2.2', 9)); s.send(b'x'); s.recv(9)"
    refused = subprocess.run(["ip", "netns", "exec", a, sys.executable, "-c", words], check=False, capture_output=True,
                             text=True, timeout=20)
    assert "ConnectionRefusedError" in refused.stderr


def test_a_guest_that_takes_anothers_address_is_not_heard(switch, pair):
    a, _ = pair
    shown = subprocess.run(["ip", "-n", a, "-j", "link", "show", a], capture_output=True, check=True, timeout=20)
    mac = json.loads(shown.stdout)[0]["address"]
    switch.execute("set-filter", port=a, macs=mac, addresses="192.0.2.1", dhcp_guard=True, router_guard=True)
    assert pings(a, "192.0.2.2")
    inside(a, "ip", "address", "del", "192.0.2.1/24", "dev", a)
    inside(a, "ip", "address", "add", "192.0.2.7/24", "dev", a)
    assert not pings(a, "192.0.2.2", 1)
    assert {"spoofed-arp", "spoofed-address"} & set(drops(switch, a))
    inside(a, "ip", "link", "set", a, "down")
    inside(a, "ip", "link", "set", a, "address", "02:00:00:00:00:99", "up")
    inside(a, "ip", "address", "add", "192.0.2.1/24", "dev", a)
    assert not pings(a, "192.0.2.2", 1)
    assert drops(switch, a)["spoofed-mac"] >= 1
    assert not [row for row in switch.execute("query-macs", bridge="br0") if row["mac"] == "02:00:00:00:00:99"]


@pytest.mark.parametrize("command, arguments, words", [
    ("set-filter", {"port": "nobody"}, "there is no port 'nobody'"),
    ("set-filter", {"port": "g", "acl": "none"}, "there is no acl 'none'"),
    ("set-filter", {"port": "g", "macs": "02:00"}, "macs '02:00'"),
    ("set-filter", {"port": "g", "addresses": "10.0.0.1/8"}, "addresses '10.0.0.1/8'"),
    ("set-filter", {"port": "g", "speed": 1}, "unknown option 'speed'"),
    ("set-filter", {"port": "g", "connections": 5}, "'connections' are those of an 'acl'"),
    ("set-acl", {"name": "x" * 64}, "1 to 63 characters"),
    ("remove-acl", {"name": "none"}, "there is no acl 'none'"),
    ("query-acls", {"name": "none"}, "there is no acl 'none'"),
])
def test_filters_that_cannot_be_are_refused(switch, folder, command, arguments, words):
    switch.execute("add-port", bridge="br0", name="g", type="vhost-user-server", path=f"{folder}/g")
    switch.execute("set-filter", port="g", macs="02:00:00:00:00:01")
    with pytest.raises(Refused, match=words):
        switch.execute(command, **arguments)
    port = switch.execute("query-bridges")[0]["ports"][0]
    assert port["filter"] == {"macs": "02:00:00:00:00:01"}


def test_a_file_describes_acls_and_filters(folder):
    config = {"acls": [{"name": "open", "rules": [{"action": "allow"}]}],
              "bridges": [{"name": "br0", "ports": [{"name": "g", "type": "vhost-user-server", "path": f"{folder}/g"}],
                           "filters": [{"port": "g", "acl": "open", "router-guard": True}]}]}
    with open(f"{folder}/config", "w", encoding="ascii") as f:
        json.dump(config, f)
    with Switch(BUILD, folder, "--config", f"{folder}/config") as switch:
        assert switch.execute("query-bridges")[0]["ports"][0]["filter"] == {"acl": "open", "router-guard": True}
        assert switch.execute("query-acls")[0]["unmatched"]["in"] == {"frames": 0, "bytes": 0}


def kvasir(switch, *words):
    done = subprocess.run([f"{BUILD}/kvasir", "--output", "json", "switch", *words, "--socket", switch.path],
                          capture_output=True, text=True, timeout=20, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr


def test_the_command_line_sets_filters_and_shows_what_they_decided(switch, pair, folder):
    a, b = pair
    with open(f"{folder}/acl.json", "w", encoding="ascii") as f:
        json.dump(GROUP, f)
    assert "'group'" in kvasir(switch, "acl-set", f"{folder}/acl.json")["message"]
    kvasir(switch, "filter", a, "--acl", "group", "--dhcp-guard")
    port = next(p for p in switch.execute("query-bridges")[0]["ports"] if p["name"] == a)
    assert port["filter"] == {"acl": "group", "dhcp-guard": True}
    assert kvasir(switch, "acl") == [{"acl": "group", "rules": 4, "default": "deny", "stateful": "yes"}]
    assert pings(a, "192.0.2.2") and not pings(b, "192.0.2.1", 1)
    rules = kvasir(switch, "acl", "group")
    assert rules[3]["matches"] == "protocol tcp, to-ports 22" and rules[3]["direction"] == "out"
    assert rules[2]["frames"] >= 1 and rules[5]["matches"] == "answers" and rules[5]["frames"] >= 1
    assert rules[7]["matches"] == "unmatched" and rules[7]["frames"] >= 1
    assert "is used by port" in kvasir(switch, "acl-remove", "group")
    kvasir(switch, "filter", a)
    kvasir(switch, "acl-remove", "group")
    assert "line 1" in kvasir(switch, "acl-set", __file__)


def test_a_trace_tells_what_becomes_of_a_packet_and_does_nothing(switch, pair):
    a, b = pair
    assert pings(a, "192.0.2.2")
    macs = {row["port"]: row["mac"] for row in switch.execute("query-macs", bridge="br0")}
    switch.execute("set-acl", **GROUP)
    switch.execute("set-filter", port=a, acl="group", addresses="192.0.2.1")
    before = switch.execute("query-acls"), switch.execute("query-macs", bridge="br0"), switch.statistics(a)

    def trace(port, **fields):
        told = switch.execute("trace", port=port, **fields)
        return [step["result"] for step in told["steps"]], told["sent-to"], told.get("dropped")

    ssh = {"from": "192.0.2.2", "to": "192.0.2.1", "protocol": "tcp", "to_port": 22, "from_mac": macs[b], "to_mac": macs[a]}
    assert trace(b, **ssh) == (["VLAN 0", f"its receiver is at port '{a}'", "acl 'group': rule 3 allows"], [a], None)
    steps, sent, dropped = trace(b, **dict(ssh, to_port=23))
    assert steps[-1] == "acl 'group': no rule matches, its default denies" and sent == []
    assert dropped == {"at": a, "why": "acl"}
    assert trace(a, **{"from": "192.0.2.1", "protocol": "udp"})[:2] == (
        ["VLAN 0", "acl 'group': rule 2 allows", "flooded"], [b])
    assert trace(a, **{"from": "192.0.2.9", "protocol": "udp"}) == (
        ["VLAN 0", "port security: spoofed-address"], [], {"at": a, "why": "spoofed-address"})
    assert trace(a, type="arp", **{"from": "192.0.2.1", "to": "192.0.2.2", "to_mac": "ff:ff:ff:ff:ff:ff"})[1] == [b]
    after = switch.execute("query-acls"), switch.execute("query-macs", bridge="br0"), switch.statistics(a)
    assert after[0] == before[0] and after[2] == before[2]
    assert {row["mac"] for row in after[1]} == {row["mac"] for row in before[1]}
    assert kvasir(switch, "trace", b, "--protocol", "tcp", "--to-port", "22", "--to", "192.0.2.1",
                  "--to-mac", macs[a])[-1] == {"table": "sent", "port": a, "result": None}


@pytest.mark.parametrize("fields, words", [
    ({}, "is needed, to know what it is"),
    ({"type": "ipv4", "protocol": "udp", "icmp-type": 3}, "'icmp-type' and 'icmp-code' are of"),
    ({"protocol": "icmp", "to-port": 3}, "'from-port' and 'to-port' are of"),
    ({"protocol": "udp", "tcp-flags": 3}, "'tcp-flags' are of"),
    ({"type": "arp", "dscp": 3}, "are of ipv4 and ipv6"),
    ({"from": "10.0.0.1", "to": "fd00::1"}, "different families"),
    ({"from": "10.0.0.0/8"}, "an address is accepted"),
    ({"type": "arp", "from": "fd00::1"}, "has no such addresses"),
])
def test_a_packet_that_cannot_be_is_not_traced(switch, folder, fields, words):
    switch.execute("add-port", bridge="br0", name="g", type="vhost-user-server", path=f"{folder}/g")
    with pytest.raises(Refused, match=words):
        switch.execute("trace", port="g", **fields)
