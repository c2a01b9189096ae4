/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a monitor will be given, as it is put together; see plan.h. */
#include "daemon/machine/plan.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "daemon/machine/cgroup.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

static int out_of_memory(struct kv_error *err)
{
    return api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

static int make_group(struct plan *plan, struct kv_error *err)
{
    if (!plan->host->cgroup)
        return 0;
    /* The directory tells the daemon: another one of this host may have a machine of this UUID. */
    struct stat st = {0};
    stat(plan->host->run_dir, &st);
    if (asprintf(&plan->cgroup, "%s/%s.%jx-%jx", plan->host->cgroup, plan->uuid,
                 (uintmax_t)st.st_dev, (uintmax_t)st.st_ino) < 0) {
        plan->cgroup = NULL;
        return out_of_memory(err);
    }
    int rc = record_add_undo(&plan->record,
                             json_pack("{s:s, s:s}", "kind", "cgroup", "path", plan->cgroup), err);
    /* A host where groups come and go is no reason not to run. */
    if (rc == 0 && cgroup_create(plan->cgroup) < 0)
        free(take_ptr(plan->cgroup));
    if (rc == 0 && plan->cgroup)
        rc = record_set(&plan->record, "cgroup", json_string(plan->cgroup), err);
    return rc;
}

int plan_init(struct plan *plan, struct machine_host *host, const char *uuid, const char *name,
              int id, machine_event_fn *event, void *opaque, struct kv_error *err)
{
    *plan = (struct plan){.host = host, .id = id};
    int rc = machine_new(&plan->machine, host, uuid, name, id, event, opaque, err);
    if (rc < 0)
        return rc;
    plan->uuid = plan->machine->uuid;
    plan->name = plan->machine->name;
    plan->config = json_object();
    rc = plan->config ? record_init(&plan->record, host->run_dir, uuid, name, id, err)
                      : out_of_memory(err);
    if (rc == 0)
        rc = record_save(&plan->record, err);
    if (rc == 0)
        rc = make_group(plan, err);
    if (rc < 0)
        plan_abort(plan);
    return rc;
}

void plan_give_away(struct plan *plan)
{
    for (unsigned i = 0; i < plan->fd_count; i++)
        close(plan->fds[i]);
    free(take_ptr(plan->fds));
    plan->fd_count = 0;
}

void plan_free(struct plan *plan)
{
    plan_give_away(plan);
    json_decref(plan->config);
    record_free(&plan->record);
    free(plan->cgroup);
    *plan = (struct plan){.host = plan->host};
}

void plan_abort(struct plan *plan)
{
    plan_give_away(plan); /* taps go with their descriptors */
    if (plan->record.json)
        record_undo_all(&plan->record);
    machine_delete(plan->machine);
    plan_free(plan);
}

int plan_add_fd(struct plan *plan, int fd, struct kv_error *err)
{
    cleanup_fd int owned = fd;
    int *grown = plan->fd_count < PLAN_FDS_MAX
                     ? realloc(plan->fds, (plan->fd_count + 1) * sizeof(*grown))
                     : NULL;
    if (!grown)
        return out_of_memory(err);
    plan->fds = grown;
    plan->fds[plan->fd_count++] = take_fd(&owned);
    return 0;
}

json_t *plan_fd_text(struct plan *plan, int fd, struct kv_error *err)
{
    json_t *text = json_sprintf("fd:%d", fd);
    if (plan_add_fd(plan, fd, err) < 0) {
        json_decref(text);
        return NULL;
    }
    return text;
}

int plan_add_file(struct plan *plan, int fd, const char *label, json_t **out, struct kv_error *err)
{
    int rc = plan_add_fd(plan, fd, err);
    unsigned set = plan->fdset_count++;
    if (rc == 0)
        rc =
            plan_add(plan, "add-fd",
                     json_pack("{s:i, s:i, s:s}", "fd", fd, "set", (int)set, "opaque", label), err);
    if (rc == 0) {
        *out = json_sprintf("/dev/fdset/%u", set);
        rc = *out ? 0 : out_of_memory(err);
    }
    return rc;
}

int plan_set(struct plan *plan, const char *option, json_t *value, struct kv_error *err)
{
    if (!value || json_object_set_new(plan->config, option, value) < 0)
        return api_error(err, VIR_ERR_INTERNAL_ERROR, "option '%s' of the monitor", option);
    return 0;
}

int plan_add(struct plan *plan, const char *option, json_t *value, struct kv_error *err)
{
    json_t *list = json_object_get(plan->config, option);
    if (!list) {
        list = json_array();
        json_object_set_new(plan->config, option, list);
    }
    if (!value || json_array_append_new(list, value) < 0)
        return api_error(err, VIR_ERR_INTERNAL_ERROR, "option '%s' of the monitor", option);
    return 0;
}

int plan_note(struct plan *plan, const char *kind, const char *alias, json_t *value,
              struct kv_error *err)
{
    json_t *facts = json_object_get(plan->record.json, kind);
    if (!facts) {
        facts = json_object();
        json_object_set_new(plan->record.json, kind, facts);
    }
    return json_object_set_new(facts, alias, value) < 0 ? out_of_memory(err) : 0;
}

int plan_add_undo(struct plan *plan, json_t *undo, struct kv_error *err)
{
    if (undo && plan->device)
        json_object_set_new(undo, "device", json_string(plan->device));
    if (!plan->runs)
        return record_add_undo(&plan->record, undo, err);
    pthread_mutex_lock(&plan->machine->lock);
    int rc = record_add_undo(&plan->machine->record, undo, err);
    pthread_mutex_unlock(&plan->machine->lock);
    return rc;
}

int plan_listen(struct plan *plan, const char *path, struct kv_error *err)
{
    const char *own = plan->host->run_dir;
    bool is_own = strncmp(path, own, strlen(own)) == 0 && path[strlen(own)] == '/';
    int rc = plan_add_undo(
        plan, json_pack("{s:s, s:s}", "kind", is_own ? "file" : "socket", "path", path), err);
    return rc < 0 ? rc : fd_listen_unix(path, err);
}

int plan_note_process(void *opaque, const struct process *process, struct kv_error *err)
{
    struct plan *plan = opaque;
    json_t *undo = record_describe_process(process);
    json_object_set_new(undo, "kind", json_string("process"));
    return plan_add_undo(plan, undo, err);
}
