/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Giving a process's privileges away, step by step; for programs with one thread so far.
 * capabilities(7), credentials(7). */
#ifndef KV_BASE_PRIVILEGES_H
#define KV_BASE_PRIVILEGES_H

#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/error.h"

/* "NAME" or "UID[:GID]", other than root; a number alone is both. 0 or -EINVAL with err, which says
 * --user. */
int privileges_find_user(const char *user, uid_t *uid, gid_t *gid, struct kv_error *err);

/* 0 or -errno. */
int privileges_become(uid_t uid, gid_t gid);

/* What a later exec could regain. Needs a capability itself, so it comes before the last one is
 * gone; fails harmlessly for those that have none. */
void privileges_drop_bounding_set(void);

/* Keeps those of the process's capabilities that are in the set (BIT(CAP_...)). 0 or -errno. */
int privileges_keep(uint64_t capabilities);

/* Lowers the limit to the value, and raises what is in force up to it. */
void privileges_set_limit(__rlimit_resource_t resource, rlim_t value);

#endif
