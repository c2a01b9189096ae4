/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asking kvasir-switchd, for the verbs of switch.c and switch_filter.c. */
#ifndef KV_CLI_SWITCH_H
#define KV_CLI_SWITCH_H

#include <jansson.h>

#include "cli/cli.h"

struct table;

/* What the command returns at the socket that --socket names, a new reference; NULL: told why not.
 * Takes the arguments over, which may be NULL. */
json_t *switch_ask(struct cli *cli, const char *command, json_t *arguments);
/* With a descriptor that goes along. */
json_t *switch_ask_with(struct cli *cli, const char *command, json_t *arguments, int fd);

/* The whole verb: one question, whose answer is a list, and a table of it. */
int switch_list(struct cli *cli, const char *command, json_t *arguments, struct table *table,
                void (*add)(struct cli *cli, struct table *table, const json_t *item));

/* Those of the options that were given, under their names. NULL: told what is wrong. */
json_t *switch_collect(struct cli *cli, const char *const *names, size_t count);
/* Tells what was done to whom, if there is an answer, which is taken over. */
int switch_done(struct cli *cli, json_t *answer, const char *what, const char *name);

/* A text or number; "-": there is none. */
const char *switch_text_of(struct cli *cli, const json_t *object, const char *key);

#endif
