/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs: long work on images that devices are using meanwhile. Each job has a
 * thread of its own that runs plain blocking code; it can be paused, cancelled
 * and slowed down, says how far it is, and goes through QEMU's job states:
 *
 *   created - running <-> paused
 *                |  (mirror, commit of the active image:)
 *                +- ready <-> standby
 *                |
 *             waiting (for the others of its transaction)
 *             pending (for job_finalize(), without auto_finalize)
 *   any     - aborting (it failed, or was cancelled)
 *             concluded (for job_dismiss(), without auto_dismiss)
 *             null (gone)
 *
 * Functions with a struct kv_error may be called from any thread but a queue's
 * loop; they refuse, in QEMU's words, what the state does not allow. A job
 * found by name is valid until job_put(). What jobs tell goes to one listener.
 */
#ifndef KV_BLOCK_JOB_H
#define KV_BLOCK_JOB_H

#include "block/graph.h"

struct job;
struct job_txn;

enum job_type {
    JOB_COMMIT,
    JOB_STREAM,
    JOB_MIRROR,
    JOB_BACKUP,
    JOB_CREATE, /* blockdev-create */
    JOB_TYPES,
};

enum job_status {
    JOB_UNDEFINED,
    JOB_CREATED,
    JOB_RUNNING,
    JOB_PAUSED,
    JOB_READY,
    JOB_STANDBY,
    JOB_WAITING,
    JOB_PENDING,
    JOB_ABORTING,
    JOB_CONCLUDED,
    JOB_NULL,
    JOB_STATUSES,
};

/* What a job does when its I/O fails. */
enum job_on_error {
    JOB_ON_ERROR_REPORT, /* it fails */
    JOB_ON_ERROR_IGNORE, /* it goes on; mirror and backup try again later */
    JOB_ON_ERROR_STOP,   /* it pauses and tries again when it is resumed */
    JOB_ON_ERROR_ENOSPC, /* STOP when the target is full, else REPORT */
};

/* In QEMU's words: "mirror", "running", ...; *_name of JOB_ON_ERROR: "report", ... */
const char *job_type_name(enum job_type type);
const char *job_status_name(enum job_status status);

struct job_options {
    const char *id; /* copied; unique; letters, digits, '-', '.', '_', a letter first */
    uint64_t speed; /* bytes a second; 0: as fast as it goes */
    enum job_on_error on_source_error, on_target_error;
    bool manual_finalize, manual_dismiss; /* QEMU's auto-finalize=false, auto-dismiss=false */
    struct job_txn *txn;                  /* borrowed; NULL: alone */
};

/* Jobs that succeed or fail together (transaction with completion-mode=grouped). The caller's
 * reference is given back by job_txn_put() once its jobs are started. */
struct job_txn *job_txn_create(void);
void job_txn_put(struct job_txn *txn);

/* ------------------------------------------------------------------ the jobs */

enum job_sync {
    JOB_SYNC_FULL,        /* everything, backing chain included */
    JOB_SYNC_TOP,         /* what the node itself has */
    JOB_SYNC_NONE,        /* only what is written from now on (backup: what it was before) */
    JOB_SYNC_INCREMENTAL, /* backup: bitmap with on-success */
    JOB_SYNC_BITMAP,      /* backup: what a bitmap says, bitmap_mode decides what becomes of it */
};

enum job_copy_mode {
    JOB_COPY_BACKGROUND,
    JOB_COPY_WRITE_BLOCKING, /* a guest's write is done when the target has it too */
};

/* Nodes in options are borrowed; the job takes references. Node names are copied. */

struct mirror_options {
    struct job_options job;
    struct block_node *source, *target; /* target writable, not smaller */
    enum job_sync sync;                 /* full, top, none */
    enum job_copy_mode copy_mode;
    const char *replaces;    /* node that the target replaces; NULL: source */
    const char *filter_name; /* node-name of the filter over source; NULL: made up */
    uint32_t granularity;    /* bytes, a power of two 512 to 64 MiB; 0: the target's cluster */
    uint64_t buf_size;       /* bytes copied at once; 0: 1 MiB */
    bool no_unmap;           /* zeros are written as data areas (unmap=false) */
    bool target_is_zero;     /* it reads as zeros everywhere */
};
/* Starts it. From ready on, job_complete() makes devices go on on the target. */
int mirror_start(const struct mirror_options *options, struct kv_error *err);

struct commit_options {
    struct job_options job;
    struct block_node *top;   /* its data and that of what lies between goes to base */
    struct block_node *base;  /* NULL: the bottom of the chain */
    const char *backing_file; /* what top's overlays are told; NULL: base's name */
    const char *filter_name;
    bool backing_mask_protocol; /* say the plain file name without json: or protocol */
    int base_fd;                /* base's file open for writing, borrowed; -1: opened by its path */
};
/* top with nothing over it but devices: an active commit, which becomes ready and waits for
 * job_complete(), then devices go on on base. Else it ends by itself. job.on_target_error counts
 * for both sides (QEMU's on-error). */
