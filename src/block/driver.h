/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside the block engine: what a format or protocol gives to be a node, and
 * what a queue is made of.
 *
 * A driver is plain sequential code: its functions block, run on any thread,
 * several at once, and lock what they share. Ranges are checked before they
 * reach a driver: within the node's size, of non-zero length, writes only to
 * writable nodes. A format that can say at once, without I/O, where a request's
 * bytes lie in its file gives `map` too; then requests of queues go to the
 * kernel's io_uring directly and come back without a worker.
 *
 * A new driver is one file and one line in drivers.c.
 */
#ifndef KV_BLOCK_DRIVER_H
#define KV_BLOCK_DRIVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/options.h"
#include "block/block.h"

struct uring;
struct block_tracker;
struct block_root;

/* Where a request's bytes lie. */
struct block_mapping {
    enum {
        BLOCK_MAP_SLOW, /* not known without blocking: a worker carries it out */
        BLOCK_MAP_HOST, /* at host_offset of the file child, in one piece */
        BLOCK_MAP_ZERO, /* READ: zeros */
    } kind;
    uint64_t host_offset;
    void *token; /* given back to mapped_done(); NULL: it is not called */
};

struct block_check_result {
    uint64_t corruptions, leaks, check_errors; /* found and left */
    uint64_t corruptions_fixed, leaks_fixed;
    uint64_t total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters;
    uint64_t image_end_offset;
};

enum { BLOCK_FIX_LEAKS = 1, BLOCK_FIX_ERRORS = 2 };

struct block_snapshot {
    char id[128], name[256]; /* UTF-8, as in the image; terminated */
    uint64_t vm_state_size;  /* bytes */
    uint64_t date_sec, vm_clock_nsec;
    uint32_t date_nsec;
    uint64_t disk_size; /* bytes */
    uint64_t icount;    /* UINT64_MAX: unknown */
};

/* Snapshots inside an image. id_or_name: an id first, else a name. */
struct block_snapshot_ops {
    int (*create)(struct block_node *node, struct block_snapshot *snapshot, struct kv_error *err);
    int (*apply)(struct block_node *node, const char *id_or_name, struct kv_error *err);
    int (*remove)(struct block_node *node, const char *id_or_name, struct kv_error *err);
    /* *out: an allocated array of *count (free() it). */
    int (*list)(struct block_node *node, struct block_snapshot **out, unsigned *count,
                struct kv_error *err);
    /* From now on a readonly node shows content and size of the snapshot; until it is closed. */
    int (*load)(struct block_node *node, const char *id_or_name, struct kv_error *err);
};

struct block_bitmap_bits;

/* Persistent dirty bitmaps inside an image. */
struct block_bitmap_ops {
    /* granularity: bytes, a power of two; 0: the format's choice (the cluster size within 4 KiB
     * and 64 KiB). */
    int (*add)(struct block_node *node, const char *name, uint32_t granularity, bool enabled,
               struct kv_error *err);
    int (*remove)(struct block_node *node, const char *name, struct kv_error *err);
    int (*clear)(struct block_node *node, const char *name, struct kv_error *err);
    int (*enable)(struct block_node *node, const char *name, bool enabled, struct kv_error *err);
    /* What is dirty in the other one (of the same or another node) becomes dirty in name too. */
    int (*merge)(struct block_node *node, const char *name, struct block_node *source,
                 const char *source_name, struct kv_error *err);
    /* What is dirty in from becomes dirty in name too. */
    int (*mark)(struct block_node *node, const char *name, const struct block_bitmap_bits *from,
                struct kv_error *err);
};

/* What a bitmap holds. */
struct block_bitmap_bits {
    uint8_t *bits; /* bit n % 8 of byte n / 8; for free() */
    uint64_t count;
    uint64_t granularity; /* bytes of the disk that a bit stands for */
    bool enabled;         /* writes are recorded in it */
};

struct block_measure {
    uint64_t required, fully_allocated; /* bytes of a new image */
    uint64_t bitmaps;                   /* bytes; UINT64_MAX: not applicable */
};

