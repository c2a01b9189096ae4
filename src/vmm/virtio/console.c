/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-console (virtio 1.2, 5.3), see console.h. This file moves bytes
 * between rings and chardevs and speaks the control protocol (5.3.6.2);
 * console_class.c makes it from options. Everything runs on the one loop of
 * the queues and chardevs, except writes to configuration space.
 */
#include "vmm/virtio/console.h"

#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/util.h"
#include "vmm/machine/machine.h"

#define QUEUES (2 * (CONSOLE_PORTS_MAX + 1))
#define QUEUE_SIZE 64
#define CONTROL_RX 2 /* queue numbers, 5.3.2 */
#define CONTROL_TX 3
#define INBOX_SIZE 4096   /* bytes that were read from the host and wait for the driver's buffers */
#define CHAINS_AT_ONCE 64 /* then other sources of the loop have their turn */

/* Messages that a port owes the driver, in the order in which they go. Each says how things stand
 * when it leaves, so one bit is enough however often things change. */
enum due {
    DUE_ADD = 1 << 0,
    DUE_CONSOLE = 1 << 1,
    DUE_NAME = 1 << 2,
    DUE_RESIZE = 1 << 3,
    DUE_OPEN = 1 << 4,
};

struct port {
    struct virtio_console *console;
    unsigned number;
    struct chardev *chardev;         /* NULL: no such port */
    char name[CONSOLE_NAME_MAX + 1]; /* empty: a console */
    uint16_t columns, rows;
    bool ready;      /* the driver knows the port */
    bool guest_open; /* a program in the guest has it open */
    unsigned due;    /* enum due */
    struct buffer inbox;
    uint64_t tx_offset; /* how much of the first waiting chain is written already */
    atomic_uint_fast64_t bytes_to_guest, bytes_from_guest;
};

struct virtio_console {
    struct virtio_device dev;
    struct virtio_console_config config;
    struct port ports[CONSOLE_PORTS_MAX];
    unsigned port_count;
    unsigned again; /* bit n: queue n has more to do */
    struct loop_work again_work;
    struct iovec iov[QUEUE_SIZE];
};

static struct virtio_console *console_of(struct virtio_device *dev)
{
    return container_of(dev, struct virtio_console, dev);
}

static bool multiport(const struct virtio_console *console)
{
    return virtio_has(&console->dev, VIRTIO_CONSOLE_F_MULTIPORT);
}

static bool is_console(const struct port *port)
{
    return port->name[0] == '\0';
}

/* 5.3.2: port 0 has queues 0 and 1, the control queues are 2 and 3, then come the other ports. */
static struct virtio_queue *port_queue(struct port *port, bool tx)
{
    unsigned first = port->number ? 2 * port->number + 2 : 0;
    return &port->console->dev.queues[first + tx];
}

static struct port *queue_port(struct virtio_console *console, unsigned index)
{
    return &console->ports[index < CONTROL_RX ? 0 : index / 2 - 1];
}

static bool usable(struct virtio_queue *queue)
{
    return atomic_load(&queue->active) && queue->ring.started && !queue->ring.broken &&
           !atomic_load(&queue->device->needs_reset);
}

static void serve_again(void *opaque)
{
    struct virtio_console *console = opaque;
    unsigned again = console->again;
    console->again = 0;
    for (unsigned i = 0; i < QUEUES; i++) {
        if ((again >> i & 1) && usable(&console->dev.queues[i]))
            console->dev.ops->kick(&console->dev, &console->dev.queues[i]);
    }
}

/* Takes a chain if there is one and it is this queue's turn still; *budget counts down. */
static bool next_chain(struct virtio_queue *queue, struct virtqueue_chain *chain, unsigned *budget)
{
    struct virtio_console *console = console_of(queue->device);
    if (!usable(queue))
        return false;
    if (*budget == 0) {
        console->again |= 1u << queue->index;
        loop_post(queue->loop, &console->again_work);
        return false;
    }
    --*budget;
    *chain = (struct virtqueue_chain){.iov = console->iov, .iov_max = ARRAY_SIZE(console->iov)};
    int got;
    do {
        got = virtqueue_pop(&queue->ring, chain);
    } while (got == 0 && virtqueue_enable_kick(&queue->ring));
    if (got < 0)
        virtio_queue_broken(queue);
    return got == 1;
}

/* --- Control messages to the driver (5.3.6.2) --- */

struct message {
    struct virtio_console_control head;
    union {
        uint16_t size[2];
        char name[CONSOLE_NAME_MAX];
    } body;
};

