# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a domain's threads run and what it may use of the host, in its definition and while it runs."""
import glob
import os

import libvirt
import pytest

from kv_daemon import Console, Refused, domain_xml

LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
needs_kvm = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")
GROUPS = "/sys/fs/cgroup/cgroup.controllers"
needs_groups = pytest.mark.skipif(not os.path.exists(GROUPS) or "cpu" not in open(GROUPS, encoding="ascii").read(),
                                  reason="no control groups of version 2")
UNLIMITED = (1 << 53) - 1  # VIR_DOMAIN_MEMORY_PARAM_UNLIMITED
CPUS = os.cpu_count()
FIRST = (True,) + (False,) * (CPUS - 1)
LAST = (False,) * (CPUS - 1) + (True,)
ALL = (True,) * CPUS


def disk(path):
    return (f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{path}'/>"
            "<target dev='vda' bus='virtio'/></disk>")


@pytest.fixture
def image(daemon):
    path = os.path.join(daemon.folder, "disk")
    with open(path, "wb") as f:
        f.truncate(1 << 20)
    return path


@pytest.fixture
def domain(conn, image):
    return conn.defineXML(domain_xml("one", vcpus=2, devices=disk(image), more="<iothreads>2</iothreads>"))


def threads(daemon, domain):
    """(name, folder in /proc) of the machine's threads, of the process in the jail as well."""
    outer = daemon.monitor_of(domain.UUIDString())
    with open(f"/proc/{outer}/task/{outer}/children", encoding="ascii") as f:
        processes = [outer, *map(int, f.read().split())]
    for process in processes:
        for task in glob.glob(f"/proc/{process}/task/*"):
            with open(f"{task}/comm", encoding="ascii") as f:
                yield f.read().strip(), task


def affinity(daemon, domain, thread):
    """The CPUs that the threads of that name really have."""
    return {tuple(sorted(os.sched_getaffinity(int(os.path.basename(task)))))
            for name, task in threads(daemon, domain) if thread in name}


def switches(daemon, domain):
    """How often each thread waited so far, by name."""
    found = {}
    for name, task in threads(daemon, domain):
        with open(f"{task}/status", encoding="ascii") as f:
            found[name] = int(f.read().split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return found


def test_pins_of_a_definition_are_set_and_told(domain):
    domain.pinVcpuFlags(1, LAST, CONFIG)
    domain.pinEmulator(FIRST, CONFIG)
    domain.pinIOThread(2, LAST, CONFIG)
    assert domain.vcpuPinInfo(CONFIG) == [ALL, LAST]
    assert domain.emulatorPinInfo(CONFIG) == FIRST
    assert [t[1] for t in domain.ioThreadInfo(CONFIG)] == [list(ALL), list(LAST)]
    assert f"<vcpupin vcpu='1' cpuset='{CPUS - 1}'/>" in domain.XMLDesc()
    domain.pinVcpuFlags(1, ALL, CONFIG)
    assert domain.vcpuPinInfo(CONFIG) == [ALL, ALL]
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "vcpu 2 is out of range of persistent cpu count 2"):
        domain.pinVcpuFlags(2, FIRST, CONFIG)
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "iothread 3 not found"):
        domain.pinIOThread(3, FIRST, CONFIG)
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "Empty cpu list for pinning"):
        domain.pinEmulator((False,) * CPUS, CONFIG)
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"):
        domain.pinVcpu(0, FIRST)


def test_io_threads_of_a_definition_are_added_and_removed(domain, image):
    domain.addIOThread(7, CONFIG)
    assert [t[0] for t in domain.ioThreadInfo(CONFIG)] == [1, 2, 7]
    domain.pinIOThread(7, FIRST, CONFIG)
    domain.delIOThread(1, CONFIG)
    assert [t[0] for t in domain.ioThreadInfo(CONFIG)] == [2, 7]
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "an IOThread is already using iothread_id '7'"):
        domain.addIOThread(7, CONFIG)
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "cannot find IOThread '1' in iothreadids list"):
        domain.delIOThread(1, CONFIG)
    domain.updateDeviceFlags(disk(image).replace("type='raw'", "type='raw' iothread='7'"), CONFIG)
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "it is being used by disk 'vda'"):
        domain.delIOThread(7, CONFIG)
    domain.updateDeviceFlags(disk(image), CONFIG)
    domain.delIOThread(7, CONFIG)
    domain.delIOThread(2, CONFIG)
    assert domain.ioThreadInfo(CONFIG) == [] and "iothread" not in domain.XMLDesc()


