# SPDX-License-Identifier: GPL-2.0-or-later
"""libkvasir as its users have it, against kvasird and the distribution's libvirtd; ways to a server."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [f"{TOP}/tests", f"{TOP}/tests/rpc", f"{TOP}/bench"]

import rows_api  # noqa: E402
import test_network  # noqa: E402
from daemon import Daemon as NetworkDaemon  # noqa: E402
from kv_daemon import BUILD, Daemon, domain_xml, wait_for  # noqa: E402

# Fixtures of the server's tests: certificates, a daemon with TLS, one with SASL.
keys = test_network.keys_of_a_small_world
tls = test_network.daemon_with_tls
sasl = test_network.daemon_with_sasl

EXAMPLES = f"{BUILD}/examples/example-"
PATIENCE = 60


def run(command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, **more)


def check_server(folder, xml, **variables):
    """Everything that check_server.c does; its tests are named in what it prints."""
    path = f"{folder}/domain.xml"
    with open(path, "w", encoding="utf-8") as out:
        out.write(xml)
    done = run([f"{BUILD}/tests/client/check_server"], env={**os.environ, "CLIENT_XML": path, **variables})
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search(r"SKIPPED|FAILED", done.stdout + done.stderr)


@pytest.fixture(name="daemon", scope="module")
def kvasird():
    own = Daemon().start()
    yield own
    own.end()


def test_all_of_it_with_kvasird(daemon, tmp_path):
    connection = daemon.connect()
    connection.defineXML(domain_xml("life"))
    check_server(tmp_path, domain_xml("%s"), CLIENT_URI=daemon.uri(), CLIENT_LIFE="life", CLIENT_LIFE_URI=daemon.uri(),
                 CLIENT_RO_URI=f"qemu+unix:///system?socket={daemon.socket(True)}")
    connection.lookupByName("life").undefine()


@pytest.mark.skipif(not os.path.exists(rows_api.LIBVIRTD), reason="libvirt-daemon is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="libvirtd's private folders need root")
def test_all_of_it_with_the_distributions_libvirtd():
    folder = tempfile.mkdtemp(prefix="kvl-", dir="/tmp")
    server = rows_api.start_libvirtd(folder)
    try:
        # The driver "test" of libvirtd has machines without a hypervisor, one runs already.
        import libvirt  # pylint: disable=import-outside-toplevel
        life = server.uri.replace("qemu+unix:///system", "test+unix:///default")
        machine = libvirt.open(life)
        machine.lookupByName("test").destroy()
        check_server(folder, domain_xml("%s").replace("'kvm'", "'qemu'"), CLIENT_URI=server.uri, CLIENT_LIFE="test",
                     CLIENT_LIFE_URI=life, CLIENT_RO_URI=server.uri.replace("libvirt-sock", "libvirt-sock-ro"))
        listed = run([f"{EXAMPLES}list", life])
        machine.close()
        assert listed.returncode == 0 and " test: shut off, 2 vCPUs, 8388608 KiB\n" in listed.stdout
    finally:
        server.end()
        shutil.rmtree(folder)


# ------------------------------------------------------------------------- examples

def test_the_example_lists_machines(daemon):
    connection = daemon.connect()
    domain = connection.defineXML(domain_xml("listed", vcpus=2))
    done = run([f"{EXAMPLES}list", daemon.uri()])
    assert done.stdout == f"{domain.UUIDString()} listed: shut off, 2 vCPUs, 65536 KiB\n" and not done.stderr
    domain.undefine()


def test_the_example_of_events_prints_them_and_notices_the_servers_end():
    own = Daemon().start()
    try:
        with subprocess.Popen([f"{EXAMPLES}events", own.uri()], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as events:
            assert events.stdout.readline() == "ready\n"
            own.connect().defineXML(domain_xml("new"))
            assert events.stdout.readline() == "lifecycle of new: event=0 detail=0\n"
            own.kill()
            assert events.stdout.readline() == "connection closed: end of file\n"
            assert events.wait(PATIENCE) == 0
    finally:
        own.end()


def test_the_example_of_consoles_carries_bytes_both_ways(daemon):
    connection = daemon.connect()
    domain = connection.createXML(domain_xml("talker", "obey"))
    with subprocess.Popen([f"{EXAMPLES}console", daemon.uri(), "talker"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, bufsize=0) as console:
        got = b""
        while b"ready" not in got:
            got += console.stdout.read(100)
        console.stdin.write(b"esaid and heard\n")
        got = b""
        while b"said and heard" not in got:
            got += console.stdout.read(100)
        console.stdin.close()
        assert console.wait(PATIENCE) == 0
    # The stream was finished, so the console is free for the next one.
    done = run([f"{EXAMPLES}console", daemon.uri(), "talker"], stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    domain.destroy()


# ------------------------------------------------------------------- ways to a server

def listing(uri, **environment):
    return run([f"{EXAMPLES}list", uri], env={**os.environ, **environment})


def test_nobody_at_the_socket_is_said_so(tmp_path):
    done = listing(f"qemu+unix:///system?socket={tmp_path}/none")
    assert done.returncode == 1
    assert done.stderr == f"error: Failed to connect socket to '{tmp_path}/none': No such file or directory\n"


def test_tls_lets_in_who_has_a_certificate(tls, keys):
    assert listing(test_network.tls_uri(tls, keys, "alice")).returncode == 0
    # Another name of the same host is not what the certificate says.
    uri = test_network.tls_uri(tls, keys, "alice").replace("localhost", "127.0.0.1")
    assert "it is another host's" in listing(uri).stderr
    assert listing(uri + "&no_verify=1").returncode == 0


@pytest.mark.parametrize("name", ["mallory", "stranger", "nobody"])
def test_tls_keeps_others_out(tls, keys, name):
    done = listing(test_network.tls_uri(tls, keys, name))
    assert done.returncode == 1 and done.stderr.startswith("error: ")


def test_tls_needs_an_authority(tls, tmp_path):
    done = listing(f"qemu+tls://localhost:{tls.port}/system?pkipath={tmp_path}")
    assert f"certificates of the authority '{tmp_path}/cacert.pem'" in done.stderr


def with_password(sasl_daemon, user, password):
    uri = f"qemu+tcp://localhost:{sasl_daemon.port}/system"
    return run([f"{BUILD}/tests/client/open_with_password", uri, user, password, os.uname().nodename])


def test_sasl_lets_in_who_knows_the_password_and_encrypts(sasl):
    done = with_password(sasl, "alice", "secret")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "QEMU, encrypted\n"


@pytest.mark.parametrize("user, password", [("alice", "wrong"), ("mallory", "secret"), ("nobody", "secret")])
def test_sasl_keeps_others_out(sasl, user, password):
    done = with_password(sasl, user, password)
    assert done.returncode == 1 and done.stderr.startswith("error 45: ")


def test_sasl_without_anybody_to_ask_says_so(sasl):
    done = listing(f"qemu+tcp://localhost:{sasl.port}/system")
    assert done.returncode == 1 and "nobody is there to ask" in done.stderr


@pytest.fixture(name="other_host")
def programs_of_another_host(tmp_path):
    """ssh that stays on this host and notes its arguments; netcat by socat."""
    folder = str(tmp_path)
    programs = {
        "ssh": f'#!/bin/sh\nprintf "%s\\n" "$@" >{folder}/arguments\nwhile [ "$1" != -- ]; do shift; done\nshift 2\n'
               'exec sh -c "$*"\n',
        "nc": '#!/bin/sh\n[ "$1" = -U ] || exit 1\nexec socat - "UNIX-CONNECT:$2"\n',
    }
    for name, text in programs.items():
        with open(f"{folder}/{name}", "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(f"{folder}/{name}", 0o755)
    return folder


def test_ssh_carries_the_connection(daemon, other_host):
    done = listing(f"qemu+ssh://me@far.example:2222/system?socket={daemon.socket()}&command={other_host}/ssh"
                   f"&netcat={other_host}/nc&keyfile=/k&no_tty=1&known_hosts_verify=auto")
    assert done.returncode == 0, done.stderr
    with open(f"{other_host}/arguments", encoding="utf-8") as lines:
        words = lines.read().splitlines()
    assert words[:words.index("--") + 2] == [
        "-p", "2222", "-l", "me", "-i", "/k", "-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes", "-T",
        "-e", "none", "--", "far.example"]


def test_ssh_prefers_the_helper_of_libvirt(daemon, other_host):
    with open(f"{other_host}/virt-ssh-helper", "w", encoding="utf-8") as out:
        out.write(f'#!/bin/sh\necho "$@" >{other_host}/helped\nexec socat - UNIX-CONNECT:{daemon.socket(True)}\n')
    os.chmod(f"{other_host}/virt-ssh-helper", 0o755)
    done = listing(f"qemu+ssh://far.example/system?command={other_host}/ssh",
                   PATH=f"{other_host}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    with open(f"{other_host}/helped", encoding="utf-8") as text:
        assert text.read() == "-r qemu:///system\n"


def test_what_ssh_could_take_for_an_option_is_refused(other_host):
    done = listing(f"qemu+ssh://-oProxyCommand=x/system?command={other_host}/ssh")
    assert done.returncode == 1 and "would be an option of ssh" in done.stderr
    assert not os.path.exists(f"{other_host}/arguments")


def test_quotes_in_a_path_are_no_shell_words(other_host, tmp_path):
    done = listing(f"qemu+ssh://h/system?socket=/x';touch%20{tmp_path}/made;'&command={other_host}/ssh"
                   f"&netcat={other_host}/nc")
    assert done.returncode == 1 and not os.path.exists(f"{tmp_path}/made")


def test_another_program_carries_the_connection(daemon, tmp_path):
    with open(f"{tmp_path}/way", "w", encoding="utf-8") as out:
        out.write(f"#!/bin/sh\nexec socat - UNIX-CONNECT:{daemon.socket()}\n")
    os.chmod(f"{tmp_path}/way", 0o755)
    assert listing(f"qemu+ext:///system?command={tmp_path}/way").returncode == 0
    done = listing("qemu+ext:///system?command=/bin/false")
    assert done.returncode == 1 and "The program in between ended" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, so it needs root")
def test_a_sessions_daemon_is_started_when_nobody_answers():
    folder = tempfile.mkdtemp(prefix="kvs-", dir="/tmp")
    try:
        for path in ("kvasird", "kvasir-vmm", "src/rpc/client/libkvasir.so.0", "examples/example-list"):
            shutil.copy(os.path.join(BUILD, path), folder)
        os.mkdir(f"{folder}/run")
        for path in (folder, f"{folder}/run"):
            shutil.chown(path, "nobody")
            os.chmod(path, 0o700)
        as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "env", f"HOME={folder}",
                     f"XDG_RUNTIME_DIR={folder}/run", f"LD_LIBRARY_PATH={folder}"]
        done = run([*as_nobody, f"{folder}/example-list", "kvasir:///session"])
        assert done.returncode == 0 and not done.stderr
        admin = f"libvirtd:///session?socket={folder}/run/kvasir/libvirt-admin-sock"
        done = run([*as_nobody, "virt-admin", "-c", admin, "daemon-timeout", "--timeout", "1"])
        assert done.returncode == 0, done.stderr
        wait_for(lambda: run([*as_nobody, "virt-admin", "-c", admin, "uri"]).returncode != 0, "the daemon's end")
    finally:
        shutil.rmtree(folder)


def test_a_server_that_wants_a_proof_by_polkit_tells_that_there_is_none():
    own = NetworkDaemon(auth_unix_rw="polkit")
    try:
        # root is let in; the question in front of the proof is asked again behind it
        assert listing(own.uri()).returncode == 0
    finally:
        assert own.remove() == 0


# ------------------------------------------------------------------------- the library

def test_the_library_gives_away_its_public_names_only():
    library = f"{BUILD}/src/rpc/client/libkvasir.so"
    names = run(["nm", "-D", "--defined-only", library]).stdout
    given = set(re.findall(r" [TDBR] (\w+)@@LIBKVASIR_0\.1", names))
    with open(f"{TOP}/include/kvasir/kvasir.h", encoding="utf-8") as header:
        text = re.sub(r"/\*.*?\*/", "", header.read(), flags=re.S)
    text = re.sub(r"^ *#.*$", "", text, flags=re.M).replace("{", ";").replace("}", ";")
    statements = [statement.strip() for statement in text.split(";")]
    declared = {re.search(r"(kvasir_\w+)\(", statement).group(1) for statement in statements
                if "(" in statement and not statement.startswith("typedef")}
    assert given == declared and len(given) > 90
    assert not re.search(r" [TDBR] (?!kvasir_)\w+", names), names


def test_the_library_needs_nothing_but_the_c_library():
    dynamic = run(["readelf", "-d", f"{BUILD}/src/rpc/client/libkvasir.so"]).stdout
    assert "[libkvasir.so.0]" in dynamic
    needed = set(re.findall(r"NEEDED.*\[(.*?)\.so", dynamic))
    assert needed <= {"libc", "libdl", "libpthread"}, needed


def test_a_program_is_built_with_pkg_config(tmp_path):
    done = run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", str(tmp_path)])
    assert done.returncode == 0, done.stdout + done.stderr
    found = [root for root, _, names in os.walk(tmp_path) if "kvasir.pc" in names]
    environment = {**os.environ, "PKG_CONFIG_LIBDIR": found[0], "PKG_CONFIG_SYSROOT_DIR": str(tmp_path)}
    flags = run(["pkg-config", "--cflags", "--libs", "kvasir"], env=environment).stdout.split()
    assert "-lkvasir" in flags and not [flag for flag in flags if "jansson" in flag or "tirpc" in flag]
    done = run(["cc", "-Wall", "-Werror", f"{TOP}/examples/list.c", "-o", f"{tmp_path}/list", *flags])
    assert done.returncode == 0, done.stderr
