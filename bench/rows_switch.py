# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows about the switch: two guests (DPDK's testpmd on one core) through one forwarding core of kvasir-switchd, of
Open vSwitch with DPDK, and two taps through the Linux bridge."""
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, f"{os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}/tests")
from kv_switch import Switch, Testpmd  # noqa: E402
from rows_start import figure  # noqa: E402

HUGE = "/proc/sys/vm/nr_hugepages"
PAGES = 1100  # of 2 MiB: testpmd and Open vSwitch
SECONDS = 3
ROUNDS = 3
SWITCH_CORE, GUEST_CORE = 1, 0


@contextlib.contextmanager
def huge_pages(folder):
    """Reserves huge pages and mounts them; where that is not possible, programs go without."""
    with open(HUGE, encoding="ascii") as f:
        before = f.read()
    mount = f"{folder}/huge"
    os.mkdir(mount)
    mounted = False
    try:
        with contextlib.suppress(OSError), open(HUGE, "w", encoding="ascii") as f:
            f.write(str(PAGES))
        with open(HUGE, encoding="ascii") as f:
            enough = int(f.read()) >= PAGES
        if enough:
            mounted = subprocess.run(["mount", "-t", "hugetlbfs", "none", mount], check=False).returncode == 0
        yield mount if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", mount], check=False)
        with contextlib.suppress(OSError), open(HUGE, "w", encoding="ascii") as f:
            f.write(before)


def memory(mount):
    return [f"--huge-dir={mount}", "--single-file-segments"] if mount else ["--no-huge", "-m", "512"]


def circulate(folder, paths, mount, ready):
    """Frames of 64 bytes go round between two guests; how many a second were forwarded, in millions."""
    with Testpmd(folder, paths, memory(mount), core=GUEST_CORE) as guests:
        guests.wait_for("Done")
        ready()
        guests.say("start tx_first 32")
        time.sleep(0.5)
        return sum(guests.rates(SECONDS)) / 1e6


def ours(build, folder, mount, **port):
    paths = [f"{folder}/a", f"{folder}/b"]
    with Switch(build, folder, "--core", str(SWITCH_CORE)) as switch:
        switch.execute("add-bridge", name="br0")
        for name, path in zip("ab", paths):
            switch.execute("add-port", bridge="br0", name=name, type="vhost-user-client", path=path, **port)
        rate = circulate(folder, paths, mount, lambda: switch.wait_up("a", "b"))
        return rate, switch.private_kib() / 1024


class OpenVSwitch:
    """ovsdb-server and ovs-vswitchd with DPDK and one poll thread, in a folder of their own."""

    def __init__(self, folder, mount):
        program = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
        if not os.path.exists(program):
            raise RuntimeError("openvswitch-switch-dpdk is not installed")
        if not mount:
            raise RuntimeError("no huge pages for Open vSwitch")
        self.folder, self.processes = folder, []
        self.environment = dict(os.environ, OVS_RUNDIR=folder, OVS_LOGDIR=folder, OVS_DBDIR=folder)
        self.database = f"unix:{folder}/db.sock"
        self.run("ovsdb-tool", "create", f"{folder}/conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
        self.start("ovsdb-server", f"{folder}/conf.db", f"--remote=p{self.database}", f"--unixctl={folder}/db.ctl")
        time.sleep(0.5)
        self.vsctl("--no-wait", "init")
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
                   "other_config:dpdk-socket-mem=1024", f"other_config:pmd-cpu-mask={1 << SWITCH_CORE:#x}",
                   f"other_config:dpdk-lcore-mask={1 << GUEST_CORE:#x}",
                   f"other_config:dpdk-hugepage-dir={mount}", f"other_config:dpdk-extra=--file-prefix=ovs{os.getpid()}")
        self.start(program, self.database, f"--unixctl={folder}/vs.ctl")

    def run(self, *command):
        subprocess.run(command, env=self.environment, check=True, timeout=60, stdout=subprocess.DEVNULL)

    def start(self, *command):
        with open(f"{self.folder}/ovs.log", "ab") as log:
            self.processes.append(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log))

    def vsctl(self, *words):
        self.run("ovs-vsctl", "--timeout=40", f"--db={self.database}", *words)

    def add_ports(self, paths):
        self.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
        for name, path in zip("ab", paths):
            self.vsctl("add-port", "br0", name, "--", "set", "Interface", name, "type=dpdkvhostuserclient",
                       f"options:vhost-server-path={path}")
        management = f"unix:{self.folder}/br0.mgmt"
        self.run("ovs-ofctl", "del-flows", management)
        self.run("ovs-ofctl", "add-flow", management, "in_port=1,actions=2")
        self.run("ovs-ofctl", "add-flow", management, "in_port=2,actions=1")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def theirs(folder, mount):
    paths = [f"{folder}/oa", f"{folder}/ob"]
    with tempfile.TemporaryDirectory(dir=folder) as inner, OpenVSwitch(inner, mount) as ovs:
        # It tries its connections again each second.
        ovs.add_ports(paths)
        return circulate(folder, paths, mount, lambda: time.sleep(2))


def switch(build):
    """64-byte frames between two vhost-user guests through one core; Open vSwitch with DPDK"""
    if not shutil.which("dpdk-testpmd"):
        raise RuntimeError("dpdk-testpmd is not installed (make setup-test)")
    with tempfile.TemporaryDirectory() as folder, huge_pages(folder) as mount:
        plain, tagged, peer, sizes = [], [], [], []
        why = None
        for _ in range(ROUNDS):
            rate, size = ours(build, folder, mount)
            plain.append(rate)
            sizes.append(size)
            tagged.append(ours(build, folder, mount, tag=10)[0])
            try:
                if why is None:
                    peer.append(theirs(folder, mount))
            except (RuntimeError, AssertionError, OSError, subprocess.SubprocessError) as e:
                why = e
        median = [sorted(rates)[len(rates) // 2] if rates else None for rates in (plain, tagged, peer)]
        pages = "huge pages" if mount else "4 KiB pages"
        load = f"load {os.getloadavg()[0]:.1f}"
        name = "OVS-DPDK" if why is None else "OVS-DPDK: not run"
        yield figure(f"64-byte frames, MACs learned, {pages}, {load}", median[0], median[2], "Mpps", name, ">= 1.3")
        yield figure("the same in an access VLAN", median[1], median[2], "Mpps", name, ">= 1.3")
        yield figure("kvasir-switchd's own memory", max(sizes), None, "MiB", "-", "<= 20 MiB")
        if why is not None:
            raise RuntimeError(f"Open vSwitch with DPDK: {why}")


ROWS = [switch]
