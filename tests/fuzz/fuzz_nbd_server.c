/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a client of the NBD server. The input is a list of what the
 * client does: options and requests with right frames and any content, and
 * plain bytes. All of it is sent, then the sending direction is closed, and
 * what the server says is read until it has come to an end, which it has to.
 *
 * A few inputs are given to the server as a whole, which starts a thread for
 * them. For most the connection's part of the server runs right here: that is
 * ten times as fast.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "block/memory.h"
#include "block/nbd_protocol.h"
#include "block/nbd_server_internal.h"
#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DISK_SIZE MIB(1)
#define STREAM_MAX KIB(512)
#define ROOM (KIB(80)) /* that one act may take */
#define PATIENCE_MS 20000

static struct nbd_server *server;
static uint8_t stream[STREAM_MAX];
static size_t length;

static void put(const void *bytes, size_t len)
{
    memcpy(stream + length, bytes, len);
    length += len;
}

static void put_number(uint64_t value, unsigned bytes)
{
    while (bytes--)
        stream[length++] = (uint8_t)(value >> 8 * bytes);
}

/* Bytes of the input, at most len; how many. */
static size_t put_input(struct input *in, size_t len)
{
    len = MIN(len, in->left);
    put(in->data, len);
    in->data += len;
    in->left -= len;
    return len;
}

static void option_head(uint32_t option, uint32_t len)
{
    put_number(NBD_OPTION_MAGIC, 8);
    put_number(option, 4);
    put_number(len, 4);
}

static void any_option(struct input *in)
{
    uint32_t option = (uint32_t)take(in, 1), len = (uint32_t)take(in, 2);
    option_head(option, len);
    put_input(in, len);
}

/* INFO or GO for the export, asking for any information. */
static void info_option(struct input *in)
{
    uint32_t option = take(in, 1) & 1 ? NBD_OPT_GO : NBD_OPT_INFO;
    uint32_t count = (uint32_t)take(in, 1) & 7;
    option_head(option, 4 + 4 + 2 + 2 * count);
    put_number(4, 4);
    put("disk", 4);
    put_number(count, 2);
    while (count--)
        put_number(take(in, 1) & 7, 2);
}

static void meta_option(struct input *in)
{
    static const char *const queries[] = {
        "base:allocation",
        "qemu:dirty-bitmap:stripes",
        "qemu:allocation-depth",
        "base:",
        "qemu:",
        "qemu:dirty-bitmap:",
        "",
        "other:",
    };
    uint32_t option = take(in, 1) & 1 ? NBD_OPT_SET_META_CONTEXT : NBD_OPT_LIST_META_CONTEXT;
    uint32_t count = (uint32_t)take(in, 1) & 3, len = 4 + 4 + 4;
    unsigned chosen[4];
    for (unsigned i = 0; i < count; i++) {
        chosen[i] = take(in, 1) & 7;
        len += 4 + (uint32_t)strlen(queries[chosen[i]]);
    }
    option_head(option, len);
    put_number(4, 4);
    put("disk", 4);
    put_number(count, 4);
    for (unsigned i = 0; i < count; i++) {
        put_number(strlen(queries[chosen[i]]), 4);
        put(queries[chosen[i]], strlen(queries[chosen[i]]));
    }
}

static void structured_option(struct input *in)
{
    option_head(NBD_OPT_STRUCTURED_REPLY, 0);
}

static void any_request(struct input *in)
{
    uint16_t flags = (uint16_t)take(in, 1), type = (uint16_t)take(in, 1) % 10;
    uint8_t far = (uint8_t)take(in, 1);
    uint64_t offset = take(in, far & 1 ? 8 : 3) & (far & 1 ? UINT64_MAX : DISK_SIZE - 1);
    uint32_t len = (uint32_t)take(in, far & 2 ? 4 : 2);
    put_number(NBD_REQUEST_MAGIC, 4);
    put_number(flags, 2);
    put_number(type, 2);
    put_number(in->left, 8);
    put_number(offset, 8);
    put_number(len, 4);
    if (type != NBD_CMD_WRITE || far & 4)
        return;
    /* Data of a write, made up beyond what the input has. */
    size_t data = MIN(len, KIB(64));
    size_t given = put_input(in, MIN(data, 64));
    memset(stream + length, far, data - given);
    length += data - given;
}

static void plain_bytes(struct input *in)
{
    put_input(in, take(in, 1));
}

static void (*const acts[])(struct input *in) = {
    any_option, info_option, meta_option, structured_option, any_request, any_request, plain_bytes,
};

