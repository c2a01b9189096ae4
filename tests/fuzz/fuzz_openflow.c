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
static char directory[] = "/tmp/openflowXXXXXX";

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    log_level = LOG_ERROR;
    switch_bench_init(&bench);
    for (unsigned i = 0; i < ARRAY_SIZE(guests); i++) {
        switch_guest_init(&guests[i], &bench, false, GUEST_BUFFER);
        switch_guest_start(&guests[i]);
    }
    require(mkdtemp(directory) != NULL);
    return 0;
}

static struct connection *connect_to(struct openflow *openflow, int sockets[2], uint8_t version)
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
    switch_guest_send(&guests[0], frame, len);
    switch_step(&bench);
    static uint8_t got[FRAME_BYTES_MAX];
    for (unsigned i = 0; i < ARRAY_SIZE(guests); i++) {
        while (switch_guest_receive(&guests[i], got, sizeof(got)))
            continue;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t echo[] = {OFP_13, OFPT_ECHO_REQUEST, 0, 8, 0, 0, 0, 9};
    struct input in = {data, size};
    struct kv_error err = {0};
    int bad_sockets[2], good_sockets[2];
    struct openflow *openflow = openflow_start(bench.bridge, &bench.loop, directory, &err);
    require(openflow != NULL);
    uint8_t version = take(&in, 1) & 1 ? OFP_13 : OFP_10;
    struct connection *bad = connect_to(openflow, bad_sockets, version);
    struct connection *good = connect_to(openflow, good_sockets, OFP_13);
    bool speaks = true;
    while (in.left) {
        if (speaks && take(&in, 1) & 3)
            speaks = say(bad, version, &in);
        else
            send_frame(&in);
        read_all(bad_sockets[1]);
    }
    read_all(good_sockets[1]);
    require(connection_take(good, echo, sizeof(echo)) == 0);
    uint8_t answer[8];
    require(read(good_sockets[1], answer, sizeof(answer)) == 8 && answer[1] == OFPT_ECHO_REPLY);
    require(guests[1].vp->port.up);
    openflow_stop(openflow);
    close(bad_sockets[1]);
    close(good_sockets[1]);
    for (unsigned i = 0; i < ARRAY_SIZE(guests); i++)
        guests[i].vp->port.config = 0;
    return 0;
}
