# SPDX-License-Identifier: GPL-2.0-or-later
"""A domain's screen: VNC as its document says, pictures, keys, viewers handed over, passwords, events. Where text
is read, the guest is SeaBIOS with a boot sector that prints what is typed."""
import os
import re
import socket
import ssl
import subprocess
import time

import libvirt
import pytest

import vnc_viewer
from kv_daemon import Daemon, Events, Refused, domain_xml, wait_for
from kv_screen import screenshot, start_echo
from vnc_links import WebSocket, make_certificates
from vnc_viewer import Viewer

GRAPHICS = "<graphics type='vnc' port='-1'/>"

# The key A in each of libvirt's sets.
CODES = {"linux": 30, "xt": 0x1e, "atset1": 0x1e, "atset2": 0x1c, "atset3": 0x1c, "os_x": 0, "xt_kbd": 0x1e,
         "usb": 4, "win32": 65, "qnum": 0x1e}


@pytest.fixture
def machine(conn):
    """Starts one with a screen that nothing is drawn on."""
    def start(name, graphics=GRAPHICS):
        domain = conn.defineXML(domain_xml(name, devices=graphics))
        domain.create()
        return domain
    return start


@pytest.fixture
def echo(daemon, conn):
    return start_echo(daemon, conn, GRAPHICS)


def port(domain):
    return int(re.search(r"<graphics type='vnc' port='(\d+)' autoport='yes' listen='127.0.0.1'", domain.XMLDesc()).group(1))


def test_viewers_virsh_and_a_snapshot_program_see_the_same_and_type(echo, daemon, tmp_path):
    number = port(echo) - 5900
    assert daemon.virsh("vncdisplay", "echo").strip() == f"127.0.0.1:{number}"
    assert daemon.virsh("domdisplay", "echo").strip() == f"vnc://127.0.0.1:{number}"
    viewer = Viewer(("127.0.0.1", port(echo)))
    assert viewer.name == "echo" and viewer.security == 1
    viewer.wait_for("Booting from Hard Disk")
    viewer.type("Kvasir 42 ")
    viewer.wait_for("Kvasir 42 ")
    for name, code in CODES.items():
        daemon.virsh("send-key", "echo", "--codeset", name, "--holdtime", "20", str(code))
        time.sleep(0.1)
    daemon.virsh("send-key", "echo", "KEY_LEFTSHIFT", "KEY_B")
    viewer.wait_for("Kvasir 42 " + "a" * len(CODES) + "B")

    daemon.virsh("screenshot", "echo", str(tmp_path / "virsh.png"))
    picture, kind = screenshot(echo)
    assert kind == "image/png" and picture == (tmp_path / "virsh.png").read_bytes()
    rows = vnc_viewer.read_png(picture)
    assert "Kvasir 42 aaaaaaaaaaB" in vnc_viewer.read_text(rows)
    subprocess.run(["vncsnapshot", "-quiet", f"127.0.0.1:{number}", str(tmp_path / "shot.jpg")], check=True, timeout=60,
                   stdin=subprocess.DEVNULL)
    jpeg = (tmp_path / "shot.jpg").read_bytes()
    frame = jpeg.index(b"\xff\xc0")
    assert (int.from_bytes(jpeg[frame + 7:frame + 9], "big"), int.from_bytes(jpeg[frame + 5:frame + 7], "big")) == \
        (len(rows[0]), len(rows))
    viewer.close()


def test_what_a_guest_draws_on_virtio_gpu_is_seen(conn):
    video = f"{GRAPHICS}<video><model type='virtio'><resolution x='1024' y='768'/></model></video>"
    domain = conn.defineXML(domain_xml("paint", guest="paint", devices=video))
    domain.create()
    wait_for(lambda: vnc_viewer.read_png(screenshot(domain)[0])[60][60] == (255, 255, 255), "the square that comes last")
    rows = vnc_viewer.read_png(screenshot(domain)[0])
    assert len(rows) == 120 and rows[0][17] == (0x40, 0, 17) and rows[119][5] == (0x40, 119, 5)
    domain.destroy()
    assert "<value>virtio</value>" in re.search("<video.*?</video>", conn.getDomainCapabilities(), re.DOTALL).group()


