/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections of libraries, shared by threads and made anew when they are lost; see remote.h. */
#include "block/remote.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"

#define NS_PER_S INT64_C(1000000000)
#define CONNECT_TIMEOUT_MS 10000
#define RETRY_FIRST_MS 50 /* between two tries to connect; doubles up to */
#define RETRY_LAST_MS 1000
#define FORGET_NS NS_PER_S /* without patience: how long a failed try is remembered */
#define QUIET_MS 500       /* libraries look at their timeouts so often */

int remote_open(struct remote *remote, const struct remote_ops *ops, void *opaque, int timeout_ms,
                struct kv_error *err)
{
    *remote = (struct remote){.ops = ops, .opaque = opaque, .wake_fd = -1};
    int rc =
        ops->connect(opaque, timeout_ms ? timeout_ms : CONNECT_TIMEOUT_MS, &remote->handle, err);
    if (rc < 0)
        return rc;
    remote->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (remote->wake_fd < 0) {
        rc = kv_error_errno(err, KV_ERR_BLOCK, errno, "eventfd");
        ops->disconnect(opaque, remote->handle);
        return rc;
    }
    atomic_store(&remote->up, true);
    list_init(&remote->sent);
    pthread_mutex_init(&remote->lock, NULL);
    pthread_cond_init(&remote->joined, NULL);
    return 0;
}

void remote_close(struct remote *remote)
{
    if (remote->handle)
        remote->ops->disconnect(remote->opaque, remote->handle);
    close(remote->wake_fd);
    pthread_cond_destroy(&remote->joined);
    pthread_mutex_destroy(&remote->lock);
}

/* -------------------------------------------------------------------------- losing */

static int64_t patience_end(const struct remote *remote)
{
    return remote->lost_ns + (int64_t)remote->patience_s * NS_PER_S;
}

void remote_finish(struct remote_op *op, int result)
{
    if (op->finished)
        return;
    op->finished = true;
    op->result = result;
    list_del(&op->node);
    if (op->done)
        op->done(op);
    else
        pthread_cond_signal(&op->cond);
}

/* Under the lock: no request will be answered any more. */
static void lose(struct remote *remote)
{
    void *handle = remote->handle;
    remote->handle = NULL;
    atomic_store(&remote->up, false);
    remote->generation++;
    remote->lost_ns = clock_monotonic_ns();
    remote->tried_ns = 0;
    remote->ops->disconnect(remote->opaque, handle);
    while (!list_empty(&remote->sent))
        remote_finish(list_entry(remote->sent.next, struct remote_op, node), -ENOTCONN);
    if (remote->served)
        eventfd_write(remote->wake_fd, 1);
    log_warning("%s: the connection is lost%s", remote->what,
                remote->patience_s ? "; requests wait for it" : "");
}

/* ------------------------------------------------------------------- coming back */

/* With the lock held on entry and exit, but not between; connecting is set. */
static int try_connect(struct remote *remote, int timeout_ms)
{
    void *handle = NULL;
    struct kv_error err = {0};
    pthread_mutex_unlock(&remote->lock);
    int rc = remote->ops->connect(remote->opaque, timeout_ms, &handle, &err);
    if (rc < 0)
        log_debug("%s: %s", remote->what, err.message);
    pthread_mutex_lock(&remote->lock);
    remote->tried_ns = clock_monotonic_ns();
    if (rc == 0) {
        remote->handle = handle;
        atomic_store(&remote->up, true);
        log_info("%s: the connection is back", remote->what);
    }
    return rc;
}

/* Under the lock. Makes the connection, as often as patience allows. */
static int reconnect(struct remote *remote)
{
    int64_t end = patience_end(remote);
    int pause_ms = RETRY_FIRST_MS, rc;
    remote->connecting = true;
    for (;;) {
        int64_t left_ms = (end - clock_monotonic_ns()) / 1000000;
        rc = try_connect(
            remote, (int)MIN(MAX(left_ms, (int64_t)RETRY_LAST_MS), (int64_t)CONNECT_TIMEOUT_MS));
        if (rc == 0 || clock_monotonic_ns() >= end)
            break;
        const struct timespec pause = {.tv_nsec = MIN(pause_ms, 999) * 1000000L};
        pthread_mutex_unlock(&remote->lock);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&remote->lock);
        pause_ms = MIN(2 * pause_ms, RETRY_LAST_MS);
    }
    remote->connecting = false;
    pthread_cond_broadcast(&remote->joined);
    return rc;
}

/* Under the lock. 0: there is a handle. */
static int need_handle(struct remote *remote)
{
    while (!remote->handle) {
        if (block_is_sealed() && !remote->sealed_too)
            return -EIO; /* a jail has no way to the server */
        if (remote->connecting) {
            pthread_cond_wait(&remote->joined, &remote->lock);
            continue;
        }
        /* After patience has ended requests fail at once, but for one try now and then. */
        int64_t now = clock_monotonic_ns();
        if (now >= patience_end(remote) && remote->tried_ns && now - remote->tried_ns < FORGET_NS)
            return -ENOTCONN;
        if (reconnect(remote) < 0)
            return -ENOTCONN;
    }
    return 0;
}

