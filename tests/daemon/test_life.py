# SPDX-License-Identifier: GPL-2.0-or-later
"""The life of domains, on /dev/kvm with bare-metal guests: each step, its events, its errors."""
import glob
import json
import os
import re
import signal
import stat
import struct
import threading
import time

import libvirt
import libvirt_qemu
import pytest

from kv_daemon import Console, Events, Refused, domain_xml, wait_for

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")

STARTED = (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED)
RESUMED = (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED)
SUSPENDED = (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED)
DESTROYED = (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED)
OFF = (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
GUEST_OFF = (libvirt.VIR_DOMAIN_EVENT_SHUTDOWN, libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_GUEST)
RUNNING, PAUSED, SHUTOFF = libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_SHUTOFF


@pytest.fixture
def obedient(conn):
    """A defined machine whose guest does what its console is told."""
    return conn.defineXML(domain_xml("one", "obey"))


def test_a_domain_starts_runs_and_is_destroyed(conn, events):
    domain = conn.defineXML(domain_xml("one"))
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"):
        domain.destroy()
    domain.create()
    number = domain.ID()
    assert number > 0
    assert domain.isActive() == 1
    assert domain.state() == [RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED]
    assert conn.lookupByID(number).name() == "one"
    assert conn.listDomainsID() == [number]
    assert conn.numOfDomains() == 1
    assert conn.listDefinedDomains() == []
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is already running"):
        domain.create()
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "cannot rename active domain"):
        domain.rename("two")
    domain.destroy()
    assert domain.isActive() == 0
    assert domain.state() == [SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED]
    with Refused(libvirt.VIR_ERR_NO_DOMAIN):
        conn.lookupByID(number)
    events.expect(("one", libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_ADDED),
                  ("one", *RESUMED), ("one", *STARTED), ("one", *DESTROYED))
    domain.create()
    assert domain.ID() > number
    domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)


def test_suspend_and_resume(conn, events):
    domain = conn.createXML(domain_xml("one"))
    events.expect(("one", *RESUMED), ("one", *STARTED))
    domain.suspend()
    assert domain.state() == [PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER]
    domain.suspend()
    domain.resume()
    assert domain.state() == [RUNNING, libvirt.VIR_DOMAIN_RUNNING_UNPAUSED]
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is already running"):
        domain.resume()
    events.expect(("one", *SUSPENDED), ("one", *RESUMED))
    domain.destroy()
    with Refused(libvirt.VIR_ERR_NO_DOMAIN):
        domain.suspend()


def test_a_suspended_domain_of_several_processors_uses_none_of_the_hosts(conn):
    domain = conn.createXML(domain_xml("still", vcpus=4))
    domain.suspend()
    before = domain.info()[4]
    time.sleep(1)
    assert domain.info()[4] - before < 100_000_000, "nanoseconds of processor time in a second"
    domain.resume()
    domain.suspend()
    assert domain.state()[0] == PAUSED
    domain.destroy()


def test_a_domain_started_paused_waits(conn, events):
    domain = conn.createXML(domain_xml("one"), libvirt.VIR_DOMAIN_START_PAUSED)
    assert domain.state() == [PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER]
    events.expect(("one", *STARTED), ("one", *SUSPENDED))
    domain.resume()
    assert domain.state()[0] == RUNNING
    events.expect(("one", *RESUMED))


