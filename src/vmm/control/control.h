/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: QMP (QEMU Machine Protocol) over a unix stream socket,
 * several clients at once, served on the machine's control thread. Commands
 * are rows of a table (commands.c and its neighbours).
 */
#ifndef KV_VMM_CONTROL_CONTROL_H
#define KV_VMM_CONTROL_CONTROL_H

#include <jansson.h>

#include "base/error.h"

struct machine;
struct control;

/* Listens on path (bound before the jail), or takes the listening descriptor fd when path is NULL.
 */
int control_create(struct machine *machine, const char *path, int fd, struct kv_error *err);
void control_free(struct control *control);

/* Ends what commands set going on disks: exports and jobs. Before the disks go. */
void control_stop_work(void);
/* Closes the nodes that commands added. After the disks went. */
void control_close_nodes(void);

/* To every client that negotiated; takes event over. Control thread. */
void control_broadcast(struct control *control, json_t *event);

#endif
