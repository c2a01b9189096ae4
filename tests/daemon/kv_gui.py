# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs on a screen of their own (Xvfb), and virt-manager there, read and driven by what it tells assistive tools."""
import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile

from kv_daemon import wait_for

PROGRAMS = ("virt-manager", "Xvfb", "dbus-daemon")
PYTHON = "/usr/bin/python3"  # the distribution's: it has its bindings
STEP = os.path.join(os.path.dirname(os.path.realpath(__file__)), "gui_step.py")


def missing():
    """What is not installed, as a reason for skipping; None when all is there."""
    if not os.access("/dev/kvm", os.W_OK):
        return "no /dev/kvm (in the lab virt-manager would take minutes)"
    absent = [name for name in PROGRAMS if not shutil.which(name)]
    if subprocess.run([PYTHON, "-c", "import gi; gi.require_version('Atspi', '2.0')"], check=False,
                      stderr=subprocess.DEVNULL).returncode:
        absent.append("gir1.2-atspi-2.0")
    return f"not installed: {', '.join(absent)} (make setup-desktop)" if absent else None


def end_with_parent():
    """A test that dies leaves no programs behind (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class Screen:
    """A screen and what was started on it."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="kvg-", dir="/tmp")
        self.processes = []
        self.environment = dict(os.environ)

    def spawn(self, words, **options):
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, env=self.environment,
                                   preexec_fn=end_with_parent, **options)
        self.processes.append(process)
        return process

    def start_screen(self):
        read, write = os.pipe()
        with open(os.path.join(self.folder, "xvfb.log"), "ab") as log:
            self.spawn(["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x900x24", "-nolisten", "tcp"],
                        pass_fds=(write,), stdout=log, stderr=log)
        os.close(write)
        with os.fdopen(read) as answer:
            number = answer.readline().strip()
        assert number, "Xvfb did not start"
        home = os.path.join(self.folder, "home")
        os.mkdir(home, 0o700)
        self.environment.update({
            "DISPLAY": f":{number}", "HOME": home, "XDG_RUNTIME_DIR": home, "XDG_CONFIG_HOME": home,
            "XDG_CACHE_HOME": home, "XDG_DATA_HOME": home, "GSETTINGS_BACKEND": "memory",
            "LANG": "C.UTF-8", "GDK_BACKEND": "x11"})

    def end(self):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Desktop(Screen):
    """A screen, a session bus and virt-manager. Widgets have the names that a screen reader would say."""

    def __init__(self, uri):
        super().__init__()
        self.uri = uri
        self.log_path = os.path.join(self.folder, "virt-manager.log")

    def start(self):
        self.start_screen()
        self._start_bus()
        with open(self.log_path, "ab") as log:
            self.spawn(["virt-manager", "--no-fork", "--debug", "--connect", self.uri], stdout=log, stderr=log)
        return self

    def _start_bus(self):
        bus = self.spawn(["dbus-daemon", "--session", "--nofork", "--print-address=1"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().strip()
        bus.stdout.close()

    def show(self, *what):
        """Has the running one open a window: ("--show-domain-console", name) ..."""
        subprocess.run(["virt-manager", "--connect", self.uri, *what], env=self.environment, timeout=60,
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _step(self, step):
        """(whether it was there, the answer)"""
        done = subprocess.run([PYTHON, STEP, json.dumps(step)], env=self.environment, timeout=60, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert done.returncode in (0, 3), f"{step}: {done.stderr}"
        return (True, json.loads(done.stdout)) if done.returncode == 0 else None

    def windows(self):
        return self._step({"do": "windows"})[1]

    def do(self, deed, window, name=None, role=None, value=None):
        """Waits until it is there, then does it."""
        step = {"do": deed, "window": window, "role": role, "value": value}
        if name is not None:
            step["name"] = name
        return wait_for(lambda: self._step(step), f"{step}\n{self.log()[-2000:]}")[1]

    def click(self, window, name, role=None):
        self.do("click", window, name, role)

    def write(self, window, name, value, role="text"):
        self.do("write", window, name, role, value)

    def words(self, window):
        return self.do("words", window)

    def expect(self, words, window, name=None, deed="words"):
        """Waits until the words are there."""
        wait_for(lambda: words in self.do(deed, window, name), f"'{words}' in '{window}'")

    def answer(self, button):
        """Presses a button of the question that is asked; returns the question's words."""
        words = self.words("vmm dialog")
        self.click("vmm dialog", button, "push button")
        wait_for(lambda: "vmm dialog" not in self.windows(), "the question to go")
        return words

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def complaints(self, start=0):
        """What its log says went wrong since a length of it."""
        return [line for line in self.log()[start:].splitlines()
                if " ERROR (" in line or " WARNING (" in line or line.startswith("Traceback")]
