/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Forwarding; see bridge.h. */
#include "switch/forward/bridge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "switch/filter/filter.h"
#include "switch/forward/admit.h"
#include "switch/forward/flow_table.h"
#include "switch/forward/forward.h"
#include "switch/forward/group_view.h"
#include "switch/forward/offload.h"
#include "switch/forward/screen.h"
#include "switch/forward/shaper.h"
#include "switch/forward/verdicts.h"
#include "switch/monitor/sampler.h"

#define UNKNOWN (-1)

struct bridge *bridge_new(struct forward *forward, const char *name, unsigned mac_entries,
                          uint32_t ageing_s, struct kv_error *err)
{
    struct bridge *bridge = calloc(1, sizeof(*bridge));
    if (!bridge) {
        kv_error_errno(err, KV_ERR_NET, ENOMEM, "bridge '%s'", name);
        return NULL;
    }
    if (mac_table_init(&bridge->macs, mac_entries, ageing_s, err) < 0) {
        free(bridge);
        return NULL;
    }
    snprintf(bridge->name, sizeof(bridge->name), "%s", name);
    bridge->forward = forward;
    list_init(&bridge->ports);
    list_init(&bridge->samplers);
    list_init(&bridge->captures);
    return bridge;
}

void bridge_free(struct bridge *bridge)
{
    mac_table_free(&bridge->macs);
    filter_tables_free(bridge->tables);
    verdict_cache_free(bridge->verdicts);
    free(bridge);
}

int bridge_prepare_filters(struct bridge *bridge, struct kv_error *err)
{
    /* No port has a filter yet, so nobody looks at them but us. */
    if (!bridge->verdicts)
        bridge->verdicts = verdict_cache_new(err);
    if (bridge->verdicts && !bridge->tables)
        bridge->tables = filter_tables_new(err);
    return bridge->tables ? 0 : kv_error_prefix(err, "bridge '%s'", bridge->name);
}

/* The number that it wants, else the lowest that is free; the port of the bridge's name has one of
 * its own. */
static void number(struct bridge *bridge, struct port *port)
{
    uint16_t wanted = port->of_number;
    if (!bridge->local && strcmp(port->name, bridge->name) == 0) {
        bridge->local = port;
        port->of_number = PORT_NUMBER_LOCAL;
        return;
    }
    uint16_t free_number = wanted && !bridge->numbered[wanted] ? wanted : 1;
    while (bridge->numbered[free_number])
        free_number++;
    bridge->numbered[free_number] = port;
    port->of_number = free_number;
}

void bridge_renumber(struct port *port, uint16_t wanted)
{
    struct bridge *bridge = port->bridge;
    if (!wanted || port == bridge->local || bridge->numbered[wanted])
        return;
    bridge->numbered[port->of_number] = NULL;
    port->of_number = wanted;
    number(bridge, port);
}

struct port *bridge_port_numbered(const struct bridge *bridge, uint16_t number)
{
    if (number == PORT_NUMBER_LOCAL)
        return bridge->local;
    return number <= BRIDGE_PORTS_MAX ? bridge->numbered[number] : NULL;
}

int bridge_attach(struct bridge *bridge, struct port *port)
{
    unsigned index = 0;
    while (index < BRIDGE_PORTS_MAX && bridge->slots[index])
        index++;
    if (index == BRIDGE_PORTS_MAX)
        return -ENOSPC;
    bridge->slots[index] = port;
    if (index == bridge->slots_used)
        bridge->slots_used++;
    port->index = (uint16_t)index;
    port->bridge = bridge;
    number(bridge, port);
    return 0;
}

void bridge_mirror(struct port *port, struct port *to, unsigned what)
{
    if (port->mirror)
        port->mirror->mirrors--;
    port->mirror = to;
    port->mirror_what = what;
    if (!to)
        return;
    /* Nobody is behind it any more as far as forwarding goes. */
    to->mirrors++;
    mac_table_remove_port(&port->bridge->macs, to->index);
}

