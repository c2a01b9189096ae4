/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client's connection: bytes in, cut into packets; bytes out, written at once when the socket
 * takes them, else queued. Dispatching what the packets say is dispatch.c's.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "rpc/internal.h"

#define READS_AT_ONCE 16        /* then the other clients have their turn */
#define OUT_BYTES_MAX MIB(1024) /* unread by all clients together */

struct rpc_client *rpc_client_ref(struct rpc_client *client)
{
    atomic_fetch_add(&client->refs, 1);
    return client;
}

void rpc_client_unref(struct rpc_client *client)
{
    if (!client || atomic_fetch_sub(&client->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&client->lock);
    free(client->address);
    free(client->x509_name);
    free(client->sasl_user);
    free(client);
}

void rpc_client_identity(const struct rpc_client *client, struct rpc_identity *out)
{
    *out = (struct rpc_identity){
        .client_id = client->id,
        .pid = client->pid,
        .uid = client->uid,
        .gid = client->gid,
        .sasl_user = client->sasl_user,
        .x509_name = client->x509_name,
        .read_only = client->read_only,
    };
}

/* ------------------------------------------------------------------ posting */

void client_post(struct rpc_client *client, unsigned why)
{
    struct rpc_server *server = client->server;
    pthread_mutex_lock(&server->post_lock);
    if (!client->posted) {
        rpc_client_ref(client);
        list_add_tail(&server->posted, &client->posted_node);
    }
    bool news = (client->posted & why) != why;
    client->posted |= why;
    pthread_mutex_unlock(&server->post_lock);
    if (news)
        uv_async_send(&server->wake);
}

/* ------------------------------------------------------------------ writing */

static void free_out(struct rpc_out *out)
{
    for (unsigned i = out->fds_done; i < out->n_fds; i++)
        close(out->fds[i]);
    free(out);
}

static int write_fd(struct rpc_client *client, int fd)
{
    char byte = 0;
    struct iovec iov = {&byte, 1};
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof(control.room)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(head), &fd, sizeof(fd));
    ssize_t n = sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n == 1 ? 0 : n < 0 ? -errno : -EAGAIN;
}

/* With the lock. 0, -EAGAIN with something left, or -errno. */
static int write_out(struct rpc_client *client, struct rpc_out *out)
{
    while (out->done < out->len) {
        ssize_t n = transport_write(client, out->bytes + out->done, out->len - out->done);
        if (n < 0)
            return (int)n;
        out->done += (size_t)n;
    }
    for (; out->fds_done < out->n_fds; out->fds_done++) {
        int r = write_fd(client, out->fds[out->fds_done]);
        if (r < 0)
            return r;
        close(out->fds[out->fds_done]);
    }
    return 0;
}

/* With the lock. *ended: calls whose replies are written. */
static int flush(struct rpc_client *client, unsigned *ended)
{
    while (!list_empty(&client->out)) {
        struct rpc_out *out = list_entry(client->out.next, struct rpc_out, node);
        int r = write_out(client, out);
        if (r < 0)
            return r;
        list_del(&out->node);
        client->out_bytes -= out->len;
        atomic_fetch_sub(&client->server->out_bytes, out->len);
        *ended += (out->flags & SEND_ENDS_CALL) != 0;
        if (out->flags & SEND_STARTS_SASL)
            sasl_session_protect(client);
        free_out(out);
    }
    return 0;
}

/* With the lock. */
static int queue_out(struct rpc_client *client, const uint8_t *bytes, size_t len, const int *fds,
                     unsigned n_fds, unsigned flags)
{
    size_t all = atomic_load(&client->server->out_bytes);
    if (len > OUT_BYTES_MAX - MIN(all, OUT_BYTES_MAX))
        return -ENOBUFS;
    if ((flags & SEND_EVENT) && client->out_bytes + len > EVENTS_HIGH)
        return -ENOBUFS;
    struct rpc_out *out = malloc(sizeof(*out) + len);
    if (!out)
        return -ENOMEM;
    *out = (struct rpc_out){.len = len, .n_fds = n_fds, .flags = flags};
    memcpy(out->bytes, bytes, len);
    if (n_fds)
        memcpy(out->fds, fds, n_fds * sizeof(*fds));
    list_add_tail(&client->out, &out->node);
    client->out_bytes += len;
    atomic_fetch_add(&client->server->out_bytes, len);
    return 0;
}

