/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Groups of nodes under common limits; see throttle.h. */
#include "block/throttle.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/ratelimit.h"
#include "base/util.h"
#include "block/description.h"

#define VALUE_MAX UINT64_C(1000000000000000)
#define DIRECTIONS 2

static const char *const kind_names[THROTTLE_KINDS] = {
    [THROTTLE_IOPS_TOTAL] = "iops-total", [THROTTLE_IOPS_READ] = "iops-read",
    [THROTTLE_IOPS_WRITE] = "iops-write", [THROTTLE_BPS_TOTAL] = "bps-total",
    [THROTTLE_BPS_READ] = "bps-read",     [THROTTLE_BPS_WRITE] = "bps-write",
};

/* The average with what a burst may take at once, and the maximum during a long burst. */
struct bucket {
    struct ratelimit average, burst;
};

struct throttle_group {
    struct list link; /* in groups, or in itself; under groups_lock */
    char *name;
    unsigned references; /* under groups_lock */

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t cond;  /* a turn ended, or the limits changed */
    struct throttle_limits limits;
    struct bucket buckets[THROTTLE_KINDS];
    /* Those who wait take numbers, reads and writes apart. */
    uint64_t next[DIRECTIONS], serving[DIRECTIONS];
};

static pthread_mutex_t groups_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list groups = {&groups, &groups};

/* --------------------------------------------------------------------- limits */

static int bad(struct kv_error *err, const char *name, const char *why)
{
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "throttle limit '%s' %s", name, why);
}

/* Where a member's value belongs; NULL: there is no such member. */
static uint64_t *find_member(struct throttle_limits *limits, const char *name)
{
    if (strcmp(name, "iops-size") == 0)
        return &limits->iops_size;
    for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
        size_t len = strlen(kind_names[i]);
        if (strncmp(name, kind_names[i], len) != 0)
            continue;
        if (name[len] == '\0')
            return &limits->limits[i].average;
        if (strcmp(name + len, "-max") == 0)
            return &limits->limits[i].max;
        if (strcmp(name + len, "-max-length") == 0)
            return &limits->limits[i].length;
    }
    return NULL;
}

static int check_limits(const struct throttle_limits *limits, struct kv_error *err)
{
    for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
        const struct throttle_limit *limit = &limits->limits[i];
        unsigned total = i < THROTTLE_BPS_TOTAL ? THROTTLE_IOPS_TOTAL : THROTTLE_BPS_TOTAL;
        const struct throttle_limit *all = &limits->limits[total];
        if (i != total && ((limit->average && all->average) || (limit->max && all->max)))
            return bad(err, kind_names[i], "cannot be used together with that of the total");
        if (limit->max && !limit->average)
            return bad(err, kind_names[i], "has a maximum, but no average");
        if (limit->max && limit->max < limit->average)
            return bad(err, kind_names[i], "has a maximum that is lower than the average");
        if (limit->length > 1 && !limit->max)
            return bad(err, kind_names[i], "has a burst length, but no maximum");
        if (limit->length > 1 && limit->max > VALUE_MAX / limit->length)
            return bad(err, kind_names[i], "has too large a burst");
    }
    if (limits->iops_size && !limits->limits[THROTTLE_IOPS_TOTAL].average &&
        !limits->limits[THROTTLE_IOPS_READ].average && !limits->limits[THROTTLE_IOPS_WRITE].average)
        return bad(err, "iops-size", "needs a limit of requests");
    return 0;
}

int throttle_parse_limits(const json_t *object, struct throttle_limits *out, struct kv_error *err)
{
    const char *name;
    json_t *value;
    *out = (struct throttle_limits){0};
    if (!json_is_object(object))
        return bad(err, "limits", "is not an object");
    json_object_foreach ((json_t *)(uintptr_t)object, name, value) {
        uint64_t *to = find_member(out, name);
        if (!to)
            return bad(err, name,
                       "is not known; iops and bps -total, -read and -write, each also with -max "
                       "and -max-length, and iops-size are");
        if (!description_number(object, name, to) || *to > VALUE_MAX)
            return bad(err, name, "is not a number from 0 to 1000000000000000");
    }
    return check_limits(out, err);
}

static void set_limits(struct throttle_group *group, const struct throttle_limits *limits)
{
    group->limits = *limits;
    for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
        const struct throttle_limit *limit = &limits->limits[i];
        struct bucket *bucket = &group->buckets[i];
        ratelimit_init(&bucket->average, limit->average, limit->max * MAX(limit->length, 1));
        ratelimit_init(&bucket->burst, limit->length > 1 ? limit->max : 0, 0);
    }
}

/* --------------------------------------------------------------------- groups */

static struct throttle_group *find_group(const char *name)
{
    list_for_each (pos, &groups) {
        struct throttle_group *group = list_entry(pos, struct throttle_group, link);
        if (strcmp(group->name, name) == 0)
            return group;
    }
    return NULL;
}

