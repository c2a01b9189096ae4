# SPDX-License-Identifier: GPL-2.0-or-later
"""Conversations with guests: what a console says is kept and searched, what is typed goes there.

A Talk is told how to read and write; a Terminal talks with a program that has a
terminal of its own, such as virsh console. The demo and the lab tests use both.
"""

import fcntl
import os
import pty
import re
import signal
import subprocess
import termios
import threading
import time

MARK = "=status="
PATIENCE = 120  # seconds; an emulated host on a busy machine is slow, and only failures wait this long


class TalkError(AssertionError):
    """The other side did not say what was waited for; the message ends with its last lines."""


class Talk:
    """read() gives the next bytes, none at the end; write(bytes) types. A thread of its own reads."""

    def __init__(self, name, read, write):
        self.name = name
        self.output = b""   # all that was said
        self.position = 0   # up to here expect() has searched
        self._write = write
        self._changed = threading.Condition()
        self._ended = False
        self._shell_ready = False
        self.reader = threading.Thread(target=self._listen, args=(read,), daemon=True)
        self.reader.start()

    def _listen(self, read):
        while not self._ended:
            data = read()
            with self._changed:
                self.output += data
                self._ended = not data
                self._changed.notify_all()
            self.heard(data)

    def heard(self, data):
        """For those who want to know at once."""

    def expect(self, pattern, timeout=PATIENCE):
        """Wait until this was said (a regular expression); later calls search after it."""
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
                    raise TalkError(self.told(f"it ended before it said {pattern!r}"))
                if left <= 0:
                    raise TalkError(self.told(f"it did not say {pattern!r} within {timeout} s"))
                self._changed.wait(left)

    def send(self, text):
        """Type."""
        self._write(text if isinstance(text, bytes) else text.encode())

    def shell(self, command, timeout=PATIENCE, check=True):
        """Run a command in the shell on the guest's console; its output as text.

        With check a nonzero exit status is an error; without, the answer is (status, output).
        """
        if not self._shell_ready:
            self.expect("# ", timeout)
            self.new_shell(timeout)
        begin = self.position
        self.send(f"{{ {command}\n}}; status=$?; echo; echo {MARK}$status=\n")
        found = self.expect(f"\r?\n{MARK}(\\d+)=\r?\n", timeout)
        output = self.output[begin:found.start()].decode(errors="replace").replace("\r\n", "\n")
        output = output.removesuffix("\n") + "\n" if output.strip() else ""
        status = int(found.group(1))
        if not check:
            return status, output
        if status:
            raise TalkError(self.told(f"{command!r} in the guest ended with status {status}:\n{output}"))
        return output

    def new_shell(self, timeout=PATIENCE):
        """Make a shell that waits for its next command ready for shell()."""
        self.send("stty -echo; PS1= PS2=\n")
        self.send(f"echo {MARK}$((40 + 2))=\n")
        self.expect(f"{MARK}42=\r?\n", timeout)
        self._shell_ready = True

    def restarted(self):
        """The guest begins anew: its next shell is another one."""
        self._shell_ready = False

    def told(self, what):
        """What happened, with the last lines."""
        tail = self.output[-1500:].decode(errors="replace").replace("\r", "")
        return f"{self.name}: {what}\n{self.more()}it said last:\n{tail}"

    def more(self):
        """What a report of a failure says besides, ended by a newline."""
        return ""


class Terminal(Talk):
    """Runs a program as its terminal's leader. end() must be called."""

    def __init__(self, command, name=None, env=None):
        ours, its = pty.openpty()
        self._file = ours
        self.process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=env, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(its, termios.TIOCSCTTY, 0))
        os.close(its)
        super().__init__(name or command[0], self._read, lambda data: os.write(ours, data))

    def _read(self):
        try:
            return os.read(self._file, 65536)
        except OSError:  # a terminal that nobody has open any more
            return b""

    def wait(self, timeout=PATIENCE):
        """Wait for the program's end; its exit status."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TalkError(self.told(f"it still runs after {timeout} s")) from None
        self.reader.join(5)
        return status

    def reads_keys(self):
        """Whether the program has the terminal in its own hands: keys reach it one by one, nobody echoes them."""
        return not termios.tcgetattr(self._file)[3] & termios.ICANON

    def end(self):
        """End the program, whatever it does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.reader.join(5)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
