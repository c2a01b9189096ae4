# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's watchdog (tests/guest/obey.c feeds it, or not): what happens when it is silent."""
import glob
import os
import time

import libvirt
import pytest

from kv_daemon import Console, Refused, domain_xml, wait_for

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")


def watchdog(action, model="i6300esb"):
    return f"<watchdog model='{model}' action='{action}'/>"


class Told:
    """What the watchdog's events said."""

    def __init__(self, conn):
        self.actions = []
        self.conn = conn
        self.id = conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_WATCHDOG,
                                              lambda _conn, _domain, action, _opaque: self.actions.append(action), None)

    def expect(self, action):
        wait_for(lambda: self.actions == [action], "the watchdog's event")
        self.conn.domainEventDeregisterAny(self.id)


def start(conn, action):
    """A domain that runs, with its watchdog ticking."""
    domain = conn.createXML(domain_xml("one", "obey", devices=watchdog(action)))
    assert f"<watchdog model='i6300esb' action='{action}'>" in domain.XMLDesc()
    console = Console(domain)
    console.expect(b"ready")
    console.say(b"d")
    console.expect(b"watchdog 0")
    return domain, console


def test_a_silent_guest_is_reset_and_learns_why(conn):
    told = Told(conn)
    _, console = start(conn, "reset")
    console.expect(b"ready")
    console.say(b"d")
    console.expect(b"watchdog ")
    told.expect(libvirt.VIR_DOMAIN_EVENT_WATCHDOG_RESET)


@pytest.mark.parametrize("action, number, state", [
    ("pause", libvirt.VIR_DOMAIN_EVENT_WATCHDOG_PAUSE, [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_WATCHDOG]),
    ("none", libvirt.VIR_DOMAIN_EVENT_WATCHDOG_NONE, [libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED]),
])
def test_a_silent_guest_is_treated_as_asked(conn, action, number, state):
    told = Told(conn)
    domain, _ = start(conn, action)
    told.expect(number)
    wait_for(lambda: domain.state() == state, f"state {state}")
    if action == "pause":
        domain.resume()
        assert domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING


def test_a_silent_guest_leaves_a_core_file_and_goes_on(daemon, conn):
    told = Told(conn)
    domain, console = start(conn, "dump")
    told.expect(libvirt.VIR_DOMAIN_EVENT_WATCHDOG_PAUSE)
    (core,) = wait_for(lambda: glob.glob(f"{daemon.state}/dump/{domain.ID()}-one-*"), "the core file")
    wait_for(lambda: domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING, "the guest to go on")
    console.say(b"e!\n")
    console.expect(b"!")
    assert os.stat(core).st_size > 64 << 20


@pytest.mark.parametrize("action, number", [
    ("poweroff", libvirt.VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF), ("shutdown", libvirt.VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN)])
def test_a_silent_guest_is_ended(conn, action, number):
    told = Told(conn)
    start(conn, action)
    told.expect(number)
    wait_for(lambda: not conn.listAllDomains(), "the end")


def test_a_guest_that_feeds_it_or_stands_still_is_left_alone(conn):
    told = Told(conn)
    domain, console = start(conn, "pause")
    for _ in range(12):
        console.say(b"k")
        time.sleep(0.05)
    domain.suspend()
    time.sleep(0.5)
    domain.resume()
    console.say(b"ke!\n")
    console.expect(b"!")
    assert not told.actions
    told.expect(libvirt.VIR_DOMAIN_EVENT_WATCHDOG_PAUSE)


def test_what_is_not_there_is_refused(conn):
    with Refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, "'itco': 'i6300esb' is accepted"):
        conn.defineXML(domain_xml("one", devices=watchdog("reset", "itco")))
    with Refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, "unknown watchdog action 'bark'"):
        conn.defineXML(domain_xml("one", devices=watchdog("bark")))
    domain = conn.defineXML(domain_xml("one", devices="<watchdog model='i6300esb'/>"))
    assert "<watchdog model='i6300esb' action='reset'>" in domain.XMLDesc()
