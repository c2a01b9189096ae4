# SPDX-License-Identifier: GPL-2.0-or-later
"""What kvasir does beyond virsh: run, ssh, wait, events, logs, top, doctor, JSON, completion, hints."""
import json
import os
import pty
import shlex
import shutil
import subprocess
import sys
import termios

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from boot_disk import BootDisk  # noqa: E402  pylint: disable=wrong-import-position
from kv_daemon import BUILD, Console, Daemon, domain_xml, payload, wait_for  # noqa: E402  pylint: disable=wrong-import-position

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
def neighbour(daemon, kvasir, tmp_path):  # kvasir ends the machine
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
               f"ip neigh add {ADDRESS} lladdr {MAC} dev kv && ")
    alone = prepare + 'exec "$@"'
    not_alone = (prepare + f"ip addr add {ADDRESS}/32 dev lo && ip link set lo up && {{ {{beside}} & "
                 '"$@"; status=$?; kill $!; exit $status; }')

    def run(*words, known=True, beside=None):
        script = not_alone.replace("{beside}", shlex.join(beside)) if beside else alone
        own = ["unshare", "-n", "sh", "-c", script, "sh"] if known else []
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


AGENT = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"


def test_wait_for_the_agent_ends_when_the_guest_opens_its_channel(kvasir, daemon):
    domain = daemon.connect().createXML(domain_xml("agent", "obey", devices=AGENT))
    waiting = subprocess.Popen([KVASIR, "-c", daemon.uri(), "wait", "agent", "--for", "agent", "--timeout", "20"],
                               stdout=subprocess.DEVNULL)
    console = Console(domain)
    console.expect(b"ready")
    assert waiting.poll() is None
    console.say(b"o")
    assert waiting.wait(PATIENCE) == 0
    kvasir("wait", str(domain.ID()), "--for", "agent", "--timeout", "1")
    console.say(b"c")
    wait_for(lambda: "state='disconnected'" in domain.XMLDesc(), "the channel to be closed")
    error = kvasir("wait", "agent", "--for", "agent", "--timeout", "1", status=1).stderr
    assert "machine 'agent': its agent has not opened its channel after 1 s" in error
    console.close()


def test_wait_says_what_can_never_be(kvasir):
    kvasir("run", payload("sleep"), "--name", "alone", "--memory", "64M")
    assert "has no channel 'org.qemu.guest_agent.0'" in kvasir("wait", "alone", "--for", "agent", status=1).stderr
    assert "has no network interface" in kvasir("wait", "alone", "--for", "ssh", status=1).stderr
    assert "agent, address and ssh are known" in kvasir("wait", "alone", "--for", "x", status=1).stderr
    assert "malformed or out of range" in kvasir("wait", "alone", "--timeout", "0", status=1).stderr


def test_wait_for_an_address_prints_it(neighbour):
    assert neighbour("wait", "near", "--for", "address") == (0, f"{ADDRESS}\n\n", "")
    status, _, error = neighbour("wait", "near", "--for", "address", "--timeout", "1", known=False)
    assert status == 1 and "no lease, agent or ARP entry tells its address after 1 s" in error


GREETER = """
import socket, sys, time
time.sleep(float(sys.argv[2]))
s = socket.create_server((sys.argv[1], 22))
while True:
    c = s.accept()[0]
    c.sendall(sys.argv[3].encode())
    time.sleep(0.2)
    c.sendall(sys.argv[4].encode())
    c.close()
"""


@pytest.mark.parametrize("late,first,second,status", [
    ("0", "SSH-2.0-x\r\n", "", 0),
    ("1", "welcome, all\r\nS", "SH-2.0-x\r\n", 0),
    ("0", "not SSH-2.0\r\n", "nor this\r\n", 1),
])
def test_wait_for_ssh_is_until_something_greets_as_ssh(neighbour, late, first, second, status):
    greeter = (sys.executable, "-c", GREETER, ADDRESS, late, first, second)
    got, _, error = neighbour("wait", "near", "--for", "ssh", "--timeout", "10" if status == 0 else "2",
                              beside=greeter)
    assert got == status, error
    assert status == 0 or f"nothing greets as ssh at {ADDRESS} after 2 s" in error