void bridge_detach(struct bridge *bridge, struct port *port)
{
    bridge_mirror(port, NULL, 0);
    for (unsigned i = 0; port->mirrors && i < bridge->slots_used; i++) {
        if (bridge->slots[i] && bridge->slots[i]->mirror == port)
            bridge_mirror(bridge->slots[i], NULL, 0);
    }
    mac_table_remove_port(&bridge->macs, port->index);
    if (bridge->tables)
        conntrack_forget_port(&bridge->tables->conntrack, port->index);
    if (port->shaper)
        shaper_stop(port->shaper);
    bridge->slots[port->index] = NULL;
    if (bridge->local == port)
        bridge->local = NULL;
    else
        bridge->numbered[port->of_number] = NULL;
    while (bridge->slots_used && !bridge->slots[bridge->slots_used - 1])
        bridge->slots_used--;
    port->bridge = NULL;
}

static void add_pending(struct bridge *bridge, struct port *to, unsigned frame)
{
    if (to->pending_count == 0)
        bridge->touched[bridge->touched_count++] = to->index;
    to->pending[to->pending_count++] = (uint8_t)frame;
}

/* One copy for who mirrors the port, though the frame may come in and go out at mirrored ports. */
static void send_copy(struct bridge *bridge, const struct port *port, unsigned frame, unsigned vlan)
{
    struct port *mirror = port->mirror;
    if (port->mirror_vlans && !vlan_set_has(port->mirror_vlans, vlan))
        return;
    if (!mirror->up)
        port_drop(mirror, DROP_DOWN);
    else if (mirror->pending_count == 0 || mirror->pending[mirror->pending_count - 1] != frame)
        add_pending(bridge, mirror, frame);
}

static void send_to(struct bridge *bridge, struct port *to, unsigned frame, unsigned vlan)
{
    add_pending(bridge, to, frame);
    if (__builtin_expect(to->mirror_what & MIRROR_OUT, 0))
        send_copy(bridge, to, frame, vlan);
}

/* --- Filters ---------------------------------------------------------------- */

/* A frame whose headers a filter has to look at. */
struct inspection {
    unsigned index; /* in the burst */
    int kept;       /* index of the last one whose headers were kept, or -1 */
    bool read;      /* its key */
    struct flow_key key;
    struct filter_frame frame;
};

static const struct filter_frame *inspect(struct bridge *bridge, const struct port *from,
                                          struct frame *frame, struct inspection *in)
{
    struct flow_headers *headers = &bridge->tables->burst.headers[in->index];
    if (in->read)
        return &in->frame;
    if (in->kept != (int)in->index)
        flow_headers_keep(&bridge->tables->burst, in->index, frame);
    in->kept = (int)in->index;
    in->read = true;
    bool good = flow_key_read(&in->key, headers, frame, from->index);
    in->frame = (struct filter_frame){good ? &in->key : NULL, headers};
    return &in->frame;
}

/* Whether the port's filter, if it has one, lets the frame through. */
static bool pass(struct bridge *bridge, const struct port *from, struct frame *frame,
                 struct inspection *in, struct port *port, enum filter_direction direction,
                 struct filter_verdict *verdict)
{
    if (__builtin_expect(!port->filter, 1))
        return true;
    const struct filter_frame *inspected = inspect(bridge, from, frame, in);
    filter_check(port, direction, inspected, verdict);
    filter_count(verdict, 1, FRAME_HEAD + frame->rest_bytes);
    return verdict->allowed;
}

/* --- Deciding --------------------------------------------------------------- */

/* Where filters looked at the frame, one that shares its verdict has the same headers. */
static void heed_filters(struct verdict *v, const struct inspection *in)
{
    if (__builtin_expect(in->read && v->again != ALONE, 0))
        v->again = in->frame.headers->shape ? SAME_HEADERS : ALONE;
}

