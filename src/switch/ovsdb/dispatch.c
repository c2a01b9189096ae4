/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Methods of RFC 7047, 4.1 by table; see server.h. */
#include <stdlib.h>

#include "base/util.h"
#include "switch/ovsdb/monitor.h"
#include "switch/ovsdb/server.h"
#include "switch/ovsdb/transact.h"

/* A transaction whose "wait" goes on. */
struct waiting {
    struct list node; /* among the client's */
    struct ovsdb_client *client;
    json_t *id, *params;
    int64_t started_ns;
    struct loop_timer timer;
};

struct call {
    struct ovsdb_client *client;
    struct ovsdb_server *server;
    const json_t *params, *id;
    json_t *error; /* filled in when there is no result */
    bool deferred; /* the answer comes later */
};

static void answer(struct ovsdb_client *client, const json_t *id, json_t *result, json_t *error)
{
    ovsdb_client_send(client,
                      json_pack("{s:O, s:o?, s:o?}", "id", id, "result", result, "error", error));
}

/* The name that is the only parameter, or NULL with the error. */
static const char *name_of(struct call *call)
{
    const char *name = json_string_value(json_array_get(call->params, 0));
    if (!name)
        call->error = ovsdb_error("syntax error", "a name was expected");
    return name;
}

static json_t *list_dbs(struct call *call)
{
    return json_pack("[s]", OVSDB_NAME);
}

static json_t *get_schema(struct call *call)
{
    const char *name = name_of(call);
    if (name && strcmp(name, OVSDB_NAME) == 0)
        return ovsdb_schema_to_json();
    if (name)
        call->error = ovsdb_error("unknown database", "%.100s", name);
    return NULL;
}

static json_t *echo(struct call *call)
{
    return json_incref((json_t *)call->params);
}

/* There is one database, which neither comes nor goes. */
static json_t *set_db_change_aware(struct call *call)
{
    if (json_is_boolean(json_array_get(call->params, 0)))
        return json_object();
    call->error = ovsdb_error("syntax error", "true or false was expected");
    return NULL;
}

/* --- Transactions ---------------------------------------------------------- */

/* NULL with nothing in error: it has to wait, for ms (-1: for any time). */
static json_t *try_transaction(struct ovsdb_client *client, const json_t *params, int64_t waited_ms,
                               json_t **error, int64_t *wait_ms)
{
    struct transact transact = {
        .db = client->server->db,
        .owns_lock = ovsdb_owns_lock,
        .opaque = client,
        .durable = client->server->durable,
        .waited_ms = waited_ms,
    };
    json_t *result = transact_run(&transact, params, error);
    *wait_ms = transact.wait_ms;
    return result;
}

static void free_waiting(struct waiting *waiting)
{
    loop_timer_cancel(&waiting->timer);
    list_del(&waiting->node);
    waiting->client->waiting_count--;
    json_decref(waiting->id);
    json_decref(waiting->params);
    free(waiting);
}

static void retry(struct waiting *waiting)
{
    json_t *error;
    int64_t wait_ms;
    int64_t waited_ms = (clock_monotonic_ns() - waiting->started_ns) / 1000000;
    json_t *result = try_transaction(waiting->client, waiting->params, waited_ms, &error, &wait_ms);
    if (!result && !error)
        return;
    answer(waiting->client, waiting->id, result, error);
    free_waiting(waiting);
}

static void on_timeout(void *opaque)
{
    struct waiting *waiting = opaque;
    struct ovsdb_server *server = waiting->client->server;
    retry(waiting);
    ovsdb_server_settle(server);
    ovsdb_server_flush(server);
}

void ovsdb_client_retry(struct ovsdb_client *client)
{
    list_for_each_safe (node, &client->waiting)
        retry(list_entry(node, struct waiting, node));
}

void ovsdb_client_forget_waiting(struct ovsdb_client *client)
{
    list_for_each_safe (node, &client->waiting)
        free_waiting(list_entry(node, struct waiting, node));
}

static void defer(struct call *call, int64_t wait_ms)
{
    struct waiting *waiting = calloc(1, sizeof(*waiting));
    if (!waiting)
        abort();
    waiting->client = call->client;
    waiting->id = json_incref((json_t *)call->id);
    waiting->params = json_incref((json_t *)call->params);
    waiting->started_ns = clock_monotonic_ns();
    list_add_tail(&call->client->waiting, &waiting->node);
    call->client->waiting_count++;
    call->deferred = true;
    /* Longer than anybody's patience is for ever. */
    if (wait_ms >= 0 && wait_ms < INT64_MAX / 1000000 && call->server->loop)
        loop_timer_arm(call->server->loop, &waiting->timer, (wait_ms + 1) * 1000000, on_timeout,
                       waiting);
}

static json_t *transact(struct call *call)
{
    int64_t wait_ms;
    json_t *result = try_transaction(call->client, call->params, 0, &call->error, &wait_ms);
    if (!result && !call->error) {
        if (call->client->waiting_count < CLIENT_WAITING_MAX)
            defer(call, wait_ms);
        else
            call->error =
                ovsdb_error("resources exhausted", "%d transactions may wait", CLIENT_WAITING_MAX);
    }
    return result;
}

