/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the balloon; its statistics are properties of an object, as in QEMU. */
#include <string.h>

#include "vmm/control/commands.h"
#include "vmm/machine/machine.h"
#include "vmm/virtio/balloon.h"

#define STATS "guest-stats"
#define INTERVAL "guest-stats-polling-interval"
#define INTERVAL_MAX 86400 /* seconds */

/* Balloon functions fail when there is none. */
static json_t *no_balloon(struct qmp_call *call)
{
    return qmp_fail(call, QMP_DEVICE_NOT_ACTIVE, "No balloon device has been activated");
}

static json_t *query_balloon(struct qmp_call *call)
{
    uint64_t actual;
    if (balloon_query(call->machine, &actual, &call->error) < 0)
        return no_balloon(call);
    return json_pack("{s:I}", "actual", (json_int_t)actual);
}

static json_t *balloon(struct qmp_call *call)
{
    int64_t bytes = 0;
    qmp_integer(call, "value", &bytes);
    if (bytes <= 0)
        return qmp_fail(call, QMP_GENERIC_ERROR, "Parameter 'value' expects a size above 0");
    return balloon_set_target(call->machine, (uint64_t)bytes, &call->error) < 0 ? no_balloon(call)
                                                                                : qmp_done();
}

/* The object is the balloon when the path's last part is its id. */
static bool is_balloon(struct qmp_call *call)
{
    const char *path = qmp_string(call, "path"), *slash = strrchr(path, '/');
    struct device *dev = device_find(call->machine, slash ? slash + 1 : path);
    if (dev && strcmp(dev->ops->type, "virtio-balloon") == 0)
        return true;
    qmp_fail(call, QMP_DEVICE_NOT_FOUND, "Device '%.100s' not found; only a balloon has properties",
             path);
    return false;
}

static json_t *refuse_property(struct qmp_call *call, const char *accepted)
{
    return qmp_fail(call, QMP_GENERIC_ERROR, "Property '%.100s' is not possible; accepted: %s",
                    qmp_string(call, "property"), accepted);
}

static json_t *qom_get(struct qmp_call *call)
{
    const char *property = qmp_string(call, "property");
    json_t *stats;
    if (!is_balloon(call))
        return NULL;
    if (strcmp(property, STATS) == 0)
        return balloon_query_stats(call->machine, &stats, &call->error) < 0 ? NULL : stats;
    return refuse_property(call, STATS);
}

static json_t *qom_set(struct qmp_call *call)
{
    const json_t *value = json_object_get(call->arguments, "value");
    if (!is_balloon(call))
        return NULL;
    if (strcmp(qmp_string(call, "property"), INTERVAL) != 0)
        return refuse_property(call, INTERVAL);
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > INTERVAL_MAX)
        return qmp_fail(call, QMP_GENERIC_ERROR, "Parameter 'value' expects 0 to %d seconds",
                        INTERVAL_MAX);
    uint64_t seconds = (uint64_t)json_integer_value(value);
    return balloon_set_stats_interval(call->machine, seconds, &call->error) < 0 ? NULL : qmp_done();
}

static const struct qmp_argument balloon_arguments[] = {
    {"value", QMP_INTEGER},
    {NULL},
};
static const struct qmp_argument get_arguments[] = {
    {"path", QMP_STRING},
    {"property", QMP_STRING},
    {NULL},
};
static const struct qmp_argument set_arguments[] = {
    {"path", QMP_STRING},
    {"property", QMP_STRING},
    {"value", QMP_ANY},
    {NULL},
};

const struct qmp_command qmp_balloon_commands[] = {
    {"query-balloon", "how much memory the guest has", query_balloon},
    {"balloon", "asks the guest to come to that many bytes of memory", balloon, balloon_arguments},
    {"qom-get", "the balloon's " STATS, qom_get, get_arguments},
    {"qom-set", "the balloon's " INTERVAL, qom_set, set_arguments},
    {NULL},
};
