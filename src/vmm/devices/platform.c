/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The platform devices of every machine, in the order they are made. */
#include "vmm/devices/platform.h"

#include "base/util.h"
#include "vmm/devices/cpu_hotplug.h"
#include "vmm/devices/i8042.h"
#include "vmm/devices/pm.h"
#include "vmm/devices/pvpanic.h"
#include "vmm/devices/rtc.h"
#include "vmm/devices/vmgenid.h"
#include "vmm/machine/machine.h"
#include "vmm/pci/pci_hotplug.h"

static int (*const create[])(struct machine *machine, struct kv_error *err) = {
    pm_create, cpu_hotplug_create, rtc_create, i8042_create, pvpanic_create, vmgenid_create,
};

int platform_create(struct machine *machine, struct kv_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < ARRAY_SIZE(create); i++)
        rc = create[i](machine, err);
    return rc == 0 && machine->config.hotplug ? pci_hotplug_create(machine, err) : rc;
}
