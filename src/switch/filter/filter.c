/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Filters; see filter.h. */
#include "switch/filter/filter.h"

#include <errno.h>
#include <stdlib.h>

#include "switch/forward/bridge.h"
#include "switch/forward/flow_text.h"
#include "switch/forward/forward.h"

struct filter_tables *filter_tables_new(struct kv_error *err)
{
    struct filter_tables *tables = calloc(1, sizeof(*tables));
    int rc = tables ? flow_secret_make(&tables->fragments.secret) : -ENOMEM;
    if (rc < 0)
        kv_error_errno(err, KV_ERR_NET, -rc, "tables of filters");
    else
        rc = conntrack_init(&tables->conntrack, CONNTRACK_ENTRIES, err);
    if (rc == 0)
        return tables;
    free(tables);
    return NULL;
}

void filter_tables_free(struct filter_tables *tables)
{
    if (!tables)
        return;
    conntrack_free(&tables->conntrack);
    free(tables);
}

static void drop(struct filter_verdict *verdict, enum port_drop why)
{
    verdict->allowed = false;
    verdict->why = why;
}

/* --- Looking ------------------------------------------------------------------ */

static void ask_rules(struct acl *acl, enum filter_direction direction, const struct flow_key *key,
                      struct filter_verdict *verdict)
{
    verdict->rule = acl_find(acl, direction, key);
    if (!verdict->rule->allow)
        drop(verdict, DROP_ACL);
}

/* A connection goes on as it was allowed, unless the rules have changed since. */
static void ask_connection(struct acl *acl, enum filter_direction direction,
                           const struct flow_key *key, const struct connection *connection,
                           struct filter_verdict *verdict)
{
    verdict->rule = &acl->answers[direction];
    if (connection->checked == acl->serial)
        return;
    struct flow_key origin;
    conntrack_origin_key(connection, direction, key, &origin);
    struct acl_rule *rule = acl_find(acl, connection->origin, &origin);
    if (!rule->allow) {
        verdict->rule = rule;
        drop(verdict, DROP_ACL);
    }
}

static void ask_first_fragment(struct port *port, enum filter_direction direction,
                               const struct filter_frame *frame, struct filter_verdict *verdict)
{
    struct fragment_tuple tuple;
    fragment_tuple_make(&tuple, port->index, direction, frame->key, frame->headers);
    if (fragments_has(&port->bridge->tables->fragments, &tuple, port->forward->now_s))
        verdict->rule = &port->filter->acl->answers[direction];
    else
        drop(verdict, DROP_FRAGMENT);
}

static void ask_statefully(struct port *port, enum filter_direction direction,
                           const struct filter_frame *frame, struct filter_verdict *verdict,
                           struct tracked *tracked)
{
    struct acl *acl = port->filter->acl;
    if (frame->key->fragment & FLOW_FRAGMENT_LATER) {
        ask_first_fragment(port, direction, frame, verdict);
        return;
    }
    conntrack_look(&port->bridge->tables->conntrack, port->index, direction, frame->key,
                   frame->headers, port->forward->now_s, tracked);
    if (tracked->kind == TRACKING_INVALID)
        drop(verdict, DROP_STATE);
    else if (tracked->kind == TRACKING_KNOWN)
        ask_connection(acl, direction, frame->key, tracked->connection, verdict);
    else if (tracked->kind == TRACKING_RELATED)
        verdict->rule = &acl->answers[direction];
    else
        ask_rules(acl, direction, frame->key, verdict);
}

void filter_look(struct port *port, enum filter_direction direction,
                 const struct filter_frame *frame, struct filter_verdict *verdict,
                 struct tracked *tracked)
{
    const struct filter *filter = port->filter;
    *verdict = (struct filter_verdict){.allowed = true};
    tracked->kind = TRACKING_NONE;
    if (!frame->key)
        drop(verdict, DROP_MALFORMED);
    else if (direction == FILTER_IN && filter->security &&
             !port_security_allows(filter->security, frame->key, frame->headers, &verdict->why))
        verdict->allowed = false;
    else if (filter->acl && filter->acl->stateful)
        ask_statefully(port, direction, frame, verdict, tracked);
    else if (filter->acl)
        ask_rules(filter->acl, direction, frame->key, verdict);
}

/* --- Remembering -------------------------------------------------------------- */

static void remember_connection(struct port *port, enum filter_direction direction,
                                const struct flow_key *key, struct filter_verdict *verdict,
                                struct tracked *tracked)
{
    const struct filter *filter = port->filter;
    struct conntrack *conntrack = &port->bridge->tables->conntrack;
    uint32_t now_s = port->forward->now_s;
    if (tracked->kind == TRACKING_KNOWN && verdict->allowed) {
        tracked->connection->checked = filter->acl->serial;
        conntrack_seen(tracked->connection, direction, key, now_s);
    } else if (tracked->kind == TRACKING_KNOWN) {
        conntrack_forget(conntrack, tracked->connection);
    } else if (tracked->kind == TRACKING_NEW && verdict->allowed) {
        verdict->begins = true;
        if (conntrack_add(conntrack, tracked, direction, key, filter->connections, now_s)) {
            tracked->connection->checked = filter->acl->serial;
        } else {
            drop(verdict, DROP_CONNECTIONS);
            verdict->rule = NULL;
        }
    }
}

static void remember_fragment(struct port *port, enum filter_direction direction,
                              const struct filter_frame *frame)
{
    struct fragment_tuple tuple;
    fragment_tuple_make(&tuple, port->index, direction, frame->key, frame->headers);
    fragments_add(&port->bridge->tables->fragments, &tuple, port->forward->now_s);
}

static void log_verdict(const struct port *port, enum filter_direction direction,
                        const struct filter_frame *frame, const struct filter_verdict *verdict)
{
    struct acl_rule *rule = verdict->rule;
    char text[FLOW_TEXT_MAX];
    if (rule && rule->log && log_limit_pass(&rule->logged))
        log_write(LOG_WARNING, "acl '%s': rule %u %s %s port '%s': %s", port->filter->acl->name,
                  rule->index, rule->allow ? "allows" : "denies",
                  direction == FILTER_IN ? "from" : "to", port->name, flow_text(frame->key, text));
}

void filter_check(struct port *port, enum filter_direction direction,
                  const struct filter_frame *frame, struct filter_verdict *verdict)
{
    bool stateful = port->filter->acl && port->filter->acl->stateful;
    struct tracked tracked;
    filter_look(port, direction, frame, verdict, &tracked);
    if (tracked.kind == TRACKING_KNOWN)
        verdict->connection = tracked.connection;
    uint32_t version = verdict->connection ? verdict->connection->version : 0;
    if (tracked.kind != TRACKING_NONE)
        remember_connection(port, direction, frame->key, verdict, &tracked);
    verdict->single = stateful && !(verdict->connection && verdict->connection->version == version);
    if (verdict->allowed && stateful && frame->key->fragment == FLOW_FRAGMENT)
        remember_fragment(port, direction, frame);
    log_verdict(port, direction, frame, verdict);
}
