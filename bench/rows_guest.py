# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows with a stock kernel as guest: boot, disk, network, against QEMU with the same kernel and disk.

They need hardware virtualization: where this machine has none, bench/run starts itself in the lab.
"""
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time

from rows_start import figure

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
CMDLINE = "console=ttyS0 quiet panic=-1 tsc=reliable"
BOOT_ROUNDS = 5
FIO_SECONDS = 8
IPERF_SECONDS = 6
GUEST_TIMEOUT_S = 240


def guest_tool(name, *words):
    return subprocess.run([f"{TOP}/lab/guest/{name}", *words], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.strip()


def qemu_command(machine, kernel, initrd, append, memory, cpus):
    if not shutil.which("qemu-system-x86_64"):
        raise RuntimeError("qemu-system-x86_64 is not installed (make setup-bench)")
    options = "microvm,accel=kvm,rtc=on" if machine == "microvm" else "q35,accel=kvm"
    return ["qemu-system-x86_64", "-M", options, "-cpu", "host", "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot", "-m", memory, "-smp", str(cpus), "-kernel", kernel,
            "-initrd", initrd, "-append", f"{CMDLINE} {append}", "-serial", "stdio"]


def our_command(build, kernel, initrd, append, memory, cpus):
    return [f"{build}/kvasir-vmm", "--kernel", kernel, "--initrd", initrd, "--cmdline",
            f"{CMDLINE} {append}", "--memory", memory, "--cpus", str(cpus), "--serial", "stdio"]


def run_guest(command, mark):
    """Seconds from start until the serial port said mark, and all that it said."""
    said = b""
    begin = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        os.set_blocking(process.stdout.fileno(), False)
        try:
            while mark not in said:
                if time.monotonic() - begin > GUEST_TIMEOUT_S:
                    raise RuntimeError(f"{command[0]}: no {mark!r} in {GUEST_TIMEOUT_S} s: {said[-300:]!r}")
                piece = process.stdout.read(65536)
                if piece:
                    said += piece
                elif process.poll() is not None:
                    raise RuntimeError(f"{command[0]} ended: {process.stderr.read()[-300:]!r} {said[-300:]!r}")
                else:
                    time.sleep(0.001)
            return time.monotonic() - begin, said
        finally:
            process.kill()
            process.wait()


class Inputs:
    """Kernel and RAM disk for a script, made before the lab starts or inside it."""

    def __init__(self, script, binaries=()):
        self.kernel = guest_tool("kernel")
        folder = os.environ.get("KVASIR_CACHE", f"{TOP}/.cache")
        os.makedirs(folder, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", suffix=".script") as file:
            file.write(script)
            file.flush()
            words = ["--init", file.name, "--module", "virtio_mmio"]  # for QEMU microvm
            for binary in binaries:
                words += ["--bin", binary]
            self.initrd = guest_tool("mkinitrd", *words)


def boot_to_user_space(build):
    """boot of a stock kernel to its own user space (512 MiB, 2 vCPUs)"""
    inputs = Inputs("#!/bin/sh\necho =user=space=\nsleep 1000\n")
    args = (inputs.kernel, inputs.initrd, "", "512", 2)
    commands = {
        "ours": our_command(build, inputs.kernel, inputs.initrd, "", "512M", 2),
        "QEMU microvm": qemu_command("microvm", *args),
        "QEMU q35": qemu_command("q35", *args),
    }
    times = {name: [] for name in commands}
    for _ in range(BOOT_ROUNDS):
        for name, command in commands.items():
            try:
                times[name].append(run_guest(command, b"=user=space=")[0])
            except RuntimeError as e:
                print(f"  {name}: {e}")
    ours = statistics.median(times["ours"])
    for peer in ("QEMU microvm", "QEMU q35"):
        theirs = statistics.median(times[peer]) if times[peer] else None
        yield figure("boot of a stock kernel to user space", ours * 1000,
                     theirs * 1000 if theirs else None, "ms", peer, "< 1")


FIO = """#!/bin/sh
for job in "randread 4k 32" "read 128k 8"; do
    set -- $job
    fio --name=x --filename=/dev/vda --direct=1 --rw=$1 --bs=$2 --iodepth=$3 --ioengine=libaio \
        --time_based --runtime=SECONDS --norandommap --output-format=json >/tmp/out 2>/dev/null
    echo "=fio=$1=$(grep -m1 '"iops" :' /tmp/out | tr -dc '0-9.')="
