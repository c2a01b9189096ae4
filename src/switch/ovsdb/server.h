/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The database's server: JSON-RPC 1.0 over a unix stream socket (RFC 7047, 4). Everything is for
 * the thread of the server's loop.
 */
#ifndef KV_SWITCH_OVSDB_SERVER_H
#define KV_SWITCH_OVSDB_SERVER_H

#include "base/buffer.h"
#include "base/loop.h"
#include "switch/ovsdb/database.h"
#include "vmm/control/json_stream.h"

#define SERVER_CLIENTS_MAX 256
#define CLIENT_MONITORS_MAX 64
#define CLIENT_WAITING_MAX 64
#define CLIENT_LOCKS_MAX 64
#define SERVER_READ_SIZE 16384
#define SERVER_OUT_PAUSE ((size_t)256 << 10) /* no further requests are carried out beyond it */
#define SERVER_OUT_MAX ((size_t)32 << 20)    /* the client is disconnected beyond it */

struct ovsdb_server {
    struct loop *loop;
    struct database *db;
    bool durable;
    /* A client is going to look; a transaction was committed. May be NULL. */
    void (*refresh)(void *opaque);
    void (*settle)(void *opaque);
    void *opaque;
    bool dirty; /* committed since settle() */
    struct loop_source listener;
    int fd; /* listening, or -1 */
    struct list clients;
    unsigned client_count;
    struct list locks; /* struct lock */
};

struct ovsdb_client {
    struct list node;
    struct ovsdb_server *server;
    int fd;
    struct loop_source source;
    struct json_stream in;
    char received[SERVER_READ_SIZE]; /* [used, received_len) waits for the client to read */
    size_t received_len, received_used;
    struct buffer out;
    struct list monitors;
    unsigned monitor_count;
    struct list waiting; /* transactions whose "wait" goes on */
    unsigned waiting_count;
    unsigned lock_count;
    bool dead; /* freed when its current callback returns */
};

/* Takes the listening descriptor over; -1: no clients come by themselves. */
int ovsdb_server_init(struct ovsdb_server *server, struct loop *loop, struct database *db, int fd,
                      struct kv_error *err);
void ovsdb_server_destroy(struct ovsdb_server *server);

/* A connected stream socket becomes a client; taken over. */
int ovsdb_server_add(struct ovsdb_server *server, int fd);

/* Whether anybody is told of changes. */
bool ovsdb_server_is_watched(const struct ovsdb_server *server);

/* After commits: settle(), and the transactions that waited for them. */
void ovsdb_server_settle(struct ovsdb_server *server);
/* Sends what there is for clients, and ends those that are gone. Not while one's request is
 * served. */
void ovsdb_server_flush(struct ovsdb_server *server);

/* For client.c, dispatch.c and locks.c. */
struct ovsdb_client *ovsdb_client_new(struct ovsdb_server *server);
void ovsdb_client_free(struct ovsdb_client *client);
void ovsdb_client_send(struct ovsdb_client *client, json_t *message); /* takes it over */
/* A message of the client's, or what was wrong with it. Whether there may be another one. */
bool ovsdb_client_request(void *client, const json_t *message, const char *error);
/* Tries the client's waiting transactions again; forgets all of them. */
void ovsdb_client_retry(struct ovsdb_client *client);
void ovsdb_client_forget_waiting(struct ovsdb_client *client);

json_t *ovsdb_lock(struct ovsdb_client *client, const char *name, bool steal, json_t **error);
json_t *ovsdb_unlock(struct ovsdb_client *client, const char *name, json_t **error);
bool ovsdb_owns_lock(void *client, const char *name);
void ovsdb_unlock_all(struct ovsdb_client *client);

#endif
