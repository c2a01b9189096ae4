/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors that a person hands on to a machine: --pass-fds 3,5. */
#ifndef KV_CLI_FDS_H
#define KV_CLI_FDS_H

#include "cli/cli.h"

struct fd_list {
    int *list; /* the verb's memory */
    size_t n;
};

int fd_list_from_option(struct cli *cli, const char *option, struct fd_list *out);
void *fd_list_call(struct cli *cli, const struct fd_list *fds,
                   const struct kvasir_procedure *procedure, const void *args);

#endif
