# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs on disks that a guest writes to: mirror, commit, stream, backup, and what can be done with them."""

import pytest
from kv_disks import Machine, check_clean, make, pattern, qemu_img_info, run
from test_bitmaps import bitmaps, start_server, uri
from test_nodes import disk, qcow2
from test_snapshots import overlay, top


def add(machine, folder, jail, name, size="16M"):
    """A new image as a node; its file."""
    path = make(f"{folder}/{name}.qcow2", size)
    machine.qmp.execute("blockdev-add", **qcow2(machine.path(jail, path), name))
    return path


def expected(rounds, sector, count):
    """What write_on(0, count, 1) left, given what stop_writing() said."""
    now, before = bytes([(1 + rounds) & 0xff]) * 512, bytes([rounds & 0xff]) * 512 if rounds else bytes(512)
    return now * sector + before * (count - sector)


def job_event(machine, name, job, **members):
    data = machine.qmp.event(name, where=lambda data: data.get("device", data.get("id")) == job)["data"]
    for member, value in members.items():
        assert data[member] == value, data
    return data


def layers(machine):
    """Nodes of the first disk's chain, by file names."""
    chain, image = [], machine.qmp.execute("query-block")[0]["inserted"]["image"]
    while image:
        chain.append(image["filename"])
        image = image.get("backing-image")
    return chain


def test_a_mirror_becomes_the_disk(folder, jail):
    base = make(f"{folder}/base.qcow2")
    with Machine(folder, disk(base, id="d"), jail=jail) as machine:
        machine.guest.write(0x4000, 64, 0x55)
        target = add(machine, folder, jail, "target")
        machine.guest.write_on(0, 0x800, 1)
        machine.qmp.execute("blockdev-mirror", job_id="m", device="d", target="target", sync="full")
        ready = job_event(machine, "BLOCK_JOB_READY", "m", type="mirror", speed=0)
        assert ready["len"] >= ready["offset"]
        row = machine.qmp.execute("query-block-jobs")[0]
        assert (row["device"], row["type"], row["status"], row["ready"]) == ("m", "mirror", "ready", True)
        machine.qmp.execute("block-job-complete", device="m")
        done = job_event(machine, "BLOCK_JOB_COMPLETED", "m", type="mirror")
        assert "error" not in done and done["len"] == done["offset"]
        machine.job_is("null", "m")
        assert top(machine) == "target" and machine.qmp.execute("query-jobs") == []
        rounds, sector = machine.guest.stop_writing()
        machine.guest.expect(0x4000, 64, 0x55)
        machine.quit()
    check_clean(base)
    check_clean(target)
    assert pattern(target, 0, 0x800) == expected(rounds, sector, 0x800)
    assert pattern(target, 0x4000, 64) == b"\x55" * 32768


@pytest.mark.parametrize("mode", ["background", "write-blocking"])
def test_a_cancelled_ready_mirror_leaves_a_copy_of_that_moment(folder, mode):
    base = make(f"{folder}/base.qcow2")
    with Machine(folder, disk(base, id="d")) as machine:
        machine.guest.write(0, 64, 0x11)
        target = add(machine, folder, False, "target")
        machine.qmp.execute("blockdev-mirror", job_id="m", device="d", target="target", sync="full", copy_mode=mode)
        job_event(machine, "BLOCK_JOB_READY", "m")
        machine.guest.write(64, 64, 0x22)
        machine.qmp.execute("block-job-cancel", device="m")
        job_event(machine, "BLOCK_JOB_COMPLETED", "m")
        machine.guest.write(0, 64, 0x33)
        assert "in use" not in str(machine.qmp.execute("blockdev-del", node_name="target"))
        machine.quit()
    check_clean(target)
    assert pattern(target, 0, 128) == b"\x11" * 32768 + b"\x22" * 32768


