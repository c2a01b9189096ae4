/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Actions; see actions.h. */
#include "switch/openflow/actions.h"

#include "switch/openflow/match.h"

enum {
    OFPAT_OUTPUT = 0,
    OFPAT10_SET_VLAN_VID = 1,
    OFPAT10_SET_VLAN_PCP = 2,
    OFPAT10_STRIP_VLAN = 3,
    OFPAT10_SET_DL_SRC = 4,
    OFPAT10_SET_DL_DST = 5,
    OFPAT10_SET_NW_TOS = 8,
    OFPAT10_ENQUEUE = 11,
    OFPAT13_PUSH_VLAN = 17,
    OFPAT13_POP_VLAN = 18,
    OFPAT13_SET_QUEUE = 21,
    OFPAT13_SET_FIELD = 25,
    OFPAT_EXPERIMENTER = 0xffff,
};

const uint16_t ofp13_action_types[OFP13_ACTION_TYPES] = {
    OFPAT_OUTPUT, OFPAT13_PUSH_VLAN, OFPAT13_POP_VLAN, OFPAT13_SET_QUEUE, OFPAT13_SET_FIELD};

enum {
    OFPIT_APPLY_ACTIONS = 4,
    OFPIT_LAST = 6,
    OFPIT_EXPERIMENTER = 0xffff,
};

#define ACTION_HEADER 4
#define INSTRUCTION_HEADER 8
#define PRIORITY_MAX 7
#define DSCP_MAX 63

bool ofp13_port_read(uint32_t wire, uint16_t *port)
{
    *port = (uint16_t)wire;
    return wire < OFPP_MAX || wire >= 0xffff0000 + OFPP_MAX;
}

uint32_t ofp13_port_write(uint16_t port)
{
    return port < OFPP_MAX ? port : 0xffff0000 | port;
}

/* --- Outputs ----------------------------------------------------------------- */

static const struct {
    uint16_t port;
    enum flow_op op;
} special_ports[] = {
    {OFPP_IN_PORT, FLOW_IN_PORT}, {OFPP_NORMAL, FLOW_NORMAL}, {OFPP_FLOOD, FLOW_FLOOD},
    {OFPP_ALL, FLOW_ALL},         {OFPP_LOCAL, FLOW_OUTPUT},  {OFPP_CONTROLLER, FLOW_CONTROLLER},
};

static enum ofp_error read_output(uint16_t port, uint16_t max_len, struct flow_action *action)
{
    action->op = FLOW_OUTPUT;
    action->number = port;
    if (port && port < OFPP_MAX)
        return OFP_OK;
    for (unsigned i = 0; i < ARRAY_SIZE(special_ports); i++) {
        if (special_ports[i].port != port)
            continue;
        action->op = special_ports[i].op;
        if (port != OFPP_LOCAL)
            action->number = port == OFPP_CONTROLLER ? max_len : 0;
        return OFP_OK;
    }
    return OFP_ACTION_BAD_PORT;
}

static uint16_t port_of(const struct flow_action *action)
{
    for (unsigned i = 0; i < ARRAY_SIZE(special_ports); i++) {
        if (action->op > FLOW_ENQUEUE && special_ports[i].op == action->op)
            return special_ports[i].port;
    }
    return action->number;
}

static void write_output(uint8_t version, struct wire *wire, const struct flow_action *action)
{
    uint16_t max_len = action->op == FLOW_CONTROLLER ? action->number : 0;
    bool v13 = version == OFP_13;
    wire_put(wire, OFPAT_OUTPUT, 2);
    wire_put(wire, v13 ? 16 : 8, 2);
    if (v13)
        wire_put(wire, ofp13_port_write(port_of(action)), 4);
    else
        wire_put(wire, port_of(action), 2);
    wire_put(wire, max_len, 2);
    wire_zeroes(wire, v13 ? 6 : 0);
}

bool ofp_actions_send_to(const struct flow_actions *actions, uint16_t port)
{
    for (unsigned i = 0; i < actions->count; i++) {
        if (actions->list[i].op <= FLOW_CONTROLLER && port_of(&actions->list[i]) == port)
            return true;
    }
    return false;
}

/* --- 1.0 --------------------------------------------------------------------- */

static enum ofp_error set_vlan(uint64_t vlan, struct flow_action *action)
{
    *action = (struct flow_action){.op = FLOW_SET_VLAN, .number = (uint16_t)vlan};
    return vlan <= VLAN_ID_MASK ? OFP_OK : OFP_ACTION_BAD_ARGUMENT;
}

