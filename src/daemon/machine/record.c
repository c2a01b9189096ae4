/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records of machines and what they say is to be removed; see record.h. */
#include "daemon/machine/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "daemon/machine/cgroup.h"
#include "daemon/machine/net/net.h"

#define HELPER_GRACE_MS 500
#define DYING_MS 500
#define DYING_STEP_MS 5

static const char *boot_id(void)
{
    static char id[64];
    if (!id[0]) {
        cleanup_fd int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, id, sizeof(id) - 1);
        id[n > 0 ? strcspn(id, "\n") : 0] = '\0';
    }
    return id;
}

static int set_path(struct record *record, const char *run_dir, const char *uuid,
                    struct kv_error *err)
{
    *record = (struct record){.path = NULL};
    if (asprintf(&record->path, "%s/%s.json", run_dir, uuid) < 0) {
        record->path = NULL;
        return kv_error_set(err, KV_ERR_CONTROL, ENOMEM, "record of machine: out of memory");
    }
    return 0;
}

int record_init(struct record *record, const char *run_dir, const char *uuid, const char *name,
                int id, struct kv_error *err)
{
    int rc = set_path(record, run_dir, uuid, err);
    if (rc == 0)
        record->json = json_pack("{s:i, s:s, s:s, s:i, s:[]}", "version", 1, "uuid", uuid, "name",
                                 name, "id", id, "undo");
    if (rc == 0 && !record->json)
        rc = kv_error_set(err, KV_ERR_CONTROL, EINVAL, "machine '%s': its name is no UTF-8", name);
    if (rc < 0)
        record_free(record);
    return rc;
}

int record_load(struct record *record, const char *run_dir, const char *uuid, struct kv_error *err)
{
    json_error_t where;
    int rc = set_path(record, run_dir, uuid, err);
    if (rc < 0)
        return rc;
    record->json = json_load_file(record->path, JSON_REJECT_DUPLICATES, &where);
    if (json_is_object(record->json))
        return 0;
    rc = access(record->path, F_OK) < 0
             ? kv_error_set(err, KV_ERR_CONTROL, ENOENT, "there is no record '%s'", record->path)
             : kv_error_set(err, KV_ERR_CONTROL, EINVAL, "record '%s': %s", record->path,
                            where.text);
    record_free(record);
    return rc;
}

void record_free(struct record *record)
{
    json_decref(record->json);
    free(record->path);
    *record = (struct record){.path = NULL};
}

int record_save(const struct record *record, struct kv_error *err)
{
    char fresh[PATH_MAX];
    cleanup_free char *text = json_dumps(record->json, JSON_INDENT(1));
    if (!text || (size_t)snprintf(fresh, sizeof(fresh), "%s.new", record->path) >= sizeof(fresh))
        return kv_error_set(err, KV_ERR_CONTROL, ENOMEM, "record '%s': out of memory",
                            record->path);
    cleanup_fd int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
    if (rc == 0 && rename(fresh, record->path) < 0)
        rc = -errno;
    if (rc < 0) {
        unlink(fresh);
        return kv_error_errno(err, KV_ERR_CONTROL, -rc, "record '%s'", record->path);
    }
    return 0;
}

int record_set(struct record *record, const char *name, json_t *value, struct kv_error *err)
{
    if (json_object_set_new(record->json, name, value) < 0)
        return kv_error_set(err, KV_ERR_CONTROL, ENOMEM, "record '%s': out of memory",
                            record->path);
    return record_save(record, err);
}

const char *record_string(const struct record *record, const char *name)
{
    const char *value = json_string_value(json_object_get(record->json, name));
    return value ? value : "";
}

json_t *record_describe_process(const struct process *process)
{
    return json_pack("{s:i, s:I, s:s}", "pid", process->pid, "start-time",
                     (json_int_t)process->start_time, "boot", boot_id());
}

