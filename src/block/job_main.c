/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A job's thread: it runs the work, waits for the others of a transaction and
 * for job_finalize(), makes the result good, and tells each step. And what the
 * work asks on its way: may I go on, how fast, what now that I/O failed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "block/job_internal.h"

#define NAP_MAX_NS INT64_C(100000000)

/* ------------------------------------------------------------------- on the way */

/* Cancelled, or another one of its transaction failed. Under the lock. */
static bool is_called_off(const struct job *job)
{
    return (job->cancelled && job->force) || (job->txn && job->txn->failed);
}

/* Under the lock. */
static int rest(struct job *job)
{
    enum job_status before = job->status;
    while (job->user_paused && !is_called_off(job)) {
        job_set_status(job, job->ready ? JOB_STANDBY : JOB_PAUSED);
        jobs_sleep(0);
    }
    job_set_status(job, job->status == JOB_PAUSED || job->status == JOB_STANDBY
                            ? (job->ready ? JOB_READY : JOB_RUNNING)
                            : before);
    return is_called_off(job) ? -ECANCELED : 0;
}

int job_checkpoint(struct job *job)
{
    jobs_lock();
    int rc = rest(job);
    jobs_unlock();
    return rc;
}

int job_throttle(struct job *job, uint64_t amount)
{
    int64_t ns;
    jobs_lock();
    int rc = rest(job);
    while (rc == 0 && (ns = ratelimit_take(&job->limit, amount, clock_monotonic_ns())) > 0) {
        jobs_sleep(MIN(ns, NAP_MAX_NS));
        rc = rest(job);
    }
    jobs_unlock();
    return rc;
}

void job_nap(struct job *job, int64_t ns)
{
    jobs_lock();
    if (!job->cancelled && !job->complete_asked && !job->user_paused)
        jobs_sleep(ns);
    jobs_unlock();
}

int job_io_failed(struct job *job, bool is_read, int rc, struct kv_error *err)
{
    enum job_on_error policy = is_read ? job->on_source_error : job->on_target_error;
    if (policy == JOB_ON_ERROR_ENOSPC)
        policy = rc == -ENOSPC ? JOB_ON_ERROR_STOP : JOB_ON_ERROR_REPORT;
    jobs_lock();
    if (policy == JOB_ON_ERROR_STOP) {
        job->user_paused = job->failed_io = true;
        job->no_space = rc == -ENOSPC;
    }
    job_tell(job, JOB_EVENT_ERROR, is_read, policy);
    jobs_unlock();
    if (policy == JOB_ON_ERROR_IGNORE)
        return 1;
    if (policy == JOB_ON_ERROR_STOP)
        return job_checkpoint(job);
    return kv_error_set(err, KV_ERR_BLOCK, -rc, "%s", strerror(-rc));
}

bool job_should_end(struct job *job)
{
    jobs_lock();
    bool end = job->complete_asked || job->cancelled;
    jobs_unlock();
    return end;
}

bool job_is_cancelled_softly(struct job *job)
{
    jobs_lock();
    bool softly = job->cancelled && !job->force;
    jobs_unlock();
    return softly;
}

void job_set_ready(struct job *job)
{
    jobs_lock();
    if (!job->ready) {
        job->ready = true;
        job_set_status(job, JOB_READY);
        job_tell(job, JOB_EVENT_READY, false, JOB_ON_ERROR_REPORT);
    }
    jobs_unlock();
}

/* ------------------------------------------------------------------------ the end */

/* Waits for the other jobs of the transaction. Under the lock. */
static void wait_for_others(struct job *job)
{
    struct job_txn *txn = job->txn;
    job_set_status(job, JOB_WAITING);
    if (!txn)
        return;
    txn->running--;
    jobs_wake();
    while (txn->running && !txn->failed && !job->cancelled)
        jobs_sleep(0);
}

/* Under the lock. */
static void wait_for_finalize(struct job *job)
{
    job_set_status(job, JOB_PENDING);
    if (!job->manual_finalize)
        return;
    job_tell(job, JOB_EVENT_PENDING, false, JOB_ON_ERROR_REPORT);
    while (!job->finalize_asked && !(job->txn && job->txn->finalize) && !is_called_off(job))
        jobs_sleep(0);
}

/* What is left to do when run went well. Returns how it went. */
static int settle(struct job *job, struct kv_error *err)
{
    jobs_lock();
    wait_for_others(job);
    if (!is_called_off(job))
        wait_for_finalize(job);
    bool off = is_called_off(job);
    jobs_unlock();
    if (off)
        return -ECANCELED;
    return job->kind->prepare ? job->kind->prepare(job, err) : 0;
}

/* The others of the transaction are called off. Under the lock. */
static void fail_others(struct job *job)
{
    if (!job->txn)
        return;
    if (job->status < JOB_WAITING)
        job->txn->running--;
    job->txn->failed = true;
    jobs_wake();
}

void *job_main(void *opaque)
{
    struct job *job = opaque;
    struct kv_error err = {0};
    jobs_lock();
    job_set_status(job, JOB_RUNNING);
    jobs_unlock();

    int rc = job_checkpoint(job);
    if (rc == 0)
        rc = job->kind->run(job, &err);
    if (rc == 0)
        rc = settle(job, &err);
    if (rc < 0) {
        jobs_lock();
        job->ret = rc;
        job->error = err;
        fail_others(job);
        job_set_status(job, JOB_ABORTING);
        jobs_unlock();
    }
    job->kind->clean(job, rc < 0);
    job_release_claims(job);

    jobs_lock();
    job_tell(job, rc == -ECANCELED ? JOB_EVENT_CANCELLED : JOB_EVENT_COMPLETED, false,
             JOB_ON_ERROR_REPORT);
    job_set_status(job, JOB_CONCLUDED);
    job->ended = true;
    if (!job->manual_dismiss) {
        job_set_status(job, JOB_NULL);
        job_unref_locked(job);
    }
    jobs_wake();
    jobs_unlock();
    return NULL;
}
