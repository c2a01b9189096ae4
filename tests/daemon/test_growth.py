# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory, descriptors and threads do not grow with the lives of machines. --long: a thousand lives."""
import os

import libvirt
import pytest

from anything import check_whole
from kv_daemon import domain_xml, wait_for

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")

GROWTH_KIB = 512  # what malloc keeps here and there


def figures(daemon):
    pid = daemon.process.pid
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
        dirty = next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))
    return {"KiB": dirty, "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": len(os.listdir(f"/proc/{pid}/task"))}


def live(daemon, n):
    """One client, one machine, from beginning to end."""
    conn = libvirt.open(daemon.uri())
    events = conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lambda *_: None, None)
    domain = conn.defineXML(domain_xml(f"vm{n % 7}", memory=32, devices="<rng model='virtio'>"
                                       "<backend model='random'>/dev/urandom</backend></rng>"))
    domain.create()
    stream = conn.newStream(0)
    domain.openConsole(None, stream, 0)
    domain.suspend()
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, f"t{n}", None, None,
                       libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    domain.XMLDesc()
    conn.getAllDomainStats()
    stream.abort()
    domain.destroy()
    domain.undefine()
    secret = conn.secretDefineXML(f"<secret><usage type='volume'><volume>/s{n}</volume></usage></secret>")
    secret.setValue(b"x" * 100)
    secret.undefine()
    try:
        conn.createXML("<domain type='kvm'><name>bad</name></domain>")
    except libvirt.libvirtError:
        pass
    conn.domainEventDeregisterAny(events)
    conn.close()


def test_lives_of_machines_leave_nothing_behind(fresh, request):
    lives = 1000 if request.config.getoption("--long") else 25
    for n in range(25):
        live(fresh, n)
    before = figures(fresh)
    for n in range(lives):
        live(fresh, n)
    wait_for(lambda: figures(fresh)["descriptors"] <= before["descriptors"], "descriptors that are closed")
    after = figures(fresh)
    print(f"{lives} lives: {before} -> {after}")
    assert after["KiB"] < before["KiB"] + GROWTH_KIB
    assert after["threads"] <= before["threads"] + 2
    check_whole(fresh, fresh.connect())
