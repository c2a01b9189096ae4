/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RSTP; see spanning.h. */
#include "switch/control/spanning.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/util.h"
#include "switch/control/protocols.h"
#include "switch/forward/forward.h"
#include "switch/protocols/rstp.h"

#define TICK_NS INT64_C(1000000000)

struct spanning {
    struct bridge *bridge;
    struct loop *loop;
    struct loop_timer tick;
    struct spanning_options options;
    uint8_t address[6];
    struct rstp_bridge rstp;
    struct rstp_port machines[RSTP_PORTS_MAX];
    struct port *ports[RSTP_PORTS_MAX]; /* whose they are */
    bool up[RSTP_PORTS_MAX];
};

static struct rstp_port *machine_of(const struct port *port)
{
    struct spanning *spanning = port->bridge->spanning;
    for (unsigned i = 0; spanning && i < spanning->rstp.count; i++) {
        if (spanning->ports[i] == port)
            return &spanning->machines[i];
    }
    return NULL;
}

static bool takes_part(const struct port *port)
{
    return !port->no_rstp && !*port->bond && !port->mirrors;
}

/* --- Publishing --------------------------------------------------------------------- */

static void publish_here(void *opaque)
{
    struct spanning *spanning = opaque;
    for (unsigned i = 0; i < spanning->rstp.count; i++) {
        struct rstp_port *machine = &spanning->machines[i];
        struct port *port = spanning->ports[i];
        port->screen->state = machine->forward ? SCREEN_FORWARDING
                              : machine->learn ? SCREEN_LEARNING
                                               : SCREEN_BLOCKED;
        port->config =
            (uint8_t)((port->config & ~PORT_BLOCKED) | (machine->forward ? 0 : PORT_BLOCKED));
        if (machine->flush)
            mac_table_forget_port(&port->bridge->macs, port->index);
        machine->flush = false;
    }
}

static bool is_as_published(const struct rstp_port *machine, const struct port *port)
{
    return !machine->flush && machine->forward == (port->screen->state == SCREEN_FORWARDING) &&
           (machine->forward || machine->learn == (port->screen->state == SCREEN_LEARNING));
}

/* Decisions before BPDUs: a neighbour hears that a port agrees when it does. */
static void publish(struct spanning *spanning)
{
    bool changed = false;
    for (unsigned i = 0; i < spanning->rstp.count; i++)
        changed |= !is_as_published(&spanning->machines[i], spanning->ports[i]);
    if (changed)
        forward_run(spanning->bridge->forward, publish_here, spanning);
    for (unsigned i = 0; i < spanning->rstp.count; i++) {
        struct rstp_bpdu bpdu;
        uint8_t frame[RSTP_FRAME_BYTES];
        if (!rstp_transmit(&spanning->rstp, &spanning->machines[i], &bpdu))
            continue;
        rstp_write(&bpdu, spanning->address, frame);
        protocols_send(spanning->ports[i], frame, sizeof(frame));
    }
}

/* --- Time, links, BPDUs -------------------------------------------------------------- */

static void look_here(void *opaque)
{
    struct spanning *spanning = opaque;
    for (unsigned i = 0; i < spanning->rstp.count; i++)
        spanning->up[i] = spanning->ports[i]->up;
}

static void update_links(struct spanning *spanning)
{
    forward_run(spanning->bridge->forward, look_here, spanning);
    for (unsigned i = 0; i < spanning->rstp.count; i++) {
        const struct port *port = spanning->ports[i];
        bool up = *port->interface ? protocols_has_carrier(port) : spanning->up[i];
        rstp_set_link(&spanning->rstp, &spanning->machines[i], up);
    }
}

static void on_tick(void *opaque)
{
    struct spanning *spanning = opaque;
    update_links(spanning);
    rstp_tick(&spanning->rstp);
    publish(spanning);
    loop_timer_arm(spanning->loop, &spanning->tick, TICK_NS, on_tick, spanning);
}

void spanning_hear(struct port *port, const uint8_t *bytes, size_t len)
{
    struct rstp_port *machine = machine_of(port);
    struct rstp_bpdu bpdu;
    if (!machine || !rstp_parse(&bpdu, bytes, len))
        return;
    rstp_receive(&port->bridge->spanning->rstp, machine, &bpdu);
    publish(port->bridge->spanning);
}

/* --- Ports --------------------------------------------------------------------------- */

