/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A helper process for what the jail forbids: connecting. It is forked before
 * the jail closes, connects to the unix sockets PREFIX_<number>, whose names are
 * known only later, to one unix socket, or to the addresses of a table, and to nothing else, and
 * passes the descriptor back. It is filtered down to the handful of system calls
 * that this takes and ends when the other end of its socket is closed.
 */
#ifndef KV_VMM_JAIL_BROKER_H
#define KV_VMM_JAIL_BROKER_H

#include <stdint.h>

#include "base/error.h"

struct broker {
    int fd; /* becomes readable with answers; -1: not started */
};
#define BROKER_INIT ((struct broker){.fd = -1})

/* Forks; call while the process has one thread. From here on the process's ended children are not
 * waited for (SIGCHLD is ignored). */
int broker_start(struct broker *broker, const char *prefix, struct kv_error *err);
/* The same for one socket at path; its number is of no meaning. */
int broker_start_path(struct broker *broker, const char *path, struct kv_error *err);
/* The same for the servers of network disks that were opened so far (block/peers.h); does nothing
 * when there are none. */
int broker_start_peers(struct kv_error *err);
void broker_stop(struct broker *broker);

/* Asks for a connection to PREFIX_<number>; the answer carries id. Never blocks; -EAGAIN when too
 * many questions are open. */
int broker_ask(struct broker *broker, uint64_t id, uint32_t number);

/* One answer: 1 with *id, *number and in *fd a non-blocking stream socket (the caller's) or the
 * negative errno of the attempt; 0: none there yet; -EPIPE: the helper is gone. */
int broker_answer(struct broker *broker, uint64_t *id, uint32_t *number, int *fd);

#endif
