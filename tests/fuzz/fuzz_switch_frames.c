/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: malformed frames, whole bursts of them an input, through all of the switch that
 * looks into frames: VLANs, flow keys, guards of ARP, ND, DHCP and routers, fragments, connections,
 * samples for NetFlow and IPFIX, checksums and segments that senders leave undone. An input says
 * how frames are changed; what it says is repeated with other numbers for each frame, so that most
 * of the time goes into frames. "frames: N" at the end tells how many there were.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "frame_templates.h"
#include "input.h"
#include "require.h"
#include "switch/filter/filter.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"
#include "switch/forward/offload.h"
#include "switch/monitor/flow_cache.h"

#ifdef __SANITIZE_ADDRESS__
#define WITH_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, len)
#define ASAN_UNPOISON_MEMORY_REGION(start, len)
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define BURSTS_MAX 4   /* of an input */
#define CHANGES_MAX 6  /* of a frame */
#define HEADERS 80     /* bytes of a frame where most changes are */
#define REDZONE 64     /* behind each frame */
#define CONNECTIONS 64 /* room */
#define FLOWS 64
#define PAUSE_S 200000 /* between inputs: no connection lasts so long */
#define SECOND_NS INT64_C(1000000000)

enum {
    GUARDED, /* port security, and an ACL with connections */
    RULED,   /* an ACL without */
    PLAIN,   /* takes checksums undone */
    ACCESS,  /* in a VLAN of its own */
    MIRROR,  /* hears GUARDED */
    PORTS,
};

static struct forward forward;
static struct bridge *bridge;
static struct port ports[PORTS];
static struct filter filters[2];
static struct port_security security;
static struct sampler sampler;
static struct ring samples;
static struct flow_cache flows;
static struct loop loop;
static uint64_t frame_count;

/* A burst as its sender has it. */
static struct {
    struct packet packets[FRAME_BURST];
    struct frame frames[FRAME_BURST];
    struct iovec iov[FRAME_BURST][FRAME_SEGMENTS_MAX];
} burst;

/* --- What is around the bridge ---------------------------------------------------- */

/* As a ring would: every byte is copied. */
static void send_frames(struct port *port, const struct frame *frames)
{
    static uint8_t room[FRAME_HEAD_MAX + FRAME_BYTES_MAX];
    for (unsigned i = 0; i < port->pending_count; i++) {
        const struct frame *frame = &frames[port->pending[i]];
        unsigned len = frame_write_head(frame, port_sends_tagged(port, frame), room);
        require((frame->offload.undone & ~port->takes) == 0);
        require(frame->rest_bytes <= FRAME_BYTES_MAX);
        for (unsigned k = 0; k < frame->rest_count; k++) {
            memcpy(room + len, frame->rest[k].iov_base, frame->rest[k].iov_len);
            len += (unsigned)frame->rest[k].iov_len;
        }
        require(len <= FRAME_HEAD_MAX + frame->rest_bytes);
        port->counters.out_frames++;
    }
}

static const struct port_ops ops = {.send = send_frames};

static void on_sample(void *opaque, const void *slot)
{
    flow_cache_add(&flows, slot, forward.now_ns);
}

static void on_flow(void *opaque, const struct flow *flow, enum flow_end why)
{
    require(flow->id.type == FLOW_TYPE_IPV4 || flow->id.type == FLOW_TYPE_IPV6);
    require(flow->frames > 0 && flow->bytes >= flow->frames * FRAME_BYTES_MIN);
}

static struct acl *make_acl(bool stateful)
{
    struct kv_error err;
    json_t *object = json_pack(
        "{s:s, s:s, s:b, s:[{s:s, s:s, s:s}, {s:s, s:s, s:s, s:s}, {s:s, s:s}, {s:s, s:s, s:s}]}",
        "name", "x", "default", stateful ? "deny" : "allow", "stateful", stateful, "rules",
        "action", "allow", "direction", "in", "from", "10.0.0.0/24,fd00::/64", "action", "deny",
        "protocol", "tcp", "to-ports", "1-1000", "direction", "out", "action", "allow", "type",
        "arp", "action", "deny", "protocol", "icmp", "direction", "out");
    struct acl *acl = acl_new(object, &err);
    require(acl != NULL);
    json_decref(object);
    return acl;
}

