/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bonds; see bonds.h. */
#include "switch/control/bonds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/util.h"
#include "switch/control/protocols.h"
#include "switch/forward/bond.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"
#include "switch/protocols/bond_links.h"
#include "switch/protocols/lacp.h"

#define TICK_NS INT64_C(100000000)
#define MS INT64_C(1000000)
#define KEY 1 /* of the bond's links, to LACP: any number, the same for all */

struct member {
    struct port *port;
    struct lacp_port lacp;
    bool carrier;
};

struct bond_control {
    struct bond *bond;
    struct loop *loop;
    struct loop_timer timer;
    enum bond_mode mode; /* as it was made */
    enum bond_lacp lacp;
    bool fast, fallback;
    struct bond_delays delays;
    char primary[PORT_NAME_MAX];
    uint8_t system[6];
    uint16_t system_priority;
    unsigned count;
    struct member members[BOND_MEMBERS_MAX];
    struct bond_link links[BOND_MEMBERS_MAX]; /* of members, in their order */
    int active;                               /* a member, or BOND_LINK_NONE */
    bool aggregated, fallen_back;
};

const char *const bond_mode_names[] = {"active-backup", "balance-slb", "balance-tcp", NULL};
const char *const bond_lacp_names[] = {"off", "active", "passive", NULL};
const char *const bond_lacp_times[] = {"slow", "fast", NULL};

static struct bond_control *control_of(struct port *port)
{
    return bond_of(port)->control;
}

/* --- Publishing ----------------------------------------------------------------- */

struct publish_task {
    struct bond_control *control;
    bool announce;
};

static void publish_here(void *opaque)
{
    const struct publish_task *task = opaque;
    struct bond_control *control = task->control;
    struct bond *bond = control->bond;
    struct port *used[BOND_MEMBERS_MAX], *active = NULL;
    unsigned count = 0;
    for (unsigned i = 0; i < control->count; i++) {
        struct port *port = control->members[i].port;
        bool is_used = control->links[i].used;
        port->screen->bond = bond;
        port->screen->state = is_used ? SCREEN_FORWARDING : SCREEN_BLOCKED;
        if (is_used)
            used[count++] = port;
        if ((int)i == control->active)
            active = port;
    }
    bond->aggregated = control->aggregated;
    bond->mode = control->fallen_back ? BOND_ACTIVE_BACKUP : control->mode;
    bond_publish(bond, used, count, active);
    bonds_pass_vlans(&bond->port);
    if (task->announce)
        bond_announce(bond);
}

static void publish(struct bond_control *control, bool announce)
{
    struct publish_task task = {control, announce && !control->aggregated};
    forward_run(control->bond->port.forward, publish_here, &task);
}

void bonds_pass_vlans(struct port *port)
{
    struct bond_control *control = control_of(port);
    for (unsigned i = 0; i < control->count; i++)
        control->members[i].port->vlans.untagged = port->vlans.untagged;
}

/* --- Links ----------------------------------------------------------------------- */

static void look_here(void *opaque)
{
    struct bond_control *control = opaque;
    for (unsigned i = 0; i < control->count; i++)
        control->members[i].carrier = control->members[i].port->up;
}

/* Interfaces of the kernel tell of their carriers; other ports are up while somebody is there. */
static void find_carriers(struct bond_control *control)
{
    bool others = false;
    for (unsigned i = 0; i < control->count; i++)
        others |= !*control->members[i].port->interface;
    if (others)
        forward_run(control->bond->port.forward, look_here, control);
    for (unsigned i = 0; i < control->count; i++) {
        struct member *member = &control->members[i];
        if (*member->port->interface)
            member->carrier = protocols_has_carrier(member->port);
    }
}

