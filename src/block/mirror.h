/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commit of an active image (commit.c) shares with mirror.c: it is a mirror into its base.
 */
#ifndef KV_BLOCK_MIRROR_H
#define KV_BLOCK_MIRROR_H

#include "block/job_internal.h"

/* As mirror_start(), of what layers above base have, into base, which is writable by then.
 * base_was_ readonly: it becomes so again unless devices go on on it. claims: of the chain; job:
 * from mirror_new_commit(). */
int mirror_new_commit(struct job **out, const struct job_options *options, struct kv_error *err);
int mirror_start_commit(struct job *job, struct block_node *top, struct block_node *base,
                        bool base_was_readonly, struct kv_error *err);

#endif
