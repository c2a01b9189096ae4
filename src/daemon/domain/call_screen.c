/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures of a running domain's screen and keyboard. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "daemon/domain/call.h"
#include "daemon/domain/keycodes.h"
#include "daemon/domain/live.h"
#include "rpc/stream.h"

/* What runs, with a screen, and viewers when graphics are asked for. */
static struct domain_live *live_with(struct domain *domain, bool graphics, unsigned index,
                                     struct kv_error *err)
{
    struct domain_live *live = domain_live_get(domain, err);
    if (!live)
        return NULL;
    pthread_mutex_lock(&domain->lock);
    const struct model_domain *d = live->document;
    bool screen = d->video && !d->video->none;
    bool there = screen && (!graphics || d->graphics);
    pthread_mutex_unlock(&domain->lock);
    if (there && index == 0)
        return live;
    domain_live_put(live);
    if (graphics)
        api_error(err, VIR_ERR_INTERNAL_ERROR, "No graphics backend with index %u", index);
    else if (there)
        api_error(err, VIR_ERR_INVALID_ARG, "the machine has one screen, 0; %u was asked for",
                  index);
    else
        api_error(err, VIR_ERR_OPERATION_UNSUPPORTED, "the machine has no screen");
    return NULL;
}

/* --------------------------------------------------------------- screenshot */

/* A file, and the socket of a stream that it goes to. */
struct picture {
    int file, socket;
};

static void *send_picture(void *opaque)
{
    struct picture *picture = opaque;
    while (sendfile(picture->socket, picture->file, NULL, 1 << 20) > 0)
        ; /* a client that is gone ends it as well */
    close(picture->socket);
    close(picture->file);
    free(picture);
    return NULL;
}

/* A thread, because the client reads as slowly as it likes. The file is taken over. */
static int stream_picture(struct rpc_call *call, int file, struct kv_error *err)
{
    int ends[2];
    pthread_t thread;
    struct picture *picture = malloc(sizeof(*picture));
    if (!picture || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        int code = errno;
        close(file);
        free(picture);
        return kv_error_errno(err, KV_ERR_CONTROL, code, "stream");
    }
    *picture = (struct picture){file, ends[1]};
    int code = pthread_create(&thread, NULL, send_picture, picture);
    if (code) {
        close(ends[0]), close(ends[1]), close(file);
        free(picture);
        return kv_error_errno(err, KV_ERR_CONTROL, code, "thread");
    }
    pthread_detach(thread);
    return rpc_stream_join_fd(call, ends[0], NULL, NULL, NULL, err);
}

CALL(screenshot)
{
    const REMOTE_ARGS(DOMAIN_SCREENSHOT) *in = args;
    REMOTE_RET(DOMAIN_SCREENSHOT) *out = ret;
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    cleanup_live struct domain_live *live =
        domain ? live_with(domain, false, in->screen, err) : NULL;
    int file = -1;
    if (!live || machine_screenshot(live->machine, &file, err) < 0)
        return -EINVAL;
    out->mime = malloc(sizeof(*out->mime));
    if (!out->mime || !(*out->mime = strdup("image/png"))) {
        free(take_ptr(out->mime));
        close(file);
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    return stream_picture(call, file, err);
}

/* --------------------------------------------------------------------- keys */

CALL(send_key)
{
    const REMOTE_ARGS(DOMAIN_SEND_KEY) *in = args;
    unsigned numbers[VIR_DOMAIN_SEND_KEY_MAX_KEYS], count = in->keycodes.keycodes_len;
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    if (!keycode_set_name(in->codeset))
        return api_error(err, VIR_ERR_INVALID_ARG, "Unsupported codeset: %u", in->codeset);
    if (count == 0 || count > ARRAY_SIZE(numbers))
        return api_error(err, VIR_ERR_INVALID_ARG, "1 to %zu keys are pressed together, not %u",
                         ARRAY_SIZE(numbers), count);
    for (unsigned i = 0; i < count; i++) {
        unsigned code = in->keycodes.keycodes_val[i];
        numbers[i] = keycode_number(in->codeset, code);
        if (!numbers[i])
            return api_error(err, VIR_ERR_INTERNAL_ERROR,
                             "cannot translate keycode %u of %s codeset to qnum keycode", code,
                             keycode_set_name(in->codeset));
    }
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    cleanup_live struct domain_live *live = domain ? domain_live_get(domain, err) : NULL;
    return live ? machine_send_keys(live->machine, numbers, count, in->holdtime, err) : -EINVAL;
}

/* ------------------------------------------------------------------ viewers */

static int add_viewer(struct rpc_call *call, const wire_dom_idx_flags *in, int fd,
                      struct kv_error *err)
{
    if (call_check_flags(call, in->flags, VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH, err))
        return -EINVAL;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    cleanup_live struct domain_live *live = domain ? live_with(domain, true, in->idx, err) : NULL;
    return live ? machine_add_viewer(live->machine, fd,
                                     in->flags & VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH, err)
                : -EINVAL;
}

/* The client has the other end of the socket that came with the call. */
CALL(open_graphics)
{
    cleanup_fd int fd = rpc_call_take_fd(call, 0);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
        return api_error(err, VIR_ERR_INVALID_ARG, "fd is no connected socket");
    return add_viewer(call, args, fd, err);
}

CALL(open_graphics_fd)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, errno, "socket");
    int rc = add_viewer(call, args, ends[1], err);
    close(ends[1]);
    if (rc < 0) {
        close(ends[0]);
        return rc;
    }
    return rpc_call_give_fd(call, ends[0]) < 0
               ? api_error(err, VIR_ERR_OPERATION_FAILED, "too many descriptors")
               : 0;
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_SCREENSHOT, screenshot, 0},
    {REMOTE_PROC_DOMAIN_SEND_KEY, send_key, 0},
    {REMOTE_PROC_DOMAIN_OPEN_GRAPHICS, open_graphics, 0},
    {REMOTE_PROC_DOMAIN_OPEN_GRAPHICS_FD, open_graphics_fd, 0},
};
const struct call_rows call_screen_rows = {rows, ARRAY_SIZE(rows)};
