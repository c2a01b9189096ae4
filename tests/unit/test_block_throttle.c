/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits on requests and bytes: bursts, groups, waiting in threads and in queues. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/util.h"
#include "block/driver.h"
#include "block/memory.h"
#include "block/throttle.h"
#include "unit.h"

#define MS INT64_C(1000000)

static uint8_t buffer[KIB(64)];

static void set_group(const char *name, const char *json)
{
    struct throttle_limits limits;
    struct kv_error err = {0};
    json_t *object = json_loads(json, 0, NULL);
    if (throttle_parse_limits(object, &limits, &err) < 0 ||
        throttle_group_set(name, &limits, &err) < 0)
        fail_msg("%s", err.message);
    json_decref(object);
}

static struct block_node *open_throttled(const char *members)
{
    char path[600];
    struct kv_error err = {0};
    struct block_node *node = NULL;
    snprintf(path, sizeof(path),
             "json:{\"driver\":\"throttle\",%s,\"file\":{\"driver\":\"raw\",\"file\":{\"driver\":"
             "\"memory\",\"filename\":\"memory:disk\"}}}",
             members);
    if (block_open(&node, &(struct block_open_options){.path = path}, &err) < 0)
        fail_msg("%s", err.message);
    return node;
}

static int make_disk(void **state)
{
    return block_memory_put("disk", NULL, MIB(1));
}

static int remove_disk(void **state)
{
    block_memory_remove("disk");
    throttle_group_remove("g");
    return 0;
}

/* How many requests pass at once. */
static unsigned pass_at_once(const char *json, enum block_op op, uint64_t len)
{
    unsigned passed = 0;
    set_group("g", json);
    struct throttle_group *group = throttle_group_get("g");
    while (passed < 100000 && throttle_take(group, op, len) == 0)
        passed++;
    throttle_group_put(group);
    return passed;
}

/* That many, and what the rate (a second) gives while they are counted. */
static void assert_pass(const char *json, enum block_op op, uint64_t len, unsigned wanted,
                        unsigned rate)
{
    int64_t start = clock_monotonic_ns();
    unsigned passed = pass_at_once(json, op, len);
    int64_t took = clock_monotonic_ns() - start;
    assert_in_range(passed, wanted, wanted + 1 + (uint64_t)took * rate / 1000000000);
}

static void a_burst_is_as_long_as_its_limits_say(void **state)
{
    assert_pass("{\"iops-total\":1000}", BLOCK_READ, 512, 100, 1000);
    assert_pass("{\"iops-total\":10,\"iops-total-max\":500}", BLOCK_READ, 512, 500, 10);
    /* At the maximum for two seconds: a tenth of a second of that at once. */
    assert_pass("{\"iops-total\":10,\"iops-total-max\":500,\"iops-total-max-length\":2}",
                BLOCK_READ, 512, 50, 500);
    assert_pass("{\"bps-write\":1000000}", BLOCK_WRITE, 1000, 100, 1000);
}

static void limits_of_writes_do_not_hold_for_reads(void **state)
{
    assert_int_equal(pass_at_once("{\"bps-write\":1000,\"iops-write\":10}", BLOCK_READ, 512),
                     100000);
    assert_int_equal(pass_at_once("{\"iops-total\":10}", BLOCK_FLUSH, 0), 100000);
    assert_pass("{\"iops-write\":1000}", BLOCK_DISCARD, 512, 100, 1000);
}

static void long_requests_count_as_several(void **state)
{
    const char *limits = "{\"iops-total\":10,\"iops-total-max\":100,\"iops-size\":4096}";
    assert_pass(limits, BLOCK_READ, 4096, 100, 10);
    assert_pass(limits, BLOCK_READ, 5 * 4096, 20, 10);
}

static void limits_that_make_no_sense_are_refused(void **state)
{
    static const char *const bad[][2] = {
        {"{\"iops-total\":1,\"iops-read\":1}", "iops-read"},
        {"{\"bps-total\":1,\"bps-write\":1}", "bps-write"},
        {"{\"iops-total-max\":5}", "average"},
        {"{\"iops-total\":10,\"iops-total-max\":5}", "lower"},
        {"{\"iops-total\":10,\"iops-total-max-length\":5}", "maximum"},
        {"{\"iops-size\":4096}", "iops-size"},
        {"{\"iops-all\":4096}", "iops-all"},
        {"{\"bps-total\":-1}", "bps-total"},
        {"{\"bps-total\":\"many\"}", "bps-total"},
        {"{\"bps-read\":1,\"bps-read-max\":1000000000000000,\"bps-read-max-length\":2}", "burst"},
        {"[]", "object"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct throttle_limits limits;
        struct kv_error err = {0};
        json_t *object = json_loads(bad[i][0], 0, NULL);
        assert_int_equal(throttle_parse_limits(object, &limits, &err), -EINVAL);
        assert_non_null(strstr(err.message, bad[i][1]));
        json_decref(object);
    }
}

/* -------------------------------------------------------------------- blocking */

static int64_t read_times(struct block_node *node, unsigned times)
{
    uint8_t bytes[512];
    int64_t start = clock_monotonic_ns();
    for (unsigned i = 0; i < times; i++)
        assert_int_equal(block_pread(node, i * 512, bytes, 512), 0);
    return clock_monotonic_ns() - start;
}

static void requests_beyond_the_limit_take_their_time(void **state)
{
    struct block_node *node = open_throttled("\"limits\":{\"iops-total\":100}");
    /* Ten at once, then one each ten milliseconds. */
    assert_true(read_times(node, 30) >= 190 * MS);
    block_close(node);
}

static void *read_twenty(void *node)
{
    read_times(node, 20);
    return NULL;
}

static void nodes_of_a_group_share_its_limits(void **state)
{
    set_group("g", "{\"iops-total\":100}");
    struct block_node *nodes[] = {open_throttled("\"throttle-group\":\"g\""),
                                  open_throttled("\"throttle-group\":\"g\"")};
    pthread_t threads[2];
    int64_t start = clock_monotonic_ns();
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_twenty, nodes[i]), 0);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_true(clock_monotonic_ns() - start >= 290 * MS);
    block_close(nodes[0]);
    block_close(nodes[1]);
}

