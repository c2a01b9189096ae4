# SPDX-License-Identifier: GPL-2.0-or-later
"""Volumes: made, copied, changed, told about, removed; and what lies in a pool that nobody made there."""
import os
import re
import socket
import stat
import struct
import subprocess
import threading
import time
import xml.etree.ElementTree as ET

import libvirt
import pytest

from kv_daemon import BUILD, Refused, domain_xml, wait_for
from kv_storage import (GONE, INVALID, STORAGE, UNSUPPORTED, Pool, names, pool_xml, qcow2_header, qemu_info,
                        remove_pools, volume_xml, write)

MIB = 1 << 20
METADATA = libvirt.VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA
SCHEMA = "/usr/share/libvirt/schemas/storagevol.rng"


@pytest.fixture(autouse=True)
def no_pools_are_left(conn):
    yield
    remove_pools(conn)


@pytest.fixture
def images(conn, tmp_path):
    return Pool(conn, str(tmp_path))


def make_image(path, form, size="1M", *options):
    subprocess.run(["qemu-img", "create", "-q", "-f", form, *options, path, size], timeout=60, check=True)


def text_of(volume, path):
    return ET.fromstring(volume.XMLDesc()).findtext(path)


def format_of(volume, where="target"):
    return ET.fromstring(volume.XMLDesc()).find(f"{where}/format").get("type")


# ------------------------------------------------------------------------------------- making

def test_a_raw_volume_has_the_size_and_the_allocation_that_were_asked_for(images):
    full = images.pool.createXML(volume_xml("full", 1000001, allocation=None))
    assert full.info() == [libvirt.VIR_STORAGE_VOL_FILE, 1000001, 1003520]
    assert full.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2] == 1000001
    assert (full.name(), full.key(), full.path()) == ("full", images.file("full"), images.file("full"))
    assert images.pool.createXML(volume_xml("sparse", 5 * MIB)).info() == [0, 5 * MIB, 0]
    part = images.pool.createXML(volume_xml("part", 5 * MIB, allocation=MIB))
    assert part.info() == [0, 5 * MIB, MIB]
    assert images.pool.createXML(volume_xml("cd.iso", MIB, "iso")).info()[1] == MIB


def test_a_qcow2_volume_is_what_its_document_says(images):
    plain = images.pool.createXML(volume_xml("plain", 10 << 30, "qcow2"))
    assert plain.info()[1] == 10 << 30 and plain.info()[2] < MIB
    assert "compat: 0.10" in qemu_info(images.file("plain"))
    wish = ("<compat>1.1</compat><clusterSize unit='KiB'>128</clusterSize>"
            "<features><lazy_refcounts/><extended_l2/></features><nocow/>")
    rich = images.pool.createXML(volume_xml("rich", 10 * MIB, "qcow2", target=wish), METADATA)
    told = qemu_info(images.file("rich"))
    for fact in ("compat: 1.1", "cluster_size: 131072", "lazy refcounts: true", "extended l2: true"):
        assert fact in told
    assert rich.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2] > 10 * MIB > rich.info()[2]
    for path, value in (("compat", "1.1"), ("clusterSize", "131072"), ("features/lazy_refcounts", ""),
                        ("features/extended_l2", "")):
        assert (text_of(rich, f"target/{path}") or "") == value
    full = images.pool.createXML(volume_xml("full", 10 * MIB, "qcow2", allocation=None), METADATA)
    assert full.info()[2] > 10 * MIB
    subprocess.run(["qemu-img", "check", "-q", images.file("rich")], timeout=60, check=True)


