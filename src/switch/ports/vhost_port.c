/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vhost-user port's socket: it listens and takes one front end at a time, or goes on connecting
 * to one; see vhost.h. On the control thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "switch/forward/forward.h"
#include "switch/ports/vhost.h"

#define RETRY_NS INT64_C(200000000)

static void end_connection(struct vhost_port *vp)
{
    if (vp->fd < 0)
        return;
    loop_remove(&vp->connection);
    vhost_session_end(vp);
    close(vp->fd);
    vp->fd = -1;
}

static void on_message(void *opaque, uint32_t events)
{
    struct vhost_port *vp = opaque;
    struct kv_error err = {0};
    int rc;
    while ((rc = vhost_user_receive_some(vp->fd, &vp->inbox)) > 0) {
        struct vhost_user_inbox *inbox = &vp->inbox;
        rc = vhost_session_message(vp, &inbox->message, inbox->fds, inbox->fd_count, vp->fd, &err);
        vhost_user_inbox_clear(inbox);
        if (rc < 0)
            break;
    }
    if (rc == 0)
        return;
    if (err.code)
        log_guest("port '%s': the front end is disconnected: %s", vp->port.name, err.message);
    else
        log_info("port '%s': the front end is gone: %s", vp->port.name, strerror(-rc));
    end_connection(vp);
    vhost_port_listen(vp);
}

bool vhost_port_watch(struct vhost_port *vp)
{
    if (loop_add(vp->loop, &vp->connection, vp->fd, EPOLLIN, on_message, vp) == 0)
        return true;
    end_connection(vp);
    return false;
}

void vhost_port_begin(struct vhost_port *vp, int fd)
{
    vhost_session_begin(vp);
    vp->fd = fd;
    if (!vhost_port_watch(vp))
        return;
    log_info("port '%s': a front end is connected", vp->port.name);
}

static void on_trouble(void *opaque)
{
    struct vhost_port *vp = opaque;
    if (vp->fd < 0 || !vp->memory || !atomic_load(&vp->memory->lost))
        return;
    log_guest("port '%s': the front end is disconnected: it cut its memory short", vp->port.name);
    end_connection(vp);
    vhost_port_listen(vp);
}

/* --- Server ---------------------------------------------------------------- */

static void on_connect(void *opaque, uint32_t events)
{
    struct vhost_port *vp = opaque;
    int fd = accept4(vp->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    /* The next one waits until this one is gone. */
    loop_remove(&vp->listener);
    vhost_port_begin(vp, fd);
    vhost_port_listen(vp);
}

/* --- Client ---------------------------------------------------------------- */

static void try_connect(void *opaque)
{
    struct vhost_port *vp = opaque;
    int fd = fd_connect_unix(vp->path);
    if (fd >= 0)
        vhost_port_begin(vp, fd);
    vhost_port_listen(vp);
}

void vhost_port_listen(struct vhost_port *vp)
{
    if (vp->fd >= 0)
        return;
    if (!vp->server)
        loop_timer_arm(vp->loop, &vp->retry, RETRY_NS, try_connect, vp);
    else if (!vp->listener.loop)
        loop_add(vp->loop, &vp->listener, vp->listen_fd, EPOLLIN, on_connect, vp);
}

/* --- Life ------------------------------------------------------------------ */

struct vhost_port *vhost_port_new(struct loop *loop, const char *path, bool server,
                                  struct kv_error *err)
{
    struct vhost_port *vp = aligned_alloc(64, ALIGN_UP(sizeof(*vp), 64));
    char *copy = path ? strdup(path) : NULL;
    if (!vp || (path && !copy)) {
        free(vp);
        free(copy);
        kv_error_errno(err, KV_ERR_NET, ENOMEM, "port");
        return NULL;
    }
    memset(vp, 0, sizeof(*vp));
    vp->port.ops = &vhost_port_ops;
    vp->loop = loop;
    vp->server = server;
    vp->path = copy;
    vp->fd = vp->listen_fd = -1;
    vp->listener = vp->connection = LOOP_SOURCE_INIT;
    vp->trouble = (struct loop_work){.fn = on_trouble, .opaque = vp};
    vhost_session_begin(vp);
    if (server) {
        vp->listen_fd = inherited_listen_unix(path, err);
        if (vp->listen_fd < 0) {
            free(copy);
            free(vp);
            return NULL;
        }
    }
    return vp;
}

void vhost_port_start(struct vhost_port *vp)
{
    if (vp->server)
        vhost_port_listen(vp);
    else
        try_connect(vp);
}

void vhost_port_stop(struct vhost_port *vp)
{
    loop_timer_cancel(&vp->retry);
    loop_remove(&vp->listener);
    end_connection(vp);
    loop_unpost(vp->loop, &vp->trouble);
}

void vhost_port_free(struct vhost_port *vp)
{
    if (vp->listen_fd >= 0) {
        close(vp->listen_fd);
        unlink(vp->path);
    }
    free(vp->path);
    free(vp);
}
