/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Procedures of libvirt's administration program: servers, clients, limits, logging. As
 * procedure.h. */
#ifndef KV_RPC_ADMIN_PROCEDURE_H
#define KV_RPC_ADMIN_PROCEDURE_H

#include "rpc/procedure.h"
#include "rpc/protocol/admin.h"

#define ADMIN_PROGRAM 0x06900690u

enum admin_procedure {
#define P(number, name, in, out, flags) ADMIN_PROC_##name = number,
#include "rpc/admin_procedures.def"
#undef P
    ADMIN_PROC_END,
};

/* clang-format off */
#define P(number, name, in, out, flags) \
    typedef wire_##in admin_in_##name;    \
    typedef wire_##out admin_out_##name;
#include "rpc/admin_procedures.def"
#undef P
/* clang-format on */
#define ADMIN_ARGS(name) admin_in_##name
#define ADMIN_RET(name) admin_out_##name

extern const struct rpc_procedure admin_procedures[ADMIN_PROC_END];

#endif
