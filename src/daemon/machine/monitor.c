/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client side of a monitor's control socket; see monitor.h. */
#include "daemon/machine/monitor.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/util.h"
#include "model/api_error.h"

#define MESSAGE_MAX MIB(16) /* the longest answer that is read */
#define READ_CHUNK 16384

/* A request that was sent. Freed by whoever waits for it, or once done was called. */
struct monitor_call {
    struct list node; /* in the monitor's calls until answered */
    json_int_t id;
    json_t *answer; /* the whole message */
    bool finished, waiting;
    void (*done)(void *opaque, const json_t *result);
    void *opaque;
};

struct monitor {
    int fd;
    struct loop *loop;
    struct monitor_handler handler;
    struct loop_source source; /* loop thread */
    struct loop_work flush_work;
    struct buffer in; /* loop thread */

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t changed;
    struct buffer out;
    struct list calls;
    json_int_t next_id;
    bool lost;
};

/* ------------------------------------------------------------------- messages */

/* The next whole message of in, or NULL: each is one line. */
static json_t *next_message(struct buffer *in, bool *broken)
{
    const uint8_t *bytes = buffer_bytes(in);
    const uint8_t *end = in->len ? memchr(bytes, '\n', in->len) : NULL;
    if (!end)
        return NULL;
    size_t len = (size_t)(end - bytes) + 1;
    json_t *message = json_loadb((const char *)bytes, len, 0, NULL);
    buffer_consume(in, len);
    *broken = !json_is_object(message);
    if (*broken) {
        json_decref(message);
        return NULL;
    }
    return message;
}

/* 1: something came; 0: nothing now; -errno: the connection is over. */
static int receive(struct monitor *monitor)
{
    uint8_t bytes[READ_CHUNK];
    ssize_t n = read(monitor->fd, bytes, sizeof(bytes));
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (n == 0)
        return -ECONNRESET;
    int rc = buffer_append(&monitor->in, bytes, (size_t)n);
    return rc < 0 ? rc : 1;
}

static int64_t realtime_us(const json_t *message)
{
    const json_t *stamp = json_object_get(message, "timestamp");
    return json_integer_value(json_object_get(stamp, "seconds")) * 1000000 +
           json_integer_value(json_object_get(stamp, "microseconds"));
}

/* ------------------------------------------------------------------ the answers */

/* The answer goes from this thread to the one that waits: it is never theirs at the same time. */
static void finish(struct monitor *monitor, struct monitor_call *call, json_t *answer)
{
    list_del(&call->node);
    call->answer = answer;
    call->finished = true;
    if (call->waiting) {
        pthread_cond_broadcast(&monitor->changed);
        return;
    }
    pthread_mutex_unlock(&monitor->lock);
    if (call->done)
        call->done(call->opaque, json_object_get(answer, "return"));
    json_decref(answer);
    free(call);
    pthread_mutex_lock(&monitor->lock);
}

static void deliver_answer(struct monitor *monitor, json_t *message)
{
    json_int_t id = json_integer_value(json_object_get(message, "id"));
    pthread_mutex_lock(&monitor->lock);
    list_for_each (pos, &monitor->calls) {
        struct monitor_call *call = list_entry(pos, struct monitor_call, node);
        if (call->id != id)
            continue;
        finish(monitor, call, message);
        message = NULL;
        break;
    }
    pthread_mutex_unlock(&monitor->lock);
    json_decref(message); /* nobody waits for it any more */
}

/* Takes the message over. */
static void deliver(struct monitor *monitor, json_t *message)
{
    const char *event = json_string_value(json_object_get(message, "event"));
    if (!event) {
        deliver_answer(monitor, message);
        return;
    }
    monitor->handler.event(monitor->handler.opaque, event, json_object_get(message, "data"),
                           realtime_us(message));
    json_decref(message);
}

static void lose(struct monitor *monitor)
{
    loop_remove(&monitor->source);
    pthread_mutex_lock(&monitor->lock);
    monitor->lost = true;
    while (!list_empty(&monitor->calls))
        finish(monitor, list_entry(monitor->calls.next, struct monitor_call, node), NULL);
    pthread_mutex_unlock(&monitor->lock);
}

