/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VLANs leak nothing: bridges, ports, mirrors and ACLs are made at random by the control thread's
 * own requests, frames of every kind come in at every port in bursts, and what goes out at each
 * port is, byte for byte and in order, what a model of its own says (vlan_model.c).
 *
 * usage: test_switch_topologies [TOPOLOGIES [SEED]]
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "flow_frames.h"
#include "switch/control/vswitch.h"
#include "switch/forward/bridge.h"
#include "unit.h"
#include "vlan_model.h"

#define TOPOLOGIES 500
#define BRIDGES_MAX 3
#define STATIONS 10
#define ROUNDS 3 /* all kinds of frames from all ports; ports change between them */
#define OUT_MAX (2 * FRAME_BURST)
#define NAME_ROOM 16

static struct vswitch sw;
static struct model model;
static unsigned topologies = TOPOLOGIES, topology;
static uint64_t first_seed = 1, frames_sent, frames_arrived;
static uint64_t state;

/* What came out at a port, and what was to, of one burst. */
struct out {
    unsigned count;
    struct model_frame frames[OUT_MAX];
};
static struct out came[MODEL_PORTS], wanted[MODEL_PORTS];
static struct port *ports[MODEL_PORTS];

static unsigned draw(unsigned below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 20) % below;
}

static void append(struct out *out, const struct model_frame *frame)
{
    assert_true(out->count < OUT_MAX);
    out->frames[out->count++] = *frame;
}

/* --- Ports that keep what they send ------------------------------------------------ */

static void capture(struct port *port, const struct frame *frames)
{
    unsigned index = 0;
    while (ports[index] != port)
        index++;
    for (unsigned i = 0; i < port->pending_count; i++) {
        const struct frame *frame = &frames[port->pending[i]];
        struct model_frame out;
        out.len = frame_write_head(frame, port_sends_tagged(port, frame), out.bytes);
        for (unsigned k = 0; k < frame->rest_count; k++) {
            memcpy(out.bytes + out.len, frame->rest[k].iov_base, frame->rest[k].iov_len);
            out.len += (unsigned)frame->rest[k].iov_len;
        }
        append(&came[index], &out);
    }
}

static void stop(struct port *port)
{
}

static const struct port_ops capturing = {.send = capture, .stop = stop};

/* --- Topologies ----------------------------------------------------------------------- */

static void request(int (*fn)(struct vswitch *sw, const json_t *object, struct kv_error *err),
                    json_t *object)
{
    struct kv_error err = {0};
    if (fn(&sw, object, &err) < 0)
        fail_msg("topology %u: %s", topology, err.message);
    json_decref(object);
}

static void name_bridge(char *name, unsigned bridge)
{
    snprintf(name, NAME_ROOM, "br%u", bridge);
}

static void name_port(char *name, unsigned port)
{
    snprintf(name, NAME_ROOM, "p%u", port);
}

/* Not 0. */
static unsigned draw_vlan(void)
{
    return model_vlans[1 + draw(MODEL_VLANS - 1)];
}

static void draw_options(struct model_port *port)
{
    static const unsigned communities[] = {0, 0, 0, 0, MODEL_ISOLATED, 2, 3};
    port->mode = (enum model_mode)draw(MODEL_MODES);
    port->tag = draw_vlan();
    port->all = draw(3) == 0;
    for (unsigned i = 0; i < MODEL_VLANS; i++)
        port->trunk[i] = draw(2);
    /* Untagged frames are the native VLAN's. */
    if (port->mode == MODEL_NATIVE || port->mode == MODEL_NATIVE_TAGGED)
        port->trunk[0] = false;
    port->trunk[MODEL_VLANS - 1] = true;
    port->service = draw(2);
    port->community = communities[draw(ARRAY_SIZE(communities))];
    port->no_flood = draw(10) == 0;
    port->limit = draw(4) ? 1024 : 1 + draw(3);
}

static void describe_list(const struct model_port *port, json_t *object, const char *option)
{
    char list[64] = "";
    size_t len = 0;
    if (port->all)
        return;
    for (unsigned i = 0; i < MODEL_VLANS; i++) {
        if (port->trunk[i])
            len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%u", len ? "," : "",
                                    model_vlans[i]);
    }
    json_object_set_new(object, option, json_string(list));
}

