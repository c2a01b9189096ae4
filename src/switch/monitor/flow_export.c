/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Export of flows; see flow_export.h. Both protocols have sets of records by templates: one table
 * of fields makes them all. */
#include "switch/monitor/flow_export.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "base/wire.h"
#include "switch/forward/forward.h"

#define TICK_NS INT64_C(1000000000)
#define TEMPLATES_NS (20 * TICK_NS) /* templates are told again; datagrams are lost */
#define RECORD_ROOM 128             /* the longest record, a set's header, padding */
#define SET_HEADER 4

/* Sets of templates by protocol, and our own templates. */
static const uint16_t template_sets[] = {[FLOW_NETFLOW9] = 0, [FLOW_IPFIX] = 2};
static const uint16_t option_sets[] = {[FLOW_NETFLOW9] = 1, [FLOW_IPFIX] = 3};
#define TEMPLATE_IPV4 256
#define TEMPLATE_IPV6 257
#define TEMPLATE_SAMPLING 258
#define NO_SET 0xffff

struct flow_export {
    struct bridge *bridge;
    struct loop *loop;
    enum flow_protocol protocol;
    struct flow_settings settings;
    struct collector collector;
    struct sampler sampler;
    struct ring ring;
    struct flow_cache cache;
    struct loop_timer tick;
    int64_t started_ns, templates_ns;
    uint32_t domain;
    uint32_t sequence; /* datagrams (version 9), data records (IPFIX) before this datagram */
    uint32_t records, data_records; /* in this datagram */
    unsigned set;                   /* that is being written, or NO_SET */
    size_t set_offset;
    struct wire wire;
    uint8_t datagram[COLLECTOR_DATAGRAM_MAX];
};

/* --- Fields ---------------------------------------------------------------------- */

struct telling {
    struct wire *wire;
    const struct flow_export *from;
    const struct flow *flow;
    enum flow_end why;
};

