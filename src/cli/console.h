/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine's console at this terminal. */
#ifndef KV_CLI_CONSOLE_H
#define KV_CLI_CONSOLE_H

#include "cli/cli.h"

/* Until the escape character, the machine's end, or the end of the input. device: an alias, NULL
 * for the first. */
int console_run(struct cli *cli, const wire_domain *domain, const char *device, unsigned flags);
/* The same of a machine that is held: it goes on once the console is there. */
int console_run_resumed(struct cli *cli, const wire_domain *domain);

#endif
