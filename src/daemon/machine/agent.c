/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's agent; see agent.h. Commands are called by workers, one at a time for each machine.
 */
#include "daemon/machine/agent.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

#define ANSWER_MAX MIB(4) /* as long as a text may be on the wire to a client */
#define SYNC_S 5          /* an agent that is there answers at once */
#define TURN_S 30         /* for the command before this one, as for a domain's job */
#define CHUNK 16384
#define DELIMITER 0xff

#define TEXT_NOT_NOW "Guest agent not available for now"
#define TEXT_GONE "Guest agent disappeared while executing command"

/* ----------------------------------------------------------------- connection */

int machine_agent_init(struct machine_agent *agent)
{
    agent->fd = -1;
    agent->gone = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    agent->in = BUFFER_INIT(ANSWER_MAX);
    return agent->gone < 0 ? -errno : 0;
}

static void disconnect(struct machine_agent *agent)
{
    if (agent->fd >= 0)
        close(agent->fd);
    agent->fd = -1;
    buffer_free(&agent->in);
    agent->in = BUFFER_INIT(ANSWER_MAX);
}

void machine_agent_destroy(struct machine_agent *agent)
{
    disconnect(agent);
    if (agent->gone >= 0)
        close(agent->gone);
    free(agent->alias);
    free(agent->path);
}

void machine_agent_restore(struct machine *machine)
{
    const json_t *known = json_object_get(machine->record.json, "agent");
    const char *alias = json_string_value(json_object_get(known, "alias"));
    const char *path = json_string_value(json_object_get(known, "path"));
    if (!alias || !path)
        return;
    pthread_mutex_lock(&machine->lock);
    machine->agent.alias = strdup(alias);
    machine->agent.path = strdup(path);
    machine->agent.frozen = json_is_true(json_object_get(machine->record.json, "frozen"));
    pthread_mutex_unlock(&machine->lock);
}

static int connect_agent(struct machine_agent *agent)
{
    if (agent->fd < 0)
        agent->fd = fd_connect_unix(agent->path);
    return agent->fd;
}

/* With the lock: who waits for an answer does so in vain. An eventfd that is full says it already.
 */
static void wake_command(struct machine_agent *agent)
{
    const uint64_t one = 1;
    if (agent->busy && write(agent->gone, &one, sizeof(one)) < 0)
        return;
}

void machine_agent_opened(struct machine *machine, const char *alias, bool open)
{
    struct machine_agent *agent = &machine->agent;
    pthread_mutex_lock(&machine->lock);
    if (agent->alias && strcmp(agent->alias, alias) == 0) {
        agent->open = open;
        if (open && !agent->busy)
            connect_agent(agent);
        if (!open)
            wake_command(agent);
    }
    pthread_mutex_unlock(&machine->lock);
}

void machine_agent_forget(struct machine *machine)
{
    if (machine->agent.frozen)
        record_set(&machine->record, "frozen", json_false(), NULL);
    machine->agent.frozen = false;
    wake_command(&machine->agent);
}

int machine_agent_set_frozen(struct machine *machine, bool frozen, struct kv_error *err)
{
    int rc = 0;
    pthread_mutex_lock(&machine->lock);
    if (machine->agent.frozen != frozen && !machine->dead)
        rc = record_set(&machine->record, "frozen", json_boolean(frozen), err);
    if (rc == 0)
        machine->agent.frozen = frozen;
    pthread_mutex_unlock(&machine->lock);
    return rc;
}

bool machine_agent_is_frozen(struct machine *machine)
{
    pthread_mutex_lock(&machine->lock);
    bool frozen = machine->agent.frozen && !machine->dead;
    pthread_mutex_unlock(&machine->lock);
    return frozen;
}

bool machine_agent_is_open(struct machine *machine)
{
    pthread_mutex_lock(&machine->lock);
    bool open = machine->agent.open && !machine->dead;
    pthread_mutex_unlock(&machine->lock);
    return open;
}

/* ------------------------------------------------------------------ waiting */

