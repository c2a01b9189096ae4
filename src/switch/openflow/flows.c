/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flows; see flows.h. */
#include "switch/openflow/flows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "switch/forward/forward.h"
#include "switch/openflow/actions.h"
#include "switch/openflow/match.h"

#define SECOND_NS INT64_C(1000000000)

/* --- Flows and actions ----------------------------------------------------------- */

static struct flow_actions *actions_copy(const struct flow_actions *actions)
{
    size_t size = offsetof(struct flow_actions, list) + actions->count * sizeof(*actions->list);
    struct flow_actions *copy = malloc(size);
    return copy ? memcpy(copy, actions, size) : NULL;
}

static void flow_free(struct ofp_flow *flow)
{
    free(flow->actions);
    free(flow);
}

static struct ofp_flow *flow_new(const struct ofp_flow *model, const struct flow_actions *actions)
{
    struct ofp_flow *flow = malloc(sizeof(*flow));
    if (!flow)
        return NULL;
    *flow = *model;
    flow->actions = actions_copy(actions);
    if (!flow->actions) {
        free(flow);
        return NULL;
    }
    flow->rule.actions = flow->actions;
    flow->rule.frames = model->frames;
    flow->rule.bytes = model->bytes;
    flow->rule.used_ns = model->used_ns;
    flow->created_ns = clock_monotonic_ns();
    list_init(&flow->node);
    list_init(&flow->bucket);
    list_init(&flow->fresh);
    return flow;
}

static void free_all(struct list *list)
{
    list_for_each_safe (node, list) {
        list_del(node);
        flow_free(list_entry(node, struct ofp_flow, node));
    }
}

int flows_init(struct flows *flows, struct bridge *bridge, struct ring *packets)
{
    const struct ofp_flow all = {0};
    const struct flow_actions normal = {.count = 1, .list = {{.op = FLOW_NORMAL}}};
    *flows = (struct flows){.bridge = bridge, .packets = packets};
    list_init(&flows->list);
    list_init(&flows->removed);
    list_init(&flows->fresh);
    for (unsigned i = 0; i < FLOW_BUCKETS; i++)
        list_init(&flows->buckets[i]);
    if (flow_secret_make(&flows->secret) < 0 || flows_add(flows, &all, &normal) != OFP_OK)
        return -ENOMEM;
    return flows_publish(flows);
}

