/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A drive: what every disk and CD-ROM has, whatever the guest reaches it by. The
 * drive stands on a node of the block engine (or on none: a CD-ROM without a
 * medium), has limits, policies for errors, and counters, and is what QMP asks
 * about. A front end (virtio-blk, AHCI, SCSI) embeds it, gives it queues, and
 * carries requests between the guest and drive_submit().
 *
 * Functions are for the control thread unless they say otherwise; those of a
 * queue are for its loop's thread.
 */
#ifndef KV_VMM_STORAGE_DRIVE_H
#define KV_VMM_STORAGE_DRIVE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "base/options.h"
#include "block/graph.h"
#include "block/throttle.h"

struct drive;
struct drive_queue;
struct machine;

#define DRIVE_SECTOR 512u
#define DRIVE_SERIAL_MAX 20u
#define DRIVE_NO_UNIT UINT64_MAX /* the first free one */

enum drive_bus {
    DRIVE_BUS_DEFAULT,
    DRIVE_BUS_VIRTIO,
    DRIVE_BUS_SATA,
    DRIVE_BUS_SCSI,
    DRIVE_BUS_NVME,
};

/* What happens to a request that the host could not carry out. */
enum drive_policy {
    DRIVE_POLICY_REPORT, /* the guest sees an error */
    DRIVE_POLICY_STOP,   /* the machine stops; the request is tried again when it goes on */
    DRIVE_POLICY_IGNORE, /* the guest sees success */
    DRIVE_POLICY_ENOSPC, /* STOP when the host is full, else REPORT */
};

struct drive_config {
    char *path;
    char *format; /* name of a block driver; NULL: raw */
    int fd;       /* instead of a path; -1: none */
    char *id, *serial;
    int bus;          /* enum drive_bus */
    char *controller; /* id of the one it is attached to; NULL: the first, made when needed */
    uint64_t unit;    /* port of SATA, target of SCSI, namespace of NVMe from 0 */
    uint64_t lun;     /* of a SCSI target */
    uint64_t slot;    /* of PCI bus 0; 0: the first free one */
    uint64_t bootindex;
    bool cdrom, readonly, share_rw;
    int cache;   /* enum block_cache */
    int aio;     /* enum block_aio */
    int discard; /* index into off, on, ignore, unmap */
    int werror, rerror;
    uint64_t queues; /* 0: one a vCPU */
    uint64_t queue_size;
    uint64_t iothread; /* that serves all queues, from 1; 0: each has another */
    uint64_t logical_block_size, physical_block_size; /* 0: the host's */
    char *throttle_group; /* disks of one group share its limits; NULL: its own */
    struct throttle_limits limits;
};

extern const struct option_spec disk_options[], cdrom_options[];
void disk_defaults(void *config);
void cdrom_defaults(void *config);

enum drive_io_status {
    DRIVE_STATUS_OK,
    DRIVE_STATUS_FAILED,
    DRIVE_STATUS_NOSPACE,
};

enum drive_stat_kind {
    DRIVE_STAT_READ,
    DRIVE_STAT_WRITE,
    DRIVE_STAT_FLUSH,
    DRIVE_STAT_DISCARD,
    DRIVE_STAT_ZEROES,
    DRIVE_STAT_KINDS,
};

#define DRIVE_LATENCY_BUCKETS 24 /* bucket n: below 2^n microseconds; the last: all above */

/* For query-blockstats: sums over the queues. */
struct drive_stats {
    struct {
        uint64_t ops, bytes, nanoseconds;
        uint64_t failed;  /* by the host */
        uint64_t invalid; /* by the guest: outside the disk, malformed */
        uint64_t latency[DRIVE_LATENCY_BUCKETS];
    } kind[DRIVE_STAT_KINDS];
};

enum drive_direction {
    DRIVE_DIRECTION_READ,
    DRIVE_DIRECTION_WRITE,
    DRIVE_DIRECTIONS,
};

/* One request; the front end's memory. It fills io.op, offset, len, iov, iov_count, unmap, fua,
 * and kind, start_ns, done. */
struct drive_request {
    struct block_request io;
    struct drive_queue *queue;
    struct list node; /* in the queue's held or throttled list, else the front end's */
    enum drive_stat_kind kind;
    int64_t start_ns;
    unsigned iov_left; /* of more pieces than go to the engine at a time: those still to go */
    uint64_t len_done;
    /* failed: the host could not, and the guest is to be told. On the queue's loop, possibly before
     * drive_submit() returns. */
    void (*done)(struct drive_request *request, bool failed);
};

/* Belongs to its loop's thread. */
struct drive_queue {
    struct drive *drive;
    struct loop *loop;
    struct block_queue *io; /* NULL: no medium */
    unsigned depth;
    struct list held; /* waiting for the machine to go on: failed, or not begun */
    bool stopping;
    struct list throttled[DRIVE_DIRECTIONS]; /* waiting for the limits */
    struct loop_timer throttle_timer[DRIVE_DIRECTIONS];
    int64_t now_ns; /* of the batch being completed; 0: not read yet */
    struct log_limit error_events;
    struct drive_stats stats; /* written here, read anywhere */
    void (*batch_done)(void *opaque);
    void *batch_opaque;
};

/* What the front end is told. Control thread; may be NULL. */
struct drive_ops {
    /* The size is another one. */
    void (*resized)(struct drive *drive);
    /* The medium or the tray changed. Its loop runs no request of the drive meanwhile. */
    void (*medium_changed)(struct drive *drive);
    /* Somebody wants the medium out, and the guest has locked the tray. */
    void (*eject_requested)(struct drive *drive);
};

