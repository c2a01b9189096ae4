/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Replies that a handler writes by itself, for procedures whose replies are long: the values go
 * straight into the packet in XDR (RFC 4506), in the order of the procedure's results, instead of
 * through structs that are allocated, encoded and freed.
 *
 * Memory that is short, and a reply longer than the protocol allows, are remembered and told to
 * the client in the reply's place, so that writing needs no checks. The room belongs to the thread:
 * a handler writes one reply at a time and emits no events meanwhile.
 */
#ifndef KV_RPC_REPLY_H
#define KV_RPC_REPLY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "rpc/packet.h"

struct rpc_call;

struct rpc_reply {
    uint8_t *bytes;
    size_t len, size;
    int failed; /* -errno */
};

/* The reply of the call, empty; what the handler leaves in ret is not sent then. Descriptors are
 * given before. */
struct rpc_reply *rpc_call_reply(struct rpc_call *call);

/* Room for len more bytes, which the caller fills; NULL when there is none. */
uint8_t *reply_grow(struct rpc_reply *reply, size_t len);

static inline uint8_t *reply_room(struct rpc_reply *reply, size_t len)
{
    if (reply->size - reply->len < len)
        return reply_grow(reply, len);
    uint8_t *at = reply->bytes + reply->len;
    reply->len += len;
    return at;
}

static inline void reply_u32(struct rpc_reply *reply, uint32_t value)
{
    uint8_t *at = reply_room(reply, 4);
    if (at)
        packet_put_u32(at, value);
}

/* A string<>. */
void reply_text(struct rpc_reply *reply, const char *text, size_t len);

/* A number that is known later: reply_u32_at() puts it into the place. */
static inline size_t reply_place(struct rpc_reply *reply)
{
    size_t place = reply->len;
    reply_u32(reply, 0);
    return place;
}
void reply_u32_at(struct rpc_reply *reply, size_t place, uint32_t value);

/* A wire_domain. */
void reply_domain(struct rpc_reply *reply, const char *name, const uint8_t uuid[16], int id);

/* Typed parameters, wire_param<>: begun, added one by one, ended. */
struct reply_params {
    struct rpc_reply *reply;
    size_t place;
    unsigned n;
};
void reply_params_begin(struct reply_params *params, struct rpc_reply *reply);
void reply_param_int(struct reply_params *params, const char *name, int value);
void reply_param_uint(struct reply_params *params, const char *name, unsigned value);
void reply_param_ullong(struct reply_params *params, const char *name, uint64_t value);
void reply_param_text(struct reply_params *params, const char *name, const char *value);
void reply_params_end(struct reply_params *params);

#endif
