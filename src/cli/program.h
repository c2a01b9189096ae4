/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Other programs, on this one's terminal. */
#ifndef KV_CLI_PROGRAM_H
#define KV_CLI_PROGRAM_H

#include "cli/cli.h"

/* Runs it and waits for it; words end with NULL, the first is the program. Its exit status (128 and
 * the signal's number when one ended it), or negative when it cannot be run (told). */
int program_run(struct cli *cli, const char *const *words);

/* The program's path: beside this one, or where programs lie. A name with a '/' is a path. */
bool program_find(const char *name, char *out, size_t size);

#endif
