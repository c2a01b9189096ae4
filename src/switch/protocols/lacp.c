/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LACP; see lacp.h. */
#include "switch/protocols/lacp.h"

#include <string.h>

#include "base/util.h"

#define SECOND INT64_C(1000000000)
#define FAST_NS SECOND
#define SLOW_NS (30 * SECOND)
#define SHORT_TIMEOUT_NS (3 * SECOND)
#define LONG_TIMEOUT_NS (90 * SECOND)
#define WAIT_NS (2 * SECOND)
#define TOLD_IN_A_SECOND 3 /* at most (6.4.16) */

/* --- LACPDUs (6.4.2.3) ------------------------------------------------------ */

#define TYPE_SLOW 0x8809
#define SUBTYPE_LACP 1
#define ACTOR_AT 16
#define PARTNER_AT 36
#define COLLECTOR_AT 56
#define PDU_BYTES_MIN 72 /* up to the terminator */
#define INFO_BYTES 20

static const uint8_t slow_protocols[6] = {0x01, 0x80, 0xc2, 0x00, 0x00, 0x02};

static void read_info(struct lacp_info *info, const uint8_t *p)
{
    info->system_priority = (uint16_t)load_be(p + 2, 2);
    memcpy(info->system, p + 4, sizeof(info->system));
    info->key = (uint16_t)load_be(p + 10, 2);
    info->port_priority = (uint16_t)load_be(p + 12, 2);
    info->port = (uint16_t)load_be(p + 14, 2);
    info->state = p[16];
}

static void write_info(const struct lacp_info *info, uint8_t type, uint8_t *p)
{
    p[0] = type;
    p[1] = INFO_BYTES;
    store_be(p + 2, info->system_priority, 2);
    memcpy(p + 4, info->system, sizeof(info->system));
    store_be(p + 10, info->key, 2);
    store_be(p + 12, info->port_priority, 2);
    store_be(p + 14, info->port, 2);
    p[16] = info->state;
}

bool lacp_parse(struct lacp_pdu *pdu, const uint8_t *frame, size_t len)
{
    if (len < PDU_BYTES_MIN || load_be(frame + 12, 2) != TYPE_SLOW || frame[14] != SUBTYPE_LACP)
        return false;
    /* Versions behind the first begin as it does (6.4.2.3 d). */
    if (frame[ACTOR_AT] != 1 || frame[ACTOR_AT + 1] != INFO_BYTES || frame[PARTNER_AT] != 2 ||
        frame[PARTNER_AT + 1] != INFO_BYTES)
        return false;
    read_info(&pdu->actor, frame + ACTOR_AT);
    read_info(&pdu->partner, frame + PARTNER_AT);
    return true;
}

void lacp_write(const struct lacp_pdu *pdu, const uint8_t *from_mac, uint8_t *frame)
{
    memset(frame, 0, LACP_FRAME_BYTES);
    memcpy(frame, slow_protocols, 6);
    memcpy(frame + 6, from_mac, 6);
    store_be(frame + 12, TYPE_SLOW, 2);
    frame[14] = SUBTYPE_LACP;
    frame[15] = 1; /* version */
    write_info(&pdu->actor, 1, frame + ACTOR_AT);
    write_info(&pdu->partner, 2, frame + PARTNER_AT);
    frame[COLLECTOR_AT] = 3;
    frame[COLLECTOR_AT + 1] = 16;
}

/* --- The receive machine (6.4.12) ------------------------------------------- */

static bool is_same_port(const struct lacp_info *a, const struct lacp_info *b)
{
    return a->system_priority == b->system_priority &&
           memcmp(a->system, b->system, sizeof(a->system)) == 0 && a->key == b->key &&
           a->port_priority == b->port_priority && a->port == b->port &&
           (a->state & LACP_AGGREGATION) == (b->state & LACP_AGGREGATION);
}

static void set(struct lacp_port *port, uint8_t states, bool on)
{
    uint8_t state = (uint8_t)((port->actor.state & ~states) | (on ? states : 0));
    port->actor.state = state;
}

static void expire(struct lacp_port *port, int64_t now_ns)
{
    port->receive = LACP_RECEIVE_EXPIRED;
    port->partner.state &= (uint8_t)~LACP_SYNCHRONIZATION;
    port->partner.state |= LACP_TIMEOUT;
    port->current_until_ns = now_ns + SHORT_TIMEOUT_NS;
    set(port, LACP_EXPIRED, true);
    port->must_tell = true;
}

static void give_up(struct lacp_port *port)
{
    port->receive = LACP_RECEIVE_DEFAULTED;
    port->partner = (struct lacp_info){.state = LACP_TIMEOUT};
    set(port, LACP_EXPIRED, false);
    set(port, LACP_DEFAULTED, true);
}

void lacp_init(struct lacp_port *port, const struct lacp_info *actor)
{
    *port = (struct lacp_port){.actor = *actor};
    port->actor.state &= LACP_ACTIVITY | LACP_TIMEOUT;
    port->actor.state |= LACP_AGGREGATION | LACP_DEFAULTED;
}

void lacp_set_link(struct lacp_port *port, bool up, int64_t now_ns)
{
    if (up == (port->receive != LACP_RECEIVE_DISABLED))
        return;
    if (up) {
        expire(port, now_ns);
        return;
    }
    give_up(port);
    port->receive = LACP_RECEIVE_DISABLED;
}

