/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Debug ports 0x402 (where firmware expects it; it reads as 0xe9 when it is
 * there) and 0xe9 (Bochs' habit): every byte written goes to a chardev. Bytes
 * that the other end does not take are lost, as there is no way to wait.
 */
#include <errno.h>
#include <stdlib.h>

#include "vmm/chardev.h"
#include "vmm/devices/classes.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/layout.h"

#define DEBUGCON_PRESENT 0xe9

struct debugcon_config {
    char *chardev, *id;
};

struct debugcon {
    struct device device;
    struct chardev *chardev;
    atomic_uint_fast64_t bytes, lost;
};

static uint64_t debugcon_read(void *opaque, uint64_t offset, unsigned len)
{
    return DEBUGCON_PRESENT;
}

static void debugcon_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct debugcon *con = opaque;
    uint8_t byte = (uint8_t)value;
    if (chardev_write(con->chardev, &byte, 1) == 1)
        atomic_fetch_add(&con->bytes, 1);
    else
        atomic_fetch_add(&con->lost, 1);
}

static const struct bus_ops debugcon_regs = {.read = debugcon_read, .write = debugcon_write};

static const struct chardev_ops debugcon_chardev_ops; /* input is of no use */

static struct debugcon *to_debugcon(struct device *dev)
{
    return container_of(dev, struct debugcon, device);
}

static void debugcon_metrics(struct device *dev, json_t *out)
{
    struct debugcon *con = to_debugcon(dev);
    json_object_set_new(out, "bytes", json_integer((json_int_t)atomic_load(&con->bytes)));
    json_object_set_new(out, "lost", json_integer((json_int_t)atomic_load(&con->lost)));
}

static void debugcon_free(struct device *dev)
{
    bus_unmap(&dev->machine->pio, PORT_DEBUGCON);
    bus_unmap(&dev->machine->pio, PORT_DEBUG_E9);
    chardev_free(to_debugcon(dev)->chardev);
    free(to_debugcon(dev));
}

static const struct device_ops debugcon_ops = {
    .type = "debugcon",
    .metrics = debugcon_metrics,
    .free = debugcon_free,
};

static int map_port(struct debugcon *con, uint16_t port, struct kv_error *err)
{
    return bus_map(
        &con->device.machine->pio,
        &(struct bus_region){
            .base = port, .size = 1, .ops = &debugcon_regs, .opaque = con, .name = con->device.id},
        err);
}

static int debugcon_create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct debugcon_config *config = opaque;
    struct debugcon *con = calloc(1, sizeof(*con));
    if (!con)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "debug port: out of memory");
    int rc = chardev_open(&con->chardev, config->chardev, &machine->loop, err);
    if (rc == 0)
        rc = device_register(machine, &con->device, &debugcon_ops, config->id, err);
    if (rc < 0) {
        chardev_free(con->chardev);
        free(con);
        return rc;
    }
    chardev_set_label(con->chardev, con->device.id);
    chardev_attach(con->chardev, &debugcon_chardev_ops, con);
    rc = map_port(con, PORT_DEBUGCON, err);
    if (rc == 0)
        rc = map_port(con, PORT_DEBUG_E9, err);
    return rc;
}

static const struct option_spec debugcon_options[] = {
    OPTION(STRING, struct debugcon_config, chardev,
           .help = "where the bytes go: stdio, null, file:PATH, pty, unix:PATH, fd:N",
           .required = true),
    OPTION(STRING, struct debugcon_config, id, .help = "name of the device"),
    OPTION_END,
};

const struct device_class debugcon_class = {
    .option = "debugcon",
    .implied = "chardev",
    .help = "debug ports 0x402 and 0xe9",
    .options = debugcon_options,
    .config_size = sizeof(struct debugcon_config),
    .create = debugcon_create,
    .max = 1,
};
