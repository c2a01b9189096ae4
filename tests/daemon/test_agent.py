# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's agent: the distribution's qemu-ga through a guest's channel, agents that answer as they like, and
agents that lie, flood or are silent."""
import datetime
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import libvirt
import libvirt_qemu
import pytest

from kv_agent import Agent, Guest, RealAgent, plain
from kv_daemon import Events, Refused, domain_xml, wait_for

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")

UNRESPONSIVE = libvirt.VIR_ERR_AGENT_UNRESPONSIVE


@pytest.fixture
def guest(daemon, conn):
    return Guest(daemon, conn)


# ---------------------------------------------------------------- the real one

@pytest.fixture(scope="module")
def real(daemon):
    """A guest whose agent is the distribution's; only read from."""
    if not shutil.which("qemu-ga"):
        pytest.skip("no qemu-ga")
    guest = Guest(daemon, daemon.connect(), "real")
    agent = RealAgent(daemon.folder, guest.com2)
    yield guest
    agent.end()


def test_the_distributions_agent_tells_of_its_system(real):
    info = real.domain.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_OS | libvirt.VIR_DOMAIN_GUEST_INFO_HOSTNAME |
                                 libvirt.VIR_DOMAIN_GUEST_INFO_TIMEZONE)
    assert info["hostname"] == socket.gethostname()
    assert info["os.kernel-release"] == os.uname().release
    assert info["timezone.offset"] == datetime.datetime.now().astimezone().utcoffset().total_seconds()
    assert real.domain.hostname(libvirt.VIR_DOMAIN_GET_HOSTNAME_AGENT) == socket.gethostname()


def test_the_distributions_agent_tells_interfaces_time_and_vcpus(real):
    addresses = real.domain.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT)
    assert {"addr": "127.0.0.1", "prefix": 8, "type": 0} in addresses["lo"]["addrs"]
    assert abs(real.domain.getTime()["seconds"] - time.time()) < 5
    assert real.domain.guestVcpus()["vcpus"] == open("/sys/devices/system/cpu/online", encoding="ascii").read().strip()
    everything = real.domain.guestInfo(0)
    assert {"user.count", "os.name", "fs.count", "disk.count", "if.count"} <= set(everything)


def test_virsh_prints_what_the_distributions_agent_says(daemon, real):
    assert f"hostname            : {socket.gethostname()}\n" in daemon.virsh("guestinfo", "real", "--hostname")
    assert daemon.virsh("domhostname", "real", "--source", "agent").strip() == socket.gethostname()
    assert "lo" in daemon.virsh("domifaddr", "real", "--source", "agent")
    daemon.virsh("domfsinfo", "real")
    assert json.loads(daemon.virsh("qemu-agent-command", "real", '{"execute":"guest-ping"}')) == {"return": {}}
    assert "disabled" in daemon.virsh("domfsfreeze", "real", status=1)


# --------------------------------------------------------- what reaches an agent

def test_settings_reach_the_agent(guest):
    agent = Agent(guest.com2, guest_set_time={}, guest_set_user_password={}, guest_ssh_get_authorized_keys={"keys": ["a b"]},
                  guest_ssh_add_authorized_keys={}, guest_ssh_remove_authorized_keys={}, guest_fstrim={"paths": []})
    domain = guest.domain
    domain.setTime({"seconds": 12, "nseconds": 34})
    domain.setTime(None, libvirt.VIR_DOMAIN_TIME_SYNC)
    domain.setUserPassword("root", "swordfish")
    domain.authorizedSSHKeysSet("me", ["k1"], 0)
    domain.authorizedSSHKeysSet("me", ["k2"], libvirt.VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND)
    domain.authorizedSSHKeysSet("me", ["k1"], libvirt.VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_REMOVE)
    domain.fSTrim(None, 4096)
    assert domain.authorizedSSHKeysGet("me") == ["a b"]
    assert plain(agent.asked[2][1].pop("password")) == "swordfish"
    assert agent.asked == [
        ("guest-set-time", {"time": 12000000034}), ("guest-set-time", {}),
        ("guest-set-user-password", {"username": "root", "crypted": False}),
        ("guest-ssh-add-authorized-keys", {"username": "me", "keys": ["k1"], "reset": True}),
        ("guest-ssh-add-authorized-keys", {"username": "me", "keys": ["k2"], "reset": False}),
        ("guest-ssh-remove-authorized-keys", {"username": "me", "keys": ["k1"]}),
        ("guest-fstrim", {"minimum": 4096}), ("guest-ssh-get-authorized-keys", {"username": "me"})]


