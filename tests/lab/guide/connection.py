# SPDX-License-Identifier: GPL-2.0-or-later
"""What a connection tells of itself."""
import sys

import libvirt

connection = libvirt.open('qemu:///system')
if connection is None:
    sys.exit('no connection to qemu:///system')
print('alive:', connection.isAlive())
print('type:', connection.getType())
print('version:', connection.getVersion())
connection.close()
