/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NBD client: addresses in every form, and requests to a server of this process. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "block/memory.h"
#include "block/nbd_client.h"
#include "block/nbd_server.h"
#include "block/tls_creds.h"
#include "unit.h"

#define SIZE MIB(16)

/* ------------------------------------------------------------------ addresses */

static int parse(struct nbd_address *address, const char *text)
{
    struct block_open_options options = {.path = text};
    json_t *description = text[0] == '{' ? json_loads(text, 0, NULL) : NULL;
    if (description) {
        options.path = NULL;
        options.description = description;
    }
    int rc = nbd_address_parse(address, &options, NULL);
    json_decref(description);
    return rc;
}

static const char *text_of(const char *text)
{
    return text ? text : "(none)";
}

static void every_form_of_an_address_is_understood(void **state)
{
    static const struct {
        const char *text, *path, *host, *port, *export;
        bool tls;
    } forms[] = {
        {"nbd://example.org", NULL, "example.org", "10809", ""},
        {"nbd://example.org:99/disk", NULL, "example.org", "99", "disk"},
        {"nbd://[::1]:99/disk", NULL, "::1", "99", "disk"},
        {"nbd://[::1]/", NULL, "::1", "10809", ""},
        {"nbds://example.org/a%20b%2Fc", NULL, "example.org", "10809", "a b/c", true},
        {"nbd+unix:///disk?socket=/run/s", "/run/s", NULL, NULL, "disk"},
        {"nbd+unix:///?socket=/run/a%3fb&unknown=1", "/run/a?b", NULL, NULL, ""},
        {"nbds+unix:///?tls-psk-file=/k&socket=s", "s", NULL, NULL, "", true},
        {"nbd:example.org:99", NULL, "example.org", "99", ""},
        {"nbd:[::1]:99:exportname=a:b", NULL, "::1", "99", "a:b"},
        {"nbd:unix:/run/s:exportname=disk", "/run/s", NULL, NULL, "disk"},
        {"{\"server\": {\"type\": \"unix\", \"path\": \"/run/s\"}}", "/run/s", NULL, NULL, ""},
        {"{\"server\": {\"type\": \"inet\", \"host\": \"h\", \"port\": 5}, \"export\": \"e\"}",
         NULL, "h", "5", "e"},
        {"{\"host\": \"h\"}", NULL, "h", "10809", ""},
        {"{\"path\": \"/run/s\", \"export\": \"e\"}", "/run/s", NULL, NULL, "e"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
        struct nbd_address address;
        assert_int_equal(parse(&address, forms[i].text), 0);
        assert_string_equal(text_of(address.path), text_of(forms[i].path));
        assert_string_equal(text_of(address.host), text_of(forms[i].host));
        assert_string_equal(text_of(address.port), text_of(forms[i].port));
        assert_string_equal(address.export, forms[i].export);
        assert_int_equal(address.tls, forms[i].tls);
        nbd_address_free(&address);
    }
}

static void what_is_no_address_is_refused(void **state)
{
    static const char *const bad[] = {
        "nbd:",
        "nbd:host",
        "nbd::99",
        "nbd:unix:",
        "nbd+unix:///disk",
        "nbd+unix://host/?socket=s",
        "nbd://[::1/disk",
        "nbd://[::1]x/disk",
        "nbd://host/a%0",
        "nbd://host/a%00b",
        "nbd://host/a%zz",
        "nbd+vsock://1/",
        "{}",
        "{\"path\": \"s\", \"host\": \"h\"}",
        "{\"server\": {\"type\": \"vsock\"}}",
        "{\"server\": {\"type\": \"inet\", \"host\": \"h\"}}",
        "{\"path\": \"s\", \"reconnect-delay\": -1}",
        "{\"path\": \"s\", \"tls-creds\": \"unknown\"}",
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct nbd_address address;
        assert_true(parse(&address, bad[i]) < 0);
        nbd_address_free(&address);
    }
}

static void credentials_are_found_by_name_and_endpoint(void **state)
{
    struct nbd_address address;
    assert_int_equal(
        tls_creds_add_text("tls-creds-x509,id=a,dir=/pki,endpoint=client,verify-peer=off", NULL),
        0);
    assert_int_equal(tls_creds_add_text("tls-creds-psk,id=b,dir=/keys,username=me", NULL), 0);
    assert_int_equal(
        tls_creds_add_text("qom-type=tls-creds-x509,id=c,dir=/pki,endpoint=server", NULL), 0);
    assert_int_equal(tls_creds_add_text("tls-creds-x509,id=a,dir=/pki", NULL), -EEXIST);
    assert_true(tls_creds_add_text("tls-creds-x509,id=d", NULL) < 0);

    assert_int_equal(parse(&address, "{\"path\": \"s\", \"tls-creds\": \"a\"}"), 0);
    assert_true(address.tls && !address.tls_verify);
    assert_string_equal(address.tls_dir, "/pki");
    nbd_address_free(&address);
    assert_int_equal(parse(&address, "{\"path\": \"s\", \"tls-creds\": \"b\"}"), 0);
    assert_string_equal(address.tls_psk_file, "/keys/keys.psk");
    assert_string_equal(address.tls_user, "me");
    nbd_address_free(&address);
    assert_true(parse(&address, "{\"path\": \"s\", \"tls-creds\": \"c\"}") < 0);
    nbd_address_free(&address);
    /* A name that libnbd would not check the certificate against. */
    assert_true(
        parse(&address, "{\"path\": \"s\", \"tls-creds\": \"a\", \"tls-hostname\": \"h\"}") < 0);
    nbd_address_free(&address);
    tls_creds_clear();
}

/* ------------------------------------------------------------------- requests */

struct fixture {
    char dir[32], path[64], uri[128];
    struct block_node *served, *node;
    struct nbd_server *server;
};

static void start_server(struct fixture *f, unsigned connections)
{
    const struct nbd_server_options options = {.max_connections = connections};
    struct nbd_export_options export = {.name = "disk", .node = f->served};
    assert_int_equal(nbd_server_create(&f->server, &options, NULL), 0);
    assert_int_equal(nbd_server_add_export(f->server, &export, NULL), 0);
    assert_int_equal(nbd_server_listen_unix(f->server, f->path, NULL), 0);
}

static void stop_server(struct fixture *f)
{
    nbd_server_free(f->server);
    f->server = NULL;
}

static void start(struct fixture *f, unsigned delay_s)
{
    const struct block_open_options memory = {
        .path = "memory:nbd", .format = "raw", .discard = true};
    char text[256];
    log_level = LOG_ERROR;
    *f = (struct fixture){.dir = "/tmp/kv-nbd-test.XXXXXX"};
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/socket", f->dir);
    assert_int_equal(block_memory_put("nbd", NULL, SIZE), 0);
    assert_int_equal(block_open(&f->served, &memory, NULL), 0);
    start_server(f, 8);
    snprintf(text, sizeof(text),
             "json:{\"driver\": \"nbd\", \"server\": {\"type\": \"unix\", \"path\": \"%s\"}, "
             "\"export\": \"disk\", \"reconnect-delay\": %u}",
             f->path, delay_s);
    const struct block_open_options options = {.path = text, .discard = true};
    struct kv_error err = {0};
    if (block_open(&f->node, &options, &err) < 0)
        fail_msg("%s", err.message);
}

static void stop(struct fixture *f)
{
    block_close(f->node);
    nbd_server_free(f->server);
    block_close(f->served);
    block_memory_remove("nbd");
    rmdir(f->dir);
}

static void requests_reach_the_servers_image(void **state)
{
    struct fixture f;
    char text[16] = "fifteen letters", back[16] = "";
    struct iovec iov[] = {{text, 7}, {text + 7, 9}};
    struct block_extent extent;
    start(&f, 0);
    assert_true(block_get_info(f.node)->size == SIZE);
    assert_int_equal(block_pwritev(f.node, 1001, 16, iov, 2, BLOCK_FUA), 0);
    assert_int_equal(block_pread(f.served, 1001, back, 16), 0);
    assert_string_equal(back, text);
    memset(back, 0, sizeof(back));
    iov[0].iov_base = back;
    iov[1].iov_base = back + 7;
    assert_int_equal(block_preadv(f.node, 1001, 16, iov, 2), 0);
    assert_string_equal(back, text);

    assert_int_equal(block_status(f.node, 0, SIZE, &extent), 0);
    assert_true(extent.flags & BLOCK_STATUS_DATA);
    assert_true(extent.len >= 1017 && extent.len < SIZE);
    assert_int_equal(block_status(f.node, MIB(8), MIB(8), &extent), 0);
    assert_true(extent.flags & BLOCK_STATUS_ZERO && extent.len == MIB(8));

    assert_int_equal(block_write_zeroes(f.node, 1000, 10, BLOCK_UNMAP), 0);
    assert_int_equal(block_pread(f.served, 1001, back, 16), 0);
    assert_int_equal(back[0], 0);
    assert_int_equal(back[9], 'e' /* of "letters" */);
    assert_int_equal(block_discard(f.node, 0, MIB(1)), 0);
    assert_int_equal(block_flush(f.node), 0);
    /* What was known of a range is not believed after a write. */
    assert_int_equal(block_pwrite(f.node, MIB(9), text, 16, 0), 0);
    assert_int_equal(block_status(f.node, MIB(9), 16, &extent), 0);
    assert_true(extent.flags & BLOCK_STATUS_DATA);
    stop(&f);
}

struct worker {
    struct block_node *node;
    unsigned number;
    int rc;
};

enum { WORKERS = 24, ROUNDS = 60, BLOCK = 8192 };

/* Writes and reads back blocks of its own. */
static void *work(void *opaque)
{
    struct worker *worker = opaque;
    uint8_t out[BLOCK], in[BLOCK];
    for (unsigned i = 0; i < ROUNDS && worker->rc == 0; i++) {
        uint64_t offset = (uint64_t)(worker->number * ROUNDS + i) * BLOCK;
        memset(out, (int)(worker->number * 7 + i), sizeof(out));
        worker->rc = block_pwrite(worker->node, offset, out, sizeof(out), 0);
        if (worker->rc == 0)
            worker->rc = block_pread(worker->node, offset, in, sizeof(in));
        if (worker->rc == 0 && memcmp(in, out, sizeof(in)) != 0)
            worker->rc = -EILSEQ;
    }
    return NULL;
}

static void run_workers(struct fixture *f, struct worker *workers, pthread_t *threads)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){f->node, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
}

