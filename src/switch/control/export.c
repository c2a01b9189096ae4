/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What watches a bridge and tells collectors; see vswitch.h and monitor/. */
#include <errno.h>

#include "base/options.h"
#include "switch/control/vswitch.h"
#include "switch/monitor/capture.h"
#include "switch/monitor/flow_export.h"
#include "switch/monitor/sflow.h"

#define SAMPLING_MAX 1000000
#define SAMPLING_DEFAULT 400 /* Open vSwitch's defaults */
#define HEADER_DEFAULT 128
#define HEADER_MIN 64
#define POLLING_DEFAULT 30
#define IDLE_DEFAULT 15
#define ACTIVE_DEFAULT 60
#define ENTRIES_DEFAULT 4096

/* --- sFlow ------------------------------------------------------------------ */

struct sflow_options {
    char *bridge;
    struct sflow_settings settings;
};

static const struct option_spec sflow_option_specs[] = {
    OPTION(STRING, struct sflow_options, bridge, .required = true, .help = "the bridge"),
    OPTION_NAMED("collector", STRING, struct sflow_options, settings.collector,
                 .help = "ADDRESS:PORT that datagrams go to; else none do"),
    OPTION_NAMED("agent", STRING, struct sflow_options, settings.agent,
                 .help = "an address, or an interface whose it is, that the agent goes by"),
    OPTION_NAMED("sampling", UINT, struct sflow_options, settings.sampling, .min = 1,
                 .max = SAMPLING_MAX, .help = "one frame in so many is told of"),
    OPTION_NAMED("header", UINT, struct sflow_options, settings.header, .min = HEADER_MIN,
                 .max = SAMPLE_BYTES_MAX, .help = "bytes of it that are told"),
    OPTION_NAMED("polling", UINT, struct sflow_options, settings.polling, .max = 86400,
                 .help = "seconds between counters of ports; 0: none are told"),
    OPTION_END,
};

static int set_sflow(struct vswitch *sw, const struct sflow_options *options, struct kv_error *err)
{
    struct bridge *bridge = vswitch_get_bridge(sw, options->bridge, err);
    struct sflow *sflow = NULL;
    if (!bridge)
        return -err->code;
    if (options->settings.collector) {
        sflow = sflow_start(bridge, &sw->loop, bridge->number, &options->settings, err);
        if (!sflow)
            return -err->code;
    }
    sflow_stop(bridge->sflow);
    bridge->sflow = sflow;
    return 0;
}

int vswitch_set_sflow(struct vswitch *sw, const json_t *object, struct kv_error *err)
{
    struct sflow_options options = {.settings = {.sampling = SAMPLING_DEFAULT,
                                                 .header = HEADER_DEFAULT,
                                                 .polling = POLLING_DEFAULT}};
    int rc = options_parse_json(sflow_option_specs, "sflow", object, &options, err);
    if (rc == 0)
        rc = set_sflow(sw, &options, err);
    options_free(sflow_option_specs, &options);
    return vswitch_tell(sw, VSWITCH_SET_SFLOW, object, rc);
}

static json_t *describe_sflow(const struct sflow *sflow)
{
    const struct sflow_settings *s = sflow_settings_of(sflow);
    uint64_t sent, lost, missed;
    sflow_count(sflow, &sent, &lost, &missed);
    return json_pack("{s:s, s:s*, s:I, s:I, s:I, s:I, s:I, s:I}", "collector", s->collector,
                     "agent", s->agent, "sampling", (json_int_t)s->sampling, "header",
                     (json_int_t)s->header, "polling", (json_int_t)s->polling, "sent",
                     (json_int_t)sent, "unsent", (json_int_t)lost, "missed", (json_int_t)missed);
}

/* --- NetFlow and IPFIX ------------------------------------------------------- */

struct flow_options {
    char *bridge;
    struct flow_settings settings;
};

