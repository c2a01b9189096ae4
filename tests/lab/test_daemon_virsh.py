# SPDX-License-Identifier: GPL-2.0-or-later
"""The life of a machine with a stock kernel, as somebody with virsh leads it: each step, each refusal.

The tests share a machine, vm1, which goes on where the last test left it: a boot
takes long in an emulated host. Each brings it first to where it needs it.
"""

import re
import subprocess
import time

import pytest

from kv_stock import GUEST, HOST, VirshConsole, taps_of
from lablib.talk import PATIENCE

UUID = "7b6a3c1e-0d6e-4b6c-9f5b-3f0d1c2b4a59"


class Machine:
    """vm1, and the console that is open to it."""

    def __init__(self, daemon, stock):
        self.daemon = daemon
        self.xml = stock.file("vm1", uuid=UUID)
        self.console = None

    def state(self):
        return self.daemon.virsh("domstate", "vm1", "--reason").strip()

    def await_state(self, words):
        deadline = time.monotonic() + PATIENCE
        while self.state() != words:
            assert time.monotonic() < deadline, f"vm1 is {self.state()}, not {words}"
            time.sleep(0.2)

    def defined(self):
        if "vm1" not in self.daemon.virsh("list", "--all", "--name").split():
            self.daemon.virsh("define", self.xml)

    def off(self):
        self.close()
        self.defined()
        if not self.state().startswith("shut off"):
            self.daemon.virsh("destroy vm1")

    def up(self):
        """Running, with a shell on its console."""
        self.defined()
        if self.console is None or self.console.process.poll() is not None or not self.state().startswith("running"):
            self.off()
            self.console = VirshConsole(self.daemon, "start", "vm1", "--console")
            self.console.shell("true")
        return self.console

    def close(self):
        if self.console:
            self.console.end()
            self.console = None


@pytest.fixture(scope="module")
def vm1(daemon, stock):
    machine = Machine(daemon, stock)
    yield machine
    machine.close()


def test_a_definition_is_listed_and_shown(daemon, vm1):
    assert daemon.virsh("define", vm1.xml) == f"Domain 'vm1' defined from {vm1.xml}\n\n"
    assert "vm1" not in daemon.virsh("list")
    said = daemon.virsh("list --all; dominfo vm1; domuuid vm1; domblklist vm1; domiflist vm1")
    assert re.search(r"^ -\s+vm1\s+shut off$", said, re.M)
    info = dict(re.findall(r"^([^:\n]+):\s+(.*)$", said, re.M))
    assert (info["Id"], info["Name"], info["UUID"], info["State"]) == ("-", "vm1", UUID, "shut off")
    assert (info["CPU(s)"], info["Max memory"], info["Persistent"]) == ("1", "196608 KiB", "yes")
    assert re.search(rf"^{UUID}$", said, re.M)
    assert re.search(r"^ vda\s+.*\.raw$", said, re.M)
    assert re.search(r"^ -\s+bridge\s+kvbr\d+\s+virtio\s+52:54:00:", said, re.M)


def test_what_is_shown_can_be_defined_again(daemon, vm1, tmp_path):
    vm1.defined()
    shown = daemon.virsh("dumpxml", "vm1", "--inactive")
    again = tmp_path / "again.xml"
    again.write_text(shown)
    daemon.virsh("define", again)
    assert daemon.virsh("dumpxml", "vm1", "--inactive") == shown


