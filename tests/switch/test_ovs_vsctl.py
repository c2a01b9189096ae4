# SPDX-License-Identifier: GPL-2.0-or-later
"""Open vSwitch's own tools drive the switch: ovs-vsctl and ovsdb-client as the distribution has them, without
ovs-vswitchd. The distribution's ovsdb-server gets the same commands, and has to answer them alike."""

import contextlib
import json
import os
import re
import shlex
import subprocess
import time

import pytest
from conftest import BUILD, pings, run
from kv_switch import Switch

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


@contextlib.contextmanager
def served(folder, space, *options):
    with Switch(BUILD, folder, "--ovsdb", f"{folder}/db.sock", *options, prefix=("ip", "netns", "exec", space)) as switch:
        switch.tools = Tools(f"{folder}/db.sock", space=space)
        yield switch
        assert switch.process.poll() is None, switch.words()


@pytest.fixture(name="ovs")
def ovs_(folder, space):
    with served(folder, space) as switch:
        yield switch


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
