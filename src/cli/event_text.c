/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The words of events, by table: numbers of libvirt's events to virsh's words. */
#include <jansson.h>
#include <time.h>

#include "cli/event.h"

#define WORDS_MAX 12

struct words {
    const char *list[WORDS_MAX];
};

static const char *word(const struct words *words, int64_t number)
{
    return number >= 0 && number < WORDS_MAX && words->list[number] ? words->list[number]
                                                                    : "unknown";
}

static const struct words lifecycles = {{"Defined", "Undefined", "Started", "Suspended", "Resumed",
                                         "Stopped", "Shutdown", "PMSuspended", "Crashed"}};
static const struct words lifecycle_details[] = {
    {{"Added", "Updated", "Renamed", "Snapshot"}},
    {{"Removed", "Renamed"}},
    {{"Booted", "Migrated", "Restored", "Snapshot", "Event wakeup"}},
    {{"Paused", "Migrated", "I/O Error", "Watchdog", "Restored", "Snapshot", "API error",
      "Post-copy", "Post-copy Error"}},
    {{"Unpaused", "Migrated", "Snapshot", "Post-copy", "Post-copy Error"}},
    {{"Shutdown", "Destroyed", "Crashed", "Migrated", "Saved", "Failed", "Snapshot"}},
    {{"Finished", "Finished after guest request", "Finished after host request"}},
    {{"Memory", "Disk"}},
    {{"Panicked", "Crashloaded"}},
};
static const struct words watchdogs = {
    {"none", "pause", "reset", "poweroff", "shutdown", "debug", "inject-nmi"}};
static const struct words io_errors = {{"none", "pause", "report"}};
static const struct words graphics = {{"connect", "initialize", "disconnect"}};
static const struct words disk_changes = {{"missing on start", "dropped"}};
static const struct words trays = {{"opened", "closed"}};
static const struct words agent_states = {{NULL, "connected", "disconnected"}};
static const struct words agent_reasons = {{"unknown", "domain started", "channel event"}};
static const struct words metadata_types = {{"description", "title", "element"}};
static const struct words block_jobs = {
    {"Unknown job", "Block Pull", "Block Copy", "Block Commit", "Active Block Commit", "Backup"}};
static const struct words job_states = {{"completed", "failed", "canceled", "ready"}};
static const struct words object_lifecycles[] = {
    [KVASIR_EVENTS_NETWORK] = {{"Defined", "Undefined", "Started", "Stopped"}},
    [KVASIR_EVENTS_POOL] = {{"Defined", "Undefined", "Started", "Stopped", "Created", "Deleted"}},
    [KVASIR_EVENTS_NODE_DEVICE] = {{"Created", "Deleted", "Defined", "Undefined"}},
    [KVASIR_EVENTS_SECRET] = {{"Defined", "Undefined"}},
};

static int64_t number(const struct kvasir_event *event, const char *name)
{
    return kvasir_param_number(event->params, event->n_params, name, 0);
}

static const char *text(const struct kvasir_event *event, const char *name, const char *absent)
{
    const char *value = kvasir_param_text(event->params, event->n_params, name);
    return value ? value : absent;
}

const char *event_kind(int event_class)
{
    static const char *const kinds[] = {"domain", "network", "storage pool", "node device",
                                        "secret"};
    return kinds[event_class];
}

const char *event_object_name(struct cli *cli, const struct kvasir_event *event)
{
    if (event->domain)
        return kvasir_domain_name(event->domain);
    if (event->event_class == KVASIR_EVENTS_SECRET && event->object) {
        char uuid[KVASIR_UUID_TEXT_SIZE];
        kvasir_uuid_format(kvasir_object_uuid(event->object), uuid);
        return cli_text(cli, "%s", uuid);
    }
    return event->object ? kvasir_object_name(event->object) : "";
}

static const char *params_below(struct cli *cli, const struct kvasir_event *event)
{
    const char *lines = ":";
    for (size_t i = 0; i < event->n_params; i++) {
        const struct kvasir_param *param = &event->params[i];
        const char *value = param->type == KVASIR_PARAM_STRING ? param->value.s
                            : param->type == KVASIR_PARAM_DOUBLE
                                ? cli_text(cli, "%f", param->value.d)
                                : cli_text(cli, "%lld",
                                           (long long)kvasir_param_number(
                                               event->params, event->n_params, param->name, 0));
        lines = cli_text(cli, "%s\n\t%s: %s", lines, param->name, value);
    }
    return lines;
}

