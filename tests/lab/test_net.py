# SPDX-License-Identifier: GPL-2.0-or-later
"""Network: two NICs on taps, traffic both ways, with and without vhost."""

import json
import subprocess

import pytest


@pytest.fixture
def iperf_server():
    """iperf3 in server mode on this host; ended by its own id."""
    process = subprocess.Popen(["iperf3", "-s", "-p", "5301"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield 5301
    process.kill()
    process.wait()


@pytest.mark.parametrize("vhost", ["off", "auto"])
def test_two_nics_carry_traffic_both_ways(shell_guest, make_tap, iperf_server, vhost):
    first, second = make_tap("192.168.77.1/24"), make_tap("192.168.78.1/24")
    guest = shell_guest("--net", f"tap={first},mac=52:54:00:77:00:01,vhost={vhost}",
                        "--net", f"tap={second},mac=52:54:00:78:00:01,vhost={vhost}", bin=["iperf3"], cpus=2)
    guest.shell("ip link set lo up")
    assert guest.shell("cat /sys/class/net/eth0/address").strip() == "52:54:00:77:00:01"
    for nic, net in (("eth0", 77), ("eth1", 78)):
        guest.shell(f"ip addr add 192.168.{net}.2/24 dev {nic}; ip link set {nic} up")
    for net in (77, 78):
        guest.shell(f"ping -c 3 -W 5 192.168.{net}.1")
        guest.shell(f"ping -c 2 -W 5 -s 8000 192.168.{net}.1")
        done = subprocess.run(["ping", "-c", "2", "-W", "5", f"192.168.{net}.2"], stdout=subprocess.PIPE, check=False)
        assert done.returncode == 0, done.stdout.decode()
    for direction in ("", "-R"):
        text = guest.shell(f"iperf3 -c 192.168.77.1 -p {iperf_server} -t 2 -J {direction}")
        figures = json.loads(text[text.index("{"):])
        assert figures["end"]["sum_received"]["bytes"] > 1 << 20
    drops = guest.shell("cat /sys/class/net/eth0/statistics/rx_errors /sys/class/net/eth0/statistics/tx_errors")
    assert drops.split() == ["0", "0"]


def test_the_link_goes_down_and_up(shell_guest, make_tap):
    guest = shell_guest("--net", f"tap={make_tap()},id=net7")
    guest.shell("ip link set eth0 up")
    carrier = "sleep 1; cat /sys/class/net/eth0/carrier"
    assert guest.shell(carrier).strip() == "1"
    guest.qmp("set_link", name="net7", up=False)
    assert guest.shell(carrier).strip() == "0"
    guest.qmp("set_link", name="net7", up=True)
    assert guest.shell(carrier).strip() == "1"


def test_several_queues_are_used(shell_guest, make_tap):
    guest = shell_guest("--net", f"tap={make_tap('192.168.79.1/24', queues=2)},queues=2,vhost=off", cpus=2)
    assert guest.shell("ls -d /sys/class/net/eth0/queues/rx-* | wc -l").strip() == "2"
    guest.shell("ip addr add 192.168.79.2/24 dev eth0; ip link set eth0 up")
    guest.shell("for c in 0 1; do taskset $((1 << c)) ping -c 2 -W 5 192.168.79.1 || break; done")
