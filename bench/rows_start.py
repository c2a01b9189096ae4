# SPDX-License-Identifier: GPL-2.0-or-later
"""Start-up: exec to the first guest instruction, and the monitor's own memory then."""
import os
import shutil
import subprocess
import time

ROUNDS = 41


def figure(name, ours, theirs, unit, peer, target=""):
    return {"name": name, "ours": ours, "theirs": theirs, "unit": unit, "peer": peer,
            "target": target}


def monitor(build, *more):
    return [f"{build}/kvasir-vmm", "--kernel", f"{build}/bench/bench_first_byte", "--memory", "128M",
            "--serial", "stdio", *more]


def qemu(build, machine):
    if not shutil.which("qemu-system-x86_64"):
        raise RuntimeError("qemu-system-x86_64 is not installed (make setup-bench)")
    return ["qemu-system-x86_64", "-M", f"{machine},accel=kvm", "-nodefaults", "-no-user-config",
            "-display", "none", "-m", "128", "-kernel", f"{build}/bench/bench_first_byte",
            "-serial", "stdio"]


def time_to_byte(build, rounds, *commands):
    """Median microseconds of each command, run in turn; None for one that failed."""
    line = [f"{build}/bench/time_to_byte", str(rounds), "K"]
    for i, command in enumerate(commands):
        line += (["--"] if i else []) + command
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          timeout=600, check=True)
    return [None if row == "failed" else float(row.split()[0])
            for row in done.stdout.splitlines()]


def first_instruction(build):
    """exec to the first guest instruction (128 MiB, 1 vCPU)"""
    bare, free, jailed = time_to_byte(build, ROUNDS, [f"{build}/bench/bare_kvm"],
                                      monitor(build, "--no-jail"), monitor(build))
    micro, = time_to_byte(build, 11, qemu(build, "microvm"))
    q35, = time_to_byte(build, 3, qemu(build, "q35"))
    what = "exec to first guest instruction"
    yield figure(f"{what}, --no-jail", free, bare, "us", "bare ioctls", "<= 1.15")
    yield figure(f"{what}, jailed", jailed, bare, "us", "bare ioctls", "<= 1.35")
    yield figure(f"{what}, jailed", jailed, micro, "us", "QEMU microvm")
    yield figure(f"{what}, jailed", jailed, q35, "us", "QEMU q35")


def descendants(pid):
    """The process and its children, which a jailed monitor has."""
    found = [pid]
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            for child in f.read().split():
                found += descendants(int(child))
    except OSError:
        pass
    return found


def private_dirty_kib(pid, guest_memory):
    """Private_Dirty of all mappings but the guest's memory, in KiB."""
    total, counted = 0, True
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            first = line.split(maxsplit=1)[0]
            if not first.endswith(":"):
                fields = line.split(maxsplit=5)
                start, end = (int(x, 16) for x in fields[0].split("-"))
                counted = end - start < guest_memory
            elif counted and first == "Private_Dirty:":
                total += int(line.split()[1])
    return total


def memory_of(command):
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as process:
        try:
            if process.stdout.read(1) != b"K":
                raise RuntimeError(f"{command[0]} did not run its guest")
            time.sleep(0.2)
            return sum(private_dirty_kib(pid, 128 << 20) for pid in descendants(process.pid))
        finally:
            process.kill()
            process.wait()


def own_memory(build):
    """the monitor's own Private_Dirty at its guest's first instruction, without guest memory"""
    ours = memory_of(monitor(build, "--no-jail"))
    jailed = memory_of(monitor(build)) if os.geteuid() == 0 else None
    peer = memory_of(qemu(build, "microvm"))
    yield figure("own memory, --no-jail", ours, peer, "KiB", "QEMU microvm", "<= 1024 KiB")
    if jailed:
        yield figure("own memory, jailed, with its parent", jailed, peer, "KiB", "QEMU microvm",
                     "<= 1024 KiB")


def exits_per_second(build):
    """exits a second: port and MMIO writes"""
    def measure(command):
        stamps = {}
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as process:
            try:
                while b"M" not in stamps:
                    byte = process.stdout.read(1)
                    if not byte:
                        raise RuntimeError(f"{command[0]} ended")
                    stamps.setdefault(byte, time.monotonic())
            finally:
                process.kill()
                process.wait()
        return (20000 / (stamps[b"P"] - stamps[b"p"]), 20000 / (stamps[b"M"] - stamps[b"m"]))

    def best(command):
        runs = [measure([word.replace("first_byte", "exits") for word in command])
                for _ in range(5)]
        return max(r[0] for r in runs), max(r[1] for r in runs)

    ours, theirs = best(monitor(build)), best(qemu(build, "microvm"))
    yield figure("port writes to a serial register", ours[0], theirs[0], "1/s", "QEMU microvm")
    yield figure("MMIO writes that nobody answers", ours[1], theirs[1], "1/s", "QEMU microvm")


ROWS = [first_instruction, own_memory, exits_per_second]
