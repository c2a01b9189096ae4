/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What watches a bridge and tells collectors; see vswitch.h and monitor/. */
#include <errno.h>

#include "base/options.h"
#include "switch/control/vswitch.h"
#include "switch/monitor/sflow.h"

#define SAMPLING_MAX 1000000
#define SAMPLING_DEFAULT 400 /* Open vSwitch's defaults */
#define HEADER_DEFAULT 128
#define HEADER_MIN 64
#define POLLING_DEFAULT 30

/* --- sFlow ------------------------------------------------------------------ */

struct sflow_options {
    char *bridge;
    struct sflow_settings settings;
};

static const struct option_spec sflow_option_specs[] = {
    OPTION(STRING, struct sflow_options, bridge, .required = true, .help = "the bridge"),
    OPTION_NAMED("collector", STRING, struct sflow_options, settings.collector,
                 .help = "ADDRESS:PORT that datagrams go to; else none do"),
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
    return rc;
}

static json_t *describe_sflow(const struct sflow *sflow)
{
    const struct sflow_settings *s = sflow_settings_of(sflow);
    uint64_t sent, lost, missed;
    sflow_count(sflow, &sent, &lost, &missed);
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "collector", s->collector, "sampling",
                     (json_int_t)s->sampling, "header", (json_int_t)s->header, "polling",
                     (json_int_t)s->polling, "sent", (json_int_t)sent, "unsent", (json_int_t)lost,
                     "missed", (json_int_t)missed);
}

/* --- All ---------------------------------------------------------------------- */

void vswitch_describe_export(const struct bridge *bridge, json_t *row)
{
    if (bridge->sflow)
        json_object_set_new(row, "sflow", describe_sflow(bridge->sflow));
}

void vswitch_end_export(struct bridge *bridge)
{
    sflow_stop(bridge->sflow);
    bridge->sflow = NULL;
}