/* With the lock. How much of it went out at once; 0 when it has to wait its turn. */
static ssize_t write_at_once(struct rpc_client *client, const uint8_t *bytes, size_t len)
{
    if (!client->direct || !list_empty(&client->out))
        return 0;
    ssize_t n = transport_write(client, bytes, len);
    return n == -EAGAIN ? 0 : n;
}

/* With the lock. Somebody waits for the client to read: it itself, or one of its streams. */
static bool waits_for_room(struct rpc_client *client)
{
    return atomic_load(&client->held) || client->n_streams;
}

int client_send(struct rpc_client *client, const uint8_t *bytes, size_t len, const int *fds,
                unsigned n_fds, unsigned flags)
{
    pthread_mutex_lock(&client->lock);
    ssize_t n = client->closed ? -EPIPE : write_at_once(client, bytes, len);
    int r = n < 0 ? (int)n : 0;
    bool all = r == 0 && (size_t)n == len && n_fds == 0 && !(flags & SEND_STARTS_SASL);
    if (r == 0 && !all)
        r = queue_out(client, bytes + n, len - (size_t)n, fds, n_fds, flags);
    bool queued = r == 0 && !all, flushed_all = false;
    unsigned ended = all && (flags & SEND_ENDS_CALL);
    if (queued && client->direct) {
        int flushed = flush(client, &ended);
        r = flushed == -EAGAIN ? 0 : flushed;
        flushed_all = flushed == 0;
    }
    bool left = r == 0 && !list_empty(&client->out), waits = waits_for_room(client);
    pthread_mutex_unlock(&client->lock);
    for (unsigned i = 0; !queued && i < n_fds; i++)
        close(fds[i]);
    if (r < 0)
        client_post(client, POST_CLOSE);
    else if (left || (flushed_all && waits))
        client_post(client, POST_WRITE);
    while (ended--)
        client_call_done(client);
    return r;
}

static void go_on(struct rpc_client *client);

/* Loop: the socket takes more, or something was queued. */
static void write_more(struct rpc_client *client)
{
    unsigned ended = 0;
    pthread_mutex_lock(&client->lock);
    int r = client->closed ? 0 : flush(client, &ended);
    pthread_mutex_unlock(&client->lock);
    if (r < 0 && r != -EAGAIN) {
        client_close(client);
        return;
    }
    while (ended--)
        client_call_done(client);
    streams_resume(client);
    go_on(client);
}

void client_call_done(struct rpc_client *client)
{
    atomic_fetch_sub(&client->in_flight, 1);
    if (atomic_load(&client->held))
        client_post(client, POST_RESUME);
}

/* ------------------------------------------------------------------ reading */

static size_t packet_bound(const struct rpc_client *client)
{
    return atomic_load(&client->proved) ? PACKET_MAX : PACKET_MAX_UNPROVED;
}

/* Whether the client has enough for now. What is held is posted again when that changes. */
static bool has_enough(struct rpc_client *client)
{
    pthread_mutex_lock(&client->lock);
    bool unread = client->out_bytes > OUT_HIGH;
    pthread_mutex_unlock(&client->lock);
    return client->server->ending || unread || client->n_waiting >= WAITING_CALLS_MAX ||
           client->waiting_bytes > WAITING_BYTES_MAX || streams_full(client);
}

static bool hold(struct rpc_client *client)
{
    if (!has_enough(client)) {
        atomic_store(&client->held, client->n_waiting > 0);
        return false;
    }
    atomic_store(&client->held, true);
    return true;
}

/* Takes the descriptors that came for a packet. */
static void take_fds(struct rpc_client *client, int *fds, unsigned n)
{
    memcpy(fds, client->in_fds, n * sizeof(*fds));
    client->n_in_fds -= n;
    memmove(client->in_fds, client->in_fds + n, client->n_in_fds * sizeof(*fds));
}