def test_a_transient_domain_is_gone_with_its_machine(conn):
    domain = conn.createXML(domain_xml("one"))
    assert domain.isPersistent() == 0
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "cannot undefine transient domain"):
        domain.undefine()
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "cannot set autostart for transient domain"):
        domain.setAutostart(1)
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "transient domains do not have any persistent config"):
        domain.setMemoryFlags(1024, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain 'one' is already active"):
        conn.createXML(domain_xml("one", uuid=domain.UUIDString()))
    domain.destroy()
    with Refused(libvirt.VIR_ERR_NO_DOMAIN):
        conn.lookupByName("one")


def test_undefining_what_runs_makes_it_transient_and_defining_makes_it_stay(conn):
    domain = conn.defineXML(domain_xml("one"))
    domain.create()
    text = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    domain.undefine()
    assert (domain.isActive(), domain.isPersistent()) == (1, 0)
    conn.defineXML(text)
    assert (domain.isActive(), domain.isPersistent()) == (1, 1)
    domain.undefine()
    domain.destroy()
    assert conn.listAllDomains() == []


def test_the_live_document_has_what_only_a_live_one_has(conn):
    domain = conn.defineXML(domain_xml("one"))
    inactive = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    domain.create()
    live = domain.XMLDesc()
    assert f"<domain type='kvm' id='{domain.ID()}'" in live
    assert "<alias name='serial0'/>" in live
    assert "/dev/pts/" in live
    assert domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) == inactive
    assert "alias" not in inactive.replace("ua-", "")


def test_the_live_document_is_never_told_as_it_was_before_a_change(conn):
    domain = conn.defineXML(domain_xml("one"))
    domain.create()
    for n in range(3):
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, f"t{n}", None, None, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        assert all(f"<title>t{n}</title>" in domain.XMLDesc() for _ in range(3))
        assert "<title>" not in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert "/dev/pts" in domain.XMLDesc() and "/dev/pts" not in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    domain.destroy()
    assert "/dev/pts" not in domain.XMLDesc() and "<title>" not in domain.XMLDesc()
    domain.create()
    assert "/dev/pts" in domain.XMLDesc() and "<title>" not in domain.XMLDesc()


def test_the_power_button_switches_off(events, obedient):
    obedient.create()
    console = Console(obedient)
    console.expect(b"ready")
    obedient.shutdown()
    wait_for(lambda: not obedient.isActive(), "the guest's end")
    assert obedient.state() == [SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN]
    console.close()
    events.expect(("one", libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_ADDED),
                  ("one", *RESUMED), ("one", *STARTED), ("one", *GUEST_OFF), ("one", *OFF))
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"):
        obedient.shutdown()
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"):
        obedient.reboot()
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"):
        obedient.reset()