static void other_limits_hold_at_once_for_those_who_wait(void **state)
{
    pthread_t thread;
    set_group("g", "{\"iops-total\":1}");
    struct block_node *node = open_throttled("\"throttle-group\":\"g\"");
    int64_t start = clock_monotonic_ns();
    assert_int_equal(pthread_create(&thread, NULL, read_twenty, node), 0);
    usleep(20000);
    set_group("g", "{}");
    pthread_join(thread, NULL);
    assert_true(clock_monotonic_ns() - start < 900 * MS);
    struct throttle_limits limits;
    assert_int_equal(throttle_group_limits("g", &limits), 0);
    assert_int_equal(limits.limits[THROTTLE_IOPS_TOTAL].average, 0);
    block_close(node);
}

static void a_group_must_be_there(void **state)
{
    struct kv_error err = {0};
    struct block_node *node = NULL;
    struct block_open_options options = {
        .path = "json:{\"driver\":\"throttle\",\"throttle-group\":\"nobody\",\"file\":{\"driver\":"
                "\"memory\",\"filename\":\"memory:disk\"}}"};
    assert_int_equal(block_open(&node, &options, &err), -ENOENT);
    assert_non_null(strstr(err.message, "nobody"));
}

/* ---------------------------------------------------------------------- queues */

#define REQUESTS 30

static struct loop loop;
static struct block_request requests[REQUESTS];
static unsigned done_count;

static void note_done(struct block_request *request, int result)
{
    assert_int_equal(result, 0);
    done_count++;
    if (done_count == REQUESTS)
        loop_stop(&loop);
}

static struct iovec iov[REQUESTS];

static void submit_all(struct block_queue *queue, enum block_op op)
{
    done_count = 0;
    for (unsigned i = 0; i < REQUESTS; i++) {
        iov[i] = (struct iovec){.iov_base = buffer + i * 512, .iov_len = 512};
        requests[i] = (struct block_request){.op = op,
                                             .offset = i * 512,
                                             .len = 512,
                                             .iov = &iov[i],
                                             .iov_count = 1,
                                             .done = note_done};
        block_submit(queue, &requests[i]);
    }
    block_kick(queue);
}

static void requests_of_a_queue_wait_without_a_thread(void **state)
{
    struct block_queue *queue;
    struct block_node *node = open_throttled("\"limits\":{\"iops-read\":100}");
    assert_int_equal(loop_init(&loop, NULL), 0);
    assert_int_equal(block_queue_create(&queue, node, &loop, 64, NULL), 0);
    int64_t start = clock_monotonic_ns();
    submit_all(queue, BLOCK_READ);
    assert_true(block_inflight(queue) > 0);
    loop_run(&loop);
    assert_int_equal(done_count, REQUESTS);
    assert_true(clock_monotonic_ns() - start >= 190 * MS);
    block_queue_free(queue);
    loop_destroy(&loop);
    block_close(node);
}

static void who_wants_a_queue_empty_does_not_wait_for_limits(void **state)
{
    struct block_queue *queue;
    struct block_node *node = open_throttled("\"limits\":{\"iops-total\":1}");
    assert_int_equal(loop_init(&loop, NULL), 0);
    assert_int_equal(block_queue_create(&queue, node, &loop, 64, NULL), 0);
    int64_t start = clock_monotonic_ns();
    submit_all(queue, BLOCK_WRITE);
    assert_true(block_inflight(queue) >= REQUESTS - 1);
    block_drain(queue);
    assert_int_equal(done_count, REQUESTS);
    assert_true(clock_monotonic_ns() - start < 900 * MS);
    block_queue_free(queue);
    loop_destroy(&loop);
    block_close(node);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_disk, remove_disk)
    const struct CMUnitTest tests[] = {
        TEST(a_burst_is_as_long_as_its_limits_say),
        TEST(limits_of_writes_do_not_hold_for_reads),
        TEST(long_requests_count_as_several),
        TEST(limits_that_make_no_sense_are_refused),
        TEST(requests_beyond_the_limit_take_their_time),
        TEST(nodes_of_a_group_share_its_limits),
        TEST(other_limits_hold_at_once_for_those_who_wait),
        TEST(a_group_must_be_there),
        TEST(requests_of_a_queue_wait_without_a_thread),
        TEST(who_wants_a_queue_empty_does_not_wait_for_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
