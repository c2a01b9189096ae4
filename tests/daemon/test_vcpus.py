# SPDX-License-Identifier: GPL-2.0-or-later
"""vCPUs that come to a running domain and leave it."""
import os

import libvirt
import pytest

from kv_daemon import Console, Refused, domain_xml

LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")


def define(conn, vcpus="<vcpu current='1'>4</vcpu>", more=""):
    return conn.defineXML(domain_xml("cpus", guest="cpus", vcpus="VCPU", more=more).replace("<vcpu>VCPU</vcpu>", vcpus))


class Machine:
    """A running domain of the guest that tells of its vCPUs."""

    def __init__(self, domain):
        self.domain = domain
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        self.console = Console(domain)
        domain.resume()
        self.console.expect(b"ready")

    def says(self, *lines):
        for line in lines:
            self.console.expect(line.encode() + b"\n")

    def numbers(self):
        return [vcpu[0] for vcpu in self.domain.vcpus()[0]]


@pytest.fixture
def machine(conn):
    one = Machine(define(conn))
    yield one
    one.console.close()


def test_vcpus_come_and_go_and_the_document_follows(daemon, machine):
    domain = machine.domain
    domain.setVcpus(3)
    machine.says("awake 1", "awake 2")
    assert machine.numbers() == [0, 1, 2]
    assert domain.vcpusFlags(LIVE) == 3 and domain.vcpusFlags(CONFIG) == 1
    assert "<vcpu placement='static' current='3'>4</vcpu>" in domain.XMLDesc()
    assert "<vcpu id='2' enabled='yes' hotpluggable='yes' order='3'/>" in domain.XMLDesc()
    assert "<vcpus>" not in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    daemon.virsh("setvcpus", "cpus", "1", "--live")
    machine.says("gave 2", "gave 1")
    assert machine.numbers() == [0]
    assert "<vcpus>" not in domain.XMLDesc()
    daemon.virsh("setvcpus", "cpus", "2", "--live", "--config")
    assert domain.vcpusFlags(LIVE) == domain.vcpusFlags(CONFIG) == 2
    daemon.virsh("setvcpu", "cpus", "2", "--enable", "--live")
    assert machine.numbers() == [0, 1, 2]
    with Refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, "vCPUs '1' cannot be switched off"):
        domain.setVcpu("1", 0, LIVE)
    domain.setVcpu("1-2", 0, LIVE)
    assert machine.numbers() == [0]


def test_what_cannot_be_is_refused_and_nothing_changes(machine):
    domain = machine.domain
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "greater than max allowable vcpus for the live domain: 5 > 4"):
        domain.setVcpus(5)
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "must not be zero"):
        domain.setVcpus(0)
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "maximum vcpu count of a live domain"):
        domain.setVcpusFlags(6, LIVE | CONFIG | libvirt.VIR_DOMAIN_VCPU_MAXIMUM)
    assert machine.numbers() == [0]
    machine.console.say(b"k")
    domain.setVcpus(2)
    machine.says("awake 1")
    with Refused(libvirt.VIR_ERR_OPERATION_FAILED, "rejected by the guest"):
        domain.setVcpus(1)
    assert machine.numbers() == [0, 1] and domain.vcpusFlags(LIVE) == 2


def test_vcpus_that_are_there_from_the_start_stay(conn):
    machine = Machine(define(conn, "<vcpu current='2'>3</vcpu>"))
    with Refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, "failed to find appropriate hotpluggable vcpus"):
        machine.domain.setVcpus(1)
    machine.console.close()


def test_a_definition_says_which_may_leave(conn):
    machine = Machine(define(conn, "<vcpu current='2'>3</vcpu><vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/>"
                                   "<vcpu id='1' enabled='yes' hotpluggable='yes'/>"
                                   "<vcpu id='2' enabled='no' hotpluggable='yes'/></vcpus>"))
    machine.says("awake 1")
    assert machine.numbers() == [0, 1]
    machine.domain.setVcpus(1)
    assert machine.numbers() == [0]
    machine.console.close()
    for wrong, reason in (("<vcpu current='2'>3</vcpu><vcpus><vcpu id='0' enabled='yes'/></vcpus>", "<vcpus> lists 1 vCPUs"),
                          ("<vcpu>1</vcpu><vcpus><vcpu id='0' enabled='yes' order='2'/></vcpus>", "2 of vCPU 0"),
                          ("<vcpu>1</vcpu><vcpus><vcpu id='0' enabled='yes' hotpluggable='yes'/></vcpus>", "vCPU 0"),
                          ("<vcpu current='1'>2</vcpu><vcpus><vcpu id='0' enabled='no' hotpluggable='yes'/>"
                           "<vcpu id='1' enabled='yes' hotpluggable='no'/></vcpus>", "those below 1")):
        with Refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, reason):
            define(conn, wrong)


def test_pins_hold_for_vcpus_that_come_later(daemon, conn):
    last = os.cpu_count() - 1
    machine = Machine(define(conn, more=f"<cputune><vcpupin vcpu='1' cpuset='{last}'/></cputune>"))
    machine.domain.setVcpus(2)
    machine.says("awake 1")
    assert machine.domain.vcpus()[1][1] == (False,) * last + (True,)
    machine.console.close()


def test_a_daemon_that_starts_anew_knows_them(daemon):
    machine = Machine(define(daemon.connect()))
    machine.domain.setVcpus(2)
    machine.says("awake 1")
    daemon.kill()
    daemon.start()
    domain = daemon.connect().lookupByName("cpus")
    assert domain.vcpusFlags(LIVE) == 2
    domain.setVcpus(1)
    assert [vcpu[0] for vcpu in domain.vcpus()[0]] == [0]
    domain.destroy()
    domain.undefine()
