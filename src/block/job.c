/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs as others see them: found by name, described, asked to pause, end or go
 * faster. All jobs share one lock and one condition; there are few of them. What
 * may be asked in which state is QEMU's table of job verbs. job_main.c is the
 * other side, a job's thread.
 */
#include "block/job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/iothread.h"
#include "base/util.h"
#include "block/job_internal.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static struct list jobs = {&jobs, &jobs};
static void (*listener)(void *opaque, const struct job_event *event);
static void *listener_opaque;

void jobs_lock(void)
{
    pthread_mutex_lock(&lock);
}

void jobs_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

void jobs_wake(void)
{
    pthread_cond_broadcast(&cond);
}

void jobs_sleep(int64_t ns)
{
    struct timespec until;
    if (ns == 0) {
        pthread_cond_wait(&cond, &lock);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ns / 1000000000;
    until.tv_nsec += ns % 1000000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&cond, &lock, &until);
}

/* ---------------------------------------------------------------------- names */

static const char *const type_names[JOB_TYPES] = {
    [JOB_COMMIT] = "commit", [JOB_STREAM] = "stream", [JOB_MIRROR] = "mirror",
    [JOB_BACKUP] = "backup", [JOB_CREATE] = "create",
};

static const char *const status_names[JOB_STATUSES] = {
    [JOB_UNDEFINED] = "undefined", [JOB_CREATED] = "created", [JOB_RUNNING] = "running",
    [JOB_PAUSED] = "paused",       [JOB_READY] = "ready",     [JOB_STANDBY] = "standby",
    [JOB_WAITING] = "waiting",     [JOB_PENDING] = "pending", [JOB_ABORTING] = "aborting",
    [JOB_CONCLUDED] = "concluded", [JOB_NULL] = "null",
};

const char *job_type_name(enum job_type type)
{
    return type_names[type];
}

const char *job_status_name(enum job_status status)
{
    return status_names[status];
}

/* -------------------------------------------------------------------- telling */

static void describe(const struct job *job, struct job_info *info)
{
    bool at_rest = job->status == JOB_PAUSED || job->status == JOB_STANDBY;
    *info = (struct job_info){
        .id = job->id,
        .type = job->kind->type,
        .status = job->status,
        .current = atomic_load(&job->current),
        .total = MAX(atomic_load(&job->total), atomic_load(&job->current)),
        .speed = job->speed,
        .block_job = job->kind->type != JOB_CREATE,
        .busy = !at_rest && job->status < JOB_WAITING,
        .paused = at_rest || job->user_paused,
        .ready = job->ready,
        .failed_io = job->failed_io,
        .no_space = job->no_space,
        .manual_finalize = job->manual_finalize,
        .manual_dismiss = job->manual_dismiss,
        .actively_synced = job->kind->actively_synced && job->kind->actively_synced(job),
    };
    if (job->ret < 0)
        snprintf(info->error, sizeof(info->error), "%s",
                 *job->error.message      ? job->error.message
                 : job->ret == -ECANCELED ? "Operation canceled"
                                          : strerror(-job->ret));
}

void job_tell(struct job *job, enum job_event_kind kind, bool is_read, enum job_on_error action)
{
    struct job_event event = {.kind = kind, .is_read = is_read, .action = action};
    describe(job, &event.info);
    if (listener)
        listener(listener_opaque, &event);
}

void job_set_status(struct job *job, enum job_status status)
{
    if (job->status == status)
        return;
    job->status = status;
    /* Its name is free again. */
    if (status == JOB_NULL)
        list_del(&job->all);
    jobs_wake();
    job_tell(job, JOB_EVENT_STATUS, false, JOB_ON_ERROR_REPORT);
}

void job_set_listener(void (*fn)(void *opaque, const struct job_event *event), void *opaque)
{
    jobs_lock();
    listener = fn;
    listener_opaque = opaque;
    jobs_unlock();
}