def test_a_volume_over_another_takes_its_size_and_names_it(images):
    images.pool.createXML(volume_xml("base", 3 * MIB, "qcow2"))
    over = f"<backingStore><path>{images.file('base')}</path><format type='qcow2'/></backingStore>"
    volume = images.pool.createXML(f"<volume><name>over</name><target><format type='qcow2'/></target>{over}</volume>")
    assert volume.info()[1] == 3 * MIB
    assert text_of(volume, "backingStore/path") == images.file("base")
    assert format_of(volume, "backingStore") == "qcow2"
    assert "backing file format: qcow2" in qemu_info(images.file("over"))
    larger = images.pool.createXML(volume_xml("larger", 9 * MIB, "qcow2", more="<backingStore><path>base</path>"
                                              "<format type='qcow2'/></backingStore>"))
    assert larger.info()[1] == 9 * MIB
    with Refused(libvirt.VIR_ERR_SYSTEM_ERROR, "inaccessible backing store volume '/none': No such file", STORAGE):
        images.pool.createXML(volume_xml("lost", form="qcow2", more="<backingStore><path>/none</path></backingStore>"))
    with Refused(libvirt.VIR_ERR_NO_SUPPORT, "backing storage not supported for raw volumes"):
        images.pool.createXML(volume_xml("raw", more="<backingStore><path>/none</path></backingStore>"))
    assert names(images.pool) == sorted(os.listdir(images.path)) == ["base", "larger", "over"]


def test_owner_and_mode_are_those_of_the_document(images):
    wish = "<permissions><mode>0644</mode><owner>12</owner><group>34</group></permissions>"
    for form in ("raw", "qcow2"):
        if os.geteuid() == 0:
            images.pool.createXML(volume_xml(form, form=form, target=wish))
            found = os.stat(images.file(form))
            assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o644, 12, 34)
    volume = images.pool.createXML(volume_xml("own"))
    assert stat.S_IMODE(os.stat(images.file("own")).st_mode) == 0o600
    assert text_of(volume, "target/permissions/owner") == str(os.geteuid())


def test_a_folder_can_be_a_volume(images):
    folder = images.pool.createXML(volume_xml("d", 0, "dir"))
    assert folder.info() == [libvirt.VIR_STORAGE_VOL_DIR, 0, 0] and os.path.isdir(images.file("d"))
    write(images.file("d/x"), b"")
    with Refused(libvirt.VIR_ERR_SYSTEM_ERROR, "Directory not empty", STORAGE):
        folder.delete()
    with Refused(libvirt.VIR_ERR_OPERATION_UNSUPPORTED, "is a directory"):
        folder.resize(MIB)
    with Refused(libvirt.VIR_ERR_SYSTEM_ERROR, "Is a directory"):
        folder.wipe()
    os.remove(images.file("d/x"))
    folder.delete()
    assert not os.path.exists(images.file("d"))


def test_documents_are_those_of_libvirts_schema(images):
    images.pool.createXML(volume_xml("b &amp; more", 3 * MIB, "qcow2", target="<compat>1.1</compat>"))
    over = "<backingStore><path>b &amp; more</path><format type='qcow2'/></backingStore>"
    images.pool.createXML(volume_xml("over", MIB, "qcow2", more=over))
    images.pool.createXML(volume_xml("dir", 0, "dir"))
    images.pool.createXML(volume_xml("raw"))
    for volume in images.pool.listAllVolumes():
        text = volume.XMLDesc()
        subprocess.run(["xmllint", "--noout", "--relaxng", SCHEMA, "-"], input=text, text=True, timeout=60,
                       stderr=subprocess.PIPE, check=True)
        # What was told may be asked for, under another name.
        again = images.pool.createXML(text.replace("<name>", "<name>copy of "))
        assert format_of(again) == format_of(volume)


