/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtqueues against a well-behaved driver, in both formats. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "unit.h"
#include "vring/virtqueue_internal.h"
#include "vring_driver.h"

#define MEM_SIZE MIB(4)
#define DATA MIB(1)
#define TABLES MIB(3)
#define IOV_MAX_ 64

static uint8_t memory[MEM_SIZE] __attribute__((aligned(4096)));
static struct guest_mem mem;
static struct vring_driver driver;
static struct virtqueue vq;
static struct iovec iov[IOV_MAX_];

/* Format, event index, size: every test runs with all of them. */
struct format {
    bool packed, event_idx;
    uint16_t size;
};

static const struct format formats[] = {
    {false, false, 8}, {false, true, 8}, {false, true, 1}, {false, true, 256}, {true, false, 8},
    {true, true, 8},   {true, true, 7},  {true, true, 1},  {true, true, 256},
};

static void set_up(const struct format *f)
{
    const struct guest_mem_region low = {.gpa = 0, .size = MIB(2), .hva = memory, .fd = -1};
    const struct guest_mem_region high = {
        .gpa = MIB(2), .size = MIB(2), .hva = memory + MIB(2), .fd = -1};
    mem = (struct guest_mem){0};
    assert_int_equal(guest_mem_add(&mem, &low), 0);
    assert_int_equal(guest_mem_add(&mem, &high), 0);
    vring_driver_init(&driver, &mem, f->size, f->packed, f->event_idx, 4096);
    vq = (struct virtqueue){0};
    vring_driver_describe(&driver, &vq);
    assert_int_equal(virtqueue_start(&vq, &mem, NULL), 0);
}

static void tear_down(void)
{
    virtqueue_stop(&vq);
    vring_driver_destroy(&driver);
}

static struct virtqueue_chain chain_of(struct iovec *v)
{
    return (struct virtqueue_chain){.iov = v, .iov_max = IOV_MAX_};
}

static void a_request_goes_round(const struct format *f)
{
    struct virtqueue_chain chain = chain_of(iov);
    const struct vring_buffer buffers[] = {{DATA, 3, false}, {DATA + 100, 5, true}};
    uint64_t token;
    uint32_t written;
    unsigned count = f->size > 1 ? 2 : 1;
    memcpy(memory + DATA, "ask", 3);
    assert_int_equal(virtqueue_pop(&vq, &chain), 0);
    for (unsigned i = 0; i < 3u * f->size + 1; i++) {
        assert_true(vring_driver_add(&driver, buffers, count, 0, 77 + i));
        assert_true(vring_driver_kick_needed(&driver));
        assert_int_equal(virtqueue_pop(&vq, &chain), 1);
        assert_int_equal(chain.out_count, 1);
        assert_int_equal(chain.in_count, count - 1);
        assert_int_equal(chain.out_bytes, 3);
        char text[3];
        assert_int_equal(virtqueue_read_out(&chain, 0, text, 9), 3);
        assert_memory_equal(text, "ask", 3);
        if (count == 2) {
            assert_int_equal(virtqueue_write_in(&chain, 0, "reply", 9), 5);
            assert_memory_equal(memory + DATA + 100, "reply", 5);
        }
        virtqueue_push(&vq, &chain, count == 2 ? 5 : 0);
        assert_int_equal(vq.inflight, 0);
        assert_true(virtqueue_should_interrupt(&vq));
        assert_false(virtqueue_should_interrupt(&vq));
        assert_true(vring_driver_get(&driver, &token, &written));
        assert_int_equal(token, 77 + i);
        assert_int_equal(written, count == 2 ? 5 : 0);
        assert_false(vring_driver_get(&driver, &token, &written));
        assert_false(virtqueue_enable_kick(&vq));
        vring_driver_enable_interrupts(&driver, 0);
    }
}

static void an_indirect_table_is_one_slot(const struct format *f)
{
    struct vring_buffer buffers[IOV_MAX_];
    struct virtqueue_chain chain = chain_of(iov);
    for (unsigned i = 0; i < IOV_MAX_; i++)
        buffers[i] = (struct vring_buffer){DATA + 10 * i, i + 1, i >= 20};
    for (unsigned i = 0; i < f->size; i++)
        assert_true(vring_driver_add(&driver, buffers, IOV_MAX_, TABLES + 8 + 1024 * i, i));
    for (unsigned i = 0; i < f->size; i++) {
        assert_int_equal(virtqueue_pop(&vq, &chain), 1);
        assert_int_equal(chain.out_count, 20);
        assert_int_equal(chain.in_count, 44);
        assert_int_equal(chain.out_bytes, 210);
        assert_int_equal(chain.ring_slots, 1);
        assert_ptr_equal(iov[63].iov_base, memory + DATA + 630);
    }
    assert_int_equal(virtqueue_pop(&vq, &chain), 0);
}

