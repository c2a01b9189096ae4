# SPDX-License-Identifier: GPL-2.0-or-later
"""One emulated host: its initial RAM disk, its QEMU process, its console's last words.

QEMU's TCG emulates AMD-V with nested paging, so kvm_amd in the host is real.
The kernel starts as ELF image through PVH, which spares it from unpacking
itself; the firmware is qboot, which has nothing to probe.
"""

import os
import shlex
import shutil
import socket
import subprocess
import time

from . import cpio, kernels, qemu
from .cache import LabError, PROJECT, digest, entry, file_identity

LAB = os.path.join(PROJECT, "lab")

# Loaded before the root can be mounted, and beside that.
BASE_MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay"]
LATE_MODULES = ["virtio_console", "virtio_blk", "crc32c_generic", "ext4", "kvm_amd", "virtio_net", "virtio_rng"]

# Without five-level paging, which only makes each nested page walk longer.
CPU = "max,+svm,-la57"

CMDLINE = ("console=ttyS0 quiet loglevel=4 panic=-1 oops=panic rdinit=/init mitigations=off nokaslr audit=0 "
           "tsc=reliable no_timer_check random.trust_cpu=on 8250.nr_uarts=1 i8042.noaux i8042.nokbd "
           "cryptomgr.notests nowatchdog rcupdate.rcu_expedited=1 net.ifnames=0 raid=noautodetect")


