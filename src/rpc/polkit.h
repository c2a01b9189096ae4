/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asks polkit whether a client may do something, through polkit's own tool (pkcheck). */
#ifndef KV_RPC_POLKIT_H
#define KV_RPC_POLKIT_H

#include "rpc/server.h"

/*
 * 0: it may. Else negative, with err filled as libvirt's daemon fills it. Blocks, for as long as
 * a user takes for a password, but not when the client is gone or the server ends. Any thread.
 */
int polkit_ask(struct rpc_client *client, const char *action, struct kv_error *err);

#endif
