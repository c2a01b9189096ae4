/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connection to a monitor's control socket (QMP, QEMU docs/interop/qmp-spec).
 * One connection a machine: any worker calls commands, the reader runs on the
 * machines' loop thread, where events and answers to monitor_send() arrive.
 */
#ifndef KV_DAEMON_MACHINE_MONITOR_H
#define KV_DAEMON_MACHINE_MONITOR_H

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "daemon/machine/process.h"

struct monitor;

#define MONITOR_TIMEOUT_MS 30000 /* for an answer */

struct monitor_handler {
    /* Loop thread. data may be NULL. */
    void (*event)(void *opaque, const char *name, const json_t *data, int64_t realtime_us);
    void *opaque;
};

/*
 * Connects to the socket at path and negotiates; waits until the monitor is ready, however long its
 * start takes, but no longer than the process lives: -ECONNRESET. timeout_ms bounds the wait, too
 * (-ETIMEDOUT). The handler's events come from then on. Worker threads.
 */
int monitor_connect(struct monitor **out, const char *path, const struct process *process,
                    int timeout_ms, struct loop *loop, const struct monitor_handler *handler,
                    struct kv_error *err);

/* Calls that wait fail; nobody may begin one any more. Not on the loop thread. */
void monitor_free(struct monitor *monitor);

/*
 * Runs a command and waits for its answer. arguments (may be NULL) are taken over; *out (may be
 * NULL) becomes what is behind "return", a new reference. timeout_ms 0: MONITOR_TIMEOUT_MS. Not on
 * the loop thread.
 */
int monitor_call(struct monitor *monitor, const char *command, json_t *arguments, json_t **out,
                 int timeout_ms, struct kv_error *err);

/*
 * The same in two steps, so that many monitors can be asked before the first one's answer is waited
 * for. monitor_begin() returns NULL when nothing was sent; what it returns is for
 * monitor_finish(), which must be called, and takes it over (NULL: -ECONNRESET). Not on the loop
 * thread.
 */
struct monitor_call;
struct monitor_call *monitor_begin(struct monitor *monitor, const char *command, json_t *arguments);
int monitor_finish(struct monitor *monitor, struct monitor_call *call, const char *command,
                   json_t **out, int timeout_ms, struct kv_error *err);

/* The same with a descriptor that goes with it (getfd); it stays the caller's. */
int monitor_call_fd(struct monitor *monitor, const char *command, json_t *arguments, int fd,
                    json_t **out, struct kv_error *err);

/* Runs a request as a client wrote it, its "id" kept. *answer: the whole answer, a new reference.
 */
int monitor_call_raw(struct monitor *monitor, const json_t *request, json_t **answer,
                     struct kv_error *err);

/* Runs a command without waiting; done (may be NULL) is called on the loop thread, with NULL when
 * it failed. arguments are taken over. Any thread. */
void monitor_send(struct monitor *monitor, const char *command, json_t *arguments,
                  void (*done)(void *opaque, const json_t *result), void *opaque);

/* Delivers what has arrived already. Loop thread. */
void monitor_drain(struct monitor *monitor);

#endif
