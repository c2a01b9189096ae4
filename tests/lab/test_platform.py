# SPDX-License-Identifier: GPL-2.0-or-later
"""PCI, clock, power button and the ways to reset, as a stock Debian kernel sees them."""

import time

import pytest

# What the kernel says when PCI or ACPI do not fit together.
COMPLAINTS = "can't claim|no space for|failed to assign|conflict|Firmware Bug|ACPI.*Error|nobody cared|IRQ.*disabled"


def test_the_kernel_finds_nothing_wrong_with_pci_and_acpi(shell_guest, make_disk, scratch):
    disk = make_disk(folder=scratch, size="64M")
    guest = shell_guest("--disk", f"path={disk}")
    assert guest.shell(f"dmesg | grep -iE \"{COMPLAINTS}\" || true") == ""
    bridge = guest.shell("cd /sys/bus/pci/devices/0000:00:00.0; cat vendor device class")
    assert bridge.split() == ["0x8086", "0x29c0", "0x060000"]
    resource = guest.shell("grep -h 0x /sys/bus/pci/devices/0000:00:0[1-9].0/resource | head -1").split()
    assert int(resource[0], 16) >= 0x800000000, "the 64-bit BAR lies in the 64-bit window"
    guest.shell("dd if=/dev/vda of=/dev/null bs=4k count=100 iflag=direct 2>/dev/null")
    interrupts = [line for line in guest.shell("cat /proc/interrupts").splitlines() if "virtio" in line]
    assert all("PCI-MSI" in line for line in interrupts)
    requests = sum(int(line.split()[1]) for line in interrupts if "req" in line)
    assert requests >= 50


def test_the_clock_shows_the_time_of_the_host_and_can_be_set(shell_guest):
    guest = shell_guest()
    read = "cat /sys/class/rtc/rtc0/since_epoch"
    before = time.time()
    assert before - 2 <= int(guest.shell(read)) <= time.time() + 2
    guest.shell("date -u -s '2031-12-31 23:59:57' && hwclock -w -u")
    assert 1956527990 <= int(guest.shell(read)) <= 1956528020
    guest.shell("sleep 4")
    assert guest.shell("cat /sys/class/rtc/rtc0/date").strip() == "2032-01-01"


def test_the_alarm_of_the_clock_interrupts(shell_guest):
    guest = shell_guest()
    count = "awk '/rtc0/ {print $2}' /proc/interrupts"
    before = int(guest.shell(count))
    guest.shell("echo +2 >/sys/class/rtc/rtc0/wakealarm; sleep 5")
    assert int(guest.shell(count)) > before


def test_the_power_button_reaches_the_guest_which_switches_off(shell_guest):
    guest = shell_guest(module=["button", "evdev"])
    guest.shell("grep -q 'Power Button' /proc/bus/input/devices")
    guest.send("head -c 24 /dev/input/event0 >/dev/null && echo pressed && poweroff -f\n")
    time.sleep(1)
    guest.qmp("system_powerdown")
    guest.event("POWERDOWN")
    guest.expect("pressed")
    assert guest.event("SHUTDOWN")["data"]["guest"] is True
    assert guest.wait() == 0


@pytest.mark.parametrize("how", ["k", "a", "p", "t"], ids=["keyboard-controller", "acpi", "port-cf9", "triple-fault"])
def test_a_reset_is_seen_whatever_way_the_guest_takes(shell_guest, how):
    guest = shell_guest("--no-reboot", append=f"reboot={how}")
    guest.shell("true")
    guest.send("reboot -f\n")
    data = guest.event("SHUTDOWN")["data"]
    assert data == {"guest": True, "reason": "guest-reset"}
    assert guest.wait() == 0


def test_after_a_reset_everything_works_as_at_the_first_start(shell_guest, make_disk, scratch):
    disk = make_disk(folder=scratch, size="64M")
    guest = shell_guest("--disk", f"path={disk}")
    look = "cat /sys/bus/pci/devices/*/resource; dd if=/dev/vda bs=64k count=16 iflag=direct 2>/dev/null | md5sum"
    first = guest.shell(look)
    guest.send("reboot -f\n")
    assert guest.event("RESET")["data"]["guest"] is True
    guest.expect("# ")
    guest.send("stty -echo; PS1= PS2=; echo again=$((1 + 1))\n")
    guest.expect("again=2\r?\n")
    assert guest.shell(look) == first
    assert guest.shell(f"dmesg | grep -iE \"{COMPLAINTS}\" || true") == ""


def test_a_panic_is_reported(shell_guest):
    guest = shell_guest(module=["pvpanic-mmio"])
    guest.shell("true")
    guest.send("echo c >/proc/sysrq-trigger\n")
    assert guest.event("GUEST_PANICKED")["data"]["action"] == "poweroff"
    assert guest.wait() == 3


def test_vcpus_are_plugged_and_unplugged_while_the_kernel_runs(shell_guest):
    guest = shell_guest(cpus="1,max=3")
    online = "/sys/devices/system/cpu/cpu%d/online"
    assert guest.shell("cat /sys/devices/system/cpu/possible").strip() == "0-2"
    guest.qmp("cpu-add", id=2)
    guest.shell("until [ -e /sys/devices/system/cpu/cpu1 ]; do sleep 0.1; done; "
                f"echo 1 >{online % 1}; taskset -c 1 true")
    assert guest.shell("grep -c ^processor /proc/cpuinfo").strip() == "2"
    guest.qmp("x-kvasir-cpu-remove", id=2)
    assert guest.event("DEVICE_DELETED")["data"]["device"] == "vcpu2"
    assert guest.shell("grep -c ^processor /proc/cpuinfo").strip() == "1"
    guest.qmp("cpu-add", id=2)
    guest.shell(f"until [ -e /sys/devices/system/cpu/cpu1 ]; do sleep 0.1; done; echo 1 >{online % 1}")
    assert guest.shell(f"dmesg | grep -iE \"{COMPLAINTS}\" || true") == ""
