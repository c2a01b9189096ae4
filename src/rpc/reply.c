/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A thread's room for replies, and writing into it; see reply.h. */
#include "rpc/reply.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/util.h"
#include "rpc/internal.h"

#define USUAL (64u << 10) /* of a thread's room */
#define KEPT (512u << 10) /* a larger one is given back */

static _Thread_local struct rpc_reply room;

static pthread_key_t room_key;
static pthread_once_t room_once = PTHREAD_ONCE_INIT;

/* On the thread that ends. */
static void free_room(void *unused)
{
    free(room.bytes);
}

static void make_room_key(void)
{
    pthread_key_create(&room_key, free_room);
}

/* What is written stays. */
static int resize(size_t size)
{
    pthread_once(&room_once, make_room_key);
    pthread_setspecific(room_key, &room);
    uint8_t *bytes = realloc(room.bytes, size);
    if (!bytes)
        return -ENOMEM;
    room.bytes = bytes;
    room.size = size;
    return 0;
}

uint8_t *reply_bytes_written(void)
{
    return room.bytes;
}

void reply_sent(void)
{
    if (room.size <= KEPT)
        return;
    free(room.bytes);
    room = (struct rpc_reply){.bytes = NULL};
}

ssize_t reply_encode(xdrproc_t code, void *value, size_t before)
{
    size_t size = MAX(room.size, (size_t)USUAL);
    for (int attempt = 0; attempt < 2; attempt++) {
        XDR xdr;
        int r = size > room.size ? resize(size) : 0;
        if (r < 0)
            return r;
        xdrmem_create(&xdr, (char *)room.bytes + before, (u_int)(room.size - before), XDR_ENCODE);
        bool fits = code(&xdr, value);
        size_t len = xdr_getpos(&xdr);
        xdr_destroy(&xdr);
        if (fits)
            return (ssize_t)len;
        size = before + xdr_sizeof(code, value);
        if (size <= room.size || size > PACKET_MAX)
            break;
    }
    return -EMSGSIZE;
}

/* ------------------------------------------------------- what handlers write */

struct rpc_reply *rpc_call_reply(struct rpc_call *call)
{
    room.failed = 0;
    room.len = 0;
    call->reply = &room;
    reply_room(&room, PACKET_HEAD + (call->n_out_fds ? 4 : 0));
    return &room;
}

uint8_t *reply_grow(struct rpc_reply *reply, size_t len)
{
    size_t size = MAX(MAX(reply->size * 2, reply->len + len), (size_t)USUAL);
    if (len > PACKET_MAX || reply->len > PACKET_MAX - len)
        reply->failed = -EMSGSIZE;
    else if (!reply->failed)
        reply->failed = resize(size);
    if (reply->failed)
        return NULL;
    uint8_t *at = reply->bytes + reply->len;
    reply->len += len;
    return at;
}

void reply_u32_at(struct rpc_reply *reply, size_t place, uint32_t value)
{
    if (!reply->failed)
        packet_put_u32(reply->bytes + place, value);
}

/* Bytes of a string<> of that length, and as many as put_text() may touch. */
static size_t text_size(size_t len)
{
    return 4 + ((len + 3) & ~(size_t)3);
}

static uint8_t *put_text(uint8_t *at, const char *text, size_t len)
{
    packet_put_u32(at, (uint32_t)len);
    if (len & 3)
        memset(at + 4 + (len & ~(size_t)3), 0, 4);
    memcpy(at + 4, text, len);
    return at + text_size(len);
}

static void put_u64(uint8_t *at, uint64_t value)
{
    packet_put_u32(at, (uint32_t)(value >> 32));
    packet_put_u32(at + 4, (uint32_t)value);
}

void reply_text(struct rpc_reply *reply, const char *text, size_t len)
{
    uint8_t *at = reply_room(reply, text_size(len));
    if (at)
        put_text(at, text, len);
}

void reply_domain(struct rpc_reply *reply, const char *name, const uint8_t uuid[16], int id)
{
    size_t len = strlen(name);
    uint8_t *at = reply_room(reply, text_size(len) + 16 + 4);
    if (!at)
        return;
    at = put_text(at, name, len);
    memcpy(at, uuid, 16);
    packet_put_u32(at + 16, (uint32_t)id);
}

void reply_params_begin(struct reply_params *params, struct rpc_reply *reply)
{
    *params = (struct reply_params){.reply = reply, .place = reply_place(reply)};
}

void reply_params_end(struct reply_params *params)
{
    reply_u32_at(params->reply, params->place, params->n);
}

/* A parameter up to its value, for which there is room behind it. */
static uint8_t *put_param(struct reply_params *params, const char *name, int type, size_t size)
{
    size_t len = strlen(name);
    uint8_t *at = reply_room(params->reply, text_size(len) + 4 + size);
    if (!at)
        return NULL;
    at = put_text(at, name, len);
    packet_put_u32(at, (uint32_t)type);
    params->n++;
    return at + 4;
}

void reply_param_int(struct reply_params *params, const char *name, int value)
{
    uint8_t *at = put_param(params, name, VIR_TYPED_PARAM_INT, 4);
    if (at)
        packet_put_u32(at, (uint32_t)value);
}

void reply_param_uint(struct reply_params *params, const char *name, unsigned value)
{
    uint8_t *at = put_param(params, name, VIR_TYPED_PARAM_UINT, 4);
    if (at)
        packet_put_u32(at, value);
}

void reply_param_ullong(struct reply_params *params, const char *name, uint64_t value)
{
    uint8_t *at = put_param(params, name, VIR_TYPED_PARAM_ULLONG, 8);
    if (at)
        put_u64(at, value);
}

void reply_param_text(struct reply_params *params, const char *name, const char *value)
{
    size_t len = strlen(value);
    uint8_t *at = put_param(params, name, VIR_TYPED_PARAM_STRING, text_size(len));
    if (at)
        put_text(at, value, len);
}