struct throttle_group *throttle_group_get(const char *name)
{
    pthread_mutex_lock(&groups_lock);
    struct throttle_group *group = find_group(name);
    if (group)
        group->references++;
    pthread_mutex_unlock(&groups_lock);
    return group;
}

void throttle_group_put(struct throttle_group *group)
{
    if (!group)
        return;
    pthread_mutex_lock(&groups_lock);
    bool last = --group->references == 0;
    pthread_mutex_unlock(&groups_lock);
    if (!last)
        return;
    pthread_cond_destroy(&group->cond);
    pthread_mutex_destroy(&group->lock);
    free(group->name);
    free(group);
}

static struct throttle_group *make_group(const char *name)
{
    struct throttle_group *group = calloc(1, sizeof(*group));
    if (!group || !(group->name = strdup(name))) {
        free(group);
        return NULL;
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&group->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&group->lock, NULL);
    group->references = 1;
    list_add_tail(&groups, &group->link);
    return group;
}

int throttle_group_set(const char *name, const struct throttle_limits *limits, struct kv_error *err)
{
    int rc = check_limits(limits, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&groups_lock);
    struct throttle_group *group = find_group(name);
    if (!group)
        group = make_group(name);
    if (group) {
        pthread_mutex_lock(&group->lock);
        set_limits(group, limits);
        pthread_cond_broadcast(&group->cond);
        pthread_mutex_unlock(&group->lock);
    }
    pthread_mutex_unlock(&groups_lock);
    return group ? 0
                 : kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "throttle group '%s': out of memory",
                                name);
}

int throttle_group_limits(const char *name, struct throttle_limits *out)
{
    struct throttle_group *group = throttle_group_get(name);
    if (!group)
        return -ENOENT;
    pthread_mutex_lock(&group->lock);
    *out = group->limits;
    pthread_mutex_unlock(&group->lock);
    throttle_group_put(group);
    return 0;
}

void throttle_group_remove(const char *name)
{
    pthread_mutex_lock(&groups_lock);
    struct throttle_group *group = find_group(name);
    if (group)
        list_del(&group->link);
    pthread_mutex_unlock(&groups_lock);
    throttle_group_put(group);
}

/* --------------------------------------------------------------------- taking */

/* From all buckets that apply, or from none. The lock is held. */
static int64_t take(struct throttle_group *group, enum block_op op, uint64_t len)
{
    bool read = op == BLOCK_READ;
    uint64_t size = group->limits.iops_size;
    uint64_t requests = size && len > size ? len / size + (len % size != 0) : 1;
    const struct {
        enum throttle_kind kind;
        uint64_t amount;
    } wanted[] = {
        {THROTTLE_IOPS_TOTAL, requests},
        {read ? THROTTLE_IOPS_READ : THROTTLE_IOPS_WRITE, requests},
        {THROTTLE_BPS_TOTAL, len},
        {read ? THROTTLE_BPS_READ : THROTTLE_BPS_WRITE, len},
    };
    int64_t now = clock_monotonic_ns(), wait = 0;
    unsigned taken = 0; /* of the limits, two a bucket */
    for (; taken < 2 * ARRAY_SIZE(wanted) && wait == 0; taken += wait == 0) {
        struct bucket *bucket = &group->buckets[wanted[taken / 2].kind];
        wait = ratelimit_take(taken % 2 ? &bucket->burst : &bucket->average,
                              wanted[taken / 2].amount, now);
    }
    while (wait && taken--) {
        struct bucket *bucket = &group->buckets[wanted[taken / 2].kind];
        ratelimit_return(taken % 2 ? &bucket->burst : &bucket->average, wanted[taken / 2].amount);
    }
    return wait;
}

int64_t throttle_take(struct throttle_group *group, enum block_op op, uint64_t len)
{
    if (op == BLOCK_FLUSH)
        return 0;
    pthread_mutex_lock(&group->lock);
    int64_t wait = take(group, op, len);
    pthread_mutex_unlock(&group->lock);
    return wait;
}

static void wait_until(struct throttle_group *group, int64_t ns)
{
    const struct timespec until = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    pthread_cond_timedwait(&group->cond, &group->lock, &until);
}

void throttle_wait(struct throttle_group *group, enum block_op op, uint64_t len)
{
    if (op == BLOCK_FLUSH)
        return;
    unsigned direction = op != BLOCK_READ;
    pthread_mutex_lock(&group->lock);
    uint64_t mine = group->next[direction]++;
    while (group->serving[direction] != mine)
        pthread_cond_wait(&group->cond, &group->lock);
    for (int64_t wait = take(group, op, len); wait; wait = take(group, op, len))
        wait_until(group, clock_monotonic_ns() + wait);
    group->serving[direction]++;
    pthread_cond_broadcast(&group->cond);
    pthread_mutex_unlock(&group->lock);
}
