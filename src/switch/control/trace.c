/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which table and rule decide on a frame that is described; see vswitch.h. The frame is written as
 * it would come in, so that it is read as all others are. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/parse.h"
#include "base/util.h"
#include "switch/control/vswitch.h"
#include "switch/filter/prefix.h"
#include "switch/forward/bridge_trace.h"
#include "switch/forward/flow_text.h"

#define FRAME_MAX 128
#define FRAME_MIN 60
#define NOT_SAID UINT64_MAX
#define TTL 64
#define TCP_SYN 2

struct trace_options {
    char *port, *type, *protocol, *from, *to;
    uint8_t from_mac[6], to_mac[6];
    uint64_t vlan, from_port, to_port, icmp_type, icmp_code, tcp_flags, dscp;
};

static const struct option_spec trace_option_specs[] = {
    OPTION(STRING, struct trace_options, port, .required = true, .help = "where it comes in"),
    OPTION_NAMED("from-mac", MAC, struct trace_options, from_mac, .help = "its sender's"),
    OPTION_NAMED("to-mac", MAC, struct trace_options, to_mac, .help = "its receiver's"),
    OPTION(UINT, struct trace_options, vlan, .max = VLAN_ID_MASK - 1, .help = "of its tag"),
    OPTION(STRING, struct trace_options, type, .help = "ipv4, ipv6, arp or an Ethernet type"),
    OPTION(STRING, struct trace_options, protocol, .help = "of ipv4 and ipv6"),
    OPTION(STRING, struct trace_options, from, .help = "its sender's address"),
    OPTION(STRING, struct trace_options, to, .help = "its receiver's address"),
    OPTION_NAMED("from-port", UINT, struct trace_options, from_port, .max = UINT16_MAX,
                 .help = "of tcp, udp and sctp"),
    OPTION_NAMED("to-port", UINT, struct trace_options, to_port, .max = UINT16_MAX,
                 .help = "of tcp, udp and sctp"),
    OPTION_NAMED("icmp-type", UINT, struct trace_options, icmp_type, .max = UINT8_MAX,
                 .help = "of icmp and icmpv6"),
    OPTION_NAMED("icmp-code", UINT, struct trace_options, icmp_code, .max = UINT8_MAX,
                 .help = "of icmp and icmpv6"),
    OPTION_NAMED("tcp-flags", UINT, struct trace_options, tcp_flags, .max = UINT8_MAX,
                 .help = "of tcp; 2, which is SYN"),
    OPTION(UINT, struct trace_options, dscp, .max = 63, .help = "of ipv4 and ipv6"),
    OPTION_END,
};

/* --- Writing the frame ---------------------------------------------------------- */

struct described {
    const struct trace_options *options;
    int type, protocol; /* protocol -1: not said */
    struct prefix from, to;
    uint8_t bytes[FRAME_MAX];
    unsigned len;
};

static void put16(struct described *d, unsigned value)
{
    d->bytes[d->len++] = (uint8_t)(value >> 8);
    d->bytes[d->len++] = (uint8_t)value;
}

static void put(struct described *d, const void *bytes, unsigned len)
{
    memcpy(d->bytes + d->len, bytes, len);
    d->len += len;
}

static unsigned said(uint64_t value)
{
    return value == NOT_SAID ? 0 : (unsigned)value;
}

static int parse_address(const char *what, const char *text, struct prefix *out,
                         struct kv_error *err)
{
    if (text && (strchr(text, '/') || prefix_parse(text, out) < 0))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s '%.60s': an address is accepted", what,
                            text);
    return 0;
}

/* The type, which addresses and protocol may tell. */
static int find_type(struct described *d, struct kv_error *err)
{
    const struct trace_options *o = d->options;
    int addresses = o->from ? d->from.type : o->to ? d->to.type : 0;
    if (o->from && o->to && d->from.type != d->to.type)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "'from' and 'to' are of different families");
    if (!o->type && addresses)
        d->type = addresses;
    else if (!o->type && d->protocol >= 0)
        d->type = d->protocol == IPPROTO_ICMPV6 ? FLOW_TYPE_IPV6 : FLOW_TYPE_IPV4;
    else if (!o->type)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "'type', 'protocol' or an address is needed, to know what it is");
    if (addresses && addresses != d->type &&
        !(d->type == FLOW_TYPE_ARP && addresses == FLOW_TYPE_IPV4))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "type '%s' has no such addresses", o->type);
    return 0;
}

