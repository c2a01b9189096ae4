/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vhost-user port: the back end of a virtio network device (virtio 1.2, 5.1) whose rings lie in
 * a guest's memory. vhost_port.c has its socket, vhost_session.c the front end's messages,
 * vhost_memory.c the guest's memory, vhost_ring.c starts and stops rings, vhost_poll.c and
 * vhost_send.c move frames, vhost_inflight.c keeps where rings stand, vhost_inherit.c hands all of
 * it to another process. The front end is hostile: a message that breaks the protocol ends the
 * connection, a ring that breaks the rules ends that ring.
 */
#ifndef KV_SWITCH_PORTS_VHOST_H
#define KV_SWITCH_PORTS_VHOST_H

#include <stdatomic.h>

#include "base/error.h"
#include "base/loop.h"
#include "switch/ports/inherited.h"
#include "switch/ports/port.h"
#include "vring/guest_mem.h"
#include "vring/vhost_user.h"
#include "vring/virtqueue.h"

#define VHOST_PAIRS_MAX 8
#define VHOST_RINGS_MAX (2 * VHOST_PAIRS_MAX) /* even: to the guest, odd: from it (5.1.2) */

/* The guest's memory, as one table told it. Made and freed by the control thread. */
struct vhost_memory {
    struct vhost_user_memory table;
    int fds[VHOST_USER_REGIONS_MAX]; /* of the table's regions, -1: none */
    struct guest_mem mem;
    uint64_t user[VHOST_USER_REGIONS_MAX]; /* the front end's address of mem.regions[i] */
    void *map[VHOST_USER_REGIONS_MAX];     /* whole mappings, in no order */
    size_t map_size[VHOST_USER_REGIONS_MAX];
    unsigned map_count;
    atomic_bool lost; /* the file was cut short (guard.h) */
};

/* Buffers for frames to the guest, taken before they are needed, so that their cache lines are here
 * by then. They are the last ones that were taken from the ring. */
struct vhost_ready {
    unsigned first, count;
    struct virtqueue_buffer *buffers; /* FRAME_BURST, while the ring is running */
};

/* Where the rings stand, for who serves them when this process is gone. */
struct vhost_inflight {
    struct vhost_user_inflight said;
    int fd; /* -1: the front end has none */
    void *map;
    size_t map_size;
    atomic_bool lost; /* the file was cut short: nothing is kept any more */
};

struct vhost_ring {
    struct virtqueue vq; /* the forwarding thread's while it is started */
    struct vhost_ready ready;
    /* What the front end said; the control thread's. */
    uint64_t desc, avail, used; /* its own addresses */
    bool has_addresses, has_kick, enabled;
    bool running;                 /* started, though it may have been broken since */
    int kick_fd, call_fd, err_fd; /* -1: none; changed while the ring is stopped */
};

/* Those of a direction that are started. */
struct vhost_ring_list {
    unsigned count;
    uint8_t rings[VHOST_PAIRS_MAX];
};

struct vhost_port {
    struct port port;
    /* The forwarding thread's. */
    struct vhost_ring_list to_guest, from_guest;
    unsigned header_len; /* of struct virtio_net_hdr */
    bool mergeable;
    bool ended; /* memory was lost */
    /* The control thread's. */
    struct loop *loop;
    bool server;
    char *path;
    int fd; /* connection, or -1 */
    struct loop_source listener, connection;
    int listen_fd;
    struct loop_timer retry;
    struct loop_work trouble; /* the forwarding thread asks for the end of the connection */
    struct vhost_user_inbox inbox;
    uint64_t features, protocol;
    struct vhost_memory *memory; /* or NULL */
    struct vhost_inflight inflight;
    struct vhost_ring rings[VHOST_RINGS_MAX];
};

/* vhost_port.c, on the control thread: makes the port, NULL with err; start: a server's socket
 * listens, a client goes on connecting; stop: the connection ends, and the port may be taken off
 * its bridge. */
