# SPDX-License-Identifier: GPL-2.0-or-later
"""NBD between programs: kvasir-img nbd serves the distribution's clients, and kvasir-img reads and
writes what nbdkit and qemu-nbd serve; plain and under TLS."""

import json
import os
import shutil
import signal
import socket as socket_module
import subprocess
import time

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
OURS = os.path.join(TOP, os.environ.get("BUILD", "build"), "kvasir-img")
MIB = 1 << 20

if shutil.which("nbdinfo") is None or shutil.which("nbdkit") is None:
    pytest.skip("libnbd-bin and nbdkit are needed", allow_module_level=True)


def run(*words, status=0, timeout=60):
    process = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, check=False, timeout=timeout)
    assert process.returncode == status, (words, process.returncode, process.stdout)
    return process.stdout


def pattern(size, seed=1):
    """Blocks of 64 KiB: one of three is data, the others are holes."""
    image = bytearray(size)
    for at in range(0, size, 3 * 65536):
        length = min(65536, size - at)
        image[at:at + length] = bytes((seed + at // 65536 + i) % 251 + 1 for i in range(256)) * (length // 256)
    return bytes(image)


def write_sparse(path, data):
    with open(path, "wb") as to:
        to.truncate(len(data))
        for at in range(0, len(data), 65536):
            block = data[at:at + 65536]
            if block.strip(b"\0"):
                to.seek(at)
                to.write(block)


def content(path):
    with open(path, "rb") as source:
        return source.read()


class Servers:
    """Starts servers on unix sockets in a folder and ends them with the test."""

    def __init__(self, folder):
        self.folder, self.running, self.count = str(folder), [], 0

    def start(self, words, socket):
        # pylint: disable-next=consider-using-with
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.running.append(process)
        end = time.monotonic() + 20
        while not os.path.exists(socket):
            assert process.poll() is None and time.monotonic() < end, words
            time.sleep(0.01)
        return process

    def socket(self):
        self.count += 1
        return f"{self.folder}/socket{self.count}"

    def ours(self, *words, socket=None):
        socket = socket or self.socket()
        self.start([OURS, "nbd", "-k", socket, *words], socket)
        return socket

    def qemu(self, *words):
        socket = self.socket()
        self.start(["qemu-nbd", "-k", socket, *words], socket)
        return socket

    def nbdkit(self, *words):
        socket = self.socket()
        self.start(["nbdkit", "-f", "-U", socket, *words], socket)
        return socket

    def stop(self, how=signal.SIGTERM):
        for process in self.running:
            process.send_signal(how)
        for process in self.running:
            process.wait(20)
        self.running = []


@pytest.fixture
def servers(tmp_path):
    all_of_them = Servers(tmp_path)
    yield all_of_them
    all_of_them.stop()


def uri(socket, export=""):
    return f"nbd+unix:///{export}?socket={socket}"


# ------------------------------------------------------------------ our server


def test_nbdinfo_tells_what_is_exported(servers, tmp_path):
    write_sparse(tmp_path / "disk", pattern(4 * MIB))
    socket = servers.ours("-f", "raw", "-t", "-e", "4", "-A", "-x", "a disk", "-D", "one of ours", f"{tmp_path}/disk")
    said = json.loads(run("nbdinfo", "--json", uri(socket, "a%20disk")))
    export = said["exports"][0]
    assert said["protocol"] == "newstyle-fixed" and said["structured"] is True
    assert export["export-name"] == "a disk" and export["description"] == "one of ours"
    assert export["export-size"] == 4 * MIB
    assert {"base:allocation", "qemu:allocation-depth"} <= set(export["contexts"])
    for able in ("flush", "fua", "trim", "zero", "fast_zero", "cache", "df", "multi_conn"):
        assert export[f"can_{able}"] is True, able
    assert export["is_read_only"] is False
    assert (export["block_size_minimum"], export["block_size_maximum"]) == (1, 32 * MIB)
    assert "a disk" in run("nbdinfo", "--list", uri(socket))
    run("nbdinfo", uri(socket, "another"), status=1)


def test_maps_are_those_of_qemu_nbd(servers, tmp_path):
    image = f"{tmp_path}/disk.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", image, "4M")
    run("qemu-io", "-f", "qcow2", "-c", "write 64k 128k", "-c", "write -z 1M 64k", "-c", "discard 2M 64k", image)
    for context in ("base:allocation", "qemu:allocation-depth"):
        maps = []
        for start in (servers.ours, servers.qemu):
            socket = start("-f", "qcow2", "-A", "-r", "-t", "-e", "4", image)
            maps.append(json.loads(run("nbdinfo", f"--map={context}", "--json", uri(socket))))
        assert maps[0] == maps[1], context


def test_a_dirty_bitmap_is_told_as_qemu_nbd_tells_it(servers, tmp_path):
    image = f"{tmp_path}/disk.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", image, "64M")
    run("qemu-img", "bitmap", "--add", "-g", "4096", image, "changes")
    run("qemu-io", "-f", "qcow2", "-c", "write 8k 4k", "-c", "write 1M 3M", "-c", "write 40M 100k", image)
    run("qemu-img", "bitmap", "--add", image, "empty")
    run(OURS, "nbd", "--fork", "-k", f"{tmp_path}/none", "-f", "qcow2", "-r", "-B", "missing", image, status=1)
    run(OURS, "nbd", "--fork", "-k", f"{tmp_path}/none", "-f", "qcow2", "-B", "changes", image, status=1)
    for name in ("changes", "empty"):
        maps = []
        for start in (servers.qemu, servers.ours):
            socket = start("-f", "qcow2", "-r", "-t", "-e", "4", "-B", name, image)
            maps.append(json.loads(run("nbdinfo", f"--map=qemu:dirty-bitmap:{name}", "--json", uri(socket))))
        assert maps[0] == maps[1] and len(maps[0]) == (7 if name == "changes" else 1)
    ours = json.loads(run(OURS, "map", "--output=json", "--image-opts",
                          f"driver=nbd,path={socket},x-dirty-bitmap=qemu:dirty-bitmap:empty"))
    assert [extent["data"] for extent in ours] == [True]


