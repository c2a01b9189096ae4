# SPDX-License-Identifier: GPL-2.0-or-later
"""Open vSwitch's own tools drive the switch: ovs-vsctl and ovsdb-client as the distribution has them, without
ovs-vswitchd. The distribution's ovsdb-server gets the same commands, and has to answer them alike."""

import contextlib
import json
import os
import re
import shlex
import socket
import subprocess
import time

import pytest
from conftest import BUILD, pings, run
from kv_switch import Refused, Switch

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\S+\|\d+\|", re.M)


class Tools:
    """ovs-vsctl and ovsdb-client of one database; space: the network namespace that they run in."""

    def __init__(self, socket, *options, space=None):
        self.remote = f"unix:{socket}"
        self.options = options
        self.prefix = ["ip", "netns", "exec", space] if space else []

    def run(self, *words):
        return subprocess.run([*self.prefix, *words], capture_output=True, text=True, timeout=30, check=False)

    def ask(self, command):
        """Exit status, output, complaints."""
        done = self.run("ovs-vsctl", f"--db={self.remote}", "-t", "10", *self.options, *shlex.split(command))
        return done.returncode, done.stdout, done.stderr

    def get(self, command):
        status, words, complaints = self.ask(command)
        assert status == 0, (command, complaints)
        return words.strip()

    def client(self, *words):
        command, *arguments = words
        done = self.run("ovsdb-client", command, self.remote, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


def wait_for(path, process):
    deadline = time.monotonic() + 10
    while not os.path.exists(path):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(name="real")
def real_(folder):
    """The distribution's ovsdb-server."""
    subprocess.run(["ovsdb-tool", "create", f"{folder}/real.db", SCHEMA], check=True)
    process = subprocess.Popen(["ovsdb-server", f"{folder}/real.db", f"--remote=punix:{folder}/real.sock",
                                f"--unixctl={folder}/real.ctl"], stderr=subprocess.DEVNULL)
    try:
        wait_for(f"{folder}/real.sock", process)
        yield Tools(f"{folder}/real.sock", "--no-wait")
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(name="space")
def space_():
    """A network namespace."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces want root")
    name = f"kvov{os.getpid()}"
    run("ip", "netns", "add", name)
    yield name
    run("ip", "netns", "del", name)


def start(folder, space, *options):
    switch = Switch(BUILD, folder, "--ovsdb", f"{folder}/db.sock", *options, prefix=("ip", "netns", "exec", space))
    switch.tools = Tools(f"{folder}/db.sock", space=space)
    return switch


@contextlib.contextmanager
def served(folder, space, *options):
    with start(folder, space, *options) as switch:
        yield switch
        assert switch.process.poll() is None, switch.words()


@pytest.fixture(name="ovs")
def ovs_(folder, space):
    with served(folder, space) as switch:
        yield switch


def ports(switch):
    """What the ports of the first bridge were asked to be."""
    rows = [{k: v for k, v in port.items() if k not in ("up", "macs", "number")}
            for port in switch.execute("query-bridges")[0]["ports"]]
    return sorted(rows, key=lambda row: row["name"])


def plain(answer):
    """Without what differs from run to run: UUIDs, times, the order of rows."""
    status, words, complaints = answer
    lines = sorted(UUID.sub("UUID", words).splitlines())
    return status, lines, sorted(TIME.sub("", UUID.sub("UUID", complaints)).splitlines())


# In order, as one state follows from the other.
COMMANDS = """
show
list-br
get-manager
add-br br0
list-br
br-exists br0
br-exists br9
add-br br0
--may-exist add-br br0
add-br br1 -- set Bridge br1 datapath_type=netdev
list-br
--real list-br
add-port br0 p1 tag=10 -- set Interface p1 type=internal
add-port br0 p2 trunks=20,30,40-42 -- set Interface p2 type=internal
add-port br0 p1
--may-exist add-port br0 p1
--may-exist add-port br1 p1
add-port br0 p3 -- set Interface p3 type=internal -- set Port p3 vlan_mode=native-untagged tag=7
add-port br1 q1 -- set Interface q1 type=dpdkvhostuserclient options:vhost-server-path=/tmp/kvasir-none.sock
list-ports br0
list-ports br1
list-ports br9
list-ifaces br0
port-to-br p1
port-to-br p9
iface-to-br p2
iface-to-br p9
get Port p1 tag
get Port p2 trunks
get Port p3 vlan_mode tag
get Interface q1 type options
get Interface q1 options:vhost-server-path
get Interface p1 options:nothing
--if-exists get Port p9 tag
get Port p9 tag
set Port p1 tag=11
get Port p1 tag
set Port p1 tag=4096
set Port p1 tag=eleven
set Port p1 vlan_mode=sideways
set Port p1 name=p9
add Port p2 trunks 50
get Port p2 trunks
remove Port p2 trunks 20 30
get Port p2 trunks
clear Port p2 trunks
get Port p2 trunks
add Port p1 external_ids color=red size=5
get Port p1 external_ids
get Port p1 external_ids:color
remove Port p1 external_ids color
set Port p1 external_ids:shape=round other_config:x=y
list Port p1
--columns=name,tag,external_ids list Port
--format=csv --columns=name,trunks list Port
--format=json --columns=name,vlan_mode find Port name=p3
--format=table --no-headings --columns=name,tag list Port
--columns=name find Port tag=11
--bare --columns=name find Interface type=internal
find Port tag>=7 vlan_mode=native-untagged nothing=1
--columns=name find Port tag>=7
--columns=name find Port external_ids:shape=round
--columns=name find Port trunks{=}[]
br-set-external-id br0 owner me
br-get-external-id br0 owner
br-get-external-id br0
br-set-external-id br0 owner
br-get-external-id br0
add-br brv br0 30
list-br
--fake list-br
br-to-vlan brv
br-to-parent brv
br-to-vlan br0
br-to-parent br0
add-port brv v1 -- set Interface v1 type=internal
list-ports brv
get Port v1 tag
port-to-br v1
br-set-external-id brv zone 4
br-get-external-id brv zone
get Port brv external_ids
del-br brv
list-br
list-ports br0
add-br bad br9 30
get-fail-mode br0
set-fail-mode br0 standalone
get-fail-mode br0
del-fail-mode br0
get-controller br0
set-controller br0 tcp:192.0.2.1:6653 unix:/tmp/kvasir-none
get-controller br0
--columns=target,is_connected list Controller
del-controller br0
get-controller br0
-- --id=@p get Port p2 -- --id=@m create Mirror name=m1 select-all=true output-port=@p -- add Bridge br0 mirrors @m
--columns=name,select_all list Mirror
get Mirror m1 name select_all select_src_port
-- --id=@q get Port p1 -- set Mirror m1 select_all=false select_src_port=@q
clear Bridge br0 mirrors
list Mirror
create Mirror name=lost
list Mirror
-- --id=@q create QoS type=linux-htb other-config:max-rate=1000000 queues:5=@r -- --id=@r create Queue other-config:min-rate=10
--columns=type,other_config list QoS
--columns=other_config list Queue
-- --all destroy QoS -- --all destroy Queue
list QoS
destroy Port p1
--if-exists destroy QoS 00000000-0000-4000-8000-000000000000
destroy QoS 00000000-0000-4000-8000-000000000000
set Open_vSwitch . external_ids:system-id=kvasir
get Open_vSwitch . external_ids
set Open_vSwitch . nothing=1
list Nothing
nothing
wait-until Port p1 tag=11
comment said
add-port br0 p4 -- set Interface p4 type=internal -- del-port br0 p4
list-ports br0
add-port br0 p5 -- set Interface p5 type=internal -- add-port br0 p5
list-ports br0
del-port br1 p1
del-port br0 p3
--if-exists del-port p3
del-port p3
--if-exists del-port br0 p9
show
emer-reset
get Bridge br0 controller fail_mode mirrors
del-br br9
--if-exists del-br br9
del-br br0
list-br
show
del-br br1
list-br
""".strip().splitlines()


def test_ovs_vsctl_gives_the_answers_that_it_gives_with_ovsdb_server(ovs, real):
    answers = [(command, plain(ovs.tools.ask(command)), plain(real.ask(command))) for command in COMMANDS]
    assert [answer for answer in answers if answer[1] != answer[2]] == []
    assert ovs.execute("query-bridges") == []
    assert len(COMMANDS) > 100


# The guide's lines for Open vSwitch, as they are.
GUIDE = """ovs-vsctl add-br br0
ovs-vsctl add-port br0 eth0
ifconfig br0 192.168.1.1 netmask 255.255.255.0 up
"""


def in_space(space, *words, **more):
    return subprocess.run(["ip", "netns", "exec", space, *words], timeout=30, check=True, capture_output=True, text=True,
                          **more).stdout


def test_the_lines_of_the_guide_make_a_bridge_of_an_interface(folder, space):
    peer = f"{space}p"
    run("ip", "netns", "add", peer)
    try:
        in_space(space, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", peer)
        in_space(space, "ip", "link", "set", "eth0", "up")
        in_space(peer, "ip", "link", "set", "eth0", "up")
        in_space(peer, "ip", "address", "add", "192.168.1.2/24", "dev", "eth0")
        with served(folder, space) as switch:
            # The socket is where the tools look without being told.
            in_space(space, "sh", "-e", input=GUIDE, env=dict(os.environ, OVS_RUNDIR=folder))
            assert pings(space, "192.168.1.2")
            assert pings(peer, "192.168.1.1")
            assert switch.tools.get("get Interface eth0 type link_state admin_state").split() == ['""', "up", "up"]
            time.sleep(0.1)  # counters are as old as that
            assert int(switch.tools.get("get Interface eth0 statistics:rx_packets")) >= 2
            assert switch.tools.get("get Interface eth0 error") == "[]"
            assert switch.tools.get("get Interface eth0 status:driver_name") == "veth"
    finally:
        run("ip", "netns", "del", peer)


def test_what_the_switch_did_is_in_the_rows(ovs, space):
    ask, get = ovs.tools.ask, ovs.tools.get
    get("add-br br0 -- add-port br0 p1 tag=10 -- set Interface p1 type=internal")
    link = json.loads(in_space(space, "ip", "-j", "link", "show", "p1"))[0]
    assert get("get Interface p1 mac_in_use") == f'"{link["address"]}"'
    assert get("get Interface p1 ifindex mtu").split() == [str(link["ifindex"]), "1500"]
    assert get("get Interface br0 ofport") == "65534" and get("get Interface p1 ofport") == "1"
    get("add-port br0 p2 -- set Interface p2 type=internal ofport_request=7")
    assert get("get Interface p2 ofport") == "7"
    get("set Interface p2 ofport=999999")  # is the switch's to say
    assert get("get Interface p2 ofport") == "7"
    assert get("get Open_vSwitch . cur_cfg") == get("get Open_vSwitch . next_cfg") != "0"
    assert next(p for p in ports(ovs) if p["name"] == "p1")["tag"] == 10
    # An interface that is not there: the row stays and says why, as with ovs-vswitchd.
    status, _, complaints = ask("add-port br0 nowhere")
    assert status == 0 and "Error detected while setting up 'nowhere'" in complaints
    assert get("get Interface nowhere ofport") == "-1"
    assert "No such device" in get("get Interface nowhere error")
    in_space(space, "ip", "link", "add", "nowhere", "type", "veth", "peer", "name", "other")
    get("set Interface nowhere external_ids:try=again")
    assert get("get Interface nowhere error ofport").split() == ["[]", "2"]
    for words, why in (("type=gre options:remote_ip=192.0.2.1", "type 'gre'"), ("type=tap options:colour=red", "colour"),
                       ("type=dpdkvhostuserclient", "needs 'path'"), ("type=dpdkvhostuser options:tag=5", "tag")):
        ask(f"--if-exists del-port bad -- add-port br0 bad -- set Interface bad {words}")
        assert why in get("get Interface bad error")


def test_numbers_of_ports_are_those_of_openflow_and_stay(folder, space):
    options = ("--database", f"{folder}/conf.db", "--openflow", folder)

    def numbers():
        words = in_space(space, "ovs-ofctl", "show", "br0", env=dict(os.environ, OVS_RUNDIR=folder))
        return dict(reversed(pair) for pair in re.findall(r"^ (\w+)\((\w+)\): addr", words, re.M)), words

    with served(folder, space, *options) as switch:
        get = switch.tools.get
        get("add-br br0")
        for name in ("p1", "p2", "p3"):
            get(f"add-port br0 {name} -- set Interface {name} type=internal")
        get("del-port p1 -- set Interface p3 ofport_request=9")
        found, words = numbers()
        assert found == {"br0": "LOCAL", "p2": "2", "p3": "9"}
        assert f"dpid:{json.loads(get('get Bridge br0 datapath_id'))}" in words
        assert {name: get(f"get Interface {name} ofport") for name in ("br0", "p2", "p3")} == {**found, "br0": "65534"}
        switch.execute("add-port", bridge="br0", name="p4", type="tap", ofport=5)
        assert get("get Interface p4 ofport ofport_request").split() == ["5", "5"]
    with served(folder, space, *options):
        assert numbers()[0] == {"br0": "LOCAL", "p2": "2", "p3": "9", "p4": "5"}


def test_vlans_bridges_and_rates_of_the_rows_are_the_switchs(ovs):
    get = ovs.tools.get
    get("add-br br0 -- set Bridge br0 other_config:mac-aging-time=60 -- add-port br0 p -- set Interface p type=internal")

    def port():
        return next(p for p in ports(ovs) if p["name"] == "p")

    assert ovs.execute("query-bridges")[0]["ageing"] == 60
    assert port()["trunks"] == "0-4094"
    get("set Port p trunks=10,20")
    assert port()["trunks"] == "10,20"
    get("set Port p tag=5 vlan_mode=native-untagged")
    assert port()["trunks"] == "5,10,20" and port()["native"] == 5
    get("set Port p vlan_mode=access")
    assert port()["tag"] == 5
    get("clear Port p tag trunks vlan_mode -- set Bridge br0 other_config:mac-aging-time=90")
    assert port()["trunks"] == "0-4094" and ovs.execute("query-bridges")[0]["ageing"] == 90
    get("set Interface p ingress_policing_rate=8192 ingress_policing_burst=819 -- set Port p other_config:mac-limit=9")
    assert port()["in-average"] == 1000 and port()["in-burst"] == 100 and port()["mac-limit"] == 9


def test_a_mirror_of_the_rows_shows_frames(ovs, space):
    get = ovs.tools.get
    get("add-br br0 -- add-port br0 span -- set Interface span type=internal")
    get("-- --id=@s get Port span -- --id=@m create Mirror name=m select-all=true output-port=@s -- set Bridge br0 mirrors=@m")
    in_space(space, "ip", "address", "add", "192.0.2.1/24", "dev", "br0")
    before = ovs.statistics("span")["out-frames"]
    pings(space, "192.0.2.2", 1)
    assert ovs.statistics("span")["out-frames"] > before
    assert [p["mirror"] for p in ports(ovs) if "mirror" in p] == [{"to": "span", "direction": "both"}]
    get("set Mirror m select_vlan=7,20")
    assert [p["mirror"] for p in ports(ovs) if "mirror" in p] == [{"to": "span", "direction": "both", "vlans": "7,20"}]
    get("clear Bridge br0 mirrors")
    assert not [p for p in ports(ovs) if "mirror" in p]


def test_flow_export_by_rows_is_the_bridges(ovs, space):
    get, execute = ovs.tools.get, ovs.execute

    def exports(kind):
        return {k: v for k, v in execute("query-bridges")[0].get(kind, {}).items() if k not in ("sent", "unsent", "missed")}

    in_space(space, "ip", "link", "set", "lo", "up")
    in_space(space, "ip", "address", "add", "192.0.2.1/24", "dev", "lo")
    get("add-br br0")
    get('-- --id=@s create sFlow agent=lo target="127.0.0.1" header=96 sampling=64 polling=10 -- set Bridge br0 sflow=@s')
    assert exports("sflow") == {"collector": "127.0.0.1:6343", "agent": "lo", "header": 96, "sampling": 64, "polling": 10}
    get("set sFlow . sampling=32")
    assert exports("sflow")["sampling"] == 32
    get('-- --id=@n create NetFlow targets=\\"127.0.0.1:5566\\" active-timeout=30 -- set Bridge br0 netflow=@n')
    assert exports("netflow")["collector"] == "127.0.0.1:5566" and exports("netflow")["active"] == 30
    get('-- --id=@i create IPFIX targets=\\"127.0.0.1:4739\\" cache_max_flows=100 -- set Bridge br0 ipfix=@i')
    assert exports("ipfix")["entries"] == 100 and exports("ipfix")["sampling"] == 400
    get("set NetFlow . active-timeout=60")
    get("clear Bridge br0 sflow netflow")
    assert exports("sflow") == exports("netflow") == {} and exports("ipfix") != {}
    assert get("list sFlow") == get("list NetFlow") == ""
    get('-- --id=@s create sFlow agent=nobody target="127.0.0.1" -- set Bridge br0 sflow=@s')
    assert "nobody" in get("get Bridge br0 status:error") and exports("sflow") == {}
    execute("set-netflow", bridge="br0", collector="127.0.0.1:9", idle=7)
    assert get("get NetFlow . targets active_timeout external_ids").split("\n") == [
        '["127.0.0.1:9"]', "60", '{kvasir-idle="7"}']
    before = exports("netflow")
    get("set Bridge br0 external_ids:a=b")
    assert exports("netflow") == before
    execute("set-netflow", bridge="br0")
    assert get("get Bridge br0 netflow") == "[]"


def test_a_bond_is_a_port_of_several_interfaces(ovs):
    internal = " -- ".join(f"set Interface {name} type=internal" for name in ("m1", "m2"))
    ovs.tools.get(f"add-br br0 -- add-bond br0 bond0 m1 m2 bond_updelay=100 tag=5 other_config:bond-primary=m2 -- {internal}")
    bond = next(port for port in ports(ovs) if port["name"] == "bond0")
    assert (bond["mode"], bond["up-delay"], bond["tag"]) == ("active-backup", 100, 5)
    deadline = time.monotonic() + 5
    while ovs.tools.get("get Port bond0 bond_active_slave") != ovs.tools.get("get Interface m2 mac_in_use"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert ovs.tools.get("list-ports br0") == "bond0" and ovs.tools.get("list-ifaces br0").split() == ["m1", "m2"]
    ovs.tools.get("set Port bond0 lacp=active bond_mode=balance-tcp other_config:lacp-time=fast")
    assert ovs.tools.get("get Interface m1 lacp_current") == "false"
    assert ovs.tools.get("get Port bond0 bond_active_slave") == "[]"
    with pytest.raises(Refused):
        ovs.execute("add-port", bridge="br0", name="b", type="bond")
    ovs.tools.get("del-port bond0")
    assert [port["name"] for port in ports(ovs)] == ["br0"]


def test_rstp_is_the_bridge_s_and_tells_of_itself(ovs):
    ovs.tools.get("add-br br0 -- set Bridge br0 rstp_enable=true other_config:rstp-priority=4096 "
                  "other_config:rstp-address=02:00:00:00:00:09 "
                  "-- set Port br0 other_config:rstp-port-admin-edge=true other_config:rstp-path-cost=7")
    assert ovs.tools.get("get Bridge br0 rstp_status:rstp_bridge_id") == '"4096.020000000009"'
    deadline = time.monotonic() + 5
    while ovs.tools.get("get Port br0 rstp_status:rstp_port_state") != "Forwarding":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert ovs.tools.get("get Port br0 rstp_status:rstp_port_role") == "Designated"
    ovs.tools.get("set Bridge br0 rstp_enable=false")
    assert "rstp" not in ovs.execute("query-bridges")[0]


def test_multicast_snooping_is_the_bridge_s(ovs):
    ovs.tools.get("add-br br0 -- set Bridge br0 mcast_snooping_enable=true other_config:mcast-snooping-aging-time=60 "
                  "other_config:mcast-snooping-disable-flood-unregistered=true "
                  "-- set Port br0 other_config:mcast-snooping-flood=true")
    bridge = ovs.execute("query-bridges")[0]
    assert (bridge["snooping"], bridge["snooping-ageing"], bridge["drop-unregistered"]) == (True, 60, True)
    assert bridge["ports"][0]["multicast-flood"]
    ovs.execute("set-bridge", name="br0", snooping=True, snooping_groups=99)
    assert ovs.tools.get("get Bridge br0 other_config:mcast-snooping-table-size") == '"99"'
    ovs.tools.get("set Bridge br0 mcast_snooping_enable=false")
    assert "snooping" not in ovs.execute("query-bridges")[0]


@pytest.mark.parametrize("words, is_so", [
    ("vlan_mode=native-tagged tag=7", {"native": 7, "native-tagged": True}),
    ("vlan_mode=dot1q-tunnel tag=9", {"tag": 9, "tunnel": True, "customers": "0-4094", "outer-tag": "802.1ad"}),
    ("vlan_mode=dot1q-tunnel tag=9 cvlans=0,5,6 other_config:qinq-ethtype=802.1q",
     {"tag": 9, "tunnel": True, "customers": "0,5-6", "outer-tag": "802.1q"}),
    ("protected=true", {"isolated": True}),
])
def test_vlan_modes_become_the_port_s(ovs, words, is_so):
    ovs.tools.get("add-br br0")
    plain_port = ports(ovs)[0]
    ovs.tools.get(f"set Port br0 {words}")
    port = ports(ovs)[0]
    assert {key: port.get(key) for key in is_so} == is_so
    # And the other way round: the control socket says so, and the rows say the same.
    rows = ovs.tools.get("get Port br0 vlan_mode tag protected")
    ovs.tools.get("clear Port br0 vlan_mode tag cvlans other_config -- set Port br0 protected=false")
    ovs.execute("set-port", name="br0", **is_so)
    assert ovs.tools.get("get Port br0 vlan_mode tag protected") == rows
    ovs.tools.get("clear Port br0 vlan_mode tag cvlans other_config -- set Port br0 protected=false")
    assert ports(ovs)[0] == plain_port


@pytest.mark.parametrize("words, why", [
    ("add-bond br0 bond0 a b bond_mode=balance-tcp", "balance-tcp needs lacp"),
    ("add-bond br0 bond0 a b bond_fake_iface=true", "bond_fake_iface"),
    ("add-bond br0 bond0 a b other_config:bond-rebalance-interval=9", "bond-rebalance-interval"),
    ("add-port br0 a lacp=active", "lacp is for bonds"),
    ("set Bridge br0 stp_enable=true", "stp_enable"),
    ("set-fail-mode br0 secure", "'standalone' is possible"),
    ("set Port br0 vlan_mode=dot1q-tunnel", "needs a tag"),
    ("-- --id=@q create QoS type=linux-hfsc -- set Port br0 qos=@q", "'linux-htb' is possible"),
    ("-- --id=@m create Mirror name=m output-vlan=9 -- set Bridge br0 mirrors=@m", "output_port"),
    ("set-manager ptcp:6640", "--ovsdb"),
    ("set-ssl /a /b /c", "--ovsdb"),
    ("set Interface br0 mtu_request=9000", "keeps its MTU"),
    ("create Flow_Sample_Collector_Set id=1 bridge=@b -- --id=@b get Bridge br0", ""),
])
def test_what_the_switch_cannot_do_is_refused_and_changes_nothing(ovs, words, why):
    ovs.tools.get("add-br br0")
    before = ovs.tools.client("dump", "Bridge"), ports(ovs)
    status, _, complaints = ovs.tools.ask(words)
    assert status == 1 and why in complaints
    assert (ovs.tools.client("dump", "Bridge"), ports(ovs)) == before


def test_the_control_socket_and_the_database_show_the_same(ovs, folder):
    get, execute = ovs.tools.get, ovs.execute
    execute("add-bridge", name="br1", ageing=77)
    execute("add-port", bridge="br1", name="a", type="vhost-user-server", path=f"{folder}/a", tag=10, in_average=1000)
    execute("add-port", bridge="br1", name="b", type="vhost-user-client", path=f"{folder}/b", trunks="10,20-22", native=9)
    execute("add-port", bridge="br1", name="t", type="tap", mac_limit=5)
    execute("add-port", bridge="br1", name="f", type="pcap", write=f"{folder}/f.pcap", out_average=500)
    execute("set-mirror", port="a", to="t", direction="in")
    before = ports(ovs)
    assert get("list-br") == "br1" and sorted(get("list-ports br1").split()) == ["a", "b", "f", "t"]
    assert get("get Interface f type options") == f'pcap\n{{out-average="500", write="{folder}/f.pcap"}}'
    assert get("get Bridge br1 other_config") == '{mac-aging-time="77"}'
    assert get("get Interface a type options") == f'dpdkvhostuser\n{{path="{folder}/a"}}'
    assert get("get Interface b type options") == f'dpdkvhostuserclient\n{{vhost-server-path="{folder}/b"}}'
    assert get("get Port b tag trunks vlan_mode").split("\n") == ["9", "[10, 20, 21, 22]", "native-untagged"]
    # A transaction about something else leaves all of it alone.
    get("set Bridge br1 external_ids:seen=yes")
    assert ports(ovs) == before
    execute("set-port", name="a", tag=11)
    assert get("get Port a tag") == "11" and get("get Interface a ingress_policing_rate") == "0"
    get("set Port b trunks=30")
    assert [p["trunks"] for p in ports(ovs) if p["name"] == "b"] == ["9,30"]
    execute("set-mirror", port="a")
    assert get("get Bridge br1 mirrors") == "[]"
    execute("set-port", name="f", out_average=600)
    assert get("get Interface f options:out-average options:write").split() == ['"600"', f'"{folder}/f.pcap"']
    for name in ("t", "f"):
        execute("remove-port", name=name)
    assert sorted(get("list-ports br1").split()) == ["a", "b"]
    get("del-port a")
    assert [p["name"] for p in execute("query-bridges")[0]["ports"]] == ["b"]
    execute("remove-port", name="b")
    execute("remove-bridge", name="br1")
    assert get("list-br") == ""


def test_a_switch_begins_with_what_its_database_kept(folder, space):
    options = ("--database", f"{folder}/conf.db")

    with start(folder, space, *options) as switch:
        switch.tools.get("add-br br0 -- add-port br0 p tag=10 -- set Interface p type=internal -- add-br br0v br0 20")
        switch.execute("add-port", bridge="br0", name="g", type="vhost-user-client", path=f"{folder}/g", mac_limit=3)
        before, rows = ports(switch), switch.tools.client("dump", "Port")
        switch.process.kill()  # as in a crash
        switch.process.wait()
    assert len(before) == 4
    with served(folder, space, *options) as switch:
        assert ports(switch) == before
        assert switch.tools.client("dump", "Port") == rows
        second = subprocess.run([f"{BUILD}/kvasir-switchd", "--ovsdb", f"{folder}/other.sock", *options],
                                stderr=subprocess.PIPE, text=True, timeout=10, check=False)
        assert second.returncode == 1 and "locked" in second.stderr
        switch.tools.get("del-br br0")
    with served(folder, space, *options) as switch:
        assert switch.tools.get("list-br") == "" and switch.execute("query-bridges") == []


def test_ovsdb_client_works_as_with_ovsdb_server(ovs, real):
    assert ovs.tools.client("list-dbs") == real.client("list-dbs").replace("_Server\n", "")

    def schema(tools):
        """Tables with columns as (type, ...), however they are written."""
        def base(of):
            return {"type": of} if isinstance(of, str) else of

        def column(of):
            kind = of["type"] if isinstance(of["type"], dict) and "key" in of["type"] else {"key": of["type"]}
            return {**of, "type": {**kind, "key": base(kind["key"]), "value": base(kind.get("value", "none"))}}

        whole = json.loads(tools.client("get-schema"))
        return whole["name"], whole["version"], {name: {**table, "columns": {c: column(d) for c, d in table["columns"].items()}}
                                                 for name, table in whole["tables"].items()}

    assert schema(ovs.tools) == schema(real)
    for tools in (ovs.tools, real):
        tools.get("add-br br0 -- set Bridge br0 external_ids:a=b")
    transactions = [
        [{"op": "select", "table": "Bridge", "where": [["name", "==", "br0"]], "columns": ["name", "external_ids", "ports"]}],
        [{"op": "select", "table": "Bridge", "where": [["external_ids", "includes", ["map", [["a", "b"]]]]], "columns": ["name"]}],
        [{"op": "select", "table": "Bridge", "where": [["external_ids", "excludes", ["map", [["a", "b"]]]]], "columns": ["name"]}],
        [{"op": "insert", "table": "QoS", "row": {"type": "x"}, "uuid-name": "q"}, {"op": "abort"}, {"op": "comment", "comment": "c"}],
        [{"op": "mutate", "table": "Bridge", "where": [], "mutations": [["external_ids", "insert", ["map", [["c", "d"]]]]]}],
        [{"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "*=", 3], ["next_cfg", "+=", 4]]},
         {"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["external_ids"]}],
        [{"op": "update", "table": "Bridge", "where": [["name", "==", "br0"]], "row": {"external_ids": ["map", []]}}],
        [{"op": "wait", "table": "Bridge", "where": [["name", "==", "br0"]], "columns": ["name"], "until": "==",
          "rows": [{"name": "br0"}], "timeout": 0}],
        [{"op": "delete", "table": "Bridge", "where": [["name", "==", "br9"]]}],
    ]
    for operations in transactions:
        words = json.dumps(["Open_vSwitch", *operations])
        assert json.loads(UUID.sub("UUID", ovs.tools.client("transact", words))) == json.loads(
            UUID.sub("UUID", real.client("transact", words))), operations
    # What fails fails with the same error (RFC 7047, 3.1); the words are each server's own.
    failures = [
        [{"op": "insert", "table": "Bridge", "row": {"name": "br0"}}, {"op": "nothing"}],
        [{"op": "insert", "table": "Nothing", "row": {}}],
        [{"op": "insert", "table": "QoS", "row": {"type": 5}}],
        [{"op": "insert", "table": "QoS", "row": {"nothing": 5}}],
        [{"op": "insert", "table": "Queue", "row": {"dscp": 64}}],
        [{"op": "update", "table": "Bridge", "where": [], "row": {"name": "x"}}],
        [{"op": "update", "table": "Bridge", "where": [], "row": {"fail_mode": "x"}}],
        [{"op": "delete", "table": "Port", "where": []}],
        [{"op": "insert", "table": "Open_vSwitch", "row": {}}],
        [{"op": "update", "table": "Bridge", "where": [], "row": {"ports": ["uuid", "00000000-0000-4000-8000-000000000000"]}}],
        [{"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "/=", 0]]}],
        [{"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "^=", 1]]}],
        [{"op": "wait", "table": "Bridge", "where": [], "columns": ["name"], "until": "!=", "rows": [{"name": "br0"}], "timeout": 0}],
        [{"op": "assert", "lock": "mine"}],
        [{"op": "insert", "table": "Manager", "row": {"target": "a"}, "uuid-name": "m"},
         {"op": "insert", "table": "Manager", "row": {"target": "b"}, "uuid-name": "m"}],
        [{"op": "select", "table": "Bridge", "where": [["name", "<", "x"]]}],
        [{"op": "select", "table": "Bridge", "where": [["name", "like", "x"]]}],
    ]

    def errors(answer):
        return [row.get("error") if isinstance(row, dict) else row for row in json.loads(answer)]

    differ = []
    for operations in failures:
        words = json.dumps(["Open_vSwitch", *operations])
        ours, theirs = errors(ovs.tools.client("transact", words)), errors(real.client("transact", words))
        if ours != theirs:
            differ.append((operations[0], ours, theirs))
    assert differ == []
    assert ovs.tools.client("dump", "Bridge", "name", "fail_mode") == real.client("dump", "Bridge", "name", "fail_mode")


@contextlib.contextmanager
def watching(tools, *words):
    """ovsdb-client as it tells what changes; yields a function for what it has said."""
    process = subprocess.Popen([*tools.prefix, "ovsdb-client", "-f", "json", "monitor", tools.remote, *words],
                               stdout=subprocess.PIPE, text=True)
    try:
        def said(lines):
            return [json.loads(UUID.sub("UUID", process.stdout.readline()))["data"] for _ in range(lines)]
        yield said
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def test_ovsdb_client_is_told_of_changes_as_by_ovsdb_server(ovs, real):
    told = []
    for tools in (ovs.tools, real):
        tools.get("add-br br0")
        with watching(tools, "Bridge", "name,external_ids") as said:
            told.append(said(1))
            tools.get("set Bridge br0 external_ids:a=b external_ids:c=d")
            tools.get("remove Bridge br0 external_ids a")
            tools.get("add-br br1 -- del-br br0")
            told[-1] += said(3)
    assert [sorted(map(json.dumps, rows)) for rows in told[0]] == [sorted(map(json.dumps, rows)) for rows in told[1]]
    assert len(told[0]) == 4


def test_a_machines_tap_is_plugged_in_as_libvirt_and_the_daemon_do(ovs, space):
    get = ovs.tools.get
    get("add-br br0")
    in_space(space, "ip", "tuntap", "add", "vnet0", "mode", "tap")
    for _ in range(2):
        get('-- --if-exists del-port vnet0 -- add-port br0 vnet0 tag=10 -- set Interface vnet0 '
            'external-ids:attached-mac=\\"52:54:00:00:00:01\\" external-ids:iface-status=active')
        assert get("get Interface vnet0 error ofport").split() == ["[]", "1"]
        assert get("--bare --columns=name find Interface external_ids:iface-status=active") == "vnet0"
        assert [(p["type"], p["tag"]) for p in ports(ovs) if p["name"] == "vnet0"] == [("interface", 10)]
    get("-- --if-exists del-port vnet0")
    assert "vnet0" in in_space(space, "ip", "-br", "link")  # the machine's, as it was


@pytest.mark.parametrize("nonsense", [b"nothing\n", b'{"id":1}', b'{"id":1,"method":"echo","params":{}}', b"[" * 5000,
                                      b'{"id":1,"method":"echo","params":["' + b"x" * (2 << 20), b"\xff\xfe\0"],
                         ids=["text", "no method", "parameters", "depth", "length", "bytes"])
def test_who_speaks_something_else_is_disconnected_and_others_are_served(ovs, folder, nonsense):
    with socket.socket(socket.AF_UNIX) as liar:
        liar.settimeout(10)
        liar.connect(f"{folder}/db.sock")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            liar.sendall(nonsense)
        with contextlib.suppress(ConnectionResetError):  # it had more to say
            assert liar.recv(100) == b""
    assert ovs.tools.get("list-br") == ""


def test_clients_are_so_many_and_the_next_one_is_turned_away(ovs, folder):
    with contextlib.ExitStack() as stack:
        for _ in range(256):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(f"{folder}/db.sock")
        client.settimeout(10)
        client.sendall(b'{"id":1,"method":"echo","params":[]}')
        assert json.loads(client.recv(100)) == {"id": 1, "error": None, "result": []}
        with socket.socket(socket.AF_UNIX) as late:
            late.settimeout(10)
            late.connect(f"{folder}/db.sock")
            assert late.recv(100) == b""
    assert ovs.tools.get("list-br") == ""


def test_bridges_are_patched_together(ovs):
    ovs.tools.get("add-br br0 -- add-br br1 -- add-port br0 p0 -- set Interface p0 type=patch options:peer=p1 "
                  "-- add-port br1 p1 -- set Interface p1 type=patch options:peer=p0")
    assert ovs.tools.get("get Interface p0 link_state error ifindex").split() == ["up", "[]", "[]"]
    ovs.tools.get("del-port p1")
    ovs.tools.get("add-port br1 other -- set Interface other type=tap")
    assert ovs.tools.get("get Interface p0 link_state") == "down"
    ovs.tools.get("set Interface p0 options:peer=p0")
    assert "itself" in ovs.tools.get("get Interface p0 error")
    ovs.execute("add-port", bridge="br1", name="p2", type="patch", peer="p0")
    assert ovs.tools.get("get Interface p2 type options").split() == ["patch", "{peer=p0}"]


def test_tunnels_have_open_vswitchs_options(ovs):
    ovs.tools.get("add-br br0 -- add-port br0 vx -- set Interface vx type=vxlan options:remote_ip=192.0.2.77 options:key=5001 "
                  "options:dst_port=4790 options:df_default=false options:tos=inherit options:csum=true")
    assert ovs.tools.get("get Interface vx error ofport") == "[]\n1"
    port = next(p for p in ovs.execute("query-bridges")[0]["ports"] if p["name"] == "vx")
    assert (port["remote-ip"], port["key"], port["dst-port"], port["df-default"], port["tos"]) == \
        ("192.0.2.77", 5001, 4790, False, "inherit")
    ovs.execute("add-port", bridge="br0", name="gn", type="geneve", remote_ip="2001:db8::7", df_default=False)
    assert ovs.tools.get("get Interface gn type options") == 'geneve\n{df_default="false", remote_ip="2001:db8::7"}'
    for lie in ("key=flow", "remote_ip=flow", "in_key=5", "dst_port=0", "df_default=maybe"):
        ovs.tools.get(f"set Interface vx options:{lie}")
        name = lie.split("=", maxsplit=1)[0].replace("_", "-")
        assert name in ovs.tools.get("get Interface vx error").replace("_", "-"), lie
        ovs.tools.get(f"remove Interface vx options {lie.split('=', maxsplit=1)[0]} -- set Interface vx options:remote_ip=192.0.2.77")
        assert ovs.tools.get("get Interface vx error") == "[]"


def test_queues_are_made_in_one_transaction(ovs):
    ovs.tools.get("add-br br0 -- add-port br0 p -- set Interface p type=tap -- set Port p qos=@newqos "
                  "-- --id=@newqos create QoS type=linux-htb other_config:max-rate=819200000 queues=0=@q0,7=@q7 "
                  "-- --id=@q0 create Queue other_config:max-rate=81920000 "
                  "-- --id=@q7 create Queue other_config:min-rate=8192000 other_config:burst=819200 other_config:max-rate=16384000")

    def qos(name):
        return next(p for p in ovs.execute("query-bridges")[0]["ports"] if p["name"] == name).get("qos")

    assert qos("p") == {"port": "p", "average": 100000, "queues": [
        {"id": 0, "average": 10000}, {"id": 7, "guaranteed": 1000, "burst": 100, "average": 2000}]}
    ovs.tools.get("clear Port p qos")
    assert qos("p") is None
    ovs.execute("set-qos", port="p", average=200, queues=[{"id": 3, "guaranteed": 50}])
    row = ovs.tools.get("get Port p qos")
    assert ovs.tools.get(f"get QoS {row} type other_config") == 'linux-htb\n{max-rate="1638400"}'
    queue = ovs.tools.get(f"get QoS {row} queues:3")
    assert ovs.tools.get(f"get Queue {queue} other_config") == '{min-rate="409600"}'
    ovs.tools.get("add-br br1")
    assert qos("p")["queues"] == [{"id": 3, "guaranteed": 50}], "what others change leaves it alone"
    for lie in ("type=linux-hfsc", "other_config:priority=1", "other_config:max-rate=fast"):
        status, _, complaint = ovs.tools.ask(f"set QoS {row} {lie}")
        assert status and "not supported" in complaint
    assert ovs.tools.ask(f"set Queue {queue} dscp=10")[0]
    ovs.execute("set-qos", port="p")
    assert ovs.tools.get("get Port p qos") == "[]"
    for lie in ({"burst": 5}, {"queues": 5}, {"queues": [{}]}, {"queues": [{"id": 1}, {"id": 1}]}, {"average": 0},
                {"queues": [{"id": 1, "guaranteed": 9, "average": 8}]}, {"queues": [{"id": 1, "burst": 8}]}, {"speed": 3}):
        with pytest.raises(Refused):
            ovs.execute("set-qos", port="p", **lie)
    ovs.execute("set-port", name="p", **{"out-average": 100})
    with pytest.raises(Refused):
        ovs.execute("set-qos", port="p", average=200)