static int stripes(void *opaque, uint64_t offset, uint64_t len, bool *dirty, uint64_t *run)
{
    *dirty = offset >> 12 & 1;
    *run = MIN(len, 4096 - (offset & 4095));
    return 0;
}

static void build(void)
{
    static const struct nbd_bitmap bitmap = {.name = "stripes", .query = stripes};
    const struct nbd_server_options options = {.max_connections = 4};
    const struct block_open_options open = {
        .path = "memory:fuzz", .format = "raw", .discard = true};
    struct nbd_export_options export = {
        .name = "disk", .allocation_depth = true, .bitmaps = &bitmap, .bitmap_count = 1};
    log_level = LOG_ERROR;
    if (block_memory_put("fuzz", NULL, DISK_SIZE) < 0 ||
        block_open(&export.node, &open, NULL) < 0 ||
        nbd_server_create(&server, &options, NULL) < 0 ||
        nbd_server_add_export(server, &export, NULL) < 0)
        abort();
}

/* ---------------------------------------------------------- the client's socket */

/* Under the lock: the thread that reads takes turns with the one that runs inputs. */
static struct {
    pthread_mutex_t lock;
    int fd;      /* -1: none */
    size_t sent; /* of the stream */
} client = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

/* As much as goes at once. False: the server has closed its side. */
static bool exchange(int fd)
{
    static uint8_t ignored[KIB(256)];
    if (client.sent < length) {
        ssize_t n =
            send(fd, stream + client.sent, length - client.sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        client.sent = n < 0 && errno != EAGAIN ? length : client.sent + (size_t)MAX(n, 0);
        if (client.sent == length)
            shutdown(fd, SHUT_WR);
    }
    ssize_t n;
    do {
        n = recv(fd, ignored, sizeof(ignored), MSG_DONTWAIT);
    } while (n > 0);
    return n < 0 && errno == EAGAIN;
}

/* Not often are replies more than the socket takes without a reader. */
static void *keep_reading(void *opaque)
{
    for (;;) {
        usleep(1000);
        pthread_mutex_lock(&client.lock);
        if (client.fd >= 0)
            exchange(client.fd);
        pthread_mutex_unlock(&client.lock);
    }
    return NULL;
}

static void set_client(int fd)
{
    pthread_mutex_lock(&client.lock);
    client.fd = fd;
    client.sent = 0;
    if (fd >= 0)
        exchange(fd);
    pthread_mutex_unlock(&client.lock);
}

/* ------------------------------------------------------------------- the server */

/* What the server does on a connection's thread, but for the thread. */
static void serve_here(int fd)
{
    struct nbd_connection *conn = calloc(1, sizeof(*conn));
    struct kv_error err = {0};
    if (!conn)
        abort();
    conn->server = server;
    nbd_channel_init(&conn->channel, fd, clock_monotonic_ns() + PATIENCE_MS * INT64_C(1000000));
    if (nbd_handshake(conn, &err) == 0 && conn->export)
        nbd_transmission(conn, &err);
    nbd_export_leave(conn);
    nbd_channel_close(&conn->channel);
    free(conn);
}

/* The next input begins with a server that is at rest. */
static void serve_there(int fd, int peer)
{
    if (nbd_server_add_client(server, fd, NULL) < 0)
        abort();
    for (bool open = true; open;) {
        struct pollfd pfd = {.fd = peer, .events = POLLIN};
        if (poll(&pfd, 1, PATIENCE_MS) == 0)
            abort();
        pthread_mutex_lock(&client.lock);
        open = exchange(peer);
        pthread_mutex_unlock(&client.lock);
    }
    while (nbd_server_clients(server))
        usleep(10);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    const int room = MIB(8);
    int ends[2];
    if (!server) {
        pthread_t reader;
        build();
        if (pthread_create(&reader, NULL, keep_reading, NULL) != 0)
            abort();
    }
    length = 0;
    uint8_t flags = (uint8_t)take(&in, 1);
    put_number(flags & 0x83, 4);
    while (in.left && length + ROOM < STREAM_MAX)
        acts[take(&in, 1) % ARRAY_SIZE(acts)](&in);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        abort();
    for (int i = 0; i < 2; i++) { /* beyond the limit only for root */
        if (setsockopt(ends[i], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
            setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    }
    set_client(ends[0]);
    if ((flags & 0x7c) == 0x7c)
        serve_there(ends[1], ends[0]);
    else
        serve_here(ends[1]);
    set_client(-1);
    close(ends[0]);
    return 0;
}
