# SPDX-License-Identifier: GPL-2.0-or-later
"""Random operations of all kinds, and what has to be true whatever they did and whoever was killed."""
import glob
import json
import os
import random
import re
import sqlite3
import threading
import time
import uuid

import libvirt
import libvirt_qemu

from kv_daemon import children_of, domain_xml

CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
GROUPS = ("/sys/fs/cgroup/unified/kvasir", "/sys/fs/cgroup/kvasir")
SETTLES_IN = 3  # seconds
UNUSUAL = (libvirt.VIR_ERR_RPC, libvirt.VIR_ERR_SYSTEM_ERROR)  # nobody may get these

DISK = "<disk type='file' device='disk'><source file='/nowhere/{}'/><target dev='vd{}' bus='virtio'/></disk>"


def machine_xml(name, bridge, rng):
    devices = "<channel type='unix'><target type='virtio' name='org.test.0'/></channel>"
    if bridge and rng.randrange(2):
        devices += f"<interface type='bridge'><source bridge='{bridge}'/><model type='virtio'/></interface>"
    if rng.randrange(2):
        devices += "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
    return domain_xml(name, guest=rng.choice(("sleep", "obey")), memory=32, devices=devices)


def look_at_console(domain):
    stream = domain.connect().newStream(libvirt.VIR_STREAM_NONBLOCK)
    domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    stream.send(b"ex\n")
    stream.recv(100)
    stream.abort()


def of_one_domain(domain, rng):
    """What may be done with it, by chance."""
    disk = DISK.format(rng.randrange(9), rng.choice("xyz"))
    rng.choice((
        domain.create, domain.create, domain.destroy, domain.suspend, domain.resume, domain.undefine,
        domain.reset, domain.shutdown, domain.reboot, domain.injectNMI,
        domain.XMLDesc, domain.info, domain.state, domain.memoryStats, domain.jobInfo, domain.schedulerParameters,
        lambda: domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED),
        lambda: domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL),
        lambda: domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE),
        lambda: domain.setAutostart(rng.randrange(2)),
        lambda: domain.setMemoryFlags(16384, CONFIG),
        lambda: domain.setVcpusFlags(1, CONFIG),
        lambda: domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, str(rng.random()), None, None, 0),
        lambda: domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, "<a><b/></a>", "k", "http://t/", CONFIG),
        lambda: domain.metadata(libvirt.VIR_DOMAIN_METADATA_TITLE, None),
        lambda: domain.attachDeviceFlags(disk, CONFIG),
        lambda: domain.detachDeviceFlags(disk, CONFIG),
        lambda: domain.updateDeviceFlags(disk, CONFIG),
        lambda: domain.rename(domain.name() + "r", 0),
        lambda: look_at_console(domain),
        lambda: libvirt_qemu.qemuMonitorCommand(domain, '{"execute": "query-status"}', 0),
        lambda: domain.coreDumpWithFormat(domain.connect().dump_to, 0, libvirt.VIR_DUMP_MEMORY_ONLY),
    ))()


def of_a_secret(conn, rng):
    usage = f"/volume/{rng.randrange(4)}"
    try:
        secret = conn.secretLookupByUsage(libvirt.VIR_SECRET_USAGE_TYPE_VOLUME, usage)
    except libvirt.libvirtError:
        secret = conn.secretDefineXML(f"<secret><usage type='volume'><volume>{usage}</volume></usage></secret>")
    rng.choice((lambda: secret.setValue(b"x" * rng.randrange(1, 400)), secret.value, secret.undefine,
                secret.XMLDesc))()


def anything(conn, rng, names, bridge=None):
    """One random operation. What is refused is fine, as long as it is answered."""
    name = rng.choice(names)
    what = rng.randrange(16)
    if what < 2:
        conn.defineXML(machine_xml(name, bridge, rng))
    elif what == 2:
        conn.createXML(machine_xml(name, bridge, rng), rng.choice((0, libvirt.VIR_DOMAIN_START_PAUSED)))
    elif what == 3:
        conn.getAllDomainStats()
    elif what == 4:
        rng.choice((conn.listAllDomains, conn.listAllSecrets, conn.getCapabilities, conn.listAllDevices,
                    conn.getInfo, conn.listDefinedDomains))()
    elif what == 5:
        of_a_secret(conn, rng)
    else:
        of_one_domain(conn.lookupByName(name), rng)


