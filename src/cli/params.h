/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Typed parameters made of options. */
#ifndef KV_CLI_PARAMS_H
#define KV_CLI_PARAMS_H

#include "cli/cli.h"

enum param_kind {
    PARAM_UINT,
    PARAM_U64,
    PARAM_KIB,  /* a size; what libvirt counts in KiB; -1: no limit */
    PARAM_SIZE, /* bytes, with a suffix or without */
    PARAM_TEXT,
};

/* An option and the parameter that it gives. */
struct param_option {
    const char *option, *field;
    enum param_kind kind;
};

struct param_list {
    wire_param *list; /* the verb's memory */
    unsigned n;
};

/* Those of the options that were given; the table ends with {NULL}. Negative: told. */
int param_list_read(struct cli *cli, const struct param_option *options, struct param_list *out);

void param_list_add_int(struct cli *cli, struct param_list *list, const char *field, int value);
void param_list_add_uint(struct cli *cli, struct param_list *list, const char *field,
                         unsigned value);
void param_list_add_bool(struct cli *cli, struct param_list *list, const char *field, bool value);
/* text, of the same name and type as like. Negative: told. */
int param_list_add_as(struct cli *cli, struct param_list *list, const wire_param *like,
                      const char *text);

void param_list_print(struct cli *cli, const wire_param *params, unsigned n);

#endif