void job_get_info(struct job *job, struct job_info *info)
{
    jobs_lock();
    describe(job, info);
    jobs_unlock();
}

/* ----------------------------------------------------------------- transactions */

struct job_txn *job_txn_create(void)
{
    struct job_txn *txn = calloc(1, sizeof(*txn));
    if (txn)
        txn->refs = 1;
    return txn;
}

static void txn_unref(struct job_txn *txn)
{
    if (txn && --txn->refs == 0)
        free(txn);
}

void job_txn_put(struct job_txn *txn)
{
    jobs_lock();
    txn_unref(txn);
    jobs_unlock();
}

/* ------------------------------------------------------------------ life of a job */

static struct job *find(const char *id)
{
    list_for_each (pos, &jobs) {
        struct job *job = list_entry(pos, struct job, all);
        if (strcmp(job->id, id) == 0)
            return job;
    }
    return NULL;
}

static bool id_is_valid(const char *id)
{
    size_t len = strlen(id);
    return len && ((id[0] | 0x20) >= 'a' && (id[0] | 0x20) <= 'z') &&
           strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == len;
}

int job_new(struct job **out, size_t size, const struct job_kind *kind,
            const struct job_options *options, struct kv_error *err)
{
    if (!options->id || !id_is_valid(options->id))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "Invalid job ID '%.64s'",
                            options->id ? options->id : "");
    struct job *job = calloc(1, size);
    if (!job || !(job->id = strdup(options->id))) {
        free(job);
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "out of memory");
    }
    job->kind = kind;
    job->refs = 1; /* the thread's */
    job->on_source_error = options->on_source_error;
    job->on_target_error = options->on_target_error;
    job->manual_finalize = options->manual_finalize;
    job->manual_dismiss = options->manual_dismiss;
    job->speed = options->speed;
    ratelimit_init(&job->limit, job->speed, 0);
    jobs_lock();
    int rc = find(job->id)
                 ? kv_error_set(err, KV_ERR_BLOCK, EEXIST, "Job ID '%s' already in use", job->id)
                 : 0;
    list_init(&job->all);
    if (rc == 0)
        list_add_tail(&jobs, &job->all);
    job->txn = options->txn;
    if (job->txn)
        job->txn->refs++;
    jobs_unlock();
    if (rc < 0) {
        job_drop(job);
        return rc;
    }
    *out = job;
    return 0;
}

void job_unref_locked(struct job *job)
{
    if (--job->refs)
        return;
    list_del(&job->all);
    txn_unref(job->txn);
    free(job->id);
    free(job);
    jobs_wake();
}

void job_release_claims(struct job *job)
{
    while (job->claim_count) {
        struct block_node *node = job->claims[--job->claim_count];
        block_unclaim(node);
        block_close(node);
    }
}

void job_drop(struct job *job)
{
    job_release_claims(job);
    jobs_lock();
    job_unref_locked(job);
    jobs_unlock();
}

int job_claim(struct job *job, struct block_node *node, struct kv_error *err)
{
    if (job->claim_count == JOB_CLAIMS_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, E2BIG, "more than %d images in a chain",
                            JOB_CLAIMS_MAX);
    int rc = block_claim(node, type_names[job->kind->type], err);
    if (rc == 0)
        job->claims[job->claim_count++] = block_ref(node);
    return rc;
}

static int reopen(struct job *job, struct block_node **node, bool writable, int fd,
                  struct kv_error *err)
{
    struct block_node *old = block_ref(*node);
    int rc = block_set_writable(node, writable, fd, err);
    for (unsigned i = 0; rc == 0 && *node != old && i < job->claim_count; i++) {
        if (job->claims[i] == old) {
            job->claims[i] = block_ref(*node);
            block_close(old);
        }
    }
    block_close(old);
    return rc;
}

int job_open_writable(struct job *job, struct block_node **node, int fd, struct kv_error *err)
{
    int own = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0 && own < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, errno, "'%s': descriptor %d", job->id, fd);
    return reopen(job, node, true, own, err);
}

