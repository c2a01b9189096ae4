# SPDX-License-Identifier: GPL-2.0-or-later
"""Ways to a VNC server for tests: WebSockets (RFC 6455) and certificates for TLS."""

import os
import socket
import struct
import subprocess

REQUEST = ("GET /websockify HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
MASK = b"\x11\x22\x33\x44"


class WebSocket:
    """A connected socket, plain or of ssl, with WebSocket around its bytes; as a socket for a viewer."""

    def __init__(self, connected):
        self.socket, self.plain = connected, b""
        connected.sendall(REQUEST.encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            part = connected.recv(1)
            assert part, f"the server hung up after {answer!r}"
            answer += part
        assert answer.startswith(b"HTTP/1.1 101 ") and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer, answer

    def settimeout(self, seconds):
        self.socket.settimeout(seconds)

    def sendall(self, data):
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
        self.socket.sendall(b"\x82" + size + MASK + bytes(byte ^ MASK[i % 4] for i, byte in enumerate(data)))

    def exactly(self, count):
        data = b""
        while len(data) < count and (part := self.socket.recv(count - len(data))):
            data += part
        return data

    def recv(self, count):
        if not self.plain:
            head = self.exactly(2)
            if not head:
                return b""
            assert head[0] == 0x82, f"frame {head!r}"
            size = head[1] if head[1] < 126 else struct.unpack(">H", self.exactly(2))[0]
            self.plain = self.exactly(size)
        part, self.plain = self.plain[:count], self.plain[count:]
        return part

    def close(self):
        self.socket.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def make_certificate(folder, name, authority=None):
    """Files NAME-cert.pem and NAME-key.pem for "localhost", signed by an authority's or by itself."""
    cert, key = (os.path.join(folder, f"{name}-{kind}.pem") for kind in ("cert", "key"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
               "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
               "-keyout", key, "-out", cert]
    if authority:
        command += ["-CA", os.path.join(folder, f"{authority}-cert.pem"), "-CAkey", os.path.join(folder, f"{authority}-key.pem"),
                    "-addext", "basicConstraints=CA:FALSE", "-addext", "extendedKeyUsage=serverAuth,clientAuth"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return cert, key


def make_certificates(folder):
    """An authority (ca), a server and a client, under QEMU's names."""
    make_certificate(folder, "ca")
    make_certificate(folder, "server", "ca")
    make_certificate(folder, "client", "ca")