static bool has_ports(int protocol)
{
    return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

/* What is said of a protocol that it is not. */
static int check_fields(const struct described *d, struct kv_error *err)
{
    const struct trace_options *o = d->options;
    bool ip = d->type == FLOW_TYPE_IPV4 || d->type == FLOW_TYPE_IPV6;
    bool icmp = d->protocol == (d->type == FLOW_TYPE_IPV6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
    const char *wrong = NULL;
    if (!ip && (d->protocol >= 0 || o->dscp != NOT_SAID))
        wrong = "'protocol' and 'dscp' are of ipv4 and ipv6";
    else if (!has_ports(d->protocol) && (o->from_port != NOT_SAID || o->to_port != NOT_SAID))
        wrong = "'from-port' and 'to-port' are of protocol tcp, udp or sctp";
    else if (d->protocol != IPPROTO_TCP && o->tcp_flags != NOT_SAID)
        wrong = "'tcp-flags' are of protocol tcp";
    else if (!icmp && (o->icmp_type != NOT_SAID || o->icmp_code != NOT_SAID))
        wrong = "'icmp-type' and 'icmp-code' are of protocol icmp (ipv4) or icmpv6";
    return wrong ? kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s", wrong) : 0;
}

static void put_transport(struct described *d)
{
    const struct trace_options *o = d->options;
    static const uint8_t rest[24] = {0};
    if (has_ports(d->protocol)) {
        put16(d, said(o->from_port));
        put16(d, said(o->to_port));
    }
    if (d->protocol == IPPROTO_TCP) {
        put(d, rest, 8);
        put16(d, 0x5000 | (o->tcp_flags == NOT_SAID ? TCP_SYN : (unsigned)o->tcp_flags));
        put(d, rest, 6);
    } else if (has_ports(d->protocol)) {
        put(d, rest, 8);
    } else if (d->protocol == IPPROTO_ICMP || d->protocol == IPPROTO_ICMPV6) {
        put16(d, said(o->icmp_type) << 8 | said(o->icmp_code));
        put(d, rest, 22);
    }
}

static void put_ipv4(struct described *d)
{
    unsigned at = d->len;
    const uint8_t header[12] = {0x45, (uint8_t)(said(d->options->dscp) << 2), [8] = TTL,
                                (uint8_t)MAX(d->protocol, 0)};
    put(d, header, sizeof(header));
    put(d, d->from.address, 4);
    put(d, d->to.address, 4);
    put_transport(d);
    d->bytes[at + 3] = (uint8_t)(d->len - at);
}

static void put_ipv6(struct described *d)
{
    unsigned at = d->len, tos = said(d->options->dscp) << 2;
    const uint8_t header[8] = {
        (uint8_t)(0x60 | tos >> 4),
        (uint8_t)(tos << 4), [6] = d->protocol < 0 ? IPPROTO_NONE : (uint8_t)d->protocol, TTL};
    put(d, header, sizeof(header));
    put(d, d->from.address, 16);
    put(d, d->to.address, 16);
    put_transport(d);
    d->bytes[at + 5] = (uint8_t)(d->len - at - 40);
}

static void put_arp(struct described *d)
{
    static const uint8_t request[8] = {0, 1, 8, 0, 6, 4, 0, 1}, unknown[6] = {0};
    put(d, request, sizeof(request));
    put(d, d->options->from_mac, 6);
    put(d, d->from.address, 4);
    put(d, unknown, sizeof(unknown));
    put(d, d->to.address, 4);
}

static int describe(struct described *d, struct kv_error *err)
{
    const struct trace_options *o = d->options;
    int rc = o->type ? flow_type_parse(o->type, &d->type, err) : 0;
    if (rc == 0 && o->protocol)
        rc = flow_protocol_parse(o->protocol, &d->protocol, err);
    if (rc == 0)
        rc = parse_address("from", o->from, &d->from, err);
    if (rc == 0)
        rc = parse_address("to", o->to, &d->to, err);
    if (rc == 0)
        rc = find_type(d, err);
    if (rc == 0)
        rc = check_fields(d, err);
    if (rc < 0)
        return rc;
    put(d, o->to_mac, 6);
    put(d, o->from_mac, 6);
    if (o->vlan != NOT_SAID) {
        put16(d, FRAME_TPID);
        put16(d, (unsigned)o->vlan);
    }
    put16(d, (unsigned)d->type);
    if (d->type == FLOW_TYPE_IPV4)
        put_ipv4(d);
    else if (d->type == FLOW_TYPE_IPV6)
        put_ipv6(d);
    else if (d->type == FLOW_TYPE_ARP)
        put_arp(d);
    d->len = MAX(d->len, FRAME_MIN);
    return 0;
}

/* --- Telling -------------------------------------------------------------------- */

static void add_step(json_t *steps, const char *table, const struct port *port, json_t *result)
{
    json_array_append_new(
        steps, json_pack("{s:s, s:s, s:o}", "table", table, "port", port->name, "result", result));
}

/* "rule 3 allows", "no rule matches: denied", "answer to what was allowed" */
static json_t *acl_result(const struct trace_check *check)
{
    const struct acl *acl = check->port->filter->acl;
    const struct filter_verdict *v = &check->verdict;
    if (v->rule == &acl->answers[check->direction])
        return json_sprintf("acl '%s': belongs to a connection that was allowed", acl->name);
    if (v->rule == &acl->otherwise[check->direction])
        return json_sprintf("acl '%s': no rule matches, its default %s", acl->name,
                            v->rule->allow ? "allows" : "denies");
    if (v->rule)
        return json_sprintf("acl '%s': rule %u %s", acl->name, v->rule->index,
                            v->rule->allow ? "allows" : "denies");
    return json_sprintf("acl '%s': %s", acl->name, port_drop_names[v->why]);
}

static void add_check(json_t *steps, const struct trace_check *check)
{
    const struct filter *filter = check->port->filter;
    const char *table = check->direction == FILTER_IN ? "filter in" : "filter out";
    if (!check->verdict.allowed && !check->verdict.rule && check->verdict.why != DROP_STATE &&
        check->verdict.why != DROP_FRAGMENT)
        add_step(steps, table, check->port,
                 json_sprintf("port security: %s", port_drop_names[check->verdict.why]));
    else if (filter->acl)
        add_step(steps, table, check->port, acl_result(check));
    else
        add_step(steps, table, check->port, json_string("port security: allowed"));
}

static json_t *tell(const struct port *from, const struct bridge_trace *trace)
{
    json_t *steps = json_array(), *receivers = json_array();
    const struct port *drop = trace->drop;
    enum port_drop why = trace->why;
    unsigned next = 0;
    if (trace->admitted)
        add_step(steps, "vlans", from, json_sprintf("VLAN %u", trace->vlan));
    if (next < trace->check_count && trace->checks[0].direction == FILTER_IN)
        add_check(steps, &trace->checks[next++]);
    if (trace->looked_up)
        add_step(steps, "addresses", from,
                 trace->known ? json_sprintf("its receiver is at port '%s'", trace->known->name)
                              : json_string("flooded"));
    while (next < trace->check_count)
        add_check(steps, &trace->checks[next++]);
    for (unsigned i = 0; i < trace->receiver_count; i++)
        json_array_append_new(receivers, json_string(trace->receivers[i]->name));
    /* Where one filter stands between it and its only receiver, that one is to blame. */
    const struct trace_check *last =
        trace->check_count ? &trace->checks[trace->check_count - 1] : NULL;
    if (!drop && last && !last->verdict.allowed && (trace->known || !trace->looked_up)) {
        drop = last->port;
        why = last->verdict.why;
    }
    json_t *told = json_pack("{s:o, s:o}", "steps", steps, "sent-to", receivers);
    if (drop)
        json_object_set_new(told, "dropped",
                            json_pack("{s:s, s:s}", "at", drop->name, "why", port_drop_names[why]));
    return told;
}

struct trace_task {
    struct port *port;
    struct frame frame;
    struct bridge_trace *trace;
};

static void trace_here(void *opaque)
{
    struct trace_task *task = opaque;
    bridge_trace(task->port, &task->frame, task->trace);
}

static json_t *trace(struct vswitch *sw, const struct trace_options *options, struct kv_error *err)
{
    struct described d = {.options = options, .protocol = -1};
    struct trace_task task = {.port = vswitch_find_port(sw, options->port)};
    if (!task.port) {
        vswitch_not_there("port", options->port, err);
        return NULL;
    }
    if (describe(&d, err) < 0)
        return NULL;
    task.trace = calloc(1, sizeof(*task.trace));
    if (!task.trace) {
        kv_error_errno(err, KV_ERR_NET, ENOMEM, "trace");
        return NULL;
    }
    frame_set_bytes(&task.frame, d.bytes, d.len);
    forward_run(task.port->forward, trace_here, &task);
    json_t *told = tell(task.port, task.trace);
    free(task.trace);
    return told;
}

json_t *vswitch_trace(struct vswitch *sw, const json_t *object, struct kv_error *err)
{
    struct trace_options options = {
        .from_mac = {2, 0, 0, 0, 0, 1},
        .to_mac = {2, 0, 0, 0, 0, 2},
        .vlan = NOT_SAID,
        .from_port = NOT_SAID,
        .to_port = NOT_SAID,
        .icmp_type = NOT_SAID,
        .icmp_code = NOT_SAID,
        .tcp_flags = NOT_SAID,
        .dscp = NOT_SAID,
    };
    json_t *told = NULL;
    if (options_parse_json(trace_option_specs, "trace", object, &options, err) == 0)
        told = trace(sw, &options, err);
    options_free(trace_option_specs, &options);
    return told;
}