def test_ports_are_chosen_kept_over_restarts_of_the_daemon_and_given_back(fresh):
    conn = fresh.connect()
    first, second = (conn.defineXML(domain_xml(name, devices=GRAPHICS)) for name in ("p1", "p2"))
    first.create()
    second.create()
    ports = port(first), port(second)
    assert ports[0] != ports[1] and min(ports) >= 5900
    fresh.kill()
    conn = fresh.start().connect()
    assert (port(conn.lookupByName("p1")), port(conn.lookupByName("p2"))) == ports
    Viewer(("127.0.0.1", ports[0])).close()
    conn.lookupByName("p1").destroy()
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", ports[0]))
    assert "port='-1' autoport='yes'" in conn.lookupByName("p1").XMLDesc()


def test_a_port_that_is_taken_fails_the_start(machine, conn):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        assert number >= 5900
        with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "Address already in use"):
            machine("t", f"<graphics type='vnc' port='{number}'/>")
    domain = conn.lookupByName("t")
    domain.create()
    assert f"<graphics type='vnc' port='{number}' autoport='no' listen='127.0.0.1'>" in domain.XMLDesc()
    Viewer(("127.0.0.1", number)).close()


def browser_port(domain):
    return int(re.search(r"<graphics type='vnc' port='\d+' autoport='yes' websocket='(\d+)' listen='127.0.0.1'",
                         domain.XMLDesc()).group(1))


def test_browsers_have_a_port_of_their_own(fresh):
    conn = fresh.connect()
    wanted = "<graphics type='vnc' port='-1' websocket='-1' passwd='secret'/>"
    first, second = (conn.defineXML(domain_xml(name, devices=wanted)) for name in ("w1", "w2"))
    first.create()
    second.create()
    ports = browser_port(first), browser_port(second)
    assert ports[0] != ports[1] and min(ports) >= 5700
    fresh.kill()
    first = fresh.start().connect().lookupByName("w1")
    assert browser_port(first) == ports[0]
    Viewer(WebSocket(socket.create_connection(("127.0.0.1", ports[0]))), "secret").update(False)
    with pytest.raises(vnc_viewer.Refused):
        Viewer(WebSocket(socket.create_connection(("127.0.0.1", ports[0]))), "wrong")
    with Refused(libvirt.VIR_ERR_OPERATION_UNSUPPORTED, "cannot change port settings on vnc graphics"):
        first.updateDeviceFlags("<graphics type='vnc' port='-1' passwd='secret'/>", libvirt.VIR_DOMAIN_AFFECT_LIVE)
    first.updateDeviceFlags("<graphics type='vnc' port='-1' websocket='-1' passwd='other'/>", libvirt.VIR_DOMAIN_AFFECT_LIVE)
    assert browser_port(first) == ports[0]
    Viewer(WebSocket(socket.create_connection(("127.0.0.1", ports[0]))), "other").close()
    first.destroy()
    assert "websocket='-1'" in first.XMLDesc()


def test_viewers_use_tls_where_the_host_says_so(tmp_path):
    make_certificates(str(tmp_path))
    context = ssl.create_default_context(cafile=str(tmp_path / "ca-cert.pem"))
    daemon = Daemon(settings=("vnc_tls = 1", f'vnc_tls_x509_cert_dir = "{tmp_path}"')).start()
    try:
        conn = daemon.connect()
        domain = conn.defineXML(domain_xml("safe", devices="<graphics type='vnc' port='-1' passwd='secret' websocket='-1'/>"))
        domain.create()
        events = Events(conn, (libvirt.VIR_DOMAIN_EVENT_ID_GRAPHICS,))
        address = ("127.0.0.1", int(re.search(r"vnc' port='(\d+)'", domain.XMLDesc()).group(1)))
        viewer = Viewer(address, "secret", tls=context)
        viewer.update(False)
        assert viewer.security == 2 and isinstance(viewer.socket, ssl.SSLSocket)
        viewer.close()
        wait_for(lambda: len(events.list) == 3, "three events")
        assert {event[5] for event in events.list} == {"vencrypt+x509+vnc"}
        events.end()
        browser = socket.create_connection(("127.0.0.1", browser_port(domain)))
        Viewer(WebSocket(context.wrap_socket(browser, server_hostname="localhost")), "secret").update(False)
        with pytest.raises(vnc_viewer.Refused):
            Viewer(address, "wrong", tls=context)
        (tmp_path / "server-cert.pem").unlink()
        domain.destroy()
        with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "server-cert.pem"):
            domain.create()
    finally:
        daemon.end()


