/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtqueues against drivers that break the rules: the queue breaks, with the reason, and nothing
 * else does. */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "unit.h"
#include "vring_driver.h"

#define SIZE 8
#define DATA 0x8000
#define TABLE 0xa000
#define NEXT VRING_DESC_F_NEXT_
#define WRITE VRING_DESC_F_WRITE_
#define INDIRECT VRING_DESC_F_INDIRECT_

/* Two regions next to each other and a hole behind them. */
static uint8_t memory[0x10000] __attribute__((aligned(4096)));
static struct guest_mem mem;
static struct vring_driver driver;
static struct virtqueue vq;
static struct iovec iov[16];
static struct virtqueue_chain chain;

static void set_up(bool packed)
{
    const struct guest_mem_region a = {.gpa = 0, .size = 0xc000, .hva = memory, .fd = -1};
    const struct guest_mem_region b = {
        .gpa = 0xc000, .size = 0x4000, .hva = memory + 0xc000, .fd = -1};
    mem = (struct guest_mem){0};
    guest_mem_add(&mem, &a);
    guest_mem_add(&mem, &b);
    memset(memory, 0, sizeof(memory));
    vring_driver_init(&driver, &mem, SIZE, packed, false, 0x1000);
    vq = (struct virtqueue){0};
    vring_driver_describe(&driver, &vq);
    assert_int_equal(virtqueue_start(&vq, &mem, NULL), 0);
    chain = (struct virtqueue_chain){.iov = iov, .iov_max = ARRAY_SIZE(iov)};
}

static int split(void **state)
{
    set_up(false);
    return 0;
}

static int packed(void **state)
{
    set_up(true);
    return 0;
}

static int tear_down(void **state)
{
    vring_driver_destroy(&driver);
    return 0;
}

static void assert_breaks(const char *why)
{
    assert_int_equal(virtqueue_pop(&vq, &chain), -EPROTO);
    assert_true(vq.broken);
    assert_non_null(vq.broken_reason);
    if (!strstr(vq.broken_reason, why))
        fail_msg("it broke because %s, not because %s", vq.broken_reason, why);
    assert_int_equal(vq.inflight, 0);
    /* And stays so, until a reset. */
    assert_int_equal(virtqueue_pop(&vq, &chain), -EPROTO);
    assert_true(virtqueue_empty(&vq));
    assert_false(virtqueue_enable_kick(&vq));
    virtqueue_stop(&vq);
    virtqueue_reset(&vq);
    vring_driver_describe(&driver, &vq);
    memset(memory + 0x1000, 0, 0x1000);
    assert_int_equal(virtqueue_start(&vq, &mem, NULL), 0);
    assert_int_equal(virtqueue_pop(&vq, &chain), 0);
}

/* Split: descriptors from 0 on, head 0 made available. */
static void offer_split(const struct driver_split_desc *descs, unsigned count)
{
    memcpy(vring_split_desc_at(&driver, 0), descs, count * sizeof(*descs));
    vring_split_avail(&driver)[2] = 0;
    vring_split_avail(&driver)[1] = 1;
}

static void offer_packed(const struct driver_packed_desc *descs, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        *vring_packed_desc_at(&driver, i) = descs[i];
        vring_packed_desc_at(&driver, i)->flags |= VRING_PACKED_AVAIL_;
    }
}

struct split_case {
    const char *why;
    unsigned count;
    struct driver_split_desc descs[SIZE];
    unsigned table_count; /* an indirect table at TABLE */
    struct driver_split_desc table[SIZE];
};

