# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures: one daemon a module for what does not disturb it, one a test for what does."""
import threading

import libvirt
import pytest

from daemon import Daemon


def run_events():
    while True:
        libvirt.virEventRunDefaultImpl()


libvirt.registerErrorHandler(lambda _, error: None, None)
libvirt.virEventRegisterDefaultImpl()
threading.Thread(target=run_events, daemon=True).start()


@pytest.fixture(name="daemon", scope="module")
def shared_daemon():
    daemon = Daemon()
    yield daemon
    assert daemon.remove() == 0


@pytest.fixture(name="own_daemon")
def daemon_of_one_test():
    daemon = Daemon()
    yield daemon
    assert daemon.remove() == 0


@pytest.fixture(name="connection")
def connection_of_one_test(daemon):
    connection = libvirt.open(daemon.uri())
    yield connection
    connection.close()