static void run_lacp(struct bond_control *control, int64_t now_ns)
{
    struct lacp_port *ports[BOND_MEMBERS_MAX];
    bool none = true;
    for (unsigned i = 0; i < control->count; i++) {
        ports[i] = &control->members[i].lacp;
        lacp_set_link(ports[i], control->members[i].carrier, now_ns);
    }
    lacp_select(ports, control->count);
    control->aggregated = false;
    for (unsigned i = 0; i < control->count; i++) {
        struct lacp_pdu pdu;
        if (lacp_run(ports[i], now_ns, &pdu)) {
            uint8_t frame[LACP_FRAME_BYTES];
            lacp_write(&pdu, control->system, frame);
            protocols_send(control->members[i].port, frame, sizeof(frame));
        }
        control->aggregated |= lacp_carries(ports[i]);
        none &= ports[i]->receive == LACP_RECEIVE_DISABLED ||
                ports[i]->receive == LACP_RECEIVE_DEFAULTED;
    }
    control->fallen_back = control->fallback && none;
}

static bool may_be_used(const struct bond_control *control, const struct member *member)
{
    if (control->lacp == BOND_LACP_OFF || control->fallen_back)
        return member->carrier;
    return member->carrier && lacp_carries(&member->lacp);
}

static int find_primary(const struct bond_control *control)
{
    for (unsigned i = 0; i < control->count; i++) {
        if (strcmp(control->members[i].port->name, control->primary) == 0)
            return (int)i;
    }
    return BOND_LINK_NONE;
}

static const char *name_of_active(const struct bond_control *control)
{
    return control->active == BOND_LINK_NONE ? "none"
                                             : control->members[control->active].port->name;
}

static void update(struct bond_control *control)
{
    const int64_t now_ns = clock_monotonic_ns();
    const bool aggregated = control->aggregated, fallen_back = control->fallen_back;
    const int active = control->active;
    find_carriers(control);
    if (control->lacp != BOND_LACP_OFF)
        run_lacp(control, now_ns);
    for (unsigned i = 0; i < control->count; i++)
        control->links[i].may = may_be_used(control, &control->members[i]);
    bool changed = bond_links_update(control->links, control->count, &control->delays, now_ns);
    control->active =
        bond_links_choose(control->links, control->count, active, find_primary(control));
    if (active != control->active)
        log_info("bond '%s': its active link is %s", control->bond->port.name,
                 name_of_active(control));
    if (changed || active != control->active || aggregated != control->aggregated ||
        fallen_back != control->fallen_back)
        publish(control, true);
}

static void on_timer(void *opaque)
{
    struct bond_control *control = opaque;
    update(control);
    loop_timer_arm(control->loop, &control->timer, TICK_NS, on_timer, control);
}

void bonds_hear(struct port *port, const uint8_t *bytes, size_t len)
{
    struct lacp_pdu pdu;
    struct bond *bond = port->screen->bond;
    if (!bond || !lacp_parse(&pdu, bytes, len))
        return;
    for (unsigned i = 0; i < bond->control->count; i++) {
        struct member *member = &bond->control->members[i];
        if (member->port == port && bond->control->lacp != BOND_LACP_OFF)
            lacp_receive(&member->lacp, &pdu, clock_monotonic_ns());
    }
    update(bond->control);
}

/* --- Members ---------------------------------------------------------------------- */

int bonds_check_member(const struct port_options *o, struct kv_error *err)
{
    if (o->tag || o->trunks || o->native || o->isolated || o->community || o->no_flood ||
        o->in.average || o->out.average || o->storm.broadcast || o->storm.multicast ||
        o->storm.unknown)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "port '%s': VLANs, limits and rates are those of its bond", o->name);
    return 0;
}

int bonds_prepare_member(struct port *port, const struct port_options *options,
                         struct kv_error *err)
{
    const struct port_options *o = options;
    if (!o->bond)
        return 0;
    if (strlen(o->bond) >= PORT_NAME_MAX || strcmp(o->bond, o->name) == 0)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "port '%s': its bond cannot be '%.100s'",
                            o->name, o->bond);
    int rc = bonds_check_member(o, err);
    if (rc == 0)
        rc = protocols_screen(port, err);
    if (rc < 0)
        return rc;
    memcpy(port->bond, o->bond, strlen(o->bond) + 1);
    port->config |= PORT_BLOCKED;
    port->screen->state = SCREEN_BLOCKED;
    return 0;
}