done
echo =done=
sleep 1000
"""


def scratch_folder():
    return "/scratch" if os.path.ismount("/scratch") else tempfile.gettempdir()


def disk_reads(build):
    """virtio-blk: 4 KiB random reads and 128 KiB sequential reads, cache none, io_uring"""
    inputs = Inputs(FIO.replace("SECONDS", str(FIO_SECONDS)), ["fio"])
    with tempfile.NamedTemporaryFile(dir=scratch_folder()) as disk:
        block = os.urandom(1 << 20)
        for _ in range(256):
            disk.write(block)
        disk.flush()
        args = (inputs.kernel, inputs.initrd, "", "512", 2)
        drive = ["-blockdev", f"node-name=d,driver=file,filename={disk.name},aio=io_uring,cache.direct=on",
                 "-object", "iothread,id=io0"]
        commands = {
            "ours": our_command(build, inputs.kernel, inputs.initrd, "", "512M", 2) +
            ["--disk", f"path={disk.name},cache=none,aio=io_uring"],
            "QEMU microvm": qemu_command("microvm", *args) + drive +
            ["-device", "virtio-blk-device,drive=d,iothread=io0"],
            "QEMU q35": qemu_command("q35", *args) + drive +
            ["-device", "virtio-blk-pci,drive=d,iothread=io0"],
        }
        rates = {}
        for name, command in commands.items():
            try:
                said = run_guest(command, b"=done=")[1].decode(errors="replace")
                rates[name] = {word.split("=")[0]: float(word.split("=")[1])
                               for word in (line.split("=fio=")[1] for line in said.splitlines()
                                            if "=fio=" in line)}
            except RuntimeError as e:
                print(f"  {name}: {e}")
    for job, what in (("randread", "4 KiB random reads"), ("read", "128 KiB sequential reads")):
        for peer in ("QEMU microvm", "QEMU q35"):
            yield figure(f"virtio-blk {what}", rates["ours"][job], rates.get(peer, {}).get(job),
                         "IOPS", peer, "> 1")


IPERF = """#!/bin/sh
ip link set lo up; ip addr add 192.168.99.2/24 dev eth0; ip link set eth0 up
sleep 1
for way in "" -R; do
    iperf3 -c 192.168.99.1 -t SECONDS -J $way >/tmp/out 2>&1
    echo "=iperf=x$way=$(grep -A6 sum_received /tmp/out | grep -m1 bits_per_second | tr -dc '0-9.' | cut -d. -f1)="
done
echo =done=
sleep 1000
"""


def make_tap(name):
    for words in (["tuntap", "add", "dev", name, "mode", "tap"],
                  ["addr", "add", "192.168.99.1/24", "dev", name], ["link", "set", name, "up"]):
        subprocess.run(["ip", *words], check=True)


def network(build):
    """iperf3 between guest and host over a tap, with vhost-net where the host has it"""
    inputs = Inputs(IPERF.replace("SECONDS", str(IPERF_SECONDS)), ["iperf3"])
    subprocess.run(["modprobe", "-a", "tun", "vhost_net"], check=False, stderr=subprocess.DEVNULL)
    args = (inputs.kernel, inputs.initrd, "", "512", 2)
    netdev = ["-netdev", "tap,id=n,ifname=kvbench,script=no,downscript=no"]
    commands = {
        ("ours", "off"): our_command(build, inputs.kernel, inputs.initrd, "", "512M", 2) +
        ["--net", "tap=kvbench,vhost=off"],
        ("QEMU q35", "off"): qemu_command("q35", *args) + netdev + ["-device", "virtio-net-pci,netdev=n"],
        ("ours", "on"): our_command(build, inputs.kernel, inputs.initrd, "", "512M", 2) +
        ["--net", "tap=kvbench,vhost=on"],
        ("QEMU q35", "on"): qemu_command("q35", *args) + [netdev[0], netdev[1] + ",vhost=on"] +
        ["-device", "virtio-net-pci,netdev=n"],
    }
    rates = {}
    for key, command in commands.items():
        make_tap("kvbench")
        server = subprocess.Popen(["iperf3", "-s"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            said = run_guest(command, b"=done=")[1].decode(errors="replace")
            rates[key] = {word.split("=")[0]: float(word.split("=")[1]) / 1e6
                          for word in (line.split("=iperf=")[1] for line in said.splitlines()
                                       if "=iperf=" in line)}
        except RuntimeError as e:
            print(f"  {key}: {e}")
        finally:
            server.kill()
            server.wait()
            subprocess.run(["ip", "link", "del", "kvbench"], check=False)
    for vhost in ("off", "on"):
        for way, what in (("x", "guest to host"), ("x-R", "host to guest")):
            ours, theirs = (rates.get((name, vhost), {}).get(way) for name in ("ours", "QEMU q35"))
            if ours:
                yield figure(f"iperf3 {what}, vhost {vhost}", ours, theirs, "Mbit/s", "QEMU q35", "> 1")


def hardware_kvm():
    with open("/proc/cpuinfo") as f:
        words = set(f.read().split())
    return bool(words & {"svm", "vmx"}) and os.access("/dev/kvm", os.R_OK | os.W_OK)


def through_lab(row):
    """The row itself where KVM is real; else its figures out of a lab."""
    def run(build):
        if hardware_kvm():
            yield from row(build)
            return
        guest_tool("kernel")  # the emulated host has no network
        with tempfile.TemporaryDirectory(dir=build, prefix="bench-") as share:
            # One processor: several that are emulated break down now and then.
            done = subprocess.run([f"{TOP}/lab/lab", "--cpus", "1", "--timeout", "1200", "--share", share, "--show", build,
                                   f"{HERE}/run", "--only", row.__name__, "--build", build, "--json",
                                   f"{share}/figures"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  stdin=subprocess.DEVNULL, text=True)
            if done.returncode != 0:
                raise RuntimeError(f"in the lab: {done.stdout[-400:]}")
            with open(f"{share}/figures") as f:
                for measurement in json.load(f):
                    measurement["name"] += " (lab)"
                    yield measurement
    run.__name__, run.__doc__ = row.__name__, row.__doc__
    return run


ROWS = [through_lab(row) for row in (boot_to_user_space, disk_reads, network)]
