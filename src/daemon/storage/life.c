/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What happens to pools: built, started, read anew, stopped, removed. See internal.h. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libxml/xmlstring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "daemon/storage/internal.h"

#define DEFAULT_MODE 0711

/* Of the host, not of the driver: libvirt's domain for system calls. */
static int system_error(struct kv_error *err, int code, const char *what, const char *path)
{
    return api_error_from(err, VIR_FROM_STORAGE, VIR_ERR_SYSTEM_ERROR, "%s '%s': %s", what, path,
                          strerror(code));
}

/* ------------------------------------------------------------------ refreshing */

struct scan {
    struct volume **found;
    size_t count, room;
};

static void scan_free(struct scan *scan)
{
    for (size_t i = 0; i < scan->count; i++)
        volume_unref(scan->found[i]);
    free(scan->found);
}

static bool is_volume_name(const char *name)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "lost+found") == 0)
        return false;
    for (const char *p = name; *p; p++) {
        if (iscntrl((unsigned char)*p))
            return false;
    }
    return xmlCheckUTF8((const xmlChar *)name); /* or no client could show it */
}

/* What cannot be a volume, or not be read, is not one. */
static int scan_one(struct scan *scan, const char *directory, const char *name)
{
    if (scan->count == scan->room) {
        size_t room = scan->room ? scan->room * 2 : 32;
        struct volume **grown = realloc(scan->found, room * sizeof(struct volume *));
        if (!grown)
            return -ENOMEM;
        scan->found = grown;
        scan->room = room;
    }
    struct volume *volume = volume_new(directory, name);
    int r = volume ? probe_volume(&volume->config) : -ENOMEM;
    if (r < 0) {
        volume_unref(volume);
        return r == -ENOMEM ? r : 0;
    }
    scan->found[scan->count++] = volume;
    return 0;
}

static int scan_directory(struct scan *scan, const char *path, struct kv_error *err)
{
    DIR *directory = opendir(path);
    if (!directory)
        return api_error_from(err, VIR_FROM_NONE, VIR_ERR_SYSTEM_ERROR,
                              "cannot open directory '%s': %s", path, strerror(errno));
    int r = 0;
    const struct dirent *entry;
    while (r == 0 && (errno = 0, entry = readdir(directory))) {
        if (!is_volume_name(entry->d_name))
            continue;
        if (scan->count == VOLUMES_MAX) {
            log_warning("storage: more than %d files in '%s'; the others are left out", VOLUMES_MAX,
                        path);
            break;
        }
        r = scan_one(scan, path, entry->d_name);
    }
    if (r == 0 && !entry && errno)
        r = system_error(err, errno, "cannot read directory", path);
    else if (r == -ENOMEM)
        storage_no_memory(err);
    closedir(directory);
    if (r == 0 && scan->count)
        qsort(scan->found, scan->count, sizeof(struct volume *), volume_compare);
    return r;
}

static char *path_of(struct pool *pool)
{
    pthread_mutex_lock(&pool->storage->lock);
    char *path = strdup(pool->config->path);
    pthread_mutex_unlock(&pool->storage->lock);
    return path;
}

void pool_measure(struct pool *pool)
{
    cleanup_free char *path = path_of(pool);
    struct statvfs fs;
    struct stat st;
    if (!path || statvfs(path, &fs) < 0 || stat(path, &st) < 0)
        return;
    pthread_mutex_lock(&pool->storage->lock);
    struct model_pool *config = pool->config;
    config->capacity = (uint64_t)fs.f_frsize * fs.f_blocks;
    config->available = (uint64_t)fs.f_frsize * fs.f_bfree;
    config->allocation = config->capacity - config->available;
    config->permissions.mode = st.st_mode & 07777;
    config->permissions.owner = st.st_uid;
    config->permissions.group = st.st_gid;
    pthread_mutex_unlock(&pool->storage->lock);
}