static void flood(struct bridge *bridge, struct port *from, struct frame *frame, unsigned index,
                  struct verdict *v, struct inspection *in)
{
    if (__builtin_expect(from->storm != NULL, 0) &&
        !storm_take(from->storm, frame->head, bridge->forward->now_ns)) {
        port_drop(from, DROP_STORM);
        return;
    }
    from->costly++;
    const uint64_t *hear = NULL;
    if (__builtin_expect(bridge->groups != NULL, 0) && mac_is_group(frame->head))
        hear = group_view_receive(bridge->groups, from, frame);
    for (unsigned i = 0; i < bridge->slots_used; i++) {
        struct port *to = bridge->slots[i];
        struct filter_verdict out;
        if (!to || (hear && !port_set_has(hear, i)) || !port_takes_flood(from, to, frame->vlan))
            continue;
        if (pass(bridge, from, frame, in, to, FILTER_OUT, &out))
            send_to(bridge, to, index, frame->vlan);
        else
            port_drop(to, out.why);
    }
    heed_filters(v, in);
}

static void drop(struct verdict *v, struct port *port, enum port_drop why)
{
    v->drop = true;
    v->port = port;
    v->why = why;
}

static void decide(struct bridge *bridge, struct port *from, struct frame *frame, uint32_t now_s,
                   struct verdict *v, struct inspection *in)
{
    const uint8_t *to_mac = frame->head, *from_mac = frame->head + 6;
    *v = (struct verdict){.again = SAME_HEAD};
    memcpy(v->head, frame->head, FRAME_HEAD);
    if (!admit_frame(&from->vlans, frame)) {
        drop(v, from, DROP_VLAN);
        return;
    }
    v->admitted = true;
    v->vlan = frame->vlan;
    v->tagged = frame->tagged;
    v->service = frame->service;
    /* Frames whose head was written anew, and those that are counted one by one, stand alone. */
    v->again = memcmp(v->head, frame->head, FRAME_HEAD) == 0 ? SAME_HEAD : ALONE;
    if (__builtin_expect(mac_is_group(from_mac), 0)) {
        drop(v, from, DROP_MALFORMED);
        return;
    }
    if (!pass(bridge, from, frame, in, from, FILTER_IN, &v->in)) {
        v->admitted = false;
        drop(v, from, v->in.why);
        return;
    }
    enum mac_learned learned = mac_table_learn(&bridge->macs, mac_key(from_mac, frame->vlan),
                                               from->index, now_s, from->mac_limit);
    from->costly += (learned != MAC_KNOWN) + v->in.begins;
    if (learned >= MAC_OVER_LIMIT) {
        port_drop(from, DROP_NOT_LEARNED);
        v->again = ALONE;
    }
    int known = UNKNOWN;
    if (!mac_is_group(to_mac)) {
        known = mac_table_find(&bridge->macs, mac_key(to_mac, frame->vlan), now_s);
    } else if (mac_is_reserved(to_mac)) {
        drop(v, from, DROP_RESERVED);
        return;
    }
    v->flood = known == UNKNOWN;
    if (v->flood)
        return;
    struct port *to = v->port = bridge->slots[known];
    if (to == from)
        drop(v, from, DROP_HAIRPIN);
    else if (!to->up)
        drop(v, to, DROP_DOWN);
    else if (!port_carries(&to->vlans, frame->vlan))
        drop(v, to, DROP_NOT_MEMBER);
    else if (ports_are_apart(from, to))
        drop(v, from, DROP_ISOLATED);
    else if (!pass(bridge, from, frame, in, to, FILTER_OUT, &v->out))
        drop(v, to, v->out.why);
    from->costly += v->out.begins;
}

static inline bool has_head(const struct verdict *v, const struct frame *frame)
{
    uint64_t head[2];
    memcpy(head, frame->head, sizeof(head));
    return head[0] == v->head[0] && head[1] == v->head[1];
}

/* Frames of a burst, one after the other, that share a verdict and that its rules did not count
 * yet.
 */
