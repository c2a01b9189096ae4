/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Procedures of libvirt's programs. Every procedure of the remote program is a row of
 * remote_procedures.def: number, name, types of arguments and results, what it needs. A part
 * of the daemon (a driver) gives handlers for the ones that it serves; the others answer
 * VIR_ERR_NO_SUPPORT, and ones that change something VIR_ERR_OPERATION_DENIED on a read-only
 * connection, before any handler is asked.
 *
 *     static int get_autostart(struct rpc_call *call, const void *args, void *ret,
 *                              struct kv_error *err)
 *     {
 *         const REMOTE_ARGS(DOMAIN_GET_AUTOSTART) *in = args;
 *         REMOTE_RET(DOMAIN_GET_AUTOSTART) *out = ret;
 *         ...
 *     }
 *     const struct rpc_handler domain_handlers[] = {
 *         {REMOTE_PROC_DOMAIN_GET_AUTOSTART, get_autostart, RPC_INLINE},
 *         {0},
 *     };
 */
#ifndef KV_RPC_PROCEDURE_H
#define KV_RPC_PROCEDURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "rpc/protocol/common.h"
#include "rpc/protocol/domain.h"
#include "rpc/protocol/events.h"
#include "rpc/protocol/host.h"
#include "rpc/protocol/migrate.h"
#include "rpc/protocol/types.h"

#define REMOTE_PROGRAM 0x20008086u

/* No arguments, or no results. */
typedef struct wire_none {
    char nothing;
} wire_none;
bool_t xdr_wire_none(XDR *xdrs, wire_none *nothing);

enum remote_procedure {
#define P(number, name, in, out, flags) REMOTE_PROC_##name = number,
#include "rpc/remote_procedures.def"
#undef P
    REMOTE_PROC_END, /* one past the last */
};

/* The types of a procedure's arguments and results: REMOTE_ARGS(DOMAIN_CREATE) is wire_dom. */
#define P(number, name, in, out, flags) \
    typedef wire_##in remote_in_##name; \
    typedef wire_##out remote_out_##name;
#include "rpc/remote_procedures.def"
#undef P
#define REMOTE_ARGS(name) remote_in_##name
#define REMOTE_RET(name) remote_out_##name

enum rpc_procedure_flags {
    RPC_READ = 0,
    RPC_WRITE = 1 << 0,          /* needs a read-write connection */
    RPC_PRIORITY = 1 << 1,       /* never waits for a monitor */
    RPC_STREAM = 1 << 2,         /* may open a stream */
    RPC_EVENT = 1 << 3,          /* sent by the server */
    RPC_CALLBACK_EVENT = 1 << 4, /* likewise, with a callback's number in front */
    RPC_BEFORE_AUTH = 1 << 5,    /* served before the client has proved who it is */
};

struct rpc_procedure {
    unsigned number;
    const char *name; /* "DOMAIN_CREATE" */
    unsigned flags;   /* enum rpc_procedure_flags */
    xdrproc_t args_code, ret_code;
    size_t args_size, ret_size;
    const char *args_type, *ret_type; /* "dom", "none" */
};

/* Rows by number, up to REMOTE_PROC_END; a row without a name is no procedure. */
extern const struct rpc_procedure remote_procedures[REMOTE_PROC_END];

/* The function of libvirt's API that the procedure carries out: "virDomainCreate". */
#define RPC_API_NAME_SIZE 96
void rpc_procedure_api_name(const struct rpc_procedure *row, char out[RPC_API_NAME_SIZE]);

struct rpc_call;

/*
 * args is decoded and bounds-checked, ret zeroed. What a handler puts into ret is malloc()ed: it
 * is freed (xdr_free) once the reply is encoded, also when the handler fails. Returns 0, or
 * a negative number with err filled. Runs on a worker thread and may block, unless
 * its row says RPC_INLINE.
 */
typedef int rpc_handler_fn(struct rpc_call *call, const void *args, void *ret,
                           struct kv_error *err);

enum rpc_handler_flags {
    /* Takes microseconds and never blocks (no file, no monitor, no lock that others hold for
     * long): runs on the loop's thread, so that the reply costs no change of threads. */
    RPC_INLINE = 1 << 0,
    /* Runs on the loop's thread first. When it cannot answer there without blocking, it returns
     * RPC_TO_WORKER, with nothing done, and is called again on a worker. */
    RPC_LOOP_FIRST = 1 << 1,
};
#define RPC_TO_WORKER (-4096)

struct rpc_handler {
    unsigned procedure; /* REMOTE_PROC_*; 0 ends the array */
    rpc_handler_fn *fn;
    unsigned flags;
};

/* ---- what a handler may ask of its call ---- */

struct rpc_client;
struct rpc_server;
struct rpc_stream;

/* Valid while the handler runs. */
struct rpc_client *rpc_call_client(struct rpc_call *call);
struct rpc_server *rpc_call_server(struct rpc_call *call);

/* 0, or VIR_ERR_INVALID_ARG of the driver (VIR_FROM_*) when there are flags beyond the known ones.
 */
int rpc_call_check_flags(const struct rpc_call *call, int driver, unsigned flags, unsigned known,
                         struct kv_error *err);

/* Whether this is the loop's thread: what blocks is not allowed. */
bool rpc_call_on_loop(const struct rpc_call *call);

/* What the driver gave to rpc_server_register() with its handlers. */
void *rpc_call_opaque(const struct rpc_call *call);

/* The procedure's row: handlers that serve several can tell them apart. */
const struct rpc_procedure *rpc_call_procedure(const struct rpc_call *call);

/* Whether the connection may only read. Needed only where a flag of the arguments decides; rows
 * with RPC_WRITE, and the flags that give away secrets, were refused already. */
bool rpc_call_read_only(const struct rpc_call *call);

/* The client said that it answers keepalive questions: from now on it is asked. RPC_INLINE. */
void rpc_call_start_keepalive(struct rpc_call *call);

/* Runs fn when the reply is on its way, for tidying that the client need not wait for; once a call.
 */
void rpc_call_afterwards(struct rpc_call *call, void (*fn)(void *opaque), void *opaque);

/* How many descriptors came with the call; each can be taken once: the handler then owns it
 * (close-on-exec). -1 when there is none. Those not taken are closed. */
size_t rpc_call_fds(const struct rpc_call *call);
int rpc_call_take_fd(struct rpc_call *call, size_t index);

/* Sends fd along with the reply; the call owns it from now on. At most 32. 0 or -ENOSPC (fd is
 * then closed). */
int rpc_call_give_fd(struct rpc_call *call, int fd);

#endif