static const char *domain_details(struct cli *cli, const struct kvasir_event *event)
{
    int64_t kind;
    switch (event->id) {
    case KVASIR_EVENT_LIFECYCLE:
        kind = number(event, "event");
        return cli_text(cli, ": %s %s", word(&lifecycles, kind),
                        kind >= 0 && (size_t)kind < ARRAY_SIZE(lifecycle_details)
                            ? word(&lifecycle_details[kind], number(event, "detail"))
                            : "unknown");
    case KVASIR_EVENT_RTC_CHANGE:
        return cli_text(cli, ": %lld", (long long)number(event, "utcoffset"));
    case KVASIR_EVENT_WATCHDOG:
        return cli_text(cli, ": %s", word(&watchdogs, number(event, "action")));
    case KVASIR_EVENT_IO_ERROR:
    case KVASIR_EVENT_IO_ERROR_REASON:
        return cli_text(cli, ": %s (%s) %s%s%s", text(event, "srcPath", ""),
                        text(event, "devAlias", ""), word(&io_errors, number(event, "action")),
                        event->id == KVASIR_EVENT_IO_ERROR ? "" : " due to ",
                        event->id == KVASIR_EVENT_IO_ERROR ? "" : text(event, "reason", ""));
    case KVASIR_EVENT_GRAPHICS:
        return cli_text(cli, ": %s local[%lld %s %s] remote[%lld %s %s] %s",
                        word(&graphics, number(event, "phase")),
                        (long long)number(event, "local.family"), text(event, "local.node", ""),
                        text(event, "local.service", ""), (long long)number(event, "remote.family"),
                        text(event, "remote.node", ""), text(event, "remote.service", ""),
                        text(event, "authScheme", ""));
    case KVASIR_EVENT_BLOCK_JOB:
    case KVASIR_EVENT_BLOCK_JOB_2:
        return cli_text(cli, ": %s for %s %s", word(&block_jobs, number(event, "type")),
                        text(event, "disk", ""), word(&job_states, number(event, "status")));
    case KVASIR_EVENT_DISK_CHANGE:
        return cli_text(cli, " disk %s: %s -> %s: %s", text(event, "devAlias", ""),
                        text(event, "oldSrcPath", "<null>"), text(event, "newSrcPath", "<null>"),
                        word(&disk_changes, number(event, "reason")));
    case KVASIR_EVENT_TRAY_CHANGE:
        return cli_text(cli, " disk %s: %s", text(event, "devAlias", ""),
                        word(&trays, number(event, "reason")));
    case KVASIR_EVENT_BALLOON_CHANGE:
        return cli_text(cli, ": %lluKiB", (unsigned long long)number(event, "actual"));
    case KVASIR_EVENT_DEVICE_REMOVED:
    case KVASIR_EVENT_DEVICE_ADDED:
    case KVASIR_EVENT_DEVICE_REMOVAL_FAILED:
        return cli_text(cli, ": %s", text(event, "devAlias", ""));
    case KVASIR_EVENT_AGENT_LIFECYCLE:
        return cli_text(cli, ": state: '%s' reason: '%s'",
                        word(&agent_states, number(event, "state")),
                        word(&agent_reasons, number(event, "reason")));
    case KVASIR_EVENT_MIGRATION_ITERATION:
        return cli_text(cli, ": iteration: '%lld'", (long long)number(event, "iteration"));
    case KVASIR_EVENT_METADATA_CHANGE:
        return cli_text(cli, ": type %s, uri %s", word(&metadata_types, number(event, "type")),
                        text(event, "nsuri", "<null>"));
    case KVASIR_EVENT_BLOCK_THRESHOLD:
        return cli_text(cli, ": dev: %s(%s) %llu %llu", text(event, "dev", ""),
                        text(event, "path", "<null>"),
                        (unsigned long long)number(event, "threshold"),
                        (unsigned long long)number(event, "excess"));
    default:
        return event->n_params && event->id != KVASIR_EVENT_PMWAKEUP &&
                       event->id != KVASIR_EVENT_PMSUSPEND &&
                       event->id != KVASIR_EVENT_PMSUSPEND_DISK
                   ? params_below(cli, event)
                   : "";
    }
}

const char *event_details(struct cli *cli, const struct kvasir_event *event)
{
    if (event->event_class == KVASIR_EVENTS_DOMAIN)
        return domain_details(cli, event);
    if (event->id != 0)
        return "";
    return cli_text(cli, ": %s",
                    word(&object_lifecycles[event->event_class], number(event, "event")));
}

void event_print_json(struct cli *cli, const struct kvasir_event *event)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    json_t *line = json_object(), *params = json_object();
    const char *details = event_details(cli, event);
    json_object_set_new(line, "time", json_real((double)now.tv_sec + (double)now.tv_nsec / 1e9));
    json_object_set_new(line, "kind", json_string(event_kind(event->event_class)));
    json_object_set_new(line, "name", json_string(event_object_name(cli, event)));
    json_object_set_new(line, "event", json_string(event->name));
    json_object_set_new(line, "text", json_string(details + strspn(details, ": ")));
    for (size_t i = 0; i < event->n_params; i++) {
        const struct kvasir_param *param = &event->params[i];
        json_t *value =
            param->type == KVASIR_PARAM_STRING ? json_string(param->value.s)
            : param->type == KVASIR_PARAM_DOUBLE
                ? json_real(param->value.d)
                : json_integer(kvasir_param_number(event->params, event->n_params, param->name, 0));
        json_object_set_new(params, param->name, value);
    }
    json_object_set_new(line, "details", params);
    json_dumpf(line, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
    putchar('\n');
    fflush(stdout);
    json_decref(line);
}
