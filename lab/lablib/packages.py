# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages that are fetched and unpacked, and never installed."""

import glob
import os
import shutil
import subprocess

from .cache import LabError


def run(argv, **kwargs):
    """Its output; a program that fails is an error with what it said."""
    result = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)
    if result.returncode:
        raise LabError(f"{' '.join(argv)}: exit status {result.returncode}: {result.stderr.strip()[-500:]}")
    return result.stdout


def tool(name):
    """Some lie in /usr/sbin, which is not in every user's PATH."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise LabError(f"{name}: not found; 'make setup' installs what the lab needs")
    return path


def fetch(package, out):
    """The files of a package of this system's release, into a new folder."""
    download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package]
    os.mkdir(out)
    try:
        run(download, cwd=out)
    except LabError:
        if os.geteuid() != 0:
            raise
        # The package lists may be older than the mirror.
        run(["apt-get", "-qq", "update"])
        run(download, cwd=out)
    (deb,) = glob.glob(os.path.join(out, "*.deb"))
    run([tool("dpkg"), "-x", deb, out])
    os.unlink(deb)