static enum ofp_error set_priority(uint64_t priority, struct flow_action *action)
{
    *action = (struct flow_action){.op = FLOW_SET_PRIORITY, .number = (uint16_t)priority};
    return priority <= PRIORITY_MAX ? OFP_OK : OFP_ACTION_BAD_ARGUMENT;
}

static enum ofp_error set_dscp(uint64_t dscp, struct flow_action *action)
{
    *action = (struct flow_action){.op = FLOW_SET_DSCP, .number = (uint16_t)dscp};
    return dscp <= DSCP_MAX ? OFP_OK : OFP_ACTION_BAD_ARGUMENT;
}

static enum ofp_error set_mac(enum flow_op op, const uint8_t *mac, struct flow_action *action)
{
    *action = (struct flow_action){.op = op};
    memcpy(action->mac, mac, sizeof(action->mac));
    return OFP_OK;
}

/* To a port, or back to where it came from. */
static enum ofp_error read_enqueue(const uint8_t *body, struct flow_action *action)
{
    uint16_t port = (uint16_t)load_be(body, 2);
    *action = (struct flow_action){
        .op = FLOW_ENQUEUE, .number = port, .queue = (uint32_t)load_be(body + 8, 4)};
    return (port && port < OFPP_MAX) || port == OFPP_LOCAL ? OFP_OK : OFP_ACTION_BAD_PORT;
}

/* data: the action of len bytes, a multiple of 8. */
static enum ofp_error read_10(uint16_t type, const uint8_t *data, size_t len,
                              struct flow_action *action)
{
    const uint8_t *body = data + ACTION_HEADER;
    if (type == OFPAT_EXPERIMENTER)
        return OFP_ACTION_BAD_EXPERIMENTER;
    bool is_long =
        type == OFPAT10_SET_DL_SRC || type == OFPAT10_SET_DL_DST || type == OFPAT10_ENQUEUE;
    if (type > OFPAT10_SET_DL_DST && type != OFPAT10_SET_NW_TOS && type != OFPAT10_ENQUEUE)
        return OFP_ACTION_BAD_TYPE;
    if (len != (is_long ? 16 : 8))
        return OFP_ACTION_BAD_LEN;
    switch (type) {
    case OFPAT_OUTPUT:
        return read_output((uint16_t)load_be(body, 2), (uint16_t)load_be(body + 2, 2), action);
    case OFPAT10_ENQUEUE:
        return read_enqueue(body, action);
    case OFPAT10_SET_VLAN_VID:
        return set_vlan(load_be(body, 2), action);
    case OFPAT10_SET_VLAN_PCP:
        return set_priority(body[0], action);
    case OFPAT10_SET_NW_TOS:
        return body[0] & 3 ? OFP_ACTION_BAD_ARGUMENT : set_dscp(body[0] >> 2, action);
    case OFPAT10_SET_DL_SRC:
        return set_mac(FLOW_SET_FROM_MAC, body, action);
    case OFPAT10_SET_DL_DST:
        return set_mac(FLOW_SET_TO_MAC, body, action);
    default:
        *action = (struct flow_action){.op = FLOW_POP_VLAN};
        return OFP_OK;
    }
}

/* The number of an action and what follows it, in 8 or 16 bytes. */
static void write_10(struct wire *wire, const struct flow_action *action)
{
    static const uint16_t types[FLOW_OPS] = {
        [FLOW_SET_VLAN] = OFPAT10_SET_VLAN_VID,  [FLOW_SET_PRIORITY] = OFPAT10_SET_VLAN_PCP,
        [FLOW_PUSH_VLAN] = OFPAT10_SET_VLAN_VID, [FLOW_POP_VLAN] = OFPAT10_STRIP_VLAN,
        [FLOW_SET_DSCP] = OFPAT10_SET_NW_TOS,    [FLOW_SET_FROM_MAC] = OFPAT10_SET_DL_SRC,
        [FLOW_SET_TO_MAC] = OFPAT10_SET_DL_DST,
    };
    bool mac = action->op >= FLOW_SET_FROM_MAC;
    wire_put(wire, types[action->op], 2);
    wire_put(wire, mac ? 16 : 8, 2);
    if (mac) {
        wire_bytes(wire, action->mac, 6);
        wire_zeroes(wire, 6);
    } else if (action->op == FLOW_SET_PRIORITY || action->op == FLOW_SET_DSCP) {
        wire_put(wire, action->op == FLOW_SET_DSCP ? action->number << 2 : action->number, 1);
        wire_zeroes(wire, 3);
    } else {
        wire_put(wire, action->op == FLOW_SET_VLAN ? action->number : 0, 2);
        wire_zeroes(wire, 2);
    }
}

/* --- 1.3 --------------------------------------------------------------------- */

