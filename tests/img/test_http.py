# SPDX-License-Identifier: GPL-2.0-or-later
"""Images over HTTP and HTTPS, from a server of Python's with ranges."""

import http.server
import json
import os
import re
import ssl
import subprocess
import threading

import pytest

from conftest import OURS, THEIRS, run

MIB = 1 << 20

if "built without" in run(OURS, ["info", "http://127.0.0.1:1/x"], "/").err:
    pytest.skip("this build has no HTTP", allow_module_level=True)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass

    def refuse(self, status, *headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def is_welcome(self):
        server = self.server
        if server.failing:
            server.failing -= 1
            self.refuse(503)
            return False
        if server.authorization and self.headers.get("Authorization") != server.authorization:
            self.refuse(401, ("WWW-Authenticate", 'Basic realm="x"'))
            return False
        if server.cookie and self.headers.get("Cookie") != server.cookie:
            self.refuse(403)
            return False
        if self.path == "/moved":
            self.refuse(302, ("Location", "/image"))
            return False
        if self.path != "/image":
            self.refuse(404)
            return False
        return True

    def do_HEAD(self):  # pylint: disable=invalid-name
        if not self.is_welcome():
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.image)))
        if self.server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.end_headers()

    def do_GET(self):  # pylint: disable=invalid-name
        if not self.is_welcome():
            return
        image, wanted = self.server.image, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = (int(wanted[1]), int(wanted[2])) if wanted else (0, len(image) - 1)
        self.server.requests.append((first, last))
        body = image[first:last + 1]
        if not self.server.honest:
            self.send_response(200)
            body = image
        else:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(image)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


@pytest.fixture
def serve():
    running = []

    def start(image, context=None):
        server = Server(("127.0.0.1", 0), Handler)
        server.image, server.requests = image, []
        server.ranges = server.honest = True
        server.failing, server.authorization, server.cookie = 0, None, None
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        running.append((server, thread))
        server.url = f"http{'s' if context else ''}://127.0.0.1:{server.server_address[1]}/image"
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join(20)


def ours(*words, status=0):
    result = run(OURS, words, "/")
    assert result.status == status, (words, result)
    return result


def make_raw(path, size):
    data = os.urandom(size)
    with open(path, "wb") as to:
        to.write(data)
    return data


def test_an_image_is_read_as_qemu_reads_it(serve, tmp_path):
    source, image = f"{tmp_path}/source.raw", f"{tmp_path}/image.qcow2"
    make_raw(source, 3 * MIB + 512)
    ours("convert", "-c", "-f", "raw", "-O", "qcow2", source, image)
    with open(image, "rb") as content:
        server = serve(content.read())
    assert json.loads(ours("info", "--output=json", server.url).out)["format"] == "qcow2"
    ours("compare", "-f", "qcow2", "-F", "raw", server.url, source)
    ours("check", server.url)
    theirs = run(THEIRS, ["compare", "-f", "qcow2", "-F", "raw", server.url, source], "/")
    assert theirs.status == 0 or "Unknown protocol" in theirs.err, theirs
    ours("create", "-f", "qcow2", "-b", server.url, "-F", "qcow2", f"{tmp_path}/over.qcow2")
    ours("compare", "-F", "raw", f"{tmp_path}/over.qcow2", source)


def test_a_size_that_is_no_multiple_of_512_is_rounded_up(serve, tmp_path):
    server = serve(make_raw(f"{tmp_path}/source.raw", 70001))
    ours("convert", "-f", "raw", "-O", "raw", server.url, f"{tmp_path}/copy.raw")
    with open(f"{tmp_path}/copy.raw", "rb") as copy:
        assert copy.read() == server.image + bytes(-70001 % 512)


def test_what_is_read_ahead_is_not_asked_for_again(serve):
    server = serve(bytes(MIB))
    ours("bench", "-c", "256", "-d", "4", "-s", "4096", "-f", "raw", server.url)
    assert len(server.requests) <= 6, server.requests
    server.requests.clear()
    ours("bench", "-c", "16", "-d", "4", "-s", "65536", "--image-opts",
         f"driver=raw,file.driver=http,file.url={server.url},file.readahead=0")
    assert len(server.requests) == 16, server.requests


def test_a_server_that_is_busy_is_asked_again(serve):
    server = serve(bytes(MIB))

    class Requests(list):
        """After the first the server refuses twice."""

        def append(self, one):
            super().append(one)
            if len(self) == 1:
                server.failing = 2
    server.requests = Requests()
    ours("bench", "-c", "16", "-d", "2", "-s", "65536", "--image-opts",
         f"driver=raw,file.driver=http,file.url={server.url},file.readahead=0")
    assert server.requests and not server.failing


def test_name_and_password_and_cookie_are_sent(serve):
    server = serve(bytes(65536))
    server.authorization, server.cookie = "Basic bWU6b3BlbiBzZXNhbWU=", "a=b"
    ours("info", "-f", "raw", server.url, status=1)
    words = ["--object", "secret,id=sec0,data=open sesame", "--image-opts",
             f"driver=raw,file.driver=http,file.url={server.url},file.username=me,file.password-secret=sec0,"
             "file.cookie=a=b"]
    assert "65536 bytes" in ours("info", *words).out


def test_a_server_that_moves_the_image_is_followed(serve):
    server = serve(bytes(65536))
    assert "65536 bytes" in ours("info", "-f", "raw", server.url.replace("/image", "/moved")).out


def test_servers_that_do_not_fit_are_refused(serve, tmp_path):
    server = serve(bytes(2 * MIB))
    assert "404" in ours("info", server.url.replace("/image", "/other"), status=1).err
    assert "read-only" in ours("convert", "-n", "-f", "raw", "-O", "raw", make_empty(tmp_path), server.url, status=1).err
    server.ranges = False
    assert "range" in ours("info", server.url, status=1).err
    server.ranges, server.honest = True, False
    ours("compare", "-f", "raw", server.url, make_empty(tmp_path), status=4)
    assert "readahead" in ours("info", "--image-opts", f"driver=http,url={server.url},readahead=100", status=1).err
    server.shutdown()
    server.server_close()
    assert "Error opening" in ours("info", server.url, status=1).err


def make_empty(folder):
    with open(f"{folder}/empty.raw", "wb") as empty:
        empty.truncate(MIB)
    return f"{folder}/empty.raw"


def test_certificates_are_verified_unless_somebody_says_no(serve, tmp_path):
    key, certificate = f"{tmp_path}/key.pem", f"{tmp_path}/cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
                    "-days", "2", "-subj", "/CN=127.0.0.1"], check=True, stderr=subprocess.DEVNULL, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = serve(bytes(65536), context)
    assert "certificate" in ours("info", server.url, status=1).err
    assert "65536 bytes" in ours("info", "--image-opts", f"driver=https,url={server.url},sslverify=off").out
