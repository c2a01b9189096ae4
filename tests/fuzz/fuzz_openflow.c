/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a controller that says anything to a bridge's OpenFlow, in messages whose headers
 * are mostly right, while a guest sends frames through the flows that come of it. Another guest's
 * port must stay up, and a second controller must get an answer.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "input.h"
#include "require.h"
#include "switch/openflow/connection.h"
#include "switch_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define MESSAGE_MAX 600

static struct switch_bench bench;
static struct switch_guest guests[2];
static struct openflow *openflow; /* goes on from input to input, with other flows */
static char directory[] = "/tmp/openflowXXXXXX";

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    log_level = LOG_ERROR;
    switch_bench_init(&bench);
    for (unsigned i = 0; i < ARRAY_SIZE(guests); i++) {
        switch_guest_init(&guests[i], &bench, false, GUEST_BUFFER);
        switch_guest_start(&guests[i]);
    }
    struct kv_error err = {0};
    require(mkdtemp(directory) != NULL);
    openflow = openflow_start(bench.bridge, &bench.loop, directory, &err);
    require(openflow != NULL);
    return 0;
}

static struct connection *connect_to(int sockets[2], uint8_t version)
{
    const uint8_t hello[] = {version, 0, 0, 8, 0, 0, 0, 1};
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets) == 0);
    require(connection_add(openflow, sockets[0], false) == 0);
    struct connection *c = list_entry(openflow->connections.prev, struct connection, node);
    require(connection_take(c, hello, sizeof(hello)) == 0);
    return c;
}

static void read_all(int fd)
{
    static uint8_t data[65536];
    while (read(fd, data, sizeof(data)) > 0)
        continue;
}

/* Flow-mods that are right: all of guest 0's IPv4 to 10.0.0.1 goes to guest 1, in VLAN 5. */
static const uint8_t flow_mod_10[] = {
    0x00, 0x30, 0x20, 0xee, 0, 1, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0,    0,    0,    0,
    0,    0,    0x08, 0,    0, 6, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1, 0,    0,    0,    0,
    0,    0,    0,    0,    0, 0, 0, 7, 0, 0, 0, 0, 0,  0, 0, 9, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0,    1,    0, 1, 0, 8, 0, 5, 0, 0, 0,  0, 0, 8, 0,    2,    0,    0};
static const uint8_t flow_mod_13[] = {
    0,    0,    0,    0,    0,    0,    0,    7,    0, 0,    0,    0,    0,    0,    0,
    0,    0,    0,    0,    0,    0,    0,    0,    9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0,    1,    0, 0,    0,    1,    0,    26,   0x80,
    0,    0,    4,    0,    0,    0,    1,    0x80, 0, 0x0a, 2,    0x08, 0,    0x80, 0,
    0x18, 4,    10,   0,    0,    1,    0,    0,    0, 0,    0,    0,    0,    4,    0,
    48,   0,    0,    0,    0,    0,    17,   0,    8, 0x81, 0,    0,    0,    0,    25,
    0,    16,   0x80, 0,    0x0c, 2,    0x10, 5,    0, 0,    0,    0,    0,    0,    0,
    0,    0,    16,   0,    0,    0,    2,    0,    0, 0,    0,    0,    0,    0,    0};

/* One of those with some bytes changed. False: the connection ends. */
static bool say_flow_mod(struct connection *c, uint8_t version, struct input *in)
{
    uint8_t message[OFP_HEADER + sizeof(flow_mod_13)] = {version, OFPT_FLOW_MOD};
    bool v13 = version == OFP_13;
    size_t len = v13 ? sizeof(flow_mod_13) : sizeof(flow_mod_10);
    memcpy(message + OFP_HEADER, v13 ? flow_mod_13 : flow_mod_10, len);
    store_be(message + 2, OFP_HEADER + len, 2);
    for (uint64_t changes = take(in, 1) % 8; changes; changes--) {
        uint64_t at = take(in, 1) % len;
        message[OFP_HEADER + at] = (uint8_t)take(in, 1);
    }
    return connection_take(c, message, OFP_HEADER + len) == 0;
}

/* A message of that version, its length mostly right. False: the connection ends. */
static bool say(struct connection *c, uint8_t version, struct input *in)
{
    static const uint16_t starts[] = {0, 0x0001, 0x0800, 0x86dd, 0x8000, 0xffff};
    uint8_t message[MESSAGE_MAX] = {version, (uint8_t)(take(in, 1) % 24)};
    size_t len = OFP_HEADER + take(in, 1) * 2;
    for (size_t at = OFP_HEADER; at + 2 <= len;) {
        uint64_t kind = take(in, 1);
        unsigned run = (unsigned)(kind >> 4) * 2;
        for (unsigned i = 0; i <= run && at + 2 <= len; i += 2, at += 2) {
            uint64_t word = kind & 8 ? take(in, 2) : starts[kind % ARRAY_SIZE(starts)];
            store_be(message + at, word, 2);
        }
    }
    uint64_t lie = take(in, 1);
    store_be(message + 2, lie == 255 ? take(in, 2) : len, 2);
    return connection_take(c, message, len) == 0;
}

static void send_frame(struct input *in)
{
    uint8_t frame[100] = {2};
    unsigned len = 60 + (unsigned)take(in, 1) % 40;
    for (unsigned i = 0; i < len; i++)
        frame[i] = (uint8_t)take(in, 1);
    openflow_expire(openflow);
    switch_guest_send(&guests[0], frame, len);
    switch_step(&bench);
    static uint8_t got[FRAME_BYTES_MAX];
    for (unsigned i = 0; i < ARRAY_SIZE(guests); i++) {
        while (switch_guest_receive(&guests[i], got, sizeof(got)))
            continue;
    }
}

static void ignore_removed(void *opaque, const struct ofp_flow *flow, enum ofp_removed why)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t echo[] = {OFP_13, OFPT_ECHO_REQUEST, 0, 8, 0, 0, 0, 9};
    struct input in = {data, size};
    static const struct ofp_flow all = {0};
    static const struct flow_selection any = {.out_port = OFPP_NONE};
    static const struct flow_actions normal = {.count = 1, .list = {{.op = FLOW_NORMAL}}};
    int bad_sockets[2], good_sockets[2];
    uint8_t version = take(&in, 1) & 1 ? OFP_13 : OFP_10;
    struct connection *bad = connect_to(bad_sockets, version);
    struct connection *good = connect_to(good_sockets, OFP_13);
    bool speaks = true;
    while (in.left) {
        uint64_t act = take(&in, 1) % 4;
        if (speaks && act)
            speaks = (act == 1 ? say_flow_mod : say)(bad, version, &in);
        else
            send_frame(&in);
        read_all(bad_sockets[1]);
    }
    read_all(good_sockets[1]);
    require(connection_take(good, echo, sizeof(echo)) == 0);
    uint8_t answer[8];
    require(read(good_sockets[1], answer, sizeof(answer)) == 8 && answer[1] == OFPT_ECHO_REPLY);
    require(guests[1].vp->port.up);
    connection_free(bad);
    connection_free(good);
    flows_delete(&openflow->flows, &any, ignore_removed, NULL);
    require(flows_add(&openflow->flows, &all, &normal) == OFP_OK);
    require(flows_publish(&openflow->flows) == 0 && !bench.bridge->flows);
    close(bad_sockets[1]);
    close(good_sockets[1]);
    for (unsigned i = 0; i < ARRAY_SIZE(guests); i++)
        guests[i].vp->port.config = 0;
    return 0;
}
