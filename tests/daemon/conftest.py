# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the daemon's tests. --long: the tests that take minutes."""
import os
import sys

import libvirt
import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

from kv_daemon import Daemon, EventLoop, Events  # noqa: E402  pylint: disable=wrong-import-position


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="as often as the acceptance asks for")


@pytest.fixture(scope="session", autouse=True)
def event_loop():
    EventLoop.start()


@pytest.fixture(scope="module")
def daemon():
    """One for all tests of a file."""
    own = Daemon().start()
    yield own
    own.end()


@pytest.fixture
def fresh():
    """One for this test alone; it may be killed."""
    own = Daemon().start()
    yield own
    own.end()


@pytest.fixture
def conn(daemon):
    """A connection; what the test leaves behind is removed."""
    connection = daemon.connect()
    yield connection
    for domain in connection.listAllDomains():
        if domain.isActive():
            domain.destroy()
    for domain in connection.listAllDomains():
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    connection.close()


@pytest.fixture
def events(conn):
    record = Events(conn)
    yield record
    record.end()
