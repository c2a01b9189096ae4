/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's end of a serial port, whatever its kind: buffers what leaves,
 * paces what comes in, notices who comes and goes. Serial ports and console
 * ports call it; the files named in chardev_backend.h open the descriptors.
 */
#include "vmm/chardev.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "vmm/chardev_backend.h"

#define READ_CHUNK 4096
#define READS_AT_ONCE 16  /* then other sources of the loop have their turn */
#define DROP_CHUNK KIB(4) /* old bytes go in such pieces, so that a full buffer stays cheap */
#define FREE_PATIENCE_NS 1000000000 /* for the last bytes */

static int null_open(struct chardev *chardev, const char *arg, struct kv_error *err)
{
    chardev_connect(chardev, -1, -1);
    return 0;
}

static const struct chardev_backend chardev_null = {.name = "null", .open = null_open};

static const struct chardev_backend *const backends[] = {
    &chardev_stdio,  &chardev_null, &chardev_pty, &chardev_file,
    &chardev_append, &chardev_unix, &chardev_fd,
};

static bool shared_fd(const struct chardev *chardev)
{
    return chardev->in.fd >= 0 && chardev->in.fd == chardev->out.fd;
}

static bool has_source(struct chardev *chardev)
{
    return chardev->backend->has_input ? chardev->backend->has_input(chardev) : chardev->in.fd >= 0;
}

static bool wants_input(struct chardev *chardev)
{
    return chardev->ops && chardev->ops->receive && !chardev->eof &&
           !atomic_load(&chardev->paused) && has_source(chardev);
}

static bool wants_output(struct chardev *chardev)
{
    pthread_mutex_lock(&chardev->lock);
    bool wants = chardev->pending.len && chardev->out.fd >= 0;
    pthread_mutex_unlock(&chardev->lock);
    return wants;
}

static void on_shared(void *opaque, uint32_t events);
static void on_input(void *opaque, uint32_t events);
static void on_output(void *opaque, uint32_t events);

/* Watches for events, or not at all when watch is false (a hang-up cannot be masked). */
static void watch_end(struct chardev *chardev, struct chardev_end *end, bool watch, uint32_t events,
                      void (*fn)(void *opaque, uint32_t events))
{
    if (end->fd < 0 || !end->pollable)
        return;
    if (!watch)
        loop_remove(&end->source);
    else if (end->source.loop)
        loop_modify(&end->source, events);
    else
        loop_add(chardev->loop, &end->source, end->fd, events, fn, chardev);
}

static void update_watches(struct chardev *chardev)
{
    uint32_t in = wants_input(chardev) ? EPOLLIN : 0, out = wants_output(chardev) ? EPOLLOUT : 0;
    if (shared_fd(chardev)) {
        watch_end(chardev, &chardev->in, !chardev->hung_up, in | out, on_shared);
    } else {
        watch_end(chardev, &chardev->in, in != 0, in, on_input);
        watch_end(chardev, &chardev->out, true, out, on_output);
    }
    if (in && !chardev->in.pollable)
        loop_post(chardev->loop, &chardev->input_work);
    if (out && !chardev->out.pollable)
        loop_post(chardev->loop, &chardev->flush_work);
}

/* Nobody takes output any more; a writer that waits for room has it now (the oldest goes). */
static void set_connected(struct chardev *chardev, bool on)
{
    pthread_mutex_lock(&chardev->lock);
    bool wake = chardev->starved && !on, changed = chardev->connected != on;
    chardev->connected = on;
    if (wake)
        chardev->starved = false;
    pthread_mutex_unlock(&chardev->lock);
    if (!chardev->ops)
        return;
    if (changed && chardev->ops->connected)
        chardev->ops->connected(chardev->opaque, on);
    if (wake && chardev->ops->writable)
        chardev->ops->writable(chardev->opaque);
}

