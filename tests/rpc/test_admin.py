# SPDX-License-Identifier: GPL-2.0-or-later
"""virt-admin: servers, clients, limits, workers, logging."""
import os

import libvirt
import pytest

import wire


def table(output):
    return dict(line.split(":", 1) for line in output.replace(" ", "").splitlines() if ":" in line)


def test_servers_are_listed(daemon):
    assert {"libvirtd", "admin"} <= set(daemon.virt_admin("srv-list").split())


def test_workers_are_shown_and_set(daemon):
    before = table(daemon.virt_admin("srv-threadpool-info", "libvirtd"))
    assert before["minWorkers"] == "5" and before["maxWorkers"] == "20" and before["prioWorkers"] == "5"
    daemon.virt_admin("srv-threadpool-set", "libvirtd", "--min-workers", "7", "--max-workers", "9")
    after = table(daemon.virt_admin("srv-threadpool-info", "libvirtd"))
    assert after["minWorkers"] == "7" and after["maxWorkers"] == "9" and after["nWorkers"] == "7"
    wrong = daemon.virt_admin("srv-threadpool-set", "libvirtd", "--min-workers", "30", check=False)
    assert wrong.returncode != 0 and "invalid argument" in wrong.stderr


def test_limits_are_shown_and_set(daemon):
    daemon.virt_admin("srv-clients-set", "libvirtd", "--max-clients", "77")
    assert table(daemon.virt_admin("srv-clients-info", "libvirtd"))["nclients_max"] == "77"
    daemon.virt_admin("srv-clients-set", "libvirtd", "--max-clients", "5000")
    wrong = daemon.virt_admin("srv-clients-set", "libvirtd", "--max-clients", "0", check=False)
    assert wrong.returncode != 0


def test_a_client_is_listed_described_and_disconnected(daemon):
    connection = libvirt.openReadOnly(daemon.uri("libvirt-sock-ro"))
    lines = [line.split() for line in daemon.virt_admin("srv-clients-list", "libvirtd").splitlines()[2:]]
    client = lines[-1][0]
    assert lines[-1][1] == "unix"
    facts = table(daemon.virt_admin("client-info", "libvirtd", client))
    assert facts["readonly"] == "yes"
    assert facts["unix_user_id"] == str(os.geteuid()) and facts["unix_process_id"] == str(os.getpid())
    daemon.virt_admin("client-disconnect", "libvirtd", client)
    with pytest.raises(libvirt.libvirtError):
        connection.getLibVersion()
    wrong = daemon.virt_admin("client-info", "libvirtd", "999", check=False)
    assert "no client with id '999'" in wrong.stderr


def test_log_outputs_are_shown_and_set(daemon, tmp_path):
    assert "1:stderr" in daemon.virt_admin("daemon-log-outputs")
    path = tmp_path / "log"
    daemon.virt_admin("daemon-log-outputs", f"1:file:{path}")
    assert f"1:file:{path}" in daemon.virt_admin("daemon-log-outputs")
    with daemon.connect() as sock:
        assert wire.call(sock, 430)[0] == wire.ERROR
    daemon.virt_admin("daemon-log-outputs", "1:stderr")
    assert path.exists()
    assert daemon.virt_admin("daemon-log-outputs", "9:journald", check=False).returncode != 0
    assert "Logging filters" in daemon.virt_admin("daemon-log-filters")
    wrong = daemon.virt_admin("daemon-log-filters", "1:qemu", check=False)
    assert "unsupported configuration" in wrong.stderr


def test_the_idle_daemon_ends_by_itself(own_daemon):
    own_daemon.virt_admin("daemon-timeout", "--timeout", "1")
    assert own_daemon.process.wait(20) == 0
