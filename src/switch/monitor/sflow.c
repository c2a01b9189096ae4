/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sFlow; see sflow.h. Section numbers are of the specification of version 5. */
#include "switch/monitor/sflow.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "base/wire.h"
#include "switch/forward/forward.h"

#define VERSION 5
#define FLOW_SAMPLE 1
#define COUNTERS_SAMPLE 2
#define RAW_HEADER 1 /* of flow records */
#define EXTENDED_SWITCH 1001
#define GENERIC_COUNTERS 1 /* of counter records */
#define GENERIC_COUNTERS_LEN 88
#define SOURCE_BRIDGE UINT32_C(0x02000000) /* entPhysicalEntry: not one interface (3.1) */
#define HEADER_ETHERNET 1
#define FCS_LEN 4
#define IF_TYPE_ETHERNET 6
#define IF_DIRECTION_FULL_DUPLEX 1
#define IF_STATUS_ADMIN_UP 1
#define IF_STATUS_OPER_UP 2
#define UNKNOWN UINT32_MAX
#define OUT_DROPPED UINT32_C(0x40000000)
#define OUT_DROPPED_UNKNOWN 256 /* reasons below are of ICMP, this one is "unknown" */
#define OUT_MANY UINT32_C(0x80000000)

#define SAMPLE_ROOM (SAMPLE_BYTES_MAX + 96) /* the longest sample of either kind */
#define LINGER_NS INT64_C(500000000)        /* how long a sample waits for others (4.2: a second) */

struct sflow {
    struct bridge *bridge;
    struct loop *loop;
    struct sflow_settings settings;
    struct collector collector;
    struct sampler sampler;
    struct ring ring;
    struct loop_timer flush, poll;
    struct sockaddr_storage agent;
    int64_t started_ns;
    uint32_t sub_agent, datagrams, flow_samples;
    uint32_t count; /* samples in the datagram */
    size_t count_offset;
    struct wire wire;
    uint8_t datagram[COLLECTOR_DATAGRAM_MAX];
};

/* --- Datagrams (5) ----------------------------------------------------------- */

static void put_agent(struct wire *wire, const struct sockaddr_storage *agent)
{
    const struct sockaddr_in *v4 = (const void *)agent;
    const struct sockaddr_in6 *v6 = (const void *)agent;
    if (agent->ss_family == AF_INET6) {
        wire_put(wire, 2, 4);
        wire_bytes(wire, &v6->sin6_addr, 16);
    } else {
        wire_put(wire, 1, 4);
        wire_bytes(wire, &v4->sin_addr, 4);
    }
}

static void begin_datagram(struct sflow *sflow)
{
    struct wire *wire = &sflow->wire;
    *wire = (struct wire){.data = sflow->datagram, .room = sizeof(sflow->datagram)};
    wire_put(wire, VERSION, 4);
    put_agent(wire, &sflow->agent);
    wire_put(wire, sflow->sub_agent, 4);
    wire_put(wire, ++sflow->datagrams, 4);
    wire_put(wire, (uint64_t)(clock_monotonic_ns() - sflow->started_ns) / 1000000, 4);
    sflow->count_offset = wire->len;
    wire_put(wire, 0, 4);
}

static void flush(void *opaque)
{
    struct sflow *sflow = opaque;
    loop_timer_cancel(&sflow->flush);
    if (sflow->count) {
        wire_patch(&sflow->wire, sflow->count_offset, sflow->count, 4);
        collector_send(&sflow->collector, sflow->datagram, sflow->wire.len);
    }
    sflow->count = 0;
}

/* A sample or record: its format, and its length when it is complete. */
static size_t begin(struct wire *wire, uint32_t format)
{
    wire_put(wire, format, 4);
    wire_put(wire, 0, 4);
    return wire->len;
}

static void end(struct wire *wire, size_t from)
{
    wire_patch(wire, from - 4, wire->len - from, 4);
}

static struct wire *make_room(struct sflow *sflow)
{
    if (sflow->count && sflow->wire.room - sflow->wire.len < SAMPLE_ROOM)
        flush(sflow);
    if (sflow->count++ == 0) {
        begin_datagram(sflow);
        loop_timer_arm(sflow->loop, &sflow->flush, LINGER_NS, flush, sflow);
    }
    return &sflow->wire;
}

/* --- Flow samples (5.2.1) ------------------------------------------------------ */

