/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What goes between two switches of which one takes the other's place: a header, descriptors, the
 * state as JSON, then tables as they lie in memory; and a byte each way at the end. Both are the
 * same host's. Waits CHANNEL_TIMEOUT_S for the other side.
 */
#ifndef KV_SWITCH_UPGRADE_CHANNEL_H
#define KV_SWITCH_UPGRADE_CHANNEL_H

#include <jansson.h>

#include "base/buffer.h"
#include "base/error.h"

#define CHANNEL_TIMEOUT_S 10
#define CHANNEL_FDS_MAX 65536
#define CHANNEL_BYTES_MAX (UINT64_C(1) << 30)

#define CHANNEL_READY 'r' /* the new one is what the old one was */
#define CHANNEL_GO 'g'    /* the old one has let go */

int channel_send(int channel, const json_t *state, const int *fds, size_t fd_count,
                 const struct buffer *tables, struct kv_error *err);
/* *fds: allocated. */
int channel_receive(int channel, json_t **state, int **fds, size_t *fd_count, struct buffer *tables,
                    struct kv_error *err);

int channel_say(int channel, char byte);
/* -EPROTO: the other side says something else. */
int channel_hear(int channel, char byte);

/* No wait of a read or write is longer than CHANNEL_TIMEOUT_S. */
int channel_set_timeout(int socket);

#endif
