/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NBD server: the transmission phase (proto.md, "Transmission"). A loop on the
 * client's thread reads requests as they come, hands them to a queue of the
 * export's node, and sends replies in the order in which requests are done.
 *
 * Memory of a client is bounded: REQUESTS in flight or in reply, BYTES_MAX of
 * their data; beyond it is not read from until something has left.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "block/driver.h"
#include "block/nbd_protocol.h"
#include "block/nbd_server_internal.h"

#define REQUESTS 64u
#define BYTES_MAX MIB(64)      /* of buffers in flight; room for any one request */
#define KEPT_MAX KIB(512)      /* a larger buffer is given back when its request is done */
#define KEPT_TOTAL_MAX MIB(16) /* of buffers kept for later requests */
#define RECEIVE_SIZE KIB(128)
#define IOV_MAX_SENT 64u
#define CACHE_STEP MIB(1) /* CACHE reads so much at a time */
#define PUT_OFF_NS INT64_C(1000000)
#define BUFFER_ALIGN 4096u

struct session;

struct nbd_request {
    struct list node; /* session->spare, ->replies, or none while the engine has it */
    struct session *session;
    struct block_request block;
    struct iovec iov;

    uint16_t type, flags;
    uint64_t cookie, offset;
    uint32_t len;
    int refused; /* -errno before it was begun: it has no buffer, its data is thrown away */

    uint8_t *buffer;
    size_t capacity;
    size_t charged; /* of session->bytes */

    uint8_t head[NBD_CHUNK_SIZE + 12];
    size_t head_len;    /* bytes of head to send */
    size_t payload_len; /* bytes of buffer to send behind it */
    size_t sent;        /* of both */
};

/* The transmission phase of one connection; belongs to its thread. */
struct session {
    struct nbd_connection *conn;
    struct nbd_channel *channel;
    const struct nbd_export *export;
    struct loop loop;
    struct loop_source source;
    struct block_queue *queue;

    struct nbd_request requests[REQUESTS];
    struct list spare, replies;
    struct list put_off; /* requests that wait for a held graph */
    struct loop_timer again;
    unsigned busy;     /* requests that are not spare */
    size_t bytes;      /* charged by busy requests */
    size_t kept;       /* capacity of spare requests' buffers */
    uint8_t *received; /* RECEIVE_SIZE bytes, of which [start, end) are to be read */
    size_t start, end;

    struct nbd_request *filling; /* its data is being received */
    size_t filled;

    bool reading;  /* receive() is running and will send */
    size_t wanted; /* memory that the next request waits for; meaningful while full */
    bool full;     /* the next request waits for a place */
    bool leaving;  /* no more requests: the client said so or broke the protocol */
    bool dead;     /* the socket is of no use any more */
    int rc;        /* of the session */
    struct kv_error *err;
};

static void try_leave(struct session *s)
{
    if (s->dead || (s->leaving && !s->busy && !s->channel->corked))
        loop_stop(&s->loop);
}

static void end_session(struct session *s, int rc)
{
    s->leaving = s->dead = true;
    if (!s->rc)
        s->rc = rc;
    loop_stop(&s->loop);
}

/* What a client sent breaks the protocol in a way that leaves no common ground. */
static void broken(struct session *s, const char *what, uint64_t value)
{
    if (!s->rc)
        s->rc = kv_error_set(s->err, KV_ERR_BLOCK, EPROTO, "%s (0x%" PRIx64 ")", what, value);
    end_session(s, s->rc);
}

/* ------------------------------------------------------------------- requests */

static struct nbd_request *request_get(struct session *s)
{
    struct nbd_request *r = list_entry(s->spare.next, struct nbd_request, node);
    list_del(&r->node);
    s->busy++;
    s->kept -= r->capacity;
    return r;
}

static void request_put(struct nbd_request *r)
{
    struct session *s = r->session;
    if (r->capacity > KEPT_MAX || s->kept + r->capacity > KEPT_TOTAL_MAX) {
        free(r->buffer);
        r->buffer = NULL;
        r->capacity = 0;
    }
    s->kept += r->capacity;
    s->bytes -= r->charged;
    r->charged = 0;
    s->busy--;
    /* The last used is the next used: its buffer is in the processor's cache. */
    list_add_tail(s->spare.next, &r->node);
}

