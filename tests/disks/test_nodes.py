# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes by name, descriptors in place of files, sizes and limits of disks."""

import os
import time

from kv_disks import Machine, check_clean, make, qemu_img_info, run


def disk(path, image_format="qcow2", **options):
    return ",".join([f"path={path}", f"format={image_format}", *(f"{n}={v}" for n, v in options.items())])


def qcow2(path, name, **members):
    return {"driver": "qcow2", "node_name": name, "file": {"driver": "file", "filename": path}, **members}


def test_nodes_come_are_listed_and_go(folder, jail):
    one, two = make(f"{folder}/one.qcow2"), make(f"{folder}/two.qcow2", "32M")
    with Machine(folder, disk(one, id="d"), jail=jail) as machine:
        machine.qmp.execute("blockdev-add", **qcow2(machine.path(jail, two), "two"))
        nodes = {node["node-name"]: node for node in machine.qmp.execute("query-named-block-nodes")}
        assert nodes["two"]["drv"] == "qcow2" and nodes["two"]["image"]["virtual-size"] == 32 << 20
        top = machine.qmp.execute("query-block")[0]["inserted"]["node-name"]
        assert nodes[top]["drv"] == "qcow2"
        third = make(f"{folder}/third.qcow2")
        assert "two" in machine.refused("blockdev-add", **qcow2(machine.path(jail, third), "two")).description
        assert "not owned by the monitor" in machine.refused("blockdev-del", node_name=top).description
        machine.qmp.execute("blockdev-del", node_name="two")
        assert "two" in machine.refused("blockdev-del", node_name="two").description
        machine.quit()
    check_clean(one)
    check_clean(two)


def test_nodes_stand_on_nodes_as_libvirt_builds_them(folder, jail):
    one, two = make(f"{folder}/one.qcow2"), make(f"{folder}/two.qcow2")
    cache = {"direct": False, "no-flush": False}
    with Machine(folder, disk(one, id="d"), jail=jail) as machine:
        machine.qmp.execute("blockdev-add", driver="file", filename=machine.path(jail, two),
                            node_name="libvirt-1-storage", auto_read_only=True, discard="unmap", cache=cache)
        machine.qmp.execute("blockdev-add", driver="qcow2", node_name="libvirt-1-format", read_only=False,
                            discard="unmap", detect_zeroes="unmap", cache=cache, file="libvirt-1-storage",
                            backing=None)
        assert "in use" in machine.refused("blockdev-del", node_name="libvirt-1-storage").description
        machine.qmp.execute("blockdev-snapshot", node=machine.qmp.execute("query-block")[0]["inserted"]["node-name"],
                            overlay="libvirt-1-format")
        machine.guest.write(0, 8, 0x42)
        machine.guest.expect(0, 8, 0x42)
        machine.quit()
    check_clean(two)


def test_a_jailed_monitor_opens_no_file_by_itself_and_says_what_would_do(folder):
    one, two = make(f"{folder}/one.qcow2"), make(f"{folder}/two.qcow2")
    with Machine(folder, disk(one, id="d"), jail=True) as machine:
        assert "add-fd" in machine.refused("blockdev-add", **qcow2(two, "two")).description
        machine.guest.write(0, 8, 1)


def test_descriptor_sets_are_listed_and_a_removed_one_opens_nothing(folder, jail):
    one, two = make(f"{folder}/one.qcow2"), make(f"{folder}/two.qcow2")
    with Machine(folder, disk(one, id="d"), jail=jail) as machine:
        path = machine.add_fd(two, os.O_RDONLY)
        assert "/dev/fdset" in machine.refused("blockdev-add", **qcow2(path, "two")).description
        machine.qmp.execute("blockdev-add", **qcow2(path, "two", read_only=True))
        number = int(path.rsplit("/", 1)[1])
        assert [row["fdset-id"] for row in machine.qmp.execute("query-fdsets")] == [number]
        machine.qmp.execute("remove-fd", fdset_id=number)
        assert machine.qmp.execute("query-fdsets") == []
        assert "not found" in machine.refused("remove-fd", fdset_id=number).description
        machine.refused("blockdev-add", **qcow2(path, "three", read_only=True))
        machine.qmp.execute("blockdev-del", node_name="two")


