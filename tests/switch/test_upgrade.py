# SPDX-License-Identifier: GPL-2.0-or-later
"""Upgrades in place: a new process takes over from the running one, and who is connected notices nothing."""

import json
import os
import re
import socket
import subprocess
import time

import pytest
from conftest import BUILD, Spaces, inside
from kv_switch import Refused, Switch, Testpmd

NO_HUGE = ["--no-huge", "-m", "128"]
WORDS = ["--total-num-mbufs=4096", "--no-flush-rx"]


@pytest.fixture(name="switch")
def switch_(folder):
    """A switch that may have ended when the test does."""
    with Switch(BUILD, folder) as switch:
        switch.execute("add-bridge", name="br0")
        yield switch


class Successor(Switch):
    """The process that takes the place of the switch of that folder, which has ended when it is ready."""

    def __init__(self, switch, folder, *options):
        super().__init__(BUILD, folder, "--take-over", "--log", "info", *options, wait_for="is ready", log_name="successor.log")
        assert switch.process.wait(10) == 0, self.words()
        self.report = self.execute("query-upgrade")
        print(f"no frames moved for {self.report['still-us']} us: {self.report}")


@pytest.mark.parametrize("vdev", ["", ",packed_vq=1"], ids=["split", "packed"])
def test_guests_go_on_at_a_new_process_and_no_frame_is_lost(switch, folder, vdev):
    paths = [f"{folder}/g0", f"{folder}/g1"]
    for n, path in enumerate(paths):
        switch.execute("add-port", bridge="br0", name=f"g{n}", type="vhost-user-client", path=path, mac_limit=7)
    with Testpmd(folder, paths, NO_HUGE, vdev, WORDS) as guests:
        guests.wait_for("Done")
        switch.wait_up("g0", "g1")
        guests.say("start tx_first 1")
        time.sleep(0.2)
        before = switch.statistics("g0")
        with Successor(switch, folder) as new:
            assert min(guests.rates(0.3)) > 1000
            guests.say("stop")
            guests.wait_for("Accumulated forward statistics")
            time.sleep(0.2)
            assert {row["port"] for row in new.execute("query-macs", bridge="br0")} == {"g0", "g1"}
            assert new.execute("query-bridges")[0]["ports"][1]["mac-limit"] == 7
            lost = 0
            for n in range(2):
                counters = new.statistics(f"g{n}")
                assert counters["in-frames"] > before["in-frames"]
                lost += sum(counters["drops"].values())
            print(f"frames lost: {lost}")
            assert "device is disconnected" not in guests.words() and "gone" not in guests.words()
            assert lost == 0, new.execute("query-statistics")
            # Both directions have passed on what they took.
            totals = [new.statistics(f"g{n}") for n in range(2)]
            assert totals[0]["in-frames"] == totals[1]["out-frames"]


def test_taps_and_interfaces_keep_their_frames_connections_and_addresses(switch, folder):
    spaces = Spaces(switch)
    try:
        one = spaces.add(1, "192.0.2.1/24", tag=7)
        spaces.add_uplink(2, "192.0.2.2/24", tag=7)
        switch.execute("set-acl", name="out", default="deny", stateful=True, rules=[
            {"action": "allow", "type": "arp"}, {"action": "allow", "type": "ipv6"},
            {"action": "allow", "direction": "in", "protocol": "icmp"}])
        switch.execute("set-filter", port=one, acl="out")
        switch.execute("add-port", bridge="br0", name="file", type="pcap", write=f"{folder}/pcap", tag=7)
        inside(one, "ping", "-c", "1", "-W", "5", "192.0.2.2")
        with open(f"{folder}/pcap", "rb") as file:
            written = file.read()
        ping = subprocess.Popen(["ip", "netns", "exec", one, "ping", "-i", "0.002", "-c", "300", "-W", "2", "192.0.2.2"],
                                stdout=subprocess.PIPE, text=True)
        time.sleep(0.2)
        with Successor(switch, folder) as new:
            assert new.report["addresses"] == 2 and new.report["connections"] >= 1 and new.report["ports"] == 3
            words = ping.communicate(timeout=20)[0]
            print(re.search("300 packets.*", words).group(0))
            assert "300 received" in words
            drops = new.statistics(one)["drops"]
            assert not set(drops) & {"acl", "state"}, drops
            inside(one, "ip", "neighbour", "flush", "all")
            inside(one, "ping", "-c", "1", "-W", "5", "192.0.2.2")
            with open(f"{folder}/pcap", "rb") as file:
                now = file.read()
            assert now.startswith(written) and len(now) > len(written) > 24
            with pytest.raises(subprocess.CalledProcessError):
                inside(spaces.names[1], "ping", "-c", "1", "-W", "0.3", "192.0.2.1")
    finally:
        spaces.remove()