void monitor_drain(struct monitor *monitor)
{
    json_t *message;
    bool broken = false;
    int n = 1;
    while (monitor->source.loop && n > 0 && !broken) {
        n = receive(monitor);
        while (!broken && (message = next_message(&monitor->in, &broken)))
            deliver(monitor, message);
    }
    if (broken)
        log_warning("a monitor sent a line that is no JSON object");
    if (n < 0 || broken)
        lose(monitor);
}

/* -------------------------------------------------------------------- sending */

static int flush_locked(struct monitor *monitor)
{
    while (monitor->out.len) {
        ssize_t n = fd_send(monitor->fd, buffer_bytes(&monitor->out), monitor->out.len, NULL, 0);
        if (n < 0)
            return n == -EAGAIN ? 0 : (int)n;
        buffer_consume(&monitor->out, (size_t)n);
    }
    return 0;
}

static void flush(void *opaque)
{
    struct monitor *monitor = opaque;
    pthread_mutex_lock(&monitor->lock);
    flush_locked(monitor); /* a failure is also the end of file that the reader sees */
    bool more = monitor->out.len > 0;
    pthread_cond_broadcast(&monitor->changed);
    pthread_mutex_unlock(&monitor->lock);
    if (monitor->source.loop)
        loop_modify(&monitor->source, more ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void on_ready(void *opaque, uint32_t events)
{
    struct monitor *monitor = opaque;
    if (events & EPOLLOUT)
        flush(monitor);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        monitor_drain(monitor);
}

/* With the lock held. The descriptor goes with the first byte, so nothing may wait before it. */
static int queue_text(struct monitor *monitor, const char *text, int fd)
{
    size_t len = strlen(text);
    while (fd >= 0 && monitor->out.len && !monitor->lost)
        pthread_cond_wait(&monitor->changed, &monitor->lock);
    if (monitor->lost)
        return -ECONNRESET;
    if (fd >= 0) {
        ssize_t n = fd_send(monitor->fd, text, len, &fd, 1);
        if (n < 0)
            return (int)n;
        text += n;
        len -= (size_t)n;
    }
    int rc = buffer_append(&monitor->out, text, len);
    if (rc == 0)
        rc = flush_locked(monitor);
    if (monitor->out.len)
        loop_post(monitor->loop, &monitor->flush_work);
    return rc;
}

/* Takes the request over. On failure the call is not in the list. */
static int submit(struct monitor *monitor, struct monitor_call *call, json_t *request, int fd)
{
    char *text = NULL;
    pthread_mutex_lock(&monitor->lock);
    call->id = ++monitor->next_id;
    if (request && json_object_set_new(request, "id", json_integer(call->id)) == 0)
        text = json_dumps(request, JSON_ENSURE_ASCII | JSON_COMPACT);
    int rc = text ? 0 : -ENOMEM;
    if (rc == 0) {
        list_add_tail(&monitor->calls, &call->node);
        rc = queue_text(monitor, text, fd);
    }
    if (rc < 0)
        list_del(&call->node);
    pthread_mutex_unlock(&monitor->lock);
    free(text);
    json_decref(request);
    return rc;
}

static json_t *make_request(const char *command, json_t *arguments)
{
    json_t *request = json_pack("{s:s}", "execute", command);
    if (request && arguments)
        json_object_set_new(request, "arguments", arguments);
    else
        json_decref(arguments);
    return request;
}

static struct monitor_call *new_call(bool waiting)
{
    struct monitor_call *call = calloc(1, sizeof(*call));
    if (call) {
        list_init(&call->node);
        call->waiting = waiting;
    }
    return call;
}

void monitor_send(struct monitor *monitor, const char *command, json_t *arguments,
                  void (*done)(void *opaque, const json_t *result), void *opaque)
{
    struct monitor_call *call = new_call(false);
    json_t *request = make_request(command, arguments);
    if (call) {
        call->done = done;
        call->opaque = opaque;
    }
    /* A connection that is lost means a machine that ends: its death says the rest. */
    if (!call || submit(monitor, call, request, -1) < 0)
        free(call);
}

/* ---------------------------------------------------------------- calls that wait */

static struct timespec deadline_in(int timeout_ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += timeout_ms / 1000;
    at.tv_nsec += (timeout_ms % 1000) * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000L;
    }
    return at;
}

static int explain(const char *command, int code, struct kv_error *err)
{
    if (code == -ETIMEDOUT)
        return api_error(err, VIR_ERR_OPERATION_TIMEOUT, "the monitor does not answer command '%s'",
                         command);
    if (code == -ENOMEM)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    return api_error(err, VIR_ERR_OPERATION_FAILED, "domain is no longer running");
}

/* Waits for the answer and frees the call. *answer: the whole message, a new reference. */
static int wait_answer(struct monitor *monitor, struct monitor_call *call, const char *command,
                       int timeout_ms, json_t **answer, struct kv_error *err)
{
    struct timespec until = deadline_in(timeout_ms ? timeout_ms : MONITOR_TIMEOUT_MS);
    int rc = 0;
    pthread_mutex_lock(&monitor->lock);
    while (!call->finished && rc == 0)
        rc = -pthread_cond_timedwait(&monitor->changed, &monitor->lock, &until);
    if (call->finished)
        rc = call->answer ? 0 : -ECONNRESET;
    list_del(&call->node);
    pthread_mutex_unlock(&monitor->lock);
    *answer = call->answer;
    free(call);
    return rc < 0 ? explain(command, rc, err) : 0;
}

/* The request is taken over. */
static int call_and_wait(struct monitor *monitor, const char *command, json_t *request, int fd,
                         int timeout_ms, json_t **answer, struct kv_error *err)
{
    struct monitor_call *call = new_call(true);
    *answer = NULL;
    if (!call) {
        json_decref(request);
        return explain(command, -ENOMEM, err);
    }
    int rc = submit(monitor, call, request, fd);
    if (rc == 0)
        return wait_answer(monitor, call, command, timeout_ms, answer, err);
    free(call);
    return explain(command, rc, err);
}

static int take_result(const char *command, json_t *answer, json_t **out, struct kv_error *err)
{
    json_t *result = json_object_get(answer, "return");
    int rc = 0;
    if (!result) {
        const char *text =
            json_string_value(json_object_get(json_object_get(answer, "error"), "desc"));
        rc = api_error(err, VIR_ERR_INTERNAL_ERROR, "unable to execute QEMU command '%s': %s",
                       command, text ? text : "no reason was given");
    } else if (out) {
        *out = json_incref(result);
    }
    json_decref(answer);
    return rc;
}

int monitor_call(struct monitor *monitor, const char *command, json_t *arguments, json_t **out,
                 int timeout_ms, struct kv_error *err)
{
    json_t *answer;
    int rc = call_and_wait(monitor, command, make_request(command, arguments), -1, timeout_ms,
                           &answer, err);
    return rc < 0 ? rc : take_result(command, answer, out, err);
}

struct monitor_call *monitor_begin(struct monitor *monitor, const char *command, json_t *arguments)
{
    json_t *request = make_request(command, arguments);
    struct monitor_call *call = new_call(true);
    if (call && submit(monitor, call, request, -1) == 0)
        return call;
    if (!call)
        json_decref(request);
    free(call);
    return NULL;
}

int monitor_finish(struct monitor *monitor, struct monitor_call *call, const char *command,
                   json_t **out, int timeout_ms, struct kv_error *err)
{
    json_t *answer;
    if (!call)
        return explain(command, -ECONNRESET, err);
    int rc = wait_answer(monitor, call, command, timeout_ms, &answer, err);
    return rc < 0 ? rc : take_result(command, answer, out, err);
}

int monitor_call_fd(struct monitor *monitor, const char *command, json_t *arguments, int fd,
                    json_t **out, struct kv_error *err)
{
    json_t *answer;
    int rc = call_and_wait(monitor, command, make_request(command, arguments), fd, 0, &answer, err);
    return rc < 0 ? rc : take_result(command, answer, out, err);
}

int monitor_call_raw(struct monitor *monitor, const json_t *request, json_t **answer,
                     struct kv_error *err)
{
    json_t *id = json_incref(json_object_get(request, "id"));
    int rc = call_and_wait(monitor, "", json_copy((json_t *)request), -1, 0, answer, err);
    if (rc == 0 && id)
        json_object_set(*answer, "id", id);
    else if (rc == 0)
        json_object_del(*answer, "id");
    json_decref(id);
    return rc;
}

/* ------------------------------------------------------------------- connecting */

/* Waits for the next message before the loop reads. */
static int await_message(struct monitor *monitor, const struct process *process, int64_t until,
                         json_t **out)
{
    bool broken = false;
    for (;;) {
        *out = next_message(&monitor->in, &broken);
        if (*out || broken)
            return *out ? 0 : -EPROTO;
        int64_t left = (until - clock_monotonic_ns()) / 1000000;
        struct pollfd fds[] = {
            {.fd = monitor->fd, .events = POLLIN},
            {.fd = process->pidfd, .events = POLLIN},
        };
        if (left <= 0)
            return -ETIMEDOUT;
        if (poll(fds, ARRAY_SIZE(fds), (int)MIN(left, (int64_t)INT32_MAX)) < 0)
            continue;
        if (fds[0].revents) {
            int n = receive(monitor);
            if (n < 0)
                return n;
        } else if (fds[1].revents) {
            return -ECONNRESET;
        }
    }
}

/* Events may stand between the request and its answer. */
static int negotiate(struct monitor *monitor, const struct process *process, int64_t until)
{
    static const char request[] = "{\"execute\":\"qmp_capabilities\"}\n";
    json_t *message;
    int rc = await_message(monitor, process, until, &message);
    if (rc < 0)
        return rc;
    bool greeting = json_object_get(message, "QMP");
    json_decref(message);
    if (!greeting)
        return -EPROTO;
    ssize_t n = fd_send(monitor->fd, request, sizeof(request) - 1, NULL, 0);
    if (n != sizeof(request) - 1)
        return n < 0 ? (int)n : -EPROTO;
    rc = await_message(monitor, process, until, &message);
    if (rc < 0)
        return rc;
    bool accepted = json_object_get(message, "return");
    json_decref(message);
    return accepted ? 0 : -EPROTO;
}

/* What came along with the answer is delivered at once. */
static void begin_reading(void *opaque)
{
    struct monitor *monitor = opaque;
    loop_add(monitor->loop, &monitor->source, monitor->fd, EPOLLIN, on_ready, monitor);
    monitor_drain(monitor);
}

static void stop_reading(void *opaque)
{
    struct monitor *monitor = opaque;
    lose(monitor);
    loop_unpost(monitor->loop, &monitor->flush_work);
}

static void destroy(struct monitor *monitor)
{
    if (monitor->fd >= 0)
        close(monitor->fd);
    buffer_free(&monitor->in);
    buffer_free(&monitor->out);
    pthread_mutex_destroy(&monitor->lock);
    pthread_cond_destroy(&monitor->changed);
    free(monitor);
}

int monitor_connect(struct monitor **out, const char *path, const struct process *process,
                    int timeout_ms, struct loop *loop, const struct monitor_handler *handler,
                    struct kv_error *err)
{
    struct monitor *monitor = calloc(1, sizeof(*monitor));
    if (!monitor)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&monitor->lock, NULL);
    pthread_cond_init(&monitor->changed, &attr);
    pthread_condattr_destroy(&attr);
    monitor->loop = loop;
    monitor->handler = *handler;
    monitor->source = LOOP_SOURCE_INIT;
    monitor->flush_work = (struct loop_work){.fn = flush, .opaque = monitor};
    monitor->in = BUFFER_INIT(MESSAGE_MAX);
    monitor->out = BUFFER_INIT(MESSAGE_MAX);
    list_init(&monitor->calls);
    monitor->fd = fd_connect_unix(path);

    int rc = monitor->fd;
    if (rc >= 0)
        rc = negotiate(monitor, process, clock_monotonic_ns() + timeout_ms * INT64_C(1000000));
    if (rc < 0) {
        destroy(monitor);
        api_error(err, VIR_ERR_INTERNAL_ERROR, "connection to monitor '%s': %s", path,
                  strerror(-rc));
        return rc;
    }
    *out = monitor;
    loop_call(loop, begin_reading, monitor);
    return 0;
}

void monitor_free(struct monitor *monitor)
{
    if (!monitor)
        return;
    loop_call(monitor->loop, stop_reading, monitor);
    destroy(monitor);
}
