/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See nbd_peer.h. */
#include "nbd_peer.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "unit.h"

void nbd_peer_write(struct nbd_peer *peer, const void *data, size_t len)
{
    assert_int_equal(fd_write_all(peer->fd, data, len), 0);
}

void nbd_peer_read(struct nbd_peer *peer, void *data, size_t len)
{
    assert_int_equal(fd_read_all(peer->fd, data, len), 0);
}

void nbd_peer_expect_end(struct nbd_peer *peer)
{
    char byte;
    assert_true(recv(peer->fd, &byte, 1, 0) <= 0);
}

void nbd_peer_greet(struct nbd_peer *peer, uint32_t flags)
{
    uint8_t greeting[NBD_GREETING_SIZE], answer[4];
    nbd_peer_read(peer, greeting, sizeof(greeting));
    assert_true(nbd_get64(greeting) == NBD_MAGIC);
    assert_true(nbd_get64(greeting + 8) == NBD_OPTION_MAGIC);
    assert_int_equal(nbd_get16(greeting + 16), NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    nbd_put32(answer, flags);
    nbd_peer_write(peer, answer, sizeof(answer));
}

void nbd_peer_option(struct nbd_peer *peer, uint32_t option, const void *data, uint32_t len)
{
    uint8_t head[NBD_OPTION_SIZE];
    nbd_put64(head, NBD_OPTION_MAGIC);
    nbd_put32(head + 8, option);
    nbd_put32(head + 12, len);
    nbd_peer_write(peer, head, sizeof(head));
    if (data)
        nbd_peer_write(peer, data, len);
}

void nbd_peer_option_reply(struct nbd_peer *peer, uint32_t option, struct nbd_option_reply *reply)
{
    uint8_t head[NBD_OPTION_REPLY_SIZE];
    nbd_peer_read(peer, head, sizeof(head));
    assert_true(nbd_get64(head) == NBD_OPTION_REPLY_MAGIC);
    assert_int_equal(nbd_get32(head + 8), option);
    reply->type = nbd_get32(head + 12);
    reply->len = nbd_get32(head + 16);
    assert_in_range(reply->len, 0, sizeof(reply->data));
    nbd_peer_read(peer, reply->data, reply->len);
}

uint32_t nbd_peer_ask(struct nbd_peer *peer, uint32_t option, const void *data, uint32_t len)
{
    struct nbd_option_reply reply;
    nbd_peer_option(peer, option, data, len);
    nbd_peer_option_reply(peer, option, &reply);
    return reply.type;
}

uint32_t nbd_peer_info_data(uint8_t *data, const char *name)
{
    uint32_t len = (uint32_t)strlen(name);
    nbd_put32(data, len);
    memcpy(data + 4, name, len);
    nbd_put16(data + 4 + len, 0);
    return 6 + len;
}

uint32_t nbd_peer_meta_data(uint8_t *data, const char *name, const char *const *queries)
{
    uint32_t at = 4 + (uint32_t)strlen(name), count = 0;
    nbd_put32(data, at - 4);
    memcpy(data + 4, name, at - 4);
    uint8_t *number = data + at;
    at += 4;
    for (; queries[count]; count++) {
        uint32_t len = (uint32_t)strlen(queries[count]);
        nbd_put32(data + at, len);
        memcpy(data + at + 4, queries[count], len);
        at += 4 + len;
    }
    nbd_put32(number, count);
    return at;
}

uint64_t nbd_peer_go(struct nbd_peer *peer, const char *name, bool structured)
{
    struct nbd_option_reply reply;
    uint8_t data[256];
    uint64_t size = 0;
    nbd_peer_greet(peer, NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES);
    if (structured)
        assert_int_equal(nbd_peer_ask(peer, NBD_OPT_STRUCTURED_REPLY, NULL, 0), NBD_REP_ACK);
    peer->structured = structured;
    nbd_peer_option(peer, NBD_OPT_GO, data, nbd_peer_info_data(data, name));
    do {
        nbd_peer_option_reply(peer, NBD_OPT_GO, &reply);
        assert_true(reply.type == NBD_REP_INFO || reply.type == NBD_REP_ACK);
        if (reply.type == NBD_REP_INFO && nbd_get16(reply.data) == NBD_INFO_EXPORT)
            size = nbd_get64(reply.data + 2);
    } while (reply.type != NBD_REP_ACK);
    return size;
}

void nbd_peer_request(struct nbd_peer *peer, uint16_t type, uint16_t flags, uint64_t cookie,
                      uint64_t offset, uint32_t len)
{
    uint8_t head[NBD_REQUEST_SIZE];
    nbd_put32(head, NBD_REQUEST_MAGIC);
    nbd_put16(head + 4, flags);
    nbd_put16(head + 6, type);
    nbd_put64(head + 8, cookie);
    nbd_put64(head + 16, offset);
    nbd_put32(head + 24, len);
    nbd_peer_write(peer, head, sizeof(head));
}

void nbd_peer_reply(struct nbd_peer *peer, struct nbd_reply *reply)
{
    uint8_t head[NBD_CHUNK_SIZE];
    *reply = (struct nbd_reply){0};
    nbd_peer_read(peer, head, NBD_SIMPLE_REPLY_SIZE);
    reply->structured = nbd_get32(head) == NBD_STRUCTURED_REPLY_MAGIC;
    reply->cookie = nbd_get64(head + 8);
    if (!reply->structured) {
        assert_true(nbd_get32(head) == NBD_SIMPLE_REPLY_MAGIC);
        reply->error = nbd_get32(head + 4);
        return;
    }
    nbd_peer_read(peer, head + NBD_SIMPLE_REPLY_SIZE, NBD_CHUNK_SIZE - NBD_SIMPLE_REPLY_SIZE);
    reply->flags = nbd_get16(head + 4);
    reply->type = nbd_get16(head + 6);
    reply->len = nbd_get32(head + 16);
}

uint32_t nbd_peer_error(struct nbd_peer *peer, uint64_t cookie)
{
    struct nbd_reply reply;
    uint8_t error[6];
    nbd_peer_reply(peer, &reply);
    assert_true(reply.cookie == cookie);
    if (!reply.structured)
        return reply.error;
    assert_true(reply.flags & NBD_REPLY_FLAG_DONE);
    if (reply.type == NBD_REPLY_TYPE_NONE)
        return 0;
    assert_int_equal(reply.type, NBD_REPLY_TYPE_ERROR);
    assert_int_equal(reply.len, sizeof(error));
    nbd_peer_read(peer, error, sizeof(error));
    return nbd_get32(error);
}

uint32_t nbd_peer_command(struct nbd_peer *peer, uint16_t type, uint16_t flags, uint64_t offset,
                          uint32_t len)
{
    static uint64_t cookie = 1000;
    nbd_peer_request(peer, type, flags, ++cookie, offset, len);
    return nbd_peer_error(peer, cookie);
}
