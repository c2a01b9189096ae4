# SPDX-License-Identifier: GPL-2.0-or-later
"""The host that lab tests run on offers what they count on."""

import fcntl
import mmap
import os
import subprocess

import pytest

KVM_GET_API_VERSION = 0xAE00
KVM_CREATE_VM = 0xAE01

in_lab = pytest.mark.skipif("KVASIR_LAB" not in os.environ, reason="runs directly on a machine with hardware KVM")


def test_kvm_opens_and_makes_a_machine():
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    assert fcntl.ioctl(kvm, KVM_GET_API_VERSION) == 12
    machine = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
    assert machine >= 0
    os.close(machine)
    os.close(kvm)


@in_lab
def test_kvm_is_open_to_unprivileged_monitors():
    assert os.stat("/dev/kvm").st_mode & 0o666 == 0o666


@in_lab
def test_the_cpu_has_hardware_virtualization():
    with open("/proc/cpuinfo") as f:
        assert " svm " in f.read()


def test_the_scratch_folder_has_direct_io(scratch):
    block = mmap.mmap(-1, 4096)
    block.write(b"kvasir" * 600)
    fd = os.open(scratch / "file", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    assert os.write(fd, block) == 4096
    os.close(fd)
    with open(scratch / "file", "rb") as f:
        assert f.read() == block[:]


@pytest.mark.parametrize("path", ["/dev/net/tun", "/dev/vhost-net", "/dev/vhost-vsock"])
def test_opening_a_device_loads_its_module(path):
    os.close(os.open(path, os.O_RDWR))


@in_lab
def test_modules_load_by_name():
    subprocess.run(["modprobe", "nbd"], check=True)
    assert os.path.exists("/dev/nbd0")
    subprocess.run(["modprobe", "openvswitch"], check=True)


def test_a_tap_is_made_and_found(make_tap, leaks):
    tap = make_tap("192.168.77.1/24")
    assert os.path.isdir(f"/sys/class/net/{tap}")
    assert leaks() == {f"interface {tap}"}


@in_lab
def test_file_systems_of_a_host_are_mounted():
    with open("/proc/mounts") as f:
        mounts = {tuple(line.split()[1:3]) for line in f}
    assert {("/sys/fs/cgroup", "cgroup2"), ("/dev/hugepages", "hugetlbfs"), ("/dev/shm", "tmpfs"), ("/tmp", "tmpfs"),
            ("/run", "tmpfs"), ("/scratch", "ext4"), ("/dev/pts", "devpts")} <= mounts


@in_lab
def test_explicit_huge_pages_can_be_reserved():
    with open("/proc/sys/vm/nr_hugepages", "w") as f:
        f.write("8")
    try:
        with open("/proc/sys/vm/nr_hugepages") as f:
            assert f.read().strip() == "8"
    finally:
        with open("/proc/sys/vm/nr_hugepages", "w") as f:
            f.write("0")


@in_lab
def test_loopback_is_up_and_the_name_resolves():
    subprocess.run(["ping", "-c1", "-W5", "localhost"], check=True, stdout=subprocess.DEVNULL)
    assert subprocess.run(["hostname"], stdout=subprocess.PIPE, text=True, check=True).stdout == "lab1\n"
