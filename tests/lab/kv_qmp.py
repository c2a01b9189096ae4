# SPDX-License-Identifier: GPL-2.0-or-later
"""A small QMP client for tests: commands with their answers, events kept until somebody asks for them."""

import collections
import json
import socket
import time


class QmpError(Exception):
    """The command was refused. `kind` is the error's class, `description` its text."""

    def __init__(self, command, error):
        super().__init__(f"{command}: {error.get('class')}: {error.get('desc')}")
        self.kind = error.get("class")
        self.description = error.get("desc")


class Qmp:
    """One connection to a control socket."""

    def __init__(self, path, timeout=180, negotiate=True):
        self.timeout = timeout
        self.events = collections.deque()
        self._buffer = b""
        self._id = 0
        self._socket = _connect(path, timeout)
        self.greeting = self.receive(timeout)
        if negotiate:
            self.execute("qmp_capabilities")

    def execute(self, command, timeout=None, **arguments):
        """Run a command, return its answer. `_` in the names of arguments stands for `-`."""
        return self.run(command, {name.replace("_", "-"): value for name, value in arguments.items()}, timeout)

    def run(self, command, arguments, timeout=None):
        """The same with names of arguments as they are."""
        self._id += 1
        request = {"execute": command, "id": self._id}
        if arguments:
            request["arguments"] = arguments
        self.send(request)
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            message = self.receive(deadline - time.monotonic())
            if "event" in message:
                self.events.append(message)
            elif message.get("id") != self._id:
                raise AssertionError(f"answer to another request than {request}: {message}")
            elif "error" in message:
                raise QmpError(command, message["error"])
            else:
                return message["return"]

    def event(self, name, timeout=None, where=lambda data: True):
        """Wait for an event of this name (one that came earlier counts); others stay for later. Returns it."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            for event in self.events:
                if event["event"] == name and where(event.get("data", {})):
                    self.events.remove(event)
                    return event
            try:
                message = self.receive(deadline - time.monotonic())
            except TimeoutError:
                seen = [event["event"] for event in self.events]
                raise TimeoutError(f"no event {name}; there were: {seen}") from None
            if "event" not in message:
                raise AssertionError(f"answer to no request: {message}")
            self.events.append(message)

    def send(self, message):
        """A message as it is; bytes are sent unchanged, for tests of bad input."""
        self._socket.settimeout(self.timeout)
        self._socket.sendall(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")

    def send_fd(self, fd, message):
        """A message together with an open descriptor."""
        self._socket.settimeout(self.timeout)
        socket.send_fds(self._socket, [json.dumps(message).encode() + b"\n"], [fd])

    def receive(self, timeout):
        """The next message. TimeoutError when none comes, ConnectionError at the end."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"nothing from the control socket within {timeout:.1f} s")
            self._socket.settimeout(left)
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the control socket was closed")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)

    def close(self):
        self._socket.close()


def _connect(path, timeout):
    deadline = time.monotonic() + timeout
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(path))
            return connection
        except OSError:
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
