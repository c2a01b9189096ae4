# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/setup on machines that are pretended: dpkg-query, apt-get and friends are small scripts."""

import os
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def packages(*kinds):
    with open(f"{TOP}/tools/packages.txt", encoding="utf-8") as lines:
        rows = [line.split("#")[0].split() for line in lines]
    return [row[1].split("|")[0] for row in rows if row and row[0] in kinds]


def machine(tmp_path, installed, stale=False, user="0"):
    """A folder for PATH. apt-get writes what it is told into the file apt; stale: it needs an update first."""
    (tmp_path / "installed").write_text("".join(f"installed {name}\n" for name in installed))
    install = f'[ -e {tmp_path}/updated ] || {{ echo "E: Unable to locate package"; exit 100; }}' if stale else ":"
    scripts = {
        "dpkg-query": f"cat {tmp_path}/installed",
        "apt-cache": "exit 0",
        "id": f"echo {user}",
        "apt-get": f'echo "$@" >>{tmp_path}/apt; case "$*" in *update*) touch {tmp_path}/updated ;; *) {install} ;; esac',
        "sudo": f'echo "$1" >>{tmp_path}/sudo; exec "$@"',
    }
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def run(folder, *options):
    result = subprocess.run([f"{TOP}/tools/setup", *options], env={"PATH": f"{folder}:/usr/bin:/bin"}, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    apt = folder.parent / "apt"
    return result, apt.read_text().splitlines() if apt.exists() else []


def test_nothing_happens_and_nothing_is_said_when_all_is_there(tmp_path):
    result, apt = run(machine(tmp_path, packages("build", "test", "lab")))
    assert (result.returncode, result.stdout, result.stderr, apt) == (0, "", "", [])


def test_only_what_is_missing_is_installed(tmp_path):
    result, apt = run(machine(tmp_path, [p for p in packages("build", "test", "lab") if p not in ("clang", "meson")]))
    assert result.returncode == 0
    assert len(apt) == 1 and apt[0].endswith("meson clang")


def test_an_alternative_counts(tmp_path):
    result, apt = run(machine(tmp_path, [p for p in packages("build", "test", "lab") if p != "pkg-config"] + ["pkgconf"]))
    assert result.returncode == 0 and not apt


def test_missing_package_lists_are_fetched(tmp_path):
    result, apt = run(machine(tmp_path, [], stale=True))
    assert result.returncode == 0
    assert [line.split()[-1] == "update" for line in apt] == [False, True, False]


def test_measurements_need_more(tmp_path):
    folder = machine(tmp_path, packages("build", "test", "lab"))
    result, apt = run(folder, "--bench")
    assert result.returncode == 0
    assert apt[0].split()[-len(packages("bench")):] == packages("bench")


def test_a_user_goes_through_sudo(tmp_path):
    folder = machine(tmp_path, [], user="1000")
    result, apt = run(folder)
    assert result.returncode == 0 and apt
    assert (tmp_path / "sudo").read_text().strip() == "env"


def test_listing_installs_nothing(tmp_path):
    result, apt = run(machine(tmp_path, [p for p in packages("build", "test", "lab") if p != "gcc"]), "--list")
    assert result.stdout.split() == ["gcc"] and not apt
