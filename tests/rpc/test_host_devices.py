# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's devices and network interfaces, as clients' pages show them."""
import os
import xml.etree.ElementTree as ET

import libvirt
import pytest


def refused(code, function, *arguments):
    with pytest.raises(libvirt.libvirtError) as caught:
        function(*arguments)
    assert caught.value.get_error_code() == code, caught.value


def test_devices_are_listed_with_their_parents(connection):
    devices = connection.listAllDevices()
    names = {device.name() for device in devices}
    assert "computer" in names and len(names) == len(devices) == connection.numOfDevices(None)
    assert sorted(names) == sorted(connection.listDevices(None))
    for device in devices:
        root = ET.fromstring(device.XMLDesc())
        assert root.findtext("name") == device.name()
        assert device.listCaps() == [root.find("capability").get("type")] and device.numOfCaps() == 1
        if device.name() == "computer":
            assert device.parent() is None
        else:
            assert device.parent() in names and root.findtext("parent") == device.parent()
            assert os.path.isdir(root.findtext("path"))


def test_devices_of_one_kind_are_listed(connection):
    pci = {device.name() for device in
           connection.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV)}
    assert pci == {"pci_" + entry.replace(":", "_").replace(".", "_") for entry in os.listdir("/sys/bus/pci/devices")}
    assert pci == set(connection.listDevices("pci")) and connection.numOfDevices("pci") == len(pci)
    assert connection.listDevices("love") == []
    assert connection.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_INACTIVE) == []


def test_devices_that_are_not_there_are_told(connection):
    for name in ("pci_nothing", "", "../../etc", "x" * 5000):
        refused(libvirt.VIR_ERR_NO_NODE_DEVICE, connection.nodeDeviceLookupByName, name)
    refused(libvirt.VIR_ERR_NO_NODE_DEVICE, connection.nodeDeviceLookupSCSIHostByWWN, "a", "b")


def test_virsh_shows_devices_as_a_tree(daemon):
    assert daemon.virsh("nodedev-list", "--tree").startswith("computer")


def test_interfaces_are_listed_and_described(connection):
    interfaces = connection.listAllInterfaces()
    names = {one.name() for one in interfaces}
    assert names == {entry for entry in os.listdir("/sys/class/net") if os.path.exists(f"/sys/class/net/{entry}/type")}
    active = connection.listInterfaces()
    assert set(active) | set(connection.listDefinedInterfaces()) == names
    assert connection.numOfInterfaces() == len(active)
    for one in interfaces:
        root = ET.fromstring(one.XMLDesc())
        assert root.get("name") == one.name() and root.find("mac").get("address") == one.MACString()
        assert bool(one.isActive()) == (one.name() in active)
        assert connection.interfaceLookupByName(one.name()).MACString() == one.MACString()


def test_interfaces_that_are_not_there_are_told(connection):
    for name in ("nothing0", "../class", ""):
        refused(libvirt.VIR_ERR_NO_INTERFACE, connection.interfaceLookupByName, name)
    refused(libvirt.VIR_ERR_NO_INTERFACE, connection.interfaceLookupByMACString, "02:fe:fe:fe:fe:fe")
