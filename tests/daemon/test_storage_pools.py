# SPDX-License-Identifier: GPL-2.0-or-later
"""Storage pools: defined, built, started, listed, found, stopped, removed, and after restarts."""
import os
import stat
import subprocess
import threading
import xml.etree.ElementTree as ET

import libvirt
import pytest

from kv_daemon import Refused, wait_for
from kv_storage import GONE, INVALID, STORAGE, UNSUPPORTED, names, pool_xml, remove_pools, volume_xml, write

NO_POOL = libvirt.VIR_ERR_NO_STORAGE_POOL
SCHEMA = "/usr/share/libvirt/schemas/storagepool.rng"


@pytest.fixture(autouse=True)
def no_pools_are_left(conn):
    yield
    remove_pools(conn)


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path)


def test_a_pool_is_defined_built_started_stopped_deleted_and_undefined(conn, folder):
    path = f"{folder}/a/b"
    pool = conn.storagePoolDefineXML(pool_xml("p", path + "//"))
    assert (pool.isActive(), pool.isPersistent(), pool.info()) == (0, 1, [0, 0, 0, 0])
    assert f"<path>{path}</path>" in pool.XMLDesc()
    with Refused(libvirt.VIR_ERR_SYSTEM_ERROR, f"cannot open directory '{path}': No such file"):
        pool.create()
    pool.build()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o711
    pool.create()
    state, capacity, allocation, available = pool.info()
    fs = os.statvfs(path)
    assert (state, capacity) == (libvirt.VIR_STORAGE_POOL_RUNNING, fs.f_frsize * fs.f_blocks)
    assert allocation + available == capacity
    assert pool.listVolumes() == [] and pool.numOfVolumes() == 0
    with Refused(INVALID, "storage pool 'p' is already active", STORAGE):
        pool.create()
    with Refused(INVALID, "storage pool 'p' is already active"):
        pool.build()
    for call in (pool.undefine, pool.delete):
        with Refused(INVALID, "storage pool 'p' is still active", STORAGE):
            call()
    pool.destroy()
    for call in (pool.destroy, pool.refresh, pool.listVolumes, pool.numOfVolumes, pool.listAllVolumes,
                 lambda: pool.storageVolLookupByName("x"), lambda: pool.createXML(volume_xml("x"))):
        with Refused(INVALID, "storage pool 'p' is not active", STORAGE):
            call()
    write(f"{path}/x", b"")
    with Refused(libvirt.VIR_ERR_SYSTEM_ERROR, f"failed to remove pool '{path}': Directory not empty", STORAGE):
        pool.delete()
    os.remove(f"{path}/x")
    pool.delete()
    assert not os.path.exists(path)
    pool.undefine()
    with Refused(NO_POOL, f"no storage pool with matching uuid '{pool.UUIDString()}' (p)", STORAGE):
        pool.info()


def test_what_a_document_says_of_owner_and_mode_is_what_is_built(conn, folder):
    wish = "<permissions><mode>0750</mode><owner>-1</owner><group>-1</group><label>x</label></permissions>"
    pool = conn.storagePoolDefineXML(pool_xml("p", f"{folder}/p", wish))
    pool.build()
    assert stat.S_IMODE(os.stat(f"{folder}/p").st_mode) == 0o750
    pool.create()
    assert "<mode>0750</mode>" in pool.XMLDesc()


def test_documents_are_those_of_libvirts_schema(conn, folder):
    pool = conn.storagePoolDefineXML(pool_xml("a &lt; b", folder))
    for text in (pool.XMLDesc(), pool.create() or pool.XMLDesc()):
        assert ET.fromstring(text).findtext("name") == "a < b"
        subprocess.run(["xmllint", "--noout", "--relaxng", SCHEMA, "-"], input=text, text=True, timeout=60,
                       stderr=subprocess.PIPE, check=True)
    again = conn.storagePoolDefineXML(pool.XMLDesc())
    assert again.UUID() == pool.UUID()


