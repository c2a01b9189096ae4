/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One hostile guest floods, two others talk: what the two get through in a second of the forwarding
 * thread's time, compared with what they get through alone. Everybody sends as fast as rings take
 * it. Prints the figures.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <time.h>

#include "base/util.h"
#include "flow_frames.h"
#include "switch/filter/filter.h"
#include "switch_guest.h"
#include "unit.h"

#define ROUNDS 5000
#define WARM_UP 200
#define BURST (GUEST_RING_SIZE / 2) /* so that what is flooded leaves room for others */
#define SHARE_MIN 0.8
#define TRIES 4 /* others of the machine take its caches now and then */

enum {
    SENDER,
    RECEIVER,
    HOSTILE,
    IDLE,
    GUESTS = IDLE + 3,
};

static struct switch_bench bench;
static struct switch_guest guests[GUESTS];
static struct filter filter;
static uint64_t state = 88172645463325252U, received;

static uint64_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state >> 8;
}

static struct acl *make_acl(void)
{
    struct kv_error err = {0};
    json_t *object =
        json_pack("{s:s, s:s, s:b, s:[]}", "name", "x", "default", "allow", "stateful", 1, "rules");
    struct acl *acl = acl_new(object, &err);
    if (!acl)
        fail_msg("%s", err.message);
    json_decref(object);
    return acl;
}

static int set_up(void **unused)
{
    struct kv_error err;
    switch_bench_init(&bench);
    assert_int_equal(bridge_prepare_filters(bench.bridge, &err), 0);
    for (unsigned i = 0; i < GUESTS; i++) {
        switch_guest_init(&guests[i], &bench, false, GUEST_BUFFER);
        switch_guest_start(&guests[i]);
    }
    return 0;
}

static int tear_down(void **unused)
{
    for (unsigned i = 0; i < GUESTS; i++)
        switch_guest_destroy(&guests[i], &bench);
    switch_bench_destroy(&bench);
    return 0;
}

/* --- What is sent ---------------------------------------------------------------- */

static void honest_frame(struct packet *p, unsigned from, unsigned to)
{
    packet_ipv4(p, to, from, IPPROTO_UDP);
    packet_udp(p, 9, 9, 18);
}

static void new_station(struct packet *p)
{
    uint64_t mac = draw();
    honest_frame(p, HOSTILE, 0x77);
    memcpy(p->bytes + 7, &mac, 5);
}

static void arp_storm(struct packet *p)
{
    packet_arp(p, 1, RECEIVER, HOSTILE);
    memset(p->bytes, 0xff, 6);
}

static void new_connection(struct packet *p)
{
    packet_ipv4(p, RECEIVER, HOSTILE, IPPROTO_UDP);
    packet_udp(p, (unsigned)draw() & 0xffff, (unsigned)draw() & 0xffff, 18);
}

/* As many as go, once those before were taken. */
static void fill(unsigned guest, void (*make)(struct packet *p))
{
    struct switch_guest *g = &guests[guest];
    static struct packet p;
    if (g->vp->port.counters.in_frames < g->sent)
        return;
    for (unsigned i = 0; i < BURST; i++) {
        if (make)
            make(&p);
        else
            honest_frame(&p, SENDER, RECEIVER);
        switch_guest_send(g, p.bytes, p.len);
    }
}

static void take(unsigned guest)
{
    static uint8_t got[GUEST_BUFFER];
    while (switch_guest_receive(&guests[guest], got, sizeof(got)))
        received += guest == RECEIVER && got[11] == SENDER;
}

static double processor_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Frames from the sender that arrive in a second of switch_step(), while the hostile one sends what
 * make makes, or (NULL) nothing. */
static double rate_beside(void (*make)(struct packet *p))
{
    double seconds = 0;
    for (unsigned round = 0; round < ROUNDS + WARM_UP; round++) {
        if (round == WARM_UP) {
            received = 0;
            seconds = 0;
        }
        fill(SENDER, NULL);
        if (make)
            fill(HOSTILE, make);
        double begin = processor_s();
        switch_step(&bench);
        seconds += processor_s() - begin;
        for (unsigned i = 0; i < GUESTS; i++)
            take(i);
    }
    return (double)received / seconds;
}

/* The bridge knows where the honest ones are. */
static void introduce(void)
{
    struct packet p;
    honest_frame(&p, RECEIVER, SENDER);
    switch_guest_send(&guests[RECEIVER], p.bytes, p.len);
    switch_step(&bench);
    for (unsigned i = 0; i < GUESTS; i++)
        take(i);
}

static void compare(const char *what, void (*make)(struct packet *p))
{
    double share = 0;
    introduce();
    for (unsigned try = 0; try < TRIES && share <= SHARE_MIN; try++) {
        double alone = rate_beside(NULL), beside = rate_beside(make);
        share = beside / alone;
        print_message("%s: %.2f of %.2f million frames a second (%.0f %%)\n", what, beside / 1e6,
                      alone / 1e6, 100 * share);
    }
    assert_true(guests[HOSTILE].vp->port.counters.in_frames > BURST);
    assert_true(share > SHARE_MIN);
}

static void new_stations_leave_others_their_throughput(void **unused)
{
    guests[HOSTILE].vp->port.mac_limit = 1024;
    compare("MAC flood", new_station);
}

static void broadcasts_leave_others_their_throughput(void **unused)
{
    compare("ARP storm", arp_storm);
}

static void new_connections_leave_others_their_throughput(void **unused)
{
    filter = (struct filter){.acl = make_acl(), .connections = 8192};
    guests[HOSTILE].vp->port.filter = &filter;
    compare("connection-table flood", new_connection);
    acl_free(filter.acl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(new_stations_leave_others_their_throughput, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(broadcasts_leave_others_their_throughput, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(new_connections_leave_others_their_throughput, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
