# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures and settings of domains: stats, typed parameters, CPUs, devices of definitions."""
import os

import libvirt
import pytest

from kv_daemon import Refused, domain_xml, wait_for

CONFIG, LIVE = libvirt.VIR_DOMAIN_AFFECT_CONFIG, libvirt.VIR_DOMAIN_AFFECT_LIVE
needs_kvm = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")


def disk_xml(path, target="vda"):
    return (f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{path}'/>"
            f"<target dev='{target}' bus='virtio'/></disk>")


@pytest.fixture
def image(daemon):
    path = os.path.join(daemon.folder, "disk.raw")
    with open(path, "wb") as f:
        f.truncate(1 << 20)
    os.chmod(path, 0o666)
    return path


@pytest.fixture
def idle(conn, image):
    """Defined, with a disk."""
    return conn.defineXML(domain_xml("one", devices=disk_xml(image), vcpus=2))


@pytest.fixture
def running(idle):
    idle.create()
    return idle


def test_memory_of_a_definition_is_set(idle):
    idle.setMemoryFlags(32768, CONFIG)
    assert idle.info()[1:3] == [65536, 32768]
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "cannot set memory higher than max memory"):
        idle.setMemoryFlags(65537, CONFIG)
    idle.setMaxMemory(131072)
    assert idle.maxMemory() == 131072
    idle.setMemoryFlags(16384, CONFIG | libvirt.VIR_DOMAIN_MEM_MAXIMUM)
    assert idle.info()[1:3] == [16384, 16384]
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"):
        idle.setMemory(1024)
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"):
        idle.memoryStats()


def test_vcpus_of_a_definition_are_set(idle):
    assert idle.vcpusFlags(CONFIG) == 2
    assert idle.maxVcpus() == 2
    idle.setVcpusFlags(4, CONFIG | libvirt.VIR_DOMAIN_VCPU_MAXIMUM)
    assert idle.vcpusFlags(CONFIG | libvirt.VIR_DOMAIN_VCPU_MAXIMUM) == 4
    idle.setVcpusFlags(3, CONFIG)
    assert idle.vcpusFlags(CONFIG) == 3
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "requested vcpus is greater than max allowable vcpus"):
        idle.setVcpusFlags(5, CONFIG)
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "cannot retrieve vcpu information for inactive domain"):
        idle.vcpus()
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"):
        idle.setVcpus(1)


def test_limits_of_a_definition_are_set_and_told(idle):
    assert idle.schedulerType()[0] == "posix"
    idle.setSchedulerParametersFlags({"cpu_shares": 2048, "vcpu_quota": 50000, "vcpu_period": 100000}, CONFIG)
    told = idle.schedulerParametersFlags(CONFIG)
    assert (told["cpu_shares"], told["vcpu_quota"], told["vcpu_period"]) == (2048, 50000, 100000)
    idle.setSchedulerParameters({"cpu_shares": 1000})
    assert idle.schedulerParameters()["cpu_shares"] == 1000
    unlimited = 9007199254740991  # VIR_DOMAIN_MEMORY_PARAM_UNLIMITED
    assert idle.memoryParameters(CONFIG) == {"hard_limit": unlimited, "soft_limit": unlimited,
                                             "swap_hard_limit": unlimited}
    idle.setMemoryParameters({"hard_limit": 262144}, CONFIG)
    assert idle.memoryParameters(CONFIG)["hard_limit"] == 262144
    idle.setMemoryParameters({"hard_limit": unlimited}, CONFIG)
    assert "hard_limit" not in idle.XMLDesc()
    idle.setBlkioParameters({"weight": 500}, CONFIG)
    assert idle.blkioParameters(CONFIG)["weight"] == 500
    with Refused(libvirt.VIR_ERR_INVALID_ARG):
        idle.setBlkioParameters({"weight": 5}, CONFIG)
    idle.setNumaParameters({"numa_nodeset": "0"}, CONFIG)
    assert idle.numaParameters(CONFIG)["numa_nodeset"] == "0"
    assert not any(idle.perfEvents().values())


def test_limits_of_a_disk_are_set_and_told(idle):
    assert idle.blockIoTune("vda", CONFIG)["total_bytes_sec"] == 0
    idle.setBlockIoTune("vda", {"total_bytes_sec": 1000000, "read_iops_sec": 100}, CONFIG)
    told = idle.blockIoTune("vda", CONFIG)
    assert (told["total_bytes_sec"], told["read_iops_sec"]) == (1000000, 100)
    assert "<total_bytes_sec>1000000</total_bytes_sec>" in idle.XMLDesc()
    idle.setBlockIoTune("vda", {"total_bytes_sec": 0, "read_iops_sec": 0}, CONFIG)
    assert "iotune" not in idle.XMLDesc()
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "vdz"):
        idle.blockIoTune("vdz", CONFIG)


