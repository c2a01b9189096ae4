# SPDX-License-Identifier: GPL-2.0-or-later
"""auth_unix_rw = "polkit": a real polkitd on a bus of the test's own, with the project's actions and rules."""
import os
import pty
import pwd
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import time

import pytest

import wire
from daemon import TOP, Daemon, run

FILES = os.path.join(TOP, "src/daemon/server/polkit")
POLKITD = next((path for path in ("/usr/lib/polkit-1/polkitd", "/usr/libexec/polkitd") if os.path.exists(path)), None)
ALLOWED, REFUSED, STRANGER = (pwd.getpwnam(name) for name in ("daemon", "bin", "nobody"))

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not POLKITD, reason="needs root and polkitd (make setup)")

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={folder}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""

# Only what the test decides; a refusal needs no rule, but without one polkit wants a password.
RULES = """polkit.addRule(function (action, subject) {{
    if (action.id == "org.libvirt.unix.manage" && subject.user == "{allowed}")
        return polkit.Result.YES;
    if (action.id.indexOf("org.libvirt.unix.") == 0 && subject.user == "{refused}")
        return polkit.Result.NO;
}});
"""


class Polkit:
    """A bus and polkitd, in a mount namespace where polkit's folders are the test's."""

    def __init__(self):
        self.folder = folder = tempfile.mkdtemp(prefix="kvpolkit-")
        os.chmod(folder, 0o755)  # polkitd is a user of its own
        for name in ("actions", "rules"):
            os.mkdir(f"{folder}/{name}")
        shutil.copy(f"{FILES}/org.kvasir.policy", f"{folder}/actions")
        shutil.copy(f"{FILES}/60-kvasir.rules", f"{folder}/rules")
        with open(f"{folder}/rules/50-test.rules", "w", encoding="ascii") as out:
            out.write(RULES.format(allowed=ALLOWED.pw_name, refused=REFUSED.pw_name))
        with open(f"{folder}/bus.conf", "w", encoding="ascii") as out:
            out.write(BUS.format(folder=folder))
        self.environment = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder}/bus"}
        self.processes = []
        try:
            self._start()
        except BaseException:
            self.end()
            raise

    def _start(self):
        folder = self.folder
        self._run("bus", ["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork", "--nopidfile"])
        Daemon.wait_until(lambda: os.path.exists(f"{folder}/bus"))
        where = (f"mount -t tmpfs none /etc/polkit-1 && mkdir /etc/polkit-1/rules.d && "
                 f"mount --bind {folder}/actions /usr/share/polkit-1/actions && "
                 f"mount --bind {folder}/rules /usr/share/polkit-1/rules.d && exec {POLKITD}")
        self._run("polkitd", ["unshare", "-m", "sh", "-c", where])
        Daemon.wait_until(self._answers)

    def _run(self, name, command):
        with open(f"{self.folder}/{name}.log", "wb") as log:
            self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                   env={**os.environ, **self.environment}))

    def _answers(self):
        """Whether it knows the project's actions."""
        done = subprocess.run(["pkaction"], env={**os.environ, **self.environment}, capture_output=True, check=False,
                              timeout=20)
        return b"org.libvirt.unix.manage" in done.stdout

    def end(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module", name="polkit")
def a_polkit():
    own = Polkit()
    yield own
    own.end()


@pytest.fixture(scope="module", name="own")
def a_daemon(polkit):
    own = Daemon(environment=polkit.environment, auth_unix_rw="polkit", auth_unix_ro="polkit", unix_sock_rw_perms="0777")
    os.chmod(own.folder, 0o755)
    yield own
    assert own.remove() == 0


def virsh(own, user, *words, groups=(), socket_name="libvirt-sock"):
    """As that user, without a terminal and so without an agent that could ask for a password."""
    return run(["virsh", "-c", own.uri(socket_name), *words], check=False, user=user.pw_uid, group=user.pw_gid,
               extra_groups=list(groups), env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": "/nonexistent"})


def test_a_user_whom_a_rule_allows_manages_machines(own):
    done = virsh(own, ALLOWED, "list", "--all")
    assert done.returncode == 0, done.stderr
    assert virsh(own, ALLOWED, "secret-list").returncode == 0


def test_a_user_whom_a_rule_refuses_is_told_so_and_gets_nothing(own):
    done = virsh(own, REFUSED, "list", "--all")
    assert done.returncode == 1
    assert "access denied by policy" in done.stderr
    done = virsh(own, REFUSED, "list", socket_name="libvirt-sock-ro")
    assert done.returncode == 1
    assert "access denied by policy" in done.stderr


def test_who_would_have_to_type_a_password_looks_only(own):
    done = virsh(own, STRANGER, "list")
    assert done.returncode == 1
    assert "no polkit agent available to authenticate action 'org.libvirt.unix.manage'" in done.stderr
    done = virsh(own, STRANGER, "-r", "list", socket_name="libvirt-sock-ro")
    assert done.returncode == 0, done.stderr


def test_root_needs_no_polkit(own):
    assert virsh(own, pwd.getpwuid(0), "list").returncode == 0


def test_a_client_that_leaves_the_proof_out_gets_nothing(own):
    os.seteuid(STRANGER.pw_uid)
    try:
        sock = own.connect()
    finally:
        os.seteuid(0)
    with sock:
        assert wire.call(sock, 66) == (wire.OK, struct.pack(">II", 1, 2))  # AUTH_LIST: polkit
        status, answer = wire.call(sock, 1, b"\0\0\0\0\0\0\0\0")
        assert (status, wire.error_of(answer)[1]) == (wire.ERROR, "authentication required")


class WithAgent:
    """virsh of a user for whom polkit's agent asks for a password at a terminal; go() has it connect.

    The agent that virsh starts by itself asks only within a session of logind."""

    def __init__(self, own, user):
        self.said = b""
        self.virsh = subprocess.Popen(
            ["sh", "-c", f"read go; exec virsh -c '{own.uri()}' list"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, user=user.pw_uid, group=user.pw_gid, extra_groups=[], start_new_session=True)
        ready, notify = os.pipe()
        self.agent, self.terminal = pty.fork()
        if self.agent == 0:
            os.set_inheritable(notify, True)
            os.execvpe("pkttyagent", ["pkttyagent", "--process", str(self.virsh.pid), "--notify-fd", str(notify)],
                       own.environment)
        os.close(notify)
        os.read(ready, 1)  # the end: it is registered
        os.close(ready)

    def go(self):
        self.virsh.stdin.write(b"go\n")
        self.virsh.stdin.flush()
        return self

    def expect_dialog(self):
        while b"AUTHENTICATING FOR org.libvirt.unix.manage" not in self.said:
            assert select.select([self.terminal], [], [], 20)[0], self.said
            self.said += os.read(self.terminal, 4096)

    def end(self):
        self.virsh.kill()
        self.virsh.wait()
        os.kill(self.agent, signal.SIGKILL)
        os.waitpid(self.agent, 0)
        os.close(self.terminal)


def test_a_user_is_asked_for_a_password_once_at_a_time_and_holds_up_nobody(polkit):
    own = Daemon(environment=polkit.environment, auth_unix_rw="polkit")
    os.chmod(own.folder, 0o755)
    clients = [WithAgent(own, STRANGER) for _ in range(3)]
    first, second, third = clients
    try:
        first.go().expect_dialog()
        said = second.go().virsh.communicate(timeout=20)[0].decode()
        assert f"user {STRANGER.pw_uid} is asked for a password already" in said
        assert virsh(own, ALLOWED, "list").returncode == 0
        first.virsh.kill()
        Daemon.wait_until(lambda: not questions(own))
        third.go().expect_dialog()
        started = time.monotonic()
        assert own.stop() == 0
        assert time.monotonic() - started < 5
    finally:
        for client in clients:
            client.end()
        own.remove()


def questions(own):
    """Processes that ask polkit."""
    found = []
    for task in os.listdir(f"/proc/{own.process.pid}/task"):
        with open(f"/proc/{own.process.pid}/task/{task}/children", encoding="ascii") as listed:
            found += listed.read().split()
    return found
