/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the storage driver share.
 *
 * Locks, in this order: storage.define (definitions come and go, in memory and on disk; held while
 * the disk is written), pool.job (the pool's directory and list are being changed; held during
 * I/O), storage.lock (everything in memory; held for microseconds, so readers wait for
 * no disk). What takes long - a volume being filled or copied - holds none of them: the
 * volume is marked and its pool counts it.
 */
#ifndef KV_DAEMON_STORAGE_INTERNAL_H
#define KV_DAEMON_STORAGE_INTERNAL_H

#include <libvirt/libvirt.h>
#include <pthread.h>

#include "base/list.h"
#include "daemon/storage/storage.h"
#include "model/api_error.h"
#include "model/storage.h"
#include "rpc/procedure.h"

#define POOLS_MAX 16384   /* as many as the protocol has room for */
#define VOLUMES_MAX 16384 /* of a pool; likewise */

#define storage_error(err, code, ...) api_error_from(err, VIR_FROM_STORAGE, code, __VA_ARGS__)

struct volume {
    struct model_volume config; /* what it is; its name and path never change */
    unsigned refs;              /* the pool's list, and whoever works on it */
    unsigned in_use;            /* is read or written: not to be removed */
    bool building;              /* not complete yet */
};

struct pool {
    struct list node;
    unsigned refs; /* the list, and whoever works on it */
    struct storage *storage;
    pthread_mutex_t job;
    uint8_t uuid[16];
    struct model_pool *config;
    struct model_pool *next_config; /* what it will be when it is started anew; NULL: the same */
    bool active, persistent, autostart;
    bool tried;  /* to start it with the host */
    bool listed; /* false: gone, only held by somebody */
    unsigned jobs;
    struct volume **volumes; /* sorted by name */
    size_t volume_count, volume_room;
};

struct storage {
    struct daemon *daemon;
    pthread_mutex_t define;
    pthread_mutex_t lock;
    struct list pools;
    unsigned count;
    unsigned transfers; /* threads of streams */
    pthread_cond_t no_transfers;
    char *run_dir;
};

/* ---- driver.c: the list */

struct storage *storage_of(const struct rpc_call *call);
int storage_no_memory(struct kv_error *err);
/* VIR_ERR_INVALID_ARG when there are flags beyond those known. */
int storage_check_flags(const struct rpc_call *call, unsigned flags, unsigned known,
                        struct kv_error *err);

/* With the lock; NULL: none. No reference is taken. */
struct pool *pool_by_uuid(struct storage *storage, const uint8_t uuid[16]);
struct pool *pool_by_name(struct storage *storage, const char *name);

/* A reference to the pool; NULL with VIR_ERR_NO_STORAGE_POOL. */
struct pool *pool_get(struct storage *storage, const uint8_t uuid[16], const char *name,
                      struct kv_error *err);
struct pool *pool_get_named(struct storage *storage, const char *name, struct kv_error *err);
struct pool *pool_create(struct storage *storage, struct model_pool *config); /* takes config */
struct pool *pool_ref(struct pool *pool);                                     /* with the lock */
void pool_put(struct pool *pool);
static inline void pool_put_fn(struct pool **pool)
{
    pool_put(*pool);
}
#define cleanup_pool __attribute__((cleanup(pool_put_fn), unused))

/* With the lock: on and off the list. */
void pool_list(struct pool *pool);
void pool_unlist(struct pool *pool);

/* ---- volumes.c: a pool's list of volumes; all with the lock */

struct volume *volume_find(const struct pool *pool, const char *name);
int volume_add(struct pool *pool, struct volume *volume); /* takes it; -EEXIST, -ENOMEM, -ENOSPC */
void volume_remove(struct pool *pool, struct volume *volume);
void volumes_clear(struct pool *pool);
void volume_unref(struct volume *volume);
/* Takes the place of the pool's list; volumes that somebody works on stay. The array and its
 * volumes belong to the pool then. found is sorted. */
void volumes_replace(struct pool *pool, struct volume **found, size_t count);
struct volume *volume_new(const char *directory, const char *name);
int volume_compare(const void *a, const void *b);

