# SPDX-License-Identifier: GPL-2.0-or-later
"""virt-install, virt-xml and virt-clone, unmodified: what they choose by themselves works."""
import os
import re
import shutil
import subprocess

import pytest

from kv_daemon import domain_xml, payload

pytestmark = pytest.mark.skipif(not shutil.which("virt-install"), reason="virtinst is not installed")


@pytest.fixture(scope="module")
def pool(daemon):
    """The folder of the default pool: else virt-install would make one in /var/lib/libvirt/images."""
    folder = os.path.join(daemon.folder, "images")
    os.mkdir(folder)
    daemon.connect().storagePoolDefineXML(
        f"<pool type='dir'><name>default</name><target><path>{folder}</path></target></pool>").create()
    return folder


class Refused(Exception):
    """A program's status was not 0."""


@pytest.fixture
def run(daemon, pool):
    def run_program(*words):
        environment = {**os.environ, "LIBVIRT_DEFAULT_URI": f"qemu:///system?socket={daemon.socket()}",
                       "HOME": daemon.folder, "XDG_CACHE_HOME": daemon.folder}
        done = subprocess.run(words, env=environment, timeout=120, check=False, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise Refused(done.stdout)
        return done.stdout
    return run_program


@pytest.fixture
def install(run):
    def install_machine(name, *more, system="linux2022"):
        return run("virt-install", "--name", name, "--memory", "64", "--import", "--boot",
                   f"kernel={payload('sleep')}", "--osinfo", system, "--noautoconsole", *more)
    return install_machine


def disks(domain):
    return re.findall(r"<source file='([^']*)'", domain.XMLDesc())


@pytest.mark.parametrize("system", ["linux2022", "debian11", "rhel9.0"])
def test_the_choices_for_a_system_run(conn, install, pool, system):
    """Among them a screen by VNC and a USB tablet; sound and its like are virt-install's choices as well: the
    machine runs without."""
    install("chosen", "--disk", "size=0.1", "--network", "none", system=system)
    domain = conn.lookupByName("chosen")
    assert domain.isActive()
    live, kept = domain.XMLDesc(), domain.XMLDesc(2)
    assert "bus='virtio'" in live and "machine='pc-q35" in live and "mode='host-passthrough'" in live
    assert re.search("<graphics type='vnc' port='59[0-9]*' autoport='yes' listen='127.0.0.1'>", live)
    assert "<graphics type='vnc' port='-1' autoport='yes'>" in kept and "<model type='virtio' heads='1'" in live
    assert "<input type='tablet' bus='usb'>" in live and "type='tablet'" in kept and "<input type='keyboard' bus='ps2'" in live
    assert disks(domain) == [os.path.join(pool, "chosen.qcow2")]
    domain.destroy()
    domain.undefine()
    conn.storageVolLookupByPath(os.path.join(pool, "chosen.qcow2")).delete()


def test_an_existing_image_is_imported_and_used_once(conn, install, pool):
    image = os.path.join(os.path.dirname(pool), "elsewhere.raw")
    with open(image, "wb") as f:
        f.truncate(1 << 20)
    install("first", "--disk", f"path={image}", "--network", "none")
    assert disks(conn.lookupByName("first")) == [image]
    with pytest.raises(Refused, match="already in use by other guests"):
        install("second", "--disk", f"path={image}", "--network", "none")


def test_a_legacy_system_is_refused_by_name_and_leaves_nothing(conn, install, pool):
    """Without a known system virt-install chooses IDE."""
    with pytest.raises(Refused, match="'ide': 'virtio', 'sata', 'scsi' and 'nvme' are accepted"):
        install("old", "--disk", "size=0.1", "--network", "none", system="generic")
    assert conn.listAllDomains() == [] and os.listdir(pool) == []


def test_printed_xml_is_what_would_be_defined(conn, install):
    xml = install("printed", "--disk", "none", "--network", "none", "--print-xml")
    assert conn.defineXML(xml).name() == "printed"


def test_machines_are_edited_with_virt_xml(conn, run):
    domain = conn.defineXML(domain_xml("edited"))
    for change in (["--edit", "--memory", "memory=128,currentMemory=96"], ["--edit", "--vcpus", "3"],
                   ["--edit", "--cpu", "host-model"], ["--edit", "--metadata", "title=A title"],
                   ["--edit", "--boot", "kernel_args=quiet"], ["--edit", "--events", "on_crash=restart"],
                   ["--add-device", "--rng", "/dev/urandom"], ["--add-device", "--serial", "pty"],
                   ["--add-device", "--network", "user,model=virtio"],
                   ["--add-device", "--disk", "size=0.01,bus=virtio"],
                   ["--edit", "all", "--network", "link.state=down"],
                   ["--edit", "target=vda", "--disk", "cache=none"],
                   ["--remove-device", "--serial", "2"]):
        assert "defined successfully" in run("virt-xml", "edited", *change)
    xml = domain.XMLDesc()
    for part in ("<memory unit='KiB'>131072<", "<currentMemory unit='KiB'>98304<", ">3</vcpu>",
                 "<title>A title</title>", "<cmdline>quiet</cmdline>", "<on_crash>restart</on_crash>",
                 "<rng model='virtio'>", "<link state='down'/>", "cache='none'", "mode='host-model'"):
        assert part in xml, f"no {part} in {xml}"
    assert xml.count("<serial type='pty'>") == 1
    with pytest.raises(Refused, match="/domain/devices/smartcard"):
        run("virt-xml", "edited", "--add-device", "--smartcard", "host")
    assert domain.XMLDesc() == xml
    conn.storageVolLookupByPath(disks(domain)[0]).delete()


def test_a_machine_is_cloned_with_its_disk(conn, install, run, pool):
    install("source", "--disk", "size=0.01", "--network", "none")
    conn.lookupByName("source").destroy()
    run("virt-clone", "--original", "source", "--auto-clone")
    clone = conn.lookupByName("source-clone")
    assert disks(clone) == [os.path.join(pool, "source-clone.qcow2")]
    clone.create()
    assert clone.isActive()


def test_a_baseline_of_this_host_has_its_features(conn):
    """virt-manager's page of processors asks for it."""
    capabilities = conn.getCapabilities()
    cpu = re.search(r"<cpu>.*</cpu>", capabilities, re.S).group(0)
    for baseline in (conn.baselineCPU([cpu], 1), conn.baselineHypervisorCPU(None, "x86_64", "q35", "kvm", [cpu], 1)):
        assert re.findall(r"<model[^>]*>([^<]*)<", baseline) == re.findall(r"<model>([^<]*)<", cpu)
        assert set(re.findall(r"feature policy='require' name='([^']*)'", baseline)) == \
            set(re.findall(r"feature name='([^']*)'", cpu))
