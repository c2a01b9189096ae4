/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The switch's forwarding, seen by guests on vhost-user ports: learning, VLANs, what is dropped;
 * front ends and drivers that break the rules. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "switch/ports/guard.h"
#include "switch_guest.h"
#include "unit.h"

#define GUESTS 3
#define LEN 60

static struct switch_bench bench;
static struct switch_guest guests[GUESTS];
static uint8_t got[65536];

static int set_up_with(bool packed, uint32_t rx_buffer)
{
    switch_bench_init(&bench);
    for (unsigned i = 0; i < GUESTS; i++) {
        switch_guest_init(&guests[i], &bench, packed, rx_buffer);
        switch_guest_start(&guests[i]);
    }
    return 0;
}

static int split(void **state)
{
    return set_up_with(false, GUEST_BUFFER);
}

static int packed(void **state)
{
    return set_up_with(true, GUEST_BUFFER);
}

static int small_buffers(void **state)
{
    return set_up_with(false, 256);
}

static int tear_down(void **state)
{
    for (unsigned i = 0; i < GUESTS; i++)
        switch_guest_destroy(&guests[i], &bench);
    switch_bench_destroy(&bench);
    return 0;
}

/* Guest n's address ends in n; 0xff: to everybody. vlan -1: without a tag. */
static unsigned make(uint8_t *frame, unsigned to, unsigned from, int vlan, unsigned len)
{
    memset(frame, to == 0xff ? 0xff : 0x02, 6);
    frame[5] = (uint8_t)to;
    memset(frame + 6, 0x02, 6);
    frame[11] = (uint8_t)from;
    unsigned at = 12;
    if (vlan >= 0) {
        const uint8_t tag[4] = {0x81, 0x00, (uint8_t)(vlan >> 8), (uint8_t)vlan};
        memcpy(frame + at, tag, 4);
        at += 4;
    }
    frame[at++] = 0x08;
    frame[at++] = 0x00;
    for (unsigned i = at; i < len; i++)
        frame[i] = (uint8_t)(i * 7 + from);
    return len;
}

static void transmit(unsigned from, unsigned to, int vlan)
{
    uint8_t frame[LEN];
    switch_guest_send(&guests[from], frame, make(frame, to, from, vlan, LEN));
    switch_step(&bench);
}

/* The guest got this frame, with that tag. */
static void assert_gets(unsigned guest, unsigned to, unsigned from, int vlan, unsigned len)
{
    uint8_t frame[LEN + 4];
    make(frame, to, from, vlan, len);
    assert_int_equal(switch_guest_receive(&guests[guest], got, sizeof(got)), len);
    assert_memory_equal(got, frame, vlan >= 0 ? 18 : 14);
}

static void assert_nothing(unsigned guest)
{
    assert_int_equal(switch_guest_receive(&guests[guest], got, sizeof(got)), 0);
}

static struct port *port_of(unsigned guest)
{
    return &guests[guest].vp->port;
}

static void make_access(unsigned guest, unsigned vlan)
{
    struct port_vlans vlans = {
        .access = true, .native = (uint16_t)vlan, .untagged = (uint16_t)vlan};
    vlans.carried[vlan / 64] = BIT(vlan % 64);
    port_of(guest)->vlans = vlans;
}

static uint64_t drops(unsigned guest, enum port_drop why)
{
    return port_of(guest)->counters.drops[why];
}

static void unknown_stations_are_flooded_for_and_known_ones_are_not(void **state)
{
    transmit(0, 1, -1);
    assert_gets(1, 1, 0, -1, LEN);
    assert_gets(2, 1, 0, -1, LEN);
    assert_nothing(0);
    transmit(1, 0, -1);
    assert_gets(0, 0, 1, -1, LEN);
    assert_nothing(2);
    transmit(0, 1, -1);
    assert_gets(1, 1, 0, -1, LEN);
    assert_nothing(2);
    transmit(0, 0xff, -1);
    assert_gets(1, 0xff, 0, -1, LEN);
    assert_gets(2, 0xff, 0, -1, LEN);
    assert_int_equal(port_of(0)->counters.in_frames, 3);
    assert_int_equal(port_of(1)->counters.out_frames, 3);
    assert_int_equal(port_of(1)->counters.out_bytes, 3 * LEN);
}

