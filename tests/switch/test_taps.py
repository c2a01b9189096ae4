# SPDX-License-Identifier: GPL-2.0-or-later
"""Tap ports, with ping in network namespaces."""

import subprocess
import time

import pytest
from conftest import inside, pings
from kv_switch import Refused


def test_stations_on_one_bridge_reach_each_other(switch, spaces):
    a = spaces.add(0, "192.0.2.1/24")
    b = spaces.add(1, "192.0.2.2/24")
    assert pings(a, "192.0.2.2")
    macs = switch.execute("query-macs", bridge="br0")
    assert {row["port"] for row in macs} >= {a, b}
    assert switch.statistics(a)["in-frames"] >= 2 and switch.statistics(b)["out-frames"] >= 2
    switch.execute("forget-macs", bridge="br0")
    assert switch.execute("query-macs", bridge="br0") == []
    assert pings(a, "192.0.2.2")


def test_stations_in_different_vlans_do_not(switch, spaces):
    a = spaces.add(0, "192.0.2.1/24", tag=10)
    spaces.add(1, "192.0.2.2/24", tag=20)
    spaces.add(2, "192.0.2.3/24", tag=10)
    assert not pings(a, "192.0.2.2", 1)
    assert pings(a, "192.0.2.3")
    switch.execute("set-port", name=spaces.names[1], tag=10)
    assert pings(a, "192.0.2.2")
    assert not [row for row in switch.execute("query-macs", bridge="br0") if row["vlan"] != 10]


def test_a_trunk_brings_untagged_frames_to_its_native_vlan_only(spaces):
    trunk = spaces.add(0, "192.0.2.1/24", trunks="10,20", native=30)
    spaces.add(1, "192.0.2.2/24", tag=10)
    spaces.add(2, "192.0.2.3/24", tag=30)
    assert pings(trunk, "192.0.2.3")
    assert not pings(trunk, "192.0.2.2", 1)


def test_a_trunk_brings_tagged_frames_to_vlan_interfaces(spaces):
    if not spaces.have_vlans():
        pytest.skip("the kernel has no VLAN interfaces (8021q)")
    a = spaces.add(0, "192.0.2.1/24", tag=10)
    trunk = spaces.add(1, "198.51.100.2/24", trunks="10,20", native=30)
    for vlan in (10, 20):
        inside(trunk, "ip", "link", "add", "link", trunk, "name", f"v{vlan}", "type", "vlan", "id", str(vlan))
        inside(trunk, "ip", "link", "set", f"v{vlan}", "up")
    inside(trunk, "ip", "address", "add", "192.0.2.2/24", "dev", "v10")
    inside(trunk, "ip", "address", "add", "203.0.113.2/24", "dev", "v20")
    other = spaces.add(2, "203.0.113.3/24", tag=20)
    native = spaces.add(3, "198.51.100.3/24", tag=30)
    assert pings(a, "192.0.2.2") and pings(other, "203.0.113.2") and pings(native, "198.51.100.2")
    inside(a, "ip", "address", "add", "203.0.113.1/24", "dev", a)
    assert not pings(a, "203.0.113.2", 1)


def test_frames_of_more_than_9000_bytes_pass(switch, spaces):
    a = spaces.add(0, "192.0.2.1/24", tag=10)
    b = spaces.add(1, "192.0.2.2/24", tag=10)
    for name in (a, b):
        inside(name, "ip", "link", "set", name, "mtu", "9216")
    assert pings(a, "192.0.2.2", size=9188)
    assert switch.statistics(b)["out-bytes"] > 9200


def test_isolated_ports_reach_the_others_only(switch, spaces):
    a = spaces.add(0, "192.0.2.1/24", isolated=True)
    b = spaces.add(1, "192.0.2.2/24", isolated=True)
    spaces.add(2, "192.0.2.3/24")
    assert pings(a, "192.0.2.3") and pings(b, "192.0.2.3") and not pings(a, "192.0.2.2", 1)
    assert switch.statistics(a)["drops"].get("isolated") is None  # flooded ARP is not sent, and not counted
    switch.execute("set-port", name=b)
    assert pings(a, "192.0.2.2")


