/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices given to machines and taken away: what the verbs share (domain_attach.c). */
#ifndef KV_CLI_ATTACH_H
#define KV_CLI_ATTACH_H

#include "cli/cli.h"

/* --persistent, --config, --live and --current that exclude each other: negative, told. */
int attach_check_options(struct cli *cli);
/* VIR_DOMAIN_AFFECT_*, where --persistent asks whether the machine runs. Negative: told. */
int attach_affect(struct cli *cli, const wire_domain *domain, unsigned *flags);

/* False with cli->error filled. Without flags and without --current, what runs is meant. */
bool attach_device(struct cli *cli, const wire_domain *domain, const char *xml, unsigned flags);
bool detach_device(struct cli *cli, const wire_domain *domain, const char *xml, unsigned flags);

#endif