static const struct split_case split_cases[] = {
    {"length 0", 1, {{DATA, 0, 0, 0}}},
    {"length 0", 2, {{DATA, 4, NEXT, 1}, {DATA, 0, WRITE, 0}}},
    {"loops", 1, {{DATA, 1, NEXT, 0}}},
    {"loops", 3, {{DATA, 1, NEXT, 1}, {DATA, 1, NEXT, 2}, {DATA, 1, NEXT, 1}}},
    {"next index", 1, {{DATA, 1, NEXT, SIZE}}},
    {"next index", 1, {{DATA, 1, NEXT, 0xffff}}},
    {"device-readable descriptor follows", 2, {{DATA, 1, NEXT | WRITE, 1}, {DATA, 1, 0, 0}}},
    {"outside memory", 1, {{0x10000, 1, 0, 0}}},
    {"outside memory", 1, {{0xffff, 2, 0, 0}}},
    {"outside memory", 1, {{UINT64_MAX, 2, 0, 0}}},
    {"outside memory", 1, {{UINT64_MAX - 1, 0xffffffff, WRITE, 0}}},
    {"outside memory", 1, {{0, 0xffffffff, WRITE, 0}}},
    {"outside memory", 1, {{DATA, 0x8001, WRITE, 0}}},
    {"indirect and has a next", 1, {{TABLE, 16, INDIRECT | NEXT, 1}}, 1, {{DATA, 1, 0, 0}}},
    {"multiple of 16", 1, {{TABLE, 0, INDIRECT, 0}}},
    {"multiple of 16", 1, {{TABLE, 17, INDIRECT, 0}}},
    {"table is not in memory", 1, {{0x10000, 16, INDIRECT, 0}}},
    {"table is not in memory", 1, {{UINT64_MAX - 15, 32, INDIRECT, 0}}},
    {"table is not in memory", 1, {{TABLE, 0xfffffff0, INDIRECT, 0}}},
    {"table is not in memory", 1, {{0xbff8, 16, INDIRECT, 0}}},
    {"holds an indirect", 1, {{TABLE, 16, INDIRECT, 0}}, 1, {{TABLE, 16, INDIRECT, 0}}},
    {"table loops", 1, {{TABLE, 16, INDIRECT, 0}}, 1, {{DATA, 1, NEXT, 0}}},
    {"table's next index", 1, {{TABLE, 32, INDIRECT, 0}}, 2, {{DATA, 1, NEXT, 2}}},
    {"length 0", 1, {{TABLE, 16, INDIRECT, 0}}, 1, {{DATA, 0, 0, 0}}},
    {"device-readable descriptor follows",
     1,
     {{TABLE, 32, INDIRECT, 0}},
     2,
     {{DATA, 1, NEXT | WRITE, 1}, {DATA, 1, 0, 0}}},
    {"outside memory", 1, {{TABLE, 16, INDIRECT, 0}}, 1, {{0xfffff, 1, 0, 0}}},
};

static void bad_split_chains_break_the_queue(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(split_cases); i++) {
        const struct split_case *c = &split_cases[i];
        memcpy(memory + TABLE, c->table, c->table_count * sizeof(c->table[0]));
        offer_split(c->descs, c->count);
        assert_breaks(c->why);
    }
}

struct packed_case {
    const char *why;
    unsigned count;
    struct driver_packed_desc descs[SIZE];
    unsigned table_count;
    struct driver_packed_desc table[SIZE];
};

static const struct packed_case packed_cases[] = {
    {"length 0", 1, {{DATA, 0, 0, 0}}},
    {"in flight",
     8,
     {{DATA, 1, 0, NEXT},
      {DATA, 1, 0, NEXT},
      {DATA, 1, 0, NEXT},
      {DATA, 1, 0, NEXT},
      {DATA, 1, 0, NEXT},
      {DATA, 1, 0, NEXT},
      {DATA, 1, 0, NEXT},
      {DATA, 1, 0, NEXT}}},
    {"device-readable descriptor follows", 2, {{DATA, 1, 0, NEXT | WRITE}, {DATA, 1, 0, 0}}},
    {"outside memory", 1, {{0x10000, 1, 0, 0}}},
    {"outside memory", 1, {{UINT64_MAX, 2, 0, WRITE}}},
    {"part of a list", 2, {{TABLE, 16, 0, INDIRECT | NEXT}, {DATA, 1, 0, 0}}},
    {"part of a list", 2, {{DATA, 1, 0, NEXT}, {TABLE, 16, 0, INDIRECT}}},
    {"multiple of 16", 1, {{TABLE, 0, 0, INDIRECT}}},
    {"multiple of 16", 1, {{TABLE, 24, 0, INDIRECT}}},
    {"table is not in memory", 1, {{0xfff8, 16, 0, INDIRECT}}},
    {"holds an indirect", 1, {{TABLE, 16, 0, INDIRECT}}, 1, {{TABLE, 16, 0, INDIRECT}}},
    {"length 0", 1, {{TABLE, 32, 0, INDIRECT}}, 2, {{DATA, 1, 0, 0}, {DATA, 0, 0, 0}}},
    {"device-readable descriptor follows",
     1,
     {{TABLE, 32, 0, INDIRECT}},
     2,
     {{DATA, 1, 0, WRITE}, {DATA, 1, 0, 0}}},
    {"too many segments", 1, {{TABLE, 0x1000, 0, INDIRECT}}},
};

