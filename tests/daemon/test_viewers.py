# SPDX-License-Identifier: GPL-2.0-or-later
"""VNC viewers, unmodified, on a screen of their own: what they show is the machine's picture, dot by dot, and what is
typed into them arrives. TigerVNC, gtk-vnc's gvncviewer, virt-viewer, and noVNC's page in Chromium."""
import functools
import http.server
import os
import re
import shutil
import ssl
import subprocess
import threading

import pytest

import kv_gui
from kv_daemon import Daemon, wait_for
from kv_screen import screenshot, start_echo
from vnc_links import make_certificates
from vnc_viewer import read_png, read_text

NOVNC = "/usr/share/novnc"
PROGRAMS = ("Xvfb", "chromium", "gvncviewer", "import", "virt-viewer", "xdotool", "xtigervncviewer")
ABSENT = [name for name in PROGRAMS if not shutil.which(name)] + ([] if os.path.isdir(NOVNC) else ["novnc"])
pytestmark = [pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm"),
              pytest.mark.skipif(bool(ABSENT), reason=f"not installed: {', '.join(ABSENT)} (make setup-desktop)")]


@pytest.fixture
def viewers():
    screen = kv_gui.Screen()
    try:
        screen.start_screen()
        yield screen
    finally:
        screen.end()


@pytest.fixture(scope="module")
def safe(tmp_path_factory):
    """A daemon whose viewers use TLS, and its certificates' folder."""
    folder = tmp_path_factory.mktemp("pki")
    make_certificates(str(folder))
    own = Daemon(settings=("vnc_tls = 1", f'vnc_tls_x509_cert_dir = "{folder}"')).start()
    own.certificates = str(folder)
    yield own
    own.end()


def port(domain, attribute="port"):
    return int(re.search(rf"<graphics type='vnc'[^>]* {attribute}='(\d+)'", domain.XMLDesc()).group(1))


def captured(viewers):
    """Width and rows of bytes of all that is on the viewers' screen."""
    data = subprocess.run(["import", "-window", "root", "-depth", "8", "ppm:-"], env=viewers.environment, check=True,
                          stdout=subprocess.PIPE, timeout=60).stdout
    _, size, _, dots = data.split(b"\n", 3)
    width, height = map(int, size.split())
    return [dots[3 * width * y:3 * width * (y + 1)] for y in range(height)]


def is_shown(viewers, rows):
    """Whether the picture is somewhere on the viewers' screen."""
    lines = [bytes(part for dot in row for part in dot) for row in rows]
    seen = captured(viewers)
    mark = max(range(len(lines)), key=lambda y: len(set(lines[y].split(b"\0"))) + lines[y].count(b"\xaa"))
    for y in range(mark, len(seen)):
        x = seen[y].find(lines[mark])
        top = y - mark
        if x >= 0 and top + len(lines) <= len(seen) and \
                all(seen[top + i][x:x + len(line)] == line for i, line in enumerate(lines)):
            return True
    return False


def xdotool(viewers, *words):
    return subprocess.run(["xdotool", *words], env=viewers.environment, check=True, timeout=60, stdout=subprocess.PIPE,
                          text=True).stdout


def check(viewers, domain, words):
    """The viewer shows the machine's screen; what is typed into it appears there, and is shown in turn."""
    def picture():
        return read_png(screenshot(domain)[0])

    def agree(text):
        rows = picture()
        return text in read_text(rows) and is_shown(viewers, rows)
    wait_for(lambda: agree("Booting from Hard Disk"), "the machine's screen in the viewer")
    xdotool(viewers, "mousemove", "300", "250", "click", "1")
    window = re.search(r"WINDOW=(\d+)", xdotool(viewers, "getmouselocation", "--shell")).group(1)
    xdotool(viewers, "windowfocus", "--sync", window)  # there is no window manager to do that
    xdotool(viewers, "type", "--delay", "120", words)
    wait_for(lambda: agree(words), f"'{words}' on the machine's screen and in the viewer; there is "
             f"{read_text(picture())!r}")


@pytest.mark.parametrize("encoding", ["Tight", "ZRLE", "Hextile", "Raw"])
def test_tigervnc_shows_the_screen_in_every_encoding(daemon, conn, viewers, encoding):
    domain = start_echo(daemon, conn, "<graphics type='vnc' port='-1'/>", "tiger")
    viewers.spawn(["xtigervncviewer", "-AutoSelect=0", f"-PreferredEncoding={encoding}", f"127.0.0.1::{port(domain)}"],
                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    check(viewers, domain, f"tiger {encoding.lower()}")


def test_tigervnc_comes_by_tls_with_the_password(safe, viewers):
    domain = start_echo(safe, safe.connect(), "<graphics type='vnc' port='-1' passwd='secret'/>", "tls")
    viewers.environment["VNC_PASSWORD"] = "secret"
    viewers.spawn(["xtigervncviewer", "-SecurityTypes=X509Vnc", f"-X509CA={safe.certificates}/ca-cert.pem",
                   f"localhost::{port(domain)}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    check(viewers, domain, "tiger by tls")
    domain.destroy()


def test_gvncviewer_shows_the_screen(daemon, conn, viewers):
    """Its window keeps the size that the screen had first, and shows another one smaller or larger."""
    domain = start_echo(daemon, conn, "<graphics type='vnc' port='-1'/>", "gtk")
    wait_for(lambda: "Booting from" in read_text(read_png(screenshot(domain)[0])), "the machine's text")
    viewers.spawn(["gvncviewer", f"127.0.0.1:{port(domain) - 5900}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    check(viewers, domain, "gtk vnc")


def test_virt_viewer_finds_the_screen_by_the_domains_name(daemon, conn, viewers):
    domain = start_echo(daemon, conn, "<graphics type='vnc' port='-1'/>", "virt")
    wait_for(lambda: "Booting from" in read_text(read_png(screenshot(domain)[0])), "the machine's text")
    viewers.spawn(["virt-viewer", "--connect", daemon.uri(), "--attach", "virt"], stdout=subprocess.DEVNULL,
                  stderr=subprocess.DEVNULL)
    check(viewers, domain, "virt viewer")


class Pages(http.server.SimpleHTTPRequestHandler):
    """noVNC's."""

    def log_message(self, *_words):  # pylint: disable=arguments-differ
        """Nothing is to be heard."""


def browse(viewers, number, certificates=None):
    """Chromium shows noVNC's page, by TLS where there are certificates. Returns the pages' server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Pages, directory=NOVNC))
    if certificates:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{certificates}/server-cert.pem", f"{certificates}/server-key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = (f"{'https' if certificates else 'http'}://localhost:{server.server_address[1]}/vnc_lite.html"
            f"?host=localhost&port={number}&path=&password=secret")
    viewers.spawn(["chromium", "--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage",
                   "--force-color-profile=srgb", "--ignore-certificate-errors", "--window-size=1200,800",
                   "--password-store=basic", f"--user-data-dir={viewers.folder}/chromium", f"--app={page}"],
                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return server


@pytest.mark.parametrize("by_tls", [False, True])
def test_novnc_shows_the_screen_in_a_browser(daemon, safe, viewers, by_tls):
    own = safe if by_tls else daemon
    domain = start_echo(own, own.connect(), "<graphics type='vnc' port='-1' websocket='-1' passwd='secret'/>", f"web{by_tls:d}")
    server = browse(viewers, port(domain, "websocket"), safe.certificates if by_tls else None)
    try:
        check(viewers, domain, "in a browser")
    finally:
        server.shutdown()
        domain.destroy()