def test_an_agent_that_is_not_there_is_refused(obedient):
    obedient.create()
    with Refused(libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured"):
        obedient.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT)
    with Refused(libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured"):
        obedient.reboot(libvirt.VIR_DOMAIN_REBOOT_GUEST_AGENT)


def test_a_reset_and_a_reboot_bring_the_guest_up_again(conn, obedient):
    record = Events(conn, (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT,))
    obedient.create()
    number = obedient.ID()
    console = Console(obedient)
    console.expect(b"ready")
    obedient.reset()
    console.expect(b"ready")
    console.say(b"r")
    console.expect(b"ready")
    obedient.reboot()
    console.expect(b"ready")
    console.close()
    assert obedient.ID() == number
    record.expect(*[("one", f"id {libvirt.VIR_DOMAIN_EVENT_ID_REBOOT}")] * 2)
    record.end()


def test_a_console_echoes_and_belongs_to_one(conn, obedient):
    obedient.create()
    console = Console(obedient)
    console.expect(b"ready")
    console.say(b"eabc\n")
    console.expect(b"abc")
    with Refused(libvirt.VIR_ERR_OPERATION_FAILED):
        Console(obedient)
    other = Console(obedient, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    other.say(b"exyz\n")
    other.expect(b"xyz")
    other.close()
    with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "cannot find character device serial9"):
        obedient.openConsole("serial9", conn.newStream(0), 0)


def test_a_console_whose_client_leaves_before_the_guest_read_it_all_can_be_taken_again(conn):
    domain = conn.createXML(domain_xml("one"))  # its guest reads nothing
    for size in (300, 30000, 300000):  # the terminal takes some KiB, the daemon 64
        stream = conn.newStream(libvirt.VIR_STREAM_NONBLOCK)
        domain.openConsole(None, stream, 0)
        stream.send(b"x" * size)
        conn.getLibVersion()  # the bytes are there
        time.sleep(0.05)
        stream.abort()
    assert domain.isActive() == 1


@pytest.mark.parametrize("action, state", [("destroy", SHUTOFF), ("preserve", libvirt.VIR_DOMAIN_CRASHED)])
def test_a_panic_is_told_and_handled_as_asked(conn, events, action, state):
    domain = conn.defineXML(domain_xml("one", "obey", more=f"<on_crash>{action}</on_crash>",
                                       devices="<panic model='isa'/>"))
    domain.create()
    console = Console(domain)
    console.expect(b"ready")
    console.say(b"p")
    wait_for(lambda: domain.state()[0] == state, f"state {state}")
    events.expect(("one", libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_ADDED),
                  ("one", *RESUMED), ("one", *STARTED),
                  ("one", libvirt.VIR_DOMAIN_EVENT_CRASHED, libvirt.VIR_DOMAIN_EVENT_CRASHED_PANICKED))
    if action == "destroy":
        events.expect(("one", libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED))
        assert domain.state() == [SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED]
    console.close()


def test_a_guest_that_powers_off_with_on_poweroff_restart_comes_up_again(conn):
    domain = conn.defineXML(domain_xml("one", "obey", more="<on_poweroff>restart</on_poweroff>"))
    domain.create()
    console = Console(domain)
    console.expect(b"ready")
    console.say(b"q")
    console.expect(b"ready")
    assert domain.isActive() == 1
    console.close()


def test_what_an_end_leads_to_can_be_changed(conn, obedient):
    obedient.setLifecycleAction(libvirt.VIR_DOMAIN_LIFECYCLE_POWEROFF,
                                libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_RESTART, 0)
    assert "<on_poweroff>restart</on_poweroff>" in obedient.XMLDesc()
    with Refused(libvirt.VIR_ERR_INVALID_ARG):
        obedient.setLifecycleAction(libvirt.VIR_DOMAIN_LIFECYCLE_POWEROFF,
                                    libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_COREDUMP_RESTART, 0)


def test_a_monitor_that_is_killed_is_noticed_at_once(daemon, conn, events):
    domain = conn.createXML(domain_xml("one"))
    events.expect(("one", *RESUMED), ("one", *STARTED))
    pid, = daemon.monitors()
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: conn.numOfDomains() == 0, "the end")
    assert time.monotonic() - killed < 0.5
    events.expect(("one", libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED))
    with Refused(libvirt.VIR_ERR_NO_DOMAIN):
        domain.info()


def test_a_start_that_fails_leaves_a_clean_domain(conn, events):
    domain = conn.defineXML(domain_xml("one", devices="<disk type='file' device='disk'>"
                                       "<driver name='qemu' type='raw'/><source file='/does/not/exist'/>"
                                       "<target dev='vda' bus='virtio'/></disk>"))
    try:
        domain.create()
        raise AssertionError("it started")
    except libvirt.libvirtError as error:
        assert "/does/not/exist" in str(error)
    assert domain.isActive() == 0
    assert domain.ID() == -1
    assert domain.state() == [SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED]
    with pytest.raises(libvirt.libvirtError):
        conn.createXML(domain.XMLDesc().replace("one", "two").replace(domain.UUIDString(), ""))
    assert len(conn.listAllDomains()) == 1