/* Room for len bytes. */
static bool request_reserve(struct nbd_request *r, size_t len)
{
    void *buffer;
    if (r->capacity >= len)
        return true;
    size_t capacity = MAX(ALIGN_UP(len, BUFFER_ALIGN), BUFFER_ALIGN);
    if (posix_memalign(&buffer, BUFFER_ALIGN, capacity))
        return false;
    free(r->buffer);
    r->buffer = buffer;
    r->capacity = capacity;
    return true;
}

/* -------------------------------------------------------------------- replies */

static void send_replies(struct session *s);

static uint32_t wire_error(int rc)
{
    switch (-rc) {
    case EPERM:
    case EROFS:
    case EACCES:
        return NBD_EPERM;
    case ENOMEM:
        return NBD_ENOMEM;
    case EINVAL:
        return NBD_EINVAL;
    case ENOSPC:
    case EFBIG:
    case EDQUOT:
        return NBD_ENOSPC;
    case ENOTSUP:
        return NBD_ENOTSUP;
    case EOVERFLOW:
        return NBD_EOVERFLOW;
    case ESHUTDOWN:
        return NBD_ESHUTDOWN;
    default:
        return NBD_EIO;
    }
}

static void chunk_head(struct nbd_request *r, uint16_t type, uint32_t len)
{
    nbd_put32(r->head, NBD_STRUCTURED_REPLY_MAGIC);
    nbd_put16(r->head + 4, NBD_REPLY_FLAG_DONE);
    nbd_put16(r->head + 6, type);
    nbd_put64(r->head + 8, r->cookie);
    nbd_put32(r->head + 16, len);
    r->head_len = NBD_CHUNK_SIZE;
}

static void simple_head(struct nbd_request *r, uint32_t error)
{
    nbd_put32(r->head, NBD_SIMPLE_REPLY_MAGIC);
    nbd_put32(r->head + 4, error);
    nbd_put64(r->head + 8, r->cookie);
    r->head_len = NBD_SIMPLE_REPLY_SIZE;
}

static void structured_error(struct nbd_request *r, uint32_t error)
{
    chunk_head(r, NBD_REPLY_TYPE_ERROR, 6);
    nbd_put32(r->head + NBD_CHUNK_SIZE, error);
    nbd_put16(r->head + NBD_CHUNK_SIZE + 4, 0);
    r->head_len += 6;
}

/* Zeros need not travel. */
static void structured_data(struct nbd_request *r)
{
    if (r->len == 0) {
        chunk_head(r, NBD_REPLY_TYPE_NONE, 0);
    } else if (buffer_is_zero(r->buffer, r->len)) {
        chunk_head(r, NBD_REPLY_TYPE_OFFSET_HOLE, 12);
        nbd_put64(r->head + NBD_CHUNK_SIZE, r->offset);
        nbd_put32(r->head + NBD_CHUNK_SIZE + 8, r->len);
        r->head_len += 12;
    } else {
        chunk_head(r, NBD_REPLY_TYPE_OFFSET_DATA, 8 + r->len);
        nbd_put64(r->head + NBD_CHUNK_SIZE, r->offset);
        r->head_len += 8;
        r->payload_len = r->len;
    }
}

/* Queues the reply to a request that is done with result 0 or -errno. */
static void answer(struct nbd_request *r, int rc)
{
    struct session *s = r->session;
    uint32_t error = rc < 0 ? wire_error(rc) : 0;
    bool structured =
        s->conn->structured && (r->type == NBD_CMD_READ || r->type == NBD_CMD_BLOCK_STATUS);
    r->payload_len = r->sent = 0;
    if (structured && error)
        structured_error(r, error);
    else if (structured && r->type == NBD_CMD_READ)
        structured_data(r);
    else
        simple_head(r, error);
    if (!structured && !error && r->type == NBD_CMD_READ)
        r->payload_len = r->len;
    list_add_tail(&s->replies, &r->node);
}

