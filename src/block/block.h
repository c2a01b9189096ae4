/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk as its users see it: requests go in on one thread and come back on
 * the same thread's loop. This is the border behind which formats, caches and
 * protocols live; a raw file or block device is the first.
 *
 * A node may be used through several queues at once, one an I/O thread; a
 * queue belongs to its loop's thread.
 */
#ifndef KV_BLOCK_BLOCK_H
#define KV_BLOCK_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"
#include "base/loop.h"

struct block_node;
struct block_queue;

enum block_cache {
    BLOCK_CACHE_WRITEBACK,    /* host page cache, flush on request */
    BLOCK_CACHE_NONE,         /* O_DIRECT, flush on request */
    BLOCK_CACHE_WRITETHROUGH, /* host page cache, every write is durable */
    BLOCK_CACHE_DIRECTSYNC,   /* O_DIRECT, every write is durable */
    BLOCK_CACHE_UNSAFE,       /* host page cache, flush ignored */
};

enum block_aio {
    BLOCK_AIO_AUTO, /* io_uring where the host allows it, else threads */
    BLOCK_AIO_IO_URING,
    BLOCK_AIO_THREADS,
};

struct block_open_options {
    const char *path; /* or NULL with fd */
    int fd;           /* taken over; -1: open path */
    bool readonly;
    enum block_cache cache;
    enum block_aio aio;
    bool discard;  /* pass discards on; else they are ignored */
    bool share_rw; /* others may write to it at the same time */
};

struct block_info {
    uint64_t size; /* bytes; multiple of 512 */
    /* Of offsets and lengths; what is not aligned works too, slower. 512 or 4096 with O_DIRECT,
     * else 1. */
    uint32_t request_alignment;
    uint32_t logical_block, physical_block; /* bytes */
    bool readonly;
    bool can_discard, can_write_zeroes;
    uint32_t discard_alignment; /* bytes */
    bool volatile_cache;        /* a flush is needed for durability */
};

enum block_op {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH,
    BLOCK_DISCARD,
    BLOCK_WRITE_ZEROES,
};

/* A request; memory of the caller until done is called. The engine leaves iov as it is. */
struct block_request {
    enum block_op op;
    uint64_t offset; /* bytes */
    uint64_t len;    /* bytes; for READ and WRITE the sum of iov */
    struct iovec *iov;
    unsigned iov_count;
    bool unmap; /* WRITE_ZEROES may punch a hole */
    bool fua;   /* durable when it is done, without a flush */
    /* result 0 or -errno; on the queue's loop, possibly before block_submit() returns. */
    void (*done)(struct block_request *request, int result);
    void *opaque;

    /* The engine's. */
    struct block_queue *queue;
    struct list node;
    uint64_t progress; /* READ, WRITE: bytes that are done */
    int result;
};

int block_open(struct block_node **out, const struct block_open_options *options,
               struct kv_error *err);
void block_close(struct block_node *node);
const struct block_info *block_get_info(const struct block_node *node);

/* Rereads the size of a grown or shrunk file, or changes it (block_resize). Any thread with no
 * request in flight beyond the new end. */
int block_refresh(struct block_node *node, struct kv_error *err);
int block_resize(struct block_node *node, uint64_t size, struct kv_error *err);

/* Bytes it takes on its host, or -errno. Any thread. */
int64_t block_allocated_size(const struct block_node *node);

/* Before the jail: makes what needs the kernel's leave (io_uring descriptors). */
int block_queue_create(struct block_queue **out, struct block_node *node, struct loop *loop,
                       unsigned depth, struct kv_error *err);
/* fn is called on the queue's loop after each batch of completions; the place to tell the guest
 * once for all of them. */
void block_queue_set_batch(struct block_queue *queue, void (*fn)(void *opaque), void *opaque);
/* Nothing in flight. On the loop's thread or while it does not run. */
void block_queue_free(struct block_queue *queue);

/* Queues a request; block_kick() at the end of a batch sends what was queued. */
void block_submit(struct block_queue *queue, struct block_request *request);
void block_kick(struct block_queue *queue);

/* Requests submitted and not done. */
unsigned block_inflight(const struct block_queue *queue);

/* Runs completions until nothing is in flight. On the loop's thread. */
void block_drain(struct block_queue *queue);

#endif
