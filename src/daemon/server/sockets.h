/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opens the sockets that the settings ask for, or takes the ones that were handed in. */
#ifndef KV_DAEMON_SERVER_SOCKETS_H
#define KV_DAEMON_SERVER_SOCKETS_H

#include "daemon/server/settings.h"
#include "rpc/server.h"

int sockets_open(struct rpc_server *server, const struct settings *settings, const char *dir,
                 struct kv_error *err);

#endif