static json_t *cancel(struct call *call)
{
    const json_t *id = json_array_get(call->params, 0);
    list_for_each_safe (node, &call->client->waiting) {
        struct waiting *waiting = list_entry(node, struct waiting, node);
        if (json_equal(waiting->id, (json_t *)id)) {
            answer(call->client, waiting->id, NULL, json_string("canceled"));
            free_waiting(waiting);
        }
    }
    return json_object();
}

/* --- Monitors -------------------------------------------------------------- */

static struct monitor *find_monitor(struct ovsdb_client *client, const json_t *id)
{
    list_for_each (node, &client->monitors) {
        struct monitor *monitor = list_entry(node, struct monitor, node);
        if (json_equal(monitor->id, (json_t *)id))
            return monitor;
    }
    return NULL;
}

static json_t *monitor_of(struct call *call, enum monitor_dialect dialect)
{
    struct ovsdb_client *client = call->client;
    if (find_monitor(client, json_array_get(call->params, 1))) {
        call->error = ovsdb_error("duplicate monitor ID", "this client has it already");
        return NULL;
    }
    if (client->monitor_count >= CLIENT_MONITORS_MAX) {
        call->error =
            ovsdb_error("resources exhausted", "%d monitors are possible", CLIENT_MONITORS_MAX);
        return NULL;
    }
    if (call->server->refresh)
        call->server->refresh(call->server->opaque);
    struct monitor *monitor = monitor_new(dialect, call->params, &call->error);
    if (!monitor)
        return NULL;
    list_add_tail(&client->monitors, &monitor->node);
    client->monitor_count++;
    return monitor_initial(monitor, call->server->db);
}

static json_t *monitor_plain(struct call *call)
{
    return monitor_of(call, MONITOR_PLAIN);
}

static json_t *monitor_cond(struct call *call)
{
    return monitor_of(call, MONITOR_COND);
}

static json_t *monitor_since(struct call *call)
{
    return monitor_of(call, MONITOR_SINCE);
}

static json_t *monitor_cancel(struct call *call)
{
    struct monitor *monitor = find_monitor(call->client, json_array_get(call->params, 0));
    if (!monitor) {
        call->error = ovsdb_error("unknown monitor", "this client has no such monitor");
        return NULL;
    }
    monitor_free(monitor);
    call->client->monitor_count--;
    return json_object();
}

/* --- Locks ----------------------------------------------------------------- */

static json_t *lock(struct call *call)
{
    const char *name = name_of(call);
    return name ? ovsdb_lock(call->client, name, false, &call->error) : NULL;
}

static json_t *steal(struct call *call)
{
    const char *name = name_of(call);
    return name ? ovsdb_lock(call->client, name, true, &call->error) : NULL;
}

static json_t *unlock(struct call *call)
{
    const char *name = name_of(call);
    return name ? ovsdb_unlock(call->client, name, &call->error) : NULL;
}

static const struct method {
    const char *name;
    json_t *(*run)(struct call *call); /* NULL: see struct call */
} methods[] = {
    {"list_dbs", list_dbs},
    {"get_schema", get_schema},
    {"transact", transact},
    {"cancel", cancel},
    {"monitor", monitor_plain},
    {"monitor_cond", monitor_cond},
    {"monitor_cond_since", monitor_since},
    {"monitor_cancel", monitor_cancel},
    {"lock", lock},
    {"steal", steal},
    {"unlock", unlock},
    {"echo", echo},
    {"set_db_change_aware", set_db_change_aware},
};

static void run(struct ovsdb_client *client, const char *name, const json_t *params,
                const json_t *id)
{
    struct call call = {client, client->server, params, id};
    const struct method *method = NULL;
    json_t *result = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(methods); i++) {
        if (strcmp(methods[i].name, name) == 0)
            method = &methods[i];
    }
    if (method)
        result = method->run(&call);
    else
        call.error = json_string("unknown method");
    if (!call.deferred && !json_is_null(id)) {
        answer(client, id, result, call.error);
        return;
    }
    json_decref(result);
    json_decref(call.error);
}

bool ovsdb_client_request(void *opaque, const json_t *message, const char *error)
{
    struct ovsdb_client *client = opaque;
    const char *method = json_string_value(json_object_get(message, "method"));
    const json_t *params = json_object_get(message, "params"), *id = json_object_get(message, "id");
    bool is_answer = !method && json_object_get(message, "result");
    if (error || (!is_answer && (!method || !json_is_array(params) || !id))) {
        /* Who speaks something else is not talked to (JSON-RPC 1.0, 1.1). */
        client->dead = true;
        return false;
    }
    if (method)
        run(client, method, params, id);
    ovsdb_server_settle(client->server);
    return !client->dead && client->out.len < SERVER_OUT_PAUSE;
}
