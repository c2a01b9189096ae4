/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rates of ports; see limits.h. */
#include "switch/control/limits.h"

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"
#include "switch/forward/shaper.h"

static int check(const char *direction, const struct meter_rates *kib, struct kv_error *err)
{
    if (!kib->average && (kib->peak || kib->burst))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "'%s-peak' and '%s-burst' need '%s-average'", direction, direction,
                            direction);
    if (kib->peak && kib->peak < kib->average)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "'%s-peak' is %llu, below the average of %llu", direction,
                            (unsigned long long)kib->peak, (unsigned long long)kib->average);
    return 0;
}

static struct meter_rates in_bytes(const struct meter_rates *kib)
{
    return (struct meter_rates){KIB(kib->average), KIB(kib->peak), KIB(kib->burst)};
}

static bool is_same_storm(const struct storm_rates *a, const struct storm_rates *b)
{
    return a->broadcast == b->broadcast && a->multicast == b->multicast && a->unknown == b->unknown;
}

/* The port's own where nothing changes. */
static int make_storm(struct limits *limits, const struct port *port, struct kv_error *err)
{
    static const struct storm_rates none;
    limits->storm = NULL;
    if (is_same_storm(&limits->storm_rates, &port->storm_rates)) {
        limits->storm = port->storm;
    } else if (!is_same_storm(&limits->storm_rates, &none)) {
        limits->storm = malloc(sizeof(*limits->storm));
        if (!limits->storm)
            return kv_error_errno(err, KV_ERR_NET, ENOMEM, "limits of floods");
        storm_init(limits->storm, &limits->storm_rates);
    }
    return 0;
}

static bool is_same(const struct meter_rates *a, const struct meter_rates *b)
{
    return a->average == b->average && a->peak == b->peak && a->burst == b->burst;
}

int limits_make(struct limits *limits, const struct port_options *options, struct port *port,
                struct kv_error *err)
{
    *limits = (struct limits){.in_rates = in_bytes(&options->in),
                              .out_rates = in_bytes(&options->out),
                              .storm_rates = options->storm};
    if (check("in", &options->in, err) < 0 || check("out", &options->out, err) < 0)
        return -EINVAL;
    if (limits->out_rates.average && port->qos)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "'out-average': the port has queues (set-qos); one of the two is "
                            "possible");
    if (limits->out_rates.average && port_kind_of(port)->unlimited)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "'out-average': a %s has none; 'in-average' at its peer is possible",
                            port_kind_names[port->kind]);
    if (make_storm(limits, port, err) < 0)
        return -ENOMEM;
    if (is_same(&limits->in_rates, &port->in_rates)) {
        limits->meter = port->meter;
    } else if (limits->in_rates.average) {
        limits->meter = malloc(sizeof(*limits->meter));
        if (!limits->meter) {
            limits_drop(limits, port);
            return kv_error_errno(err, KV_ERR_NET, ENOMEM, "meter");
        }
        meter_init(limits->meter, &limits->in_rates, 0);
    }
    if (is_same(&limits->out_rates, &port->out_rates)) {
        limits->shaper = port->shaper;
    } else if (limits->out_rates.average) {
        limits->shaper = shaper_new(port, &limits->out_rates);
        if (!limits->shaper) {
            limits_drop(limits, port);
            return kv_error_errno(err, KV_ERR_NET, ENOMEM, "queue of frames");
        }
    }
    return 0;
}

void limits_swap(struct limits *limits, struct port *port)
{
    struct limits old = {port->in_rates, port->out_rates,   port->meter,
                         port->shaper,   port->storm_rates, port->storm};
    if (port->shaper && port->shaper != limits->shaper)
        shaper_stop(port->shaper);
    port->in_rates = limits->in_rates;
    port->out_rates = limits->out_rates;
    port->meter = limits->meter;
    port->shaper = limits->shaper;
    port->storm_rates = limits->storm_rates;
    port->storm = limits->storm;
    *limits = old;
}

void limits_drop(struct limits *limits, const struct port *port)
{
    if (limits->meter != port->meter)
        free(limits->meter);
    if (limits->storm != port->storm)
        free(limits->storm);
    if (limits->shaper != port->shaper)
        shaper_free(limits->shaper);
}

void limits_free(struct port *port)
{
    json_decref(port->qos);
    free(port->meter);
    shaper_free(port->shaper);
    free(port->storm);
    port->meter = NULL;
    port->shaper = NULL;
    port->storm = NULL;
}

static void describe_number(uint64_t value, const char *name, json_t *row)
{
    if (value)
        json_object_set_new(row, name, json_integer((json_int_t)value));
}

static void describe(const struct meter_rates *rates, const char *const names[3], json_t *row)
{
    const uint64_t values[3] = {rates->average, rates->peak, rates->burst};
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++)
        describe_number(values[i] / KIB(1), names[i], row);
}

void limits_describe(const struct port *port, json_t *row)
{
    static const char *const in[] = {"in-average", "in-peak", "in-burst"};
    static const char *const out[] = {"out-average", "out-peak", "out-burst"};
    describe(&port->in_rates, in, row);
    describe(&port->out_rates, out, row);
    if (port->qos)
        json_object_set(row, "qos", port->qos);
    describe_number(port->storm_rates.broadcast, "storm-broadcast", row);
    describe_number(port->storm_rates.multicast, "storm-multicast", row);
    describe_number(port->storm_rates.unknown, "storm-unknown", row);
}
