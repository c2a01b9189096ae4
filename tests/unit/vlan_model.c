/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See vlan_model.h. */
#include "vlan_model.h"

#include <string.h>

#define NO_VLAN 0
#define RESERVED_VLAN 4095
#define TPID 0x8100
#define SERVICE_TPID 0x88a8

const unsigned model_vlans[MODEL_VLANS] = {0, 1, 10, 20, 30, 2049, 4094};

static unsigned word(const struct model_frame *frame, unsigned at)
{
    return frame->bytes[at] * 256U + frame->bytes[at + 1];
}

static bool has_tag(const struct model_frame *frame)
{
    return word(frame, 12) == TPID || word(frame, 12) == SERVICE_TPID;
}

static bool lists(const struct model_port *port, unsigned vlan)
{
    for (unsigned i = 0; i < MODEL_VLANS; i++) {
        if (port->trunk[i] && model_vlans[i] == vlan)
            return true;
    }
    return false;
}

static bool is_trunk(const struct model_port *port)
{
    return port->mode == MODEL_TRUNK || port->mode == MODEL_NATIVE ||
           port->mode == MODEL_NATIVE_TAGGED;
}

static bool carries(const struct model_port *port, unsigned vlan)
{
    if (port->mode != MODEL_TRUNK && vlan == port->tag)
        return true;
    if (!is_trunk(port) || vlan == RESERVED_VLAN)
        return false;
    return port->all ? vlan != NO_VLAN || port->mode == MODEL_TRUNK : lists(port, vlan);
}

/* A frame with the tag taken off that says its VLAN: what it says is kept beside it. */
struct taken {
    unsigned type;     /* of the tag, or of the one that is put in */
    unsigned priority; /* and drop eligibility: the tag's upper four bits */
    unsigned vlan;
    struct model_frame plain;
};

/* False: the port does not let it in. */
static bool take(const struct model_port *port, const struct model_frame *frame, struct taken *t)
{
    unsigned named = has_tag(frame) ? word(frame, 14) % 4096 : NO_VLAN;
    *t = (struct taken){.type = port->mode == MODEL_TUNNEL && port->service ? SERVICE_TPID : TPID,
                        .vlan = port->mode == MODEL_TRUNK ? NO_VLAN : port->tag,
                        .plain = *frame};
    if (port->mode == MODEL_TUNNEL)
        return port->all ? named != RESERVED_VLAN : lists(port, named);
    if (has_tag(frame)) {
        t->type = word(frame, 12);
        t->priority = frame->bytes[14] / 16;
        memmove(t->plain.bytes + 12, frame->bytes + 16, frame->len - 16);
        t->plain.len -= 4;
        if (named != 0 && port->mode == MODEL_ACCESS)
            return false;
        if (named != 0)
            t->vlan = named;
    }
    return carries(port, t->vlan);
}

/* As the port sends it. */
static void put(const struct model_port *port, const struct taken *t, struct model_frame *out)
{
    bool plain = t->vlan == port->tag;
    if (port->mode == MODEL_TRUNK || port->mode == MODEL_NATIVE_TAGGED)
        plain = t->vlan == NO_VLAN;
    *out = t->plain;
    if (plain)
        return;
    const unsigned tag[4] = {t->type / 256, t->type % 256, t->priority * 16 + t->vlan / 256,
                             t->vlan % 256};
    memmove(out->bytes + 16, t->plain.bytes + 12, t->plain.len - 12);
    for (unsigned i = 0; i < 4; i++)
        out->bytes[12 + i] = (uint8_t)tag[i];
    out->len += 4;
}

static bool may_talk(const struct model_port *a, const struct model_port *b)
{
    return a->community == 0 || b->community == 0 ||
           (a->community == b->community && a->community != MODEL_ISOLATED);
}

