/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sets of descriptors that were handed in (QMP add-fd) and stand for files: the
 * path "/dev/fdset/N" opens a duplicate of the one in set N whose access mode
 * fits. So a process that may open no file itself still opens images by path.
 * Any thread.
 */
#ifndef KV_BLOCK_FDSET_H
#define KV_BLOCK_FDSET_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Puts fd into the set *id (-1: a new one, whose number is stored there). opaque: a remark of the
 * caller's, or NULL. Takes fd over, also on failure. */
int fdset_add(int64_t *id, int fd, const char *opaque, struct kv_error *err);
/* Closes one of the set or, fd being -1, all. Duplicates in use are not touched. */
int fdset_remove(int64_t id, int fd, struct kv_error *err);
/* In the shape of query-fdsets; a new reference. */
json_t *fdset_describe(void);

bool fdset_is_path(const char *path);
/* A new descriptor for reading, or for reading and writing; -errno with err filled. */
int fdset_open(const char *path, bool readonly, struct kv_error *err);

#endif