static enum ofp_error read_set_field(const uint8_t *data, size_t len, struct flow_action *action)
{
    struct ofp_field_value value;
    size_t used;
    enum ofp_error error =
        ofp13_field_read(data + ACTION_HEADER, len - ACTION_HEADER, &value, &used);
    if (error != OFP_OK)
        return error;
    if (len != ALIGN_UP(ACTION_HEADER + used, (size_t)8))
        return OFP_ACTION_BAD_LEN;
    switch (value.field) {
    case OXM_ETH_DST:
        return set_mac(FLOW_SET_TO_MAC, value.bytes, action);
    case OXM_ETH_SRC:
        return set_mac(FLOW_SET_FROM_MAC, value.bytes, action);
    case OXM_VLAN_VID:
        /* A tag is put in by its own action, so the frame has one. */
        if (!(value.number & OFP_VLAN_PRESENT))
            return OFP_ACTION_BAD_ARGUMENT;
        return set_vlan(value.number & ~(uint64_t)OFP_VLAN_PRESENT, action);
    case OXM_VLAN_PCP:
        return set_priority(value.number, action);
    case OXM_IP_DSCP:
        return set_dscp(value.number, action);
    default:
        return OFP_ACTION_BAD_FIELD;
    }
}

static enum ofp_error read_13(uint16_t type, const uint8_t *data, size_t len,
                              struct flow_action *action)
{
    const uint8_t *body = data + ACTION_HEADER;
    uint16_t port;
    switch (type) {
    case OFPAT_OUTPUT:
        if (len != 16)
            return OFP_ACTION_BAD_LEN;
        if (!ofp13_port_read((uint32_t)load_be(body, 4), &port))
            return OFP_ACTION_BAD_PORT;
        return read_output(port, (uint16_t)load_be(body + 4, 2), action);
    case OFPAT13_PUSH_VLAN:
        *action = (struct flow_action){.op = FLOW_PUSH_VLAN};
        if (len != 8)
            return OFP_ACTION_BAD_LEN;
        return load_be(body, 2) == FRAME_TPID ? OFP_OK : OFP_ACTION_BAD_ARGUMENT;
    case OFPAT13_POP_VLAN:
        *action = (struct flow_action){.op = FLOW_POP_VLAN};
        return len == 8 ? OFP_OK : OFP_ACTION_BAD_LEN;
    case OFPAT13_SET_QUEUE:
        *action = (struct flow_action){.op = FLOW_SET_QUEUE, .queue = (uint32_t)load_be(body, 4)};
        return len == 8 ? OFP_OK : OFP_ACTION_BAD_LEN;
    case OFPAT13_SET_FIELD:
        return read_set_field(data, len, action);
    case OFPAT_EXPERIMENTER:
        return OFP_ACTION_BAD_EXPERIMENTER;
    default:
        return OFP_ACTION_BAD_TYPE;
    }
}

static void write_set_field(struct wire *wire, unsigned oxm, uint64_t number, const uint8_t *mac)
{
    unsigned len = mac ? 6 : oxm == OXM_VLAN_VID ? 2 : 1;
    size_t start = wire->len, whole = ALIGN_UP(ACTION_HEADER + 4U + len, 8U);
    wire_put(wire, OFPAT13_SET_FIELD, 2);
    wire_put(wire, whole, 2);
    wire_put(wire, 0x8000, 2);
    wire_put(wire, oxm << 1, 1);
    wire_put(wire, len, 1);
    if (mac)
        wire_bytes(wire, mac, len);
    else
        wire_put(wire, number, len);
    wire_zeroes(wire, whole - MIN(wire->len - start, whole));
}

static void write_13(struct wire *wire, const struct flow_action *action)
{
    switch (action->op) {
    case FLOW_SET_VLAN:
        write_set_field(wire, OXM_VLAN_VID, action->number | OFP_VLAN_PRESENT, NULL);
        break;
    case FLOW_SET_PRIORITY:
        write_set_field(wire, OXM_VLAN_PCP, action->number, NULL);
        break;
    case FLOW_SET_DSCP:
        write_set_field(wire, OXM_IP_DSCP, action->number, NULL);
        break;
    case FLOW_SET_FROM_MAC:
        write_set_field(wire, OXM_ETH_SRC, 0, action->mac);
        break;
    case FLOW_SET_TO_MAC:
        write_set_field(wire, OXM_ETH_DST, 0, action->mac);
        break;
    default:
        wire_put(wire, action->op == FLOW_PUSH_VLAN ? OFPAT13_PUSH_VLAN : OFPAT13_POP_VLAN, 2);
        wire_put(wire, 8, 2);
        wire_put(wire, action->op == FLOW_PUSH_VLAN ? FRAME_TPID : 0, 2);
        wire_zeroes(wire, 2);
        break;
    }
}

