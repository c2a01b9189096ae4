# SPDX-License-Identifier: GPL-2.0-or-later
"""Domains with a screen that can be read, and pictures of it."""
import os
import re

from kv_daemon import domain_xml

# Prints what is typed: mov bx, 7; 1: xor ah, ah; int 16h; mov ah, 0eh; int 10h; jmp 1b
ECHO = bytes.fromhex("bb0700 30e4 cd16 b40e cd10 ebf6".replace(" ", ""))


def start_echo(daemon, conn, graphics, name="echo"):
    """SeaBIOS, then a boot sector that prints what is typed."""
    disk = os.path.join(daemon.folder, f"{name}.raw")
    with open(disk, "wb") as file:
        file.write(ECHO.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    devices = f"<disk type='file'><source file='{disk}'/><target dev='vda'/></disk>{graphics}"
    domain = conn.defineXML(re.sub(r"<kernel>.*</kernel>", "", domain_xml(name, devices=devices)))
    domain.create()
    return domain


def screenshot(domain):
    """The picture, and what kind of file it came as."""
    stream, data = domain.connect().newStream(), b""
    kind = domain.screenshot(stream, 0)
    while part := stream.recv(65536):
        data += part
    stream.finish()
    return data, kind
