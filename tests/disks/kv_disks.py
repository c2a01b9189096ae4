# SPDX-License-Identifier: GPL-2.0-or-later
"""A monitor whose guest (tests/guest/disk.c) does with its disks what the test says."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", f"{TOP}/build")
sys.path.insert(0, f"{TOP}/tests/lab")
from kv_qmp import Qmp, QmpError  # noqa: E402  pylint: disable=wrong-import-position,unused-import

TIMEOUT_S = 30
SECTOR = 512


def run(*command, **options):
    """A program of the distribution (or ours); what it prints."""
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT_S,
                          check=False, **options)
    if done.returncode:
        raise AssertionError(f"{command}: status {done.returncode}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    return done.stdout.decode(errors="replace")


def qemu_img_info(path):
    return json.loads(run("qemu-img", "info", "-U", "--output=json", path))


def check_clean(path):
    """qemu-img finds neither errors nor leaks."""
    run("qemu-img", "check", path)


def pattern(path, sector, count, image_format="qcow2"):
    """Bytes of an image as qemu-img sees them."""
    with tempfile.NamedTemporaryFile(prefix="kv-") as out:
        run("qemu-img", "dd", "-U", "-f", image_format, "-O", "raw", f"bs={SECTOR}", f"skip={sector}",
            f"count={sector + count}", f"if={path}", f"of={out.name}")
        return out.read()


class Guest:
    """The payload's end of the serial line."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self.socket.settimeout(TIMEOUT_S)
        self._buffer = b""
        self.count = int(self.answer().split()[1], 16)

    def answer(self, timeout=TIMEOUT_S):
        """The next answer without its '='."""
        self.socket.settimeout(timeout)
        while b"\n" not in self._buffer:
            data = self.socket.recv(4096)
            if not data:
                raise ConnectionError("the guest's serial line ended")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.decode().strip().removeprefix("= ")

    def start(self, op, sector=0, count=0, byte=0, disk=0):
        self.socket.sendall(f"{disk:x} {op} {sector:x} {count:x} {byte:x}\n".encode())

    def ask(self, op, sector=0, count=0, byte=0, disk=0, timeout=TIMEOUT_S):
        """Does it and returns (status, wrong)."""
        self.start(op, sector, count, byte, disk)
        status, wrong = self.answer(timeout).split()
        return int(status, 16), int(wrong, 16)

    def write(self, sector, count, byte, disk=0, timeout=TIMEOUT_S):
        assert self.ask("w", sector, count, byte, disk, timeout) == (0, 0)

    def expect(self, sector, count, byte, disk=0):
        assert self.ask("r", sector, count, byte, disk) == (0, 0)

    def flush(self, disk=0):
        assert self.ask("f", disk=disk) == (0, 0)

    def write_on(self, sector, count, byte, disk=0):
        """Writes round after round until stop_writing()."""
        self.start("l", sector, count, byte, disk)

    def stop_writing(self):
        """(round, next sector): what was acknowledged."""
        self.socket.sendall(b"x")
        status, rounds, sector = (int(n, 16) for n in self.answer().split())
        assert status == 0
        return rounds, sector

    def end(self):
        self.start("q")


class Machine:
    """kvasir-vmm with the payload; jail: in its jail. Disks are values of --disk."""
    payload = "payload_disk"
    guest_class = Guest

    def __init__(self, folder, *disks, jail=False, options=()):
        self.folder = str(folder)
        command = [f"{BUILD}/kvasir-vmm", "--memory", "64M", "--serial", f"unix:{folder}/serial", "--kernel",
                   f"{BUILD}/tests/guest/{self.payload}", "--control", f"{folder}/control", *options]
        for disk in disks:
            command += ["--disk", str(disk)]
        command += [] if jail else ["--no-jail"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.errors = ""
        try:
            self.guest = self.guest_class(f"{folder}/serial")
            self.qmp = Qmp(f"{folder}/control", timeout=TIMEOUT_S)
        except Exception:
            self.process.kill()
            print(self.process.communicate()[1])
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.process.poll() is None:
            self.process.kill()
            self.errors += self.process.communicate(timeout=TIMEOUT_S)[1]
        if kind:
            print(self.errors)

    def wait(self):
        """The process's status when it ended by itself."""
        self.errors += self.process.communicate(timeout=TIMEOUT_S)[1]
        return self.process.returncode

    def quit(self):
        self.qmp.execute("quit")
        assert self.wait() == 0, self.errors

    def refused(self, command, **arguments):
        """The command fails; its error."""
        return self.refused_run(command, {name.replace("_", "-"): value for name, value in arguments.items()})

    def refused_run(self, command, arguments):
        """The same with names of arguments as they are."""
        try:
            answer = self.qmp.run(command, arguments)
        except QmpError as error:
            return error
        raise AssertionError(f"{command} was not refused: {answer}")

    def _answer(self):
        """What is returned for a command that was sent by hand; events are kept."""
        message = self.qmp.receive(TIMEOUT_S)
        while "event" in message:
            self.qmp.events.append(message)
            message = self.qmp.receive(TIMEOUT_S)
        assert "return" in message, message
        return message["return"]

    def add_fd(self, path, flags=os.O_RDWR, fdset=None):
        """A file for a monitor that can open none; its path for the monitor."""
        fd = os.open(path, flags)
        arguments = {} if fdset is None else {"fdset-id": fdset}
        self.qmp.send_fd(fd, {"execute": "add-fd", "arguments": arguments})
        os.close(fd)
        return f"/dev/fdset/{self._answer()['fdset-id']}"

    def getfd(self, path, name, flags=os.O_RDWR):
        """A file under a name."""
        fd = os.open(path, flags)
        self.qmp.send_fd(fd, {"execute": "getfd", "arguments": {"fdname": name}})
        os.close(fd)
        assert self._answer() == {}

    def path(self, jail, path):
        """How the monitor names a file."""
        return self.add_fd(path) if jail else str(path)

    def job_is(self, status, job):
        self.qmp.event("JOB_STATUS_CHANGE", where=lambda data: data["id"] == job and data["status"] == status)


@contextlib.contextmanager
def serving(folder, path, *options, tcp=None):
    """qemu-nbd serves a file on a unix socket or a port; (socket's path, process)."""
    sock = f"{folder}/nbd-{os.path.basename(path)}"
    where = ["-b", "127.0.0.1", "-p", tcp] if tcp else ["-k", sock]
    process = subprocess.Popen(["qemu-nbd", "-t", "-e", "8", *where, *options, str(path)])
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not (listens(tcp) if tcp else os.path.exists(sock)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield sock, process
    finally:
        process.kill()
        process.wait()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def make(path, size="16M", image_format="qcow2", *options):
    run("qemu-img", "create", "-q", "-f", image_format, *options, path, size)
    return str(path)
