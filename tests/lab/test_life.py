# SPDX-License-Identifier: GPL-2.0-or-later
"""The life of a machine: pause, reset, panic, NMI, ends, and starts in a row."""

import json
import os
import subprocess
import time


def test_a_machine_pauses_and_goes_on(shell_guest):
    guest = shell_guest(cpus=2)
    guest.shell("true")
    guest.qmp("stop")
    assert guest.qmp("query-status") == {"running": False, "status": "paused"} or \
        guest.qmp("query-status")["status"] == "paused"
    guest.send("echo late\n")
    position = len(guest.output)
    time.sleep(1)
    assert len(guest.output) == position
    guest.qmp("cont")
    guest.expect("late")


def test_resets_by_the_guest_and_by_the_host(shell_guest):
    guest = shell_guest(append="reboot=k", cpus=2)
    guest.shell("true")
    guest.send("reboot -f\n")
    assert guest.event("RESET")["data"]["guest"] is True
    guest.restarted()
    guest.shell("true")
    guest.qmp("system_reset")
    reset = guest.event("RESET")
    assert reset["data"] == {"guest": False, "reason": "host-qmp-system-reset"}
    guest.restarted()
    assert guest.shell("nproc").strip() == "2"


def test_a_panic_is_reported_and_pauses_the_machine(shell_guest):
    guest = shell_guest("--on-panic", "pause", append="panic=0", module=["pvpanic-mmio"])
    guest.shell("true")
    guest.send("echo c >/proc/sysrq-trigger\n")
    assert guest.event("GUEST_PANICKED")["data"]["action"] == "pause"
    assert guest.qmp("query-status")["status"] == "guest-panicked"
    guest.qmp("quit")
    guest.wait()


def test_an_nmi_arrives(shell_guest):
    guest = shell_guest()
    count = "echo count $(awk '/NMI:/{print $2}' /proc/interrupts)"
    guest.shell("true")
    guest.qmp("inject-nmi")
    guest.send(f"sleep 1; {count}\n")
    assert int(guest.expect(r"\ncount (\d+)\r?\n").group(1)) > 0


def test_quit_and_sigterm_end_it_and_say_why(start_guest, make_initrd):
    guest = start_guest(initrd=make_initrd())
    guest.monitor
    guest.process.terminate()
    assert guest.event("SHUTDOWN")["data"] == {"guest": False, "reason": "host-signal"}
    assert guest.wait() == 0


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_two_hundred_starts_and_stops_on_one_tap_leave_nothing(build, vmm, make_tap, tmp_path, leaks):
    """The payload switches off by itself; every second machine is killed instead."""
    tap = make_tap()
    disk = tmp_path / "disk"
    disk.touch()
    os.truncate(disk, 1 << 20)
    payload = build / "tests/guest/payload_hello"
    files, maps = len(os.listdir("/dev/shm")), descriptors()
    for i in range(200):
        command = [vmm, "--kernel", payload, "--memory", "64M", "--cpus", "2", "--disk", f"path={disk}",
                   "--net", f"tap={tap}", "--rng", "", "--balloon", "", "--control", tmp_path / "qmp",
                   "--vsock", f"guest-cid=3,path={tmp_path}/vsock", "--serial", "stdio"]
        if i % 2:
            command.append("--paused")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if i % 2:
            time.sleep(0.02)
            process.kill()
        out, err = process.communicate(timeout=60)
        if i % 2 == 0:
            assert process.returncode == 0, err.decode()
            assert b"done" in out
    assert len(os.listdir("/dev/shm")) == files
    assert descriptors() == maps
    assert not {item for item in leaks() if "process" in item}


def test_a_wrong_option_is_refused_by_name(vmm):
    for words, named in ((["--colour", "red"], "colour"), (["--memory", "12"], "memory"), (["--cpus", "0"], "cpus"),
                         (["--disk", "path=/nonexistent"], "/nonexistent"), (["--net", "tup=x"], "tup")):
        done = subprocess.run([vmm, "--kernel", "/dev/null", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              check=False, timeout=60)
        assert done.returncode in (1, 2)
        assert named in done.stderr.decode()


def test_a_guest_sees_hyper_v_and_resets_by_it(build, vmm):
    done = subprocess.run([vmm, "--kernel", build / "tests/guest/payload_hyperv", "--memory", "64M", "--no-reboot", "--serial", "stdio",
                           "--hyperv", "spinlocks=8191,vpindex=on,time=on,synic=on,reset=on"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=60)
    words = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert words.count("ok ") == 10 and "not ok" not in words and words.rstrip().endswith("resetting"), words


def test_a_configuration_file_says_the_same_as_options(build, vmm, tmp_path):
    config = tmp_path / "machine.json"
    config.write_text(json.dumps({"kernel": str(build / "tests/guest/payload_hello"), "memory": "64M",
                                  "serial": [{"chardev": "stdio"}]}))
    done = subprocess.run([vmm, "--config", config], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True,
                          timeout=60)
    assert b"done" in done.stdout
