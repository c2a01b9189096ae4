/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registers of PCI hotplug (src/vmm/pci/pci_hotplug.h) and of its event. */
#ifndef PAYLOAD_HOTPLUG_H
#define PAYLOAD_HOTPLUG_H

#define HOTPLUG_PORTS 0x640
#define HOTPLUG_UP (HOTPLUG_PORTS + 0)
#define HOTPLUG_DOWN (HOTPLUG_PORTS + 4)
#define HOTPLUG_EJECT (HOTPLUG_PORTS + 8)
#define HOTPLUG_OST (HOTPLUG_PORTS + 12)

#define GPE0_STATUS 0x620
#define GPE_HOTPLUG 2 /* bit 1 */
#define NOTIFY_EJECT 3u
#define OST_BUSY 0x82u

#endif