/* Returns the length. The message is what is owed first. */
static size_t make_message(struct port *port, enum due due, struct message *message)
{
    *message = (struct message){.head = {.id = port->number, .value = 1}};
    switch (due) {
    case DUE_ADD:
        message->head.event = VIRTIO_CONSOLE_PORT_ADD;
        return sizeof(message->head);
    case DUE_CONSOLE:
        message->head.event = VIRTIO_CONSOLE_CONSOLE_PORT;
        return sizeof(message->head);
    case DUE_NAME:
        message->head.event = VIRTIO_CONSOLE_PORT_NAME;
        memcpy(message->body.name, port->name, strlen(port->name));
        return sizeof(message->head) + strlen(port->name);
    case DUE_RESIZE:
        /* Columns first, as the specification has it; Linux before 6.15 took the other order. A
         * console alone needs no message: its size is in the configuration space. */
        message->head.event = VIRTIO_CONSOLE_RESIZE;
        message->body.size[0] = port->columns;
        message->body.size[1] = port->rows;
        return sizeof(message->head) + sizeof(message->body.size);
    case DUE_OPEN:
        message->head.event = VIRTIO_CONSOLE_PORT_OPEN;
        message->head.value = chardev_is_connected(port->chardev);
        return sizeof(message->head);
    }
    return 0;
}

/* One message. False when it has to wait for a buffer. */
static bool send_message(struct port *port, enum due due, unsigned *budget)
{
    struct virtio_queue *queue = &port->console->dev.queues[CONTROL_RX];
    struct virtqueue_chain chain;
    struct message message;
    if (!next_chain(queue, &chain, budget))
        return false;
    size_t len = make_message(port, due, &message);
    if (chain.in_bytes < len) {
        virtqueue_push(&queue->ring, &chain, 0);
        virtio_fail(queue->device, "a control buffer is too small for its message");
        return false;
    }
    virtqueue_write_in(&chain, 0, &message, len);
    virtqueue_push(&queue->ring, &chain, (uint32_t)len);
    return true;
}

static void send_messages(struct virtio_console *console)
{
    unsigned budget = CHAINS_AT_ONCE;
    bool room = multiport(console);
    for (unsigned i = 0; i < console->port_count; i++) {
        struct port *port = &console->ports[i];
        while (room && port->due) {
            unsigned due = port->due & -port->due;
            room = send_message(port, due, &budget);
            if (room)
                port->due &= ~due;
        }
    }
    if (usable(&console->dev.queues[CONTROL_RX]))
        virtio_queue_notify(&console->dev.queues[CONTROL_RX]);
}

static void owe(struct port *port, unsigned due)
{
    if (!port->ready || !multiport(port->console))
        return;
    port->due |= due;
    send_messages(port->console);
}

/* --- Control messages from the driver --- */

static void set_guest_open(struct port *port, bool on)
{
    if (!is_console(port))
        chardev_set_guest_open(port->chardev, on);
    if (port->guest_open != on && !is_console(port))
        machine_emit(port->console->dev.machine, "VSERPORT_CHANGE",
                     json_pack("{s:b, s:s}", "open", on, "id", chardev_label(port->chardev)));
    port->guest_open = on;
    if (on)
        chardev_accept_input(port->chardev);
}

static void port_ready(struct port *port, bool ok)
{
    port->ready = ok;
    port->due = 0;
    if (!ok) {
        log_guest("virtio-console: the guest could not add port %u", port->number);
        return;
    }
    owe(port,
        DUE_OPEN | (is_console(port) ? DUE_CONSOLE : DUE_NAME) | (port->columns ? DUE_RESIZE : 0));
    chardev_accept_input(port->chardev);
}

static void handle_message(struct virtio_console *console,
                           const struct virtio_console_control *message)
{
    if (message->event == VIRTIO_CONSOLE_DEVICE_READY) {
        if (message->value != 1)
            log_guest("virtio-console: the guest's driver could not set the device up");
        for (unsigned i = 0; message->value == 1 && i < console->port_count; i++)
            console->ports[i].due |= DUE_ADD;
        send_messages(console);
        return;
    }
    if (message->id >= console->port_count) {
        log_guest("virtio-console: the guest speaks of port %u; there are %u", message->id,
                  console->port_count);
        return;
    }
    struct port *port = &console->ports[message->id];
    if (message->event == VIRTIO_CONSOLE_PORT_READY)
        port_ready(port, message->value == 1);
    else if (message->event == VIRTIO_CONSOLE_PORT_OPEN)
        set_guest_open(port, message->value != 0);
    else
        log_guest("virtio-console: the guest sends unknown event %u", message->event);
}

