# SPDX-License-Identifier: GPL-2.0-or-later
"""What kvasir does beyond virsh: run, ssh, wait, events, logs, top, doctor, JSON, completion, hints."""
import json
import os
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from boot_disk import BootDisk  # noqa: E402  pylint: disable=wrong-import-position
from kv_daemon import BUILD, Daemon, domain_xml, payload, wait_for  # noqa: E402  pylint: disable=wrong-import-position

KVASIR = os.path.join(BUILD, "kvasir")
PATIENCE = 30


@pytest.fixture(scope="module")
def daemon():
    own = Daemon().start()
    yield own
    own.end()


@pytest.fixture
def kvasir(daemon):
    def run(*words, status=0, environment=None):
        done = subprocess.run([KVASIR, "-c", daemon.uri(), *words], stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=PATIENCE, check=False,
                              env={**os.environ, **(environment or {})})
        assert done.returncode == status, done.stdout + done.stderr
        return done
    yield run
    for domain in daemon.connect().listAllDomains():
        if domain.isActive():
            domain.destroy()
    for domain in daemon.connect().listAllDomains():
        domain.undefine()


def test_run_goes_to_the_console_and_ends_with_the_machine(kvasir):
    out = kvasir("run", payload("hello"), "--console", "--memory", "64M").stdout
    assert "Machine 'payload_hello' runs" in out and "Connected to domain 'payload_hello'" in out
    assert "done" in out, out
    wait_for(lambda: kvasir("list", "--all", "--name").stdout.strip() == "", "the machine to be gone")


def test_run_keeps_a_definition_when_told(kvasir):
    kvasir("run", payload("sleep"), "--keep", "--name", "kept", "--memory", "64M", "--cpus", "2")
    info = json.loads(kvasir("dominfo", "kept", "--output", "json").stdout)
    assert (info["cpus"], info["persistent"], info["max_memory"]) == (2, "yes", "65536 KiB")


def test_run_starts_an_image_by_the_bios(kvasir, tmp_path):
    os.chmod(tmp_path, 0o755)
    disk, image = BootDisk(BUILD, str(tmp_path), "k", "a disk of its own"), str(tmp_path / "disk.qcow2")
    subprocess.run([os.path.join(BUILD, "kvasir-img"), "convert", "-O", "qcow2", disk.path, image],
                   stdout=subprocess.DEVNULL, timeout=PATIENCE, check=True)
    os.chmod(image, 0o666)
    out = kvasir("run", image, "--console", "--memory", "64M").stdout
    assert "Machine 'disk-qcow2' runs" in out and "boot sector of k: a disk of its own" in out


def test_run_takes_a_second_disk_and_tells_formats(kvasir, tmp_path):
    boots = BootDisk(BUILD, str(tmp_path), "k", "")
    data = tmp_path / "data.img"
    data.write_bytes(b"QFI\xfb" + bytes(508))
    out = kvasir("run", boots.path, "--disk", str(data), "--print-xml").stdout
    assert f"type='raw'/><source file='{boots.path}'/><target dev='vda'" in out
    assert f"type='qcow2'/><source file='{data}'/><target dev='vdb'" in out
    assert "<boot dev='hd'/>" in out and "<kernel>" not in out


@pytest.mark.parametrize("content,words,error", [
    (bytes(4096), [], "neither a Linux kernel nor a disk that a BIOS starts from"),
    (b"KDMV" + bytes(4092), [], "an image of a format that machines do not write to"),
    (bytes(510) + b"\x55\xaa", ["--cmdline", "quiet"], "--initrd and --cmdline go with --kernel"),
    (bytes(510) + b"\x55\xaa", ["--share", "/srv"], "virtio-fs is not built"),
    (bytes(510) + b"\x55\xaa", ["--hostname", "x", "--print-xml"], "--print-xml starts no machine"),
])
def test_run_refuses_what_it_cannot_do(kvasir, tmp_path, content, words, error):
    image = tmp_path / "disk.raw"
    image.write_bytes(content)
    assert error in kvasir("run", str(image), *words, status=1).stderr


MAC, ADDRESS = "52:54:00:5c:11:01", "192.0.2.77"


