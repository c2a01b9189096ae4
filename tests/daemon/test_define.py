# SPDX-License-Identifier: GPL-2.0-or-later
"""Definitions: names and uuids, documents that come back, autostart, rename, metadata."""
import re
import threading
import uuid

import libvirt
import pytest

from kv_daemon import Refused, domain_xml

UUID = "11111111-2222-3333-4444-555555555555"


def test_a_defined_domain_is_found_by_name_uuid_and_in_lists(conn):
    domain = conn.defineXML(domain_xml("one", uuid=UUID))
    assert (domain.name(), domain.UUIDString(), domain.ID()) == ("one", UUID, -1)
    assert conn.lookupByName("one").UUIDString() == UUID
    assert conn.lookupByUUIDString(UUID).name() == "one"
    assert conn.lookupByUUID(uuid.UUID(UUID).bytes).name() == "one"
    assert conn.listDefinedDomains() == ["one"]
    assert conn.numOfDefinedDomains() == 1
    assert conn.numOfDomains() == 0
    assert conn.listDomainsID() == []
    assert [d.name() for d in conn.listAllDomains()] == ["one"]


def test_a_domain_without_uuid_gets_one_and_defaults(conn):
    domain = conn.defineXML(domain_xml("one"))
    assert domain.UUIDString() in domain.XMLDesc()
    assert domain.OSType() == "hvm"
    assert domain.isPersistent() == 1
    assert domain.isActive() == 0
    assert domain.isUpdated() == 0
    assert domain.maxMemory() == 64 * 1024
    assert domain.info() == [libvirt.VIR_DOMAIN_SHUTOFF, 65536, 65536, 1, 0]
    assert domain.state() == [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN]


def test_a_definition_of_its_own_text_changes_nothing(conn):
    text = conn.defineXML(domain_xml("one")).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert conn.defineXML(text).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) == text


def test_what_is_not_there_is_not_found(conn):
    with Refused(libvirt.VIR_ERR_NO_DOMAIN, "no domain with matching name 'nobody'"):
        conn.lookupByName("nobody")
    with Refused(libvirt.VIR_ERR_NO_DOMAIN, f"no domain with matching uuid '{UUID}'"):
        conn.lookupByUUIDString(UUID)
    with Refused(libvirt.VIR_ERR_NO_DOMAIN, "no domain with matching id 7"):
        conn.lookupByID(7)
    domain = conn.defineXML(domain_xml("one", uuid=UUID))
    domain.undefine()
    with Refused(libvirt.VIR_ERR_NO_DOMAIN, f"no domain with matching uuid '{UUID}' (one)"):
        domain.info()


def test_names_and_uuids_are_unique(conn):
    conn.defineXML(domain_xml("one", uuid=UUID))
    with Refused(libvirt.VIR_ERR_OPERATION_FAILED, f"domain 'one' already exists with uuid {UUID}",
                 libvirt.VIR_FROM_DOMAIN):
        conn.defineXML(domain_xml("one", uuid=UUID.replace("1111", "9999")))
    with Refused(libvirt.VIR_ERR_OPERATION_FAILED, f"domain 'one' is already defined with uuid {UUID}"):
        conn.defineXML(domain_xml("two", uuid=UUID))
    assert len(conn.listAllDomains()) == 1


def test_bad_documents_are_refused_and_leave_nothing(conn):
    with Refused(libvirt.VIR_ERR_XML_DETAIL):
        conn.defineXML("<domain type='kvm'><name>x</name>")
    with Refused(libvirt.VIR_ERR_XML_ERROR):
        conn.defineXML("<network><name>x</name></network>")
    with Refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED):
        conn.defineXML(domain_xml("x", devices="<disk type='file' device='floppy'>"
                                               "<source file='/x'/><target dev='fda' bus='fdc'/></disk>"))
    assert conn.listAllDomains() == []


def test_unknown_flags_are_refused(conn):
    domain = conn.defineXML(domain_xml("one"))
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "unsupported flags (0x40000000)"):
        conn.defineXMLFlags(domain_xml("two"), 1 << 30)
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "unsupported flags"):
        domain.XMLDesc(1 << 30)
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "unsupported flags"):
        domain.undefineFlags(1 << 30)
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "unsupported flags"):
        domain.createWithFlags(1 << 30)
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "unsupported flags"):
        conn.listAllDomains(1 << 30)
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "unsupported flags"):
        domain.destroyFlags(1 << 30)


