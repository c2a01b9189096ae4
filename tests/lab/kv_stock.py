# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines of kvasird with a stock Debian kernel: root on virtio-blk, a NIC on a Linux bridge, a serial console.

conftest.py gives the tests these fixtures.
"""

import itertools
import os
import shutil
import subprocess

import libvirt
import pytest

import prepared
from kv_daemon import Daemon, EventLoop, wait_for
from lablib.talk import Talk, Terminal

HOST, GUEST, PREFIX = "192.168.122.1", "192.168.122.2", 24
CMDLINE = "console=ttyS0 root=/dev/vda rw net.ifnames=0 quiet panic=-1 tsc=reliable"


class Stock:
    """What all machines boot from, and a bridge of this host that they sit on."""

    def __init__(self, folder, kernel, initrd, root, bridge):
        self.folder, self.kernel, self.initrd, self.root, self.bridge = folder, kernel, initrd, root, bridge
        self._numbers = itertools.count()

    def disk(self):
        """A root disk of one's own."""
        path = os.path.join(self.folder, f"root{next(self._numbers)}.raw")
        subprocess.run(["cp", "--sparse=always", self.root, path], check=True)
        return path

    def xml(self, name, uuid=None, more="", devices="", memory=192, disk=None):
        uuid = f"<uuid>{uuid}</uuid>" if uuid else ""
        return f"""<domain type='kvm'>
  <name>{name}</name>{uuid}
  <memory unit='MiB'>{memory}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{self.kernel}</kernel>
    <initrd>{self.initrd}</initrd>
    <cmdline>{CMDLINE}</cmdline>
  </os>
  {more}
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{disk or self.disk()}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='bridge'>
      <source bridge='{self.bridge}'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'/>
    {devices}
  </devices>
</domain>"""

    def file(self, name, **keywords):
        """The same in a file, for virsh; its path."""
        path = os.path.join(self.folder, f"{name}.xml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(self.xml(name, **keywords))
        return path


class VirshConsole(Terminal):
    """virsh console, or virsh start --console, as somebody at a terminal runs it."""

    def __init__(self, daemon, *words):
        super().__init__(["virsh", "-c", daemon.uri(), *words], f"virsh {' '.join(words)}",
                         env=dict(os.environ, LC_ALL="C", TERM="dumb"))

    def connected(self):
        """It throws away what was typed before it had the terminal."""
        wait_for(self.reads_keys, "virsh at its terminal")
        return self

    def leave(self):
        """By the escape; the machine runs on. virsh's exit status."""
        # virsh knows the escape only as the first of what it reads: all typed before has to be through.
        self.send("echo $((20 + 3))\n")
        self.expect("^23\r?$")
        self.send(b"\x1d")
        status = self.wait()
        self.end()
        return status


class StreamConsole(Talk):
    """A console by Python's streams."""

    def __init__(self, domain, flags=0):
        self.stream = domain.connect().newStream(0)
        domain.openConsole(None, self.stream, flags)
        super().__init__(domain.name(), self._read, self.stream.send)

    def _read(self):
        try:
            return self.stream.recv(65536)
        except libvirt.libvirtError:
            return b""

    def end(self):
        try:
            self.stream.abort()
        except libvirt.libvirtError:
            pass
        self.reader.join(5)


def taps_of(bridge):
    return set(os.listdir(f"/sys/class/net/{bridge}/brif"))


@pytest.fixture(scope="session")
def stock(kernel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stock")
    root = folder / "root.raw"
    subprocess.run([os.path.join(os.path.dirname(__file__), "../../lab/guest/mkdisk"), "--out", root, "--size", "32M"],
                   check=True)
    bridge = f"kvbr{os.getpid() % 10000}"
    subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
    subprocess.run(["ip", "addr", "add", f"{HOST}/{PREFIX}", "dev", bridge], check=True)
    subprocess.run(["ip", "link", "set", bridge, "up"], check=True)
    yield Stock(str(folder), kernel, prepared.stock_initrd(), root, bridge)
    subprocess.run(["ip", "link", "del", bridge], check=True)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def daemon(stock):
    """A kvasird for all tests of a file; it and its machines leave nothing behind."""
    EventLoop.start()
    own = Daemon().start()
    yield own
    pids = own.monitors()
    for domain in own.connect().listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        domain.destroy()
    left = own.monitors()
    own.end()
    assert not left
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "the end of all monitors")
    assert not taps_of(stock.bridge)
