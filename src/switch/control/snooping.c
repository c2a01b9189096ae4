/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snooping; see snooping.h. */
#include "switch/control/snooping.h"

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"
#include "switch/control/protocols.h"
#include "switch/forward/forward.h"
#include "switch/forward/group_view.h"
#include "switch/protocols/groups.h"

#define PUBLISH_NS INT64_C(20000000) /* what comes one by one is published together */
#define TICK_NS INT64_C(1000000000)

struct snooping {
    struct bridge *bridge;
    struct loop *loop;
    struct loop_timer tick, publish;
    struct snooping_options options;
    struct groups groups;
};

static uint32_t now_s(void)
{
    return (uint32_t)(clock_monotonic_ns() / TICK_NS);
}

/* --- Publishing ------------------------------------------------------------------ */

struct view_task {
    struct bridge *bridge;
    struct group_view *view;
};

static void swap_here(void *opaque)
{
    struct view_task *task = opaque;
    struct group_view *old = task->bridge->groups;
    task->bridge->groups = task->view;
    task->view = old;
}

static void swap(struct bridge *bridge, struct group_view *view)
{
    struct view_task task = {bridge, view};
    forward_run(bridge->forward, swap_here, &task);
    free(task.view);
}

static int compare(const void *a, const void *b)
{
    const struct groups_entry *x = a, *y = b;
    return (x->group > y->group) - (x->group < y->group);
}

static void merge(uint64_t *set, const uint64_t *other)
{
    for (unsigned i = 0; i < GROUP_WORDS; i++)
        set[i] |= other[i];
}

/* Entries are by group, routers first. NULL: no memory. */
static struct group_view *make_view(const struct snooping *snooping)
{
    const struct groups *groups = &snooping->groups;
    struct group_view *view = calloc(1, sizeof(*view) + groups->count * sizeof(struct group_row));
    if (!view)
        return NULL;
    view->flood_unregistered = !snooping->options.drop_unregistered;
    list_for_each (node, &snooping->bridge->ports) {
        const struct port *port = list_entry(node, struct port, node);
        if (port->all_groups)
            port_set_add(view->unregistered, port->index);
        if (port->all_reports)
            port_set_add(view->reports, port->index);
    }
    for (unsigned i = 0; i < groups->count; i++) {
        const struct groups_entry *entry = &groups->entries[i];
        if (entry->group == 0) {
            port_set_add(view->unregistered, entry->port);
            port_set_add(view->reports, entry->port);
            continue;
        }
        if (!view->count || view->rows[view->count - 1].group != entry->group) {
            view->rows[view->count++].group = entry->group;
            merge(view->rows[view->count - 1].ports, view->unregistered);
        }
        port_set_add(view->rows[view->count - 1].ports, entry->port);
    }
    return view;
}

static void publish(void *opaque)
{
    struct snooping *snooping = opaque;
    qsort(snooping->groups.entries, snooping->groups.count, sizeof(struct groups_entry), compare);
    struct group_view *view = make_view(snooping);
    /* What is there stays until there is memory. */
    if (view)
        swap(snooping->bridge, view);
    else
        loop_timer_arm(snooping->loop, &snooping->publish, TICK_NS, publish, snooping);
}

static void publish_soon(struct snooping *snooping)
{
    if (!snooping->publish.loop)
        loop_timer_arm(snooping->loop, &snooping->publish, PUBLISH_NS, publish, snooping);
}

/* --- Changes ---------------------------------------------------------------------- */

static void on_tick(void *opaque)
{
    struct snooping *snooping = opaque;
    if (groups_expire(&snooping->groups, now_s()))
        publish_soon(snooping);
    if (snooping->groups.count)
        loop_timer_arm(snooping->loop, &snooping->tick, TICK_NS, on_tick, snooping);
}

