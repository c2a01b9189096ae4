# SPDX-License-Identifier: GPL-2.0-or-later
"""Secrets: definitions, values, what lasts, who may read, events."""
import time
import xml.etree.ElementTree as ET

import libvirt
import pytest

UUID = "11111111-2222-3333-4444-555555555555"


def document(usage="volume", element="volume", name="/x", uuid=None, ephemeral="no", private="no"):
    return (f"<secret ephemeral='{ephemeral}' private='{private}'>" + (f"<uuid>{uuid}</uuid>" if uuid else "") +
            f"<description>a &lt; b</description><usage type='{usage}'><{element}>{name}</{element}></usage></secret>")


def refused(code, function, *arguments):
    with pytest.raises(libvirt.libvirtError) as caught:
        function(*arguments)
    assert caught.value.get_error_code() == code, caught.value
    assert caught.value.get_error_domain() == libvirt.VIR_FROM_SECRET
    return str(caught.value)


@pytest.fixture(name="conn")
def connection_that_leaves_no_secret(own_daemon):
    connection = libvirt.open(own_daemon.uri())
    yield connection
    connection.close()


def test_a_secret_is_defined_found_and_undefined(conn):
    secret = conn.secretDefineXML(document(uuid=UUID))
    assert (secret.UUIDString(), secret.usageType(), secret.usageID()) == (UUID, libvirt.VIR_SECRET_USAGE_TYPE_VOLUME,
                                                                         "/x")
    assert conn.secretLookupByUUIDString(UUID).usageID() == "/x"
    assert conn.secretLookupByUsage(libvirt.VIR_SECRET_USAGE_TYPE_VOLUME, "/x").UUIDString() == UUID
    assert conn.listSecrets() == [UUID] and conn.numOfSecrets() == 1
    root = ET.fromstring(secret.XMLDesc())
    assert root.attrib == {"ephemeral": "no", "private": "no"}
    assert root.findtext("description") == "a < b" and root.findtext("usage/volume") == "/x"
    secret.undefine()
    assert conn.listSecrets() == []
    assert "no secret with matching uuid" in refused(libvirt.VIR_ERR_NO_SECRET, conn.secretLookupByUUIDString, UUID)
    refused(libvirt.VIR_ERR_NO_SECRET, conn.secretLookupByUsage, libvirt.VIR_SECRET_USAGE_TYPE_VOLUME, "/x")
    refused(libvirt.VIR_ERR_NO_SECRET, secret.undefine)


@pytest.mark.parametrize("usage, element", [("volume", "volume"), ("ceph", "name"), ("iscsi", "target"),
                                            ("tls", "name"), ("vtpm", "name")])
def test_every_usage_comes_back(conn, usage, element):
    text = conn.secretDefineXML(document(usage, element, "thing")).XMLDesc()
    assert ET.fromstring(text).find("usage").attrib == {"type": usage}
    assert ET.fromstring(text).findtext(f"usage/{element}") == "thing"


@pytest.mark.parametrize("text, code", [
    ("<secret ephemeral='maybe'/>", libvirt.VIR_ERR_XML_ERROR),
    ("<secret><usage type='love'/></secret>", libvirt.VIR_ERR_XML_ERROR),
    ("<secret><usage type='ceph'/></secret>", libvirt.VIR_ERR_XML_ERROR),
    ("<secret><uuid>zz</uuid></secret>", libvirt.VIR_ERR_INTERNAL_ERROR),
    ("<secret><colour>red</colour></secret>", libvirt.VIR_ERR_CONFIG_UNSUPPORTED),
])
def test_documents_that_cannot_be_are_refused(conn, text, code):
    refused(code, conn.secretDefineXML, text)
    assert conn.numOfSecrets() == 0


def test_what_is_not_xml_is_refused(conn):
    for text in ("", "<secret", "<domain/>", "<!DOCTYPE x [<!ENTITY a 'b'>]><secret>&a;</secret>"):
        with pytest.raises(libvirt.libvirtError):
            conn.secretDefineXML(text)


