# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest under test: a kvasir-vmm process, its serial port as a stream to search, its control socket."""

import json
import os
import re
import signal
import subprocess
import threading
import time

from kv_qmp import Qmp

MARK = "=status="
PATIENCE = 120  # seconds; an emulated host on a busy machine is slow, and only failures wait this long


class GuestError(AssertionError):
    """The guest did not do what the test waits for; the message ends with its last lines."""


class Guest:
    """Starts at once. end() must be called; the fixture start_guest does that."""

    def __init__(self, command, folder, name="guest", env=None, pass_fds=()):
        self.name = name
        self.control = os.path.join(folder, f"{name}.qmp")
        self.error_path = os.path.join(folder, f"{name}.stderr")
        self.command = [str(word) for word in command]
        self.output = b""   # all that came from the serial port
        self.position = 0   # up to here expect() has searched
        self._changed = threading.Condition()
        self._ended = False
        self._qmp = None
        self._shell_ready = False
        self.started = time.monotonic()
        with open(self.error_path, "wb") as errors:
            # A process group of its own, so that the jail's child ends with it.
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                            start_new_session=True, env=env, pass_fds=pass_fds)
        self.pid = self.process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while True:
            data = self.process.stdout.read1(65536)
            with self._changed:
                self.output += data
                self._ended = not data
                self._changed.notify_all()
            if not data:
                return

    def expect(self, pattern, timeout=PATIENCE):
        """Wait until the serial port has said this (a regular expression); later calls search after it."""
        expression = re.compile(pattern.encode() if isinstance(pattern, str) else pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = expression.search(self.output, self.position)
                if found:
                    self.position = found.end()
                    return found
                left = deadline - time.monotonic()
                if self._ended:
                    raise GuestError(self._told(f"the monitor ended before its serial port said {pattern!r}"))
                if left <= 0:
                    raise GuestError(self._told(f"serial port did not say {pattern!r} within {timeout} s"))
                self._changed.wait(left)

    def send(self, text):
        """Type on the serial port."""
        self.process.stdin.write(text if isinstance(text, bytes) else text.encode())
        self.process.stdin.flush()

    def shell(self, command, timeout=PATIENCE, check=True):
        """Run a command in the shell on the guest's console; its output as text.

        With check a nonzero exit status is an error; without, the answer is (status, output).
        """
        if not self._shell_ready:
            self.expect("# ", timeout)
            self.send("stty -echo; PS1= PS2=\n")
            self.send(f"echo {MARK}$((40 + 2))=\n")
            self.expect(f"{MARK}42=\r?\n", timeout)
            self._shell_ready = True
        begin = self.position
        self.send(f"{{ {command}\n}}; status=$?; echo; echo {MARK}$status=\n")
        found = self.expect(f"\r?\n{MARK}(\\d+)=\r?\n", timeout)
        output = self.output[begin:found.start()].decode(errors="replace").replace("\r\n", "\n")
        output = output.removesuffix("\n") + "\n" if output.strip() else ""
        status = int(found.group(1))
        if not check:
            return status, output
        if status:
            raise GuestError(self._told(f"{command!r} in the guest ended with status {status}:\n{output}"))
        return output

    @property
    def monitor(self):
        """The connection to the control socket, made at first use."""
        if self._qmp is None:
            self._qmp = Qmp(self.control, PATIENCE)
        return self._qmp

    def qmp(self, command, **arguments):
        return self.monitor.execute(command, **arguments)

    def event(self, name, timeout=PATIENCE, where=lambda data: True):
        return self.monitor.event(name, timeout, where)

    def wait(self, timeout=PATIENCE):
        """Wait for the monitor's end; its exit status."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise GuestError(self._told(f"the monitor still runs after {timeout} s")) from None
        self._reader.join(5)
        return status

    def running(self):
        return self.process.poll() is None

    def errors(self):
        """What the monitor wrote to its standard error."""
        with open(self.error_path, errors="replace") as f:
            return f.read()

    def end(self):
        """End the monitor, whatever it does; nothing is left behind."""
        if self._qmp:
            self._qmp.close()
            self._qmp = None
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process.stdin.close()
        self._reader.join(5)
        self.process.stdout.close()

    def state(self):
        """Registers of its vCPUs, and what the machine counted within a second, as text."""
        if not self.running():
            return "ended"
        try:
            qmp = Qmp(self.control, 10)
            said = [qmp.execute("query-status"), qmp.execute("x-kvasir-metrics")]
            time.sleep(1)
            said += [qmp.execute("x-kvasir-metrics"), qmp.execute("x-kvasir-registers")]
            qmp.close()
        except (OSError, AssertionError) as e:
            return f"the control socket does not answer: {e}"
        return "\n".join(json.dumps(answer) for answer in said)

    def transcript(self):
        """For reports of failed tests."""
        serial = self.output[-6000:].decode(errors="replace").replace("\r", "")
        return (f"state: {self.state()}\ncommand: {' '.join(self.command)}\nended: {self.process.poll()}\n"
                f"standard error:\n{self.errors()[-3000:]}\nserial port:\n{serial}")

    def _told(self, what):
        tail = self.output[-1500:].decode(errors="replace").replace("\r", "")
        return f"{self.name}: {what}\nstandard error: {self.errors()[-1500:]}\nserial port ends with:\n{tail}"
