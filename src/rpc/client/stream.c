/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Streams: bytes beside calls. What the server sends waits in chunks until it is received; an empty
 * chunk is the end. We end it with a packet of status "ok", which the server confirms, or give it
 * up with one of status "error".
 */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "rpc/client/internal.h"

/* Data, or a hole. */
struct stream_chunk {
    struct list node;
    uint64_t hole;
    size_t len, done;
    uint8_t data[];
};

struct kvasir_stream *stream_new(struct kvasir_conn *conn, const struct kvasir_procedure *procedure,
                                 uint32_t serial, struct kvasir_error *err)
{
    struct kvasir_stream *stream = calloc(1, sizeof(*stream));
    if (!stream) {
        error_no_memory(err);
        return NULL;
    }
    stream->conn = conn_ref(conn);
    stream->serial = serial;
    stream->program = procedure->program;
    stream->procedure = procedure->number;
    list_init(&stream->in);
    list_add_tail(&conn->streams, &stream->node);
    return stream;
}

static void drop_chunk(struct kvasir_stream *stream, struct stream_chunk *chunk)
{
    stream->in_bytes -= sizeof(*chunk) + chunk->len;
    list_del(&chunk->node);
    free(chunk);
}

/* Nothing of it is wanted any more. */
static void forget(struct kvasir_stream *stream)
{
    list_for_each_safe (node, &stream->in)
        drop_chunk(stream, list_entry(node, struct stream_chunk, node));
    list_del(&stream->node);
}

static int send_packet(struct kvasir_stream *stream, enum packet_type type,
                       enum packet_status status, const void *data, size_t len,
                       struct kvasir_error *err)
{
    const struct packet_header header = {
        .program = stream->program,
        .version = 1,
        .procedure = stream->procedure,
        .type = type,
        .serial = stream->serial,
        .status = status,
    };
    return conn_send(stream->conn, &header, data, len, NULL, 0, err);
}

/* --------------------------------------------------------------------- receiving */

static struct kvasir_stream *find(struct kvasir_conn *conn, const struct packet_header *header)
{
    list_for_each (node, &conn->streams) {
        struct kvasir_stream *stream = list_entry(node, struct kvasir_stream, node);
        if (stream->serial == header->serial && stream->program == header->program &&
            stream->procedure == header->procedure)
            return stream;
    }
    return NULL;
}

static int keep_chunk(struct kvasir_stream *stream, const void *data, size_t len, uint64_t hole)
{
    struct stream_chunk *chunk = malloc(sizeof(*chunk) + len);
    if (!chunk)
        return -ENOMEM;
    *chunk = (struct stream_chunk){.hole = hole, .len = len};
    if (len)
        memcpy(chunk->data, data, len);
    stream->in_bytes += sizeof(*chunk) + len;
    list_add_tail(&stream->in, &chunk->node);
    return 0;
}

static int keep_hole(struct kvasir_stream *stream, const struct packet *packet)
{
    wire_hole hole = {0};
    int r = call_decode((xdrproc_t)xdr_wire_hole, packet->payload, packet->payload_len, &hole,
                        &stream->why);
    if (r < 0 || hole.length < 0) {
        kvasir_error_fill(&stream->why, VIR_ERR_RPC, VIR_FROM_STREAMS, EPROTO,
                          "the server sent a hole of no length");
        return 0;
    }
    return hole.length ? keep_chunk(stream, NULL, 0, (uint64_t)hole.length) : 0;
}

int stream_packet(struct kvasir_conn *conn, const struct packet *packet)
{
    struct kvasir_stream *stream = find(conn, &packet->header);
    if (!stream || stream->why.code)
        return 0; /* what was under way when it was given up */
    if (packet->header.status == PACKET_ERROR) {
        if (call_server_error(packet->payload, packet->payload_len, &stream->why) == 0)
            stream->why.code = VIR_ERR_INTERNAL_ERROR;
        stream->at_end = true;
        return 0;
    }
    if (packet->header.status == PACKET_OK) {
        stream->at_end = true;
        stream->confirmed = true;
        return 0;
    }
    if (stream->at_end)
        return 0;
    if (stream->in_bytes >= STREAM_IN_MOST) {
        kvasir_error_fill(&stream->why, VIR_ERR_RPC, VIR_FROM_STREAMS, ENOBUFS,
                          "nobody received %zu bytes of the stream", stream->in_bytes);
        return 0;
    }
    if (packet->header.type == PACKET_STREAM_HOLE)
        return keep_hole(stream, packet);
    if (packet->payload_len == 0) {
        stream->at_end = true;
        return 0;
    }
    return keep_chunk(stream, packet->payload, packet->payload_len, 0);
}

int kvasir_stream_is_readable(const struct kvasir_stream *stream)
{
    return !list_empty(&stream->in) || stream->at_end || stream->why.code || stream->conn->lost;
}

static int tell_why(const struct kvasir_stream *stream, struct kvasir_error *err)
{
    if (!stream->why.code)
        return conn_tell_lost(stream->conn, err);
    if (err)
        *err = stream->why;
    return stream->why.number ? -stream->why.number : -EIO;
}