static void a_station_that_moves_is_found_where_it_is(void **state)
{
    uint8_t frame[LEN];
    transmit(0, 0xff, -1);
    switch_guest_send(&guests[2], frame, make(frame, 0xff, 0, -1, LEN));
    switch_step(&bench);
    while (switch_guest_receive(&guests[1], got, sizeof(got)) ||
           switch_guest_receive(&guests[2], got, sizeof(got)))
        continue;
    transmit(1, 0, -1);
    assert_gets(2, 0, 1, -1, LEN);
    assert_int_equal(switch_guest_receive(&guests[0], got, sizeof(got)), LEN); /* the flooded one */
    assert_nothing(0);
}

static void bursts_arrive_whole_and_in_order(void **state)
{
    uint8_t frame[LEN];
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 50; i++) {
            make(frame, 1, 0, -1, LEN);
            frame[20] = (uint8_t)i;
            switch_guest_send(&guests[0], frame, LEN);
        }
        switch_step(&bench);
        switch_step(&bench);
        for (unsigned i = 0; i < 50; i++) {
            assert_int_equal(switch_guest_receive(&guests[1], got, sizeof(got)), LEN);
            assert_int_equal(got[20], i);
            assert_int_equal(switch_guest_receive(&guests[2], got, sizeof(got)), LEN);
        }
    }
}

static void access_ports_of_different_vlans_hear_nothing_of_each_other(void **state)
{
    make_access(0, 10);
    make_access(1, 10);
    make_access(2, 20);
    transmit(0, 0xff, -1);
    assert_gets(1, 0xff, 0, -1, LEN);
    assert_nothing(2);
    /* Known in VLAN 10, unknown in 20. */
    transmit(2, 0, -1);
    assert_nothing(0);
    assert_nothing(1);
    transmit(2, 0xff, 10);
    assert_nothing(0);
    assert_int_equal(drops(2, DROP_VLAN), 1);
}

static void tags_are_put_in_and_taken_out(void **state)
{
    make_access(0, 10);
    uint8_t plain[LEN], tagged[LEN + 4];
    make(plain, 0xff, 0, -1, LEN);
    make(tagged, 0xff, 0, 10, LEN + 4);
    memcpy(tagged + 16, plain + 12, LEN - 12);
    switch_guest_send(&guests[0], plain, LEN);
    switch_step(&bench);
    assert_int_equal(switch_guest_receive(&guests[1], got, sizeof(got)), LEN + 4);
    assert_memory_equal(got, tagged, LEN + 4);
    tagged[11] = 1;
    plain[11] = 1;
    switch_guest_send(&guests[1], tagged, LEN + 4);
    switch_step(&bench);
    assert_int_equal(switch_guest_receive(&guests[0], got, sizeof(got)), LEN);
    assert_memory_equal(got, plain, LEN);
    while (switch_guest_receive(&guests[2], got, sizeof(got)))
        assert_memory_equal(got + 6, got[11] ? tagged + 6 : got + 6, 6);
}

static void a_trunk_carries_its_vlans_only_and_its_native_one_untagged(void **state)
{
    struct port_vlans trunk = {.native = 10, .untagged = 10, .carried = {BIT(10) | BIT(20)}};
    port_of(1)->vlans = trunk;
    transmit(0, 0xff, 20);
    assert_gets(1, 0xff, 0, 20, LEN);
    transmit(0, 0xff, 30);
    assert_nothing(1);
    transmit(0, 0xff, 10);
    assert_int_equal(switch_guest_receive(&guests[1], got, sizeof(got)), LEN - 4);
    transmit(0, 0xff, -1);
    assert_nothing(1);
    transmit(1, 0xff, 30);
    assert_int_equal(drops(1, DROP_VLAN), 1);
    for (unsigned i = 0; i < 4; i++)
        switch_guest_receive(&guests[2], got, sizeof(got));
    transmit(1, 0xff, 0); /* a priority tag */
    assert_gets(0, 0xff, 1, 10, LEN);
    assert_gets(2, 0xff, 1, 10, LEN);
}

