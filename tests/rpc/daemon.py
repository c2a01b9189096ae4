# SPDX-License-Identifier: GPL-2.0-or-later
"""A kvasird of one's own: private sockets and state, ended by its own process id."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("KVASIR_BUILD", os.path.join(TOP, "build"))
PROGRAM = os.path.join(os.path.abspath(BUILD), "kvasird")
PATIENCE_S = 20


class Daemon:
    """Starts when made. Settings are keys of the configuration file."""

    def __init__(self, *options, environment=None, files=None, **settings):
        self.files = files  # most descriptors that it may have
        self.folder = tempfile.mkdtemp(prefix="kvasird-")
        self.sockets = os.path.join(self.folder, "run")
        self.state = os.path.join(self.folder, "state")
        self.log = os.path.join(self.folder, "log")
        self.config = os.path.join(self.folder, "kvasird.conf")
        suppressions = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lsan.supp")
        self.environment = {**os.environ, "LSAN_OPTIONS": f"suppressions={suppressions}:print_suppressions=0",
                            **(environment or {})}
        self.options = options
        self.process = None
        settings = {"auth_unix_rw": "none", **settings}
        with open(self.config, "w", encoding="utf-8") as out:
            for name, value in settings.items():
                if isinstance(value, list):
                    value = "[ " + ", ".join(f'"{text}"' for text in value) + " ]"
                elif isinstance(value, str):
                    value = f'"{value}"'
                out.write(f"{name} = {value}\n")
        self.start()

    def start(self):
        limited = ["prlimit", f"--nofile={self.files}:{self.files}"] if self.files else []
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*limited, PROGRAM, "--config", self.config, "--socket-dir", self.sockets, "--state-dir", self.state,
                 "--log", "debug", *self.options], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.environment)
        self.wait_until(lambda: b"is ready" in self.log_bytes() or self.process.poll() is not None)
        if self.process.poll() is not None:
            raise RuntimeError(self.log_bytes().decode(errors="replace"))

    def log_bytes(self):
        with open(self.log, "rb") as log:
            return log.read()

    def path(self, name="libvirt-sock"):
        return os.path.join(self.sockets, name)

    def uri(self, name="libvirt-sock"):
        return f"qemu+unix:///system?socket={self.path(name)}"

    def admin_uri(self):
        return f"libvirtd+unix:///system?socket={self.path('libvirt-admin-sock')}"

    def virsh(self, *words, check=True, socket_name="libvirt-sock"):
        return run(["virsh", "-c", self.uri(socket_name), *words], check)

    def virt_admin(self, *words, check=True):
        return run(["virt-admin", "-c", self.admin_uri(), *words], check)

    def connect(self, name="libvirt-sock"):
        """A socket without any client's library."""
        to = socket.socket(socket.AF_UNIX)
        to.settimeout(PATIENCE_S)
        to.connect(self.path(name))
        return to

    def memory_kib(self):
        """What it has for itself."""
        with open(f"/proc/{self.process.pid}/smaps_rollup", encoding="ascii") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as line:
            user, system = line.read().rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def wait_until(true, seconds=PATIENCE_S):
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                raise TimeoutError("it did not happen in time")
            time.sleep(0.01)

    def stop(self, number=signal.SIGTERM):
        """Returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def remove(self):
        status = self.stop()
        text = self.log_bytes().decode(errors="replace")
        shutil.rmtree(self.folder)
        assert "Sanitizer" not in text, text
        return status


def run(command, check=True, **more):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          check=False, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout.strip() if check else done
