# SPDX-License-Identifier: GPL-2.0-or-later
"""kvasir switch top: what goes through ports, a second."""

import json
import os
import subprocess

from conftest import BUILD


def top(switch, *words):
    return subprocess.run([f"{BUILD}/kvasir", "switch", "top", "--socket", switch.path, *words], capture_output=True,
                          text=True, check=False, timeout=20)


def test_the_busiest_port_is_first(switch, spaces):
    a = spaces.add(0, "192.0.2.1/24")
    b = spaces.add(1, "192.0.2.2/24", tag=7)
    with subprocess.Popen(["ip", "netns", "exec", a, "ping", "-q", "-i", "0.02", "-s", "1000", "-b", "192.0.2.255"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as pinging:
        try:
            table = top(switch, "--batch", "--count", "2").stdout.splitlines()
            rows = json.loads(top(switch, "--sort", "in", "--output", "json").stdout)
        finally:
            pinging.terminate()
    assert [line.split()[1] for line in table if line] == ["Port", a, b] * 2 and table[0].split()[0] == "Bridge"
    assert rows[0]["name"] == a and 25 < float(rows[0]["in_frames"]) < 60 and float(rows[0]["in_bytes"]) > 25000
    assert float(rows[1]["in_bytes"]) < 1000


def test_nonsense_is_refused(switch):
    for words in (["--sort", "colour"], ["--interval", "0"], ["--count", "-1"]):
        assert top(switch, *words).returncode != 0
    elsewhere = f"{os.path.dirname(switch.path)}/nobody"
    assert "no switch at" in subprocess.run([f"{BUILD}/kvasir", "switch", "top", "--socket", elsewhere],
                                            capture_output=True, text=True, check=False, timeout=20).stderr