/* Milliseconds since 1970 (IPFIX), since the start (version 9). */
static void put_time(const struct telling *t, int64_t ns, unsigned len)
{
    struct timespec now;
    int64_t since_start_ms = (ns - t->from->started_ns) / 1000000;
    if (t->from->protocol == FLOW_NETFLOW9) {
        wire_put(t->wire, (uint64_t)MAX(since_start_ms, 0), len);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t ago_ms = (clock_monotonic_ns() - ns) / 1000000;
    wire_put(t->wire, (uint64_t)(now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000 - ago_ms), len);
}

#define PUT(name, expression)                                     \
    static void put_##name(const struct telling *t, unsigned len) \
    {                                                             \
        wire_put(t->wire, expression, len);                       \
    }
#define PUT_BYTES(name, field)                                    \
    static void put_##name(const struct telling *t, unsigned len) \
    {                                                             \
        wire_bytes(t->wire, t->flow->field, len);                 \
    }
PUT_BYTES(from, id.from)
PUT_BYTES(to, id.to)
PUT_BYTES(from_mac, from_mac)
PUT_BYTES(to_mac, to_mac)
PUT(from_port, t->flow->id.from_port)
PUT(to_port, t->flow->id.to_port)
PUT(protocol, t->flow->id.protocol)
PUT(tos, t->flow->id.tos)
PUT(tcp_flags, t->flow->tcp_flags)
PUT(bytes, t->flow->bytes)
PUT(frames, t->flow->frames)
PUT(in_port, t->flow->id.in_port)
PUT(out_port, t->flow->out_port)
PUT(vlan, t->flow->id.vlan)
PUT(why, t->why)

static void put_first(const struct telling *t, unsigned len)
{
    put_time(t, t->flow->first_ns, len);
}

static void put_last(const struct telling *t, unsigned len)
{
    put_time(t, t->flow->last_ns, len);
}

#define IN_IPV4 1U
#define IN_IPV6 2U
#define IN_NETFLOW9 4U
#define IN_IPFIX 8U
#define IN_BOTH (IN_IPV4 | IN_IPV6)
#define IN_ALL (IN_BOTH | IN_NETFLOW9 | IN_IPFIX)

/* A row goes into templates of both of its kinds, of IP and of protocol. */
static const struct field {
    uint16_t element; /* the numbers of RFC 3954 are also IPFIX's */
    uint16_t len;
    unsigned in;
    void (*put)(const struct telling *t, unsigned len);
} fields[] = {
    {8, 4, IN_IPV4 | IN_NETFLOW9 | IN_IPFIX, put_from}, /* sourceIPv4Address */
    {12, 4, IN_IPV4 | IN_NETFLOW9 | IN_IPFIX, put_to},
    {27, 16, IN_IPV6 | IN_NETFLOW9 | IN_IPFIX, put_from}, /* sourceIPv6Address */
    {28, 16, IN_IPV6 | IN_NETFLOW9 | IN_IPFIX, put_to},
    {7, 2, IN_ALL, put_from_port}, /* sourceTransportPort */
    {11, 2, IN_ALL, put_to_port},
    {4, 1, IN_ALL, put_protocol}, /* protocolIdentifier */
    {5, 1, IN_ALL, put_tos},      /* ipClassOfService */
    {6, 1, IN_ALL, put_tcp_flags},
    {1, 8, IN_ALL, put_bytes},    /* octetDeltaCount */
    {2, 8, IN_ALL, put_frames},   /* packetDeltaCount */
    {10, 4, IN_ALL, put_in_port}, /* ingressInterface */
    {14, 4, IN_ALL, put_out_port},
    {58, 2, IN_ALL, put_vlan},     /* vlanId */
    {56, 6, IN_ALL, put_from_mac}, /* sourceMacAddress */
    {80, 6, IN_ALL, put_to_mac},
    {22, 4, IN_BOTH | IN_NETFLOW9, put_first}, /* FIRST_SWITCHED */
    {21, 4, IN_BOTH | IN_NETFLOW9, put_last},
    {152, 8, IN_BOTH | IN_IPFIX, put_first}, /* flowStartMilliseconds */
    {153, 8, IN_BOTH | IN_IPFIX, put_last},
    {136, 1, IN_BOTH | IN_IPFIX, put_why}, /* flowEndReason */
};

static bool has_field(const struct flow_export *e, uint16_t template, const struct field *field)
{
    return field->in & (template == TEMPLATE_IPV4 ? IN_IPV4 : IN_IPV6) &&
           field->in & (e->protocol == FLOW_IPFIX ? IN_IPFIX : IN_NETFLOW9);
}

/* --- Datagrams and sets ------------------------------------------------------------ */

/* Version 9: RFC 3954, 5.1. IPFIX: RFC 7011, 3.1. */
static void begin_datagram(struct flow_export *e)
{
    struct wire *wire = &e->wire;
    *wire = (struct wire){.data = e->datagram, .room = sizeof(e->datagram)};
    e->records = e->data_records = 0;
    e->set = NO_SET;
    wire_put(wire, e->protocol == FLOW_IPFIX ? 10 : 9, 2);
    wire_put(wire, 0, 2); /* length (IPFIX), records (version 9) */
    if (e->protocol == FLOW_NETFLOW9)
        wire_put(wire, (uint64_t)(clock_monotonic_ns() - e->started_ns) / 1000000, 4);
    wire_put(wire, (uint64_t)time(NULL), 4);
    wire_put(wire, e->sequence, 4);
    wire_put(wire, e->domain, 4);
}

static void end_set(struct flow_export *e)
{
    if (e->set == NO_SET)
        return;
    size_t len = e->wire.len - e->set_offset;
    wire_zeroes(&e->wire, ALIGN_UP(len, 4U) - len);
    wire_patch(&e->wire, e->set_offset + 2, e->wire.len - e->set_offset, 2);
    e->set = NO_SET;
}

static void send_datagram(struct flow_export *e)
{
    if (!e->records)
        return;
    end_set(e);
    wire_patch(&e->wire, 2, e->protocol == FLOW_IPFIX ? e->wire.len : e->records, 2);
    collector_send(&e->collector, e->datagram, e->wire.len);
    e->sequence += e->protocol == FLOW_IPFIX ? e->data_records : 1;
    e->records = 0;
}

/* Another record in a set of that number. */
static struct wire *begin_record(struct flow_export *e, unsigned set)
{
    if (e->records && e->wire.room - e->wire.len < RECORD_ROOM)
        send_datagram(e);
    if (!e->records)
        begin_datagram(e);
    if (e->set != set) {
        end_set(e);
        e->set = set;
        e->set_offset = e->wire.len;
        wire_put(&e->wire, set, 2);
        wire_put(&e->wire, 0, 2);
    }
    e->records++;
    return &e->wire;
}

/* --- Templates ----------------------------------------------------------------------- */

static void put_template(struct flow_export *e, uint16_t template)
{
    struct wire *wire = begin_record(e, template_sets[e->protocol]);
    unsigned count = 0;
    wire_put(wire, template, 2);
    size_t count_offset = wire->len;
    wire_put(wire, 0, 2);
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        if (!has_field(e, template, &fields[i]))
            continue;
        wire_put(wire, fields[i].element, 2);
        wire_put(wire, fields[i].len, 2);
        count++;
    }
    wire_patch(wire, count_offset, count, 2);
}

/* Of what is sampled, how: samplingInterval (34) and samplingAlgorithm (35), which is random (2).
 * The scope is the system (1) in version 9, the observation domain (149) in IPFIX. */
