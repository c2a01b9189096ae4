# SPDX-License-Identifier: GPL-2.0-or-later
"""Console, vsock, balloon, rng: what a guest and its host exchange beside disks and frames."""

import hashlib
import os
import socket
import threading
import time

MEGABYTE = 1 << 20


def connect(path, patience=30):
    """A connection to a unix socket, as soon as it is there."""
    deadline = time.monotonic() + patience
    while True:
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(str(path))
            return s
        except OSError:
            s.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def echo_loss(s, data, patience=180):
    """Sends data and reads as much back; what came."""
    s.settimeout(patience)
    sender = threading.Thread(target=s.sendall, args=(data,))
    sender.start()
    back = b""
    while len(back) < len(data):
        piece = s.recv(65536)
        if not piece:
            break
        back += piece
    sender.join()
    return back


def test_a_console_port_echoes_a_megabyte_without_loss(shell_guest, tmp_path):
    path = tmp_path / "port"
    guest = shell_guest("--port", f"chardev=unix:{path},name=test.echo")
    assert guest.shell("cat /sys/class/virtio-ports/*/name").strip() == "test.echo"
    port = guest.shell("grep -l test.echo /sys/class/virtio-ports/*/name").split("/")[-2]
    with connect(path) as s:
        # Only now: a port without anybody at the other end reads as ended, and it opens only once.
        guest.shell(f"sleep 1; cat <>/dev/{port} >&0 &")
        data = os.urandom(MEGABYTE)
        assert hashlib.sha256(echo_loss(s, data)).digest() == hashlib.sha256(data).digest()


def test_a_virtio_console_is_a_terminal(start_guest, make_initrd, tmp_path):
    path = tmp_path / "console"
    start_guest("--console", f"unix:{path}", initrd=make_initrd(), serial=None,
                cmdline="console=hvc0 quiet panic=-1 tsc=reliable")
    with connect(path) as s:
        s.settimeout(180)
        seen = b""
        while b"# " not in seen:
            seen += s.recv(4096)
        s.sendall(b"echo answer $((6 * 7))\n")
        while b"answer 42" not in seen:
            seen += s.recv(4096)


ECHO_GUEST = "socat VSOCK-LISTEN:1234,fork EXEC:cat &"


def test_vsock_carries_data_both_ways(shell_guest, tmp_path):
    path = tmp_path / "vsock"
    guest = shell_guest("--vsock", f"guest-cid=42,path={path}", bin=["socat"])
    guest.shell(ECHO_GUEST)
    guest.shell("sleep 1")
    data = os.urandom(MEGABYTE)
    with connect(path) as s:
        s.sendall(b"CONNECT 1234\n")
        answer = b""
        while not answer.endswith(b"\n"):
            answer += s.recv(1)
        assert answer.startswith(b"OK ")
        assert echo_loss(s, data) == data
    # The guest's call to a port of the host arrives at the unix socket of that port.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}_555")
        listener.listen()
        listener.settimeout(60)
        guest.shell("echo hello from the guest | socat - VSOCK-CONNECT:2:555 &")
        caller, _ = listener.accept()
        with caller:
            caller.settimeout(60)
            assert caller.recv(100) == b"hello from the guest\n"


def resident(pid):
    """Guest memory that the host holds, in KiB, of the monitor and its jail's child."""
    pids, total = [pid], 0
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        pids += [int(p) for p in f.read().split()]
    for p in pids:
        with open(f"/proc/{p}/status") as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("RssShmem:"))
    return total


def test_the_balloon_gives_memory_back_and_takes_it_again(shell_guest):
    guest = shell_guest("--balloon", "deflate-on-oom=on", memory="512M")
    guest.shell("dd if=/dev/zero of=/dev/shm/fill bs=1M count=200 2>/dev/null; rm /dev/shm/fill")
    full = resident(guest.pid)
    guest.qmp("balloon", value=256 << 20)
    wanted = 256 << 20
    deadline = time.monotonic() + 120
    while guest.qmp("query-balloon")["actual"] > wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    assert guest.qmp("query-balloon")["actual"] == wanted
    assert resident(guest.pid) < full - (100 << 10)
    guest.qmp("balloon", value=512 << 20)
    while guest.qmp("query-balloon")["actual"] < 512 << 20 and time.monotonic() < deadline + 60:
        time.sleep(0.2)
    assert guest.qmp("query-balloon")["actual"] == 512 << 20


def test_the_guest_gets_random_bytes(shell_guest):
    guest = shell_guest("--rng", "source=/dev/urandom")
    assert "virtio" in guest.shell("cat /sys/class/misc/hw_random/rng_current")
    a, b = (guest.shell("dd if=/dev/hwrng bs=64 count=1 2>/dev/null | sha256sum").split()[0] for _ in range(2))
    assert a != b
