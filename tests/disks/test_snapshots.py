# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots of a disk that is in use: overlays, states inside the image, several at one moment."""

import threading

from kv_disks import Machine, check_clean, make, pattern, qemu_img_info, run
from test_nodes import disk, qcow2


def overlay(machine, folder, jail, base, name, size="16M"):
    """An overlay made outside, added as a node without its backing."""
    path = make(f"{folder}/{name}.qcow2", size, "qcow2", "-b", base, "-F", "qcow2")
    machine.qmp.execute("blockdev-add", **qcow2(machine.path(jail, path), name, backing=None))
    return path


def top(machine, number=0):
    return machine.qmp.execute("query-block")[number]["inserted"]["node-name"]


def test_an_added_overlay_takes_the_disks_place(folder, jail):
    base = make(f"{folder}/base.qcow2")
    with Machine(folder, disk(base, id="d"), jail=jail) as machine:
        machine.guest.write(0, 16, 0x11)
        over = overlay(machine, folder, jail, base, "over")
        machine.qmp.execute("blockdev-snapshot", node=top(machine), overlay="over")
        assert top(machine) == "over"
        machine.guest.write(8, 16, 0x22)
        machine.guest.expect(0, 8, 0x11)
        machine.guest.expect(8, 16, 0x22)
        assert machine.qmp.execute("query-block")[0]["inserted"]["backing_file_depth"] == 1
        machine.refused("blockdev-snapshot", node="over", overlay="over")
        machine.quit()
    check_clean(base)
    check_clean(over)
    assert pattern(base, 0, 24) == b"\x11" * 8192 + bytes(4096)
    assert pattern(over, 0, 24) == b"\x11" * 4096 + b"\x22" * 8192


def test_an_overlay_is_made_on_the_way(folder):
    base, over = make(f"{folder}/base.qcow2"), f"{folder}/over.qcow2"
    with Machine(folder, disk(base, id="d")) as machine:
        machine.guest.write(0, 16, 0x11)
        machine.qmp.execute("blockdev-snapshot-sync", device="d", snapshot_file=over, snapshot_node_name="over",
                            format="qcow2")
        assert top(machine) == "over"
        machine.guest.write(8, 8, 0x22)
        machine.refused("blockdev-snapshot-sync", device="d", snapshot_file="/does/not/exist/x")
        machine.quit()
    info = qemu_img_info(over)
    assert (info["backing-filename"], info["backing-filename-format"]) == (base, "qcow2")
    run("qemu-img", "rebase", "-u", "-b", base, "-F", "qcow2", over)
    assert pattern(over, 0, 16) == b"\x11" * 4096 + b"\x22" * 4096


def test_an_overlay_is_told_the_image_and_not_the_filter_over_it(folder):
    base, over = make(f"{folder}/base.qcow2"), f"{folder}/over.qcow2"
    with Machine(folder, disk(base, id="d")) as machine:
        machine.guest.write(0, 256, 0x11)
        machine.qmp.execute("blockdev-add", **qcow2(make(f"{folder}/copy.qcow2"), "copy"))
        machine.qmp.execute("blockdev-backup", job_id="b", device="d", target="copy", sync="none")
        machine.qmp.execute("blockdev-snapshot-sync", device="d", snapshot_file=over, format="qcow2")
        machine.guest.write(8, 8, 0x22)
        machine.qmp.execute("job-cancel", id="b")
        machine.quit()
    info = qemu_img_info(over)
    assert (info["backing-filename"], info["backing-filename-format"]) == (base, "qcow2")
    assert pattern(over, 0, 24) == b"\x11" * 4096 + b"\x22" * 4096 + b"\x11" * 4096


def test_an_overlay_that_is_there_is_taken_as_a_descriptor(folder):
    base = make(f"{folder}/base.qcow2")
    over = make(f"{folder}/over.qcow2", "16M", "qcow2", "-b", base, "-F", "qcow2")
    with Machine(folder, disk(base, id="d"), jail=True) as machine:
        machine.guest.write(0, 16, 0x11)
        machine.qmp.execute("blockdev-snapshot-sync", device="d", snapshot_file=machine.add_fd(over), format="qcow2",
                            mode="existing")
        machine.guest.write(8, 8, 0x22)
        machine.guest.expect(0, 8, 0x11)
        machine.quit()
    assert pattern(over, 0, 16) == b"\x11" * 4096 + b"\x22" * 4096


def test_snapshots_under_load_lose_nothing_and_are_of_one_moment(folder, jail):
    base = make(f"{folder}/base.qcow2")
    layers = [base]
    with Machine(folder, disk(base, id="d"), jail=jail) as machine:
        machine.guest.write_on(0, 0x800, 1)
        for n in range(8):
            layers.append(overlay(machine, folder, jail, layers[-1], f"over{n}"))
            machine.qmp.execute("blockdev-snapshot", node=top(machine), overlay=f"over{n}")
        rounds, sector = machine.guest.stop_writing()
        machine.quit()
    for path in layers:
        check_clean(path)
    data = pattern(layers[-1], 0, 0x800)
    now, before = bytes([(1 + rounds) & 0xff]) * 512, bytes([rounds & 0xff]) * 512
    for s in range(0, 0x800, 8):
        assert data[s * 512:s * 512 + 512] == (now if s < sector else before if rounds else bytes(512))