def test_vcpus_are_taken_offline_by_the_guest(guest):
    vcpus = [{"logical-id": i, "online": i < 3, "can-offline": i > 0} for i in range(4)]
    agent = Agent(guest.com2, guest_get_vcpus=vcpus, guest_set_vcpus=1)  # one at a time
    assert guest.domain.guestVcpus() == {"vcpus": "0-3", "online": "0-2", "offlinable": "1-3"}
    guest.domain.setGuestVcpus("1-2", 0)
    sent = [arguments["vcpus"] for name, arguments in agent.asked if name == "guest-set-vcpus"]
    off = [{"logical-id": 1, "online": False}, {"logical-id": 2, "online": False}]
    assert sent == [off, off[1:]]
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "vCPU '0' is not offlinable"):
        guest.domain.setGuestVcpus("0", 0)
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "guest is missing vCPU '7'"):
        guest.domain.setGuestVcpus("7", 1)
    assert guest.domain.vcpusFlags(libvirt.VIR_DOMAIN_VCPU_GUEST) == 3
    guest.domain.setVcpusFlags(4, libvirt.VIR_DOMAIN_VCPU_GUEST)
    assert agent.asked[-1][1]["vcpus"] == [{"logical-id": 3, "online": True}]


def test_file_systems_are_told_with_the_disks_below_them(daemon, conn):
    path = os.path.join(daemon.folder, "disk.raw")
    with open(path, "wb") as image:
        image.truncate(1 << 20)
    os.chmod(path, 0o666)
    disk = f"<disk type='file' device='disk'><source file='{path}'/><target dev='vdb' bus='virtio'/></disk>"
    guest = Guest(daemon, conn, devices=disk)
    slot = int(guest.domain.XMLDesc().split("<target dev='vdb'")[1].split("slot='0x")[1][:2], 16)
    where = {"bus-type": "virtio", "bus": 0, "target": 0, "unit": 0, "serial": "S1", "dev": "/dev/vdb",
             "pci-controller": {"domain": 0, "bus": 0, "slot": slot, "function": 0}}
    Agent(guest.com2, guest_get_fsinfo=[{"name": "vdb", "mountpoint": "/data", "type": "ext4", "disk": [where],
                                         "total-bytes": 100, "used-bytes": 40},
                                        {"name": "tmp", "mountpoint": "/", "type": "xfs", "disk": []}],
          guest_get_disks=[{"name": "/dev/vdb", "partition": False, "address": where, "dependencies": []}])
    assert guest.domain.fsInfo() == [("/", "tmp", "xfs", []), ("/data", "vdb", "ext4", ["vdb"])]
    info = guest.domain.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_FILESYSTEM | libvirt.VIR_DOMAIN_GUEST_INFO_DISKS)
    assert info["fs.1.disk.0.alias"] == "vdb" and info["fs.1.used-bytes"] == 40
    assert info["disk.0.alias"] == "vdb" and info["disk.0.partition"] is False
    assert "/data        vdb    ext4   vdb" in daemon.virsh("domfsinfo", "one")


