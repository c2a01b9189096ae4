# SPDX-License-Identifier: GPL-2.0-or-later
"""A kvasird of the test's own: private sockets and state, ended with everything that it started."""
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import libvirt

TOP = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
BUILD = os.path.join(TOP, os.environ.get("KVASIR_BUILD", "build"))
PATIENCE = 30  # seconds; only failures wait that long

# Errors are checked by the tests; libvirt need not print them.
libvirt.registerErrorHandler(lambda *_: None, None)


def wait_for(condition, what, patience=PATIENCE):
    """The first true value that condition() gives."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience} s for {what}")
        time.sleep(0.01)


def children_of(folder):
    """Processes of monitors whose log is in the folder."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            log = os.readlink(f"/proc/{entry}/fd/2")
            with open(f"/proc/{entry}/cmdline", "rb") as f:
                program = f.read().split(b"\0")[0]
        except OSError:
            continue
        if log.startswith(folder) and b"kvasir-vmm" in program:
            found.append(int(entry))
    return found


class Daemon:
    """Runs from start() to end(). Folders: run (sockets), state. Settings: lines of the configuration file."""

    def __init__(self, program=None, environment=None, settings=()):
        self.folder = tempfile.mkdtemp(prefix="kvd-", dir="/tmp")
        os.chmod(self.folder, 0o755)
        self.run = os.path.join(self.folder, "run")
        self.state = os.path.join(self.folder, "state")
        self.program = program or os.path.join(BUILD, "kvasird")
        supp = os.path.join(os.path.dirname(os.path.realpath(__file__)), "tsan.supp")
        self.environment = {"TSAN_OPTIONS": f"suppressions={supp}", **os.environ, **(environment or {})}
        self.process = None
        self.connections = []
        self.options = []
        if settings:
            self.options = ["--config", os.path.join(self.folder, "kvasird.conf")]
            with open(self.options[1], "w", encoding="ascii") as file:
                file.write("".join(f"{line}\n" for line in settings))
        self.uuids_seen = set()

    def start(self):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                [self.program, "--socket-dir", self.run, "--state-dir", self.state, "--log", "debug", *self.options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)
        wait_for(self._answers, f"kvasird's socket; its log:\n{self.log()}")
        return self

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"kvasird ended with {self.process.returncode}:\n{self.log()}")
        try:
            libvirt.open(self.uri()).close()
            return True
        except libvirt.libvirtError:
            return False

    def socket(self, read_only=False):
        return os.path.join(self.run, "libvirt-sock-ro" if read_only else "libvirt-sock")

    def uri(self):
        return f"qemu+unix:///system?socket={self.socket()}"

    def connect(self):
        connection = libvirt.open(self.uri())
        self.connections.append(connection)
        return connection

    def connect_read_only(self):
        connection = libvirt.openReadOnly(f"qemu+unix:///system?socket={self.socket(True)}")
        self.connections.append(connection)
        return connection

    def virsh(self, *words, status=0):
        """What it printed, errors too; fails when it does not end with that status."""
        done = subprocess.run(["virsh", "-c", self.uri(), *words], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
                              env=dict(os.environ, LC_ALL="C"), check=False)
        assert done.returncode == status, f"virsh {' '.join(words)}: status {done.returncode}: {done.stdout}"
        return done.stdout

    def log(self):
        try:
            with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as f:
                return f.read()[-8000:]
        except OSError:
            return ""

    def kill(self):
        """As the out-of-memory killer would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.connections = []

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"kvasird did not end when told to:\n{self.log()}") from None

    def monitors(self):
        """Processes of machines, by their records."""
        pids = []
        for path in glob.glob(os.path.join(self.run, "machine", "*.pid")):
            try:
                with open(path, encoding="ascii") as f:
                    pids.append(int(f.read().split()[0]))
            except (OSError, ValueError, IndexError):
                pass
        return pids

    def monitor_of(self, uuid):
        with open(os.path.join(self.run, "machine", f"{uuid}.pid"), encoding="ascii") as f:
            return int(f.read().split()[0])

    def end(self):
        pids = self.monitors()
        for connection in self.connections:
            try:
                connection.close()
            except libvirt.libvirtError:
                pass
        if self.process and self.process.poll() is None:
            self.stop()
        for pid in set(pids + children_of(self.folder)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if not os.environ.get("KVASIR_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)


def payload(name):
    return os.path.join(BUILD, "tests/guest", f"payload_{name}")


def domain_xml(name, guest="sleep", memory=64, more="", devices="", vcpus=1, uuid=None):
    """A machine that boots a bare-metal payload; its first serial port is a pty."""
    uuid = f"<uuid>{uuid}</uuid>" if uuid else ""
    return f"""<domain type='kvm'>
  <name>{name}</name>{uuid}
  <memory unit='MiB'>{memory}</memory>
  <vcpu>{vcpus}</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><kernel>{payload(guest)}</kernel></os>
  {more}
  <devices>
    <serial type='pty'><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    {devices}
  </devices>
</domain>"""


class Console:
    """A guest's serial port over a stream."""

    def __init__(self, domain, flags=0):
        self.stream = domain.connect().newStream(0)
        domain.openConsole(None, self.stream, flags)
        self.text = b""

    def expect(self, words):
        while words not in self.text:
            data = self.stream.recv(4096)
            assert data, f"the console ended; it said {self.text!r}"
            self.text += data
        self.text = self.text.split(words, 1)[1]

    def say(self, words):
        self.stream.send(words)

    def close(self):
        try:
            self.stream.abort()
        except libvirt.libvirtError:
            pass


class EventLoop:
    """libvirt's own event loop in a thread; one a process."""

    _started = False

    @classmethod
    def start(cls):
        if cls._started:
            return
        libvirt.virEventRegisterDefaultImpl()
        cls._started = True

        def run():
            while True:
                libvirt.virEventRunDefaultImpl()
        threading.Thread(target=run, daemon=True).start()


class Events:
    """Records what a connection is told, as (domain's name, event, detail...)."""

    def __init__(self, connection, kinds=(libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,)):
        self.list = []
        self._changed = threading.Condition()
        self._connection = connection
        self._ids = [connection.domainEventRegisterAny(None, kind, self._note, kind) for kind in kinds]

    def _note(self, _connection, domain, *details):
        *rest, kind = details
        with self._changed:
            if kind == libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE:
                self.list.append((domain.name(), *rest))
            else:
                self.list.append((domain.name(), f"id {kind}", *rest))
            self._changed.notify_all()

    def expect(self, *wanted, patience=PATIENCE):
        """The next events, in order; takes them away."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.list) >= len(wanted), patience)
            got, self.list = self.list[:len(wanted)], self.list[len(wanted):]
        assert got == list(wanted), f"events {got}, wanted {list(wanted)}"

    def end(self):
        for number in self._ids:
            try:
                self._connection.domainEventDeregisterAny(number)
            except libvirt.libvirtError:
                pass


class Refused:
    """with Refused(libvirt.VIR_ERR_..., "words"): the call must fail that way."""

    def __init__(self, code, words="", domain=None):
        self.code, self.words, self.domain = code, words, domain

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _trace):
        assert kind is not None, "nothing was refused"
        if not issubclass(kind, libvirt.libvirtError):
            return False
        assert error.get_error_code() == self.code, \
            f"error {error.get_error_code()} ({error}), wanted {self.code}"
        assert self.words in str(error), f"{error} does not say '{self.words}'"
        if self.domain is not None:
            assert error.get_error_domain() == self.domain
        return True