def test_events_tell_definitions(conn, events):
    domain = conn.defineXML(domain_xml("one"))
    events.expect(("one", libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_ADDED))
    conn.defineXML(domain.XMLDesc())
    events.expect(("one", libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_UPDATED))
    domain.rename("two")
    events.expect(("one", libvirt.VIR_DOMAIN_EVENT_UNDEFINED, libvirt.VIR_DOMAIN_EVENT_UNDEFINED_RENAMED),
                  ("two", libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_RENAMED))
    conn.lookupByName("two").undefine()
    events.expect(("two", libvirt.VIR_DOMAIN_EVENT_UNDEFINED, libvirt.VIR_DOMAIN_EVENT_UNDEFINED_REMOVED))


def test_a_renamed_domain_keeps_its_uuid_and_frees_its_name(conn):
    domain = conn.defineXML(domain_xml("one", uuid=UUID))
    conn.defineXML(domain_xml("taken"))
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain with name 'taken' already exists"):
        domain.rename("taken")
    domain.rename("other")
    assert conn.lookupByName("other").UUIDString() == UUID
    assert "<name>other</name>" in conn.lookupByName("other").XMLDesc()
    with Refused(libvirt.VIR_ERR_NO_DOMAIN):
        conn.lookupByName("one")
    conn.defineXML(domain_xml("one"))


def test_a_name_that_is_being_left_is_free_or_taken_and_nothing_between(daemon, conn):
    domain = conn.defineXML(domain_xml("left"))
    ended, said = threading.Event(), set()

    def define():
        own = daemon.connect()
        while not ended.is_set():
            try:
                own.defineXML(domain_xml("left")).undefine()
            except libvirt.libvirtError as error:
                said.add(re.sub("[0-9a-f-]{36}", "UUID", str(error)))
    threads = [threading.Thread(target=define) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(600):
        try:
            domain.rename("left" if domain.name() == "right" else "right")
        except libvirt.libvirtError as error:
            said.add(str(error))
    ended.set()
    for thread in threads:
        thread.join()
    assert said <= {"operation failed: domain 'left' already exists with uuid UUID",
                    "Requested operation is not valid: domain with name 'left' already exists"}, said


def test_autostart_is_kept_and_listed(conn):
    domain = conn.defineXML(domain_xml("one"))
    assert domain.autostart() == 0
    domain.setAutostart(1)
    assert domain.autostart() == 1
    assert len(conn.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART)) == 1
    assert conn.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART) == []
    conn.defineXML(domain.XMLDesc())
    assert domain.autostart() == 1
    domain.setAutostart(0)
    assert domain.autostart() == 0


@pytest.mark.parametrize("flags, there", [
    (libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE, False),
    (libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE, True),
    (libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE | libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE, True),
    (libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT, True),
    (libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT, False),
    (libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING, False),
    (libvirt.VIR_CONNECT_LIST_DOMAINS_PAUSED, False),
    (libvirt.VIR_CONNECT_LIST_DOMAINS_SHUTOFF, True),
    (libvirt.VIR_CONNECT_LIST_DOMAINS_OTHER, False),
    (libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE, False),
    (libvirt.VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE, True),
    (libvirt.VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT, False),
    (libvirt.VIR_CONNECT_LIST_DOMAINS_NO_SNAPSHOT, True),
    (libvirt.VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT, False),
    (libvirt.VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT, True),
    (libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE | libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART, False),
])
def test_lists_are_filtered_group_by_group(conn, flags, there):
    conn.defineXML(domain_xml("one"))
    assert bool(conn.listAllDomains(flags)) == there


