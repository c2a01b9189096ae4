# SPDX-License-Identifier: GPL-2.0-or-later
"""Images of Ceph. There is no cluster to test with: addresses are read, the library is loaded and
called, and a cluster that does not answer is an error."""

import json

import pytest

from conftest import OURS, run

NOWHERE = "mon_host=127.0.0.1\\:1:client_mount_timeout=1:auth_client_required=none"

if "built without" in run(OURS, ["info", "rbd:"], "/").err:
    pytest.skip("this build has no RBD", allow_module_level=True)


def error(*words):
    result = run(OURS, ["info", *words], "/", )
    assert result.status == 1, result
    return result.err


def test_a_cluster_that_does_not_answer_is_an_error():
    assert "rbd: error connecting" in error(f"rbd:pool/image:{NOWHERE}")
    assert "rbd: error connecting" in error(f"rbd:pool/space/image@snapshot:id=me:{NOWHERE}")


def test_a_description_reaches_the_library():
    description = {"driver": "raw", "file": {
        "driver": "rbd", "pool": "p", "image": "i", "auth-client-required": ["none"], "conf": "/nonexistent",
        "server": [{"host": "127.0.0.1", "port": "1"}, {"host": "::1", "port": "1"}]}}
    assert "conf file /nonexistent" in error(f"json:{json.dumps(description)}")
    description["file"]["key-secret"] = "nobody"
    assert "nobody" in error(f"json:{json.dumps(description)}")


@pytest.mark.parametrize("path, message", [
    ("rbd:pool", "expected"), ("rbd:/image", "expected"), ("rbd:pool/", "name"), ("rbd:pool/image:option", "NAME=VALUE"),
    (f"rbd:pool/image:bogus_option=1:{NOWHERE}", "bogus_option"),
])
def test_what_is_no_address_is_refused(path, message):
    assert message in error(path)