static void what_bridges_do_not_forward_is_dropped_and_counted(void **state)
{
    uint8_t frame[LEN];
    make(frame, 0xff, 0, -1, LEN);
    const uint8_t lldp[6] = {0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e};
    memcpy(frame, lldp, 6);
    switch_guest_send(&guests[0], frame, LEN);
    make(frame, 1, 0, -1, LEN);
    frame[6] |= 1;
    switch_guest_send(&guests[0], frame, LEN);
    switch_guest_send(&guests[0], frame, 10);
    switch_step(&bench);
    assert_int_equal(drops(0, DROP_RESERVED), 1);
    assert_int_equal(drops(0, DROP_MALFORMED), 2);
    assert_nothing(1);
}

static void addresses_above_the_limit_are_not_learned(void **state)
{
    port_of(0)->mac_limit = 2;
    for (int vlan = -1; vlan < 4; vlan++)
        transmit(0, 0xff, vlan);
    assert_int_equal(bench.bridge->macs.used_by[port_of(0)->index], 2);
    assert_true(drops(0, DROP_NOT_LEARNED) > 0);
}

static void a_long_frame_is_spread_over_buffers(void **state)
{
    static uint8_t frame[1514];
    for (unsigned round = 0; round < 20; round++) {
        make(frame, 1, 0, -1, sizeof(frame));
        for (unsigned i = 0; i < 4; i++)
            switch_guest_send(&guests[0], frame, sizeof(frame));
        switch_step(&bench);
        for (unsigned i = 0; i < 4; i++) {
            assert_int_equal(switch_guest_receive(&guests[1], got, sizeof(got)), sizeof(frame));
            assert_memory_equal(got, frame, sizeof(frame));
            assert_int_equal(switch_guest_receive(&guests[2], got, sizeof(got)), sizeof(frame));
        }
    }
}

static void a_guest_without_buffers_loses_frames_and_nobody_else_does(void **state)
{
    for (unsigned i = 0; i < 2 * GUEST_RING_SIZE; i++) {
        transmit(0, 0xff, -1);
        assert_gets(2, 0xff, 0, -1, LEN);
    }
    assert_int_equal(drops(1, DROP_NO_BUFFER), GUEST_RING_SIZE);
    assert_int_equal(drops(2, DROP_NO_BUFFER), 0);
}

static void a_mirror_gets_one_copy_of_each_frame_and_nothing_else(void **state)
{
    bridge_mirror(port_of(0), port_of(2), MIRROR_IN | MIRROR_OUT);
    bridge_mirror(port_of(1), port_of(2), MIRROR_OUT);
    transmit(0, 1, -1);
    assert_gets(1, 1, 0, -1, LEN);
    assert_gets(2, 1, 0, -1, LEN);
    transmit(1, 0, 30);
    assert_gets(0, 0, 1, 30, LEN);
    assert_gets(2, 0, 1, 30, LEN);
    assert_nothing(2);
    /* What it says itself goes nowhere, and is not learned. */
    transmit(2, 0, -1);
    assert_nothing(0);
    assert_nothing(1);
    assert_int_equal(drops(2, DROP_MIRROR), 1);
    bridge_mirror(port_of(0), port_of(2), MIRROR_OUT);
    bridge_mirror(port_of(1), NULL, 0);
    transmit(0, 1, -1);
    assert_gets(1, 1, 0, -1, LEN);
    assert_nothing(2);
    transmit(1, 0, -1);
    assert_gets(0, 0, 1, -1, LEN);
    assert_gets(2, 0, 1, -1, LEN);
    bridge_mirror(port_of(0), NULL, 0);
    transmit(2, 0xff, -1);
    assert_gets(0, 0xff, 2, -1, LEN);
}