/* A moment on the monotonic clock; FOREVER: none. */
#define FOREVER INT64_MAX

static int64_t seconds_from_now(int seconds)
{
    return seconds < 0 ? FOREVER : clock_monotonic_ns() + seconds * INT64_C(1000000000);
}

static int left_ms(int64_t until)
{
    if (until == FOREVER)
        return -1;
    int64_t ns = until - clock_monotonic_ns();
    return ns <= 0 ? 0 : (int)MIN(ns / 1000000 + 1, INT32_MAX);
}

/* 0: the connection is ready for it; -ETIMEDOUT; -ECONNRESET: the guest let go of the channel. */
static int wait_ready(struct machine_agent *agent, short events, int64_t until)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = agent->fd, .events = events},
                               {.fd = agent->gone, .events = POLLIN}};
        int n = poll(fds, ARRAY_SIZE(fds), left_ms(until));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? -ETIMEDOUT : -errno;
        if (fds[0].revents)
            return 0;
        return -ECONNRESET;
    }
}

static int send_all(struct machine_agent *agent, const void *bytes, size_t len, int64_t until)
{
    const char *at = bytes;
    while (len) {
        ssize_t n = fd_send(agent->fd, at, len, NULL, 0);
        if (n == -EAGAIN || n == -EWOULDBLOCK) {
            int rc = wait_ready(agent, POLLOUT, until);
            if (rc < 0)
                return rc;
            continue;
        }
        if (n < 0)
            return -ECONNRESET;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* More bytes into the buffer. -ENOBUFS when it is full. */
static int receive(struct machine_agent *agent, int64_t until)
{
    uint8_t bytes[CHUNK];
    if (left_ms(until) == 0)
        return -ETIMEDOUT; /* also while more and more comes */
    int rc = wait_ready(agent, POLLIN, until);
    if (rc < 0)
        return rc;
    ssize_t n = read(agent->fd, bytes, sizeof(bytes));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return -ECONNRESET;
    return buffer_append(&agent->in, bytes, (size_t)n);
}

/* Takes the next line out of the buffer, as JSON (NULL: it is none); delimited: what is behind its
 * last delimiter. */
static int next_line(struct machine_agent *agent, bool delimited, json_t **out, int64_t until)
{
    size_t seen = 0;
    for (;;) {
        const char *line = (const char *)buffer_bytes(&agent->in);
        const char *end =
            agent->in.len > seen ? memchr(line + seen, '\n', agent->in.len - seen) : NULL;
        if (end) {
            const char *from = delimited ? memrchr(line, DELIMITER, (size_t)(end - line)) : line;
            from = from && delimited ? from + 1 : from;
            *out = from ? json_loadb(from, (size_t)(end - from), 0, NULL) : NULL;
            buffer_consume(&agent->in, (size_t)(end - line) + 1);
            return 0;
        }
        seen = agent->in.len;
        int rc = receive(agent, until);
        if (rc < 0)
            return rc;
    }
}

/* ------------------------------------------------------------------ commands */

/* Both ends forget what came before. The delimiter in front makes the agent give up half a command;
 * its answer begins with one, too, so that half an answer before it does no harm. */
static int synchronize(struct machine_agent *agent, int64_t until)
{
    char text[128];
    bool ours = false;
    int64_t id = (int64_t)(++agent->last_id);
    int len = snprintf(text, sizeof(text),
                       "%c{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":%lld}}\n",
                       DELIMITER, (long long)id);
    int rc = send_all(agent, text, (size_t)len, until);
    while (rc == 0 && !ours) {
        json_t *answer = NULL;
        rc = next_line(agent, true, &answer, until);
        const json_t *got = json_object_get(answer, "return");
        ours = json_is_integer(got) && json_integer_value(got) == id;
        json_decref(answer);
    }
    return rc;
}