/* ------------------------------------------------------------------------ serving */

/* Under the lock. Where several wait for one socket, what it had may be gone by now, and libraries
 * take being told of nothing amiss. */
static void serve(struct remote *remote, short revents, bool alone)
{
    if (revents && !alone) {
        struct pollfd pfd = {.fd = remote->ops->fd(remote->handle), .events = revents};
        revents = poll(&pfd, 1, 0) > 0 ? pfd.revents : 0;
    }
    if (!remote->ops->serve(remote->opaque, remote->handle, revents))
        lose(remote);
}

/* One wait for the socket, on behalf of all. Under the lock but for the wait. */
static void serve_once(struct remote *remote)
{
    void *handle = remote->handle;
    struct pollfd fds[] = {
        {.fd = remote->ops->fd(handle), .events = remote->ops->events(handle)},
        {.fd = remote->wake_fd, .events = POLLIN},
    };
    unsigned generation = remote->generation;
    eventfd_t ignored;
    remote->served = true;
    pthread_mutex_unlock(&remote->lock);
    int n = poll(fds, 2, QUIET_MS);
    pthread_mutex_lock(&remote->lock);
    remote->served = false;
    if (n > 0 && (fds[1].revents & POLLIN))
        eventfd_read(remote->wake_fd, &ignored);
    if (remote->generation == generation && n >= 0 && (n == 0 || fds[0].revents))
        serve(remote, fds[0].revents, remote->loops == 0);
}

/* Another thread serves from now on. */
static void hand_on(struct remote *remote)
{
    if (remote->served)
        return;
    list_for_each (pos, &remote->sent) {
        struct remote_op *op = list_entry(pos, struct remote_op, node);
        if (!op->done) {
            pthread_cond_signal(&op->cond);
            return;
        }
    }
}

/* ----------------------------------------------------------------------- requests */

/* Under the lock. */
static int send_op(struct remote *remote, struct remote_op *op)
{
    op->finished = false;
    op->result = 0;
    list_add_tail(&remote->sent, &op->node);
    int rc = op->send(op, remote->handle);
    if (rc < 0 && !op->finished) {
        op->finished = true;
        list_del(&op->node);
        return rc;
    }
    /* Whoever serves waits for less than what there is to do now. */
    if (remote->served && (remote->ops->events(remote->handle) & POLLOUT))
        eventfd_write(remote->wake_fd, 1);
    return 0;
}

/* Under the lock: sends and waits for the reply. -ENOTCONN: the connection was lost. */
static int run_once(struct remote *remote, struct remote_op *op)
{
    unsigned generation = remote->generation;
    int rc = send_op(remote, op);
    if (rc == -ENOTCONN)
        lose(remote);
    if (rc < 0)
        return rc;
    while (!op->finished) {
        if (remote->served)
            pthread_cond_wait(&op->cond, &remote->lock);
        else
            serve_once(remote);
    }
    if (remote->generation == generation && op->result == -ENOTCONN)
        lose(remote);
    else if (remote->generation == generation)
        hand_on(remote);
    return op->result;
}

int remote_run(struct remote *remote, struct remote_op *op)
{
    pthread_cond_init(&op->cond, NULL);
    op->done = NULL;
    atomic_fetch_add(&remote->load, 1);
    pthread_mutex_lock(&remote->lock);
    int rc;
    do {
        rc = need_handle(remote);
        if (rc < 0)
            break;
        rc = run_once(remote, op);
    } while (rc == -ENOTCONN && clock_monotonic_ns() < patience_end(remote));
    pthread_mutex_unlock(&remote->lock);
    atomic_fetch_sub(&remote->load, 1);
    pthread_cond_destroy(&op->cond);
    return rc;
}

/* ------------------------------------------------------------------------- queues */

bool remote_start(struct remote *remote, struct remote_op *op)
{
    if (!remote->handle)
        return false;
    int rc = send_op(remote, op);
    if (rc == -ENOTCONN || (rc == 0 && op->finished && op->result == -ENOTCONN))
        lose(remote);
    return rc == 0;
}

void remote_serve(struct remote *remote, unsigned generation, short revents)
{
    if (remote->handle && remote->generation == generation)
        serve(remote, revents, remote->loops == 1 && !remote->served);
}

int remote_wanted(struct remote *remote, short *events, unsigned *generation)
{
    *generation = remote->generation;
    int fd = remote->handle ? remote->ops->fd(remote->handle) : -1;
    *events = fd >= 0 ? remote->ops->events(remote->handle) : 0;
    return fd;
}