void job_open_readonly(struct job *job, struct block_node **node)
{
    reopen(job, node, false, -1, NULL);
}

int job_start(struct job *job, struct kv_error *err)
{
    jobs_lock();
    if (job->txn)
        job->txn->running++;
    /* Descriptors are closed and locks given back at its end, as I/O threads do. */
    int rc = thread_start(&job->thread, THREAD_IO, job->id, job_main, job);
    if (rc < 0 && job->txn)
        job->txn->running--;
    if (rc == 0) {
        pthread_detach(job->thread);
        job_set_status(job, JOB_CREATED);
    }
    jobs_unlock();
    return rc < 0 ? kv_error_errno(err, KV_ERR_BLOCK, -rc, "job '%s': thread", job->id) : 0;
}

struct job *job_find(const char *id)
{
    jobs_lock();
    struct job *job = find(id);
    if (job && job->status == JOB_UNDEFINED)
        job = NULL;
    if (job)
        job->refs++;
    jobs_unlock();
    return job;
}

void job_put(struct job *job)
{
    if (!job)
        return;
    jobs_lock();
    job_unref_locked(job);
    jobs_unlock();
}

void job_each(void (*fn)(void *opaque, struct job *job), void *opaque)
{
    struct job *all[64];
    unsigned count = 0;
    jobs_lock();
    list_for_each (pos, &jobs) {
        struct job *job = list_entry(pos, struct job, all);
        if (count < ARRAY_SIZE(all) && job->status != JOB_UNDEFINED && job->status != JOB_NULL) {
            job->refs++;
            all[count++] = job;
        }
    }
    jobs_unlock();
    for (unsigned i = 0; i < count; i++) {
        fn(opaque, all[i]);
        job_put(all[i]);
    }
}

/* --------------------------------------------------------------------- control */

#define IN(status_) (1u << (status_))
#define LIVELY \
    (IN(JOB_CREATED) | IN(JOB_RUNNING) | IN(JOB_PAUSED) | IN(JOB_READY) | IN(JOB_STANDBY))

enum verb { CANCEL, PAUSE, RESUME, SET_SPEED, COMPLETE, FINALIZE, DISMISS, CHANGE };

static const struct {
    const char *name;
    unsigned states;
} verbs[] = {
    [CANCEL] = {"cancel", LIVELY | IN(JOB_WAITING) | IN(JOB_PENDING)},
    [PAUSE] = {"pause", LIVELY},
    [RESUME] = {"resume", LIVELY},
    [SET_SPEED] = {"set-speed", LIVELY},
    [COMPLETE] = {"complete", IN(JOB_READY)},
    [FINALIZE] = {"finalize", IN(JOB_PENDING)},
    [DISMISS] = {"dismiss", IN(JOB_CONCLUDED)},
    [CHANGE] = {"change", LIVELY & ~IN(JOB_CREATED)},
};

/* Takes the lock; keeps it when the verb is accepted. */
static int begin_verb(const struct job *job, enum verb verb, struct kv_error *err)
{
    jobs_lock();
    if (verbs[verb].states & IN(job->status))
        return 0;
    int rc = kv_error_set(err, KV_ERR_BLOCK, EPERM,
                          "Job '%s' in state '%s' cannot accept command verb '%s'", job->id,
                          status_names[job->status], verbs[verb].name);
    jobs_unlock();
    return rc;
}

static int end_verb(int rc)
{
    jobs_wake();
    jobs_unlock();
    return rc;
}

int job_pause(struct job *job, struct kv_error *err)
{
    int rc = begin_verb(job, PAUSE, err);
    if (rc < 0)
        return rc;
    if (job->user_paused)
        return end_verb(kv_error_set(err, KV_ERR_BLOCK, EPERM, "Job is already paused"));
    job->user_paused = true;
    return end_verb(0);
}