/* A member of a driver's descriptions. */
struct block_key {
    const char *name; /* "size", "server.type"; NULL ends a table */
    enum {
        BLOCK_KEY_TEXT,
        BLOCK_KEY_NUMBER, /* not negative; may be written as text */
        BLOCK_KEY_BOOL,   /* may be written as text */
        BLOCK_KEY_ANY,    /* the driver looks at it itself: children, lists */
    } type;
};

struct block_lane;

/*
 * A PROTOCOL's way to a server for one queue: its requests go out from the
 * queue's thread, and the queue's loop serves the replies. All on that thread.
 */
struct block_lane_ops {
    /* -errno: there is none, workers carry the queue's requests out. */
    int (*open)(struct block_lane **out, struct block_node *node, struct block_queue *queue);
    /* Nothing is in flight; the node may be gone already. */
    void (*close)(struct block_lane *lane);
    /* READ, WRITE or FLUSH at request->host_offset. False: take another way. */
    bool (*submit)(struct block_lane *lane, struct block_request *request);
    /* The end of a batch of submits. */
    void (*kick)(struct block_lane *lane);
    /* Waits a little for replies. False: none are due. */
    bool (*wait)(struct block_lane *lane);
};

struct block_driver {
    const char *name;
    bool is_protocol; /* has no file child */
    bool refused;     /* known by name and content only, see import_refused.c */
    bool is_filter;   /* hands on what its file child is, and grows with it */

    /* FORMAT: how sure it is that a file which begins so is its own, 0 to 100. name may be NULL. */
    int (*probe)(const uint8_t *head, size_t len, const char *name);
    /* What its descriptions may say beside what all may (description.c); others are refused by
     * name. NULL: nothing. */
    const struct block_key *keys;
    /* PROTOCOL: beginnings of paths that are its own, such as "nbd:", NULL at the end. */
    const char *const *prefixes;

    /*
     * Fills node->info and node->state. A protocol gets the path or descriptor in options; a
     * format finds its file open in node->file, and opens its other children (backing, data file)
     * by block_open_child(). options->description has what is special to the driver. On failure
     * everything it made is undone, close() is not called.
     */
    int (*open)(struct block_node *node, const struct block_open_options *options,
                struct kv_error *err);
    /* Writes back, marks clean, frees state; children are closed by the engine afterwards. */
    void (*close)(struct block_node *node);

    /* The current size in bytes, a multiple of 512, into *size. */
    int (*get_size)(struct block_node *node, uint64_t *size, struct kv_error *err);
    /* NULL: its size cannot be changed. */
    int (*resize)(struct block_node *node, uint64_t size, struct kv_error *err);
    /* NULL: that of the file child. */
    int64_t (*allocated_size)(const struct block_node *node);

    /* 0 or -errno. */
    int (*preadv)(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                  unsigned count);
    /* NULL: the driver only reads. flags: BLOCK_FUA, BLOCK_COMPRESSED. */
    int (*pwritev)(struct block_node *node, uint64_t offset, uint64_t len, const struct iovec *iov,
                   unsigned count, unsigned flags);
    /* -ENOTSUP or NULL: the engine writes zeros by hand unless BLOCK_NO_FALLBACK. */
    int (*write_zeroes)(struct block_node *node, uint64_t offset, uint64_t len, unsigned flags);
    /* A hint; pieces it cannot discard it leaves. NULL: nothing happens. */
    int (*discard)(struct block_node *node, uint64_t offset, uint64_t len);
    /* Everything written before is durable afterwards, in this node and its file. */
    int (*flush)(struct block_node *node);
    /* A FORMAT whose flush has more to do than to flush its file. */
    bool flush_is_deep;
    /* NULL: everything is data at the same offset of the file child. out is zeroed before. */
    int (*status)(struct block_node *node, uint64_t offset, uint64_t len, struct block_extent *out);