static int add_port(struct spanning *spanning, struct port *port, struct kv_error *err)
{
    int rc = protocols_screen(port, err);
    if (rc < 0)
        return rc;
    unsigned i = spanning->rstp.count++;
    spanning->ports[i] = port;
    spanning->machines[i] = (struct rstp_port){
        .id = (uint16_t)(port->rstp_priority << 8 | (port->index + 1)),
        .path_cost = port->rstp_cost,
        .admin_edge = port->rstp_edge,
        .auto_edge = !port->rstp_no_auto_edge,
    };
    rstp_init_port(&spanning->rstp, &spanning->machines[i]);
    protocols_listen(port, SCREEN_RSTP, 0);
    return 0;
}

static void open_here(void *opaque)
{
    struct port *port = opaque;
    port->screen->state = SCREEN_FORWARDING;
    port->config &= (uint8_t)~PORT_BLOCKED;
}

/* It forwards as if there were no protocol. */
static void remove_port(struct spanning *spanning, unsigned i)
{
    struct port *port = spanning->ports[i];
    unsigned behind = --spanning->rstp.count - i;
    memmove(&spanning->ports[i], &spanning->ports[i + 1], behind * sizeof(*spanning->ports));
    memmove(&spanning->machines[i], &spanning->machines[i + 1],
            behind * sizeof(*spanning->machines));
    protocols_listen(port, 0, SCREEN_RSTP);
    forward_run(port->forward, open_here, port);
}

void spanning_forget_port(struct port *port)
{
    struct spanning *spanning = port->bridge->spanning;
    struct rstp_port *machine = machine_of(port);
    if (!machine)
        return;
    remove_port(spanning, (unsigned)(machine - spanning->machines));
    rstp_reselect(&spanning->rstp);
    publish(spanning);
}

static void take_options(struct port *port, const struct port_options *options)
{
    port->no_rstp = options->no_rstp;
    port->rstp_edge = options->rstp_edge;
    port->rstp_no_auto_edge = options->rstp_no_auto_edge;
    port->rstp_cost = options->rstp_cost ? (uint32_t)options->rstp_cost : RSTP_PATH_COST;
    port->rstp_priority =
        options->rstp_priority ? (uint8_t)options->rstp_priority : RSTP_PORT_PRIORITY;
}

int spanning_prepare_port(const struct bridge *bridge, struct port *port,
                          const struct port_options *options, struct kv_error *err)
{
    if (options->rstp_priority % 16)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "port '%s': 'rstp-priority' %u is no multiple of 16", options->name,
                            (unsigned)options->rstp_priority);
    take_options(port, options);
    if (!bridge->spanning || !takes_part(port))
        return 0;
    int rc = protocols_screen(port, err);
    if (rc == 0) {
        port->screen->state = SCREEN_BLOCKED;
        port->config |= PORT_BLOCKED;
    }
    return rc;
}

int spanning_set_port(struct port *port, const struct port_options *options, struct kv_error *err)
{
    struct spanning *spanning = port->bridge->spanning;
    struct rstp_port *machine = machine_of(port);
    const struct port had = {.no_rstp = port->no_rstp,
                             .rstp_edge = port->rstp_edge,
                             .rstp_no_auto_edge = port->rstp_no_auto_edge,
                             .rstp_cost = port->rstp_cost,
                             .rstp_priority = port->rstp_priority};
    take_options(port, options);
    bool same = had.no_rstp == port->no_rstp && had.rstp_edge == port->rstp_edge &&
                had.rstp_no_auto_edge == port->rstp_no_auto_edge &&
                had.rstp_cost == port->rstp_cost && had.rstp_priority == port->rstp_priority;
    if (!spanning || (machine && same))
        return 0;
    spanning_forget_port(port);
    int rc = takes_part(port) ? add_port(spanning, port, err) : 0;
    update_links(spanning);
    publish(spanning);
    return rc;
}

/* --- Begin and end --------------------------------------------------------------------- */

static int make_address(struct spanning *spanning, struct kv_error *err)
{
    static const uint8_t none[6];
    memcpy(spanning->address, spanning->options.address, sizeof(none));
    if (memcmp(spanning->address, none, sizeof(none)) == 0) {
        if (getrandom(spanning->address, sizeof(none), 0) != sizeof(none))
            return kv_error_errno(err, KV_ERR_NET, errno, "an address for RSTP");
        spanning->address[0] = (uint8_t)((spanning->address[0] & 0xfc) | 2); /* made here */
    }
    return 0;
}