def test_written_zeros_become_holes_where_zeros_are_detected(servers, tmp_path):
    maps = []
    for number, start in enumerate((servers.ours, servers.qemu)):
        image = f"{tmp_path}/disk{number}.qcow2"
        run("qemu-img", "create", "-q", "-f", "qcow2", image, "4M")
        run("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 1M", image)
        socket = start("-f", "qcow2", "-t", "-e", "4", "--discard=unmap", "--detect-zeroes=unmap", image)
        run("qemu-io", "-f", "raw", "-c", "write -P 0 64k 128k", "-c", "write -P 0 2M 1M", "-c", "write -P 9 3M 64k",
            f"nbd:unix:{socket}")
        maps.append(json.loads(run("nbdinfo", "--map", "--json", uri(socket))))
    assert maps[0] == maps[1] and len(maps[0]) > 3
    servers.stop()
    run("qemu-img", "compare", f"{tmp_path}/disk0.qcow2", f"{tmp_path}/disk1.qcow2")
    for words in (["--detect-zeroes=unmap"], ["--detect-zeroes=never"]):
        run(OURS, "nbd", "-k", f"{tmp_path}/none", "-f", "qcow2", *words, f"{tmp_path}/disk0.qcow2", status=1)


def test_nbdcopy_copies_in_and_out(servers, tmp_path):
    data = pattern(33 * MIB)
    write_sparse(tmp_path / "disk", bytes(len(data)))
    write_sparse(tmp_path / "source", data)
    socket = servers.ours("-f", "raw", "-t", "-e", "8", "--discard=unmap", f"{tmp_path}/disk")
    run("nbdcopy", "--flush", f"{tmp_path}/source", uri(socket))
    assert content(tmp_path / "disk") == data
    run("nbdcopy", uri(socket), f"{tmp_path}/out")
    assert content(tmp_path / "out") == data
    # Small requests, one connection, and no structured replies.
    run("nbdcopy", "--connections=1", "--request-size=8192", "--requests=128", "--allocated", uri(socket),
        f"{tmp_path}/out2")
    assert content(tmp_path / "out2") == data