/* --- Queues ------------------------------------------------------------------------- */

static void write_set_queue(struct wire *wire, uint32_t queue)
{
    wire_put(wire, OFPAT13_SET_QUEUE, 2);
    wire_put(wire, 8, 2);
    wire_put(wire, queue, 4);
}

static void write_enqueue(struct wire *wire, uint16_t port, uint32_t queue)
{
    wire_put(wire, OFPAT10_ENQUEUE, 2);
    wire_put(wire, 16, 2);
    wire_put(wire, port, 2);
    wire_zeroes(wire, 6);
    wire_put(wire, queue, 4);
}

/* An output to the queue. 1.0 can say so of ports only, 1.3 in two actions, or three: *said is what
 * its last one told. */
static void write_output_to_queue(uint8_t version, struct wire *wire,
                                  const struct flow_action *action, uint32_t queue, uint32_t *said)
{
    bool is_port = action->op == FLOW_OUTPUT || action->op == FLOW_ENQUEUE;
    if (version != OFP_13 && is_port && queue) {
        write_enqueue(wire, action->number, queue);
        return;
    }
    if (version == OFP_13 && queue != *said)
        write_set_queue(wire, *said = queue);
    write_output(version, wire, action);
}

/* --- Lists -------------------------------------------------------------------- */

enum ofp_error ofp_actions_read(uint8_t version, const uint8_t *data, size_t len,
                                struct flow_actions *actions)
{
    actions->count = 0;
    for (size_t at = 0, bytes; at < len; at += bytes) {
        if (len - at < 8)
            return OFP_ACTION_BAD_LEN;
        uint16_t type = (uint16_t)load_be(data + at, 2);
        bytes = load_be(data + at + 2, 2);
        if (bytes < 8 || bytes % 8 || bytes > len - at)
            return OFP_ACTION_BAD_LEN;
        if (actions->count == FLOW_ACTIONS_MAX)
            return OFP_ACTION_TOO_MANY;
        struct flow_action *action = &actions->list[actions->count++];
        enum ofp_error error =
            (version == OFP_13 ? read_13 : read_10)(type, data + at, bytes, action);
        if (error != OFP_OK)
            return error;
    }
    return OFP_OK;
}

void ofp_actions_write(uint8_t version, struct wire *wire, const struct flow_actions *actions)
{
    uint32_t queue = 0, said = 0;
    for (unsigned i = 0; i < actions->count; i++) {
        const struct flow_action *action = &actions->list[i];
        if (action->op == FLOW_SET_QUEUE)
            queue = action->queue;
        else if (action->op <= FLOW_CONTROLLER)
            write_output_to_queue(version, wire, action,
                                  action->op == FLOW_ENQUEUE ? action->queue : queue, &said);
        else if (version == OFP_13)
            write_13(wire, action);
        else
            write_10(wire, action);
    }
}

enum ofp_error ofp13_instructions_read(const uint8_t *data, size_t len,
                                       struct flow_actions *actions)
{
    bool applied = false;
    actions->count = 0;
    for (size_t at = 0, bytes; at < len; at += bytes) {
        if (len - at < INSTRUCTION_HEADER)
            return OFP_BAD_LEN;
        unsigned type = (unsigned)load_be(data + at, 2);
        bytes = load_be(data + at + 2, 2);
        if (bytes < INSTRUCTION_HEADER || bytes % 8 || bytes > len - at)
            return OFP_BAD_LEN;
        if (type != OFPIT_APPLY_ACTIONS || applied)
            return type && (type <= OFPIT_LAST || type == OFPIT_EXPERIMENTER)
                       ? OFP_INSTRUCTION_UNSUPPORTED
                       : OFP_INSTRUCTION_UNKNOWN;
        applied = true;
        enum ofp_error error = ofp_actions_read(OFP_13, data + at + INSTRUCTION_HEADER,
                                                bytes - INSTRUCTION_HEADER, actions);
        if (error != OFP_OK)
            return error;
    }
    return OFP_OK;
}

void ofp13_instructions_write(struct wire *wire, const struct flow_actions *actions)
{
    size_t start = wire->len;
    if (!actions->count)
        return;
    wire_put(wire, OFPIT_APPLY_ACTIONS, 2);
    wire_put(wire, 0, 2);
    wire_put(wire, 0, 4);
    ofp_actions_write(OFP_13, wire, actions);
    wire_patch(wire, start + 2, wire->len - start, 2);
}