def test_the_database_flows_and_sockets_go_over(folder):
    for command in ("ovs-vsctl", "ovs-ofctl"):
        if subprocess.run(["which", command], stdout=subprocess.DEVNULL, check=False).returncode:
            pytest.skip(f"{command} is not here")

    def vsctl(*words):
        return subprocess.run(["ovs-vsctl", "--timeout=10", f"--db=unix:{folder}/db.sock", *words], check=True,
                              stdout=subprocess.PIPE, text=True, timeout=20).stdout

    def flows(*words):
        lines = subprocess.run(["ovs-ofctl", *words, f"unix:{folder}/br0.mgmt"], check=True, stdout=subprocess.PIPE,
                               text=True, timeout=20).stdout.splitlines()[1:]
        return [re.sub("duration=[^,]*, |n_[a-z]*=[^,]*, |[a-z]*_age=[^,]*, ", "", line) for line in lines]

    for database in ([], ["--database", f"{folder}/db"]):
        options = ["--ovsdb", f"{folder}/db.sock", "--openflow", folder, *database]
        with Switch(BUILD, folder, *options) as switch:
            vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "external_ids:who=me")
            vsctl("add-port", "br0", "g", "tag=9", "--", "set", "interface", "g", "type=dpdkvhostuser", "ofport_request=4")
            switch.execute("set-acl", name="web", default="deny", rules=[{"action": "allow", "type": "arp"}])
            switch.execute("set-filter", port="g", acl="web")
            for flow in ("priority=7,cookie=0x5,dl_vlan=3,actions=strip_vlan,output:4", "idle_timeout=600,actions=drop",
                         "tcp6,tp_dst=80,actions=NORMAL"):
                subprocess.run(["ovs-ofctl", "-OOpenFlow13", "add-flow", f"unix:{folder}/br0.mgmt", flow], check=True)
            before = vsctl("list", "bridge"), vsctl("list", "port"), flows("-OOpenFlow13", "dump-flows")
            assert len(before[2]) == 4
            with Successor(switch, folder, *options) as new:
                assert (vsctl("list", "bridge"), vsctl("list", "port"), flows("-OOpenFlow13", "dump-flows")) == before
                filters = [port.get("filter") for port in new.execute("query-bridges")[0]["ports"]]
                assert {"acl": "web"} in filters, filters
                vsctl("set", "port", "g", "tag=10")
                vsctl("del-br", "br0")
                assert not os.path.exists(f"{folder}/br0.mgmt")


def test_a_process_that_cannot_take_over_leaves_the_old_one_running(switch, folder):
    switch.execute("add-port", bridge="br0", name="g", type="vhost-user-server", path=f"{folder}/g", tag=3)
    switch.execute("add-mac", port="g", mac="52:54:00:00:00:01")
    before = switch.execute("query-bridges")
    refused = ((["--core", "1023"], "core 1023"), (["--ovsdb", "/proc/x/db.sock"], "/proc/x"))
    for options, words in refused:
        done = subprocess.run([f"{BUILD}/kvasir-switchd", "--control", switch.path, "--take-over", *options], check=False,
                              stderr=subprocess.PIPE, text=True, timeout=20)
        assert done.returncode == 1 and words in done.stderr
    with pytest.raises(Refused, match="a socket must come along"):
        switch.execute("hand-over")
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(switch.path)
        ours, theirs = socket.socketpair()
        other.sendall(b'{"execute": "qmp_capabilities"}')
        socket.send_fds(other, [b'{"execute": "hand-over"}'], [theirs.fileno()])
        theirs.close()
        ours.recv(8)
        ours.close()  # whoever asked dies amid the state
        answers = other.makefile()
        lines = [json.loads(answers.readline()) for _ in range(3)]
        assert "error" in lines[2]
    assert switch.execute("query-bridges") == before and os.path.exists(f"{folder}/g")
    nobody = subprocess.run([f"{BUILD}/kvasir-switchd", "--control", f"{folder}/nobody", "--take-over"], check=False,
                            stderr=subprocess.PIPE, text=True, timeout=20)
    assert nobody.returncode == 1 and "no switch at" in nobody.stderr
    with Successor(switch, folder) as new:
        assert new.execute("query-bridges") == before
        assert [(row["mac"], row["vlan"], row["static"]) for row in new.execute("query-macs", bridge="br0")] == [
            ("52:54:00:00:00:01", 3, True)]


def test_patches_tunnels_and_queues_go_over(switch, folder):
    spaces = Spaces(switch)
    try:
        switch.execute("add-bridge", name="br1")
        one = spaces.add(1, "192.0.2.1/24")
        spaces.add(2, "192.0.2.2/24", bridge="br1")
        for bridge, name, peer in (("br0", "p0", "p1"), ("br1", "p1", "p0")):
            switch.execute("add-port", bridge=bridge, name=name, type="patch", peer=peer)
        for key in (1, 2):
            switch.execute("add-port", bridge="br0", name=f"vx{key}", type="vxlan", remote_ip="198.51.100.9", key=key,
                           dst_port=4799, ttl="7")
        switch.execute("set-qos", port=one, average=5000, queues=[{"id": 3, "guaranteed": 100}])
        before = switch.execute("query-bridges")
        with Successor(switch, folder) as new:
            inside(one, "ping", "-c", "1", "-W", "5", "192.0.2.2")
            for bridge, was in zip(new.execute("query-bridges"), before):
                for port, old in zip(bridge["ports"], was["ports"]):
                    assert {**port, "macs": 0} == {**old, "macs": 0}
    finally:
        spaces.remove()