static void add_ports(void)
{
    for (unsigned i = 0; i < PORTS; i++) {
        struct port *port = &ports[i];
        *port = (struct port){.ops = &ops, .forward = &forward, .number = i + 1, .up = true};
        port->mac_limit = 64;
        port->leaves = FRAME_CSUM | FRAME_GSO | FRAME_TSO_ECN;
        if (i == ACCESS)
            port->vlans = (struct port_vlans){
                .access = true, .native = 10, .untagged = 10, .carried = {BIT(10)}};
        else
            memset(port->vlans.carried, 0xff, sizeof(port->vlans.carried));
        require(bridge_attach(bridge, port) == 0);
    }
    ports[GUARDED].filter = &filters[0];
    ports[RULED].filter = &filters[1];
    ports[PLAIN].takes = FRAME_CSUM;
    bridge_mirror(&ports[GUARDED], &ports[MIRROR], MIRROR_IN | MIRROR_OUT);
}

/* Small enough that it is full now and then, and always the same. */
static void renew_tables(void)
{
    static const struct flow_secret secret = {{11, 13}};
    struct filter_tables *tables = bridge->tables;
    conntrack_free(&tables->conntrack);
    require(conntrack_init(&tables->conntrack, CONNECTIONS, NULL) == 0);
    tables->conntrack.secret = tables->fragments.secret = secret;
    memset(tables->fragments.sets, 0, sizeof(tables->fragments.sets));
    forward.now_s = 1000;
}

static void report(void)
{
    fprintf(stderr, "frames: %llu\n", (unsigned long long)frame_count);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct kv_error err;
    log_level = LOG_ERROR;
    frame_templates_make();
    list_init(&forward.shaped);
    bridge = bridge_new(&forward, "br0", 256, 300, &err);
    require(bridge && bridge_prepare_filters(bridge, &err) == 0);
    bridge->macs.secret = 11;
    security = (struct port_security){.dhcp_guard = true, .router_guard = true};
    require(port_security_parse(&security, "02:00:00:00:00:01,02:00:00:00:00:09",
                                "10.0.0.0/24,fd00::/64", &err) == 0);
    for (unsigned i = 0; i < ARRAY_SIZE(filters); i++)
        filters[i] = (struct filter){.acl = make_acl(i == 0), .connections = CONNECTIONS / 2};
    filters[0].security = &security;
    add_ports();
    renew_tables();
    require(loop_init(&loop, &err) == 0);
    flows =
        (struct flow_cache){.idle_ns = 5 * SECOND_NS, .active_ns = 20 * SECOND_NS, .tell = on_flow};
    require(flow_cache_init(&flows, FLOWS, &err) == 0);
    require(ring_init(&samples, &loop, 256, SAMPLE_SLOT(SAMPLE_BYTES_MAX), on_sample, NULL, &err) ==
            0);
    /* It is emptied here after each burst: nobody is to be woken. */
    atomic_store(&samples.wake, false);
    sampler =
        (struct sampler){.ring = &samples, .one_in = 2, .bytes = FLOW_HEADERS_MAX, .random = 17};
    list_init(&sampler.node);
    sampler_add(&sampler, bridge);
    atexit(report);
    return 0;
}

/* --- Frames ------------------------------------------------------------------------- */

/* How the frames of a burst are changed. */
struct recipe {
    uint8_t template, piece, cut;
    uint8_t changes;
    struct {
        uint8_t at, value, how;
    } change[CHANGES_MAX];
    struct virtio_net_hdr header;
    uint64_t random; /* not 0 */
};

static uint32_t draw(struct recipe *r)
{
    r->random ^= r->random << 13;
    r->random ^= r->random >> 7;
    r->random ^= r->random << 17;
    return (uint32_t)(r->random >> 16);
}

