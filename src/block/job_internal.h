/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside the jobs: what job.c (states, control), job_main.c (a job's thread) and
 * the kinds of jobs share. A kind is a struct job_kind and a state that follows
 * struct job in memory; its functions run on the job's thread.
 */
#ifndef KV_BLOCK_JOB_INTERNAL_H
#define KV_BLOCK_JOB_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/ratelimit.h"
#include "block/driver.h"
#include "block/job.h"

#define JOB_CLAIMS_MAX 256 /* nodes that a job has for itself: a chain and a target */

struct job_kind {
    enum job_type type;
    /* All the work. 0: it may be concluded; -ECANCELED: it was cancelled; else err is filled. */
    int (*run)(struct job *job, struct kv_error *err);
    /* After run went well, and the others of the transaction: what makes it good. */
    int (*prepare)(struct job *job, struct kv_error *err);
    /* In any case, at the end; failed: it was cancelled or did not go well. */
    void (*clean)(struct job *job, bool failed);
    /* NULL: cannot. */
    int (*set_copy_mode)(struct job *job, enum job_copy_mode mode, struct kv_error *err);
    bool (*actively_synced)(const struct job *job);
    bool has_ready; /* mirror, active commit: waits for job_complete() */
};

struct job_txn {
    unsigned refs, running; /* running: jobs that are not waiting yet */
    bool failed, finalize;
};

/* Under the jobs' lock but for what is marked. */
struct job {
    struct list all;
    unsigned refs;
    char *id;
    const struct job_kind *kind;
    enum job_on_error on_source_error, on_target_error;
    bool manual_finalize, manual_dismiss;
    struct job_txn *txn;
    pthread_t thread;

    enum job_status status;
    bool user_paused, cancelled, force, complete_asked, finalize_asked;
    bool ended; /* the thread touches it no more */
    bool ready, failed_io, no_space;
    int ret;
    struct kv_error error;
    uint64_t speed;
    struct ratelimit limit;
    atomic_uint_fast64_t current, total; /* any thread */

    struct block_node *claims[JOB_CLAIMS_MAX]; /* the thread's, or its maker's before; references */
    unsigned claim_count;
};

/* ------------------------------------------------------------------ job.c */

/* A job of size bytes that begins with struct job, zeroed but for that; not running. Its id is
 * taken, nobody finds it before job_start(). */
int job_new(struct job **out, size_t size, const struct job_kind *kind,
            const struct job_options *options, struct kv_error *err);
/* Makes it known and runs it; on failure job_drop() is the caller's. */
int job_start(struct job *job, struct kv_error *err);
/* A job that was not started: gives its claims back, calls no function of its kind. */
void job_drop(struct job *job);
/* The job has the node for itself until its end, and a reference to it. */
int job_claim(struct job *job, struct block_node *node, struct kv_error *err);
/* Gives all of them back. */
void job_release_claims(struct job *job);
/* Opens a claimed node for writing too, or read-only again (then errors are passed over); *node is
 * the caller's reference and may become another node. fd: see block_set_writable(). */
int job_open_writable(struct job *job, struct block_node **node, int fd, struct kv_error *err);
void job_open_readonly(struct job *job, struct block_node **node);

void jobs_lock(void);
void jobs_unlock(void);
/* Wakes whoever waits for anything about jobs; under the lock. */
void jobs_wake(void);
/* Waits for that, at most ns (0: forever). Under the lock. */
void jobs_sleep(int64_t ns);
/* Under the lock; the listener is told. */
void job_set_status(struct job *job, enum job_status status);
void job_tell(struct job *job, enum job_event_kind kind, bool is_read, enum job_on_error action);
void job_unref_locked(struct job *job);

/* ------------------------------------------------------------- job_main.c */

void *job_main(void *opaque);

/* Where a job may be paused or end: between two pieces of its work. 0, or -ECANCELED. */
int job_checkpoint(struct job *job);
/* Waits until amount bytes may go at the job's speed, then as job_checkpoint(). */
int job_throttle(struct job *job, uint64_t amount);
/* Sleeps so long, or until the job is asked something. */
void job_nap(struct job *job, int64_t ns);
/*
 * I/O failed (rc: -errno). 0: it is tried again (after a pause, if the policy is to stop); 1: it is
 * passed over; else rc: the job fails. is_read: on the source.
 */
int job_io_failed(struct job *job, bool is_read, int rc, struct kv_error *err);
/* Asked to complete, or cancelled softly: a ready job ends. */
bool job_should_end(struct job *job);
bool job_is_cancelled_softly(struct job *job);
void job_set_ready(struct job *job);

#endif
