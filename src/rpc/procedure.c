/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of the remote program's procedures, made of remote_procedures.def. */
#include "rpc/procedure.h"

bool_t xdr_wire_none(XDR *xdrs, wire_none *nothing)
{
    return TRUE;
}

const struct rpc_procedure remote_procedures[REMOTE_PROC_END] = {
#define P(number_, name_, in, out, flags_)     \
    [number_] = {                              \
        .number = number_,                     \
        .name = #name_,                        \
        .flags = flags_,                       \
        .args_code = (xdrproc_t)xdr_wire_##in, \
        .ret_code = (xdrproc_t)xdr_wire_##out, \
        .args_size = sizeof(wire_##in),        \
        .ret_size = sizeof(wire_##out),        \
        .args_type = #in,                      \
        .ret_type = #out,                      \
    },
#include "rpc/remote_procedures.def"
#undef P
};