def test_shutdown_and_reboot_go_by_the_agent(guest):
    modes = []
    agent = Agent(guest.com2, guest_shutdown=lambda arguments: modes.append(arguments["mode"]))

    def obey(letter):
        wait_for(lambda: modes, "the agent to be asked")
        guest.console.say(letter)
    helper = threading.Thread(target=obey, args=(b"r",))
    helper.start()
    guest.domain.reboot(libvirt.VIR_DOMAIN_REBOOT_GUEST_AGENT)
    helper.join()
    assert modes == ["reboot"]
    guest.console.expect(b"ready")
    guest.wait("connected")
    modes.clear()
    helper = threading.Thread(target=obey, args=(b"q",))
    helper.start()
    guest.domain.shutdown()
    helper.join()
    assert modes == ["powerdown"] and agent.asked[-1][0] == "guest-shutdown"
    wait_for(lambda: not guest.domain.connect().listAllDomains(), "the guest's end")


# ------------------------------------------------------------------- freezing

class Frozen:
    """An agent's file systems."""

    def __init__(self, com2):
        self.now = False
        self.agent = Agent(com2, guest_fsfreeze_freeze=lambda _: self.set(True), guest_fsfreeze_thaw=lambda _: self.set(False))

    def set(self, frozen):
        self.now = frozen
        return 2


def test_a_client_freezes_and_thaws(daemon, guest):
    frozen = Frozen(guest.com2)
    assert guest.domain.fsFreeze() == 2 and frozen.now
    assert guest.domain.fsThaw() == 2 and not frozen.now
    assert "Froze 2 filesystem(s)" in daemon.virsh("domfsfreeze", "one")
    assert frozen.now, "virsh left in order"
    assert "Thawed 2 filesystem(s)" in daemon.virsh("domfsthaw", "one")


def test_file_systems_are_thawed_when_the_client_is_killed(daemon, guest):
    frozen = Frozen(guest.com2)
    script = ("import libvirt, sys, time; d = libvirt.open(sys.argv[1]).lookupByName('one'); d.fsFreeze(); "
              "print('frozen', flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", script, daemon.uri()], stdout=subprocess.PIPE) as client:
        assert client.stdout.readline() == b"frozen\n" and frozen.now
        client.kill()
    wait_for(lambda: not frozen.now, "the thaw")


def test_file_systems_are_thawed_when_the_daemon_was_killed(fresh):
    guest = Guest(fresh, fresh.connect())
    frozen = Frozen(guest.com2)
    guest.domain.fsFreeze()
    fresh.kill()
    assert frozen.now
    fresh.start()
    wait_for(lambda: not frozen.now, "the thaw")
    assert fresh.connect().lookupByName("one").fsThaw() == 2


def test_a_freeze_that_comes_too_late_is_taken_back(guest):
    frozen = Frozen(guest.com2)
    frozen.agent.answers["guest-fsfreeze-freeze"] = lambda _: frozen.set(True) and time.sleep(2)
    guest.domain.agentSetResponseTimeout(1)
    with Refused(UNRESPONSIVE, "Guest agent not available for now"):
        guest.domain.fsFreeze()
    wait_for(lambda: [name for name, _ in frozen.agent.asked] == ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"], "the thaw")


# ------------------------------------------------------------- states, refusals

def test_clients_are_told_of_agents_that_come_and_go(conn, guest):
    events = Events(conn, (libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE,))
    channel = libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_CHANNEL
    name = f"id {libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE}"
    guest.say(b"c")
    events.expect(("one", name, libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED, channel))
    with Refused(UNRESPONSIVE, "QEMU guest agent is not connected"):
        guest.domain.hostname()
    guest.say(b"o")
    events.expect(("one", name, libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED, channel))
    Agent(guest.com2, guest_get_host_name={"host-name": "back"})
    assert guest.domain.hostname() == "back"
    events.end()


def test_a_guest_without_an_agent_is_refused(conn):
    domain = conn.createXML(domain_xml("bare"))
    for ask in (domain.hostname, domain.fsFreeze, domain.getTime, domain.fsInfo, lambda: domain.guestInfo(0)):
        with Refused(libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured"):
            ask()
    domain.suspend()
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"):
        domain.getTime()


def test_what_an_agent_refuses_is_told(guest):
    Agent(guest.com2, guest_get_host_name={"host-name": "known"})
    with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "unable to execute QEMU agent command 'guest-get-osinfo': The command"):
        guest.domain.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_OS)
    assert guest.domain.guestInfo(0) == {"hostname": "known"}


