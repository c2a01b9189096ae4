# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of kvasir-switchd with real peers; each has a folder of its own."""

import os
import subprocess

import pytest
from kv_switch import Switch

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("KVASIR_BUILD", f"{TOP}/build")


@pytest.fixture(name="folder")
def folder_(tmp_path):
    return str(tmp_path)


@pytest.fixture(name="switch")
def switch_(folder):
    with Switch(BUILD, folder) as switch:
        switch.execute("add-bridge", name="br0")
        yield switch
        assert switch.process.poll() is None, switch.words()


class Spaces:
    """Network namespaces, each with an interface whose other end is a port of the same name."""

    def __init__(self, switch):
        self.switch, self.names, self.links = switch, [], []

    def add(self, number, address, bridge="br0", **port):
        """A tap port, whose interface has the address."""
        name = f"kvt{number}x{os.getpid()}"[:15]
        self.switch.execute("add-port", bridge=bridge, name=name, type="tap", **port)
        self.move(name, name, address)
        return name

    def add_uplink(self, number, address, mtu=1500, **port):
        """A port at an interface of the host; what is wired to it is called inner() and has the address."""
        name = f"kvu{number}x{os.getpid()}"[:15]
        run("ip", "link", "add", name, "mtu", str(mtu), "type", "veth", "peer", "name", self.inner(name), "mtu", str(mtu))
        self.links.append(name)
        self.switch.execute("add-port", bridge="br0", name=name, type="interface", **port)
        self.move(name, self.inner(name), address)
        return name

    @staticmethod
    def inner(name):
        return name.replace("kvu", "kvi")

    def move(self, space, interface, address):
        run("ip", "netns", "add", space)
        self.names.append(space)
        run("ip", "link", "set", interface, "netns", space)
        inside(space, "ip", "link", "set", interface, "up")
        inside(space, "ip", "address", "add", address, "dev", interface)

    @staticmethod
    def have_vlans():
        command = ["ip", "link", "add", "link", "lo", "name", "kvtvlan", "type", "vlan", "id", "9"]
        if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode != 0:
            return False
        run("ip", "link", "del", "kvtvlan")
        return True

    def remove(self):
        for name in self.links:
            subprocess.run(["ip", "link", "del", name], check=False, stderr=subprocess.DEVNULL)
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def run(*command):
    subprocess.run(command, check=True, timeout=20, stdout=subprocess.DEVNULL)


def inside(space, *command):
    run("ip", "netns", "exec", space, *command)


def pings(space, address, seconds=4, size=56):
    return subprocess.run(["ip", "netns", "exec", space, "ping", "-c", "1", "-W", str(seconds), "-s", str(size), address],
                          check=False, stdout=subprocess.DEVNULL, timeout=20).returncode == 0


SERVE = """
import hashlib, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.create_server((sys.argv[1], 7), family=family) as server:
    print("ready", flush=True)
    client = server.accept()[0]
    whole = hashlib.sha256()
    while data := client.recv(1 << 20):
        whole.update(data)
    print(whole.hexdigest())
"""
SEND = """
import hashlib, random, socket, sys
data = random.Random(1).randbytes(int(sys.argv[2]))
with socket.create_connection((sys.argv[1], 7), 20) as client:
    client.sendall(data)
print(hashlib.sha256(data).hexdigest())
"""


def send_by_tcp(source, space, address, size):
    """The space's address gets that many bytes over TCP, and gets them right."""
    with subprocess.Popen(["ip", "netns", "exec", space, "timeout", "30", "python3", "-c", SERVE, address],
                          stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == "ready\n"
        sent = subprocess.run(["ip", "netns", "exec", source, "timeout", "30", "python3", "-c", SEND, address, str(size)],
                              stdout=subprocess.PIPE, text=True, check=False, timeout=40).stdout
        if not sent:
            server.terminate()
        assert sent and server.stdout.readline() == sent


@pytest.fixture(name="spaces")
def spaces_(switch):
    if os.geteuid() != 0:
        pytest.skip("network namespaces want root")
    spaces = Spaces(switch)
    yield spaces
    spaces.remove()
