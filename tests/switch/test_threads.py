# SPDX-License-Identifier: GPL-2.0-or-later
"""Several forwarding threads: each has bridges of its own, and what bridges share is still one thing to who asks."""

import glob
import os
import time

import pcap_file
import pytest
from conftest import BUILD
from kv_switch import Refused, Switch

CORES = sorted(os.sched_getaffinity(0))[:2]
FRAMES = 3000

pytestmark = pytest.mark.skipif(len(CORES) < 2, reason="two processors are wanted")


@pytest.fixture(name="threads")
def threads_(folder):
    with Switch(BUILD, folder, "--core", ",".join(map(str, CORES))) as switch:
        yield switch
        assert switch.process.poll() is None, switch.words()


def udp(number):
    """One that goes to port 7, else to port 9."""
    ip = b"\x45\0\0\x2e" + number.to_bytes(2, "big") + b"\0\0\x40\x11\0\0" + b"\x0a\0\0\1" + b"\x0a\0\0\2"
    to = 7 if number % 3 == 0 else 9
    return b"\x02\0\0\0\0\x0b" + b"\x02\0\0\0\0\x0a" + b"\x08\0" + ip + b"\0\1" + to.to_bytes(2, "big") + b"\0\x1a\0\0" + bytes(18)


def cores_of_threads(switch):
    found = []
    for task in glob.glob(f"/proc/{switch.process.pid}/task/*"):
        with open(f"{task}/comm", encoding="ascii") as comm, open(f"{task}/status", encoding="ascii") as status:
            if comm.read() == "forward\n":
                allowed = next(line for line in status if line.startswith("Cpus_allowed_list"))
                found.append(int(allowed.split()[1]))
    return sorted(found)


def test_bridges_are_spread_over_threads_and_share_an_acl(threads, folder):
    deadline = time.monotonic() + 10
    while cores_of_threads(threads) != CORES:
        assert time.monotonic() < deadline, cores_of_threads(threads)
        time.sleep(0.02)
    threads.execute("set-acl", name="no-echo", rules=[{"action": "deny", "protocol": "udp", "to-ports": "7"}])
    frames = [udp(n) for n in range(FRAMES)]
    let_through = [frame for n, frame in enumerate(frames) if n % 3]
    pcap_file.write(f"{folder}/in", frames)
    for n in range(3):
        threads.execute("add-bridge", name=f"br{n}")
        threads.execute("add-port", bridge=f"br{n}", name=f"out{n}", type="pcap", write=f"{folder}/out{n}")
        threads.execute("set-filter", port=f"out{n}", acl="no-echo")
    # The fewest have the next one.
    assert sorted(bridge["core"] for bridge in threads.execute("query-bridges")) == sorted([*CORES, CORES[0]])
    for n in range(3):
        threads.execute("add-port", bridge=f"br{n}", name=f"in{n}", type="pcap", read=f"{folder}/in")
    deadline = time.monotonic() + 10
    for n in range(3):
        while threads.statistics(f"out{n}")["out-frames"] < len(let_through):
            assert time.monotonic() < deadline, threads.execute("query-statistics")
            time.sleep(0.02)
        assert pcap_file.read(f"{folder}/out{n}") == let_through
    denied, = threads.execute("query-acls", name="no-echo")[0]["rules"]
    assert denied["frames"] == 3 * (FRAMES - len(let_through))
    # A new one is everywhere, too, and the name is in use wherever a port uses it.
    threads.execute("set-acl", name="no-echo", rules=[])
    assert threads.execute("query-acls", name="no-echo")[0]["rules"] == []
    for n in range(3):
        with pytest.raises(Refused, match=f"used by port 'out{n}'"):
            threads.execute("remove-acl", name="no-echo")
        threads.execute("remove-port", name=f"out{n}")
    threads.execute("remove-acl", name="no-echo")


def test_a_bridge_gets_the_core_that_it_names(threads):
    for n in range(3):
        threads.execute("add-bridge", name=f"br{n}", core=CORES[1])
    threads.execute("add-bridge", name="other")
    assert [bridge["core"] for bridge in threads.execute("query-bridges")] == [CORES[1]] * 3 + [CORES[0]]
    with pytest.raises(Refused, match="'core' 1000 is none of those"):
        threads.execute("add-bridge", name="br9", core=1000)
    with pytest.raises(Refused, match="'core' stays as it is"):
        threads.execute("set-bridge", name="br0", core=CORES[0])


def test_threads_without_work_sleep(threads, folder):
    for n in range(2):
        threads.execute("add-bridge", name=f"br{n}")
        threads.execute("add-port", bridge=f"br{n}", name=f"p{n}", type="vhost-user-server", path=f"{folder}/p{n}")
    time.sleep(0.2)
    before = threads.cpu_seconds()
    time.sleep(1)
    assert threads.cpu_seconds() - before <= 0.01


def test_a_core_is_named_only_where_the_switch_was_given_cores(switch):
    assert "core" not in switch.execute("query-bridges")[0]
    with pytest.raises(Refused, match="none of those that --core names"):
        switch.execute("add-bridge", name="br1", core=0)