def test_bad_definitions_are_refused(daemon, vm1, stock, tmp_path):
    vm1.defined()

    def refused(text, *wanted):
        file = tmp_path / "bad.xml"
        file.write_text(text)
        said = daemon.virsh("define", file, status=1)
        assert f"error: Failed to define domain from {file}" in said
        for words in wanted:
            assert words in said, said
    good = stock.xml("vm2")
    refused(good.replace("</domain>", ""), "(domain_definition)")
    refused("<network><name>x</name></network>", "expecting root element of 'domain', not 'network'")
    refused(good.replace("<memory unit='MiB'>192</memory>", ""), "Memory size must be specified via <memory>")
    refused(good.replace("<name>vm2</name>", ""), "name")
    refused(good.replace("bus='virtio'", "bus='nonsense'"), "nonsense")
    refused(stock.xml("vm2", uuid=UUID), f"domain 'vm1' is already defined with uuid {UUID}")
    refused(stock.xml("vm1"), f"domain 'vm1' already exists with uuid {UUID}")
    assert daemon.virsh("list", "--all", "--name").split() == ["vm1"]


def test_a_name_that_nobody_has_is_refused(daemon, vm1):
    vm1.defined()
    verbs = ("start", "shutdown", "reboot", "reset", "destroy", "suspend", "resume", "dominfo", "dumpxml", "undefine")
    said = daemon.virsh("; ".join(f"{verb} nobody" for verb in verbs), status=1)
    assert said.split("\n\n") == ["error: failed to get domain 'nobody'"] * len(verbs) + [""], said


def test_what_takes_a_running_machine_is_refused_without_one(daemon, vm1):
    vm1.off()
    verbs = ("shutdown", "reboot", "reset", "destroy", "suspend", "resume")
    said = daemon.virsh("; ".join(f"{verb} vm1" for verb in verbs), status=1)
    assert said.split("\n\n") == [
        f"error: Failed to {verb} domain 'vm1'\nerror: Requested operation is not valid: domain is not running"
        for verb in verbs] + [""], said


def test_a_start_boots_the_kernel_with_its_root_on_virtio_blk_and_its_nic_on_the_bridge(daemon, vm1, stock):
    vm1.off()
    console = vm1.up()
    assert b"Domain 'vm1' started" in console.output
    assert b"Connected to domain 'vm1'" in console.output
    assert "Debian" in console.shell("uname -v")
    assert console.shell("grep ' / ext' /proc/mounts").startswith("/dev/vda / ext4 rw")
    assert "virtio_blk" in console.shell("readlink /sys/block/vda/device/driver")
    console.shell(f"ifconfig eth0 {GUEST}; ping -c 2 -w 20 {HOST}")
    subprocess.run(["ping", "-c", "1", "-w", "20", GUEST], stdout=subprocess.DEVNULL, check=True)
    assert len(taps_of(stock.bridge)) == 1
    said = daemon.virsh("domiflist vm1; domblkstat vm1 vda")
    assert re.search(r"vda rd_req [1-9]", said)
    nic = re.search(r"^ (vnet\d+)\s+bridge\s+\S+\s+virtio\s+(\S+)$", said, re.M)
    assert {nic[1]} == taps_of(stock.bridge)
    assert console.shell("cat /sys/class/net/eth0/address").strip() == nic[2]
    assert re.search(rf"{nic[1]} rx_packets [1-9]", daemon.virsh("domifstat", "vm1", nic[1]))


def test_a_running_machine_is_listed_and_cannot_be_started(daemon, vm1):
    vm1.up()
    said = daemon.virsh("list; domstate vm1 --reason; start vm1; resume vm1", status=1)
    assert re.search(r"^ \d+\s+vm1\s+running$", said, re.M)
    assert re.search(r"^running \(\w+\)$", said, re.M)
    assert "error: Domain is already active" in said
    assert "error: Requested operation is not valid: domain is already running" in said
    assert "error: Requested operation is not valid: domain 'vm1' is already active" in daemon.virsh("create", vm1.xml, status=1)


def test_a_console_is_left_and_entered_again_and_belongs_to_one(daemon, vm1):
    console = vm1.up()
    second = VirshConsole(daemon, "console", "vm1")
    second.expect("Active console session exists for this domain")
    assert second.wait() == 1
    second.end()
    console.send("( (sleep 3; echo said while $((3 * 3)) nobody listens) & )\n")
    assert console.leave() == 0
    time.sleep(3)
    vm1.console = console = VirshConsole(daemon, "console", "vm1")
    console.expect("said while 9 nobody listens")
    console.new_shell()
    forced = VirshConsole(daemon, "console", "vm1", "--force").connected()
    forced.send("echo $((6 * 7))\n")
    forced.expect("^42\r?$")
    console.wait()
    console.end()
    vm1.console = forced
    forced.new_shell()


