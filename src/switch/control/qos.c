/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queues of ports (forward/shaper.h), by set-qos; see vswitch.h. */
#include <errno.h>

#include "base/options.h"
#include "base/util.h"
#include "switch/control/port_kinds.h"
#include "switch/control/vswitch.h"
#include "switch/forward/bridge.h"
#include "switch/forward/shaper.h"

struct qos_options {
    char *port;
    uint64_t average, burst; /* KiB a second, KiB */
};

static const struct option_spec qos_option_specs[] = {
    OPTION(STRING, struct qos_options, port, .required = true, .help = "whose queues they are"),
    OPTION(UINT, struct qos_options, average, .min = 1, .max = PORT_RATE_MAX,
           .help = "KiB a second that go out at most, of all queues"),
    OPTION(UINT, struct qos_options, burst, .min = 1, .max = PORT_BURST_MAX,
           .help = "KiB that may be faster than the average"),
    OPTION_END,
};

struct queue_options {
    uint64_t id, guaranteed, average, burst;
};

static const struct option_spec queue_option_specs[] = {
    OPTION(UINT, struct queue_options, id, .required = true, .max = UINT32_MAX,
           .help = "the number that flows name"),
    OPTION(UINT, struct queue_options, guaranteed, .min = 1, .max = PORT_RATE_MAX,
           .help = "KiB a second that go before other queues' share"),
    OPTION(UINT, struct queue_options, average, .min = 1, .max = PORT_RATE_MAX,
           .help = "KiB a second that go out at most"),
    OPTION(UINT, struct queue_options, burst, .min = 1, .max = PORT_BURST_MAX,
           .help = "KiB that may be faster than the average"),
    OPTION_END,
};

/* With queue 0, which gets what no flow says otherwise of, in front. */
struct queues {
    unsigned count;
    struct shaper_queue_rates list[SHAPER_QUEUES_MAX];
};

static int check_burst(uint64_t average, uint64_t burst, struct kv_error *err)
{
    return average || !burst ? 0
                             : kv_error_set(err, KV_ERR_CONFIG, EINVAL, "'burst' needs 'average'");
}

static int add_queue(struct queues *queues, const json_t *object, struct kv_error *err)
{
    struct queue_options options = {0};
    struct shaper_queue_rates *to = NULL;
    if (options_parse_json(queue_option_specs, "queue", object, &options, err) < 0 ||
        check_burst(options.average, options.burst, err) < 0)
        return -EINVAL;
    if (options.average && options.guaranteed > options.average)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "queue %u: it is guaranteed more than its average",
                            (unsigned)options.id);
    for (unsigned i = 1; i < queues->count; i++) {
        if (queues->list[i].id == options.id)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "queue %u is there twice",
                                (unsigned)options.id);
    }
    to = options.id ? &queues->list[queues->count++] : &queues->list[0];
    *to = (struct shaper_queue_rates){
        .id = (uint32_t)options.id,
        .guaranteed = KIB(options.guaranteed),
        .most = {.average = KIB(options.average), .burst = KIB(options.burst)}};
    return 0;
}

static int read_queues(struct queues *queues, const json_t *list, struct kv_error *err)
{
    int rc = 0;
    *queues = (struct queues){.count = 1};
    if ((list && !json_is_array(list)) || json_array_size(list) >= SHAPER_QUEUES_MAX)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "'queues' is no list of less than %d",
                            SHAPER_QUEUES_MAX);
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++)
        rc = add_queue(queues, json_array_get(list, i), err);
    return rc;
}

struct swap {
    struct port *port;
    struct shaper *shaper;
};

static void swap_here(void *opaque)
{
    struct swap *swap = opaque;
    struct shaper *old = swap->port->shaper;
    if (old)
        shaper_stop(old);
    swap->port->shaper = swap->shaper;
    swap->shaper = old;
}

/* NULL, with err: it cannot be. */
static struct shaper *make(struct port *port, const struct qos_options *options,
                           const struct queues *queues, struct kv_error *err)
{
    const struct meter_rates rates = {.average = KIB(options->average),
                                      .burst = KIB(options->burst)};
    struct shaper *shaper = NULL;
    if (port->out_rates.average || port_kind_of(port)->unlimited)
        kv_error_set(err, KV_ERR_CONFIG, EINVAL, "port '%s': %s", port->name,
                     port->out_rates.average ? "it has 'out-average'; one of the two is possible"
                                             : "what goes out there does not wait");
    else if ((shaper = shaper_new_queues(port, &rates, queues->list, queues->count)) == NULL)
        kv_error_errno(err, KV_ERR_NET, ENOMEM, "queues of port '%s'", port->name);
    return shaper;
}

static int set_qos(struct vswitch *sw, const struct qos_options *options, const json_t *object,
                   const json_t *list, struct kv_error *err)
{
    bool any = json_object_size(object) > 1 || list;
    struct swap swap = {.port = vswitch_find_port(sw, options->port)};
    struct queues queues;
    if (!swap.port)
        return vswitch_not_there("port", options->port, err);
    if (check_burst(options->average, options->burst, err) < 0 ||
        read_queues(&queues, list, err) < 0)
        return kv_error_prefix(err, "port '%s'", options->port);
    if (any && (swap.shaper = make(swap.port, options, &queues, err)) == NULL)
        return -err->code;
    /* Without queues to take away the port keeps the limit that it has. */
    if (any || swap.port->qos)
        forward_run(swap.port->forward, swap_here, &swap);
    shaper_free(swap.shaper);
    return 0;
}

int vswitch_set_qos(struct vswitch *sw, const json_t *object, struct kv_error *err)
{
    struct qos_options options = {0};
    json_t *plain = json_copy((json_t *)object);
    const json_t *list = json_object_get(object, "queues");
    json_object_del(plain, "queues");
    int rc = options_parse_json(qos_option_specs, "qos", plain, &options, err);
    if (rc == 0)
        rc = set_qos(sw, &options, plain, list, err);
    if (rc == 0) {
        struct port *port = vswitch_find_port(sw, options.port);
        json_decref(port->qos);
        port->qos = json_object_size(object) > 1 ? json_deep_copy(object) : NULL;
    }
    options_free(qos_option_specs, &options);
    json_decref(plain);
    return vswitch_tell(sw, VSWITCH_SET_QOS, object, rc);
}
