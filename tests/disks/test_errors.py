# SPDX-License-Identifier: GPL-2.0-or-later
"""A host that fails a disk: the policy decides, and after the cause is gone work goes on with nothing lost."""

import json
import os

import pytest
from kv_disks import Machine, check_clean, make, pattern, run


def failing(path, event, errno=5, **more):
    """A value of --disk whose file fails once, at the first request of a kind."""
    description = {"driver": "raw", "file": {
        "driver": "blkdebug", "inject-error": [{"event": "none", "iotype": event, "errno": errno, "once": True, **more}],
        "image": {"driver": "file", "filename": path}}}
    return "path=" + ("json:" + json.dumps(description)).replace(",", ",,")


@pytest.mark.parametrize("kind", ["write", "read"])
def test_report_lets_the_guest_see_it(folder, jail, kind):
    path = make(f"{folder}/a.raw", "16M", "raw")
    with Machine(folder, failing(path, kind) + ",id=d,werror=report,rerror=report", jail=jail) as machine:
        assert machine.guest.ask(kind[0], 0, 8, 1)[0] == 1
        data = machine.qmp.event("BLOCK_IO_ERROR")["data"]
        assert (data["operation"], data["action"], data["nospace"], data["device"]) == (kind, "report", False, "d")
        assert data["node-name"] == machine.qmp.execute("query-block")[0]["inserted"]["node-name"]
        machine.guest.write(0, 8, 1)
        machine.guest.expect(0, 8, 1)
        machine.quit()


def test_ignore_tells_the_guest_that_all_is_well(folder):
    path = make(f"{folder}/a.raw", "16M", "raw")
    with Machine(folder, failing(path, "write") + ",id=d,werror=ignore") as machine:
        machine.guest.write(0, 8, 1)
        assert machine.qmp.event("BLOCK_IO_ERROR")["data"]["action"] == "ignore"


@pytest.mark.parametrize("kind", ["write", "read", "flush"])
def test_stop_holds_the_request_until_the_machine_goes_on(folder, jail, kind):
    path = make(f"{folder}/a.raw", "16M", "raw")
    with Machine(folder, failing(path, kind) + ",id=d,werror=stop,rerror=stop", jail=jail) as machine:
        machine.guest.start(kind[0], 0, 8, 1 if kind == "write" else 0)
        data = machine.qmp.event("BLOCK_IO_ERROR")["data"]
        assert data["action"] == "stop"
        machine.qmp.event("STOP")
        assert machine.qmp.execute("query-status") == {"running": False, "singlestep": False, "status": "io-error"}
        assert machine.qmp.execute("query-block")[0]["io-status"] == "failed"
        machine.qmp.execute("cont")
        machine.qmp.event("RESUME")
        assert machine.guest.answer() == "0 0"
        assert machine.qmp.execute("query-block")[0]["io-status"] == "ok"
        machine.quit()
    if kind == "write":
        assert pattern(path, 0, 8, "raw") == b"\1" * 4096


@pytest.fixture
def small(folder):
    """A file system of 2 MiB."""
    path = f"{folder}/small"
    os.mkdir(path)
    run("mount", "-t", "tmpfs", "-o", "size=2m", "none", path)
    yield path
    run("umount", "-l", path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")
@pytest.mark.parametrize("image_format", ["qcow2", "raw"])
def test_a_full_host_stops_the_machine_and_nothing_acknowledged_is_lost(folder, small, jail, image_format):
    path = make(f"{small}/disk", "16M", image_format)
    with open(f"{small}/ballast", "wb") as ballast:
        ballast.write(bytes(1 << 20))
    done = []
    with Machine(folder, f"path={path},format={image_format},id=d", jail=jail) as machine:
        for n in range(64):
            machine.guest.start("w", n * 128, 128, n + 1)
            try:
                assert machine.guest.answer(0.7) == "0 0"
            except TimeoutError:
                break
            done.append(n)
        assert 5 < len(done) < 30
        data = machine.qmp.event("BLOCK_IO_ERROR")["data"]
        assert (data["action"], data["nospace"]) == ("stop", True)
        assert machine.qmp.execute("query-status")["status"] == "io-error"
        assert machine.qmp.execute("query-block")[0]["io-status"] == "nospace"
        machine.qmp.execute("cont")
        machine.qmp.event("BLOCK_IO_ERROR")
        machine.qmp.event("STOP")
        machine.qmp.event("STOP")
        os.unlink(f"{small}/ballast")
        machine.qmp.execute("cont")
        assert machine.guest.answer() == "0 0"
        done.append(len(done))
        machine.guest.flush()
        for n in done:
            machine.guest.expect(n * 128, 128, n + 1)
        machine.quit()
    if image_format == "qcow2":
        check_clean(path)
    data = pattern(path, 0, len(done) * 128, image_format)
    assert data == b"".join(bytes([n + 1]) * 65536 for n in done)
