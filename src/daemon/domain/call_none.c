/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Procedures on what no domain has here yet: saved states, snapshots, checkpoints. Clients ask for
 * lists of them as a matter of course and get empty ones; what would make or use one is refused
 * with the error that libvirt has for the case. What is not listed at all answers
 * VIR_ERR_NO_SUPPORT.
 */
#include <errno.h>

#include "daemon/domain/call.h"

/* Each of these procedures' arguments begin with the domain. */
static struct domain *domain_in(struct rpc_call *call, const void *args, struct kv_error *err)
{
    return call_domain(call, args, err);
}

/* The answer is zero, or nothing: ret is zeroed already. */
CALL(none)
{
    cleanup_domain struct domain *domain = domain_in(call, args, err);
    return domain ? 0 : -ENOENT;
}

CALL(no_current_snapshot)
{
    cleanup_domain struct domain *domain = domain_in(call, args, err);
    if (!domain)
        return -ENOENT;
    return api_error(err, VIR_ERR_NO_DOMAIN_SNAPSHOT,
                     "the domain does not have a current snapshot");
}

CALL(no_snapshot_of_name)
{
    const REMOTE_ARGS(DOMAIN_SNAPSHOT_LOOKUP_BY_NAME) *in = args;
    cleanup_domain struct domain *domain = domain_in(call, args, err);
    if (!domain)
        return -ENOENT;
    return api_error(err, VIR_ERR_NO_DOMAIN_SNAPSHOT, "no domain snapshot with matching name '%s'",
                     in->name);
}

CALL(no_checkpoint_of_name)
{
    const REMOTE_ARGS(DOMAIN_CHECKPOINT_LOOKUP_BY_NAME) *in = args;
    cleanup_domain struct domain *domain = domain_in(call, args, err);
    if (!domain)
        return -ENOENT;
    return api_error(err, VIR_ERR_NO_DOMAIN_CHECKPOINT,
                     "no domain checkpoint with matching name '%s'", in->name);
}

CALL(no_saved_state)
{
    cleanup_domain struct domain *domain = domain_in(call, args, err);
    if (!domain)
        return -ENOENT;
    return api_error(err, VIR_ERR_OPERATION_INVALID, "domain does not have managed save image");
}

/* For running domains, with the reason of each. */
static const struct {
    unsigned procedure;
    int code;
    const char *reason;
} refusals[] = {
    {REMOTE_PROC_DOMAIN_MANAGED_SAVE, VIR_ERR_OPERATION_UNSUPPORTED,
     "the state of a machine cannot be saved"},
    {REMOTE_PROC_DOMAIN_SAVE, VIR_ERR_OPERATION_UNSUPPORTED,
     "the state of a machine cannot be saved"},
    {REMOTE_PROC_DOMAIN_SAVE_FLAGS, VIR_ERR_OPERATION_UNSUPPORTED,
     "the state of a machine cannot be saved"},
    {REMOTE_PROC_DOMAIN_SAVE_PARAMS, VIR_ERR_OPERATION_UNSUPPORTED,
     "the state of a machine cannot be saved"},
    {REMOTE_PROC_DOMAIN_PM_WAKEUP, VIR_ERR_OPERATION_UNSUPPORTED, "the machine cannot sleep"},
};

CALL(refused)
{
    cleanup_domain struct domain *domain = domain_in(call, args, err);
    if (!domain || domain_check_active(domain, err))
        return -EINVAL;
    unsigned number = rpc_call_procedure(call)->number;
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
        if (refusals[i].procedure == number)
            return api_error(err, refusals[i].code, "%s", refusals[i].reason);
    return api_error(err, VIR_ERR_NO_SUPPORT, NULL);
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_HAS_MANAGED_SAVE_IMAGE, none, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_MANAGED_SAVE_REMOVE, none, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_MANAGED_SAVE_GET_XML_DESC, no_saved_state, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_MANAGED_SAVE_DEFINE_XML, no_saved_state, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_SNAPSHOT_NUM, none, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_SNAPSHOT_LIST_NAMES, none, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_LIST_ALL_SNAPSHOTS, none, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_HAS_CURRENT_SNAPSHOT, none, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_SNAPSHOT_CURRENT, no_current_snapshot, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_SNAPSHOT_LOOKUP_BY_NAME, no_snapshot_of_name, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_LIST_ALL_CHECKPOINTS, none, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_CHECKPOINT_LOOKUP_BY_NAME, no_checkpoint_of_name, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_MANAGED_SAVE, refused, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_SAVE, refused, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_SAVE_FLAGS, refused, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_SAVE_PARAMS, refused, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_PM_WAKEUP, refused, RPC_INLINE},
};
const struct call_rows call_none_rows = {rows, ARRAY_SIZE(rows)};
