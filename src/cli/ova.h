/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An OVA: a tar file with an OVF document (DMTF DSP0243) and the disks that it names. The disks are
 * not unpacked; where they lie in the file is all that reading them takes.
 */
#ifndef KV_CLI_OVA_H
#define KV_CLI_OVA_H

#include "cli/cli.h"

#define OVA_DISKS_MAX 16

struct ova {
    const char *name;
    uint64_t memory; /* bytes; 0: not said */
    unsigned vcpus;  /* 0: not said */
    unsigned nics;
    bool efi;
    struct ova_disk {
        const char *name;
        uint64_t offset, size; /* in the OVA */
    } disks[OVA_DISKS_MAX];
    unsigned ndisks;
};

/* 0, or negative (told). */
int ova_read(struct cli *cli, const char *path, struct ova *out);

#endif
