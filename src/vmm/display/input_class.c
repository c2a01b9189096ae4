/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device class "input": a keyboard, a mouse or a tablet on the bus that it names. */
#include <errno.h>

#include "vmm/devices/classes.h"
#include "vmm/display/input.h"
#include "vmm/usb/xhci.h"
#include "vmm/virtio/input.h"

enum { BUS_VIRTIO, BUS_USB };

static const char *const types[] = {
    [INPUT_KEYBOARD] = "keyboard", [INPUT_MOUSE] = "mouse", [INPUT_TABLET] = "tablet", NULL};
static const char *const buses[] = {[BUS_VIRTIO] = "virtio", [BUS_USB] = "usb", NULL};

static const struct option_spec input_options[] = {
    OPTION(ENUM, struct input_config, type, .values = types, .required = true,
           .help = "what it is"),
    OPTION(ENUM, struct input_config, bus, .values = buses, .help = "default: virtio"),
    OPTION(STRING, struct input_config, id, .help = "name of the device"),
    OPTION(UINT, struct input_config, slot, .max = 30, .help = VIRTIO_PCI_SLOT_HELP),
    OPTION(UINT, struct input_config, port, .min = 1, .max = XHCI_USB2_PORTS,
           .help = "with bus=usb: of the controller; default: the first free one"),
    OPTION_END,
};

static int create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct input_config *config = opaque;
    if (config->bus == BUS_USB)
        return xhci_attach_input(machine, config, err);
    if (config->port)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "port is for bus=usb");
    return virtio_input_attach(machine, config, err);
}

const struct device_class input_class = {
    .option = "input",
    .implied = "type",
    .help = "a keyboard, a mouse or a tablet",
    .options = input_options,
    .config_size = sizeof(struct input_config),
    .create = create,
    .max = INPUT_SINKS_MAX - 2, /* beside the keyboard and the mouse of --vga */
};
