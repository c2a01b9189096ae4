/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Links of a bond; see bond_links.h. */
#include "switch/protocols/bond_links.h"

static bool any_used(const struct bond_link *links, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (links[i].used)
            return true;
    }
    return false;
}

bool bond_links_update(struct bond_link *links, unsigned count, const struct bond_delays *delays,
                       int64_t now_ns)
{
    bool changed = false;
    for (unsigned i = 0; i < count; i++) {
        struct bond_link *link = &links[i];
        if (link->may == link->used) {
            link->since_ns = 0;
            continue;
        }
        if (!link->since_ns)
            link->since_ns = now_ns;
        int64_t delay = !link->may ? delays->down_ns : any_used(links, count) ? delays->up_ns : 0;
        if (now_ns - link->since_ns < delay)
            continue;
        link->used = link->may;
        link->since_ns = 0;
        changed = true;
    }
    return changed;
}

int bond_links_choose(const struct bond_link *links, unsigned count, int was, int primary)
{
    if (primary >= 0 && links[primary].used)
        return primary;
    if (was >= 0 && (unsigned)was < count && links[was].used)
        return was;
    for (unsigned i = 0; i < count; i++) {
        if (links[i].used)
            return (int)i;
    }
    return BOND_LINK_NONE;
}