static void close_ends(struct chardev *chardev)
{
    loop_remove(&chardev->in.source);
    loop_remove(&chardev->out.source);
    pthread_mutex_lock(&chardev->lock);
    int in = chardev->in.fd, out = chardev->out.fd;
    chardev->in.fd = chardev->out.fd = -1;
    pthread_mutex_unlock(&chardev->lock);
    if (in >= 0)
        close(in);
    if (out >= 0 && out != in)
        close(out);
}

static void disconnect(struct chardev *chardev)
{
    close_ends(chardev);
    set_connected(chardev, false);
    if (chardev->backend->lost)
        chardev->backend->lost(chardev);
}

/* epoll refuses what is always ready, such as regular files. */
static struct chardev_end make_end(struct chardev *chardev, int fd)
{
    struct chardev_end end = {.fd = fd, .source = LOOP_SOURCE_INIT};
    struct loop_source probe;
    if (fd >= 0 && loop_add(chardev->loop, &probe, fd, 0, on_output, chardev) == 0) {
        loop_remove(&probe);
        end.pollable = true;
    }
    return end;
}

void chardev_connect(struct chardev *chardev, int in_fd, int out_fd)
{
    struct chardev_end in = make_end(chardev, in_fd), out = make_end(chardev, out_fd);
    pthread_mutex_lock(&chardev->lock);
    chardev->in = in;
    chardev->out = out;
    pthread_mutex_unlock(&chardev->lock);
    chardev->eof = chardev->hung_up = false;
    update_watches(chardev);
    set_connected(chardev, true);
}

/* What the other end takes now, or -errno. Called with the lock held. */
static ssize_t write_some(struct chardev *chardev, const void *bytes, size_t len)
{
    ssize_t n;
    do {
        n = write(chardev->out.fd, bytes, len);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n > 0)
        chardev->written_ns = clock_monotonic_ns();
    return n < 0 ? -errno : n;
}

/* The output cannot be written. A shared descriptor reports the hang-up by itself, and its input
 * may still have to be read; a file may have room again later; anything else is over. */
static void output_failed(struct chardev *chardev, int code)
{
    if (shared_fd(chardev) && chardev->in.pollable)
        return;
    if (!chardev->out.pollable) {
        log_guest("chardev %s: %s; output is lost", chardev->filename, strerror(code));
        pthread_mutex_lock(&chardev->lock);
        buffer_consume(&chardev->pending, chardev->pending.len);
        pthread_mutex_unlock(&chardev->lock);
        return;
    }
    log_warning("chardev %s: %s; output goes nowhere from now on", chardev->filename,
                strerror(code));
    loop_remove(&chardev->out.source);
    pthread_mutex_lock(&chardev->lock);
    int fd = chardev->out.fd;
    chardev->out.fd = -1;
    pthread_mutex_unlock(&chardev->lock);
    if (fd >= 0 && fd != chardev->in.fd)
        close(fd);
    set_connected(chardev, false);
}

/* What waits for the log. Others write to chardevs meanwhile, so the file is not under the lock. */
static void flush_log(struct chardev *chardev)
{
    uint8_t bytes[READ_CHUNK];
    size_t len = chardev->log ? 1 : 0;
    while (len) {
        pthread_mutex_lock(&chardev->lock);
        struct buffer *pending = &chardev->log->pending;
        len = MIN(pending->len, sizeof(bytes));
        if (len)
            memcpy(bytes, buffer_bytes(pending), len);
        buffer_consume(pending, len);
        pthread_mutex_unlock(&chardev->lock);
        if (len)
            chardev_log_write(chardev->log, bytes, len);
    }
}