@pytest.mark.parametrize("xml, code, words", [
    (volume_xml("there"), libvirt.VIR_ERR_STORAGE_VOL_EXIST, "storage volume 'there' exists already"),
    (volume_xml("unlisted"), INVALID, "already exists"),
    (volume_xml("a/b"), INVALID, "volume name 'a/b' cannot contain '/'"),
    (volume_xml("../x"), INVALID, "cannot contain '/'"),
    (volume_xml(".."), INVALID, "/..' already exists"),
    (volume_xml("."), INVALID, "/.' already exists"),
    (volume_xml("a&#10;b"), INVALID, "control characters"),
    (volume_xml("x" * 300), libvirt.VIR_ERR_SYSTEM_ERROR, "File name too long"),
    ("<volume><name>n</name></volume>", libvirt.VIR_ERR_XML_ERROR, "missing capacity element"),
    ("<volume><capacity>1</capacity></volume>", libvirt.VIR_ERR_XML_ERROR, "missing volume name element"),
    (volume_xml("n", "abc"), libvirt.VIR_ERR_XML_ERROR, "malformed capacity element"),
    ("<volume><name>n</name><capacity unit='zz'>1</capacity></volume>", libvirt.VIR_ERR_INVALID_ARG, "suffix 'zz'"),
    ("<volume><name>n</name><capacity unit='E'>9999</capacity></volume>", libvirt.VIR_ERR_OVERFLOW, "9999E"),
    (volume_xml("n", 1 << 60, allocation=1 << 60), libvirt.VIR_ERR_SYSTEM_ERROR, "n'"),
    (volume_xml("n", form="zz"), UNSUPPORTED, "unknown volume format type zz"),
    (volume_xml("n", form="vmdk"), UNSUPPORTED, "new volumes of format 'vmdk'; 'raw', 'iso', 'qcow2' and 'dir'"),
    (volume_xml("n", form="qcow2", target="<compat>3.0</compat>"), UNSUPPORTED, "'0.10' and '1.1' are supported"),
    (volume_xml("n", form="qcow2", target="<compat>q</compat>"), libvirt.VIR_ERR_XML_ERROR, "forbidden characters"),
    (volume_xml("n", form="qcow2", target="<features><zzz/></features>"), UNSUPPORTED, "unsupported feature zzz"),
    (volume_xml("n", form="qcow2", target="<clusterSize>1000</clusterSize>"), libvirt.VIR_ERR_INTERNAL_ERROR, "512"),
    (volume_xml("n", target="<compat>1.1</compat>"), UNSUPPORTED, "are of qcow2 volumes"),
    (volume_xml("n", target="<encryption format='qcow'/>"), UNSUPPORTED, "'luks' is supported"),
    (volume_xml("n", more="<what/>"), UNSUPPORTED, "/volume/what"),
])
def test_what_is_wrong_is_told_and_leaves_nothing(images, xml, code, words):
    images.pool.createXML(volume_xml("there"))
    write(images.file("unlisted"), b"kept")
    with Refused(code, words):
        images.pool.createXML(xml)
    assert names(images.pool) == ["there"]
    assert sorted(os.listdir(images.path)) == ["there", "unlisted"]
    with open(images.file("unlisted"), "rb") as file:
        assert file.read() == b"kept"


def test_flags_that_a_volume_cannot_have_are_refused(images):
    with Refused(UNSUPPORTED, "metadata preallocation is not supported for raw volumes"):
        images.pool.createXML(volume_xml("n"), METADATA)
    for flags in (libvirt.VIR_STORAGE_VOL_CREATE_REFLINK, 64):
        with Refused(libvirt.VIR_ERR_INVALID_ARG, "unsupported flags"):
            images.pool.createXML(volume_xml("n"), flags)
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "unsupported flags"):
        images.pool.createXML(volume_xml("n")).delete(libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS)
    assert names(images.pool) == ["n"]


# ------------------------------------------------------------------------------------ copying

