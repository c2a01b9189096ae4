/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NBD server against a client that speaks the protocol by hand, well and badly. */
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "block/memory.h"
#include "block/nbd_server.h"
#include "nbd_peer.h"
#include "unit.h"

#define SIZE MIB(48)
#define FIXED (NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES)

struct fixture {
    struct block_node *node;
    struct nbd_server *server;
    struct nbd_peer peer;
};

/* Every other 64 KiB is dirty. */
static int stripes(void *opaque, uint64_t offset, uint64_t len, bool *dirty, uint64_t *run)
{
    *dirty = offset / KIB(64) % 2;
    *run = MIN(len, KIB(64) - offset % KIB(64));
    return 0;
}

static int connect_peer(struct fixture *f, struct nbd_peer *peer)
{
    int ends[2];
    struct timeval patience = {.tv_sec = 20};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    peer->fd = ends[0];
    peer->structured = false;
    return nbd_server_add_client(f->server, ends[1], NULL);
}

static void start(struct fixture *f, const struct nbd_server_options *options, bool readonly)
{
    static const struct nbd_bitmap bitmap = {.name = "stripes", .query = stripes};
    const struct nbd_server_options plain = {0};
    struct block_open_options open = {.path = "memory:nbd", .format = "raw", .discard = true};
    struct nbd_export_options export = {
        .name = "disk",
        .description = "a disk",
        .readonly = readonly,
        .bitmaps = &bitmap,
        .bitmap_count = 1,
    };
    log_level = LOG_ERROR;
    assert_int_equal(block_memory_put("nbd", NULL, SIZE), 0);
    assert_int_equal(block_open(&f->node, &open, NULL), 0);
    assert_int_equal(nbd_server_create(&f->server, options ? options : &plain, NULL), 0);
    export.node = f->node;
    assert_int_equal(nbd_server_add_export(f->server, &export, NULL), 0);
    assert_int_equal(connect_peer(f, &f->peer), 0);
}

static void stop(struct fixture *f)
{
    close(f->peer.fd);
    nbd_server_free(f->server);
    block_close(f->node);
    block_memory_remove("nbd");
}

/* ------------------------------------------------------------------ handshake */

static void an_export_is_chosen_the_old_way(void **state)
{
    struct fixture f;
    uint8_t answer[10 + 124];
    start(&f, NULL, false);
    nbd_peer_greet(&f.peer, NBD_FLAG_C_FIXED_NEWSTYLE);
    nbd_peer_option(&f.peer, NBD_OPT_EXPORT_NAME, "disk", 4);
    nbd_peer_read(&f.peer, answer, sizeof(answer));
    assert_true(nbd_get64(answer) == SIZE);
    assert_true(nbd_get16(answer + 8) & NBD_FLAG_SEND_TRIM);
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_FLUSH, 0, 0, 0), 0);
    stop(&f);
}

static void an_unknown_export_is_refused_and_another_may_be_tried(void **state)
{
    struct fixture f;
    uint8_t data[64];
    start(&f, NULL, false);
    nbd_peer_greet(&f.peer, FIXED);
    assert_int_equal(nbd_peer_ask(&f.peer, NBD_OPT_GO, data, nbd_peer_info_data(data, "none")),
                     NBD_REP_ERR_UNKNOWN);
    assert_int_equal(nbd_peer_ask(&f.peer, 77, "abc", 3), NBD_REP_ERR_UNSUP);
    assert_int_equal(nbd_peer_ask(&f.peer, NBD_OPT_STARTTLS, NULL, 0), NBD_REP_ERR_POLICY);
    assert_int_equal(nbd_peer_ask(&f.peer, NBD_OPT_GO, data, nbd_peer_info_data(data, "disk")),
                     NBD_REP_INFO);
    stop(&f);
}

