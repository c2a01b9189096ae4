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
    """Network namespaces with a tap port's interface each."""

    def __init__(self, switch):
        self.switch, self.names = switch, []

    def add(self, number, address, **port):
        """Port and interface kvtN-PID in a namespace of that name, with the address."""
        name = f"kvt{number}x{os.getpid()}"[:15]
        self.switch.execute("add-port", bridge="br0", name=name, type="tap", **port)
        run("ip", "netns", "add", name)
        self.names.append(name)
        run("ip", "link", "set", name, "netns", name)
        inside(name, "ip", "link", "set", name, "up")
        inside(name, "ip", "address", "add", address, "dev", name)
        return name

    @staticmethod
    def have_vlans():
        command = ["ip", "link", "add", "link", "lo", "name", "kvtvlan", "type", "vlan", "id", "9"]
        if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode != 0:
            return False
        run("ip", "link", "del", "kvtvlan")
        return True

    def remove(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def run(*command):
    subprocess.run(command, check=True, timeout=20, stdout=subprocess.DEVNULL)


def inside(space, *command):
    run("ip", "netns", "exec", space, *command)


def pings(space, address, seconds=4):
    return subprocess.run(["ip", "netns", "exec", space, "ping", "-c", "1", "-W", str(seconds), address], check=False,
                          stdout=subprocess.DEVNULL, timeout=20).returncode == 0


@pytest.fixture(name="spaces")
def spaces_(switch):
    if os.geteuid() != 0:
        pytest.skip("network namespaces want root")
    spaces = Spaces(switch)
    yield spaces
    spaces.remove()
