/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a port's frames are checked by: port security for those that come in, an ACL for both
 * directions. A port without a filter costs nothing. The control thread makes it; the forwarding
 * thread has it from one burst to the next.
 */
#ifndef KV_SWITCH_FILTER_FILTER_H
#define KV_SWITCH_FILTER_FILTER_H

#include "switch/filter/acl.h"
#include "switch/filter/port_security.h"

struct filter {
    struct acl *acl;                /* or NULL */
    struct port_security *security; /* the filter's own, or NULL */
    json_t *said;                   /* the control thread's: what it was made from */
};

/* A frame's key and headers; key NULL: nobody can tell what it is. */
struct filter_frame {
    const struct flow_key *key;
    const struct flow_headers *headers;
};

/* What becomes of a frame, and who says so. */
struct filter_verdict {
    bool allowed;
    enum port_drop why;    /* where it is not allowed */
    struct acl_rule *rule; /* that decides, or NULL */
};

/* Looks without changing anything that anybody could notice. */
void filter_look(struct port *port, enum filter_direction direction,
                 const struct filter_frame *frame, struct filter_verdict *verdict);

/* The frame is the first with that verdict: writes the log that its rule wants. */
void filter_log(const struct port *port, enum filter_direction direction,
                const struct filter_frame *frame, const struct filter_verdict *verdict);

/* A frame with that verdict. */
static inline void filter_count(const struct filter_verdict *verdict, uint32_t bytes)
{
    if (verdict->rule) {
        verdict->rule->frames++;
        verdict->rule->bytes += bytes;
    }
}

#endif