static void a_buffer_may_cross_into_the_next_region(const struct format *f)
{
    const struct vring_buffer buffer = {MIB(2) - 5, 12, true};
    struct virtqueue_chain chain = chain_of(iov);
    assert_true(vring_driver_add(&driver, &buffer, 1, 0, 1));
    assert_int_equal(virtqueue_pop(&vq, &chain), 1);
    assert_int_equal(chain.in_count, 2);
    assert_int_equal(chain.in_bytes, 12);
    assert_int_equal(iov[0].iov_len, 5);
    assert_int_equal(iov[1].iov_len, 7);
}

static void what_is_unpopped_comes_again(const struct format *f)
{
    struct virtqueue_chain chain = chain_of(iov);
    const struct vring_buffer buffer = {DATA, 1, true};
    uint64_t token;
    uint32_t written;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < f->size; i++)
            assert_true(vring_driver_add(&driver, &buffer, 1, 0, i));
        for (unsigned i = 0; i < f->size; i++) {
            for (unsigned again = 0; again < 2; again++) {
                assert_int_equal(virtqueue_pop(&vq, &chain), 1);
                virtqueue_unpop(&vq, &chain);
                assert_int_equal(vq.inflight, 0);
            }
            assert_int_equal(virtqueue_pop(&vq, &chain), 1);
            virtqueue_push(&vq, &chain, 1);
            assert_true(vring_driver_get(&driver, &token, &written));
            assert_int_equal(token, i);
        }
        assert_true(virtqueue_empty(&vq));
    }
}

static void lone_buffers_are_taken_many_at_a_time(const struct format *f)
{
    struct virtqueue_buffer got[256];
    uint64_t token;
    uint32_t written;
    for (unsigned round = 0; round < 7; round++) {
        bool in = round & 1;
        for (unsigned i = 0; i < f->size; i++) {
            /* In both regions. */
            const struct vring_buffer buffer = {DATA * (1 + i % 2) + 64 * i, 10 + i, in};
            assert_true(vring_driver_add(&driver, &buffer, 1, 0, i));
        }
        assert_int_equal(virtqueue_pop_buffers(&vq, got, 256, !in), 0);
        assert_int_equal(virtqueue_pop_buffers(&vq, got, 256, in), f->size);
        assert_int_equal(virtqueue_pop_buffers(&vq, got, 256, in), 0);
        unsigned back = f->size / 3;
        virtqueue_unpop_buffers(&vq, back);
        assert_int_equal(vq.inflight, f->size - back);
        assert_int_equal(virtqueue_pop_buffers(&vq, got + f->size - back, 256 - f->size + back, in),
                         back);
        for (unsigned i = 0; i < f->size; i++) {
            assert_ptr_equal(got[i].data, memory + DATA * (1 + i % 2) + 64 * i);
            assert_int_equal(got[i].len, 10 + i);
        }
        unsigned first = f->size / 2;
        virtqueue_push_buffers(&vq, got, first, in);
        virtqueue_push_buffers(&vq, got + first, f->size - first, in);
        assert_int_equal(vq.inflight, 0);
        assert_true(virtqueue_should_interrupt(&vq));
        for (unsigned i = 0; i < f->size; i++) {
            assert_true(vring_driver_get(&driver, &token, &written));
            assert_int_equal(token, i);
            assert_int_equal(written, in ? 10 + i : 0);
        }
        assert_false(vring_driver_get(&driver, &token, &written));
        vring_driver_enable_interrupts(&driver, 0);
    }
}

/* What the next server of the ring pops, in order, and how much the driver gets back then. */
static void expect_again(const struct format *f, struct virtqueue_record *record, unsigned first,
                         unsigned lost)
{
    struct virtqueue_buffer got[256];
    uint64_t token;
    uint32_t written;
    struct virtqueue next = {.record = record};
    vring_driver_describe(&driver, &next);
    assert_int_equal(virtqueue_start(&next, &mem, NULL), 0);
    assert_int_equal(virtqueue_pop_buffers(&next, got, 256, true), lost);
    for (unsigned i = 0; i < lost; i++) {
        assert_ptr_equal(got[i].data, memory + DATA + 64 * (first + i));
        assert_int_equal(got[i].len, 10 + first + i);
    }
    virtqueue_push_buffers(&next, got, lost, true);
    for (unsigned i = 0; i < first + lost; i++) {
        assert_true(vring_driver_get(&driver, &token, &written));
        assert_int_equal(token, i);
        assert_int_equal(written, 10 + i);
    }
    assert_false(vring_driver_get(&driver, &token, &written));
    vq = next;
}

