# SPDX-License-Identifier: GPL-2.0-or-later
"""kvasir-switchd as a process, its control socket, and DPDK's testpmd as guests at its vhost-user ports; for tests
and measurements."""

import contextlib
import json
import os
import re
import socket
import subprocess
import time

TIMEOUT_S = 20


class Refused(Exception):
    """An error that the switch answered with."""


class Switch:
    """The process, ended with the block; commands go through execute()."""

    def __init__(self, build, folder, *options, prefix=(), log_name="switch.log", wait_for=""):
        self.path = f"{folder}/control"
        self.log = f"{folder}/{log_name}"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*prefix, f"{build}/kvasir-switchd", "--control", self.path, *options],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.client = socket.socket(socket.AF_UNIX)
        self.client.settimeout(TIMEOUT_S)
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                if wait_for not in self.words():
                    raise OSError("not ready")
                self.client.connect(self.path)
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    raise AssertionError(f"no switch: {self.words()}") from None
                time.sleep(0.01)
        self.answers = self.client.makefile()
        self.answers.readline()
        self.execute("qmp_capabilities")

    def words(self):
        with open(self.log, encoding="utf-8") as log:
            return log.read()

    def execute(self, command, **arguments):
        request = {"execute": command, "arguments": {k.replace("_", "-"): v for k, v in arguments.items()}}
        self.client.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(self.answers.readline())
        if "error" in answer:
            raise Refused(answer["error"]["desc"])
        return answer["return"]

    def statistics(self, port):
        return next(row for row in self.execute("query-statistics") if row["name"] == port)

    def wait_up(self, *ports):
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            up = {p["name"] for bridge in self.execute("query-bridges") for p in bridge["ports"] if p["up"]}
            if up >= set(ports):
                return
            assert time.monotonic() < deadline and self.process.poll() is None, (up, self.words())
            time.sleep(0.02)

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def private_kib(self):
        with open(f"/proc/{self.process.pid}/smaps_rollup", encoding="ascii") as rollup:
            return int(re.search(r"Private_Dirty: +(\d+)", rollup.read()).group(1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


class Testpmd:
    """Two guests in one process, whose virtio-user ports are served at paths: each sends on what the other gets."""
    __test__ = False  # its name is no test's

    def __init__(self, folder, paths, memory, vdev="", words=(), core=0):
        self.log = f"{folder}/testpmd.log"
        vdevs = [f"--vdev=net_virtio_user{n},path={path},server=1,queue_size=1024{vdev}" for n, path in enumerate(paths)]
        command = ["stdbuf", "-oL", "dpdk-testpmd", "--lcores", f"(0,1)@{core}", "--main-lcore", "0", "--no-pci",
                   "--no-telemetry", f"--file-prefix=kv{os.getpid()}", *memory, *vdevs, "--", "-i",
                   "--forward-mode=io", *words]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)

    def words(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def wait_for(self, words, after=0):
        deadline = time.monotonic() + TIMEOUT_S
        while words not in self.words()[after:]:
            assert self.process.poll() is None and time.monotonic() < deadline, self.words()
            time.sleep(0.02)

    def rates(self, seconds):
        """Frames a second that each port got meanwhile."""
        self.say("show port stats all")
        time.sleep(seconds)
        before = len(self.words())
        self.say("show port stats all")
        self.wait_for("Tx-pps", before)
        time.sleep(0.2)
        return [int(n) for n in re.findall(r"Rx-pps: +(\d+)", self.words()[before:])]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.say("quit")
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
