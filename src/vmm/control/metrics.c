/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The metrics socket; see metrics.h. */
#include "vmm/control/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/loop.h"
#include "vmm/jail/jail.h"
#include "vmm/machine/machine.h"

#define READERS_MAX 16
#define READER_TIMEOUT_NS INT64_C(5000000000)

struct metrics {
    struct machine *machine;
    int fd;
    char *path; /* bound here; NULL: inherited */
    struct loop_source listener;
    struct list readers;
    unsigned reader_count;
};

struct reader {
    struct list node;
    struct metrics *metrics;
    int fd;
    struct loop_source source;
    struct loop_timer timeout;
    struct buffer out;
};

static void reader_free(void *opaque)
{
    struct reader *reader = opaque;
    loop_remove(&reader->source);
    loop_timer_cancel(&reader->timeout);
    list_del(&reader->node);
    reader->metrics->reader_count--;
    close(reader->fd);
    buffer_free(&reader->out);
    free(reader);
}

static void reader_write(void *opaque, uint32_t events)
{
    struct reader *reader = opaque;
    while (reader->out.len) {
        ssize_t n = fd_send(reader->fd, buffer_bytes(&reader->out), reader->out.len, NULL, 0);
        if (n == -EAGAIN)
            return;
        if (n < 0)
            break;
        buffer_consume(&reader->out, (size_t)n);
    }
    reader_free(reader);
}

static void serve(struct metrics *metrics, int fd)
{
    cleanup_fd int owned = fd;
    struct reader *reader = metrics->reader_count < READERS_MAX ? calloc(1, sizeof(*reader)) : NULL;
    if (!reader)
        return;
    json_t *document = machine_metrics(metrics->machine);
    cleanup_free char *text = json_dumps(document, JSON_INDENT(1));
    json_decref(document);
    if (!text || buffer_append(&reader->out, text, strlen(text)) < 0 ||
        buffer_append(&reader->out, "\n", 1) < 0 ||
        loop_add(&metrics->machine->loop, &reader->source, fd, EPOLLOUT, reader_write, reader) <
            0) {
        buffer_free(&reader->out);
        free(reader);
        return;
    }
    reader->metrics = metrics;
    reader->fd = take_fd(&owned);
    list_add_tail(&metrics->readers, &reader->node);
    metrics->reader_count++;
    loop_timer_arm(&metrics->machine->loop, &reader->timeout, READER_TIMEOUT_NS, reader_free,
                   reader);
}

static void accept_readers(void *opaque, uint32_t events)
{
    struct metrics *metrics = opaque;
    int fd;
    while ((fd = accept4(metrics->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
        serve(metrics, fd);
}

int metrics_create(struct metrics **out, struct machine *machine, const char *path, int fd,
                   struct kv_error *err)
{
    if (path) {
        fd = fd_listen_unix(path, err);
        if (fd < 0)
            return kv_error_prefix(err, "--metrics");
        jail_remove_at_exit(path);
    }
    struct metrics *metrics = calloc(1, sizeof(*metrics));
    char *copy = path ? strdup(path) : NULL;
    if (!metrics || (path && !copy)) {
        close(fd);
        free(metrics);
        free(copy);
        return kv_error_set(err, KV_ERR_CONTROL, ENOMEM, "--metrics: out of memory");
    }
    metrics->machine = machine;
    metrics->fd = fd;
    metrics->path = copy;
    metrics->listener = LOOP_SOURCE_INIT;
    list_init(&metrics->readers);
    int rc = fd_set_nonblocking(fd, true);
    if (rc == 0)
        rc = loop_add(&machine->loop, &metrics->listener, fd, EPOLLIN, accept_readers, metrics);
    if (rc < 0) {
        metrics_free(metrics);
        return kv_error_errno(err, KV_ERR_CONTROL, -rc, "--metrics: descriptor %d", fd);
    }
    *out = metrics;
    return 0;
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    loop_remove(&metrics->listener);
    list_for_each_safe (node, &metrics->readers)
        reader_free(list_entry(node, struct reader, node));
    close(metrics->fd);
    if (metrics->path)
        unlink(metrics->path);
    free(metrics->path);
    free(metrics);
}