void snooping_hear(struct port *port, uint16_t vlan, const uint8_t *bytes, size_t len)
{
    struct snooping *snooping = port->bridge->snooping;
    struct groups_message message;
    if (!snooping || !groups_parse(&message, bytes, len))
        return;
    if (groups_hear(&snooping->groups, &message, port->index, vlan, port->fast_leave, now_s()))
        publish_soon(snooping);
    if (!snooping->tick.loop)
        loop_timer_arm(snooping->loop, &snooping->tick, TICK_NS, on_tick, snooping);
}

void snooping_forget_port(struct bridge *bridge, const struct port *port)
{
    /* Its index may be another's next. */
    if (bridge->snooping && groups_forget_port(&bridge->snooping->groups, port->index))
        publish(bridge->snooping);
}

void snooping_port_changed(struct bridge *bridge)
{
    if (bridge->snooping)
        publish_soon(bridge->snooping);
}

/* --- Begin and end ----------------------------------------------------------------- */

static struct snooping *begin(struct bridge *bridge, struct loop *loop)
{
    struct snooping *snooping = calloc(1, sizeof(*snooping));
    if (snooping) {
        snooping->bridge = bridge;
        snooping->loop = loop;
    }
    return snooping;
}

int snooping_set(struct bridge *bridge, struct loop *loop, const struct snooping_options *options,
                 struct kv_error *err)
{
    struct snooping *snooping = bridge->snooping;
    struct groups groups;
    if (!options->on) {
        snooping_stop(bridge);
        return 0;
    }
    int rc = protocols_start(bridge, loop, err);
    if (rc < 0)
        return rc;
    bool resized = !snooping || snooping->groups.max != options->groups;
    if (!snooping)
        snooping = begin(bridge, loop);
    if (!snooping || (resized && groups_init(&groups, (unsigned)options->groups, 0) < 0)) {
        if (!bridge->snooping)
            free(snooping);
        return kv_error_errno(err, KV_ERR_NET, ENOMEM, "groups of bridge '%s'", bridge->name);
    }
    if (resized) {
        groups_free(&snooping->groups);
        snooping->groups = groups;
    }
    snooping->groups.ageing_s = (uint32_t)options->ageing;
    snooping->options = *options;
    bridge->snooping = snooping;
    publish(snooping);
    return 0;
}

void snooping_stop(struct bridge *bridge)
{
    struct snooping *snooping = bridge->snooping;
    if (!snooping)
        return;
    loop_timer_cancel(&snooping->tick);
    loop_timer_cancel(&snooping->publish);
    swap(bridge, NULL);
    groups_free(&snooping->groups);
    free(snooping);
    bridge->snooping = NULL;
}

/* --- Telling ------------------------------------------------------------------------ */

json_t *snooping_list(const struct bridge *bridge)
{
    json_t *list = json_array();
    const struct snooping *snooping = bridge->snooping;
    for (unsigned i = 0; snooping && i < snooping->groups.count; i++) {
        const struct groups_entry *entry = &snooping->groups.entries[i];
        const uint8_t *mac = (const uint8_t *)&entry->group;
        json_t *row = json_pack("{s:s, s:I}", "port", bridge->slots[entry->port]->name, "expires",
                                (json_int_t)(int32_t)(entry->until_s - now_s()));
        if (entry->group) {
            json_object_set_new(row, "group",
                                json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
                                             mac[2], mac[3], mac[4], mac[5]));
            json_object_set_new(row, "vlan",
                                json_integer((json_int_t)(entry->group >> 48 & VLAN_ID_MASK)));
        }
        json_array_append_new(list, row);
    }
    return list;
}

void snooping_describe(const struct bridge *bridge, json_t *row)
{
    const struct snooping *snooping = bridge->snooping;
    if (!snooping)
        return;
    json_object_set_new(row, "snooping", json_true());
    json_object_set_new(row, "snooping-ageing", json_integer((json_int_t)snooping->options.ageing));
    json_object_set_new(row, "snooping-groups", json_integer((json_int_t)snooping->options.groups));
    if (snooping->options.drop_unregistered)
        json_object_set_new(row, "drop-unregistered", json_true());
}
