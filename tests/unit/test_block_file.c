/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raw files through the block engine, with io_uring and with threads. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/iothread.h"
#include "base/util.h"
#include "block/block.h"
#include "unit.h"

#define FILE_SIZE MIB(4)
#define BATCH 64

static char path[256];
static struct loop loop;
static struct block_node *node;
static struct block_queue *queue;
static struct block_open_options options;

struct ticket {
    struct block_request request;
    int result;
    bool done;
};

static void note_done(struct block_request *request, int result)
{
    struct ticket *ticket = request->opaque;
    assert_false(ticket->done);
    ticket->done = true;
    ticket->result = result;
}

static void start(struct ticket *ticket, enum block_op op, uint64_t offset, struct iovec *iov,
                  unsigned count, uint64_t len)
{
    *ticket = (struct ticket){
        .request = {.op = op, .offset = offset, .len = len, .iov = iov, .iov_count = count},
    };
    ticket->request.done = note_done;
    ticket->request.opaque = ticket;
    block_submit(queue, &ticket->request);
}

static int run(enum block_op op, uint64_t offset, void *data, uint64_t len)
{
    struct ticket ticket;
    struct iovec iov = {.iov_base = data, .iov_len = len};
    start(&ticket, op, offset, &iov, data ? 1 : 0, len);
    block_kick(queue);
    block_drain(queue);
    assert_true(ticket.done);
    return ticket.result;
}

static void make_file(uint64_t size)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

static int try_open(struct kv_error *err)
{
    options.path = path;
    options.fd = -1;
    return block_open(&node, &options, err);
}

static void open_disk(uint64_t size)
{
    struct kv_error err = {0};
    make_file(size);
    if (try_open(&err) < 0)
        fail_msg("%s", err.message);
    if (block_queue_create(&queue, node, &loop, BATCH, &err) < 0)
        fail_msg("%s", err.message);
}

static void close_disk(void)
{
    block_queue_free(queue);
    block_close(node);
    queue = NULL;
    node = NULL;
}

static void fill(uint8_t *data, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(seed + i * 7 + (i >> 8) * 13);
}

/* What another reader of the file sees. */
static void expect_in_file(uint64_t offset, const uint8_t *data, size_t len)
{
    uint8_t *seen = malloc(len);
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, seen, len, (off_t)offset), len);
    assert_memory_equal(seen, data, len);
    close(fd);
    free(seen);
}

static void what_is_written_is_read_back_and_is_in_the_file(void **state)
{
    static uint8_t out[KIB(96)] __attribute__((aligned(4096)));
    static uint8_t in[KIB(96)] __attribute__((aligned(4096)));
    open_disk(FILE_SIZE);
    fill(out, sizeof(out), 1);
    assert_int_equal(run(BLOCK_WRITE, KIB(64), out, sizeof(out)), 0);
    assert_int_equal(run(BLOCK_FLUSH, 0, NULL, 0), 0);
    assert_int_equal(run(BLOCK_READ, KIB(64), in, sizeof(in)), 0);
    assert_memory_equal(in, out, sizeof(in));
    expect_in_file(KIB(64), out, sizeof(out));
    close_disk();
}

static void batches_of_scattered_requests_each_get_their_own_data(void **state)
{
    static uint8_t data[BATCH][KIB(8)] __attribute__((aligned(4096)));
    static uint8_t expected[KIB(8)];
    static struct ticket tickets[BATCH];
    static struct iovec iov[BATCH][2];
    open_disk(FILE_SIZE);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < BATCH; i++) {
            iov[i][0] = (struct iovec){.iov_base = data[i] + KIB(4), .iov_len = KIB(4)};
            iov[i][1] = (struct iovec){.iov_base = data[i], .iov_len = KIB(4)};
            if (round == 0)
                fill(data[i], KIB(8), i);
            else
                memset(data[i], 0, KIB(8));
            start(&tickets[i], round ? BLOCK_READ : BLOCK_WRITE, (BATCH - 1 - i) * KIB(8), iov[i],
                  2, KIB(8));
        }
        assert_true(block_inflight(queue) > 0);
        block_kick(queue);
        block_drain(queue);
        for (unsigned i = 0; i < BATCH; i++)
            assert_true(tickets[i].done && tickets[i].result == 0);
    }
    for (unsigned i = 0; i < BATCH; i++) {
        fill(expected, sizeof(expected), i);
        assert_memory_equal(data[i], expected, sizeof(expected));
    }
    close_disk();
}

