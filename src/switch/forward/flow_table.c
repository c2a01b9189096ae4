/* SPDX-License-Identifier: GPL-2.0-or-later */
/* OpenFlow's way of a frame through a bridge; see flow_table.h. */
#include "switch/forward/flow_table.h"

#include "base/util.h"
#include "switch/forward/flow_key.h"
#include "switch/forward/forward.h"
#include "switch/monitor/sampler.h"

#define TAG_OFFSET FRAME_TYPE_OFFSET

/* Each forwarding thread has its own, and is done with a burst before it takes the next. */
static _Thread_local struct flow_burst burst;

/* A frame that actions are carried out on. Its bytes are the sender's, all but the head. */
struct work {
    struct flow_table *table; /* NULL: nobody is told */
    const struct flow_rule *rule;
    struct bridge *bridge;
    struct port *from;                        /* or NULL */
    enum { UNASKED, ALLOWED, DENIED } filter; /* what the sender's says */
    uint32_t queue;                           /* of those it is sent to */
    bool lost;                                /* it cannot be what actions make of it */
    struct frame frame;
    struct iovec rest[FRAME_SEGMENTS_MAX + 1];
    uint8_t moved[FRAME_TAG_LEN]; /* in front of the rest, since a tag is in the head */
};

static bool has_tag(const struct frame *frame)
{
    return load_be(frame->head + TAG_OFFSET, 2) == FRAME_TPID;
}

static uint16_t tag_of(const struct frame *frame)
{
    return (uint16_t)load_be(frame->head + TAG_OFFSET + 2, 2);
}

/* --- Changes ------------------------------------------------------------------- */

static void shift_checksum(struct frame *frame, int bytes)
{
    frame->offload.csum_start = (uint16_t)(frame->offload.csum_start + bytes);
}

static void push_tag(struct work *w, const struct flow_action *action)
{
    struct frame *frame = &w->frame;
    /* The memory of what is moved is in use where a second tag is put in. */
    if (has_tag(frame))
        return;
    if (frame->rest_count > FRAME_SEGMENTS_MAX) {
        w->lost = true;
        return;
    }
    memcpy(w->moved, frame->head + TAG_OFFSET, FRAME_TAG_LEN);
    memmove(w->rest + 1, frame->rest, frame->rest_count * sizeof(*w->rest));
    w->rest[0] = (struct iovec){w->moved, FRAME_TAG_LEN};
    frame->rest = w->rest;
    frame->rest_count++;
    frame->rest_bytes += FRAME_TAG_LEN;
    store_be(frame->head + TAG_OFFSET, FRAME_TPID, 2);
    store_be(frame->head + TAG_OFFSET + 2, 0, 2);
    shift_checksum(frame, FRAME_TAG_LEN);
}

/* A frame keeps FRAME_BYTES_MIN bytes. */
static void pop_tag(struct work *w, const struct flow_action *action)
{
    struct frame *frame = &w->frame;
    uint8_t *to = frame->head + TAG_OFFSET;
    if (!has_tag(frame) || frame->rest_bytes < FRAME_BYTES_MIN - FRAME_HEAD + FRAME_TAG_LEN)
        return;
    if (frame->rest != w->rest)
        memcpy(w->rest, frame->rest, frame->rest_count * sizeof(*w->rest));
    struct iovec *iov = w->rest;
    for (size_t left = FRAME_TAG_LEN; left;) {
        size_t part = MIN(left, iov->iov_len);
        memcpy(to, iov->iov_base, part);
        to += part;
        left -= part;
        iov->iov_base = (uint8_t *)iov->iov_base + part;
        iov->iov_len -= part;
        if (iov->iov_len == 0) {
            iov++;
            frame->rest_count--;
        }
    }
    memmove(w->rest, iov, frame->rest_count * sizeof(*iov));
    frame->rest = w->rest;
    frame->rest_bytes -= FRAME_TAG_LEN;
    shift_checksum(frame, -FRAME_TAG_LEN);
}

static void set_tag(struct work *w, unsigned mask, unsigned bits)
{
    if (!has_tag(&w->frame))
        push_tag(w, NULL);
    store_be(w->frame.head + TAG_OFFSET + 2, (tag_of(&w->frame) & ~mask) | bits, 2);
}

static void set_vlan(struct work *w, const struct flow_action *action)
{
    set_tag(w, VLAN_ID_MASK, action->number);
}

static void set_priority(struct work *w, const struct flow_action *action)
{
    set_tag(w, 7U << 13, (unsigned)action->number << 13);
}

static void set_to_mac(struct work *w, const struct flow_action *action)
{
    memcpy(w->frame.head, action->mac, sizeof(action->mac));
}

static void set_from_mac(struct work *w, const struct flow_action *action)
{
    memcpy(w->frame.head + 6, action->mac, sizeof(action->mac));
}

/* A byte of the frame's headers, which are a copy of ours; NULL: it has not so many. */
static uint8_t *byte_at(struct frame *frame, size_t offset)
{
    if (offset < FRAME_HEAD)
        return &frame->head[offset];
    offset -= FRAME_HEAD;
    for (unsigned i = 0; i < frame->rest_count; i++) {
        if (offset < frame->rest[i].iov_len)
            return (uint8_t *)frame->rest[i].iov_base + offset;
        offset -= frame->rest[i].iov_len;
    }
    return NULL;
}

