/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What takes longer than a second is seen to go on: a bar with rate and time left where the amount
 * is known, else the time that has passed. Only on a terminal, on standard error, and gone when
 * it is over.
 */
#ifndef KV_CLI_PROGRESS_H
#define KV_CLI_PROGRESS_H

#include "cli/cli.h"

/* For a call that blocks: a thread shows that it goes on. */
void progress_start(struct cli *cli, const char *what, const char *name);
/* For a transfer: of total bytes (0: unknown) so many are done. */
void progress_bytes(struct cli *cli, const char *what, uint64_t done, uint64_t total);
void progress_end(void);

#endif