static void put_sampling(struct flow_export *e)
{
    bool ipfix = e->protocol == FLOW_IPFIX;
    struct wire *wire = begin_record(e, option_sets[e->protocol]);
    const uint16_t netflow9_words[] = {TEMPLATE_SAMPLING, 4, 8, 1, 4, 34, 4, 35, 1};
    const uint16_t ipfix_words[] = {TEMPLATE_SAMPLING, 3, 1, 149, 4, 34, 4, 35, 1};
    for (unsigned i = 0; i < ARRAY_SIZE(ipfix_words); i++)
        wire_put(wire, ipfix ? ipfix_words[i] : netflow9_words[i], 2);
    begin_record(e, TEMPLATE_SAMPLING);
    e->data_records++;
    wire_put(wire, e->domain, 4);
    wire_put(wire, e->settings.sampling, 4);
    wire_put(wire, 2, 1);
}

static void put_templates(struct flow_export *e)
{
    send_datagram(e);
    put_template(e, TEMPLATE_IPV4);
    put_template(e, TEMPLATE_IPV6);
    if (e->settings.sampling > 1)
        put_sampling(e);
    e->templates_ns = clock_monotonic_ns();
}

/* --- Flows ----------------------------------------------------------------------------- */

static void tell(void *opaque, const struct flow *flow, enum flow_end why)
{
    struct flow_export *e = opaque;
    uint16_t template = flow->id.type == FLOW_TYPE_IPV4 ? TEMPLATE_IPV4 : TEMPLATE_IPV6;
    const struct telling t = {
        .wire = begin_record(e, template), .from = e, .flow = flow, .why = why};
    e->data_records++;
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        if (has_field(e, template, &fields[i]))
            fields[i].put(&t, fields[i].len);
    }
}

static void on_sample(void *opaque, const void *slot)
{
    struct flow_export *e = opaque;
    flow_cache_add(&e->cache, slot, clock_monotonic_ns());
}

static void on_tick(void *opaque)
{
    struct flow_export *e = opaque;
    int64_t now_ns = clock_monotonic_ns();
    if (now_ns - e->templates_ns >= TEMPLATES_NS)
        put_templates(e);
    flow_cache_expire(&e->cache, now_ns);
    send_datagram(e);
    loop_timer_arm(e->loop, &e->tick, TICK_NS, on_tick, e);
}

/* --- Begin and end ------------------------------------------------------------------------ */

static void add_here(void *opaque)
{
    struct flow_export *e = opaque;
    sampler_add(&e->sampler, e->bridge);
}

static void remove_here(void *opaque)
{
    struct flow_export *e = opaque;
    sampler_remove(&e->sampler, e->bridge);
}

static void release(struct flow_export *e)
{
    collector_close(&e->collector);
    flow_cache_free(&e->cache);
    free(e->settings.collector);
    free(e);
}

struct flow_export *flow_export_start(struct bridge *bridge, struct loop *loop, uint32_t domain,
                                      enum flow_protocol protocol,
                                      const struct flow_settings *settings, struct kv_error *err)
{
    struct flow_export *e = calloc(1, sizeof(*e));
    char *collector = strdup(settings->collector);
    if (!e || !collector) {
        free(e);
        free(collector);
        kv_error_errno(err, KV_ERR_NET, ENOMEM, "export of flows");
        return NULL;
    }
    e->bridge = bridge;
    e->loop = loop;
    e->protocol = protocol;
    e->settings = *settings;
    e->settings.collector = collector;
    e->domain = domain;
    e->started_ns = clock_monotonic_ns();
    e->sampler = (struct sampler){.ring = &e->ring,
                                  .one_in = (uint32_t)settings->sampling,
                                  .bytes = FLOW_HEADERS_MAX,
                                  .random = (uint64_t)e->started_ns};
    list_init(&e->sampler.node);
    e->cache = (struct flow_cache){.idle_ns = (int64_t)settings->idle * TICK_NS,
                                   .active_ns = (int64_t)settings->active * TICK_NS,
                                   .tell = tell,
                                   .opaque = e};
    if (collector_open(&e->collector, collector, err) < 0 ||
        flow_cache_init(&e->cache, (unsigned)settings->entries, err) < 0 ||
        ring_init(&e->ring, loop, SAMPLE_SLOTS, SAMPLE_SLOT(SAMPLE_BYTES_MAX), on_sample, e, err) <
            0) {
        release(e);
        return NULL;
    }
    put_templates(e);
    on_tick(e);
    forward_run(bridge->forward, add_here, e);
    return e;
}

void flow_export_stop(struct flow_export *e)
{
    if (!e)
        return;
    forward_run(e->bridge->forward, remove_here, e);
    loop_timer_cancel(&e->tick);
    ring_drain(&e->ring);
    flow_cache_flush(&e->cache);
    send_datagram(e);
    ring_destroy(&e->ring);
    release(e);
}

const struct flow_settings *flow_export_settings(const struct flow_export *e)
{
    return &e->settings;
}

void flow_export_count(const struct flow_export *e, uint64_t *sent, uint64_t *lost,
                       uint64_t *missed)
{
    *sent = e->collector.sent;
    *lost = e->collector.lost;
    *missed = atomic_load_explicit(&e->ring.lost, memory_order_relaxed);
}