/* The next chunk; NULL: there is none, and *r says why. */
static struct stream_chunk *next_chunk(struct kvasir_stream *stream, unsigned flags, int *r,
                                       struct kvasir_error *err)
{
    while (!kvasir_stream_is_readable(stream)) {
        if (flags & KVASIR_STREAM_NO_WAIT) {
            *r = -EAGAIN;
            return NULL;
        }
        conn_pump(stream->conn, -1, true);
    }
    if (!list_empty(&stream->in))
        return list_entry(stream->in.next, struct stream_chunk, node);
    *r = stream->at_end && !stream->why.code ? 0 : tell_why(stream, err);
    return NULL;
}

ssize_t kvasir_stream_receive(struct kvasir_stream *stream, void *data, size_t len, unsigned flags,
                              struct kvasir_error *err)
{
    size_t got = 0;
    int r = 0;
    if (flags & ~(unsigned)KVASIR_STREAM_NO_WAIT)
        return error_invalid(err, "flags %#x of a stream; 1 (do not wait) is possible", flags);
    while (got < len) {
        struct stream_chunk *chunk =
            next_chunk(stream, got ? (unsigned)KVASIR_STREAM_NO_WAIT : flags, &r, err);
        if (!chunk)
            return got ? (ssize_t)got : r;
        if (chunk->hole)
            return got ? (ssize_t)got : -ENODATA;
        size_t n = MIN(len - got, chunk->len - chunk->done);
        memcpy((char *)data + got, chunk->data + chunk->done, n);
        chunk->done += n;
        got += n;
        if (chunk->done == chunk->len)
            drop_chunk(stream, chunk);
    }
    return (ssize_t)got;
}

int kvasir_stream_receive_hole(struct kvasir_stream *stream, uint64_t *length,
                               struct kvasir_error *err)
{
    int r = 0;
    struct stream_chunk *chunk = next_chunk(stream, 0, &r, err);
    if (!chunk && r < 0)
        return r;
    if (!chunk || !chunk->hole)
        return error_invalid(err, "there is no hole at this place of the stream");
    *length = chunk->hole;
    drop_chunk(stream, chunk);
    return 0;
}

/* ----------------------------------------------------------------------- sending */

static int check_sending(struct kvasir_stream *stream, struct kvasir_error *err)
{
    if (stream->why.code || stream->conn->lost)
        return tell_why(stream, err);
    if (stream->finishing || stream->confirmed)
        return kvasir_error_fill(err, VIR_ERR_OPERATION_INVALID, VIR_FROM_STREAMS, EPIPE,
                                 "the stream was finished");
    return 0;
}

ssize_t kvasir_stream_send(struct kvasir_stream *stream, const void *data, size_t len,
                           unsigned flags, struct kvasir_error *err)
{
    size_t sent = 0;
    if (flags & ~(unsigned)KVASIR_STREAM_NO_WAIT)
        return error_invalid(err, "flags %#x of a stream; 1 (do not wait) is possible", flags);
    while (sent < len) {
        int r = check_sending(stream, err);
        if (r < 0)
            return r;
        if (stream->conn->out.len >= STREAM_OUT_HIGH) {
            if (flags & KVASIR_STREAM_NO_WAIT)
                return sent ? (ssize_t)sent : -EAGAIN;
            conn_pump(stream->conn, -1, true);
            continue;
        }
        size_t n = MIN(len - sent, (size_t)STREAM_DATA_MAX);
        r = send_packet(stream, PACKET_STREAM, PACKET_CONTINUE, (const char *)data + sent, n, err);
        if (r < 0)
            return r;
        sent += n;
        conn_flush(stream->conn);
    }
    return (ssize_t)sent;
}

int kvasir_stream_send_hole(struct kvasir_stream *stream, uint64_t length, struct kvasir_error *err)
{
    if (length > INT64_MAX)
        return error_invalid(err, "a hole of %llu bytes", (unsigned long long)length);
    const wire_hole hole = {.length = (int64_t)length};
    cleanup_free void *bytes = NULL;
    size_t len;
    int r = check_sending(stream, err);
    if (r == 0)
        r = call_encode((xdrproc_t)xdr_wire_hole, &hole, &bytes, &len, err);
    if (r == 0)
        r = send_packet(stream, PACKET_STREAM_HOLE, PACKET_CONTINUE, bytes, len, err);
    conn_flush(stream->conn);
    return r;
}

int kvasir_stream_finish(struct kvasir_stream *stream, struct kvasir_error *err)
{
    if (stream->confirmed && !stream->why.code)
        return 0;
    int r = check_sending(stream, err);
    if (r == 0)
        r = send_packet(stream, PACKET_STREAM, PACKET_OK, NULL, 0, err);
    if (r < 0)
        return r;
    stream->finishing = true;
    while (!stream->confirmed && !stream->why.code && !stream->conn->lost) {
        conn_pump(stream->conn, -1, true);
        /* What still comes is not wanted by who says that all is done. */
        list_for_each_safe (node, &stream->in)
            drop_chunk(stream, list_entry(node, struct stream_chunk, node));
    }
    return stream->confirmed ? 0 : tell_why(stream, err);
}

void kvasir_stream_free(struct kvasir_stream *stream)
{
    if (!stream)
        return;
    if (!stream->finishing && !stream->confirmed && stream->conn->fd >= 0) {
        send_packet(stream, PACKET_STREAM, PACKET_ERROR, NULL, 0, NULL);
        conn_flush(stream->conn);
    }
    forget(stream);
    conn_unref(stream->conn);
    free(stream);
}
