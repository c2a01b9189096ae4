/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A table of rates that is shown again and again: on a terminal as long as that is, with keys (q
 * ends), elsewhere as so many tables one behind the other, with JSON once. For top and switch top.
 */
#ifndef KV_CLI_LIVE_H
#define KV_CLI_LIVE_H

#include "cli/cli.h"

struct live {
    /* Takes the figures, and what they are a second since those before. Negative: told. */
    int (*look)(struct cli *cli, void *opaque);
    /* At most so many rows; screen: a terminal's, so that lines end with live_line_end(). */
    void (*print)(struct cli *cli, void *opaque, unsigned most, bool screen);
    /* Sorts otherwise; false: the key is none. */
    bool (*key)(void *opaque, char key);
    void *opaque;
};

/* --interval and --count, and how they are checked. batch: not as a terminal's. */
int live_show(struct cli *cli, const struct live *live, bool batch);

/* Seconds (CLOCK_MONOTONIC). */
double live_now(void);
const char *live_line_end(bool screen);
/* A heading starts and ends so. */
const char *live_heading(bool screen);
const char *live_heading_end(bool screen);
/* In 11 columns and two before. */
void live_print_size(double bytes);

#endif