static void offsets_lengths_and_buffers_need_no_alignment(void **state)
{
    static uint8_t shadow[KIB(128)], buffer[KIB(64) + 64];
    open_disk(sizeof(shadow));
    memset(shadow, 0, sizeof(shadow));
    srandom(7);
    for (unsigned i = 0; i < 400; i++) {
        size_t len = (size_t)random() % KIB(20) + 1;
        uint64_t offset = (uint64_t)random() % (sizeof(shadow) - len);
        uint8_t *data = buffer + random() % 64;
        if (i % 2) {
            fill(data, len, i);
            memcpy(shadow + offset, data, len);
            assert_int_equal(run(BLOCK_WRITE, offset, data, len), 0);
        } else {
            assert_int_equal(run(BLOCK_READ, offset, data, len), 0);
            assert_memory_equal(data, shadow + offset, len);
        }
    }
    expect_in_file(0, shadow, sizeof(shadow));
    close_disk();
}

static void a_size_that_is_no_multiple_of_512_is_rounded_up_and_reads_zeros(void **state)
{
    static uint8_t data[KIB(4)] __attribute__((aligned(4096)));
    struct stat st;
    open_disk(KIB(8) + 100);
    assert_int_equal(block_get_info(node)->size, KIB(8) + 512);
    memset(data, 0xee, sizeof(data));
    assert_int_equal(run(BLOCK_READ, KIB(8) - 512, data, 1024), 0);
    for (unsigned i = 0; i < 1024; i++)
        assert_int_equal(data[i], 0);
    fill(data, 512, 3);
    assert_int_equal(run(BLOCK_WRITE, KIB(8), data, 512), 0);
    expect_in_file(KIB(8), data, 512);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, KIB(8) + 512);
    close_disk();
}

static void requests_beyond_the_end_are_refused(void **state)
{
    static uint8_t data[KIB(4)] __attribute__((aligned(4096)));
    struct stat st;
    open_disk(FILE_SIZE);
    assert_int_equal(run(BLOCK_READ, FILE_SIZE, data, sizeof(data)), -EINVAL);
    assert_int_equal(run(BLOCK_WRITE, FILE_SIZE - 512, data, sizeof(data)), -EINVAL);
    assert_int_equal(run(BLOCK_WRITE, UINT64_MAX - 511, data, sizeof(data)), -EINVAL);
    assert_int_equal(run(BLOCK_DISCARD, 512, NULL, UINT64_MAX), -EINVAL);
    assert_int_equal(run(BLOCK_WRITE_ZEROES, FILE_SIZE, NULL, 512), -EINVAL);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, FILE_SIZE);
    close_disk();
}

static void discarding_frees_the_host_blocks_only_when_it_is_on(void **state)
{
    static uint8_t data[KIB(256)] __attribute__((aligned(4096)));
    struct block_open_options saved = options;
    for (int on = 0; on < 2; on++) {
        options.discard = on;
        open_disk(FILE_SIZE);
        fill(data, sizeof(data), 5);
        assert_int_equal(run(BLOCK_WRITE, 0, data, sizeof(data)), 0);
        assert_int_equal(run(BLOCK_FLUSH, 0, NULL, 0), 0);
        int64_t before = block_allocated_size(node);
        assert_true(before >= (int64_t)sizeof(data));
        assert_int_equal(run(BLOCK_DISCARD, 0, NULL, sizeof(data)), 0);
        if (on)
            assert_true(block_allocated_size(node) <= before - (int64_t)sizeof(data));
        else
            expect_in_file(0, data, sizeof(data));
        close_disk();
    }
    options = saved;
}

static void written_zeroes_are_read_as_zeros_and_touch_nothing_else(void **state)
{
    static uint8_t shadow[KIB(256)] __attribute__((aligned(4096)));
    struct block_open_options saved = options;
    options.discard = true;
    open_disk(sizeof(shadow));
    for (int unmap = 0; unmap < 2; unmap++) {
        struct ticket ticket;
        fill(shadow, sizeof(shadow), 9);
        assert_int_equal(run(BLOCK_WRITE, 0, shadow, sizeof(shadow)), 0);
        ticket = (struct ticket){.request = {.op = BLOCK_WRITE_ZEROES,
                                             .offset = 1536,
                                             .len = KIB(150),
                                             .unmap = unmap,
                                             .fua = true,
                                             .done = note_done}};
        ticket.request.opaque = &ticket;
        block_submit(queue, &ticket.request);
        block_kick(queue);
        block_drain(queue);
        assert_int_equal(ticket.result, 0);
        memset(shadow + 1536, 0, KIB(150));
        expect_in_file(0, shadow, sizeof(shadow));
    }
    close_disk();
    options = saved;
}

