# SPDX-License-Identifier: GPL-2.0-or-later
"""Collectors of flow export: those of nfdump, which know nothing of the switch; for tests."""

import csv
import glob
import socket
import subprocess
import time


def free_udp_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Collector:
    """sfcapd or nfcapd."""

    def __init__(self, program, folder):
        self.folder, self.port = folder, free_udp_port()
        self.process = subprocess.Popen([program, "-p", str(self.port), "-b", "127.0.0.1", "-l", folder, "-t", "3600"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while f"0100007F:{self.port:04X}" not in self.sockets():
            assert self.process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)

    @staticmethod
    def sockets():
        with open("/proc/net/udp", encoding="ascii") as table:
            return table.read()

    def flows(self):
        """Ends the collector. What it has written, as rows of nfdump."""
        self.close()
        file = max(glob.glob(f"{self.folder}/nfcapd.*"))
        said = subprocess.run(["nfdump", "-r", file, "-o", "csv"], check=True, capture_output=True, text=True,
                              timeout=20)
        return list(csv.DictReader(said.stdout.partition("Summary")[0].splitlines()))

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