/* The header's checksum goes along (RFC 1624, 3). */
static void set_dscp_ipv4(struct frame *frame, size_t ip, unsigned dscp)
{
    uint8_t *tos = byte_at(frame, ip + 1), *high = byte_at(frame, ip + 10);
    uint8_t *low = byte_at(frame, ip + 11);
    if (!tos || !high || !low)
        return;
    unsigned before = *tos, now = dscp << 2 | (before & 3);
    uint32_t sum = (uint16_t) ~(*high << 8 | *low) + (uint16_t)~before + now;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    *tos = (uint8_t)now;
    *high = (uint8_t)(sum >> 8);
    *low = (uint8_t)sum;
}

static void set_dscp_ipv6(struct frame *frame, size_t ip, unsigned dscp)
{
    uint8_t *first = byte_at(frame, ip), *second = byte_at(frame, ip + 1);
    if (!first || !second)
        return;
    *first = (uint8_t)((*first & 0xf0) | dscp >> 2);
    *second = (uint8_t)((*second & 0x3f) | (dscp & 3) << 6);
}

/* Of frames of other kinds nothing changes. */
static void set_dscp(struct work *w, const struct flow_action *action)
{
    struct frame *frame = &w->frame;
    size_t ip = TAG_OFFSET + 2 + (has_tag(frame) ? FRAME_TAG_LEN : 0);
    const uint8_t *high = byte_at(frame, ip - 2), *low = byte_at(frame, ip - 1);
    unsigned type = high && low ? (unsigned)*high << 8 | *low : 0;
    if (type == FLOW_TYPE_IPV4)
        set_dscp_ipv4(frame, ip, action->number);
    else if (type == FLOW_TYPE_IPV6)
        set_dscp_ipv6(frame, ip, action->number);
}

/* --- Where it goes ----------------------------------------------------------------- */

static void output(struct work *w, struct port *to)
{
    if (w->filter == UNASKED)
        w->filter = !w->from || bridge_admits(w->from, &w->frame) ? ALLOWED : DENIED;
    if (w->filter == DENIED)
        return;
    struct frame frame;
    frame_copy(&frame, &w->frame);
    frame.tagged = has_tag(&frame);
    frame.vlan = frame.tagged ? tag_of(&frame) & VLAN_ID_MASK : 0;
    w->bridge->queue = w->queue;
    bridge_output(w->bridge, w->from, to, &frame);
    w->bridge->queue = 0;
}

static void output_to_number(struct work *w, const struct flow_action *action)
{
    struct port *to = bridge_port_numbered(w->bridge, action->number);
    /* Back to where it came from is an action of its own (1.0.0, 5.2.1). */
    if (to && to != w->from)
        output(w, to);
}

static void enqueue(struct work *w, const struct flow_action *action)
{
    uint32_t queue = w->queue;
    w->queue = action->queue;
    output_to_number(w, action);
    w->queue = queue;
}

static void set_queue(struct work *w, const struct flow_action *action)
{
    w->queue = action->queue;
}

static void output_back(struct work *w, const struct flow_action *action)
{
    if (w->from)
        output(w, w->from);
}

static void output_to_all(struct work *w, unsigned but)
{
    for (unsigned i = 0; i < w->bridge->slots_used; i++) {
        struct port *to = w->bridge->slots[i];
        if (to && to != w->from && to->up && !to->mirrors && !(to->config & but))
            output(w, to);
    }
}

static void flood(struct work *w, const struct flow_action *action)
{
    output_to_all(w, PORT_NO_FLOOD);
}

static void output_everywhere(struct work *w, const struct flow_action *action)
{
    output_to_all(w, 0);
}

static void go_normally(struct work *w, const struct flow_action *action)
{
    struct frame frame;
    if (!w->from) {
        flood(w, action);
        return;
    }
    frame_copy(&frame, &w->frame);
    w->bridge->queue = w->queue;
    bridge_forward(w->from, &frame, 1);
    w->bridge->queue = 0;
}

static void tell_controller(struct work *w, uint16_t max_len, bool missed)
{
    const struct frame *frame = &w->frame;
    if (!w->table || (w->from && w->from->config & PORT_NO_PACKET_IN))
        return;
    struct flow_packet *packet = ring_reserve(w->table->packets);
    if (!packet)
        return;
    *packet = (struct flow_packet){.cookie = w->rule->cookie,
                                   .frame_bytes = FRAME_HEAD + frame->rest_bytes,
                                   .in_port = w->from ? w->from->of_number : 0,
                                   .max_len = max_len,
                                   .missed = missed};
    packet->len = (uint16_t)frame_read(frame, packet->bytes, sizeof(packet->bytes));
    ring_publish(w->table->packets);
}

static void go_to_controller(struct work *w, const struct flow_action *action)
{
    tell_controller(w, action->number, false);
}

