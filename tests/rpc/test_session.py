# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu:///session: libvirt's client finds a libvirtd where LIBVIRTD_PATH says, and starts it by itself."""
import os
import pwd
import shutil
import tempfile

import pytest

from daemon import BUILD, run


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, so it needs root")
def test_a_user_without_privileges_gets_a_daemon_by_asking():
    user = pwd.getpwnam("nobody")
    folder = tempfile.mkdtemp(prefix="kvs-", dir="/tmp")
    try:
        for name in ("kvasird", "kvasir-vmm"):
            shutil.copy(os.path.join(BUILD, name), folder)
        os.rename(f"{folder}/kvasird", f"{folder}/libvirtd")
        os.mkdir(f"{folder}/run")
        for path in (folder, f"{folder}/run"):
            os.chown(path, user.pw_uid, user.pw_gid)
            os.chmod(path, 0o700)
        # Another libvirt daemon that is installed here would be left its paths.
        command = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /usr/sbin && exec "$@"', "sh",
                   "setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "env",
                   f"XDG_RUNTIME_DIR={folder}/run", f"HOME={folder}", f"LIBVIRTD_PATH={folder}"]
        assert run([*command, "virsh", "-c", "qemu:///session", "uri"]) == "qemu:///session"
        admin = f"libvirtd:///session?socket={folder}/run/libvirt/libvirt-admin-sock"
        run([*command, "virt-admin", "-c", admin, "daemon-timeout", "--timeout", "1"])
    finally:
        shutil.rmtree(folder)
