# SPDX-License-Identifier: GPL-2.0-or-later
"""Statistics of many running machines at once, from python3-libvirt: KVASIR_MACHINES of them (1,000),
each a bare-metal payload."""
import os
import shutil
import signal
import statistics
import tempfile
import time

from rows_api import start_kvasird
from rows_start import figure

ROUNDS = 7
XML = """<domain type='kvm'><name>m{i:04}</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel></os>
<devices><memballoon model='none'/></devices></domain>"""


def end_machines(folder):
    """Those of this folder's daemon, by their pid files."""
    for name in os.listdir(os.path.join(folder, "run", "machine")):
        if name.endswith(".pid"):
            try:
                with open(os.path.join(folder, "run", "machine", name), encoding="ascii") as file:
                    os.kill(int(file.read()), signal.SIGKILL)
            except (OSError, ValueError):
                pass


def running_stats(build):
    """statistics of running machines in one call"""
    count = int(os.environ.get("KVASIR_MACHINES", "1000"))
    folder = tempfile.mkdtemp(prefix="kvasir-stats-")
    os.chmod(folder, 0o755)
    server = start_kvasird(build, folder)
    try:
        kernel = os.path.join(build, "tests/guest/payload_sleep")
        for i in range(count):
            server.connection.createXML(XML.format(i=i, kernel=kernel))
        times = []
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            got = server.connection.getAllDomainStats()
            times.append((time.perf_counter() - begin) * 1e3)
            assert len(got) == count
        yield figure(f"stats of {count} running machines", statistics.median(times), None, "ms", "",
                     "40 for 1,000")
    finally:
        server.end()
        end_machines(folder)
        shutil.rmtree(folder, ignore_errors=True)


ROWS = [running_stats]