static void a_read_only_disk_refuses_every_change(void **state)
{
    static uint8_t data[KIB(4)] __attribute__((aligned(4096)));
    struct kv_error err = {0};
    struct block_open_options saved = options;
    options.readonly = true;
    open_disk(FILE_SIZE);
    assert_int_equal(run(BLOCK_READ, 0, data, sizeof(data)), 0);
    assert_int_equal(run(BLOCK_WRITE, 0, data, sizeof(data)), -EROFS);
    assert_int_equal(run(BLOCK_DISCARD, 0, NULL, 4096), -EROFS);
    assert_int_equal(run(BLOCK_WRITE_ZEROES, 0, NULL, 4096), -EROFS);
    assert_int_equal(run(BLOCK_FLUSH, 0, NULL, 0), 0);
    assert_int_equal(block_resize(node, KIB(64), &err), -EACCES);
    close_disk();
    options = saved;
}

static void a_resized_disk_serves_its_new_size(void **state)
{
    static uint8_t data[KIB(4)] __attribute__((aligned(4096)));
    struct kv_error err = {0};
    open_disk(FILE_SIZE);
    assert_int_equal(block_resize(node, 2 * FILE_SIZE + 1, &err), -EINVAL);
    assert_int_equal(block_resize(node, 2 * FILE_SIZE, &err), 0);
    assert_int_equal(block_get_info(node)->size, 2 * FILE_SIZE);
    fill(data, sizeof(data), 2);
    assert_int_equal(run(BLOCK_WRITE, 2 * FILE_SIZE - sizeof(data), data, sizeof(data)), 0);
    expect_in_file(2 * FILE_SIZE - sizeof(data), data, sizeof(data));
    make_file(FILE_SIZE / 2);
    assert_int_equal(block_refresh(node, &err), 0);
    assert_int_equal(run(BLOCK_READ, FILE_SIZE / 2, data, sizeof(data)), -EINVAL);
    close_disk();
}

static unsigned batches;

static void count_batch(void *opaque)
{
    batches++;
    if (opaque)
        loop_stop(&loop);
}

static void completions_arrive_through_the_loop_and_end_with_one_batch_call(void **state)
{
    static uint8_t data[8][KIB(4)] __attribute__((aligned(4096)));
    static struct ticket tickets[8];
    struct iovec iov[8];
    open_disk(FILE_SIZE);
    batches = 0;
    block_queue_set_batch(queue, count_batch, NULL);
    for (unsigned i = 0; i < 8; i++) {
        iov[i] = (struct iovec){.iov_base = data[i], .iov_len = KIB(4)};
        start(&tickets[i], BLOCK_READ, i * KIB(64), &iov[i], 1, KIB(4));
    }
    block_kick(queue);
    for (int turn = 0; turn < 1000 && block_inflight(queue); turn++) {
        struct loop_timer timer = {0};
        loop_timer_arm(&loop, &timer, 2000000, count_batch, &loop);
        loop_run(&loop);
        batches--;
    }
    assert_int_equal(block_inflight(queue), 0);
    assert_in_range(batches, 1, 8);
    for (unsigned i = 0; i < 8; i++)
        assert_true(tickets[i].done && tickets[i].result == 0);
    close_disk();
}

static void two_writers_exclude_each_other_unless_both_share(void **state)
{
    struct kv_error err = {0};
    struct block_open_options saved = options;
    open_disk(FILE_SIZE);
    struct block_node *first = node;
    assert_int_equal(try_open(&err), -EAGAIN);
    assert_non_null(strstr(err.message, "another process"));
    options.readonly = true;
    assert_int_equal(try_open(&err), -EAGAIN);
    node = first;
    close_disk();

    options = saved;
    options.share_rw = true;
    open_disk(FILE_SIZE);
    first = node;
    assert_int_equal(try_open(&err), 0);
    block_close(node);
    node = first;
    close_disk();
    options = saved;
}

static void what_is_no_disk_is_refused_with_its_name(void **state)
{
    struct kv_error err = {0};
    struct block_open_options bad = options;
    struct block_node *none;
    bad.fd = -1;
    bad.path = "/nonexistent/disk";
    assert_int_equal(block_open(&none, &bad, &err), -ENOENT);
    assert_non_null(strstr(err.message, "/nonexistent/disk"));
    bad.cache = BLOCK_CACHE_WRITEBACK;
    bad.path = "/dev/null";
    assert_int_equal(block_open(&none, &bad, &err), -EINVAL);
    make_file(FILE_SIZE);
    bad.path = NULL;
    bad.fd = open(path, O_RDONLY);
    assert_int_equal(block_open(&none, &bad, &err), -EACCES);
    assert_non_null(strstr(err.message, "readonly=on"));
}

