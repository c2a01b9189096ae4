# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line, the configuration file, activation and readiness."""
import os
import socket
import stat
import subprocess

import pytest

import wire
from daemon import PROGRAM, Daemon, run


def test_help_and_version_say_what_they_should():
    assert run([PROGRAM, "--version"]).startswith("kvasird ")
    text = run([PROGRAM, "--help"])
    assert all(f"--{name}" in text for name in ("config", "socket-dir", "state-dir", "log", "session", "version"))


@pytest.mark.parametrize("words, found", [
    (["--nonsense"], "'--nonsense' is no option"),
    (["x"], "'x' is no option"),
    (["--config"], "--config needs a FILE"),
    (["--session=1"], "--session takes no argument"),
    (["--timeout", "x"], "--timeout 'x'"),
    (["--config", "/nonexistent"], "/nonexistent"),
])
def test_wrong_options_are_named(words, found):
    done = run([PROGRAM, *words], check=False)
    assert done.returncode == 2 and found in done.stderr


UNFINISHED = '[ "a"'  # is noticed where the file ends


@pytest.mark.parametrize("line, found", [
    ("nonsense = 1", "there is no setting 'nonsense'"),
    ("max_clients = \"x\"", "max_clients has to be a number"),
    ("max_clients = 99999999", "max_clients has to be a number"),
    ("max_clients", "'=' is expected"),
    ("tls_port = \"1", "no closing quote"),
    ("tls_port = 1", "a text in quotes"),
    ("tls_allowed_dn_list = [ \"a\" \"b\" ]", "',' or ']' is expected"),
    ("tls_allowed_dn_list = [ \"a\"", "',' or ']' is expected"),
    ("max_clients = 1 max_workers = 2", "one setting a line"),
    ("\x01", "there is no setting"),
])
def test_a_wrong_line_of_the_file_is_named(tmp_path, line, found):
    config = tmp_path / "conf"
    config.write_text("# a comment\nmax_clients = 5 # another\n" + line + "\n")
    done = run([PROGRAM, "--config", str(config)], check=False)
    assert done.returncode == 2 and f"{config}:{3 + line.endswith(UNFINISHED)}: " in done.stderr and found in done.stderr


@pytest.mark.parametrize("settings, found", [
    ({"auth_unix_rw": "magic"}, "auth_unix_rw"),
    ({"unix_sock_rw_perms": "0999"}, "unix_sock_rw_perms"),
    ({"unix_sock_group": "no-such-group"}, "no such group"),
    ({"min_workers": 9, "max_workers": 3}, "workers"),
])
def test_settings_that_cannot_be_end_the_start(settings, found):
    with pytest.raises(RuntimeError, match=found):
        Daemon(**settings)


def test_modes_of_the_sockets_are_those_of_the_settings():
    daemon = Daemon(unix_sock_rw_perms="0740", unix_sock_ro_perms="0755", unix_sock_admin_perms="0600")
    try:
        modes = {name: stat.S_IMODE(os.stat(daemon.path(name)).st_mode) for name in os.listdir(daemon.sockets)
                 if name.endswith(("sock", "sock-ro"))}
        assert modes == {"libvirt-sock": 0o740, "libvirt-sock-ro": 0o755, "libvirt-admin-sock": 0o600}
        assert stat.S_IMODE(os.stat(daemon.state).st_mode) == 0o700
    finally:
        daemon.remove()


def test_two_daemons_on_one_state_are_refused(own_daemon):
    done = run([PROGRAM, "--socket-dir", own_daemon.folder + "/other", "--state-dir", own_daemon.state],
               check=False)
    assert done.returncode == 1 and own_daemon.state in done.stderr


def test_sockets_are_removed_at_the_end_and_stale_ones_replaced(own_daemon):
    own_daemon.process.kill()
    own_daemon.process.wait()
    assert os.path.exists(own_daemon.path())
    with open(own_daemon.log, "wb"):
        pass
    own_daemon.start()
    with own_daemon.connect() as sock:
        assert wire.is_alive(sock)
    assert own_daemon.stop() == 0
    assert not os.path.exists(own_daemon.path())


def test_inherited_sockets_are_served_and_readiness_is_told(tmp_path):
    listeners = {}
    for name in ("libvirt-sock", "libvirt-sock-ro"):
        listeners[name] = socket.socket(socket.AF_UNIX)
        listeners[name].bind(str(tmp_path / name))
        listeners[name].listen()
    notice = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notice.bind(str(tmp_path / "notify"))
    notice.settimeout(20)
    command = (f"exec 3<&{listeners['libvirt-sock'].fileno()} 4<&{listeners['libvirt-sock-ro'].fileno()}; "
               f"LISTEN_PID=$$ LISTEN_FDS=2 exec {PROGRAM} --socket-dir {tmp_path}/run --state-dir {tmp_path}/state")
    with subprocess.Popen(["bash", "-c", command], pass_fds=[one.fileno() for one in listeners.values()],
                          env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}) as process:
        try:
            assert notice.recv(100) == b"READY=1"
            for name, denied in (("libvirt-sock", False), ("libvirt-sock-ro", True)):
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.settimeout(20)
                    sock.connect(str(tmp_path / name))
                    assert wire.is_alive(sock)
                    _, answer = wire.call(sock, 430)
                    assert (wire.error_of(answer)[0] == 29) == denied
        finally:
            process.terminate()
        assert process.wait(20) == 0
    assert notice.recv(100) == b"STOPPING=1"
    for one in (notice, *listeners.values()):
        one.close()