/* A frame that its sender may not send is no business of the mirror's either. */
static void a_mirror_sees_what_an_access_port_lets_in_with_its_tag(void **state)
{
    make_access(0, 10);
    bridge_mirror(port_of(0), port_of(2), MIRROR_IN);
    transmit(0, 1, 20);
    assert_nothing(2);
    transmit(0, 1, -1);
    assert_int_equal(switch_guest_receive(&guests[2], got, sizeof(got)), LEN + 4);
    assert_int_equal(got[12] << 8 | got[13], 0x8100);
    assert_int_equal(got[15], 10);
}

static void bursts_of_many_shapes_keep_their_order(void **state)
{
    uint8_t frame[LEN];
    bridge_mirror(port_of(0), port_of(2), MIRROR_IN);
    for (unsigned i = 0; i < GUEST_RING_SIZE - 4; i++) {
        make(frame, i % 3 ? 1 : 0xff, 0, i % 5 ? -1 : 7, LEN);
        frame[30] = (uint8_t)i;
        switch_guest_send(&guests[0], frame, LEN);
    }
    switch_step(&bench);
    for (unsigned i = 0; i < GUEST_RING_SIZE - 4; i++) {
        for (unsigned guest = 1; guest < 3; guest++) {
            assert_int_equal(switch_guest_receive(&guests[guest], got, sizeof(got)), LEN);
            assert_int_equal(got[30], i);
        }
    }
}

/* --- The rules broken ------------------------------------------------------ */

static void assert_others_go_on(void)
{
    transmit(1, 2, -1);
    assert_gets(2, 2, 1, -1, LEN);
    assert_true(port_of(1)->up && port_of(2)->up);
}

static void a_broken_ring_ends_that_ring_only(void **state)
{
    vring_split_avail(&guests[0].tx)[1] = 1000;
    switch_step(&bench);
    assert_false(port_of(0)->up);
    assert_others_go_on();
}

static void descriptors_outside_memory_end_the_ring(void **state)
{
    uint8_t frame[LEN] = {0};
    switch_guest_send(&guests[0], frame, LEN);
    for (unsigned i = 0; i < GUEST_RING_SIZE; i++)
        vring_split_desc_at(&guests[0].tx, i)->addr = GUEST_MEMORY - 4;
    switch_step(&bench);
    assert_false(port_of(0)->up);
    assert_others_go_on();
}

static void receive_buffers_outside_memory_end_the_receivers_ring(void **state)
{
    for (unsigned i = 0; i < GUEST_RING_SIZE; i++)
        vring_split_desc_at(&guests[0].rx, i)->addr = ~UINT64_C(0) - 100;
    transmit(1, 0xff, -1);
    assert_gets(2, 0xff, 1, -1, LEN);
    assert_false(port_of(0)->up);
    assert_others_go_on();
}

static void receive_buffers_that_cannot_be_written_end_the_ring(void **state)
{
    for (unsigned i = 0; i < GUEST_RING_SIZE; i++)
        vring_split_desc_at(&guests[0].rx, i)->flags = 0;
    transmit(1, 0xff, -1);
    assert_gets(2, 0xff, 1, -1, LEN);
    assert_false(port_of(0)->up);
    assert_others_go_on();
}

static void memory_that_is_cut_short_costs_the_port_and_nothing_else(void **state)
{
    guard_install(); /* cmocka has put a handler of its own there */
    assert_int_equal(ftruncate(guests[0].memory_fd, 0), 0);
    switch_step(&bench);
    assert_true(guests[0].vp->ended);
    assert_false(port_of(0)->up);
    assert_others_go_on();
    assert_int_equal(ftruncate(guests[0].memory_fd, GUEST_MEMORY), 0);
}

/* A part of a huge page can be neither replaced nor unmapped. */
static void huge_pages_that_vanish_cost_the_port_and_nothing_else(void **state)
{
    guard_install();
    int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
    if (fd < 0 || ftruncate(fd, 2 * GUEST_MEMORY) < 0)
        skip();
    const struct vhost_user_memory table = {
        .count = 1, .regions = {{.size = GUEST_MEMORY, .address = GUEST_USER_ADDRESS}}};
    switch_guest_say(&guests[0], VHOST_USER_SET_MEM_TABLE, &table, VHOST_USER_MEMORY_SIZE(1), fd);
    assert_int_equal(ftruncate(fd, 0), 0);
    switch_step(&bench);
    assert_false(port_of(0)->up);
    assert_others_go_on();
    close(fd);
}

