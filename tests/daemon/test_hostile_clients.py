# SPDX-License-Identifier: GPL-2.0-or-later
"""Documents that are meant to hurt, clients that leave in the middle, events that nobody reads."""
import os
import signal
import struct
import sys
import threading
import time

import libvirt
import pytest

from kv_daemon import TOP, Refused, domain_xml, wait_for

sys.path.append(os.path.join(TOP, "tests", "rpc"))
import wire  # pylint: disable=wrong-import-position

REMOTE = wire.procedures()
needs_kvm = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")
MIB = 1 << 20

BOMB = "<!DOCTYPE d [<!ENTITY a0 'aaaaaaaaaa'>" + "".join(
    f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 12)) + "]>"
HURTING = {
    "entities that grow": BOMB + "<domain type='kvm'><name>&a11;</name></domain>",
    "an entity in itself": "<!DOCTYPE d [<!ENTITY a '&b;'><!ENTITY b '&a;'>]><domain><name>&a;</name></domain>",
    "a file of the host": "<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><domain><name>&a;</name></domain>",
    "a document elsewhere": "<!DOCTYPE d SYSTEM 'http://127.0.0.1:1/d.dtd'><domain/>",
    "an include": "<domain xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='/etc/passwd'/></domain>",
    "deep nesting": "<domain>" + "<a>" * 400000 + "</a>" * 400000 + "</domain>",
    "many elements": "<domain>" + "<a/>" * 900000 + "</domain>",
    "many attributes": "<domain " + " ".join(f"a{i}='1'" for i in range(250000)) + "/>",
    "many namespaces": "<domain " + " ".join(f"xmlns:a{i}='u'" for i in range(100000)) + "/>",
    "a long name": f"<domain type='kvm'><name>{'n' * 3 * MIB}</name></domain>",
    "a long comment": f"<domain><!--{'x' * 3 * MIB}--></domain>",
    "many disks": domain_xml("d", devices="<disk type='file' device='disk'/>" * 60000),
    "control characters": domain_xml("a\x01b"),
    "a reference to a control character": domain_xml("a&#1;b"),
    "no UTF-8": None,  # made below: Python's text is always UTF-8
    "half a document": domain_xml("x")[:200],
    "nothing": "",
    "a lie about its encoding": "<?xml version='1.0' encoding='UTF-16'?><domain/>",
}


def define(sock, text):
    """Through a socket of our own: the client's library refuses some of it by itself."""
    data = b"<domain type='kvm'><name>\xff\xfe\x80</name></domain>" if text is None else text.encode()
    payload = struct.pack(">I", len(data)) + data + b"\0" * (-len(data) % 4)
    return wire.call(sock, REMOTE["DOMAIN_DEFINE_XML"][0], payload)


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))


def peak_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@pytest.mark.parametrize("name", HURTING)
def test_a_document_that_is_meant_to_hurt_is_refused_soon(daemon, name):
    with wire.connect(daemon.socket()) as sock:
        begin = time.monotonic()
        status, answer = define(sock, HURTING[name])
        spent = time.monotonic() - begin
        assert status == wire.ERROR
        assert wire.error_of(answer)[0] in (libvirt.VIR_ERR_XML_ERROR, libvirt.VIR_ERR_XML_DETAIL,
                                            libvirt.VIR_ERR_CONFIG_UNSUPPORTED, libvirt.VIR_ERR_INTERNAL_ERROR,
                                            libvirt.VIR_ERR_OS_TYPE, libvirt.VIR_ERR_INVALID_ARG), answer[:400]
        assert b"root:" not in answer
        assert spent < 3, f"{name}: {spent:.2f} s"
        print(f"{name}: {spent * 1000:.0f} ms, {wire.error_of(answer)}"[:200])
    assert peak_kib(daemon.process.pid) < 256 << 10


def test_texts_beyond_the_protocols_bounds_are_refused_before_they_are_read(daemon):
    with wire.connect(daemon.socket()) as sock:
        status, answer = define(sock, "<" * (4 * MIB + 1))
        assert status == wire.ERROR and "decode" in wire.error_of(answer)[1]
    with wire.connect(daemon.socket()) as sock:
        sock.sendall(struct.pack(">I", 100 * MIB))
        begin = time.monotonic()
        with pytest.raises((EOFError, ConnectionResetError)):
            wire.receive(sock)
        assert time.monotonic() - begin < 1