@pytest.mark.parametrize("form", ["raw", "qcow2", "vmdk", "vdi", "vpc", "vhdx"])
@pytest.mark.parametrize("to", ["raw", "qcow2"])
def test_a_copy_has_the_contents_of_its_source(images, form, to):
    content = os.urandom(300000) + bytes(400000) + os.urandom(100000)
    plain = write(images.file("plain"), content.ljust(2 * MIB, b"\0"))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", form, plain, images.file("source")], timeout=60,
                   check=True)
    images.pool.refresh()
    source = images.pool.storageVolLookupByName("source")
    assert format_of(source) == form
    copy = images.pool.createXMLFrom(volume_xml("copy", 0, to), source, 0)
    assert copy.info()[1] == source.info()[1] >= 2 * MIB
    done = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", to, plain, images.file("copy")], timeout=60,
                          stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout
    larger = images.pool.createXMLFrom(volume_xml("larger", 8 * MIB, to), source, 0)
    assert larger.info()[1] == 8 * MIB
    with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "storage volume name 'copy' already in use.", STORAGE):
        images.pool.createXMLFrom(volume_xml("copy", 0, to), source, 0)


def test_a_copy_goes_from_pool_to_pool_with_all_that_lies_below(conn, images, tmp_path):
    other = Pool(conn, str(tmp_path), "other")
    write(images.file("base"), os.urandom(MIB))
    make_image(images.file("over"), "qcow2", "1M", "-b", "base", "-F", "raw")
    images.pool.refresh()
    copy = other.pool.createXMLFrom(volume_xml("copy", 0), images.pool.storageVolLookupByName("over"), 0)
    with open(images.file("base"), "rb") as base, open(copy.path(), "rb") as made:
        assert base.read() == made.read()
    write(images.file("trap"), qcow2_header(backing=b"nbd://127.0.0.1:1/x", form=b"raw"))
    images.pool.refresh()
    with Refused(INVALID, "backing image 'nbd://127.0.0.1:1/x'"):
        other.pool.createXMLFrom(volume_xml("no", 0), images.pool.storageVolLookupByName("trap"), 0)
    assert names(other.pool) == os.listdir(other.path) == ["copy"]


# ----------------------------------------------------------------------------------- changing

def test_a_volume_grows_and_shrinks(images):
    raw = images.pool.createXML(volume_xml("raw", 10 * MIB))
    shrink, delta, allocate = (getattr(libvirt, f"VIR_STORAGE_VOL_RESIZE_{x}") for x in ("SHRINK", "DELTA", "ALLOCATE"))
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "unless shrink flag explicitly specified", STORAGE):
        raw.resize(MIB)
    raw.resize(MIB, shrink)
    raw.resize(MIB, delta)
    assert raw.info() == [0, 2 * MIB, 0]
    raw.resize(4 * MIB, allocate)
    assert raw.info() == [0, 4 * MIB, 4 * MIB]
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "can't shrink capacity below existing allocation"):
        raw.resize(MIB, shrink | delta)
    with Refused(libvirt.VIR_ERR_SYSTEM_ERROR, "Failed to truncate file"):
        raw.resize(1 << 62)
    with Refused(libvirt.VIR_ERR_OVERFLOW):
        raw.resize((1 << 63) - 1, delta)
    with Refused(libvirt.VIR_ERR_OPERATION_FAILED, "Not enough space left in storage pool"):
        raw.resize(1 << 60, allocate)
    image = images.pool.createXML(volume_xml("image", 10 * MIB, "qcow2"))
    image.resize(20 * MIB)
    assert image.info()[1] == 20 * MIB
    image.resize(5 * MIB, shrink)
    assert "virtual size: 5 MiB" in qemu_info(images.file("image"))
    with Refused(libvirt.VIR_ERR_OPERATION_UNSUPPORTED, "preallocate is only supported for raw type volume"):
        image.resize(30 * MIB, allocate)


def test_nothing_is_left_of_a_volume_that_is_wiped(images):
    write(images.file("raw"), b"secret" * 50000)
    write(images.file("sparse"), b"secret")
    os.truncate(images.file("sparse"), 10 * MIB)
    images.pool.refresh()
    for name in ("raw", "sparse"):
        volume = images.pool.storageVolLookupByName(name)
        size = volume.info()[1]
        volume.wipe()
        with open(images.file(name), "rb") as file:
            assert file.read() == bytes(size)
        volume.wipePattern(libvirt.VIR_STORAGE_VOL_WIPE_ALG_RANDOM)
        with open(images.file(name), "rb") as file:
            assert len(set(file.read(4096))) > 200
        assert volume.info()[1] == size
    with Refused(libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, "'dod' algorithm not supported; 'zero' and 'random' are"):
        volume.wipePattern(libvirt.VIR_STORAGE_VOL_WIPE_ALG_DOD)
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "wiping algorithm 99 not supported"):
        volume.wipePattern(99)


