/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-vsock (virtio 1.2, 5.10): options, the device's life and its numbers; see vsock.h. */
#include "vmm/virtio/vsock.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/machine/machine.h"
#include "vmm/virtio/classes.h"
#include "vmm/virtio/vsock_impl.h"

#define QUEUE_SIZE 256
#define EVENT_QUEUE_SIZE 16
#define F_STREAM 0 /* 5.10.3; older kernel headers do not name it */

static const struct option_spec vsock_options[] = {
    OPTION(STRING, struct vsock_config, id, .help = "name of the device"),
    OPTION(UINT, struct vsock_config, slot, .max = 30, .help = VIRTIO_PCI_SLOT_HELP),
    OPTION_NAMED("guest-cid", UINT, struct vsock_config, guest_cid, .required = true, .min = 3,
                 .max = 0xfffffffe, .help = "the guest's address"),
    OPTION(STRING, struct vsock_config, path, .required = true,
           .help = "unix socket for CONNECT; guests' connections go to PATH_<port>"),
    OPTION(FD, struct vsock_config, fd, .help = "inherited listening socket instead"),
    OPTION_END,
};

void vsock_config_defaults(void *config)
{
    *(struct vsock_config *)config = (struct vsock_config){.fd = -1};
}

static void vsock_queue_start(struct virtio_device *dev, struct virtio_queue *queue)
{
    struct vsock *vs = vsock_of(dev);
    if (queue == vs->rx) {
        vs->rx_running = true;
        vsock_rx_run(vs);
    } else if (queue == vs->tx) {
        vs->tx_running = true;
    } else {
        vsock_event_run(vs);
    }
}

static void vsock_queue_stop(struct virtio_device *dev, struct virtio_queue *queue)
{
    struct vsock *vs = vsock_of(dev);
    if (queue == vs->rx) {
        vs->rx_running = false;
        loop_timer_cancel(&vs->rx_timer);
    } else if (queue == vs->tx) {
        vs->tx_running = false;
        loop_timer_cancel(&vs->tx_timer);
    }
}

static void vsock_kick(struct virtio_device *dev, struct virtio_queue *queue)
{
    struct vsock *vs = vsock_of(dev);
    if (queue == vs->rx)
        vsock_rx_run(vs);
    else if (queue == vs->tx)
        vsock_tx_run(vs);
    else
        vsock_event_run(vs);
}

static void drop_all(void *opaque)
{
    struct vsock *vs = opaque;
    for (unsigned i = 0; i < VSOCK_BUCKETS; i++) {
        list_for_each_safe (pos, &vs->buckets[i])
            vsock_conn_free(list_entry(pos, struct vsock_conn, node));
    }
    list_for_each_safe (pos, &vs->handshakes)
        vsock_conn_free(list_entry(pos, struct vsock_conn, node));
    vs->reset_count = 0;
    vs->lost_connections = false;
}

static void vsock_reset_device(struct virtio_device *dev)
{
    struct vsock *vs = vsock_of(dev);
    loop_call(vs->loop, drop_all, vs);
}

/* Connections do not move: the program at the other end is on the old host. */
static int vsock_load(struct virtio_device *dev, const json_t *state, struct kv_error *err)
{
    vsock_of(dev)->lost_connections = true;
    return 0;
}

static json_t *vsock_save(struct virtio_device *dev)
{
    return json_object();
}

static void vsock_metrics(struct virtio_device *dev, json_t *out)
{
    struct vsock *vs = vsock_of(dev);
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"connections", atomic_load(&vs->current)},   {"opened", atomic_load(&vs->opened)},
        {"refused", atomic_load(&vs->refused)},       {"dropped", atomic_load(&vs->dropped)},
        {"rx-packets", atomic_load(&vs->rx_packets)}, {"rx-bytes", atomic_load(&vs->rx_bytes)},
        {"tx-packets", atomic_load(&vs->tx_packets)}, {"tx-bytes", atomic_load(&vs->tx_bytes)},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        json_object_set_new(out, rows[i].name, json_integer((json_int_t)rows[i].value));
}

static void close_all(void *opaque)
{
    struct vsock *vs = opaque;
    drop_all(vs);
    vsock_host_close(vs);
}

static void vsock_free(struct virtio_device *dev)
{
    struct vsock *vs = vsock_of(dev);
    if (dev->queues)
        virtio_device_destroy(dev);
    loop_call(vs->loop, close_all, vs);
    free(vs);
}

static const struct virtio_device_ops vsock_ops = {
    .device_id = 19,
    .queue_start = vsock_queue_start,
    .queue_stop = vsock_queue_stop,
    .kick = vsock_kick,
    .reset = vsock_reset_device,
    .save = vsock_save,
    .load = vsock_load,
    .metrics = vsock_metrics,
    .free = vsock_free,
};

int vsock_create(struct virtio_device **out, const struct vsock_config *config,
                 struct guest_mem *mem, struct loop *loop, struct kv_error *err)
{
    struct vsock *vs = calloc(1, sizeof(*vs));
    if (!vs)
        return kv_error_errno(err, KV_ERR_NET, ENOMEM, "vsock");
    vs->loop = loop;
    vs->broker = BROKER_INIT;
    vs->listener = vs->answers = LOOP_SOURCE_INIT;
    vs->config.guest_cid = htole64(config->guest_cid);
    list_init(&vs->handshakes);
    list_init(&vs->ready);
    for (unsigned i = 0; i < VSOCK_BUCKETS; i++)
        list_init(&vs->buckets[i]);

    static const uint16_t sizes[] = {QUEUE_SIZE, QUEUE_SIZE, EVENT_QUEUE_SIZE};
    int rc = vsock_host_open(vs, config, err);
    if (rc == 0)
        rc = virtio_device_init(&vs->dev, &vsock_ops, "virtio-vsock", BIT(F_STREAM), &vs->config,
                                sizeof(vs->config), ARRAY_SIZE(sizes), sizes, mem, loop, err);
    if (rc < 0) {
        vsock_free(&vs->dev);
        return rc;
    }
    vs->rx = &vs->dev.queues[0];
    vs->tx = &vs->dev.queues[1];
    vs->event = &vs->dev.queues[2];
    *out = &vs->dev;
    return 0;
}

static int vsock_class_create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct vsock_config *config = opaque;
    struct virtio_device *dev;
    int rc = vsock_create(&dev, config, &machine->mem, machine_pick_loop(machine), err);
    if (rc < 0)
        return rc;
    dev->machine = machine;
    return virtio_pci_create(machine, dev, config->id, config->slot, err);
}

const struct device_class virtio_vsock_class = {
    .option = "vsock",
    .help = "sockets between guest and host (virtio-vsock)",
    .options = vsock_options,
    .config_size = sizeof(struct vsock_config),
    .defaults = vsock_config_defaults,
    .create = vsock_class_create,
    .max = 1,
};
