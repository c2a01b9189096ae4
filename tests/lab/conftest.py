# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the lab tests.

These tests run on a machine with a working /dev/kvm and as root: inside one
emulated host for the whole suite (tests/lab/run starts it), or directly where
the machine has hardware KVM. So a test starts guests without further ado:

    def test_a_guest_boots(start_guest, make_initrd):
        guest = start_guest(initrd=make_initrd(script="#!/bin/sh\\necho hello\\n"))
        guest.expect("hello")
        assert guest.wait() == 0
"""

import itertools
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(PROJECT / "lab")]

from kv_guest import Guest  # noqa: E402
from kv_stock import daemon, stock  # noqa: E402,F401
from progress import Progress  # noqa: E402
from second_try import pytest_configure, pytest_terminal_summary, run_twice  # noqa: E402,F401

# Quiet kernels boot faster: each character on a serial port leaves the guest.
CMDLINE = "console=ttyS0 quiet panic=-1 tsc=reliable"
ENDING_SECONDS = 5  # how long the kernel may take to clear away what an ended monitor held

progress = Progress(os.environ["KVASIR_PROGRESS"]) if "KVASIR_PROGRESS" in os.environ else None


def pytest_collection_modifyitems(config, items):
    """Tests that ended in an earlier emulated host, which broke down later, are not run again."""
    done = progress.finished() if progress else {}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in done])
    items[:] = [item for item in items if item.nodeid not in done]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """Each test has a second try; how it ended is noted for the next host, should this one break down."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    if progress:
        progress.note_begin(item.nodeid)
    reports = run_twice(item, nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    if progress:
        outcomes = {report.outcome for report in reports}
        progress.note_end(item.nodeid, next(word for word in ("failed", "skipped", "passed") if word in outcomes))
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Show what the guests of a failed test said."""
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        for guest in getattr(item, "guests", []):
            report.sections.append((f"guest {guest.name}", guest.transcript()))


@pytest.fixture(scope="session")
def build():
    """The folder of the built programs."""
    return pathlib.Path(os.environ.get("KVASIR_BUILD", PROJECT / "build"))


@pytest.fixture(scope="session")
def vmm(build):
    """The monitor."""
    return build / "kvasir-vmm"


def guest_tool(name, *words):
    result = subprocess.run([PROJECT / "lab/guest" / name, *map(str, words)], stdout=subprocess.PIPE, text=True, check=True)
    return result.stdout.strip()


@pytest.fixture(scope="session")
def kernel():
    """A stock Debian kernel for guests (bzImage)."""
    return guest_tool("kernel")


@pytest.fixture(scope="session")
def vmlinux():
    """The same kernel as ELF image, for PVH."""
    return guest_tool("kernel", "--vmlinux")


@pytest.fixture(scope="session")
def make_initrd(tmp_path_factory):
    """make_initrd(script=None, module=[], bin=[], add=[], kernel="cloud"): path of a RAM disk; equal ones are made once."""
    folder = tmp_path_factory.mktemp("initrd")
    made = {}

    def make(script=None, module=(), bin=(), add=(), kernel="cloud"):
        key = (script, tuple(module), tuple(bin), tuple(add), kernel)
        if key not in made:
            path = folder / str(len(made))
            words = ["--out", path, "--kernel", kernel, *_script_option(path, script)]
            for option, values in (("--module", module), ("--bin", bin), ("--add", add)):
                for value in values:
                    words += [option, value]
            guest_tool("mkinitrd", *words)
            made[key] = path
        return made[key]
    return make


def _script_option(path, script):
    if script is None:
        return []
    file = path.with_suffix(".script")
    file.write_text(script)
    return ["--init", file]


@pytest.fixture
def make_disk(tmp_path):
    """make_disk(name="disk", size="256M", script=None, bin=[], add=[], folder=None): path of a new root disk."""
    def make(name="disk", size="256M", script=None, bin=(), add=(), folder=None):
        path = (folder or tmp_path) / name
        words = ["--out", path, "--size", size, *_script_option(path, script)]
        for option, values in (("--bin", bin), ("--add", add)):
            for value in values:
                words += [option, value]
        guest_tool("mkdisk", *words)
        return path
    return make


@pytest.fixture
def scratch(request):
    """A folder on a real file system (O_DIRECT works), empty, removed afterwards."""
    base = pathlib.Path("/scratch" if os.path.ismount("/scratch") else "/var/tmp")
    folder = base / f"kvasir-{os.getpid()}-{request.node.name[:40].replace('/', '-')}"
    folder.mkdir()
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)


@pytest.fixture
def start_guest(request, vmm, kernel, tmp_path, leaks):
    """start_guest(*options, initrd=None, kernel=None, append="", memory="256M", cpus=1, serial="stdio", ...): a running Guest.

    Further options of kvasir-vmm are given as words. It is ended after the test at the latest.
    """
    guests = request.node.guests = []

    def start(*options, initrd=None, kernel=kernel, append="", memory="256M", cpus=1, serial="stdio", cmdline=CMDLINE,
              name=None, env=None, pass_fds=()):
        name = name or f"guest{len(guests) + 1}"
        command = [vmm, "--memory", memory, "--cpus", cpus, "--control", tmp_path / f"{name}.qmp"]
        if kernel:
            command += ["--kernel", kernel, "--cmdline", f"{cmdline} {append}".strip()]
        if initrd:
            command += ["--initrd", initrd]
        if serial:
            command += ["--serial", serial]
        command += os.environ.get("KVASIR_VMM_OPTIONS", "").split()
        guest = Guest([*command, *options], tmp_path, name, env, pass_fds)
        guests.append(guest)
        return guest
    yield start
    for guest in guests:
        guest.end()


@pytest.fixture
def shell_guest(start_guest, make_initrd):
    """shell_guest(*options, **as start_guest): a guest with a shell on its console, ready for guest.shell()."""
    def start(*options, bin=(), module=(), **keywords):
        return start_guest(*options, initrd=make_initrd(bin=bin, module=module), **keywords)
    return start


@pytest.fixture
def make_tap(leaks):
    """make_tap(address="192.168.77.1/24", queues=1): name of a new tap that is up; removed after the test."""
    names = []
    numbers = itertools.count()

    def make(address=None, queues=1):
        name = f"kvt{os.getpid() % 10000}n{next(numbers)}"
        subprocess.run(["ip", "tuntap", "add", "dev", name, "mode", "tap", *(["multi_queue"] if queues > 1 else [])], check=True)
        names.append(name)
        if address:
            subprocess.run(["ip", "addr", "add", address, "dev", name], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        return name
    yield make
    for name in names:
        subprocess.run(["ip", "link", "del", name], check=True)


@pytest.fixture(scope="session")
def _settled():
    """Modules are loaded before the first look, so that what they make is no leak of a test."""
    for module in ("tun", "vhost_net", "vhost_vsock"):
        subprocess.run(["modprobe", module], check=False, stderr=subprocess.DEVNULL)


@pytest.fixture
def leaks(_settled):
    """Fails the test when it leaves a process of ours, a network interface or shared memory behind.

    leaks() says at any time what there is beyond the beginning.
    """
    before = _belongings()

    def left():
        return _belongings() - before
    yield left
    deadline = time.monotonic() + ENDING_SECONDS
    while left() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left(), "left behind after the test"


def _belongings():
    found = {f"interface {name}" for name in os.listdir("/sys/class/net")}
    found |= {f"shared memory {name}" for name in os.listdir("/dev/shm")}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as f:
                name = f.read().strip()
        except OSError:
            continue
        if name.startswith("kvasir"):
            found.add(f"process {pid} ({name})")
    return found
