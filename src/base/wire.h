/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes messages of network protocols: big-endian numbers one behind the other into a buffer of a
 * fixed size. What does not fit is left out and remembered, so that a message is checked once, when
 * it is complete.
 */
#ifndef KV_BASE_WIRE_H
#define KV_BASE_WIRE_H

#include <stdbool.h>

#include "base/util.h"

struct wire {
    uint8_t *data;
    size_t len, room;
    bool overflow;
};

/* The next len bytes, or NULL. */
static inline uint8_t *wire_take(struct wire *wire, size_t len)
{
    if (wire->overflow || len > wire->room - wire->len) {
        wire->overflow = true;
        return NULL;
    }
    wire->len += len;
    return wire->data + wire->len - len;
}

static inline void wire_put(struct wire *wire, uint64_t value, unsigned bytes)
{
    uint8_t *to = wire_take(wire, bytes);
    if (to)
        store_be(to, value, bytes);
}

static inline void wire_bytes(struct wire *wire, const void *from, size_t len)
{
    uint8_t *to = wire_take(wire, len);
    if (to)
        memcpy(to, from, len);
}

static inline void wire_zeroes(struct wire *wire, size_t len)
{
    uint8_t *to = wire_take(wire, len);
    if (to)
        memset(to, 0, len);
}

/* Writes over a number that is there, or was left out. */
static inline void wire_patch(struct wire *wire, size_t offset, uint64_t value, unsigned bytes)
{
    if (offset + bytes <= wire->len)
        store_be(wire->data + offset, value, bytes);
}

#endif
