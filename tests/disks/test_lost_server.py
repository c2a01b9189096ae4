# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk over NBD whose server goes away and comes back, with the jail and without."""

import json
import os
import time

import pytest
from kv_disks import Machine, make, pattern, serving


def disk(server, delay, **options):
    """A value of --disk."""
    description = {"driver": "raw", "file": {"driver": "nbd", "server": server, "export": "", "reconnect-delay": delay}}
    path = ("json:" + json.dumps(description)).replace(",", ",,")
    return ",".join([f"path={path}", "id=d", *(f"{name}={value}" for name, value in options.items())])


def unix(path):
    return {"type": "unix", "path": path}


def test_writes_wait_for_a_server_that_comes_back_and_none_is_lost(folder, jail):
    path = make(f"{folder}/disk.qcow2")
    with serving(folder, path, "-f", "qcow2") as (sock, server):
        machine = Machine(folder, disk(unix(sock), 20), jail=jail)
        with machine:
            machine.guest.write(0, 16, 0x11)
            machine.guest.flush()
            server.kill()
            server.wait()
            os.unlink(sock)
            machine.guest.start("w", 16, 16, 0x22)
            time.sleep(0.3)
            with serving(folder, path, "-f", "qcow2") as _:
                assert machine.guest.answer() == "0 0"
                machine.guest.expect(0, 16, 0x11)
                machine.guest.flush()
                machine.quit()
    assert pattern(path, 0, 32) == b"\x11" * 8192 + b"\x22" * 8192


@pytest.mark.parametrize("policy", ["report", "stop"])
def test_without_patience_the_policy_decides_and_work_goes_on_when_the_server_is_back(folder, jail, policy):
    path = make(f"{folder}/disk.qcow2")
    with serving(folder, path, "-f", "qcow2") as (sock, server):
        with Machine(folder, disk(unix(sock), 0, werror=policy, rerror=policy), jail=jail) as machine:
            machine.guest.write(0, 16, 0x11)
            server.kill()
            server.wait()
            os.unlink(sock)
            machine.guest.start("w", 16, 16, 0x22)
            event = machine.qmp.event("BLOCK_IO_ERROR")["data"]
            assert (event["device"], event["operation"], event["action"]) == ("d", "write", policy)
            if policy == "report":
                assert machine.guest.answer() == "1 0"
            else:
                machine.qmp.event("STOP")
                assert machine.qmp.execute("query-status")["status"] == "io-error"
                assert machine.qmp.execute("query-block")[0]["io-status"] == "failed"
            with serving(folder, path, "-f", "qcow2") as _:
                if policy == "report":
                    deadline = time.monotonic() + 10
                    while machine.guest.ask("w", 16, 16, 0x22)[0]:
                        assert time.monotonic() < deadline
                else:
                    deadline = time.monotonic() + 10
                    while machine.qmp.execute("query-block")[0]["io-status"] != "ok" and time.monotonic() < deadline:
                        machine.qmp.execute("cont")
                        time.sleep(0.2)
                    assert machine.guest.answer() == "0 0"
                machine.guest.expect(16, 16, 0x22)
                machine.quit()
    assert pattern(path, 16, 16) == b"\x22" * 8192


def test_a_server_on_tcp_is_found_again_from_the_jail(folder):
    path = make(f"{folder}/disk.qcow2")
    port = str(20000 + os.getpid() % 20000)
    with serving(folder, path, "-f", "qcow2", tcp=port) as (_, server):
        address = {"type": "inet", "host": "127.0.0.1", "port": port}
        with Machine(folder, disk(address, 20), jail=True) as machine:
            machine.guest.write(0, 16, 0x11)
            machine.guest.flush()
            server.kill()
            server.wait()
            machine.guest.start("w", 16, 16, 0x22)
            time.sleep(0.2)
            with serving(folder, path, "-f", "qcow2", tcp=port) as _:
                assert machine.guest.answer() == "0 0"
                machine.quit()
    assert pattern(path, 0, 32) == b"\x11" * 8192 + b"\x22" * 8192
