/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One connection of the QMP server; private to qmp.c, dispatch.c and broadcast.c. */
#ifndef KV_VMM_CONTROL_QMP_CLIENT_H
#define KV_VMM_CONTROL_QMP_CLIENT_H

#include "base/buffer.h"
#include "base/fd.h"
#include "vmm/control/json_stream.h"
#include "vmm/control/qmp.h"

/* The version of QEMU whose commands and shapes this is modelled on; clients choose by it. */
#define QMP_VERSION_MAJOR 8
#define QMP_VERSION_MINOR 2
#define QMP_VERSION_MICRO 0

#define CLIENT_READ_SIZE 4096
#define CLIENT_OUT_PAUSE ((size_t)64 << 10) /* no further requests are carried out beyond it */
#define CLIENT_OUT_MAX ((size_t)4 << 20)    /* the client is disconnected beyond it */

struct qmp_client {
    struct list node;
    struct qmp_server *server;
    int fd;
    struct loop_source source;
    struct json_stream in;
    char received[CLIENT_READ_SIZE]; /* [used, received_len) waits for the client to read */
    size_t received_len, received_used;
    struct buffer out;
    bool negotiated;
    bool dead; /* freed when the current callback returns */
    int fds[FD_PASS_MAX];
    size_t fd_count;
};

/* Queues a message; qmp_client_wake() sends, and frees the client if it is dead by then. */
void qmp_client_send(struct qmp_client *client, const json_t *message);
void qmp_client_wake(struct qmp_client *client);

/* dispatch.c: a request, or what was wrong with it; queues the answer. Returns whether the client
 * may have another one. */
bool qmp_client_request(void *client, const json_t *request, const char *error);

/* broadcast.c */
void qmp_flush_clients(void *server);
void qmp_throttle_free_all(struct qmp_server *server);

#endif