static void flush(void *opaque)
{
    struct chardev *chardev = opaque;
    ssize_t n = 1;

    flush_log(chardev);

    pthread_mutex_lock(&chardev->lock);
    while (chardev->pending.len && chardev->out.fd >= 0 && n > 0) {
        n = write_some(chardev, buffer_bytes(&chardev->pending), chardev->pending.len);
        if (n > 0)
            buffer_consume(&chardev->pending, (size_t)n);
    }
    bool wake = chardev->starved &&
                (!chardev->connected || buffer_room(&chardev->pending) >= CHARDEV_BUFFER / 2);
    if (wake)
        chardev->starved = false;
    pthread_mutex_unlock(&chardev->lock);

    if (n < 0)
        output_failed(chardev, (int)-n);
    if (wake && chardev->ops && chardev->ops->writable)
        chardev->ops->writable(chardev->opaque);
    update_watches(chardev);
}

/* How much the device takes. Before believing that it is nothing, paused is set, so that a device
 * that makes room meanwhile sees it in chardev_accept_input(). */
static size_t receivable(struct chardev *chardev)
{
    const struct chardev_ops *ops = chardev->ops;
    if (!ops->can_receive)
        return READ_CHUNK;
    size_t room = ops->can_receive(chardev->opaque);
    if (room)
        return room;
    atomic_store(&chardev->paused, true);
    room = ops->can_receive(chardev->opaque);
    if (room)
        atomic_store(&chardev->paused, false);
    return room;
}

static ssize_t read_some(struct chardev *chardev, uint8_t *bytes, size_t room)
{
    if (!chardev->backend->read)
        return read(chardev->in.fd, bytes, room);
    size_t len = chardev->backend->read(chardev, bytes, room);
    errno = EAGAIN;
    return len ? (ssize_t)len : -1;
}

static void read_input(struct chardev *chardev)
{
    uint8_t bytes[READ_CHUNK];

    for (int i = 0; i < READS_AT_ONCE && wants_input(chardev); i++) {
        size_t room = receivable(chardev);
        if (!room)
            return;
        ssize_t n = read_some(chardev, bytes, MIN(room, sizeof(bytes)));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            chardev->eof = true;
            chardev->hung_up |= n < 0 && shared_fd(chardev);
            return;
        }
        size_t len = (size_t)n;
        if (chardev->backend->filter)
            len = chardev->backend->filter(chardev, bytes, len);
        if (len)
            chardev->ops->receive(chardev->opaque, bytes, len);
    }
}

static void pump_input(void *opaque)
{
    struct chardev *chardev = opaque;
    read_input(chardev);
    if (chardev->ops && !chardev->ops->receive)
        chardev->eof = true; /* a device that only writes has no use for the rest */
    if (chardev->hung_up && chardev->eof) {
        disconnect(chardev);
        return;
    }
    update_watches(chardev);
    if (chardev->hung_up && wants_input(chardev))
        loop_post(chardev->loop, &chardev->input_work); /* the rest of it, unwatched */
}

static void on_shared(void *opaque, uint32_t events)
{
    struct chardev *chardev = opaque;
    if (events & (EPOLLHUP | EPOLLERR))
        chardev->hung_up = true;
    else if (events & EPOLLOUT)
        flush(chardev);
    if (chardev->hung_up || (events & EPOLLIN))
        pump_input(chardev);
}

static void on_input(void *opaque, uint32_t events)
{
    pump_input(opaque);
}

static void on_output(void *opaque, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP))
        output_failed(opaque, EPIPE);
    else
        flush(opaque);
}

static int choose_backend(struct chardev *chardev, const char *spec, const char **arg,
                          struct kv_error *err)
{
    size_t len = strcspn(spec, ":");
    for (unsigned i = 0; i < ARRAY_SIZE(backends); i++) {
        const struct chardev_backend *backend = backends[i];
        if (strlen(backend->name) != len || strncmp(backend->name, spec, len) != 0)
            continue;
        *arg = spec[len] ? spec + len + 1 : "";
        if (backend->takes_arg != (**arg != '\0') || (spec[len] && !**arg))
            break;
        chardev->backend = backend;
        return 0;
    }
    return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "chardev '%s': accepted are %s", spec,
                        CHARDEV_HELP);
}

/* Of all open ones, in order of creation. */
static struct list all = {&all, &all};