static void describe_options(const struct model_port *port, json_t *object)
{
    bool native = port->mode == MODEL_NATIVE || port->mode == MODEL_NATIVE_TAGGED;
    if (port->mode == MODEL_ACCESS || port->mode == MODEL_TUNNEL)
        json_object_set_new(object, "tag", json_integer(port->tag));
    else
        describe_list(port, object, "trunks");
    if (native)
        json_object_set_new(object, "native", json_integer(port->tag));
    if (port->mode == MODEL_NATIVE_TAGGED)
        json_object_set_new(object, "native-tagged", json_true());
    if (port->mode == MODEL_TUNNEL) {
        json_object_set_new(object, "tunnel", json_true());
        json_object_set_new(object, "outer-tag", json_string(port->service ? "802.1ad" : "802.1q"));
        describe_list(port, object, "customers");
    }
    if (port->community == MODEL_ISOLATED)
        json_object_set_new(object, "isolated", json_true());
    else if (port->community)
        json_object_set_new(object, "community", json_integer(port->community));
    if (port->no_flood)
        json_object_set_new(object, "no-flood", json_true());
    json_object_set_new(object, "mac-limit", json_integer(port->limit));
}

static void add_port(unsigned bridge)
{
    char name[NAME_ROOM], bridge_name[NAME_ROOM];
    unsigned index = model.port_count++;
    struct model_port *port = &model.ports[index];
    *port = (struct model_port){.bridge = bridge, .mirror = -1};
    draw_options(port);
    name_port(name, index);
    name_bridge(bridge_name, bridge);
    json_t *object = json_pack("{s:s, s:s, s:s, s:s}", "bridge", bridge_name, "name", name, "type",
                               "pcap", "write", "/dev/null");
    describe_options(port, object);
    request(vswitch_add_port, object);
    ports[index] = vswitch_find_port(&sw, name);
    assert_non_null(ports[index]);
    ports[index]->ops = &capturing;
}

static void change_port(unsigned index)
{
    char name[NAME_ROOM];
    name_port(name, index);
    draw_options(&model.ports[index]);
    json_t *object = json_pack("{s:s}", "name", name);
    describe_options(&model.ports[index], object);
    request(vswitch_set_port, object);
    model_forget_port(&model, index);
}

static void add_filter(unsigned index)
{
    static const char *const acls[] = {
        [MODEL_NONE] = "none", [MODEL_ARP_ONLY] = "arp", [MODEL_NO_IPV6] = "no-ipv6"};
    char name[NAME_ROOM];
    model.ports[index].acl = draw(2) ? MODEL_ALL : (enum model_acl)draw(MODEL_ACLS);
    if (model.ports[index].acl == MODEL_ALL)
        return;
    name_port(name, index);
    request(vswitch_set_filter,
            json_pack("{s:s, s:s}", "port", name, "acl", acls[model.ports[index].acl]));
}

/* Of a bridge whose ports are first to last, less 1. */
static void add_mirrors(unsigned first, unsigned last)
{
    static const char *const directions[] = {"in", "out", "both"};
    char name[NAME_ROOM], to[NAME_ROOM];
    unsigned mirror = first + draw(last - first);
    if (draw(2))
        return;
    for (unsigned n = 1 + draw(2); n > 0; n--) {
        unsigned index = first + draw(last - first), what = draw(3);
        struct model_port *port = &model.ports[index];
        if (index == mirror)
            continue;
        port->mirror = (int)mirror;
        port->copy_in = what != 1;
        port->copy_out = what != 0;
        name_port(name, index);
        name_port(to, mirror);
        request(vswitch_set_mirror, json_pack("{s:s, s:s, s:s}", "port", name, "to", to,
                                              "direction", directions[what]));
    }
}

static int set_up(void **unused)
{
    struct kv_error err;
    assert_int_equal(vswitch_init(&sw, NULL, 0, &err), 0);
    request(vswitch_set_acl,
            json_pack("{s:s, s:s, s:[]}", "name", "none", "default", "deny", "rules"));
    request(vswitch_set_acl, json_pack("{s:s, s:s, s:[{s:s, s:s}]}", "name", "arp", "default",
                                       "deny", "rules", "action", "allow", "type", "arp"));
    request(vswitch_set_acl, json_pack("{s:s, s:s, s:[{s:s, s:s}]}", "name", "no-ipv6", "default",
                                       "allow", "rules", "action", "deny", "type", "ipv6"));
    return 0;
}