/* As root only: a file system of 1 MiB. */
static void a_full_host_gives_enospc_and_keeps_serving(void **state)
{
    static uint8_t data[KIB(64)] __attribute__((aligned(4096)));
    char dir[280], saved[sizeof(path)];
    if (geteuid() != 0 || options.cache == BLOCK_CACHE_NONE)
        skip();
    snprintf(dir, sizeof(dir), "%s.mount", path);
    assert_int_equal(mkdir(dir, 0700), 0);
    if (mount("none", dir, "tmpfs", 0, "size=1m") < 0) {
        rmdir(dir);
        skip();
    }
    memcpy(saved, path, sizeof(path));
    snprintf(path, sizeof(path), "%.200s/disk", dir);
    open_disk(FILE_SIZE);
    int rc = 0;
    for (uint64_t at = 0; at < FILE_SIZE && rc == 0; at += sizeof(data))
        rc = run(BLOCK_WRITE, at, data, sizeof(data));
    assert_int_equal(rc, -ENOSPC);
    assert_int_equal(run(BLOCK_READ, 0, data, sizeof(data)), 0);
    close_disk();
    memcpy(path, saved, sizeof(path));
    assert_int_equal(umount2(dir, MNT_DETACH), 0);
    rmdir(dir);
}

static int use(enum block_aio aio, enum block_cache cache)
{
    struct kv_error err = {0};
    options = (struct block_open_options){.aio = aio, .cache = cache};
    if (loop_init(&loop, &err) < 0)
        return -1;
    /* Where the host has no io_uring or the file system no O_DIRECT, auto and the page cache are
     * tested twice. */
    make_file(FILE_SIZE);
    int rc = try_open(&err);
    if (rc == -EINVAL) {
        options.cache = BLOCK_CACHE_WRITETHROUGH;
        rc = try_open(&err);
    }
    if (rc == 0 && block_queue_create(&queue, node, &loop, BATCH, &err) < 0)
        options.aio = BLOCK_AIO_AUTO;
    if (rc == 0)
        close_disk();
    return rc;
}

static int use_uring(void **state)
{
    return use(BLOCK_AIO_IO_URING, BLOCK_CACHE_WRITEBACK);
}

static int use_uring_direct(void **state)
{
    return use(BLOCK_AIO_IO_URING, BLOCK_CACHE_NONE);
}

static int use_threads(void **state)
{
    return use(BLOCK_AIO_THREADS, BLOCK_CACHE_WRITETHROUGH);
}

static int use_threads_direct(void **state)
{
    return use(BLOCK_AIO_THREADS, BLOCK_CACHE_DIRECTSYNC);
}

static int leave(void **state)
{
    loop_destroy(&loop);
    unlink(path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back_and_is_in_the_file),
        cmocka_unit_test(batches_of_scattered_requests_each_get_their_own_data),
        cmocka_unit_test(offsets_lengths_and_buffers_need_no_alignment),
        cmocka_unit_test(a_size_that_is_no_multiple_of_512_is_rounded_up_and_reads_zeros),
        cmocka_unit_test(requests_beyond_the_end_are_refused),
        cmocka_unit_test(discarding_frees_the_host_blocks_only_when_it_is_on),
        cmocka_unit_test(written_zeroes_are_read_as_zeros_and_touch_nothing_else),
        cmocka_unit_test(a_read_only_disk_refuses_every_change),
        cmocka_unit_test(a_resized_disk_serves_its_new_size),
        cmocka_unit_test(completions_arrive_through_the_loop_and_end_with_one_batch_call),
        cmocka_unit_test(two_writers_exclude_each_other_unless_both_share),
        cmocka_unit_test(what_is_no_disk_is_refused_with_its_name),
        cmocka_unit_test(a_full_host_gives_enospc_and_keeps_serving),
    };
    /* Not /tmp, which may have no O_DIRECT: where the build is. */
    const char *dir = getenv("MESON_BUILD_ROOT");
    snprintf(path, sizeof(path), "%.200s/test-disk-%d", dir ? dir : ".", (int)getpid());
    return cmocka_run_group_tests_name("block_file, io_uring", tests, use_uring, leave) +
           cmocka_run_group_tests_name("block_file, io_uring, O_DIRECT", tests, use_uring_direct,
                                       leave) +
           cmocka_run_group_tests_name("block_file, threads", tests, use_threads, leave) +
           cmocka_run_group_tests_name("block_file, threads, O_DIRECT", tests, use_threads_direct,
                                       leave);
}