static void join_workers(struct worker *workers, const pthread_t *threads)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].rc, 0);
    }
}

static void many_threads_have_requests_on_their_way(void **state)
{
    struct fixture f;
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    start(&f, 0);
    run_workers(&f, workers, threads);
    join_workers(workers, threads);
    assert_in_range(nbd_server_clients(f.server), 2, 4);
    stop(&f);
}

static void without_patience_a_lost_server_is_an_error_until_it_is_back(void **state)
{
    struct fixture f;
    char byte;
    start(&f, 0);
    stop_server(&f);
    assert_int_equal(block_pread(f.node, 0, &byte, 1), -EIO);
    assert_int_equal(block_pread(f.node, 0, &byte, 1), -EIO);
    start_server(&f, 8);
    int rc = -EIO;
    for (unsigned i = 0; i < 100 && rc < 0; i++) {
        rc = block_pread(f.node, 0, &byte, 1);
        usleep(50000);
    }
    assert_int_equal(rc, 0);
    stop(&f);
}

static void with_patience_requests_wait_for_the_server(void **state)
{
    struct fixture f;
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    start(&f, 60);
    run_workers(&f, workers, threads);
    for (unsigned i = 0; i < 3; i++) {
        usleep(20000);
        stop_server(&f);
        usleep(100000);
        start_server(&f, 8);
    }
    join_workers(workers, threads);
    stop(&f);
}