/* Whether it dies before a push, amid it, or behind it. */
static void who_goes_on_for_a_dead_server_gets_what_it_had_taken(const struct format *f)
{
    static uint64_t memory_of_record[1024];
    struct virtqueue_record *record = (void *)memory_of_record;
    struct virtqueue_buffer got[256];
    unsigned before = f->size / 3, amid = f->size - before;
    if (!f->packed || virtqueue_record_size(f->size) > sizeof(memory_of_record))
        return;
    memset(memory_of_record, 0, sizeof(memory_of_record));
    vq.record = record;
    virtqueue_stop(&vq);
    assert_int_equal(virtqueue_start(&vq, &mem, NULL), 0);
    for (unsigned round = 0; round < 9; round++) {
        unsigned half = round % 3;
        for (unsigned i = 0; i < f->size; i++) {
            const struct vring_buffer buffer = {DATA + 64 * i, 10 + i, true};
            assert_true(vring_driver_add(&driver, &buffer, 1, 0, i));
        }
        assert_int_equal(virtqueue_pop_buffers(&vq, got, 256, true), f->size);
        virtqueue_push_buffers(&vq, got, before, true);
        if (half == 0) {
            expect_again(f, record, before, amid);
            continue;
        }
        /* The push does all but to say that it has; the driver sees it by the first one's flags. */
        uint16_t slot = vq.used_idx;
        uint16_t flags = vring_packed_desc_at(&driver, slot)->flags;
        virtqueue_record_pushing(&vq, amid);
        vq.record = NULL;
        virtqueue_push_buffers(&vq, got + before, amid, true);
        if (half == 1)
            vring_packed_desc_at(&driver, slot)->flags = flags;
        expect_again(f, record, half == 1 ? before : f->size, half == 1 ? amid : 0);
    }
}

static void what_is_no_lone_buffer_is_left_for_the_general_way(const struct format *f)
{
    const struct vring_buffer one = {DATA, 9, true};
    const struct vring_buffer two[] = {{DATA, 9, true}, {DATA + 50, 9, true}};
    const struct vring_buffer across = {MIB(2) - 5, 12, true};
    struct virtqueue_buffer got[8];
    struct virtqueue_chain chain = chain_of(iov);
    if (f->size < 6)
        return;
    assert_true(vring_driver_add(&driver, &one, 1, 0, 0));
    assert_true(vring_driver_add(&driver, two, 2, 0, 1));
    assert_true(vring_driver_add(&driver, &one, 1, TABLES, 2));
    assert_true(vring_driver_add(&driver, &across, 1, 0, 3));
    assert_int_equal(virtqueue_pop_buffers(&vq, got, 8, true), 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(virtqueue_pop_buffers(&vq, got, 8, true), 0);
        assert_int_equal(virtqueue_pop(&vq, &chain), 1);
        assert_int_equal(chain.in_count, i == 1 ? 1 : 2);
    }
    assert_int_equal(virtqueue_pop_buffers(&vq, got, 8, true), 0);
}

/* One used entry at the first's place, with the last's id. */
static void in_order_the_last_one_stands_for_all(const struct format *f)
{
    const struct vring_buffer buffer = {DATA, 9, false};
    struct virtqueue_buffer got[8];
    unsigned count = MIN(f->size, 5u);
    vq.in_order = true;
    for (unsigned i = 0; i < count; i++)
        assert_true(vring_driver_add(&driver, &buffer, 1, 0, 0));
    assert_int_equal(virtqueue_pop_buffers(&vq, got, 8, false), count);
    virtqueue_push_buffers(&vq, got, count, false);
    if (f->packed) {
        const struct driver_packed_desc *first = vring_packed_desc_at(&driver, 0);
        assert_int_equal(first->id, got[count - 1].id);
        assert_int_equal(first->flags, VRING_PACKED_AVAIL_ | VRING_PACKED_USED_);
        assert_int_equal(vq.used_idx, count % f->size);
    } else {
        assert_int_equal(vring_split_used(&driver)[1], count);
        assert_int_equal(vring_split_used(&driver)[2], got[count - 1].id);
    }
    assert_int_equal(vq.inflight, 0);
}

