# SPDX-License-Identifier: GPL-2.0-or-later
"""The libvirt API over the unix socket, from python3-libvirt: kvasird and the distribution's libvirtd.

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

    def define(self, first, count):
        """Definitions a second, from CONNECTIONS at the same time."""
        import libvirt  # pylint: disable=import-outside-toplevel

        failures = []

        def some(start):
            try:
                connection = libvirt.open(self.uri)
                for i in range(start, first + count, CONNECTIONS):
                    connection.defineXML(self.xml(i))
                connection.close()
            except libvirt.libvirtError as error:
                failures.append(error)
        threads = [threading.Thread(target=some, args=(first + n,)) for n in range(CONNECTIONS)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return count / (time.monotonic() - began)

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


def median_us(call, times):
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent) * 1e6


def measure(server):
    """All figures of one daemon."""
    got = {"define": max(server.define(first, 250) for first in range(0, DOMAINS, 250))}
    got["memory"] = server.private_dirty()
    connection = server.connection
    domain = connection.lookupByName(f"vm{DOMAINS // 2:05}")
    got["list"] = median_us(connection.listAllDomains, 20)
    got["xml"] = median_us(domain.XMLDesc, 500)
    got["smallest"] = median_us(connection.getLibVersion, 1000)
    got["stats"] = median_us(connection.getAllDomainStats, 10)
    return got


ROWS_OF = (
    ("define", f"define, synced before the reply, {CONNECTIONS} clients", "/s", ">= 2000 /s"),
    ("list", f"list all of {DOMAINS} domains", "us", "<= 1300 us"),
    ("xml", "one XMLDesc", "us", "<= 80 us"),
    ("smallest", "one smallest call", "us", "<= 30 us"),
    ("stats", f"all stats of {DOMAINS} domains", "us", "<= 6000 us"),
    ("memory", f"Private_Dirty with {DOMAINS} domains", "KiB", "<= 6144 KiB"),
)


def libvirt_api(build):
    """the libvirt API: define, list, XML, smallest call, stats, memory"""
    folder = tempfile.mkdtemp(prefix="kv-bench-", dir="/tmp")
    servers, results, why = [], {}, ""
    try:
        servers.append(start_kvasird(build, folder))
        results["ours"] = measure(servers[0])
        try:
            servers.append(start_libvirtd(folder))
            # Some hosts make it wait for ever; a call returns when it is gone.
            bound = threading.Timer(2 * PATIENCE, servers[1].process.kill)
            bound.start()
            try:
                results["theirs"] = measure(servers[1])
            finally:
                bound.cancel()
        except Exception as error:  # ours are measured all the same
            why = f" ({error})"
        for key, name, unit, target in ROWS_OF:
            yield figure(name, results["ours"][key], results.get("theirs", {}).get(key), unit,
                         f"libvirtd{why}", target)
        servers[0].define(DOMAINS, 9 * DOMAINS)
        again = measure_many(servers[0])
        for key, name, unit in (("list", "list, a domain", "us"), ("stats", "stats, a domain", "us"),
                                ("xml", "one XMLDesc", "us")):
            few = results["ours"][key] / (DOMAINS if key != "xml" else 1)
            yield figure(f"{name}, with {10 * DOMAINS} domains", again[key], few, unit,
                         f"ours with {DOMAINS}", "the same")
    finally:
        for server in servers:
            server.end()
        shutil.rmtree(folder, ignore_errors=True)


def measure_many(server):
    """What a domain costs among ten times as many."""
    connection = server.connection
    domain = connection.lookupByName(f"vm{5 * DOMAINS:05}")
    return {"list": median_us(connection.listAllDomains, 10) / (10 * DOMAINS),
            "stats": median_us(connection.getAllDomainStats, 5) / (10 * DOMAINS),
            "xml": median_us(domain.XMLDesc, 2000)}


ROWS = [libvirt_api]