@needs_kvm
def test_pins_of_a_running_domain_bind_its_threads(daemon, domain):
    domain.pinIOThread(1, FIRST, CONFIG)
    domain.create()
    assert affinity(daemon, domain, "io0") == {(0,)}  # the first one
    domain.pinVcpu(1, LAST)
    assert affinity(daemon, domain, "vcpu1") == {(CPUS - 1,)}
    assert domain.vcpus()[1] == [ALL, LAST]
    assert domain.vcpuPinInfo(LIVE) == [ALL, LAST] and domain.vcpuPinInfo(CONFIG) == [ALL, ALL]
    domain.pinIOThread(2, LAST, LIVE | CONFIG)
    assert [t[1] for t in domain.ioThreadInfo(LIVE)] == [list(FIRST), list(LAST)]
    domain.pinEmulator(FIRST, LIVE)
    assert affinity(daemon, domain, "vmm") == {(0,)}
    assert affinity(daemon, domain, "vcpu1") == {(CPUS - 1,)}
    assert affinity(daemon, domain, "vcpu0") == {tuple(range(CPUS))}
    domain.pinVcpu(1, ALL)
    assert domain.vcpus()[1][1] == ALL
    with Refused(libvirt.VIR_ERR_OPERATION_UNSUPPORTED, "I/O threads of a running domain cannot be changed"):
        domain.addIOThread(7, LIVE)


@needs_kvm
def test_io_threads_go_by_the_ids_of_their_domain(daemon, conn, image):
    chosen = disk(image).replace("type='raw'", "type='raw' queues='2' iothread='7'")
    domain = conn.defineXML(domain_xml("one", "disk", vcpus=2, devices=chosen, more="<iothreads>2</iothreads><iothreadids>"
                                       "<iothread id='4'/><iothread id='7'/></iothreadids>"))
    domain.pinIOThread(7, FIRST, CONFIG)
    domain.create()
    assert [t[0] for t in domain.ioThreadInfo(LIVE)] == [4, 7]
    assert affinity(daemon, domain, "io0") == {tuple(range(CPUS))} and affinity(daemon, domain, "io1") == {(0,)}
    assert conn.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_IOTHREAD)[0][1]["iothread.count"] == 2
    console = Console(domain)
    console.expect(b"= disks 1")
    before = switches(daemon, domain)
    for _ in range(20):
        console.say(b"0 r 0 1 0\n")
        console.expect(b"= 0 ")
    after = switches(daemon, domain)
    assert after["io1"] - before["io1"] >= 20 and after["io0"] - before["io0"] < 10


@needs_kvm
def test_memory_that_is_locked_stays_in_memory(daemon, conn):
    domain = conn.defineXML(domain_xml("one", memory=64, more="<memoryBacking><locked/></memoryBacking>"))
    domain.create()
    locked = []
    for _, task in threads(daemon, domain):
        with open(f"{task}/status", encoding="ascii") as f:
            locked.append(int(f.read().split("VmLck:")[1].split()[0]))
    assert max(locked) >= 64 * 1024


@needs_kvm
def test_a_disk_tells_the_block_size_that_was_chosen(conn, image):
    sizes = "<blockio logical_block_size='512' physical_block_size='4096'/>"
    domain = conn.defineXML(domain_xml("one", "disk", devices=disk(image).replace("<target", sizes + "<target")))
    domain.create()
    console = Console(domain)
    console.expect(b"= disks 1")
    console.say(b"0 p 0 0 0\n")
    console.expect(b"= 0 3")  # two to the third blocks


@needs_kvm
def test_a_domain_without_io_threads_shows_none(conn, image):
    domain = conn.defineXML(domain_xml("one", devices=disk(image)))
    domain.create()
    assert domain.ioThreadInfo(LIVE) == []