static void a_server_that_comes_back_for_fewer_clients_is_enough(void **state)
{
    struct fixture f;
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    start(&f, 1);
    run_workers(&f, workers, threads);
    join_workers(workers, threads);
    assert_in_range(nbd_server_clients(f.server), 2, 4);
    stop_server(&f);
    start_server(&f, 1);
    run_workers(&f, workers, threads);
    join_workers(workers, threads);
    stop(&f);
}

static void patience_ends(void **state)
{
    struct fixture f;
    char byte;
    start(&f, 1);
    stop_server(&f);
    int64_t before = clock_monotonic_ns();
    assert_int_equal(block_pread(f.node, 0, &byte, 1), -EIO);
    int64_t took_ms = (clock_monotonic_ns() - before) / 1000000;
    assert_in_range(took_ms, 800, 8000);
    /* The next one need not wait again. */
    assert_int_equal(block_pread(f.node, 0, &byte, 1), -EIO);
    assert_in_range((clock_monotonic_ns() - before) / 1000000 - took_ms, 0, 800);
    stop(&f);
}

/* -------------------------------------------------------------------------- queues */

/* The server is in the same process, so requests of a lost connection must not take all workers. */
enum { SLOTS = 12, QUEUED = 2000, PIECE = 4096 };

struct slot {
    struct stream *stream;
    struct block_request request;
    struct iovec iov[2];
    uint8_t bytes[PIECE];
    unsigned number;
    bool reads;
};