def test_uses_are_unique_and_do_not_change(conn):
    conn.secretDefineXML(document(uuid=UUID, private="yes"))
    refused(libvirt.VIR_ERR_INTERNAL_ERROR, conn.secretDefineXML, document())
    refused(libvirt.VIR_ERR_INTERNAL_ERROR, conn.secretDefineXML, document(uuid=UUID, name="/y", private="yes"))
    refused(libvirt.VIR_ERR_INTERNAL_ERROR, conn.secretDefineXML, document(uuid=UUID, private="no"))
    conn.secretDefineXML(document(uuid=UUID, private="yes"))


def test_values_are_kept_for_those_who_may_read(conn):
    open_one = conn.secretDefineXML(document(name="/open"))
    closed_one = conn.secretDefineXML(document(name="/closed", private="yes"))
    refused(libvirt.VIR_ERR_NO_SECRET, open_one.value)
    for value in (b"\0\1\2", b"x" * 65536):
        open_one.setValue(value)
        assert open_one.value() == value
    closed_one.setValue(b"hidden")
    refused(libvirt.VIR_ERR_INVALID_SECRET, closed_one.value)


def test_lists_are_filtered(conn):
    for ephemeral in ("yes", "no"):
        for private in ("yes", "no"):
            conn.secretDefineXML(document(name=ephemeral + private, ephemeral=ephemeral, private=private))
    def names(flags):
        return sorted(secret.usageID() for secret in conn.listAllSecrets(flags))
    assert len(names(0)) == 4
    assert names(libvirt.VIR_CONNECT_LIST_SECRETS_EPHEMERAL) == ["yesno", "yesyes"]
    assert names(libvirt.VIR_CONNECT_LIST_SECRETS_NO_EPHEMERAL | libvirt.VIR_CONNECT_LIST_SECRETS_PRIVATE) == ["noyes"]


def test_what_is_not_ephemeral_outlives_the_daemon(own_daemon):
    connection = libvirt.open(own_daemon.uri())
    connection.secretDefineXML(document(uuid=UUID)).setValue(b"kept")
    connection.secretDefineXML(document(name="/gone", ephemeral="yes")).setValue(b"gone")
    connection.close()
    own_daemon.process.kill()
    own_daemon.process.wait()
    with open(own_daemon.log, "wb"):
        pass
    own_daemon.start()
    connection = libvirt.open(own_daemon.uri())
    assert connection.listSecrets() == [UUID]
    assert connection.secretLookupByUUIDString(UUID).value() == b"kept"
    connection.close()


def test_virsh_defines_sets_and_shows(own_daemon, tmp_path):
    path = tmp_path / "secret.xml"
    path.write_text(document(uuid=UUID))
    own_daemon.virsh("secret-define", str(path))
    value = tmp_path / "value"
    value.write_text("sesame")
    own_daemon.virsh("secret-set-value", UUID, "--file", str(value), "--plain")
    assert own_daemon.virsh("secret-get-value", UUID, "--plain") == "sesame"
    assert UUID in own_daemon.virsh("secret-list")
    own_daemon.virsh("secret-undefine", UUID)
    assert UUID not in own_daemon.virsh("secret-list")


def test_events_tell_of_one_or_of_all(conn):
    heard = []
    other = conn.secretDefineXML(document(name="/other"))
    one = conn.secretDefineXML(document(uuid=UUID))
    handles = [
        conn.secretEventRegisterAny(None, libvirt.VIR_SECRET_EVENT_ID_LIFECYCLE,
                                    lambda _, s, event, detail, __: heard.append(("all", s.UUIDString(), event)), None),
        conn.secretEventRegisterAny(one, libvirt.VIR_SECRET_EVENT_ID_VALUE_CHANGED,
                                    lambda _, s, __: heard.append(("one", s.UUIDString(), "value")), None)]
    other.setValue(b"x")
    one.setValue(b"y")
    one.undefine()
    end = time.monotonic() + 10
    while len(heard) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert heard == [("one", UUID, "value"), ("all", UUID, libvirt.VIR_SECRET_EVENT_UNDEFINED)]
    for handle in handles:
        conn.secretEventDeregisterAny(handle)
    other.undefine()
    conn.getLibVersion()
    time.sleep(0.05)
    assert len(heard) == 2
