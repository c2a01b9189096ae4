# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine made from Python, as guides to KVM show it."""
import sys

import libvirt

connection = libvirt.open('qemu:///system')
if connection is None:
    sys.exit('no connection to qemu:///system')

machine = connection.createXML("""
<domain type='kvm'>
  <name>my_vm</name>
  <memory unit='GB'>1</memory>
  <vcpu placement='static'>2</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <boot dev='hd'/>
  </os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/path/to/disk_image.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='network'>
      <mac address='52:54:00:xx:xx:xx'/>
      <source network='default'/>
    </interface>
  </devices>
</domain>
""", 0)
print(machine.name(), 'was created')
connection.close()
