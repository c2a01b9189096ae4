# SPDX-License-Identifier: GPL-2.0-or-later
"""Tunnels to the kernel's own VXLAN and Geneve devices, and from switch to switch: ping and TCP through both, between
network namespaces."""

import os
import subprocess

import pytest
from conftest import BUILD, inside, pings, run, send_by_tcp
from kv_switch import Refused, Switch

SIZE = 1 << 20
PORTS = {"vxlan": 4789, "geneve": 6081}
# Of the wire, by IP version: the switch's end, the other end, how long a prefix.
WIRE = {4: ("198.18.0.1", "198.18.0.2", 24), 6: ("2001:db8:1::1", "2001:db8:1::2", 64)}


class Lab:
    """A switch in a namespace of its own with a station behind it (192.0.2.1), and a wire to another namespace."""

    def __init__(self, folder):
        self.host, self.far, self.station = (f"kvx{what}{os.getpid()}" for what in "hfs")
        self.names = []
        for name in (self.host, self.far, self.station):
            run("ip", "netns", "add", name)
            self.names.append(name)
        self.wire("wire", self.host, "wire", self.far, 1500)
        for n, space in enumerate((self.host, self.far)):
            for version, wire in WIRE.items():
                inside(space, "ip", "address", "add", f"{wire[n]}/{wire[2]}", "dev", "wire",
                       *(["nodad"] if version == 6 else []))
        # A card completes what the kernel leaves undone within a tunnel; a pair of veths does not, and no socket tells.
        inside(self.far, "ethtool", "-K", "wire", "tx", "off")
        self.switch = self.start(folder, self.host, self.station, "192.0.2.1")

    @staticmethod
    def wire(one, space, other, peer, mtu):
        inside(space, "ip", "link", "add", one, "mtu", str(mtu), "type", "veth", "peer", "name", other, "mtu", str(mtu),
               "netns", peer)
        inside(space, "ip", "link", "set", one, "up")
        inside(peer, "ip", "link", "set", other, "up")

    def start(self, folder, space, station, address):
        """A switch there, and the station at its bridge."""
        os.makedirs(f"{folder}/{space}")
        self.wire("port", space, "eth0", station, 1400)
        inside(station, "ip", "address", "add", f"{address}/24", "dev", "eth0")
        switch = Switch(BUILD, f"{folder}/{space}", prefix=("ip", "netns", "exec", space))
        switch.execute("add-bridge", name="br0")
        switch.execute("add-port", bridge="br0", name="port", type="interface")
        return switch

    def add_device(self, kind, key, version, *options):
        """The kernel's end, with the address 192.0.2.2."""
        local, remote, _ = WIRE[version]
        mine = ["local", remote] if kind == "vxlan" else []
        if subprocess.run(["ip", "-n", self.far, "link", "add", "tunnel", "mtu", "1400", "type", kind, "id", str(key),
                           "remote", local, *mine, "dstport", str(PORTS[kind]), *options],
                          check=False, stderr=subprocess.DEVNULL).returncode != 0:
            pytest.skip(f"the kernel has no {kind}")
        inside(self.far, "ip", "link", "set", "tunnel", "up")
        inside(self.far, "ip", "address", "add", "192.0.2.2/24", "dev", "tunnel")

    def remove(self):
        self.switch.__exit__()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.fixture(name="lab")
def lab_(folder):
    if os.geteuid() != 0:
        pytest.skip("network namespaces want root")
    lab = Lab(folder)
    yield lab
    alive = lab.switch.process.poll() is None
    lab.remove()
    assert alive, lab.switch.words()


def described(switch, name):
    return next(port for port in switch.execute("query-bridges")[0]["ports"] if port["name"] == name)


@pytest.mark.parametrize("kind", PORTS)
@pytest.mark.parametrize("version", WIRE)
def test_the_kernels_device_is_a_tunnels_other_end(lab, kind, version):
    lab.add_device(kind, 5, version, *(["udp6zerocsumrx"] if version == 6 else []))
    lab.switch.execute("add-port", bridge="br0", name="far", type=kind, remote_ip=WIRE[version][1], key=5, ttl="9")
    assert pings(lab.station, "192.0.2.2") and pings(lab.far, "192.0.2.1")
    send_by_tcp(lab.station, lab.far, "192.0.2.2", SIZE)
    send_by_tcp(lab.far, lab.station, "192.0.2.1", SIZE)
    assert not lab.switch.statistics("far")["drops"]
    seen = described(lab.switch, "far")
    assert seen["mtu"] == 1500 - (50 if version == 4 else 70) and seen["key"] == 5 and seen["ttl"] == 9
    assert seen["socket-malformed"] == seen["socket-unknown"] == 0


def test_packets_without_checksums_and_of_other_networks(lab):
    lab.add_device("vxlan", 7, 4)
    lab.switch.execute("add-port", bridge="br0", name="other", type="vxlan", remote_ip=WIRE[4][1], key=6)
    assert not pings(lab.far, "192.0.2.1", 0.3)
    assert described(lab.switch, "other")["socket-unknown"] > 0 and lab.switch.statistics("other")["in-frames"] == 0
    lab.switch.execute("add-port", bridge="br0", name="far", type="vxlan", remote_ip=WIRE[4][1], key=7, csum=False,
                       local_ip=WIRE[4][0], tos="inherit", df_default=False)
    assert pings(lab.station, "192.0.2.2")
    send_by_tcp(lab.station, lab.far, "192.0.2.2", SIZE)
    lies = [{"remote_ip": "224.0.0.1"}, {"remote_ip": "somewhere"}, {"remote_ip": "fe80::1"}, {}, {"remote_ip": "flow"},
            {"remote_ip": "198.18.0.9", "key": "flow"}, {"remote_ip": "198.18.0.9", "key": 1 << 24},
            {"remote_ip": "198.18.0.9", "local_ip": "2001:db8::1"}, {"remote_ip": "198.18.0.9", "tos": "3"},
            {"remote_ip": "198.18.0.9", "ttl": "256"}, {"remote_ip": "198.18.0.9", "peer": "far"},
            {"remote_ip": "198.18.0.9", "local_ip": "198.18.0.77"}, {"remote_ip": WIRE[4][1], "key": 6}]
    for lie in lies:
        with pytest.raises(Refused):
            lab.switch.execute("add-port", bridge="br0", name="lie", type="vxlan", **lie)
    lab.switch.execute("remove-port", name="other")
    assert pings(lab.station, "192.0.2.2"), "who reads the socket has changed"


def test_two_switches_are_joined_by_geneve(lab, folder):
    far_station = f"kvxt{os.getpid()}"
    run("ip", "netns", "add", far_station)
    lab.names.append(far_station)
    far = lab.start(folder, lab.far, far_station, "192.0.2.2")
    try:
        for switch, remote in ((lab.switch, WIRE[6][1]), (far, WIRE[6][0])):
            switch.execute("add-port", bridge="br0", name="gnv", type="geneve", remote_ip=remote, key=0xABCDEF, tos="inherit",
                           ttl="inherit")
        assert pings(lab.station, "192.0.2.2")
        send_by_tcp(lab.station, far_station, "192.0.2.2", SIZE)
        assert not far.statistics("gnv")["drops"] and not lab.switch.statistics("gnv")["drops"]
    finally:
        far.__exit__()