def test_qemu_is_a_client(servers, tmp_path):
    data = pattern(16 * MIB)
    write_sparse(tmp_path / "source", data)
    run("qemu-img", "create", "-q", "-f", "qcow2", f"{tmp_path}/disk.qcow2", "16M")
    socket = servers.ours("-f", "qcow2", "-t", "-e", "0", "--discard=unmap", f"{tmp_path}/disk.qcow2")
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "-W", "-m", "8", f"{tmp_path}/source", uri(socket))
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", f"{tmp_path}/source", uri(socket))
    run("qemu-io", "-f", "raw", "-c", "write -z -u 0 1M", "-c", "write -f -P 7 1M 1M", "-c", "discard 4M 1M",
        "-c", "flush", "-c", "read -P 0 0 1M", "-c", "read -P 7 1M 1M", uri(socket))
    servers.stop()
    run("qemu-img", "check", "-q", f"{tmp_path}/disk.qcow2")
    run("qemu-io", "-f", "qcow2", "-c", "read -P 7 1M 1M", f"{tmp_path}/disk.qcow2")


def test_a_server_in_the_background_ends_with_its_last_client(tmp_path):
    write_sparse(tmp_path / "disk", pattern(MIB))
    socket, pid_file = f"{tmp_path}/socket", f"{tmp_path}/pid"
    run(OURS, "nbd", "--fork", "--pid-file", pid_file, "-f", "raw", "-r", "-k", socket, f"{tmp_path}/disk")
    pid = int(content(pid_file))
    assert os.path.exists(f"/proc/{pid}")
    run("nbdinfo", "--size", uri(socket))
    end = time.monotonic() + 20
    while os.path.exists(socket) and time.monotonic() < end:
        time.sleep(0.01)
    assert not os.path.exists(socket) and not os.path.exists(pid_file)
    said = run(OURS, "nbd", "--fork", "-f", "raw", "-k", socket, f"{tmp_path}/missing", status=1)
    assert "missing" in said


def test_a_device_is_no_pid_file_and_stays(tmp_path):
    run(OURS, "create", "-f", "raw", f"{tmp_path}/disk", "1M")
    os.mkfifo(f"{tmp_path}/pid")
    said = run(OURS, "nbd", "--pid-file", f"{tmp_path}/pid", "-f", "raw", "-k", f"{tmp_path}/socket", f"{tmp_path}/disk", status=1)
    assert "pid file" in said
    assert os.path.exists(f"{tmp_path}/pid")


def test_a_read_only_export_refuses_writes(servers, tmp_path):
    write_sparse(tmp_path / "disk", pattern(MIB))
    socket = servers.ours("-f", "raw", "-r", "-t", f"{tmp_path}/disk")
    assert "is_read_only: true" in run("nbdinfo", uri(socket))
    run("nbdcopy", f"{tmp_path}/disk", uri(socket), status=1)


def test_a_client_starts_the_server_and_hands_it_the_socket(tmp_path):
    """As systemd does it (LISTEN_FDS): libnbd's "[ COMMAND ]"."""
    data = pattern(3 * MIB)
    write_sparse(tmp_path / "disk", data)
    run("nbdcopy", "--", "[", OURS, "nbd", "-f", "raw", "-r", "-e", "4", f"{tmp_path}/disk", "]", f"{tmp_path}/out")
    assert content(tmp_path / "out") == data