int commit_start(const struct commit_options *options, struct kv_error *err);

struct stream_options {
    struct job_options job;   /* on_source_error counts for both sides (on-error) */
    struct block_node *node;  /* gets the data of what lies between it and base */
    struct block_node *base;  /* becomes its backing; NULL: it gets everything, has none */
    const char *backing_file; /* what it is told; NULL: base's name */
    const char *filter_name;
    int node_fd; /* an intermediate node's file open for writing, borrowed; -1: by its path */
};
int stream_start(const struct stream_options *options, struct kv_error *err);

enum job_bitmap_mode {
    JOB_BITMAP_ON_SUCCESS, /* cleared of what was copied, if all went well */
    JOB_BITMAP_NEVER,
    JOB_BITMAP_ALWAYS, /* what was copied is cleared, also when it fails */
};

struct backup_options {
    struct job_options job;
    struct block_node *source, *target; /* target writable, as large */
    enum job_sync sync;
    const char *bitmap; /* of source; for INCREMENTAL, BITMAP */
    enum job_bitmap_mode bitmap_mode;
    const char *filter_name;
    bool compress;
};
/*
 * The target becomes what source is at the moment of this call. What a guest overwrites is
 * copied before. sync none with a target whose backing chain has source in it: the target shows
 * that moment to its readers (an NBD export) until the job is cancelled (pull backup). Several
 * started between one block_graph_begin() and block_graph_end() are of one moment.
 */
int backup_start(const struct backup_options *options, struct kv_error *err);
/* Other work as a job (blockdev-create): run is called on the job's thread. 0 or -errno with err
 * filled. job_is_cancelled() says when to give up. done frees opaque, in any case. */
int job_run(enum job_type type, const struct job_options *options,
            int (*run)(struct job *job, void *opaque, struct kv_error *err),
            void (*done)(void *opaque), void *opaque, struct kv_error *err);

/* ------------------------------------------------------------------- control */

/* A reference, or NULL. */
struct job *job_find(const char *id);
void job_put(struct job *job);
/* Calls fn for every job, oldest first. fn starts and ends none. */
void job_each(void (*fn)(void *opaque, struct job *job), void *opaque);

struct job_info {
    const char *id; /* lives as long as the reference */
    enum job_type type;
    enum job_status status;
    uint64_t current, total; /* progress; bytes for the jobs above */
    uint64_t speed;
    bool block_job; /* one of the jobs above: query-block-jobs has it */
    bool busy, paused, ready;
    bool failed_io, no_space; /* io-status failed or nospace, until it is resumed */
    bool manual_finalize, manual_dismiss;
    bool actively_synced; /* mirror, write-blocking: nothing is left to copy */
    char error[480];      /* why it failed; "": it did not */
};
void job_get_info(struct job *job, struct job_info *info);

int job_pause(struct job *job, struct kv_error *err);
int job_resume(struct job *job, struct kv_error *err);
int job_set_speed(struct job *job, uint64_t speed, struct kv_error *err);
/* force false: a ready mirror or commit ends well, without pivot, and the target stays as it is
 * at that moment. Else it aborts. Does not wait. */
int job_cancel(struct job *job, bool force, struct kv_error *err);
int job_complete(struct job *job, struct kv_error *err);
int job_finalize(struct job *job, struct kv_error *err);
int job_dismiss(struct job *job, struct kv_error *err);
/* block-job-change: mirror, from background to write-blocking. */
int job_set_copy_mode(struct job *job, enum job_copy_mode mode, struct kv_error *err);

/* Inside run of job_run(). */
bool job_is_cancelled(const struct job *job);

/* Cancels all jobs by force and waits for their threads: the process ends. */
void job_cancel_all(void);
/* Waits until the job is concluded or null. For tools and tests. Seconds; -ETIMEDOUT. */
int job_wait(struct job *job, enum job_status status, unsigned seconds);

/* -------------------------------------------------------------------- events */

enum job_event_kind {
    JOB_EVENT_STATUS,    /* JOB_STATUS_CHANGE */
    JOB_EVENT_READY,     /* BLOCK_JOB_READY */
    JOB_EVENT_PENDING,   /* BLOCK_JOB_PENDING: waits for job_finalize() */
    JOB_EVENT_ERROR,     /* BLOCK_JOB_ERROR */
    JOB_EVENT_COMPLETED, /* BLOCK_JOB_COMPLETED; info.error: it failed */
    JOB_EVENT_CANCELLED, /* BLOCK_JOB_CANCELLED */
};

struct job_event {
    enum job_event_kind kind;
    struct job_info info; /* as it is with the event */
    /* ERROR: */
    bool is_read;             /* else write */
    enum job_on_error action; /* what is done: REPORT, IGNORE or STOP */
};

/* One for the process; NULL: nobody listens. fn runs on any thread, in order of what happens to a
 * job; it must not call job functions but job_type_name() and the like. */
void job_set_listener(void (*fn)(void *opaque, const struct job_event *event), void *opaque);

#endif