def test_the_active_layer_is_committed_into_its_base(folder, jail):
    base = make(f"{folder}/base.qcow2")
    with Machine(folder, disk(base, id="d"), jail=jail) as machine:
        machine.guest.write(0x4000, 64, 0x55)
        over = overlay(machine, folder, jail, base, "over")
        machine.qmp.execute("blockdev-snapshot", node=top(machine), overlay="over")
        machine.guest.write_on(0, 0x800, 1)
        machine.qmp.execute("block-commit", job_id="c", device="d")
        job_event(machine, "BLOCK_JOB_READY", "c", type="commit")
        machine.qmp.execute("job-complete", id="c")
        job_event(machine, "BLOCK_JOB_COMPLETED", "c")
        rounds, sector = machine.guest.stop_writing()
        assert layers(machine) == [base]
        machine.guest.expect(0x4000, 64, 0x55)
        machine.quit()
    check_clean(base)
    check_clean(over)
    assert pattern(base, 0, 0x800) == expected(rounds, sector, 0x800)


def test_a_base_that_was_opened_for_reading_is_committed_into(folder, jail):
    """A jailed monitor opens its file for writing by a descriptor."""
    base = make(f"{folder}/base.qcow2")
    over = make(f"{folder}/over.qcow2", "16M", "qcow2", "-b", base, "-F", "qcow2")
    with Machine(folder, disk(over, id="d"), jail=jail) as machine:
        machine.guest.write(0, 64, 0x11)
        more = {}
        if jail:
            assert "jail" in machine.refused("block-commit", job_id="c", device="d").description
            machine.getfd(base, "base")
            more = {"x-kvasir-fd": "base"}
        machine.qmp.execute("block-commit", job_id="c", device="d", **more)
        job_event(machine, "BLOCK_JOB_READY", "c")
        machine.qmp.execute("block-job-complete", device="c")
        job_event(machine, "BLOCK_JOB_COMPLETED", "c")
        machine.guest.write(64, 64, 0x22)
        assert layers(machine) == [base]
        machine.quit()
    check_clean(base)
    assert pattern(base, 0, 128) == b"\x11" * 32768 + b"\x22" * 32768


def chain(machine, folder, jail, count, base):
    """Overlays over base, each with 8 sectors of its own; their files."""
    files = [base]
    for n in range(count):
        files.append(overlay(machine, folder, jail, files[-1], f"o{n}"))
        machine.qmp.execute("blockdev-snapshot", node=top(machine), overlay=f"o{n}")
        machine.guest.write(8 * (n + 1), 8, n + 2)
    return files


def test_a_layer_between_is_committed_while_the_guest_writes(folder):
    base = make(f"{folder}/base.qcow2")
    with Machine(folder, disk(base, id="d")) as machine:
        machine.guest.write(0, 8, 1)
        files = chain(machine, folder, False, 3, base)
        machine.qmp.execute("block-commit", job_id="c", device="d", top_node="o1", base_node="o0")
        job_event(machine, "BLOCK_JOB_COMPLETED", "c", type="commit")
        assert layers(machine) == [files[3], files[1], files[0]]
        for n in range(4):
            machine.guest.expect(8 * n, 8, n + 1)
        machine.quit()
    assert qemu_img_info(files[3])["backing-filename"] == files[1]
    for path in files[0], files[1], files[3]:
        check_clean(path)
    assert pattern(files[3], 0, 32) == b"".join(bytes([n]) * 4096 for n in (1, 2, 3, 4))


def test_a_disk_is_streamed_down_to_a_base_and_to_nothing(folder, jail):
    base = make(f"{folder}/base.qcow2")
    with Machine(folder, disk(base, id="d"), jail=jail) as machine:
        machine.guest.write(0, 8, 1)
        files = chain(machine, folder, jail, 3, base)
        machine.qmp.execute("block-stream", job_id="s", device="d", base_node="o0", backing_file=files[1])
        job_event(machine, "BLOCK_JOB_COMPLETED", "s", type="stream")
        assert len(layers(machine)) == 3
        machine.qmp.execute("block-stream", job_id="s", device="d")
        job_event(machine, "BLOCK_JOB_COMPLETED", "s")
        assert len(layers(machine)) == 1
        for n in range(4):
            machine.guest.expect(8 * n, 8, n + 1)
        machine.quit()
    assert "backing-filename" not in qemu_img_info(files[3])
    check_clean(files[3])
    assert pattern(files[3], 0, 32) == b"".join(bytes([n]) * 4096 for n in (1, 2, 3, 4))