static int tear_down(void **unused)
{
    vswitch_destroy(&sw);
    return 0;
}

static void make_topology(void)
{
    memset(&model, 0, sizeof(model));
    for (unsigned bridge = 0, count = 1 + draw(BRIDGES_MAX); bridge < count; bridge++) {
        char name[NAME_ROOM];
        unsigned first = model.port_count;
        name_bridge(name, bridge);
        request(vswitch_add_bridge, json_pack("{s:s, s:i}", "name", name, "mac-entries", 4096));
        for (unsigned n = 2 + draw(7); n > 0 && model.port_count < MODEL_PORTS; n--)
            add_port(bridge);
        if (draw(3) == 0) {
            for (unsigned i = first; i < model.port_count; i++)
                add_filter(i);
        }
        add_mirrors(first, model.port_count);
    }
}

static void remove_topology(void)
{
    struct kv_error err;
    char name[NAME_ROOM];
    for (unsigned i = 0; i < model.port_count; i++) {
        name_port(name, i);
        assert_int_equal(vswitch_remove_port(&sw, name, &err), 0);
    }
    for (unsigned i = 0; i <= model.ports[model.port_count - 1].bridge; i++) {
        name_bridge(name, i);
        assert_int_equal(vswitch_remove_bridge(&sw, name, &err), 0);
    }
}

/* --- Frames ---------------------------------------------------------------------------- */

enum to {
    TO_STATION,
    TO_ALL,
    TO_GROUP,
    TO_RESERVED,
    TO_COUNT,
};

enum tags {
    NO_TAG,
    PRIORITY_TAG,
    TAG,
    SERVICE_TAG,
    TWO_TAGS,
    PRIORITY_AND_TAG,
    TAG_4095,
    TAGS_COUNT,
};

enum inside {
    ARP,
    IPV4,
    IPV6,
    OTHER,
    LENGTH, /* 802.3, LLC */
    INSIDES,
};

static void put_tag(struct packet *p, unsigned type, unsigned vlan)
{
    memmove(p->bytes + 16, p->bytes + 12, p->len - 12);
    packet_set16(p, 12, type);
    packet_set16(p, 14, draw(16) << 12 | vlan);
    p->len += 4;
}

static void put_inside(struct packet *p, enum inside inside, unsigned to, unsigned from)
{
    switch (inside) {
    case ARP:
        packet_arp(p, 1 + draw(2), to, from);
        break;
    case IPV4:
        packet_ipv4(p, to, from, IPPROTO_UDP);
        packet_udp(p, 53, 1000 + draw(9), draw(40));
        break;
    case IPV6:
        packet_ipv6(p, to, from, IPPROTO_UDP);
        packet_udp(p, 53, 1000 + draw(9), draw(40));
        break;
    default:
        packet_ethernet(p, to, from, -1, inside == OTHER ? 0x88b5 : 46);
        packet_add(p, "\x42\x42\x03\x00\x00\x00\x00", 7);
        break;
    }
}

static void put_address(struct packet *p, enum to to)
{
    static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};
    static const uint8_t group[6] = {0x33, 0x33, 0, 0, 0, 1};
    const uint8_t reserved[6] = {0x01, 0x80, 0xc2, 0, 0, (uint8_t)draw(16)};
    if (to != TO_STATION)
        memcpy(p->bytes, to == TO_ALL ? all : to == TO_GROUP ? group : reserved, 6);
}

static void put_tags(struct packet *p, enum tags tags)
{
    unsigned vlan = draw_vlan();
    static const unsigned types[TAGS_COUNT] = {[SERVICE_TAG] = FRAME_TPID_SERVICE};
    if (tags == NO_TAG)
        return;
    if (tags == TWO_TAGS || tags == PRIORITY_AND_TAG)
        put_tag(p, draw(2) ? FRAME_TPID : FRAME_TPID_SERVICE, draw_vlan());
    if (tags == PRIORITY_TAG || tags == PRIORITY_AND_TAG)
        vlan = 0;
    put_tag(p, types[tags] ? types[tags] : FRAME_TPID, tags == TAG_4095 ? VLAN_ID_MASK : vlan);
}

