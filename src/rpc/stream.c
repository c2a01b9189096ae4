/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Streams joined with a descriptor: packets of the client are written to it, what it gives is
 * sent. After stream_attach() everything happens on the loop's thread. See stream.h.
 */
#include "rpc/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "model/api_error.h"
#include "rpc/internal.h"

#define IN_HIGH (256u << 10)   /* unwritten bytes beyond which the client is not listened to */
#define OUT_STREAM_HIGH MIB(1) /* unread by the client, beyond which the descriptor is not */
#define READ_SIZE (64u << 10)
#define HOLE_SIZE 12 /* bytes of a hole packet's payload */

struct rpc_stream {
    struct list node; /* client's lock */
    atomic_uint refs;
    struct rpc_client *client;
    struct packet_header header; /* of its packets */
    int fd;
    uv_poll_t poll;
    bool polling; /* the handle is in use */
    int polled;
    struct buffer in;
    bool at_end;    /* the descriptor has no more to give */
    bool finishing; /* the client is done, the rest is still being written */
    bool pieces;    /* the descriptor speaks in struct rpc_stream_piece */
    bool deaf;      /* pieces: the other end takes no more; it will say why */
    unsigned flags; /* enum rpc_stream_pieces_flags */
    bool over;
    void (*ended)(void *opaque, enum rpc_stream_end how);
    void *opaque;
    struct server_task start;
    struct server_task abort;
    atomic_bool abort_posted;
    bool started;  /* loop: the reply went out */
    bool given_up; /* loop: to be aborted once it is started */
    struct kv_error why;
};

static void unref(struct rpc_stream *stream)
{
    if (atomic_fetch_sub(&stream->refs, 1) != 1)
        return;
    rpc_client_unref(stream->client);
    free(stream);
}

int rpc_stream_join_fd(struct rpc_call *call, int fd,
                       void (*ended)(void *opaque, enum rpc_stream_end how), void *opaque,
                       struct rpc_stream **out, struct kv_error *err)
{
    struct rpc_client *client = call->client;
    pthread_mutex_lock(&client->lock);
    bool room = client->n_streams < STREAMS_MAX;
    pthread_mutex_unlock(&client->lock);
    struct rpc_stream *stream = room && !call->stream ? calloc(1, sizeof(*stream)) : NULL;
    int r = stream ? fd_set_nonblocking(fd, true) : -ENOMEM;
    if (r < 0) {
        free(stream);
        close(fd);
        if (!room)
            return api_error_from(err, VIR_FROM_STREAMS, VIR_ERR_OPERATION_FAILED,
                                  "%d streams are open, more are not possible", STREAMS_MAX);
        return api_error_from(err, VIR_FROM_STREAMS, VIR_ERR_OPERATION_FAILED,
                              "no stream could be made: %s", strerror(-r));
    }
    *stream = (struct rpc_stream){
        .refs = 1,
        .client = rpc_client_ref(client),
        .header = call->header,
        .fd = fd,
        .in = BUFFER_INIT(IN_HIGH + PACKET_MAX),
        .ended = ended,
        .opaque = opaque,
    };
    stream->header.type = PACKET_STREAM;
    list_init(&stream->node);
    call->stream = stream;
    if (out)
        *out = stream;
    return 0;
}

int rpc_stream_join_pieces(struct rpc_call *call, int fd, unsigned flags,
                           void (*ended)(void *opaque, enum rpc_stream_end how), void *opaque,
                           struct rpc_stream **out, struct kv_error *err)
{
    int r = rpc_stream_join_fd(call, fd, ended, opaque, out, err);
    if (r == 0) {
        call->stream->pieces = true;
        call->stream->flags = flags;
        call->stream->deaf = !(flags & RPC_PIECES_FROM_CLIENT);
        call->stream->in.max += PACKET_MAX / 1024; /* what is in front of each piece */
    }
    return r;
}

/* -------------------------------------------------------------------- ending */

static void on_poll_closed(uv_handle_t *handle)
{
    unref(handle->data);
}

/* Loop. Lets go of everything; the client was told already, or need not be. */
static void end(struct rpc_stream *stream, enum rpc_stream_end how)
{
    if (stream->over)
        return;
    stream->over = true;
    pthread_mutex_lock(&stream->client->lock);
    list_del(&stream->node);
    stream->client->n_streams--;
    pthread_mutex_unlock(&stream->client->lock);
    if (stream->polling) {
        uv_poll_stop(&stream->poll);
        atomic_fetch_add(&stream->refs, 1);
        uv_close((uv_handle_t *)&stream->poll, on_poll_closed);
    }
    close(stream->fd);
    buffer_free(&stream->in);
    if (stream->ended)
        stream->ended(stream->opaque, how);
    unref(stream);
}