@pytest.mark.parametrize("xml, code, words", [
    ("<pool type='dir'><target><path>/x</path></target></pool>", libvirt.VIR_ERR_XML_ERROR, "missing pool source name"),
    (pool_xml("a/b", "/x"), libvirt.VIR_ERR_XML_ERROR, "name a/b cannot contain '/'"),
    (pool_xml("a&#10;b", "/x"), libvirt.VIR_ERR_XML_DETAIL, "invalid char in name"),
    ("<pool type='dir'><name>q</name></pool>", libvirt.VIR_ERR_XML_ERROR, "missing storage pool target path"),
    (pool_xml("q", "x/y"), libvirt.VIR_ERR_INVALID_ARG, "path 'x/y' is not absolute"),
    ("<pool><name>q</name></pool>", libvirt.VIR_ERR_XML_ERROR, "Missing required attribute 'type'"),
    (pool_xml("q", "/x", kind="zzz"), libvirt.VIR_ERR_XML_ERROR, "'zzz'"),
    (pool_xml("q", "/x", kind="netfs"), UNSUPPORTED, "storage pools of type 'netfs'; those of type 'dir'"),
    (pool_xml("q", "/x", uuid="zz"), libvirt.VIR_ERR_XML_ERROR, "malformed uuid element"),
    (pool_xml("q", "/x", "<permissions><mode>9</mode></permissions>"), libvirt.VIR_ERR_XML_ERROR, "octal mode"),
    (pool_xml("q", "/x", "<permissions><owner>x</owner></permissions>"), libvirt.VIR_ERR_XML_ERROR, "owner"),
    (pool_xml("q", "/x", "<encryption/>"), UNSUPPORTED, "/pool/target/encryption"),
    ("<pool type='dir'", libvirt.VIR_ERR_XML_DETAIL, "storage_pool_definition"),
    ("<volume/>", libvirt.VIR_ERR_XML_ERROR, "volume"),
    ("<!DOCTYPE pool [<!ENTITY a 'b'>]><pool type='dir'><name>&a;</name></pool>", libvirt.VIR_ERR_XML_ERROR, ""),
])
def test_what_is_wrong_in_a_document_is_told(conn, xml, code, words):
    for call in (conn.storagePoolDefineXML, conn.storagePoolCreateXML):
        with Refused(code, words):
            call(xml)
    assert conn.listAllStoragePools() == []


def test_names_uuids_and_folders_belong_to_one_pool(conn, folder):
    pool = conn.storagePoolDefineXML(pool_xml("p", folder))
    failed = libvirt.VIR_ERR_OPERATION_FAILED
    with Refused(failed, f"pool 'p' already exists with uuid {pool.UUIDString()}", STORAGE):
        conn.storagePoolDefineXML(pool_xml("p", "/y"))
    with Refused(failed, f"pool 'p' is already defined with uuid {pool.UUIDString()}"):
        conn.storagePoolDefineXML(pool_xml("q", "/y", uuid=pool.UUIDString()))
    with Refused(failed, "Storage source conflict with pool: 'p'"):
        conn.storagePoolDefineXML(pool_xml("q", folder + "/"))
    pool.create()
    with Refused(INVALID, "pool is already active as 'p'"):
        conn.storagePoolCreateXML(pool_xml("p", folder, uuid=pool.UUIDString()))


def test_a_new_definition_of_an_active_pool_holds_from_its_next_start(conn, folder):
    pool = conn.storagePoolDefineXML(pool_xml("p", folder))
    pool.create()
    os.mkdir(f"{folder}/other")
    conn.storagePoolDefineXML(pool_xml("p", f"{folder}/other", uuid=pool.UUIDString()))
    assert f"<path>{folder}</path>" in pool.XMLDesc()
    assert f"<path>{folder}/other</path>" in pool.XMLDesc(libvirt.VIR_STORAGE_XML_INACTIVE)
    pool.destroy()
    assert f"<path>{folder}/other</path>" in pool.XMLDesc()


def test_a_transient_pool_is_gone_when_it_is_stopped(conn, folder):
    build = libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD
    pool = conn.storagePoolCreateXML(pool_xml("t", f"{folder}/t"), build)
    assert (pool.isActive(), pool.isPersistent(), pool.autostart()) == (1, 0, 0)
    with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "pool has no config file", STORAGE):
        pool.setAutostart(1)
    pool.destroy()
    with Refused(NO_POOL):
        pool.info()
    with Refused(libvirt.VIR_ERR_SYSTEM_ERROR, "cannot open directory"):
        conn.storagePoolCreateXML(pool_xml("u", f"{folder}/none"))
    assert conn.listAllStoragePools() == []
    kept = conn.storagePoolCreateXML(pool_xml("t", f"{folder}/t"))
    conn.storagePoolDefineXML(pool_xml("t", f"{folder}/t", uuid=kept.UUIDString()))
    assert kept.isPersistent() == 1
    kept.destroy()
    assert kept.isActive() == 0