static void receive_messages(struct virtio_console *console)
{
    struct virtio_queue *queue = &console->dev.queues[CONTROL_TX];
    struct virtqueue_chain chain;
    unsigned budget = CHAINS_AT_ONCE;
    while (next_chain(queue, &chain, &budget)) {
        struct virtio_console_control message;
        size_t len = virtqueue_read_out(&chain, 0, &message, sizeof(message));
        virtqueue_push(&queue->ring, &chain, 0);
        if (len == sizeof(message))
            handle_message(console, &message);
        else
            log_guest("virtio-console: the guest sends a control message of %zu bytes", len);
    }
    if (usable(queue))
        virtio_queue_notify(queue);
}

/* --- Data --- */

/* May the host's bytes go to the driver? */
static bool takes_input(struct port *port)
{
    if (!multiport(port->console))
        return port->number == 0;
    return port->ready && (is_console(port) || port->guest_open);
}

/* What was read from the host goes into the driver's buffers; what does not fit stays. */
static void fill_buffers(struct port *port)
{
    struct virtio_queue *queue = port_queue(port, false);
    struct virtqueue_chain chain;
    unsigned budget = CHAINS_AT_ONCE;
    bool any = false;
    while (port->inbox.len && next_chain(queue, &chain, &budget)) {
        size_t len = virtqueue_write_in(&chain, 0, buffer_bytes(&port->inbox), port->inbox.len);
        virtqueue_push(&queue->ring, &chain, (uint32_t)len);
        buffer_consume(&port->inbox, len);
        port->bytes_to_guest += len;
        any = true;
    }
    if (any)
        virtio_queue_notify(queue);
}

static size_t port_can_receive(void *opaque)
{
    struct port *port = opaque;
    bool can = port->inbox.len == 0 && usable(port_queue(port, false)) && takes_input(port);
    return can ? INBOX_SIZE : 0;
}

static void port_receive(void *opaque, const uint8_t *bytes, size_t len)
{
    struct port *port = opaque;
    buffer_append_some(&port->inbox, bytes, len);
    fill_buffers(port);
}

/* Writes what is left of the chain. False: the host takes no more for now. */
static bool drain_chain(struct port *port, const struct virtqueue_chain *chain)
{
    uint64_t at = 0;
    for (unsigned i = 0; i < chain->out_count; at += chain->iov[i].iov_len, i++) {
        const struct iovec *iov = &chain->iov[i];
        if (port->tx_offset >= at + iov->iov_len)
            continue;
        size_t skip = port->tx_offset - at, len = iov->iov_len - skip;
        size_t took = chardev_write(port->chardev, (const uint8_t *)iov->iov_base + skip, len);
        port->tx_offset += took;
        port->bytes_from_guest += took;
        if (took < len)
            return false;
    }
    return true;
}

static void drain_queue(struct port *port)
{
    struct virtio_queue *queue = port_queue(port, true);
    struct virtqueue_chain chain;
    unsigned budget = CHAINS_AT_ONCE;
    while (next_chain(queue, &chain, &budget)) {
        /* A port that does not exist swallows. */
        if (port->chardev && !drain_chain(port, &chain)) {
            virtqueue_unpop(&queue->ring, &chain);
            break;
        }
        port->tx_offset = 0;
        virtqueue_push(&queue->ring, &chain, 0);
    }
    if (usable(queue))
        virtio_queue_notify(queue);
}

static void port_writable(void *opaque)
{
    drain_queue(opaque);
}

static void port_connected(void *opaque, bool on)
{
    owe(opaque, DUE_OPEN);
}

static void port_resized(void *opaque, unsigned columns, unsigned rows)
{
    struct port *port = opaque;
    struct virtio_console *console = port->console;
    if (!is_console(port))
        return;
    port->columns = (uint16_t)MIN(columns, 65535u);
    port->rows = (uint16_t)MIN(rows, 65535u);
    if (port->number == 0) {
        console->config.cols = port->columns;
        console->config.rows = port->rows;
        virtio_config_changed(&console->dev);
    }
    owe(port, DUE_RESIZE);
}

static const struct chardev_ops port_ops = {
    .can_receive = port_can_receive,
    .receive = port_receive,
    .writable = port_writable,
    .connected = port_connected,
    .resized = port_resized,
};

/* --- The device --- */

static void console_kick(struct virtio_device *dev, struct virtio_queue *queue)
{
    struct virtio_console *console = console_of(dev);
    struct port *port = queue_port(console, queue->index);
    if (queue->index == CONTROL_RX) {
        send_messages(console);
    } else if (queue->index == CONTROL_TX) {
        receive_messages(console);
    } else if (queue->index & 1) {
        drain_queue(port);
    } else {
        fill_buffers(port);
        if (port->chardev && !port->inbox.len)
            chardev_accept_input(port->chardev);
    }
}