static void bad_packed_lists_break_the_queue(void **state)
{
    /* For the last case: more of them than the caller has segments. */
    struct driver_packed_desc *table = (struct driver_packed_desc *)(memory + TABLE);
    for (unsigned i = 0; i < 0x100; i++)
        table[i] = (struct driver_packed_desc){DATA, 1, 0, 0};
    for (unsigned i = 0; i < ARRAY_SIZE(packed_cases); i++) {
        const struct packed_case *c = &packed_cases[i];
        memcpy(memory + TABLE, c->table, c->table_count * sizeof(c->table[0]));
        if (!c->table_count && strstr(c->why, "segments"))
            table[0] = table[1] = (struct driver_packed_desc){DATA, 1, 0, 0};
        offer_packed(c->descs, c->count);
        assert_breaks(c->why);
    }
}

static void a_chain_of_4_gib_is_the_longest(void **state)
{
    /* One big region, so that lengths are in memory; nothing reads it. */
    mem = (struct guest_mem){0};
    const struct guest_mem_region a = {.gpa = 0, .size = 0x10000, .hva = memory, .fd = -1};
    const struct guest_mem_region big = {.gpa = GIB(4), .size = GIB(8), .hva = memory, .fd = -1};
    guest_mem_add(&mem, &a);
    guest_mem_add(&mem, &big);
    const struct driver_split_desc fits[] = {{GIB(4), 0x80000000, NEXT, 1},
                                             {GIB(5), 0x80000000, WRITE, 0}};
    offer_split(fits, 2);
    assert_int_equal(virtqueue_pop(&vq, &chain), 1);
    assert_int_equal(chain.out_bytes + chain.in_bytes, GIB(4));
    virtqueue_push(&vq, &chain, 0);
    const struct driver_split_desc too_long[] = {{GIB(4), 0x80000000, NEXT, 1},
                                                 {GIB(5), 0x80000001, WRITE, 0}};
    memcpy(vring_split_desc_at(&driver, 0), too_long, sizeof(too_long));
    vring_split_avail(&driver)[1] = 2;
    assert_breaks("longer than 4 GiB");
}

static void a_jumping_available_index_breaks_the_queue(void **state)
{
    vring_split_desc_at(&driver, 0)->addr = DATA;
    vring_split_desc_at(&driver, 0)->len = 1;
    vring_split_avail(&driver)[1] = SIZE + 1;
    assert_breaks("jumped");
    vring_split_avail(&driver)[1] = 0xffff;
    assert_breaks("jumped");
    vring_split_avail(&driver)[1] = 0xffff;
    assert_true(virtqueue_empty(&vq));
    assert_true(vq.broken);
}

static void an_available_entry_outside_the_table_breaks_the_queue(void **state)
{
    vring_split_avail(&driver)[2] = SIZE;
    vring_split_avail(&driver)[1] = 1;
    assert_breaks("outside the table");
}

static void a_driver_cannot_have_more_in_flight_than_the_ring_holds(void **state)
{
    struct driver_split_desc desc = {DATA, 1, 0, 0};
    offer_split(&desc, 1);
    vring_split_avail(&driver)[1] = SIZE;
    for (unsigned i = 0; i < SIZE; i++)
        assert_int_equal(virtqueue_pop(&vq, &chain), 1);
    assert_int_equal(virtqueue_pop(&vq, &chain), 0);
    vring_split_avail(&driver)[1] = SIZE + 1;
    assert_int_equal(virtqueue_pop(&vq, &chain), -EPROTO);
    assert_non_null(strstr(vq.broken_reason, "in flight"));
    assert_int_equal(vq.inflight, SIZE);
}

