# SPDX-License-Identifier: GPL-2.0-or-later
"""Dirty bitmaps of disks in use, and the built-in NBD server that shows both."""

import json
import os
import socket
import subprocess

import pytest
from kv_disks import Machine, check_clean, make, pattern, qemu_img_info, run
from test_nodes import disk, qcow2
from test_snapshots import overlay, top


def bitmaps(machine):
    inserted = machine.qmp.execute("query-block")[0]["inserted"]
    return {row["name"]: row for row in inserted.get("dirty-bitmaps", [])}


def start_server(machine, folder, jail):
    """The address of the machine's NBD server."""
    path = f"{folder}/export"
    if not jail:
        machine.qmp.execute("nbd-server-start", addr={"type": "unix", "data": {"path": path}})
        return path
    assert "getfd" in machine.refused("nbd-server-start", addr={"type": "unix", "data": {"path": path}}).description
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(16)
        machine.qmp.send_fd(listener.fileno(), {"execute": "getfd", "arguments": {"fdname": "nbd"}})
        assert machine.qmp.receive(5)["return"] == {}
    machine.qmp.execute("nbd-server-start", addr={"type": "fd", "data": {"str": "nbd"}})
    return path


def uri(sock, name):
    return f"nbd+unix:///{name}?socket={sock}"


def shown(sock, export, bitmap):
    rows = json.loads(run("nbdinfo", "--json", f"--map=qemu:dirty-bitmap:{bitmap}", uri(sock, export)))
    return [(row["offset"], row["length"]) for row in rows if row["type"] == 1]


def test_bitmaps_record_rest_and_merge(folder, jail):
    path = make(f"{folder}/one.qcow2")
    with Machine(folder, disk(path, id="d"), jail=jail) as machine:
        node = top(machine)
        for name, options in ("a", {}), ("b", {"persistent": True}), ("c", {"disabled": True}):
            machine.qmp.execute("block-dirty-bitmap-add", node=node, name=name, granularity=65536, **options)
        assert "exists" in machine.refused("block-dirty-bitmap-add", node=node, name="a").description
        machine.guest.write(0, 8, 1)
        assert {name: row["count"] for name, row in bitmaps(machine).items()} == {"a": 65536, "b": 65536, "c": 0}
        machine.qmp.execute("block-dirty-bitmap-disable", node=node, name="a")
        machine.qmp.execute("block-dirty-bitmap-enable", node=node, name="c")
        machine.guest.write(0x1000, 8, 2)
        assert {name: row["count"] for name, row in bitmaps(machine).items()} == {"a": 65536, "b": 131072, "c": 65536}
        machine.qmp.execute("block-dirty-bitmap-merge", node=node, target="c", bitmaps=["a"])
        assert bitmaps(machine)["c"]["count"] == 131072
        machine.qmp.execute("block-dirty-bitmap-clear", node=node, name="a")
        assert bitmaps(machine)["a"]["count"] == 0
        machine.qmp.execute("block-dirty-bitmap-remove", node=node, name="c")
        assert "not found" in machine.refused("block-dirty-bitmap-clear", node=node, name="c").description
        machine.quit()
    check_clean(path)
    assert [row["name"] for row in qemu_img_info(path)["format-specific"]["data"]["bitmaps"]] == ["b"]


def test_a_failed_transaction_leaves_bitmaps_as_they_were(folder):
    path = make(f"{folder}/one.qcow2")
    with Machine(folder, disk(path, id="d")) as machine:
        node = top(machine)
        machine.qmp.execute("block-dirty-bitmap-add", node=node, name="a")
        machine.qmp.execute("block-dirty-bitmap-add", node=node, name="b", disabled=True)
        machine.guest.write(0, 8, 1)
        before = bitmaps(machine)
        machine.refused("transaction", actions=[
            {"type": "block-dirty-bitmap-add", "data": {"node": node, "name": "c"}},
            {"type": "block-dirty-bitmap-merge", "data": {"node": node, "target": "b", "bitmaps": ["a"]}},
            {"type": "block-dirty-bitmap-clear", "data": {"node": node, "name": "a"}},
            {"type": "block-dirty-bitmap-disable", "data": {"node": node, "name": "a"}},
            {"type": "block-dirty-bitmap-remove", "data": {"node": node, "name": "none"}}])
        assert bitmaps(machine) == before
        machine.qmp.execute("transaction", actions=[
            {"type": "block-dirty-bitmap-merge", "data": {"node": node, "target": "b", "bitmaps": ["a"]}},
            {"type": "block-dirty-bitmap-clear", "data": {"node": node, "name": "a"}}])
        after = bitmaps(machine)
        assert (after["a"]["count"], after["b"]["count"]) == (0, 65536)


