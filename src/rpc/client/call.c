/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls: arguments to XDR, the reply from XDR; see call.h. */
#include "rpc/client/call.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "rpc/client/internal.h"

#define ARGS_USUAL 4096 /* bytes of arguments that are tried without memory of their own */

int call_encode(xdrproc_t code, const void *value, void **bytes, size_t *len,
                struct kvasir_error *err)
{
    char usual[ARGS_USUAL];
    XDR xdrs;
    *bytes = NULL;
    *len = 0;
    if (code == (xdrproc_t)xdr_wire_none)
        return 0;
    xdrmem_create(&xdrs, usual, sizeof(usual), XDR_ENCODE);
    bool fits = code(&xdrs, (void *)(uintptr_t)value);
    *len = fits ? xdr_getpos(&xdrs) : xdr_sizeof(code, (void *)(uintptr_t)value);
    *bytes = malloc(*len + 1);
    if (!*bytes)
        return error_no_memory(err);
    if (fits) {
        memcpy(*bytes, usual, *len);
        return 0;
    }
    xdrmem_create(&xdrs, *bytes, (u_int)MIN(*len, (size_t)UINT_MAX), XDR_ENCODE);
    if (*len && code(&xdrs, (void *)(uintptr_t)value))
        return 0;
    free(take_ptr(*bytes));
    return kvasir_error_fill(err, VIR_ERR_RPC, VIR_FROM_RPC, EMSGSIZE,
                             "Unable to encode message payload: more than the protocol allows");
}

int call_decode(xdrproc_t code, const void *bytes, size_t len, void *value,
                struct kvasir_error *err)
{
    XDR xdrs;
    xdrmem_create(&xdrs, (char *)(uintptr_t)bytes, (u_int)len, XDR_DECODE);
    if (code(&xdrs, value))
        return 0;
    xdr_free(code, value);
    return kvasir_error_fill(err, VIR_ERR_RPC, VIR_FROM_RPC, EPROTO,
                             "Unable to decode message payload");
}

/* ------------------------------------------------------------- sending, waiting */

static void slot_free(struct call_slot *slot)
{
    list_del(&slot->node);
    for (size_t i = 0; i < slot->n_fds; i++)
        close(slot->fds[i]);
    free(slot->payload);
    free(slot);
}

static int begin_bytes(struct kvasir_conn *conn, uint32_t program, int procedure, const void *bytes,
                       size_t len, const int *fds, size_t n_fds, struct call_slot **out,
                       struct kvasir_error *err)
{
    struct call_slot *slot = calloc(1, sizeof(*slot));
    if (!slot)
        return error_no_memory(err);
    const struct packet_header header = {
        .program = program,
        .version = 1,
        .procedure = procedure,
        .type = n_fds ? PACKET_CALL_FDS : PACKET_CALL,
        .serial = ++conn->serial,
        .status = PACKET_OK,
    };
    slot->serial = header.serial;
    slot->program = program;
    slot->procedure = procedure;
    list_init(&slot->node);
    int r = conn_send(conn, &header, bytes, len, fds, n_fds, err);
    if (r < 0) {
        free(slot);
        return r;
    }
    list_add_tail(&conn->calls, &slot->node);
    *out = slot;
    return 0;
}

/* Until the reply is there. 0: it is, and good; else negative with err filled. */
static int wait_for(struct kvasir_conn *conn, struct call_slot *slot, struct kvasir_error *err)
{
    while (!slot->done && !conn->lost)
        conn_pump(conn, -1, true);
    if (!slot->done)
        return conn_tell_lost(conn, err);
    if (slot->header.status == PACKET_ERROR)
        return call_server_error(slot->payload, slot->payload_len, err);
    return 0;
}

static int decode_reply(const struct kvasir_procedure *procedure, const struct call_slot *slot,
                        void *ret, struct kvasir_error *err)
{
    if (procedure->ret_code == (xdrproc_t)xdr_wire_none || !ret)
        return 0;
    memset(ret, 0, procedure->ret_size);
    return call_decode(procedure->ret_code, slot->payload, slot->payload_len, ret, err);
}