static void the_list_names_each_export(void **state)
{
    struct fixture f;
    struct nbd_option_reply reply;
    start(&f, NULL, false);
    const struct nbd_export_options second = {.name = "", .node = f.node};
    assert_int_equal(nbd_server_add_export(f.server, &second, NULL), 0);
    assert_int_equal(nbd_server_add_export(f.server, &second, NULL), -EEXIST);
    nbd_peer_greet(&f.peer, FIXED);
    nbd_peer_option(&f.peer, NBD_OPT_LIST, NULL, 0);
    nbd_peer_option_reply(&f.peer, NBD_OPT_LIST, &reply);
    assert_int_equal(reply.type, NBD_REP_SERVER);
    assert_int_equal(reply.len, 4 + 4 + 6);
    assert_memory_equal(reply.data + 4, "diska disk", 10);
    nbd_peer_option_reply(&f.peer, NBD_OPT_LIST, &reply);
    assert_int_equal(reply.len, 4);
    nbd_peer_option_reply(&f.peer, NBD_OPT_LIST, &reply);
    assert_int_equal(reply.type, NBD_REP_ACK);
    assert_int_equal(nbd_peer_ask(&f.peer, NBD_OPT_ABORT, NULL, 0), NBD_REP_ACK);
    nbd_peer_expect_end(&f.peer);
    stop(&f);
}

static void contexts_are_listed_by_group_and_chosen_by_name(void **state)
{
    static const char *const group[] = {"qemu:", "other:", NULL};
    struct fixture f;
    struct nbd_option_reply reply;
    uint8_t data[256];
    start(&f, NULL, false);
    nbd_peer_greet(&f.peer, FIXED);
    uint32_t len = nbd_peer_meta_data(data, "disk", group);
    assert_int_equal(nbd_peer_ask(&f.peer, NBD_OPT_LIST_META_CONTEXT, data, len),
                     NBD_REP_ERR_INVALID);
    assert_int_equal(nbd_peer_ask(&f.peer, NBD_OPT_STRUCTURED_REPLY, NULL, 0), NBD_REP_ACK);
    nbd_peer_option(&f.peer, NBD_OPT_LIST_META_CONTEXT, data, len);
    nbd_peer_option_reply(&f.peer, NBD_OPT_LIST_META_CONTEXT, &reply);
    assert_int_equal(reply.type, NBD_REP_META_CONTEXT);
    assert_int_equal(reply.len, 4 + strlen("qemu:dirty-bitmap:stripes"));
    nbd_peer_option_reply(&f.peer, NBD_OPT_LIST_META_CONTEXT, &reply);
    assert_int_equal(reply.type, NBD_REP_ACK);
    assert_int_equal(nbd_peer_ask(&f.peer, NBD_OPT_SET_META_CONTEXT, data, len), NBD_REP_ACK);
    stop(&f);
}

static void malformed_options_are_refused(void **state)
{
    static const struct {
        uint32_t option;
        const char *data;
        uint32_t len;
    } bad[] = {
        {NBD_OPT_LIST, "x", 1},
        {NBD_OPT_STRUCTURED_REPLY, "x", 1},
        {NBD_OPT_STARTTLS, "x", 1},
        {NBD_OPT_GO, "", 0},
        {NBD_OPT_GO, "\0\0\0\4di", 6},
        {NBD_OPT_GO, "\377\377\377\377disk\0\0", 10},
        {NBD_OPT_GO, "\0\0\0\4disk\0\1", 10},
        {NBD_OPT_INFO, "\0\0\0\4d\0sk\0\0", 10},
        {NBD_OPT_SET_META_CONTEXT, "\0\0\0\4disk", 8},
        {NBD_OPT_SET_META_CONTEXT, "\0\0\0\4disk\377\377\377\377", 12},
        {NBD_OPT_SET_META_CONTEXT, "\0\0\0\4disk\0\0\0\0tail", 16},
    };
    struct fixture f;
    start(&f, NULL, false);
    nbd_peer_greet(&f.peer, FIXED);
    assert_int_equal(nbd_peer_ask(&f.peer, NBD_OPT_STRUCTURED_REPLY, NULL, 0), NBD_REP_ACK);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(nbd_peer_ask(&f.peer, bad[i].option, bad[i].data, bad[i].len),
                         NBD_REP_ERR_INVALID);
    stop(&f);
}