static void add_member(struct bond_control *control, struct port *port)
{
    struct lacp_info actor = {
        .system_priority = control->system_priority,
        .key = KEY,
        .port_priority = LACP_PRIORITY,
        /* Never 0, nor the same for two members. */
        .port = (uint16_t)(port->index + 1),
        .state = (uint8_t)((control->lacp == BOND_LACP_ACTIVE ? LACP_ACTIVITY : 0) |
                           (control->fast ? LACP_TIMEOUT : 0)),
    };
    memcpy(actor.system, control->system, sizeof(actor.system));
    control->members[control->count] = (struct member){.port = port};
    control->links[control->count] = (struct bond_link){0};
    lacp_init(&control->members[control->count++].lacp, &actor);
}

static struct bond_control *find_bond(const struct port *member)
{
    list_for_each (node, &member->bridge->ports) {
        struct port *port = list_entry(node, struct port, node);
        if (port_kind_of(port)->create == bonds_create && strcmp(port->name, member->bond) == 0)
            return control_of(port);
    }
    return NULL;
}

int bonds_join(struct port *port, struct kv_error *err)
{
    struct bond_control *control = *port->bond ? find_bond(port) : NULL;
    if (!control)
        return 0;
    if (control->count == BOND_MEMBERS_MAX)
        return kv_error_set(err, KV_ERR_CONFIG, ENOSPC, "bond '%s': %d members are possible",
                            port->bond, BOND_MEMBERS_MAX);
    add_member(control, port);
    publish(control, false);
    protocols_listen(port, control->lacp == BOND_LACP_OFF ? 0 : SCREEN_LACP, 0);
    update(control);
    return 0;
}

static void leave_here(void *opaque)
{
    struct port *port = opaque;
    port->screen->bond = NULL;
    port->screen->state = SCREEN_BLOCKED;
    port->screen->protocols = 0;
}

static void remove_member(struct bond_control *control, unsigned which)
{
    struct port *port = control->members[which].port;
    const struct port *active =
        control->active == BOND_LINK_NONE ? NULL : control->members[control->active].port;
    unsigned behind = --control->count - which;
    memmove(&control->members[which], &control->members[which + 1],
            behind * sizeof(*control->members));
    memmove(&control->links[which], &control->links[which + 1], behind * sizeof(*control->links));
    control->active = BOND_LINK_NONE;
    for (unsigned i = 0; i < control->count; i++) {
        if (control->members[i].port == active)
            control->active = (int)i;
    }
    publish(control, false);
    forward_run(port->forward, leave_here, port);
}

void bonds_leave(struct port *port)
{
    struct bond_control *control = *port->bond ? find_bond(port) : NULL;
    for (unsigned i = 0; control && i < control->count; i++) {
        if (control->members[i].port == port) {
            remove_member(control, i);
            update(control);
            return;
        }
    }
}

/* --- Bonds ------------------------------------------------------------------------- */

static int make_system(struct bond_control *control, const struct port_options *options,
                       struct kv_error *err)
{
    static const uint8_t none[6];
    memcpy(control->system, options->lacp_system, sizeof(control->system));
    if (memcmp(control->system, none, sizeof(none)) == 0) {
        if (getrandom(control->system, sizeof(control->system), 0) != sizeof(control->system))
            return kv_error_errno(err, KV_ERR_NET, errno, "an address for LACP");
        control->system[0] = (uint8_t)((control->system[0] & 0xfc) | 2); /* made here */
    }
    return 0;
}

