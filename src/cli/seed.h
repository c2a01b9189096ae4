/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest's cloud-init reads at its first boot: a seed of its data source NoCloud, an ISO 9660
 * image labelled cidata with the files user-data, meta-data and, if given, network-config.
 * seed.c says what is in the files, seed_image.c makes the image of them.
 */
#ifndef KV_CLI_SEED_H
#define KV_CLI_SEED_H

#include "cli/cli.h"

struct seed_file {
    const char *name;
    const char *bytes; /* the verb's memory; NULL: no such file */
    size_t len;
};

#define SEED_FILES 3

/* Whether one of run's options asks for a seed. */
bool seed_is_wanted(const struct cli *cli);

/* Makes the image for the machine as run's options say. *path: a file that only its owner reads, to
 * be removed with unlink() as soon as the machine has it open. Negative: told. */
int seed_make(struct cli *cli, const char *machine, const char **path);

/* Writes the image to fd, which is empty. */
int seed_image_write(struct cli *cli, int fd, const struct seed_file *files, size_t count);

#endif
