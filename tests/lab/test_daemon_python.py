# SPDX-License-Identifier: GPL-2.0-or-later
"""The life of a machine with a stock kernel through libvirt's Python binding: steps, codes of errors, events in order.

The first tests need no boot; those after them share a machine that runs.
"""

import os
import subprocess
import time

import libvirt
import pytest

from kv_daemon import Events, Refused, wait_for
from kv_stock import GUEST, HOST, StreamConsole
from lablib.talk import PATIENCE

UUID = "0f3a1c52-6b0e-4a53-8f3e-9b1d5d7c2e10"
OTHER = "5c1be2a4-11aa-4a0b-9a53-2f0f6f1f2e11"

ADDED = (libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_ADDED)
UPDATED = (libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_UPDATED)
REMOVED = (libvirt.VIR_DOMAIN_EVENT_UNDEFINED, libvirt.VIR_DOMAIN_EVENT_UNDEFINED_REMOVED)
STARTED = (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED)
SUSPENDED = (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED)
RESUMED = (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED)
DESTROYED = (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED)
GUEST_OFF = (libvirt.VIR_DOMAIN_EVENT_SHUTDOWN, libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_GUEST)
OFF = (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
REBOOT = libvirt.VIR_DOMAIN_EVENT_ID_REBOOT


@pytest.fixture
def conn(daemon):
    connection = daemon.connect()
    yield connection
    connection.close()


@pytest.fixture
def idle(conn, stock):
    """A definition for this test alone."""
    domain = conn.defineXML(stock.xml("idle", uuid=OTHER))
    yield domain
    for left in conn.listAllDomains():
        if left.UUIDString() == OTHER:
            if left.isActive():
                left.destroy()
            if left.isPersistent():
                left.undefine()


class Runner:
    """The machine that tests share, and a console to it."""

    def __init__(self, daemon, stock):
        self.daemon, self.stock = daemon, stock
        self.connection = self.domain = self.console = None

    def up(self):
        """Running, with a shell on its console."""
        if self.domain is None or not self.domain.isActive():
            self.attach(lambda connection: connection.createXML(self.stock.xml("runs", uuid=UUID)))
            self.console.shell("true")
        return self.domain

    def attach(self, find):
        """The machine by a connection and a console that are new."""
        self.detach()
        self.connection = self.daemon.connect()
        self.domain = find(self.connection)
        self.console = StreamConsole(self.domain)

    def detach(self):
        if self.console:
            self.console.end()
            self.console = None


@pytest.fixture(scope="module")
def runs(daemon, stock):
    runner = Runner(daemon, stock)
    yield runner
    runner.detach()


def test_events_tell_the_life_of_a_definition_in_libvirts_order(conn, stock):
    record = Events(conn)
    xml = stock.xml("idle", uuid=OTHER)
    domain = conn.defineXML(xml)
    conn.defineXML(xml)
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    domain.resume()
    domain.suspend()
    domain.resume()
    domain.destroy()
    domain.create()
    domain.destroy()
    domain.undefine()
    record.expect(*[("idle", *event) for event in (
        ADDED, UPDATED, STARTED, SUSPENDED, RESUMED, SUSPENDED, RESUMED, DESTROYED, RESUMED, STARTED, DESTROYED, REMOVED)])
    record.end()


def test_what_takes_a_running_machine_is_refused_without_one(idle):
    for step in (idle.shutdown, idle.reboot, idle.reset, idle.destroy, idle.suspend, idle.resume, idle.injectNMI,
                 lambda: idle.coreDump("/nowhere", libvirt.VIR_DUMP_MEMORY_ONLY),
                 lambda: idle.openConsole(None, idle.connect().newStream(0)),
                 lambda: idle.setMemoryFlags(1024, libvirt.VIR_DOMAIN_AFFECT_LIVE)):
        with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"):
            step()
    assert idle.state() == [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN]


def test_what_runs_is_not_started_again(conn, idle, stock):
    idle.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is already running", libvirt.VIR_FROM_QEMU):
        idle.create()
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain 'idle' is already active"):
        conn.createXML(stock.xml("idle", uuid=OTHER))
    idle.resume()
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is already running"):
        idle.resume()


def test_names_and_uuids_belong_to_one(conn, idle, stock):
    for make in (conn.defineXML, conn.createXML):
        with Refused(libvirt.VIR_ERR_OPERATION_FAILED, f"domain 'idle' already exists with uuid {OTHER}"):
            make(stock.xml("idle"))
        with Refused(libvirt.VIR_ERR_OPERATION_FAILED, f"domain 'idle' is already defined with uuid {OTHER}"):
            make(stock.xml("another", uuid=OTHER))
    assert idle.isActive() == 0
    assert [domain.name() for domain in conn.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT)] == ["idle"]


def test_documents_that_cannot_be_are_refused(conn, stock):
    good = stock.xml("bad")
    for make in (conn.defineXML, conn.createXML):
        for text, code in (("", libvirt.VIR_ERR_XML_DETAIL), (good[:-5], libvirt.VIR_ERR_XML_DETAIL),
                           (good.replace("domain", "network"), libvirt.VIR_ERR_XML_ERROR),
                           (good.replace("MiB", "parsecs"), libvirt.VIR_ERR_INVALID_ARG),
                           (good.replace("<serial type='pty'/>", "<telepathy/>"), libvirt.VIR_ERR_CONFIG_UNSUPPORTED)):
            with Refused(code):
                make(text)
    with Refused(libvirt.VIR_ERR_NO_DOMAIN):
        conn.lookupByName("bad")


