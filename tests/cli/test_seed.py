# SPDX-License-Identifier: GPL-2.0-or-later
"""kvasir run's seed for cloud-init: what is on it, who sees it, and that nothing of it stays."""
import email
import glob
import os
import re
import subprocess
import sys

import libvirt
import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from kv_daemon import BUILD, Daemon, payload  # noqa: E402  pylint: disable=wrong-import-position

KVASIR = os.path.join(BUILD, "kvasir")
PATIENCE = 30
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@\"here\""


class Runner:
    """kvasir with a state folder of its own."""

    def __init__(self, daemon, folder):
        self.daemon, self.folder = daemon, str(folder)

    def __call__(self, *words, status=0):
        environment = {**os.environ, "XDG_STATE_HOME": self.folder}
        environment.pop("XDG_RUNTIME_DIR", None)
        done = subprocess.run([KVASIR, "-c", self.daemon.uri(), "run", payload("sleep"), "--memory", "64M", "--name",
                               "seeded", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=PATIENCE, check=False, env=environment)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stderr

    def left(self):
        """Files of seeds that are still there."""
        return glob.glob(self.folder + "/kvasir/*")

    def image(self):
        """The seed, as the monitor has it open: its file has no name any more."""
        uuid = self.daemon.connect().lookupByName("seeded").UUIDString()
        pids = [self.daemon.monitor_of(uuid)]
        for path in glob.glob(f"/proc/{pids[0]}/task/*/children"):
            with open(path, encoding="ascii") as f:
                pids += map(int, f.read().split())
        for pid in pids:
            for path in glob.glob(f"/proc/{pid}/fd/*"):
                if "kvasir-seed-" in os.readlink(path):
                    with open(path, "rb") as f:
                        os.lseek(f.fileno(), 0, os.SEEK_SET)
                        return f.read()
        raise AssertionError("no monitor has the seed open")

    def files(self, folder):
        """What another reader of ISO 9660 finds by the names of Rock Ridge, and by those of Joliet."""
        image = os.path.join(folder, "seed.iso")
        with open(image, "wb") as f:
            f.write(self.image())
        found = {}
        for kind in ("nojoliet", "norock"):
            out = os.path.join(folder, kind)
            subprocess.run(["xorriso", "-read_fs", kind, "-osirrox", "on", "-indev", image, "-extract", "/", out],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PATIENCE, check=True)
            read = {}
            for name in os.listdir(out):
                with open(os.path.join(out, name), "rb") as f:
                    read[name] = f.read()
            assert not found or found == read
            found = read
        return found


@pytest.fixture(scope="module")
def daemon():
    own = Daemon().start()
    yield own
    own.end()


@pytest.fixture
def run(daemon, tmp_path):
    yield Runner(daemon, tmp_path / "state")
    for domain in daemon.connect().listAllDomains():
        if domain.isActive():
            domain.destroy()
    for domain in daemon.connect().listAllDomains():
        domain.undefine()


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key.pub"
    path.write_text(f"# mine\n{KEY}\n")
    return str(path)


def test_a_user_with_a_key_comes_as_a_cloud_config(run, key, tmp_path):
    run("--user", "me", "--ssh-key", key, "--hostname", "web.example.org")
    assert run.left() == []
    files = run.files(tmp_path)
    assert sorted(files) == ["meta-data", "user-data"]
    assert re.fullmatch(rb"instance-id: kvasir-[0-9a-f]{32}\nlocal-hostname: web\.example\.org\n", files["meta-data"])
    assert files["user-data"].startswith(b"#cloud-config\n{") and b"me@\\\"here\\\"" in files["user-data"]
    assert b'"name": "me"' in files["user-data"]


def test_the_image_is_labelled_as_cloud_init_wants_it(run, tmp_path):
    run("--hostname", "x")
    image = tmp_path / "seed.iso"
    image.write_bytes(run.image())
    assert image.read_bytes()[32808:32840].rstrip() == b"cidata"
    tags = subprocess.run(["blkid", "-p", "-o", "value", "-s", "LABEL", "-s", "TYPE", str(image)], timeout=PATIENCE,
                          capture_output=True, text=True, check=True).stdout.lower().split()
    assert sorted(tags) == ["cidata", "iso9660"]


def test_files_of_ones_own_go_in_byte_for_byte(run, tmp_path):
    own, network = tmp_path / "own", tmp_path / "net"
    own.write_bytes(b"\x1f\x8b\0\r\n\xff")
    network.write_bytes(b"version: 2\n")
    run("--user-data", str(own), "--network-config", str(network))
    files = run.files(tmp_path)
    assert files["user-data"] == own.read_bytes() and files["network-config"] == network.read_bytes()
    assert b"local-hostname: seeded\n" in files["meta-data"]


@pytest.mark.parametrize("text,kind", [
    ("#cloud-config\npackages: [grüße]\n", "text/cloud-config"),
    ("#!/bin/sh\ntouch /x\n", "text/x-shellscript"),
    ("#cloud-config-archive\n- a\n", "text/cloud-config-archive"),
])
def test_a_file_and_a_key_are_two_parts_of_one_message(run, key, tmp_path, text, kind):
    own = tmp_path / "own"
    own.write_text(text, encoding="utf-8")
    run("--user-data", str(own), "--ssh-key", key)
    message = email.message_from_bytes(run.files(tmp_path)["user-data"])
    first, second = message.get_payload()
    assert (first.get_content_type(), first.get_payload(decode=True)) == (kind, text.encode())
    assert second.get_content_type() == "text/cloud-config" and "list(append)" in second["Merge-Type"]
    assert second.get_payload(decode=True).startswith(b"#cloud-config\n{\n  \"ssh_authorized_keys\": [\n")


def test_virsh_shows_a_read_only_cdrom_and_the_machine_outlives_the_daemon(run):
    run("--hostname", "x")
    assert re.search(r"file +cdrom +sda +/\S+/kvasir-seed-\w+\n", run.daemon.virsh("domblklist", "seeded", "--details"))
    xml = run.daemon.virsh("dumpxml", "seeded")
    assert re.search(r"<target dev='sda' bus='sata'/>\s*<readonly/>", xml)
    run.daemon.kill()
    run.daemon.start()
    assert run.daemon.connect().lookupByName("seeded").state()[0] == libvirt.VIR_DOMAIN_RUNNING
    assert run.image()[32769:32774] == b"CD001"


def test_a_definition_that_is_kept_is_without_the_seed(run, key):
    run("--ssh-key", key, "--keep")
    domain = run.daemon.connect().lookupByName("seeded")
    assert domain.isPersistent() and "kvasir-seed-" in domain.XMLDesc()
    assert "cdrom" not in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) and run.left() == []
    domain.destroy()
    domain.create()


