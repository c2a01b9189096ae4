/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers that are JSON already. */
#ifndef KV_CLI_JSON_H
#define KV_CLI_JSON_H

#include "cli/cli.h"

/* Prints it as --pretty and --return-value say. */
int json_answer(struct cli *cli, const char *text);

#endif