def test_a_start_without_its_disk_or_bridge_fails_and_leaves_nothing(conn, stock):
    before = len(conn.listAllDomains())
    for xml, named in ((stock.xml("bad", disk="/nowhere/root.raw"), "/nowhere/root.raw"),
                       (stock.xml("bad").replace(stock.bridge, "nobridge"), "nobridge"),
                       (stock.xml("bad").replace(stock.kernel, "/nowhere/kernel"), "/nowhere/kernel")):
        with pytest.raises(libvirt.libvirtError, match=named):
            conn.createXML(xml)
    assert len(conn.listAllDomains()) == before


def test_a_read_only_connection_looks_and_changes_nothing(daemon, idle, stock):
    reader = daemon.connect_read_only()
    domain = reader.lookupByName("idle")
    assert domain.UUIDString() == OTHER
    assert "<name>idle</name>" in domain.XMLDesc()
    for step in (domain.create, domain.undefine, domain.destroy, domain.reset, lambda: domain.rename("other"),
                 lambda: domain.setAutostart(1), lambda: reader.defineXML(stock.xml("other")),
                 lambda: reader.createXML(stock.xml("other")),
                 lambda: domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)):
        with Refused(libvirt.VIR_ERR_OPERATION_DENIED):
            step()
    assert idle.isActive() == 0
    reader.close()


def test_what_is_undefined_is_gone(conn, idle):
    idle.undefine()
    with Refused(libvirt.VIR_ERR_NO_DOMAIN, f"no domain with matching uuid '{OTHER}' (idle)"):
        idle.create()
    with Refused(libvirt.VIR_ERR_NO_DOMAIN, "no domain with matching name 'idle'"):
        conn.lookupByName("idle")
    with Refused(libvirt.VIR_ERR_NO_DOMAIN, f"no domain with matching uuid '{OTHER}'"):
        conn.lookupByUUIDString(OTHER)


def test_a_created_machine_boots_and_tells_of_itself(runs):
    domain = runs.up()
    assert (domain.isActive(), domain.isPersistent()) == (1, 0)
    assert domain.state() == [libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED]
    state, most, now, vcpus, _ = domain.info()
    assert (state, most, now, vcpus) == (libvirt.VIR_DOMAIN_RUNNING, 192 * 1024, 192 * 1024, 1)
    assert domain.getCPUStats(True)[0]["cpu_time"] > 0
    assert domain.blockStats("vda")[1] > 0
    assert runs.console.shell("nproc") == "1\n"
    stats = domain.connect().domainListGetStats([domain], 0)[0][1]
    assert stats["state.state"] == libvirt.VIR_DOMAIN_RUNNING
    assert stats["block.0.rd.reqs"] > 0


def test_a_killed_daemon_finds_its_machine_again_which_did_not_notice(runs):
    domain = runs.up()
    number, uuid = domain.ID(), domain.UUIDString()
    monitor = runs.daemon.monitor_of(uuid)
    runs.console.shell(f"ifconfig eth0 {GUEST}; ping -c 1 -w 20 {HOST}; dmesg >/tmp/before; ( sleep 1000 & echo $! >/tmp/pid )")
    ping = subprocess.Popen(["ping", "-i", "0.2", "-w", "8", GUEST], stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    runs.detach()
    runs.daemon.kill()
    time.sleep(1)
    runs.daemon.start()
    runs.attach(lambda connection: connection.lookupByUUIDString(uuid))
    assert runs.domain.ID() == number
    assert runs.daemon.monitor_of(uuid) == monitor
    assert runs.domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    said = ping.communicate(timeout=60)[0]
    assert ", 0% packet loss" in said, said
    runs.console.new_shell()
    runs.console.shell("kill -0 $(cat /tmp/pid); dmesg | cmp - /tmp/before")


def test_a_reboot_in_the_guest_is_told_and_keeps_the_machine(runs):
    domain = runs.up()
    number = domain.ID()
    record = Events(domain.connect(), (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, REBOOT))
    runs.console.send("touch /tmp/lost; reboot -f\n")
    record.expect(("runs", f"id {REBOOT}"), patience=PATIENCE)
    runs.console.restarted()
    assert "lost" not in runs.console.shell("ls /tmp; uname")
    assert domain.ID() == number
    assert not record.list
    record.end()


def test_the_power_button_ends_it_and_a_transient_machine_is_gone(runs):
    domain = runs.up()
    record = Events(domain.connect())
    domain.shutdown()
    record.expect(("runs", *GUEST_OFF), ("runs", *OFF), patience=PATIENCE)
    runs.console.expect("reboot: Power down")
    record.end()
    with Refused(libvirt.VIR_ERR_NO_DOMAIN):
        domain.info()
    wait_for(lambda: not os.path.exists(os.path.join(runs.daemon.run, "machine", f"{UUID}.pid")), "the end of its record")