# --------------------------------------------------------------------- hostile

def test_an_agent_that_is_silent_costs_its_time_only(guest):
    guest.domain.agentSetResponseTimeout(1)
    begin = time.monotonic()
    with Refused(UNRESPONSIVE, "Guest agent not available for now"):
        guest.domain.hostname()
    assert time.monotonic() - begin < 3
    Agent(guest.com2, guest_get_host_name={"host-name": "late"})
    assert guest.domain.hostname() == "late"


def test_answers_to_earlier_commands_are_thrown_away(guest):
    guest.domain.agentSetResponseTimeout(1)
    names = iter([None, "second"])
    agent = Agent(guest.com2, guest_get_host_name=lambda _: {"host-name": next(names)} if agent.asked[1:] else None)
    with Refused(UNRESPONSIVE):
        guest.domain.hostname()
    guest.com2.sendall(b'{"return": {"host-name": "first"}}\n\xff{"return": 1}\n{"half": ')
    next(names)
    assert guest.domain.hostname() == "second"


def test_an_agent_that_lies_is_refused(guest):
    agent = Agent(guest.com2)
    for lie in (b"no json\n", b"[]\n", b"{}\n", b'{"return": 7}\n', b'{"return": {"host-name": 7}}\n', b'{"error": 7}\n',
                b'{"return": {"host-name": "a\\u0000b"}}\n', b'{"return": {"host-name": "\xff\xfe"}}\n', b"[" * 3000 + b"\n"):
        agent.answers["guest-get-host-name"] = lie
        with Refused(libvirt.VIR_ERR_INTERNAL_ERROR):
            guest.domain.hostname()
    agent.answers["guest-get-host-name"] = {"host-name": "honest"}
    assert guest.domain.hostname() == "honest"


def test_claims_beyond_reason_are_refused(guest):
    agent = Agent(guest.com2)
    for command, claim, ask in (
            ("guest-network-get-interfaces", [{"name": "e", "ip-addresses": [{}]}], lambda d: d.interfaceAddresses(1)),
            ("guest-get-fsinfo", [{"name": 1}], lambda d: d.fsInfo()),
            ("guest-get-fsinfo", [{}] * 300, lambda d: d.fsInfo()),
            ("guest-get-disks", [{"name": "", "partition": True, "dependencies": [""] * 2100}],
             lambda d: d.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_DISKS)),
            ("guest-get-vcpus", [{"logical-id": 1 << 40, "online": True}], lambda d: d.vcpusFlags(libvirt.VIR_DOMAIN_VCPU_GUEST)),
            ("guest-get-time", -1, lambda d: d.getTime())):
        agent.answers[command] = claim
        with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, command):
            ask(guest.domain)


def test_a_guest_that_floods_its_channel_harms_nobody(conn, guest):
    guest.com2.setblocking(False)
    guest.domain.agentSetResponseTimeout(1)

    def flood():
        try:
            while True:
                guest.com2.send(b"\xff[[{{" * 4096)
        except BlockingIOError:
            pass
    flood()
    begin = time.monotonic()
    with Refused(UNRESPONSIVE):
        guest.domain.hostname()
    assert time.monotonic() - begin < 5
    conn.createXML(domain_xml("other")).destroy()


def test_a_command_that_waits_ends_with_its_guest(guest):
    Agent(guest.com2, guest_ping=lambda _: None)
    failed = []

    def wait_for_ever():
        try:
            libvirt_qemu.qemuAgentCommand(guest.domain, '{"execute":"guest-ping"}', -2, 0)
        except libvirt.libvirtError as error:
            failed.append(error.get_error_code())
    waiting = threading.Thread(target=wait_for_ever)
    waiting.start()
    time.sleep(0.5)
    guest.domain.destroy()
    waiting.join(10)
    assert failed == [UNRESPONSIVE]