def test_states_are_kept_inside_and_forgotten(folder, jail):
    path = make(f"{folder}/one.qcow2")
    with Machine(folder, disk(path, id="d"), jail=jail) as machine:
        machine.guest.write(0, 16, 0x11)
        machine.qmp.execute("blockdev-snapshot-internal-sync", device="d", name="first")
        machine.guest.write(0, 16, 0x22)
        machine.qmp.execute("blockdev-snapshot-internal-sync", device="d", name="second")
        machine.guest.write(0, 16, 0x33)
        assert "already exists" in machine.refused("blockdev-snapshot-internal-sync", device="d",
                                                   name="first").description
        gone = machine.qmp.execute("blockdev-snapshot-delete-internal-sync", device="d", name="second")
        assert gone["name"] == "second" and gone["id"] == "2"
        assert "does not exist" in machine.refused("blockdev-snapshot-delete-internal-sync", device="d",
                                                   name="second").description
        machine.guest.expect(0, 16, 0x33)
        machine.quit()
    check_clean(path)
    assert [row["name"] for row in qemu_img_info(path)["snapshots"]] == ["first"]
    run("qemu-img", "snapshot", "-a", "first", path)
    assert pattern(path, 0, 16) == b"\x11" * 8192


def test_a_raw_disk_keeps_no_states_and_says_so(folder):
    with Machine(folder, disk(make(f"{folder}/a.raw", "16M", "raw"), "raw", id="d")) as machine:
        assert "internal snapshots" in machine.refused("blockdev-snapshot-internal-sync", device="d",
                                                       name="x").description


def test_a_transaction_snapshots_two_disks_at_one_moment_or_none(folder, jail):
    one, two = make(f"{folder}/one.qcow2"), make(f"{folder}/two.qcow2")
    with Machine(folder, disk(one, id="a"), disk(two, id="b"), jail=jail) as machine:
        over_a = overlay(machine, folder, jail, one, "oa")
        over_b = overlay(machine, folder, jail, two, "ob")
        names = [top(machine, 0), top(machine, 1)]
        machine.guest.write(0, 8, 1, disk=0)
        machine.guest.write(0, 8, 2, disk=1)
        error = machine.refused("transaction", actions=[
            {"type": "blockdev-snapshot", "data": {"node": names[0], "overlay": "oa"}},
            {"type": "blockdev-snapshot-internal-sync", "data": {"device": "b", "name": "inside"}},
            {"type": "block-dirty-bitmap-add", "data": {"node": names[1], "name": "bits"}},
            {"type": "blockdev-snapshot", "data": {"node": names[1], "overlay": "none"}}])
        assert "none" in error.description
        assert [top(machine, 0), top(machine, 1)] == names
        assert "dirty-bitmaps" not in machine.qmp.execute("query-block")[1]["inserted"]
        machine.guest.write(8, 8, 3, disk=0)
        machine.qmp.execute("transaction", actions=[
            {"type": "blockdev-snapshot", "data": {"node": names[0], "overlay": "oa"}},
            {"type": "blockdev-snapshot", "data": {"node": names[1], "overlay": "ob"}}])
        assert [top(machine, 0), top(machine, 1)] == ["oa", "ob"]
        machine.guest.write(0, 8, 4, disk=0)
        machine.guest.write(0, 8, 5, disk=1)
        machine.quit()
    for path in one, two, over_a, over_b:
        check_clean(path)
    assert "snapshots" not in qemu_img_info(two)
    assert pattern(one, 0, 16) == b"\x01" * 4096 + b"\x03" * 4096
    assert pattern(over_a, 0, 16) == b"\x04" * 4096 + b"\x03" * 4096
    assert (pattern(two, 0, 8), pattern(over_b, 0, 8)) == (b"\x02" * 4096, b"\x05" * 4096)


def test_clients_that_ask_meanwhile_are_answered(folder):
    base = make(f"{folder}/base.qcow2")
    with Machine(folder, disk(base, id="d")) as machine:
        from kv_disks import Qmp
        other = Qmp(f"{folder}/control", timeout=20)
        stop = threading.Event()
        asked = []

        def ask():
            while not stop.is_set():
                asked.append(other.execute("query-named-block-nodes"))

        thread = threading.Thread(target=ask)
        thread.start()
        machine.guest.write_on(0, 0x400, 1)
        for n in range(5):
            machine.qmp.execute("blockdev-snapshot-sync", device="d", snapshot_file=f"{folder}/s{n}")
        machine.guest.stop_writing()
        stop.set()
        thread.join()
        assert len(asked[-1]) >= 2
        machine.quit()