@pytest.fixture
def neighbour(daemon, tmp_path):
    """kvasir where the ARP table has the machine "near", with programs that say how they were called."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("a network of one's own needs root and ip")
    for name in ("ssh", "scp"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho {name} "$@"\nexit 7\n')
        program.chmod(0o755)
    nic = f"<interface type='ethernet'><mac address='{MAC}'/><model type='virtio'/></interface>"
    uuid = daemon.connect().createXML(domain_xml("near", devices=nic)).UUIDString()
    prepare = ("ip link add kv type bridge && ip addr add 192.0.2.1/24 dev kv && ip link set kv up && "
               f"ip neigh add {ADDRESS} lladdr {MAC} dev kv && exec \"$@\"")

    def run(*words, known=True):
        own = ["unshare", "-n", "sh", "-c", prepare, "sh"] if known else []
        done = subprocess.run([*own, KVASIR, "-c", daemon.uri(), *words], stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=PATIENCE, check=False,
                              env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
        return done.returncode, done.stdout.replace(uuid, "UUID"), done.stderr
    return run


def test_ssh_goes_to_the_address_of_the_arp_table_and_ends_with_its_status(kvasir, neighbour):
    assert neighbour("ssh", "near", "--user", "root", "--", "ls", "-l") == (
        7, f"ssh -o HostKeyAlias=kvasir-UUID -l root -- {ADDRESS} ls -l\n", "")


def test_cp_names_a_file_of_a_machine_by_the_machine(kvasir, neighbour):
    assert neighbour("cp", "near:/a b", "/tmp/x:y", "--port", "2222", "--recursive") == (
        7, f"scp -o HostKeyAlias=kvasir-UUID -o Port=2222 -r -- {ADDRESS}:/a b /tmp/x:y\n", "")
    assert neighbour("cp", "a", "near:b", "--user", "me", "--key", "k")[1].endswith(f"-i k -- a me@{ADDRESS}:b\n")
    assert "machine:path" in neighbour("cp", "a", "b")[2]


def test_ssh_says_why_it_knows_no_address(kvasir, neighbour):
    assert "no lease, agent or ARP entry tells its address" in neighbour("ssh", "near", known=False)[2]
    kvasir("run", payload("sleep"), "--name", "alone", "--memory", "64M", "--keep")
    assert "has no network interface" in kvasir("ssh", "alone", status=1).stderr
    kvasir("destroy", "alone")
    assert "does not run" in kvasir("ssh", "alone", status=1).stderr


def test_wait_ends_when_the_machine_is_gone(kvasir, daemon):
    kvasir("run", payload("sleep"), "--name", "short", "--memory", "64M")
    waiting = subprocess.Popen([KVASIR, "-c", daemon.uri(), "wait", "short", "--for", "gone", "--timeout", "20"],
                               stdout=subprocess.DEVNULL)
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.5)
    kvasir("destroy", "short")
    assert waiting.wait(PATIENCE) == 0


def test_wait_fails_when_the_time_is_over(kvasir):
    kvasir("run", payload("sleep"), "--name", "long", "--memory", "64M")
    error = kvasir("wait", "long", "--for", "paused", "--timeout", "1", status=1).stderr
    assert "is running after 1 s, not paused" in error


def test_events_are_json_a_line(kvasir, daemon):
    kvasir("run", payload("sleep"), "--name", "held", "--memory", "64M")
    following = subprocess.Popen([KVASIR, "-c", daemon.uri(), "events", "--output", "json", "--domain", "held"],
                                 stdout=subprocess.PIPE, text=True)
    wait_for(lambda: kvasir("suspend", "held").stdout and kvasir("resume", "held").stdout
             and following.poll() is not None, "the first event")
    event = json.loads(following.stdout.readline())
    assert (event["name"], event["event"]) == ("held", "lifecycle")


def test_logs_come_from_the_daemon_s_folder(kvasir):
    kvasir("run", payload("sleep"), "--name", "logged", "--memory", "64M")
    assert "starting up" in kvasir("logs", "logged").stdout


def test_top_counts_the_machines_that_run(kvasir):
    kvasir("run", payload("sleep"), "--name", "busy", "--memory", "64M")
    rows = json.loads(kvasir("top", "--output", "json").stdout)
    assert [row["name"] for row in rows] == ["busy"]


def test_doctor_says_what_kvm_there_is(kvasir):
    findings = {row["check"]: row for row in json.loads(kvasir("doctor", "--output", "json").stdout)}
    assert findings["KVM"]["verdict"] in ("ok", "missing")
    assert findings["monitor"]["found"].endswith("kvasir-vmm")


def test_lists_are_json_arrays(kvasir):
    kvasir("run", payload("sleep"), "--name", "one", "--memory", "64M")
    rows = json.loads(kvasir("list", "--all", "--output", "json").stdout)
    assert [(row["name"], row["state"]) for row in rows] == [("one", "running")]


def test_completion_knows_machines_options_and_verbs(kvasir):
    kvasir("run", payload("sleep"), "--name", "complete-me", "--memory", "64M")
    assert kvasir("complete", "destroy", "com").stdout.split() == ["complete-me"]
    assert "--graceful" in kvasir("complete", "--", "destroy", "complete-me", "--g").stdout.split()
    assert kvasir("complete", "domi").stdout.split()[:2] == ["domid", "domif-setlink"]


def test_an_unknown_machine_s_nearest_names_are_told(kvasir):
    kvasir("run", payload("sleep"), "--name", "webserver", "--memory", "64M")
    error = kvasir("dominfo", "websever", status=1, environment={"KVASIR_HINTS": "1"}).stderr
    assert "hint: did you mean webserver?" in error


def test_a_daemon_that_does_not_run_is_told_with_what_starts_it(tmp_path):
    done = subprocess.run([KVASIR, "-c", f"qemu+unix:///system?socket={tmp_path}/none", "list"],
                          capture_output=True, text=True, timeout=PATIENCE, check=False,
                          env={**os.environ, "KVASIR_HINTS": "1"})
    assert done.returncode == 1 and "hint: the daemon does not run" in done.stderr


def test_colours_are_for_terminals_only(kvasir):
    assert "\033" not in kvasir("list").stdout + kvasir("domid", "none", status=1).stderr
