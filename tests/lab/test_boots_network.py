# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines boot over the virtual network by the distribution's iPXE: from its CD-ROM, by the interface's ROM, by UEFI.

iPXE asks a DHCP server on the machine's tap, and fetches a script, a stock kernel and a RAM disk by HTTP.
"""

import functools
import http.server
import shutil
import subprocess
import threading

import pytest

from conftest import CMDLINE
from test_boots_debian import LONG, PATIENCE
from test_firmware import BIOS, OVMF, VARIABLES

pytestmark = LONG
HOST, FIRST, LAST = "192.168.77.1", "192.168.77.10", "192.168.77.20"
PORT = 8077
IPXE = "/usr/lib/ipxe"  # package ipxe
ROM = f"{IPXE}/qemu/pxe-virtio.rom"  # package ipxe-qemu

SCRIPT = f"""#!ipxe
kernel http://{HOST}:{PORT}/kernel {CMDLINE} initrd=initrd
initrd http://{HOST}:{PORT}/initrd
boot
"""


@pytest.fixture
def network(make_tap, kernel, make_initrd, tmp_path):
    """The name of a tap with a DHCP server that knows what to boot."""
    tap = make_tap(f"{HOST}/24")
    (tmp_path / "script").write_text(SCRIPT)
    (tmp_path / "kernel").symlink_to(kernel)
    (tmp_path / "initrd").symlink_to(make_initrd(script="#!/bin/sh\necho booted over the network\n"))
    files = http.server.ThreadingHTTPServer((HOST, PORT), functools.partial(http.server.SimpleHTTPRequestHandler,
                                                                           directory=tmp_path))
    threading.Thread(target=files.serve_forever).start()
    # iPXE says who it is by option 175; other UEFI firmware by its architecture, 7, and gets iPXE.
    dhcp = subprocess.Popen([
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", f"--interface={tap}", "--bind-interfaces",
        f"--dhcp-range={FIRST},{LAST},255.255.255.0", f"--dhcp-leasefile={tmp_path}/leases", "--pid-file=", "--user=root",
        "--dhcp-match=set:ipxe,175", f"--dhcp-boot=tag:ipxe,http://{HOST}:{PORT}/script",
        "--dhcp-match=set:efi,option:client-arch,7", "--dhcp-boot=tag:efi,tag:!ipxe,ipxe.efi", "--enable-tftp",
        f"--tftp-root={IPXE}"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    yield tap
    dhcp.terminate()
    dhcp.wait()
    files.shutdown()
    files.server_close()


@pytest.mark.parametrize("start", ["cdrom", "rom", "uefi"])
def test_a_machine_boots_over_the_network(start, network, start_guest, tmp_path):
    shutil.copyfile(VARIABLES, tmp_path / "variables")
    words = {
        "cdrom": ["--firmware", BIOS, "--cdrom", f"path={IPXE}/ipxe.iso,bootindex=1", "--net", f"tap={network}"],
        "rom": ["--firmware", BIOS, "--net", f"tap={network},rom={ROM},bootindex=1"],
        "uefi": ["--firmware", OVMF, "--nvram", tmp_path / "variables", "--net", f"tap={network},bootindex=1", "--rng", ""],
    }[start]
    guest = start_guest(*words, kernel=None, memory="512M")
    guest.expect("iPXE", timeout=PATIENCE)
    guest.expect("booted over the network", timeout=PATIENCE)
    assert guest.wait() == 0