bool client_may_keep(const struct rpc_client *client, size_t len)
{
    return len <= IN_BYTES_FREE || atomic_load(&client->server->in_bytes) + len <= IN_BYTES_MAX;
}

/* Notes how much of the client waits for the rest of its packet. -ENOBUFS: all clients together
 * have too much of that, and this one not little. */
static int count_in(struct rpc_client *client)
{
    size_t before = client->in_counted, now = client->in.len;
    client->in_counted = now;
    atomic_fetch_add(&client->server->in_bytes, now - before);
    if (now <= before || now <= IN_BYTES_FREE ||
        atomic_load(&client->server->in_bytes) <= IN_BYTES_MAX)
        return 0;
    log_info("client %llu: disconnected, too many bytes of packets that are not whole are kept",
             (unsigned long long)client->id);
    return -ENOBUFS;
}

/* Looks at the packets in bytes. Returns how many bytes they were, or -errno. */
static ssize_t feed(struct rpc_client *client, const uint8_t *bytes, size_t len)
{
    size_t used = 0;
    while (!client->closed && !hold(client) && used < len) {
        struct packet packet;
        int fds[PACKET_FDS_MAX];
        int r = packet_parse(bytes + used, len - used, packet_bound(client), &packet);
        if (r < 0) {
            log_info("client %llu: what it sent is no packet", (unsigned long long)client->id);
            return r;
        }
        if (r == 0)
            break;
        if (packet.fds > client->n_in_fds)
            return -EPROTO;
        take_fds(client, fds, packet.fds);
        used += packet.total;
        r = dispatch_packet(client, &packet, fds);
        if (r < 0)
            return r;
    }
    return (ssize_t)used;
}

/* Goes on with what is in the client's buffer. */
static int feed_buffered(struct rpc_client *client)
{
    ssize_t used = feed(client, buffer_bytes(&client->in), client->in.len);
    if (used < 0)
        return (int)used;
    buffer_consume(&client->in, (size_t)used);
    return count_in(client);
}

/* Loop: what had to wait may go on, if the client was held. */
static void go_on(struct rpc_client *client)
{
    if (client->closed || !atomic_load(&client->held))
        return;
    dispatch_waiting(client);
    if (!client->closed && feed_buffered(client) < 0)
        client_close(client);
}

static int take_bytes(struct rpc_client *client, const uint8_t *bytes, size_t len)
{
    if (client->in.len == 0) {
        ssize_t used = feed(client, bytes, len);
        if (used < 0 || client->closed)
            return (int)MIN(used, 0);
        int r = buffer_append(&client->in, bytes + used, len - (size_t)used);
        return r < 0 ? r : count_in(client);
    }
    int r = buffer_append(&client->in, bytes, len);
    return r < 0 ? r : feed_buffered(client);
}