static void many_are_pushed_at_once(const struct format *f)
{
    struct virtqueue_chain chains[8] = {0};
    uint32_t written[8] = {0}, got;
    uint64_t token;
    const struct vring_buffer buffer = {DATA, 8, true};
    unsigned count = MIN(f->size, 8u);
    for (unsigned i = 0; i < count; i++) {
        chains[i] = chain_of(&iov[i]);
        written[i] = i + 1;
        assert_true(vring_driver_add(&driver, &buffer, 1, 0, i));
        assert_int_equal(virtqueue_pop(&vq, &chains[i]), 1);
    }
    virtqueue_push_many(&vq, chains, written, count);
    assert_int_equal(vq.inflight, 0);
    for (unsigned i = 0; i < count; i++) {
        assert_true(vring_driver_get(&driver, &token, &got));
        assert_int_equal(token, i);
        assert_int_equal(got, i + 1);
    }
}

static void a_stopped_queue_goes_on_where_it_was(const struct format *f)
{
    struct virtqueue_chain chain = chain_of(iov);
    const struct vring_buffer buffer = {DATA, 1, true};
    uint64_t token;
    uint32_t written;
    for (unsigned i = 0; i < 5u * f->size; i++) {
        assert_true(vring_driver_add(&driver, &buffer, 1, 0, i));
        uint32_t state = virtqueue_get_state(&vq);
        virtqueue_stop(&vq);
        assert_int_equal(virtqueue_pop(&vq, &chain), 0);
        if (i % 2) { /* as when it was saved and loaded */
            vq = (struct virtqueue){0};
            vring_driver_describe(&driver, &vq);
            virtqueue_set_state(&vq, state);
        }
        assert_int_equal(virtqueue_start(&vq, &mem, NULL), 0);
        assert_int_equal(virtqueue_pop(&vq, &chain), 1);
        virtqueue_push(&vq, &chain, 1);
        assert_true(virtqueue_should_interrupt(&vq));
        assert_true(vring_driver_get(&driver, &token, &written));
        assert_int_equal(token, i);
        vring_driver_enable_interrupts(&driver, 0);
    }
}

static void an_interrupt_comes_when_the_event_is_passed(const struct format *f)
{
    struct virtqueue_chain chain = chain_of(iov);
    const struct vring_buffer buffer = {DATA, 1, true};
    uint64_t token;
    uint32_t written;
    if (!f->event_idx || f->size < 7)
        return;
    for (unsigned round = 0; round < 50; round++) {
        unsigned ahead = round % 6;
        vring_driver_enable_interrupts(&driver, (uint16_t)ahead);
        for (unsigned i = 0; i < 7; i++)
            assert_true(vring_driver_add(&driver, &buffer, 1, 0, i));
        for (unsigned i = 0; i < 7; i++) {
            assert_int_equal(virtqueue_pop(&vq, &chain), 1);
            virtqueue_push(&vq, &chain, 1);
            /* Asked one at a time, or once for several. */
            if (round % 2)
                assert_int_equal(virtqueue_should_interrupt(&vq), i == ahead);
        }
        if (!(round % 2))
            assert_true(virtqueue_should_interrupt(&vq));
        while (vring_driver_get(&driver, &token, &written))
            ;
    }
}

static void no_interrupt_and_no_kick_when_they_are_off(const struct format *f)
{
    struct virtqueue_chain chain = chain_of(iov);
    const struct vring_buffer buffer = {DATA, 1, true};
    uint64_t token;
    uint32_t written;
    vring_driver_disable_interrupts(&driver);
    assert_true(vring_driver_add(&driver, &buffer, 1, 0, 0));
    assert_true(vring_driver_kick_needed(&driver));
    assert_int_equal(virtqueue_pop(&vq, &chain), 1);
    virtqueue_disable_kick(&vq);
    virtqueue_push(&vq, &chain, 1);
    if (!f->event_idx || f->packed)
        assert_false(virtqueue_should_interrupt(&vq));
    assert_true(vring_driver_get(&driver, &token, &written));
    assert_true(vring_driver_add(&driver, &buffer, 1, 0, 0));
    if (f->size > 1)
        assert_false(vring_driver_kick_needed(&driver));
    assert_true(virtqueue_enable_kick(&vq));
}

