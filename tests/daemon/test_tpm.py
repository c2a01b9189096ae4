# SPDX-License-Identifier: GPL-2.0-or-later
"""A domain's TPM: swtpm beside the machine, what it keeps, and how long."""
import os

import libvirt
import pytest

from kv_daemon import domain_xml, wait_for

TPM = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"
KEEPING = "<tpm><backend type='emulator' persistent_state='yes'/></tpm>"


def kept(daemon, uuid):
    """The files of its state."""
    folder = os.path.join(daemon.state, "tpm", uuid)
    return [name for name in os.listdir(folder) if not name.startswith(".")] if os.path.exists(folder) else None


def processes(uuid):
    """swtpm's of that machine."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"swtpm") and any(uuid.encode() in word for word in words):
            found.append(int(pid))
    return found


@pytest.mark.parametrize("model,rows", [("tpm-crb", "the buffer changes under way"), ("tpm-tis", "goes and ends in a row")])
def test_a_guest_uses_its_tpm_which_ends_with_it_and_keeps_its_state(model, rows, daemon, conn, tmp_path):
    log = tmp_path / "serial"
    xml = domain_xml("tpm", guest="tpm", devices=TPM.replace("tpm-crb", model)).replace(
        "<serial type='pty'>", f"<serial type='pty'><log file='{log}' append='off'/>")
    domain = conn.defineXML(xml)
    uuid = domain.UUIDString()
    assert kept(daemon, uuid) is None
    for _ in range(2):  # the second one finds what the first one kept
        domain.create()
        wait_for(lambda: not domain.isActive(), "the guest's end")
        lines = log.read_text().splitlines()
        assert "ok it gives random numbers" in lines and f"ok {rows}" in lines and "done" in lines, lines
        assert not [line for line in lines if line.startswith("not ok")], lines
        assert kept(daemon, uuid) == ["tpm2-00.permall"]
        wait_for(lambda: not processes(uuid), "swtpm's end")
    domain.undefine()
    assert kept(daemon, uuid) is None


def test_it_runs_on_without_the_daemon(fresh):
    domain = fresh.connect().defineXML(domain_xml("on", devices=TPM))
    domain.create()
    uuid, before = domain.UUIDString(), processes(domain.UUIDString())
    assert len(before) == 1
    fresh.kill()
    domain = fresh.start().connect().lookupByName("on")
    assert domain.isActive() and processes(uuid) == before
    domain.destroy()
    wait_for(lambda: not processes(uuid), "swtpm's end")
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM)
    assert kept(fresh, uuid) == ["tpm2-00.permall"]


def test_what_it_keeps_goes_as_the_client_and_the_document_say(daemon, conn):
    domain = conn.createXML(domain_xml("passing", devices=TPM))
    uuid = domain.UUIDString()
    assert kept(daemon, uuid)
    domain.destroy()
    wait_for(lambda: kept(daemon, uuid) is None, "its state's end")

    domain = conn.defineXML(domain_xml("keeping", devices=KEEPING))
    uuid = domain.UUIDString()
    domain.create()
    domain.destroy()
    domain.undefine()
    assert kept(daemon, uuid)
    domain = conn.defineXML(domain_xml("keeping", devices=KEEPING, uuid=uuid))
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_TPM)
    assert kept(daemon, uuid) is None


def test_other_tpms_are_refused_by_name(conn):
    for wrong, message in (("<tpm model='tpm-spapr'><backend type='emulator'/></tpm>", "tpm-spapr"),
                           ("<tpm><backend type='passthrough'/></tpm>", "passthrough"),
                           ("<tpm><backend type='emulator' version='1.2'/></tpm>", "1.2")):
        with pytest.raises(libvirt.libvirtError, match=message):
            conn.defineXML(domain_xml("wrong", devices=wrong))
    assert "<tpm supported='yes'>" in conn.getDomainCapabilities()