static void broken_handshakes_end_the_connection(void **state)
{
    struct fixture f;
    uint8_t junk[64];
    memset(junk, 0x5a, sizeof(junk));
    start(&f, NULL, false);

    nbd_peer_greet(&f.peer, 0x80);
    nbd_peer_expect_end(&f.peer);

    close(f.peer.fd);
    assert_int_equal(connect_peer(&f, &f.peer), 0);
    nbd_peer_greet(&f.peer, FIXED);
    nbd_peer_write(&f.peer, junk, sizeof(junk));
    nbd_peer_expect_end(&f.peer);

    close(f.peer.fd);
    assert_int_equal(connect_peer(&f, &f.peer), 0);
    nbd_peer_greet(&f.peer, FIXED);
    nbd_peer_option(&f.peer, NBD_OPT_LIST, NULL, 1u << 30);
    nbd_peer_expect_end(&f.peer);

    close(f.peer.fd);
    assert_int_equal(connect_peer(&f, &f.peer), 0);
    nbd_peer_greet(&f.peer, FIXED);
    nbd_peer_option(&f.peer, NBD_OPT_EXPORT_NAME, "none", 4);
    nbd_peer_expect_end(&f.peer);
    stop(&f);
}

static void a_client_that_does_not_choose_is_sent_away(void **state)
{
    const struct nbd_server_options options = {.handshake_timeout_s = 1};
    struct fixture f;
    start(&f, &options, false);
    nbd_peer_greet(&f.peer, FIXED);
    nbd_peer_expect_end(&f.peer);
    stop(&f);
}

/* --------------------------------------------------------------- transmission */

static void write_to(struct fixture *f, uint64_t offset, const void *data, uint32_t len)
{
    nbd_peer_request(&f->peer, NBD_CMD_WRITE, 0, 1, offset, len);
    nbd_peer_write(&f->peer, data, len);
    assert_int_equal(nbd_peer_error(&f->peer, 1), 0);
}

static void what_is_written_is_read_back(void **state)
{
    struct fixture f;
    struct nbd_reply reply;
    char text[12] = "hello, disk", back[12] = "";
    start(&f, NULL, false);
    assert_true(nbd_peer_go(&f.peer, "disk", false) == SIZE);
    write_to(&f, 12345, text, sizeof(text));
    nbd_peer_request(&f.peer, NBD_CMD_READ, 0, 2, 12345, sizeof(back));
    nbd_peer_reply(&f.peer, &reply);
    assert_int_equal(reply.error, 0);
    assert_false(reply.structured);
    nbd_peer_read(&f.peer, back, sizeof(back));
    assert_string_equal(back, text);
    memset(back, 0, sizeof(back));
    assert_int_equal(block_memory_get("nbd", 12345, back, sizeof(back)), 0);
    assert_string_equal(back, text);
    stop(&f);
}

static void structured_reads_send_data_with_its_place_and_zeros_as_a_hole(void **state)
{
    struct fixture f;
    struct nbd_reply reply;
    uint8_t place[12], back[512];
    start(&f, NULL, false);
    nbd_peer_go(&f.peer, "disk", true);
    write_to(&f, 4096, "x", 1);
    nbd_peer_request(&f.peer, NBD_CMD_READ, NBD_CMD_FLAG_DF, 2, 4096, 512);
    nbd_peer_reply(&f.peer, &reply);
    assert_int_equal(reply.type, NBD_REPLY_TYPE_OFFSET_DATA);
    assert_int_equal(reply.flags, NBD_REPLY_FLAG_DONE);
    assert_int_equal(reply.len, 8 + 512);
    nbd_peer_read(&f.peer, place, 8);
    assert_true(nbd_get64(place) == 4096);
    nbd_peer_read(&f.peer, back, sizeof(back));
    assert_int_equal(back[0], 'x');

    nbd_peer_request(&f.peer, NBD_CMD_READ, 0, 3, MIB(8), 1u << 20);
    nbd_peer_reply(&f.peer, &reply);
    assert_int_equal(reply.type, NBD_REPLY_TYPE_OFFSET_HOLE);
    assert_int_equal(reply.len, 12);
    nbd_peer_read(&f.peer, place, 12);
    assert_true(nbd_get64(place) == MIB(8));
    assert_int_equal(nbd_get32(place + 8), 1u << 20);
    stop(&f);
}

