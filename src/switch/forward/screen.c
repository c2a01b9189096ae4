/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames of protocols; see screen.h. */
#include "switch/forward/screen.h"

#include "base/util.h"
#include "switch/forward/admit.h"
#include "switch/forward/bond.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"
#include "switch/monitor/ring.h"

void screen_init(struct screen *screen)
{
    *screen = (struct screen){.state = SCREEN_FORWARDING};
    ratelimit_init(&screen->pace, SCREEN_PACE, 0);
}

/* --- Telling the control thread ---------------------------------------------- */

void screen_tell(struct port *from, const struct frame *frame)
{
    struct ring *ring = from->bridge->protocol_frames;
    if (!ring)
        return;
    struct screen_record *record = ring_reserve(ring);
    if (!record)
        return;
    record->port = from->number;
    record->len = (uint16_t)(FRAME_HEAD + frame->rest_bytes);
    record->vlan = frame->vlan;
    frame_read(frame, record->bytes, SCREEN_BYTES);
    ring_publish(ring);
}

/* Which of a neighbour's protocols the frame is of (802.1Q table 8-1); 0: of none. */
static unsigned neighbour_protocol(const struct frame *frame)
{
    if (!mac_is_reserved(frame->head))
        return 0;
    return frame->head[5] == 2 ? SCREEN_LACP : frame->head[5] == 0 ? SCREEN_RSTP : 0;
}

/* --- Receiving --------------------------------------------------------------- */

static void learn(struct port *from, struct frame *frame)
{
    if (admit_frame(&from->vlans, frame) && !mac_is_group(frame->head + 6))
        mac_table_learn(&from->bridge->macs, mac_key(frame->head + 6, frame->vlan), from->index,
                        from->forward->now_s, from->mac_limit);
}

/* Whether the frame goes on. */
static bool look(struct port *from, struct frame *frame)
{
    struct screen *screen = from->screen;
    if (neighbour_protocol(frame) & screen->protocols) {
        if (ratelimit_take(&screen->pace, 1, from->forward->now_ns) == 0)
            screen_tell(from, frame);
        return false;
    }
    if (__builtin_expect(screen->state == SCREEN_FORWARDING, 1))
        return true;
    if (screen->state == SCREEN_LEARNING)
        learn(from, frame);
    port_drop(from, DROP_BLOCKED);
    return false;
}

unsigned screen_receive(struct port *from, struct frame *frames, unsigned count)
{
    struct bond *bond = from->screen->bond;
    unsigned left = 0;
    for (unsigned i = 0; i < count; i++) {
        uint32_t bytes = FRAME_HEAD + frames[i].rest_bytes;
        bool goes_on = look(from, &frames[i]);
        if (!goes_on || bond) {
            from->counters.in_frames++;
            from->counters.in_bytes += bytes;
        }
        if (!goes_on)
            continue;
        if (left != i)
            frame_copy(&frames[left], &frames[i]);
        left++;
    }
    if (!bond)
        return left;
    bond_receive(bond, from, frames, left);
    return 0;
}

/* --- Sending ------------------------------------------------------------------ */

void screen_send(struct port *to, const uint8_t *bytes, size_t len)
{
    struct frame frame = {.vlan = to->vlans.untagged};
    frame_set_bytes(&frame, bytes, len);
    to->pending[0] = 0;
    to->pending_count = 1;
    if (to->up)
        to->ops->send(to, &frame);
    to->pending_count = 0;
}
