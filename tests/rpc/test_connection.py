# SPDX-License-Identifier: GPL-2.0-or-later
"""Opening a connection, and what it says of itself and of the host."""
import os
import struct

import libvirt
import pytest

import wire
from daemon import Daemon


def refused(code, function, *arguments):
    with pytest.raises(libvirt.libvirtError) as caught:
        function(*arguments)
    assert caught.value.get_error_code() == code, caught.value
    return str(caught.value)


def test_virsh_tells_uri_version_and_host(daemon):
    assert daemon.virsh("uri") == daemon.uri()
    assert "QEMU 7.2.0" in daemon.virsh("version")
    assert daemon.virsh("hostname") == os.uname().nodename
    assert "Connection: " not in daemon.virsh("connect")


def test_a_connection_says_what_it_is(connection):
    assert connection.getType() == "QEMU"
    assert connection.getLibVersion() == 9000000
    assert connection.getVersion() == 7002000
    assert connection.isAlive() == 1
    assert connection.isSecure() == 1
    assert connection.isEncrypted() == 0
    assert connection.getMaxVcpus("kvm") == 254
    assert refused(libvirt.VIR_ERR_INVALID_ARG, connection.getMaxVcpus, "xen")


@pytest.mark.parametrize("name, code", [
    ("qemu:///session", libvirt.VIR_ERR_INTERNAL_ERROR),
    ("qemu:///embed?root=/x", libvirt.VIR_ERR_INTERNAL_ERROR),
    ("lxc:///", libvirt.VIR_ERR_NO_CONNECT),
])
def test_other_drivers_and_other_paths_are_refused(daemon, name, code):
    with daemon.connect() as sock:
        status, answer = wire.call(sock, 1, b"\0\0\0\1" + wire.text(name) + b"\0\0\0\0")
        assert (status, wire.error_of(answer)[0]) == (wire.ERROR, code)


def test_what_nobody_serves_is_no_support_by_its_name(connection):
    message = refused(libvirt.VIR_ERR_NO_SUPPORT, connection.nodeDeviceCreateXML, "<device/>")
    assert "virNodeDeviceCreateXML" in message


def test_the_host_is_described(connection):
    model, memory, cpus, *_, cores, threads = connection.getInfo()
    assert model == os.uname().machine and memory > 100 and cpus == os.cpu_count() and cores and threads
    present, online, number = connection.getCPUMap()
    assert number == sum(online) == cpus and present >= cpus
    assert set(connection.getCPUStats(-1)) == {"kernel", "user", "idle", "iowait"}
    assert set(connection.getCPUStats(0)) == {"kernel", "user", "idle", "iowait"}
    refused(libvirt.VIR_ERR_INVALID_ARG, connection.getCPUStats, 4000)
    stats = connection.getMemoryStats(-1)
    assert stats["total"] > stats["free"] > 0 and {"buffers", "cached"} <= set(stats)
    assert set(connection.getMemoryStats(0)) == {"total", "free"}
    assert connection.getFreeMemory() > 0
    assert connection.getCellsFreeMemory(0, 10)[0] > 0
    refused(libvirt.VIR_ERR_INVALID_ARG, connection.getCellsFreeMemory, 500, 1)
    assert connection.getFreePages([4], 0, 1)[0][4] > 0
    refused(libvirt.VIR_ERR_OPERATION_FAILED, connection.getFreePages, [5], 0, 1)
    assert connection.getSysinfo().startswith("<sysinfo type='smbios'>")
    assert connection.getSecurityModel() == ["none", "0"]
    assert isinstance(connection.getMemoryParameters(), dict)
    refused(libvirt.VIR_ERR_INVALID_ARG, connection.setMemoryParameters, {"shm_pages_shared": 1})
    refused(libvirt.VIR_ERR_OPERATION_FAILED, connection.allocPages, {5: 1}, 0, 1)


def test_events_are_registered_and_deregistered(connection):
    handles = [connection.domainEventRegisterAny(None, number, lambda *_: None, None) for number in range(27)]
    for handle in handles:
        connection.domainEventDeregisterAny(handle)
    for register, deregister, lifecycle in (
            (connection.networkEventRegisterAny, connection.networkEventDeregisterAny, 0),
            (connection.storagePoolEventRegisterAny, connection.storagePoolEventDeregisterAny, 0),
            (connection.nodeDeviceEventRegisterAny, connection.nodeDeviceEventDeregisterAny, 0),
            (connection.secretEventRegisterAny, connection.secretEventDeregisterAny, 0)):
        deregister(register(None, lifecycle, lambda *_: None, None))


def test_the_old_ways_of_registering_work_too(daemon):
    with daemon.connect() as sock:
        assert wire.call(sock, 105) == (wire.OK, b"\0\0\0\1")
        assert wire.call(sock, 105)[0] == wire.ERROR
        assert wire.call(sock, 106) == (wire.OK, b"\0\0\0\0")
        assert wire.call(sock, 106)[0] == wire.ERROR
        assert wire.call(sock, 167, b"\0\0\0\1") == (wire.OK, b"")
        assert wire.call(sock, 168, b"\0\0\0\1") == (wire.OK, b"")
        assert wire.call(sock, 168, b"\0\0\0\1")[0] == wire.ERROR
        assert wire.call(sock, 167, b"\0\0\0\x7f")[0] == wire.ERROR
        assert wire.call(sock, 317, b"\0\0\0\x63")[0] == wire.ERROR


def test_clients_are_told_when_the_daemon_ends(own_daemon):
    with own_daemon.connect() as sock:
        assert wire.call(sock, 360) == (wire.OK, b"")
        assert wire.call(sock, 360)[0] == wire.ERROR
        assert own_daemon.stop() == 0
        procedure, kind, _, _, payload = wire.receive(sock)
        assert (procedure, kind, payload) == (362, wire.MESSAGE, struct.pack(">i", libvirt.VIR_CONNECT_CLOSE_REASON_EOF))
        with pytest.raises(EOFError):
            wire.receive(sock)


def test_keepalive_questions_are_answered_and_silent_clients_dropped():
    daemon = Daemon(keepalive_interval=1, keepalive_count=1)
    try:
        with daemon.connect() as sock, daemon.connect() as quiet:
            sock.sendall(wire.packet(1, program=wire.KEEPALIVE, kind=wire.MESSAGE))
            assert wire.receive(sock)[:2] == (2, wire.MESSAGE)
            assert wire.call(sock, 60, b"\0\0\0\x0a") == (wire.OK, b"\0\0\0\1")
            assert wire.receive(sock)[:2] == (1, wire.MESSAGE)  # it asks
            with pytest.raises(EOFError):
                wire.receive(sock)  # nobody answered
            assert wire.is_alive(quiet)  # it never said that it could answer
    finally:
        daemon.remove()