def test_a_suspended_machine_stands_still_until_it_is_resumed(daemon, vm1):
    console = vm1.up()
    said = daemon.virsh("suspend vm1; domstate vm1 --reason; list")
    assert "Domain 'vm1' suspended\n\npaused (user)\n" in said
    assert re.search(r"^ \d+\s+vm1\s+paused$", said, re.M)
    console.send("echo it went $((2 + 3)) times\n")
    size = len(console.output)
    time.sleep(1.5)
    assert len(console.output) == size
    assert "Domain 'vm1' resumed" in daemon.virsh("resume", "vm1")
    console.expect("it went 5 times")
    assert vm1.state() == "running (unpaused)"


def test_a_reboot_by_the_power_button_brings_the_same_machine_up_again(daemon, vm1):
    console = vm1.up()
    number = daemon.virsh("domid", "vm1")
    console.shell("echo kept >/root/kept; touch /tmp/lost")
    assert "Domain 'vm1' is being rebooted" in daemon.virsh("reboot", "vm1")
    console.expect("the power button was pressed")
    console.restarted()
    assert console.shell("cat /root/kept; ls /tmp") == "kept\n"
    assert daemon.virsh("domid", "vm1") == number
    assert vm1.state().startswith("running")


def test_a_reset_asks_nobody(daemon, vm1):
    console = vm1.up()
    console.shell("touch /tmp/lost")
    begin = len(console.output)
    assert "Domain 'vm1' was reset" in daemon.virsh("reset", "vm1")
    console.restarted()
    assert "lost" not in console.shell("ls /tmp; cat /proc/uptime")
    assert b"power button" not in console.output[begin:]


def test_a_shutdown_switches_off_by_the_power_button(daemon, vm1, stock):
    console = vm1.up()
    assert "Domain 'vm1' is being shutdown" in daemon.virsh("shutdown", "vm1")
    console.expect("the power button was pressed")
    console.expect("reboot: Power down")
    assert console.wait() == 0
    vm1.await_state("shut off (shutdown)")
    vm1.close()
    assert not taps_of(stock.bridge)


def test_a_destroyed_machine_is_off_at_once_and_stays_defined(daemon, vm1, stock):
    vm1.off()
    said = daemon.virsh("start vm1 --paused; domstate vm1 --reason; destroy vm1; domstate vm1 --reason")
    assert said == "Domain 'vm1' started\n\npaused (user)\n\nDomain 'vm1' destroyed\n\nshut off (destroyed)\n\n"
    assert not taps_of(stock.bridge)


def test_a_definition_that_changes_while_it_runs_holds_from_the_next_start(daemon, vm1, stock):
    vm1.off()
    file = stock.file("vm1", uuid=UUID, memory=160)
    said = daemon.virsh(f"start vm1 --paused; define {file}; dumpxml vm1; destroy vm1; dumpxml vm1")
    assert re.findall(r"<memory unit='KiB'>(\d+)</memory>", said) == ["196608", "163840"]


def test_undefining_what_runs_leaves_it_until_its_end(daemon, vm1):
    vm1.off()
    said = daemon.virsh("start vm1 --paused; undefine vm1; dominfo vm1; destroy vm1; list --all; domstate vm1", status=1)
    assert "Domain 'vm1' has been undefined" in said
    assert re.search(r"^State:\s+paused$", said, re.M)
    assert re.search(r"^Persistent:\s+no$", said, re.M)
    assert "Domain 'vm1' destroyed" in said
    assert not re.search(r"^ -\s+vm1", said, re.M)
    assert "error: failed to get domain 'vm1'" in said