def test_titles_descriptions_and_metadata_come_back(conn):
    domain = conn.defineXML(domain_xml("one"))
    config = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    for kind, text in ((libvirt.VIR_DOMAIN_METADATA_TITLE, "A title"),
                       (libvirt.VIR_DOMAIN_METADATA_DESCRIPTION, "Lines\nof text & signs <")):
        with Refused(libvirt.VIR_ERR_NO_DOMAIN_METADATA, "Requested metadata element is not present"):
            domain.metadata(kind, None)
        domain.setMetadata(kind, text, None, None, config)
        assert domain.metadata(kind, None) == text
        domain.setMetadata(kind, None, None, None, 0)
        with Refused(libvirt.VIR_ERR_NO_DOMAIN_METADATA):
            domain.metadata(kind, None)
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "newlines"):
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, "two\nlines", None, None, 0)
    element = libvirt.VIR_DOMAIN_METADATA_ELEMENT
    domain.setMetadata(element, "<app><a>1</a></app>", "k", "http://example.org/app", config)
    assert re.search(r"<a>\s*1\s*</a>", domain.metadata(element, "http://example.org/app"))
    assert "http://example.org/app" in domain.XMLDesc()


def test_a_change_of_metadata_is_told(conn):
    from kv_daemon import Events  # pylint: disable=import-outside-toplevel
    domain = conn.defineXML(domain_xml("one"))
    record = Events(conn, (libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,))
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, "T", None, None, 0)
    record.expect(("one", f"id {libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE}",
                   libvirt.VIR_DOMAIN_METADATA_TITLE, None))
    record.end()


def title(domain, text, flags=libvirt.VIR_DOMAIN_AFFECT_CONFIG):
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, text, None, None, flags)


def test_a_document_is_never_told_as_it_was_before_a_change(daemon, conn):
    domain = conn.defineXML(domain_xml("one", uuid=UUID))
    for n in range(5):
        title(domain, f"t{n}")
        assert all(f"<title>t{n}</title>" in domain.XMLDesc() for _ in range(3))
    conn.defineXML(domain_xml("one", uuid=UUID, vcpus=3))
    assert ">3</vcpu>" in domain.XMLDesc() and "<title>" not in domain.XMLDesc()
    domain.rename("two")
    assert "<name>two</name>" in domain.XMLDesc()
    domain.undefine()
    with Refused(libvirt.VIR_ERR_NO_DOMAIN):
        domain.XMLDesc()
    assert "<name>one</name>" in conn.defineXML(domain_xml("one", uuid=UUID)).XMLDesc()


def test_who_reads_while_another_changes_sees_each_change_in_turn(daemon, conn):
    domain, seen, over = conn.defineXML(domain_xml("one")), [0], threading.Event()
    title(domain, "0")

    def read():
        same = daemon.connect().lookupByName("one")
        while not over.is_set():
            seen.append(int(re.search("<title>([0-9]*)</title>", same.XMLDesc())[1]))
    reader = threading.Thread(target=read)
    reader.start()
    for n in range(1, 200):
        title(domain, str(n))
        assert f"<title>{n}</title>" in domain.XMLDesc()
    over.set()
    reader.join()
    assert seen == sorted(seen) and len(seen) > 10


def test_each_of_many_domains_has_its_own_document(conn):
    """More than are kept in memory."""
    filler = "x" * 30000
    for n in range(60):
        conn.defineXML(domain_xml(f"d{n}", more=f"<description>{filler}{n}</description>"))
    for _ in range(2):
        for n in range(60):
            assert f">{filler}{n}<" in conn.lookupByName(f"d{n}").XMLDesc()


def test_a_read_only_connection_reads_and_changes_nothing(daemon, conn):
    conn.defineXML(domain_xml("one"))
    reader = daemon.connect_read_only()
    domain = reader.lookupByName("one")
    assert domain.info()[0] == libvirt.VIR_DOMAIN_SHUTOFF
    assert "<name>one</name>" in domain.XMLDesc()
    for change in (domain.undefine, domain.create, domain.destroy, lambda: domain.setAutostart(1),
                   lambda: reader.defineXML(domain_xml("two"))):
        with Refused(libvirt.VIR_ERR_OPERATION_DENIED):
            change()
    assert [d.name() for d in conn.listAllDomains()] == ["one"]


def test_definitions_survive_a_restart(fresh):
    conn = fresh.connect()
    conn.defineXML(domain_xml("one", uuid=UUID)).setAutostart(1)
    conn.defineXML(domain_xml("two"))
    text = conn.lookupByName("one").XMLDesc()
    fresh.kill()
    fresh.start()
    conn = fresh.connect()
    assert sorted(conn.listDefinedDomains()) == ["one", "two"]
    domain = conn.lookupByUUIDString(UUID)
    assert domain.autostart() == 1
    assert domain.XMLDesc() == text
    assert domain.info()[1] == 65536