def test_pins_of_a_definition_are_told(idle):
    cpus = os.cpu_count()
    assert idle.vcpuPinInfo(CONFIG) == [tuple([True] * cpus)] * 2
    assert idle.emulatorPinInfo(CONFIG) == tuple([True] * cpus)
    assert idle.ioThreadInfo(CONFIG) == []


def test_devices_of_a_definition_are_attached_updated_and_detached(conn, idle, image):
    idle.attachDeviceFlags(disk_xml(image + "2", "vdb"), CONFIG)
    assert "<target dev='vdb' bus='virtio'/>" in idle.XMLDesc()
    with Refused(libvirt.VIR_ERR_OPERATION_FAILED):
        idle.attachDeviceFlags(disk_xml(image + "3", "vdb"), CONFIG)
    idle.updateDeviceFlags(disk_xml(image + "4", "vdb"), CONFIG)
    assert image + "4" in idle.XMLDesc()
    idle.detachDeviceFlags(disk_xml(image + "4", "vdb"), CONFIG)
    assert "vdb" not in idle.XMLDesc()
    with Refused(libvirt.VIR_ERR_DEVICE_MISSING):
        idle.detachDeviceFlags(disk_xml(image + "4", "vdb"), CONFIG)
    with Refused(libvirt.VIR_ERR_DEVICE_MISSING, "no device found with alias nothing"):
        idle.detachDeviceAlias("nothing", CONFIG)
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"):
        idle.attachDevice(disk_xml(image, "vdb"))
    assert conn.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_BLOCK)[0][1]["block.count"] == 1


def test_bulk_stats_of_a_domain_that_is_shut_off(conn, idle, image):
    (domain, told), = conn.getAllDomainStats()
    assert domain.name() == "one"
    assert told == {"state.state": libvirt.VIR_DOMAIN_SHUTOFF, "state.reason": 0,
                    "balloon.current": 65536, "balloon.maximum": 65536,
                    "vcpu.current": 2, "vcpu.maximum": 2,
                    "block.count": 1, "block.0.name": "vda", "block.0.path": image}
    assert conn.getAllDomainStats(flags=libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE) == []
    (_, told), = conn.domainListGetStats([idle], libvirt.VIR_DOMAIN_STATS_STATE)
    assert told == {"state.state": libvirt.VIR_DOMAIN_SHUTOFF, "state.reason": 0}
    with Refused(libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED):
        conn.getAllDomainStats(1 << 30, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS)


def test_domains_and_disks_of_every_length_and_number_come_out_whole(conn, image):
    """Of names of every length up to 40 and up to 11 disks each."""
    made = {}
    for n in range(40):
        targets = [f"vd{chr(ord('a') + i)}" for i in range(n % 12)]
        domain = conn.defineXML(domain_xml("n" * (n + 1), devices="".join(disk_xml(image, t) for t in targets)))
        made[domain.name()] = (domain.UUIDString(), targets)
    assert {d.name(): d.UUIDString() for d in conn.listAllDomains()} == {
        name: uuid for name, (uuid, _) in made.items()}
    told = {domain.name(): (domain.UUIDString(), figures) for domain, figures in conn.getAllDomainStats()}
    assert told.keys() == made.keys()
    for name, (uuid, targets) in made.items():
        assert told[name][0] == uuid
        figures = told[name][1]
        assert figures["block.count"] == len(targets)
        assert [figures[f"block.{i}.name"] for i in range(len(targets))] == targets
        assert all(figures[f"block.{i}.path"] == image for i in range(len(targets)))
        assert (figures["balloon.maximum"], figures["vcpu.maximum"]) == (65536, 1)


def test_block_info_of_a_domain_that_is_shut_off(idle, image):
    assert idle.blockInfo("vda") == [1 << 20, 0, 1 << 20]
    assert idle.blockInfo(image)[0] == 1 << 20
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "invalid path vdq not assigned to domain"):
        idle.blockInfo("vdq")
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"):
        idle.blockStats("vda")
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"):
        idle.interfaceStats("vnet0")


