/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Typed parameters for a reply, collected one by one. Memory that is short is remembered and
 * told by params_give(), so that the additions need no checks.
 */
#ifndef KV_RPC_PARAMS_H
#define KV_RPC_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "rpc/protocol/types.h"

struct params {
    wire_param *list;
    unsigned n, room;
    bool failed;
};
#define PARAMS_INIT ((struct params){.list = NULL})

void params_add_int(struct params *params, const char *name, int value);
void params_add_uint(struct params *params, const char *name, unsigned value);
void params_add_llong(struct params *params, const char *name, int64_t value);
void params_add_ullong(struct params *params, const char *name, uint64_t value);
void params_add_double(struct params *params, const char *name, double value);
void params_add_bool(struct params *params, const char *name, bool value);
void params_add_text(struct params *params, const char *name, const char *value);

/* Hands the list over to a reply, which frees it. 0, or negative with err filled (nothing is
 * handed over then, and all is freed). */
int params_give(struct params *params, wire_param **list, u_int *n, struct kv_error *err);

void params_free(struct params *params);

#endif
