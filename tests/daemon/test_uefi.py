# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines with UEFI: images in flash, variables that are kept with the definition and removed with it.

The image is one of our own (tests/guest/flash_rom.c), which counts its runs in the variables; OVMF
itself runs in the lab.
"""
import os
import shutil
import subprocess

import libvirt
import pytest

from kv_daemon import wait_for

needs_kvm = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")

MACHINE = """
<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>16</memory>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <loader readonly='yes' type='pflash'>{image}</loader>
    <nvram template='{template}'/>
  </os>
  <devices><console type='pty'/></devices>
</domain>
"""


@pytest.fixture
def machine(daemon, conn):
    template = os.path.join(daemon.folder, "template.fd")
    with open(template, "wb") as file:
        file.write(b"\xff" * (64 << 10))
    image = os.path.join(os.path.dirname(daemon.program), "tests/guest/flash_rom")
    return conn.defineXML(MACHINE.format(name="firm", image=image, template=template))


def variables(daemon, name="firm"):
    return os.path.join(daemon.state, "nvram", f"{name}_VARS.fd")


def run_once(domain, flags=0):
    """The image switches the machine off by itself."""
    domain.createWithFlags(flags)
    wait_for(lambda: not domain.isActive(), "the machine's end")


@needs_kvm
def test_variables_are_made_at_the_first_start_and_kept(daemon, machine):
    path = variables(daemon)
    assert f"<nvram template='{daemon.folder}/template.fd'>{path}</nvram>" in machine.XMLDesc()
    assert not os.path.exists(path)
    run_once(machine)
    with open(path, "rb") as file:
        once = file.read()
    assert once[-4096] == 0xfe
    run_once(machine)
    with open(path, "rb") as file:
        assert file.read()[-4096] == 0xfc
    run_once(machine, libvirt.VIR_DOMAIN_START_RESET_NVRAM)
    with open(path, "rb") as file:
        assert file.read() == once


@needs_kvm
def test_undefine_wants_to_know_what_becomes_of_the_variables(daemon, conn, machine):
    run_once(machine)
    with pytest.raises(libvirt.libvirtError, match="cannot undefine domain with nvram") as refused:
        machine.undefine()
    assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID
    description = machine.XMLDesc()
    machine.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)
    assert os.path.exists(variables(daemon))
    again = conn.defineXML(description)
    again.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    assert not os.path.exists(variables(daemon))


@needs_kvm
def test_a_renamed_machine_takes_its_variables_along(daemon, conn, machine):
    first = machine.XMLDesc().replace(f"<uuid>{machine.UUIDString()}</uuid>", "")
    run_once(machine)
    with open(variables(daemon, "taken"), "wb") as file:
        file.write(b"another's")
    with pytest.raises(libvirt.libvirtError, match="taken_VARS.fd' exists already") as refused:
        machine.rename("taken")
    assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID
    assert machine.name() == "firm" and os.path.exists(variables(daemon))
    machine.rename("moved")
    assert f">{variables(daemon, 'moved')}</nvram>" in machine.XMLDesc()
    assert not os.path.exists(variables(daemon))
    run_once(machine)
    run_once(conn.defineXML(first))
    for name, runs in (("moved", 0xfc), ("firm", 0xfe)):
        with open(variables(daemon, name), "rb") as file:
            assert file.read()[-4096] == runs
    with open(variables(daemon, "taken"), "rb") as file:
        assert file.read() == b"another's"


@pytest.mark.skipif(not os.path.exists("/usr/share/OVMF/OVMF_CODE_4M.fd"), reason="ovmf is not installed")
@pytest.mark.skipif(not shutil.which("virt-install"), reason="virtinst is not installed")
def test_virt_install_defines_a_machine_with_the_distributions_uefi(daemon, conn):
    assert "<value>efi</value>" in conn.getDomainCapabilities()
    told = subprocess.run(
        ["virt-install", "--connect", daemon.uri(), "--name", "ovmf", "--memory", "64", "--boot", "uefi", "--import",
         "--disk", "none", "--network", "none", "--osinfo", "linux2022", "--print-xml"],
        env={**os.environ, "HOME": daemon.folder, "XDG_CACHE_HOME": daemon.folder}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False, text=True)
    assert told.returncode == 0, told.stdout
    domain = conn.defineXML(told.stdout[told.stdout.index("<domain"):])
    description = domain.XMLDesc()
    assert "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>" in description
    assert f"<nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>{daemon.state}/nvram/ovmf_VARS.fd</nvram>" in description
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
