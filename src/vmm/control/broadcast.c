/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events to all clients. Those that a guest can cause as fast as it likes are
 * held to one an interval, for each device they tell of; the newest of an
 * interval is sent at its end.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "vmm/control/qmp_client.h"

#define THROTTLES_MAX 256
#define NS_PER_MS 1000000

void qmp_flush_clients(void *opaque)
{
    struct qmp_server *server = opaque;
    list_for_each_safe (node, &server->clients) {
        struct qmp_client *client = list_entry(node, struct qmp_client, node);
        if (client->out.len || client->dead)
            qmp_client_wake(client);
    }
}

/* A command may be running for one of the clients, so they are woken a moment later; its event
 * still comes before its answer. */
static void send_all(struct qmp_server *server, const json_t *event)
{
    list_for_each (node, &server->clients) {
        struct qmp_client *client = list_entry(node, struct qmp_client, node);
        if (client->negotiated)
            qmp_client_send(client, event);
    }
    loop_post(server->loop, &server->flush);
}

static void throttle_free(struct qmp_throttle *throttle)
{
    loop_timer_cancel(&throttle->timer);
    list_del(&throttle->node);
    throttle->server->throttle_count--;
    json_decref(throttle->pending);
    free(throttle->key);
    free(throttle);
}

void qmp_throttle_free_all(struct qmp_server *server)
{
    list_for_each_safe (node, &server->throttles)
        throttle_free(list_entry(node, struct qmp_throttle, node));
}

/* The interval is over: what came meanwhile goes out and starts the next one. */
static void throttle_expired(void *opaque)
{
    struct qmp_throttle *throttle = opaque;
    json_t *event = throttle->pending;
    if (!event) {
        throttle_free(throttle);
        return;
    }
    throttle->pending = NULL;
    loop_timer_arm(throttle->server->loop, &throttle->timer,
                   (int64_t)throttle->event->interval_ms * NS_PER_MS, throttle_expired, throttle);
    send_all(throttle->server, event);
    json_decref(event);
}

static const struct qmp_event *event_row(const struct qmp_server *server, const json_t *event)
{
    const char *name = json_string_value(json_object_get(event, "event"));
    for (const struct qmp_event *row = server->events; name && row && row->name; row++) {
        if (strcmp(row->name, name) == 0)
            return row;
    }
    return NULL;
}

static struct qmp_throttle *throttle_find(struct qmp_server *server, const struct qmp_event *row,
                                          const char *key)
{
    list_for_each (node, &server->throttles) {
        struct qmp_throttle *throttle = list_entry(node, struct qmp_throttle, node);
        if (throttle->event == row &&
            (key ? throttle->key && strcmp(throttle->key, key) == 0 : !throttle->key))
            return throttle;
    }
    return NULL;
}

/* Returns true when the event was put off. */
static bool throttle_event(struct qmp_server *server, const struct qmp_event *row, json_t *event)
{
    const char *key = NULL;
    if (row->key)
        key = json_string_value(json_object_get(json_object_get(event, "data"), row->key));
    struct qmp_throttle *throttle = throttle_find(server, row, key);
    if (throttle) {
        json_decref(throttle->pending);
        throttle->pending = json_incref(event);
        return true;
    }
    if (server->throttle_count >= THROTTLES_MAX)
        return true;
    throttle = calloc(1, sizeof(*throttle));
    if (!throttle)
        return true;
    *throttle = (struct qmp_throttle){
        .server = server,
        .event = row,
        .key = key ? strdup(key) : NULL,
    };
    list_add_tail(&server->throttles, &throttle->node);
    server->throttle_count++;
    loop_timer_arm(server->loop, &throttle->timer, (int64_t)row->interval_ms * NS_PER_MS,
                   throttle_expired, throttle);
    return false;
}

void qmp_server_broadcast(struct qmp_server *server, json_t *event)
{
    const struct qmp_event *row = event_row(server, event);
    if (!row || row->interval_ms == 0 || !throttle_event(server, row, event))
        send_all(server, event);
    json_decref(event);
}
