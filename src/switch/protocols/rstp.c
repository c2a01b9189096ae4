/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state machines of RSTP; see rstp.h. Of each machine of clause 17 there is one function, which
 * does what its state lets it do; they are called until none has anything left to do. */
#include "switch/protocols/rstp.h"

#include <string.h>

#include "base/util.h"

#define TX_HOLD 6      /* BPDUs in a second */
#define MIGRATE_TIME 3 /* s */
#define ADDRESS UINT64_C(0xffffffffffff)

const char *const rstp_role_names[] = {"Disabled", "Root", "Designated", "Alternate", "Backup"};

/* --- BPDUs (9.3) ------------------------------------------------------------- */

enum {
    BPDU_CONFIG = 0,
    BPDU_RST = 2,
    BPDU_TCN = 0x80,
};

enum {
    FLAG_TC = 1,
    FLAG_PROPOSAL = 2,
    FLAG_ROLE = 12,
    FLAG_LEARNING = 16,
    FLAG_FORWARDING = 32,
    FLAG_AGREEMENT = 64,
    FLAG_TC_ACK = 128,
};
#define ROLE_ALTERNATE 4 /* or backup */
#define ROLE_ROOT 8
#define ROLE_DESIGNATED 12

#define LLC_AT 14
#define BPDU_AT 17
#define TCN_BYTES 4
#define CONFIG_BYTES 35

static const uint8_t group[6] = {0x01, 0x80, 0xc2, 0x00, 0x00, 0x00};
static const uint8_t llc[3] = {0x42, 0x42, 0x03};

bool rstp_parse(struct rstp_bpdu *bpdu, const uint8_t *frame, size_t len)
{
    const uint8_t *p = frame + BPDU_AT;
    if (len < BPDU_AT + TCN_BYTES || memcmp(frame + LLC_AT, llc, sizeof(llc)) != 0 ||
        load_be(p, 2) != 0)
        return false;
    *bpdu = (struct rstp_bpdu){.version = p[2], .type = p[3]};
    if (bpdu->type == BPDU_TCN)
        return true;
    if (len < BPDU_AT + CONFIG_BYTES ||
        !(bpdu->type == BPDU_CONFIG || (bpdu->type == BPDU_RST && bpdu->version >= 2)))
        return false;
    bpdu->flags = p[4];
    bpdu->vector = (struct rstp_vector){.root = load_be(p + 5, 8),
                                        .cost = (uint32_t)load_be(p + 13, 4),
                                        .bridge = load_be(p + 17, 8),
                                        .port = (uint16_t)load_be(p + 25, 2)};
    /* Times are in 256ths of a second. */
    bpdu->times = (struct rstp_times){p[27], p[29], p[31], p[33]};
    if (bpdu->type == BPDU_CONFIG)
        bpdu->flags = (uint8_t)((bpdu->flags & (FLAG_TC | FLAG_TC_ACK)) | ROLE_DESIGNATED);
    /* What is older than it may be is not heard (9.3.4). */
    return bpdu->times.hello >= 1 && bpdu->times.message_age < bpdu->times.max_age;
}

void rstp_write(const struct rstp_bpdu *bpdu, const uint8_t *from_mac, uint8_t *frame)
{
    uint8_t *p = frame + BPDU_AT;
    const unsigned bytes = bpdu->type == BPDU_TCN ? TCN_BYTES : CONFIG_BYTES + (bpdu->version == 2);
    memset(frame, 0, RSTP_FRAME_BYTES);
    memcpy(frame, group, 6);
    memcpy(frame + 6, from_mac, 6);
    store_be(frame + 12, sizeof(llc) + bytes, 2);
    memcpy(frame + LLC_AT, llc, sizeof(llc));
    p[2] = bpdu->version;
    p[3] = bpdu->type;
    if (bpdu->type == BPDU_TCN)
        return;
    p[4] = bpdu->flags;
    store_be(p + 5, bpdu->vector.root, 8);
    store_be(p + 13, bpdu->vector.cost, 4);
    store_be(p + 17, bpdu->vector.bridge, 8);
    store_be(p + 25, bpdu->vector.port, 2);
    p[27] = (uint8_t)bpdu->times.message_age;
    p[29] = (uint8_t)bpdu->times.max_age;
    p[31] = (uint8_t)bpdu->times.hello;
    p[33] = (uint8_t)bpdu->times.forward_delay;
}