def test_sockets_are_chosen_or_the_users(machine, daemon):
    chosen = machine("s1", "<graphics type='vnc'><listen type='socket'/></graphics>")
    path = re.search(r"<listen type='socket' socket='([^']*)'/>", chosen.XMLDesc()).group(1)
    assert path.startswith(daemon.run)
    Viewer(path).close()
    own = os.path.join(daemon.folder, "own.vnc")
    given = machine("s2", f"<graphics type='vnc' socket='{own}'/>")
    Viewer(own).close()
    for domain in (chosen, given):
        domain.destroy()
    assert not os.path.exists(path) and not os.path.exists(own)
    assert "<listen type='socket'/>" in chosen.XMLDesc()


def test_what_lies_at_a_sockets_path_already_stays(machine, daemon, conn):
    path, other = os.path.join(daemon.folder, "precious"), os.path.join(daemon.folder, "busy")
    with open(path, "w", encoding="ascii") as file:
        file.write("kept")
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(other)
        taken.listen()
        for number, where in enumerate((path, other)):
            with Refused(libvirt.VIR_ERR_SYSTEM_ERROR, "Address already in use"):
                machine(f"k{number}", f"<graphics type='vnc' socket='{where}'/>")
    with open(path, encoding="ascii") as file:
        assert file.read() == "kept"
    assert os.path.exists(other) and not conn.listDomainsID()


def test_viewers_are_handed_over_where_nobody_listens(machine):
    domain = machine("none", "<graphics type='vnc' passwd='secret'><listen type='none'/></graphics>")
    ours, theirs = socket.socketpair()
    domain.openGraphics(0, theirs.fileno(), libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH)
    theirs.close()
    assert Viewer(ours).security == 1
    handed = socket.socket(fileno=domain.openGraphicsFD(0, 0))
    assert Viewer(handed, "secret").security == 2
    with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "No graphics backend with index 1"):
        domain.openGraphicsFD(1, 0)


def enters(domain, password):
    try:
        Viewer(("127.0.0.1", port(domain)), password).close()
        return True
    except vnc_viewer.Refused:
        return False


def test_a_password_is_shown_to_who_may_see_it_and_changes_while_the_machine_runs(machine, daemon):
    domain = machine("pw", "<graphics type='vnc' autoport='yes' passwd='first'/>")
    assert enters(domain, "first") and not enters(domain, "second") and not enters(domain, "x")
    secure = libvirt.VIR_DOMAIN_XML_SECURE
    for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
        assert "first" not in domain.XMLDesc(flags) and "passwd='first'" in domain.XMLDesc(flags | secure)
    read_only = daemon.connect_read_only().lookupByName("pw")
    assert "first" not in read_only.XMLDesc()
    with Refused(libvirt.VIR_ERR_OPERATION_DENIED):
        read_only.XMLDesc(secure)

    def update(attributes, flags=libvirt.VIR_DOMAIN_AFFECT_LIVE):
        domain.updateDeviceFlags(f"<graphics type='vnc' {attributes}/>", flags)
    update("autoport='yes' passwd='second'")
    assert enters(domain, "second") and not enters(domain, "first")
    assert "passwd='first'" in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | secure)
    update("autoport='yes' passwd='third'", libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    assert enters(domain, "third") and "passwd='third'" in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | secure)
    update("autoport='yes' passwd='third' passwdValidTo='2020-01-01T00:00:00'")
    assert not enters(domain, "third")
    update("autoport='yes' passwd='third' passwdValidTo='2099-01-01T00:00:00'")
    assert enters(domain, "third")
    unsupported = libvirt.VIR_ERR_OPERATION_UNSUPPORTED
    for attributes, words in (("port='5999' passwd='x'", "cannot change port settings on vnc graphics"),
                              ("autoport='yes' listen='::1' passwd='x'", "cannot change listen address setting"),
                              ("autoport='yes' sharePolicy='ignore' passwd='x'", "cannot change share policy"),
                              ("autoport='yes'", "not taken away")):
        with Refused(unsupported, words):
            update(attributes)
    assert enters(domain, "third")