struct run {
    uint64_t frames, bytes;
};

static inline void count_run(const struct verdict *v, struct run *run)
{
    filter_count(&v->in, run->frames, run->bytes);
    filter_count(&v->out, run->frames, run->bytes);
    *run = (struct run){0};
}

/* Who wants a sample of the frame, the verdict on which is v, gets it. */
static void take_sample(struct bridge *bridge, const struct port *from, const struct frame *frame,
                        const struct verdict *v)
{
    uint32_t out = v->drop    ? SAMPLE_DROPPED | (uint32_t)v->why
                   : v->flood ? SAMPLE_FLOODED
                              : v->port->number;
    sampler_take(bridge, from, frame, out);
}

/* --- Sending ---------------------------------------------------------------- */

/* What is pending at the port, of a burst that came in at from. */
static inline void send_pending(const struct port *from, struct port *to,
                                const struct frame *frames)
{
    if (__builtin_expect(to->config & (PORT_NO_FORWARD | PORT_DISABLED | PORT_BLOCKED), 0))
        to->counters.drops[DROP_DISABLED] += to->pending_count;
    else if (__builtin_expect(to->shaper != NULL, 0))
        shaper_send(to->shaper, from, frames);
    else if (__builtin_expect(from && from->leaves & ~to->takes, 0))
        offload_send(to, frames);
    else
        to->ops->send(to, frames);
    to->pending_count = 0;
}

static void send_touched(struct bridge *bridge, const struct port *from, const struct frame *frames)
{
    for (unsigned i = 0; i < bridge->touched_count; i++)
        send_pending(from, bridge->slots[bridge->touched[i]], frames);
    bridge->touched_count = 0;
}

void bridge_watch(struct port *from, const struct frame *frame, uint32_t out)
{
    struct bridge *bridge = from->bridge;
    struct frame own;
    bool sampled = bridge->sample_in != 0 && --bridge->sample_in == 0;
    if (!sampled && !(from->mirror_what & MIRROR_IN))
        return;
    frame_copy(&own, frame);
    admit_frame(&from->vlans, &own);
    if (sampled)
        sampler_take(bridge, from, &own, out);
    if (from->mirror_what & MIRROR_IN) {
        send_copy(bridge, from, 0, own.vlan);
        send_touched(bridge, from, &own);
    }
}

bool bridge_admits(struct port *from, const struct frame *frame)
{
    struct inspection in = {.kept = -1};
    struct filter_verdict verdict;
    struct frame own;
    frame_copy(&own, frame);
    /* Flows decide on VLANs, but rules may ask for them. */
    admit_frame(&from->vlans, &own);
    if (pass(from->bridge, from, &own, &in, from, FILTER_IN, &verdict))
        return true;
    port_drop(from, verdict.why);
    return false;
}

void bridge_output(struct bridge *bridge, const struct port *from, struct port *to,
                   struct frame *frame)
{
    struct inspection in = {.kept = -1};
    struct filter_verdict verdict;
    if (!to->up) {
        port_drop(to, DROP_DOWN);
        return;
    }
    if (to->mirrors)
        return;
    if (!pass(bridge, from ? from : to, frame, &in, to, FILTER_OUT, &verdict)) {
        port_drop(to, verdict.why);
        return;
    }
    unsigned vlan = frame->vlan;
    /* A frame of the port's own VLAN goes untagged, of any other with the tag that it has. */
    frame->vlan = frame->tagged ? to->vlans.untagged ^ 1 : to->vlans.untagged;
    send_to(bridge, to, 0, vlan);
    send_touched(bridge, from, frame);
}

/* --- Receiving -------------------------------------------------------------- */

