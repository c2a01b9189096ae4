/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vhost-user port that goes from one process to the next (inherited.h) with its front end, which
 * notices nothing: what the front end has said so far is told again, message by message, as it
 * would say it to a back end that goes on where the last one stood; see vhost.h. On the control
 * thread.
 */
#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "switch/ports/vhost.h"
#include "vmm/hex_state.h"

#define CONNECTION "vhost-user"

/* --- Giving ---------------------------------------------------------------------- */

struct telling {
    struct bequest *bequest;
    json_t *messages; /* [{"request", "payload": hexadecimal, "fds"}] */
};

static void tell(struct telling *telling, uint32_t request, const void *payload, size_t len,
                 const int *fds, size_t fd_count)
{
    json_t *numbers = json_array();
    for (size_t i = 0; i < fd_count; i++)
        json_array_append_new(numbers, bequest_add(telling->bequest, fds[i]));
    json_array_append_new(telling->messages,
                          json_pack("{s:I, s:o, s:o}", "request", (json_int_t)request, "payload",
                                    hex_state_save(payload, len), "fds", numbers));
}

static void tell_number(struct telling *telling, uint32_t request, uint64_t number)
{
    tell(telling, request, &number, sizeof(number), NULL, 0);
}

static void tell_state(struct telling *telling, uint32_t request, unsigned index, uint32_t number)
{
    const struct vhost_user_vring_state state = {index, number};
    tell(telling, request, &state, sizeof(state), NULL, 0);
}

static void tell_fd(struct telling *telling, uint32_t request, unsigned index, int fd)
{
    uint64_t number = fd < 0 ? index | VHOST_USER_VRING_NO_FD : index;
    tell(telling, request, &number, sizeof(number), &fd, fd >= 0);
}

/* The ring is stopped. Its kick comes last and starts it; a ring that was broken stays so. */
static void tell_ring(struct telling *telling, const struct vhost_port *vp, unsigned index)
{
    const struct vhost_ring *ring = &vp->rings[index];
    const struct vhost_user_vring_addr addr = {
        .index = index, .desc = ring->desc, .used = ring->used, .avail = ring->avail};
    if (ring->vq.size)
        tell_state(telling, VHOST_USER_SET_VRING_NUM, index, ring->vq.size);
    if (ring->vq.positioned)
        tell_state(telling, VHOST_USER_SET_VRING_BASE, index, virtqueue_get_state(&ring->vq));
    if (ring->call_fd >= 0)
        tell_fd(telling, VHOST_USER_SET_VRING_CALL, index, ring->call_fd);
    if (ring->err_fd >= 0)
        tell_fd(telling, VHOST_USER_SET_VRING_ERR, index, ring->err_fd);
    if (ring->enabled)
        tell_state(telling, VHOST_USER_SET_VRING_ENABLE, index, 1);
    if (ring->has_addresses)
        tell(telling, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
    if (ring->has_kick && !ring->vq.broken)
        tell_fd(telling, VHOST_USER_SET_VRING_KICK, index, ring->kick_fd);
}

/* A front end that nobody goes on with comes back by itself. */
static bool is_lasting(const struct vhost_port *vp)
{
    if (vp->fd < 0)
        return false;
    if (vp->inbox.got == 0 && !(vp->memory && atomic_load(&vp->memory->lost)))
        return true;
    log_guest("port '%s': the front end is left behind: it is amid a message, or cut its memory "
              "short",
              vp->port.name);
    return false;
}

json_t *vhost_port_give(const struct vhost_port *vp, struct bequest *bequest)
{
    struct telling telling = {bequest, json_array()};
    if (vp->server)
        bequest_add_named(bequest, INHERITED_LISTENER, vp->path, vp->listen_fd);
    if (!is_lasting(vp))
        return telling.messages;
    bequest_add_named(bequest, CONNECTION, vp->port.name, vp->fd);
    if (vp->features)
        tell_number(&telling, VHOST_USER_SET_FEATURES, vp->features);
    if (vp->protocol)
        tell_number(&telling, VHOST_USER_SET_PROTOCOL_FEATURES, vp->protocol);
    if (vp->memory)
        tell(&telling, VHOST_USER_SET_MEM_TABLE, &vp->memory->table,
             VHOST_USER_MEMORY_SIZE(vp->memory->table.count), vp->memory->fds,
             vp->memory->table.count);
    if (vp->inflight.fd >= 0)
        tell(&telling, VHOST_USER_SET_INFLIGHT_FD, &vp->inflight.said, VHOST_USER_INFLIGHT_SIZE,
             &vp->inflight.fd, 1);
    for (unsigned i = 0; i < VHOST_RINGS_MAX; i++)
        tell_ring(&telling, vp, i);
    return telling.messages;
}

void vhost_port_pause(struct vhost_port *vp)
{
    loop_timer_cancel(&vp->retry);
    loop_remove(&vp->listener);
    loop_remove(&vp->connection);
    vhost_rings_stop(vp);
}

void vhost_port_resume(struct vhost_port *vp)
{
    if (vp->fd >= 0)
        vhost_port_watch(vp);
    vhost_rings_update(vp);
    vhost_port_listen(vp);
}

/* --- Taking ---------------------------------------------------------------------- */

static int hear(struct vhost_port *vp, const json_t *row, struct kv_error *err)
{
    const json_t *payload = json_object_get(row, "payload"), *numbers = json_object_get(row, "fds");
    struct vhost_user_message message = {
        .header.request = (uint32_t)json_integer_value(json_object_get(row, "request")),
        .header.size = (uint32_t)(json_string_length(payload) / 2)};
    int fds[VHOST_USER_REGIONS_MAX];
    size_t fd_count = json_array_size(numbers);
    if (message.header.size > sizeof(message.payload) || fd_count > ARRAY_SIZE(fds) ||
        !hex_state_load(payload, &message.payload, message.header.size))
        return kv_error_set(err, KV_ERR_NET, EINVAL, "a message that was handed over is damaged");
    for (size_t i = 0; i < fd_count; i++)
        fds[i] = inherited_take_number(json_array_get(numbers, i));
    int rc = vhost_session_message(vp, &message, fds, fd_count, -1, err);
    for (size_t i = 0; i < fd_count; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    return rc;
}

int vhost_port_take(struct vhost_port *vp, const json_t *state, struct kv_error *err)
{
    int fd = inherited_take(CONNECTION, vp->port.name), rc = 0;
    size_t i;
    json_t *row;
    if (fd < 0) {
        vhost_port_start(vp);
        return 0;
    }
    vhost_port_begin(vp, fd);
    json_array_foreach ((json_t *)state, i, row) {
        if (rc == 0)
            rc = hear(vp, row, err);
    }
    return rc;
}