struct port *bonds_create(const struct port_options *options, struct loop *loop,
                          struct kv_error *err)
{
    if (options->mode == BOND_BALANCE_TCP && options->lacp == BOND_LACP_OFF) {
        kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                     "mode 'balance-tcp' needs 'lacp': the neighbour has to know of it");
        return NULL;
    }
    struct bond *bond = bond_new((enum bond_mode)options->mode);
    struct bond_control *control = calloc(1, sizeof(*control));
    if (!bond || !control || make_system(control, options, err) < 0) {
        if (!bond || !control)
            kv_error_errno(err, KV_ERR_NET, ENOMEM, "bond");
        free(control);
        free(bond);
        return NULL;
    }
    bond->control = control;
    control->bond = bond;
    control->loop = loop;
    control->mode = bond->mode;
    control->lacp = (enum bond_lacp)options->lacp;
    control->fast = options->lacp_time;
    control->fallback = options->lacp_fallback;
    control->delays =
        (struct bond_delays){(int64_t)options->up_delay * MS, (int64_t)options->down_delay * MS};
    control->system_priority =
        options->lacp_priority ? (uint16_t)options->lacp_priority : LACP_PRIORITY;
    control->active = BOND_LINK_NONE;
    if (options->primary)
        snprintf(control->primary, sizeof(control->primary), "%s", options->primary);
    return &bond->port;
}

int bonds_start(struct port *port, struct kv_error *err)
{
    struct bond_control *control = control_of(port);
    int rc = protocols_start(port->bridge, control->loop, err);
    list_for_each (node, &port->bridge->ports) {
        struct port *other = list_entry(node, struct port, node);
        if (rc == 0 && strcmp(other->bond, port->name) == 0)
            rc = bonds_join(other, err);
    }
    if (rc < 0) {
        bonds_stop(port);
        return rc;
    }
    on_timer(control);
    return 0;
}

void bonds_stop(struct port *port)
{
    struct bond_control *control = control_of(port);
    loop_timer_cancel(&control->timer);
    while (control->count)
        remove_member(control, control->count - 1);
}

void bonds_free(struct port *port)
{
    free(control_of(port));
    free(bond_of(port));
}

/* --- Telling ------------------------------------------------------------------------ */

static json_t *describe_member(const struct bond_control *control, unsigned which)
{
    static const char *const states[] = {"down", "expired", "defaulted", "current"};
    const struct member *member = &control->members[which];
    json_t *row = json_pack("{s:s, s:b, s:b}", "name", member->port->name, "link", member->carrier,
                            "used", control->links[which].used);
    if (control->lacp == BOND_LACP_OFF)
        return row;
    const struct lacp_info *partner = &member->lacp.partner;
    const uint8_t *mac = partner->system;
    json_object_set_new(row, "lacp", json_string(states[member->lacp.receive]));
    json_object_set_new(row, "attached", json_boolean(lacp_carries(&member->lacp)));
    json_object_set_new(row, "partner",
                        json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
                                     mac[3], mac[4], mac[5]));
    return row;
}

void bonds_describe(struct port *port, json_t *row)
{
    const struct bond_control *control = control_of(port);
    json_t *members = json_array();
    for (unsigned i = 0; i < control->count; i++)
        json_array_append_new(members, describe_member(control, i));
    json_object_set_new(row, "mode", json_string(bond_mode_names[control->mode]));
    json_object_set_new(row, "members", members);
    if (control->active != BOND_LINK_NONE)
        json_object_set_new(row, "active", json_string(name_of_active(control)));
    json_object_set_new(row, "up-delay", json_integer(control->delays.up_ns / MS));
    json_object_set_new(row, "down-delay", json_integer(control->delays.down_ns / MS));
    if (*control->primary)
        json_object_set_new(row, "primary", json_string(control->primary));
    json_object_set_new(row, "lacp", json_string(bond_lacp_names[control->lacp]));
    if (control->lacp == BOND_LACP_OFF)
        return;
    json_object_set_new(row, "lacp-time", json_string(bond_lacp_times[control->fast]));
    json_object_set_new(row, "lacp-fallback", json_boolean(control->fallback));
}
