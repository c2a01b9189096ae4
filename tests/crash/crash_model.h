/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For the programs that cut the power: what each sector of a guest's disk may
 * hold after what was promised, and what files may look like after a cut. A
 * position is a number that grows with what reaches the files.
 */
#ifndef KV_TESTS_CRASH_MODEL_H
#define KV_TESTS_CRASH_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "block/filter_record.h"

#define SECTOR 512u
#define DISK (UINT64_C(2) << 20)
#define SECTORS (DISK / SECTOR)
#define FLUSHES_MAX 400

/* --------------------------------------------------------- random numbers */

extern uint64_t random_state;
uint64_t below(uint64_t bound);
bool percent(unsigned chance);

/* ------------------------------------------------------------------ model */

/* What a sector may hold: every value since the last flush, and the one at it. */
struct version {
    size_t since; /* position when the operation began */
    uint32_t sector;
    uint32_t tag; /* 0: zeros */
    bool decides; /* once promised, nothing older may come back; a discard decides nothing */
};

void model_reset(void);
uint32_t model_new_tag(void);
void note_version(size_t since, uint32_t sector, uint32_t tag, bool decides);
size_t model_versions(void);
/* A flush was done at this position; it covers the first upto versions. */
void model_promise(size_t position, size_t upto);
/* A sector's bytes say who wrote them and where. */
void fill(uint8_t *bytes, uint32_t sector, uint32_t tag);

/* ----------------------------------------------------------------- replay */

struct file {
    uint8_t *bytes;
    size_t len, capacity;
};

void reach(struct file *file, size_t len);
/* A file in memory as it is. */
void copy_live(struct file *file, const char *name);
/* The file after a cut behind the first `point` entries. */
void make_crashed(struct file *file, const struct file *base, const struct record_entry *entries,
                  size_t point);

/* ------------------------------------------------------------------ check */

extern bool verbose;
extern uint64_t failures;
void complain(size_t point, const char *what);
void check_content(const uint8_t *disk, size_t point);
/* What the sector holds was written first by a version after the first upto ones, and is no zeros.
 */
bool written_after(const uint8_t *disk, uint32_t sector, size_t upto);

/* Runs workloads until enough points were looked at; each returns how many it did. */
int crash_main(int argc, char **argv, uint64_t (*run_one)(uint64_t wanted));

#endif