def test_nothing_stays_of_a_machine_that_does_not_start(run):
    run("--hostname", "x")
    assert "Failed to run" in run("--hostname", "x", status=1)
    assert run.left() == []


@pytest.mark.parametrize("words,error", [
    (["--user", "me"], "needs --ssh-key"),
    (["--user", "Me", "--ssh-key", "KEY"], "small letters"),
    (["--hostname", "a..b"], "hostname 'a..b'"),
    (["--ssh-key", "/nowhere"], "No such file"),
    (["--ssh-key", "PRIVATE"], "is a private key"),
    (["--ssh-key", "EMPTY"], "has no public key"),
    (["--ssh-key", "WRONG"], "a line is no public key"),
    (["--user-data", "WRONG", "--ssh-key", "KEY"], "cannot go together with --user and --ssh-key"),
])
def test_what_makes_no_sense_is_refused_and_leaves_nothing(run, key, tmp_path, words, error):
    files = {"KEY": key}
    for name, text in (("PRIVATE", "-----BEGIN OPENSSH PRIVATE KEY-----\n"), ("EMPTY", "\n"), ("WRONG", "word\n")):
        files[name] = str(tmp_path / name)
        with open(files[name], "w", encoding="ascii") as f:
            f.write(text)
    assert error in run(*(files.get(word, word) for word in words), status=1)
    assert run.left() == []
    assert run.daemon.connect().listAllDomains() == []