static bool acl_allows(enum model_acl acl, const struct taken *t)
{
    unsigned type = word(&t->plain, 12);
    switch (acl) {
    case MODEL_NONE:
        return false;
    case MODEL_ARP_ONLY:
        return type == 0x0806;
    case MODEL_NO_IPV6:
        return type != 0x86dd;
    default:
        return true;
    }
}

/* --- Stations ------------------------------------------------------------------- */

static struct model_station *find(struct model *model, const uint8_t *mac, unsigned bridge,
                                  unsigned vlan)
{
    for (unsigned i = 0; i < model->station_count; i++) {
        struct model_station *s = &model->stations[i];
        if (s->bridge == bridge && s->vlan == vlan && memcmp(s->mac, mac, 6) == 0)
            return s;
    }
    return NULL;
}

static void learn(struct model *model, const uint8_t *mac, unsigned port, unsigned vlan)
{
    unsigned bridge = model->ports[port].bridge, has = 0;
    struct model_station *known = find(model, mac, bridge, vlan);
    for (unsigned i = 0; i < model->station_count; i++)
        has += model->stations[i].port == port;
    if ((known && known->port == port) || has >= model->ports[port].limit)
        return;
    if (!known)
        known = &model->stations[model->station_count++];
    *known = (struct model_station){.vlan = vlan, .bridge = bridge, .port = port};
    memcpy(known->mac, mac, 6);
}

void model_forget_port(struct model *model, unsigned port)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < model->station_count; i++) {
        if (model->stations[i].port != port)
            model->stations[kept++] = model->stations[i];
    }
    model->station_count = kept;
}

/* --- Forwarding ------------------------------------------------------------------- */

static bool is_mirror(const struct model *model, unsigned port)
{
    for (unsigned i = 0; i < model->port_count; i++) {
        if (model->ports[i].mirror == (int)port)
            return true;
    }
    return false;
}

/* Ports that the frame goes out at, but for copies. */
static void choose(struct model *model, unsigned from, const struct taken *t, bool *out)
{
    static const uint8_t reserved[5] = {0x01, 0x80, 0xc2, 0x00, 0x00};
    const uint8_t *to = t->plain.bytes;
    const struct model_port *sender = &model->ports[from];
    if (memcmp(to, reserved, sizeof(reserved)) == 0 && to[5] < 16)
        return;
    const struct model_station *known = to[0] % 2 ? NULL : find(model, to, sender->bridge, t->vlan);
    for (unsigned i = 0; i < model->port_count; i++) {
        const struct model_port *port = &model->ports[i];
        out[i] = i != from && port->bridge == sender->bridge &&
                 (known ? known->port == i : !port->no_flood) && may_talk(sender, port) &&
                 carries(port, t->vlan) && !is_mirror(model, i) && acl_allows(port->acl, t);
    }
}

void model_receive(struct model *model, unsigned from, const struct model_frame *frame,
                   void (*arrives)(void *opaque, unsigned port, const struct model_frame *frame),
                   void *opaque)
{
    const struct model_port *sender = &model->ports[from];
    struct taken t;
    bool out[MODEL_PORTS] = {false}, copy[MODEL_PORTS] = {false};
    if (is_mirror(model, from) || !take(sender, frame, &t))
        return;
    bool honest = frame->bytes[6] % 2 == 0;
    if (honest && !acl_allows(sender->acl, &t))
        return;
    if (honest) {
        learn(model, t.plain.bytes + 6, from, t.vlan);
        choose(model, from, &t, out);
    }
    if (sender->mirror >= 0 && sender->copy_in)
        copy[sender->mirror] = true;
    for (unsigned i = 0; i < model->port_count; i++) {
        const struct model_port *port = &model->ports[i];
        if (out[i] && port->mirror >= 0 && port->copy_out)
            copy[port->mirror] = true;
    }
    for (unsigned i = 0; i < model->port_count; i++) {
        struct model_frame sent;
        if (!out[i] && !copy[i])
            continue;
        put(&model->ports[i], &t, &sent);
        arrives(opaque, i, &sent);
    }
}