static void messages_that_break_the_protocol_are_refused(void **state)
{
    struct switch_guest *g = &guests[0];
    const uint64_t all = ~UINT64_C(0), ring = 200, first = 0;
    const struct vhost_user_vring_addr log = {.index = 0, .flags = 1};
    struct vhost_user_memory table = {.count = VHOST_USER_REGIONS_MAX + 1};
    assert_int_equal(switch_guest_say(g, VHOST_USER_SET_FEATURES, &all, 8, -1), -EPROTO);
    assert_int_equal(switch_guest_say(g, VHOST_USER_SET_FEATURES, &all, 4, -1), -EPROTO);
    assert_int_equal(switch_guest_say(g, 1000, NULL, 0, -1), -EPROTO);
    assert_int_equal(switch_guest_say_state(g, VHOST_USER_SET_VRING_NUM, 16, 64), -EPROTO);
    assert_int_equal(switch_guest_say_state(g, VHOST_USER_SET_VRING_NUM, 2, 65), -EPROTO);
    assert_int_equal(switch_guest_say_state(g, VHOST_USER_SET_VRING_NUM, 2, 1 << 16), -EPROTO);
    assert_int_equal(switch_guest_say_state(g, VHOST_USER_SET_VRING_BASE, 0, 1), -EPROTO);
    assert_int_equal(switch_guest_say(g, VHOST_USER_SET_VRING_ADDR, &log, sizeof(log), -1),
                     -EPROTO);
    assert_int_equal(switch_guest_say(g, VHOST_USER_SET_VRING_KICK, &ring, 8, g->kick_fd), -EPROTO);
    assert_int_equal(switch_guest_say(g, VHOST_USER_SET_VRING_KICK, &first, 8, -1), -EPROTO);
    assert_int_equal(switch_guest_say(g, VHOST_USER_SET_VRING_KICK, &first, 8, g->memory_fd),
                     -EPROTO);
    assert_int_equal(switch_guest_say(g, VHOST_USER_SET_MEM_TABLE, &table, sizeof(table), -1),
                     -EPROTO);
    table = (struct vhost_user_memory){
        .count = 1, .regions = {{.size = GUEST_MEMORY, .mmap_offset = ~UINT64_C(0) - 100}}};
    assert_int_equal(switch_guest_say(g, VHOST_USER_SET_MEM_TABLE, &table,
                                      VHOST_USER_MEMORY_SIZE(1), g->memory_fd),
                     -EINVAL);
    table.regions[0].mmap_offset = 4096;
    assert_int_equal(switch_guest_say(g, VHOST_USER_SET_MEM_TABLE, &table,
                                      VHOST_USER_MEMORY_SIZE(1), g->memory_fd),
                     -EINVAL);
    assert_others_go_on();
    transmit(0, 1, -1);
    assert_gets(1, 1, 0, -1, LEN);
}

static void rings_stop_tell_where_and_go_on(void **state)
{
    struct switch_guest *g = &guests[0];
    struct vhost_user_message reply;
    const uint64_t ring = 1;
    transmit(0, 1, -1);
    assert_gets(1, 1, 0, -1, LEN);
    assert_int_equal(switch_guest_say_state(g, VHOST_USER_GET_VRING_BASE, 1, 0), 0);
    assert_int_equal(read(g->sockets[1], &reply, sizeof(reply)), 12 + 8);
    assert_int_equal(reply.payload.state.num, 1);
    transmit(0, 1, -1);
    assert_nothing(1);
    assert_int_equal(switch_guest_say(g, VHOST_USER_SET_VRING_KICK, &ring, 8, g->kick_fd), 0);
    switch_step(&bench);
    assert_gets(1, 1, 0, -1, LEN);
    /* The same memory at its front end's word anew. */
    assert_int_equal(switch_guest_say_memory(g), 0);
    transmit(0, 1, -1);
    assert_gets(1, 1, 0, -1, LEN);
}

