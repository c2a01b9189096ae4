/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events as text and as JSON. */
#ifndef KV_CLI_EVENT_H
#define KV_CLI_EVENT_H

#include "cli/cli.h"

int event_list_names(struct cli *cli, int event_class);
int event_number(int event_class, const char *name); /* negative: there is none */

const char *event_kind(int event_class); /* "domain", "storage pool" */
const char *event_object_name(struct cli *cli, const struct kvasir_event *event);
/* What stands behind the object's name: ": Started Booted". */
const char *event_details(struct cli *cli, const struct kvasir_event *event);
/* One object on one line. */
void event_print_json(struct cli *cli, const struct kvasir_event *event);

#endif
