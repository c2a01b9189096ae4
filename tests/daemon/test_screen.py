# SPDX-License-Identifier: GPL-2.0-or-later
"""A domain's screen: VNC as its document says, pictures, keys, viewers handed over, events. The guest is
SeaBIOS with a boot sector that prints what is typed."""
import os
import re
import socket

import libvirt
import pytest

import vnc_viewer
from kv_daemon import Refused, domain_xml, wait_for
from vnc_viewer import Viewer

# Prints what is typed: mov bx, 7; 1: xor ah, ah; int 16h; mov ah, 0eh; int 10h; jmp 1b
ECHO = bytes.fromhex("bb0700 30e4 cd16 b40e cd10 ebf6".replace(" ", ""))
GRAPHICS = "<graphics type='vnc' port='-1'/>"


@pytest.fixture
def seen(daemon, conn):
    """Starts a machine with a screen."""
    def start(name, graphics=GRAPHICS, more=""):
        disk = os.path.join(daemon.folder, f"{name}.raw")
        with open(disk, "wb") as file:
            file.write(ECHO.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
        xml = domain_xml(name, devices=f"<disk type='file'><source file='{disk}'/><target dev='vda'/></disk>{graphics}{more}")
        domain = conn.defineXML(re.sub(r"<kernel>.*</kernel>", "", xml))
        domain.create()
        return domain
    return start


def port(domain):
    return int(re.search(r"<graphics type='vnc' port='(\d+)' autoport='yes' listen='127.0.0.1'", domain.XMLDesc()).group(1))


def test_viewers_see_the_screen_and_type_where_the_document_says(seen, daemon):
    domain = seen("one")
    viewer = Viewer(("127.0.0.1", port(domain)))
    assert viewer.name == "one" and viewer.security == 1
    viewer.wait_for("Booting from Hard Disk")
    viewer.type("Kvasir 42")
    viewer.wait_for("Kvasir 42")
    viewer.close()
    number = port(domain) - 5900
    assert daemon.virsh("vncdisplay", "one").strip() == f"127.0.0.1:{number}"
    assert daemon.virsh("domdisplay", "one").strip() == f"vnc://127.0.0.1:{number}"
