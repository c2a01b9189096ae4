# SPDX-License-Identifier: GPL-2.0-or-later
"""The libvirt API over the unix socket, from python3-libvirt: kvasird and the distribution's libvirtd.

Calls are measured in turn: some with one daemon, as many with the other, and as many with
api_replay, which answers at once with packets that kvasird sent before. So each figure has
beside it what the client costs by itself, below which no daemon can bring it.

libvirtd runs privately: in a mount namespace of its own, with empty folders over
/etc/libvirt, /var/lib/libvirt, /var/cache/libvirt, /var/log/libvirt and /run.
"""
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time

from rows_start import figure

DOMAINS = 1000
CONNECTIONS = 4
ROUNDS = 9
PATIENCE = 60  # seconds
LIBVIRTD = "/usr/sbin/libvirtd"
HIDDEN = ("/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt", "/run")

# A usual machine, without what libvirtd would have to look up on this host.
XML = """<domain type='qemu'>
  <name>{name}</name>
  <memory unit='KiB'>1048576</memory>
  <vcpu placement='static'>2</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><kernel>/boot/vmlinuz</kernel></os>
  <features><acpi/><apic/></features>
  <clock offset='utc'/>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
      <source file='/srv/{name}.qcow2'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/>
      <source file='/srv/{name}-data.raw'/><target dev='vdb' bus='virtio'/></disk>
    <interface type='bridge'><source bridge='br0'/><model type='virtio'/></interface>
    <serial type='pty'/><console type='pty'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>"""


