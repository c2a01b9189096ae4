# SPDX-License-Identifier: GPL-2.0-or-later
"""A VNC viewer for tests (RFC 6143): logs in, keeps the picture, types, and reads text off the screen."""

import ctypes
import socket
import struct
import time
import zlib
from collections import Counter

RAW, HEXTILE, DESKTOP_SIZE, CLIPBOARD = 0, 5, -223, -1063131698
ROM = "/usr/share/seabios/vgabios-stdvga.bin"
UNIFONT = "/usr/share/grub/unicode.pf2"
GLYPH_A = bytes.fromhex("000010386cc6c6fec6c6c6c600000000")


class Refused(Exception):
    """The server does not let the viewer in; the text is its reason."""


def des(key, data):
    """By libgcrypt, block by block."""
    gcrypt = ctypes.CDLL("libgcrypt.so.20")
    handle, out = ctypes.c_void_p(), ctypes.create_string_buffer(len(data))
    assert gcrypt.gcry_cipher_open(ctypes.byref(handle), 302, 1, 0) == 0
    gcrypt.gcry_cipher_setkey(handle, key, ctypes.c_size_t(8))
    assert gcrypt.gcry_cipher_encrypt(handle, out, ctypes.c_size_t(len(data)), data, ctypes.c_size_t(len(data))) == 0
    gcrypt.gcry_cipher_close(handle)
    return out.raw


def respond(password, challenge):
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode()[:8].ljust(8, b"\0"))
    return des(key, challenge)


class Viewer:
    """One connection: to an address, or a socket (or what is like one) that is connected. `pixels` has a row of (red, green, blue) each."""

    def __init__(self, address, password=None, encodings=(RAW, DESKTOP_SIZE), version=b"RFB 003.008\n", timeout=20,
                 shared=True, tls=None):
        if hasattr(address, "recv"):
            self.socket = address
        else:
            self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
            self.socket.connect(address)
        self.socket.settimeout(timeout)
        self.timeout = timeout
        assert self.read(12) == b"RFB 003.008\n"
        self.socket.sendall(version)
        if version < b"RFB 003.007\n":
            self.security = struct.unpack(">I", self.read(4))[0]
        else:
            count = self.read(1)[0]
            self.security = self.read(count)[0]
            self.socket.sendall(bytes([self.security]))
        if self.security == 19:
            self.start_tls(tls)
        if self.security == 2:
            self.socket.sendall(respond(password or "", self.read(16)))
        if self.security == 2 or version == b"RFB 003.008\n":
            self.result(version)
        self.socket.sendall(bytes([shared]))
        self.width, self.height = struct.unpack(">HH", self.read(4))
        self.read(16)
        self.name = self.read(struct.unpack(">I", self.read(4))[0]).decode()
        self.pixels = [[(0, 0, 0)] * self.width for _ in range(self.height)]
        self.socket.sendall(struct.pack(">BxH", 2, len(encodings)) + struct.pack(f">{len(encodings)}i", *encodings))

    def start_tls(self, context):
        """VeNCrypt 0.2; `security` is then what comes under TLS."""
        assert self.read(2) == b"\0\2"
        self.socket.sendall(b"\0\2")
        assert self.read(2) == b"\0\1", "one type"
        kind = self.read(4)
        self.security = {260: 1, 261: 2}[int.from_bytes(kind, "big")]
        self.socket.sendall(kind)
        assert self.read(1) == b"\1"
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")

    def result(self, version):
        if struct.unpack(">I", self.read(4))[0]:
            reason = b""
            if version == b"RFB 003.008\n":
                reason = self.read(struct.unpack(">I", self.read(4))[0])
            assert self.socket.recv(1) == b"", "bytes after the refusal"
            raise Refused(reason.decode())

    def read(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ConnectionError("the server closed the connection")
            data += part
        return data

    def close(self):
        self.socket.close()

    def ask(self, incremental):
        self.socket.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))

    def update(self, incremental=True):
        """Asks for an update and takes it. Returns its rectangles."""
        self.ask(incremental)
        kind, count = struct.unpack(">BxH", self.read(4))
        assert kind == 0, f"message {kind}"
        return [self.rectangle() for _ in range(count)]

    def rectangle(self):
        x, y, width, height, encoding = struct.unpack(">HHHHi", self.read(12))
        if encoding == DESKTOP_SIZE:
            self.width, self.height = width, height
            self.pixels = [[(0, 0, 0)] * width for _ in range(height)]
        elif encoding == RAW:
            self.raw(x, y, width, height)
        else:
            assert encoding == HEXTILE, f"encoding {encoding}"
            for ty in range(0, height, 16):
                for tx in range(0, width, 16):
                    self.tile(x + tx, y + ty, min(16, width - tx), min(16, height - ty))
        return x, y, width, height, encoding

    def raw(self, x, y, width, height):
        data = self.read(4 * width * height)
        for row in range(height):
            line = data[4 * width * row:4 * width * (row + 1)]
            self.pixels[y + row][x:x + width] = [(line[i + 2], line[i + 1], line[i]) for i in range(0, len(line), 4)]

    def color(self):
        blue, green, red, _ = self.read(4)
        return red, green, blue

    def tile(self, x, y, width, height):
        mask = self.read(1)[0]
        if mask & 1:
            self.raw(x, y, width, height)
            return
        assert mask & 2, "each tile has its background"
        background = self.color()
        foreground = self.color() if mask & 4 else None
        for row in range(height):
            self.pixels[y + row][x:x + width] = [background] * width
        for _ in range(self.read(1)[0] if mask & 8 else 0):
            place, size = self.read(2)
            for row in range((size & 15) + 1):
                for column in range((size >> 4) + 1):
                    self.pixels[y + (place & 15) + row][x + (place >> 4) + column] = foreground

    def key(self, keysym):
        for down in (1, 0):
            self.socket.sendall(struct.pack(">BBxxI", 4, down, keysym))

    def copy(self, text):
        self.socket.sendall(struct.pack(">BxxxI", 6, len(text)) + text.encode("latin-1"))

    def cut_text(self):
        """The next message, which tells of a copied text."""
        kind, size = struct.unpack(">Bxxxi", self.read(8))
        assert kind == 3, f"message {kind}"
        return self.read(abs(size))

    def type(self, text):
        """A key a time, as BIOS code for keyboards takes them."""
        for character in text:
            shifted = character.isupper()
            if shifted:
                self.socket.sendall(struct.pack(">BBxxI", 4, 1, 0xffe1))
            self.key(ord(character))
            if shifted:
                self.socket.sendall(struct.pack(">BBxxI", 4, 0, 0xffe1))
            time.sleep(0.1)

    def wait_for(self, text, timeout=None):
        """Takes updates until the text is on the screen."""
        deadline = time.monotonic() + (timeout or self.timeout)
        self.update(False)
        while text not in read_text(self.pixels):
            assert time.monotonic() < deadline, f"not on the screen: {text!r}; there is: {read_text(self.pixels)!r}"
            self.update()


