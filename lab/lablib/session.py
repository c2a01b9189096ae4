# SPDX-License-Identifier: GPL-2.0-or-later
"""A command in an emulated host: our standard streams carried to the agent and back (frames: lab/agent.c)."""

import errno
import fcntl
import os
import select
import signal
import struct
import termios
import time
import tty

INPUT_WINDOW = 32 << 10
# QEMU's SVM emulation now and then loses the interrupt that would have ended a guest's run; the next
# one brings it, too. So that there always is a next one, the port speaks so often, in seconds.
POKE = 0.5
SILENCE = 90  # seconds without a word (the agent says one every 5) after which a host counts as frozen
RUN_TTY = 1
RUN_SYNC = 2


class Gone(Exception):
    """The host went away before it reported an exit status."""


class Timeout(Exception):
    """The deadline has passed."""


class Frozen(Exception):
    """A host has said nothing for SILENCE seconds; its place among the lab's hosts is the argument."""


def frame(kind, payload=b""):
    return kind + struct.pack("<I", len(payload)) + payload


class Reader:
    """Frames out of a stream socket."""

    def __init__(self, connection):
        self.connection = connection
        self.buffer = bytearray()

    def read(self):
        """All whole frames of what has arrived; blocks when nothing has."""
        try:
            data = self.connection.recv(1 << 18)
        except ConnectionError:
            data = b""
        if not data:
            raise Gone()
        self.buffer += data
        frames = []
        while len(self.buffer) >= 5:
            (length,) = struct.unpack_from("<I", self.buffer, 1)
            if len(self.buffer) < 5 + length:
                break
            frames.append((bytes(self.buffer[:1]), bytes(self.buffer[5:5 + length])))
            del self.buffer[:5 + length]
        return frames


def wait_ready(connection, deadline):
    """Until the agent says hello."""
    reader = Reader(connection)
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([connection], [], [], left)[0]:
            raise Timeout()
        for kind, _ in reader.read():
            if kind == b"H":
                return reader


def run_request(command, cwd, environment, flags):
    rows, columns = window_size()
    variables = [f"{name}={value}" for name, value in environment.items()]
    head = struct.pack("<5H", flags, rows, columns, len(command), len(variables))
    return frame(b"R", head + b"".join(os.fsencode(text) + b"\0" for text in [cwd, *command, *variables]))


def window_size():
    for fd in (0, 1, 2):
        try:
            return struct.unpack("4H", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))[:2]
        except OSError:
            continue
    return 24, 80


class Bystander:
    """A further host of the lab: poked and listened to, so that it cannot freeze unnoticed."""

    def __init__(self, connection, reader):
        self.connection = connection
        self.reader = reader
        self.heard = time.monotonic()
        connection.setblocking(False)

    def poke(self):
        try:
            self.connection.send(frame(b"P"))  # five bytes into an empty socket: all or nothing
        except BlockingIOError:
            pass
        except ConnectionError as e:
            raise Gone() from e

    def listen(self):
        self.reader.read()
        self.heard = time.monotonic()


class Session:
    """One run. Poll loop over the ports, our input, and the window's size."""

    def __init__(self, ports, deadline, use_tty):
        """`ports`: connection and reader of each host; the first one runs the command."""
        self.connection, self.reader = ports[0]
        self.bystanders = [Bystander(*port) for port in ports[1:]]
        self.deadline = deadline
        self.heard = time.monotonic()  # the last word of the first host
        self.poked = 0.0
        self.use_tty = use_tty
        self.window = INPUT_WINDOW
        self.outgoing = bytearray()
        self.input_open = True
        self.status = None

    def run(self, request):
        """Returns the command's exit status. Raises Gone, Frozen or Timeout."""
        self.outgoing += request
        self.connection.setblocking(False)
        saved = None
        if self.use_tty:
            saved = termios.tcgetattr(0)
            tty.setraw(0)
            signal.signal(signal.SIGWINCH, lambda *_: self._resize())
        try:
            while self.status is None:
                self._step()
            return self.status
        finally:
            if saved:
                signal.signal(signal.SIGWINCH, signal.SIG_DFL)
                termios.tcsetattr(0, termios.TCSADRAIN, saved)

    def _resize(self):
        rows, columns = window_size()
        self.outgoing += frame(b"W", struct.pack("<2H", rows, columns))

    def _step(self):
        now = time.monotonic()
        left = self.deadline - now
        if left <= 0:
            raise Timeout()
        if now - self.poked >= POKE and not self.outgoing:
            self.outgoing += frame(b"P")
            self.poked = now
            for other in self.bystanders:
                other.poke()
        reading = [self.connection, *(other.connection for other in self.bystanders)]
        if self.input_open and self.window:
            reading.append(0)
        writing = [self.connection] if self.outgoing else []
        try:
            # A short wait, so that a change of the window's size is sent soon, too.
            readable, writable, _ = select.select(reading, writing, [], min(left, POKE))
        except OSError as e:
            if e.errno == errno.EBADF and self.input_open:  # started without a standard input
                self._end_input()
                return
            raise
        if 0 in readable:
            self._read_input()
        if writable:
            try:
                sent = self.connection.send(self.outgoing)
                del self.outgoing[:sent]
            except BlockingIOError:
                pass
            except ConnectionError as e:
                raise Gone() from e
        if self.connection in readable:
            for kind, payload in self.reader.read():
                self._take(kind, payload)
            self.heard = time.monotonic()
        for other in self.bystanders:
            if other.connection in readable:
                other.listen()
        for place, heard in enumerate([self.heard, *(other.heard for other in self.bystanders)]):
            if time.monotonic() - heard > SILENCE:
                raise Frozen(place)

    def _read_input(self):
        try:
            data = os.read(0, self.window)
        except OSError:
            data = b""
        if data:
            self.window -= len(data)
            self.outgoing += frame(b"I", data)
        else:
            self._end_input()

    def _end_input(self):
        self.input_open = False
        self.outgoing += frame(b"E")

    def _take(self, kind, payload):
        if kind == b"O":
            write_all(1, payload)
        elif kind == b"e":
            write_all(2, payload)
        elif kind == b"A":
            self.window += struct.unpack("<I", payload)[0]
        elif kind == b"X":
            self.status = struct.unpack("<I", payload)[0]


def write_all(fd, data):
    """Our own readers may be slow or non-blocking; a closed one ends us like any program."""
    while data:
        try:
            data = data[os.write(fd, data):]
        except BlockingIOError:
            select.select([], [fd], [])
        except BrokenPipeError:
            raise SystemExit(128 + signal.SIGPIPE) from None
