# SPDX-License-Identifier: GPL-2.0-or-later
"""The same command lines through virsh and through kvasir, each against a daemon of its own."""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from kv_daemon import BUILD, Daemon, domain_xml  # noqa: E402  pylint: disable=wrong-import-position

KVASIR = os.path.join(BUILD, "kvasir")
PATIENCE = 30  # seconds; only a line that hangs waits so long
UUID = "11111111-2222-3333-4444-{:012}"
OTHER = "11111112-2222-3333-4444-"  # two machines of one UUID would share a control group
SECRET = """<secret ephemeral='no' private='no'><uuid>11111111-2222-3333-4444-555555555555</uuid>
<usage type='volume'><volume>/x</volume></usage></secret>"""
VOLUME = "<volume><name>from</name><capacity>33554432</capacity><target><format type='qcow2'/></target></volume>"

DISK = """<disk type='file' device='disk'><driver name='qemu' type='raw'/>
<source file='{path}'/><target dev='{target}' bus='virtio'/></disk>"""
SCREEN = "<graphics type='vnc' port='-1' passwd='secret'/>"
NIC = """<interface type='ethernet'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>"""


def lines():
    """(volatile, text) of each line of lines.txt."""
    with open(os.path.join(HERE, "lines.txt"), encoding="utf-8") as f:
        for line in f:
            line = line.rstrip("\n")
            if line and not line.startswith("# "):
                yield line.startswith("~"), line.lstrip("~")


class Side:
    """A client with its daemon. Both sides see the same files."""

    def __init__(self, command, folder, other=False):
        self.command, self.other = command, other
        self.folder = os.path.join(folder, "b" if other else "a")
        os.mkdir(self.folder)
        write_files(self.folder, self._own)
        self.daemon = Daemon().start()
        disks = ""
        for target in ("vda", "vdb"):
            path = os.path.join(self.folder, target + ".raw")
            with open(path, "ab") as f:
                f.truncate(64 << 20)
            disks += DISK.format(path=path, target=target)
        connection = self.daemon.connect()
        connection.defineXML(domain_xml("live", devices=disks, vcpus=2, uuid=self._own(UUID.format(1)),
                                        more="<iothreads>2</iothreads>")).create()
        connection.defineXML(domain_xml("off", devices=NIC, vcpus=2, uuid=self._own(UUID.format(2))))
        connection.defineXML(domain_xml("seen", uuid=self._own(UUID.format(4)), devices=SCREEN))
        connection.defineXML(domain_xml("titled", uuid=self._own(UUID.format(3)),
                                        more="<title>A title</title><description>Words</description>"))

    def _own(self, text):
        return text.replace(UUID[:24], OTHER) if self.other else text

    def _common(self, output):
        """Without what differs between the sides by construction."""
        return output.replace(OTHER.encode(), UUID[:24].encode()).replace(self.folder.encode(), b"FOLDER")

    def words(self, text):
        """One argument where there is something to quote, else single words."""
        text = text.format_map(self._names()) if "{" in text and "{\"" not in text else text
        text = self._own(text)
        options = []
        while re.match(r"-[qr] ", text):
            options.append(text[:2])
            text = text[3:]
        return options + ([text] if re.search(r"[\"'\\;#]", text) else text.split())

    def _names(self):
        return {"folder": self.folder, **{n: os.path.join(self.folder, n) for n in
                                          ("xml", "nofile", "badxml", "notadomain", "secret", "volume")}}

    def run(self, text):
        """What it wrote to both channels, and its status."""
        socket = self.daemon.socket(text.startswith("-r "))
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "dumb"}
        environment.pop("KVASIR_HINTS", None)
        done = subprocess.run(
            [*self.command, "-c", f"qemu+unix:///system?socket={socket}", *self.words(text)],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, env=environment, check=False)
        return self._common(done.stdout), self._common(done.stderr), done.returncode

    def end(self):
        self.daemon.end()


def write_files(folder, own):
    contents = {"xml": domain_xml("fourth", uuid=UUID.format(4)), "badxml": "<domain><name>x</name>",
                "notadomain": "<network/>", "secret": SECRET, "volume": VOLUME}
    for name, text in contents.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(own(text))


def without_numbers(result):
    def fixed(text):
        text = re.sub(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", b"UUID", text)
        return re.sub(rb"[ \t]*[0-9][0-9.]*", b" N", text)
    out, err, status = result
    return fixed(out), fixed(err), status