static void read_more(struct rpc_client *client)
{
    struct rpc_server *server = client->server;
    client->heard_at = (int64_t)uv_now(&server->loop);
    client->pings = 0;
    for (int i = 0; i < READS_AT_ONCE; i++) {
        ssize_t n = transport_read(client, server->scratch, sizeof(server->scratch));
        if (n == -EAGAIN)
            break;
        int r = n == 0 ? -EPIPE : n < 0 ? (int)n : take_bytes(client, server->scratch, (size_t)n);
        if (r < 0) {
            client_close(client);
            return;
        }
        if (client->closed || (atomic_load(&client->held) && client->in.len))
            break;
        if ((size_t)n < sizeof(server->scratch) && !client->tls && !client->sasl)
            break;
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct rpc_client *client = poll->data;
    rpc_client_ref(client);
    if (status < 0)
        client_close(client);
    else if (!tls_session_ready(client))
        tls_session_go_on(client);
    else {
        if (events & UV_WRITABLE)
            write_more(client);
        if ((events & UV_READABLE) && !client->closed)
            read_more(client);
        else if ((events & UV_DISCONNECT) && !client->closed)
            client_close(client);
    }
    client_watch(client);
    rpc_client_unref(client);
}

void client_watch(struct rpc_client *client)
{
    if (client->closed)
        return;
    pthread_mutex_lock(&client->lock);
    bool writing = !list_empty(&client->out);
    pthread_mutex_unlock(&client->lock);
    int events = writing ? UV_WRITABLE : 0;
    if (!tls_session_ready(client))
        events = tls_session_wants(client);
    else
        events |= atomic_load(&client->held) && has_enough(client) ? UV_DISCONNECT : UV_READABLE;
    if (events == client->polled)
        return;
    client->polled = events;
    uv_poll_start(&client->poll, events, on_poll);
}

void client_posted(struct rpc_client *client, unsigned why)
{
    if (client->closed)
        return;
    if (why & POST_CLOSE) {
        client_close(client);
        return;
    }
    if (why & POST_WRITE)
        write_more(client);
    else
        go_on(client);
    client_watch(client);
}

/* -------------------------------------------------------------- life and end */

static void learn_peer(struct rpc_client *client)
{
    struct ucred peer = {.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};
    socklen_t len = sizeof(peer);
    if (client->transport == RPC_UNIX &&
        getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        peer = (struct ucred){.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};
    client->pid = peer.pid;
    client->uid = peer.uid;
    client->gid = peer.gid;
}

struct rpc_client *client_new(struct rpc_listener *listener, int fd)
{
    struct rpc_service *service = listener->service;
    struct rpc_client *client = calloc(1, sizeof(*client));
    if (!client)
        return NULL;
    *client = (struct rpc_client){
        .refs = 1,
        .server = service->server,
        .service = service,
        .id = ++service->next_id,
        .connected_at = time(NULL),
        .transport = listener->transport,
        .auth = listener->auth,
        .read_only = listener->read_only,
        .fd = fd,
        .in = BUFFER_INIT(PACKET_MAX + sizeof(service->server->scratch) + PACKET_FDS_MAX),
        .direct = listener->transport == RPC_UNIX && listener->auth != RPC_AUTH_SASL,
        .heard_at = (int64_t)uv_now(&service->server->loop),
        .arrived_at = (int64_t)uv_now(&service->server->loop),
    };
    pthread_mutex_init(&client->lock, NULL);
    list_init(&client->posted_node);
    list_init(&client->waiting);
    list_init(&client->streams);
    list_init(&client->out);
    list_init(&client->closers);
    client->proved = client->auth == RPC_AUTH_NONE;
    client->is_stranger = listener_meets_strangers(listener);
    learn_peer(client);
    if (uv_poll_init(&service->server->loop, &client->poll, fd) != 0) {
        rpc_client_unref(client);
        return NULL;
    }
    client->poll.data = client;
    pthread_mutex_lock(&service->lock);
    list_add_tail(&service->clients, &client->node);
    service->n_clients++;
    service->n_strangers += client->is_stranger;
    pthread_mutex_unlock(&service->lock);
    client_watch(client);
    return client;
}

void client_is_known(struct rpc_client *client)
{
    struct rpc_service *service = client->service;
    pthread_mutex_lock(&service->lock);
    if (client->is_stranger && atomic_load(&client->proved) && tls_session_ready(client)) {
        client->is_stranger = false;
        service->n_strangers--;
    }
    pthread_mutex_unlock(&service->lock);
}

void client_set_proved(struct rpc_client *client)
{
    atomic_store(&client->proved, true);
    client_is_known(client);
}

static void on_poll_closed(uv_handle_t *handle)
{
    rpc_client_unref(handle->data);
}

static void run_closer(struct pool_job *job)
{
    struct rpc_closer *closer = container_of(job, struct rpc_closer, job);
    closer->fn(closer->opaque);
    atomic_fetch_sub(&closer->server->later, 1);
    free(closer);
}

static void submit_closer(struct rpc_server *server, struct rpc_closer *closer)
{
    closer->server = server;
    closer->job.run = run_closer;
    atomic_fetch_add(&server->later, 1);
    pool_submit(server->services[RPC_SERVICE_MAIN].pool, &closer->job, false);
}

int rpc_server_run_later(struct rpc_server *server, void (*fn)(void *opaque), void *opaque)
{
    struct rpc_closer *closer = calloc(1, sizeof(*closer));
    if (!closer)
        return -ENOMEM;
    closer->fn = fn;
    closer->opaque = opaque;
    submit_closer(server, closer);
    return 0;
}

int rpc_client_on_close(struct rpc_client *client, void (*fn)(void *opaque), void *opaque)
{
    struct rpc_closer *closer = calloc(1, sizeof(*closer));
    if (!closer)
        return -ENOMEM;
    closer->fn = fn;
    closer->opaque = opaque;
    pthread_mutex_lock(&client->lock);
    bool closed = client->closed, room = client->n_closers < CLOSERS_MAX;
    if (!closed && room) {
        list_add_tail(&client->closers, &closer->node);
        client->n_closers++;
    }
    pthread_mutex_unlock(&client->lock);
    if (closed)
        submit_closer(client->server, closer);
    else if (!room)
        free(closer);
    return closed || room ? 0 : -ENOSPC;
}

bool rpc_client_off_close(struct rpc_client *client, void (*fn)(void *opaque), void *opaque)
{
    struct rpc_closer *found = NULL;
    pthread_mutex_lock(&client->lock);
    list_for_each (node, &client->closers) {
        struct rpc_closer *closer = list_entry(node, struct rpc_closer, node);
        if (closer->fn == fn && closer->opaque == opaque) {
            found = closer;
            list_del(&closer->node);
            client->n_closers--;
            break;
        }
    }
    pthread_mutex_unlock(&client->lock);
    free(found);
    return found != NULL;
}

void rpc_client_say_goodbye(struct rpc_client *client)
{
    atomic_store(&client->goodbye, true);
}

bool rpc_client_said_goodbye(const struct rpc_client *client)
{
    return atomic_load(&client->goodbye);
}

static void drop_waiting(struct rpc_client *client)
{
    list_for_each_safe (node, &client->waiting) {
        struct rpc_call *call = list_entry(node, struct rpc_call, node);
        list_del(&call->node);
        for (unsigned i = 0; i < call->n_in_fds; i++)
            close(call->in_fds[i]);
        dispatch_free_call(call);
    }
    client->n_waiting = 0;
}

static void drop_out(struct rpc_client *client)
{
    list_for_each_safe (node, &client->out) {
        struct rpc_out *out = list_entry(node, struct rpc_out, node);
        list_del(&out->node);
        atomic_fetch_sub(&client->server->out_bytes, out->len);
        free_out(out);
    }
    client->out_bytes = 0;
}

void client_close(struct rpc_client *client)
{
    struct rpc_service *service = client->service;
    if (client->closed)
        return;
    events_forget(client);
    /* Before the number of the descriptor can belong to somebody else. */
    uv_close((uv_handle_t *)&client->poll, on_poll_closed);
    pthread_mutex_lock(&service->lock);
    list_del(&client->node);
    service->n_clients--;
    service->n_strangers -= client->is_stranger;
    client->is_stranger = false;
    pthread_mutex_lock(&client->lock);
    client->closed = true;
    tls_session_free(client);
    close(client->fd);
    client->fd = -1;
    drop_out(client);
    pthread_mutex_unlock(&client->lock);
    pthread_mutex_unlock(&service->lock);
    streams_close(client);
    drop_waiting(client);
    for (unsigned i = 0; i < client->n_in_fds; i++)
        close(client->in_fds[i]);
    client->n_in_fds = 0;
    buffer_free(&client->in);
    count_in(client);
    sasl_session_free(client);
    list_for_each_safe (node, &client->closers) {
        struct rpc_closer *closer = list_entry(node, struct rpc_closer, node);
        list_del(&closer->node);
        submit_closer(client->server, closer);
    }
    service->server->no_files = false;
    listeners_update(service->server);
}