@pytest.mark.parametrize("by", ["destroy", "autodestroy"])
def test_destroy_does_not_wait_for_what_waits_for_the_machine(daemon, conn, by):
    """A monitor that stands still holds up who asks it something; destroy ends it all the same."""
    owner = libvirt.open(daemon.uri())
    owner.createXML(domain_xml("stuck"), libvirt.VIR_DOMAIN_START_AUTODESTROY if by == "autodestroy" else 0)
    domain = conn.lookupByName("stuck")
    end = domain.destroy if by == "destroy" else owner.close
    pid = daemon.monitor_of(domain.UUIDString())
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        pids = [pid, *map(int, f.read().split())]
    for one in pids:
        os.kill(one, signal.SIGSTOP)
    other = daemon.connect().lookupByName("stuck")

    def ask():
        try:
            other.suspend()
        except libvirt.libvirtError:
            pass  # it is destroyed meanwhile
    asking, destroying = threading.Thread(target=ask), threading.Thread(target=end)
    asking.start()
    wait_for(lambda: domain.controlInfo()[0] == libvirt.VIR_DOMAIN_CONTROL_OCCUPIED, "the question")
    destroying.start()
    try:
        wait_for(lambda: pending(pid) >> (signal.SIGTERM - 1) & 1, "the monitor's being told to end", 5)
    finally:
        for one in pids:
            os.kill(one, signal.SIGCONT)
        destroying.join()
        asking.join()
    wait_for(lambda: conn.listAllDomains() == [], "the machine's end")


