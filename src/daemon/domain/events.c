/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the clients are told: each function builds the wire's form of one event
 * and hands it to the server. Any thread, none of the locks of domain.h held.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/domain/call.h"
#include "daemon/domain/domain.h"
#include "rpc/event.h"

/* Texts of the wire are not const, though nobody writes to them. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void emit(struct domains *domains, const struct domain *domain, int id, const void *body)
{
    rpc_event_emit(domains->daemon->server, RPC_EVENTS_DOMAIN, id, domain->uuid, body);
}

void domain_event_lifecycle(struct domains *domains, struct domain *domain, int event, int detail)
{
    REMOTE_RET(DOMAIN_EVENT_CALLBACK_LIFECYCLE) body = {.event = event, .detail = detail};
    if (wire_domain_fill(&body.dom, domain))
        return;
    emit(domains, domain, VIR_DOMAIN_EVENT_ID_LIFECYCLE, &body);
    free(body.dom.name);
}

void domain_event_plain(struct domains *domains, struct domain *domain, int id)
{
    REMOTE_RET(DOMAIN_EVENT_CALLBACK_REBOOT) body;
    if (wire_domain_fill(&body.dom, domain))
        return;
    emit(domains, domain, id, &body);
    free(body.dom.name);
}

void domain_event_io_error(struct domains *domains, struct domain *domain, const char *path,
                           const char *alias, int action, const char *reason)
{
    wire_domain dom;
    if (wire_domain_fill(&dom, domain))
        return;
    REMOTE_RET(DOMAIN_EVENT_CALLBACK_IO_ERROR)
    body = {dom, text(path), text(alias), action};
    emit(domains, domain, VIR_DOMAIN_EVENT_ID_IO_ERROR, &body);
    REMOTE_RET(DOMAIN_EVENT_CALLBACK_IO_ERROR_REASON)
    with_reason = {dom, text(path), text(alias), action, text(reason)};
    emit(domains, domain, VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, &with_reason);
    free(dom.name);
}

void domain_event_watchdog(struct domains *domains, struct domain *domain, int action)
{
    REMOTE_RET(DOMAIN_EVENT_CALLBACK_WATCHDOG) body = {.action = action};
    if (wire_domain_fill(&body.dom, domain))
        return;
    emit(domains, domain, VIR_DOMAIN_EVENT_ID_WATCHDOG, &body);
    free(body.dom.name);
}

static wire_graphics_address address(const struct machine_address *from)
{
    static const struct {
        const char *name;
        int number;
    } families[] = {
        {"ipv4", VIR_DOMAIN_EVENT_GRAPHICS_ADDRESS_IPV4},
        {"ipv6", VIR_DOMAIN_EVENT_GRAPHICS_ADDRESS_IPV6},
        {"unix", VIR_DOMAIN_EVENT_GRAPHICS_ADDRESS_UNIX},
    };
    wire_graphics_address to = {.node = text(from->node), .service = text(from->service)};
    for (unsigned i = 0; i < ARRAY_SIZE(families); i++) {
        if (strcmp(families[i].name, from->family) == 0)
            to.family = families[i].number;
    }
    return to;
}

void domain_event_graphics(struct domains *domains, struct domain *domain,
                           const struct machine_event *event)
{
    REMOTE_RET(DOMAIN_EVENT_CALLBACK_GRAPHICS)
    body = {.phase = event->phase,
            .local = address(&event->local),
            .remote = address(&event->remote),
            .auth_scheme = text(event->auth)};
    if (wire_domain_fill(&body.dom, domain))
        return;
    emit(domains, domain, VIR_DOMAIN_EVENT_ID_GRAPHICS, &body);
    free(body.dom.name);
}

void domain_event_tray(struct domains *domains, struct domain *domain, const char *alias,
                       int reason)
{
    REMOTE_RET(DOMAIN_EVENT_CALLBACK_TRAY_CHANGE)
    body = {.dev_alias = text(alias), .reason = reason};
    if (wire_domain_fill(&body.dom, domain))
        return;
    emit(domains, domain, VIR_DOMAIN_EVENT_ID_TRAY_CHANGE, &body);
    free(body.dom.name);
}

void domain_event_device(struct domains *domains, struct domain *domain, int id, const char *alias)
{
    REMOTE_RET(DOMAIN_EVENT_CALLBACK_DEVICE_ADDED) body = {.dev_alias = text(alias)};
    if (wire_domain_fill(&body.dom, domain))
        return;
    emit(domains, domain, id, &body);
    free(body.dom.name);
}

void domain_event_disk_dropped(struct domains *domains, struct domain *domain, const char *path,
                               const char *alias, int reason)
{
    wire_text old = text(path);
    REMOTE_RET(DOMAIN_EVENT_CALLBACK_DISK_CHANGE)
    body = {.old_src_path = &old, .dev_alias = text(alias), .reason = reason};
    if (wire_domain_fill(&body.dom, domain))
        return;
    emit(domains, domain, VIR_DOMAIN_EVENT_ID_DISK_CHANGE, &body);
    free(body.dom.name);
}

void domain_event_balloon(struct domains *domains, struct domain *domain, uint64_t kib)
{
    REMOTE_RET(DOMAIN_EVENT_CALLBACK_BALLOON_CHANGE) body = {.actual = kib};
    if (wire_domain_fill(&body.dom, domain))
        return;
    emit(domains, domain, VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, &body);
    free(body.dom.name);
}

void domain_event_rtc(struct domains *domains, struct domain *domain, int64_t offset)
{
    REMOTE_RET(DOMAIN_EVENT_CALLBACK_RTC_CHANGE) body = {.offset = offset};
    if (wire_domain_fill(&body.dom, domain))
        return;
    emit(domains, domain, VIR_DOMAIN_EVENT_ID_RTC_CHANGE, &body);
    free(body.dom.name);
}

void domain_event_metadata(struct domains *domains, struct domain *domain, int type,
                           const char *uri)
{
    wire_text nsuri = text(uri);
    REMOTE_RET(DOMAIN_EVENT_CALLBACK_METADATA_CHANGE)
    body = {.type = type, .nsuri = uri ? &nsuri : NULL};
    if (wire_domain_fill(&body.dom, domain))
        return;
    emit(domains, domain, VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, &body);
    free(body.dom.name);
}

void domain_event_agent(struct domains *domains, struct domain *domain, int state, int reason)
{
    REMOTE_RET(DOMAIN_EVENT_CALLBACK_AGENT_LIFECYCLE) body = {.state = state, .reason = reason};
    if (wire_domain_fill(&body.dom, domain))
        return;
    emit(domains, domain, VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, &body);
    free(body.dom.name);
}

void domain_event_renamed(struct domains *domains, struct domain *domain, const wire_domain *before)
{
    REMOTE_RET(DOMAIN_EVENT_CALLBACK_LIFECYCLE)
    body = {*before, VIR_DOMAIN_EVENT_UNDEFINED, VIR_DOMAIN_EVENT_UNDEFINED_RENAMED};
    emit(domains, domain, VIR_DOMAIN_EVENT_ID_LIFECYCLE, &body);
    domain_event_lifecycle(domains, domain, VIR_DOMAIN_EVENT_DEFINED,
                           VIR_DOMAIN_EVENT_DEFINED_RENAMED);
}