def test_a_disk_in_use_is_read_over_nbd_and_its_bitmap_shown(folder, jail):
    path = make(f"{folder}/one.qcow2")
    with Machine(folder, disk(path, id="d"), jail=jail) as machine:
        node = top(machine)
        machine.guest.write(0x800, 16, 0x11)
        machine.qmp.execute("block-dirty-bitmap-add", node=node, name="bits")
        machine.guest.write(0, 16, 0x22)
        sock = start_server(machine, folder, jail)
        machine.qmp.execute("nbd-server-add", device="d")
        assert "records writes" in machine.refused("block-export-add", type="nbd", id="e", node_name=node, name="e",
                                            bitmaps=["bits"]).description
        machine.qmp.execute("block-dirty-bitmap-disable", node=node, name="bits")
        machine.qmp.execute("block-export-add", type="nbd", id="e", node_name=node, name="e", bitmaps=["bits"],
                            allocation_depth=True)
        machine.guest.write(0x1000, 16, 0x33)
        assert shown(sock, "e", "bits") == [(0, 65536)]
        info = json.loads(run("nbdinfo", "--json", uri(sock, "e")))["exports"][0]
        assert info["export-size"] == 16 << 20 and info["is_read_only"]
        run("nbdcopy", uri(sock, "d"), f"{folder}/copy.raw")
        assert run("qemu-img", "compare", "-f", "raw", "-F", "raw", f"{folder}/copy.raw", uri(sock, "e"))
        assert {row["id"]: row["node-name"] for row in machine.qmp.execute("query-block-exports")} == {
            "d": node, "e": node}
        with subprocess.Popen(["nbdcopy", uri(sock, "d"), "null:"]):
            pass
        machine.qmp.execute("block-export-del", id="e")
        assert machine.qmp.event("BLOCK_EXPORT_DELETED")["data"] == {"id": "e"}
        assert "not found" in machine.refused("block-export-del", id="e").description
        machine.qmp.execute("nbd-server-stop")
        assert machine.qmp.execute("query-block-exports") == []
        assert "not running" in machine.refused("nbd-server-stop").description
        machine.quit()
    with open(f"{folder}/copy.raw", "rb") as copy:
        data = copy.read()
    assert data[:8192] == b"\x22" * 8192 and data[0x100000:0x102000] == b"\x11" * 8192


def test_an_export_follows_its_disk_through_snapshots_while_it_is_read(folder, jail):
    base = make(f"{folder}/base.qcow2")
    with Machine(folder, disk(base, id="d"), jail=jail) as machine:
        machine.guest.write(0x4000, 64, 0x77)
        sock = start_server(machine, folder, jail)
        machine.qmp.execute("nbd-server-add", device="d")
        machine.guest.write_on(0, 0x1000, 1)
        readers = [subprocess.Popen(["sh", "-c", f"for i in 1 2 3 4 5 6; do nbdcopy '{uri(sock, 'd')}' null: && "
                                                 f"nbdinfo --map '{uri(sock, 'd')}' >/dev/null || exit 1; done"])
                   for _ in range(2)]
        last = base
        for n in range(6):
            last = overlay(machine, folder, jail, last, f"o{n}")
            machine.qmp.execute("blockdev-snapshot", node=top(machine), overlay=f"o{n}")
        assert [reader.wait(30) for reader in readers] == [0, 0]
        machine.guest.stop_writing()
        machine.guest.flush()
        assert run("qemu-img", "dd", "-f", "raw", "-O", "raw", "bs=512", "skip=16384", "count=16448",
                   f"if={uri(sock, 'd')}", f"of={folder}/part") == ""
        machine.quit()
    with open(f"{folder}/part", "rb") as part:
        assert part.read() == b"\x77" * 32768


def test_a_node_that_no_device_writes_is_exported_writable(folder, jail):
    one, two = make(f"{folder}/one.qcow2"), make(f"{folder}/two.qcow2")
    with Machine(folder, disk(one, id="d"), jail=jail) as machine:
        machine.qmp.execute("blockdev-add", **qcow2(machine.path(jail, two), "two"))
        sock = start_server(machine, folder, jail)
        assert "does not allow 'write'" in machine.refused("nbd-server-add", device="d", writable=True).description
        machine.qmp.execute("nbd-server-add", device="two", writable=True)
        with open(f"{folder}/in.raw", "wb") as out:
            out.write(b"\x5a" * (16 << 20))
        run("nbdcopy", f"{folder}/in.raw", uri(sock, "two"))
        assert "in use" in machine.refused("blockdev-del", node_name="two").description
        machine.qmp.execute("nbd-server-remove", name="two")
        machine.qmp.execute("blockdev-del", node_name="two")
        machine.quit()
    check_clean(two)
    assert pattern(two, 0, 8) == b"\x5a" * 4096


@pytest.mark.parametrize("mode", ["safe", "hard"])
def test_an_export_in_use_ends_only_by_force(folder, mode):
    path = make(f"{folder}/one.qcow2")
    with Machine(folder, disk(path, id="d")) as machine:
        sock = start_server(machine, folder, False)
        machine.qmp.execute("nbd-server-add", device="d")
        client = subprocess.Popen(["qemu-io", "-r", "-f", "raw", uri(sock, "d")], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        client.stdin.write(b"read 0 512\n")
        client.stdin.flush()
        assert b"read 512/512" in client.stdout.readline()
        if mode == "safe":
            assert "still in use" in machine.refused("block-export-del", id="d").description
        else:
            machine.qmp.execute("block-export-del", id="d", mode="hard")
        client.kill()
        client.communicate()
        machine.guest.write(0, 8, 1)
        machine.quit()
    assert not os.path.exists(sock)
