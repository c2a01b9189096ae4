/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was given to the verb that runs. Wrong values are told in virsh's words. */
#ifndef KV_CLI_ARGS_H
#define KV_CLI_ARGS_H

#include "cli/cli.h"

bool arg_on(const struct cli *cli, const char *name);

/* As it was given; NULL: it was not. */
const char *arg_raw(const struct cli *cli, const char *name);
/* Each value of an option that takes what is left over; NULL behind the last. */
const char *arg_rest(const struct cli *cli, const char *name, unsigned n);

/* 1: *out is filled, 0: was not given (*out stays), negative: wrong, told. */
int arg_text(struct cli *cli, const char *name, const char **out); /* empty is wrong */
int arg_text_or_empty(struct cli *cli, const char *name, const char **out);
int arg_int(struct cli *cli, const char *name, int *out);
int arg_uint(struct cli *cli, const char *name, unsigned *out);
int arg_u64(struct cli *cli, const char *name, uint64_t *out);
/* -1 is the largest number, as for virsh. */
int arg_u64_wrapped(struct cli *cli, const char *name, uint64_t *out);
int arg_i64(struct cli *cli, const char *name, int64_t *out);
/* --timeout: seconds, at least one. */
int arg_timeout(struct cli *cli, int *seconds);
/* With a suffix; a number without one is scale bytes each. */
int arg_size(struct cli *cli, const char *name, uint64_t *out, uint64_t scale, uint64_t max);
int size_from_text(const char *text, uint64_t *out, uint64_t scale, uint64_t max);
/* Why it was none, as the library would have said; the verb tells its own part. Returns -1. */
int size_refuse(struct cli *cli, const char *value, int r);

/* Negative (told) when both were given; when one was given without the other. */
int arg_exclusive(struct cli *cli, const char *a, const char *b);
int arg_requires(struct cli *cli, const char *option, const char *needed);

/* --live, --config, --current: VIR_DOMAIN_AFFECT_*. Negative when they exclude each other. */
int arg_affect(struct cli *cli, unsigned *flags);

/* The bits of the switches that were given. */
struct arg_flag {
    const char *name;
    unsigned bit;
};
unsigned arg_flags(const struct cli *cli, const struct arg_flag *flags); /* ends with {NULL} */

#endif
