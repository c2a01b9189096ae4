/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options for consoles and ports: the first one asked for brings the
 * virtio-console device, the others are further ports of it.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "vmm/chardev.h"
#include "vmm/display/vdagent.h"
#include "vmm/machine/machine.h"
#include "vmm/virtio/classes.h"
#include "vmm/virtio/console.h"

struct port_config {
    char *chardev;
    char *name;
    char *id;
    char *log_fds;
    uint64_t log_size;
    uint64_t slot;
};

#define SLOT_HELP VIRTIO_PCI_SLOT_HELP "; of the device, so the first one's counts"

static const struct option_spec console_options[] = {
    LOG_OPTIONS(struct port_config),
    OPTION(STRING, struct port_config, id, .help = "name in query-chardev (console0, ...)"),
    OPTION(UINT, struct port_config, slot, .max = 30, .help = SLOT_HELP),
    OPTION(STRING, struct port_config, chardev, .required = true, .help = CHARDEV_HELP),
    OPTION_END,
};

static const struct option_spec port_options[] = {
    LOG_OPTIONS(struct port_config),
    OPTION(STRING, struct port_config, id, .help = "name in events and query-chardev (its name)"),
    OPTION(UINT, struct port_config, slot, .max = 30, .help = SLOT_HELP),
    OPTION(STRING, struct port_config, chardev, .required = true,
           .help = CHARDEV_HELP "; " VDAGENT ": texts are copied between guest and viewers"),
    OPTION(STRING, struct port_config, name, .required = true,
           .help = "what the guest finds in /dev/virtio-ports, such as org.qemu.guest_agent.0"),
    OPTION_END,
};

/* Its loop is an I/O thread's: the control thread may have to wait for a vCPU that resets the
 * device, so it cannot be the one that the vCPU waits for. */
static int find_device(struct machine *machine, uint64_t slot, struct kv_error *err)
{
    struct virtio_console *console;
    if (machine->platform.console)
        return 0;
    int rc = virtio_console_new(&console, &machine->mem, machine_pick_loop(machine), err);
    if (rc == 0)
        rc = virtio_pci_create(machine, virtio_console_device(console), NULL, slot, err);
    if (rc == 0)
        machine->platform.console = console;
    return rc;
}

static int open_vdagent(struct chardev **out, struct machine *machine,
                        const struct port_config *config, struct loop *loop, struct kv_error *err)
{
    if (!config->name || strcmp(config->name, VDAGENT_PORT) != 0)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "chardev '" VDAGENT "' is for --port with name=" VDAGENT_PORT);
    if (config->log_fds)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "chardev '" VDAGENT "': what is copied is not logged");
    if (!machine->platform.clipboard)
        machine->platform.clipboard = clipboard_create();
    if (!machine->platform.clipboard)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "vdagent: out of memory");
    return vdagent_open(out, machine->platform.clipboard, loop, err);
}

static int add_port(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct port_config *config = opaque;
    struct chardev *chardev;
    int rc = find_device(machine, config->slot, err);
    if (rc < 0)
        return rc;
    struct virtio_console *console = machine->platform.console;
    struct loop *loop = virtio_console_device(console)->queues[0].loop;
    if (strcmp(config->chardev, VDAGENT) == 0)
        rc = open_vdagent(&chardev, machine, config, loop, err);
    else
        rc = chardev_open(&chardev, config->chardev, loop, err);
    if (rc == 0 && (rc = chardev_set_log(chardev, config->log_fds, config->log_size, err)) < 0)
        chardev_free(chardev);
    if (rc == 0)
        rc = virtio_console_add_port(console, config->name, chardev, err);
    if (rc == 0 && config->id)
        chardev_set_label(chardev, config->id);
    return rc;
}

const struct device_class virtio_console_class = {
    .option = "console",
    .implied = "chardev",
    .help = "a terminal of the guest (hvc0)",
    .options = console_options,
    .config_size = sizeof(struct port_config),
    .create = add_port,
};

const struct device_class virtio_port_class = {
    .option = "port",
    .implied = "chardev",
    .help = "a byte stream between host and guest",
    .options = port_options,
    .config_size = sizeof(struct port_config),
    .create = add_port,
};
