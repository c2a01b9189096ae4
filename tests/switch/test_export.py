# SPDX-License-Identifier: GPL-2.0-or-later
"""Flow export, decoded by the collectors of nfdump, which know nothing of the switch."""

import contextlib
import json
import socket
import struct
import sys
import time

import pytest
from conftest import BUILD, inside
from kv_collector import Collector
from kv_switch import Refused, Switch

# Datagrams of 500 bytes from port 4000 to port 5000.
TALK = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("192.0.2.1", 4000))
for _ in range(%d):
    s.sendto(bytes(500), ("192.0.2.2", 5000))
"""


@pytest.fixture(name="talkers")
def talkers_(spaces):
    """Two stations that know each other."""
    names = [spaces.add(0, "192.0.2.1/24"), spaces.add(1, "192.0.2.2/24")]
    inside(names[0], "ping", "-c", "1", "-W", "5", "192.0.2.2")
    return names


def talk(names, count):
    inside(names[0], sys.executable, "-c", TALK % count)


def numbers(switch, names):
    ports = {p["name"]: p["number"] for p in switch.execute("query-bridges")[0]["ports"]}
    return [str(ports[name]) for name in names]


def test_sflow_tells_a_collector_of_frames(switch, folder, talkers):
    with contextlib.closing(Collector("sfcapd", folder)) as collector:
        switch.execute("set-sflow", bridge="br0", collector=f"127.0.0.1:{collector.port}", sampling=1)
        talk(talkers, 40)
        switch.execute("set-sflow", bridge="br0")
        assert "sflow" not in switch.execute("query-bridges")[0]
        time.sleep(0.1)
        flows = [row for row in collector.flows() if row["pr"] == "UDP" and row["dp"] == "5000"]
    assert len(flows) == 40
    for row in flows:
        assert (row["sa"], row["da"], row["sp"]) == ("192.0.2.1", "192.0.2.2", "4000")
        assert [row["in"], row["out"]] == numbers(switch, talkers)
        assert int(row["ibyt"]) == 500 + 8 + 20 + 14 + 4


def test_sflow_tells_of_about_one_frame_in_so_many_and_of_counters(switch, talkers):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(5)
        where = f"127.0.0.1:{collector.getsockname()[1]}"
        switch.execute("set-sflow", bridge="br0", collector=where, sampling=10, header=64, polling=1)
        talk(talkers, 4000)
        time.sleep(0.1)
        said = switch.execute("query-bridges")[0]["sflow"]
        assert (said["sampling"], said["header"], said["polling"], said["missed"]) == (10, 64, 1, 0)
        time.sleep(1)
        switch.execute("set-sflow", bridge="br0")
        collector.settimeout(0.1)
        samples, sequence = [], 0
        with contextlib.suppress(TimeoutError):
            while True:
                version, _, agent, _, number, _, count = struct.unpack_from(">II4sIIII", data := collector.recv(2000))
                assert (version, agent, number) == (5, bytes([127, 0, 0, 1]), sequence + 1)
                sequence, at = number, 28
                for _ in range(count):
                    kind, length = struct.unpack_from(">II", data, at)
                    samples.append((kind, data[at + 8:at + 8 + length]))
                    at += 8 + length
                assert at == len(data)
    flows = [data for kind, data in samples if kind == 1]
    pool = struct.unpack_from(">I", flows[-1], 12)[0]
    came_in = sum(switch.statistics(name)["in-frames"] for name in talkers)
    assert 1000 < pool <= came_in < pool + 100 and 0.07 < len(flows) / pool < 0.13
    # Interface, octets and frames in and out, of the last counters of each port.
    counters = {struct.unpack_from(">I", data, 4)[0]: data for kind, data in samples if kind == 2}
    assert sorted(counters) == sorted(int(n) for n in numbers(switch, talkers))
    received = switch.statistics(talkers[1])
    data = counters[int(numbers(switch, talkers)[1])]
    assert struct.unpack_from(">IIQIIQI", data, 20)[0] == int(numbers(switch, talkers)[1])
    octets, frames = struct.unpack_from(">QI", data, 20 + 56)
    assert received["out-frames"] - 20 < frames <= received["out-frames"]
    assert received["out-bytes"] - 4000 < octets <= received["out-bytes"]


@pytest.mark.parametrize("kind", ["netflow", "ipfix", "sflow"])
@pytest.mark.parametrize("lie", [{"collector": "example.org:6343"}, {"collector": "127.0.0.1"}, {"sampling": 0},
                                 {"collector": "::1:6343"}, {"header": 300}, {"agent": "nobody0"}, {"bridge": "br9"}])
def test_what_cannot_be_exported_is_refused(switch, kind, lie):
    with pytest.raises(Refused):
        switch.execute(f"set-{kind}", **dict({"bridge": "br0", "collector": "127.0.0.1:6343"}, **lie))
    assert kind not in switch.execute("query-bridges")[0]


def test_a_file_says_who_is_told(folder):
    told = {"sflow": {"collector": "127.0.0.1:9", "sampling": 7}, "netflow": {"collector": "[::1]:9", "idle": 3},
            "ipfix": {"collector": "127.0.0.1:9", "entries": 100}}
    with open(f"{folder}/config", "w", encoding="utf-8") as config:
        json.dump({"bridges": [dict(told, name="br0")]}, config)
    with Switch(BUILD, folder, "--config", f"{folder}/config") as switch:
        bridge = switch.execute("query-bridges")[0]
        assert all(value == bridge[kind][key] for kind in told for key, value in told[kind].items())


@pytest.mark.parametrize("kind", ["netflow", "ipfix"])
def test_a_collector_is_told_of_flows(switch, folder, talkers, kind):
    with contextlib.closing(Collector("nfcapd", folder)) as collector:
        switch.execute(f"set-{kind}", bridge="br0", collector=f"127.0.0.1:{collector.port}")
        talk(talkers, 40)
        inside(talkers[0], "ping", "-c", "3", "-i", "0.2", "192.0.2.2")
        switch.execute(f"set-{kind}", bridge="br0")
        assert kind not in switch.execute("query-bridges")[0]
        flows = [row for row in collector.flows() if row["sa"] == "192.0.2.1"]
    udp = [row for row in flows if row["pr"] == "UDP" and row["dp"] == "5000"]
    icmp = [row for row in flows if row["pr"] == "ICMP"]
    assert len(udp) == 1 and len(icmp) == 1
    assert (udp[0]["da"], udp[0]["sp"], udp[0]["ipkt"], udp[0]["ibyt"]) == ("192.0.2.2", "4000", "40", str(40 * 528))
    assert [udp[0]["in"], udp[0]["out"]] == numbers(switch, talkers)
    assert (icmp[0]["ipkt"], icmp[0]["ibyt"]) == ("3", str(3 * 84)) and 0.3 < float(icmp[0]["td"]) < 10
    assert abs(time.time() - time.mktime(time.strptime(udp[0]["te"], "%Y-%m-%d %H:%M:%S"))) < 60


@pytest.mark.parametrize("kind", ["netflow", "ipfix"])
def test_flows_end_after_silence_and_count_what_was_sampled(switch, folder, talkers, kind):
    with contextlib.closing(Collector("nfcapd", folder)) as collector:
        switch.execute(f"set-{kind}", bridge="br0", collector=f"127.0.0.1:{collector.port}", sampling=10, idle=1)
        talk(talkers, 4000)
        sent = switch.execute("query-bridges")[0][kind]["sent"]
        deadline = time.monotonic() + 20
        while switch.execute("query-bridges")[0][kind]["sent"] == sent:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        flows = [row for row in collector.flows() if row["dp"] == "5000"]
    share = int(flows[0]["ipkt"]) / switch.statistics(talkers[0])["in-frames"]
    assert len(flows) == 1 and 0.07 < share < 0.13