static const struct option_spec flow_option_specs[] = {
    OPTION(STRING, struct flow_options, bridge, .required = true, .help = "the bridge"),
    OPTION_NAMED("collector", STRING, struct flow_options, settings.collector,
                 .help = "ADDRESS:PORT that datagrams go to; else none do"),
    OPTION_NAMED("sampling", UINT, struct flow_options, settings.sampling, .min = 1,
                 .max = SAMPLING_MAX, .help = "one frame in so many is counted"),
    OPTION_NAMED("idle", UINT, struct flow_options, settings.idle, .min = 1, .max = 3600,
                 .help = "seconds of silence that end a flow"),
    OPTION_NAMED("active", UINT, struct flow_options, settings.active, .min = 1, .max = 86400,
                 .help = "seconds after which a flow that goes on is told"),
    OPTION_NAMED("entries", UINT, struct flow_options, settings.entries, .min = 16, .max = 1 << 20,
                 .help = "flows that are kept at most"),
    OPTION_END,
};

static const char *const flow_protocol_names[] = {"netflow", "ipfix"};

static int set_flows(struct vswitch *sw, const struct flow_options *options,
                     enum flow_protocol protocol, struct kv_error *err)
{
    struct bridge *bridge = vswitch_get_bridge(sw, options->bridge, err);
    struct flow_export *started = NULL;
    if (!bridge)
        return -err->code;
    if (options->settings.collector) {
        started =
            flow_export_start(bridge, &sw->loop, bridge->number, protocol, &options->settings, err);
        if (!started)
            return -err->code;
    }
    flow_export_stop(bridge->flow_exports[protocol]);
    bridge->flow_exports[protocol] = started;
    return 0;
}

static int set_flows_by(struct vswitch *sw, const json_t *object, enum flow_protocol protocol,
                        struct kv_error *err)
{
    struct flow_options options = {.settings = {.sampling = 1,
                                                .idle = IDLE_DEFAULT,
                                                .active = ACTIVE_DEFAULT,
                                                .entries = ENTRIES_DEFAULT}};
    int rc =
        options_parse_json(flow_option_specs, flow_protocol_names[protocol], object, &options, err);
    if (rc == 0)
        rc = set_flows(sw, &options, protocol, err);
    options_free(flow_option_specs, &options);
    return rc;
}

int vswitch_set_netflow(struct vswitch *sw, const json_t *object, struct kv_error *err)
{
    int rc = set_flows_by(sw, object, FLOW_NETFLOW9, err);
    return vswitch_tell(sw, VSWITCH_SET_NETFLOW, object, rc);
}

int vswitch_set_ipfix(struct vswitch *sw, const json_t *object, struct kv_error *err)
{
    int rc = set_flows_by(sw, object, FLOW_IPFIX, err);
    return vswitch_tell(sw, VSWITCH_SET_IPFIX, object, rc);
}

static json_t *describe_flows(const struct flow_export *flow_export)
{
    const struct flow_settings *s = flow_export_settings(flow_export);
    uint64_t sent, lost, missed;
    flow_export_count(flow_export, &sent, &lost, &missed);
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "collector", s->collector,
                     "sampling", (json_int_t)s->sampling, "idle", (json_int_t)s->idle, "active",
                     (json_int_t)s->active, "entries", (json_int_t)s->entries, "sent",
                     (json_int_t)sent, "unsent", (json_int_t)lost, "missed", (json_int_t)missed);
}

/* --- All ---------------------------------------------------------------------- */

void vswitch_describe_export(const struct bridge *bridge, json_t *row)
{
    if (bridge->sflow)
        json_object_set_new(row, "sflow", describe_sflow(bridge->sflow));
    for (unsigned i = 0; i < FLOW_PROTOCOLS; i++) {
        if (bridge->flow_exports[i])
            json_object_set_new(row, flow_protocol_names[i],
                                describe_flows(bridge->flow_exports[i]));
    }
}

void vswitch_end_export(struct bridge *bridge)
{
    capture_stop_all(bridge);
    sflow_stop(bridge->sflow);
    bridge->sflow = NULL;
    for (unsigned i = 0; i < FLOW_PROTOCOLS; i++) {
        flow_export_stop(bridge->flow_exports[i]);
        bridge->flow_exports[i] = NULL;
    }
}
