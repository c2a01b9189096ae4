# SPDX-License-Identifier: GPL-2.0-or-later
"""A second try for tests of whole programs: pytest -p second_try, as tests/run has it.

Emulated processors stall now and then for longer than a test waits, and so do
machines that do other work. What passes only at the second try is named in the
summary and by tests/run, with how it failed first in the suite's log.
"""

import signal

import pytest
from _pytest.runner import runtestprotocol

TEST_SECONDS = 300  # a test that is not done then has failed; its mark "seconds" says another time

second_tries = []  # (test, how its first try failed)


def run_twice(item, nextitem):
    """The reports of the test's last try."""
    reports = _try(item, nextitem)
    failed = [report for report in reports if report.failed]
    if failed:
        second_tries.append((item.nodeid, failed[0]))
        item._initrequest()  # pylint: disable=protected-access
        reports = _try(item, nextitem)
    return reports


def pytest_configure(config):
    config.addinivalue_line("markers", f"seconds(time): how long the test may take, instead of {TEST_SECONDS}")


def _try(item, nextitem):
    mark = item.get_closest_marker("seconds")
    seconds = mark.args[0] if mark else TEST_SECONDS

    def late(*_):
        raise TimeoutError(f"the test was not done after {seconds} s")
    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        return runtestprotocol(item, nextitem=nextitem, log=False)
    finally:
        signal.alarm(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in run_twice(item, nextitem):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_terminal_summary(terminalreporter):
    for name, report in second_tries:
        terminalreporter.section(f"tried a second time: {name}")
        terminalreporter.write_line(report.longreprtext)
        for title, text in report.sections:
            terminalreporter.write_line(f"--- {title}\n{text}")
