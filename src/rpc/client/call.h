/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls of any procedure of the remote program, with the protocol's own types: for the library
 * itself and for the project's command line, which links it statically (client_dep). Each row of
 * rpc/remote_procedures.def becomes a function:
 *
 *     wire_dom args = {.dom = *kvasir_domain_wire(domain)};
 *     wire_autostart ret = {0};
 *     r = kvasir_call_DOMAIN_GET_AUTOSTART(conn, &args, &ret, err);
 *     ...
 *     kvasir_free_DOMAIN_GET_AUTOSTART(&ret);
 *
 * args may be NULL where there are none (wire_none), ret where nothing comes back or nobody
 * wants it. ret has to be zeroed before; after a failure it is empty and need not be freed.
 */
#ifndef KV_RPC_CLIENT_CALL_H
#define KV_RPC_CLIENT_CALL_H

#include <kvasir/kvasir.h>

#include "rpc/procedure.h"
#include "rpc/protocol/qemu.h"
#include "rpc/qemu_procedure.h"

/* What a procedure's arguments and results are made of. */
struct kvasir_procedure {
    uint32_t program;
    int number;
    xdrproc_t args_code, ret_code;
    size_t ret_size;
};

/* Descriptors that go with a call, and those that come with its reply. */
struct kvasir_call_fds {
    const int *send; /* stay the caller's */
    size_t n_send;
    int *receive; /* room for n_receive; the caller owns what came */
    size_t n_receive;
    size_t n_received;
};

/* Sends a call and waits for its reply. fds may be NULL. 0 or negative with err filled. */
int kvasir_call(struct kvasir_conn *conn, const struct kvasir_procedure *procedure,
                const void *args, void *ret, struct kvasir_call_fds *fds, struct kvasir_error *err);

/*
 * Calls that do not wait for each other: many are begun, then each is finished, in any order. The
 * server may carry them out in another order than they were begun. Each that was begun has to be
 * finished, also when another one failed.
 */
int kvasir_call_begin(struct kvasir_conn *conn, const struct kvasir_procedure *procedure,
                      const void *args, uint32_t *ticket, struct kvasir_error *err);
int kvasir_call_finish(struct kvasir_conn *conn, const struct kvasir_procedure *procedure,
                       uint32_t ticket, void *ret, struct kvasir_error *err);

/* A call that opens a stream, as those rows with RPC_STREAM do. */
int kvasir_call_stream(struct kvasir_conn *conn, const struct kvasir_procedure *procedure,
                       const void *args, void *ret, struct kvasir_stream **out,
                       struct kvasir_error *err);

/* A row's description, call and free. Of the QEMU program kvasir_call_QEMU_DOMAIN_AGENT_COMMAND()
 * and so on. */
#define KVASIR_PROCEDURE_FUNCTIONS(program_, number_, name_, in, out)                      \
    static inline struct kvasir_procedure kvasir_describe_##name_(void)                    \
    {                                                                                      \
        return (struct kvasir_procedure){program_, number_, (xdrproc_t)xdr_wire_##in,      \
                                         (xdrproc_t)xdr_wire_##out, sizeof(wire_##out)};   \
    }                                                                                      \
    static inline int kvasir_call_##name_(struct kvasir_conn *conn, const wire_##in *args, \
                                          wire_##out *ret, struct kvasir_error *err)       \
    {                                                                                      \
        const struct kvasir_procedure procedure = kvasir_describe_##name_();               \
        return kvasir_call(conn, &procedure, args, ret, NULL, err);                        \
    }                                                                                      \
    static inline void kvasir_free_##name_(wire_##out *ret)                                \
    {                                                                                      \
        xdr_free((xdrproc_t)xdr_wire_##out, (char *)ret);                                  \
    }
#define P(number, name, in, out, flags) \
    KVASIR_PROCEDURE_FUNCTIONS(KVASIR_PROGRAM_REMOTE, number, name, in, out)
#include "rpc/remote_procedures.def"
#undef P
#define P(number, name, in, out, flags) \
    KVASIR_PROCEDURE_FUNCTIONS(KVASIR_PROGRAM_QEMU, number, QEMU_##name, in, out)
#include "rpc/qemu_procedures.def"
#undef P

/* The wire's name of a domain, to be put into arguments; belongs to the domain. */
const wire_domain *kvasir_domain_wire(const struct kvasir_domain *domain);

/* A domain of a reply; copies what it needs. NULL with err filled when memory is short. */
struct kvasir_domain *kvasir_domain_from_wire(struct kvasir_conn *conn, const wire_domain *wire,
                                              struct kvasir_error *err);

/* Typed parameters of a reply, as the public header has them. Freed with free(), in one piece; the
 * texts are the wire's. NULL with err filled when memory is short. */
struct kvasir_param *kvasir_params_from_wire(const wire_param *wire, unsigned n,
                                             struct kvasir_error *err);

/* Fills *err; code is one of libvirt's, domain VIR_FROM_*. Returns -number_errno. */
int kvasir_error_fill(struct kvasir_error *err, int code, int domain, int number_errno,
                      const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
