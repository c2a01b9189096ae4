/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verb help. */
#ifndef KV_CLI_HELP_H
#define KV_CLI_HELP_H

#include "cli/cli.h"

int help_run(struct cli *cli);

#endif
