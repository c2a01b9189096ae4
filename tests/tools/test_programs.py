# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs tell about themselves, and their manual pages tell all of it."""

import os
import re
import subprocess

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"))
PROGRAMS = ["kvasir-vmm", "kvasir-img"]


def run(program, *words):
    return subprocess.run([f"{BUILD}/{program}", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False, timeout=30)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_version_is_the_one_of_the_tree(program):
    result = run(program, "--version")
    version = subprocess.run([f"{TOP}/tools/version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    assert result.returncode == 0
    assert result.stdout == f"{program} {version}\n"


def test_the_manual_page_of_kvasir_img_has_every_command_and_option():
    with open(f"{BUILD}/docs/man/kvasir-img.1", encoding="utf-8") as page:
        sections = dict(re.findall(r"^\.SS (\w+) (.*?)(?=^\.S[SH] )", page.read().replace("\\-", "-"), re.M | re.S))
    commands = re.findall(r"^  (\w+) ", run("kvasir-img", "--help").stdout, re.M)
    assert {"create", "convert", "nbd"} <= set(commands) == set(sections)
    for command in commands:
        for option in re.findall(r"^  (-.*?)(?:  |$)", run("kvasir-img", command, "--help").stdout, re.M)[1:]:
            assert f"\\fB{option.rstrip()}" in sections[command], (command, option)


@pytest.mark.parametrize("program", ["kvasir-vmm"])
def test_the_manual_page_has_every_option_and_every_field(program):
    with open(f"{BUILD}/docs/man/{program}.1", encoding="utf-8") as page:
        manual = page.read().replace("\\-", "-")
    options = set(re.findall(r"^ {2,8}(?:-\w, )?--([a-z-]+)", run(program, "--help").stdout, re.M))
    assert {"kernel", "memory", "disk", "serial", "help"} <= options
    for option in options:
        assert f"--{option}" in manual, option
        for field in re.findall(r"^ {6}([a-z-]+)=", run(program, "--help", option).stdout, re.M):
            assert f"\\fB{field}=" in manual, f"{option}: {field}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_unknown_option_is_refused_by_name(program):
    result = run(program, "--colour=red")
    assert result.returncode == (1 if program == "kvasir-img" else 2)
    assert "colour" in result.stderr and not result.stdout
