/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Typed parameters; see params.h. */
#include "rpc/params.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "model/api_error.h"

/* The next one, with its name and type; NULL when memory is short. */
static wire_param *add(struct params *params, const char *name, int type)
{
    if (params->n == params->room) {
        unsigned room = MAX(16u, params->room * 2);
        wire_param *list = realloc(params->list, room * sizeof(*list));
        if (!list) {
            params->failed = true;
            return NULL;
        }
        params->list = list;
        params->room = room;
    }
    wire_param *param = &params->list[params->n];
    *param = (wire_param){.field = strdup(name), .value.type = type};
    if (!param->field) {
        params->failed = true;
        return NULL;
    }
    params->n++;
    return param;
}

#define ADD(suffix, c_type, number, member)                                         \
    void params_add_##suffix(struct params *params, const char *name, c_type value) \
    {                                                                               \
        wire_param *param = add(params, name, number);                              \
        if (param)                                                                  \
            param->value.wire_param_value_u.member = value;                         \
    }
ADD(int, int, VIR_TYPED_PARAM_INT, i)
ADD(uint, unsigned, VIR_TYPED_PARAM_UINT, ui)
ADD(llong, int64_t, VIR_TYPED_PARAM_LLONG, l)
ADD(ullong, uint64_t, VIR_TYPED_PARAM_ULLONG, ul)
ADD(double, double, VIR_TYPED_PARAM_DOUBLE, d)
ADD(bool, bool, VIR_TYPED_PARAM_BOOLEAN, b)

void params_add_text(struct params *params, const char *name, const char *value)
{
    wire_param *param = add(params, name, VIR_TYPED_PARAM_STRING);
    if (!param)
        return;
    param->value.wire_param_value_u.s = strdup(value);
    if (!param->value.wire_param_value_u.s)
        params->failed = true;
}

int params_give(struct params *params, wire_param **list, u_int *n, struct kv_error *err)
{
    if (params->failed) {
        params_free(params);
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    *list = params->list;
    *n = params->n;
    *params = PARAMS_INIT;
    return 0;
}

void params_free(struct params *params)
{
    for (unsigned i = 0; i < params->n; i++)
        xdr_free((xdrproc_t)xdr_wire_param, (char *)&params->list[i]);
    free(params->list);
    *params = PARAMS_INIT;
}
