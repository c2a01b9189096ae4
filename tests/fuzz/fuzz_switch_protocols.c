/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames of neighbours' protocols: LACPDUs, BPDUs, IGMP and MLD, read and given to the machines
 * that act on them. The first bytes say which protocol, and how the state stands. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "input.h"
#include "require.h"
#include "switch/protocols/groups.h"
#include "switch/protocols/lacp.h"
#include "switch/protocols/rstp.h"

#define SECOND INT64_C(1000000000)
#define FRAME_MAX 1520

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t take_frame(struct input *in, uint8_t *frame)
{
    size_t len = (size_t)take(in, 2) % FRAME_MAX;
    for (size_t i = 0; i < len; i++)
        frame[i] = (uint8_t)take(in, 1);
    return len;
}

static void hear_lacp(struct input *in, const uint8_t *frame, size_t len)
{
    static struct lacp_port ports[2];
    struct lacp_port *both[] = {&ports[0], &ports[1]};
    const struct lacp_info actor = {.key = 1, .port = 1, .state = (uint8_t)take(in, 1)};
    int64_t now_ns = SECOND;
    for (unsigned i = 0; i < 2; i++) {
        lacp_init(both[i], &actor);
        lacp_set_link(both[i], true, now_ns);
    }
    for (unsigned i = 0; i < 8; i++) {
        struct lacp_pdu pdu;
        if (lacp_parse(&pdu, frame, len))
            lacp_receive(both[i & 1], &pdu, now_ns);
        lacp_select(both, 2);
        lacp_run(both[i & 1], now_ns, &pdu);
        require(!lacp_carries(both[i & 1]) || both[i & 1]->selected);
        now_ns += (int64_t)take(in, 1) * SECOND / 8;
    }
}

static void hear_rstp(struct input *in, uint8_t *frame, size_t len)
{
    static struct rstp_port ports[3];
    struct rstp_bridge bridge = {.id = UINT64_C(0x8000020000000001),
                                 .times = {0, 20, 2, 15},
                                 .root_port = -1,
                                 .count = 3,
                                 .ports = ports};
    for (unsigned i = 0; i < 3; i++) {
        ports[i] =
            (struct rstp_port){.id = (uint16_t)(0x8001 + i), .path_cost = (uint32_t)take(in, 4)};
        rstp_init_port(&bridge, &ports[i]);
        rstp_set_link(&bridge, &ports[i], true);
    }
    for (unsigned i = 0; i < 16; i++) {
        struct rstp_bpdu bpdu;
        if (len > 40)
            frame[20 + take(in, 1) % 20] = (uint8_t)take(in, 1);
        if (rstp_parse(&bpdu, frame, len))
            rstp_receive(&bridge, &ports[i % 3], &bpdu);
        if (i % 2)
            rstp_tick(&bridge);
        rstp_transmit(&bridge, &ports[i % 3], &bpdu);
        unsigned roots = 0;
        for (unsigned j = 0; j < 3; j++) {
            roots += ports[j].role == RSTP_ROOT;
            /* What is blocked is blocked. */
            require(ports[j].role == RSTP_ROOT || ports[j].role == RSTP_DESIGNATED ||
                    !ports[j].forward);
        }
        require(roots <= 1);
    }
}

static void hear_groups(struct input *in, const uint8_t *frame, size_t len)
{
    static struct groups groups;
    struct groups_message message;
    if (!groups.entries)
        require(groups_init(&groups, 512, 100) == 0);
    groups_kind_of(frame, MIN(len, 96));
    if (groups_parse(&message, frame, len)) {
        require(message.count <= GROUPS_CHANGES_MAX);
        groups_hear(&groups, &message, (uint16_t)take(in, 1), 1, take(in, 1) & 1,
                    (uint32_t)take(in, 1));
    }
    groups_expire(&groups, (uint32_t)take(in, 1));
    require(groups.count <= groups.max);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    uint8_t frame[FRAME_MAX] = {0};
    unsigned which = (unsigned)take(&in, 1) % 3;
    size_t len = take_frame(&in, frame);
    /* Of the exact size, so that what is read behind it is found. */
    uint8_t *exact = malloc(len ? len : 1);
    require(exact);
    memcpy(exact, frame, len);
    if (which == 0)
        hear_lacp(&in, exact, len);
    else if (which == 1)
        hear_rstp(&in, exact, len);
    else
        hear_groups(&in, exact, len);
    free(exact);
    return 0;
}
