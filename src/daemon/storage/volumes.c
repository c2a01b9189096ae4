/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pool's list of volumes, sorted by name. All with the storage's lock. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/storage/internal.h"

int volume_compare(const void *a, const void *b)
{
    const struct volume *const *first = a, *const *second = b;
    return strcmp((*first)->config.name, (*second)->config.name);
}

/* Where the name is, or would be. */
static size_t place(const struct pool *pool, const char *name, bool *found)
{
    size_t low = 0, high = pool->volume_count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(pool->volumes[middle]->config.name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct volume *volume_find(const struct pool *pool, const char *name)
{
    bool found;
    size_t at = place(pool, name, &found);
    return found ? pool->volumes[at] : NULL;
}

int volume_add(struct pool *pool, struct volume *volume)
{
    bool found;
    size_t at = place(pool, volume->config.name, &found);
    if (found)
        return -EEXIST;
    if (pool->volume_count >= VOLUMES_MAX)
        return -ENOSPC;
    if (pool->volume_count == pool->volume_room) {
        size_t room = pool->volume_room ? pool->volume_room * 2 : 8;
        struct volume **grown = realloc(pool->volumes, room * sizeof(struct volume *));
        if (!grown)
            return -ENOMEM;
        pool->volumes = grown;
        pool->volume_room = room;
    }
    memmove(pool->volumes + at + 1, pool->volumes + at,
            (pool->volume_count - at) * sizeof(struct volume *));
    pool->volumes[at] = volume;
    pool->volume_count++;
    return 0;
}

void volume_remove(struct pool *pool, struct volume *volume)
{
    bool found;
    size_t at = place(pool, volume->config.name, &found);
    if (!found || pool->volumes[at] != volume)
        return;
    pool->volume_count--;
    memmove(pool->volumes + at, pool->volumes + at + 1,
            (pool->volume_count - at) * sizeof(struct volume *));
    volume_unref(volume);
}

void volume_unref(struct volume *volume)
{
    if (!volume || --volume->refs)
        return;
    model_volume_clear(&volume->config);
    free(volume);
}

void volumes_clear(struct pool *pool)
{
    for (size_t i = 0; i < pool->volume_count; i++)
        volume_unref(pool->volumes[i]);
    free(take_ptr(pool->volumes));
    pool->volume_count = pool->volume_room = 0;
}

struct volume *volume_new(const char *directory, const char *name)
{
    struct volume *volume = calloc(1, sizeof(*volume));
    if (!volume)
        return NULL;
    volume->refs = 1;
    volume->config.name = strdup(name);
    if (asprintf(&volume->config.path, "%s/%s", strcmp(directory, "/") == 0 ? "" : directory,
                 name) < 0)
        volume->config.path = NULL;
    if (volume->config.name && volume->config.path)
        return volume;
    volume_unref(volume);
    return NULL;
}

/* What the definition said and the file does not tell stays known. */
static void keep_secret(struct volume *from, struct volume *to)
{
    if (from->in_use || !to->config.luks)
        return;
    to->config.secret_uuid = take_ptr(from->config.secret_uuid);
    to->config.secret_usage = take_ptr(from->config.secret_usage);
}

void volumes_replace(struct pool *pool, struct volume **found, size_t count)
{
    struct volume **old = pool->volumes;
    size_t old_count = pool->volume_count;
    pool->volumes = found;
    pool->volume_count = pool->volume_room = count;
    for (size_t i = 0; i < old_count; i++) {
        struct volume *now = volume_find(pool, old[i]->config.name);
        bool busy = old[i]->in_use || old[i]->building;
        if (now && !busy)
            keep_secret(old[i], now);
        if (now && busy)
            volume_remove(pool, now);
        if (!busy || volume_add(pool, old[i]) < 0)
            volume_unref(old[i]);
    }
    free(old);
}
