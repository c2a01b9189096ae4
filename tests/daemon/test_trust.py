# SPDX-License-Identifier: GPL-2.0-or-later
"""kvasird may die at any moment, and many clients may do anything at the same time."""
import os
import random
import threading
import time

import libvirt
import pytest

from kv_daemon import children_of, domain_xml, wait_for

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")

CLIENTS = 16


def anything(conn, rng, names):
    """One random operation; what libvirt refuses is fine, as long as it answers."""
    name = rng.choice(names)
    try:
        what = rng.randrange(10)
        if what == 0:
            conn.defineXML(domain_xml(name, memory=32))
        elif what == 1:
            conn.createXML(domain_xml(name, memory=32), rng.choice((0, libvirt.VIR_DOMAIN_START_PAUSED)))
        elif what == 2:
            conn.getAllDomainStats()
        elif what == 3:
            conn.listAllDomains()
        else:
            domain = conn.lookupByName(name)
            rng.choice((domain.create, domain.destroy, domain.suspend, domain.resume, domain.undefine,
                        domain.XMLDesc, domain.info, domain.reset, domain.memoryStats,
                        lambda: domain.setAutostart(rng.randrange(2)),
                        lambda: domain.setMemoryFlags(16384, libvirt.VIR_DOMAIN_AFFECT_CONFIG),
                        lambda: domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, "t", None, None, 0),
                        ))()
    except libvirt.libvirtError as error:
        if error.get_error_code() in (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_RPC,
                                      libvirt.VIR_ERR_SYSTEM_ERROR):
            raise


class Clients:
    """Threads that each have a connection and do anything until told to stop."""

    def __init__(self, daemon, count, names, seed):
        self.failures, self.operations, self._stop = [], 0, False
        self._threads = [threading.Thread(target=self._run, args=(daemon, names, seed * 1000 + i))
                         for i in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, daemon, names, seed):
        rng = random.Random(seed)
        try:
            conn = libvirt.open(daemon.uri())
            while not self._stop:
                anything(conn, rng, names)
                self.operations += 1
            conn.close()
        except libvirt.libvirtError as error:
            self.failures.append(error)

    def stop(self):
        self._stop = True
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client waits for ever"


def check_whole(daemon, conn):
    """What the daemon says and what there is agree."""
    domains = conn.listAllDomains()
    assert len({d.name() for d in domains}) == len({d.UUIDString() for d in domains}) == len(domains)
    active = [d for d in domains if d.isActive()]
    assert len({d.ID() for d in active}) == len(active)
    pids = sorted(daemon.monitor_of(d.UUIDString()) for d in active)
    assert sorted(daemon.monitors()) == pids, "a record that belongs to no domain"
    for domain in domains:
        assert domain.name() in domain.XMLDesc()
        assert domain.isActive() or domain.isPersistent()
    for domain in active:
        assert domain.state()[0] in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_PAUSED)


def test_sixteen_clients_do_anything_and_all_stays_whole(fresh, request):
    clients = Clients(fresh, CLIENTS, [f"vm{i}" for i in range(8)], 1)
    time.sleep(120 if request.config.getoption("--long") else 4)
    clients.stop()
    assert not clients.failures, clients.failures[0]
    assert clients.operations > 100
    conn = fresh.connect()
    check_whole(fresh, conn)
    for domain in conn.listAllDomains():
        if domain.isActive():
            domain.destroy()
    assert fresh.monitors() == []
    assert children_of(fresh.folder) == []


def test_a_daemon_killed_at_any_moment_comes_back_whole(fresh, request):
    rounds = 500 if request.config.getoption("--long") else 6
    rng = random.Random(7)
    kept = fresh.connect().createXML(domain_xml("kept", memory=32)).UUIDString()
    pid = fresh.monitor_of(kept)
    for seed in range(rounds):
        clients = Clients(fresh, 4, [f"vm{i}" for i in range(4)], seed)
        time.sleep(rng.uniform(0.05, 0.4))
        fresh.kill()
        clients.stop()
        fresh.start()
        conn = fresh.connect()
        wait_for(lambda: conn.lookupByName("kept").isActive(), "the machine that nobody touched")
        assert fresh.monitor_of(kept) == pid
        check_whole(fresh, conn)