    /*
     * Never blocks; on the queue's thread, many at once. READ and WRITE only. The driver keeps what
     * it mapped from being given to others until mapped_done(), on the same thread, says how the
     * transfer went; metadata that a WRITE changes, it changes then. Any failure: it did not happen
     * as a whole, and may be carried out anew by a worker. *out is SLOW before.
     */
    void (*map)(struct block_node *node, const struct block_request *request,
                struct block_mapping *out);
    void (*mapped_done)(struct block_node *node, void *token, int result);

    /* PROTOCOL: the descriptor that mapped requests go to; -1: none. */
    int (*ring_fd)(const struct block_node *node);
    /* PROTOCOL: this READ, WRITE or FLUSH may go to ring_fd as it is, at host_offset. */
    bool (*is_fast)(const struct block_node *node, const struct block_request *request,
                    uint64_t host_offset);

    /* PROTOCOL: instead of ring_fd; NULL: none. */
    const struct block_lane_ops *lanes;

    /* What kvasir-img does; each may be NULL: the format cannot do that. */

    /* Options of create and measure (qemu-img's -o names); config is create_config_size bytes,
     * zeroed, then filled by the table; strings are freed by the caller. The first field is
     * always `uint64_t size`. */
    const struct option_spec *create_options;
    size_t create_config_size;
    void (*create_defaults)(void *config);
    int (*create)(const char *path, const void *config, struct kv_error *err);
    int (*measure)(const void *config, struct block_node *source, struct block_measure *out,
                   struct kv_error *err);
    /* Options of amend: the given ones only, as JSON by name. */
    int (*amend)(struct block_node *node, const json_t *changes, struct kv_error *err);
    /* A new object: QEMU's ImageInfoSpecific data ("compat", "lazy-refcounts", ...). */
    json_t *(*specific_info)(struct block_node *node);
    /* New references or NULL: what is written in the image. */
    json_t *(*bitmaps_info)(struct block_node *node);
    const char *(*backing_path)(const struct block_node *node);   /* as written; NULL: none */
    const char *(*backing_format)(const struct block_node *node); /* as written; NULL: not said */
    int (*set_backing)(struct block_node *node, const char *path, const char *format,
                       struct kv_error *err);
    /* Nothing is allocated afterwards, everything comes from the backing node. NULL: cannot. */
    int (*make_empty)(struct block_node *node, struct kv_error *err);
    /* say: a line about each finding, in QEMU's words. */
    int (*check)(struct block_node *node, unsigned fix, struct block_check_result *out,
                 void (*say)(void *opaque, const char *line), void *opaque, struct kv_error *err);
    const struct block_snapshot_ops *snapshots;
    const struct block_bitmap_ops *bitmaps;
    /* -ENOENT: no bitmap of this name. */
    int (*bitmap_read)(struct block_node *node, const char *name, struct block_bitmap_bits *out,
                       struct kv_error *err);
};

/* drivers.c: the table. NULL: no driver of that name. */
const struct block_driver *block_driver_find(const char *name);
/* All of the program's, from 0 on; NULL: there are no more. */
const struct block_driver *block_driver_at(unsigned index);

struct block_node {
    const struct block_driver *driver;
    struct block_info info;            /* size: atomic, see block_size() */
    struct block_open_options options; /* path, description, format: NULL */
    char *name;                        /* for messages: the path, or "descriptor N" */
    char *node_name;                   /* from the description or made up; unique */
    json_t *described; /* what its description said of itself, for block_open_again(); or NULL */
    /* Children, a reference each; NULL: none. target: where a filter writes to besides. Changed
     * under the graph's lock while every root above is held. */
    struct block_node *file, *backing, *target;
    void *state; /* the driver's */

    /* graph.c; under its lock. */
    struct list all; /* every open node; empty: not open yet */
    unsigned refs;
    bool added;       /* by block_node_add() */
    const char *busy; /* the kind of job that has it; NULL: none */
    /* tracker.c: writes are noted here. Changed while every root above is held. */
    struct block_tracker *trackers;
};

static inline uint64_t block_size(const struct block_node *node)
{
    return __atomic_load_n(&node->info.size, __ATOMIC_ACQUIRE);
}

