# SPDX-License-Identifier: GPL-2.0-or-later
"""A monitor whose guest (tests/guest/net.c) does with its network device what the test says, and DPDK's testpmd as
the switch at the other end."""

import contextlib
import os
import subprocess
import time

from kv_disks import TIMEOUT_S, Guest, Machine

VERSION_1 = 1 << 32


class NetGuest(Guest):
    """The payload's end of the serial line."""

    def command(self, text):
        self.socket.sendall(f"{text}\n".encode())

    def send(self, length, byte):
        self.command(f"t {length:x} {byte:x}")
        assert self.answer() == "0"

    def expect(self, length, byte):
        """The next frame, and nothing else in it."""
        self.command("r")
        assert [int(n, 16) for n in self.answer().split()] == [length, byte, 0]

    def link(self):
        self.command("l")
        return self.answer() == "1"

    def wait_link(self, up):
        deadline = time.monotonic() + TIMEOUT_S
        while self.link() != up:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def restart(self, features=VERSION_1):
        """Resets the device and starts it again; its status."""
        self.command(f"s {features:x}")
        return int(self.answer(), 16)


class NetMachine(Machine):
    """kvasir-vmm with one network device: a value of --net."""
    payload = "payload_net"
    guest_class = NetGuest

    def __init__(self, folder, net, jail=False):
        super().__init__(folder, jail=jail, options=["--net", net])


@contextlib.contextmanager
def switch(folder, path, *options, client=False):
    """Sends each frame back that it gets from the guest at the socket. client: it connects to it."""
    vdev = f"net_vhost0,iface={path}" + (",client=1" if client else "") + "".join(f",{o}" for o in options)
    command = ["stdbuf", "-oL", "dpdk-testpmd", "--lcores", "(0,1)@0", "--main-lcore", "0", "--no-pci", "--no-huge", "-m", "128",
               "--no-telemetry", f"--file-prefix=kv{os.getpid()}", "--vdev", vdev, "--", "--forward-mode=io",
               "--total-num-mbufs=2048", "--no-lsc-interrupt", "--no-flush-rx",
               "--disable-link-check"]
    with open(f"{folder}/testpmd.log", "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while b"Press enter to exit" not in open(f"{folder}/testpmd.log", "rb").read():
            assert process.poll() is None and time.monotonic() < deadline, open(f"{folder}/testpmd.log").read()
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()
        if not client:
            os.unlink(path)