class Ledger:
    """A domain and a secret that only one client changes. What it was told is done has to be there
    after any crash; of the one thing that was under way, either."""

    def __init__(self, name, rng):
        self.name, self.rng, self.uuid = name, rng, str(uuid.uuid4())
        self.sure = (None, None)  # (title, autostart) of the domain, value of the secret
        self.maybe = self.sure

    def _usage(self):
        return f"/ledger/{self.name}"

    def _secret(self, conn):
        return conn.secretLookupByUsage(libvirt.VIR_SECRET_USAGE_TYPE_VOLUME, self._usage())

    def change(self, conn):
        domain, secret = self.sure
        token = f"{self.rng.random()}"
        what = self.rng.randrange(3)
        if what == 0:
            self.maybe = ((token, domain[1] if domain else 0), secret)
            conn.defineXML(domain_xml(self.name, more=f"<title>{token}</title>", uuid=self.uuid))
        elif what == 1 and domain:
            step = self.rng.randrange(3)
            found = conn.lookupByName(self.name)
            if step == 0:
                self.maybe = (None, secret)
                found.undefine()
            elif step == 1:
                self.maybe = ((domain[0], 1 - domain[1]), secret)
                found.setAutostart(1 - domain[1])
            else:
                self.maybe = ((token, domain[1]), secret)
                found.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, token, None, None, CONFIG)
        elif what == 2 and secret is None:
            self.maybe = (domain, token.encode())
            made = conn.secretDefineXML("<secret><usage type='volume'><volume>"
                                        f"{self._usage()}</volume></usage></secret>")
            made.setValue(token.encode())
        elif what == 2:
            self.maybe = (domain, self.rng.choice((None, token.encode())))
            found = self._secret(conn)
            if self.maybe[1] is None:
                found.undefine()
            else:
                found.setValue(self.maybe[1])
        self.sure = self.maybe

    def _read(self, conn):
        try:
            found = conn.lookupByName(self.name)
            domain = (found.metadata(libvirt.VIR_DOMAIN_METADATA_TITLE, None), found.autostart())
        except libvirt.libvirtError as error:
            assert error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN, error
            domain = None
        secret = None
        try:
            secret = self._secret(conn)
            secret = secret.value()
        except libvirt.libvirtError as error:
            assert error.get_error_code() == libvirt.VIR_ERR_NO_SECRET, error
            if secret is not None:  # defined, and killed before it had a value: begin anew
                secret.undefine()
                assert self.maybe[1] is not None and self.sure[1] is None, error
            secret = None
        return domain, secret

    def check(self, conn):
        found = self._read(conn)
        if self.sure[1] is None and self.maybe[1] is not None and found[1] is None:
            self.maybe = self.sure
        assert found in (self.sure, self.maybe), f"{self.name}: {found}; {self.sure} or {self.maybe}"
        self.sure = self.maybe = found


class Clients:
    """Threads that each have a connection and do anything until told to stop, or the daemon dies."""

    def __init__(self, daemon, count, names, seed, bridge=None, ledgers=()):
        self.failures, self.operations, self._stop = [], 0, False
        self._daemon, self._names, self._bridge = daemon, names, bridge
        ledgers = list(ledgers) + [None] * count
        self._threads = [threading.Thread(target=self._run, args=(seed * 1000 + i, ledgers[i]))
                         for i in range(count)]
        for thread in self._threads:
            thread.start()

    def _one(self, conn, rng, ledger):
        if ledger and rng.randrange(3) == 0:
            ledger.change(conn)
            return
        try:
            anything(conn, rng, self._names, self._bridge)
        except libvirt.libvirtError as error:
            of_a_guest = error.get_error_domain() == libvirt.VIR_FROM_STREAMS  # its console is gone
            if not conn.isAlive() or (error.get_error_code() in UNUSUAL and not of_a_guest):
                raise

    def _run(self, seed, ledger):
        rng = random.Random(seed)
        try:
            conn = libvirt.open(self._daemon.uri())
            conn.dump_to = os.path.join(self._daemon.folder, "core")
            while not self._stop:
                self._one(conn, rng, ledger)
                self.operations += 1
            conn.close()
        except libvirt.libvirtError as error:
            self.failures.append(error)

    def stop(self):
        self._stop = True
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client waits for ever"


def parent_of(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return int(f.read().rsplit(")", 1)[1].split()[1])
    except OSError:
        return None


def check_database(daemon):
    """Of a daemon that was killed, before the next one repairs anything."""
    base = sqlite3.connect(f"file:{os.path.join(daemon.state, 'kvasir.db')}?mode=ro", uri=True)
    assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    base.close()


def check_processes(daemon, pids):
    """Every monitor is one of a machine: its process, or that one's child inside the jail."""
    for pid in children_of(daemon.folder):
        assert pid in pids or parent_of(pid) in pids or not os.path.exists(f"/proc/{pid}"), \
            f"process {pid} belongs to no machine"


def check_files(daemon, uuids):
    for path in glob.glob(os.path.join(daemon.run, "machine", "*")):
        assert os.path.basename(path)[:36] in uuids, f"{path} belongs to no machine"
    for folder in GROUPS:
        for one in daemon.uuids_seen - uuids:
            assert not glob.glob(os.path.join(folder, f"{one}*")), f"control group of {one}"


def check_taps(active, bridge):
    if not bridge:
        return
    wanted = sorted(name for d in active for name in re.findall(r"<target dev='(vnet\d+)'/>", d.XMLDesc()))
    assert sorted(os.listdir(f"/sys/class/net/{bridge}/brif")) == wanted


def check_state(domain):
    """What the daemon says is what the monitor says."""
    states = {"running": libvirt.VIR_DOMAIN_RUNNING, "paused": libvirt.VIR_DOMAIN_PAUSED,
              "prelaunch": libvirt.VIR_DOMAIN_PAUSED}
    answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain, '{"execute": "query-status"}', 0))
    assert domain.state()[0] == states.get(answer["return"]["status"]), (domain.name(), answer)


def look_whether_whole(daemon, conn, bridge):
    domains = conn.listAllDomains()
    assert len({d.name() for d in domains}) == len({d.UUIDString() for d in domains}) == len(domains)
    active = [d for d in domains if d.isActive()]
    assert len({d.ID() for d in active}) == len(active)
    uuids = {d.UUIDString() for d in active}
    daemon.uuids_seen |= uuids
    pids = sorted(daemon.monitor_of(one) for one in uuids)
    assert sorted(daemon.monitors()) == pids, "a record that belongs to no domain"
    check_processes(daemon, pids)
    check_files(daemon, uuids)
    check_taps(active, bridge)
    for domain in domains:
        assert f"<name>{domain.name()}</name>" in domain.XMLDesc()
        assert domain.isActive() or domain.isPersistent()
    for domain in active:
        check_state(domain)


def check_whole(daemon, conn, bridge=None):
    """What the daemon says and what there is agree, as soon as guests that were told to switch off
    have done so."""
    end = time.monotonic() + SETTLES_IN
    while True:
        try:
            look_whether_whole(daemon, conn, bridge)
            return
        except (AssertionError, OSError, libvirt.libvirtError):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