def test_pools_are_listed_by_what_they_are(conn, folder):
    off = conn.storagePoolDefineXML(pool_xml("off", f"{folder}/off"))
    off.setAutostart(1)
    assert off.autostart() == 1
    on = conn.storagePoolDefineXML(pool_xml("on", f"{folder}/on"))
    on.build()
    on.create()
    conn.storagePoolCreateXML(pool_xml("passing", f"{folder}/passing"), libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)
    assert conn.numOfStoragePools() == 2 and conn.numOfDefinedStoragePools() == 1
    assert sorted(conn.listStoragePools()) == ["on", "passing"] and conn.listDefinedStoragePools() == ["off"]

    def listed(*flags):
        wanted = 0
        for flag in flags:
            wanted |= getattr(libvirt, f"VIR_CONNECT_LIST_STORAGE_POOLS_{flag}")
        return sorted(pool.name() for pool in conn.listAllStoragePools(wanted))

    assert listed() == listed("DIR") == listed("ACTIVE", "INACTIVE") == ["off", "on", "passing"]
    assert listed("FS", "NETFS") == []
    assert listed("ACTIVE") == ["on", "passing"]
    assert listed("INACTIVE") == listed("AUTOSTART") == ["off"]
    assert listed("PERSISTENT") == ["off", "on"]
    assert listed("TRANSIENT", "ACTIVE", "NO_AUTOSTART", "DIR") == ["passing"]


def test_pools_are_found_by_name_uuid_volume_and_folder(conn, folder):
    write(f"{folder}/v.img", bytes(512))
    pool = conn.storagePoolCreateXML(pool_xml("p", folder))
    found = [conn.storagePoolLookupByName("p"), conn.storagePoolLookupByUUID(pool.UUID()),
             conn.storagePoolLookupByUUIDString(pool.UUIDString()), conn.storagePoolLookupByTargetPath(folder + "//"),
             conn.storageVolLookupByPath(f"{folder}/v.img").storagePoolLookupByVolume()]
    assert {one.UUIDString() for one in found} == {pool.UUIDString()}
    with Refused(NO_POOL, "no storage pool with matching name 'q'", STORAGE):
        conn.storagePoolLookupByName("q")
    with Refused(NO_POOL, "no storage pool with matching uuid"):
        conn.storagePoolLookupByUUID(bytes(16))
    with Refused(NO_POOL, "no storage pool with matching target path '/x'"):
        conn.storagePoolLookupByTargetPath("/x")


def test_what_pools_of_folders_cannot_do_is_refused(conn, folder):
    pool = conn.storagePoolDefineXML(pool_xml("p", folder))
    overwrite, keep = libvirt.VIR_STORAGE_POOL_BUILD_OVERWRITE, libvirt.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "mutually exclusive"):
        pool.build(overwrite | keep)
    with Refused(INVALID, "No source device specified when formatting pool 'p'", STORAGE):
        pool.build(overwrite)
    with Refused(libvirt.VIR_ERR_NO_SUPPORT, "pool type 'dir' does not support source discovery", STORAGE):
        conn.findStoragePoolSources("dir", None)
    with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "unknown storage pool type zzz"):
        conn.findStoragePoolSources("zzz", None)
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "unsupported flags (0x40)"):
        conn.storagePoolDefineXML(pool_xml("q", "/x"), 64)
    told = ET.fromstring(conn.getStoragePoolCapabilities())
    assert [kind.get("type") for kind in told if kind.get("supported") == "yes"] == ["dir"]
    assert "qcow2" in [value.text for value in told.iter("value")]


def test_everything_about_a_pool_is_told_to_who_asked(conn, folder):
    seen, changed = [], threading.Condition()

    def note(kind):
        def callback(_conn, pool, *what):
            with changed:
                seen.append((pool.name(), kind, *what[:-1]))
                changed.notify_all()
        return callback
    ids = [conn.storagePoolEventRegisterAny(None, libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, note("life"), None),
           conn.storagePoolEventRegisterAny(None, libvirt.VIR_STORAGE_POOL_EVENT_ID_REFRESH, note("refresh"), None)]
    pool = conn.storagePoolDefineXML(pool_xml("p", f"{folder}/p"))
    only_other = conn.storagePoolDefineXML(pool_xml("q", f"{folder}/q"))
    ids.append(conn.storagePoolEventRegisterAny(only_other, libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE,
                                                note("only q"), None))
    for act in (pool.build, pool.create, pool.refresh, pool.destroy, pool.delete, pool.undefine):
        act()
    life = [libvirt.VIR_STORAGE_POOL_EVENT_CREATED, libvirt.VIR_STORAGE_POOL_EVENT_STARTED, None,
            libvirt.VIR_STORAGE_POOL_EVENT_STOPPED, libvirt.VIR_STORAGE_POOL_EVENT_DELETED,
            libvirt.VIR_STORAGE_POOL_EVENT_UNDEFINED]
    wanted = [(name, "life", libvirt.VIR_STORAGE_POOL_EVENT_DEFINED, 0) for name in "pq"]
    wanted += [("p", "refresh") if event is None else ("p", "life", event, 0) for event in life]
    with changed:
        changed.wait_for(lambda: len(seen) >= len(wanted), 30)
    assert seen == wanted
    for number in ids:
        conn.storagePoolEventDeregisterAny(number)


