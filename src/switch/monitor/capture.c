/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Captures; see capture.h. */
#include "switch/monitor/capture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/version.h"
#include "switch/forward/forward.h"
#include "switch/monitor/pcapng.h"
#include "switch/monitor/sampler.h"

#define SLOTS 1024
#define COMMENT_MAX (PORT_NAME_MAX + 16)
#define BLOCK_MAX 4096 /* PIPE_BUF: so much is written as a whole, or nothing */

_Static_assert(CAPTURE_BYTES_MAX + COMMENT_MAX + PCAPNG_FRAME_EXTRA <= BLOCK_MAX, "one write");

struct capture {
    struct list node; /* among the bridge's */
    struct bridge *bridge;
    struct capture_settings settings;
    struct sampler sampler;
    struct ring ring;
    struct loop_source source;          /* the pipe: tells when nobody reads */
    uint64_t frames, missed;            /* written, not written */
    bool over;                          /* nothing is written any more */
    uint32_t interfaces;                /* that the file has */
    uint32_t numbers[BRIDGE_PORTS_MAX]; /* of ports, by interface */
};

/* --- The file ---------------------------------------------------------------------- */

/* False: there was no room, or nobody reads. */
static bool put(struct capture *c, const struct wire *wire)
{
    if (wire->overflow || c->over)
        return false;
    ssize_t n = write(c->source.fd, wire->data, wire->len);
    if (n < 0 && errno != EAGAIN)
        c->over = true;
    return n > 0;
}

static const struct port *port_numbered(const struct bridge *bridge, uint32_t number)
{
    list_for_each (node, &bridge->ports) {
        const struct port *port = list_entry(node, struct port, node);
        if (port->number == number)
            return port;
    }
    return NULL;
}

/* The port's, which is described first if it is new; -1: it cannot be. */
static int64_t interface_of(struct capture *c, uint32_t number)
{
    uint8_t block[BLOCK_MAX];
    struct wire wire = {.data = block, .room = sizeof(block)};
    for (uint32_t i = 0; i < c->interfaces; i++) {
        if (c->numbers[i] == number)
            return i;
    }
    const struct port *port = port_numbered(c->bridge, number);
    if (!port || c->interfaces == BRIDGE_PORTS_MAX)
        return -1;
    pcapng_interface(&wire, port->name, c->settings.bytes);
    if (!put(c, &wire))
        return -1;
    c->numbers[c->interfaces] = number;
    return c->interfaces++;
}

static void describe(const struct capture *c, const struct sample *sample, char text[COMMENT_MAX])
{
    const struct port *to = port_numbered(c->bridge, sample->out);
    if (sample->out & SAMPLE_FLOODED)
        snprintf(text, COMMENT_MAX, "flooded");
    else if (sample->out & SAMPLE_DROPPED)
        snprintf(text, COMMENT_MAX, "dropped: %s", port_drop_names[sample->out & ~SAMPLE_DROPPED]);
    else
        snprintf(text, COMMENT_MAX, "to %s", to ? to->name : "a port that is gone");
}

/* Monotonic times as they are on the clock. */
static uint64_t since_1970(int64_t ns)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)(now.tv_sec * INT64_C(1000000000) + now.tv_nsec - clock_monotonic_ns() + ns);
}

static bool is_wanted(const struct capture *c, const struct sample *sample)
{
    const struct port *port = c->settings.port;
    if (!port || sample->in_port == port->number || sample->out == port->number)
        return true;
    return sample->out & SAMPLE_FLOODED && port_carries(&port->vlans, sample->vlan);
}

static void on_sample(void *opaque, const void *slot)
{
    struct capture *c = opaque;
    const struct sample *sample = slot;
    uint8_t block[BLOCK_MAX];
    struct wire wire = {.data = block, .room = sizeof(block)};
    char comment[COMMENT_MAX];
    if (c->over || !is_wanted(c, sample))
        return;
    int64_t interface = interface_of(c, sample->in_port);
    describe(c, sample, comment);
    const struct pcapng_frame frame = {.interface = (uint32_t)interface,
                                       .when_ns = since_1970(sample->taken_ns),
                                       .bytes = sample->bytes,
                                       .len = sample->len,
                                       .frame_len = sample->frame_bytes,
                                       .comment = comment};
    pcapng_frame(&wire, &frame);
    if (interface < 0 || !put(c, &wire)) {
        c->missed++;
        return;
    }
    c->frames++;
    if (c->frames == c->settings.count) {
        c->over = true;
        /* Not from within the ring's own call: its source ends it. */
        loop_modify(&c->source, EPOLLOUT);
    }
}