static struct chardev *create(const char *spec, struct loop *loop, struct kv_error *err)
{
    struct chardev *chardev = calloc(1, sizeof(*chardev));
    char *filename = strdup(spec);
    if (!chardev || !filename) {
        free(chardev);
        free(filename);
        kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "chardev '%s': out of memory", spec);
        return NULL;
    }
    list_add_tail(&all, &chardev->node);
    chardev->loop = loop;
    chardev->filename = filename;
    chardev->in.fd = chardev->out.fd = -1;
    chardev->pending = BUFFER_INIT(CHARDEV_BUFFER);
    chardev->flush_work = (struct loop_work){.fn = flush, .opaque = chardev};
    chardev->input_work = (struct loop_work){.fn = pump_input, .opaque = chardev};
    pthread_mutex_init(&chardev->lock, NULL);
    signal(SIGPIPE, SIG_IGN); /* a reader that leaves is EPIPE, not the end of the machine */
    return chardev;
}

int chardev_open(struct chardev **out, const char *spec, struct loop *loop, struct kv_error *err)
{
    struct chardev *chardev = create(spec, loop, err);
    const char *arg = NULL;
    if (!chardev)
        return -ENOMEM;
    int rc = choose_backend(chardev, spec, &arg, err);
    if (rc == 0)
        rc = chardev->backend->open(chardev, arg, err);
    if (rc < 0) {
        chardev_free(chardev);
        return rc;
    }
    *out = chardev;
    return 0;
}

int chardev_open_backend(struct chardev **out, const struct chardev_backend *backend, void *state,
                         struct loop *loop, struct kv_error *err)
{
    struct chardev *chardev = create(backend->name, loop, err);
    if (!chardev)
        return -ENOMEM;
    chardev->backend = backend;
    chardev->state = state;
    chardev->connected = true;
    *out = chardev;
    return 0;
}

void chardev_offer_input(struct chardev *chardev)
{
    loop_post(chardev->loop, &chardev->input_work);
}

struct attach {
    struct chardev *chardev;
    const struct chardev_ops *ops;
    void *opaque;
};

static void attach_now(void *opaque)
{
    struct attach *attach = opaque;
    struct chardev *chardev = attach->chardev;
    chardev->ops = attach->ops;
    chardev->opaque = attach->opaque;
    atomic_store(&chardev->paused, false);
    if (!chardev->ops)
        return;
    if (chardev->backend->attached)
        chardev->backend->attached(chardev);
    if (chardev->ops->connected && chardev_is_connected(chardev))
        chardev->ops->connected(chardev->opaque, true);
    if (chardev->hung_up)
        loop_post(chardev->loop, &chardev->input_work);
    else
        update_watches(chardev);
}

void chardev_attach(struct chardev *chardev, const struct chardev_ops *ops, void *opaque)
{
    struct attach attach = {chardev, ops, opaque};
    loop_call(chardev->loop, attach_now, &attach);
}

/* Nobody is there: the newest stays. */
static size_t keep_newest(struct chardev *chardev, const uint8_t *bytes, size_t len)
{
    size_t keep = MIN(len, (size_t)CHARDEV_BUFFER), room = buffer_room(&chardev->pending);
    if (keep > room)
        buffer_consume(&chardev->pending, MAX(keep - room, (size_t)DROP_CHUNK));
    buffer_append_some(&chardev->pending, bytes + len - keep, keep);
    return len;
}