def test_a_volume_that_is_removed_is_gone(conn, images):
    volume = images.pool.createXML(volume_xml("v"))
    other = images.pool.createXML(volume_xml("w"))
    volume.delete()
    assert names(images.pool) == os.listdir(images.path) == ["w"]
    for call in (volume.delete, volume.info, volume.XMLDesc, volume.path, lambda: volume.resize(1), volume.wipe):
        with Refused(GONE, "no storage vol with matching name 'v'", STORAGE):
            call()
    os.remove(images.file("w"))
    for call in (other.info, other.XMLDesc):
        with Refused(GONE, f"no storage vol with matching path '{images.file('w')}'", STORAGE):
            call()
    other.delete()
    assert images.pool.listVolumes() == []
    with Refused(GONE, "no storage vol with matching name 'v'"):
        images.pool.storageVolLookupByName("v")
    with Refused(GONE, "no storage vol with matching path '/v'", STORAGE):
        conn.storageVolLookupByPath("/v")
    with Refused(GONE, "no storage vol with matching key /v", STORAGE):
        conn.storageVolLookupByKey("/v")


def test_volumes_are_found_by_name_path_and_key(conn, images):
    volume = images.pool.createXML(volume_xml("v"))
    found = [images.pool.storageVolLookupByName("v"), conn.storageVolLookupByKey(volume.key()),
             conn.storageVolLookupByPath(images.path + "//v")]
    assert {(one.name(), one.key()) for one in found} == {("v", images.file("v"))}
    assert volume.storagePoolLookupByVolume().name() == "images"
    assert [one.name() for one in images.pool.listAllVolumes()] == images.pool.listVolumes() == ["v"]


# -------------------------------------------------------------------------- what lies in a pool

def test_formats_are_told_by_what_files_begin_with(images):
    for form in ("qcow2", "qcow", "vmdk", "vdi", "vpc", "vhdx", "qed"):
        make_image(images.file(form), form, "4M")
    write(images.file("iso"), bytes(32769) + b"CD001" + bytes(4096))
    write(images.file("raw"), b"plain")
    write(images.file("empty"), b"")
    os.mkdir(images.file("dir"))
    write(images.file("luks"), b"LUKS\xba\xbe\0\1" + bytes(96) + struct.pack(">I", 2048) + bytes(5 * MIB - 108))
    images.pool.refresh()
    for volume in images.pool.listAllVolumes():
        name = volume.name()
        assert format_of(volume) == {"luks": "raw", "empty": "raw"}.get(name, name)
        if name not in ("iso", "raw", "empty", "dir", "vpc"):
            assert volume.info()[1] == 4 * MIB, name
    luks = images.pool.storageVolLookupByName("luks")
    assert ET.fromstring(luks.XMLDesc()).find("target/encryption").get("format") == "luks"
    assert sorted(os.listdir(images.path)) == names(images.pool)


def test_what_cannot_be_a_volume_is_not_one_and_is_not_opened(images):
    os.mkfifo(images.file("pipe"))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(images.file("socket"))
    os.symlink("/nowhere", images.file("dangling"))
    os.symlink(images.file("loop"), images.file("loop"))
    os.symlink("/dev/zero", images.file("device"))
    for name in (b"a\nb", b"a\xff"):
        write(os.path.join(os.fsencode(images.path), name), b"")
    write(images.file("v"), b"x")
    os.symlink("v", images.file("link"))
    began = time.monotonic()
    images.pool.refresh()
    assert time.monotonic() - began < 10
    assert names(images.pool) == ["link", "v"]
    listener.close()


