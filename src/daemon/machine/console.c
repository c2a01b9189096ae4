/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sessions of consoles: bytes go back and forth between a machine's terminal or
 * socket and the socket that the owner got. All but the opening is on the loop
 * thread. What nobody reads waits in the monitor, in bounds (vmm/chardev.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

#define WAITING_MAX KIB(64) /* bytes on their way, each direction */
#define CHUNK 4096
#define CHUNKS_AT_ONCE 16 /* then others have their turn */

enum { GUEST, CLIENT, SIDES };

struct console_session {
    struct list node; /* of machine->sessions */
    struct machine *machine;
    char *alias;
    struct side {
        struct console_session *session;
        int fd;
        struct loop_source source;
        struct buffer out; /* waits to be written there */
    } sides[SIDES];
    bool client_gone; /* what it wrote goes out, then the session ends */
};

static void session_free(struct console_session *session)
{
    list_del(&session->node);
    for (unsigned i = 0; i < SIDES; i++) {
        loop_remove(&session->sides[i].source);
        if (session->sides[i].fd >= 0)
            close(session->sides[i].fd);
        buffer_free(&session->sides[i].out);
    }
    free(session->alias);
    free(session);
}

void console_close_all(struct machine *machine)
{
    while (!list_empty(&machine->sessions)) {
        struct console_session *session =
            list_entry(machine->sessions.next, struct console_session, node);
        struct side *client = &session->sides[CLIENT];
        /* The guest's last words are worth one more try. */
        while (client->out.len) {
            ssize_t n = fd_send(client->fd, buffer_bytes(&client->out), client->out.len, NULL, 0);
            if (n <= 0)
                break;
            buffer_consume(&client->out, (size_t)n);
        }
        session_free(session);
    }
}

/* False when this side is over. */
static bool write_side(struct side *side)
{
    while (side->out.len) {
        ssize_t n = write(side->fd, buffer_bytes(&side->out), side->out.len);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        buffer_consume(&side->out, (size_t)n);
    }
    return true;
}

/* From one side into the other's buffer. False at its end. */
static bool read_side(struct side *from, struct side *to)
{
    uint8_t bytes[CHUNK];
    for (int i = 0; i < CHUNKS_AT_ONCE && buffer_room(&to->out); i++) {
        ssize_t n = read(from->fd, bytes, MIN(buffer_room(&to->out), sizeof(bytes)));
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (n <= 0 || buffer_append(&to->out, bytes, (size_t)n) < 0)
            return false;
        if (!write_side(to))
            return false;
    }
    return true;
}

static void update_watches(struct console_session *session)
{
    for (unsigned i = 0; i < SIDES; i++) {
        struct side *side = &session->sides[i], *other = &session->sides[!i];
        if (i == CLIENT && session->client_gone)
            continue;
        uint32_t events = side->out.len ? EPOLLOUT : 0;
        if (buffer_room(&other->out))
            events |= EPOLLIN;
        loop_modify(&side->source, events);
    }
}

static void on_ready(void *opaque, uint32_t events)
{
    struct side *side = opaque;
    struct console_session *session = side->session;
    struct side *guest = &session->sides[GUEST], *client = &session->sides[CLIENT];
    bool is_guest = side == guest;
    bool alive = !(events & EPOLLOUT) || write_side(side);
    if (alive && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        alive = read_side(side, is_guest ? client : guest) && !(events & (EPOLLHUP | EPOLLERR));
    if (!alive && !is_guest && guest->out.len) {
        session->client_gone = true;
        loop_remove(&client->source);
        alive = true;
    }
    if (!alive || (session->client_gone && !guest->out.len))
        session_free(session);
    else
        update_watches(session);
}

static struct console_session *find_session(struct machine *machine, const char *alias)
{
    list_for_each (pos, &machine->sessions) {
        struct console_session *session = list_entry(pos, struct console_session, node);
        if (strcmp(session->alias, alias) == 0)
            return session;
    }
    return NULL;
}

/* Its client closed its end, which the loop has not come to see yet. */
static bool has_left(const struct console_session *session)
{
    struct pollfd client = {.fd = session->sides[CLIENT].fd, .events = POLLRDHUP};
    return poll(&client, 1, 0) > 0;
}

struct begin {
    struct console_session *session;
    bool force;
    int rc;
};

static void begin_session(void *opaque)
{
    struct begin *begin = opaque;
    struct console_session *session = begin->session;
    struct machine *machine = session->machine;
    struct console_session *other = find_session(machine, session->alias);
    if (other && !begin->force && !has_left(other)) {
        begin->rc = -EBUSY;
        return;
    }
    if (other)
        session_free(other);
    list_add_tail(&machine->sessions, &session->node);
    for (unsigned i = 0; i < SIDES && begin->rc == 0; i++)
        begin->rc = loop_add(&machine->host->loop, &session->sides[i].source, session->sides[i].fd,
                             EPOLLIN, on_ready, &session->sides[i]);
    if (begin->rc < 0)
        session_free(session);
}

/* --------------------------------------------------------------------- opening */

/* The machine's end: what the record says about the device. */
static int open_guest_side(struct machine *machine, const char *alias, char **name,
                           struct kv_error *err)
{
    pthread_mutex_lock(&machine->lock);
    const json_t *facts = json_object_get(machine->record.json, "chardevs");
    if (!alias)
        alias = json_string_value(json_object_get(machine->record.json, "first-console"));
    const json_t *fact = alias ? json_object_get(facts, alias) : NULL;
    const char *type = json_string_value(json_object_get(fact, "type"));
    const char *path = json_string_value(json_object_get(fact, "path"));
    int rc = 0, fd = -1;
    if (!fact)
        rc = alias ? api_error(err, VIR_ERR_INVALID_ARG, "cannot find console device '%s'", alias)
                   : api_error(err, VIR_ERR_INTERNAL_ERROR, "cannot find character device %s",
                               "<null>");
    else if (path && strcmp(type, "pty") == 0)
        fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    else if (path && strcmp(type, "unix") == 0)
        fd = fd_connect_unix(path);
    else
        rc =
            api_error(err, VIR_ERR_INTERNAL_ERROR, "character device %s is not using a PTY", alias);
    if (rc == 0 && fd < 0)
        rc = kv_error_errno(err, KV_ERR_CONTROL, errno, "console '%s'", path);
    if (rc == 0 && !(*name = strdup(alias)))
        rc = api_error(err, VIR_ERR_NO_MEMORY, NULL);
    if (rc < 0 && fd >= 0)
        close(fd);
    pthread_mutex_unlock(&machine->lock);
    return rc < 0 ? rc : fd;
}

static struct console_session *new_session(struct machine *machine, int guest_fd, int client_fd)
{
    struct console_session *session = calloc(1, sizeof(*session));
    if (!session)
        return NULL;
    list_init(&session->node);
    session->machine = machine;
    const int fds[SIDES] = {[GUEST] = guest_fd, [CLIENT] = client_fd};
    for (unsigned i = 0; i < SIDES; i++)
        session->sides[i] = (struct side){
            .session = session,
            .fd = fds[i],
            .source = LOOP_SOURCE_INIT,
            .out = BUFFER_INIT(WAITING_MAX),
        };
    return session;
}

int machine_open_console(struct machine *machine, const char *alias, unsigned flags, int *fd,
                         struct kv_error *err)
{
    int pair[2];
    cleanup_free char *name = NULL;
    int rc = machine_check_alive(machine, err);
    cleanup_fd int guest_fd = rc < 0 ? -1 : open_guest_side(machine, alias, &name, err);
    if (rc < 0 || guest_fd < 0)
        return rc < 0 ? rc : guest_fd;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, errno, "console");
    cleanup_fd int ours = pair[0], theirs = pair[1];
    struct console_session *session = new_session(machine, guest_fd, ours);
    if (!session)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    take_fd(&guest_fd);
    take_fd(&ours);
    session->alias = take_ptr(name);
    struct begin begin = {.session = session, .force = flags & MACHINE_CONSOLE_FORCE};
    loop_call(&machine->host->loop, begin_session, &begin);
    if (begin.rc == -EBUSY)
        api_error(err, VIR_ERR_OPERATION_FAILED, "Active console session exists for this domain");
    else if (begin.rc < 0)
        kv_error_errno(err, KV_ERR_CONTROL, -begin.rc, "console");
    if (begin.rc < 0) {
        if (begin.rc == -EBUSY)
            session_free(session); /* the loop does not know it */
        return begin.rc;
    }
    *fd = take_fd(&theirs);
    return 0;
}
