/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Filters; see filter.h. */
#include "switch/filter/filter.h"

#include "switch/forward/flow_text.h"

static void drop(struct filter_verdict *verdict, enum port_drop why)
{
    verdict->allowed = false;
    verdict->why = why;
}

static void look_at_acl(struct acl *acl, enum filter_direction direction,
                        const struct filter_frame *frame, struct filter_verdict *verdict)
{
    verdict->rule = acl_find(acl, direction, frame->key);
    if (!verdict->rule->allow)
        drop(verdict, DROP_ACL);
}

void filter_look(struct port *port, enum filter_direction direction,
                 const struct filter_frame *frame, struct filter_verdict *verdict)
{
    const struct filter *filter = port->filter;
    *verdict = (struct filter_verdict){.allowed = true};
    if (!frame->key) {
        drop(verdict, DROP_MALFORMED);
        return;
    }
    if (direction == FILTER_IN && filter->security &&
        !port_security_allows(filter->security, frame->key, frame->headers, &verdict->why))
        verdict->allowed = false;
    else if (filter->acl)
        look_at_acl(filter->acl, direction, frame, verdict);
}

void filter_log(const struct port *port, enum filter_direction direction,
                const struct filter_frame *frame, const struct filter_verdict *verdict)
{
    struct acl_rule *rule = verdict->rule;
    char text[FLOW_TEXT_MAX];
    if (rule && rule->log && log_limit_pass(&rule->logged))
        log_write(LOG_WARNING, "acl '%s': rule %u %s %s port '%s': %s", port->filter->acl->name,
                  rule->index, rule->allow ? "allows" : "denies",
                  direction == FILTER_IN ? "from" : "to", port->name, flow_text(frame->key, text));
}