static bool is_same_match(const struct flow_match *a, const struct flow_match *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

bool flow_is_selected(const struct ofp_flow *flow, const struct flow_selection *selection)
{
    if ((flow->rule.cookie ^ selection->cookie) & selection->cookie_mask)
        return false;
    if (selection->out_port != OFPP_NONE &&
        !ofp_actions_send_to(flow->actions, selection->out_port))
        return false;
    if (selection->strict)
        return flow->priority == selection->priority &&
               is_same_match(&flow->match, &selection->match);
    return ofp_match_covers(&selection->match, &flow->match);
}

/* --- Finding ------------------------------------------------------------------------ */

static struct list *bucket_of(struct flows *flows, const struct ofp_flow *flow)
{
    uint64_t hash = 0;
    for (unsigned i = 0; i < FLOW_KEY_WORDS; i++) {
        hash = flow_hash_add(hash, flow_key_word(&flow->match.key, i), &flows->secret);
        hash = flow_hash_add(hash, flow_key_word(&flow->match.mask, i), &flows->secret);
    }
    return &flows->buckets[hash % FLOW_BUCKETS];
}

/* The one with the model's match and priority, or NULL. */
static struct ofp_flow *find(struct flows *flows, const struct ofp_flow *model)
{
    list_for_each (node, bucket_of(flows, model)) {
        struct ofp_flow *flow = list_entry(node, struct ofp_flow, bucket);
        if (flow->priority == model->priority && is_same_match(&flow->match, &model->match))
            return flow;
    }
    return NULL;
}

/* Where the mask is counted, or mask_count. */
static unsigned find_mask(const struct flows *flows, const struct flow_key *mask)
{
    unsigned i = 0;
    while (i < flows->mask_count && memcmp(&flows->masks[i].bits, mask, sizeof(*mask)) != 0)
        i++;
    return i;
}

static bool overlaps(const struct flows *flows, const struct ofp_flow *model)
{
    list_for_each (node, &flows->list) {
        const struct ofp_flow *flow = list_entry(node, struct ofp_flow, node);
        if (flow->priority == model->priority && ofp_match_overlaps(&flow->match, &model->match))
            return true;
    }
    return false;
}

/* --- Changes ------------------------------------------------------------------------ */

/* behind: the node that it comes in front of. There is room for its mask. */
static void insert(struct flows *flows, struct ofp_flow *flow, struct list *behind)
{
    unsigned mask = find_mask(flows, &flow->match.mask);
    if (mask == flows->mask_count) {
        flows->masks[mask].bits = flow->match.mask;
        flows->masks[mask].flows = 0;
        flows->mask_count++;
    }
    flows->masks[mask].flows++;
    list_add_tail(behind, &flow->node);
    list_add_tail(bucket_of(flows, flow), &flow->bucket);
    list_add_tail(&flows->fresh, &flow->fresh);
    flows->count++;
    flows->changed = true;
}

static void remove_flow(struct flows *flows, struct ofp_flow *flow)
{
    unsigned mask = find_mask(flows, &flow->match.mask);
    if (--flows->masks[mask].flows == 0)
        flows->masks[mask] = flows->masks[--flows->mask_count];
    list_del(&flow->bucket);
    list_del(&flow->fresh);
    list_del(&flow->node);
    list_add_tail(&flows->removed, &flow->node);
    flows->count--;
    flows->matched += flow->frames;
    if (flows->own == flow)
        flows->own = NULL;
    flows->changed = true;
}

enum ofp_error flows_add(struct flows *flows, const struct ofp_flow *model,
                         const struct flow_actions *actions)
{
    struct ofp_flow *old = find(flows, model);
    if (!old && model->flags & OFPFF_CHECK_OVERLAP && overlaps(flows, model))
        return OFP_FLOW_OVERLAP;
    if (!old &&
        (flows->count == FLOWS_MAX || find_mask(flows, &model->match.mask) == CLASSIFIER_MASKS_MAX))
        return OFP_FLOW_TABLE_FULL;
    struct ofp_flow *flow = flow_new(model, actions);
    if (!flow)
        return OFP_FLOW_TABLE_FULL;
    /* It takes the other's place, with counters of its own, and nobody is told. */
    if (old)
        remove_flow(flows, old);
    insert(flows, flow, &flows->list);
    return OFP_OK;
}

enum ofp_error flows_modify(struct flows *flows, const struct flow_selection *selection,
                            const struct flow_actions *actions, bool reset, unsigned *count)
{
    *count = 0;
    flows_count(flows);
    list_for_each_safe (node, &flows->list) {
        struct ofp_flow *flow = list_entry(node, struct ofp_flow, node);
        if (!flow_is_selected(flow, selection))
            continue;
        ++*count;
        struct ofp_flow model = *flow;
        if (reset)
            model.frames = model.bytes = 0;
        struct ofp_flow *changed = flow_new(&model, actions);
        if (!changed)
            return OFP_FLOW_TABLE_FULL;
        changed->created_ns = flow->created_ns;
        /* In the same place. */
        insert(flows, changed, &flow->node);
        remove_flow(flows, flow);
    }
    return OFP_OK;
}

void flows_delete(struct flows *flows, const struct flow_selection *selection,
                  flow_removed_fn *removed, void *opaque)
{
    flows_count(flows);
    list_for_each_safe (node, &flows->list) {
        struct ofp_flow *flow = list_entry(node, struct ofp_flow, node);
        if (!flow_is_selected(flow, selection))
            continue;
        remove_flow(flows, flow);
        removed(opaque, flow, OFPRR_DELETE);
    }
}

static int64_t deadline_of(const struct ofp_flow *flow, enum ofp_removed *why)
{
    int64_t hard = flow->hard_s ? flow->created_ns + flow->hard_s * SECOND_NS : INT64_MAX;
    int64_t used = MAX(flow->used_ns, flow->created_ns);
    int64_t idle = flow->idle_s ? used + flow->idle_s * SECOND_NS : INT64_MAX;
    *why = hard <= idle ? OFPRR_HARD_TIMEOUT : OFPRR_IDLE_TIMEOUT;
    return MIN(hard, idle);
}

/* --- Counters --------------------------------------------------------------------------- */

static void add_ports(const struct bridge *bridge, uint64_t *frames, uint64_t *bytes)
{
    for (unsigned i = 0; i < bridge->slots_used; i++) {
        if (!bridge->slots[i])
            continue;
        *frames += bridge->slots[i]->counters.in_frames;
        *bytes += bridge->slots[i]->counters.in_bytes;
    }
}

static void count_here(void *opaque)
{
    struct flows *flows = opaque;
    struct bridge *bridge = flows->bridge;
    uint64_t frames = 0, bytes = 0;
    add_ports(bridge, &frames, &bytes);
    list_for_each (node, &flows->list) {
        struct ofp_flow *flow = list_entry(node, struct ofp_flow, node);
        /* Without a table what came in is the one flow's; ports that went took theirs along. */
        if (flow == flows->own && frames > flows->own_frames && bytes > flows->own_bytes) {
            flow->rule.frames += frames - flows->own_frames;
            flow->rule.bytes += bytes - flows->own_bytes;
            flow->rule.used_ns = bridge->forward->now_ns;
        }
        flow->frames = flow->rule.frames;
        flow->bytes = flow->rule.bytes;
        flow->used_ns = flow->rule.used_ns;
    }
    flows->own_frames = frames;
    flows->own_bytes = bytes;
}

void flows_count(struct flows *flows)
{
    forward_run(flows->bridge->forward, count_here, flows);
}

void flows_lookups(const struct flows *flows, uint64_t *matched, uint64_t *missed)
{
    *matched = flows->matched;
    *missed = flows->missed + (flows->table ? flows->table->miss.frames : 0);
    list_for_each (node, &flows->list)
        *matched += list_entry(node, struct ofp_flow, node)->frames;
}

int64_t flows_expire(struct flows *flows, flow_removed_fn *removed, void *opaque)
{
    int64_t now_ns = clock_monotonic_ns(), next_ns = INT64_MAX;
    flows_count(flows);
    list_for_each_safe (node, &flows->list) {
        struct ofp_flow *flow = list_entry(node, struct ofp_flow, node);
        enum ofp_removed why;
        int64_t deadline_ns = deadline_of(flow, &why);
        if (deadline_ns > now_ns) {
            next_ns = MIN(next_ns, deadline_ns);
            continue;
        }
        remove_flow(flows, flow);
        removed(opaque, flow, why);
    }
    return next_ns == INT64_MAX ? 0 : next_ns - now_ns;
}

/* --- Publishing ------------------------------------------------------------------------ */

/* All frames go the bridge's own way: no table is needed. */
static bool is_own_way(const struct flows *flows)
{
    if (flows->count != 1)
        return false;
    const struct ofp_flow *flow = list_entry(flows->list.next, struct ofp_flow, node);
    static const struct flow_match all = {0};
    return is_same_match(&flow->match, &all) && flow->actions->count == 1 &&
           flow->actions->list[0].op == FLOW_NORMAL && !flow->idle_s;
}

static void table_free(struct flow_table *table)
{
    if (!table)
        return;
    classifier_free(table->rules);
    free(table);
}

static struct flow_table *table_new(struct flows *flows)
{
    struct kv_error ignored = {0};
    struct flow_table *table = calloc(1, sizeof(*table));
    if (!table)
        return NULL;
    table->packets = flows->packets;
    table->rules = classifier_new(&ignored);
    int rc = table->rules ? 0 : -ENOMEM;
    list_for_each (node, &flows->list) {
        struct ofp_flow *flow = list_entry(node, struct ofp_flow, node);
        if (rc == 0)
            rc = classifier_add(table->rules, &flow->match, flow->priority, &flow->rule);
    }
    if (rc == 0)
        return table;
    table_free(table);
    return NULL;
}

struct swap {
    struct bridge *bridge;
    struct flow_table *table;
};

static void swap_here(void *opaque)
{
    struct swap *swap = opaque;
    struct flow_table *old = swap->bridge->flows;
    swap->bridge->flows = swap->table;
    swap->table = old;
}

struct patch {
    struct flows *flows;
    int rc;
};

/* Of the flows that have this one's match the one with the highest priority is in the table. */
static void settle(struct patch *patch, const struct ofp_flow *changed)
{
    struct ofp_flow *best = NULL;
    list_for_each (node, bucket_of(patch->flows, changed)) {
        struct ofp_flow *flow = list_entry(node, struct ofp_flow, bucket);
        if (is_same_match(&flow->match, &changed->match) &&
            (!best || flow->priority > best->priority))
            best = flow;
    }
    int rc = classifier_set(patch->flows->table->rules, &changed->match, best ? best->priority : 0,
                            best ? &best->rule : NULL);
    patch->rc = patch->rc < 0 ? patch->rc : rc;
}

static void patch_here(void *opaque)
{
    struct patch *patch = opaque;
    list_for_each (node, &patch->flows->removed)
        settle(patch, list_entry(node, struct ofp_flow, node));
    list_for_each (node, &patch->flows->fresh)
        settle(patch, list_entry(node, struct ofp_flow, fresh));
}

/* False: the table must be made anew. */
static bool patch_table(struct flows *flows)
{
    struct patch patch = {flows, 0};
    if (!flows->table || is_own_way(flows))
        return false;
    forward_run(flows->bridge->forward, patch_here, &patch);
    return patch.rc == 0;
}

static void all_published(struct flows *flows)
{
    list_for_each_safe (node, &flows->fresh)
        list_del(node);
    free_all(&flows->removed);
    flows->changed = false;
}

int flows_publish(struct flows *flows)
{
    struct swap swap = {.bridge = flows->bridge};
    if (!flows->changed)
        return 0;
    if (patch_table(flows)) {
        all_published(flows);
        return 0;
    }
    flows_count(flows);
    if (!is_own_way(flows)) {
        swap.table = table_new(flows);
        if (!swap.table)
            return -ENOMEM;
    }
    flows->table = swap.table;
    forward_run(flows->bridge->forward, swap_here, &swap);
    flows->own = flows->table ? NULL : list_entry(flows->list.next, struct ofp_flow, node);
    if (swap.table)
        flows->missed += swap.table->miss.frames;
    table_free(swap.table);
    all_published(flows);
    return 0;
}

void flows_destroy(struct flows *flows)
{
    struct swap swap = {.bridge = flows->bridge};
    forward_run(flows->bridge->forward, swap_here, &swap);
    table_free(swap.table);
    free_all(&flows->removed);
    free_all(&flows->list);
}
