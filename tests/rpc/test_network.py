# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP, TLS with client certificates and a list of names, SASL that encrypts."""
import os
import socket
import struct
import subprocess
import time

import libvirt
import pytest

import wire
from daemon import Daemon, run


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


def certificate(folder, name, template, authority=None):
    """Makes NAMEkey.pem and NAMEcert.pem."""
    key, cert, info = (os.path.join(folder, name + end) for end in ("key.pem", "cert.pem", ".info"))
    with open(info, "w", encoding="utf-8") as out:
        out.write(template)
    run(["certtool", "--generate-privkey", "--key-type", "rsa", "--bits", "2048", "--outfile", key])
    command = ["certtool", "--template", info, "--load-privkey", key, "--outfile", cert]
    if authority:
        run([*command, "--generate-certificate", "--load-ca-certificate", f"{folder}/{authority}cert.pem",
             "--load-ca-privkey", f"{folder}/{authority}key.pem"])
    else:
        run([*command, "--generate-self-signed"])


@pytest.fixture(name="keys", scope="module")
def keys_of_a_small_world(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("keys"))
    client = "cn = {}\ntls_www_client\nsigning_key\nencryption_key\nexpiration_days = 9\n"
    certificate(folder, "ca", "cn = Authority\nca\ncert_signing_key\nexpiration_days = 9\n")
    certificate(folder, "other", "cn = Other\nca\ncert_signing_key\nexpiration_days = 9\n")
    certificate(folder, "server", "cn = localhost\ndns_name = localhost\ntls_www_server\nsigning_key\nencryption_key\n"
                "expiration_days = 9\n", "ca")
    certificate(folder, "alice", client.format("alice"), "ca")
    certificate(folder, "mallory", client.format("mallory"), "ca")
    certificate(folder, "stranger", client.format("alice"), "other")
    for name in ("alice", "mallory", "stranger", "nobody"):
        home = os.path.join(folder, "pki-" + name)
        os.mkdir(home)
        os.symlink(f"{folder}/cacert.pem", f"{home}/cacert.pem")
        if name != "nobody":
            os.symlink(f"{folder}/{name}cert.pem", f"{home}/clientcert.pem")
            os.symlink(f"{folder}/{name}key.pem", f"{home}/clientkey.pem")
    return folder


@pytest.fixture(name="tls", scope="module")
def daemon_with_tls(keys):
    port = free_port()
    daemon = Daemon("--listen", listen_addr="localhost", tls_port=port, ca_file=f"{keys}/cacert.pem",
                    cert_file=f"{keys}/servercert.pem", key_file=f"{keys}/serverkey.pem",
                    tls_allowed_dn_list=["CN=alice*", "*O=Friends*"])
    daemon.port = port
    yield daemon
    assert daemon.remove() == 0


def tls_uri(daemon, keys, name):
    return f"qemu+tls://localhost:{daemon.port}/system?pkipath={keys}/pki-{name}"


def test_a_client_with_a_certificate_on_the_list_is_let_in(tls, keys):
    connection = libvirt.open(tls_uri(tls, keys, "alice"))
    assert connection.getType() == "QEMU" and connection.isEncrypted() == 1 and connection.isSecure() == 1
    assert len(connection.getSysinfo()) > 10
    client = tls.virt_admin("srv-clients-list", "libvirtd").splitlines()[-1].split()
    assert client[1] == "tls"
    facts = tls.virt_admin("client-info", "libvirtd", client[0])
    assert "CN=alice" in facts and "127.0.0.1:" in facts or "::1:" in facts
    connection.close()


@pytest.mark.parametrize("name", ["mallory", "stranger", "nobody"])
def test_others_are_not(tls, keys, name):
    with pytest.raises(libvirt.libvirtError):
        libvirt.open(tls_uri(tls, keys, name))


def test_a_client_that_does_not_speak_tls_keeps_nobody_waiting(tls, keys):
    socks = [socket.create_connection(("localhost", tls.port)) for _ in range(50)]
    for sock in socks[::2]:
        sock.sendall(wire.packet(157))
    connection = libvirt.open(tls_uri(tls, keys, "alice"))
    assert connection.getLibVersion()
    connection.close()
    for sock in socks:
        sock.close()


def test_handshakes_that_do_not_go_on_lock_nobody_out_for_long(tls, keys):
    silent = []
    try:
        for n in range(21):
            sock = socket.create_connection(("localhost", int(tls.port)), timeout=20)
            sock.sendall(b"\x16\x03\x01\x02\x00"[:n % 6])
            silent.append(sock)
        begin = time.monotonic()
        with tls.connect() as local:
            assert wire.is_alive(local)
        assert time.monotonic() - begin < 1
        # Twenty at a time may be undecided; those that are in nobody's way may take a minute.
        connection = libvirt.open(tls_uri(tls, keys, "alice"))
        assert time.monotonic() - begin < 20
        connection.close()
    finally:
        for sock in silent:
            sock.close()