def pending(pid):
    """Signals that a process was sent and has not taken."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(next(line.split()[1] for line in f if line.startswith("ShdPnd")), 16)


def test_autodestroy_ends_with_its_connection(daemon, conn):
    other = libvirt.open(daemon.uri())
    other.createXML(domain_xml("one"), libvirt.VIR_DOMAIN_START_AUTODESTROY)
    conn.createXML(domain_xml("two"))
    assert conn.numOfDomains() == 2
    other.close()
    wait_for(lambda: [d.name() for d in conn.listAllDomains()] == ["two"], "autodestroy")


def test_monitor_commands_go_to_the_monitor(conn):
    domain = conn.createXML(domain_xml("one"))
    answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain, '{"execute": "query-status"}', 0))
    assert answer["return"]["status"] == "running"
    with Refused(libvirt.VIR_ERR_OPERATION_UNSUPPORTED, "no human monitor"):
        libvirt_qemu.qemuMonitorCommand(domain, "info status", libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP)
    with Refused(libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured"):
        libvirt_qemu.qemuAgentCommand(domain, "{}", 1, 0)


def test_a_core_dump_of_memory_is_an_elf_file(daemon, conn):
    domain = conn.createXML(domain_xml("one"))
    path = os.path.join(daemon.folder, "core")
    domain.coreDumpWithFormat(path, libvirt.VIR_DOMAIN_CORE_DUMP_FORMAT_RAW, libvirt.VIR_DUMP_MEMORY_ONLY)
    with open(path, "rb") as f:
        head = f.read(64)
    assert head[:4] == b"\x7fELF"
    assert struct.unpack_from("<H", head, 16)[0] == 4  # ET_CORE
    assert domain.state()[0] == RUNNING
    with Refused(libvirt.VIR_ERR_OPERATION_UNSUPPORTED):
        domain.coreDumpWithFormat(path, libvirt.VIR_DOMAIN_CORE_DUMP_FORMAT_KDUMP_ZLIB,
                                  libvirt.VIR_DUMP_MEMORY_ONLY)
    domain.coreDump(path, libvirt.VIR_DUMP_MEMORY_ONLY | libvirt.VIR_DUMP_CRASH)
    assert conn.listAllDomains() == []


@pytest.mark.parametrize("action", ["coredump-destroy", "coredump-restart"])
def test_a_panic_leaves_a_core_file_where_that_is_asked_for(daemon, conn, action):
    domain = conn.defineXML(domain_xml("one", "obey", more=f"<on_crash>{action}</on_crash>",
                                       devices="<panic model='isa'/>"))
    domain.create()
    number = domain.ID()
    console = Console(domain)
    console.expect(b"ready")
    console.say(b"p")
    if action == "coredump-restart":
        console.expect(b"ready")
        assert domain.isActive() == 1
    else:
        wait_for(lambda: domain.state() == [SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED], "the end")
    console.close()
    (core,) = glob.glob(f"{daemon.state}/dump/{number}-one-*")
    with open(core, "rb") as f:
        assert f.read(4) == b"\x7fELF"
    assert os.stat(core).st_size > 64 << 20 and os.stat(core).st_mode & 0o777 == 0o600
    os.unlink(core)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_core_dump_that_fails_does_not_remove_the_device_it_went_to(daemon, conn):
    domain = conn.createXML(domain_xml("one"))
    full = os.path.join(daemon.folder, "full")
    os.mknod(full, stat.S_IFCHR | 0o600, os.makedev(1, 7))
    with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "No space left"):
        domain.coreDump(full, libvirt.VIR_DUMP_MEMORY_ONLY)
    assert stat.S_ISCHR(os.stat(full).st_mode)


def test_a_daemon_that_is_killed_finds_its_machines_again(fresh):
    conn = fresh.connect()
    conn.defineXML(domain_xml("kept")).create()
    conn.createXML(domain_xml("transient"))
    conn.createXML(domain_xml("paused"), libvirt.VIR_DOMAIN_START_PAUSED)
    conn.createXML(domain_xml("dies"))
    facts = {d.name(): (d.ID(), d.UUIDString(), d.isPersistent(), d.state()[0]) for d in conn.listAllDomains()}
    pids = {name: fresh.monitor_of(uuid) for name, (_, uuid, _, _) in facts.items()}
    fresh.kill()
    os.kill(pids["dies"], signal.SIGKILL)
    fresh.start()
    conn = fresh.connect()
    del facts["dies"]
    wait_for(lambda: len(conn.listAllDomains()) == len(facts), "the end of what was killed")
    assert {d.name(): (d.ID(), d.UUIDString(), d.isPersistent(), d.state()[0])
            for d in conn.listAllDomains()} == facts
    assert sorted(fresh.monitors()) == sorted(pids[name] for name in facts)
    conn.lookupByName("paused").resume()
    for name in facts:
        conn.lookupByName(name).destroy()
    assert [d.name() for d in conn.listAllDomains()] == ["kept"]
    assert fresh.monitors() == []


AGENT = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"


def channel_state(domain):
    return re.search(r"<target type='virtio' name='org.qemu.guest_agent.0' state='(\w+)'/>", domain.XMLDesc())[1]


def test_a_channel_is_connected_while_the_guest_has_it_open_also_over_a_restart(fresh):
    domain = fresh.connect().createXML(domain_xml("one", "obey", devices=AGENT))
    assert channel_state(domain) == "disconnected"
    assert "state=" not in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE).split("guest_agent")[1].split(">")[0]
    told = Events(domain.connect(), (libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE,))
    console = Console(domain)
    console.expect(b"ready")
    console.say(b"o")
    number = f"id {libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE}"
    channel = libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_CHANNEL
    told.expect(("one", number, libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED, channel))
    assert channel_state(domain) == "connected"
    console.say(b"c")
    told.expect(("one", number, libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED, channel))
    assert channel_state(domain) == "disconnected"
    console.say(b"o")
    wait_for(lambda: channel_state(domain) == "connected", "the channel to be open again")
    fresh.kill()
    fresh.start()
    assert channel_state(fresh.connect().lookupByName("one")) == "connected"


def test_autostart_starts_once_a_boot_of_the_host(fresh):
    conn = fresh.connect()
    conn.defineXML(domain_xml("one")).setAutostart(1)
    fresh.kill()
    os.unlink(os.path.join(fresh.run, "autostarted"))
    fresh.start()
    conn = fresh.connect()
    domain = conn.lookupByName("one")
    wait_for(domain.isActive, "autostart")
    domain.destroy()
    fresh.kill()
    fresh.start()
    time.sleep(0.3)
    assert fresh.connect().lookupByName("one").isActive() == 0