/* ---- probe.c */

/*
 * What the file or directory is, into config (name and path stay, as does what only the definition
 * knows: the secret). Only its own first bytes are looked at. -ENOENT: there is none; -EINVAL: it
 * is nothing that can be a volume (a pipe, a device); -errno.
 */
int probe_volume(struct model_volume *config);
/* Sizes, owner and times only: it is being written. */
int probe_sizes(struct model_volume *config);

/* ---- life.c: what happens to pools. With the pool's job. */

int pool_start(struct pool *pool, struct kv_error *err);
void pool_stop(struct pool *pool);
int pool_build(struct pool *pool, unsigned flags, struct kv_error *err);
int pool_delete(struct pool *pool, struct kv_error *err);
/* Reads the directory anew. */
int pool_refresh(struct pool *pool, struct kv_error *err);
/* How full the file system is. */
void pool_measure(struct pool *pool);

/* ---- note.c: definitions in the state, notes of what is active */

int pool_store(struct pool *pool, const struct model_pool *config, struct kv_error *err);
void note_active(struct pool *pool);
void note_inactive(struct pool *pool);
int storage_load(struct storage *storage, struct kv_error *err);
/* Starts what was active before the daemon's restart, or what is to be started with the host. */
void storage_start_pools(struct storage *storage);

/* ---- events.c */

void pool_tell(struct pool *pool, int event); /* VIR_STORAGE_POOL_EVENT_* */
void pool_tell_refresh(struct pool *pool);

/* ---- image.c: the files themselves; no lock is held */

/* Makes the file or directory that config describes. source: the volume to copy from (its config
 * is the caller's copy), or NULL. On failure nothing is left. */
int image_create(const struct model_volume *config, const struct model_volume *source,
                 unsigned flags, struct kv_error *err);
int image_resize(const struct model_volume *config, uint64_t capacity, unsigned flags,
                 struct kv_error *err);
int image_wipe(const struct model_volume *config, unsigned algorithm, struct kv_error *err);
int image_remove(const struct model_volume *config, struct kv_error *err);

/* ---- the procedures: rows without an end, joined by procedures.c */

struct storage_rows {
    const struct rpc_handler *rows;
    size_t count;
};
extern const struct storage_rows storage_pool_rows, storage_list_rows, storage_volume_rows,
    storage_make_rows, storage_transfer_rows;
extern struct rpc_handler storage_handlers[];

#define CALL(name) \
    static int name(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)

/* The pool of a call, with a reference. */
struct pool *call_pool(struct rpc_call *call, const wire_pool *wire, struct kv_error *err);
int wire_pool_fill(wire_pool *out, const struct pool *pool, struct kv_error *err); /* lock */
int wire_volume_fill(wire_volume *out, const struct pool *pool, const struct volume *volume,
                     struct kv_error *err); /* lock */

/* VIR_ERR_OPERATION_INVALID "storage pool 'x' is not active". With the lock. */
int pool_check_active(const struct pool *pool, struct kv_error *err);
int pool_check_inactive(const struct pool *pool, const char *still, struct kv_error *err);
/* VIR_ERR_INTERNAL_ERROR "pool 'x' has asynchronous jobs running." */
int pool_check_idle(const struct pool *pool, struct kv_error *err);

/*
 * The volume that a call means, and its pool with a reference; the lock is held when
 * it succeeds. NULL: not, and the lock is not held.
 */
struct volume *call_volume_lock(struct rpc_call *call, const wire_volume *wire, struct pool **pool,
                                struct kv_error *err);

/* A volume that somebody works on: counted, so that it is neither removed nor its pool stopped. */
struct volume_use {
    struct pool *pool;
    struct volume *volume;
    struct model_volume config; /* a copy, for use without the lock */
};
/* With the lock. VIR_ERR_OPERATION_INVALID when it is being built, or (alone) is used. */
int volume_use_begin(struct volume_use *use, struct pool *pool, struct volume *volume, bool alone,
                     struct kv_error *err);
/* Without. Looks at the file again. */
void volume_use_end(struct volume_use *use);
int volume_config_copy(struct model_volume *out, const struct model_volume *config);

#endif
