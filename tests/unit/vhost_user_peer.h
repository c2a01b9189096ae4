/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vhost-user back end on a thread of its own, for tests of the front end: it
 * maps what it is given, serves the rings with the library that a switch would
 * use, and sends each frame back into its own pair. It can be told to break the
 * protocol at one message.
 */
#ifndef KV_TESTS_VHOST_USER_PEER_H
#define KV_TESTS_VHOST_USER_PEER_H

#include <pthread.h>
#include <stdatomic.h>

#include "vring/vhost_user.h"
#include "vring/virtqueue.h"

#define PEER_RINGS 4

enum peer_fault {
    PEER_GOOD,
    PEER_SILENT,        /* no answer */
    PEER_GONE,          /* closes instead */
    PEER_REFUSES,       /* answers "failed", or nonsense where that is not possible */
    PEER_SHORT,         /* an answer of the wrong size */
    PEER_OTHER,         /* the answer to another request */
    PEER_NOT_A_REPLY,   /* without the flag */
    PEER_OTHER_VERSION, /* of the protocol */
    PEER_HUGE,          /* says that 4 GiB follow */
    PEER_FAULTS,
};

struct peer {
    /* Set before the start. */
    uint64_t features, protocol_features, pairs;
    uint32_t fault_at; /* a request; 0: none */
    enum peer_fault fault;

    int socket, reply_fd; /* that goes along with an answer, or -1 */
    pthread_t thread;
    atomic_uint messages, last; /* received; the last request */
    atomic_uint enabled;        /* a bit a ring */
    atomic_uint status, mtu;
    uint8_t *records; /* the in-flight memory, or NULL */
    size_t record_size, records_size;
    struct guest_mem mem;
    uint64_t addresses[VHOST_USER_REGIONS_MAX]; /* of the regions in the front end */
    struct virtqueue rings[PEER_RINGS];
    int kick[PEER_RINGS], call[PEER_RINGS];
};

/* All that DPDK's library offers. */
void peer_init(struct peer *peer);
/* Serves the socket, which it takes over. */
void peer_start(struct peer *peer, int socket);
/* Connects to the socket and serves it. */
void peer_connect(struct peer *peer, const char *path);
/* Ends it, as if its process died. */
void peer_stop(struct peer *peer);

#endif