/* Each block is written, then read back; several at a time, half of them in two pieces of memory.
 */
struct stream {
    struct loop loop;
    struct block_queue *queue;
    struct slot slots[SLOTS];
    unsigned next, active;
    int failure;
};

static void slot_done(struct block_request *request, int result);

static void send_slot(struct slot *slot)
{
    size_t first = slot->number % 2 ? PIECE / 2 : PIECE;
    slot->iov[0] = (struct iovec){slot->bytes, first};
    slot->iov[1] = (struct iovec){slot->bytes + first, PIECE - first};
    slot->request = (struct block_request){
        .op = slot->reads ? BLOCK_READ : BLOCK_WRITE,
        .offset = (uint64_t)slot->number * PIECE,
        .len = PIECE,
        .iov = slot->iov,
        .iov_count = slot->number % 2 ? 2 : 1,
        .done = slot_done,
        .opaque = slot,
    };
    memset(slot->bytes, slot->reads ? 0 : (int)(slot->number % 251 + 1), PIECE);
    block_submit(slot->stream->queue, &slot->request);
}

static void slot_done(struct block_request *request, int result)
{
    struct slot *slot = request->opaque;
    struct stream *stream = slot->stream;
    if (result < 0)
        stream->failure = result;
    if (slot->reads && (slot->bytes[0] != slot->number % 251 + 1 ||
                        memcmp(slot->bytes, slot->bytes + 1, PIECE - 1) != 0))
        stream->failure = -EILSEQ;
    if (slot->reads)
        slot->number = stream->next++;
    slot->reads = !slot->reads;
    if (stream->failure || slot->number >= QUEUED) {
        if (--stream->active == 0)
            loop_stop(&stream->loop);
        return;
    }
    send_slot(slot);
}

static void send_more(void *opaque)
{
    struct stream *stream = opaque;
    block_kick(stream->queue);
}

static void *run_stream(void *opaque)
{
    struct stream *stream = opaque;
    for (unsigned i = 0; i < SLOTS; i++) {
        stream->slots[i] = (struct slot){.stream = stream, .number = stream->next++};
        stream->active++;
        send_slot(&stream->slots[i]);
    }
    block_kick(stream->queue);
    loop_run(&stream->loop);
    block_drain(stream->queue);
    return NULL;
}