/* --- Descriptors ------------------------------------------------------------ */

/* It dies, frames come meanwhile, and the next one is told that the rings are at their begin. */
static void a_guest_goes_on_where_a_lost_switch_kept_that_it_was(void **state)
{
    struct vhost_user_inflight said = {.queues = 2, .queue_size = GUEST_RING_SIZE};
    struct kv_error err;
    int fd = vhost_inflight_make(&said, &err);
    assert_true(fd >= 0);
    struct switch_guest *g = &guests[0];
    uint8_t frame[LEN];
    for (unsigned lost = 0; lost < 4; lost++) {
        vhost_session_end(g->vp);
        vhost_session_begin(g->vp);
        if (lost == 0)
            switch_guest_renew(g);
        else
            switch_guest_send(g, frame, make(frame, 1, 0, -1, LEN));
        assert_int_equal(
            switch_guest_say(g, VHOST_USER_SET_INFLIGHT_FD, &said, VHOST_USER_INFLIGHT_SIZE, fd),
            0);
        switch_guest_start(g);
        switch_step(&bench);
        if (lost)
            assert_gets(1, 1, 0, -1, LEN);
        for (unsigned i = 0; i < GUEST_RING_SIZE + 7 + lost; i++) {
            transmit(0, 1, -1);
            assert_gets(1, 1, 0, -1, LEN);
            transmit(1, 0, -1);
            assert_gets(0, 0, 1, -1, LEN);
        }
    }
    said.queue_size = 0;
    assert_true(vhost_inflight_make(&said, &err) < 0);
    said.queue_size = GUEST_RING_SIZE;
    said.mmap_offset = 4096;
    vhost_session_end(g->vp);
    vhost_session_begin(g->vp);
    assert_true(
        switch_guest_say(g, VHOST_USER_SET_INFLIGHT_FD, &said, VHOST_USER_INFLIGHT_SIZE, fd) < 0);
    close(fd);
}

static void a_guest_is_signalled_of_what_it_got(void **state)
{
    eventfd_t count;
    assert_int_equal(eventfd_read(guests[1].call_fd, &count), -1);
    transmit(0, 1, -1);
    assert_int_equal(eventfd_read(guests[1].call_fd, &count), 0);
    for (unsigned i = 0; i < 1000; i++) {
        transmit(0, 1, -1);
        assert_gets(1, 1, 0, -1, LEN);
        assert_int_equal(eventfd_read(guests[1].call_fd, &count), 0);
    }
}

/* A write to it would wait for good. */
static void a_full_eventfd_holds_nobody_up(void **state)
{
    int flags = fcntl(guests[0].call_fd, F_GETFL);
    assert_int_equal(fcntl(guests[0].call_fd, F_SETFL, flags & ~O_NONBLOCK), 0);
    assert_int_equal(eventfd_write(guests[0].call_fd, UINT64_MAX - 1), 0);
    alarm(10);
    transmit(0, 0xff, -1);
    assert_gets(1, 0xff, 0, -1, LEN);
    transmit(1, 0, -1);
    assert_gets(0, 0, 1, -1, LEN);
    alarm(0);
}

static void a_ring_without_kicks_is_looked_at_now_and_then(void **state)
{
    const uint64_t none = VHOST_USER_VRING_NO_FD | 1;
    uint8_t frame[LEN];
    assert_int_equal(switch_guest_say(&guests[0], VHOST_USER_SET_VRING_KICK, &none, 8, -1), 0);
    assert_int_equal(forward_start(&bench.forward, NULL), 0);
    usleep(100000);
    assert_true(guests[0].vp->port.up);
    assert_false(guests[0].vp->port.polled);
    switch_guest_send(&guests[0], frame, make(frame, 1, 0, -1, LEN));
    for (unsigned i = 0; i < 5000 && !guests[1].vp->port.counters.out_frames; i++)
        usleep(1000);
    assert_gets(1, 1, 0, -1, LEN);
}