class Server:
    """One of the two daemons, on a socket of its own."""

    def __init__(self, command, socket, domain_type):
        self.uri, self.domain_type = f"qemu+unix:///system?socket={socket}", domain_type
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        self.connection = self._connect()

    def _connect(self):
        import libvirt  # pylint: disable=import-outside-toplevel
        libvirt.registerErrorHandler(lambda *_: None, None)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return libvirt.open(self.uri)
            except libvirt.libvirtError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def xml(self, i):
        return XML.format(name=f"vm{i:05}").replace("type='qemu'>", f"type='{self.domain_type}'>", 1)

    def define(self, first, count, clients=CONNECTIONS):
        """Definitions a second, from some clients at the same time."""
        import libvirt  # pylint: disable=import-outside-toplevel

        failures = []
        connections = [libvirt.open(self.uri) for _ in range(clients)]

        def some(connection, start):
            try:
                for i in range(start, first + count, clients):
                    connection.defineXML(self.xml(i))
            except libvirt.libvirtError as error:
                failures.append(error)
        threads = [threading.Thread(target=some, args=(connection, first + n))
                   for n, connection in enumerate(connections)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - began
        for connection in connections:
            connection.close()
        if failures:
            raise failures[0]
        return count / took

    def private_dirty(self):
        pid = self.process.pid
        with open(f"/proc/{pid}/smaps") as f:
            return sum(int(line.split()[1]) for line in f if line.startswith("Private_Dirty:"))

    def end(self):
        try:
            self.connection.close()
        finally:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def start_kvasird(build, folder):
    return Server([f"{build}/kvasird", "--socket-dir", f"{folder}/run", "--state-dir", f"{folder}/state"],
                  f"{folder}/run/libvirt-sock", "kvm")


def start_libvirtd(folder):
    if not os.path.exists(LIBVIRTD):
        raise RuntimeError("libvirt-daemon is not installed (make setup-bench)")
    if os.geteuid() != 0:
        raise RuntimeError("libvirtd needs root")
    with open(f"{folder}/libvirtd.conf", "w") as f:
        f.write(f'unix_sock_dir = "{folder}"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n')
    os.makedirs(f"{folder}/over/etc/libvirt")
    with open(f"{folder}/over/etc/libvirt/qemu.conf", "w") as f:
        f.write('user = "root"\ngroup = "root"\n')
    # The user that its monitors would become must exist, though none is started here.
    accounts = {"passwd": "libvirt-qemu:x:64055:64055::/:/bin/false", "group": "libvirt-qemu:x:64055:"}
    there = [path for path in HIDDEN if os.path.isdir(path)]
    # Definitions are to be synced to a real disk: the folders are on the one of /tmp.
    hide = [f"mkdir -p {folder}/over{path}; mount --bind {folder}/over{path} {path}" for path in there]
    for name, line in accounts.items():
        with open(f"/etc/{name}") as old, open(f"{folder}/{name}", "w") as new:
            new.write(old.read() + line + "\n")
        hide.append(f"mount --bind {folder}/{name} /etc/{name}")
    return Server(["unshare", "-m", "sh", "-c", "; ".join(hide) + f"; exec {LIBVIRTD} --config "
                   f"{folder}/libvirtd.conf --pid-file {folder}/pid"], f"{folder}/libvirt-sock", "qemu")


def start_replay(build, folder, server):
    """What stands for a daemon that costs nothing: the same replies as the server's, at once."""
    socket = f"{folder}/replay-sock"
    return Server([f"{build}/bench/api_replay", socket, f"{folder}/run/libvirt-sock"], socket, server.domain_type)


def define_all(servers):
    """By server: the best of some runs with several clients, and with one. Run in turn."""
    got = {who: {"define": 0, "define_one": 0} for who in servers}
    part = DOMAINS // 4
    for run, clients in enumerate((CONNECTIONS, 1, 1, CONNECTIONS)):
        for who, server in servers.items():
            key = "define_one" if clients == 1 else "define"
            got[who][key] = max(got[who][key], server.define(run * part, part, clients))
    return got


# What is called, and how often in each round.
CALLS = {
    "list": (lambda connection, domain: connection.listAllDomains(), 6),
    "xml": (lambda connection, domain: domain.XMLDesc(), 200),
    "smallest": (lambda connection, domain: connection.getLibVersion(), 400),
    "stats": (lambda connection, domain: connection.getAllDomainStats(), 3),
}


def call_all(servers, domains):
    """By server and call: microseconds, the median."""
    got = {who: {} for who in servers}
    named = {who: server.connection.lookupByName(f"vm{domains // 2:05}") for who, server in servers.items()}
    for key, (call, times) in CALLS.items():
        spent = {who: [] for who in servers}
        for _ in range(ROUNDS):
            for who, server in servers.items():
                for _ in range(times):
                    began = time.perf_counter()
                    call(server.connection, named[who])
                    spent[who].append(time.perf_counter() - began)
        for who in servers:
            got[who][key] = statistics.median(spent[who]) * 1e6
    return got


ROWS_OF = (
    ("define", f"define, synced before the reply, {CONNECTIONS} clients", "/s", ">= 2000 /s"),
    ("define_one", "define, synced before the reply, one client", "/s", ">= 2000 /s"),
    ("list", f"list all of {DOMAINS} domains", "us", "<= 1300 us"),
    ("xml", "one XMLDesc", "us", "<= 80 us"),
    ("smallest", "one smallest call", "us", "<= 30 us"),
    ("stats", f"all stats of {DOMAINS} domains", "us", "<= 6000 us"),
    ("memory", f"Private_Dirty with {DOMAINS} domains", "KiB", "<= 6144 KiB"),
)


def measure(servers, build, folder):
    """By server, with "alone" for the client by itself."""
    got = define_all(servers)
    for who, server in servers.items():
        got[who]["memory"] = server.private_dirty()
    alone = start_replay(build, folder, servers["ours"])
    try:
        for who, figures in call_all({**servers, "alone": alone}, DOMAINS).items():
            got.setdefault(who, {}).update(figures)
    finally:
        alone.end()
        os.unlink(f"{folder}/replay-sock")
    return got


def measure_many(servers, build, folder):
    """Among ten times as many domains."""
    servers["ours"].define(DOMAINS, 9 * DOMAINS)
    servers["alone"] = start_replay(build, folder, servers["ours"])
    return call_all({who: servers[who] for who in ("ours", "alone")}, 10 * DOMAINS)


def figures_of(got, many, why):
    for key, name, unit, target in ROWS_OF:
        yield figure(name, got["ours"][key], got.get("theirs", {}).get(key), unit, f"libvirtd{why}", target)
    for key, name, unit, _ in ROWS_OF:
        if key in CALLS:
            yield figure(name, got["ours"][key], got["alone"][key], unit, "the client alone")
    for key, name in (("list", "list, a domain"), ("stats", "stats, a domain"), ("xml", "one XMLDesc")):
        share = 1 if key == "xml" else DOMAINS
        few, of_many = f"with {DOMAINS}", f"with {10 * DOMAINS} domains"
        for who, what, peer, target in (("ours", f"{name}, {of_many}", f"ours {few}", "the same"),
                                        ("alone", f"{name}, {of_many}, the client alone", few, "")):
            times = 1 if key == "xml" else 10 * DOMAINS
            yield figure(what, many[who][key] / times, got[who][key] / share, "us", peer, target)


def run_servers(build, theirs, why=""):
    """All rows, with libvirtd or without."""
    folder = tempfile.mkdtemp(prefix="kv-bench-", dir="/tmp")
    servers, bound = {}, None
    try:
        servers["ours"] = start_kvasird(build, folder)
        if theirs:
            servers["theirs"] = start_libvirtd(folder)
            # Some hosts make it wait for ever; a call returns when it is gone.
            bound = threading.Timer(4 * PATIENCE, servers["theirs"].process.kill)
            bound.start()
        got = measure(servers, build, folder)
        if theirs:
            bound.cancel()
            servers.pop("theirs").end()
        return list(figures_of(got, measure_many(servers, build, folder), why))
    finally:
        if bound:
            bound.cancel()
        for server in servers.values():
            server.end()
        shutil.rmtree(folder, ignore_errors=True)


def libvirt_api(build):
    """the libvirt API: define, list, XML, smallest call, stats, memory"""
    try:
        rows = run_servers(build, theirs=True)
    except Exception as error:  # ours are measured all the same
        rows = run_servers(build, theirs=False, why=f" ({error})")
    yield from rows


ROWS = [libvirt_api]
