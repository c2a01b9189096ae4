# SPDX-License-Identifier: GPL-2.0-or-later
"""A read-only connection can change nothing: proved over every procedure of the table."""
import struct

import libvirt
import pytest

import wire

DOMAIN = wire.text("x") + b"\0" * 16 + struct.pack(">i", -1)
REMOTE = wire.procedures()

# What reads only, by its name: everything else has to be marked as needing a read-write connection.
READING = ("GET", "LIST", "NUM", "LOOKUP", "IS", "HAS", "SUPPORTS", "STATS", "INFO", "COMPARE", "BASELINE",
           "REGISTER", "DEREGISTER", "UNREGISTER", "AUTH", "CURRENT", "ADDRESSES")


def test_every_procedure_that_changes_something_is_denied(daemon):
    with daemon.connect("libvirt-sock-ro") as sock:
        denied = 0
        for name, (number, flags) in REMOTE.items():
            if "RPC_WRITE" not in flags:
                continue
            for payload in (b"", DOMAIN + b"\0" * 64):
                status, answer = wire.call(sock, number, payload)
                assert (status, wire.error_of(answer)[0]) == (wire.ERROR, libvirt.VIR_ERR_OPERATION_DENIED), name
            denied += 1
        assert denied > 150


def test_every_procedure_of_the_qemu_program_is_denied(daemon):
    with daemon.connect("libvirt-sock-ro") as sock:
        for name, (number, flags) in wire.procedures("qemu").items():
            if "EVENT" in flags:
                continue
            status, answer = wire.call(sock, number, DOMAIN, program=wire.QEMU)
            assert (status, wire.error_of(answer)[0]) == (wire.ERROR, libvirt.VIR_ERR_OPERATION_DENIED), name


@pytest.mark.parametrize("name", sorted(name for name, (_, flags) in REMOTE.items()
                                        if "RPC_READ" in flags))
def test_what_is_allowed_only_reads(name):
    words = set(name.split("_"))
    assert words & set(READING) or name in ("CONNECT_OPEN", "CONNECT_CLOSE", "DOMAIN_MEMORY_STATS")


@pytest.mark.parametrize("name, behind, flag", [
    ("DOMAIN_GET_XML_DESC", b"", libvirt.VIR_DOMAIN_XML_SECURE),
    ("DOMAIN_GET_XML_DESC", b"", libvirt.VIR_DOMAIN_XML_MIGRATABLE),
    ("DOMAIN_MANAGED_SAVE_GET_XML_DESC", b"", libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE),
    ("DOMAIN_GET_VCPUS_FLAGS", b"", libvirt.VIR_DOMAIN_VCPU_GUEST),
    ("DOMAIN_INTERFACE_ADDRESSES", struct.pack(">I", libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT), 0),
])
def test_flags_that_tell_secrets_or_ask_the_guest_are_denied(daemon, name, behind, flag):
    with daemon.connect("libvirt-sock-ro") as sock:
        status, answer = wire.call(sock, REMOTE[name][0], DOMAIN + behind + struct.pack(">I", flag))
        assert (status, wire.error_of(answer)[0]) == (wire.ERROR, libvirt.VIR_ERR_OPERATION_DENIED)


def test_the_read_only_socket_serves_reading(daemon):
    connection = libvirt.openReadOnly(daemon.uri("libvirt-sock-ro"))
    assert connection.getType() == "QEMU"
    connection.close()


def test_the_admin_program_is_not_on_the_other_sockets(daemon):
    for name in ("libvirt-sock", "libvirt-sock-ro"):
        with daemon.connect(name) as sock:
            for number, _ in wire.procedures("admin").values():
                assert wire.call(sock, number, b"\0" * 64, program=wire.ADMIN)[0] == wire.ERROR
