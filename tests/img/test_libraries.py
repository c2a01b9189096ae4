# SPDX-License-Identifier: GPL-2.0-or-later
"""Libraries that are loaded when an image needs them: without one its images are refused, and the
package that has it is named."""

import os
import subprocess

import pytest

from conftest import OURS, run


@pytest.mark.parametrize("path, names, package", [
    ("nbd://127.0.0.1:1", ["libnbd.so.0"], "libnbd0"),
    ("iscsi://127.0.0.1:1/iqn.x:y/1", ["libiscsi.so.7", "libiscsi.so.10"], "libiscsi7"),
    ("nfs://127.0.0.1/x/y", ["libnfs.so.13"], "libnfs13"),
    ("rbd:pool/image", ["librados.so.2"], "librados2"),
    ("http://127.0.0.1:1/x", ["libcurl-gnutls.so.4", "libcurl.so.4"], "libcurl3-gnutls"),
])
def test_a_missing_library_is_named_with_its_package(tmp_path, path, names, package):
    for name in names:
        with open(tmp_path / name, "wb"):
            pass
    result = subprocess.run([OURS, "info", path], capture_output=True, text=True, check=False, timeout=60,
                            env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)})
    assert result.returncode == 1
    assert "built without" in result.stderr or (package in result.stderr and names[0] in result.stderr), result


def test_what_needs_no_library_loads_none(tmp_path):
    """A raw image is opened with no further library mapped than those the program is linked with."""
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(1 << 20))
    traced = subprocess.run(["env", "LD_DEBUG=files", OURS, "info", str(image)], capture_output=True, text=True,
                            check=True, timeout=60)
    assert run(OURS, ["info", str(image)], "/").status == 0
    for library in ("libnbd", "libiscsi", "libnfs", "librbd", "libcurl", "libzstd"):
        assert library not in traced.stderr