size_t chardev_write(struct chardev *chardev, const void *bytes, size_t len)
{
    bool nowhere = chardev->backend == &chardev_null;
    if ((nowhere && !chardev->log) || !len)
        return len;
    if (chardev->backend->write)
        return chardev->backend->write(chardev, bytes, len);
    size_t taken = 0, given = len;
    bool post = chardev->log;
    pthread_mutex_lock(&chardev->lock);
    if (chardev->log)
        len = MIN(len, buffer_room(&chardev->log->pending));
    if (nowhere) {
        taken = len;
    } else if (!chardev->connected) {
        taken = len ? keep_newest(chardev, bytes, len) : 0;
    } else {
        /* Straight out when nothing waits: no thread has to wake up for it. */
        if (!chardev->pending.len && chardev->out.pollable) {
            ssize_t n = write_some(chardev, bytes, len);
            taken = n > 0 ? (size_t)n : 0;
        }
        if (taken < len) {
            taken +=
                buffer_append_some(&chardev->pending, (const uint8_t *)bytes + taken, len - taken);
            post = true;
        }
    }
    chardev->starved |= taken < given;
    if (chardev->log)
        buffer_append_some(&chardev->log->pending, bytes, taken);
    pthread_mutex_unlock(&chardev->lock);
    if (post)
        loop_post(chardev->loop, &chardev->flush_work);
    return taken;
}

void chardev_accept_input(struct chardev *chardev)
{
    if (atomic_exchange(&chardev->paused, false))
        loop_post(chardev->loop, &chardev->input_work);
}

int chardev_set_log(struct chardev *chardev, const char *fds, uint64_t size, struct kv_error *err)
{
    if (fds)
        chardev->log = chardev_log_open(fds, size, err);
    return fds && !chardev->log ? -EINVAL : 0;
}

bool chardev_is_connected(struct chardev *chardev)
{
    pthread_mutex_lock(&chardev->lock);
    bool connected = chardev->connected;
    pthread_mutex_unlock(&chardev->lock);
    return connected;
}

void chardev_set_label(struct chardev *chardev, const char *label)
{
    snprintf(chardev->label, sizeof(chardev->label), "%s", label);
}

const char *chardev_label(const struct chardev *chardev)
{
    return chardev->label;
}

void chardev_set_guest_open(struct chardev *chardev, bool open)
{
    atomic_store(&chardev->closed, !open);
    if (chardev->backend->guest_open)
        chardev->backend->guest_open(chardev, open);
}

bool chardev_is_guest_open(struct chardev *chardev)
{
    return !atomic_load(&chardev->closed);
}

struct chardev *chardev_next(const struct chardev *previous)
{
    struct list *next = previous ? previous->node.next : all.next;
    return next == &all ? NULL : list_entry(next, struct chardev, node);
}

const char *chardev_filename(const struct chardev *chardev)
{
    return chardev->filename;
}

/* The last words of a guest are worth a moment. */
static void drain(struct chardev *chardev)
{
    int64_t until = clock_monotonic_ns() + FREE_PATIENCE_NS;
    while (chardev->pending.len && chardev->out.fd >= 0 && clock_monotonic_ns() < until) {
        ssize_t n = write_some(chardev, buffer_bytes(&chardev->pending), chardev->pending.len);
        if (n < 0)
            return;
        buffer_consume(&chardev->pending, (size_t)n);
        struct pollfd ready = {.fd = chardev->out.fd, .events = POLLOUT};
        if (chardev->pending.len && (poll(&ready, 1, 100), ready.revents & (POLLERR | POLLHUP)))
            return;
    }
}

static void free_now(void *opaque)
{
    struct chardev *chardev = opaque;
    chardev->ops = NULL;
    if (chardev->backend && chardev->backend->ending)
        chardev->backend->ending(chardev);
    drain(chardev);
    flush_log(chardev);
    close_ends(chardev);
    if (chardev->backend && chardev->backend->close)
        chardev->backend->close(chardev);
    loop_unpost(chardev->loop, &chardev->flush_work);
    loop_unpost(chardev->loop, &chardev->input_work);
}

void chardev_free(struct chardev *chardev)
{
    if (!chardev)
        return;
    loop_call(chardev->loop, free_now, chardev);
    list_del(&chardev->node);
    pthread_mutex_destroy(&chardev->lock);
    buffer_free(&chardev->pending);
    chardev_log_free(chardev->log);
    free(chardev->filename);
    free(chardev);
}
