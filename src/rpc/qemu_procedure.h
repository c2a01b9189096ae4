/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Procedures of libvirt's QEMU program: commands of a machine's monitor and agent. As procedure.h.
 */
#ifndef KV_RPC_QEMU_PROCEDURE_H
#define KV_RPC_QEMU_PROCEDURE_H

#include "rpc/procedure.h"
#include "rpc/protocol/qemu.h"

#define QEMU_PROGRAM 0x20008087u

enum qemu_procedure {
#define P(number, name, in, out, flags) QEMU_PROC_##name = number,
#include "rpc/qemu_procedures.def"
#undef P
    QEMU_PROC_END,
};

/* clang-format off */
#define P(number, name, in, out, flags) \
    typedef wire_##in qemu_in_##name;    \
    typedef wire_##out qemu_out_##name;
#include "rpc/qemu_procedures.def"
#undef P
/* clang-format on */
#define QEMU_ARGS(name) qemu_in_##name
#define QEMU_RET(name) qemu_out_##name

extern const struct rpc_procedure qemu_procedures[QEMU_PROC_END];

#endif
