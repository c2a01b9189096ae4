# SPDX-License-Identifier: GPL-2.0-or-later
"""Images over NFS, from Debian's nfs-ganesha as a plain process (NFS version 4 on a port of its own)."""

import os
import shutil
import socket
import subprocess
import time

import pytest

from conftest import OURS, finish, run, start

MIB = 1 << 20

if not shutil.which("ganesha.nfsd") or os.geteuid() != 0:
    pytest.skip("nfs-ganesha and root are needed", allow_module_level=True)
if "built without" in run(OURS, ["info", "nfs://127.0.0.1/x/y"], "/").err:
    pytest.skip("this build has no NFS", allow_module_level=True)

CONFIG = """
NFS_CORE_PARAM {{ NFS_Port = {port}; Protocols = 4; Enable_NLM = false; Enable_RQUOTA = false; Bind_addr = 127.0.0.1; }}
NFSV4 {{ Graceless = true; Lease_Lifetime = 2; Grace_Period = 1; RecoveryRoot = "{folder}/recovery"; }}
EXPORT {{ Export_Id = 1; Path = {folder}/export; Pseudo = /export; Access_Type = RW; Squash = None; SecType = sys;
          Protocols = 4; FSAL {{ Name = VFS; }} }}
"""


class Server:
    def __init__(self, folder):
        self.folder, self.process = str(folder), None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        os.makedirs(f"{folder}/export")
        os.makedirs(f"{folder}/recovery")
        with open(f"{folder}/ganesha.conf", "w", encoding="ascii") as config:
            config.write(CONFIG.format(folder=folder, port=self.port))

    def start(self):
        self.process = subprocess.Popen(
            ["ganesha.nfsd", "-F", "-f", f"{self.folder}/ganesha.conf", "-L", f"{self.folder}/log",
             "-p", f"{self.folder}/pid"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            assert time.monotonic() < deadline and self.process.poll() is None, "ganesha.nfsd did not come up"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait(20)
        self.process = None

    def url(self, name):
        return f"nfs://127.0.0.1/export/{name}?version=4&nfsport={self.port}"

    def path(self, name):
        return f"{self.folder}/export/{name}"


@pytest.fixture
def server(tmp_path):
    one = Server(tmp_path)
    one.start()
    yield one
    one.end()


def ours(*words, status=0):
    result = run(OURS, words, "/")
    assert result.status == status, (words, result)
    return result


def make_source(path, size=6 * MIB):
    with open(path, "wb") as source:
        source.write(os.urandom(size))


def test_images_are_read_and_written_and_grow(server, tmp_path):
    source = f"{tmp_path}/source.raw"
    make_source(source)
    ours("convert", "-f", "raw", "-O", "qcow2", source, server.path("disk.qcow2"))
    ours("compare", "-f", "raw", source, server.url("disk.qcow2"))
    # A chain over it, and a qcow2 image that allocates clusters beyond its file's end.
    ours("create", "-f", "qcow2", server.path("fresh.qcow2"), "8M")
    ours("convert", "-n", "-f", "raw", "-O", "qcow2", source, server.url("fresh.qcow2"))
    ours("check", server.path("fresh.qcow2"))
    ours("compare", "-f", "raw", source, server.path("fresh.qcow2"))
    ours("resize", server.url("fresh.qcow2"), "16M")
    assert "16 MiB" in ours("info", server.path("fresh.qcow2")).out
    ours("create", "-f", "qcow2", "-F", "qcow2", "-b", server.url("disk.qcow2"), f"{tmp_path}/over.qcow2")
    ours("compare", "-f", "raw", source, f"{tmp_path}/over.qcow2")


def test_requests_wait_for_a_server_that_comes_back(server, tmp_path):
    source = f"{tmp_path}/source.raw"
    make_source(source, 24 * MIB)
    shutil.copy(source, server.path("disk.raw"))
    process = start(OURS, ["convert", "-r", "12M", "-f", "raw", "-O", "raw", server.url("disk.raw"), f"{tmp_path}/copy.raw"], "/")
    time.sleep(0.7)
    server.end()
    time.sleep(0.3)
    server.start()
    result = finish(process)
    assert result.status == 0, result
    assert "connection is lost" in result.err
    ours("compare", "-f", "raw", source, f"{tmp_path}/copy.raw")


def test_what_is_not_there_is_told(server):
    assert "cannot be opened" in ours("info", server.url("nothing"), status=1).err
    assert "nfs://" in ours("info", "nfs://", status=1).err
    for missing in ("server.type=inet,file.path=/x", "server.type=unix,file.server.host=h,file.path=/x",
                    "server.type=inet,file.server.host=h,file.path=x"):
        assert "needs" in ours("info", "--image-opts", f"driver=raw,file.driver=nfs,file.{missing}", status=1).err