static void silent_stations_are_forgotten(void **state)
{
    struct mac_table table;
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
    uint64_t key = mac_key(mac, 7);
    assert_int_equal(mac_table_init(&table, 64, 300, NULL), 0);
    assert_int_equal(mac_table_learn(&table, key, 3, 1000, 10), MAC_NEW);
    assert_int_equal(mac_table_find(&table, key, 1300), 3);
    assert_int_equal(mac_table_find(&table, mac_key(mac, 8), 1300), -1);
    assert_int_equal(mac_table_find(&table, key, 1301), -1);
    mac_table_expire(&table, 1301);
    assert_int_equal(table.used, 0);
    assert_int_equal(table.used_by[3], 0);
    mac_table_free(&table);
}

static void a_full_table_keeps_what_it_has(void **state)
{
    struct mac_table table;
    unsigned added = 0, refused = 0;
    uint8_t mac[6] = {2};
    assert_int_equal(mac_table_init(&table, 256, 300, NULL), 0);
    for (unsigned i = 0; i < 1000; i++) {
        store_le(mac + 2, i, 4);
        enum mac_learned learned = mac_table_learn(&table, mac_key(mac, 0), 1, 1000, 100000);
        added += learned == MAC_NEW;
        refused += learned == MAC_NO_ROOM;
    }
    assert_int_equal(added, table.used);
    assert_int_equal(added + refused, 1000);
    assert_true(added > 200 && added <= 256);
    memset(mac + 2, 0, 4);
    assert_int_equal(mac_table_find(&table, mac_key(mac, 0), 1000), 1);
    mac_table_free(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name, how) cmocka_unit_test_setup_teardown(name, how, tear_down)
        TEST(unknown_stations_are_flooded_for_and_known_ones_are_not, split),
        TEST(unknown_stations_are_flooded_for_and_known_ones_are_not, packed),
        TEST(a_station_that_moves_is_found_where_it_is, split),
        TEST(bursts_arrive_whole_and_in_order, split),
        TEST(bursts_arrive_whole_and_in_order, packed),
        TEST(access_ports_of_different_vlans_hear_nothing_of_each_other, split),
        TEST(tags_are_put_in_and_taken_out, split),
        TEST(a_trunk_carries_its_vlans_only_and_its_native_one_untagged, split),
        TEST(what_bridges_do_not_forward_is_dropped_and_counted, split),
        TEST(addresses_above_the_limit_are_not_learned, split),
        TEST(a_long_frame_is_spread_over_buffers, small_buffers),
        TEST(a_guest_without_buffers_loses_frames_and_nobody_else_does, split),
        TEST(a_mirror_gets_one_copy_of_each_frame_and_nothing_else, split),
        TEST(a_mirror_sees_what_an_access_port_lets_in_with_its_tag, split),
        TEST(bursts_of_many_shapes_keep_their_order, split),
        TEST(bursts_of_many_shapes_keep_their_order, packed),
        TEST(a_broken_ring_ends_that_ring_only, split),
        TEST(descriptors_outside_memory_end_the_ring, split),
        TEST(receive_buffers_outside_memory_end_the_receivers_ring, split),
        TEST(receive_buffers_that_cannot_be_written_end_the_ring, split),
        TEST(memory_that_is_cut_short_costs_the_port_and_nothing_else, split),
        TEST(huge_pages_that_vanish_cost_the_port_and_nothing_else, split),
        TEST(messages_that_break_the_protocol_are_refused, split),
        TEST(rings_stop_tell_where_and_go_on, split),
        TEST(a_guest_goes_on_where_a_lost_switch_kept_that_it_was, split),
        TEST(a_guest_goes_on_where_a_lost_switch_kept_that_it_was, packed),
        TEST(a_guest_is_signalled_of_what_it_got, split),
        TEST(a_guest_is_signalled_of_what_it_got, packed),
        TEST(a_full_eventfd_holds_nobody_up, split),
        TEST(a_ring_without_kicks_is_looked_at_now_and_then, split),
        cmocka_unit_test(silent_stations_are_forgotten),
        cmocka_unit_test(a_full_table_keeps_what_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
