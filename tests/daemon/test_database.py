# SPDX-License-Identifier: GPL-2.0-or-later
"""The state directory's disk is full, read-only or damaged: it is said clearly and nothing is lost."""
import os
import random
import subprocess

import libvirt
import pytest

from kv_daemon import BUILD, Daemon, Refused, domain_xml

needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")


class SmallDisk:
    """A file system of its own as state directory."""

    def __init__(self, path, size):
        self.path = path
        os.makedirs(path)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "kvasir-test", path],
                          stderr=subprocess.DEVNULL, check=False).returncode != 0:
            pytest.skip("mounts are not possible")

    def change(self, options):
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)

    def end(self):
        subprocess.run(["umount", "-l", self.path], check=True)


@pytest.fixture
def small():
    """(daemon that is not started, its disk)"""
    daemon = Daemon()
    disk = SmallDisk(daemon.state, "512k")
    yield daemon, disk
    if daemon.process:
        daemon.end()
    disk.end()


def names(conn):
    return {domain.name(): domain.metadata(libvirt.VIR_DOMAIN_METADATA_DESCRIPTION, None)
            for domain in conn.listAllDomains()}


def refusal(daemon):
    """What kvasird says when it does not start."""
    done = subprocess.run([os.path.join(BUILD, "kvasird"), "--socket-dir", daemon.run, "--state-dir", daemon.state],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1, done
    return done.stderr.splitlines()[-1]


@needs_mounts
def test_a_full_disk_is_said_and_nothing_acknowledged_is_lost(small):
    daemon, disk = small
    conn = daemon.start().connect()
    dice, sure = random.Random(3), {}
    with Refused(libvirt.VIR_ERR_SYSTEM_ERROR, "database or disk is full"):
        for n in range(1000):
            name = f"vm{n % 40}"
            uuid = f"00000000-0000-0000-0000-{n % 40:012}"
            text = "".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randrange(20000)))
            conn.defineXML(domain_xml(name, uuid=uuid, more=f"<description>{text}</description>"))
            sure[name] = text
    # What reads goes on, and says what was there before.
    assert names(conn) == sure
    assert len(conn.getAllDomainStats()) == len(sure)
    with Refused(libvirt.VIR_ERR_SYSTEM_ERROR, "database or disk is full"):
        for n in range(60):
            conn.defineXML(domain_xml(f"new{n}", more=f"<description>{'x' * 20000}</description>"))
            sure[f"new{n}"] = "x" * 20000
    assert names(conn) == sure
    disk.change("size=8m")
    conn.defineXML(domain_xml("later", more="<description>d</description>"))
    sure["later"] = "d"
    daemon.kill()
    conn = daemon.start().connect()
    assert names(conn) == sure
    for domain in conn.listAllDomains():
        domain.undefine()


@needs_mounts
def test_a_read_only_state_directory_is_refused_at_the_start(small):
    daemon, disk = small
    disk.change("ro")
    said = refusal(daemon)
    assert daemon.state in said and "Read-only file system" in said
    disk.change("rw")
    daemon.start().connect().defineXML(domain_xml("one"))
    daemon.stop()
    disk.change("ro")
    assert "Read-only file system" in refusal(daemon)
    disk.change("rw")
    assert daemon.start().connect().lookupByName("one").isPersistent() == 1


@pytest.mark.parametrize("how", ["garbage", "a page", "the head", "half of it"])
def test_a_damaged_database_is_refused_and_left_as_it_is(fresh, how):
    conn = fresh.connect()
    for n in range(30):
        conn.defineXML(domain_xml(f"vm{n}", more=f"<description>{'d' * 3000}</description>"))
    fresh.stop()
    path = os.path.join(fresh.state, "kvasir.db")
    with open(path, "rb") as f:
        whole = f.read()
    middle = len(whole) // 2 & ~4095
    damaged = {"garbage": b"nonsense" * 1000, "a page": whole[:middle] + b"\xa5" * 4096 + whole[middle + 4096:],
               "the head": b"\0" * 100 + whole[100:], "half of it": whole[:middle]}[how]
    with open(path, "wb") as f:
        f.write(damaged)
    said = refusal(fresh)
    assert path in said and "state database" in said, said
    with open(path, "rb") as f:
        assert f.read() == damaged
    with open(path, "wb") as f:  # the backup
        f.write(whole)
    assert len(fresh.start().connect().listAllDomains()) == 30


def test_a_state_directory_belongs_to_one_daemon(fresh):
    assert "is used by another kvasird" in refusal(fresh)
    assert fresh.connect().listAllDomains() == []
