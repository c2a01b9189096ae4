# SPDX-License-Identifier: GPL-2.0-or-later
"""What kvasir does beyond virsh: run, wait, events, logs, top, doctor, JSON, completion, hints."""
import json
import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from kv_daemon import BUILD, Daemon, payload, wait_for  # noqa: E402  pylint: disable=wrong-import-position

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


def test_run_refuses_an_image_without_a_kernel(kvasir, tmp_path):
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(4096))
    assert "need firmware" in kvasir("run", str(image), status=1).stderr


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