def test_a_client_that_sends_rubbish_is_sent_away_and_the_others_stay(servers, tmp_path):
    write_sparse(tmp_path / "disk", pattern(MIB))
    socket = servers.ours("-f", "raw", "-t", "-r", "-e", "8", f"{tmp_path}/disk")
    for rubbish in (b"GET / HTTP/1.1\r\n\r\n" * 50, b"\0\0\0\3" + b"IHAVEOPT" + b"\xff" * 64, b"\0\0\0\3" + bytes(64)):
        with socket_module.socket(socket_module.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(socket)
            client.sendall(rubbish)
            try:
                while client.recv(4096):
                    pass
            except ConnectionError:
                pass
    assert run("nbdinfo", "--size", uri(socket)).strip() == str(MIB)


def test_nbdfuse_mounts_it(servers, tmp_path):
    if shutil.which("nbdfuse") is None or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("nbdfuse and /dev/fuse are needed")
    data = pattern(4 * MIB)
    write_sparse(tmp_path / "disk", data)
    socket = servers.ours("-f", "raw", "-t", "-e", "4", f"{tmp_path}/disk")
    os.mkdir(tmp_path / "mount")
    # pylint: disable-next=consider-using-with
    fuse = subprocess.Popen(["nbdfuse", f"{tmp_path}/mount", uri(socket)], stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 10
        while not os.path.exists(tmp_path / "mount/nbd"):
            if fuse.poll() is not None:
                pytest.skip(f"FUSE cannot be mounted here: {fuse.stderr.read()}")
            assert time.monotonic() < end
            time.sleep(0.05)
        assert content(tmp_path / "mount/nbd") == data
    finally:
        subprocess.run(["umount", f"{tmp_path}/mount"], check=False)
        fuse.terminate()
        fuse.wait(10)


# ------------------------------------------------------------------ our client


def test_nbdkit_is_read_and_written(servers, tmp_path):
    data = pattern(9 * MIB)
    write_sparse(tmp_path / "source", data)
    socket = servers.nbdkit("memory", "9M")
    run(OURS, "convert", "-n", "-f", "raw", "-O", "raw", f"{tmp_path}/source", uri(socket))
    run(OURS, "convert", "-f", "raw", "-O", "raw", uri(socket), f"{tmp_path}/out")
    assert content(tmp_path / "out") == data
    run(OURS, "compare", "-f", "raw", "-F", "raw", uri(socket), f"{tmp_path}/source")
    run("nbdcopy", uri(socket), f"{tmp_path}/seen")
    assert content(tmp_path / "seen") == data


def test_a_server_with_large_blocks_is_read_and_written(servers, tmp_path):
    data = pattern(2 * MIB)
    write_sparse(tmp_path / "source", data)
    socket = servers.nbdkit("--filter=blocksize-policy", "memory", "2M", "blocksize-minimum=4096",
                            "blocksize-preferred=4096", "blocksize-maximum=64k", "blocksize-error-policy=error")
    run(OURS, "convert", "-n", "-f", "raw", "-O", "raw", f"{tmp_path}/source", uri(socket))
    run(OURS, "compare", "-f", "raw", "-F", "raw", uri(socket), f"{tmp_path}/source")
    run(OURS, "dd", "-f", "raw", "-O", "raw", "bs=512", "skip=1", "count=3", f"if={uri(socket)}", f"of={tmp_path}/part")
    assert content(tmp_path / "part") == data[512:2048]


def test_an_error_of_the_server_is_told(servers, tmp_path):
    socket = servers.nbdkit("--filter=error", "pattern", "1M", "error-pread=ENOSPC", "error-pread-rate=100%",
                            f"error-pread-file={tmp_path}/inject")
    run(OURS, "convert", "-f", "raw", "-O", "raw", uri(socket), f"{tmp_path}/out")
    (tmp_path / "inject").write_text("")
    said = run(OURS, "convert", "-f", "raw", "-O", "raw", uri(socket), f"{tmp_path}/out", status=1)
    assert "No space left on device" in said


def test_requests_are_in_flight_together(servers, tmp_path):
    """Sixteen MiB in requests that take 50 ms each."""
    socket = servers.nbdkit("--filter=delay", "pattern", "16M", "rdelay=50ms")
    start = time.monotonic()
    run(OURS, "bench", "-f", "raw", "-c", "512", "-d", "32", "-s", "4096", uri(socket))
    assert time.monotonic() - start < 512 * 0.05 / 6


@pytest.mark.parametrize("form", ["nbd+unix:///?socket={}", "nbd:unix:{}",
                                  'json:{{"driver":"nbd","server":{{"type":"unix","path":"{}"}}}}',
                                  'json:{{"driver":"raw","file":{{"driver":"nbd","path":"{}"}}}}'])
def test_every_way_to_write_an_address_works(servers, tmp_path, form):
    data = pattern(MIB)
    write_sparse(tmp_path / "disk", data)
    socket = servers.qemu("-f", "raw", "-t", "-r", f"{tmp_path}/disk")
    run(OURS, "convert", "-O", "raw", form.format(socket), f"{tmp_path}/out")
    assert content(tmp_path / "out") == data


def nbdkit_on_tcp(servers, *words):
    """Of ports that are taken already another is tried."""
    for port in range(20000 + os.getpid() % 20000, 60000, 997):
        # pylint: disable-next=consider-using-with
        process = subprocess.Popen(["nbdkit", "-f", "-p", str(port), "-i", "127.0.0.1", *words])
        end = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < end:
            with socket_module.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    servers.running.append(process)
                    return port
            time.sleep(0.02)
    raise AssertionError("no port for nbdkit")


def test_an_export_by_name_over_tcp(servers, tmp_path):
    data = pattern(MIB)
    write_sparse(tmp_path / "disk", data)
    port = nbdkit_on_tcp(servers, "-e", "disk", "file", f"{tmp_path}/disk")
    for address in (f"nbd://127.0.0.1:{port}/disk", f"nbd:127.0.0.1:{port}:exportname=disk",
                    f'json:{{"driver":"nbd","server":{{"type":"inet","host":"127.0.0.1","port":"{port}"}},'
                    '"export":"disk"}'):
        run(OURS, "convert", "-f", "raw", "-O", "raw", address, f"{tmp_path}/out")
        assert content(tmp_path / "out") == data


def test_a_chain_leads_to_a_server(servers, tmp_path):
    data = pattern(2 * MIB)
    write_sparse(tmp_path / "disk", data)
    run("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", f"{tmp_path}/disk", f"{tmp_path}/base.qcow2")
    socket = servers.qemu("-f", "qcow2", "-t", "-r", f"{tmp_path}/base.qcow2")
    run(OURS, "create", "-q", "-f", "qcow2", "-F", "raw", "-b", uri(socket), f"{tmp_path}/top.qcow2")
    run(OURS, "compare", "-F", "raw", f"{tmp_path}/top.qcow2", f"{tmp_path}/disk")
    chain = json.loads(run(OURS, "info", "--backing-chain", "--output=json", f"{tmp_path}/top.qcow2"))
    assert len(chain) == 2 and chain[1]["virtual-size"] == 2 * MIB


def test_holes_of_the_server_stay_holes(servers, tmp_path):
    write_sparse(tmp_path / "disk", pattern(4 * MIB))
    socket = servers.qemu("-f", "raw", "-t", "-r", f"{tmp_path}/disk")
    ours = json.loads(run(OURS, "map", "-f", "raw", "--output=json", uri(socket)))
    theirs = json.loads(run("qemu-img", "map", "-f", "raw", "--output=json", uri(socket)))
    keys = ("start", "length", "zero", "data")
    assert [[e[k] for k in keys] for e in ours] == [[e[k] for k in keys] for e in theirs]


def test_requests_wait_for_a_server_that_comes_back(servers, tmp_path):
    data = pattern(64 * MIB)
    write_sparse(tmp_path / "disk", data)
    socket = servers.ours("-f", "raw", "-t", "-r", f"{tmp_path}/disk")
    address = json.dumps({"driver": "nbd", "server": {"type": "unix", "path": socket}, "reconnect-delay": 30})
    # pylint: disable-next=consider-using-with
    client = subprocess.Popen([OURS, "convert", "-f", "raw", "-O", "raw", "-r", "32M", "json:" + address,
                               f"{tmp_path}/out"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    time.sleep(0.4)
    servers.stop(signal.SIGKILL)
    os.unlink(socket)
    time.sleep(0.5)
    assert client.poll() is None, client.stdout.read()
    servers.ours("-f", "raw", "-t", "-r", f"{tmp_path}/disk", socket=socket)
    said, _ = client.communicate(timeout=60)
    assert client.returncode == 0, said
    assert content(tmp_path / "out") == data


# ------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """Folders with QEMU's names: one authority; `stranger` has another."""
    if shutil.which("certtool") is None:
        pytest.skip("gnutls-bin is needed")
    top = tmp_path_factory.mktemp("pki")
    for name in ("known", "stranger"):
        folder = top / name
        folder.mkdir()

        def make(*words, folder=folder):
            run("certtool", *[word.replace("@", f"{folder}/") for word in words])

        (folder / "ca.info").write_text("cn = an authority\nca\ncert_signing_key\n")
        (folder / "server.info").write_text("cn = localhost\ndns_name = localhost\nip_address = 127.0.0.1\n"
                                            "tls_www_server\nencryption_key\nsigning_key\n")
        (folder / "client.info").write_text("cn = a client\ntls_www_client\nencryption_key\nsigning_key\n")
        make("--generate-privkey", "--ecdsa", "--outfile", "@ca-key.pem")
        make("--generate-self-signed", "--load-privkey", "@ca-key.pem", "--template", "@ca.info", "--outfile",
             "@ca-cert.pem")
        for who in ("server", "client"):
            make("--generate-privkey", "--ecdsa", "--outfile", f"@{who}-key.pem")
            make("--generate-certificate", "--load-ca-certificate", "@ca-cert.pem", "--load-ca-privkey",
                 "@ca-key.pem", "--load-privkey", f"@{who}-key.pem", "--template", f"@{who}.info", "--outfile",
                 f"@{who}-cert.pem")
        (folder / "keys.psk").write_text("me:00112233445566778899aabbccddeeff\n")
    return top


def x509(folder, endpoint):
    return ["--object", f"tls-creds-x509,id=tls0,dir={folder},endpoint={endpoint}"]


def described(socket):
    return f"driver=nbd,server.type=unix,server.path={socket},tls-creds=tls0"


def test_our_server_speaks_tls_with_those_who_are_known(servers, tmp_path, pki):
    data = pattern(5 * MIB)
    write_sparse(tmp_path / "disk", data)
    socket = servers.ours(*x509(pki / "known", "server"), "--tls-creds=tls0", "-f", "raw", "-t", "-e", "8",
                          f"{tmp_path}/disk")
    secure = f"nbds+unix:///?socket={socket}&tls-certificates="
    assert "with TLS" in run("nbdinfo", f"{secure}{pki}/known")
    run("nbdcopy", f"{secure}{pki}/known", f"{tmp_path}/out")
    assert content(tmp_path / "out") == data
    run("nbdcopy", f"{tmp_path}/out", f"{secure}{pki}/known")
    run("qemu-img", "convert", *x509(pki / "known", "client"), "--image-opts",
        described(socket) + ",tls-hostname=localhost", "-O", "raw", f"{tmp_path}/out2")
    assert content(tmp_path / "out2") == data
    run("nbdinfo", f"{secure}{pki}/stranger", status=1)
    run("nbdinfo", uri(socket), status=1)


def test_our_server_speaks_tls_with_keys(servers, tmp_path, pki):
    write_sparse(tmp_path / "disk", pattern(MIB))
    socket = servers.ours("--object", f"tls-creds-psk,id=tls0,dir={pki}/known,endpoint=server", "--tls-creds=tls0",
                          "-f", "raw", "-t", f"{tmp_path}/disk")
    secure = f"nbds+unix://me@/?socket={socket}&tls-psk-file={pki}"
    assert "with TLS" in run("nbdinfo", f"{secure}/known/keys.psk")
    (pki / "wrong.psk").write_text("me:ffffffffffffffffffffffffffffffff\n")
    run("nbdinfo", f"{secure}/wrong.psk", status=1)


@pytest.mark.parametrize("server", ["qemu-nbd", "nbdkit", "kvasir-img"])
def test_our_client_speaks_tls(servers, tmp_path, pki, server):
    data = pattern(5 * MIB)
    write_sparse(tmp_path / "disk", data)
    served = ["-f", "raw", "-t", "-r", f"{tmp_path}/disk"]
    if server == "qemu-nbd":
        socket = servers.qemu(*x509(pki / "known", "server"), "--tls-creds=tls0", *served)
    elif server == "nbdkit":
        socket = servers.nbdkit("--tls=require", f"--tls-certificates={pki}/known", "--tls-verify-peer", "file",
                                f"{tmp_path}/disk")
    else:
        socket = servers.ours(*x509(pki / "known", "server"), "--tls-creds=tls0", *served)
    run(OURS, "convert", *x509(pki / "known", "client"), "--image-opts", described(socket), "-O", "raw",
        f"{tmp_path}/out")
    assert content(tmp_path / "out") == data
    run(OURS, "convert", *x509(pki / "stranger", "client"), "--image-opts", described(socket), "-O", "raw",
        f"{tmp_path}/out", status=1)
    run(OURS, "convert", "-f", "raw", "-O", "raw", uri(socket), f"{tmp_path}/out", status=1)


def test_our_client_leaves_a_server_that_a_stranger_vouches_for(servers, tmp_path, pki):
    write_sparse(tmp_path / "disk", pattern(MIB))
    port = nbdkit_on_tcp(servers, "--tls=require", f"--tls-certificates={pki}/known", "file", f"{tmp_path}/disk")
    address = f"driver=nbd,server.type=inet,server.host=localhost,server.port={port},tls-creds=tls0"
    run(OURS, "info", *x509(pki / "known", "client"), "--image-opts", address)
    said = run(OURS, "info", *x509(pki / "stranger", "client"), "--image-opts", address, status=1)
    assert "ertificate" in said
    run(OURS, "info", *x509(pki / "known", "client"), "--image-opts", address + ",tls-hostname=elsewhere", status=1)
