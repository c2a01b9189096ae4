/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits on requests and bytes a second, shared by all nodes of a group: the
 * filter "throttle" ({"driver": "throttle", "throttle-group": NAME, "file": ...})
 * puts a node into one. Limits are QEMU's: an average for the total or for reads
 * and writes apart, a higher maximum for bursts, and how many seconds a burst at
 * the maximum may last. Any thread.
 */
#ifndef KV_BLOCK_THROTTLE_H
#define KV_BLOCK_THROTTLE_H

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"
#include "block/block.h"

enum throttle_kind {
    THROTTLE_IOPS_TOTAL,
    THROTTLE_IOPS_READ,
    THROTTLE_IOPS_WRITE,
    THROTTLE_BPS_TOTAL,
    THROTTLE_BPS_READ,
    THROTTLE_BPS_WRITE,
    THROTTLE_KINDS,
};

struct throttle_limits {
    struct throttle_limit {
        uint64_t average; /* a second; 0: no limit */
        uint64_t max;     /* a second, in a burst; 0: a tenth of a second's average at once */
        uint64_t length;  /* seconds; 0 and 1: the burst is max at once */
    } limits[THROTTLE_KINDS];
    uint64_t iops_size; /* bytes: longer requests count as several; 0: each counts once */
};

struct throttle_group;

/* {"iops-total": 100, "iops-total-max": 200, "iops-total-max-length": 5, "bps-read": ...,
 * "iops-size": 4096}; also checks them. */
int throttle_parse_limits(const json_t *object, struct throttle_limits *out, struct kv_error *err);

/* Makes the group, or changes its limits at once. It stays until it is removed. */
int throttle_group_set(const char *name, const struct throttle_limits *limits,
                       struct kv_error *err);
/* -ENOENT. */
int throttle_group_limits(const char *name, struct throttle_limits *out);
/* Nodes that are in it stay in it, with its limits; the name is free. */
void throttle_group_remove(const char *name);

/* A reference, or NULL: there is no such group. */
struct throttle_group *throttle_group_get(const char *name);
void throttle_group_put(struct throttle_group *group);

/* Takes for a request and returns 0, or takes nothing and returns after how many nanoseconds it
 * is worth trying again. */
int64_t throttle_take(struct throttle_group *group, enum block_op op, uint64_t len);
/* Takes, waiting as long as it needs; those who wait are served in turn. */
void throttle_wait(struct throttle_group *group, enum block_op op, uint64_t len);

#endif
