/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Meters and shapers of the switch, on a clock of the test's. */
#include <stdlib.h>

#include "base/util.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"
#include "switch/forward/shaper.h"
#include "unit.h"

#define MS INT64_C(1000000)
#define RATE MIB(1)

static struct forward forward;
static uint32_t sent[4096]; /* what the first bytes behind the head say */
static uint32_t sent_len[ARRAY_SIZE(sent)];
static unsigned sent_count;

static void send(struct port *port, const struct frame *frames)
{
    for (unsigned i = 0; i < port->pending_count; i++) {
        const struct frame *frame = &frames[port->pending[i]];
        assert_true(sent_count < ARRAY_SIZE(sent));
        memcpy(&sent[sent_count], frame->rest[0].iov_base, sizeof(uint32_t));
        sent_len[sent_count++] = frame->rest_bytes;
    }
}

static const struct port_ops ops = {.send = send};
static struct port port;

static int set_up(void **state)
{
    forward = (struct forward){.now_ns = 1000 * MS};
    list_init(&forward.shaped);
    port = (struct port){.ops = &ops, .forward = &forward};
    sent_count = 0;
    return 0;
}

/* Bytes that pass in the time when there is always more. */
static uint64_t pass(struct meter *meter, int64_t ns, int64_t step_ns)
{
    uint64_t bytes = 0;
    for (int64_t end = forward.now_ns + ns; forward.now_ns < end; forward.now_ns += step_ns) {
        uint32_t len = 64 + (uint32_t)rand() % 1450;
        while (meter_take(meter, len, forward.now_ns))
            bytes += len;
    }
    return bytes;
}

static void assert_about(uint64_t value, uint64_t wanted)
{
    assert_in_range(value, wanted - wanted / 50, wanted + wanted / 50);
}

static void the_average_is_kept_however_often_one_asks(void **state)
{
    static const int64_t steps[] = {1000, 50000, MS, 40 * MS};
    struct meter meter;
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        meter_init(&meter, &(struct meter_rates){.average = RATE}, 0);
        pass(&meter, 300 * MS, steps[i]);
        assert_about(pass(&meter, 5000 * MS, steps[i]), 5 * RATE);
    }
}

static void a_burst_goes_at_the_peak_and_then_no_more(void **state)
{
    struct meter meter;
    meter_init(&meter, &(struct meter_rates){.average = RATE, .peak = 4 * RATE, .burst = 3 * RATE},
               0);
    assert_about(pass(&meter, 500 * MS, MS), 2 * RATE);
    /* 3 MiB and what the average brings last a second. */
    pass(&meter, 700 * MS, MS);
    assert_about(pass(&meter, 2000 * MS, MS), 2 * RATE);
}

static void push_from(struct shaper *shaper, const struct port *from, uint32_t number,
                      uint32_t rest_bytes)
{
    static uint8_t bytes[FRAME_BYTES_MAX];
    memcpy(bytes, &number, sizeof(number));
    struct iovec halves[2] = {{bytes, 5}, {bytes + 5, rest_bytes - 5}};
    const struct frame frame = {.rest = halves, .rest_count = 2, .rest_bytes = rest_bytes};
    port.pending[0] = 0;
    port.pending_count = 1;
    shaper_send(shaper, from, &frame);
}

static void push(struct shaper *shaper, uint32_t number, uint32_t rest_bytes)
{
    push_from(shaper, NULL, number, rest_bytes);
}

static void what_waits_goes_in_its_order_and_at_the_rate(void **state)
{
    struct shaper *shaper = shaper_new(&port, &(struct meter_rates){.average = RATE});
    static uint32_t lens[ARRAY_SIZE(sent)];
    uint32_t number = 0, taken = 0;
    uint64_t bytes = 0;
    int64_t begin = forward.now_ns;
    while (number < 3000) {
        uint64_t dropped = port.counters.drops[DROP_QUEUE_FULL];
        lens[taken] = 20 + (uint32_t)rand() % (rand() % 50 ? 3000 : FRAME_BYTES_MAX - 100);
        push(shaper, number++, lens[taken]);
        if (port.counters.drops[DROP_QUEUE_FULL] == dropped)
            taken++;
        forward.now_ns += rand() % (2 * MS);
        if (!list_empty(&forward.shaped))
            shaper_release(shaper);
    }
    assert_true(port.counters.drops[DROP_QUEUE_FULL] > 100);
    for (; !list_empty(&forward.shaped); forward.now_ns += MS)
        shaper_release(shaper);
    assert_int_equal(sent_count, taken);
    for (unsigned i = 0; i < taken; i++) {
        assert_int_equal(sent_len[i], lens[i]);
        bytes += lens[i] + FRAME_HEAD;
        if (i)
            assert_true(sent[i] > sent[i - 1]);
    }
    assert_about(bytes, (uint64_t)((forward.now_ns - begin) / MS) * RATE / 1000 + RATE / 10);
    shaper_free(shaper);
}