/* Leaves those of the burst that are not too fast at its front; returns how many. */
static unsigned police(struct port *from, struct frame *frames, unsigned count)
{
    unsigned left = 0;
    for (unsigned i = 0; i < count; i++) {
        uint32_t bytes = FRAME_HEAD + frames[i].rest_bytes;
        if (meter_take(from->meter, bytes, from->forward->now_ns)) {
            if (left != i)
                frame_copy(&frames[left], &frames[i]);
            left++;
            continue;
        }
        port_drop(from, DROP_POLICED);
        from->counters.in_frames++;
        from->counters.in_bytes += bytes;
    }
    return left;
}

void bridge_receive(struct port *from, struct frame *frames, unsigned count)
{
    if (__builtin_expect(from->mirrors, 0)) {
        from->counters.drops[DROP_MIRROR] += count;
        return;
    }
    if (__builtin_expect(from->config & (PORT_NO_RECEIVE | PORT_DISABLED | PORT_SCREENED), 0)) {
        if (from->config & (PORT_NO_RECEIVE | PORT_DISABLED)) {
            from->counters.drops[DROP_DISABLED] += count;
            return;
        }
        count = screen_receive(from, frames, count);
    }
    if (__builtin_expect(from->meter != NULL, 0))
        count = police(from, frames, count);
    struct flow_table *flows = from->bridge->flows;
    if (__builtin_expect(flows != NULL, 0))
        flow_table_receive(flows, from, frames, count);
    else
        bridge_forward(from, frames, count);
}

void bridge_forward(struct port *from, struct frame *frames, unsigned count)
{
    struct bridge *bridge = from->bridge;
    uint32_t now_s = bridge->forward->now_s;
    struct verdict v = {.again = ALONE};
    struct inspection in = {.kept = -1};
    struct run run = {0};
    uint64_t bytes = 0;
    /* Its own filter looks at all frames, its peers' filters at those that are like the last. */
    bool kept = from->filter || from->filtered;
    if (__builtin_expect(kept, 0))
        verdicts_prepare(bridge->verdicts, &bridge->tables->burst, from->index, frames, count);
    for (unsigned i = 0; i < count; i++) {
        struct frame *frame = &frames[i];
        bytes += FRAME_HEAD + frame->rest_bytes;
        /* Neighbours in a burst mostly go the same way. */
        bool same = v.again == SAME_HEAD && has_head(&v, frame);
        if (kept && !same) {
            same = v.again == SAME_HEADERS && bridge->verdicts->repeats[i];
            if (!same) {
                count_run(&v, &run);
                same = verdicts_find(bridge->verdicts, &bridge->tables->burst, i, from, &v);
            }
            run.frames += same;
            run.bytes += same ? FRAME_HEAD + frame->rest_bytes : 0;
        }
        if (same) {
            frame->vlan = v.vlan;
            frame->tagged = v.tagged;
            frame->service = v.service;
        } else {
            uint64_t stamp = verdict_stamp(bridge);
            in.index = i;
            in.kept = kept ? (int)i : -1;
            in.read = false;
            decide(bridge, from, frame, now_s, &v, &in);
            heed_filters(&v, &in);
            if (kept && v.again == SAME_HEADERS && !v.flood && verdict_stamp(bridge) == stamp)
                verdicts_keep(bridge->verdicts, &bridge->tables->burst, i, from, &v, stamp);
        }
        if (__builtin_expect(from->mirror_what & MIRROR_IN && v.admitted, 0))
            send_copy(bridge, from, i, frame->vlan);
        if (__builtin_expect(bridge->sample_in != 0, 0) && --bridge->sample_in == 0)
            take_sample(bridge, from, frame, &v);
        if (__builtin_expect(v.drop, 0))
            port_drop(v.port, v.why);
        else if (v.flood)
            flood(bridge, from, frame, i, &v, &in);
        else
            send_to(bridge, v.port, i, frame->vlan);
    }
    if (kept)
        count_run(&v, &run);
    from->filtered = v.again == SAME_HEADERS;
    from->counters.in_frames += count;
    from->counters.in_bytes += bytes;
    send_touched(bridge, from, frames);
}
