# SPDX-License-Identifier: GPL-2.0-or-later
"""Volumes' bytes over streams: whole or in part, with holes or without, and when things go wrong."""
import os
import threading
import time

import libvirt
import pytest

from kv_daemon import Refused, wait_for
from kv_storage import INVALID, Pool, names, remove_pools, volume_xml, write

MIB = 1 << 20
SPARSE_UP = libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM
SPARSE_DOWN = libvirt.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM


@pytest.fixture(autouse=True)
def no_pools_are_left(conn):
    yield
    remove_pools(conn)


@pytest.fixture
def images(conn, tmp_path):
    return Pool(conn, str(tmp_path))


def upload(volume, data, offset=0, length=0, piece=100000):
    stream = volume.connect().newStream()
    volume.upload(stream, offset, length)
    for at in range(0, len(data), piece):
        rest = data[at:at + piece]
        while rest:
            rest = rest[stream.send(rest):]
    stream.finish()


def download(volume, offset=0, length=0):
    stream = volume.connect().newStream()
    volume.download(stream, offset, length)
    got = b""
    while True:
        piece = stream.recv(100000)
        if not piece:
            break
        got += piece
    stream.finish()
    return got


def content(path):
    with open(path, "rb") as file:
        return file.read()


def test_what_is_sent_is_there_when_finish_returns_and_comes_back(images):
    data = os.urandom(3 * MIB + 12345)
    volume = images.pool.createXML(volume_xml("v", 4 * MIB))
    upload(volume, data)
    assert content(volume.path()) == data.ljust(4 * MIB, b"\0")
    assert volume.info() == [0, 4 * MIB, 3 * MIB + 12345 + -12345 % 4096]
    assert download(volume) == content(volume.path())
    assert download(volume, 1000, 5000) == data[1000:6000]
    assert download(volume, 4 * MIB - 10, 100) == bytes(10)
    assert download(volume, 5 * MIB) == b""
    upload(volume, b"in the middle", 777)
    assert content(volume.path())[770:800] == data[770:777] + b"in the middle" + data[790:800]


def test_an_image_that_is_sent_is_known_as_what_it_is(images):
    made = images.pool.createXML(volume_xml("image", 7 * MIB, "qcow2"))
    raw = images.pool.createXML(volume_xml("raw", 1))
    upload(raw, content(made.path()))
    assert "<format type='qcow2'/>" in raw.XMLDesc() and raw.info()[1] == 7 * MIB


def test_more_than_was_announced_is_refused(images):
    volume = images.pool.createXML(volume_xml("v", MIB))
    upload(volume, b"x" * 1000, 0, 1000)
    with Refused(libvirt.VIR_ERR_SYSTEM_ERROR, "No space left on device"):
        upload(volume, b"y" * 1001, 0, 1000)
        pytest.fail("finished")
    for offset, length in ((1 << 63, 0), (0, 1 << 63)):
        stream = volume.connect().newStream()
        with pytest.raises((libvirt.libvirtError, OverflowError)):
            volume.upload(stream, offset, length)


class Sparse:
    """A file's end of a sparse stream."""

    def __init__(self, path, mode):
        self.file = open(path, mode, buffering=0)

    def read(self, _stream, count, _opaque):
        return self.file.read(count)

    def in_data(self, _stream, _opaque):
        at = self.file.tell()
        end = os.fstat(self.file.fileno()).st_size
        try:
            data = os.lseek(self.file.fileno(), at, os.SEEK_DATA)
        except OSError:
            data = end
        if data > at or at == end:
            length, inside = data - at, 0
        else:
            length, inside = os.lseek(self.file.fileno(), at, os.SEEK_HOLE) - at, 1
        self.file.seek(at)
        return [inside, length]

    def skip(self, _stream, length, _opaque):
        return self.file.seek(length, os.SEEK_CUR)

    def write(self, _stream, data, _opaque):
        return self.file.write(data)

    def hole(self, _stream, length, _opaque):
        self.file.truncate(self.file.seek(length, os.SEEK_CUR))


