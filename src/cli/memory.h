/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Room for a call's results, freed with what is in it when the verb ends. */
#ifndef KV_CLI_MEMORY_H
#define KV_CLI_MEMORY_H

#include "cli/cli.h"

void *memory_for_results(struct cli *cli, const struct kvasir_procedure *procedure);

#endif