static void what_an_export_cannot_do_is_an_error_and_not_an_end(void **state)
{
    struct fixture f;
    start(&f, NULL, false);
    nbd_peer_go(&f.peer, "disk", true);
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_READ, 0, SIZE, 1), NBD_EINVAL);
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_READ, 0, UINT64_MAX, 512), NBD_EINVAL);
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_READ, 0, 0, 33u << 20), NBD_EINVAL);
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_TRIM, 0, SIZE - 1, 2), NBD_ENOSPC);
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_WRITE_ZEROES, 0, SIZE, 1), NBD_ENOSPC);
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_RESIZE, 0, SIZE, 0), NBD_ENOTSUP);
    assert_int_equal(nbd_peer_command(&f.peer, 99, 0, 0, 0), NBD_EINVAL);
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_FLUSH, 0x8000, 0, 0), NBD_EINVAL);
    /* No context was chosen. */
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_BLOCK_STATUS, 0, 0, 512), NBD_EINVAL);
    /* Data of a write that fails is read past. */
    nbd_peer_request(&f.peer, NBD_CMD_WRITE, 0, 9, SIZE, 4);
    nbd_peer_write(&f.peer, "data", 4);
    assert_int_equal(nbd_peer_error(&f.peer, 9), NBD_ENOSPC);
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_READ, 0, 0, 0), 0);
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_CACHE, 0, 0, 3u << 20), 0);
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_FLUSH, NBD_CMD_FLAG_FUA, 0, 0), 0);
    stop(&f);
}

static void the_data_of_a_refused_write_takes_no_memory(void **state)
{
    static uint8_t piece[MIB(1)];
    struct fixture f;
    start(&f, NULL, false);
    nbd_peer_go(&f.peer, "disk", false);
    size_t before = mallinfo2().hblkhd;
    nbd_peer_request(&f.peer, NBD_CMD_WRITE, 0, 9, SIZE, MIB(32));
    for (unsigned i = 0; i < 32; i++) {
        nbd_peer_write(&f.peer, piece, sizeof(piece));
        assert_true(mallinfo2().hblkhd < before + MIB(8));
    }
    assert_int_equal(nbd_peer_error(&f.peer, 9), NBD_ENOSPC);
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_READ, 0, 0, 0), 0);
    stop(&f);
}

static void a_read_only_export_is_never_written(void **state)
{
    struct fixture f;
    char byte = 'z';
    start(&f, NULL, true);
    nbd_peer_go(&f.peer, "disk", false);
    nbd_peer_request(&f.peer, NBD_CMD_WRITE, 0, 5, 0, 1);
    nbd_peer_write(&f.peer, "x", 1);
    assert_int_equal(nbd_peer_error(&f.peer, 5), NBD_EPERM);
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_TRIM, 0, 0, 512), NBD_EPERM);
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_WRITE_ZEROES, 0, 0, 512), NBD_EPERM);
    assert_int_equal(block_memory_get("nbd", 0, &byte, 1), 0);
    assert_int_equal(byte, 0);
    stop(&f);
}

static void zeros_and_trims_reach_the_image(void **state)
{
    struct fixture f;
    static uint8_t data[65536], back[65536];
    memset(data, 7, sizeof(data));
    start(&f, NULL, false);
    nbd_peer_go(&f.peer, "disk", true);
    write_to(&f, 0, data, sizeof(data));
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_WRITE_ZEROES,
                                      NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FUA, 100, 1000),
                     0);
    memset(data + 100, 0, 1000);
    assert_int_equal(block_memory_get("nbd", 0, back, sizeof(back)), 0);
    assert_memory_equal(back, data, sizeof(data));
    assert_int_equal(nbd_peer_command(&f.peer, NBD_CMD_TRIM, NBD_CMD_FLAG_FUA, 0, sizeof(data)), 0);
    uint32_t fast =
        nbd_peer_command(&f.peer, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO, 0, 65536);
    assert_true(fast == 0 || fast == NBD_ENOTSUP);
    stop(&f);
}

/* The chunk of one context; the number of its extents. */
static unsigned read_status(struct fixture *f, uint32_t context, bool last, uint8_t *extents)
{
    struct nbd_reply reply;
    uint8_t id[4];
    nbd_peer_reply(&f->peer, &reply);
    assert_int_equal(reply.type, NBD_REPLY_TYPE_BLOCK_STATUS);
    assert_int_equal(reply.flags, last ? NBD_REPLY_FLAG_DONE : 0);
    nbd_peer_read(&f->peer, id, sizeof(id));
    assert_int_equal(nbd_get32(id), context);
    nbd_peer_read(&f->peer, extents, reply.len - 4);
    return (reply.len - 4) / 8;
}