static void open_stream(struct stream *stream, struct fixture *f)
{
    struct kv_error err = {0};
    *stream = (struct stream){0};
    assert_int_equal(loop_init(&stream->loop, &err), 0);
    assert_int_equal(block_queue_create(&stream->queue, f->node, &stream->loop, SLOTS, &err), 0);
    block_queue_set_batch(stream->queue, send_more, stream);
}

static void close_stream(struct stream *stream)
{
    assert_int_equal(stream->failure, 0);
    assert_int_equal(block_inflight(stream->queue), 0);
    block_queue_free(stream->queue);
    loop_destroy(&stream->loop);
}

static void a_queue_talks_to_the_server_itself_beside_other_threads(void **state)
{
    struct fixture f;
    struct stream *stream = malloc(sizeof(*stream));
    struct worker worker;
    pthread_t thread;
    start(&f, 0);
    open_stream(stream, &f);
    assert_non_null(stream->queue->lane);
    /* Its blocks lie behind the queue's. */
    worker = (struct worker){f.node, 20, 0};
    assert_int_equal(pthread_create(&thread, NULL, work, &worker), 0);
    run_stream(stream);
    pthread_join(thread, NULL);
    assert_int_equal(worker.rc, 0);
    close_stream(stream);
    free(stream);
    stop(&f);
}

static void requests_of_a_queue_wait_for_the_server(void **state)
{
    struct fixture f;
    struct stream *stream = malloc(sizeof(*stream));
    pthread_t thread;
    start(&f, 60);
    open_stream(stream, &f);
    assert_int_equal(pthread_create(&thread, NULL, run_stream, stream), 0);
    for (unsigned i = 0; i < 3; i++) {
        usleep(5000);
        stop_server(&f);
        usleep(50000);
        start_server(&f, 8);
    }
    pthread_join(thread, NULL);
    close_stream(stream);
    free(stream);
    stop(&f);
}

static void requests_of_a_queue_fail_when_patience_ends(void **state)
{
    struct fixture f;
    struct stream *stream = malloc(sizeof(*stream));
    start(&f, 0);
    open_stream(stream, &f);
    stop_server(&f);
    run_stream(stream);
    assert_int_equal(stream->failure, -EIO);
    stream->failure = 0;
    close_stream(stream);
    free(stream);
    stop(&f);
}

static void a_grown_export_is_seen(void **state)
{
    struct fixture f;
    char byte = 'x';
    start(&f, 0);
    assert_int_equal(block_resize(f.served, 2 * SIZE, NULL), 0);
    assert_int_equal(block_pwrite(f.node, SIZE, &byte, 1, 0), -EINVAL);
    assert_int_equal(
        block_refresh(block_file_child(f.node) ? block_file_child(f.node) : f.node, NULL), 0);
    assert_int_equal(block_refresh(f.node, NULL), 0);
    assert_true(block_get_info(f.node)->size == 2 * SIZE);
    assert_int_equal(block_pwrite(f.node, SIZE, &byte, 1, 0), 0);
    assert_int_equal(block_resize(f.node, SIZE, NULL), -ENOTSUP);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_an_address_is_understood),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(credentials_are_found_by_name_and_endpoint),
        cmocka_unit_test(requests_reach_the_servers_image),
        cmocka_unit_test(many_threads_have_requests_on_their_way),
        cmocka_unit_test(without_patience_a_lost_server_is_an_error_until_it_is_back),
        cmocka_unit_test(with_patience_requests_wait_for_the_server),
        cmocka_unit_test(a_server_that_comes_back_for_fewer_clients_is_enough),
        cmocka_unit_test(patience_ends),
        cmocka_unit_test(a_queue_talks_to_the_server_itself_beside_other_threads),
        cmocka_unit_test(requests_of_a_queue_wait_for_the_server),
        cmocka_unit_test(requests_of_a_queue_fail_when_patience_ends),
        cmocka_unit_test(a_grown_export_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
