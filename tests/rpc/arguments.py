# SPDX-License-Identifier: GPL-2.0-or-later
"""Well-formed arguments of every procedure, made from the descriptions in src/rpc/protocol."""
import glob
import os
import re
import struct

import wire
from daemon import TOP

NUMBERS = {"int": ">i", "unsigned int": ">I", "hyper": ">q", "unsigned hyper": ">Q", "double": ">d",
           "char": ">i", "unsigned char": ">I"}
LONG_LIST = 3  # at most that many elements are made


def read_types():
    """{name: fields of a struct, as (type, shape, bound), or ("typedef", type, shape, bound)}"""
    text = ""
    for path in sorted(glob.glob(os.path.join(TOP, "src", "rpc", "protocol", "*.x"))):
        with open(path, encoding="utf-8") as file:
            text += re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    text = re.sub(r"^%.*$", "", text, flags=re.M)

    def field(declaration):
        """"unsigned int x<16>": the type, how many of it, the bound."""
        kind, pointer, shape, bound = re.match(r"(.+?)\s*(\*?)\b\w+(?:([<\[])(\d+)[>\]])?$",
                                               declaration.strip()).groups()
        return kind.strip(), pointer or shape, int(bound) if bound else None

    types = {name: [field(line) for line in body.split(";") if line.strip()]
             for name, body in re.findall(r"struct (\w+) \{(.*?)\};", text, re.S)}
    for declaration in re.findall(r"typedef ([^;{]+);", text):
        name = re.search(r"(\w+)\s*[<\[]?\w*[>\]]?$", declaration.strip()).group(1)
        types[name] = [field(declaration)]
    types["wire_none"] = []
    return types


TYPES = read_types()


def argument_types(program="remote"):
    """{procedure: type}"""
    with open(os.path.join(TOP, "src", "rpc", f"{program}_procedures.def"), encoding="utf-8") as table:
        return {name: f"wire_{kind}" for name, kind in
                re.findall(r"^P\(\d+, (\w+), (\w+),", table.read(), re.M)}


class Maker:
    """Values are drawn from what the test knows to be there. objects: {type: bytes}."""

    def __init__(self, dice, objects, texts, numbers):
        self.dice, self.objects, self.texts, self.numbers = dice, objects, texts, numbers

    def make(self, kind, shape="", bound=None):
        if kind in self.objects and not shape and self.dice.randrange(8):
            return self.objects[kind]
        if kind in ("string", "opaque") or (kind == "char" and shape):
            return self._bytes(kind, shape, bound)
        if shape == "*":
            return b"\0\0\0\1" + self.make(kind) if self.dice.randrange(3) else b"\0\0\0\0"
        if shape == "[":
            return b"".join(self.make(kind) for _ in range(bound))
        if shape == "<":
            count = min(self.dice.randrange(LONG_LIST + 1), bound)
            return struct.pack(">I", count) + b"".join(self.make(kind) for _ in range(count))
        if kind in NUMBERS:
            return self._number(NUMBERS[kind])
        if kind == "wire_param_value":
            return self._parameter()
        return b"".join(self.make(*field) for field in TYPES[kind])

    def _bytes(self, kind, shape, bound):
        if shape == "[":
            return self.dice.randbytes(bound) + b"\0" * (-bound % 4)
        if kind == "string":
            return wire.text(self.dice.choice(self.texts))
        data = self.dice.randbytes(self.dice.randrange(min(bound, 64) + 1))
        if kind == "char":
            return struct.pack(">I", len(data)) + b"".join(b"\0\0\0" + bytes([byte & 127]) for byte in data)
        return struct.pack(">I", len(data)) + data + b"\0" * (-len(data) % 4)

    def _number(self, form):
        size = struct.calcsize(form)
        value = self.dice.choice(self.numbers)
        if form == ">d":
            return struct.pack(form, float(value))
        return (value & ((1 << 8 * size) - 1)).to_bytes(size, "big")

    def _parameter(self):
        kind = self.dice.randrange(1, 8)
        form = {1: ">i", 2: ">I", 3: ">q", 4: ">Q", 5: ">d", 6: ">i"}.get(kind)
        return struct.pack(">i", kind) + (self._number(form) if form else wire.text(self.dice.choice(self.texts)))