static int check(const struct bridge *bridge, const struct spanning_options *o,
                 struct kv_error *err)
{
    if (o->priority % 4096)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "bridge '%s': 'rstp-priority' %u is no multiple of 4096", bridge->name,
                            (unsigned)o->priority);
    /* 802.1D-2004, 17.14 */
    if (2 * (o->forward_delay - 1) < o->max_age)
        return kv_error_set(
            err, KV_ERR_CONFIG, EINVAL,
            "bridge '%s': 'rstp-max-age' %u is more than twice 'rstp-forward-delay' "
            "less 1",
            bridge->name, (unsigned)o->max_age);
    return 0;
}

static struct spanning *begin(struct bridge *bridge, struct loop *loop,
                              const struct spanning_options *o, struct kv_error *err)
{
    struct spanning *spanning = calloc(1, sizeof(*spanning));
    if (!spanning) {
        kv_error_errno(err, KV_ERR_NET, ENOMEM, "RSTP of bridge '%s'", bridge->name);
        return NULL;
    }
    spanning->options = *o;
    spanning->bridge = bridge;
    spanning->loop = loop;
    if (make_address(spanning, err) < 0) {
        free(spanning);
        return NULL;
    }
    spanning->rstp = (struct rstp_bridge){
        .id = o->priority << 48 | load_be(spanning->address, 6),
        .times = {0, (uint16_t)o->max_age, RSTP_HELLO, (uint16_t)o->forward_delay},
        .root_port = -1,
        .ports = spanning->machines,
    };
    return spanning;
}

static bool is_same(const struct spanning_options *a, const struct spanning_options *b)
{
    return a->priority == b->priority && a->max_age == b->max_age &&
           a->forward_delay == b->forward_delay &&
           memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

int spanning_set(struct bridge *bridge, struct loop *loop, const struct spanning_options *options,
                 struct kv_error *err)
{
    if (options->on && bridge->spanning && is_same(options, &bridge->spanning->options))
        return 0;
    int rc = options->on ? check(bridge, options, err) : 0;
    if (rc == 0 && options->on)
        rc = protocols_start(bridge, loop, err);
    if (rc < 0)
        return rc;
    struct spanning *spanning = options->on ? begin(bridge, loop, options, err) : NULL;
    if (options->on && !spanning)
        return -err->code;
    spanning_stop(bridge);
    bridge->spanning = spanning;
    if (!spanning)
        return 0;
    list_for_each (node, &bridge->ports) {
        struct port *port = list_entry(node, struct port, node);
        if (rc == 0 && takes_part(port))
            rc = add_port(spanning, port, err);
    }
    if (rc < 0) {
        spanning_stop(bridge);
        return rc;
    }
    on_tick(spanning);
    return 0;
}

void spanning_stop(struct bridge *bridge)
{
    struct spanning *spanning = bridge->spanning;
    if (!spanning)
        return;
    loop_timer_cancel(&spanning->tick);
    while (spanning->rstp.count)
        remove_port(spanning, spanning->rstp.count - 1);
    free(spanning);
    bridge->spanning = NULL;
}

/* --- Telling ------------------------------------------------------------------------------ */

static json_t *id_text(uint64_t id)
{
    return json_sprintf("%u.%012llx", (unsigned)(id >> 48),
                        (unsigned long long)(id & UINT64_C(0xffffffffffff)));
}

void spanning_describe(const struct bridge *bridge, json_t *row)
{
    const struct spanning *spanning = bridge->spanning;
    if (!spanning)
        return;
    const struct rstp_bridge *rstp = &spanning->rstp;
    json_t *told = json_pack("{s:o, s:o, s:I, s:I}", "bridge-id", id_text(rstp->id), "root-id",
                             id_text(rstp->root.root), "root-cost", (json_int_t)rstp->root.cost,
                             "topology-changes", (json_int_t)rstp->topology_changes);
    if (rstp->root_port >= 0)
        json_object_set_new(told, "root-port", json_string(spanning->ports[rstp->root_port]->name));
    json_object_set_new(row, "rstp", json_true());
    json_object_set_new(row, "rstp-priority", json_integer((json_int_t)spanning->options.priority));
    json_object_set_new(row, "rstp-state", told);
}

void spanning_describe_port(const struct port *port, json_t *row)
{
    const struct rstp_port *machine = machine_of(port);
    if (!machine)
        return;
    json_object_set_new(row, "rstp-state",
                        json_pack("{s:s, s:s, s:b, s:I}", "role", rstp_role_names[machine->role],
                                  "state",
                                  machine->forward ? "Forwarding"
                                  : machine->learn ? "Learning"
                                                   : "Discarding",
                                  "edge", machine->oper_edge, "port-id", (json_int_t)machine->id));
}