@needs_kvm
def test_limits_of_a_running_domains_disk_are_set_and_lifted(domain):
    domain.create()
    domain.setBlockIoTune("vda", {"total_bytes_sec": 1 << 20, "total_iops_sec": 50}, LIVE)
    told = domain.blockIoTune("vda", LIVE)
    assert (told["total_bytes_sec"], told["total_iops_sec"]) == (1 << 20, 50)
    assert domain.blockIoTune("vda", CONFIG)["total_bytes_sec"] == 0
    domain.setBlockIoTune("vda", {"total_bytes_sec": 0, "total_iops_sec": 0}, LIVE)
    assert "iotune" not in domain.XMLDesc()
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "vdz"):
        domain.setBlockIoTune("vdz", {"total_bytes_sec": 1}, LIVE)


def group_of(domain):
    [path] = glob.glob(f"/sys/fs/cgroup/kvasir/{domain.UUIDString()}.*")
    return path


def limit(domain, name):
    with open(f"{group_of(domain)}/{name}", encoding="ascii") as f:
        return f.read().strip()


@needs_kvm
@needs_groups
def test_limits_are_those_of_its_control_group(conn, domain):
    domain.setSchedulerParametersFlags({"cpu_shares": 250, "global_quota": 30000}, CONFIG)
    domain.setMemoryParameters({"hard_limit": 400 << 10, "soft_limit": 300 << 10}, CONFIG)
    domain.create()
    assert (limit(domain, "cpu.weight"), limit(domain, "cpu.max")) == ("250", "30000 100000")
    assert (limit(domain, "memory.max"), limit(domain, "memory.high")) == (str(400 << 20), str(300 << 20))
    domain.setSchedulerParametersFlags({"cpu_shares": 77, "global_quota": -1}, LIVE)
    domain.setMemoryParameters({"hard_limit": 500 << 10, "swap_hard_limit": 600 << 10}, LIVE)
    assert (limit(domain, "cpu.weight"), limit(domain, "cpu.max")) == ("77", "max 100000")
    assert (limit(domain, "memory.max"), limit(domain, "memory.swap.max")) == (str(500 << 20), str(100 << 20))
    assert domain.schedulerParametersFlags(LIVE)["cpu_shares"] == 77
    assert domain.schedulerParametersFlags(CONFIG)["cpu_shares"] == 250
    domain.setMemoryParameters({"hard_limit": UNLIMITED,
                                "swap_hard_limit": UNLIMITED}, LIVE)
    assert limit(domain, "memory.max") == "max"
    with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "cpu.weight"):
        domain.setSchedulerParametersFlags({"cpu_shares": 20000}, LIVE)
    assert domain.schedulerParametersFlags(LIVE)["cpu_shares"] == 77
    path = group_of(domain)
    domain.destroy()
    assert not os.path.exists(path)


@needs_kvm
@needs_groups
def test_each_kind_of_thread_has_a_quota_of_its_own(conn):
    tune = "<cputune><period>100000</period><quota>10000</quota><emulator_quota>50000</emulator_quota></cputune>"
    domain = conn.createXML(domain_xml("one", "obey", vcpus=2, more="<iothreads>1</iothreads>" + tune))
    assert limit(domain, "vcpu0/cpu.max") == limit(domain, "vcpu1/cpu.max") == "10000 100000"
    assert limit(domain, "emulator/cpu.max") == "50000 100000"
    assert limit(domain, "iothread1/cpu.max") == "max 100000"
    assert limit(domain, "vcpu0/cgroup.threads") and not limit(domain, "cgroup.threads")
    domain.setSchedulerParametersFlags({"vcpu_quota": 70000, "iothread_quota": 5000}, LIVE)
    assert limit(domain, "vcpu1/cpu.max") == "70000 100000"
    assert limit(domain, "iothread1/cpu.max") == "5000 100000"
    path = group_of(domain)
    domain.destroy()
    assert not os.path.exists(path)


@needs_kvm
@pytest.mark.skipif(os.path.exists(GROUPS), reason="there are control groups")
def test_without_control_groups_a_limit_is_refused(domain):
    domain.create()
    with Refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, "CPU tuning is not available on this host"):
        domain.setSchedulerParameters({"cpu_shares": 10})
    with Refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, "CPU tuning is not available on this host"):
        domain.setSchedulerParameters({"vcpu_quota": 10000})
    assert domain.schedulerParameters()["cpu_shares"] == 1024