def test_files_of_tls_can_be_read_anew(tls, keys):
    tls.virt_admin("server-update-tls", "libvirtd")
    connection = libvirt.open(tls_uri(tls, keys, "alice"))
    assert connection.getLibVersion()
    connection.close()


@pytest.fixture(name="sasl", scope="module")
def daemon_with_sasl(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("sasl"))
    with open(f"{folder}/libvirt.conf", "w", encoding="utf-8") as out:
        out.write(f"mech_list: digest-md5\nsasldb_path: {folder}/users\npwcheck_method: auxprop\n"
                  "auxprop_plugin: sasldb\n")
    for user in ("alice", "mallory"):
        subprocess.run(["saslpasswd2", "-p", "-c", "-f", f"{folder}/users", "-u", os.uname().nodename, user],
                       input=b"secret", check=True, timeout=20)
    port = free_port()
    daemon = Daemon("--listen", listen_addr="localhost", listen_tls=0, listen_tcp=1, tcp_port=port,
                    sasl_allowed_username_list=["alice*"], environment={"SASL_CONF_PATH": folder})
    daemon.port = port
    yield daemon
    assert daemon.remove() == 0


def open_with(daemon, user, password):
    def answer(credentials, _):
        for credential in credentials:
            credential[4] = {libvirt.VIR_CRED_AUTHNAME: user, libvirt.VIR_CRED_PASSPHRASE: password,
                             libvirt.VIR_CRED_REALM: os.uname().nodename}.get(credential[0], user)
        return 0
    kinds = [libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_PASSPHRASE, libvirt.VIR_CRED_REALM]
    return libvirt.openAuth(f"qemu+tcp://localhost:{daemon.port}/system", [kinds, answer, None], 0)


def test_a_user_with_the_password_is_let_in_and_all_is_encrypted(sasl):
    connection = open_with(sasl, "alice", "secret")
    assert connection.isEncrypted() == 1
    for _ in range(50):
        assert len(connection.getSysinfo()) > 10
        assert connection.getMemoryStats(-1)
    client = sasl.virt_admin("srv-clients-list", "libvirtd").splitlines()[-1].split()
    assert "alice" in sasl.virt_admin("client-info", "libvirtd", client[0])
    connection.close()


@pytest.mark.parametrize("user, password", [("alice", "wrong"), ("mallory", "secret"), ("nobody", "secret")])
def test_wrong_passwords_and_users_not_on_the_list_are_refused(sasl, user, password):
    with pytest.raises(libvirt.libvirtError) as caught:
        open_with(sasl, user, password)
    assert caught.value.get_error_code() == libvirt.VIR_ERR_AUTH_FAILED


def test_nothing_is_served_before_the_client_has_proved_who_it_is(sasl):
    with socket.create_connection(("localhost", sasl.port)) as sock:
        sock.settimeout(20)
        assert wire.call(sock, 66) == (wire.OK, struct.pack(">II", 1, 1))
        for name, (number, flags) in wire.procedures().items():
            if "EVENT" in flags or name.startswith("AUTH_"):
                continue
            status, answer = wire.call(sock, number)
            assert status == wire.ERROR and wire.error_of(answer)[1].endswith("authentication required"), name
        assert wire.call(sock, 68, wire.text("x") + b"\0" * 8)[0] == wire.ERROR  # before init
        assert wire.call(sock, 67)[0] == wire.OK
        assert wire.call(sock, 67)[0] == wire.ERROR
        assert wire.call(sock, 69, b"\0" * 8)[0] == wire.ERROR  # before start
        assert wire.call(sock, 70)[0] == wire.ERROR  # polkit is not what was asked for


def test_clients_that_do_not_go_on_with_sasl_lock_nobody_out_for_long(sasl):
    slow = []
    try:
        for n in range(21):  # nothing, half a packet, everything but the last step
            sock = socket.create_connection(("localhost", int(sasl.port)), timeout=20)
            sock.sendall([b"", wire.packet(66)[:13], wire.packet(66) + wire.packet(67)][n % 3])
            slow.append(sock)
        begin = time.monotonic()
        with sasl.connect() as local:
            assert wire.is_alive(local)
        assert time.monotonic() - begin < 1
        connection = open_with(sasl, "alice", "secret")
        assert time.monotonic() - begin < 20
        connection.close()
    finally:
        for sock in slow:
            sock.close()
