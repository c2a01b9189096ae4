/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables of the programs' procedures, made of *_procedures.def. */
#include "rpc/procedure.h"

#include "rpc/admin_procedure.h"
#include "rpc/qemu_procedure.h"

bool_t xdr_wire_none(XDR *xdrs, wire_none *nothing)
{
    return TRUE;
}

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

const struct rpc_procedure remote_procedures[REMOTE_PROC_END] = {
#include "rpc/remote_procedures.def"
};

const struct rpc_procedure qemu_procedures[QEMU_PROC_END] = {
#include "rpc/qemu_procedures.def"
};

const struct rpc_procedure admin_procedures[ADMIN_PROC_END] = {
#include "rpc/admin_procedures.def"
};
