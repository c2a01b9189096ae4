/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Locks that clients agree on (RFC 7047, 4.1.8 to 4.1.10); see server.h. */
#include <stdlib.h>

#include "switch/ovsdb/server.h"

/* One client's wish for a lock: the oldest of a name owns it. */
struct lock {
    struct list node;
    struct ovsdb_client *client;
    char *name;
};

static void notify(struct ovsdb_client *client, const char *method, const char *name)
{
    ovsdb_client_send(client,
                      json_pack("{s:s, s:[s], s:n}", "method", method, "params", name, "id"));
}

static struct lock *find(struct ovsdb_server *server, const struct ovsdb_client *client,
                         const char *name)
{
    list_for_each (node, &server->locks) {
        struct lock *lock = list_entry(node, struct lock, node);
        if ((!client || lock->client == client) && strcmp(lock->name, name) == 0)
            return lock;
    }
    return NULL;
}

static struct lock *owner(struct ovsdb_server *server, const char *name)
{
    return find(server, NULL, name);
}

/* Whoever is next owns it, and is told. */
static void release(struct ovsdb_server *server, struct lock *lock)
{
    bool owned = owner(server, lock->name) == lock;
    list_del(&lock->node);
    lock->client->lock_count--;
    struct lock *next = owned ? owner(server, lock->name) : NULL;
    if (next)
        notify(next->client, "locked", lock->name);
    free(lock->name);
    free(lock);
}

static void take(struct ovsdb_client *client, const char *name, bool first)
{
    struct ovsdb_server *server = client->server;
    struct lock *lock = malloc(sizeof(*lock));
    if (!lock || !(lock->name = strdup(name)))
        abort();
    lock->client = client;
    client->lock_count++;
    list_add_tail(first ? server->locks.next : &server->locks, &lock->node);
}

json_t *ovsdb_lock(struct ovsdb_client *client, const char *name, bool steal, json_t **error)
{
    struct ovsdb_server *server = client->server;
    struct lock *before = owner(server, name);
    if (client->lock_count >= CLIENT_LOCKS_MAX) {
        *error = ovsdb_error("resources exhausted", "%d locks are possible", CLIENT_LOCKS_MAX);
        return NULL;
    }
    if (find(server, client, name)) {
        *error = ovsdb_error("duplicate lock", "\"%.100s\" was asked for already", name);
        return NULL;
    }
    if (before && steal)
        notify(before->client, "stolen", name);
    take(client, name, steal);
    return json_pack("{s:b}", "locked", steal || !before);
}

json_t *ovsdb_unlock(struct ovsdb_client *client, const char *name, json_t **error)
{
    struct lock *lock = find(client->server, client, name);
    if (!lock) {
        *error = ovsdb_error("unknown lock", "\"%.100s\" was not asked for", name);
        return NULL;
    }
    release(client->server, lock);
    return json_object();
}

bool ovsdb_owns_lock(void *client, const char *name)
{
    struct lock *lock = owner(((struct ovsdb_client *)client)->server, name);
    return lock && lock->client == client;
}

void ovsdb_unlock_all(struct ovsdb_client *client)
{
    struct ovsdb_server *server = client->server;
    list_for_each_safe (node, &server->locks) {
        struct lock *lock = list_entry(node, struct lock, node);
        if (lock->client == client)
            release(server, lock);
    }
}