@needs_kvm
def test_clients_that_leave_in_the_middle_of_a_long_call_leave_nothing_behind(fresh):
    conn = fresh.connect()
    stuck = conn.createXML(domain_xml("stuck"))
    other = conn.createXML(domain_xml("other"))
    pid = fresh.monitor_of(stuck.UUIDString())
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        pids = [pid, *map(int, f.read().split())]
    files = len(os.listdir(f"/proc/{fresh.process.pid}/fd"))
    for one in pids:
        os.kill(one, signal.SIGSTOP)
    arguments = wire.text("stuck") + stuck.UUID() + struct.pack(">i", stuck.ID())
    for n in range(30):
        with wire.connect(fresh.socket()) as sock:
            sock.sendall(wire.packet(REMOTE[("DOMAIN_SUSPEND", "DOMAIN_RESUME", "DOMAIN_GET_INFO")[n % 3]][0], arguments))
    begin = time.monotonic()
    for _ in range(20):
        conn.getLibVersion()
        conn.listAllDomains()
        conn.defineXML(domain_xml("new")).undefine()
    assert time.monotonic() - begin < 2
    for one in pids:
        os.kill(one, signal.SIGCONT)
    wait_for(lambda: len(os.listdir(f"/proc/{fresh.process.pid}/fd")) <= files, "the connections' end")
    other.suspend()
    assert other.state()[0] == libvirt.VIR_DOMAIN_PAUSED
    wait_for(lambda: stuck.info(), "the machine that stood still")


def test_a_client_that_reads_no_events_is_left_and_the_others_get_theirs(fresh):
    conn = fresh.connect()
    domain = conn.defineXML(domain_xml("one"))
    got = []
    conn.domainEventRegisterAny(domain, libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
                                lambda *args: got.append(args), None)
    with wire.connect(fresh.socket()) as deaf:
        event = struct.pack(">I", libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE)
        for _ in range(40):
            status, _ = wire.call(deaf, REMOTE["CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY"][0],
                                  event + struct.pack(">I", 0))
            assert status == wire.OK
        uri = "http://" + "u" * 60000
        rounds, peak = 12, 0
        for n in range(rounds):  # 40 callbacks of 60,000 bytes each time
            domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, f"<a n='{n}'/>", "k", uri,
                               libvirt.VIR_DOMAIN_AFFECT_CONFIG)
            peak = max(peak, private_kib(fresh.process.pid))
        wait_for(lambda: len(got) == rounds, "the events of the one who reads")
        assert peak < 48 << 10
        wait_for(lambda: private_kib(fresh.process.pid) < 16 << 10, "memory given back")
        with pytest.raises((EOFError, ConnectionResetError)):
            while True:
                wire.receive(deaf)
    domain.undefine()


@needs_kvm
def test_a_stream_that_is_given_up_in_the_same_breath_as_it_is_opened_breaks_nothing(fresh):
    conn = fresh.connect()
    domain = conn.createXML(domain_xml("one"))
    number = REMOTE["DOMAIN_OPEN_CONSOLE"][0]
    arguments = wire.text("one") + domain.UUID() + struct.pack(">i", domain.ID()) + struct.pack(">I", 0) + \
        struct.pack(">I", libvirt.VIR_DOMAIN_CONSOLE_FORCE)

    def hurry():
        with wire.connect(fresh.socket()) as sock:
            for serial in range(300):
                how = (wire.ERROR, wire.OK, wire.CONTINUE)[serial % 3]
                sock.sendall(wire.packet(number, arguments, serial=serial) +
                             wire.packet(number, b"", kind=wire.STREAM, serial=serial, status=how) * 3)
                while wire.receive(sock)[1] != wire.REPLY:
                    pass
                for _ in range(3):
                    sock.sendall(wire.packet(number, b"", kind=wire.STREAM, serial=serial, status=wire.ERROR))
    threads = [threading.Thread(target=hurry) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert fresh.process.poll() is None
    domain.destroy()


@needs_kvm
def test_a_read_only_connection_starts_no_machine(daemon):
    """What the guide's Java program does with it: lookup, then create."""
    conn = daemon.connect()
    conn.defineXML(domain_xml("vm1"))
    with Refused(libvirt.VIR_ERR_OPERATION_DENIED, "read only"):
        daemon.connect_read_only().lookupByName("vm1").create()
    conn.lookupByName("vm1").undefine()