def test_a_file_that_lies_about_itself_harms_nobody(images, tmp_path):
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    cases = {
        "pipe": qcow2_header(backing=pipe.encode(), form=b"qcow2"),
        "nbd": qcow2_header(backing=b"nbd://127.0.0.1:1/x"),
        "json": qcow2_header(backing=b'json:{"driver":"nbd","host":"127.0.0.1"}'),
        "self": qcow2_header(backing=b"self", form=b"qcow2"),
        "huge name": qcow2_header(backing=b"x", length=0xffffffff),
        "far name": b"QFI\xfb" + struct.pack(">IQI", 3, 0xffffffffffffff00, 100) + bytes(5000),
        "nul": qcow2_header(backing=b"a\0b"),
        "control": qcow2_header(backing=b"a\x01\x1b<b>&"),
        "no utf-8": qcow2_header(backing=b"\xff\xfe"),
        "huge": qcow2_header(size=(1 << 64) - 1, bits=99),
        "extension": qcow2_header(backing=b"x")[:104] + struct.pack(">II", 0xe2792aca, 0xffffffff) + bytes(100),
        "short": b"QFI\xfb\0\0\0\3",
        "vmdk": b"KDMV" + bytes(8) + b"\xff" * 500,
        "vhdx": b"vhdxfile" + b"\xff" * 300000,
        "luks": b"LUKS\xba\xbe\0\1" + b"\xff" * 600,
        "vdi": bytes(64) + b"\x7f\x10\xda\xbe" + b"\xff" * 600,
        "vpc": b"conectix" + b"\xff" * 600,
    }
    for name, data in cases.items():
        write(images.file(name), data)
    began = time.monotonic()
    images.pool.refresh()
    assert names(images.pool) == sorted(cases)
    for volume in images.pool.listAllVolumes():
        ET.fromstring(volume.XMLDesc())
        volume.info()
    assert time.monotonic() - began < 10
    assert text_of(images.pool.storageVolLookupByName("nbd"), "backingStore/path") == "nbd://127.0.0.1:1/x"
    for name, code, words in (("self", INVALID, "the backing chain is a loop"),
                              ("json", INVALID, "is not a file of a format that is said"),
                              ("pipe", libvirt.VIR_ERR_SYSTEM_ERROR, "cannot open volume")):
        with Refused(code, words):
            images.pool.createXMLFrom(volume_xml("copy", 0), images.pool.storageVolLookupByName(name), 0)


# --------------------------------------------------------------------------- while it is worked on

def test_a_volume_that_is_being_made_is_there_and_cannot_be_touched(conn, daemon, images):
    write(images.file("source"), b"x" * (64 * MIB))
    images.pool.refresh()
    failures = []

    def copy():
        try:
            own = libvirt.open(daemon.uri())
            pool = own.storagePoolLookupByName("images")
            pool.createXMLFrom(volume_xml("copy", 0, "qcow2"), pool.storageVolLookupByName("source"), 0)
            own.close()
        except libvirt.libvirtError as error:
            failures.append(error)
    thread = threading.Thread(target=copy)
    thread.start()
    try:
        seen = wait_for(lambda: "copy" in images.pool.listVolumes() or not thread.is_alive(), "the copy")
        assert seen
        refused = []
        while thread.is_alive():
            for call in (images.pool.destroy, images.pool.storageVolLookupByName("copy").delete,
                         images.pool.storageVolLookupByName("source").delete):
                if not thread.is_alive():
                    break
                try:
                    images.pool.storageVolLookupByName("copy").info()
                    images.pool.refresh()
                    call()
                except libvirt.libvirtError as error:
                    refused.append((error.get_error_code(), error.get_error_message()))
            break
    finally:
        thread.join(60)
    assert not failures
    for code, message in refused:
        assert code in (INVALID, libvirt.VIR_ERR_INTERNAL_ERROR)
        assert "still being allocated" in message or "still in use" in message or "asynchronous jobs" in message
    assert refused, "the copy was over before anything could be tried"


@pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")
def test_a_disk_may_be_a_volume_and_is_not_changed_while_a_machine_has_it(conn, images):
    disk = ("<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/>"
            "<source pool='images' volume='{}'/><target dev='vda' bus='virtio'/></disk>")
    volume = images.pool.createXML(volume_xml("v", MIB, "qcow2"))
    domain = conn.createXML(domain_xml("m", devices=disk.format("v")))
    assert "<source pool='images' volume='v'/>" in domain.XMLDesc()
    assert domain.blockInfo("vda")[0] == MIB
    for call in (lambda: volume.resize(2 * MIB), volume.wipe):
        with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "another process uses it"):
            call()
    domain.destroy()
    volume.resize(2 * MIB)
    with Refused(GONE, "no storage vol with matching name 'w'"):
        conn.createXML(domain_xml("m", devices=disk.format("w")))
    with Refused(libvirt.VIR_ERR_NO_STORAGE_POOL):
        conn.createXML(domain_xml("m", devices=disk.format("v").replace("images", "none")))
    images.pool.destroy()
    with Refused(INVALID, "storage pool 'images' is not active"):
        conn.createXML(domain_xml("m", devices=disk.format("v")))
    with Refused(libvirt.VIR_ERR_XML_ERROR, "'pool'"):
        conn.defineXML(domain_xml("m", devices=disk.format("v").replace("pool='images'", "")))


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_an_encrypted_volume_opens_with_its_secret_alone(conn, images, form, request):
    """Each use of a passphrase takes two seconds of a processor, as it should."""
    thorough = request.config.getoption("--long")
    if form == "raw" and not thorough:
        pytest.skip("--long")
    secret = conn.secretDefineXML("<secret ephemeral='yes'><usage type='volume'><volume>/k</volume></usage></secret>")
    wish = "<encryption format='luks'><secret type='passphrase' {}/></encryption>"
    for_it = wish.format(f"uuid='{secret.UUIDString()}'")
    with Refused(libvirt.VIR_ERR_NO_SECRET):
        images.pool.createXML(volume_xml("none", target=for_it))
    secret.setValue(b"open it")
    assert os.listdir(images.path) == []
    plain = os.urandom(MIB)
    write(images.file("plain"), plain)
    images.pool.refresh()
    source = images.pool.storageVolLookupByName("plain")
    hidden = images.pool.createXMLFrom(volume_xml("hidden", 0, form, target=for_it), source, 0)
    with open(hidden.path(), "rb") as file:
        assert plain[:512] not in file.read()
    assert hidden.info()[1] == MIB
    images.pool.refresh()
    assert secret.UUIDString() in hidden.XMLDesc()
    shown = images.pool.createXMLFrom(volume_xml("shown", 0), hidden, 0)
    with open(shown.path(), "rb") as file:
        assert file.read() == plain
    if thorough:
        secret.setValue(b"another")
        with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "password"):
            images.pool.createXMLFrom(volume_xml("no", 0), hidden, 0)
    assert names(images.pool) == ["hidden", "plain", "shown"]
    secret.undefine()


# ------------------------------------------------------------------------------------ programs

