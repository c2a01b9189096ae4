# SPDX-License-Identifier: GPL-2.0-or-later
"""kvasir image: what other systems' images become; what is refused before an image is built."""
import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from kv_daemon import BUILD  # noqa: E402  pylint: disable=wrong-import-position

KVASIR = os.path.join(BUILD, "kvasir")
PATIENCE = 60
OVF = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
<References><File ovf:id="f1" ovf:href="a.vmdk"/><File ovf:id="f2" ovf:href="b,2.vmdk"/></References>
<DiskSection><Disk ovf:diskId="d1" ovf:fileRef="f2"/><Disk ovf:diskId="d2" ovf:fileRef="f1"/></DiskSection>
<VirtualSystem ovf:id="web &amp; more"><VirtualHardwareSection>
<Item><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
<Item><rasd:AllocationUnits>byte * 2^30</rasd:AllocationUnits><rasd:ResourceType>4</rasd:ResourceType>
<rasd:VirtualQuantity>3</rasd:VirtualQuantity></Item>
<Item><rasd:ResourceType>10</rasd:ResourceType></Item><Item><rasd:ResourceType>10</rasd:ResourceType></Item>
<Item><rasd:HostResource>ovf:/disk/d1</rasd:HostResource><rasd:ResourceType>17</rasd:ResourceType></Item>
<Item><rasd:HostResource>ovf:/disk/d2</rasd:HostResource><rasd:ResourceType>17</rasd:ResourceType></Item>
</VirtualHardwareSection></VirtualSystem></Envelope>
"""


def tool(*words):
    subprocess.run(list(map(str, words)), stdout=subprocess.DEVNULL, timeout=PATIENCE, check=True)


def image(*words, status=0):
    done = subprocess.run([KVASIR, "image", *map(str, words)], stdin=subprocess.DEVNULL, text=True, capture_output=True,
                          timeout=PATIENCE, check=False, env={**os.environ, "KVASIR_HINTS": "0"})
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def raw_disk(path, seed):
    with open(path, "wb") as file:
        file.truncate(8 << 20)
        file.seek(1 << 20)
        file.write(bytes((i * seed) % 251 for i in range(200000)))
    return path


def same(raw, other):
    tool("qemu-img", "compare", "-f", "raw", raw, other)


@pytest.mark.parametrize("driver, options", [
    ("vmdk", "subformat=monolithicSparse"), ("vmdk", "subformat=streamOptimized"), ("vmdk", "subformat=monolithicFlat"),
    ("vpc", "subformat=dynamic,force_size=on"), ("vpc", "subformat=fixed,force_size=on"), ("vhdx", ""), ("vdi", "")])
def test_an_image_of_another_system_becomes_qcow2_with_the_same_bytes(tmp_path, driver, options):
    raw, other, made = raw_disk(tmp_path / "raw", 7), tmp_path / "other", tmp_path / "made.qcow2"
    tool("qemu-img", "convert", "-f", "raw", "-O", driver, *(("-o", options) if options else ()), raw, other)
    assert f"Image '{made}' made" in image("import", other, made)
    same(raw, made)
    assert sorted(os.listdir(tmp_path)) == sorted({"raw", "other", "made.qcow2"} |
                                                  ({"other-flat"} if "monolithicFlat" in options else set()))


@pytest.fixture
def ova(tmp_path):
    """An OVA of two disks, the first one's file second in it, with a comma in its name and the disk's."""
    first, second = raw_disk(tmp_path / "first", 3), raw_disk(tmp_path / "second", 5)
    for source, target in ((second, "a.vmdk"), (first, "b,2.vmdk")):
        tool("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", source, tmp_path / target)
    (tmp_path / "web.ovf").write_text(OVF, encoding="utf-8")
    path = tmp_path / "web,1.ova"
    tool("tar", "--format=ustar", "-C", tmp_path, "-cf", path, "web.ovf", "a.vmdk", "b,2.vmdk")
    return path


def test_an_ova_gives_its_disks_and_a_machine_that_virsh_could_define(ova, tmp_path):
    made = tmp_path / "made.qcow2"
    xml = image("import", ova, made, "--xml")
    same(tmp_path / "first", made)
    same(tmp_path / "second", tmp_path / "made-2.qcow2")
    (tmp_path / "xml").write_text(xml, encoding="utf-8")
    tool("virt-xml-validate", tmp_path / "xml", "domain")
    for part in ("<name>web &amp; more</name>", "<memory unit='KiB'>3145728</memory>", "<vcpu>2</vcpu>",
                 f"<source file='{made}'/><target dev='sda'", f"<source file='{tmp_path}/made-2.qcow2'/><target dev='sdb'"):
        assert part in xml
    assert xml.count("<interface ") == 2


def test_an_import_that_fails_leaves_nothing_and_says_why(ova, tmp_path):
    with open(ova, "rb") as file:
        whole = file.read()
    broken, made = tmp_path / "broken.ova", tmp_path / "made.qcow2"
    broken.write_bytes(whole[:len(whole) // 2])
    assert "is a broken archive" in image("import", broken, made, status=1)
    broken.write_bytes(whole.replace(b"a.vmdk\"", b"c.vmdk\""))
    assert "the disk 'c.vmdk' is not in the archive" in image("import", broken, made, status=1)
    at = whole.index(b"KDMV")
    broken.write_bytes(whole[:at + 4] + b"\xff" * 64 + whole[at + 68:])
    assert "'kvasir-img' failed with status 1" in image("import", broken, made, status=1)
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]


def test_what_is_no_image_of_another_system_or_would_be_lost_is_refused(tmp_path):
    raw, made = raw_disk(tmp_path / "raw", 7), tmp_path / "made.qcow2"
    assert "is none of VMDK, OVA, VHD, VHDX and VDI" in image("import", raw, made, status=1)
    tool("qemu-img", "convert", "-f", "raw", "-O", "vdi", raw, tmp_path / "vdi")
    assert "describes no machine" in image("import", tmp_path / "vdi", made, "--xml", status=1)
    assert "machines use qcow2 and raw" in image("import", tmp_path / "vdi", made, "--format", "vhdx", status=1)
    assert "is there already" in image("import", tmp_path / "vdi", raw, status=1)


@pytest.mark.parametrize("words, said", [
    (("plan9",), "debian is known"),
    (("debian", "--size", "8"), "a size such as 8G, 1G to 64T"),
    (("debian", "--kernel", "rt"), "cloud (for virtual machines) and generic are known"),
    (("debian", "--hostname", "a b"), "--hostname 'a b'"),
    (("debian", "--user", "-x"), "--user '-x'"),
    (("debian", "--packages", "a;b"), "--packages 'a;b'"),
    (("debian", "--ssh-key", "/etc/hostname"), "a file with a public key is expected"),
    (("debian", "--file", "/etc/hostname"), "is there already")])
def test_an_image_is_not_begun_with_values_that_cannot_be(words, said):
    assert said in image("build", *words, status=1)