static void send_packet(struct rpc_stream *stream, enum packet_status status, uint8_t *packet,
                        size_t len)
{
    struct packet_header header = stream->header;
    header.status = status;
    packet_put_head(packet, &header, len);
    client_send(stream->client, packet, PACKET_HEAD + len, NULL, 0, 0);
}

static void confirm(struct rpc_stream *stream)
{
    uint8_t packet[PACKET_HEAD];
    send_packet(stream, PACKET_OK, packet, 0);
}

static void fail(struct rpc_stream *stream, struct kv_error *why)
{
    dispatch_send_error(stream->client, &stream->header, why, false);
    end(stream, RPC_STREAM_CLOSED);
}

static void fail_errno(struct rpc_stream *stream, int code)
{
    struct kv_error err = {0};
    api_error_from(&err, VIR_FROM_STREAMS, VIR_ERR_RPC, "stream had I/O failure: %s",
                   strerror(code));
    fail(stream, &err);
}

/* ------------------------------------------------------------------- pieces */

static int append_piece(struct rpc_stream *stream, int kind, uint64_t len, const uint8_t *data)
{
    const struct rpc_stream_piece piece = {.kind = kind, .len = len};
    int r = buffer_append(&stream->in, &piece, sizeof(piece));
    return r < 0 || kind != RPC_PIECE_DATA ? r : buffer_append(&stream->in, data, len);
}

static int append_data(struct rpc_stream *stream, const uint8_t *data, size_t len)
{
    int r = 0;
    if (stream->deaf)
        return 0;
    if (!stream->pieces)
        return buffer_append(&stream->in, data, len);
    for (size_t at = 0, n; at < len && r == 0; at += n) {
        n = MIN(RPC_PIECE_DATA_MAX, len - at);
        r = append_piece(stream, RPC_PIECE_DATA, n, data + at);
    }
    return r;
}

/* Bytes of the message at the front of what waits. */
static size_t front_message(const struct rpc_stream *stream)
{
    struct rpc_stream_piece piece;
    memcpy(&piece, buffer_bytes(&stream->in), sizeof(piece));
    return sizeof(piece) + (piece.kind == RPC_PIECE_DATA ? piece.len : 0);
}

static void send_hole(struct rpc_stream *stream, uint64_t len)
{
    uint8_t packet[PACKET_HEAD + HOLE_SIZE];
    struct packet_header header = stream->header;
    header.type = PACKET_STREAM_HOLE;
    header.status = PACKET_CONTINUE;
    packet_put_head(packet, &header, HOLE_SIZE);
    packet_put_u32(packet + PACKET_HEAD, (uint32_t)(len >> 32));
    packet_put_u32(packet + PACKET_HEAD + 4, (uint32_t)len);
    packet_put_u32(packet + PACKET_HEAD + 8, 0); /* flags */
    client_send(stream->client, packet, sizeof(packet), NULL, 0, 0);
}

static void piece_done(struct rpc_stream *stream)
{
    uint8_t packet[PACKET_HEAD];
    stream->at_end = true;
    if (!(stream->flags & RPC_PIECES_FROM_CLIENT)) {
        send_packet(stream, PACKET_CONTINUE, packet, 0);
    } else if (stream->finishing) {
        confirm(stream);
        end(stream, RPC_STREAM_FINISHED);
    }
}

static void read_piece(struct rpc_stream *stream)
{
    struct rpc_stream_piece piece;
    uint8_t packet[PACKET_HEAD + RPC_PIECE_DATA_MAX];
    struct iovec iov[] = {{&piece, sizeof(piece)}, {packet + PACKET_HEAD, RPC_PIECE_DATA_MAX}};
    ssize_t n = readv(stream->fd, iov, 2);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < (ssize_t)sizeof(piece)) {
        stream->at_end = true; /* who closed it aborts the stream */
        return;
    }
    if (piece.kind == RPC_PIECE_DONE)
        piece_done(stream);
    else if (piece.kind == RPC_PIECE_HOLE)
        send_hole(stream, piece.len);
    else
        send_packet(stream, PACKET_CONTINUE, packet, (size_t)n - sizeof(piece));
}

