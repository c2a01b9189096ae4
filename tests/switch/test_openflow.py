# SPDX-License-Identifier: GPL-2.0-or-later
"""OpenFlow, by Debian's ovs-ofctl without an Open vSwitch, in the versions 1.0 and 1.3."""

import contextlib
import os
import re
import socket
import struct
import subprocess
import time

import pytest
from conftest import BUILD, Spaces, inside, pings
from kv_switch import Refused, Switch

HELLO_10 = struct.pack(">BBHI", 1, 0, 8, 1)


class Ofctl:
    def __init__(self, folder, version):
        self.options = [] if version == "1.0" else ["-O", "OpenFlow13"]
        self.environment = dict(os.environ, OVS_RUNDIR=folder)

    def start(self, *words):
        return subprocess.Popen(["ovs-ofctl", *self.options, *words], env=self.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def fails(self, *words):
        done = subprocess.run(["ovs-ofctl", *self.options, *words], env=self.environment, check=False, text=True,
                              capture_output=True, timeout=20)
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def __call__(self, *words):
        done = subprocess.run(["ovs-ofctl", *self.options, *words], env=self.environment, check=False, text=True,
                              capture_output=True, timeout=20)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def flows(self):
        """Each as (match, actions), without what changes; see dump-flows."""
        text = re.sub(r" (cookie|duration|table|n_packets|n_bytes)=[^ ,]*,", "", self("dump-flows", "br0"))
        return [tuple(line.strip().rsplit(" actions=", 1)) if " actions=" in line else ("", line.strip()[8:])
                for line in text.splitlines()[1:]]

    def packets(self, match):
        line = next(line for line in self("dump-flows", "br0").splitlines() if match in line)
        return int(re.search(r"n_packets=(\d+)", line).group(1))


@pytest.fixture(name="switch")
def switch_(folder):
    with Switch(BUILD, folder, "--openflow", folder) as switch:
        switch.execute("add-bridge", name="br0")
        yield switch
        assert switch.process.poll() is None, switch.words()


@pytest.fixture(name="ofctl", params=["1.0", "1.3"])
def ofctl_(request, folder, switch):
    return Ofctl(folder, request.param)


@pytest.fixture(name="stations")
def stations_(switch):
    if os.geteuid() != 0:
        pytest.skip("network namespaces want root")
    spaces = Spaces(switch)
    try:
        yield [spaces.add(n, f"192.0.2.{n + 1}/24") for n in range(3)]
    finally:
        spaces.remove()


@contextlib.contextmanager
def saying(process):
    """What a program says until the block's end, as a list that is filled there."""
    said = []
    try:
        yield said
    finally:
        process.terminate()
        said += process.communicate(timeout=20)[0].splitlines()


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_switch_tells_of_itself_and_its_ports(switch, ofctl, folder):
    for n in range(2):
        switch.execute("add-port", bridge="br0", name=f"g{n}", type="vhost-user-client", path=f"{folder}/g{n}")
    shown = ofctl("show", "br0")
    assert re.search(r"dpid:0000[0-9a-f]{12}\nn_tables:1, n_buffers:0", shown)
    assert re.search(r" 1\(g0\): addr:02:.*\n     config:     0\n     state:      LINK_DOWN", shown)
    assert " 2(g1)" in shown and "frags=normal miss_send_len=128" in shown
    assert "2(g1)" in ofctl("dump-ports-desc", "br0")
    assert "Manufacturer: Kvasir\nHardware: kvasir-switchd\n" in ofctl("dump-desc", "br0")
    assert "2 ports" in ofctl("dump-ports", "br0") and "1 ports" in ofctl("dump-ports", "br0", "2")
    assert "active=1, lookup=0, matched=0" in ofctl("dump-tables", "br0")
    assert "packet_count=0 byte_count=0 flow_count=1" in ofctl("dump-aggregate", "br0")
    assert ofctl("probe", "br0") == ""
    assert "normal" in ofctl("get-frags", "br0")


def test_flows_are_added_changed_selected_and_removed(ofctl, folder):
    assert [actions for _, actions in ofctl.flows()] == ["NORMAL"]
    ofctl("del-flows", "br0")
    assert ofctl.flows() == []
    with open(f"{folder}/flows", "w", encoding="ascii") as flows:
        flows.write("""# a comment
priority=100,arp,arp_tpa=192.0.2.2,actions=NORMAL
priority=90,in_port=1,dl_vlan=7,dl_vlan_pcp=3,actions=strip_vlan,output:2
priority=80,dl_src=02:00:00:00:00:01,actions=mod_dl_dst:02:00:00:00:00:09,flood
priority=70,tcp,nw_src=10.0.0.0/8,nw_dst=10.1.0.0/16,tp_dst=80,idle_timeout=60,actions=CONTROLLER:99
priority=60,udp,tp_src=53,hard_timeout=100,actions=drop
priority=50,icmp,icmp_type=8,icmp_code=0,actions=all,in_port,LOCAL
""")
    ofctl("add-flows", "br0", f"{folder}/flows")
    got = ofctl.flows()
    assert [match for match, _ in got] == [
        "priority=100,arp,arp_tpa=192.0.2.2", "priority=90,in_port=1,dl_vlan=7,dl_vlan_pcp=3",
        "priority=80,dl_src=02:00:00:00:00:01", "idle_timeout=60, priority=70,tcp,nw_src=10.0.0.0/8,nw_dst=10.1.0.0/16,tp_dst=80",
        "hard_timeout=100, priority=60,udp,tp_src=53", "priority=50,icmp,icmp_type=8,icmp_code=0"]
    assert [actions for _, actions in got][3:] == ["CONTROLLER:99", "drop", "ALL,IN_PORT,LOCAL"]
    assert "flow_count=1" in ofctl("dump-aggregate", "br0", "tcp")
    assert "flow_count=1" in ofctl("dump-aggregate", "br0", "out_port=2")
    ofctl("--strict", "mod-flows", "br0", "priority=60,udp,tp_src=53,actions=output:2")
    assert "flow_count=2" in ofctl("dump-aggregate", "br0", "out_port=2")
    ofctl("mod-flows", "br0", "ip,actions=output:2")
    assert "flow_count=4" in ofctl("dump-aggregate", "br0", "out_port=2")
    ofctl("--strict", "del-flows", "br0", "priority=61,udp,tp_src=53")
    ofctl("--strict", "del-flows", "br0", "priority=60,udp,tp_src=53")
    ofctl("del-flows", "br0", "in_port=1")
    assert len(ofctl.flows()) == 4
    ofctl("del-flows", "br0", "ip")
    assert [match for match, _ in ofctl.flows()] == ["priority=100,arp,arp_tpa=192.0.2.2",
                                                     "priority=80,dl_src=02:00:00:00:00:01"]


def test_flows_decide_where_frames_go(ofctl, stations):
    a, b, c = stations
    assert pings(a, "192.0.2.2") and pings(a, "192.0.2.3")
    ofctl("add-flow", "br0", "priority=10,icmp,nw_dst=192.0.2.3,actions=drop")
    assert pings(a, "192.0.2.2") and not pings(a, "192.0.2.3", 1)
    assert ofctl.packets("nw_dst=192.0.2.3") >= 1
    ofctl("del-flows", "br0")
    assert not pings(a, "192.0.2.2", 1)
    ofctl("add-flow", "br0", "in_port=1,actions=output:2")
    ofctl("add-flow", "br0", "in_port=2,actions=output:1")
    assert pings(a, "192.0.2.2") and not pings(c, "192.0.2.2", 1)
    ofctl("del-flows", "br0")
    ofctl("add-flow", "br0", "actions=NORMAL")
    assert pings(c, "192.0.2.2") and pings(b, "192.0.2.1")
    assert ofctl.packets("NORMAL") >= 4


def test_ports_are_taken_down_and_up(switch, ofctl, stations):
    a = stations[0]
    assert pings(a, "192.0.2.2")
    ofctl("mod-port", "br0", stations[1], "down")
    assert "PORT_DOWN" in ofctl("show", "br0") and not pings(a, "192.0.2.2", 1)
    assert switch.statistics(stations[1])["drops"]["disabled"] > 0
    ofctl("mod-port", "br0", "2", "up")
    assert pings(a, "192.0.2.2")


def test_a_controller_sees_frames_and_sends_them(ofctl, stations):
    ofctl("add-flow", "br0", "priority=5,udp,tp_dst=4789,actions=CONTROLLER:65535")
    with saying(ofctl.start("monitor", "br0", "65534")) as said:
        time.sleep(0.5)
        inside(stations[0], "bash", "-c", "exec 3<>/dev/udp/192.0.2.2/4789; printf watched >&3")
        wait_for(lambda: ofctl.packets("tp_dst=4789"))
        time.sleep(0.2)
    text = "\n".join(said)
    assert "PACKET_IN" in text and "in_port=1 (via action)" in text and "tp_dst=4789" in text
    before = ofctl("dump-ports", "br0", "3")
    frame = "02" * 6 + "0200000000aa88b5" + "00" * 50
    ofctl("packet-out", "br0", f"in_port=controller,packet={frame},actions=output:3")
    count = [int(re.search(r"tx pkts=(\d+)", text).group(1)) for text in (before, ofctl("dump-ports", "br0", "3"))]
    assert count[1] > count[0]


def test_flows_end_in_time_and_who_monitors_is_told(switch, ofctl, folder):
    with saying(ofctl.start("monitor", "br0")) as said:
        time.sleep(0.5)
        switch.execute("add-port", bridge="br0", name="g7", type="vhost-user-client", path=f"{folder}/g7", ofport=7)
        ofctl("mod-port", "br0", "7", "no-flood" if not ofctl.options else "no-forward")
        switch.execute("remove-port", name="g7")
        ofctl("add-flow", "br0", "send_flow_rem,cookie=9,idle_timeout=1,priority=7,arp,actions=drop")
        ofctl("add-flow", "br0", "send_flow_rem,hard_timeout=1,priority=8,arp,actions=drop")
        ofctl("add-flow", "br0", "send_flow_rem,priority=9,arp,actions=drop")
        ofctl("del-flows", "br0", "cookie=0/0,arp,out_port=3")
        ofctl("--strict", "del-flows", "br0", "priority=9,arp")
        wait_for(lambda: len(ofctl.flows()) == 1)
        time.sleep(0.2)
    removed = sorted(re.findall(r"priority=(\d),arp.* reason=(\w+)", "\n".join(said)))
    assert removed == [("7", "idle"), ("8", "hard"), ("9", "delete")]
    assert re.findall(r"PORT_STATUS.*: (\w+):\s+7\(g7\)", "\n".join(said)) == ["ADD", "MOD", "DEL"]


def test_who_snoops_sees_what_is_said(ofctl):
    with saying(ofctl.start("snoop", "br0")) as said:
        time.sleep(0.5)
        ofctl("dump-desc", "br0")
        time.sleep(0.3)
    text = "\n".join(said)
    assert "OFPST_DESC request" in text and "Manufacturer: Kvasir" in text


@pytest.mark.parametrize("flow, error", [
    ("actions=resubmit(,1)", "BAD_VENDOR"), ("actions=output:65290", ""), ("ip,actions=dec_ttl", "BAD_"),
    ("table=5,actions=drop", ""), ("check_overlap,priority=0,in_port=1,actions=drop", "OVERLAP"), ("actions=mod_tp_dst:5", ""),
])
def test_what_cannot_be_done_is_refused(ofctl, flow, error):
    before = ofctl.flows()
    assert error in ofctl.fails("add-flow", "br0", flow)
    assert ofctl.flows() == before


@pytest.mark.parametrize("bytes_", [struct.pack(">BBHI", 1, 0, 4, 1), struct.pack(">BBHI", 9, 5, 8, 1), b"\xff" * 80,
                                    HELLO_10 + struct.pack(">BBHI", 1, 14, 7, 1)])
def test_who_does_not_speak_openflow_is_disconnected(ofctl, folder, bytes_):
    with socket.socket(socket.AF_UNIX) as liar:
        liar.settimeout(10)
        liar.connect(f"{folder}/br0.mgmt")
        liar.sendall(bytes_)
        with contextlib.suppress(ConnectionResetError):
            while liar.recv(4096):
                pass
    assert "flow_count=1" in ofctl("dump-aggregate", "br0")


def test_a_bridge_without_a_socket_is_refused_and_sockets_go_with_bridges(switch, folder):
    with pytest.raises(Refused):
        switch.execute("add-bridge", name="a/b")
    switch.execute("add-bridge", name="br1")
    assert os.path.exists(f"{folder}/br1.mgmt")
    switch.execute("remove-bridge", name="br1")
    assert not os.path.exists(f"{folder}/br1.mgmt") and not os.path.exists(f"{folder}/br1.snoop")


def test_flows_choose_queues(switch, stations, ofctl):
    a, b, _ = stations
    enqueue = ofctl.options == []
    switch.execute("set-qos", port=b, queues=[{"id": 7, "average": 100, "burst": 4}])
    ofctl("del-flows", "br0")
    ofctl("add-flow", "br0", "in_port=2,actions=output:1")
    ofctl("add-flow", "br0", "in_port=1,actions=" + ("enqueue:2:7" if enqueue else "set_queue:7,output:2"))
    assert ("in_port=1", "enqueue:2:7" if enqueue else "set_queue:7,output:2") in \
        [(match.split(",")[-1], actions) for match, actions in ofctl.flows()]
    assert pings(a, "192.0.2.2")
    flood = ["ping", "-q", "-c", "200", "-i", "0.001", "-s", "1400", "-W", "1", "192.0.2.2"]
    begin = time.monotonic()
    inside(a, *flood)
    assert time.monotonic() - begin > 200 * 1400 / (100 << 10) * 0.8, "held to the queue's rate"
    switch.execute("set-qos", port=b)
    begin = time.monotonic()
    inside(a, *flood)
    assert time.monotonic() - begin < 1.5


@pytest.mark.parametrize("family, any_address, receiver, level, option", [
    (socket.AF_INET, "0.0.0.0", "192.0.2.2", socket.IPPROTO_IP, socket.IP_TOS),
    (socket.AF_INET6, "::", "2001:db8::2", socket.IPPROTO_IPV6, socket.IPV6_TCLASS)])
def test_flows_mark_packets(stations, ofctl, family, any_address, receiver, level, option):
    a, b, _ = stations
    for space, address in ((a, "2001:db8::1/64"), (b, "2001:db8::2/64")):
        inside(space, "ip", "address", "add", address, "dev", space, "nodad")
    if family == socket.AF_INET6 and not ofctl.options:
        pytest.skip("1.0 has no matches of IPv6")
    kind = "udp" if family == socket.AF_INET else "udp6"
    ofctl("add-flow", "br0", f"priority=9,{kind},in_port=1,actions=mod_nw_tos:184,NORMAL")
    hear = ("import socket, sys\n"
            f"s = socket.socket({int(family)}, socket.SOCK_DGRAM)\n"
            f"s.bind(('{any_address}', 99)); s.settimeout(10)\n"
            f"s.setsockopt({level}, {socket.IP_RECVTOS if family == socket.AF_INET else 66}, 1)\n"
            "print('ready', flush=True)\n"
            "print(int.from_bytes(s.recvmsg(99, 99)[1][0][2][:1], 'little'))\n")
    say = (f"import socket; s = socket.socket({int(family)}, socket.SOCK_DGRAM); s.setsockopt({level}, {option}, 2); "
           f"s.sendto(b'x', ('{receiver}', 99))")
    with subprocess.Popen(["ip", "netns", "exec", b, "python3", "-c", hear], stdout=subprocess.PIPE, text=True) as ear:
        assert ear.stdout.readline() == "ready\n"
        inside(a, "python3", "-c", say)
        assert ear.stdout.readline() == f"{184 | 2}\n", "its mark of congestion stays"
