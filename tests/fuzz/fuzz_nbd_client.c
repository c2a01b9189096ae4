/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a server to the NBD client. Everything the server is going to
 * say lies in a socket before the client opens it: a handshake whose sizes,
 * flags and limits are the input's, then replies whose cookies are those that
 * the client's requests will have, with any content, or plain bytes. Then it
 * closes. The client reads, writes and asks for status meanwhile.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "block/block.h"
#include "block/nbd_protocol.h"
#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STREAM_MAX KIB(96) /* what a socket takes without a reader */
#define ROOM KIB(9)        /* that one reply may take */
#define LARGEST KIB(8)     /* of one request */

static uint8_t stream[STREAM_MAX];
static size_t length;

static void put(uint64_t value, unsigned bytes)
{
    while (bytes--)
        stream[length++] = (uint8_t)(value >> 8 * bytes);
}

static void put_bytes(const void *bytes, size_t len)
{
    memcpy(stream + length, bytes, len);
    length += len;
}

static void option_reply(uint32_t option, uint32_t type, uint32_t len)
{
    put(NBD_OPTION_REPLY_MAGIC, 8);
    put(option, 4);
    put(type, 4);
    put(len, 4);
}

/* In the order in which libnbd asks. */
static void handshake(struct input *in)
{
    uint8_t how = (uint8_t)take(in, 1);
    put(NBD_MAGIC, 8);
    put(NBD_OPTION_MAGIC, 8);
    put(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES, 2);
    option_reply(NBD_OPT_STRUCTURED_REPLY, how & 1 ? NBD_REP_ERR_UNSUP : NBD_REP_ACK, 0);
    if (!(how & 1)) {
        option_reply(NBD_OPT_SET_META_CONTEXT, NBD_REP_META_CONTEXT, 4 + 15);
        put(7, 4);
        put_bytes("base:allocation", 15);
        option_reply(NBD_OPT_SET_META_CONTEXT, NBD_REP_ACK, 0);
    }
    option_reply(NBD_OPT_GO, NBD_REP_INFO, 12);
    put(NBD_INFO_EXPORT, 2);
    put(how & 2 ? take(in, 8) : MIB(1) + (how >> 4), 8);
    put(take(in, 2) | NBD_FLAG_HAS_FLAGS, 2);
    if (how & 4) {
        option_reply(NBD_OPT_GO, NBD_REP_INFO, 14);
        put(NBD_INFO_BLOCK_SIZE, 2);
        put(how & 8 ? take(in, 4) : 1u << (how >> 4), 4);
        put(how & 8 ? take(in, 4) : 4096, 4);
        put(how & 8 ? take(in, 4) : 65536, 4);
    }
    option_reply(NBD_OPT_GO, NBD_REP_ACK, 0);
}

/* A chunk of a structured reply; the same cookie comes again until a chunk is the last. */
static void chunk(struct input *in, uint64_t *cookie)
{
    static const uint16_t types[] = {
        NBD_REPLY_TYPE_NONE,
        NBD_REPLY_TYPE_OFFSET_DATA,
        NBD_REPLY_TYPE_OFFSET_HOLE,
        NBD_REPLY_TYPE_BLOCK_STATUS,
        NBD_REPLY_TYPE_ERROR,
        0x8002,
        0x7777,
        NBD_REPLY_TYPE_BLOCK_STATUS,
    };
    uint8_t how = (uint8_t)take(in, 1);
    uint16_t type = types[how & 7];
    uint32_t data = (uint32_t)take(in, 1);
    put(NBD_STRUCTURED_REPLY_MAGIC, 4);
    put(how >> 3 & 1, 2);
    put(type, 2);
    put(*cookie, 8);
    *cookie += how >> 3 & 1;
    if (type == NBD_REPLY_TYPE_OFFSET_DATA) {
        data = how & 16 ? 512 : data;
        put(8 + data, 4);
        put(how & 32 ? take(in, 8) : 0, 8);
    } else if (type == NBD_REPLY_TYPE_OFFSET_HOLE) {
        put(12, 4);
        put(how & 32 ? take(in, 8) : 0, 8);
        put(how & 16 ? take(in, 4) : 512, 4);
        data = 0;
    } else if (type == NBD_REPLY_TYPE_BLOCK_STATUS) {
        data = (data & 15) * 8;
        put(4 + data, 4);
        put(how & 32 ? take(in, 4) : 7, 4);
    } else {
        data = how & 16 ? 0 : data;
        put(data, 4);
    }
    for (uint32_t i = 0; i < data; i++)
        put(take(in, 1), 1);
}

static void simple_reply(struct input *in, uint64_t *cookie)
{
    put(NBD_SIMPLE_REPLY_MAGIC, 4);
    put(take(in, 1) & 31, 4);
    put((*cookie)++, 8);
}

static void build_stream(struct input *in)
{
    uint64_t cookie = 1;
    length = 0;
    handshake(in);
    while (in->left && length + ROOM < STREAM_MAX) {
        uint8_t kind = (uint8_t)take(in, 1);
        if (kind < 160)
            chunk(in, &cookie);
        else if (kind < 250)
            simple_reply(in, &cookie);
        else
            put(take(in, 8), 8);
    }
}

static void use(struct block_node *node, uint64_t choices)
{
    static uint8_t buffer[LARGEST];
    struct block_extent extent;
    uint64_t size = block_get_info(node)->size;
    for (unsigned i = 0; i < 16 && size > LARGEST; i++, choices = choices >> 4 | choices << 60) {
        uint64_t offset = choices >> 20 & 1 ? choices % (size - LARGEST) : 0;
        uint64_t len = choices >> 21 & 1 ? 1 + choices % LARGEST : 512;
        switch (choices & 7) {
        case 0:
        case 1:
            block_pread(node, offset, buffer, len);
            break;
        case 2:
            block_pwrite(node, offset, buffer, len, choices & 8 ? BLOCK_FUA : 0);
            break;
        case 3:
            block_write_zeroes(node, offset, len, choices & 8 ? BLOCK_UNMAP : BLOCK_NO_FALLBACK);
            break;
        case 4:
            block_discard(node, offset, size - offset > GIB(4) ? GIB(4) : size - offset);
            break;
        case 5:
            block_flush(node);
            break;
        default:
            if (block_status(node, offset, size - offset, &extent) == 0 &&
                (extent.len == 0 || extent.len > size - offset))
                abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct block_node *node;
    char text[128];
    int ends[2];
    uint64_t choices = take(&in, 8);
    log_level = LOG_ERROR;
    build_stream(&in);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 ||
        send(ends[0], stream, length, MSG_DONTWAIT) != (ssize_t)length)
        abort();
    shutdown(ends[0], SHUT_WR);
    snprintf(text, sizeof(text),
             "json:{\"driver\": \"nbd\", \"server\": {\"type\": \"fd\", \"str\": \"%d\"}}",
             ends[1]);
    const struct block_open_options options = {.path = text, .discard = true};
    if (block_open(&node, &options, NULL) == 0) {
        use(node, choices);
        block_close(node);
    }
    close(ends[0]);
    return 0;
}
