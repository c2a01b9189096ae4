/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NBD driver's state, for the blocking calls (nbd_client.c) and for queues
 * (nbd_client_lane.c). */
#ifndef KV_BLOCK_NBD_CLIENT_INTERNAL_H
#define KV_BLOCK_NBD_CLIENT_INTERNAL_H

#include "block/nbd_client.h"

#define NBD_LINKS_MAX 4u

struct nbd_client {
    const struct block_node *node;
    const struct nbd_library *lib;
    struct nbd_address address;
    struct nbd_server_facts facts;

    struct nbd_link links[NBD_LINKS_MAX];
    atomic_uint link_count; /* grows; under grow_lock */
    atomic_uint link_max;   /* changes under grow_lock */
    atomic_uint lanes;      /* that were opened */
    pthread_mutex_t grow_lock;

    pthread_mutex_t partial_lock; /* a block of the server is read, changed and written */

    atomic_uint changes; /* counts writes, which make `known` void */
    pthread_mutex_t known_lock;
    struct nbd_extents known; /* last answered status */
    unsigned known_changes;
    int64_t known_ns;
};

/* The connection that one more queue sends its requests over. */
struct nbd_link *nbd_client_link_for_queue(struct nbd_client *client);

extern const struct block_lane_ops nbd_client_lanes;

#endif