/* Drops what was sent from the front of the replies. */
static void replies_sent(struct session *s, size_t n)
{
    while (n) {
        struct nbd_request *r = list_entry(s->replies.next, struct nbd_request, node);
        size_t left = r->head_len + r->payload_len - r->sent;
        if (n < left) {
            r->sent += n;
            return;
        }
        n -= left;
        list_del(&r->node);
        request_put(r);
    }
}

static unsigned gather_replies(struct session *s, struct iovec *iov)
{
    unsigned count = 0;
    list_for_each (node, &s->replies) {
        struct nbd_request *r = list_entry(node, struct nbd_request, node);
        if (count + 2 > IOV_MAX_SENT)
            break;
        size_t skip = r->sent;
        if (skip < r->head_len) {
            iov[count++] = (struct iovec){r->head + skip, r->head_len - skip};
            skip = r->head_len;
        }
        if (r->payload_len)
            iov[count++] = (struct iovec){r->buffer + (skip - r->head_len),
                                          r->payload_len - (skip - r->head_len)};
    }
    return count;
}

static void watch(struct session *s, bool output)
{
    uint32_t events = (s->full || s->leaving ? 0 : EPOLLIN) | (output ? EPOLLOUT : 0);
    if (s->source.loop && s->source.events != events)
        loop_modify(&s->source, events);
}

static void send_replies(struct session *s)
{
    struct iovec iov[IOV_MAX_SENT];
    ssize_t n = 0;
    while (!s->dead && !list_empty(&s->replies)) {
        n = nbd_channel_send(s->channel, iov, gather_replies(s, iov));
        if (n < 0)
            break;
        replies_sent(s, (size_t)n);
    }
    if (!s->dead && list_empty(&s->replies))
        n = nbd_channel_flush(s->channel);
    if (n < 0 && n != -EAGAIN)
        end_session(s, (int)n);
    watch(s, n == -EAGAIN);
    try_leave(s);
}

/* --------------------------------------------------------- carrying requests out */

static void request_done(struct block_request *block, int result);

static void submit(struct nbd_request *r, enum block_op op, uint64_t offset, uint64_t len)
{
    struct session *s = r->session;
    r->iov = (struct iovec){r->buffer, len};
    r->block = (struct block_request){
        .op = op,
        .offset = offset,
        .len = op == BLOCK_FLUSH ? 0 : len,
        .iov = &r->iov,
        .iov_count = op == BLOCK_READ || op == BLOCK_WRITE,
        .unmap = op == BLOCK_WRITE_ZEROES && !(r->flags & NBD_CMD_FLAG_NO_HOLE),
        .fua = r->flags & NBD_CMD_FLAG_FUA && (op == BLOCK_WRITE || op == BLOCK_WRITE_ZEROES),
        .done = request_done,
        .opaque = r,
    };
    block_submit(s->queue, &r->block);
}

static void request_done(struct block_request *block, int result)
{
    struct nbd_request *r = block->opaque;
    uint64_t end = r->offset + r->len, at = block->offset + block->len;
    if (result == 0 && r->type == NBD_CMD_CACHE && at < end && !r->session->dead)
        submit(r, BLOCK_READ, at, MIN(end - at, CACHE_STEP));
    else if (result == 0 && block->op == BLOCK_DISCARD && (r->flags & NBD_CMD_FLAG_FUA))
        submit(r, BLOCK_FLUSH, 0, 0);
    else
        answer(r, result);
}

static void run_read(struct nbd_request *r)
{
    submit(r, BLOCK_READ, r->offset, r->len);
}

static void run_write(struct nbd_request *r)
{
    submit(r, BLOCK_WRITE, r->offset, r->len);
}

static void run_flush(struct nbd_request *r)
{
    submit(r, BLOCK_FLUSH, 0, 0);
}

static void run_trim(struct nbd_request *r)
{
    submit(r, BLOCK_DISCARD, r->offset, r->len);
}

static void run_cache(struct nbd_request *r)
{
    submit(r, BLOCK_READ, r->offset, MIN(r->len, CACHE_STEP));
}

static void run_again(void *opaque);

/* The export's node for a call from this thread. NULL: the graph changes, r is run again soon (this
 * loop must go on meanwhile, or the change would not come about). */
