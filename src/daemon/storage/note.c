/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What outlives the daemon: definitions in the state; which pools are active, as files below
 * the run directory, so that a restart of the host forgets it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/state/state.h"
#include "daemon/storage/internal.h"
#include "model/uuid.h"

#define NOTE_MAX (64u << 10)
#define SUFFIX ".xml"
#define AUTOSTARTED "autostarted"

int pool_store(struct pool *pool, const struct model_pool *config, struct kv_error *err)
{
    cleanup_free char *document = model_pool_format(config);
    if (!document)
        return storage_no_memory(err);
    struct state_object object = {
        .kind = STATE_POOL,
        .name = config->name,
        .document = document,
        .autostart = pool->autostart,
    };
    memcpy(object.uuid, config->uuid, sizeof(object.uuid));
    return state_put(pool->storage->daemon->state, &object, err);
}

static char *note_path(const struct pool *pool)
{
    char uuid[UUID_TEXT], *path;
    uuid_format(pool->uuid, uuid);
    return asprintf(&path, "%s/%s" SUFFIX, pool->storage->run_dir, uuid) < 0 ? NULL : path;
}

/* A note that cannot be written costs the pool its start after a restart of the daemon, no more. */
void note_active(struct pool *pool)
{
    cleanup_free char *path = note_path(pool);
    pthread_mutex_lock(&pool->storage->lock);
    cleanup_free char *document = model_pool_format(pool->config);
    pthread_mutex_unlock(&pool->storage->lock);
    cleanup_fd int fd =
        path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (fd < 0 || !document || fd_write_all(fd, document, strlen(document)) < 0)
        log_warning("storage pool '%s': that it is active could not be noted in '%s'",
                    pool->config->name, path ? path : "");
}

void note_inactive(struct pool *pool)
{
    cleanup_free char *path = note_path(pool);
    if (path)
        unlink(path);
}

/* -------------------------------------------------------------------- at the start */

static int load_one(void *opaque, const struct state_object *object)
{
    struct storage *storage = opaque;
    struct model_pool *config;
    struct kv_error err = {0};
    if (model_pool_parse(&config, object->document, &err) < 0) {
        log_error("storage pool '%s': its definition cannot be used: %s", object->name,
                  err.message);
        return 0;
    }
    struct pool *pool = pool_create(storage, config);
    if (!pool)
        return -ENOMEM;
    pool->persistent = true;
    pool->autostart = object->autostart;
    pthread_mutex_lock(&storage->lock);
    pool_list(pool);
    pthread_mutex_unlock(&storage->lock);
    pool_put(pool);
    return 0;
}

static char *read_note(const char *path)
{
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size > NOTE_MAX)
        return NULL;
    char *text = calloc(1, (size_t)st.st_size + 1);
    if (text && fd_read_all(fd, text, (size_t)st.st_size) == 0)
        return text;
    free(text);
    return NULL;
}

/* The definition may have changed while the pool was active: what it is now is in the note. */
static struct pool *noted_pool(struct storage *storage, struct model_pool *config)
{
    pthread_mutex_lock(&storage->lock);
    struct pool *pool = pool_by_uuid(storage, config->uuid);
    bool taken = !pool && pool_by_name(storage, config->name);
    if (pool) {
        if (strcmp(pool->config->path, config->path) != 0) {
            model_pool_free(pool->next_config);
            pool->next_config = pool->config;
            pool->config = take_ptr(config);
        }
        pool_ref(pool);
    }
    pthread_mutex_unlock(&storage->lock);
    if (pool || taken) {
        model_pool_free(config);
        return pool;
    }
    pool = pool_create(storage, config);
    if (!pool)
        return NULL;
    pthread_mutex_lock(&storage->lock);
    pool_list(pool);
    pthread_mutex_unlock(&storage->lock);
    return pool;
}

static void start_one(struct pool *pool, const char *why)
{
    struct kv_error err = {0};
    pthread_mutex_lock(&pool->job);
    int r = pool->active ? 0 : pool_start(pool, &err);
    if (r < 0) {
        log_error("storage pool '%s': %s: %s", pool->config->name, why, err.message);
        note_inactive(pool);
        pthread_mutex_lock(&pool->storage->lock);
        if (!pool->persistent)
            pool_unlist(pool);
        pthread_mutex_unlock(&pool->storage->lock);
    }
    pthread_mutex_unlock(&pool->job);
}

static void restart_noted(struct storage *storage)
{
    DIR *directory = opendir(storage->run_dir);
    const struct dirent *entry;
    while (directory && (entry = readdir(directory))) {
        cleanup_free char *path = NULL;
        size_t len = strlen(entry->d_name);
        struct model_pool *config;
        struct kv_error err = {0};
        if (len <= strlen(SUFFIX) || strcmp(entry->d_name + len - strlen(SUFFIX), SUFFIX) != 0 ||
            asprintf(&path, "%s/%s", storage->run_dir, entry->d_name) < 0)
            continue;
        cleanup_free char *text = read_note(path);
        if (!text || model_pool_parse(&config, text, &err) < 0) {
            log_warning("storage: the note '%s' cannot be read: %s", path, err.message);
            continue;
        }
        cleanup_pool struct pool *pool = noted_pool(storage, config);
        if (pool)
            start_one(pool, "it was active");
    }
    if (directory)
        closedir(directory);
}

/* Once after the host's start: a file that a reboot takes away tells. */
static bool first_start(const struct storage *storage)
{
    cleanup_free char *path = NULL;
    if (asprintf(&path, "%s/" AUTOSTARTED, storage->run_dir) < 0)
        return false;
    cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd >= 0;
}

static struct pool *next_autostart(struct storage *storage)
{
    struct pool *found = NULL;
    pthread_mutex_lock(&storage->lock);
    list_for_each (node, &storage->pools) {
        struct pool *pool = list_entry(node, struct pool, node);
        if (pool->autostart && !pool->active && !pool->tried) {
            pool->tried = true;
            found = pool_ref(pool);
            break;
        }
    }
    pthread_mutex_unlock(&storage->lock);
    return found;
}

void storage_start_pools(struct storage *storage)
{
    restart_noted(storage);
    if (!first_start(storage))
        return;
    for (struct pool *pool; (pool = next_autostart(storage)); pool_put(pool))
        start_one(pool, "autostart");
}

int storage_load(struct storage *storage, struct kv_error *err)
{
    if (mkdir(storage->run_dir, 0700) < 0 && errno != EEXIST)
        return kv_error_errno(err, KV_ERR_CONTROL, errno, "directory '%s'", storage->run_dir);
    return state_each(storage->daemon->state, STATE_POOL, load_one, storage, err);
}