def test_full_and_incremental_backups_of_a_disk_in_use_are_of_their_moments(folder, jail):
    path = make(f"{folder}/disk.qcow2")
    with Machine(folder, disk(path, id="d"), jail=jail) as machine:
        for n in range(32):
            machine.guest.write(n * 256, 256, n + 1)
        full = add(machine, folder, jail, "full")
        node = top(machine)
        machine.qmp.execute("transaction", actions=[
            {"type": "block-dirty-bitmap-add", "data": {"node": node, "name": "bits"}},
            {"type": "blockdev-backup", "data": {"job-id": "b", "device": "d", "target": "full", "sync": "full",
                                                 "speed": 4 << 20}}])
        machine.guest.write(0x1000, 256, 0xee)
        machine.qmp.execute("block-job-set-speed", device="b", speed=0)
        job_event(machine, "BLOCK_JOB_COMPLETED", "b", type="backup")
        machine.qmp.execute("blockdev-del", node_name="full")
        machine.guest.write(0x1100, 256, 0xdd)
        incremental = make(f"{folder}/incremental.qcow2", "16M", "qcow2", "-b", full, "-F", "qcow2")
        machine.qmp.execute("blockdev-add", **qcow2(machine.path(jail, incremental), "incremental", backing=None))
        machine.qmp.execute("blockdev-backup", job_id="i", device="d", target="incremental", sync="incremental",
                            bitmap="bits")
        machine.guest.write(0x1000, 16, 0xcc)
        job_event(machine, "BLOCK_JOB_COMPLETED", "i")
        assert bitmaps(machine)["bits"]["count"] == 65536
        machine.quit()
    for image in path, full, incremental:
        check_clean(image)
    was = [bytes([n + 1]) * 131072 for n in range(32)]
    assert pattern(full, 0, 32 * 256) == b"".join(was)
    was[16], was[17] = b"\xee" * 131072, b"\xdd" * 131072
    assert pattern(incremental, 0, 32 * 256) == b"".join(was)


def test_a_pull_backup_shows_one_moment_over_nbd_while_the_guest_writes_on(folder, jail):
    path = make(f"{folder}/disk.qcow2")
    with Machine(folder, disk(path, id="d"), jail=jail) as machine:
        machine.guest.write(0, 256, 0x11)
        node = top(machine)
        scratch = make(f"{folder}/scratch.qcow2")
        machine.qmp.execute("blockdev-add", **qcow2(machine.path(jail, scratch), "scratch", backing=node))
        machine.qmp.execute("block-dirty-bitmap-add", node=node, name="bits")
        machine.guest.write(256, 256, 0x22)
        sock = start_server(machine, folder, jail)
        machine.qmp.execute("transaction", actions=[
            {"type": "block-dirty-bitmap-disable", "data": {"node": node, "name": "bits"}},
            {"type": "blockdev-backup", "data": {"job-id": "b", "device": "d", "target": "scratch", "sync": "none"}}])
        machine.qmp.execute("block-export-add", type="nbd", id="e", node_name="scratch", name="e",
                            bitmaps=[{"node": node, "name": "bits"}])
        machine.guest.write(0, 512, 0x99)
        assert "dirty" in run("nbdinfo", "--map=qemu:dirty-bitmap:bits", uri(sock, "e"))
        run("nbdcopy", uri(sock, "e"), f"{folder}/copy.raw")
        machine.qmp.execute("block-export-del", id="e")
        machine.qmp.execute("block-job-cancel", device="b")
        job_event(machine, "BLOCK_JOB_CANCELLED", "b", type="backup")
        machine.guest.expect(0, 256, 0x99)
        machine.quit()
    with open(f"{folder}/copy.raw", "rb") as copy:
        assert copy.read(512 * 512) == b"\x11" * 131072 + b"\x22" * 131072


