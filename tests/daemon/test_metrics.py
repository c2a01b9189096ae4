# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's metrics for Prometheus, and statistics of many machines at once."""
import os
import shutil
import socket
import subprocess

import libvirt
import pytest

from kv_daemon import Daemon, domain_xml

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm")


@pytest.fixture(scope="module")
def daemon():
    own = Daemon()
    own.options = ["--config", os.path.join(own.folder, "kvasird.conf")]
    own.page_path = os.path.join(own.folder, "metrics.sock")
    with open(own.options[1], "w", encoding="ascii") as file:
        file.write(f'metrics_listen = "unix:{own.page_path}"\n')
    yield own.start()
    own.end()


def http(daemon, request):
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(20)
        link.connect(daemon.page_path)
        link.sendall(request)
        answer = b""
        while data := link.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode(), body.decode()


def page(daemon):
    head, body = http(daemon, b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK\r\n") and "version=0.0.4" in head
    assert f"Content-Length: {len(body)}\r\n" in head + "\r\n"
    return body


def samples(text):
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_figures_of_running_and_other_domains_are_told(daemon, conn):
    path = os.path.join(daemon.folder, "disk.raw")
    with open(path, "wb") as image:
        image.truncate(1 << 20)
    os.chmod(path, 0o666)
    disk = f"<disk type='file' device='disk'><source file='{path}'/><target dev='vda' bus='virtio'/></disk>"
    conn.defineXML(domain_xml('a"b', memory=32))
    conn.createXML(domain_xml("runs", devices=disk + "<memballoon model='virtio'/>", vcpus=2))
    got = samples(page(daemon))
    assert got["libvirt_up"] == "1" and got["libvirt_domains"] == "2"
    assert got['libvirt_domain_info_vstate{domain="a\\"b"}'] == str(libvirt.VIR_DOMAIN_SHUTOFF)
    assert got['libvirt_domain_info_vstate{domain="runs"}'] == str(libvirt.VIR_DOMAIN_RUNNING)
    assert got['libvirt_domain_info_maximum_memory_bytes{domain="a\\"b"}'] == str(32 << 20)
    assert got['libvirt_domain_memory_stats_actual_balloon_bytes{domain="runs"}'] == str(64 << 20)
    assert float(got['libvirt_domain_info_cpu_time_seconds_total{domain="runs"}']) >= 0  # counted in ticks of 10 ms
    assert 'libvirt_domain_info_cpu_time_seconds_total{domain="a\\"b"}' not in got
    assert got['libvirt_domain_block_stats_capacity_bytes{domain="runs",target_device="vda"}'] == str(1 << 20)
    assert 'libvirt_domain_vcpu_time_seconds_total{domain="runs",vcpu="1"}' in got


def test_promtool_finds_nothing_to_complain_of(daemon, conn):
    if not shutil.which("promtool"):
        pytest.skip("no promtool")
    conn.createXML(domain_xml("runs"))
    done = subprocess.run(["promtool", "check", "metrics"], input=page(daemon), text=True, capture_output=True, check=False)
    assert done.stdout + done.stderr == "" and done.returncode == 0


def test_other_requests_are_refused(daemon):
    for request, status in ((b"GET / HTTP/1.1\r\n\r\n", "404"), (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
                            (b"nonsense\r\n\r\n", "400"), (b"GET /metrics FTP\r\n\r\n", "400"), (b"\0 \0 HTTP/1.1\r\n\r\n", "400"),
                            (b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 9000 + b"\r\n\r\n", "431")):
        assert http(daemon, request)[0].split()[1] == status, request
    head, body = http(daemon, b"HEAD /metrics?x=y HTTP/1.0\n\n")
    assert "200 OK" in head and body == ""


def test_clients_that_say_nothing_keep_nobody_out(daemon):
    links = []
    for _ in range(12):
        link = socket.socket(socket.AF_UNIX)
        link.connect(daemon.page_path)
        link.sendall(b"GET /met")
        links.append(link)
    assert "libvirt_up 1" in page(daemon)
    for link in links:
        link.close()


def test_an_address_for_all_is_refused():
    own = Daemon(settings=['metrics_listen = "0.0.0.0:9177"'])
    try:
        with pytest.raises(AssertionError, match="metrics_listen '0.0.0.0:9177'"):
            own.start()
    finally:
        own.end()


def test_statistics_of_many_machines_are_each_ones_own(conn):
    for i in range(6):
        conn.createXML(domain_xml(f"m{i}", memory=16 + i))
    for left in (6, 5, 5):
        stats = {d.name(): s for d, s in conn.getAllDomainStats()}
        assert all(stats[f"m{i}"]["balloon.maximum"] == (16 + i) << 10 for i in range(6) if f"m{i}" in stats)
        assert len(stats) == left
        assert all("vcpu.0.time" in s and s["block.count"] == 0 for s in stats.values())
        if left == 6:
            conn.lookupByName("m3").destroy()