def test_pools_are_what_they_were_after_the_daemon_was_killed(fresh, tmp_path):
    folder = str(tmp_path)
    conn = fresh.connect()
    build = libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD
    conn.storagePoolCreateXML(pool_xml("passing", f"{folder}/passing"), build)
    for name in ("on", "off", "changed", "lost"):
        pool = conn.storagePoolDefineXML(pool_xml(name, f"{folder}/{name}"))
        pool.build()
        if name != "off":
            pool.create()
    pool.createXML(volume_xml("v"))
    changed = conn.storagePoolLookupByName("changed")
    conn.storagePoolDefineXML(pool_xml("changed", f"{folder}/new", uuid=changed.UUIDString()))
    os.remove(f"{folder}/lost/v")
    os.rmdir(f"{folder}/lost")
    write(f"{folder}/on/w", b"x")
    fresh.kill()
    fresh.start()
    conn = fresh.connect()
    assert sorted(conn.listStoragePools()) == ["changed", "on", "passing"]
    assert sorted(conn.listDefinedStoragePools()) == ["lost", "off"]
    assert names(conn.storagePoolLookupByName("on")) == ["w"]
    assert not conn.storagePoolLookupByName("passing").isPersistent()
    changed = conn.storagePoolLookupByName("changed")
    assert f"<path>{folder}/changed</path>" in changed.XMLDesc()
    assert f"<path>{folder}/new</path>" in changed.XMLDesc(libvirt.VIR_STORAGE_XML_INACTIVE)
    changed.destroy()
    assert f"<path>{folder}/new</path>" in changed.XMLDesc()


def test_pools_marked_for_it_start_with_the_host(fresh, tmp_path):
    conn = fresh.connect()
    for name in ("one", "two"):
        conn.storagePoolDefineXML(pool_xml(name, f"{tmp_path}/{name}")).build()
    conn.storagePoolLookupByName("two").setAutostart(1)
    fresh.stop()
    # A start of the host empties the run directory.
    subprocess.run(["rm", "-rf", fresh.run], timeout=60, check=True)
    fresh.start()
    assert fresh.connect().listStoragePools() == ["two"]


def test_a_refresh_of_a_folder_that_is_gone_stops_the_pool(conn, folder):
    pool = conn.storagePoolDefineXML(pool_xml("p", f"{folder}/p"))
    pool.build()
    pool.create()
    os.rmdir(f"{folder}/p")
    with Refused(libvirt.VIR_ERR_SYSTEM_ERROR, "cannot open directory"):
        pool.refresh()
    assert pool.isActive() == 0


def test_many_clients_define_start_stop_and_undefine_at_once(daemon, folder):
    failures = []

    def work(number):
        try:
            connection = libvirt.open(daemon.uri())
            for turn in range(20):
                path = f"{folder}/{(number + turn) % 3}"
                try:
                    pool = connection.storagePoolDefineXML(pool_xml(f"p{(number + turn) % 3}", path))
                except libvirt.libvirtError:
                    pool = connection.storagePoolLookupByName(f"p{(number + turn) % 3}")
                for act in (pool.build, pool.create, lambda: pool.createXML(volume_xml(f"v{number}")), pool.refresh,
                            lambda: pool.storageVolLookupByName(f"v{number}").delete(), pool.destroy, pool.undefine):
                    try:
                        act()
                    except libvirt.libvirtError as error:
                        if error.get_error_code() == libvirt.VIR_ERR_RPC:
                            raise
            connection.close()
        except libvirt.libvirtError as error:
            if error.get_error_code() not in (NO_POOL, GONE):
                failures.append(error)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures and not any(thread.is_alive() for thread in threads)
    wait_for(lambda: daemon.process.poll() is None, "the daemon")
