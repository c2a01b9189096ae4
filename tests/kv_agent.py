# SPDX-License-Identifier: GPL-2.0-or-later
"""Agents of a guest for tests: the payload "bridge" joins its channel with COM2, where a test sits."""
import base64
import json
import os
import socket
import subprocess
import threading

import libvirt_qemu

from kv_daemon import Console, domain_xml, wait_for

# What a real qemu-ga must not do on the machine that runs the tests.
NEVER = ["guest-shutdown", "guest-suspend-disk", "guest-suspend-ram", "guest-suspend-hybrid", "guest-set-time",
         "guest-set-vcpus", "guest-set-memory-blocks", "guest-set-user-password", "guest-fsfreeze-freeze",
         "guest-fsfreeze-freeze-list", "guest-fstrim", "guest-ssh-add-authorized-keys",
         "guest-ssh-remove-authorized-keys", "guest-exec", "guest-file-open"]


def connect(path):
    def attempt():
        try:
            link.connect(path)
            return True
        except OSError:
            return False
    link = socket.socket(socket.AF_UNIX)
    wait_for(attempt, path)
    return link


class Guest:
    """A domain with an agent's channel; com2 is the agent's end of it."""

    def __init__(self, daemon, conn, name="one", devices="", vcpus=1):
        self.path = os.path.join(daemon.folder, f"{name}.com2")
        channel = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
        port = f"<serial type='unix'><source mode='bind' path='{self.path}'/><target port='1'/></serial>"
        self.domain = conn.createXML(domain_xml(name, "bridge", devices=channel + port + devices, vcpus=vcpus))
        self.console = Console(self.domain)
        self.console.expect(b"ready")
        self.com2 = connect(self.path)
        self.wait("connected")

    def state(self):
        part = self.domain.XMLDesc().split("org.qemu.guest_agent.0", 1)[1].split("/>", 1)[0]
        return part.split("state='", 1)[1].split("'", 1)[0] if "state='" in part else ""

    def wait(self, state):
        wait_for(lambda: self.state() == state, f"the channel to be {state}")

    def say(self, letter):
        self.console.say(letter)
        self.console.expect(letter)

    def command(self, text, timeout=10):
        return json.loads(libvirt_qemu.qemuAgentCommand(self.domain, json.dumps(text), timeout, 0))


class Agent(threading.Thread):
    """Answers as an agent: answers has a function of the arguments, or a value, for each command."""

    def __init__(self, com2, **answers):
        super().__init__(daemon=True)
        self.com2 = com2
        self.answers = {name.replace("_", "-"): answer for name, answer in answers.items()}
        self.asked = []
        self.start()

    def reply(self, request):
        name, arguments = request["execute"], request.get("arguments", {})
        if name == "guest-sync-delimited":
            return b"\xff" + json.dumps({"return": arguments["id"]}).encode() + b"\n"
        self.asked.append((name, arguments))
        if name not in self.answers:
            return json.dumps({"error": {"class": "CommandNotFound",
                                         "desc": f"The command {name} has not been found"}}).encode() + b"\n"
        answer = self.answers[name]
        answer = answer(arguments) if callable(answer) else answer
        if answer is None or isinstance(answer, bytes):
            return answer
        return json.dumps({"return": answer}).encode() + b"\n"

    def run(self):
        waiting = b""
        try:
            while data := self.com2.recv(65536):
                waiting += data
                while b"\n" in waiting:
                    line, waiting = waiting.split(b"\n", 1)
                    reply = self.reply(json.loads(line.split(b"\xff")[-1]))
                    if reply:
                        self.com2.sendall(reply)
        except OSError:
            pass


class RealAgent:
    """The distribution's qemu-ga, on this machine, without what would change it."""

    def __init__(self, folder, com2):
        path = os.path.join(folder, "ga.sock")
        self.process = subprocess.Popen(["qemu-ga", "-m", "unix-listen", "-p", path, "-t", folder, "-b", ",".join(NEVER)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.link = connect(path)
        for source, sink in ((self.link, com2), (com2, self.link)):
            threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    @staticmethod
    def _carry(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass

    def end(self):
        self.process.kill()
        self.process.wait()
        self.link.close()


def plain(text):
    return base64.b64decode(text).decode()