static inline void block_set_size(struct block_node *node, uint64_t size)
{
    __atomic_store_n(&node->info.size, size, __ATOMIC_RELEASE);
}

/* True when writes must be durable before they are done. */
static inline bool block_is_durable(const struct block_node *node, bool fua)
{
    return node->options.cache != BLOCK_CACHE_UNSAFE && (fua || !node->info.volatile_cache);
}

/*
 * node.c: opens a child with the parent's cache, aio and discard options. description: the
 * member of the parent's description that says how (NULL: none), else path (relative ones are
 * meant from the parent's file) and format (NULL: probe).
 */
int block_open_child(struct block_node **out, const struct block_node *parent,
                     const json_t *description, const char *path, const char *format, bool readonly,
                     struct kv_error *err);
/*
 * node.c: the same image once more, without its backing: its layers with what their descriptions
 * said (keys, windows, sizes of caches), over its file by fd (taken over, also on failure) or, with
 * -1, as it was found before.
 */
int block_open_again(struct block_node **out, const struct block_node *node, bool writable, int fd,
                     struct kv_error *err);
/* A path that an image names, as seen from where the image lies. Allocated; NULL: out of memory. */
char *block_resolve_path(const char *image, const char *path);

/* graph.c: an open node becomes known by its name. -EEXIST. */
int block_node_register(struct block_node *node, struct kv_error *err);
/* node.c: as block_insert_filter(); description (may be NULL) may have "node-name". */
int block_insert_driver(struct block_node **node, const struct block_driver *driver,
                        const json_t *description, struct kv_error *err);
/* graph.c: gives a reference back. False: it was the last one, and nobody finds the node now. */
bool block_unref(struct block_node *node);
/* graph.c: a job of that kind has the node for itself, until NULL gives it back. -EBUSY. */
int block_claim(struct block_node *node, const char *kind, struct kv_error *err);
void block_unclaim(struct block_node *node);
/* root.c: true on a thread between block_graph_begin() and block_graph_end(). */
bool block_graph_is_changing(void);
/* root.c: roots on from stand on to from now on. Held, under the graph's lock. */
void block_roots_replace(struct block_node *from, struct block_node *to);
/* root.c: somebody waits for roots to be quiet. */
void block_graph_wake(void);
/* Under the graph's lock, which is recursive: whether a device, or a node, uses the node. */
bool block_has_root(const struct block_node *node);
struct block_node *block_parent(const struct block_node *node);

/* file.c: an empty file of this size (made or emptied), or a block device that is at least as
 * large, taken as it is. -EAGAIN when somebody uses it. */
int block_create_file(const char *path, uint64_t size, struct kv_error *err);

/* ------------------------------------------------------------ iov helpers (iov.c) */

/* Up to max elements that describe iov from byte offset on, len bytes in all. How many. */
unsigned iov_slice(const struct iovec *iov, unsigned count, uint64_t offset, uint64_t len,
                   struct iovec *out, unsigned max);
/* buffer to iov from byte offset on; buffer NULL: zeros. */
void iov_from_buffer(const struct iovec *iov, unsigned count, uint64_t offset, const void *buffer,
                     uint64_t len);
void iov_to_buffer(const struct iovec *iov, unsigned count, uint64_t offset, void *buffer,
                   uint64_t len);
/* Reads or writes a slice of iov of a request at another place of a node. */
int block_pread_slice(struct block_node *node, uint64_t offset, const struct iovec *iov,
                      unsigned count, uint64_t iov_offset, uint64_t len);
int block_pwrite_slice(struct block_node *node, uint64_t offset, const struct iovec *iov,
                       unsigned count, uint64_t iov_offset, uint64_t len, unsigned flags);
/* BLOCK_ZEROS_SIZE zero bytes on a page's boundary, for everybody who has to write some. */
#define BLOCK_ZEROS_SIZE KIB(64)
const uint8_t *block_zeros(void);
/* True when all len bytes are zero. Fast. */
bool buffer_is_zero(const void *buffer, size_t len);

/* ----------------------------------------------------------------- queues */

#define BLOCK_QUEUE_DIRECTIONS 2 /* reads, all else */

