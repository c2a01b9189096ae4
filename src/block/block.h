/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The block engine as its users see it: the monitor's disks, kvasir-img, the
 * NBD server, jobs.
 *
 * An image is a graph of nodes: a format node (raw, qcow2, ...) over a protocol
 * node (file, nbd, ...), possibly over the nodes of its backing chain. A node
 * is opened from a path, a description or a descriptor, and used in two ways:
 *
 *   - blocking calls (block_preadv() and so on), from any thread, several at
 *     once; for tools, jobs and everything that is written as plain code;
 *   - queues, for devices: requests go in on one thread and come back on that
 *     thread's loop. A queue belongs to its loop's thread, a node may be used
 *     through several queues at once, one an I/O thread.
 *
 * Offsets and lengths are bytes. Any offset and length works; what is aligned
 * to info.request_alignment is faster. A node's size is always a multiple of
 * 512: a file that is not is seen rounded up, its missing bytes read as zeros.
 */
#ifndef KV_BLOCK_BLOCK_H
#define KV_BLOCK_BLOCK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"
#include "base/list.h"
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

/* True when requests pass by the host's page cache (O_DIRECT). */
static inline bool block_cache_is_direct(enum block_cache cache)
{
    return cache == BLOCK_CACHE_NONE || cache == BLOCK_CACHE_DIRECTSYNC;
}

enum block_aio {
    BLOCK_AIO_AUTO, /* io_uring where the host allows it, else threads */
    BLOCK_AIO_IO_URING,
    BLOCK_AIO_THREADS,
};

struct block_open_options {
    /* One of the three. */
    const char *path;          /* file, "json:{...}", "nbd://...", "nbd+unix://...", ... */
    int fd;                    /* with path and description NULL: taken over, also on failure */
    const json_t *description; /* borrowed; QEMU's blockdev object, see block/description.h */

    const char *format; /* name of a driver; NULL: found by looking at the content */
    bool readonly;
    enum block_cache cache;
    enum block_aio aio;
    bool discard;    /* pass discards on; else they are ignored */
    bool share_rw;   /* others may write to it at the same time */
    bool unlocked;   /* look at it whoever uses it (qemu-img -U); readonly only */
    bool no_backing; /* do not open the backing chain; unallocated data reads as zeros */
    bool no_io;      /* to be asked about only: encrypted images open without their key */
    bool check;      /* open although it is marked corrupt or dirty, to check or repair it */
};

struct block_info {
    uint64_t size; /* bytes; multiple of 512 */
    /* Of offsets and lengths; what is not aligned works too, slower. 512 or 4096 with O_DIRECT,
     * else 1. */
    uint32_t request_alignment;
    uint32_t logical_block, physical_block; /* bytes */
    uint32_t cluster_size;                  /* of the format, bytes; 0: it has none */
    bool readonly;
    bool can_discard, can_write_zeroes;
    bool growable; /* a protocol: writes beyond the end make it longer, reads there give zeros */
    uint32_t discard_alignment; /* bytes */
    bool volatile_cache;        /* a flush is needed for durability */
    bool needs_repair;          /* marked dirty or corrupt */
    bool encrypted;             /* the format encrypts what is in the file */
};

/* ------------------------------------------------------------------ nodes */

int block_open(struct block_node **out, const struct block_open_options *options,
               struct kv_error *err);
/* Writes back what is cached. Nothing in flight, queues freed. NULL is fine. */
void block_close(struct block_node *node);
/* Puts a filter ("driver": throttle, copy-on-read, blkdebug, ...) over *node, which becomes the
 * filter. On failure *node is as it was. */
int block_insert_filter(struct block_node **node, const json_t *description, struct kv_error *err);
const struct block_info *block_get_info(const struct block_node *node);
/* For messages and answers: the path or description it was opened from. */
const char *block_name(const struct block_node *node);
/* Name of its driver: "raw", "qcow2", "file", ... */
const char *block_format(const struct block_node *node);
/* The node under a format (NULL for protocols), and its backing node (NULL: none). */
struct block_node *block_file_child(const struct block_node *node);
struct block_node *block_backing(const struct block_node *node);

/* From now on this process opens no further file or connection for nodes: its jail closes. What is
 * lost then cannot be reconnected. */
void block_seal(void);
bool block_is_sealed(void);

/* Rereads the size of a grown or shrunk file. Any thread with no request in flight beyond the
 * new end. */
int block_refresh(struct block_node *node, struct kv_error *err);
int block_resize(struct block_node *node, uint64_t size, struct kv_error *err);

/* Bytes it takes on its host, or -errno. Any thread. */
int64_t block_allocated_size(const struct block_node *node);

/* --------------------------------------------------------- blocking calls */

enum {
    BLOCK_FUA = 1,         /* WRITE, WRITE_ZEROES: durable when it is done, without a flush */
    BLOCK_UNMAP = 2,       /* WRITE_ZEROES: may deallocate */
    BLOCK_NO_FALLBACK = 4, /* WRITE_ZEROES: -ENOTSUP rather than writing zeros by hand */
    BLOCK_COMPRESSED = 8,  /* WRITE: whole clusters, stored compressed; -ENOTSUP: cannot */
};

/* All return 0 or -errno. Reads and writes are whole or fail; -EINVAL: beyond the end; -EROFS. */
int block_preadv(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                 unsigned count);
int block_pwritev(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                  unsigned count, unsigned flags);
int block_pread(struct block_node *node, uint64_t offset, void *buffer, uint64_t len);
int block_pwrite(struct block_node *node, uint64_t offset, const void *buffer, uint64_t len,
                 unsigned flags);
int block_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len, unsigned flags);
int block_discard(struct block_node *node, uint64_t offset, uint64_t len);
int block_flush(struct block_node *node);

enum {
    BLOCK_STATUS_DATA = 1,      /* there are bytes of this layer */
    BLOCK_STATUS_ZERO = 2,      /* reads as zeros */
    BLOCK_STATUS_ALLOCATED = 4, /* this layer decides; else the backing node does */
    BLOCK_STATUS_OFFSET = 8,    /* host_offset of `file` holds it as it is */
    BLOCK_STATUS_COMPRESSED = 16,
};

struct block_extent {
    uint64_t len; /* of one status from the asked offset on; 1 to the asked length */
    unsigned flags;
    uint64_t host_offset;    /* in file */
    struct block_node *file; /* the protocol node; NULL without BLOCK_STATUS_OFFSET */
    unsigned depth;          /* of a chain: how many layers down; 0 is the top */
};

/* What this layer says about a range; 0 < len, within the size. */
int block_status(struct block_node *node, uint64_t offset, uint64_t len, struct block_extent *out);
/* The same through the backing chain down to base, which is not asked (NULL: to the bottom).
 * Not allocated anywhere above base: flags without ALLOCATED (base NULL: ZERO and no DATA, and the
 * place that the bottom layer keeps for it, if any). */
int block_status_above(struct block_node *node, struct block_node *base, uint64_t offset,
                       uint64_t len, struct block_extent *out);

/* ----------------------------------------------------------------- queues */

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
    uint64_t host_offset; /* of offset in the file that the ring works on */
    uint64_t progress;    /* READ, WRITE: bytes that are done */
    void *fast_token;     /* the format's, see struct block_mapping */
    int result;
};

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
/* Runs completions until nothing is under way that was begun; what waits for a changing graph goes
 * on waiting. For loops with several queues, which others may need meanwhile. On the loop's thread.
 */
void block_settle(struct block_queue *queue);
/* Nothing is in flight afterwards: what was not begun ends with -ECANCELED. The same thread. */
void block_stop(struct block_queue *queue);

#endif
