# SPDX-License-Identifier: GPL-2.0-or-later
"""vhost-user ports with DPDK's testpmd as two guests, and front ends that break off or lie."""

import contextlib
import json
import os
import socket
import struct
import subprocess

import pytest
from conftest import BUILD
from kv_switch import Refused, Switch, Testpmd

NO_HUGE = ["--no-huge", "-m", "128"]
WORDS = ["--total-num-mbufs=4096", "--no-flush-rx"]


@pytest.mark.parametrize("vdev", ["", ",packed_vq=1", ",mrg_rxbuf=0,in_order=0"], ids=["split", "packed", "plain"])
def test_frames_circulate_between_two_guests(switch, folder, vdev):
    paths = [f"{folder}/g0", f"{folder}/g1"]
    for n, path in enumerate(paths):
        switch.execute("add-port", bridge="br0", name=f"g{n}", type="vhost-user-client", path=path)
    with Testpmd(folder, paths, NO_HUGE, vdev, WORDS) as guests:
        guests.wait_for("Done")
        switch.wait_up("g0", "g1")
        guests.say("start tx_first 4")
        rates = guests.rates(1)
        assert len(rates) == 2 and min(rates) > 1000
        assert {row["port"] for row in switch.execute("query-macs", bridge="br0")} == {"g0", "g1"}
        assert switch.private_kib() < 20 << 10
    for n in range(2):
        counters = switch.statistics(f"g{n}")
        assert counters["in-frames"] > 1000 and counters["out-frames"] > 1000
        assert not {"malformed", "vlan", "too-long"} & set(counters["drops"])


def message(request, payload=b"", size=None):
    return struct.pack("<III", request, 1, len(payload) if size is None else size) + payload


@pytest.mark.parametrize("lie", [message(1)[:7], message(2, b"\xff" * 8), message(5, b"", 1 << 30), message(99),
                                 message(10, b"\xff" * 8), b"\xa5" * 200],
                         ids=["half a header", "features", "length", "number", "ring", "noise"])
def test_a_front_end_that_lies_is_disconnected_and_may_come_again(switch, folder, lie):
    switch.execute("add-port", bridge="br0", name="g", type="vhost-user-server", path=f"{folder}/g")
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as liar:
            liar.settimeout(10)
            liar.connect(f"{folder}/g")
            liar.sendall(message(1))
            assert struct.unpack("<IIIQ", liar.recv(20))[3] >> 32 & 1
            liar.sendall(lie)
            liar.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):  # it had more to say
                assert liar.recv(100) == b""
    assert not switch.execute("query-bridges")[0]["ports"][0]["up"]
    switch.execute("remove-port", name="g")
    assert not os.path.exists(f"{folder}/g")


def test_a_front_end_gets_memory_that_outlives_the_switch(switch, folder):
    switch.execute("add-port", bridge="br0", name="g", type="vhost-user-server", path=f"{folder}/g")
    with socket.socket(socket.AF_UNIX) as front:
        front.settimeout(10)
        front.connect(f"{folder}/g")
        front.sendall(message(15))
        assert struct.unpack("<IIIQ", front.recv(20))[3] >> 12 & 1
        front.sendall(message(16, struct.pack("<Q", 1 << 12 | 1 << 3)))
        front.sendall(message(31, struct.pack("<QQHH", 0, 0, 2, 256)))
        answer, fds, _, _ = socket.recv_fds(front, 100, 2)
        size, offset, queues, queue_size = struct.unpack("<12xQQHH", answer)
        assert len(fds) == 1 and os.fstat(fds[0]).st_size == size and (offset, queues, queue_size) == (0, 2, 256)
        with pytest.raises(PermissionError):
            os.ftruncate(fds[0], 0)
        socket.send_fds(front, [struct.pack("<III", 32, 9, 20) + answer[12:]], fds)
        assert struct.unpack("<IIIQ", front.recv(20)) == (32, 5, 8, 0)
        # More rings than the file has room for.
        socket.send_fds(front, [message(32, struct.pack("<QQHH", 1 << 23, 0, 16, 32768))], fds)
        assert front.recv(20) == b""
        os.close(fds[0])