/* Interface, or why there is none, or how many. */
static uint32_t out_of(uint32_t out)
{
    if (out & SAMPLE_FLOODED)
        return OUT_MANY;
    return out & SAMPLE_DROPPED ? OUT_DROPPED | OUT_DROPPED_UNKNOWN : out;
}

static void put_raw_header(struct wire *wire, const struct sample *sample)
{
    size_t from = begin(wire, RAW_HEADER);
    wire_put(wire, HEADER_ETHERNET, 4);
    wire_put(wire, sample->frame_bytes + FCS_LEN, 4);
    wire_put(wire, FCS_LEN, 4);
    wire_put(wire, sample->len, 4);
    wire_bytes(wire, sample->bytes, sample->len);
    wire_zeroes(wire, ALIGN_UP(sample->len, 4U) - sample->len);
    end(wire, from);
}

static void put_extended_switch(struct wire *wire, const struct sample *sample)
{
    size_t from = begin(wire, EXTENDED_SWITCH);
    for (unsigned i = 0; i < 2; i++) {
        wire_put(wire, sample->vlan, 4);
        wire_put(wire, sample->priority, 4);
    }
    end(wire, from);
}

static void on_sample(void *opaque, const void *slot)
{
    struct sflow *sflow = opaque;
    const struct sample *sample = slot;
    struct wire *wire = make_room(sflow);
    size_t from = begin(wire, FLOW_SAMPLE);
    wire_put(wire, ++sflow->flow_samples, 4);
    wire_put(wire, SOURCE_BRIDGE | sflow->sub_agent, 4);
    wire_put(wire, sflow->settings.sampling, 4);
    wire_put(wire, sample->pool, 4);
    wire_put(wire, atomic_load_explicit(&sflow->ring.lost, memory_order_relaxed), 4);
    wire_put(wire, sample->in_port, 4);
    wire_put(wire, out_of(sample->out), 4);
    wire_put(wire, 2, 4);
    put_raw_header(wire, sample);
    put_extended_switch(wire, sample);
    end(wire, from);
}

/* --- Counter samples (5.2.2) --------------------------------------------------- */

struct look {
    const struct port *port;
    struct port_counters counters;
    bool up;
};

static void look_here(void *opaque)
{
    struct look *look = opaque;
    look->counters = look->port->counters;
    look->up = look->port->up;
}

/* Kinds of addresses are not counted: all count as one kind, the others as unknown. */
static void put_generic_counters(struct wire *wire, const struct look *look)
{
    const struct port_counters *c = &look->counters;
    const uint64_t status = IF_STATUS_ADMIN_UP | (look->up ? IF_STATUS_OPER_UP : 0);
    wire_put(wire, GENERIC_COUNTERS, 4);
    wire_put(wire, GENERIC_COUNTERS_LEN, 4);
    wire_put(wire, look->port->number, 4);
    wire_put(wire, IF_TYPE_ETHERNET, 4);
    wire_put(wire, 0, 8); /* speed: unknown */
    wire_put(wire, IF_DIRECTION_FULL_DUPLEX, 4);
    wire_put(wire, status, 4);
    wire_put(wire, c->in_bytes, 8);
    wire_put(wire, c->in_frames, 4);
    wire_put(wire, UNKNOWN, 4);
    wire_put(wire, UNKNOWN, 4);
    wire_put(wire, port_drops_in(c), 4);
    wire_put(wire, c->drops[DROP_MALFORMED], 4);
    wire_put(wire, UNKNOWN, 4);
    wire_put(wire, c->out_bytes, 8);
    wire_put(wire, c->out_frames, 4);
    wire_put(wire, UNKNOWN, 4);
    wire_put(wire, UNKNOWN, 4);
    wire_put(wire, port_drops_out(c), 4);
    wire_put(wire, 0, 4);
    wire_put(wire, 1, 4); /* promiscuous */
}

static void poll_counters(void *opaque)
{
    struct sflow *sflow = opaque;
    list_for_each (node, &sflow->bridge->ports) {
        struct port *port = list_entry(node, struct port, node);
        struct look look = {.port = port};
        forward_run(sflow->bridge->forward, look_here, &look);
        struct wire *wire = make_room(sflow);
        size_t from = begin(wire, COUNTERS_SAMPLE);
        wire_put(wire, ++port->counter_samples, 4);
        wire_put(wire, port->number, 4);
        wire_put(wire, 1, 4);
        put_generic_counters(wire, &look);
        end(wire, from);
    }
    loop_timer_arm(sflow->loop, &sflow->poll, (int64_t)sflow->settings.polling * 1000000000,
                   poll_counters, sflow);
}

