# SPDX-License-Identifier: GPL-2.0-or-later
"""A network device over vhost-user with DPDK's testpmd as the back end, with the jail and without."""

import os
import socket
import subprocess
import time

import pytest
from kv_disks import BUILD, TIMEOUT_S
from kv_nics import NetMachine, switch


@pytest.fixture(params=["monitor connects", "back end connects"])
def back_end_connects(request):
    return request.param == "back end connects"


def exchange(guest, first):
    """More frames than the rings have places."""
    for n in range(18):
        guest.send(60 + n, first + n)
        guest.expect(60 + n, first + n)


def start(folder, jail, back_end_connects):
    net = f"vhost-user={folder}/vu,id=n" + (",server=on" if back_end_connects else "")
    return NetMachine(folder, net, jail=jail)


def test_frames_go_to_a_back_end_and_come_back(folder, jail, back_end_connects):
    with switch(folder, f"{folder}/vu", client=back_end_connects):
        with start(folder, jail, back_end_connects) as machine:
            assert machine.guest.link()
            exchange(machine.guest, 1)
            assert machine.guest.restart() == 0xf
            exchange(machine.guest, 50)
            machine.qmp.execute("stop")
            machine.guest.command("t 40 77")
            machine.qmp.execute("cont")
            assert machine.guest.answer() == "0"
            machine.guest.expect(0x40, 0x77)
            exchange(machine.guest, 100)
            machine.quit()
    assert "vu" not in os.listdir(folder)


def test_a_back_end_may_go_and_come_back_while_the_guest_runs(folder, back_end_connects):
    with switch(folder, f"{folder}/vu", client=back_end_connects):
        machine = start(folder, True, back_end_connects)
        exchange(machine.guest, 1)
    with machine:
        machine.guest.wait_link(False)
        machine.guest.command("t 40 77")  # waits in the ring for the next one
        with switch(folder, f"{folder}/vu", client=back_end_connects):
            assert machine.guest.answer() == "0"
            machine.guest.expect(0x40, 0x77)
            machine.guest.wait_link(True)
            exchange(machine.guest, 50)
            machine.quit()


def test_the_guest_sees_the_cable_unplugged_and_plugged(folder):
    with switch(folder, f"{folder}/vu"), start(folder, False, False) as machine:
        exchange(machine.guest, 1)
        machine.qmp.execute("set_link", name="n", up=False)
        assert not machine.guest.link()
        machine.qmp.execute("set_link", name="n", up=True)
        assert machine.guest.link()
        exchange(machine.guest, 1)
        machine.quit()


def test_a_back_end_that_never_answers_does_not_stop_the_machine(folder):
    with switch(folder, f"{folder}/vu"):
        machine = start(folder, False, False)
        exchange(machine.guest, 1)
    with machine, socket.socket(socket.AF_UNIX) as mute:
        mute.bind(f"{folder}/vu")
        mute.listen(1)
        mute.settimeout(TIMEOUT_S)
        mute.accept()[0].settimeout(TIMEOUT_S)
        begin = time.monotonic()
        assert not machine.guest.link()
        assert machine.qmp.execute("query-status")["running"]
        assert time.monotonic() - begin < 5
        machine.quit()


@pytest.mark.parametrize("options, message", [
    ("vhost-user={0}/vu", "vhost-user socket '{0}/vu': No such file"),
    ("vhost-user={0}/vu,server=on,wait=1", "no vhost-user back end connected to '{0}/vu' within 1 seconds"),
    ("vhost-user={0}/vu,tap=t0", "exactly one of tap, fd, fds and vhost-user is needed"),
    ("vhost-user={0}/vu,rx-rate=1M", "it cannot limit their rate"),
    ("tap=t0,server=on", "'server' is possible with vhost-user"),
])
def test_what_cannot_be_is_said(folder, options, message):
    done = subprocess.run([f"{BUILD}/kvasir-vmm", "--memory", "64M", "--kernel", f"{BUILD}/tests/guest/payload_net",
                           "--net", options.format(folder)],
                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 1 and message.format(folder) in done.stderr
    assert not os.listdir(folder)