def agent():
    source = os.path.join(LAB, "agent.c")
    with open(source, "rb") as f:
        name = "agent-" + digest(f.read())

    def make(out):
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if not compiler:
            raise LabError("cc: no C compiler found; 'make setup' installs one")
        result = subprocess.run([compiler, "-static", "-Os", "-s", "-o", out, source],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if result.returncode:
            raise LabError(f"{source} does not compile:\n{result.stdout}")
    return entry(name, make)


def initramfs(kernel):
    """The part that is the same for every host of this kernel."""
    init = os.path.join(LAB, "init")
    with open(init, "rb") as f:
        name = "initramfs-" + digest(f.read(), kernel.release, BASE_MODULES, LATE_MODULES, os.path.basename(agent()),
                                     file_identity(cpio.busybox()), 2)

    def make(out):
        archive = cpio.Archive()
        for folder in ("proc", "sys", "dev", "root", "lower", "upper", "all", "tmp"):
            archive.folder(folder)
        archive.character_device("dev/console", 5, 1)
        cpio.busybox_links(archive)
        archive.copy(init, "init")
        archive.copy(agent(), "agent")
        base = kernel.module_files(BASE_MODULES)
        late = [path for path in kernel.module_files(LATE_MODULES) if path not in base]
        for group, paths in (("base", base), ("late", late)):
            for number, path in enumerate(paths):
                archive.copy(path, f"modules/{group}/{number:02}-{os.path.basename(path)}")
        with open(out, "wb") as f:
            f.write(archive.bytes())
    return entry(name, make)


class Settings:
    """What the hosts of one lab are made of. lab/lab fills it from its options."""

    def __init__(self):
        self.memory = 4096
        self.cpus = 2
        self.shares = []
        self.keeps = []
        self.scratch = []            # raw ext4 images, one for each host
        self.scratch_lasts = False   # the first one's content matters after the lab has ended
        self.hosts = 1
        self.shared_disk = None
        self.qemu_options = []
        self.append = ""


class Machine:
    """A started host. `connection` is the agent's port; end() leaves nothing behind."""

    def __init__(self, settings, number, folder):
        self.number = number
        self.settings = settings
        self.folder = folder
        self.console = os.path.join(folder, f"console{number}")
        self.errors = os.path.join(folder, f"qemu{number}.err")
        self.port = os.path.join(folder, f"port{number}")
        self.monitor = os.path.join(folder, f"monitor{number}")
        self.connection = None
        self.reported = False  # its end was told to the user
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=errors,
                                            stderr=errors, start_new_session=True, env=qemu.environment())

    def _initrd(self, kernel):
        """The common archive followed by this host's settings."""
        path = os.path.join(self.folder, f"initrd{self.number}")
        s = self.settings
        conf = [f"HOST={self.number}", f"HOSTS={s.hosts}", f"MODULES={shlex.quote(kernel.modules)}",
                f"SHARED={'yes' if s.shared_disk else 'no'}", "shares() {", ":"]
        conf += [f"share share{i} {shlex.quote(share)}" for i, share in enumerate(s.shares)]
        conf += ["}", "keeps() {", ":"] + [f"keep {shlex.quote(keep)}" for keep in s.keeps] + ["}", ""]
        archive = cpio.Archive()
        archive.data("lab.conf", "\n".join(conf))
        with open(path, "wb") as out:
            with open(initramfs(kernel), "rb") as common:
                shutil.copyfileobj(common, out)
            out.write(archive.bytes())
        return path

    def _command(self):
        s = self.settings
        kernel = kernels.get("full")
        cmdline = CMDLINE + (" " + s.append if s.append else "")
        command = [
            # The host must not outlive us, however we end.
            "setpriv", "--pdeathsig", "KILL",
            "qemu-system-x86_64", "-name", f"lab{self.number}", "-nodefaults", "-no-user-config",
            "-M", "q35,smm=off,vmport=off,hpet=off", "-bios", "qboot.rom",
            "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", CPU,
            "-smp", str(s.cpus), "-m", str(s.memory), "-display", "none", "-no-reboot",
            "-kernel", kernel.vmlinux, "-initrd", self._initrd(kernel), "-append", cmdline,
            "-chardev", f"file,id=console,path={self.console}", "-serial", "chardev:console",
            "-device", "virtio-serial-pci,max_ports=2",
            "-chardev", f"socket,id=agent,path={self.port},server=on,wait=off",
            "-device", "virtserialport,nr=1,chardev=agent,name=lab",
            "-chardev", f"socket,id=monitor,path={self.monitor},server=on,wait=off",
            "-mon", "chardev=monitor,mode=readline",
            "-device", "virtio-rng-pci",
            "-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
        ]
        for i, share in enumerate(s.shares):
            command += ["-virtfs", f"local,path={_escape(share)},mount_tag=share{i},"
                                   "security_model=none,multidevs=remap"]
        cache = "writeback" if s.scratch_lasts else "unsafe"
        command += ["-drive", f"if=none,id=scratch,format=raw,discard=unmap,cache={cache},"
                              f"file={_escape(s.scratch[self.number - 1])}",
                    "-device", "virtio-blk-pci,drive=scratch"]
        if s.shared_disk:
            command += ["-drive", "if=none,id=shared,format=raw,cache=writeback,file.locking=off,"
                                  f"file={_escape(s.shared_disk)}",
                        "-device", "virtio-blk-pci,drive=shared,serial=shared,share-rw=on"]
        if s.hosts > 1:
            command += self._network()
        return command + s.qemu_options

    def _network(self):
        """Two networks: eth0 for tests to play with, lab0 for lab-on. Host 1's QEMU is the hub of both."""
        options = []
        for net in range(2):
            mac = f"52:54:00:4b:{net:02x}:{self.number:02x}"
            options += ["-device", f"virtio-net-pci,netdev=nic{net},mac={mac}"]
            if self.number > 1:
                options += ["-netdev", f"stream,id=nic{net},server=off,addr.type=unix,"
                                       f"addr.path={self.link(net, self.number)}"]
                continue
            options += ["-netdev", f"hubport,id=nic{net},hubid={net}"]
            for other in range(2, self.settings.hosts + 1):
                options += ["-netdev", f"stream,id=link{net}-{other},server=on,addr.type=unix,"
                                       f"addr.path={self.link(net, other)}",
                            "-netdev", f"hubport,id=port{net}-{other},hubid={net},netdev=link{net}-{other}"]
        return options

    def link(self, net, number):
        return os.path.join(self.folder, f"link{net}-{number}")

    def connect(self, deadline):
        """Open the agent's port as soon as QEMU has made it."""
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise LabError(self.obituary())
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(self.port)
                self.connection = connection
                return
            except OSError:
                connection.close()
                time.sleep(0.01)
        raise LabError(f"host {self.number}: QEMU made no port in time")

    def obituary(self):
        """What is known about a host that is gone."""
        status = self.process.wait()
        lines = [f"host {self.number} is gone: QEMU ended with status {status}"]
        for title, tail in (("QEMU says", _tail(self.errors, 10)), ("last lines of its console", self._last_words())):
            if tail:
                lines += [title + ":"] + ["  " + line for line in tail]
        self.reported = True
        return "\n".join(lines)

    def post_mortem(self):
        """What a host that is frozen was doing: its console's end, its CPUs' registers."""
        self.reported = True
        before = self._thread_times()
        time.sleep(1)
        used = {name: after - before.get(name, 0) for name, after in self._thread_times().items()}
        return "\n".join(["hundredths of a second that QEMU's threads used within one: "
                          + ", ".join(f"{name} {used[name]}" for name in sorted(used)), "last lines of its console:", *("  " + line for line in self._last_words()),
                          "its CPUs:", *("  " + line for line in self._registers())])

    def _thread_times(self):
        times = {}
        folder = f"/proc/{self.process.pid}/task"
        for thread in os.listdir(folder):
            with open(f"{folder}/{thread}/stat", encoding="ascii", errors="replace") as f:
                name, _, rest = f.read().partition(" (")[2].rpartition(") ")
            times[f"{name} {thread}"] = sum(int(field) for field in rest.split()[11:13])
        return times

    def _registers(self):
        """QEMU tells them, even when nothing in the host runs any more."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as monitor:
                monitor.settimeout(3)
                monitor.connect(self.monitor)
                monitor.sendall(b"info cpus\ninfo registers -a\n")
                text = b""
                while text.count(b"(qemu) ") < 3:  # a prompt at first, and one after each answer
                    text += monitor.recv(65536)
        except OSError as e:
            return [f"QEMU does not answer: {e}"]
        wanted = ("CPU#", "* CPU", "  CPU", "RIP=", "RAX=", "RSI=", "CS =", "CR0=", "EFER=")
        return [line for line in text.decode(errors="replace").replace("\r", "").splitlines() if line.startswith(wanted)]

    def _last_words(self):
        """From a little before the first sign of trouble, else just the end."""
        tail = _tail(self.console, 150)
        signs = [number for number, line in enumerate(tail) if _is_complaint(line)]
        begin = max(0, signs[0] - 8) if signs else max(0, len(tail) - 25)
        return tail[begin:begin + 40]

    def complaints(self):
        """Lines of the console that tell of a bug in the host's kernel."""
        if self.reported:
            return []
        return [line for line in _tail(self.console, 2000) if _is_complaint(line)]

    def end(self):
        if self.connection:
            self.connection.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def _is_complaint(line):
    return any(sign in line for sign in ("BUG:", "Oops:", "Kernel panic", "general protection fault", "Call Trace:"))


def _escape(path):
    """QEMU's option syntax: a comma in a value is written twice."""
    return path.replace(",", ",,")


def _tail(path, count):
    try:
        with open(path, "rb") as f:
            f.seek(max(0, os.fstat(f.fileno()).st_size - 200000))
            text = f.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
