# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows about the switch: two guests (DPDK's testpmd, or a front end of our own, on one core) through one forwarding
core of kvasir-switchd and of Open vSwitch with DPDK. rows_switch_taps.py has what goes through the kernel."""
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


def cores_apart(build):
    """Nanoseconds between the cores that the figures depend on."""
    command = [f"{build}/bench/cores_apart", str(GUEST_CORE), str(SWITCH_CORE)]
    return int(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=20).stdout)


def circulate(folder, paths, mount, ready, size=64):
    """Frames of so many bytes go round between two guests; how many a second were forwarded, in millions."""
    with Testpmd(folder, paths, memory(mount), core=GUEST_CORE, words=[f"--txpkts={size}"]) as guests:
        guests.wait_for("Done")
        ready()
        guests.say("start tx_first 32")
        time.sleep(0.5)
        return sum(guests.rates(SECONDS)) / 1e6


@contextlib.contextmanager
def our_switch(build, folder, paths, **port):
    with Switch(build, folder, "--core", str(SWITCH_CORE)) as switch:
        switch.execute("add-bridge", name="br0")
        for name, path in zip("ab", paths):
            switch.execute("add-port", bridge="br0", name=name, type="vhost-user-client", path=path, **port)
        yield switch


def ours(build, folder, mount, size=64, **port):
    paths = [f"{folder}/a", f"{folder}/b"]
    with our_switch(build, folder, paths, **port) as switch:
        rate = circulate(folder, paths, mount, lambda: switch.wait_up("a", "b"), size)
        return rate, switch.private_kib() / 1024


class OpenVSwitch:
    """ovsdb-server and ovs-vswitchd with DPDK and one poll thread, in a folder of their own."""

    def __init__(self, folder, mount, tso=False):
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
        if tso:
            self.vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:userspace-tso-enable=true")
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


def theirs(folder, mount, size=64):
    paths = [f"{folder}/oa", f"{folder}/ob"]
    with tempfile.TemporaryDirectory(dir=folder) as inner, OpenVSwitch(inner, mount) as ovs:
        # It tries its connections again each second.
        ovs.add_ports(paths)
        return circulate(folder, paths, mount, lambda: time.sleep(2), size)


def median(values):
    return sorted(values)[len(values) // 2] if values else None


class Peer:
    """Calls theirs() in turn with ours, until it fails."""

    def __init__(self):
        self.why, self.got = None, []

    def __call__(self, function, *arguments):
        if self.why is None:
            try:
                self.got.append(function(*arguments))
            except (RuntimeError, AssertionError, OSError, subprocess.SubprocessError) as e:
                self.why = e

    def name(self):
        return "OVS-DPDK" if self.why is None else f"OVS-DPDK: {str(self.why)[:60]}"


def need_testpmd():
    if not shutil.which("dpdk-testpmd"):
        raise RuntimeError("dpdk-testpmd is not installed (make setup-test)")


def conditions(build, mount, apart):
    apart.append(cores_apart(build))
    pages = "huge pages" if mount else "4 KiB pages"
    return f"{pages}, load {os.getloadavg()[0]:.1f}, cores {min(apart)} to {max(apart)} ns apart"


def switch(build):
    """64-byte frames between two vhost-user guests through one core; Open vSwitch with DPDK"""
    need_testpmd()
    with tempfile.TemporaryDirectory() as folder, huge_pages(folder) as mount:
        plain, tagged, sizes, apart, peer = [], [], [], [], Peer()
        for _ in range(ROUNDS):
            apart.append(cores_apart(build))
            rate, size = ours(build, folder, mount)
            plain.append(rate)
            sizes.append(size)
            peer(theirs, folder, mount)
            tagged.append(ours(build, folder, mount, tag=10)[0])
        theirs_median = median(peer.got)
        print(f"# {conditions(build, mount, apart)}")
        yield figure("64-byte frames, MACs learned", median(plain), theirs_median, "Mpps", peer.name(), ">= 1.3")
        yield figure("the same in an access VLAN", median(tagged), theirs_median, "Mpps", peer.name(), ">= 1.3")
        yield figure("kvasir-switchd's own memory", max(sizes), None, "MiB", "-", "<= 20 MiB")


def switch_1500(build):
    """1500-byte frames between two vhost-user guests through one core; Open vSwitch with DPDK"""
    need_testpmd()
    with tempfile.TemporaryDirectory() as folder, huge_pages(folder) as mount:
        rates, apart, peer = [], [], Peer()
        for _ in range(ROUNDS):
            apart.append(cores_apart(build))
            rates.append(ours(build, folder, mount, 1500)[0])
            peer(theirs, folder, mount, 1500)
        print(f"# {conditions(build, mount, apart)}")
        yield figure("1500-byte frames, MACs learned", median(rates), median(peer.got), "Mpps", peer.name(), ">= 1.3")


def latencies(build, paths, ready):
    """Microseconds: frames one after the other, and frames after a pause; each p50, p99, p99.9."""
    command = ["taskset", "-c", str(GUEST_CORE), f"{build}/bench/vhost_latency", *paths, "64", "200000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as guests:
        try:
            ready()
            lines = guests.communicate(timeout=60)[0].splitlines()
        finally:
            guests.kill()
    if len(lines) != 2:
        raise RuntimeError("vhost_latency failed")
    return [[float(word) for word in line.split()] for line in lines]


def our_latencies(build, folder):
    paths = [f"{folder}/la", f"{folder}/lb"]
    with our_switch(build, folder, paths):
        return latencies(build, paths, lambda: None)


def their_latencies(build, folder, mount):
    paths = [f"{folder}/ma", f"{folder}/mb"]
    with tempfile.TemporaryDirectory(dir=folder) as inner, OpenVSwitch(inner, mount) as ovs:
        return latencies(build, paths, lambda: ovs.add_ports(paths))


def switch_latency(build):
    """A 64-byte frame from guest to guest; Open vSwitch with DPDK, which never sleeps"""
    with tempfile.TemporaryDirectory() as folder, huge_pages(folder) as mount:
        got, apart, peer = [], [cores_apart(build)], Peer()
        for _ in range(ROUNDS):
            got.append(our_latencies(build, folder))
            peer(their_latencies, build, folder, mount)
        print(f"# {conditions(build, mount, apart)}")
        for row, kind in enumerate(("one after the other", "after a pause")):
            for column, name in enumerate(("p50", "p99", "p99.9")):
                mine, other = ([values[row][column] for values in side] for side in (got, peer.got))
                yield figure(f"latency of 64 bytes, {kind}, {name}", median(mine), median(other), "us", peer.name())


def segments(build, kind, ends, ready):
    """Gigabits a second that come from one end to the other in TCP segments of 64 KB."""
    command = ["taskset", "-c", str(GUEST_CORE), f"{build}/bench/segments", kind, *ends, str(SECONDS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as guests:
        try:
            ready()
            out, err = guests.communicate(timeout=60)
        finally:
            guests.kill()
    if guests.returncode != 0:
        raise RuntimeError(err.strip())
    return float(out.split()[0])


def our_segments(build, folder):
    paths = [f"{folder}/sa", f"{folder}/sb"]
    with our_switch(build, folder, paths):
        return segments(build, "vhost", paths, lambda: None)


def their_segments(build, folder, mount):
    paths = [f"{folder}/ta", f"{folder}/tb"]
    with tempfile.TemporaryDirectory(dir=folder) as inner, OpenVSwitch(inner, mount, tso=True) as ovs:
        return segments(build, "vhost", paths, lambda: ovs.add_ports(paths))


def switch_segments(build):
    """TCP segments of 64 KB between two vhost-user guests through one core; Open vSwitch with DPDK and its TSO"""
    with tempfile.TemporaryDirectory() as folder, huge_pages(folder) as mount:
        got, apart, peer = [], [cores_apart(build)], Peer()
        for _ in range(ROUNDS):
            got.append(our_segments(build, folder))
            peer(their_segments, build, folder, mount)
        print(f"# {conditions(build, mount, apart)}")
        yield figure("segments of 64 KB, offloads", median(got), median(peer.got), "Gbit/s", peer.name(), ">= 1.3")


def switch_idle(build):
    """What an idle switch with 2 guests connected takes"""
    need_testpmd()
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/a", f"{folder}/b"]
        with our_switch(build, folder, paths) as ours_, Testpmd(folder, paths, ["--no-huge", "-m", "128"],
                                                                words=["--total-num-mbufs=4096"]) as guests:
            guests.wait_for("Done")
            ours_.wait_up("a", "b")
            time.sleep(1)
            before, start = ours_.cpu_seconds(), time.monotonic()
            time.sleep(10)
            used = (ours_.cpu_seconds() - before) / (time.monotonic() - start)
            yield figure("processor of an idle switch", used * 100, None, "%", "-", "< 0.1 %")
            yield figure("its own memory", ours_.private_kib() / 1024, None, "MiB", "-", "<= 20 MiB")


RULES = 10000


def many_rules(stateful):
    """An ACL of addresses and ports of others; the last rule allows what comes."""
    rules = [{"action": "deny", "from": f"172.16.{n // 250}.{n % 250 + 1}", "protocol": "tcp" if n % 2 else "udp",
              "to-ports" if n % 3 else "from-ports": str(1000 + n % 5000)} for n in range(RULES - 1)]
    return {"name": "many", "default": "deny", "stateful": stateful,
            "rules": [*rules, {"action": "allow", "type": "ipv4"}]}


def filtered(build, folder, mount, stateful):
    paths = [f"{folder}/a", f"{folder}/b"]
    with our_switch(build, folder, paths) as switch:
        switch.execute("set-acl", **many_rules(stateful))
        for port in "ab":
            switch.execute("set-filter", port=port, acl="many")
        rate = circulate(folder, paths, mount, lambda: switch.wait_up("a", "b"))
        if {"acl", "state", "connections", "malformed"} & set(switch.statistics("a")["drops"]):
            raise RuntimeError(f"frames were dropped: {switch.statistics('a')['drops']}")
        return rate, switch.private_kib() / 1024


def switch_acl(build):
    """64-byte frames between two vhost-user guests whose ports have 10,000 rules; the same without"""
    need_testpmd()
    with tempfile.TemporaryDirectory() as folder, huge_pages(folder) as mount:
        plain, rules, stateful, sizes, apart = [], [], [], [], [cores_apart(build)]
        for _ in range(ROUNDS):
            plain.append(ours(build, folder, mount)[0])
            rate, size = filtered(build, folder, mount, False)
            rules.append(rate)
            sizes.append(size)
            stateful.append(filtered(build, folder, mount, True)[0])
        print(f"# {conditions(build, mount, apart)}")
        yield figure("64-byte frames, 10,000 ACL rules", median(rules), median(plain), "Mpps", "without", ">= 0.9")
        yield figure("the same, stateful", median(stateful), median(plain), "Mpps", "without", ">= 0.9")
        yield figure("kvasir-switchd's own memory with them", max(sizes), None, "MiB", "-", "<= 20 MiB")


def filter_cost(build, *words):
    command = ["taskset", "-c", str(SWITCH_CORE), f"{build}/bench/filter_cost", *map(str, words), "300"]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout)


def switch_filter_cost(build):
    """Nanoseconds that a frame takes over a bridge without rings, by filters of both ports; without any"""
    for flows in (1, 1000, 50000):
        plain = filter_cost(build, "none", 0, flows)
        for name, kind, rules in (("10 ACL rules", "acl", 10), ("10,000 ACL rules", "acl", RULES),
                                  ("10,000 rules, stateful", "stateful", RULES)):
            # More connections than a bridge tracks would be dropped.
            if kind != "stateful" or flows <= 1000:
                yield figure(f"a frame, {name}, {flows} flows", filter_cost(build, kind, rules, flows), plain, "ns", "no filter")


ROWS = [switch, switch_1500, switch_acl, switch_filter_cost, switch_segments, switch_latency, switch_idle]