struct vhost_port *vhost_port_new(struct loop *loop, const char *path, bool server,
                                  struct kv_error *err);
void vhost_port_start(struct vhost_port *vp);
void vhost_port_stop(struct vhost_port *vp);
void vhost_port_free(struct vhost_port *vp);

/* vhost_port.c: takes a connection over; hears what comes there (false: it is closed); waits for a
 * front end where there is none. */
void vhost_port_begin(struct vhost_port *vp, int fd);
bool vhost_port_watch(struct vhost_port *vp);
void vhost_port_listen(struct vhost_port *vp);

/* vhost_session.c: carries a message out; answers on socket where it wants one. Descriptors that
 * it takes are set to -1. 0, or -errno: the connection ends, err says why. */
int vhost_session_message(struct vhost_port *vp, struct vhost_user_message *message, int *fds,
                          size_t fd_count, int socket, struct kv_error *err);
void vhost_session_begin(struct vhost_port *vp);
/* Stops the rings and forgets what the front end said. */
void vhost_session_end(struct vhost_port *vp);

/* vhost_inherit.c: a port of one process is the next one's (inherited.h). pause: no frames move,
 * and the front end is not heard, until resume. give: what there is to tell of a port that pauses;
 * take: in the place of start, from what was given. */
void vhost_port_pause(struct vhost_port *vp);
void vhost_port_resume(struct vhost_port *vp);
json_t *vhost_port_give(const struct vhost_port *vp, struct bequest *bequest);
int vhost_port_take(struct vhost_port *vp, const json_t *state, struct kv_error *err);

/* vhost_memory.c: maps what a table describes. Descriptors that it takes are set to -1. */
struct vhost_memory *vhost_memory_new(const struct vhost_user_memory *table, int *fds,
                                      size_t fd_count, struct kv_error *err);
void vhost_memory_free(struct vhost_memory *memory);
/* Whether the descriptor's file is memory, and holds the region; *page: bytes of one of its. */
int vhost_memory_check(int fd, const struct vhost_user_region *region, uint64_t *page,
                       struct kv_error *err);
/* The guest's address of the front end's; false: it is in no region. */
bool vhost_memory_translate(const struct vhost_memory *memory, uint64_t user, uint64_t *gpa);

/* vhost_inflight.c: makes a file for the question, which becomes the answer; -errno with err. Takes
 * one, whose descriptor becomes -1; the rings are stopped. */
int vhost_inflight_make(struct vhost_user_inflight *inflight, struct kv_error *err);
int vhost_inflight_take(struct vhost_port *vp, const struct vhost_user_inflight *said, int *fd,
                        struct kv_error *err);
void vhost_inflight_drop(struct vhost_port *vp);
/* The ring's place there; NULL: it has none. */
struct virtqueue_record *vhost_inflight_record(const struct vhost_port *vp, unsigned ring);

/* vhost_ring.c, on the control thread: starts the rings that are complete, stops those that are
 * not any more. */
void vhost_rings_update(struct vhost_port *vp);
void vhost_ring_stop(struct vhost_port *vp, unsigned index);
void vhost_rings_stop(struct vhost_port *vp);
/* On the forwarding thread: a ring was broken; says so once. */
void vhost_ring_broken(struct vhost_port *vp, unsigned index);

#define VHOST_CHAIN_SEGMENTS FRAME_SEGMENTS_MAX

struct vhost_segments {
    struct iovec iov[VHOST_CHAIN_SEGMENTS];
};

/* vhost_poll.c, vhost_send.c, on the forwarding thread */
extern const struct port_ops vhost_port_ops;
void vhost_send(struct port *port, const struct frame *frames);
/* The ring has its ready buffers back. */
void vhost_ready_return(struct vhost_ring *ring);
/* Takes chains of any shape, each with its segments; returns how many. */
unsigned vhost_pop_chains(struct virtqueue *vq, struct virtqueue_chain *chains,
                          struct vhost_segments *segments, unsigned max);

#endif