def test_holes_stay_holes_both_ways(images, tmp_path):
    source = str(tmp_path / "source")
    with open(source, "wb") as file:
        for at in (0, 5 * MIB, 9 * MIB):
            file.seek(at)
            file.write(os.urandom(MIB // 2))
        file.truncate(20 * MIB)
    volume = images.pool.createXML(volume_xml("v", 20 * MIB))
    write(volume.path(), b"\xff" * (20 * MIB))
    stream = volume.connect().newStream()
    volume.upload(stream, 0, 0, SPARSE_UP)
    end = Sparse(source, "rb")
    stream.sparseSendAll(end.read, end.in_data, end.skip, None)
    stream.finish()
    assert content(volume.path()) == content(source)
    assert os.stat(volume.path()).st_blocks * 512 < 2 * MIB
    target = str(tmp_path / "target")
    stream = volume.connect().newStream()
    volume.download(stream, 0, 0, SPARSE_DOWN)
    end = Sparse(target, "wb")
    stream.sparseRecvAll(end.write, end.hole, None)
    stream.finish()
    end.file.close()
    assert content(target) == content(source)
    assert os.stat(target).st_blocks * 512 < 2 * MIB


def test_a_hole_in_a_stream_of_data_alone_is_refused(images):
    volume = images.pool.createXML(volume_xml("v", MIB))
    stream = volume.connect().newStream()
    volume.upload(stream, 0, 0)
    with pytest.raises(libvirt.libvirtError):
        stream.sendHole(4096)
    stream.abort()


def test_a_stream_that_is_given_up_leaves_the_volume_free(images):
    write(images.file("v"), os.urandom(8 * MIB))
    images.pool.refresh()
    volume = images.pool.storageVolLookupByName("v")

    def free():
        try:
            return volume.resize(9 * MIB, 0) == 0
        except libvirt.libvirtError as error:
            assert "still in use" in str(error)
            return False
    for begin in (volume.upload, volume.download):
        for act in ("nothing", "some"):
            stream = volume.connect().newStream()
            begin(stream, 0, 0)
            if act == "some":
                stream.send(b"x" * 1000) if begin == volume.upload else stream.recv(1000)
            stream.abort()
            wait_for(free, "the volume")


def test_a_volume_under_way_is_not_removed(images):
    write(images.file("v"), os.urandom(64 * MIB))
    images.pool.refresh()
    volume = images.pool.storageVolLookupByName("v")
    stream = volume.connect().newStream()
    volume.download(stream, 0, 0)
    for call in (volume.delete, lambda: volume.resize(65 * MIB), volume.wipe):
        with Refused(INVALID, "volume 'v' is still in use."):
            call()
    with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "pool 'images' has asynchronous jobs running."):
        images.pool.destroy()
    again = volume.connect().newStream()
    with Refused(INVALID, "volume 'v' is still in use."):
        volume.upload(again, 0, 0)
    stream.abort()
    wait_for(lambda: is_removed(volume), "the end of the download")
    assert names(images.pool) == []


def is_removed(volume):
    try:
        volume.delete()
        return True
    except libvirt.libvirtError:
        return False


def test_a_client_that_dies_leaves_the_volume_free(daemon, images):
    write(images.file("v"), os.urandom(16 * MIB))
    images.pool.refresh()
    own = libvirt.open(daemon.uri())
    volume = own.storageVolLookupByPath(images.file("v"))
    streams = [own.newStream() for _ in range(3)]
    for stream in streams:
        volume.download(stream, 0, 0)
    own.close()
    del volume, streams, stream, own
    wait_for(lambda: is_removed(images.pool.storageVolLookupByName("v")), "the end of the downloads")


def test_the_pool_is_told_of_after_an_upload(conn, images):
    told = threading.Event()
    number = conn.storagePoolEventRegisterAny(images.pool, libvirt.VIR_STORAGE_POOL_EVENT_ID_REFRESH,
                                              lambda *_: told.set(), None)
    upload(images.pool.createXML(volume_xml("v", MIB)), b"x")
    assert told.wait(30)
    conn.storagePoolEventDeregisterAny(number)


def test_what_is_no_file_has_no_stream(images):
    folder = images.pool.createXML(volume_xml("d", 0, "dir"))
    for begin in (folder.upload, folder.download):
        with pytest.raises(libvirt.libvirtError, match="Is a directory|no regular file"):
            begin(folder.connect().newStream(), 0, 0)
    gone = images.pool.createXML(volume_xml("gone"))
    os.remove(images.file("gone"))
    with Refused(libvirt.VIR_ERR_SYSTEM_ERROR, "No such file"):
        gone.download(gone.connect().newStream(), 0, 0)


def test_several_transfers_go_on_at_once(daemon, images):
    data = [os.urandom(2 * MIB) for _ in range(8)]
    failures = []

    def work(number):
        own = libvirt.open(daemon.uri())
        volume = own.storagePoolLookupByName("images").createXML(volume_xml(f"v{number}", 2 * MIB))
        for _ in range(3):
            upload(volume, data[number])
            if download(volume) != data[number]:
                failures.append(number)
        own.close()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(data))]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert not failures and time.monotonic() - began < 100
    assert all(content(images.file(f"v{number}")) == one for number, one in enumerate(data))


def test_the_daemon_ends_while_something_is_under_way(fresh, tmp_path):
    conn = fresh.connect()
    images = Pool(conn, str(tmp_path))
    write(images.file("v"), os.urandom(32 * MIB))
    images.pool.refresh()
    volume = images.pool.storageVolLookupByName("v")
    down, up = conn.newStream(), conn.newStream()
    volume.download(down, 0, 0)
    other = images.pool.createXML(volume_xml("w", MIB))
    other.upload(up, 0, 0)
    up.send(b"x" * 1000)
    fresh.stop()
    fresh.start()
    assert names(fresh.connect().storagePoolLookupByName("images")) == ["v", "w"]