static void writes_of_the_device_are_marked_dirty(const struct format *f)
{
    struct virtqueue_chain chain = chain_of(iov);
    uint64_t bits[MEM_SIZE / 4096 / 64] = {0};
    const struct vring_buffer buffer = {DATA + 4095, 2, true};
    assert_true(vring_driver_add(&driver, &buffer, 1, 0, 0));
    mem.dirty_bitmap = bits;
    mem.dirty_pages = MEM_SIZE / 4096;
    assert_int_equal(virtqueue_pop(&vq, &chain), 1);
    virtqueue_push(&vq, &chain, 0);
    mem.dirty_bitmap = NULL;
    assert_int_equal(bits[DATA / 4096 / 64], 3);
    unsigned page = (unsigned)((f->packed ? driver.desc_gpa : driver.device_gpa) / 4096);
    assert_true(bits[page / 64] >> page % 64 & 1);
}

/* Random requests, several in flight, given back in any order. */
static void random_traffic_comes_back_whole(const struct format *f)
{
    struct {
        struct virtqueue_chain chain;
        struct iovec iov[8];
    } flying[256];
    unsigned flying_count = 0, sum[256] = {0}, added = 0, got = 0;
    unsigned seed = 1;
    const unsigned total = 20000;
    while (got < total) {
        unsigned dice = (unsigned)rand_r(&seed);
        /* A sum that is not 0 says that the place of this request is still taken. */
        if (dice % 3 == 0 && added < total && !sum[added % 256]) {
            struct vring_buffer buffers[8];
            unsigned count = 1 + dice / 3 % MIN(f->size, 8u), outs = dice / 64 % (count + 1);
            unsigned token = added % 256;
            for (unsigned i = 0; i < count; i++)
                buffers[i] =
                    (struct vring_buffer){DATA + token * 128 + i * 16, 1 + dice % 16, i >= outs};
            uint64_t table = dice & 0x1000 ? TABLES + token * 128 : 0;
            if (vring_driver_add(&driver, buffers, count, table, added)) {
                sum[token] = count * (1 + dice % 16);
                added++;
            }
        } else if (dice % 3 == 1 && flying_count < f->size) {
            flying[flying_count].chain = chain_of(flying[flying_count].iov);
            flying[flying_count].chain.iov_max = 8;
            int rc = virtqueue_pop(&vq, &flying[flying_count].chain);
            assert_true(rc >= 0);
            flying_count += (unsigned)rc;
        } else if (flying_count) {
            unsigned which = dice / 8 % flying_count;
            struct virtqueue_chain *c = &flying[which].chain;
            c->iov = flying[which].iov;
            virtqueue_push(&vq, c, (uint32_t)(c->in_bytes + c->out_bytes));
            flying[which] = flying[--flying_count];
        }
        uint64_t token;
        uint32_t written;
        while (vring_driver_get(&driver, &token, &written)) {
            assert_int_equal(written, sum[token % 256]);
            sum[token % 256] = 0;
            got++;
        }
    }
    assert_int_equal(vq.inflight, 0);
    assert_int_equal(vq.inflight_slots, 0);
    assert_int_equal(driver.free_count, f->size);
}

/* Both sides sleep whenever the other side need not wake them: a lost wakeup is a time-out. */
static sem_t kick, interrupt_;
static atomic_bool stop_device;

static bool wait_for(sem_t *sem)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    while (sem_timedwait(sem, &until) < 0) {
        if (errno != EINTR)
            return false;
    }
    return true;
}

static void *device_main(void *opaque)
{
    struct virtqueue_chain chain = chain_of(iov);
    for (;;) {
        virtqueue_disable_kick(&vq);
        while (virtqueue_pop(&vq, &chain) == 1) {
            virtqueue_push(&vq, &chain, 1);
            if (chain.id % 2 && virtqueue_should_interrupt(&vq))
                sem_post(&interrupt_);
        }
        if (virtqueue_should_interrupt(&vq))
            sem_post(&interrupt_);
        if (virtqueue_enable_kick(&vq))
            continue;
        if (atomic_load(&stop_device))
            return NULL;
        if (!wait_for(&kick))
            return (void *)1;
    }
}

