# SPDX-License-Identifier: GPL-2.0-or-later
"""kvasird may die at any moment, and many clients may do anything at the same time."""
import os
import random
import signal
import subprocess
import time

import libvirt
import pytest

from anything import Clients, Ledger, check_database, check_whole, children_of
from kv_daemon import domain_xml, wait_for

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")

CLIENTS = 16


@pytest.fixture
def bridge():
    """A Linux bridge of the test's own; None where it cannot be made."""
    name = f"kvt{os.getpid()}"
    if subprocess.run(["ip", "link", "add", name, "type", "bridge"], stderr=subprocess.DEVNULL,
                      check=False).returncode != 0:
        yield None
        return
    yield name
    subprocess.run(["ip", "link", "del", name], check=True)


def test_sixteen_clients_do_anything_and_all_stays_whole(fresh, bridge, request):
    ledgers = [Ledger(f"own{i}", random.Random(i)) for i in range(4)]
    clients = Clients(fresh, CLIENTS, [f"vm{i}" for i in range(8)], 1, bridge, ledgers)
    time.sleep(120 if request.config.getoption("--long") else 4)
    clients.stop()
    assert not clients.failures, clients.failures[0]
    assert clients.operations > 100
    conn = fresh.connect()
    check_whole(fresh, conn, bridge)
    for ledger in ledgers:
        ledger.check(conn)
    for domain in conn.listAllDomains():
        if domain.isActive():
            domain.destroy()
    check_whole(fresh, conn, bridge)
    assert fresh.monitors() == []
    assert children_of(fresh.folder) == []


class Guest:
    """Echoes; a daemon's death must not reach it."""

    def __init__(self, conn):
        self.uuid = conn.createXML(domain_xml("kept", "obey", memory=32)).UUIDString()
        self.words = 0

    def check(self, conn, first=False):
        """It is the same guest that it was: it never said again that it is ready."""
        stream = conn.newStream(0)
        conn.lookupByName("kept").openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
        self.words += 1
        word, text = f"word{self.words}.".encode(), b""
        if first:
            while b"ready" not in text:
                text += stream.recv(100)
            text = b""
        stream.send(b"e" + word + b"\n")
        while word not in text:
            text += stream.recv(100)
        assert b"ready" not in text
        stream.abort()


def kill_some_monitor(daemon, conn, rng):
    """One of a machine's processes, as the out-of-memory killer would."""
    victims = [pid for pid in children_of(daemon.folder)]
    kept = daemon.monitor_of(conn.lookupByName("kept").UUIDString())
    with open(f"/proc/{kept}/task/{kept}/children", encoding="ascii") as f:
        kept = {kept, *map(int, f.read().split())}
    victims = [pid for pid in victims if pid not in kept]
    if victims:
        try:
            os.kill(rng.choice(victims), signal.SIGKILL)
        except ProcessLookupError:
            pass


def test_a_daemon_killed_at_any_moment_comes_back_whole(fresh, bridge, request):
    rounds = 600 if request.config.getoption("--long") else 6
    rng = random.Random(7)
    conn = fresh.connect()
    guest = Guest(conn)
    guest.check(conn, first=True)
    pid = fresh.monitor_of(guest.uuid)
    ledgers = [Ledger(f"own{i}", random.Random(i)) for i in range(4)]
    operations, slowest = 0, 0
    for seed in range(rounds):
        clients = Clients(fresh, 4, [f"vm{i}" for i in range(4)], seed, bridge, ledgers)
        time.sleep(rng.uniform(0.05, 0.4))
        assert fresh.process.poll() is None, f"kvasird ended with {fresh.process.returncode}:\n{fresh.log()}"
        if rng.randrange(3) == 0:
            kill_some_monitor(fresh, conn, rng)
            time.sleep(rng.uniform(0, 0.02))
        fresh.kill()
        clients.stop()
        operations += clients.operations
        check_database(fresh)
        begin = time.monotonic()
        fresh.start()
        slowest = max(slowest, time.monotonic() - begin)
        conn = fresh.connect()
        wait_for(lambda: conn.lookupByName("kept").isActive(), "the machine that nobody touched")
        assert fresh.monitor_of(guest.uuid) == pid
        guest.check(conn)
        check_whole(fresh, conn, bridge)
        for ledger in ledgers:
            ledger.check(conn)
    print(f"{rounds} kills during {operations} operations; slowest start {slowest:.2f} s")
