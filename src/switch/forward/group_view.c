/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who hears a frame to a group; see group_view.h. */
#include "switch/forward/group_view.h"

#include "base/util.h"
#include "switch/forward/forward.h"
#include "switch/forward/screen.h"
#include "switch/protocols/groups.h"

#define LOOKED_AT 96 /* bytes: a tag, IP with options, the type of a message */

const uint64_t *group_view_find(const struct group_view *view, const uint8_t *to_mac, unsigned vlan)
{
    const uint64_t group = mac_key(to_mac, vlan);
    unsigned first = 0, end = view->count;
    if (groups_is_for_all(to_mac))
        return NULL;
    while (first < end) {
        unsigned middle = (first + end) / 2;
        if (view->rows[middle].group < group)
            first = middle + 1;
        else
            end = middle;
    }
    if (first < view->count && view->rows[first].group == group)
        return view->rows[first].ports;
    return view->flood_unregistered ? NULL : view->unregistered;
}

/* Whether there is time for one more message of the port. */
static bool may_be_heard(struct group_view *view, const struct port *from)
{
    if (view->heard_s != from->forward->now_s) {
        view->heard_s = from->forward->now_s;
        memset(view->heard, 0, sizeof(view->heard));
    }
    return view->heard[from->index] < GROUP_HEARD_MAX && view->heard[from->index]++ < UINT8_MAX;
}

const uint64_t *group_view_receive(struct group_view *view, struct port *from,
                                   const struct frame *frame)
{
    uint8_t bytes[LOOKED_AT];
    size_t len = frame_read(frame, bytes, sizeof(bytes));
    enum groups_kind kind = groups_kind_of(bytes, MIN(len, sizeof(bytes)));
    if (kind == GROUPS_NONE)
        return group_view_find(view, frame->head, frame->vlan);
    if (may_be_heard(view, from))
        screen_tell(from, frame);
    /* Stations that hear others' reports keep silent, and would be forgotten (RFC 4541, 2.1.1). */
    return kind == GROUPS_REPORT ? view->reports : NULL;
}