static void status_tells_holes_and_dirty_ranges(void **state)
{
    static const char *const queries[] = {"base:allocation", "qemu:dirty-bitmap:stripes", NULL};
    struct fixture f;
    struct nbd_option_reply reply;
    static uint8_t extents[8 * 1024];
    uint8_t data[256];
    start(&f, NULL, false);
    assert_int_equal(block_pwrite(f.node, KIB(64), "data", 4, 0), 0);
    nbd_peer_greet(&f.peer, FIXED);
    assert_int_equal(nbd_peer_ask(&f.peer, NBD_OPT_STRUCTURED_REPLY, NULL, 0), NBD_REP_ACK);
    uint32_t len = nbd_peer_meta_data(data, "disk", queries), contexts[2] = {0};
    nbd_peer_option(&f.peer, NBD_OPT_SET_META_CONTEXT, data, len);
    for (unsigned i = 0; i < 2; i++) {
        nbd_peer_option_reply(&f.peer, NBD_OPT_SET_META_CONTEXT, &reply);
        assert_int_equal(reply.type, NBD_REP_META_CONTEXT);
        contexts[i] = nbd_get32(reply.data);
    }
    nbd_peer_option_reply(&f.peer, NBD_OPT_SET_META_CONTEXT, &reply);
    nbd_peer_option(&f.peer, NBD_OPT_GO, data, nbd_peer_info_data(data, "disk"));
    do
        nbd_peer_option_reply(&f.peer, NBD_OPT_GO, &reply);
    while (reply.type == NBD_REP_INFO);

    nbd_peer_request(&f.peer, NBD_CMD_BLOCK_STATUS, 0, 1, 0, (uint32_t)MIB(1));
    unsigned count = read_status(&f, contexts[0], false, extents);
    assert_in_range(count, 2, 3);
    assert_int_equal(nbd_get32(extents), KIB(64));
    assert_int_equal(nbd_get32(extents + 4), NBD_STATE_HOLE | NBD_STATE_ZERO);
    assert_int_equal(nbd_get32(extents + 12), 0);
    assert_int_equal(read_status(&f, contexts[1], true, extents), 16);
    assert_int_equal(nbd_get32(extents + 4), 0);
    assert_int_equal(nbd_get32(extents + 12), NBD_STATE_DIRTY);

    nbd_peer_request(&f.peer, NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 2, 100, 1000000);
    assert_int_equal(read_status(&f, contexts[0], false, extents), 1);
    assert_int_equal(nbd_get32(extents), KIB(64) - 100);
    assert_int_equal(read_status(&f, contexts[1], true, extents), 1);
    stop(&f);
}

static void more_requests_than_fit_are_all_answered(void **state)
{
    enum { COUNT = 400, LENGTH = 4096 };
    struct fixture f;
    struct nbd_reply reply;
    static uint8_t data[LENGTH], back[LENGTH];
    static bool seen[COUNT];
    start(&f, NULL, false);
    nbd_peer_go(&f.peer, "disk", false);
    memset(data, 9, sizeof(data));
    memset(seen, 0, sizeof(seen));
    write_to(&f, 0, data, sizeof(data));
    for (unsigned i = 0; i < COUNT; i++)
        nbd_peer_request(&f.peer, NBD_CMD_READ, 0, i, 0, LENGTH);
    for (unsigned i = 0; i < COUNT; i++) {
        nbd_peer_reply(&f.peer, &reply);
        assert_true(reply.cookie < COUNT && !seen[reply.cookie]);
        seen[reply.cookie] = true;
        nbd_peer_read(&f.peer, back, sizeof(back));
        assert_memory_equal(back, data, sizeof(data));
    }
    /* Large ones wait for memory. */
    for (unsigned i = 0; i < 5; i++)
        nbd_peer_request(&f.peer, NBD_CMD_CACHE, 0, i, 0, (uint32_t)SIZE);
    for (unsigned i = 0; i < 5; i++)
        nbd_peer_reply(&f.peer, &reply);
    nbd_peer_request(&f.peer, NBD_CMD_DISC, 0, 0, 0, 0);
    nbd_peer_expect_end(&f.peer);
    stop(&f);
}