@pytest.mark.parametrize("arguments, words", [
    ({"bridge": "br9"}, "there is no bridge 'br9'"),
    ({"name": "g"}, "port 'g' exists already"),
    ({"type": "gre"}, "vxlan"),
    ({"path": None}, "vhost-user-client needs 'path'"),
    ({"tag": 10, "trunks": "1-5"}, "only one of the two"),
    ({"trunks": "5000"}, "trunks '5000'"),
    ({"tag": 4095}, "4094"),
    ({"interface": "eth0"}, "vhost-user-client has no 'interface'"),
    ({"bandwidth": 1}, "bandwidth"),
])
def test_what_cannot_be_is_refused_and_changes_nothing(switch, folder, arguments, words):
    good = {"bridge": "br0", "name": "h", "type": "vhost-user-client", "path": f"{folder}/h"}
    switch.execute("add-port", **dict(good, name="g"))
    before = switch.execute("query-bridges")
    with pytest.raises(Refused) as refused:
        switch.execute("add-port", **{k: v for k, v in dict(good, **arguments).items() if v is not None})
    assert words in str(refused.value)
    assert switch.execute("query-bridges") == before


def test_a_file_describes_bridges_and_ports(folder):
    with open(f"{folder}/config", "w", encoding="ascii") as config:
        config.write('{"bridges": [{"name": "br1", "ageing": 60, "ports": [{"name": "p", "type": "vhost-user-server",'
                     f'"path": "{folder}/p", "tag": 7}}]}}]}}')
    with Switch(BUILD, folder, "--config", f"{folder}/config") as switch:
        bridge = switch.execute("query-bridges")[0]
        assert bridge["ageing"] == 60 and bridge["ports"][0]["tag"] == 7
        with pytest.raises(Refused, match="has ports"):
            switch.execute("remove-bridge", name="br1")
        switch.execute("remove-port", name="p")
        switch.execute("remove-bridge", name="br1")
        switch.execute("quit")
        assert switch.process.wait(10) == 0


def kvasir(*words):
    return subprocess.run([f"{BUILD}/kvasir", *words], capture_output=True, text=True, timeout=20, check=False)


def test_the_command_line_shows_what_there_is(switch, folder):
    for name, port in (("web", {"tag": 10}), ("db", {"trunks": "20-29", "native": 1}), ("span", {})):
        switch.execute("add-port", bridge="br0", name=name, type="vhost-user-server", path=f"{folder}/{name}", **port)
    switch.execute("set-mirror", port="web", to="span")
    switch.execute("add-bridge", name="empty")
    socket_ = ("--socket", switch.path)
    rows = [line.split() for line in kvasir("switch", "show", *socket_).stdout.splitlines()[2:] if line]
    assert rows == [["br0", "web", "vhost-user-server", "down", "10", "0", "span"],
                    ["br0", "db", "vhost-user-server", "down", "1,20-29", "native", "1", "0", "-"],
                    ["br0", "span", "vhost-user-server", "down", "all", "0", "-"],
                    ["empty", "-", "-", "-", "-", "-", "-"]]
    listed = json.loads(kvasir("--output", "json", "switch", "ports", *socket_).stdout)
    assert [row["port"] for row in listed] == ["web", "db", "span"] and listed[0]["frames_in"] == 0
    assert "MAC" in kvasir("switch", "fdb", "br0", *socket_).stdout
    wrong = kvasir("switch", "fdb", "br9", *socket_)
    assert wrong.returncode == 1 and "there is no bridge 'br9'" in wrong.stderr
    nobody = kvasir("switch", "show", "--socket", f"{folder}/nobody")
    assert nobody.returncode == 1 and "no switch at" in nobody.stderr


@pytest.mark.parametrize("options, words", [
    ([], "--control or --config is needed"),
    (["--control", "/nowhere/s"], "--control"),
    (["--config", "/nowhere/c"], "/nowhere/c"),
    (["--control", "/tmp/s", "--core", "many"], "--core 'many'"),
    (["--control", "/tmp/s", "--core", "1024"], "--core '1024': a list such as 2,4-7 of at most 64 processors, 0 to 1023,"),
    (["--control", "/tmp/s", "--core", "0-64"], "at most 64 processors"),
    (["--bridge"], "--help"),
])
def test_what_the_command_line_cannot_mean_is_said(options, words):
    done = subprocess.run([f"{BUILD}/kvasir-switchd", *options], stderr=subprocess.PIPE, text=True, timeout=10, check=False)
    assert done.returncode in (1, 2) and words in done.stderr
