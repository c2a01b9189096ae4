/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Arguments put together piece by piece: XDR has nothing between the fields of a struct. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "rpc/client/internal.h"

static void put(struct parts *parts, const void *bytes, size_t len)
{
    if (parts->failed == 0)
        parts->failed = buffer_append(&parts->bytes, bytes, len);
}

void parts_put_u32(struct parts *parts, uint32_t value)
{
    uint8_t bytes[4];
    packet_put_u32(bytes, value);
    put(parts, bytes, sizeof(bytes));
}

void parts_put_u64(struct parts *parts, uint64_t value)
{
    parts_put_u32(parts, (uint32_t)(value >> 32));
    parts_put_u32(parts, (uint32_t)value);
}

void parts_put_text(struct parts *parts, const char *text)
{
    parts_put(parts, (xdrproc_t)xdr_wire_text, &text);
}

void parts_put_opt_text(struct parts *parts, const char *text)
{
    parts_put_u32(parts, text != NULL);
    if (text)
        parts_put_text(parts, text);
}

void parts_put(struct parts *parts, xdrproc_t code, const void *value)
{
    cleanup_free void *bytes = NULL;
    size_t len;
    if (parts->failed)
        return;
    parts->failed = call_encode(code, value, &bytes, &len, NULL);
    put(parts, bytes, len);
}

int parts_call(struct kvasir_conn *conn, struct parts *parts, int procedure, xdrproc_t code,
               void *ret, struct kvasir_error *err)
{
    cleanup_free void *reply = NULL;
    size_t len = 0;
    int r = parts->failed;
    if (r == -ENOMEM)
        error_no_memory(err);
    else if (r < 0)
        kvasir_error_fill(err, VIR_ERR_RPC, VIR_FROM_RPC, -r,
                          "Unable to encode message payload: more than the protocol allows");
    else
        r = kvasir_call_bytes(conn, KVASIR_PROGRAM_REMOTE, procedure, buffer_bytes(&parts->bytes),
                              parts->bytes.len, NULL, 0, &reply, &len, err);
    buffer_free(&parts->bytes);
    return r == 0 && ret ? call_decode(code, reply, len, ret, err) : r;
}
