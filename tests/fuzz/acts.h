/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What fuzz targets share whose inputs are lists of acts of a guest and its
 * host, and those that have drives among their devices.
 */
#ifndef KV_TESTS_FUZZ_ACTS_H
#define KV_TESTS_FUZZ_ACTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "require.h"
#include "vmm/device.h"

#define ACTS_MAX 64 /* of an input; more are not looked at */

/* What the bytes mean is the kind's business. */
struct act {
    uint8_t kind, a;
    uint16_t b;
    uint64_t value;
} __attribute__((packed));

/* Act by act. */
void acts_run(const uint8_t *data, size_t size, void (*run)(const struct act *act));

/* The machine pauses and goes on; save: with the state that it had, saved and loaded. An input that
 * asks for that again and again gets it twice. */
void acts_pause(struct device *device, bool save);

/* A file in memory, of zeroes. */
int acts_file(off_t size);

struct drive;
/* The bits of what, in this order: the tray opens (1; 2: by force), the medium goes (4), the file's
 * comes (8), the tray closes (16). */
void acts_tray(struct drive *drive, unsigned what, int fd);

#endif