int record_open_process(const json_t *described, struct process *process)
{
    const char *boot = json_string_value(json_object_get(described, "boot"));
    *process = PROCESS_INIT;
    if (!boot || strcmp(boot, boot_id()) != 0)
        return -ESRCH;
    return process_open(process, (pid_t)json_integer_value(json_object_get(described, "pid")),
                        (uint64_t)json_integer_value(json_object_get(described, "start-time")));
}

int record_add_undo(struct record *record, json_t *undo, struct kv_error *err)
{
    if (!undo || json_array_append_new(json_object_get(record->json, "undo"), undo) < 0)
        return kv_error_set(err, KV_ERR_CONTROL, ENOMEM, "record '%s': out of memory",
                            record->path);
    return record_save(record, err);
}

/* ------------------------------------------------------------------------ undo */

static const char *member(const json_t *undo, const char *name)
{
    const char *value = json_string_value(json_object_get(undo, name));
    return value ? value : "";
}

static void undo_file(const json_t *undo)
{
    if (unlink(member(undo, "path")) < 0 && errno != ENOENT)
        log_warning("'%s' is left behind: %s", member(undo, "path"), strerror(errno));
}

/* The path may have been a user's choice, where something else lies: that stays. */
static void undo_socket(const json_t *undo)
{
    int rc = fd_unlink_stale_unix(member(undo, "path"));
    for (unsigned i = 0; rc == -EADDRINUSE && i < DYING_MS; i += DYING_STEP_MS) {
        usleep(DYING_STEP_MS * 1000); /* of the monitor, which still dies? */
        rc = fd_unlink_stale_unix(member(undo, "path"));
    }
    if (rc < 0 && rc != -ENOENT)
        log_warning("'%s' stays: %s", member(undo, "path"), strerror(-rc));
}

static void undo_process(const json_t *undo)
{
    struct process process;
    if (record_open_process(undo, &process) == 0)
        process_end(&process, HELPER_GRACE_MS);
}

static void undo_cgroup(const json_t *undo)
{
    cgroup_remove(member(undo, "path"));
}

static void undo_link(const json_t *undo)
{
    net_remove_link(member(undo, "name"), member(undo, "mac"));
}

static void undo_ovs_port(const json_t *undo)
{
    net_remove_ovs_port(member(undo, "name"));
}

static const struct {
    const char *kind;
    void (*run)(const json_t *undo);
} undo_kinds[] = {
    {"file", undo_file},     {"socket", undo_socket}, {"process", undo_process},
    {"cgroup", undo_cgroup}, {"link", undo_link},     {"ovs-port", undo_ovs_port},
};

json_t *record_undo_of(const struct record *record, const char *device)
{
    json_t *found = json_array(), *undo;
    size_t i;
    json_array_foreach (json_object_get(record->json, "undo"), i, undo) {
        if (strcmp(member(undo, "device"), device) == 0)
            json_array_append(found, undo);
    }
    return found;
}

void record_drop_undo(struct record *record, const json_t *undo)
{
    json_t *list = json_object_get(record->json, "undo");
    struct kv_error err;
    for (size_t i = json_array_size(list); i-- > 0;) {
        for (size_t k = 0; k < json_array_size(undo); k++) {
            if (json_array_get(list, i) == json_array_get(undo, k)) {
                json_array_remove(list, i);
                break;
            }
        }
    }
    if (record_save(record, &err) < 0)
        log_warning("%s", err.message);
}

void record_run_undo(const json_t *list)
{
    for (size_t i = json_array_size(list); i-- > 0;) {
        const json_t *undo = json_array_get(list, i);
        for (unsigned k = 0; k < ARRAY_SIZE(undo_kinds); k++) {
            if (strcmp(undo_kinds[k].kind, member(undo, "kind")) == 0)
                undo_kinds[k].run(undo);
        }
    }
}

void record_undo_all(struct record *record)
{
    record_run_undo(json_object_get(record->json, "undo"));
    if (unlink(record->path) < 0 && errno != ENOENT)
        log_warning("'%s' is left behind: %s", record->path, strerror(errno));
}