/* --- Begin and end --------------------------------------------------------------- */

static void add_here(void *opaque)
{
    struct sflow *sflow = opaque;
    sampler_add(&sflow->sampler, sflow->bridge);
}

static void remove_here(void *opaque)
{
    struct sflow *sflow = opaque;
    sampler_remove(&sflow->sampler, sflow->bridge);
}

static void release(struct sflow *sflow)
{
    collector_close(&sflow->collector);
    free(sflow->settings.collector);
    free(sflow->settings.agent);
    free(sflow);
}

/* The interface's address of the family, if it has one. */
static bool find_address(const struct ifaddrs *list, const char *interface, int family,
                         struct sockaddr_storage *out)
{
    for (; list; list = list->ifa_next) {
        if (!list->ifa_addr || list->ifa_addr->sa_family != family ||
            strcmp(list->ifa_name, interface) != 0)
            continue;
        memcpy(out, list->ifa_addr,
               family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
        return true;
    }
    return false;
}

static int set_agent(struct sflow *sflow, struct kv_error *err)
{
    const char *agent = sflow->settings.agent;
    struct sockaddr_in *v4 = (void *)&sflow->agent;
    struct sockaddr_in6 *v6 = (void *)&sflow->agent;
    struct ifaddrs *list = NULL;
    collector_local(&sflow->collector, &sflow->agent);
    if (!agent)
        return 0;
    if (inet_pton(AF_INET, agent, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        return 0;
    }
    if (inet_pton(AF_INET6, agent, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        return 0;
    }
    bool found = getifaddrs(&list) == 0 && (find_address(list, agent, AF_INET, &sflow->agent) ||
                                            find_address(list, agent, AF_INET6, &sflow->agent));
    freeifaddrs(list);
    return found ? 0
                 : kv_error_set(err, KV_ERR_CONFIG, EADDRNOTAVAIL,
                                "agent '%.100s': an address, or an interface that has one, is "
                                "accepted",
                                agent);
}

struct sflow *sflow_start(struct bridge *bridge, struct loop *loop, uint32_t sub_agent,
                          const struct sflow_settings *settings, struct kv_error *err)
{
    struct sflow *sflow = calloc(1, sizeof(*sflow));
    char *collector = strdup(settings->collector);
    char *agent = settings->agent ? strdup(settings->agent) : NULL;
    if (!sflow || !collector || (settings->agent && !agent)) {
        free(sflow);
        free(collector);
        free(agent);
        kv_error_errno(err, KV_ERR_NET, ENOMEM, "sFlow");
        return NULL;
    }
    sflow->bridge = bridge;
    sflow->loop = loop;
    sflow->settings = *settings;
    sflow->settings.collector = collector;
    sflow->settings.agent = agent;
    sflow->sub_agent = sub_agent;
    sflow->started_ns = clock_monotonic_ns();
    sflow->sampler = (struct sampler){.ring = &sflow->ring,
                                      .one_in = (uint32_t)settings->sampling,
                                      .bytes = (uint16_t)settings->header,
                                      .random = (uint64_t)sflow->started_ns};
    list_init(&sflow->sampler.node);
    if (collector_open(&sflow->collector, collector, err) < 0 || set_agent(sflow, err) < 0 ||
        ring_init(&sflow->ring, loop, SAMPLE_SLOTS, SAMPLE_SLOT(SAMPLE_BYTES_MAX), on_sample, sflow,
                  err) < 0) {
        release(sflow);
        return NULL;
    }
    forward_run(bridge->forward, add_here, sflow);
    if (settings->polling)
        poll_counters(sflow);
    return sflow;
}

void sflow_stop(struct sflow *sflow)
{
    if (!sflow)
        return;
    forward_run(sflow->bridge->forward, remove_here, sflow);
    loop_timer_cancel(&sflow->poll);
    ring_drain(&sflow->ring);
    flush(sflow);
    ring_destroy(&sflow->ring);
    release(sflow);
}

const struct sflow_settings *sflow_settings_of(const struct sflow *sflow)
{
    return &sflow->settings;
}

void sflow_count(const struct sflow *sflow, uint64_t *sent, uint64_t *lost, uint64_t *missed)
{
    *sent = sflow->collector.sent;
    *lost = sflow->collector.lost;
    *missed = atomic_load_explicit(&sflow->ring.lost, memory_order_relaxed);
}