int job_resume(struct job *job, struct kv_error *err)
{
    int rc = begin_verb(job, RESUME, err);
    if (rc < 0)
        return rc;
    if (!job->user_paused)
        return end_verb(
            kv_error_set(err, KV_ERR_BLOCK, EPERM, "Can't resume a job that was not paused"));
    job->user_paused = job->failed_io = job->no_space = false;
    return end_verb(0);
}

int job_set_speed(struct job *job, uint64_t speed, struct kv_error *err)
{
    int rc = begin_verb(job, SET_SPEED, err);
    if (rc < 0)
        return rc;
    job->speed = speed;
    ratelimit_init(&job->limit, speed, 0);
    return end_verb(0);
}

int job_cancel(struct job *job, bool force, struct kv_error *err)
{
    int rc = begin_verb(job, CANCEL, err);
    if (rc < 0)
        return rc;
    /* Only a ready job can end well without having been completed. */
    if (!job->kind->has_ready || !job->ready || job->status >= JOB_WAITING)
        force = true;
    job->cancelled = true;
    job->force |= force;
    job->user_paused = false;
    return end_verb(0);
}

int job_complete(struct job *job, struct kv_error *err)
{
    int rc = begin_verb(job, COMPLETE, err);
    if (rc < 0)
        return rc;
    if (job->user_paused || job->cancelled)
        return end_verb(kv_error_set(err, KV_ERR_BLOCK, EBUSY,
                                     "The active block job '%s' cannot be completed", job->id));
    job->complete_asked = true;
    return end_verb(0);
}

int job_finalize(struct job *job, struct kv_error *err)
{
    int rc = begin_verb(job, FINALIZE, err);
    if (rc < 0)
        return rc;
    job->finalize_asked = true;
    if (job->txn)
        job->txn->finalize = true;
    return end_verb(0);
}

int job_dismiss(struct job *job, struct kv_error *err)
{
    int rc = begin_verb(job, DISMISS, err);
    if (rc < 0)
        return rc;
    job_set_status(job, JOB_NULL);
    job_unref_locked(job); /* its thread's; the caller has one */
    return end_verb(0);
}

int job_set_copy_mode(struct job *job, enum job_copy_mode mode, struct kv_error *err)
{
    int rc = begin_verb(job, CHANGE, err);
    if (rc < 0)
        return rc;
    end_verb(0);
    if (!job->kind->set_copy_mode)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "Job type does not support change");
    return job->kind->set_copy_mode(job, mode, err);
}

bool job_is_cancelled(const struct job *job)
{
    jobs_lock();
    bool cancelled = job->cancelled && job->force;
    jobs_unlock();
    return cancelled;
}

/* The first job whose thread is at work. Under the lock. */
static struct job *at_work(void)
{
    list_for_each (pos, &jobs) {
        struct job *job = list_entry(pos, struct job, all);
        if (job->status != JOB_UNDEFINED && !job->ended)
            return job;
    }
    return NULL;
}

void job_cancel_all(void)
{
    struct job *job;
    jobs_lock();
    while ((job = at_work())) {
        job->cancelled = job->force = true;
        job->manual_dismiss = job->user_paused = false;
        jobs_wake();
        jobs_sleep(0);
    }
    list_for_each_safe (pos, &jobs) {
        struct job *left = list_entry(pos, struct job, all);
        if (left->status == JOB_CONCLUDED) {
            job_set_status(left, JOB_NULL);
            job_unref_locked(left);
        }
    }
    jobs_unlock();
}

int job_wait(struct job *job, enum job_status status, unsigned seconds)
{
    int64_t end = clock_monotonic_ns() + (int64_t)seconds * 1000000000;
    int rc = 0;
    jobs_lock();
    while (job->status != status && job->status != JOB_NULL && rc == 0) {
        int64_t left = end - clock_monotonic_ns();
        if (left <= 0)
            rc = -ETIMEDOUT;
        else
            jobs_sleep(left);
    }
    jobs_unlock();
    return rc;
}
