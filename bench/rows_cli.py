# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line from exec to exit: kvasir and virsh against the same kvasird."""
import shutil
import statistics
import subprocess
import tempfile
import time

from rows_api import start_kvasird
from rows_start import figure

ROUNDS = 15


def once(command, uri, words):
    began = time.perf_counter()
    subprocess.run([command, "-c", uri, *words], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1e3


def both(build, uri, words):
    """Milliseconds of kvasir and virsh, medians of turns."""
    spent = {f"{build}/kvasir": [], "virsh": []}
    for _ in range(ROUNDS):
        for command, times in spent.items():
            times.append(once(command, uri, words))
    return [statistics.median(times) for times in spent.values()]


def cli_start(build):
    """kvasir list from exec to exit, with 1 and 1,000 domains"""
    if not shutil.which("virsh"):
        raise RuntimeError("libvirt-clients is not installed (make setup-bench)")
    with tempfile.TemporaryDirectory(prefix="kvasir-bench-") as folder:
        server = start_kvasird(build, folder)
        try:
            for first, domains in ((0, 1), (1, 1000)):
                server.define(first, domains - first, 1)
                ours, theirs = both(build, server.uri, ["list", "--all"])
                yield figure(f"list from exec to exit, {domains} domains", ours, theirs, "ms", "virsh", "<= 0.2")
        finally:
            server.end()


ROWS = [cli_start]
