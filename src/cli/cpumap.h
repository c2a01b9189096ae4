/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of the host's processors: bit n of byte n / 8. */
#ifndef KV_CLI_CPUMAP_H
#define KV_CLI_CPUMAP_H

#include "cli/cli.h"

unsigned cpumap_len(int cpus);
const char *cpumap_letters(struct cli *cli, const char *map, unsigned len, int cpus); /* "yy-y" */
const char *cpumap_ranges(struct cli *cli, const char *map, unsigned len, int cpus);  /* "0-1,3" */
/* "0-3,^2", "r" (all). NULL: is none. */
char *cpumap_parse(struct cli *cli, const char *text, int cpus, unsigned *len);

#endif
