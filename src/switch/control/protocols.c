/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames to and from state machines; see protocols.h. */
#include "switch/control/protocols.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "switch/control/bonds.h"
#include "switch/control/snooping.h"
#include "switch/control/spanning.h"
#include "switch/forward/admit.h"
#include "switch/forward/forward.h"
#include "switch/monitor/ring.h"

struct protocols {
    struct bridge *bridge;
    struct ring ring;
};

/* --- Hearing ------------------------------------------------------------------ */

static struct port *find_numbered(const struct bridge *bridge, uint32_t number)
{
    list_for_each (node, &bridge->ports) {
        struct port *port = list_entry(node, struct port, node);
        if (port->number == number)
            return port;
    }
    return NULL;
}

static void hear(void *opaque, const void *slot)
{
    const struct protocols *protocols = opaque;
    const struct screen_record *record = slot;
    struct port *port = find_numbered(protocols->bridge, record->port);
    const size_t len = MIN(record->len, SCREEN_BYTES);
    /* It may be gone, or no longer want to hear. */
    if (!port)
        return;
    if (!mac_is_reserved(record->bytes))
        snooping_hear(port, record->vlan, record->bytes, len);
    else if (record->bytes[5] == 0)
        spanning_hear(port, record->bytes, len);
    else if (port->screen)
        bonds_hear(port, record->bytes, len);
}

struct ring_task {
    struct bridge *bridge;
    struct ring *ring;
};

static void set_ring_here(void *opaque)
{
    struct ring_task *task = opaque;
    task->bridge->protocol_frames = task->ring;
}

int protocols_start(struct bridge *bridge, struct loop *loop, struct kv_error *err)
{
    if (bridge->protocols)
        return 0;
    struct protocols *protocols = calloc(1, sizeof(*protocols));
    if (!protocols)
        return kv_error_errno(err, KV_ERR_NET, ENOMEM, "protocols of bridge '%s'", bridge->name);
    protocols->bridge = bridge;
    int rc = ring_init(&protocols->ring, loop, SCREEN_SLOTS, sizeof(struct screen_record), hear,
                       protocols, err);
    if (rc < 0) {
        free(protocols);
        return rc;
    }
    struct ring_task task = {bridge, &protocols->ring};
    forward_run(bridge->forward, set_ring_here, &task);
    bridge->protocols = protocols;
    return 0;
}

void protocols_stop(struct bridge *bridge)
{
    struct ring_task task = {bridge, NULL};
    if (!bridge->protocols)
        return;
    forward_run(bridge->forward, set_ring_here, &task);
    ring_destroy(&bridge->protocols->ring);
    free(bridge->protocols);
    bridge->protocols = NULL;
}

/* --- Screens ------------------------------------------------------------------ */

struct screen_task {
    struct port *port;
    struct screen *screen;
    unsigned add, remove;
};

static void screen_here(void *opaque)
{
    struct screen_task *task = opaque;
    task->port->screen = task->screen;
    task->port->config |= PORT_SCREENED;
}

int protocols_screen(struct port *port, struct kv_error *err)
{
    if (port->screen)
        return 0;
    struct screen_task task = {port, malloc(sizeof(*task.screen)), 0, 0};
    if (!task.screen)
        return kv_error_errno(err, KV_ERR_NET, ENOMEM, "port '%s'", port->name);
    screen_init(task.screen);
    if (port->forward)
        forward_run(port->forward, screen_here, &task);
    else
        screen_here(&task); /* it is on no bridge yet */
    return 0;
}

static void listen_here(void *opaque)
{
    struct screen_task *task = opaque;
    struct screen *screen = task->port->screen;
    screen->protocols = (screen->protocols & ~task->remove) | task->add;
}

void protocols_listen(struct port *port, unsigned add, unsigned remove)
{
    struct screen_task task = {port, NULL, add, remove};
    forward_run(port->bridge->forward, listen_here, &task);
}

/* --- Links ---------------------------------------------------------------------- */

bool protocols_has_carrier(const struct port *port)
{
    cleanup_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq ifr = {0};
    memcpy(ifr.ifr_name, port->interface, sizeof(port->interface));
    return ioctl(fd, SIOCGIFFLAGS, &ifr) == 0 && ifr.ifr_flags & IFF_UP &&
           ifr.ifr_flags & IFF_RUNNING;
}

/* --- Saying ------------------------------------------------------------------- */

struct send_task {
    struct port *port;
    const uint8_t *bytes;
    size_t len;
};

static void send_here(void *opaque)
{
    const struct send_task *task = opaque;
    screen_send(task->port, task->bytes, task->len);
}

void protocols_send(struct port *port, const uint8_t *bytes, size_t len)
{
    struct send_task task = {port, bytes, len};
    forward_run(port->bridge->forward, send_here, &task);
}