static void a_packed_ring_cannot_be_lapped(void **state)
{
    struct driver_packed_desc descs[SIZE];
    for (unsigned i = 0; i < SIZE; i++)
        descs[i] = (struct driver_packed_desc){DATA, 1, 0, 0};
    offer_packed(descs, SIZE);
    for (unsigned i = 0; i < SIZE; i++)
        assert_int_equal(virtqueue_pop(&vq, &chain), 1);
    /* The flags of the lap before, and nonsense, are not available; those of the next lap are. */
    const uint16_t not_available[] = {VRING_PACKED_AVAIL_, 0,
                                      VRING_PACKED_AVAIL_ | VRING_PACKED_USED_};
    for (unsigned i = 0; i < ARRAY_SIZE(not_available); i++) {
        vring_packed_desc_at(&driver, 0)->flags = not_available[i];
        assert_int_equal(virtqueue_pop(&vq, &chain), 0);
    }
    vring_packed_desc_at(&driver, 0)->flags = VRING_PACKED_USED_;
    assert_int_equal(virtqueue_pop(&vq, &chain), -EPROTO);
    assert_non_null(strstr(vq.broken_reason, "in flight"));
}

static void indirect_tables_need_the_feature(void **state)
{
    vq.indirect = false;
    const struct driver_split_desc desc = {TABLE, 16, INDIRECT, 0};
    offer_split(&desc, 1);
    assert_breaks("without the feature");
}

static void a_chain_longer_than_the_callers_array_breaks_the_queue(void **state)
{
    chain.iov_max = 2;
    /* The second buffer crosses regions, so it needs two segments. */
    const struct driver_split_desc descs[] = {{DATA, 1, NEXT, 1}, {0xbfff, 2, 0, 0}};
    offer_split(descs, 2);
    assert_breaks("too many segments");
    const struct driver_split_desc plain[] = {
        {DATA, 1, NEXT, 1}, {DATA, 1, NEXT, 2}, {DATA, 1, 0, 0}};
    offer_split(plain, 3);
    assert_breaks("too many segments");
}

static void nonsense_event_indexes_are_only_the_drivers_loss(void **state)
{
    vq.event_idx = true;
    struct driver_packed_desc desc = {DATA, 1, 7, WRITE};
    offer_packed(&desc, 1);
    uint16_t *event = guest_mem_range(&mem, driver.driver_gpa, 4);
    event[0] = 0x7fff;
    event[1] = 2;
    assert_int_equal(virtqueue_pop(&vq, &chain), 1);
    virtqueue_push(&vq, &chain, 1);
    assert_false(virtqueue_should_interrupt(&vq));
    event[1] = 0xffff;
    vring_packed_desc_at(&driver, 1)->addr = DATA;
    vring_packed_desc_at(&driver, 1)->len = 1;
    vring_packed_desc_at(&driver, 1)->flags = VRING_PACKED_AVAIL_;
    assert_int_equal(virtqueue_pop(&vq, &chain), 1);
    virtqueue_push(&vq, &chain, 1);
    assert_true(virtqueue_should_interrupt(&vq));
}

#define SPLIT(test) cmocka_unit_test_setup_teardown(test, split, tear_down)
#define PACKED(test) cmocka_unit_test_setup_teardown(test, packed, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPLIT(bad_split_chains_break_the_queue),
        PACKED(bad_packed_lists_break_the_queue),
        SPLIT(a_chain_of_4_gib_is_the_longest),
        SPLIT(a_jumping_available_index_breaks_the_queue),
        SPLIT(an_available_entry_outside_the_table_breaks_the_queue),
        SPLIT(a_driver_cannot_have_more_in_flight_than_the_ring_holds),
        PACKED(a_packed_ring_cannot_be_lapped),
        SPLIT(indirect_tables_need_the_feature),
        SPLIT(a_chain_longer_than_the_callers_array_breaks_the_queue),
        PACKED(nonsense_event_indexes_are_only_the_drivers_loss),
    };
    return cmocka_run_group_tests_name("vring_hostile", tests, NULL, NULL);
}
