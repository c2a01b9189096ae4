/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A connection to a server, kept by a library (libnbd, libiscsi, libnfs) that
 * is not made for several threads. It has no thread of its own: of those that
 * wait for replies one serves the socket for all, and hands that on when its own
 * request is done. Requests of a queue do not wait: the queue's loop serves the
 * socket too, and is told.
 *
 * When the connection is lost, one of the waiting threads makes it anew while
 * the others wait; what was in flight is sent again. Therefore only requests that
 * may be carried out twice go this way.
 */
#ifndef KV_BLOCK_REMOTE_H
#define KV_BLOCK_REMOTE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/error.h"
#include "base/list.h"
#include "base/loop.h"
#include "block/block.h"

struct remote_op;

/* What a library does. A handle is one of its connections; all calls but connect() are made under
 * the connection's lock. */
struct remote_ops {
    /* Blocks up to timeout_ms. */
    int (*connect)(void *opaque, int timeout_ms, void **handle, struct kv_error *err);
    /* Frees it; its requests may come to their end by it. */
    void (*disconnect)(void *opaque, void *handle);
    int (*fd)(void *handle);
    short (*events)(void *handle); /* to poll for */
    /* revents 0: nothing happened for a while. False: the connection is lost. */
    bool (*serve)(void *opaque, void *handle, short revents);
};

struct remote {
    const struct remote_ops *ops;
    void *opaque;
    const char *what;          /* for the log: "nbd: export 'x'" */
    uint64_t patience_s;       /* requests wait so long for a lost server */
    bool sealed_too;           /* its connect works in a sealed process (block/peers.h) */
    atomic_uint load;          /* requests in flight or waiting */
    atomic_bool up;            /* there is a handle */
    int wake_fd;               /* eventfd: the serving thread is to look again */
    pthread_mutex_t lock;      /* for what follows, and every call of the library */
    void *handle;              /* NULL: not connected */
    bool served;               /* a thread waits for the socket */
    unsigned loops;            /* of queues, that watch the socket */
    bool connecting;           /* a thread makes the connection */
    unsigned generation;       /* of the handle; counts losses */
    pthread_cond_t joined;     /* connecting came to its end */
    int64_t lost_ns, tried_ns; /* when the connection was lost, and last tried to make */
    struct list sent;          /* ops in the library's hands */
};

/* A request on its way. */
struct remote_op {
    /* Gives it to the library; remote_finish() at its end, from within the library. -errno: not
     * sent, and the library has forgotten it. Under the lock. */
    int (*send)(struct remote_op *op, void *handle);

    /* Of a queue: called at its end instead of waking a thread; under the lock, on any thread. */
    void (*done)(struct remote_op *op);

    /* The connection's. */
    struct list node;    /* remote->sent */
    pthread_cond_t cond; /* it is done, or its thread is to serve */
    bool finished;
    int result;
};

/* Connects within timeout_ms, 0: the usual. */
int remote_open(struct remote *remote, const struct remote_ops *ops, void *opaque, int timeout_ms,
                struct kv_error *err);
void remote_close(struct remote *remote);

/* Carries a request out; waits for the server to come back as long as patience allows. 0 or
 * -errno; -ENOTCONN: there is no connection. Any thread. */
int remote_run(struct remote *remote, struct remote_op *op);

/* Its result, 0 or -errno. Under the lock, from within the library. */
void remote_finish(struct remote_op *op, int result);

/* Sends a request that has done(). False: there is no connection, or the library does not take it;
 * done() is not called. A request whose connection is lost ends with -ENOTCONN. Under the lock. */
bool remote_start(struct remote *remote, struct remote_op *op);

/* Serves what the socket of this generation is ready for. Under the lock. */
void remote_serve(struct remote *remote, unsigned generation, short revents);
/* The socket and what to poll for on it; -1: there is none. Under the lock. */
int remote_wanted(struct remote *remote, short *events, unsigned *generation);

#endif
