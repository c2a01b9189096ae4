/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a port's frames are checked by: port security for those that come in, an ACL for both
 * directions, with the port's connections where the ACL is stateful. A port without a filter costs
 * nothing. The control thread makes it; the forwarding thread has it from one burst to the next.
 */
#ifndef KV_SWITCH_FILTER_FILTER_H
#define KV_SWITCH_FILTER_FILTER_H

#include "switch/filter/acl.h"
#include "switch/filter/conntrack.h"
#include "switch/filter/fragments.h"
#include "switch/filter/port_security.h"

struct filter {
    struct acl *acl;                /* or NULL */
    struct port_security *security; /* the filter's own, or NULL */
    unsigned connections;           /* that the port may have */
    json_t *said;                   /* the control thread's: what it was made from */
};

/* What the filters of a bridge's ports share. The forwarding thread's. */
struct filter_tables {
    struct flow_burst burst; /* headers that were looked at */
    struct conntrack conntrack;
    struct fragments fragments;
};

/* NULL with err. */
struct filter_tables *filter_tables_new(struct kv_error *err);
void filter_tables_free(struct filter_tables *tables);

/* A frame's key and headers; key NULL: nobody can tell what it is. */
struct filter_frame {
    const struct flow_key *key;
    const struct flow_headers *headers;
};

/* What becomes of a frame, and who says so. */
struct filter_verdict {
    bool allowed;
    bool begins;           /* a connection */
    enum port_drop why;    /* where it is not allowed */
    struct acl_rule *rule; /* that decides, or NULL */
    /* Of filter_check(): the next frame with the same headers gets the same verdict, and has no
     * other effect, while the connection, if there is one, has the version that it has. Else... */
    bool single; /* ... it has to be checked itself */
    const struct connection *connection;
};

static inline bool filter_is_single(const struct filter_verdict *verdict)
{
    return verdict->single || (verdict->rule && verdict->rule->log);
}

/* On the forwarding thread: looks, and changes nothing that anybody could notice. tracked: what
 * the frame is to the port's connections. */
void filter_look(struct port *port, enum filter_direction direction,
                 const struct filter_frame *frame, struct filter_verdict *verdict,
                 struct tracked *tracked);

/* Looks, remembers the connection, and writes the log that the rule wants. */
void filter_check(struct port *port, enum filter_direction direction,
                  const struct filter_frame *frame, struct filter_verdict *verdict);

/* Frames with that verdict, the first or those that repeat it. */
static inline void filter_count(const struct filter_verdict *verdict, uint64_t frames,
                                uint64_t bytes)
{
    if (verdict->rule) {
        verdict->rule->frames += frames;
        verdict->rule->bytes += bytes;
    }
}

#endif