/* --- Comparing (17.6) ------------------------------------------------------------ */

static int compare(const struct rstp_vector *a, const struct rstp_vector *b)
{
    if (a->root != b->root)
        return a->root < b->root ? -1 : 1;
    if (a->cost != b->cost)
        return a->cost < b->cost ? -1 : 1;
    if (a->bridge != b->bridge)
        return a->bridge < b->bridge ? -1 : 1;
    return (a->port > b->port) - (a->port < b->port);
}

static bool is_same_times(const struct rstp_times *a, const struct rstp_times *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* While neighbours speak RSTP, steps that nobody agreed to take a hello time (17.20.5). */
static unsigned forward_delay(const struct rstp_port *port)
{
    return port->send_rstp ? port->designated_times.hello : port->designated_times.forward_delay;
}

static void reselect(struct rstp_port *port)
{
    port->reselect = true;
    port->selected = false;
}

/* --- Topology changes (17.31) ----------------------------------------------------- */

static void begin_tc(const struct rstp_bridge *bridge, struct rstp_port *port)
{
    if (port->tc_while)
        return;
    port->tc_while = port->send_rstp
                         ? port->designated_times.hello + 1U
                         : bridge->root_times.max_age + bridge->root_times.forward_delay;
    port->new_info = true;
}

static void propagate_tc(struct rstp_bridge *bridge, const struct rstp_port *from)
{
    bridge->topology_changes++;
    for (unsigned i = 0; i < bridge->count; i++) {
        if (&bridge->ports[i] != from)
            bridge->ports[i].tc_prop = true;
    }
}

static bool run_topology_change(struct rstp_bridge *bridge, struct rstp_port *port)
{
    bool active = (port->role == RSTP_ROOT || port->role == RSTP_DESIGNATED) && port->forward &&
                  !port->oper_edge;
    if (active && !port->tc_active) {
        port->tc_active = true;
        begin_tc(bridge, port);
        propagate_tc(bridge, port);
        port->tc_prop = false;
        return true;
    }
    if (!active && port->tc_active) {
        port->tc_active = false;
        port->tc_while = 0;
        port->tc_ack = false;
        port->flush = true;
    }
    if (port->tc_prop && active) {
        begin_tc(bridge, port);
        port->flush = true;
    }
    port->tc_prop = false;
    return false;
}

static void hear_tc(struct rstp_bridge *bridge, struct rstp_port *port,
                    const struct rstp_bpdu *bpdu)
{
    if (bpdu->flags & FLAG_TC_ACK)
        port->tc_while = 0;
    if (!port->tc_active || !(bpdu->type == BPDU_TCN || bpdu->flags & FLAG_TC))
        return;
    if (bpdu->type == BPDU_TCN) {
        begin_tc(bridge, port);
        port->tc_ack = port->role == RSTP_DESIGNATED;
    }
    propagate_tc(bridge, port);
}

/* --- Port information (17.27) ------------------------------------------------------ */

static void age(struct rstp_port *port)
{
    port->info = RSTP_INFO_AGED;
    reselect(port);
}

static void record_agreement(struct rstp_port *port, const struct rstp_bpdu *bpdu)
{
    port->agreed = bpdu->version >= 2 && bpdu->flags & FLAG_AGREEMENT;
    if (port->agreed)
        port->proposing = false;
}

static void hear_designated(struct rstp_port *port, const struct rstp_bpdu *bpdu)
{
    const struct rstp_vector *heard = &bpdu->vector;
    int order = compare(heard, &port->priority);
    bool same_sender = ((heard->bridge ^ port->priority.bridge) & ADDRESS) == 0 &&
                       ((heard->port ^ port->priority.port) & 0xfff) == 0;
    bool same = order == 0 && is_same_times(&bpdu->times, &port->times);
    if (port->info == RSTP_INFO_RECEIVED && same) {
        port->proposed |= bpdu->flags & FLAG_PROPOSAL;
        record_agreement(port, bpdu);
    } else if (order < 0 || same_sender || (order == 0 && port->info != RSTP_INFO_MINE)) {
        port->agreed = port->proposing = false;
        port->proposed |= bpdu->flags & FLAG_PROPOSAL;
        /* What we agreed to holds for what is as good, not for what is worse. */
        port->agree &= order <= 0 && port->info == RSTP_INFO_RECEIVED;
        record_agreement(port, bpdu);
        port->synced &= port->agreed;
        port->priority = *heard;
        port->times = bpdu->times;
        port->info = RSTP_INFO_RECEIVED;
        reselect(port);
    } else {
        if (bpdu->flags & FLAG_LEARNING) {
            port->disputed = true;
            port->agreed = false;
        }
        return;
    }
    port->info_while =
        bpdu->times.message_age + 1 <= bpdu->times.max_age ? 3U * bpdu->times.hello : 0;
}

static void update_information(struct rstp_port *port)
{
    int order = compare(&port->designated, &port->priority);
    port->proposing = port->proposed = false;
    port->agreed &= order <= 0 && port->info == RSTP_INFO_MINE;
    port->synced &= port->agreed;
    port->priority = port->designated;
    port->times = port->designated_times;
    port->update_info = false;
    port->info = RSTP_INFO_MINE;
    port->new_info = true;
}

static bool run_information(struct rstp_port *port)
{
    if (port->enabled && port->info == RSTP_INFO_RECEIVED && !port->info_while &&
        !port->update_info) {
        age(port);
        return true;
    }
    if (port->enabled && port->selected && port->update_info) {
        update_information(port);
        return true;
    }
    return false;
}

/* --- Role selection (17.21.25, 17.28) ----------------------------------------------- */

static void find_root(struct rstp_bridge *bridge)
{
    struct rstp_vector best = {.root = bridge->id, .bridge = bridge->id};
    uint16_t best_at = 0;
    bridge->root_port = -1;
    bridge->root_times = bridge->times;
    for (unsigned i = 0; i < bridge->count; i++) {
        const struct rstp_port *port = &bridge->ports[i];
        struct rstp_vector path = port->priority;
        if (port->info != RSTP_INFO_RECEIVED || ((path.bridge ^ bridge->id) & ADDRESS) == 0)
            continue;
        path.cost = MIN(path.cost, UINT32_MAX - port->path_cost) + port->path_cost;
        int order = compare(&path, &best);
        if (order > 0 || (order == 0 && (bridge->root_port < 0 || port->id > best_at)))
            continue;
        best = path;
        best_at = port->id;
        bridge->root_port = (int)i;
        bridge->root_times = port->times;
        bridge->root_times.message_age++;
    }
    bridge->root = best;
}

static enum rstp_role role_of(const struct rstp_bridge *bridge, struct rstp_port *port,
                              bool is_root_port)
{
    port->designated =
        (struct rstp_vector){bridge->root.root, bridge->root.cost, bridge->id, port->id};
    port->designated_times = bridge->root_times;
    port->designated_times.hello = bridge->times.hello;
    int order = compare(&port->designated, &port->priority);
    port->update_info = false;
    switch (port->info) {
    case RSTP_INFO_DISABLED:
        return RSTP_DISABLED;
    case RSTP_INFO_AGED:
        port->update_info = true;
        return RSTP_DESIGNATED;
    case RSTP_INFO_MINE:
        port->update_info = order != 0 || !is_same_times(&port->designated_times, &port->times);
        return RSTP_DESIGNATED;
    default:
        break;
    }
    if (is_root_port)
        return RSTP_ROOT;
    port->update_info = order < 0;
    if (order < 0)
        return RSTP_DESIGNATED;
    return ((port->priority.bridge ^ bridge->id) & ADDRESS) == 0 ? RSTP_BACKUP : RSTP_ALTERNATE;
}

static bool run_selection(struct rstp_bridge *bridge)
{
    bool needed = false;
    for (unsigned i = 0; i < bridge->count; i++)
        needed |= bridge->ports[i].reselect;
    if (!needed)
        return false;
    find_root(bridge);
    for (unsigned i = 0; i < bridge->count; i++) {
        struct rstp_port *port = &bridge->ports[i];
        port->selected_role = role_of(bridge, port, (int)i == bridge->root_port);
        port->reselect = false;
        port->selected = true;
    }
    return true;
}

/* --- Role transitions (17.29) -------------------------------------------------------- */

static bool others_are_synced(const struct rstp_bridge *bridge, const struct rstp_port *but)
{
    for (unsigned i = 0; i < bridge->count; i++) {
        const struct rstp_port *port = &bridge->ports[i];
        if (!port->selected || port->update_info || port->role != port->selected_role ||
            (port != but && port->role != RSTP_ROOT && !port->synced))
            return false;
    }
    return true;
}

static bool others_are_rerooted(const struct rstp_bridge *bridge, const struct rstp_port *but)
{
    for (unsigned i = 0; i < bridge->count; i++) {
        if (&bridge->ports[i] != but && bridge->ports[i].rr_while)
            return false;
    }
    return true;
}

static void sync_all(struct rstp_bridge *bridge)
{
    for (unsigned i = 0; i < bridge->count; i++)
        bridge->ports[i].sync = true;
}

/* What root and alternate ports do with proposals. */
static bool answer(struct rstp_bridge *bridge, struct rstp_port *port)
{
    if (port->proposed && !port->agree) {
        sync_all(bridge);
        port->proposed = false;
        return true;
    }
    if ((!port->agree && others_are_synced(bridge, port)) || (port->proposed && port->agree)) {
        port->proposed = port->sync = false;
        port->agree = true;
        port->new_info = true;
        return true;
    }
    return false;
}

static bool run_blocked(struct rstp_bridge *bridge, struct rstp_port *port)
{
    bool changed = port->learn || port->forward;
    port->learn = port->forward = false;
    port->synced = true;
    port->sync = port->re_root = false;
    port->rr_while = 0;
    port->fd_while =
        port->role == RSTP_DISABLED ? port->designated_times.max_age : forward_delay(port);
    if (port->role == RSTP_DISABLED)
        return changed;
    if (port->role == RSTP_BACKUP)
        port->rb_while = 2U * port->designated_times.hello;
    return answer(bridge, port) || changed;
}

static bool run_root(struct rstp_bridge *bridge, struct rstp_port *port)
{
    port->rr_while = port->designated_times.forward_delay;
    if (answer(bridge, port))
        return true;
    if (!port->forward && !port->re_root) {
        for (unsigned i = 0; i < bridge->count; i++)
            bridge->ports[i].re_root = true;
        return true;
    }
    bool may = port->fd_while == 0 ||
               (others_are_rerooted(bridge, port) && port->rb_while == 0 && port->send_rstp);
    if (may && !port->learn) {
        port->learn = true;
        port->fd_while = forward_delay(port);
        return true;
    }
    if (may && !port->forward) {
        port->forward = true;
        port->fd_while = 0;
        return true;
    }
    if (port->re_root && port->forward)
        port->re_root = false;
    return false;
}

static bool run_designated(struct rstp_port *port)
{
    if (!port->forward && !port->agreed && !port->proposing && !port->oper_edge) {
        port->proposing = true;
        port->edge_delay_while = MIGRATE_TIME;
        port->new_info = true;
        return true;
    }
    if (!port->synced && ((!port->learn && !port->forward) || port->agreed || port->oper_edge)) {
        port->rr_while = 0;
        port->synced = true;
        port->sync = false;
        return true;
    }
    if (port->sync && port->synced) {
        port->sync = false;
        return true;
    }
    if (port->re_root && port->rr_while == 0) {
        port->re_root = false;
        return true;
    }
    if (((port->sync && !port->synced) || (port->re_root && port->rr_while) || port->disputed) &&
        !port->oper_edge && (port->learn || port->forward)) {
        port->learn = port->forward = port->disputed = false;
        port->fd_while = forward_delay(port);
        return true;
    }
    bool may = (port->fd_while == 0 || port->agreed || port->oper_edge) &&
               (port->rr_while == 0 || !port->re_root) && !port->sync;
    if (may && !port->learn) {
        port->learn = true;
        port->fd_while = forward_delay(port);
        return true;
    }
    if (may && !port->forward) {
        port->forward = true;
        port->fd_while = 0;
        port->agreed = port->send_rstp;
        return true;
    }
    return false;
}

static bool run_role(struct rstp_bridge *bridge, struct rstp_port *port)
{
    bool changed = false;
    if (!port->selected || port->update_info)
        return false;
    if (port->role != port->selected_role) {
        port->role = port->selected_role;
        changed = true;
    }
    if (port->role == RSTP_ROOT)
        return run_root(bridge, port) || changed;
    if (port->role == RSTP_DESIGNATED)
        return run_designated(port) || changed;
    return run_blocked(bridge, port) || changed;
}

/* --- Edges (17.25) ---------------------------------------------------------------------- */

static bool run_edge(struct rstp_port *port)
{
    if (port->oper_edge || !port->enabled || !port->auto_edge || port->edge_delay_while ||
        !port->send_rstp || !port->proposing)
        return false;
    port->oper_edge = true;
    return true;
}

/* The machines are finite: each step is of a port's way from one state to another. The bound is
 * for what neighbours may yet find. */
static void run(struct rstp_bridge *bridge)
{
    bool changed = true;
    for (unsigned rounds = 0; changed && rounds < 64; rounds++) {
        changed = run_selection(bridge);
        for (unsigned i = 0; i < bridge->count; i++) {
            struct rstp_port *port = &bridge->ports[i];
            changed |= run_information(port);
            changed |= run_edge(port);
            changed |= run_role(bridge, port);
            changed |= run_topology_change(bridge, port);
        }
    }
}

/* --- What happens -------------------------------------------------------------------------- */

void rstp_init_port(const struct rstp_bridge *bridge, struct rstp_port *port)
{
    struct rstp_port fresh = {.id = port->id,
                              .path_cost = port->path_cost,
                              .admin_edge = port->admin_edge,
                              .auto_edge = port->auto_edge,
                              .designated_times = bridge->times,
                              .send_rstp = true,
                              .fd_while = bridge->times.max_age,
                              .synced = true,
                              .reselect = true};
    *port = fresh;
}

void rstp_set_link(struct rstp_bridge *bridge, struct rstp_port *port, bool up)
{
    if (up == port->enabled)
        return;
    port->enabled = up;
    port->proposing = port->proposed = port->agree = port->agreed = port->disputed = false;
    port->info_while = 0;
    port->send_rstp = true;
    port->mdelay_while = MIGRATE_TIME;
    port->oper_edge = up && port->admin_edge;
    port->info = up ? RSTP_INFO_AGED : RSTP_INFO_DISABLED;
    port->hello_when = 0;
    reselect(port);
    run(bridge);
}

void rstp_receive(struct rstp_bridge *bridge, struct rstp_port *port, const struct rstp_bpdu *bpdu)
{
    /* What we said ourselves comes back: nobody else is there to agree with. */
    bool is_ours = bpdu->type != BPDU_TCN && bpdu->vector.bridge == bridge->id &&
                   bpdu->vector.port == port->id;
    if (!port->enabled || is_ours)
        return;
    port->oper_edge = false;
    /* Which protocol the neighbour speaks (17.24). */
    if (!port->mdelay_while && port->send_rstp != (bpdu->type == BPDU_RST)) {
        port->send_rstp = bpdu->type == BPDU_RST;
        port->mdelay_while = MIGRATE_TIME;
    }
    if (bpdu->type != BPDU_TCN && (bpdu->flags & FLAG_ROLE) == ROLE_DESIGNATED)
        hear_designated(port, bpdu);
    else if (bpdu->type == BPDU_RST && (bpdu->flags & FLAG_ROLE) != 0 &&
             compare(&bpdu->vector, &port->priority) >= 0)
        record_agreement(port, bpdu);
    hear_tc(bridge, port, bpdu);
    run(bridge);
}

static void count_down(unsigned *timer)
{
    if (*timer)
        (*timer)--;
}

void rstp_tick(struct rstp_bridge *bridge)
{
    for (unsigned i = 0; i < bridge->count; i++) {
        struct rstp_port *port = &bridge->ports[i];
        unsigned *timers[] = {&port->fd_while,   &port->rr_while,   &port->rb_while,
                              &port->tc_while,   &port->info_while, &port->edge_delay_while,
                              &port->hello_when, &port->tx_count,   &port->mdelay_while};
        for (unsigned j = 0; j < ARRAY_SIZE(timers); j++)
            count_down(timers[j]);
    }
    run(bridge);
}

void rstp_reselect(struct rstp_bridge *bridge)
{
    if (bridge->count)
        reselect(&bridge->ports[0]);
    run(bridge);
}

/* --- Sending (17.26) ------------------------------------------------------------------------ */

static uint8_t flags_of(const struct rstp_port *port)
{
    static const uint8_t roles[] = {[RSTP_ROOT] = ROLE_ROOT,
                                    [RSTP_DESIGNATED] = ROLE_DESIGNATED,
                                    [RSTP_ALTERNATE] = ROLE_ALTERNATE,
                                    [RSTP_BACKUP] = ROLE_ALTERNATE};
    return (uint8_t)((port->tc_while ? FLAG_TC : 0) | (port->proposing ? FLAG_PROPOSAL : 0) |
                     roles[port->role] | (port->learn ? FLAG_LEARNING : 0) |
                     (port->forward ? FLAG_FORWARDING : 0) | (port->agree ? FLAG_AGREEMENT : 0));
}

bool rstp_transmit(const struct rstp_bridge *bridge, struct rstp_port *port, struct rstp_bpdu *bpdu)
{
    if (!port->enabled || port->role == RSTP_DISABLED)
        return false;
    if (!port->hello_when) {
        port->new_info |=
            port->role == RSTP_DESIGNATED || (port->role == RSTP_ROOT && port->tc_while);
        port->hello_when = bridge->times.hello;
    }
    if (!port->new_info || port->tx_count >= TX_HOLD || !port->selected || port->update_info)
        return false;
    port->new_info = false;
    *bpdu = (struct rstp_bpdu){.version = 2,
                               .type = BPDU_RST,
                               .flags = flags_of(port),
                               .vector = port->designated,
                               .times = port->designated_times};
    if (!port->send_rstp && port->role != RSTP_DESIGNATED) {
        *bpdu = (struct rstp_bpdu){.type = BPDU_TCN};
        if (port->role != RSTP_ROOT)
            return false;
    } else if (!port->send_rstp) {
        bpdu->version = bpdu->type = 0;
        bpdu->flags = (uint8_t)((port->tc_while ? FLAG_TC : 0) | (port->tc_ack ? FLAG_TC_ACK : 0));
        port->tc_ack = false;
    }
    port->tx_count++;
    return true;
}
