# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/lab runs commands in emulated hosts the way a shell would run them here."""

import os
import pathlib
import pty
import re
import signal
import subprocess
import termios
import threading
import time

import pytest

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent
LAB = PROJECT / "lab/lab"
BOUND = 180  # seconds for one lab on a busy machine


def lab(*words, timeout=BOUND, **keywords):
    keywords.setdefault("stdin", None if "input" in keywords else subprocess.DEVNULL)
    if keywords["stdin"] is None:
        del keywords["stdin"]
    return subprocess.run([LAB, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, **keywords)


def qemus_of(pid):
    """Process ids of the emulators below a process."""
    found = []
    for other in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{other}/stat") as f:
                name, rest = re.match(r"\d+ \((.*)\) (.*)", f.read()).groups()
        except OSError:
            continue
        if name.startswith("qemu-system") and int(rest.split()[1]) == pid:
            found.append(int(other))
    return found


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module", autouse=True)
def warm():
    """Kernel and RAM disk are fetched and made before anything is timed."""
    assert lab("true", timeout=600).returncode == 0


def test_streams_come_back_apart_and_nothing_else_with_them():
    result = lab("sh", "-c", "echo to output; echo to error >&2; exit 7")
    assert (result.returncode, result.stdout, result.stderr) == (7, b"to output\n", b"to error\n")


def test_input_and_output_carry_any_bytes():
    data = os.urandom(300_000) + bytes(range(256)) * 64
    result = lab("cat", input=data)
    assert result.stdout == data


def test_a_command_that_reads_no_input_ends_all_the_same():
    assert lab("true", input=bytes(1_000_000)).returncode == 0


def test_a_background_process_does_not_hold_the_lab():
    begin = time.monotonic()
    result = lab("sh", "-c", "sleep 300 & echo started")
    assert result.stdout == b"started\n"
    assert time.monotonic() - begin < 60


def test_a_large_output_is_complete():
    result = lab("sh", "-c", "head -c 5000000 /dev/zero; exit 4")
    assert (result.returncode, len(result.stdout)) == (4, 5_000_000)


def test_a_command_killed_by_a_signal_ends_with_128_and_its_number():
    assert lab("sh", "-c", "kill -9 $$").returncode == 137


def test_a_program_that_does_not_exist_is_127():
    result = lab("nosuchprogram")
    assert result.returncode == 127
    assert b"nosuchprogram" in result.stderr


def test_folder_environment_and_arguments_are_kept(tmp_path):
    result = lab("--env", "COLOUR=dark red", "--env", "EMPTY=", "sh", "-c", 'pwd; echo "$COLOUR"; echo "$1"', "sh", "a  b\nc",
                 cwd=PROJECT / "lab")
    assert result.stdout.decode() == f"{PROJECT}/lab\ndark red\na  b\nc\n"


def test_what_it_writes_stays_inside_except_in_shared_folders(tmp_path):
    shared, other = tmp_path / "shared folder,1", PROJECT / "written-by-the-lab-test"
    shared.mkdir()
    (shared / "in").write_text("from outside")
    result = lab("--share", shared, "sh", "-c", 'cat "$1/in"; echo result >"$1/out"; echo x >"$2" && cat "$2"', "sh", shared, other)
    assert result.stdout == b"from outsidex\n"
    assert (shared / "out").read_text() == "result\n"
    assert not other.exists()


def test_time_over_is_124_and_ends_the_emulator():
    begin = time.monotonic()
    process = subprocess.Popen([LAB, "--timeout", "2", "sleep", "1000"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert wait_until(lambda: qemus_of(process.pid))
    (qemu,) = qemus_of(process.pid)
    errors = process.communicate(timeout=BOUND)[1]
    assert process.returncode == 124
    assert b"sleep 1000" in errors
    assert time.monotonic() - begin < BOUND
    assert not os.path.exists(f"/proc/{qemu}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_the_emulator_too(number, tmp_path):
    process = subprocess.Popen([LAB, "sleep", "1000"], stdin=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert wait_until(lambda: qemus_of(process.pid))
    (qemu,) = qemus_of(process.pid)
    process.send_signal(number)
    assert process.wait(30) == (-number if number == signal.SIGKILL else 128 + number)
    assert wait_until(lambda: not os.path.exists(f"/proc/{qemu}"))
    if number != signal.SIGKILL:
        assert not list(tmp_path.iterdir())


def test_a_panic_of_the_host_is_125_with_its_last_words():
    result = lab("sh", "-c", "echo before; echo c >/proc/sysrq-trigger; sleep 60")
    assert (result.returncode, result.stdout) == (125, b"before\n")
    assert b"Kernel panic - not syncing: sysrq triggered crash" in result.stderr


def test_two_labs_at_once_do_not_disturb_each_other():
    processes = [subprocess.Popen([LAB, "sh", "-c", f"echo {n} >/tmp/x; echo {n} >/scratch/x; sleep 1; cat /tmp/x /scratch/x"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for n in range(2)]
    for n, process in enumerate(processes):
        assert process.communicate(timeout=BOUND)[0] == b"%d\n%d\n" % (n, n)


def test_a_disk_file_keeps_scratch(tmp_path):
    disk = tmp_path / "disk"
    assert lab("--disk", disk, "sh", "-c", "echo kept >/scratch/file").returncode == 0
    assert lab("--disk", disk, "cat", "/scratch/file").stdout == b"kept\n"


def test_memory_and_cpus_are_as_asked():
    result = lab("--cpus", 3, "--mem", 2048, "sh", "-c", "nproc; grep MemTotal /proc/meminfo")
    cpus, memory = result.stdout.decode().splitlines()
    assert cpus == "3"
    assert 1_700_000 < int(memory.split()[1]) <= 2048 * 1024


def test_two_hosts_reach_each_other_and_share_a_disk():
    script = """
    hostname; lab-on 2 hostname; ping -qc1 -W5 lab2 >/dev/null && echo reached
    lab-on lab2 sh -c 'echo to error >&2; exit 9'; echo $?
    head -c 200000 /dev/zero | lab-on 2 cat | wc -c
    echo across | dd of=/dev/disk/shared oflag=direct conv=sync bs=4096 status=none
    lab-on 2 dd if=/dev/disk/shared iflag=direct bs=4096 count=1 status=none | head -1
    lab-on 2 sh -c 'ls -l /dev/kvm; pwd' | cut -c1-10
    lab-on 3 true 2>/dev/null || echo no third
    """
    result = lab("--hosts", 2, "--timeout", 120, "bash", "-c", script, cwd="/usr")
    assert result.stdout.decode().splitlines() == [
        "lab1", "lab2", "reached", "9", "200000", "across", "crw-rw-rw-", "/usr", "no third"]
    assert result.stderr == b"to error\n"


def test_a_terminal_here_is_a_terminal_there():
    master, terminal = pty.openpty()
    termios.tcsetwinsize(master, (33, 101))
    process = subprocess.Popen([LAB, "sh", "-c", "tty; stty size; read x; echo got $x; sleep 1000"],
                               stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
    os.close(terminal)
    seen = bytearray()

    def read():
        try:
            while data := os.read(master, 4096):
                seen.extend(data)
        except OSError:
            pass
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        assert wait_until(lambda: b"33 101" in seen)
        assert b"/dev/pts/0" in seen
        os.write(master, b"word\n")
        assert wait_until(lambda: b"got word" in seen)
        os.write(master, b"\x03")  # interrupts the command in there, not lab/lab here
        assert process.wait(BOUND) == 130
    finally:
        process.kill()
        process.wait()
        os.close(master)


@pytest.mark.parametrize("words, told", [(["--mem", "1", "true"], "--mem 1"), (["--hosts", "99", "true"], "--hosts 99"),
                                         (["--share", "/nosuch", "true"], "/nosuch"), (["--env", "X", "true"], "--env X")])
def test_bad_options_are_refused_by_name(words, told):
    result = lab(*words)
    assert result.returncode == 2
    assert told in result.stderr.decode()
