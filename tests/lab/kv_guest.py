# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest under test: a kvasir-vmm process, its serial port as a stream to search, its control socket."""

import json
import os
import signal
import subprocess
import time

from kv_qmp import Qmp
from lablib.talk import PATIENCE, Talk, TalkError


class Guest(Talk):
    """Starts at once. end() must be called; the fixture start_guest does that."""

    def __init__(self, command, folder, name="guest", env=None, pass_fds=()):
        self.control = os.path.join(folder, f"{name}.qmp")
        self.error_path = os.path.join(folder, f"{name}.stderr")
        self.command = [str(word) for word in command]
        self._qmp = None
        self.started = time.monotonic()
        with open(self.error_path, "wb") as errors:
            # A process group of its own, so that the jail's child ends with it.
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                            start_new_session=True, env=env, pass_fds=pass_fds)
        self.pid = self.process.pid
        super().__init__(name, lambda: self.process.stdout.read1(65536), self._type)

    def _type(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

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
            raise TalkError(self.told(f"the monitor still runs after {timeout} s")) from None
        self.reader.join(5)
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
        self.reader.join(5)
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

    def more(self):
        return f"standard error: {self.errors()[-1500:]}\n"
