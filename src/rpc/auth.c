/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a client proves who it is: nothing to do, polkit, SASL (sasl.c has the mechanisms). */
#include <libvirt/virterror.h>
#include <stdlib.h>

#include "model/api_error.h"
#include "rpc/internal.h"
#include "rpc/polkit.h"

static int auth_list(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    REMOTE_RET(AUTH_LIST) *out = ret;
    struct rpc_client *client = call->client;
    /* root is let in also while polkit does not run */
    if (client->auth == RPC_AUTH_POLKIT && client->uid == 0)
        client_set_proved(client);
    out->types.types_val = malloc(sizeof(int));
    if (!out->types.types_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    out->types.types_len = 1;
    out->types.types_val[0] = atomic_load(&client->proved) ? (int)RPC_AUTH_NONE : (int)client->auth;
    return 0;
}

static int auth_polkit(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    REMOTE_RET(AUTH_POLKIT) *out = ret;
    struct rpc_client *client = call->client;
    if (client->auth != RPC_AUTH_POLKIT)
        return api_error_from(err, VIR_FROM_POLKIT, VIR_ERR_AUTH_FAILED, NULL);
    int r = polkit_ask(
        client, client->read_only ? "org.libvirt.unix.monitor" : "org.libvirt.unix.manage", err);
    if (r < 0)
        return r;
    client_set_proved(client);
    out->complete = 1;
    return 0;
}

const struct rpc_handler auth_handlers[] = {
    {REMOTE_PROC_AUTH_LIST, auth_list, RPC_INLINE},
    {REMOTE_PROC_AUTH_POLKIT, auth_polkit, 0},
    {REMOTE_PROC_AUTH_SASL_INIT, auth_sasl_init, RPC_INLINE},
    {REMOTE_PROC_AUTH_SASL_START, auth_sasl_start, RPC_INLINE},
    {REMOTE_PROC_AUTH_SASL_STEP, auth_sasl_step, RPC_INLINE},
    {0},
};