int pool_refresh(struct pool *pool, struct kv_error *err)
{
    struct scan scan = {0};
    cleanup_free char *path = path_of(pool);
    int r = path ? scan_directory(&scan, path, err) : storage_no_memory(err);
    if (r < 0) {
        scan_free(&scan);
        return r;
    }
    pool_measure(pool);
    pthread_mutex_lock(&pool->storage->lock);
    volumes_replace(pool, scan.found, scan.count);
    pthread_mutex_unlock(&pool->storage->lock);
    return 0;
}

/* -------------------------------------------------------------- start and stop */

int pool_start(struct pool *pool, struct kv_error *err)
{
    int r = pool_refresh(pool, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&pool->storage->lock);
    pool->active = true;
    pthread_mutex_unlock(&pool->storage->lock);
    note_active(pool);
    pool_tell(pool, VIR_STORAGE_POOL_EVENT_STARTED);
    return 0;
}

void pool_stop(struct pool *pool)
{
    pthread_mutex_lock(&pool->storage->lock);
    pool->active = false;
    volumes_clear(pool);
    if (pool->next_config) {
        model_pool_free(pool->config);
        pool->config = take_ptr(pool->next_config);
    }
    pool->config->capacity = pool->config->allocation = pool->config->available = 0;
    pthread_mutex_unlock(&pool->storage->lock);
    note_inactive(pool);
    pool_tell(pool, VIR_STORAGE_POOL_EVENT_STOPPED);
}

/* --------------------------------------------------------------------- building */

static int check_build_flags(unsigned flags, const char *name, struct kv_error *err)
{
    unsigned both = VIR_STORAGE_POOL_BUILD_OVERWRITE | VIR_STORAGE_POOL_BUILD_NO_OVERWRITE;
    if ((flags & both) == both)
        return storage_error(err, VIR_ERR_INVALID_ARG,
                             "Flags 'VIR_STORAGE_POOL_BUILD_OVERWRITE' and "
                             "'VIR_STORAGE_POOL_BUILD_NO_OVERWRITE' are mutually exclusive");
    if (flags & both)
        return storage_error(err, VIR_ERR_OPERATION_INVALID,
                             "No source device specified when formatting pool '%s'", name);
    return 0;
}

/* Every directory above that is missing. */
static int make_parents(const char *path, struct kv_error *err)
{
    cleanup_free char *part = strdup(path);
    if (!part)
        return storage_no_memory(err);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return system_error(err, errno, "cannot create path", part);
        *slash = '/';
    }
    return 0;
}

static int make_directory(const char *path, const struct model_permissions *wanted,
                          struct kv_error *err)
{
    bool made = mkdir(path, 0700) == 0;
    struct stat st;
    if (!made && errno != EEXIST)
        return system_error(err, errno, "failed to create directory", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return system_error(err, errno, "failed to create directory", path);
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    if (r == 0 && (wanted->owner != STORAGE_UNSET || wanted->group != STORAGE_UNSET) &&
        fchown(fd, (uid_t)wanted->owner, (gid_t)wanted->group) < 0)
        r = -errno;
    mode_t mode = wanted->mode != STORAGE_UNSET ? (mode_t)wanted->mode : DEFAULT_MODE;
    if (r == 0 && (made || wanted->mode != STORAGE_UNSET) && (st.st_mode & 07777) != mode &&
        fchmod(fd, mode) < 0)
        r = -errno;
    close(fd);
    if (r < 0 && made)
        rmdir(path);
    return r < 0 ? system_error(err, -r, "cannot set owner and mode of", path) : 0;
}

int pool_build(struct pool *pool, unsigned flags, struct kv_error *err)
{
    const struct model_pool *config = pool->config; /* changed by who has the job only */
    int r = check_build_flags(flags, config->name, err);
    if (r == 0)
        r = make_parents(config->path, err);
    return r < 0 ? r : make_directory(config->path, &config->permissions, err);
}

int pool_delete(struct pool *pool, struct kv_error *err)
{
    cleanup_free char *path = path_of(pool);
    if (!path)
        return storage_no_memory(err);
    return rmdir(path) < 0 ? system_error(err, errno, "failed to remove pool", path) : 0;
}