static void take_fds(struct call_slot *slot, struct kvasir_call_fds *fds)
{
    if (!fds)
        return;
    fds->n_received = MIN(slot->n_fds, fds->n_receive);
    for (size_t i = 0; i < fds->n_received; i++)
        fds->receive[i] = slot->fds[i];
    slot->n_fds -= fds->n_received;
    memmove(slot->fds, slot->fds + fds->n_received, slot->n_fds * sizeof(int));
}

static int begin(struct kvasir_conn *conn, const struct kvasir_procedure *procedure,
                 const void *args, const struct kvasir_call_fds *fds, struct call_slot **slot,
                 struct kvasir_error *err)
{
    cleanup_free void *bytes = NULL;
    size_t len;
    int r = call_encode(procedure->args_code, args, &bytes, &len, err);
    return r < 0 ? r
                 : begin_bytes(conn, procedure->program, procedure->number, bytes, len,
                               fds ? fds->send : NULL, fds ? fds->n_send : 0, slot, err);
}

int kvasir_call(struct kvasir_conn *conn, const struct kvasir_procedure *procedure,
                const void *args, void *ret, struct kvasir_call_fds *fds, struct kvasir_error *err)
{
    struct call_slot *slot;
    int r = begin(conn, procedure, args, fds, &slot, err);
    if (r < 0)
        return r;
    r = wait_for(conn, slot, err);
    if (r == 0)
        r = decode_reply(procedure, slot, ret, err);
    if (r == 0)
        take_fds(slot, fds);
    slot_free(slot);
    return r;
}

int kvasir_call_begin(struct kvasir_conn *conn, const struct kvasir_procedure *procedure,
                      const void *args, uint32_t *ticket, struct kvasir_error *err)
{
    struct call_slot *slot;
    int r = begin(conn, procedure, args, NULL, &slot, err);
    if (r < 0)
        return r;
    *ticket = slot->serial;
    /* A server that answers while we still ask must not find nobody listening. */
    if (conn->out.len >= STREAM_OUT_HIGH)
        conn_pump(conn, -1, true);
    return 0;
}

int kvasir_call_finish(struct kvasir_conn *conn, const struct kvasir_procedure *procedure,
                       uint32_t ticket, void *ret, struct kvasir_error *err)
{
    list_for_each (node, &conn->calls) {
        struct call_slot *slot = list_entry(node, struct call_slot, node);
        if (slot->serial != ticket)
            continue;
        int r = wait_for(conn, slot, err);
        if (r == 0)
            r = decode_reply(procedure, slot, ret, err);
        slot_free(slot);
        return r;
    }
    return error_invalid(err, "call %u was not begun", ticket);
}

int kvasir_call_stream(struct kvasir_conn *conn, const struct kvasir_procedure *procedure,
                       const void *args, void *ret, struct kvasir_stream **out,
                       struct kvasir_error *err)
{
    struct call_slot *slot;
    int r = begin(conn, procedure, args, NULL, &slot, err);
    if (r < 0)
        return r;
    /* Its packets may come right behind the reply. */
    struct kvasir_stream *stream = stream_new(conn, procedure, slot->serial, err);
    r = wait_for(conn, slot, err);
    if (r == 0 && !stream)
        r = error_no_memory(err);
    if (r == 0)
        r = decode_reply(procedure, slot, ret, err);
    slot_free(slot);
    if (r == 0) {
        *out = stream;
    } else if (stream) {
        stream->confirmed = true; /* there is none on the other side */
        kvasir_stream_free(stream);
    }
    return r;
}

int kvasir_call_bytes(struct kvasir_conn *conn, uint32_t program, int procedure, const void *args,
                      size_t len, const int *fds, size_t n_fds, void **reply, size_t *reply_len,
                      struct kvasir_error *err)
{
    struct call_slot *slot;
    int r = begin_bytes(conn, program, procedure, args, len, fds, n_fds, &slot, err);
    if (r < 0)
        return r;
    r = wait_for(conn, slot, err);
    if (r == 0 && reply) {
        *reply = take_ptr(slot->payload);
        *reply_len = slot->payload_len;
    }
    slot_free(slot);
    return r;
}
