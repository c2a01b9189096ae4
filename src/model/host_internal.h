/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's facts, for the documents that are made of them (private to src/model). */
#ifndef KV_MODEL_HOST_INTERNAL_H
#define KV_MODEL_HOST_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOST_VCPUS_MAX 254 /* as many as the monitor has APIC IDs for */

struct model_host {
    char *root; /* in front of /sys, /proc, /etc */
    char *emulator;
    char *nvram_dir;
    uint8_t uuid[16];
    bool session;
};

/* Families of machine types, all of them the same machine: the alias, the newest one that has a
 * number, and what numbered ones begin with. An alias of NULL ends them. */
struct machine_family {
    const char *alias, *canonical, *prefix;
};
extern const struct machine_family machine_families[];

/* First line of a file below the host's root, without its end. */
bool host_read_line(const struct model_host *host, const char *path, char *line, size_t size);

#endif