/* ------------------------------------------------------------------- moving */

static void watch(struct rpc_stream *stream);

static void read_fd(struct rpc_stream *stream)
{
    uint8_t packet[PACKET_HEAD + READ_SIZE];
    if (stream->pieces) {
        read_piece(stream);
        return;
    }
    ssize_t n = read(stream->fd, packet + PACKET_HEAD, READ_SIZE);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        send_packet(stream, PACKET_CONTINUE, packet, (size_t)n);
        return;
    }
    /* A terminal whose other end closed gives EIO. The client sees an empty packet as the end,
     * and then finishes. */
    stream->at_end = true;
    send_packet(stream, PACKET_CONTINUE, packet, 0);
}

static void write_fd(struct rpc_stream *stream)
{
    while (stream->in.len) {
        size_t len = stream->pieces ? front_message(stream) : stream->in.len;
        ssize_t n = write(stream->fd, buffer_bytes(&stream->in), len);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n < 0 && stream->pieces) {
            stream->deaf = true;
            buffer_free(&stream->in);
            break;
        }
        if (n < 0) {
            fail_errno(stream, errno);
            return;
        }
        buffer_consume(&stream->in, (size_t)n);
    }
    if (stream->finishing && stream->in.len == 0 && (stream->flags & RPC_PIECES_FROM_CLIENT)) {
        shutdown(stream->fd, SHUT_WR);
    } else if (stream->finishing && stream->in.len == 0) {
        confirm(stream);
        end(stream, RPC_STREAM_FINISHED);
        return;
    }
    if (atomic_load(&stream->client->held) && stream->in.len < IN_HIGH)
        client_post(stream->client, POST_RESUME);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct rpc_stream *stream = poll->data;
    atomic_fetch_add(&stream->refs, 1);
    if (status < 0 && !stream->at_end)
        read_fd(stream);
    if ((events & UV_WRITABLE) && !stream->over)
        write_fd(stream);
    if ((events & UV_READABLE) && !stream->over)
        read_fd(stream);
    if (!stream->over)
        watch(stream);
    unref(stream);
}

static bool client_reads(struct rpc_client *client)
{
    pthread_mutex_lock(&client->lock);
    bool reads = client->out_bytes < OUT_STREAM_HIGH;
    pthread_mutex_unlock(&client->lock);
    return reads;
}

static void watch_for(struct rpc_stream *stream, bool client_reads)
{
    int events = stream->in.len ? UV_WRITABLE : 0;
    if (!stream->at_end && client_reads)
        events |= UV_READABLE;
    if (!stream->polling || events == stream->polled)
        return;
    stream->polled = events;
    if (events)
        uv_poll_start(&stream->poll, events, on_poll);
    else
        uv_poll_stop(&stream->poll);
}

static void watch(struct rpc_stream *stream)
{
    watch_for(stream, client_reads(stream->client));
}

/* ------------------------------------------------------------- from dispatch */

static void on_start(struct server_task *task)
{
    struct rpc_stream *stream = container_of(task, struct rpc_stream, start);
    stream->started = true;
    if (!stream->over && stream->client->closed)
        end(stream, RPC_STREAM_ABORTED);
    if (!stream->over && stream->given_up)
        fail(stream, &stream->why);
    if (!stream->over &&
        uv_poll_init(&stream->client->server->loop, &stream->poll, stream->fd) == 0) {
        stream->poll.data = stream;
        stream->polling = true;
        watch(stream);
    } else if (!stream->over) {
        fail_errno(stream, EBADF);
    }
    unref(stream);
}

/* Before the reply: its packets may come from now on, also one that ends it. What stream_start()
 * posts has a reference of its own from now on, too. */
void stream_attach(struct rpc_call *call)
{
    struct rpc_client *client = call->client;
    atomic_fetch_add(&call->stream->refs, 1);
    pthread_mutex_lock(&client->lock);
    list_add_tail(&client->streams, &call->stream->node);
    client->n_streams++;
    pthread_mutex_unlock(&client->lock);
}

/* Behind the reply: it may send from now on. */
void stream_start(struct rpc_call *call)
{
    struct rpc_stream *stream = call->stream;
    stream->start.fn = on_start;
    server_post_task(call->client->server, &stream->start);
    call->stream = NULL;
}

/* The handler failed after all. */
void stream_cancel(struct rpc_call *call)
{
    struct rpc_stream *stream = call->stream;
    if (!stream)
        return;
    call->stream = NULL;
    close(stream->fd);
    if (stream->ended)
        stream->ended(stream->opaque, RPC_STREAM_ABORTED);
    unref(stream);
}