static void what_waits_is_lost_with_its_port(void **state)
{
    struct shaper *shaper = shaper_new(&port, &(struct meter_rates){.average = RATE});
    for (uint32_t i = 0; i < 5; i++)
        push(shaper, i, 60000);
    assert_false(list_empty(&forward.shaped));
    shaper_stop(shaper);
    assert_true(list_empty(&forward.shaped));
    shaper_free(shaper);
}

/* --- Turns -------------------------------------------------------------------------- */

#define SENDERS 3
#define LEN 1000

/* What arrived of each sender, in bytes, when each of them brings as much as it is told every
 * millisecond; frames say whose they are. */
static void compete(struct shaper *shaper, void (*choose)(unsigned sender),
                    const unsigned frames_per_ms[SENDERS], unsigned ms, uint64_t got[SENDERS])
{
    static struct port from[SENDERS];
    for (unsigned t = 0; t < ms; t++, forward.now_ns += MS) {
        for (unsigned sender = 0; sender < SENDERS; sender++) {
            from[sender].index = (uint16_t)sender;
            choose(sender);
            for (unsigned i = 0; i < frames_per_ms[sender]; i++)
                push_from(shaper, &from[sender], sender, LEN - FRAME_HEAD);
        }
        if (!list_empty(&forward.shaped))
            shaper_release(shaper);
        for (unsigned i = 0; i < sent_count; i++)
            got[sent[i]] += sent_len[i] + FRAME_HEAD;
        sent_count = 0;
    }
}

static struct bridge bridge;

static void choose_nothing(unsigned sender)
{
}

static void choose_queue(unsigned sender)
{
    bridge.queue = sender;
}

static void ports_share_a_rate_whatever_they_send(void **state)
{
    struct shaper *shaper = shaper_new(&port, &(struct meter_rates){.average = 3 * RATE});
    const unsigned frames[SENDERS] = {40, 4, 4};
    uint64_t got[SENDERS] = {0};
    compete(shaper, choose_nothing, frames, 1000, got);
    memset(got, 0, sizeof(got));
    compete(shaper, choose_nothing, frames, 4000, got);
    for (unsigned i = 0; i < SENDERS; i++)
        assert_about(got[i], 4 * RATE);
    /* One that wants less than its share gets it all, and loses nothing. */
    const unsigned modest[SENDERS] = {40, 40, 0};
    shaper_stop(shaper);
    compete(shaper, choose_nothing, modest, 500, got);
    memset(got, 0, sizeof(got));
    compete(shaper, choose_nothing, (const unsigned[SENDERS]){40, 40, 1}, 4000, got);
    assert_in_range(got[2], 3990 * LEN, 4000 * LEN);
    assert_about(got[0], (12 * RATE - got[2]) / 2);
    shaper_stop(shaper);
    shaper_free(shaper);
}

static void queues_have_what_they_are_guaranteed_and_no_more_than_they_may(void **state)
{
    const struct shaper_queue_rates queues[SENDERS] = {
        {.id = 0}, {.id = 1, .guaranteed = 2 * RATE}, {.id = 2, .most = {.average = RATE / 4}}};
    struct shaper *shaper =
        shaper_new_queues(&port, &(struct meter_rates){.average = 3 * RATE}, queues, SENDERS);
    const unsigned frames[SENDERS] = {40, 40, 40};
    uint64_t got[SENDERS] = {0};
    port.bridge = &bridge;
    compete(shaper, choose_queue, frames, 1000, got);
    memset(got, 0, sizeof(got));
    compete(shaper, choose_queue, frames, 4000, got);
    assert_about(got[2], RATE);
    assert_about(got[0] + got[1] + got[2], 12 * RATE);
    assert_in_range(got[1], 8 * RATE, 10 * RATE);
    assert_true(got[0] > RATE);
    shaper_stop(shaper);
    shaper_free(shaper);
    /* Without a limit of all, each has its own only. */
    shaper = shaper_new_queues(&port, &(struct meter_rates){0}, queues, SENDERS);
    compete(shaper, choose_queue, (const unsigned[SENDERS]){1, 1, 1}, 500, got);
    memset(got, 0, sizeof(got));
    compete(shaper, choose_queue, (const unsigned[SENDERS]){2, 2, 2}, 4000, got);
    assert_int_equal(got[0], 8000 * LEN);
    assert_int_equal(got[1], 8000 * LEN);
    assert_about(got[2], RATE);
    shaper_stop(shaper);
    shaper_free(shaper);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_average_is_kept_however_often_one_asks, set_up),
        cmocka_unit_test_setup(a_burst_goes_at_the_peak_and_then_no_more, set_up),
        cmocka_unit_test_setup(what_waits_goes_in_its_order_and_at_the_rate, set_up),
        cmocka_unit_test_setup(what_waits_is_lost_with_its_port, set_up),
        cmocka_unit_test_setup(ports_share_a_rate_whatever_they_send, set_up),
        cmocka_unit_test_setup(queues_have_what_they_are_guaranteed_and_no_more_than_they_may,
                               set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
