/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing a domain's document so that it is either changed and right, or as before (private to
 * src/model). */
#ifndef KV_MODEL_CHANGE_H
#define KV_MODEL_CHANGE_H

#include "model/domain.h"
#include "model/uuid.h"

struct change {
    struct model_domain *domain;
    xmlDoc *doc; /* the copy that is being changed */
    xmlNode *root;
    unsigned flags; /* enum model_parse_flags for reading it */
    struct kv_error *err;
};

int change_begin(struct change *change, struct model_domain *domain, struct kv_error *err);

/* Reads the copy when ret is 0 and puts it in the old document's place; else, or when it is wrong,
 * drops it. Returns ret or what was wrong. */
int change_commit(struct change *change, int ret);

#endif
