/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checking a qcow2 image: what qcow2_count.c (references) and qcow2_check.c (the rest) share. */
#ifndef KV_BLOCK_QCOW2_CHECK_H
#define KV_BLOCK_QCOW2_CHECK_H

#include "block/qcow2_refmap.h"

struct qcow2_check {
    struct qcow2 *s;
    unsigned fix; /* BLOCK_FIX_* */
    struct block_check_result *result;
    void (*say)(void *opaque, const char *line); /* NULL: nobody listens */
    void *opaque;
    uint64_t file_len; /* bytes */
    bool rebuild;      /* the refcount structures cannot be repaired in place */
};

/* A line in QEMU's words. */
void qcow2_check_say(const struct qcow2_check *check, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* References of everything, counted into an empty map that is not backed. refblocks: those of the
 * refcount blocks and table too. Fills the result's clusters and findings. 0 or -errno when it
 * cannot go on. */
int qcow2_count(struct qcow2_check *check, struct qcow2_refmap *counted, bool refblocks);

int qcow2_check(struct block_node *node, unsigned fix, struct block_check_result *out,
                void (*say)(void *opaque, const char *line), void *opaque, struct kv_error *err);

#endif