def glyphs():
    """Letters by their 16 rows, as the VGA and Linux' consoles draw them."""
    with open(ROM, "rb") as file:
        rom = file.read()
    start = rom.index(GLYPH_A) - ord("A") * 16
    return {rom[start + 16 * code:start + 16 * code + 16]: chr(code) for code in range(32, 127)}


def unifont():
    """The same of the font in which Debian's installer writes, out of GRUB's file (sections: name, size, contents)."""
    with open(UNIFONT, "rb") as file:
        data = file.read()
    at, sections = 0, {}
    while (name := data[at:at + 4]) != b"DATA":
        size, = struct.unpack_from(">I", data, at + 4)
        sections[name] = data[at + 8:at + 8 + size]
        at += 8 + size
    ascent, = struct.unpack(">H", sections[b"ASCE"])
    known = {}
    for code, _, offset in struct.iter_unpack(">IBI", sections[b"CHIX"]):
        if not 32 <= code < 127:
            continue
        width, height, left, bottom = struct.unpack_from(">HHhh", data, offset)
        bits = f"{int.from_bytes(data[offset + 10:offset + 10 + (width * height + 7) // 8], 'big') >> -width * height % 8:b}"
        bits, rows = bits.zfill(width * height), bytearray(16)
        for row in range(height):
            rows[ascent - bottom - height + row] = int(bits[row * width:(row + 1) * width], 2) << 8 - width - left
        known[bytes(rows)] = chr(code)
    return known


def read_text(pixels, cell=None, known=None):
    """The characters of a picture that is all text, lines with line feeds; cells are 9 dots wide in the VGA's text mode."""
    known, lines = known or glyphs(), []
    cell = cell or (9 if len(pixels[0]) == 720 else 8)
    for top in range(0, len(pixels) - 15, 16):
        line = ""
        for left in range(0, len(pixels[0]) - cell + 1, cell):
            rows = [pixels[top + row][left:left + 8] for row in range(16)]
            background = Counter(dot for row in rows for dot in row).most_common(1)[0][0]
            line += known.get(bytes(sum((dot != background) << (7 - i) for i, dot in enumerate(row)) for row in rows), "?")
        lines.append(line.rstrip())
    return "\n".join(lines)


def read_ppm(data):
    """Rows of (red, green, blue) of a P6 file."""
    magic, size, depth, rest = data.split(b"\n", 3)
    assert magic == b"P6" and depth == b"255"
    width, height = map(int, size.split())
    assert len(rest) == 3 * width * height
    return [[tuple(rest[3 * (y * width + x):3 * (y * width + x) + 3]) for x in range(width)] for y in range(height)]


def read_png(data):
    """Rows of (red, green, blue) of a PNG file as the monitor makes them: true colour, filter "up"."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, parts = 8, {}
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0] == zlib.crc32(kind + body), kind
        parts[kind] = parts.get(kind, b"") + body
        at += 12 + size
    width, height, depth, colors = struct.unpack(">IIBB", parts[b"IHDR"][:10])
    assert (depth, colors) == (8, 2) and b"IEND" in parts
    raw, line, rows, above = zlib.decompress(parts[b"IDAT"]), 1 + 3 * width, [], bytes(3 * width)
    for y in range(height):
        assert raw[y * line] == 2, f"row {y} is filtered otherwise"
        above = bytes((dot + up) & 255 for dot, up in zip(raw[y * line + 1:(y + 1) * line], above))
        rows.append([tuple(above[3 * x:3 * x + 3]) for x in range(width)])
    return rows