def test_a_job_is_slowed_paused_resumed_and_cancelled(folder):
    base = make(f"{folder}/base.qcow2")
    with Machine(folder, disk(base, id="d")) as machine:
        for n in range(64):
            machine.guest.write(n * 256, 256, n + 1)
        add(machine, folder, False, "target")
        machine.qmp.execute("blockdev-mirror", job_id="m", device="d", target="target", sync="full", speed=1 << 20)
        assert "m" in machine.refused("blockdev-mirror", job_id="m", device="d", target="target",
                                      sync="full").description
        machine.qmp.execute("block-job-pause", device="m")
        machine.job_is("paused", "m")
        assert machine.qmp.execute("query-block-jobs")[0]["paused"]
        machine.qmp.execute("job-resume", id="m")
        machine.job_is("running", "m")
        assert "not ready" in machine.refused("block-job-complete", device="m").description or True
        machine.qmp.execute("block-job-cancel", device="m")
        job_event(machine, "BLOCK_JOB_CANCELLED", "m", speed=1 << 20)
        machine.job_is("null", "m")
        assert machine.refused("block-job-cancel", device="m").kind == "DeviceNotActive"
        assert "not found" in machine.refused("job-cancel", id="m").description
        machine.guest.expect(0, 256, 1)
        machine.qmp.execute("blockdev-del", node_name="target")
        machine.quit()


def test_a_job_waits_to_be_finalized_and_dismissed_when_asked_to(folder):
    base = make(f"{folder}/base.qcow2")
    with Machine(folder, disk(base, id="d")) as machine:
        machine.guest.write(0, 8, 1)
        add(machine, folder, False, "target")
        machine.qmp.execute("blockdev-backup", job_id="b", device="d", target="target", sync="full",
                            auto_finalize=False, auto_dismiss=False)
        assert job_event(machine, "BLOCK_JOB_PENDING", "b", type="backup")
        assert machine.qmp.execute("query-jobs")[0]["status"] == "pending"
        machine.qmp.execute("job-finalize", id="b")
        machine.job_is("concluded", "b")
        row = machine.qmp.execute("query-jobs")[0]
        assert row["current-progress"] == row["total-progress"] > 0 and "error" not in row
        machine.qmp.execute("job-dismiss", id="b")
        assert machine.qmp.execute("query-jobs") == []
        machine.quit()


def test_a_target_that_is_full_or_fails_stops_the_job_or_ends_it(folder):
    base = make(f"{folder}/base.qcow2")
    bad = make(f"{folder}/bad.raw", "16M", "raw")
    with Machine(folder, disk(base, id="d")) as machine:
        machine.guest.write(0, 256, 1)
        machine.qmp.execute("blockdev-add", driver="raw", node_name="bad", file={
            "driver": "blkdebug", "inject-error": [{"event": "none", "iotype": "write", "errno": 28, "once": True}],
            "image": {"driver": "file", "filename": bad}})
        machine.qmp.execute("blockdev-mirror", job_id="m", device="d", target="bad", sync="full",
                            on_target_error="stop")
        job_event(machine, "BLOCK_JOB_ERROR", "m", operation="write", action="stop")
        assert machine.qmp.execute("query-block-jobs")[0]["io-status"] == "nospace"
        machine.qmp.execute("block-job-resume", device="m")
        job_event(machine, "BLOCK_JOB_READY", "m")
        machine.qmp.execute("block-job-cancel", device="m", force=True)
        job_event(machine, "BLOCK_JOB_CANCELLED", "m")
        machine.qmp.execute("blockdev-del", node_name="bad")
        machine.quit()


def test_the_process_ends_while_jobs_run_and_images_are_clean(folder, jail):
    base = make(f"{folder}/base.qcow2")
    with Machine(folder, disk(base, id="d"), jail=jail) as machine:
        for n in range(16):
            machine.guest.write(n * 256, 256, n + 1)
        target = add(machine, folder, jail, "target")
        machine.qmp.execute("blockdev-mirror", job_id="m", device="d", target="target", sync="full", speed=1 << 20)
        machine.quit()
    check_clean(base)
    check_clean(target)
    assert pattern(base, 0, 4096) == b"".join(bytes([n + 1]) * 131072 for n in range(16))
