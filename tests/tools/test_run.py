# SPDX-License-Identifier: GPL-2.0-or-later
"""The runner of all suites counts right and lets no failure pass."""

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import time

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def load(name, path):
    loader = importlib.machinery.SourceFileLoader(name, f"{TOP}/{path}")
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture(name="runner")
def load_runner(tmp_path):
    module = load("runner", "tests/run")
    module.LOGS = str(tmp_path)
    return module


@pytest.fixture(name="unit")
def load_unit_runner():
    return load("unit", "tests/unit/run")


@pytest.mark.parametrize("status, text, counts", [
    (0, "noise\n12 passed, 0 failed, 2 skipped\n", (12, 0, 2)),
    (1, "==== 1 failed, 3 passed, 1 skipped, 2 errors in 0.1s ====\n", (3, 3, 1)),
    (1, "5 passed, 0 failed\n", (5, 1, 0)),
    (0, "no count at all\n", (0, 1, 0)),
    (-11, "", (0, 1, 0)),
])
def test_a_summary_line_is_read_and_a_bad_end_counts(runner, status, text, counts):
    assert runner.by_summary(status, text) == counts


def log_of(**programs):
    """A log as meson leaves it, of programs that ended in these ways with these words."""
    return "".join(f"==== 1/9 ====\ntest:         {name}\nstart time:   10:00:00\nresult:       {result}\n"
                   f"----- stdout -----\n{words}\n" for name, (result, words) in programs.items())


FOUR = ("exit status 0", "[==========] Running 4 test(s).\n[  PASSED  ] 4 test(s).")


@pytest.mark.parametrize("status, log, counts", [
    (0, log_of(one=FOUR, two=("exit status 0", "[  PASSED  ] 3 test(s).\n[  SKIPPED ] 1 test(s), listed below:")),
     (7, 0, 1)),
    (0, log_of(one=FOUR, two=("exit status 77", "no KVM here")), (4, 0, 0)),
    (1, log_of(one=("exit status 2", "[  PASSED  ] 3 test(s).\n[  FAILED  ] 2 test(s), listed below:"), two=FOUR), (7, 2, 0)),
    (1, log_of(one=("killed by signal 11 SIGSEGV", "[==========] Running 4 test(s)."), two=FOUR), (4, 1, 0)),
    (1, log_of(one=FOUR), (4, 1, 0)),
    (0, "nothing ran", (0, 1, 0)),
])
def test_single_tests_of_unit_programs_are_counted_and_dead_programs_too(unit, status, log, counts):
    assert unit.tally(unit.programs(log), status) == counts


def test_a_suite_that_does_not_end_is_ended_with_all_its_processes(runner, tmp_path):
    pid_file = tmp_path / "pid"
    suite = runner.Suite("endless", 1, runner.by_status, f"sleep 300 & echo $! >{pid_file}; wait")
    begin = time.monotonic()
    counts, text = runner.run_suite(suite)
    assert counts == (0, 1, 0) and "not done after 1 s" in text
    assert time.monotonic() - begin < 30
    stat = f"/proc/{pid_file.read_text().strip()}/stat"
    time.sleep(0.2)
    if os.path.exists(stat):  # dead, but nobody has asked for its status yet
        with open(stat, encoding="ascii") as text:
            assert text.read().split()[2] == "Z"


@pytest.mark.parametrize("beside", (False, True))
def test_a_runner_that_is_ended_ends_its_suite(tmp_path, beside):
    pid_file = tmp_path / "pid"
    program = (f"import importlib.machinery as m; r = m.SourceFileLoader('r', '{TOP}/tests/run').load_module(); "
               f"r.LOGS = '{tmp_path}'; r.SUITES = [r.Suite('endless', 60, r.by_status, 'echo $$ >{pid_file}; sleep 300', beside={beside})]; "
               "import sys; sys.argv = ['run']; r.main()")
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", program], stdout=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 20
        while not (pid_file.exists() and pid_file.read_text().strip()) and time.monotonic() < until:
            time.sleep(0.05)
        process.terminate()
        out, _ = process.communicate(timeout=40)
    assert process.returncode == 128 + 15
    assert out.splitlines()[-1].startswith("0 passed, ")
    stat = f"/proc/{pid_file.read_text().strip()}/stat"
    time.sleep(0.2)
    if os.path.exists(stat):
        with open(stat, encoding="ascii") as text:
            assert text.read().split()[2] == "Z"


def test_a_suite_beside_others_runs_while_they_do_and_is_counted(runner, tmp_path, capsys):
    def meets(mine, other):
        return f"touch {tmp_path}/{mine}; for i in $(seq 100); do [ -e {tmp_path}/{other} ] && exit 0; sleep 0.1; done; exit 1"
    totals = [0, 0, 0]
    runner.run_all([runner.Suite("long", 60, runner.by_status, meets("a", "b"), beside=True),
                    runner.Suite("short", 60, runner.by_status, meets("b", "a")),
                    runner.Suite("fails", 60, runner.by_status, "false", beside=True)], totals)
    assert totals == [2, 1, 0]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if " passed" in line] == ["short", "long", "fails"]


def test_an_unknown_suite_is_refused_by_name(runner):
    with pytest.raises(SystemExit, match="'nonsense'"):
        runner.chosen(["nonsense"])