def test_a_port_floods_no_more_than_it_may(switch, spaces):
    a = spaces.add(0, "192.0.2.1/24", storm_broadcast=1)
    spaces.add(1, "192.0.2.2/24")
    subprocess.run(["ip", "netns", "exec", a, "ping", "-b", "-c", "5", "-i", "0.01", "-W", "1", "192.0.2.255"],
                   check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20)
    assert switch.statistics(a)["drops"]["storm"] >= 3


def test_an_address_that_was_added_is_where_it_was_said_to_be(switch, spaces):
    a = spaces.add(0, "192.0.2.1/24", tag=10)
    b = spaces.add(1, "192.0.2.2/24", tag=10)
    mac = "02:00:00:00:00:99"
    switch.execute("add-mac", port=b, mac=mac)
    switch.execute("set-bridge", name="br0", mac_entries=128)
    assert {"mac": mac, "vlan": 10, "port": b, "static": True} in switch.execute("query-macs", bridge="br0")
    for lie in ({"port": a, "mac": "01:00:5e:00:00:01"}, {"port": a, "mac": mac, "vlan": 11}, {"port": "x", "mac": mac}):
        with pytest.raises(Refused):
            switch.execute("add-mac", **lie)
    with pytest.raises(Refused):
        switch.execute("remove-mac", port=a, mac=mac)
    switch.execute("remove-mac", port=b, mac=mac)
    assert mac not in str(switch.execute("query-macs", bridge="br0"))


@pytest.mark.parametrize("lie", [
    {"tunnel": True}, {"customers": "5", "tag": 5}, {"native_tagged": True}, {"isolated": True, "community": 5},
    {"tag": 5, "tunnel": True, "customers": "5000"}, {"community": 1}, {"storm_unknown": 0}, {"outer_tag": "802.1x"}])
def test_options_that_contradict_each_other_are_refused(switch, lie):
    with pytest.raises(Refused):
        switch.execute("add-port", bridge="br0", name="p", type="vhost-user-client", path="/nowhere", **lie)
    assert switch.execute("query-bridges")[0]["ports"] == []


def test_a_mirror_hears_what_others_say(switch, spaces):
    a = spaces.add(0, "192.0.2.1/24")
    b = spaces.add(1, "192.0.2.2/24")
    span = spaces.add(2, "192.0.2.3/24")
    switch.execute("set-mirror", port=a, to=span)
    assert pings(a, "192.0.2.2")
    assert not pings(a, "192.0.2.3", 1)
    mirrored = next(p for p in switch.execute("query-bridges")[0]["ports"] if p["name"] == a)
    assert mirrored["mirror"] == {"to": span, "direction": "both"}
    seen = switch.statistics(a)
    assert switch.statistics(span)["out-frames"] >= seen["in-frames"]
    switch.execute("set-mirror", port=a, to=span, vlans="5-7")
    before = switch.statistics(span)["out-frames"]
    assert pings(a, "192.0.2.2") and switch.statistics(span)["out-frames"] == before
    for port in (a, b):
        switch.execute("set-port", name=port, tag=6)
    assert pings(a, "192.0.2.2") and switch.statistics(span)["out-frames"] > before
    for lie in ({"port": a, "to": span, "vlans": "4096"}, {"port": a, "to": a}, {"port": span, "to": b}, {"port": b, "to": a}, {"port": b, "to": "nobody"}):
        with pytest.raises(Refused):
            switch.execute("set-mirror", **lie)
    switch.execute("remove-port", name=span)
    assert "mirror" not in switch.execute("query-bridges")[0]["ports"][0]
    assert pings(a, "192.0.2.2")


def test_an_idle_switch_takes_no_processor_time(switch, spaces):
    a = spaces.add(0, "192.0.2.1/24")
    spaces.add(1, "192.0.2.2/24")
    assert pings(a, "192.0.2.2")
    time.sleep(0.5)
    before = switch.cpu_seconds()
    time.sleep(2)
    assert switch.cpu_seconds() - before <= 0.02
    assert pings(a, "192.0.2.2")