static struct block_node *enter(struct nbd_request *r)
{
    struct session *s = r->session;
    struct block_node *node = block_root_try_enter(s->export->root);
    if (!node) {
        list_add_tail(&s->put_off, &r->node);
        loop_timer_arm(&s->loop, &s->again, PUT_OFF_NS, run_again, s);
    }
    return node;
}

/* A fast zero is done or refused at once, so it may be done here. */
static void run_write_zeroes(struct nbd_request *r)
{
    if (!(r->flags & NBD_CMD_FLAG_FAST_ZERO)) {
        submit(r, BLOCK_WRITE_ZEROES, r->offset, r->len);
        return;
    }
    unsigned flags = BLOCK_NO_FALLBACK | (r->flags & NBD_CMD_FLAG_FUA ? BLOCK_FUA : 0) |
                     (r->flags & NBD_CMD_FLAG_NO_HOLE ? 0 : BLOCK_UNMAP);
    struct block_node *node = enter(r);
    if (!node)
        return;
    int rc = block_write_zeroes(node, r->offset, r->len, flags);
    block_root_leave(r->session->export->root);
    answer(r, rc);
}

static void run_status(struct nbd_request *r)
{
    struct session *s = r->session;
    struct block_node *node = enter(r);
    if (!node)
        return;
    ssize_t len = s->conn->contexts ? nbd_status_reply(s->conn, node, r->cookie, r->offset, r->len,
                                                       r->flags & NBD_CMD_FLAG_REQ_ONE, r->buffer)
                                    : -EINVAL;
    block_root_leave(s->export->root);
    if (len < 0) {
        answer(r, (int)len);
        return;
    }
    r->head_len = r->sent = 0;
    r->payload_len = (size_t)len;
    list_add_tail(&s->replies, &r->node);
}

enum { READS = 1, WRITES = 2, HAS_DATA = 4, NO_RANGE = 8 };

/* By type. A command without run is none, or refused. */
static const struct command {
    void (*run)(struct nbd_request *r);
    unsigned kind;
    uint16_t flags; /* allowed beside FUA, which means nothing for some */
} commands[] = {
    [NBD_CMD_READ] = {run_read, READS, NBD_CMD_FLAG_DF},
    [NBD_CMD_WRITE] = {run_write, WRITES | HAS_DATA, 0},
    [NBD_CMD_FLUSH] = {run_flush, NO_RANGE, 0},
    [NBD_CMD_TRIM] = {run_trim, WRITES, 0},
    [NBD_CMD_CACHE] = {run_cache, READS, 0},
    [NBD_CMD_WRITE_ZEROES] = {run_write_zeroes, WRITES,
                              NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO},
    [NBD_CMD_BLOCK_STATUS] = {run_status, READS, NBD_CMD_FLAG_REQ_ONE},
};

static const struct command *command_of(uint16_t type)
{
    return type < ARRAY_SIZE(commands) && commands[type].run ? &commands[type] : NULL;
}

/* 0, or the error that the client is told. */
static int check_request(const struct session *s, const struct nbd_request *r)
{
    const struct command *command = command_of(r->type);
    if (!command)
        return r->type == NBD_CMD_RESIZE ? -ENOTSUP : -EINVAL;
    if (r->flags & ~(command->flags | NBD_CMD_FLAG_FUA))
        return -EINVAL;
    if ((r->flags & NBD_CMD_FLAG_DF) && !s->conn->structured)
        return -EINVAL;
    if (command->kind & NO_RANGE)
        return 0;
    if ((command->kind & WRITES) && s->export->readonly)
        return -EPERM;
    if (r->type == NBD_CMD_READ && r->len > NBD_PAYLOAD_MAX)
        return -EINVAL;
    if (!range_within(r->offset, r->len, 0,
                      __atomic_load_n(&s->export->info.size, __ATOMIC_ACQUIRE)))
        return command->kind & WRITES ? -ENOSPC : -EINVAL;
    if (r->len == 0 && r->type == NBD_CMD_BLOCK_STATUS)
        return -EINVAL;
    return 0;
}