struct block_queue {
    struct block_node *node;
    struct loop *loop;
    unsigned inflight; /* submitted and not done */
    unsigned depth;

    struct block_root *root;
    bool own_root;         /* made for this queue alone */
    struct list of_root;   /* under the graph's lock */
    _Atomic unsigned busy; /* requests (and looks at the node) under way; the loop's to change */
    atomic_bool held;      /* the graph changes: nothing starts */
    bool stale;            /* node is another; changed by who holds it */
    struct list waiting;   /* requests that came meanwhile */
    struct loop_work resume_work;

    struct uring *ring;      /* NULL: everything goes to the workers */
    struct block_lane *lane; /* NULL: the leaf has none */
    const struct block_lane_ops *lane_ops;
    struct block_node *leaf; /* the protocol node that ring or lane works on; NULL: none */
    bool batch_pending;      /* completions since batch_fn was called */
    bool in_batch;           /* batch_fn is running */
    void (*batch_fn)(void *opaque);
    void *batch_opaque;

    pthread_mutex_t lock;
    pthread_cond_t cond; /* something came into done */
    struct list done;    /* requests that workers finished; under lock */
    struct loop_work done_work;

    struct block_node *throttle; /* the filter whose limits hold for the queue; NULL: none */
    struct list throttled[BLOCK_QUEUE_DIRECTIONS]; /* requests that wait for them */
    struct loop_timer throttle_timers[BLOCK_QUEUE_DIRECTIONS];
};

/* queue.c: sends a checked request on its way. On the queue's loop, which has entered. */
void block_start(struct block_request *request);

/* queue.c: True: the node stays until block_queue_leave() (of a request: until it is complete).
 * False: the queue is held. On the queue's loop. */
bool block_queue_enter(struct block_queue *queue);
void block_queue_leave(struct block_queue *queue);

/* queue.c, for graph changes. Nothing starts any more; quiet when nothing is under way. Any
 * thread. */
void block_queue_hold(struct block_queue *queue);
static inline bool block_queue_is_quiet(const struct block_queue *queue)
{
    return atomic_load(&queue->busy) == 0;
}
void block_queue_release(struct block_queue *queue);

/* queue.c: ends a request. On the queue's loop. */
void block_complete(struct block_request *request, int result);

/* queue.c: the ring could not do (all of) it: a worker does. Any mapping is given back first. On
 * the queue's loop. */
void block_go_slow(struct block_request *request);

/* queue.c: calls the batch function if requests ended since it was last called. */
void block_end_batch(struct block_queue *queue);

/* queue.c: from a worker; result is in the request. */
void block_finish_from_worker(struct block_request *request);

/* io.c: carries out what is left (from progress on) of a checked request of a queue by the blocking
 * calls. Any thread. */
int block_execute(struct block_node *node, struct block_request *request);

/* threads.c: the workers, shared by all nodes of the process. Each open queue holds a reference;
 * threads start when they are needed and end with the last reference. */
void workers_get(void);
void workers_put(void);
/* Has block_execute() run on the request. */
void workers_submit(struct block_request *request);

/* uring.c. -errno when the host does not allow it. */
int uring_create(struct uring **out, struct block_queue *queue, int fd, unsigned depth);
void uring_free(struct uring *ring);
/* Works on another file from now on; nothing is in flight. On the loop's thread. */
int uring_set_file(struct uring *ring, int fd);
/* READ, WRITE or FLUSH at request->host_offset; sent by uring_kick(). False: no room, take another
 * way. */
bool uring_submit(struct uring *ring, struct block_request *request);
/* Sends what is queued and completes what is done. */
void uring_kick(struct uring *ring);
/* Waits for a completion. False: none in flight. */
bool uring_wait(struct uring *ring);

/* lock.c: OFD locks on an image, compatible with QEMU's. -EAGAIN with err filled when another
 * process uses the image in a way that excludes ours. */
int image_lock(int fd, const char *name, bool readonly, bool share_rw, struct kv_error *err);
void image_unlock(int fd);

#endif
