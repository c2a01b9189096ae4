/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The balloon in a machine: its option, the machine's memory behind it, and what the control
 * socket asks of it; see balloon.h. */
#include <errno.h>
#include <stddef.h>

#include "vmm/machine/machine.h"
#include "vmm/virtio/balloon.h"
#include "vmm/virtio/classes.h"

static const struct option_spec balloon_options[] = {
    OPTION(STRING, struct balloon_config, id, .help = "name of the device"),
    OPTION(UINT, struct balloon_config, slot, .max = 30, .help = VIRTIO_PCI_SLOT_HELP),
    OPTION_NAMED("deflate-on-oom", BOOL, struct balloon_config, deflate_on_oom,
                 .help = "the guest may take memory back when it runs out of it"),
    OPTION_NAMED("free-page-reporting", BOOL, struct balloon_config, free_page_reporting,
                 .help = "memory that the guest does not use goes back to the host"),
    OPTION_NAMED("stats-interval", UINT, struct balloon_config, stats_interval, .max = 86400,
                 .help = "seconds between two statistics of the guest; 0: none"),
    OPTION_END,
};

static void discard(void *opaque, uint64_t gpa, uint64_t len)
{
    /* Where the host cannot (part of a huge page), the guest merely keeps the memory. */
    memory_discard(opaque, gpa, len);
}

static int create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct balloon_config *config = opaque;
    const struct balloon_backend backend = {
        .discard = discard, .opaque = &machine->memory, .memory_size = machine->memory.size};
    struct virtio_device *dev;
    int rc = balloon_create(&dev, config, &backend, &machine->mem, machine_pick_loop(machine), err);
    if (rc == 0)
        rc = virtio_pci_create(machine, dev, config->id, config->slot, err);
    if (rc == 0)
        machine->platform.balloon = balloon_of(dev);
    return rc;
}

const struct device_class virtio_balloon_class = {
    .option = "balloon",
    .implied = "id",
    .help = "a balloon, to take memory from the guest while it runs",
    .options = balloon_options,
    .config_size = sizeof(struct balloon_config),
    .create = create,
    .max = 1,
};

static int find(struct machine *machine, struct virtio_balloon **balloon, struct kv_error *err)
{
    *balloon = machine->platform.balloon;
    if (!*balloon)
        return kv_error_set(err, KV_ERR_DEVICE, ENODEV,
                            "the machine has no balloon; start it with --balloon");
    return 0;
}

int balloon_set_target(struct machine *machine, uint64_t bytes, struct kv_error *err)
{
    struct virtio_balloon *balloon;
    int rc = find(machine, &balloon, err);
    if (rc == 0)
        balloon_device_set_target(balloon, bytes);
    return rc;
}

int balloon_query(struct machine *machine, uint64_t *actual, struct kv_error *err)
{
    struct virtio_balloon *balloon;
    int rc = find(machine, &balloon, err);
    if (rc == 0)
        *actual = balloon_device_actual(balloon);
    return rc;
}

int balloon_query_stats(struct machine *machine, json_t **out, struct kv_error *err)
{
    struct virtio_balloon *balloon;
    int rc = find(machine, &balloon, err);
    if (rc == 0)
        *out = balloon_device_stats(balloon);
    return rc;
}

int balloon_set_stats_interval(struct machine *machine, uint64_t seconds, struct kv_error *err)
{
    struct virtio_balloon *balloon;
    int rc = find(machine, &balloon, err);
    if (rc == 0)
        balloon_device_set_stats_interval(balloon, seconds);
    return rc;
}
