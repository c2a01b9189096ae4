/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a client of the NBD server. The input is a list of what the
 * client does: options and requests with right frames and any content, and
 * plain bytes. All of it is sent, then the sending direction is closed, and
 * the target reads until the server has closed its side too, which it has to.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "block/memory.h"
#include "block/nbd_protocol.h"
#include "block/nbd_server.h"
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

/* Sends the stream and reads whatever comes until the server has closed. */
static void converse(int fd)
{
    static uint8_t ignored[KIB(64)];
    size_t sent = 0;
    for (;;) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN | (sent < length ? POLLOUT : 0)};
        if (poll(&pfd, 1, PATIENCE_MS) == 0)
            abort();
        if (pfd.revents & POLLOUT) {
            ssize_t n = send(fd, stream + sent, length - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            sent = n < 0 && errno != EAGAIN ? length : sent + (size_t)MAX(n, 0);
            if (sent == length)
                shutdown(fd, SHUT_WR);
        }
        if (pfd.revents & (POLLIN | POLLHUP)) {
            ssize_t n = recv(fd, ignored, sizeof(ignored), MSG_DONTWAIT);
            if (n == 0 || (n < 0 && errno != EAGAIN))
                return;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    int ends[2];
    if (!server)
        build();
    length = 0;
    put_number(take(&in, 1) & 0x83, 4);
    while (in.left && length + ROOM < STREAM_MAX)
        acts[take(&in, 1) % ARRAY_SIZE(acts)](&in);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        abort();
    if (nbd_server_add_client(server, ends[1], NULL) == 0)
        converse(ends[0]);
    close(ends[0]);
    /* The next input begins with a server that is at rest. */
    while (nbd_server_clients(server))
        usleep(10);
    return 0;
}