void lacp_receive(struct lacp_port *port, const struct lacp_pdu *pdu, int64_t now_ns)
{
    const uint8_t told = LACP_ACTIVITY | LACP_TIMEOUT | LACP_SYNCHRONIZATION | LACP_AGGREGATION;
    if (port->receive == LACP_RECEIVE_DISABLED)
        return;
    bool knows_us = is_same_port(&pdu->partner, &port->actor);
    if (!knows_us || ((pdu->partner.state ^ port->actor.state) & told))
        port->must_tell = true;
    port->partner = pdu->actor;
    if (!knows_us && pdu->actor.state & LACP_AGGREGATION)
        port->partner.state &= (uint8_t)~LACP_SYNCHRONIZATION;
    set(port, LACP_EXPIRED | LACP_DEFAULTED, false);
    port->receive = LACP_RECEIVE_CURRENT;
    port->current_until_ns =
        now_ns + (port->actor.state & LACP_TIMEOUT ? SHORT_TIMEOUT_NS : LONG_TIMEOUT_NS);
}

/* --- Selection (6.4.14) ------------------------------------------------------ */

static bool has_partner(const struct lacp_port *port)
{
    return (port->receive == LACP_RECEIVE_CURRENT || port->receive == LACP_RECEIVE_EXPIRED) &&
           port->partner.key != 0 &&
           /* A cable from us to us is no link. */
           memcmp(port->partner.system, port->actor.system, sizeof(port->actor.system)) != 0;
}

static bool have_same_partner(const struct lacp_port *a, const struct lacp_port *b)
{
    return a->partner.system_priority == b->partner.system_priority &&
           memcmp(a->partner.system, b->partner.system, sizeof(a->partner.system)) == 0 &&
           a->partner.key == b->partner.key &&
           a->partner.state & b->partner.state & LACP_AGGREGATION;
}

void lacp_select(struct lacp_port *const *ports, unsigned count)
{
    const struct lacp_port *lead = NULL;
    for (unsigned i = 0; i < count; i++) {
        /* Who carries goes on, though another one with another partner comes. */
        if (has_partner(ports[i]) && (!lead || ports[i]->mux > lead->mux))
            lead = ports[i];
    }
    for (unsigned i = 0; i < count; i++)
        ports[i]->selected = lead && has_partner(ports[i]) &&
                             (ports[i] == lead || have_same_partner(ports[i], lead));
}

/* --- The mux machine, coupled (6.4.15) --------------------------------------- */

static void enter(struct lacp_port *port, enum lacp_mux mux, int64_t now_ns)
{
    port->mux = mux;
    port->wait_until_ns = now_ns + WAIT_NS;
    set(port, LACP_SYNCHRONIZATION, mux >= LACP_ATTACHED);
    set(port, LACP_COLLECTING | LACP_DISTRIBUTING, mux == LACP_CARRYING);
    port->must_tell = true;
}

static void run_mux(struct lacp_port *port, int64_t now_ns)
{
    const bool in_sync = port->partner.state & LACP_SYNCHRONIZATION;
    if (!port->selected) {
        if (port->mux != LACP_DETACHED)
            enter(port, LACP_DETACHED, now_ns);
        return;
    }
    if (port->mux == LACP_DETACHED)
        enter(port, LACP_WAITING, now_ns);
    if (port->mux == LACP_WAITING && now_ns >= port->wait_until_ns)
        enter(port, LACP_ATTACHED, now_ns);
    if (port->mux == LACP_ATTACHED && in_sync)
        enter(port, LACP_CARRYING, now_ns);
    else if (port->mux == LACP_CARRYING && !in_sync)
        enter(port, LACP_ATTACHED, now_ns);
}

/* --- Telling (6.4.13, 6.4.16) ------------------------------------------------ */

static bool is_time_to_tell(struct lacp_port *port, int64_t now_ns)
{
    if (port->receive == LACP_RECEIVE_DISABLED ||
        !((port->actor.state | port->partner.state) & LACP_ACTIVITY))
        return false;
    int64_t period = port->partner.state & LACP_TIMEOUT ? FAST_NS : SLOW_NS;
    /* A partner that wants to hear more often does at once. */
    if (port->tell_at_ns > now_ns + period)
        port->tell_at_ns = now_ns + period;
    if (!port->must_tell && now_ns < port->tell_at_ns)
        return false;
    if (now_ns - port->window_ns >= SECOND) {
        port->window_ns = now_ns;
        port->window_sent = 0;
    }
    if (port->window_sent == TOLD_IN_A_SECOND)
        return false;
    port->window_sent++;
    port->must_tell = false;
    port->tell_at_ns = now_ns + period;
    return true;
}

bool lacp_run(struct lacp_port *port, int64_t now_ns, struct lacp_pdu *pdu)
{
    bool silent = now_ns >= port->current_until_ns;
    if (port->receive == LACP_RECEIVE_CURRENT && silent)
        expire(port, now_ns);
    else if (port->receive == LACP_RECEIVE_EXPIRED && silent)
        give_up(port);
    run_mux(port, now_ns);
    if (!is_time_to_tell(port, now_ns))
        return false;
    *pdu = (struct lacp_pdu){port->actor, port->partner};
    return true;
}
