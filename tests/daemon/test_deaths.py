# SPDX-License-Identifier: GPL-2.0-or-later
"""A monitor that dies is noticed within 100 ms, with its reason and its last words. --long: often, and
while the daemon is busy."""
import os
import select
import signal
import threading
import time

import libvirt
import pytest

from anything import Clients
from kv_daemon import domain_xml, wait_for

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")

WITHIN = 0.1  # seconds


class Deaths:
    """When this process, a client, is told that a domain stopped."""

    def __init__(self, conn):
        self._told = threading.Condition()
        self._at = {}
        self._id = conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._note, None)
        self._conn = conn

    def _note(self, _conn, domain, event, detail, _opaque):
        now = time.monotonic()
        if event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
            with self._told:
                self._at[domain.name()] = (now, detail)
                self._told.notify_all()

    def wait(self, name):
        with self._told:
            assert self._told.wait_for(lambda: name in self._at, 10), "nobody was told"
            return self._at.pop(name)


def processes(daemon, domain):
    """The monitor's: the one outside, and the one in the jail."""
    pid = daemon.monitor_of(domain.UUIDString())
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [pid, *map(int, f.read().split())]


def wait_for_ends(fds, begin):
    """Seconds until the last of the processes is gone; how long the kernel takes is not the daemon's."""
    gone = select.poll()
    for fd in fds:
        gone.register(fd, select.POLLIN)
    while fds:
        for fd, _ in gone.poll(10000):
            gone.unregister(fd)
            os.close(fd)
            fds.discard(fd)
    return time.monotonic() - begin


def say(what, spent):
    spent.sort()
    print(f"{len(spent)} deaths, {what}: median {spent[len(spent) // 2] * 1e3:.1f} ms, "
          f"99 % {spent[len(spent) * 99 // 100] * 1e3:.1f} ms, worst {spent[-1] * 1e3:.1f} ms")


def measure(daemon, conn, times):
    """Seconds from each end to the event at the client, whichever process was killed, by whatever."""
    deaths, spent, since_kill = Deaths(conn), [], []
    for n in range(times):
        domain = conn.createXML(domain_xml("dies", memory=32))
        pids = processes(daemon, domain)
        # The first process of the jail takes no signal from outside but this one.
        how = signal.SIGKILL if n % 2 else (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)[n % 3]
        fds = {os.pidfd_open(pid) for pid in pids}
        begin = time.monotonic()
        os.kill(pids[-1] if n % 2 else pids[0], how)
        ended = wait_for_ends(fds, begin)
        at, detail = deaths.wait("dies")
        assert detail in (libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED)
        spent.append(max(at - begin - ended, 0))
        since_kill.append(at - begin)
    say("from the kill", since_kill)
    say("from the process's end", spent)
    return spent


def test_a_death_is_noticed_within_100_ms(fresh, request):
    times = 300 if request.config.getoption("--long") else 15
    spent = measure(fresh, fresh.connect(), times)
    # On a crowded machine one or the other waits for a processor.
    assert spent[len(spent) // 2] < WITHIN


def test_a_death_is_noticed_while_clients_do_anything(fresh, request):
    times = 300 if request.config.getoption("--long") else 10
    conn = fresh.connect()
    clients = Clients(fresh, 4, [f"vm{i}" for i in range(4)], 5)
    try:
        spent = measure(fresh, conn, times)
    finally:
        clients.stop()
    assert not clients.failures, clients.failures[0]
    assert spent[len(spent) // 4] < WITHIN


def test_the_reason_of_a_death_is_told_with_the_last_words(fresh):
    conn = fresh.connect()
    domain = conn.createXML(domain_xml("dies"))
    pid = processes(fresh, domain)[-1]
    with open(os.readlink(f"/proc/{pid}/fd/2"), "a", encoding="utf-8") as log:
        log.write("kvasir-vmm: what it said last\n")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not conn.listAllDomains(), "the end")
    wait_for(lambda: "what it said last" in fresh.log(), "the reason in the daemon's log")