def test_what_has_no_place_is_refused_with_what_does_it(folder):
    with Machine(folder, disk(make(f"{folder}/one.qcow2"), id="d")) as machine:
        assert "blockdev-mirror" in machine.refused("drive-mirror", device="d", target="x", sync="full").description
        assert "is not removable" in machine.refused("blockdev-change-medium", id="d", filename="x").description


def test_a_disk_is_resized_by_its_node_and_by_its_name(folder, jail):
    path = make(f"{folder}/one.qcow2")
    with Machine(folder, disk(path, id="d"), jail=jail) as machine:
        node = machine.qmp.execute("query-block")[0]["inserted"]["node-name"]
        assert machine.guest.ask("w", 0x10000, 8, 1)[0] == 1
        machine.qmp.execute("block_resize", node_name=node, size=64 << 20)
        machine.guest.write(0x10000, 8, 1)
        machine.qmp.execute("block_resize", device="d", size=128 << 20)
        machine.guest.write(0x20000, 8, 2)
        machine.quit()
    check_clean(path)
    assert qemu_img_info(path)["virtual-size"] == 128 << 20


def test_what_an_image_says_of_its_backing_file_is_changed(folder):
    base = make(f"{folder}/base.qcow2")
    path = make(f"{folder}/top.qcow2", "16M", "qcow2", "-b", base, "-F", "qcow2")
    os.link(base, f"{folder}/other.qcow2")
    with Machine(folder, disk(path, id="d")) as machine:
        node = machine.qmp.execute("query-block")[0]["inserted"]["node-name"]
        machine.qmp.execute("change-backing-file", device="d", image_node_name=node,
                            backing_file=f"{folder}/other.qcow2")
        machine.guest.write(0, 8, 1)
        machine.quit()
    assert qemu_img_info(path)["backing-filename"] == f"{folder}/other.qcow2"
    check_clean(path)


def seconds(machine, disk_number, requests):
    start = time.monotonic()
    for i in range(requests):
        machine.guest.write(i * 8, 8, 1, disk=disk_number)
    return time.monotonic() - start


def limits(name, **some):
    return {"id": name, "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0, **some}


def test_limits_hold_are_shared_by_a_group_and_end(folder, jail):
    one, two = (make(f"{folder}/{name}.raw", "16M", "raw") for name in "ab")
    with Machine(folder, disk(one, "raw", id="a"), disk(two, "raw", id="b"), jail=jail) as machine:
        for name in "ab":
            machine.qmp.run("block_set_io_throttle", limits(name, iops=10, group="g"))
        inserted = [disk["inserted"] for disk in machine.qmp.execute("query-block")]
        assert [(row["group"], row["iops"]) for row in inserted] == [("g", 10)] * 2
        taken = seconds(machine, 0, 8) + seconds(machine, 1, 8)
        assert 1.4 < taken < 5  # one at once, then 10 a second for both together
        assert "total" in machine.refused_run("block_set_io_throttle", limits("a", iops=40, iops_rd=40)).description
        machine.qmp.run("block_set_io_throttle", limits("a", bps=1, group="slow"))
        machine.guest.start("w", 0, 64, 1)
        time.sleep(0.1)
        machine.qmp.run("block_set_io_throttle", limits("a"))
        assert machine.guest.answer() == "0 0"
        assert seconds(machine, 0, 16) < taken
        assert "group" not in machine.qmp.execute("query-block")[0]["inserted"]


def test_a_raw_disk_goes_on_by_the_fast_way_after_a_snapshot(folder):
    """The overlay's file is put into the rings that exist."""
    run("true")
    with Machine(folder, disk(make(f"{folder}/a.raw", "16M", "raw"), "raw", id="d")) as machine:
        machine.guest.write(0, 8, 1)
        machine.qmp.execute("blockdev-snapshot-sync", device="d", snapshot_file=f"{folder}/o.qcow2", format="qcow2")
        machine.guest.write(8, 8, 2)
        machine.guest.expect(0, 8, 1)
        machine.quit()
    check_clean(f"{folder}/o.qcow2")
