/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections of controllers; see session.h. */
#ifndef KV_SWITCH_OPENFLOW_CONNECTION_H
#define KV_SWITCH_OPENFLOW_CONNECTION_H

#include "switch/openflow/session.h"

/* Takes the socket over and says hello. -errno: not taken. */
int connection_add(struct openflow *openflow, int fd, bool snoops);
void connection_free(struct connection *c);

/* Bytes that came. -EPROTO: the connection is to end. For fuzzing, too. */
int connection_take(struct connection *c, const uint8_t *data, size_t len);

#endif