static void (*const ops[FLOW_OPS])(struct work *w, const struct flow_action *action) = {
    [FLOW_OUTPUT] = output_to_number,
    [FLOW_ENQUEUE] = enqueue,
    [FLOW_SET_QUEUE] = set_queue,
    [FLOW_SET_DSCP] = set_dscp,
    [FLOW_IN_PORT] = output_back,
    [FLOW_NORMAL] = go_normally,
    [FLOW_FLOOD] = flood,
    [FLOW_ALL] = output_everywhere,
    [FLOW_CONTROLLER] = go_to_controller,
    [FLOW_SET_VLAN] = set_vlan,
    [FLOW_SET_PRIORITY] = set_priority,
    [FLOW_PUSH_VLAN] = push_tag,
    [FLOW_POP_VLAN] = pop_tag,
    [FLOW_SET_FROM_MAC] = set_from_mac,
    [FLOW_SET_TO_MAC] = set_to_mac,
};

/* --- Bursts --------------------------------------------------------------------------- */

static void begin(struct work *w, struct flow_table *table, const struct flow_rule *rule,
                  struct bridge *bridge, struct port *from, const struct frame *frame)
{
    w->table = table;
    w->rule = rule;
    w->bridge = bridge;
    w->from = from;
    w->filter = UNASKED;
    w->lost = false;
    w->queue = 0;
    frame_copy(&w->frame, frame);
}

static void execute(struct work *w, const struct flow_actions *actions)
{
    for (unsigned i = 0; i < actions->count && !w->lost; i++)
        ops[actions->list[i].op](w, &actions->list[i]);
    if (w->lost && w->from)
        port_drop(w->from, DROP_TOO_LONG);
}

void flow_table_execute(struct flow_table *table, struct bridge *bridge, struct port *from,
                        const struct flow_actions *actions, struct frame *frame)
{
    static const struct flow_rule none = {0};
    struct work w;
    begin(&w, table, &none, bridge, from, frame);
    w.filter = ALLOWED;
    execute(&w, actions);
}

/* The flow that the frame matches, counted; NULL: nobody can tell what the frame is. */
static struct flow_rule *find(struct flow_table *table, struct port *from, struct frame *frame,
                              unsigned index)
{
    struct flow_key key;
    flow_headers_keep(&burst, index, frame);
    frame->tagged = has_tag(frame);
    frame->vlan = frame->tagged ? (tag_of(frame) & VLAN_ID_MASK) | FLOW_VLAN_PRESENT : 0;
    if (!flow_key_read(&key, &burst.headers[index], frame, from->of_number))
        return NULL;
    struct flow_rule *rule = classifier_find(table->rules, &key);
    if (!rule)
        rule = &table->miss;
    rule->frames++;
    rule->bytes += FRAME_HEAD + frame->rest_bytes;
    rule->used_ns = from->forward->now_ns;
    return rule;
}

static bool is_normal(const struct flow_rule *rule)
{
    return rule && rule->actions && rule->actions->count == 1 &&
           rule->actions->list[0].op == FLOW_NORMAL;
}

/* As samples have it, as far as one look at the actions tells. */
static uint32_t becomes(const struct bridge *bridge, const struct flow_rule *rule)
{
    const struct port *to = NULL;
    unsigned outputs = 0;
    if (!rule)
        return SAMPLE_DROPPED | DROP_MALFORMED;
    for (unsigned i = 0; rule->actions && i < rule->actions->count; i++) {
        const struct flow_action *action = &rule->actions->list[i];
        outputs += action->op <= FLOW_CONTROLLER;
        if (action->op == FLOW_OUTPUT || action->op == FLOW_ENQUEUE)
            to = bridge_port_numbered(bridge, action->number);
    }
    if (outputs == 0)
        return SAMPLE_DROPPED | DROP_FLOW;
    return outputs == 1 && to ? to->number : SAMPLE_FLOODED;
}

static void carry_out(struct flow_table *table, const struct flow_rule *rule, struct port *from,
                      const struct frame *frame)
{
    struct work w;
    bridge_watch(from, frame, becomes(from->bridge, rule));
    if (!rule) {
        port_drop(from, DROP_MALFORMED);
        return;
    }
    begin(&w, table, rule, from->bridge, from, frame);
    if (rule == &table->miss)
        tell_controller(&w, 0, true);
    else if (rule->actions->count == 0)
        port_drop(from, DROP_FLOW);
    else
        execute(&w, rule->actions);
}

void flow_table_receive(struct flow_table *table, struct port *from, struct frame *frames,
                        unsigned count)
{
    unsigned normal = 0; /* frames before this one that go normally and have not yet */
    for (unsigned i = 0; i < count; i++) {
        struct frame *frame = &frames[i];
        const struct flow_rule *rule = find(table, from, frame, i);
        if (is_normal(rule)) {
            normal++;
            continue;
        }
        if (normal)
            bridge_forward(from, frame - normal, normal);
        normal = 0;
        from->counters.in_frames++;
        from->counters.in_bytes += FRAME_HEAD + frame->rest_bytes;
        carry_out(table, rule, from, frame);
    }
    if (normal)
        bridge_forward(from, frames + count - normal, normal);
}