static void console_queue_stop(struct virtio_device *dev, struct virtio_queue *queue)
{
    struct virtio_console *console = console_of(dev);
    console->again &= ~(1u << queue->index);
    if (!console->again)
        loop_unpost(queue->loop, &console->again_work);
}

/* Emergency write (5.3.4): a byte to the first console, before or beside any driver. vCPU thread.
 */
static void console_config_write(struct virtio_device *dev, unsigned offset, const void *data,
                                 unsigned len)
{
    struct port *port = &console_of(dev)->ports[0];
    if (offset == offsetof(struct virtio_console_config, emerg_wr) && port->chardev &&
        is_console(port))
        chardev_write(port->chardev, data, 1);
}

static void forget_driver(void *opaque)
{
    struct virtio_console *console = opaque;
    for (unsigned i = 0; i < console->port_count; i++) {
        struct port *port = &console->ports[i];
        set_guest_open(port, false);
        port->ready = false;
        port->due = 0;
        port->tx_offset = 0;
        buffer_consume(&port->inbox, port->inbox.len);
    }
}

static void console_reset(struct virtio_device *dev)
{
    loop_call(dev->queues[0].loop, forget_driver, console_of(dev));
}

struct transfer {
    struct virtio_console *console;
    json_t *state;
    struct kv_error *err;
    int rc;
};

static void save_now(void *opaque)
{
    struct transfer *transfer = opaque;
    json_t *ports = json_array();
    for (unsigned i = 0; i < transfer->console->port_count; i++) {
        struct port *port = &transfer->console->ports[i];
        json_t *inbox = json_array();
        for (size_t n = 0; n < port->inbox.len; n++)
            json_array_append_new(inbox, json_integer(buffer_bytes(&port->inbox)[n]));
        json_array_append_new(ports,
                              json_pack("{s:b, s:b, s:i, s:I, s:o}", "ready", port->ready,
                                        "guest-open", port->guest_open, "due", (int)port->due,
                                        "tx-offset", (json_int_t)port->tx_offset, "inbox", inbox));
    }
    transfer->state = json_pack("{s:o}", "ports", ports);
}

static json_t *console_save(struct virtio_device *dev)
{
    struct transfer transfer = {.console = console_of(dev)};
    loop_call(dev->queues[0].loop, save_now, &transfer);
    return transfer.state;
}

static int load_port(struct port *port, const json_t *state)
{
    int ready, guest_open, due;
    json_int_t tx_offset;
    json_t *inbox, *byte;
    size_t n;
    if (json_unpack((json_t *)state, "{s:b, s:b, s:i, s:I, s:o}", "ready", &ready, "guest-open",
                    &guest_open, "due", &due, "tx-offset", &tx_offset, "inbox", &inbox) < 0 ||
        tx_offset < 0 || !json_is_array(inbox) || json_array_size(inbox) > INBOX_SIZE)
        return -EINVAL;
    port->ready = ready;
    port->guest_open = guest_open;
    if (!is_console(port))
        chardev_set_guest_open(port->chardev, guest_open);
    port->due = (unsigned)due & (2 * DUE_OPEN - 1);
    if (ready)
        port->due |= DUE_OPEN; /* the host's end is another one now */
    port->tx_offset = (uint64_t)tx_offset;
    buffer_consume(&port->inbox, port->inbox.len);
    json_array_foreach (inbox, n, byte) {
        uint8_t value = (uint8_t)json_integer_value(byte);
        buffer_append_some(&port->inbox, &value, 1);
    }
    return 0;
}

static void load_now(void *opaque)
{
    struct transfer *transfer = opaque;
    const json_t *ports = json_object_get(transfer->state, "ports");
    size_t count = json_array_size(ports);
    if (count != transfer->console->port_count)
        transfer->rc = kv_error_set(transfer->err, KV_ERR_DEVICE, EINVAL,
                                    "virtio-console: the state has %zu ports, the device %u", count,
                                    transfer->console->port_count);
    for (unsigned i = 0; transfer->rc == 0 && i < count; i++) {
        transfer->rc = load_port(&transfer->console->ports[i], json_array_get(ports, i));
        if (transfer->rc < 0)
            kv_error_set(transfer->err, KV_ERR_DEVICE, EINVAL,
                         "virtio-console: the state of port %u is malformed", i);
    }
}

static int console_load(struct virtio_device *dev, const json_t *state, struct kv_error *err)
{
    struct transfer transfer = {.console = console_of(dev), .state = (json_t *)state, .err = err};
    loop_call(dev->queues[0].loop, load_now, &transfer);
    return transfer.rc;
}

