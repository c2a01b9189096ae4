# SPDX-License-Identifier: GPL-2.0-or-later
"""What kvasir-switchd may still do once it has begun."""

import os
import pwd
import subprocess
import time

import pytest
from conftest import BUILD
from kv_switch import Refused, Switch

NET_ADMIN, NET_RAW = 1 << 12, 1 << 13

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="who has no privileges gives none away")


def status(path):
    with open(f"{path}/status", encoding="ascii") as rows:
        return dict(row.rstrip("\n").split(":\t", 1) for row in rows if ":\t" in row)


def capabilities(path):
    said = status(path)
    return [int(said[f"Cap{which}"], 16) for which in ("Prm", "Eff", "Inh", "Bnd", "Amb")]


def opener_of(switch):
    with open(f"/proc/{switch.process.pid}/task/{switch.process.pid}/children", encoding="ascii") as children:
        pid, = children.read().split()
    return pid


def test_every_thread_has_no_capabilities_and_a_filter(switch):
    tasks = f"/proc/{switch.process.pid}/task"
    threads = {status(f"{tasks}/{thread}")["Name"]: f"{tasks}/{thread}" for thread in os.listdir(tasks)}
    assert "forward" in threads and len(threads) >= 2
    for path in threads.values():
        assert capabilities(path) == [0] * 5
        said = status(path)
        assert said["NoNewPrivs"] == "1" and said["Seccomp"] == "2"
    assert int(status(threads["forward"])["Seccomp_filters"]) == 2


def test_the_process_that_opens_has_what_that_takes_and_ends_with_the_switch(folder):
    with Switch(BUILD, folder) as switch:
        opener = f"/proc/{opener_of(switch)}"
        assert status(opener)["Name"] == "kvasir-opener"
        permitted, effective, inheritable, bounding, ambient = capabilities(opener)
        assert permitted == effective == NET_ADMIN | NET_RAW and inheritable == bounding == ambient == 0
        assert status(opener)["NoNewPrivs"] == "1" and status(opener)["Seccomp"] == "2"
        assert sorted(os.listdir(f"{opener}/fd")) == ["2", "3"]
    deadline = time.monotonic() + 5
    while os.path.exists(opener):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_another_user_makes_taps_all_the_same(folder):
    os.chmod(folder, 0o777)
    nobody = pwd.getpwnam("nobody")
    parents = os.path.dirname(folder)
    while parents != "/":  # pytest's are its user's alone
        os.chmod(parents, os.stat(parents).st_mode | 0o011)
        parents = os.path.dirname(parents)
    name = f"kvj{os.getpid()}"[:15]
    with Switch(BUILD, folder, "--user", "nobody") as switch:
        assert status(f"/proc/{switch.process.pid}")["Uid"].split() == [str(nobody.pw_uid)] * 4
        assert status(f"/proc/{switch.process.pid}")["Groups"].strip() == ""
        switch.execute("add-bridge", name="br0")
        switch.execute("add-port", bridge="br0", name=name, type="tap")
        assert os.path.exists(f"/sys/class/net/{name}")
        with pytest.raises(Refused, match="Permission denied"):
            switch.execute("add-port", bridge="br0", name="file", type="pcap", write="/root/x")
        with pytest.raises(Refused, match="No such device"):
            switch.execute("add-port", bridge="br0", name="kvnowhere", type="interface")
    assert not os.path.exists(f"/sys/class/net/{name}")


def test_without_the_process_that_opens_the_switch_goes_on_and_says_so(switch, folder):
    os.kill(int(opener_of(switch)), 9)
    with pytest.raises(Refused, match="process that opens interfaces is gone"):
        switch.execute("add-port", bridge="br0", name="t", type="tap")
    switch.execute("add-port", bridge="br0", name="g", type="vhost-user-server", path=f"{folder}/g")


def test_no_jail_gives_nothing_away(folder):
    with Switch(BUILD, folder, "--no-jail") as switch:
        said = status(f"/proc/{switch.process.pid}")
        assert said["Seccomp"] == "0" and int(said["CapEff"], 16)


@pytest.mark.parametrize("options, words", [
    (["--user", "nobody", "--no-jail"], "contradict each other"),
    (["--user", "root"], "other than root"),
    (["--user", "kvnowhere"], "no user of this host"),
    (["--user", "0:5"], "other than root"),
])
def test_users_that_cannot_be_are_refused(folder, options, words):
    done = subprocess.run([f"{BUILD}/kvasir-switchd", "--control", f"{folder}/c", *options], stderr=subprocess.PIPE,
                          text=True, timeout=10, check=False)
    assert done.returncode in (1, 2) and words in done.stderr
