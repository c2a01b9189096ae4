/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors and devices for a monitor that runs; see hand_over.h. Used by medium.c and plug.c. */
#include "daemon/machine/hand_over.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

#define FILES "add-fd" /* the option, and the command */
#define NAME_SIZE 24

/* Numbers of sets from here on are free. */
static int first_free_set(struct machine *machine, unsigned *first, struct kv_error *err)
{
    json_t *sets;
    int rc = machine_qmp(machine, "query-fdsets", NULL, &sets, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(sets); i++) {
        json_int_t id = json_integer_value(json_object_get(json_array_get(sets, i), "fdset-id"));
        *first = MAX(*first, (unsigned)id + 1);
    }
    if (rc == 0)
        json_decref(sets);
    return rc;
}

int hand_over_begin(struct plan *plan, struct machine *machine, const char *alias,
                    struct kv_error *err)
{
    *plan = (struct plan){
        .host = machine->host,
        .uuid = machine->uuid,
        .name = machine->name,
        .id = machine->id,
        .machine = machine,
        .device = alias,
        .runs = true,
        .config = json_object(),
        .record = {.json = json_object()},
    };
    pthread_mutex_lock(&machine->lock);
    const char *group = record_string(&machine->record, "cgroup");
    plan->cgroup = *group ? strdup(group) : NULL;
    bool complete = plan->config && plan->record.json && (plan->cgroup || !*group);
    pthread_mutex_unlock(&machine->lock);
    int rc = complete ? first_free_set(machine, &plan->fdset_count, err)
                      : api_error(err, VIR_ERR_NO_MEMORY, NULL);
    if (rc < 0)
        plan_free(plan);
    return rc;
}

int hand_over_files(struct plan *plan, struct kv_error *err)
{
    const json_t *files = json_object_get(plan->config, FILES);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(files); i++) {
        const json_t *file = json_array_get(files, i);
        rc = monitor_call_fd(plan->machine->monitor, FILES,
                             json_pack("{s:O, s:O}", "fdset-id", json_object_get(file, "set"),
                                       "opaque", json_object_get(file, "opaque")),
                             (int)json_integer_value(json_object_get(file, "fd")), NULL, err);
    }
    return rc;
}

void hand_over_forget_files(const struct plan *plan)
{
    const json_t *files = json_object_get(plan->config, FILES);
    for (size_t i = 0; i < json_array_size(files); i++)
        machine_qmp(
            plan->machine, "remove-fd",
            json_pack("{s:O}", "fdset-id", json_object_get(json_array_get(files, i), "set")), NULL,
            NULL);
}

/* ------------------------------------------------------------- named descriptors */

static void name_of(int fd, char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, "plug%d", fd);
}

static bool is_file(const struct plan *plan, int fd)
{
    const json_t *files = json_object_get(plan->config, FILES);
    for (size_t i = 0; i < json_array_size(files); i++) {
        if (json_integer_value(json_object_get(json_array_get(files, i), "fd")) == fd)
            return true;
    }
    return false;
}

static int send_named(struct plan *plan, struct kv_error *err)
{
    char name[NAME_SIZE];
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < plan->fd_count; i++) {
        name_of(plan->fds[i], name);
        if (!is_file(plan, plan->fds[i]))
            rc = monitor_call_fd(plan->machine->monitor, "getfd",
                                 json_pack("{s:s}", "fdname", name), plan->fds[i], NULL, err);
    }
    return rc;
}

/* Those that no device took. */
static void close_named(const struct plan *plan)
{
    char name[NAME_SIZE];
    for (unsigned i = 0; i < plan->fd_count; i++) {
        name_of(plan->fds[i], name);
        if (!is_file(plan, plan->fds[i]))
            machine_qmp(plan->machine, "closefd", json_pack("{s:s}", "fdname", name), NULL, NULL);
    }
}

/* "3:4" becomes "plug3:plug4". */
static json_t *name_list(const char *numbers)
{
    char list[PLAN_FDS_MAX], name[NAME_SIZE], *end;
    size_t len = 0;
    for (const char *at = numbers; *at && len < sizeof(list) - NAME_SIZE;
         at = *end ? end + 1 : end) {
        name_of((int)strtoul(at, &end, 10), name);
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", len ? ":" : "", name);
    }
    return json_string(list);
}

/* The value of an option in the monitor's words for descriptors of a request; NULL: as it is. */
static json_t *name_value(const char *option, const json_t *value)
{
    const char *text = json_string_value(value);
    char name[NAME_SIZE];
    if (strcmp(option, "fd") == 0) {
        name_of((int)json_integer_value(value), name);
        return json_string(name);
    }
    if (text && (strcmp(option, "fds") == 0 || strcmp(option, "vhost-fds") == 0))
        return name_list(text);
    if (text && strncmp(text, "fd:", 3) == 0) {
        name_of(atoi(text + 3), name);
        return json_sprintf("fd:%s", name);
    }
    return NULL;
}

static json_t *arguments_of(const char *driver, const json_t *options)
{
    json_t *arguments = json_pack("{s:s}", "driver", driver), *value;
    const char *option;
    json_object_foreach ((json_t *)options, option, value) {
        json_t *named = name_value(option, value);
        json_object_set_new(arguments, option, named ? named : json_incref(value));
    }
    return arguments;
}

int hand_over_device(struct plan *plan, struct kv_error *err)
{
    const char *driver = NULL;
    json_t *list, *options = NULL;
    json_object_foreach (plan->config, driver, list) {
        if (strcmp(driver, FILES) == 0)
            continue;
        options = json_array_get(list, 0);
        break;
    }
    if (!options)
        return api_error(err, VIR_ERR_INTERNAL_ERROR, "a device without a counterpart");
    json_t *arguments = arguments_of(driver, options);
    int rc = hand_over_files(plan, err);
    if (rc == 0)
        rc = send_named(plan, err);
    if (rc == 0)
        rc = machine_qmp(plan->machine, "device_add", json_incref(arguments), NULL, err);
    if (rc < 0)
        close_named(plan);
    hand_over_forget_files(plan);
    json_decref(arguments);
    return rc;
}