def test_events_are_json_a_line(kvasir, daemon):
    kvasir("run", payload("sleep"), "--name", "held", "--memory", "64M")
    following = subprocess.Popen([KVASIR, "-c", daemon.uri(), "events", "--output", "json", "--domain", "held"],
                                 stdout=subprocess.PIPE, text=True)
    wait_for(lambda: kvasir("suspend", "held").stdout and kvasir("resume", "held").stdout
             and following.poll() is not None, "the first event")
    event = json.loads(following.stdout.readline())
    assert (event["name"], event["event"]) == ("held", "lifecycle")


POOL = "<pool type='dir'><name>{0}</name><target><path>{1}</path></target></pool>"


def test_events_of_one_pool_are_not_those_of_another(kvasir, daemon, tmp_path):
    connection = daemon.connect()
    pools = []
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
        pools.append(connection.storagePoolDefineXML(POOL.format(name, tmp_path / name)))
    with subprocess.Popen([KVASIR, "-c", daemon.uri(), "pool-event", "--event", "lifecycle", "--pool", "mine",
                           "--timeout", "20"], stdout=subprocess.PIPE, text=True) as waiting:
        def heard():
            for pool in reversed(pools):
                pool.create()
                pool.destroy()
            return waiting.poll() is not None
        wait_for(heard, "an event of the pool")
        assert waiting.stdout.readline() == "event 'lifecycle' for storage pool mine: Started\n"
    assert "failed to get pool 'nosuch'" in kvasir("pool-event", "--event", "lifecycle", "--pool", "nosuch",
                                                  status=1).stderr
    for pool in pools:
        pool.undefine()


def test_a_console_leaves_the_terminal_as_it_found_it(kvasir, daemon):
    del kvasir  # ends what is left
    here, there = pty.openpty()
    before = termios.tcgetattr(there)
    with subprocess.Popen([KVASIR, "-c", daemon.uri(), "run", payload("hello"), "--console", "--memory", "64M"],
                          stdin=there, stdout=there, stderr=there, env={**os.environ, "TERM": "xterm"}) as running:
        assert running.wait(PATIENCE) == 0
    said = os.read(here, 65536)
    assert b"\033[?7h\033[?25h" in said.split(b"done")[1]
    assert termios.tcgetattr(there) == before
    os.close(here)
    os.close(there)


@pytest.mark.parametrize("words,error", [
    (["logs", "numbers", "--lines", "-1"], "--lines -1"),
    (["top", "--count", "-1"], "--count -1"),
    (["ssh", "numbers", "--port", "0"], "does not run"),
    (["pool-create-as", "p", "scsi", "--adapter-parent", "x"], "--adapter-parent: pools of SCSI adapters"),
    (["qemu-monitor-command", "numbers", "--pass-fds", "x", "query-status"], "Unable to parse FD number 'x'"),
])
def test_numbers_and_options_that_make_no_sense_are_refused(kvasir, daemon, words, error):
    daemon.connect().defineXML(domain_xml("numbers"))
    assert error in kvasir(*words, status=1).stderr


def test_logs_come_from_the_daemon_s_folder(kvasir):
    kvasir("run", payload("sleep"), "--name", "logged", "--memory", "64M")
    assert "starting up" in kvasir("logs", "logged").stdout


def test_top_counts_the_machines_that_run(kvasir):
    kvasir("run", payload("sleep"), "--name", "idle", "--memory", "64M")
    kvasir("run", payload("obey"), "--name", "busy", "--memory", "64M")
    rows = json.loads(kvasir("top", "--sort", "exits", "--output", "json").stdout)
    assert [row["name"] for row in rows] == ["busy", "idle"]
    assert float(rows[0]["exits"]) > 0


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