static int wait_for_answer(struct machine_agent *agent, const struct machine_agent_call *call,
                           json_t **answer, int64_t until)
{
    int rc = next_line(agent, false, answer, until);
    if (rc == -ECONNRESET && call->ends_guest) {
        *answer = json_pack("{s:{}}", "return");
        return *answer ? 0 : -ENOMEM;
    }
    if (rc == 0 && !json_object_get(*answer, "return") && !json_object_get(*answer, "error"))
        rc = -EPROTO;
    return rc;
}

static int converse(struct machine_agent *agent, const struct machine_agent_call *call,
                    json_t **answer)
{
    cleanup_free char *text = json_dumps(call->request, JSON_COMPACT);
    if (!text)
        return -ENOMEM;
    if (connect_agent(agent) < 0)
        return -ECONNRESET;
    int seconds = call->seconds == MACHINE_AGENT_DEFAULT ? SYNC_S : call->seconds;
    int rc = synchronize(agent, seconds_from_now(seconds > 0 ? MIN(seconds, SYNC_S) : SYNC_S));
    if (rc < 0)
        return rc;
    bool answered = seconds != MACHINE_AGENT_NOWAIT;
    int64_t until = seconds_from_now(answered ? seconds : SYNC_S);
    rc = send_all(agent, text, strlen(text), until);
    if (rc == 0)
        rc = send_all(agent, "\n", 1, until);
    return rc == 0 && answered ? wait_for_answer(agent, call, answer, until) : rc;
}

/* With the lock: the caller's turn. */
static int begin(struct machine *machine, struct kv_error *err)
{
    struct timespec until;
    uint64_t old;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += TURN_S;
    while (machine->agent.busy && !machine->dead)
        if (pthread_cond_timedwait(&machine->changed, &machine->lock, &until) == ETIMEDOUT)
            return api_error(err, VIR_ERR_OPERATION_TIMEOUT,
                             "cannot acquire agent lock: another command has it");
    if (machine->dead)
        return api_error(err, VIR_ERR_OPERATION_INVALID, "domain is not running");
    if (!machine->agent.path)
        return api_error(err, VIR_ERR_ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured");
    if (!machine->agent.open)
        return api_error(err, VIR_ERR_AGENT_UNRESPONSIVE, "QEMU guest agent is not connected");
    machine->agent.busy = true;
    while (read(machine->agent.gone, &old, sizeof(old)) > 0)
        ; /* of the command before */
    return 0;
}

static int explain(int rc, const struct machine_agent_call *call, struct kv_error *err)
{
    switch (rc) {
    case -ENOMEM:
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    case -ETIMEDOUT:
        return api_error(err, VIR_ERR_AGENT_UNRESPONSIVE, TEXT_NOT_NOW);
    case -ECONNRESET:
        return api_error(err, VIR_ERR_AGENT_UNRESPONSIVE, TEXT_GONE);
    case -ENOBUFS:
        return api_error(err, VIR_ERR_INTERNAL_ERROR,
                         "the agent's answer to '%s' is longer than %u MiB", call->name,
                         (unsigned)(ANSWER_MAX >> 20));
    default:
        return api_error(err, VIR_ERR_INTERNAL_ERROR, "the agent answered '%s' with no answer",
                         call->name);
    }
}

int machine_agent_call(struct machine *machine, const struct machine_agent_call *call,
                       json_t **answer, struct kv_error *err)
{
    struct machine_agent *agent = &machine->agent;
    *answer = NULL;
    pthread_mutex_lock(&machine->lock);
    int rc = begin(machine, err);
    pthread_mutex_unlock(&machine->lock);
    if (rc < 0)
        return rc;
    int why = converse(agent, call, answer);
    if (why < 0) {
        json_decref(take_ptr(*answer));
        rc = explain(why, call, err);
    }
    pthread_mutex_lock(&machine->lock);
    if (why < 0 && why != -ETIMEDOUT)
        disconnect(agent); /* half an answer may be on its way */
    agent->busy = false;
    pthread_cond_broadcast(&machine->changed);
    pthread_mutex_unlock(&machine->lock);
    return rc;
}