def test_what_becomes_of_viewers_that_want_to_be_alone(machine):
    """This viewer says that it shares; the first byte after the security result says otherwise."""
    def alone(domain):
        return Viewer(("127.0.0.1", port(domain)), shared=False)

    domain = machine("exclusive")
    first = Viewer(("127.0.0.1", port(domain)))
    second = alone(domain)
    with pytest.raises(ConnectionError):
        first.update(False)
    with pytest.raises(ConnectionError):
        Viewer(("127.0.0.1", port(domain)))
    second.update(False)
    domain = machine("shared", "<graphics type='vnc' autoport='yes' sharePolicy='force-shared'/>")
    with pytest.raises(ConnectionError):
        alone(domain)
    domain = machine("ignored", "<graphics type='vnc' autoport='yes' sharePolicy='ignore'/>")
    first, second = Viewer(("127.0.0.1", port(domain))), alone(domain)
    first.update(False)
    second.update(False)


def test_clients_are_told_of_viewers(machine, conn):
    domain = machine("told")
    events = Events(conn, (libvirt.VIR_DOMAIN_EVENT_ID_GRAPHICS,))
    viewer = Viewer(("127.0.0.1", port(domain)))
    remote = viewer.socket.getsockname()
    viewer.close()
    wait_for(lambda: len(events.list) == 3, "three events")
    for phase, (name, kind, number, local, other, auth, subject) in enumerate(events.list):
        assert (name, kind, number, auth, subject) == ("told", f"id {libvirt.VIR_DOMAIN_EVENT_ID_GRAPHICS}", phase, "none", [])
        assert local == {"family": 0, "node": "127.0.0.1", "service": str(port(domain))}
        assert other == {"family": 0, "node": "127.0.0.1", "service": str(remote[1])}
    events.end()


def test_viewers_share_a_clipboard_if_the_domain_has_one(machine):
    agent = "<channel type='qemu-vdagent'>%s<target type='virtio'/></channel>"
    extended = (vnc_viewer.RAW, vnc_viewer.CLIPBOARD)
    domain = machine("copies", GRAPHICS + agent % "<source><clipboard copypaste='yes'/></source>")
    first, second = Viewer(("127.0.0.1", port(domain))), Viewer(("127.0.0.1", port(domain)), encodings=extended)
    assert second.cut_text()[:4] == bytes([0x1f, 0, 0, 1]), "what the server can"
    first.copy("caf\xe9")
    assert second.cut_text() == bytes([8, 0, 0, 1]), "there is a text"
    domain = machine("does_not", GRAPHICS + agent % "")
    first, second = Viewer(("127.0.0.1", port(domain))), Viewer(("127.0.0.1", port(domain)), encodings=extended)
    first.copy("nobody's")
    second.update(False)


def test_inputs_on_virtio_are_the_guests(machine, daemon):
    machine("inputs", "".join(f"<input type='{kind}' bus='virtio'/>" for kind in ("keyboard", "tablet")))
    answer = daemon.virsh("qemu-monitor-command", "inputs", '{"execute": "query-pci"}')
    assert [f'"qdev_id":"{name}"' in answer for name in ("input0", "input1")] == [True, True], answer


def test_inputs_on_usb_have_a_controller(machine, daemon):
    machine("usb", GRAPHICS + "<input type='tablet' bus='usb'/>")
    answer = daemon.virsh("qemu-monitor-command", "usb", '{"execute": "query-pci"}')
    assert '"qdev_id":"usb0"' in answer, answer


def test_a_machine_without_a_screen_says_so(machine, daemon, conn):
    domain = machine("blind", "")
    unsupported = libvirt.VIR_ERR_OPERATION_UNSUPPORTED
    with Refused(unsupported, "the machine has no screen"):
        domain.screenshot(conn.newStream(), 0)
    with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "No graphics backend"):
        domain.openGraphicsFD(0, 0)
    with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "the machine has no keyboard"):
        domain.sendKey(libvirt.VIR_KEYCODE_SET_LINUX, 0, [30], 1, 0)
    with Refused(libvirt.VIR_ERR_INTERNAL_ERROR, "cannot translate keycode 9999 of linux codeset to qnum keycode"):
        domain.sendKey(libvirt.VIR_KEYCODE_SET_LINUX, 0, [9999], 1, 0)
    seen = machine("seen", GRAPHICS)
    with Refused(libvirt.VIR_ERR_INVALID_ARG, "the machine has one screen"):
        seen.screenshot(conn.newStream(), 1)
    domain.destroy()
    with Refused(libvirt.VIR_ERR_OPERATION_INVALID, "domain is not running"):
        domain.screenshot(conn.newStream(), 0)
