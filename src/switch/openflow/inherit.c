/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bridge's OpenFlow that goes from one process to the next (ports/inherited.h): the sockets that
 * listen, and the flows, each as the body of the flow-mod of 1.3 that adds it, with its counters.
 * Connections end; controllers and ovs-ofctl connect again.
 */
#include <errno.h>

#include "switch/openflow/session.h"
#include "vmm/hex_state.h"

static json_t *give_flow(struct openflow *openflow, const struct ofp_flow *flow)
{
    struct wire wire = {.data = openflow->message, .room = sizeof(openflow->message)};
    put_flow_mod(&wire, flow);
    return json_pack("{s:o, s:I, s:I, s:I, s:I}", "flow-mod", hex_state_save(wire.data, wire.len),
                     "frames", (json_int_t)flow->frames, "bytes", (json_int_t)flow->bytes, "since",
                     (json_int_t)flow->created_ns, "used", (json_int_t)flow->used_ns);
}

json_t *openflow_give(struct openflow *openflow, struct bequest *bequest)
{
    json_t *list = json_array();
    if (!openflow)
        return list;
    bequest_add_named(bequest, INHERITED_LISTENER, openflow->management_path,
                      openflow->management.fd);
    bequest_add_named(bequest, INHERITED_LISTENER, openflow->snoop_path, openflow->snoop.fd);
    flows_count(&openflow->flows);
    list_for_each (node, &openflow->flows.list)
        json_array_append_new(list, give_flow(openflow, list_entry(node, struct ofp_flow, node)));
    return list;
}

static int64_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void ignore_removed(void *opaque, const struct ofp_flow *flow, enum ofp_removed why)
{
}

static int take_flow(struct openflow *openflow, const json_t *row, struct kv_error *err)
{
    struct ofp_flow flow = {.frames = (uint64_t)number(row, "frames"),
                            .bytes = (uint64_t)number(row, "bytes"),
                            .used_ns = number(row, "used")};
    const json_t *text = json_object_get(row, "flow-mod");
    size_t len = json_string_length(text) / 2;
    if (len > sizeof(openflow->message) || !hex_state_load(text, openflow->message, len) ||
        add_flow_mod(&openflow->flows, openflow->message, len, &flow) != OFP_OK)
        return kv_error_set(err, KV_ERR_CONTROL, EPROTO,
                            "bridge '%s': a flow that is handed over cannot be carried out",
                            openflow->bridge->name);
    list_entry(openflow->flows.list.prev, struct ofp_flow, node)->created_ns = number(row, "since");
    return 0;
}

int openflow_take(struct openflow *openflow, const json_t *list, struct kv_error *err)
{
    const struct flow_selection all = {.out_port = OFPP_NONE};
    size_t i;
    json_t *row;
    int rc = 0;
    if (!openflow)
        return 0;
    flows_delete(&openflow->flows, &all, ignore_removed, NULL);
    json_array_foreach ((json_t *)list, i, row) {
        if (rc == 0)
            rc = take_flow(openflow, row, err);
    }
    /* Before any frame moves. */
    openflow_expire(openflow);
    return rc;
}
