/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The groups of verbs, by the file that has their rows. */
#ifndef KV_CLI_VERB_GROUPS_H
#define KV_CLI_VERB_GROUPS_H

#include "cli/cli.h"

/* verbs_domain.c */
extern const struct verb_group verbs_domain;
/* verbs_host.c */
extern const struct verb_group verbs_monitor, verbs_events, verbs_host;
/* verbs_state.c */
extern const struct verb_group verbs_checkpoint, verbs_snapshot, verbs_backup;
/* verbs_objects.c */
extern const struct verb_group verbs_interface, verbs_filter, verbs_network, verbs_nodedev,
    verbs_secret;
/* verbs_storage.c */
extern const struct verb_group verbs_pool, verbs_volume;

#endif