def test_volumes_with_virsh(daemon, images):
    virsh = daemon.virsh
    assert "Vol a.qcow2 created" in virsh("vol-create-as", "images", "a.qcow2", "10M", "--format", "qcow2",
                                          "--prealloc-metadata")
    assert "Vol b cloned from a.qcow2" in virsh("vol-clone", "a.qcow2", "b", "images")
    assert re.search(r"^ a\.qcow2\s+\S+/a\.qcow2\s+file\s+10\.00 MiB", virsh("vol-list", "images", "--details"), re.M)
    assert "Capacity:       10.00 MiB" in virsh("vol-info", "a.qcow2", "images")
    assert virsh("vol-path", "a.qcow2", "images").strip() == images.file("a.qcow2")
    assert virsh("vol-pool", images.file("a.qcow2")).strip() == "images"
    assert virsh("vol-key", images.file("a.qcow2")).strip() == images.file("a.qcow2")
    assert virsh("vol-name", images.file("a.qcow2")).strip() == "a.qcow2"
    assert "<format type='qcow2'/>" in virsh("vol-dumpxml", "a.qcow2", "images")
    assert "changed to 20M" in virsh("vol-resize", "a.qcow2", "20M", "images")
    assert "wiped" in virsh("vol-wipe", "b", "images")
    assert "deleted" in virsh("vol-delete", "b", "images")
    assert re.search(r"^ images\s+active\s+no", virsh("pool-list", "--all"), re.M)
    assert re.search(r"^State:\s+running", virsh("pool-info", "images"), re.M)
    assert "failed to get vol 'b'" in virsh("vol-info", "b", "images", status=1)
    for verb in ("pool-refresh", "pool-autostart", "pool-dumpxml", "pool-uuid", "pool-destroy"):
        virsh(verb, "images")
    assert "pool 'images' is not active" in virsh("vol-info", "a.qcow2", "images", status=1)
    for verb in ("pool-start", "pool-destroy", "pool-undefine"):
        virsh(verb, "images")
    virsh("pool-define-as", "p", "dir", "--target", images.path)
    virsh("pool-build", "p")
    virsh("pool-undefine", "p")
    virsh("pool-create-as", "p", "dir", "--target", images.path)
    assert "pool type='dir' supported='yes'" in virsh("pool-capabilities")


def test_virt_install_makes_the_pool_and_the_disk_that_it_needs(daemon, conn, tmp_path):
    path = str(tmp_path / "new" / "disk.qcow2")
    os.mkdir(os.path.dirname(path))
    done = subprocess.run(["virt-install", "--connect", daemon.uri(), "--name", "made", "--memory", "64", "--import",
                           "--disk", f"path={path},size=0.01,bus=virtio", "--osinfo", "generic", "--network", "none",
                           "--graphics", "none", "--print-xml"], timeout=120, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          env=dict(os.environ, HOME=str(tmp_path)))
    assert done.returncode == 0, done.stdout
    assert f'<source file="{path}"/>' in done.stdout
    pool = conn.storagePoolLookupByTargetPath(os.path.dirname(path))
    assert pool.name() == "new" and pool.isPersistent() and pool.autostart() and pool.isActive()


def test_a_guides_program_makes_a_pool_and_a_volume(conn, tmp_path):
    pool = conn.storagePoolDefineXML(f"""
<pool type='dir'>
  <name>my_storage_pool</name>
  <target>
    <path>{tmp_path}</path>
  </target>
</pool>
""", 0)
    pool.create()
    volume = pool.createXML("""
<volume>
  <name>my_volume.qcow2</name>
  <capacity unit='G'>10</capacity>
  <allocation unit='G'>0</allocation>
  <target>
    <format type='qcow2'/>
  </target>
</volume>
""", 0)
    assert volume.info()[:2] == [libvirt.VIR_STORAGE_VOL_FILE, 10 << 30]
    told = subprocess.run([os.path.join(BUILD, "kvasir-img"), "info", volume.path()], stdout=subprocess.PIPE, text=True,
                          timeout=60, check=True).stdout
    assert "virtual size: 10 GiB" in told


def test_a_thousand_volumes_are_listed(conn, tmp_path):
    for number in range(1000):
        write(str(tmp_path / f"v{number:04}"), qcow2_header(backing=b"base"))
    pool = conn.storagePoolCreateXML(pool_xml("many", str(tmp_path)))
    began = time.monotonic()
    pool.refresh()
    assert len(pool.listAllVolumes()) == pool.numOfVolumes() == 1000
    assert time.monotonic() - began < 10
    assert pool.listVolumes()[0] == "v0000"
