/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A person at a prompt, or lines of a pipe. */
#ifndef KV_CLI_INTERACTIVE_H
#define KV_CLI_INTERACTIVE_H

#include "cli/cli.h"

int interactive_run(struct cli *cli);

#endif