static void run_request(struct nbd_request *r)
{
    struct session *s = r->session;
    int rc = r->refused ? r->refused : check_request(s, r);
    const struct command *command = command_of(r->type);
    if (rc < 0 || (r->len == 0 && !(command->kind & NO_RANGE)))
        answer(r, rc);
    else
        command->run(r);
}

/* ------------------------------------------------------------ receiving requests */

/* Bytes of memory that a request needs. */
static size_t memory_of(const struct session *s, const struct nbd_request *r)
{
    if (r->refused)
        return 0;
    switch (r->type) {
    case NBD_CMD_WRITE:
        return r->len;
    case NBD_CMD_READ:
        return MIN(r->len, NBD_PAYLOAD_MAX);
    case NBD_CMD_CACHE:
        return MIN(r->len, CACHE_STEP);
    case NBD_CMD_BLOCK_STATUS:
        return nbd_status_reply_size(s->conn->contexts, r->flags & NBD_CMD_FLAG_REQ_ONE);
    default:
        return 0;
    }
}

static bool has_place(const struct session *s)
{
    return !list_empty(&s->spare) && (!s->busy || s->bytes + s->wanted <= BYTES_MAX);
}

/* The request whose frame begins at s->start. False: it waits, or the session is over. */
static bool begin_request(struct session *s)
{
    const uint8_t *frame = s->received + s->start;
    struct nbd_request next = {
        .flags = nbd_get16(frame + 4),
        .type = nbd_get16(frame + 6),
        .cookie = nbd_get64(frame + 8),
        .offset = nbd_get64(frame + 16),
        .len = nbd_get32(frame + 24),
    };
    next.refused = check_request(s, &next);
    size_t memory = memory_of(s, &next);
    if (nbd_get32(frame) != NBD_REQUEST_MAGIC) {
        broken(s, "a request without its magic number", nbd_get32(frame));
        return false;
    }
    if (next.type == NBD_CMD_WRITE && next.len > NBD_PAYLOAD_MAX) {
        broken(s, "a write longer than 32 MiB", next.len);
        return false;
    }
    if (next.type == NBD_CMD_DISC) {
        s->leaving = true;
        return false;
    }
    s->wanted = memory;
    s->full = !has_place(s);
    if (s->full)
        return false;

    struct nbd_request *r = request_get(s);
    r->flags = next.flags;
    r->type = next.type;
    r->cookie = next.cookie;
    r->offset = next.offset;
    r->len = next.len;
    r->refused = next.refused;
    r->charged = memory;
    s->bytes += memory;
    s->start += NBD_REQUEST_SIZE;
    if (!request_reserve(r, memory)) {
        if (r->type == NBD_CMD_WRITE)
            end_session(s, -ENOMEM);
        answer(r, -ENOMEM);
    } else if (r->type == NBD_CMD_WRITE && r->len) {
        s->filling = r;
        s->filled = 0;
    } else {
        run_request(r);
    }
    return true;
}

/* Takes what lies in `received`. */
static void digest(struct session *s)
{
    while (!s->leaving) {
        struct nbd_request *r = s->filling;
        if (!r) {
            if (s->end - s->start < NBD_REQUEST_SIZE || !begin_request(s))
                return;
            continue;
        }
        size_t n = MIN(r->len - s->filled, s->end - s->start);
        if (!r->refused)
            memcpy(r->buffer + s->filled, s->received + s->start, n);
        s->start += n;
        s->filled += n;
        if (s->filled < r->len)
            return;
        s->filling = NULL;
        run_request(r);
    }
}

/* One system call: the rest of a write's data to its place, and what follows it. False: no more
 * for now. */
