/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's list of devices; see device.h. */
#include "vmm/device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/machine/machine.h"

const struct device_class *device_class_find(const char *option)
{
    for (unsigned i = 0; device_classes[i]; i++) {
        if (strcmp(device_classes[i]->option, option) == 0)
            return device_classes[i];
    }
    return NULL;
}

struct device *device_find(struct machine *machine, const char *id)
{
    list_for_each (pos, &machine->devices) {
        struct device *dev = list_entry(pos, struct device, node);
        if (strcmp(dev->id, id) == 0)
            return dev;
    }
    return NULL;
}

int device_register(struct machine *machine, struct device *dev, const struct device_ops *ops,
                    const char *id, struct kv_error *err)
{
    dev->ops = ops;
    dev->machine = machine;
    list_init(&dev->node);
    if (id && strlen(id) >= sizeof(dev->id))
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device id '%s' is too long; at most %zu bytes are possible", id,
                            sizeof(dev->id) - 1);
    if (id)
        snprintf(dev->id, sizeof(dev->id), "%s", id);
    if (!machine)
        return 0;
    for (unsigned n = 0; !id; n++) {
        snprintf(dev->id, sizeof(dev->id), "%.40s%u", ops->type, n);
        if (!device_find(machine, dev->id))
            break;
    }
    if (id && device_find(machine, id))
        return kv_error_set(err, KV_ERR_DEVICE, EEXIST, "there is a device with id '%s' already",
                            id);
    list_add_tail(&machine->devices, &dev->node);
    return 0;
}

void device_unregister(struct device *dev)
{
    if (dev->node.next)
        list_del(&dev->node);
}