static void make_frame(struct packet *p, enum to to, enum tags tags)
{
    put_inside(p, (enum inside)draw(INSIDES), 1 + draw(STATIONS), 1 + draw(STATIONS));
    put_address(p, to);
    if (draw(40) == 0)
        p->bytes[6] |= 1; /* nobody sends from a group's address */
    put_tags(p, tags);
}

/* --- Comparing --------------------------------------------------------------------------- */

static void note_wanted(void *opaque, unsigned port, const struct model_frame *frame)
{
    append(&wanted[port], frame);
}

static void print_frame(const char *what, const struct model_frame *frame)
{
    fprintf(stderr, "%s:", what);
    for (unsigned i = 0; i < frame->len; i++)
        fprintf(stderr, " %02x", frame->bytes[i]);
    fprintf(stderr, "\n");
}

static void compare(unsigned from)
{
    for (unsigned i = 0; i < model.port_count; i++) {
        const struct out *a = &came[i], *b = &wanted[i];
        unsigned n = 0;
        while (n < a->count && n < b->count && a->frames[n].len == b->frames[n].len &&
               memcmp(a->frames[n].bytes, b->frames[n].bytes, a->frames[n].len) == 0)
            n++;
        frames_arrived += n;
        if (n == a->count && n == b->count)
            continue;
        if (n < a->count)
            print_frame("came", &a->frames[n]);
        if (n < b->count)
            print_frame("was to come", &b->frames[n]);
        json_t *all = vswitch_describe(&sw);
        char *text = json_dumps(all, JSON_COMPACT);
        fail_msg("topology %u of seed %llu: from port p%u to p%u, frame %u of %u, %u were to come: "
                 "%s",
                 topology, (unsigned long long)first_seed, from, i, n, a->count, b->count, text);
    }
}

static void send_burst(unsigned from, struct packet *packets, unsigned count)
{
    static struct frame frames[FRAME_BURST];
    for (unsigned i = 0; i < model.port_count; i++)
        came[i].count = wanted[i].count = 0;
    for (unsigned i = 0; i < count; i++) {
        struct model_frame frame = {.len = packets[i].len};
        memcpy(frame.bytes, packets[i].bytes, frame.len);
        model_receive(&model, from, &frame, note_wanted, NULL);
        frame_set_bytes(&frames[i], packets[i].bytes, packets[i].len);
    }
    bridge_receive(ports[from], frames, count);
    frames_sent += count;
    compare(from);
}

/* Each kind once or several times in a row, in bursts. */
static void send_every_kind(unsigned from)
{
    static struct packet packets[FRAME_BURST];
    unsigned count = 0;
    for (unsigned kind = 0; kind < (unsigned)TO_COUNT * TAGS_COUNT; kind++) {
        make_frame(&packets[count++], (enum to)(kind % TO_COUNT), (enum tags)(kind / TO_COUNT));
        for (unsigned again = draw(3); again > 0 && count < FRAME_BURST; again--) {
            packets[count] = packets[count - 1];
            count++;
        }
        if (count == FRAME_BURST || draw(6) == 0) {
            send_burst(from, packets, count);
            count = 0;
        }
    }
    if (count)
        send_burst(from, packets, count);
}

static void what_arrives_where_is_what_a_model_says(void **unused)
{
    for (topology = 0; topology < topologies; topology++) {
        state = (first_seed + topology) * UINT64_C(0x9e3779b97f4a7c15) | 1;
        make_topology();
        for (unsigned round = 0; round < ROUNDS; round++) {
            for (unsigned i = 0; i < model.port_count; i++)
                send_every_kind(i);
            change_port(draw(model.port_count));
        }
        remove_topology();
    }
    print_message("%u topologies, %llu frames in, %llu out\n", topologies,
                  (unsigned long long)frames_sent, (unsigned long long)frames_arrived);
    assert_true(frames_arrived > frames_sent / 2);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_arrives_where_is_what_a_model_says),
    };
    log_level = LOG_ERROR;
    if (argc > 1)
        topologies = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        first_seed = strtoull(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