static bool receive_some(struct session *s)
{
    struct nbd_request *r = s->filling && !s->filling->refused ? s->filling : NULL;
    struct iovec iov[2];
    unsigned count = 0;
    size_t rest = 0;
    memmove(s->received, s->received + s->start, s->end - s->start);
    s->end -= s->start;
    s->start = 0;
    if (r) {
        rest = r->len - s->filled;
        iov[count++] = (struct iovec){r->buffer + s->filled, rest};
    }
    iov[count++] = (struct iovec){s->received + s->end, RECEIVE_SIZE - s->end};
    ssize_t n = nbd_channel_receive(s->channel, iov, count);
    if (n == -EAGAIN)
        return false;
    if (n == 0 && !s->filling && s->end == 0) {
        /* Between two requests it is a way to leave. */
        s->leaving = true;
        return false;
    }
    if (n <= 0) {
        end_session(s, n < 0 ? (int)n : -EPIPE);
        return false;
    }
    size_t direct = MIN((size_t)n, rest);
    s->filled += r ? direct : 0;
    s->end += (size_t)n - direct;
    if (r && s->filled == r->len) {
        s->filling = NULL;
        run_request(r);
    }
    return true;
}

static void receive(struct session *s)
{
    if (s->reading)
        return;
    s->reading = true;
    do {
        bool more = true;
        while (more && !s->leaving) {
            digest(s);
            more = !s->leaving && !s->full && receive_some(s);
            block_kick(s->queue);
        }
        send_replies(s);
    } while (s->full && !s->leaving && has_place(s));
    s->reading = false;
}

static void socket_ready(void *opaque, uint32_t events)
{
    struct session *s = opaque;
    /* Nothing is read now, so a client that is gone would wake us on and on. */
    if (events & (EPOLLERR | EPOLLHUP) && (s->full || s->leaving)) {
        end_session(s, s->leaving ? 0 : -EPIPE);
        return;
    }
    if (events & EPOLLOUT)
        send_replies(s);
    if (!s->leaving)
        receive(s);
}

/* After requests were done: the queue's batch function. */
static void batch_done(void *opaque)
{
    struct session *s = opaque;
    if (s->reading)
        return;
    send_replies(s);
    if (s->full && !s->leaving)
        receive(s);
}

static void run_again(void *opaque)
{
    struct session *s = opaque;
    struct list waiting;
    list_init(&waiting);
    while (!list_empty(&s->put_off)) {
        struct list *node = s->put_off.next;
        list_del(node);
        list_add_tail(&waiting, node);
    }
    while (!list_empty(&waiting)) {
        struct nbd_request *r = list_entry(waiting.next, struct nbd_request, node);
        list_del(&r->node);
        command_of(r->type)->run(r);
    }
    batch_done(s);
}

/* ------------------------------------------------------------------- the session */

static int session_open(struct session *s, struct kv_error *err)
{
    struct nbd_connection *conn = s->conn;
    list_init(&s->spare);
    list_init(&s->replies);
    list_init(&s->put_off);
    for (unsigned i = 0; i < REQUESTS; i++) {
        s->requests[i].session = s;
        list_add_tail(&s->spare, &s->requests[i].node);
    }
    s->received = malloc(RECEIVE_SIZE);
    if (!s->received)
        return -ENOMEM;
    int rc = block_root_queue(&s->queue, conn->export->root, &s->loop, REQUESTS, err);
    if (rc < 0)
        return rc;
    block_queue_set_batch(s->queue, batch_done, s);
    rc = loop_add(&s->loop, &s->source, s->channel->fd, EPOLLIN, socket_ready, s);
    if (rc < 0)
        block_queue_free(s->queue);
    return rc;
}

static void session_run(struct session *s)
{
    /* TLS may have decrypted requests together with the end of the handshake. */
    receive(s);
    loop_run(&s->loop);
    loop_remove(&s->source);
    loop_timer_cancel(&s->again);
    s->dead = s->leaving = true;
    block_drain(s->queue);
    block_queue_free(s->queue);
}

int nbd_transmission(struct nbd_connection *conn, struct kv_error *err)
{
    struct session *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->conn = conn;
    s->channel = &conn->channel;
    s->export = conn->export;
    s->source = LOOP_SOURCE_INIT;
    s->err = err;
    int rc = loop_init(&s->loop, err);
    if (rc == 0) {
        rc = session_open(s, err);
        if (rc == 0) {
            session_run(s);
            rc = s->rc;
        }
        loop_destroy(&s->loop);
    }
    for (unsigned i = 0; i < REQUESTS; i++)
        free(s->requests[i].buffer);
    free(s->received);
    free(s);
    return rc;
}
