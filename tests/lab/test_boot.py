# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock Debian kernels start, see the machine they were given, and switch off."""

import pytest


@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_a_stock_kernel_sees_its_cpus_and_memory_and_powers_off(shell_guest, cpus):
    guest = shell_guest(cpus=cpus, memory="512M", append="loglevel=4")
    assert guest.shell("nproc").strip() == str(cpus)
    total = int(guest.shell("awk '/MemTotal/{print $2}' /proc/meminfo"))
    assert 440 << 10 < total <= 512 << 10
    complaints = guest.shell("dmesg | grep -E 'ACPI (Error|Warning|BIOS)|Firmware Bug|firmware bug|TSC_DEADLINE disabled"
                             "|unstable|nobody cared' || true")
    assert complaints == ""
    assert [c["cpu-index"] for c in guest.qmp("query-cpus-fast")] == list(range(cpus))
    guest.send("poweroff -f\n")
    assert guest.event("SHUTDOWN")["data"]["guest"] is True
    assert guest.wait() == 0


def test_an_elf_kernel_starts_by_pvh(shell_guest, vmlinux):
    guest = shell_guest(kernel=vmlinux, memory="256M")
    assert "x86_64" in guest.shell("uname -m")


def test_topology_is_what_was_asked_for(shell_guest):
    guest = shell_guest(cpus="4,sockets=2,cores=2,threads=1")
    packages = guest.shell("cat /sys/devices/system/cpu/cpu*/topology/physical_package_id").split()
    cores = guest.shell("cat /sys/devices/system/cpu/cpu*/topology/core_id").split()
    assert packages == ["0", "0", "1", "1"]
    assert cores == ["0", "1", "0", "1"]
    assert guest.shell("grep -c x2apic /proc/cpuinfo").strip() == "4"


def test_paravirtual_features_and_clock_are_used(shell_guest):
    guest = shell_guest(append="loglevel=4", cpus=2)
    assert guest.shell("cat /sys/devices/system/clocksource/clocksource0/available_clocksource").find("kvm-clock") >= 0
    log = guest.shell("dmesg")
    assert "Hypervisor detected: KVM" in log
    assert "kvm-guest: PV spinlocks" in log or "kvm-guest: setup PV" in log


def test_memory_beyond_4_gib_is_found(shell_guest):
    """Nothing is touched before the guest touches it, so that 6 GiB fit a smaller host."""
    guest = shell_guest(memory="6G", append="page_poison=0")
    total = int(guest.shell("awk '/MemTotal/{print $2}' /proc/meminfo"))
    assert total > 5 << 20