static void broken_frames_end_one_connection_only(void **state)
{
    struct fixture f;
    struct nbd_peer other;
    uint8_t junk[NBD_REQUEST_SIZE];
    memset(junk, 0x5a, sizeof(junk));
    start(&f, NULL, false);
    assert_int_equal(connect_peer(&f, &other), 0);
    nbd_peer_go(&other, "disk", false);

    nbd_peer_go(&f.peer, "disk", false);
    nbd_peer_write(&f.peer, junk, sizeof(junk));
    nbd_peer_expect_end(&f.peer);
    close(f.peer.fd);

    assert_int_equal(connect_peer(&f, &f.peer), 0);
    nbd_peer_go(&f.peer, "disk", false);
    nbd_peer_request(&f.peer, NBD_CMD_WRITE, 0, 1, 0, 33u << 20);
    nbd_peer_expect_end(&f.peer);
    close(f.peer.fd);

    /* Half a write, then gone. */
    assert_int_equal(connect_peer(&f, &f.peer), 0);
    nbd_peer_go(&f.peer, "disk", false);
    nbd_peer_request(&f.peer, NBD_CMD_WRITE, 0, 1, 0, 4096);
    nbd_peer_write(&f.peer, junk, sizeof(junk));
    shutdown(f.peer.fd, SHUT_WR);
    nbd_peer_expect_end(&f.peer);

    assert_int_equal(nbd_peer_command(&other, NBD_CMD_FLUSH, 0, 0, 0), 0);
    close(other.fd);
    stop(&f);
}

/* ----------------------------------------------------------------- the server */

static void clients_beyond_the_limit_wait(void **state)
{
    const struct nbd_server_options options = {.max_connections = 1};
    struct fixture f;
    char path[] = "/tmp/kv-nbd-test.XXXXXX", socket_path[64];
    struct nbd_peer second = {0};
    struct timeval patience = {.tv_usec = 200000};
    char byte;
    assert_non_null(mkdtemp(path));
    snprintf(socket_path, sizeof(socket_path), "%s/socket", path);
    start(&f, &options, false);
    assert_int_equal(nbd_server_listen_unix(f.server, socket_path, NULL), 0);
    assert_int_equal(connect_peer(&f, &second), -EBUSY);
    close(second.fd);

    second.fd = fd_connect_unix(socket_path);
    assert_true(second.fd >= 0);
    fd_set_nonblocking(second.fd, false);
    setsockopt(second.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(recv(second.fd, &byte, 1, MSG_PEEK), -1);
    close(f.peer.fd);
    patience.tv_sec = 20;
    setsockopt(second.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_true(nbd_peer_go(&second, "disk", true) == SIZE);
    f.peer.fd = second.fd;
    stop(&f);
    assert_int_not_equal(access(socket_path, F_OK), 0);
    rmdir(path);
}

static void a_removed_export_takes_its_clients_along(void **state)
{
    struct fixture f;
    struct nbd_peer other;
    uint8_t data[64];
    start(&f, NULL, false);
    nbd_peer_go(&f.peer, "disk", true);
    assert_int_equal(connect_peer(&f, &other), 0);
    nbd_peer_greet(&other, FIXED);
    assert_int_equal(nbd_server_remove_export(f.server, "disk", NULL), 0);
    nbd_peer_expect_end(&f.peer);
    assert_int_equal(nbd_server_remove_export(f.server, "disk", NULL), -ENOENT);
    assert_int_equal(nbd_peer_ask(&other, NBD_OPT_GO, data, nbd_peer_info_data(data, "disk")),
                     NBD_REP_ERR_UNKNOWN);
    close(other.fd);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_export_is_chosen_the_old_way),
        cmocka_unit_test(an_unknown_export_is_refused_and_another_may_be_tried),
        cmocka_unit_test(the_list_names_each_export),
        cmocka_unit_test(contexts_are_listed_by_group_and_chosen_by_name),
        cmocka_unit_test(malformed_options_are_refused),
        cmocka_unit_test(broken_handshakes_end_the_connection),
        cmocka_unit_test(a_client_that_does_not_choose_is_sent_away),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(structured_reads_send_data_with_its_place_and_zeros_as_a_hole),
        cmocka_unit_test(what_an_export_cannot_do_is_an_error_and_not_an_end),
        cmocka_unit_test(the_data_of_a_refused_write_takes_no_memory),
        cmocka_unit_test(a_read_only_export_is_never_written),
        cmocka_unit_test(zeros_and_trims_reach_the_image),
        cmocka_unit_test(status_tells_holes_and_dirty_ranges),
        cmocka_unit_test(more_requests_than_fit_are_all_answered),
        cmocka_unit_test(broken_frames_end_one_connection_only),
        cmocka_unit_test(clients_beyond_the_limit_wait),
        cmocka_unit_test(a_removed_export_takes_its_clients_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