static struct rpc_stream *find(struct rpc_client *client, const struct packet_header *header)
{
    struct rpc_stream *found = NULL;
    pthread_mutex_lock(&client->lock);
    list_for_each (node, &client->streams) {
        struct rpc_stream *stream = list_entry(node, struct rpc_stream, node);
        if (stream->header.serial == header->serial &&
            stream->header.procedure == header->procedure &&
            stream->header.program == header->program) {
            found = stream;
            break;
        }
    }
    pthread_mutex_unlock(&client->lock);
    return found;
}

/* A length and flags, of which there are none. */
static int take_hole(struct rpc_stream *stream, const struct packet *packet)
{
    struct kv_error err = {0};
    uint64_t len = 0;
    bool whole = packet->payload_len == HOLE_SIZE && packet_get_u32(packet->payload + 8) == 0;
    if (whole)
        len = (uint64_t)packet_get_u32(packet->payload) << 32 | packet_get_u32(packet->payload + 4);
    if (whole && len <= INT64_MAX && (stream->flags & RPC_PIECES_HOLES))
        return stream->deaf ? 0 : append_piece(stream, RPC_PIECE_HOLE, len, NULL);
    api_error_from(&err, VIR_FROM_STREAMS, VIR_ERR_RPC,
                   "Unexpected stream hole: this stream takes data only");
    fail(stream, &err);
    return 0;
}

static int take_packet(struct rpc_stream *stream, const struct packet *packet)
{
    int r;
    switch (packet->header.status) {
    case PACKET_CONTINUE:
        r = packet->header.type == PACKET_STREAM_HOLE
                ? take_hole(stream, packet)
                : append_data(stream, packet->payload, packet->payload_len);
        if (r < 0)
            return r;
        break;
    case PACKET_OK:
        stream->finishing = true;
        break;
    default:
        confirm(stream);
        end(stream, RPC_STREAM_ABORTED);
    }
    if (!stream->over)
        write_fd(stream);
    if (!stream->over)
        watch(stream);
    return 0;
}

/* -errno: the client is to be closed. A stream that is over may still get packets that were under
 * way. */
int stream_packet(struct rpc_client *client, const struct packet *packet)
{
    struct rpc_stream *stream = find(client, &packet->header);
    if (!stream || stream->finishing)
        return 0;
    atomic_fetch_add(&stream->refs, 1);
    int r = take_packet(stream, packet);
    unref(stream);
    return r;
}

bool streams_full(struct rpc_client *client)
{
    bool full = false;
    pthread_mutex_lock(&client->lock);
    list_for_each (node, &client->streams)
        full = full || list_entry(node, struct rpc_stream, node)->in.len >= IN_HIGH;
    pthread_mutex_unlock(&client->lock);
    return full;
}

/* Workers add streams meanwhile. */
void streams_resume(struct rpc_client *client)
{
    pthread_mutex_lock(&client->lock);
    bool reads = client->out_bytes < OUT_STREAM_HIGH;
    list_for_each (node, &client->streams)
        watch_for(list_entry(node, struct rpc_stream, node), reads);
    pthread_mutex_unlock(&client->lock);
}

static struct rpc_stream *first(struct rpc_client *client)
{
    pthread_mutex_lock(&client->lock);
    struct rpc_stream *stream = list_empty(&client->streams)
                                    ? NULL
                                    : list_entry(client->streams.next, struct rpc_stream, node);
    pthread_mutex_unlock(&client->lock);
    return stream;
}

/* What is added from now on ends itself. */
void streams_close(struct rpc_client *client)
{
    struct rpc_stream *stream;
    while ((stream = first(client)))
        end(stream, RPC_STREAM_ABORTED);
}

static void on_abort(struct server_task *task)
{
    struct rpc_stream *stream = container_of(task, struct rpc_stream, abort);
    if (!stream->started)
        stream->given_up = true;
    else if (!stream->over)
        fail(stream, &stream->why);
    unref(stream);
}

void rpc_stream_abort(struct rpc_stream *stream, const struct kv_error *why)
{
    if (atomic_exchange(&stream->abort_posted, true))
        return;
    stream->why = *why;
    stream->abort.fn = on_abort;
    atomic_fetch_add(&stream->refs, 1);
    server_post_task(stream->client->server, &stream->abort);
}
