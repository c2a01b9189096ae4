/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What filters cost a frame of 64 bytes on its way over a bridge, without rings: bursts go from a
 * port to another one that copies them. Prints for each kind of filter the nanoseconds a frame, the
 * best of many rounds: of bursts of one flow, and of frames of so many flows in turn.
 * usage: filter_cost none|acl|stateful RULES FLOWS ROUNDS
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "base/util.h"
#include "switch/filter/filter.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"

#define LEN 64
#define FLOWS_MAX 65536
#define BURSTS 256 /* of a round */

static uint8_t packets[FLOWS_MAX][LEN], copies[FRAME_BURST][LEN];
static struct forward forward;
static struct port ports[2];
static struct filter filter = {.connections = CONNTRACK_ENTRIES};

static void send_frames(struct port *port, const struct frame *frames)
{
    for (unsigned i = 0; i < port->pending_count; i++) {
        const struct frame *frame = &frames[port->pending[i]];
        memcpy(copies[i], frame->head, FRAME_HEAD);
        memcpy(copies[i] + FRAME_HEAD, frame->rest->iov_base, LEN - FRAME_HEAD);
    }
    port->counters.out_frames += port->pending_count;
}

static void make_packet(uint8_t *p, unsigned flow)
{
    const uint8_t header[42] = {
        2, 0, 0,  0,           0, 2, 2,  0, 0, 0, 0,  1, 8, 0, 0x45, 0, 0, LEN - 14, 0, 0,
        0, 0, 64, IPPROTO_UDP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0,    0, 0, 9,        0, LEN - 34};
    memcpy(p, header, sizeof(header));
    p[34] = (uint8_t)(flow >> 8);
    p[35] = (uint8_t)flow;
}

/* Addresses and ports of others, and in the end what allows the frames. */
static json_t *make_rules(unsigned count)
{
    json_t *rules = json_array();
    for (unsigned i = 0; i + 1 < count; i++) {
        char address[40], port[8];
        snprintf(address, sizeof(address), "172.16.%u.%u", i / 250 % 256, i % 250 + 1);
        snprintf(port, sizeof(port), "%u", 1000 + i % 5000);
        json_array_append_new(rules, json_pack("{s:s, s:s, s:s, s:s}", "action", "deny", "from",
                                               address, "protocol", i % 2 ? "tcp" : "udp",
                                               i % 3 ? "to-ports" : "from-ports", port));
    }
    json_array_append_new(rules, json_pack("{s:s, s:s}", "action", "allow", "type", "ipv4"));
    return rules;
}

static void set_filter(bool stateful, unsigned rules)
{
    struct kv_error err = {0};
    json_t *object = json_pack("{s:s, s:s, s:b, s:o}", "name", "x", "default", "deny", "stateful",
                               stateful, "rules", make_rules(rules));
    filter.acl = acl_new(object, &err);
    json_decref(object);
    if (!filter.acl || bridge_prepare_filters(ports[0].bridge, &err) < 0) {
        fprintf(stderr, "filter_cost: %s\n", err.message);
        exit(1);
    }
    ports[0].filter = ports[1].filter = &filter;
}

static void init(void)
{
    struct kv_error err;
    struct bridge *bridge = bridge_new(&forward, "br0", 1024, 300, &err);
    static const struct port_ops ops = {.send = send_frames};
    if (!bridge)
        exit(1);
    for (unsigned i = 0; i < 2; i++) {
        ports[i].ops = &ops;
        ports[i].forward = &forward;
        ports[i].up = true;
        ports[i].mac_limit = 1024;
        memset(ports[i].vlans.carried, 0xff, sizeof(ports[i].vlans.carried));
        bridge_attach(bridge, &ports[i]);
    }
    const uint8_t station[6] = {2, 0, 0, 0, 0, 2};
    mac_table_learn(&bridge->macs, mac_key(station, 0), 1, 0, 1024);
}

/* Nanoseconds a frame. */
static double round_of(unsigned flows)
{
    static unsigned next;
    struct frame frames[FRAME_BURST];
    int64_t start = clock_monotonic_ns();
    for (unsigned burst = 0; burst < BURSTS; burst++) {
        for (unsigned i = 0; i < FRAME_BURST; i++)
            frame_set_bytes(&frames[i], packets[next++ % flows], LEN);
        bridge_receive(&ports[0], frames, FRAME_BURST);
    }
    return (double)(clock_monotonic_ns() - start) / (BURSTS * FRAME_BURST);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: filter_cost none|acl|stateful RULES FLOWS ROUNDS\n");
        return 2;
    }
    unsigned flows = (unsigned)strtoul(argv[3], NULL, 10);
    unsigned rounds = (unsigned)strtoul(argv[4], NULL, 10);
    if (flows == 0 || flows > FLOWS_MAX || rounds == 0)
        return 2;
    init();
    for (unsigned i = 0; i < flows; i++)
        make_packet(packets[i], i);
    if (strcmp(argv[1], "none") != 0)
        set_filter(strcmp(argv[1], "stateful") == 0, (unsigned)strtoul(argv[2], NULL, 10));
    double best = round_of(flows);
    for (unsigned i = 1; i < rounds; i++) {
        double took = round_of(flows);
        best = MIN(best, took);
    }
    if (ports[1].counters.out_frames != (uint64_t)rounds * BURSTS * FRAME_BURST) {
        fprintf(stderr, "filter_cost: frames were dropped\n");
        return 1;
    }
    printf("%.2f\n", best);
    return 0;
}