struct drive {
    struct list node; /* of all drives; control thread */
    struct machine *machine;
    const struct drive_ops *ops;
    struct block_root *root; /* what it has of the graph of nodes; NULL: no medium */
    bool cdrom;
    bool readonly; /* as the guest was told */
    char *id, *path, *serial;
    pthread_mutex_t name_lock;
    char node_name[BLOCK_NODE_NAME_MAX + 1]; /* of the root's node, for events; under name_lock */
    struct loop_work changed;                /* the root has got another node */
    enum block_cache cache;
    enum block_aio aio;
    enum drive_policy werror, rerror;
    uint64_t sectors;       /* capacity; atomic */
    atomic_bool writeback;  /* as the guest sees and set it */
    bool default_writeback; /* after a reset */
    atomic_int io_status;
    unsigned queue_count;
    struct drive_queue **queues; /* the front end's */

    /* The tray of a CD-ROM; written on the queue's loop or with it at rest. */
    atomic_bool tray_open, tray_locked;

    _Atomic(struct throttle_group *) throttle; /* NULL: no limits */
    char *throttle_name;                       /* of the group; control thread */
};

/* Opens its node and puts it among the machine's drives; machine may be NULL. On error nothing is
 * left. */
int drive_init(struct drive *drive, struct machine *machine, const struct drive_config *config,
               const struct drive_ops *ops, struct kv_error *err);
/* After its queues. */
void drive_destroy(struct drive *drive);

/* Bytes that the guest should write at once: as asked for, or the host's; at least `logical`. */
uint32_t drive_physical_block(const struct drive_config *config, const struct block_info *info,
                              uint32_t logical);

/* The options that have to do with one another, and the defaults by them. */
int drive_check_config(const struct drive_config *config, struct kv_error *err);

/* A new reference to the node that it stands on now; NULL: no medium. */
struct block_node *drive_node(struct drive *drive);
static inline bool drive_has_medium(const struct drive *drive)
{
    return drive->root != NULL;
}
static inline uint64_t drive_sectors(const struct drive *drive)
{
    return __atomic_load_n(&drive->sectors, __ATOMIC_RELAXED);
}

/* The first drive (previous NULL) or the one after; NULL at the end. In order of creation. */
struct drive *drive_next(struct machine *machine, struct drive *previous);
struct drive *drive_find(struct machine *machine, const char *id);
/* The drive whose root the node is; NULL: none. */
struct drive *drive_of_node(struct machine *machine, const struct block_node *node);

/* block_resize: the file grows or shrinks and the guest is told. */
int drive_resize(struct drive *drive, uint64_t size, struct kv_error *err);
/* Rereads the size of a file or device that was resized from outside. */
int drive_refresh(struct drive *drive, struct kv_error *err);

/* Media of a CD-ROM (drive_medium.c). Opening needs force when the guest has locked the tray; else
 * it is asked to let go and -EBUSY is returned. */
int drive_open_tray(struct drive *drive, bool force, struct kv_error *err);
int drive_close_tray(struct drive *drive, struct kv_error *err);
/* With the tray open. node: a reference of its own is taken. */
int drive_remove_medium(struct drive *drive, struct kv_error *err);
int drive_insert_medium(struct drive *drive, struct block_node *node, struct kv_error *err);

void drive_get_stats(const struct drive *drive, struct drive_stats *stats);
json_t *drive_describe_stats(const struct drive *drive);

/* Puts it into a group (NULL: out of any), made or changed before by throttle_group_set(). */
int drive_set_throttle(struct drive *drive, const char *group, struct kv_error *err);
/* The limits of its group are others: what waits is looked at again. */
void drive_throttle_changed(struct drive *drive);

/* ------------------------------------------------------------------- queues */

int drive_queue_init(struct drive_queue *queue, struct drive *drive, struct loop *loop,
                     unsigned depth, void (*batch_done)(void *opaque), void *opaque,
                     struct kv_error *err);
/* Nothing in flight. Any thread that the loop does not wait for. */
void drive_queue_destroy(struct drive_queue *queue);

/* False: the range is not on the drive. */
bool drive_holds(const struct drive *drive, uint64_t sector, uint64_t count);
/* Counts a request that the guest got wrong. */
void drive_count_invalid(struct drive_queue *queue, enum drive_stat_kind kind);
/* The queue has a medium. drive_kick() at the end of a batch. */
void drive_submit(struct drive_request *request);
void drive_kick(struct drive_queue *queue);

/* Machine goes on: what was held is tried again. */
void drive_queue_start(struct drive_queue *queue);
/* Machine stops: nothing is in flight afterwards, what failed or did not begin is held. */
void drive_queue_stop(struct drive_queue *queue);
/* Forgets what was held. */
void drive_queue_forget(struct drive_queue *queue);

/* Inside: drive.c, drive_request.c, drive_throttle.c, drive_medium.c. */
int drive_attach_medium(struct drive *drive, struct block_node *node, bool share_rw,
                        struct kv_error *err);
/* With a medium. Not on another loop than the queue's. */
int drive_queue_open(struct drive_queue *queue, struct kv_error *err);
void drive_count(uint64_t *counter, uint64_t amount);
int drive_throttle_init(struct drive *drive, const struct drive_config *config,
                        struct kv_error *err);
void drive_throttle_destroy(struct drive *drive);
/* True: go on with it. False: it waits and is submitted later. */
bool drive_throttle_admit(struct drive_request *request);
/* Submits all that wait, limits or not. */
void drive_throttle_flush(struct drive_queue *queue);

#endif
