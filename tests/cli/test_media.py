# SPDX-License-Identifier: GPL-2.0-or-later
"""Drives with removable media, which kvasird's machines do not have: virsh and kvasir against libvirtd."""
import os
import subprocess
import sys

import pytest

import alike

sys.path.insert(0, os.path.join(os.path.dirname(alike.HERE), os.pardir, "bench"))

import rows_api  # noqa: E402  pylint: disable=wrong-import-position

MACHINE = """<domain type='test'><name>drives</name><memory>65536</memory><os><type>hvm</type></os><devices>
<disk type='file' device='cdrom'><source file='/a.iso'/><target dev='hdc' bus='ide'/><readonly/></disk>
<disk type='file' device='cdrom'><target dev='hdd' bus='ide'/><readonly/></disk>
<disk type='file' device='disk'><source file='/a.img'/><target dev='hda' bus='ide'/></disk>
</devices></domain>"""
LINES = [
    "hdc --eject --print-xml", "hdc --eject", "hdc --eject --config", "hdc --update --print-xml", "hdc --eject --block",
    "hdc --print-xml", "hdc /b.iso --insert", "hdc /b.iso --update --print-xml", "hdc '' --update",
    "/a.iso /b.iso --print-xml", "hdd --eject", "hdd --insert", "hdd --update", "hdd /b.iso --insert --print-xml",
    "hdd /dev/sr0 --insert --block --print-xml", "hda --eject", "vdx --eject",
]


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    if not os.path.exists(rows_api.LIBVIRTD) or os.geteuid() != 0:
        pytest.skip("libvirtd is not installed, or this is not root")
    folder = tmp_path_factory.mktemp("media")
    server = rows_api.start_libvirtd(str(folder))
    (folder / "drives.xml").write_text(MACHINE)
    yield server.uri.replace("qemu+unix:///system", "test+unix:///default"), folder / "drives.xml"
    server.end()


@pytest.mark.parametrize("words", LINES)
def test_media_change_as_virsh_changes_them(uri, words):
    # libvirtd's driver "test" forgets with the connection, so the machine is made in the same.
    answers = []
    for program in ("virsh", alike.KVASIR):
        done = subprocess.run([program, "-c", uri[0], f"define {uri[1]}; change-media drives {words}"],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=alike.PATIENCE, check=False)
        answers.append((done.stdout, done.stderr, done.returncode))
    assert b"Domain 'drives' defined" in answers[0][0]
    assert answers[1] == answers[0]