static void read_recipe(struct recipe *r, struct input *in)
{
    static const uint16_t csum_starts[] = {34, 38, 54, 58, 14, 0};
    r->template = (uint8_t)take(in, 1);
    r->piece = (uint8_t)take(in, 1);
    r->cut = (uint8_t)take(in, 1);
    r->changes = (uint8_t)(take(in, 1) % (CHANGES_MAX + 1));
    for (unsigned i = 0; i < r->changes; i++) {
        r->change[i].at = (uint8_t)take(in, 1);
        r->change[i].value = (uint8_t)take(in, 1);
        r->change[i].how = (uint8_t)take(in, 1);
    }
    uint64_t start = take(in, 1), offset = take(in, 1);
    r->header = (struct virtio_net_hdr){
        .flags = (uint8_t)(take(in, 1) & 3),
        .gso_type = (uint8_t)take(in, 1),
        .gso_size = (uint16_t)take(in, 1),
        .csum_start = start < ARRAY_SIZE(csum_starts) ? csum_starts[start] : (uint16_t)start,
        .csum_offset = (uint16_t)(offset & 1 ? 16 : offset),
    };
    r->random = take(in, 4) << 1 | 1;
}

/* The first frame is changed as the recipe says, the others at other places and to other values. */
static void change(struct packet *p, struct recipe *r, unsigned n)
{
    for (unsigned i = 0; i < r->changes; i++) {
        uint32_t random = n ? draw(r) : 0;
        unsigned how = r->change[i].how;
        unsigned at = r->change[i].at + (how & 1 ? random % HEADERS : 0);
        uint8_t value = (uint8_t)(r->change[i].value + (how & 2 ? random >> 8 : 0));
        at %= p->len;
        p->bytes[at] = how & 4 ? p->bytes[at] ^ value : value;
    }
    unsigned cut = r->cut ? r->cut + (n ? draw(r) % 64 : 0) : p->len;
    p->len = MAX(MIN(cut, p->len), (unsigned)FRAME_BYTES_MIN);
}

static void copy_packet(struct packet *to, const struct packet *from)
{
    ASAN_UNPOISON_MEMORY_REGION(to->bytes, from->len + REDZONE);
    memcpy(to->bytes, from->bytes, from->len);
    to->len = from->len;
}

/* Frame n of the burst; returns whether its virtio header may be so. */
static bool make_frame(struct recipe *r, unsigned n, unsigned slot)
{
    struct packet *p = &burst.packets[slot];
    unsigned template = r->template + (n && r->template & 0x80 ? draw(r) : 0);
    copy_packet(p, &frame_templates[template % FRAME_TEMPLATES]);
    unsigned whole = p->len;
    change(p, r, n);
    packet_frame(p, &burst.frames[slot], burst.iov[slot], r->piece);
    ASAN_POISON_MEMORY_REGION(p->bytes + p->len, whole + REDZONE - p->len);
    return offload_read(&burst.frames[slot], &r->header, FRAME_CSUM | FRAME_GSO | FRAME_TSO_ECN);
}

static void send_burst(struct input *in)
{
    struct recipe r;
    unsigned count = 0;
    struct port *from = &ports[take(in, 1) % PORTS];
    read_recipe(&r, in);
    for (unsigned n = 0; n < FRAME_BURST; n++)
        count += make_frame(&r, n, count);
    frame_count += FRAME_BURST;
    if (count)
        bridge_receive(from, burst.frames, count);
    ring_drain(&samples);
    forward.now_s += (uint32_t)take(in, 1) % 64;
    forward.now_ns = forward.now_s * SECOND_NS;
    flow_cache_expire(&flows, forward.now_ns);
}

/* --- What holds afterwards ------------------------------------------------------------ */

static void count_connections(void)
{
    const struct conntrack *conntrack = &bridge->tables->conntrack;
    unsigned counts[PORTS] = {0};
    for (unsigned b = 0; b <= conntrack->mask; b++) {
        for (unsigned i = 0; i < CONNTRACK_BUCKET; i++) {
            const struct connection *connection = &conntrack->buckets[b].slots[i];
            if (connection->state != CONNECTION_FREE)
                counts[connection->tuple.port]++;
        }
    }
    for (unsigned i = 0; i < PORTS; i++)
        require(conntrack->used_by[i] == counts[i] && counts[i] <= CONNECTIONS / 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    forward.now_s += PAUSE_S;
    if (forward.now_s > INT32_MAX - 2 * PAUSE_S)
        renew_tables();
    for (unsigned i = 0; i < BURSTS_MAX && in.left; i++)
        send_burst(&in);
    count_connections();
    mac_table_forget_all(&bridge->macs);
    return 0;
}