static void console_metrics(struct virtio_device *dev, json_t *out)
{
    struct virtio_console *console = console_of(dev);
    json_t *ports = json_array();
    for (unsigned i = 0; i < console->port_count; i++) {
        struct port *port = &console->ports[i];
        json_array_append_new(
            ports, json_pack("{s:s, s:I, s:I}", "name", port->name, "bytes-to-guest",
                             (json_int_t)atomic_load(&port->bytes_to_guest), "bytes-from-guest",
                             (json_int_t)atomic_load(&port->bytes_from_guest)));
    }
    json_object_set_new(out, "ports", ports);
}

static void console_free(struct virtio_device *dev)
{
    struct virtio_console *console = console_of(dev);
    if (dev->machine)
        dev->machine->platform.console = NULL;
    /* Chardevs call until they are gone, and look at the queues. */
    virtio_device_stop(dev);
    for (unsigned i = 0; i < console->port_count; i++) {
        chardev_free(console->ports[i].chardev);
        buffer_free(&console->ports[i].inbox);
    }
    virtio_device_destroy(dev);
    free(console);
}

static const struct virtio_device_ops console_ops = {
    .device_id = VIRTIO_ID_CONSOLE,
    .config_write = console_config_write,
    .queue_stop = console_queue_stop,
    .kick = console_kick,
    .reset = console_reset,
    .save = console_save,
    .load = console_load,
    .metrics = console_metrics,
    .free = console_free,
};

int virtio_console_new(struct virtio_console **out, struct guest_mem *mem, struct loop *loop,
                       struct kv_error *err)
{
    uint16_t sizes[QUEUES];
    struct virtio_console *console = calloc(1, sizeof(*console));
    if (!console)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "virtio-console: out of memory");
    for (unsigned i = 0; i < QUEUES; i++)
        sizes[i] = QUEUE_SIZE;
    int rc = virtio_device_init(&console->dev, &console_ops, "virtio-console",
                                BIT(VIRTIO_CONSOLE_F_SIZE) | BIT(VIRTIO_CONSOLE_F_EMERG_WRITE),
                                &console->config, sizeof(console->config), QUEUES, sizes, mem, loop,
                                err);
    if (rc < 0) {
        free(console);
        return rc;
    }
    console->config.max_nr_ports = CONSOLE_PORTS_MAX;
    console->again_work = (struct loop_work){.fn = serve_again, .opaque = console};
    for (unsigned i = 0; i < CONSOLE_PORTS_MAX; i++) {
        console->ports[i].console = console;
        console->ports[i].number = i;
        console->ports[i].inbox = BUFFER_INIT(INBOX_SIZE);
    }
    *out = console;
    return 0;
}

static int check_name(struct virtio_console *console, const char *name, struct kv_error *err)
{
    if (!name)
        return 0;
    if (!*name || strlen(name) > CONSOLE_NAME_MAX || strchr(name, '/'))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "port name '%s': 1 to %u bytes without '/' are possible", name,
                            CONSOLE_NAME_MAX);
    for (unsigned i = 0; i < console->port_count; i++) {
        if (strcmp(console->ports[i].name, name) == 0)
            return kv_error_set(err, KV_ERR_CONFIG, EEXIST, "port name '%s' is given twice", name);
    }
    return 0;
}

int virtio_console_add_port(struct virtio_console *console, const char *name,
                            struct chardev *chardev, struct kv_error *err)
{
    int rc = check_name(console, name, err);
    if (rc == 0 && console->port_count == CONSOLE_PORTS_MAX)
        rc = kv_error_set(err, KV_ERR_CONFIG, ENOSPC, "virtio-console: all %u ports are in use",
                          CONSOLE_PORTS_MAX);
    if (rc < 0) {
        chardev_free(chardev);
        return rc;
    }
    struct port *port = &console->ports[console->port_count];
    char label[CONSOLE_NAME_MAX + 1];
    snprintf(label, sizeof(label), "console%u", console->port_count++);
    chardev_set_label(chardev, name ? name : label);
    snprintf(port->name, sizeof(port->name), "%s", name ? name : "");
    port->chardev = chardev;
    /* A console alone does without the control protocol: then also drivers work that lack it. */
    if (name || console->port_count > 1)
        console->dev.features |= BIT(VIRTIO_CONSOLE_F_MULTIPORT);
    chardev_set_guest_open(chardev, !name);
    chardev_attach(chardev, &port_ops, port);
    return 0;
}

struct virtio_device *virtio_console_device(struct virtio_console *console)
{
    return &console->dev;
}