static void no_wakeup_is_lost(const struct format *f)
{
    pthread_t thread;
    const struct vring_buffer buffer = {DATA, 1, true};
    const unsigned total = 30000;
    unsigned added = 0, got = 0, seed = 5;
    bool timed_out = false;
    void *result;
    sem_init(&kick, 0, 0);
    sem_init(&interrupt_, 0, 0);
    atomic_store(&stop_device, false);
    assert_int_equal(pthread_create(&thread, NULL, device_main, NULL), 0);
    while (got < total && !timed_out) {
        unsigned burst = 1 + (unsigned)rand_r(&seed) % (2u * f->size);
        while (burst-- && added < total && vring_driver_add(&driver, &buffer, 1, 0, added))
            added++;
        if (vring_driver_kick_needed(&driver))
            sem_post(&kick);
        vring_driver_disable_interrupts(&driver);
        uint64_t token;
        uint32_t written;
        do {
            while (vring_driver_get(&driver, &token, &written))
                got++;
            /* Never ask for a later moment than what is under way will reach. */
            uint16_t under_way = (uint16_t)(added - got);
            if (under_way == 0)
                break;
            if (vring_driver_enable_interrupts(&driver, (uint16_t)(rand_r(&seed) % under_way)))
                continue;
            timed_out = !wait_for(&interrupt_);
        } while (!timed_out && added - got > f->size / 2u);
    }
    atomic_store(&stop_device, true);
    sem_post(&kick);
    pthread_join(thread, &result);
    assert_false(timed_out);
    assert_null(result);
    assert_int_equal(got, total);
}

static void with_all_formats(void **state)
{
    void (*test)(const struct format *) = (void (*)(const struct format *)) * state;
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        set_up(&formats[i]);
        test(&formats[i]);
        assert_false(vq.broken);
        tear_down();
    }
}

static void rings_that_do_not_fit_are_refused(void **state)
{
    const struct {
        bool packed;
        uint16_t size;
        uint64_t desc, avail, used;
    } bad[] = {
        {false, 0, 0, 0, 0},
        {false, 12, 0, 0, 0},
        {true, 0, 0, 0, 0},
        {true, 32769, 0, 0, 0},
        {false, 8, 8, 0, 0},
        {false, 8, 0, 1, 0},
        {false, 8, 0, 0, 2},
        {true, 8, 0, 2, 0},
        {true, 8, 0, 0, 2},
        {false, 8, MIB(4) - 112, 0, 0},
        {false, 8, UINT64_MAX - 15, 0, 0},
        {false, 8, 0, MIB(4) - 20, 0},
        {false, 8, 0, 0, MIB(4) - 68},
        {false, 32768, MIB(2) - 4096, 0, 0},
        {true, 8, 0, MIB(4), 0},
        {true, 8, 0, 0, UINT64_MAX - 3},
    };
    set_up(&formats[0]);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct kv_error err = {0};
        struct virtqueue q = {.size = bad[i].size,
                              .packed = bad[i].packed,
                              .desc_gpa = bad[i].desc,
                              .driver_gpa = bad[i].avail,
                              .device_gpa = bad[i].used};
        assert_int_equal(virtqueue_start(&q, &mem, &err), -EINVAL);
        assert_false(q.started);
        assert_string_not_equal(err.message, "");
    }
    struct virtqueue q = {.size = 8, .packed = true};
    virtqueue_set_state(&q, 8 | 0x8000);
    assert_int_equal(virtqueue_start(&q, &mem, NULL), -EINVAL);
    tear_down();
}

#define IN_ALL_FORMATS(test)                                \
    {                                                       \
#test, with_all_formats, NULL, NULL, (void *)(test) \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ALL_FORMATS(a_request_goes_round),
        IN_ALL_FORMATS(an_indirect_table_is_one_slot),
        IN_ALL_FORMATS(a_buffer_may_cross_into_the_next_region),
        IN_ALL_FORMATS(what_is_unpopped_comes_again),
        IN_ALL_FORMATS(lone_buffers_are_taken_many_at_a_time),
        IN_ALL_FORMATS(who_goes_on_for_a_dead_server_gets_what_it_had_taken),
        IN_ALL_FORMATS(what_is_no_lone_buffer_is_left_for_the_general_way),
        IN_ALL_FORMATS(in_order_the_last_one_stands_for_all),
        IN_ALL_FORMATS(many_are_pushed_at_once),
        IN_ALL_FORMATS(a_stopped_queue_goes_on_where_it_was),
        IN_ALL_FORMATS(an_interrupt_comes_when_the_event_is_passed),
        IN_ALL_FORMATS(no_interrupt_and_no_kick_when_they_are_off),
        IN_ALL_FORMATS(writes_of_the_device_are_marked_dirty),
        IN_ALL_FORMATS(random_traffic_comes_back_whole),
        IN_ALL_FORMATS(no_wakeup_is_lost),
        cmocka_unit_test(rings_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests_name("vring_virtqueue", tests, NULL, NULL);
}