/* What the section ends with. */
static void put_statistics(struct capture *c)
{
    uint8_t block[BLOCK_MAX];
    struct wire wire = {.data = block, .room = sizeof(block)};
    uint64_t missed = c->missed + atomic_load_explicit(&c->ring.lost, memory_order_relaxed);
    if (!c->interfaces)
        return;
    pcapng_statistics(&wire, 0, since_1970(clock_monotonic_ns()), c->frames + missed, missed);
    c->over = false;
    put(c, &wire);
}

/* --- Begin and end ------------------------------------------------------------------ */

static void add_here(void *opaque)
{
    struct capture *c = opaque;
    sampler_add(&c->sampler, c->bridge);
}

static void remove_here(void *opaque)
{
    struct capture *c = opaque;
    sampler_remove(&c->sampler, c->bridge);
}

static void stop(struct capture *c)
{
    int fd = c->source.fd;
    forward_run(c->bridge->forward, remove_here, c);
    ring_drain(&c->ring);
    put_statistics(c);
    ring_destroy(&c->ring);
    loop_remove(&c->source);
    close(fd);
    list_del(&c->node);
    free(c);
}

/* Nobody reads any more, or it is full. */
static void on_pipe(void *opaque, uint32_t events)
{
    stop(opaque);
}

static int check_pipe(int fd, struct kv_error *err)
{
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat) < 0 || !S_ISFIFO(stat.st_mode))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "a pipe must come along, into which frames go");
    return 0;
}

static unsigned count_captures(const struct bridge *bridge)
{
    unsigned count = 0;
    list_for_each (node, &bridge->captures)
        count++;
    return count;
}

int capture_start(struct bridge *bridge, struct loop *loop, const struct capture_settings *settings,
                  int fd, struct kv_error *err)
{
    uint8_t block[BLOCK_MAX];
    struct wire wire = {.data = block, .room = sizeof(block)};
    int rc = check_pipe(fd, err);
    if (rc < 0)
        return rc;
    if (count_captures(bridge) >= CAPTURES_MAX)
        return kv_error_set(err, KV_ERR_CONFIG, ENOSPC, "bridge '%s': %d captures are possible",
                            bridge->name, CAPTURES_MAX);
    struct capture *c = calloc(1, sizeof(*c));
    if (!c)
        return kv_error_errno(err, KV_ERR_NET, ENOMEM, "capture");
    c->bridge = bridge;
    c->settings = *settings;
    c->source = LOOP_SOURCE_INIT;
    c->sampler = (struct sampler){
        .ring = &c->ring, .one_in = 1, .bytes = (uint16_t)settings->bytes, .random = 1};
    list_init(&c->sampler.node);
    rc = ring_init(&c->ring, loop, SLOTS, SAMPLE_SLOT(settings->bytes), on_sample, c, err);
    if (rc < 0) {
        free(c);
        return rc;
    }
    fd_set_nonblocking(fd, true);
    rc = loop_add(loop, &c->source, fd, 0, on_pipe, c);
    pcapng_section(&wire, "kvasir-switchd " KVASIR_VERSION);
    if (rc < 0 || !put(c, &wire)) {
        loop_remove(&c->source);
        ring_destroy(&c->ring);
        free(c);
        return kv_error_set(err, KV_ERR_NET, EPIPE, "the pipe cannot be written to");
    }
    list_add_tail(&bridge->captures, &c->node);
    forward_run(bridge->forward, add_here, c);
    return 0;
}

void capture_stop_all(struct bridge *bridge)
{
    list_for_each_safe (node, &bridge->captures)
        stop(list_entry(node, struct capture, node));
}

void capture_forget_port(const struct port *port)
{
    list_for_each_safe (node, &port->bridge->captures) {
        struct capture *c = list_entry(node, struct capture, node);
        if (c->settings.port == port)
            stop(c);
    }
}