def test_what_is_not_there_is_told_as_empty_or_refused_like_libvirt_does(conn, idle):
    assert idle.hasManagedSaveImage() == 0
    assert idle.snapshotNum() == 0
    assert idle.snapshotListNames() == []
    assert idle.listAllSnapshots() == []
    assert idle.hasCurrentSnapshot() == 0
    assert idle.listAllCheckpoints() == []
    assert idle.messages() is not None
    assert idle.securityLabelList() == []
    with Refused(libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT, "does not have a current snapshot"):
        idle.snapshotCurrent()
    with Refused(libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT, "no domain snapshot with matching name 's'"):
        idle.snapshotLookupByName("s")
    with Refused(libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT, "no domain checkpoint with matching name 'c'"):
        idle.checkpointLookupByName("c")
    for question in (idle.controlInfo, idle.jobInfo, idle.jobStats, idle.abortJob, idle.managedSave,
                     idle.injectNMI, idle.hostname, idle.diskErrors, idle.getTime, idle.fsInfo,
                     lambda: idle.getCPUStats(True), lambda: idle.sendKey(0, 0, [1], 1),
                     lambda: idle.interfaceAddresses(0), lambda: idle.blockResize("vda", 4096),
                     lambda: idle.screenshot(conn.newStream(0), 0)):
        with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"):
            question()


@needs_kvm
def test_figures_of_a_running_domain(conn, running, image):
    info = running.info()
    assert info[0] == libvirt.VIR_DOMAIN_RUNNING
    assert info[3] == 2
    assert running.getCPUStats(True)[0]["cpu_time"] >= 0
    assert running.memoryStats()["actual"] == 65536
    assert running.memoryStats()["rss"] > 0
    assert len(running.blockStats("vda")) == 5
    assert running.blockStats(image) == running.blockStats("")
    assert running.blockStatsFlags("vda")["rd_operations"] >= 0
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "invalid path: vdq"):
        running.blockStats("vdq")
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "'vnet99' is not a known interface"):
        running.interfaceStats("vnet99")
    assert running.blockInfo("vda")[0] == 1 << 20
    assert running.diskErrors() == {}
    assert running.controlInfo()[0] == libvirt.VIR_DOMAIN_CONTROL_OK
    assert running.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_NONE
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "no job is active on the domain"):
        running.abortJob()
    vcpus, maps = running.vcpus()
    assert [v[0] for v in vcpus] == [0, 1]
    assert len(maps) == 2
    (_, told), = conn.getAllDomainStats()
    assert told["state.state"] == libvirt.VIR_DOMAIN_RUNNING
    assert told["cpu.time"] >= 0
    assert told["vcpu.0.state"] == libvirt.VIR_VCPU_RUNNING
    assert told["block.0.name"] == "vda"
    assert told["block.0.capacity"] == 1 << 20
    running.injectNMI()


@needs_kvm
def test_a_running_domains_disk_grows(running, image):
    running.blockResize("vda", 2048)
    assert os.stat(image).st_size == 2 << 20
    assert running.blockInfo("vda")[0] == 2 << 20
    with Refused(libvirt.VIR_ERR_INVALID_ARG):
        running.blockResize("vdq", 4096)


@needs_kvm
def test_what_cannot_be_changed_while_it_runs_is_refused_clearly(running, image):
    refused = libvirt.VIR_ERR_OPERATION_UNSUPPORTED
    with Refused(refused, "disk bus 'sata' cannot be hotplugged."):
        running.attachDevice(disk_xml(image, "sdb").replace("'virtio'", "'sata'"))
    with Refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, "failed to find appropriate hotpluggable vcpus"):
        running.setVcpus(1)
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "cannot resize the maximum memory on an active domain"):
        running.setMaxMemory(131072)
    with Refused(libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured"):
        running.hostname()
    with Refused(refused):
        running.managedSave()


@needs_kvm
def test_memory_of_a_running_domain_is_asked_of_its_balloon(running):
    running.setMemory(32768)
    assert running.info()[1] == 65536
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "cannot set memory higher than max memory"):
        running.setMemory(65537)
    running.setMemoryStatsPeriod(1, LIVE)
    assert "<stats period='1'/>" in running.XMLDesc()


@needs_kvm
def test_live_and_defined_metadata_are_two(running):
    title = libvirt.VIR_DOMAIN_METADATA_TITLE
    running.setMetadata(title, "live", None, None, LIVE)
    running.setMetadata(title, "defined", None, None, CONFIG)
    assert running.metadata(title, None, LIVE) == "live"
    assert running.metadata(title, None, CONFIG) == "defined"
    running.destroy()
    assert running.metadata(title, None) == "defined"


@needs_kvm
@pytest.mark.skipif(tuple(map(int, os.uname().release.split(".")[:2])) < (5, 14), reason="KVM has no statistics")
def test_exits_are_those_that_kvm_counts(conn):
    domain = conn.createXML(domain_xml("busy", "obey"))

    def exits():
        told = conn.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_VCPU)[0][1]
        assert "vcpu.0.halt_exits.sum" in told and "vcpu.0.io_exits.sum" in told
        return told["vcpu.0.exits.sum"]
    before = wait_for(exits, "the guest's first exit")
    wait_for(lambda: exits() > before, "the guest, which asks its serial port again and again")
