/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block jobs: starting them, what can be done with them, and what they tell (block/job.h). */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "vmm/control/action.h"
#include "vmm/control/blockdev.h"
#include "vmm/control/commands.h"
#include "vmm/machine/machine.h"

const char *const job_on_error_values[] = {"report", "ignore", "stop", "enospc", "auto", NULL};
static const char *const sync_values[] = {"full", "top", "none", "incremental", "bitmap", NULL};
static const char *const mirror_sync_values[] = {"full", "top", "none", NULL};
static const char *const copy_mode_values[] = {"background", "write-blocking", NULL};
static const char *const bitmap_mode_values[] = {"on-success", "never", "always", NULL};

static enum job_on_error on_error(const struct qmp_call *call, const char *name)
{
    static const enum job_on_error meanings[] = {JOB_ON_ERROR_REPORT, JOB_ON_ERROR_IGNORE,
                                                 JOB_ON_ERROR_STOP, JOB_ON_ERROR_ENOSPC,
                                                 JOB_ON_ERROR_REPORT};
    return meanings[qmp_enum(call, name, 0)];
}

/* A number of bytes or the like; -1: it is negative, which the error says. */
static int64_t amount(struct qmp_call *call, const char *name)
{
    int64_t value = 0;
    if (qmp_integer(call, name, &value) && value < 0) {
        qmp_fail(call, QMP_GENERIC_ERROR, "Parameter '%s' expects a non-negative value", name);
        return -1;
    }
    return value;
}

/* Arguments that a command's table does not have are not there. */
bool job_options_read(struct qmp_call *call, struct job_options *out)
{
    bool automatic = true;
    int64_t speed = amount(call, "speed");
    const char *id = qmp_string(call, "job-id");
    *out = (struct job_options){
        .id = id ? id : qmp_string(call, "device"),
        .speed = (uint64_t)speed,
    };
    out->manual_finalize = qmp_boolean(call, "auto-finalize", &automatic) && !automatic;
    out->manual_dismiss = qmp_boolean(call, "auto-dismiss", &automatic) && !automatic;
    return speed >= 0;
}

static bool option(const struct qmp_call *call, const char *name, bool otherwise)
{
    qmp_boolean(call, name, &otherwise);
    return otherwise;
}

/* ------------------------------------------------------------------------ starting */

static json_t *blockdev_mirror(struct qmp_call *call)
{
    struct mirror_options options = {
        .sync = (enum job_sync)qmp_enum(call, "sync", JOB_SYNC_FULL),
        .copy_mode = (enum job_copy_mode)qmp_enum(call, "copy-mode", JOB_COPY_BACKGROUND),
        .replaces = qmp_string(call, "replaces"),
        .filter_name = qmp_string(call, "filter-node-name"),
    };
    int64_t granularity = amount(call, "granularity"), buffer = amount(call, "buf-size");
    if (!job_options_read(call, &options.job) || granularity < 0 || buffer < 0)
        return NULL;
    if (granularity > INT32_MAX)
        return qmp_fail(call, QMP_GENERIC_ERROR,
                        "Parameter 'granularity' expects a value in range [512B, 64MB]");
    options.granularity = (uint32_t)granularity;
    options.buf_size = (uint64_t)buffer;
    options.job.on_source_error = on_error(call, "on-source-error");
    options.job.on_target_error = on_error(call, "on-target-error");
    options.no_unmap = !option(call, "unmap", true);
    options.target_is_zero = option(call, "target-is-zero", false);
    options.source = action_find_node(call, "device");
    options.target = options.source ? action_find_node(call, "target") : NULL;
    int rc = options.target ? mirror_start(&options, &call->error) : -EINVAL;
    block_close(options.source);
    block_close(options.target);
    return rc < 0 ? NULL : qmp_done();
}

/* A layer of a chain by its node's name or, under a name of its own, its file's. NULL with an error
 * when one was named and is not there. */
static struct block_node *find_layer(struct qmp_call *call, struct block_node *chain,
                                     const char *by_name, const char *by_file)
{
    const char *name = qmp_string(call, by_name), *file = qmp_string(call, by_file);
    struct block_node *found = NULL;
    if (name && file) {
        qmp_fail(call, QMP_GENERIC_ERROR, "'%s' and '%s' cannot be specified at the same time",
                 by_name, by_file);
        return NULL;
    }
    if (name)
        return qmp_find_node(call, name);
    block_graph_lock();
    for (struct block_node *node = chain; file && node && !found; node = block_backing(node)) {
        if (strcmp(block_name(node), file) == 0)
            found = block_ref(node);
    }
    block_graph_unlock();
    if (file && !found)
        qmp_fail(call, QMP_GENERIC_ERROR, "'%s' not found in the backing chain", file);
    return found;
}

/* The file of an image that a job is going to write to, by the name of a descriptor. */
static bool take_file(struct qmp_call *call, int *fd)
{
    const char *name = qmp_string(call, "x-kvasir-fd");
    *fd = name ? qmp_fd_take(call->server, name) : -1;
    if (name && *fd < 0)
        qmp_fail(call, QMP_GENERIC_ERROR, "File descriptor named '%.100s' not found", name);
    return !name || *fd >= 0;
}

static void close_file(int fd)
{
    if (fd >= 0)
        close(fd);
}

static json_t *block_commit(struct qmp_call *call)
{
    struct commit_options options = {
        .backing_file = qmp_string(call, "backing-file"),
        .filter_name = qmp_string(call, "filter-node-name"),
        .backing_mask_protocol = option(call, "backing-mask-protocol", false),
        .base_fd = -1,
    };
    if (!job_options_read(call, &options.job) || !take_file(call, &options.base_fd))
        return NULL;
    options.job.on_target_error = on_error(call, "on-error");
    struct block_node *device = action_find_node(call, "device");
    bool given = device && (qmp_string(call, "top-node") || qmp_string(call, "top"));
    if (device)
        options.top = given ? find_layer(call, device, "top-node", "top") : block_ref(device);
    if (options.top)
        options.base = find_layer(call, device, "base-node", "base");
    int rc = options.top && !call->error.code ? commit_start(&options, &call->error) : -EINVAL;
    close_file(options.base_fd);
    block_close(device);
    block_close(options.top);
    block_close(options.base);
    return rc < 0 ? NULL : qmp_done();
}

static json_t *block_stream(struct qmp_call *call)
{
    struct stream_options options = {
        .backing_file = qmp_string(call, "backing-file"),
        .filter_name = qmp_string(call, "filter-node-name"),
        .node_fd = -1,
    };
    if (!job_options_read(call, &options.job) || !take_file(call, &options.node_fd))
        return NULL;
    options.job.on_source_error = on_error(call, "on-error");
    options.node = action_find_node(call, "device");
    if (options.node)
        options.base = find_layer(call, options.node, "base-node", "base");
    int rc = options.node && !call->error.code ? stream_start(&options, &call->error) : -EINVAL;
    close_file(options.node_fd);
    block_close(options.node);
    block_close(options.base);
    return rc < 0 ? NULL : qmp_done();
}

static int backup_open(struct action *action)
{
    action->node = action_find_node(&action->call, "device");
    return action->node ? 0 : -EINVAL;
}

static int backup_prepare(struct action *action)
{
    struct qmp_call *call = &action->call;
    struct backup_options options = {
        .source = action->node,
        .sync = (enum job_sync)qmp_enum(call, "sync", JOB_SYNC_FULL),
        .bitmap = qmp_string(call, "bitmap"),
        .bitmap_mode = (enum job_bitmap_mode)qmp_enum(call, "bitmap-mode", JOB_BITMAP_ON_SUCCESS),
        .filter_name = qmp_string(call, "filter-node-name"),
        .compress = option(call, "compress", false),
    };
    if (!job_options_read(call, &options.job))
        return -EINVAL;
    options.job.on_source_error = on_error(call, "on-source-error");
    options.job.on_target_error = on_error(call, "on-target-error");
    options.job.txn = action->txn;
    action->other = action_find_node(call, "target");
    options.target = action->other;
    return action->other ? backup_start(&options, &call->error) : -EINVAL;
}

static void backup_undo(struct action *action)
{
    struct job_options options;
    struct kv_error err = {0};
    job_options_read(&action->call, &options);
    struct job *job = job_find(options.id);
    if (!job)
        return;
    job_cancel(job, true, &err);
    job_put(job);
}

/* ------------------------------------------------------------------------- control */

/* By the argument "id" or, of the older commands, "device". Not a block job: the older commands do
 * not know it. */
static struct job *find_job(struct qmp_call *call)
{
    const char *id = qmp_string(call, "id"), *device = qmp_string(call, "device");
    struct job *job = job_find(id ? id : device);
    if (!job && id)
        qmp_fail(call, QMP_GENERIC_ERROR, "Job not found");
    else if (!job)
        qmp_fail(call, QMP_DEVICE_NOT_ACTIVE, "Block job '%.100s' not found", device);
    return job;
}

static int set_speed(struct qmp_call *call, struct job *job)
{
    int64_t speed = amount(call, "speed");
    return speed < 0 ? -EINVAL : job_set_speed(job, (uint64_t)speed, &call->error);
}

static int cancel(struct qmp_call *call, struct job *job)
{
    return job_cancel(job, option(call, "force", false), &call->error);
}

/* job-cancel is always by force. */
static int abort_job(struct qmp_call *call, struct job *job)
{
    return job_cancel(job, true, &call->error);
}

static int change(struct qmp_call *call, struct job *job)
{
    return job_set_copy_mode(job, (enum job_copy_mode)qmp_enum(call, "copy-mode", 0), &call->error);
}

#define PLAIN(name_)                                               \
    static int name_##_job(struct qmp_call *call, struct job *job) \
    {                                                              \
        return job_##name_(job, &call->error);                     \
    }
PLAIN(pause)
PLAIN(resume)
PLAIN(complete)
PLAIN(finalize)
PLAIN(dismiss)

static const struct {
    const char *name;
    int (*run)(struct qmp_call *call, struct job *job);
} controls[] = {
    {"block-job-cancel", cancel},
    {"block-job-change", change},
    {"block-job-complete", complete_job},
    {"block-job-dismiss", dismiss_job},
    {"block-job-finalize", finalize_job},
    {"block-job-pause", pause_job},
    {"block-job-resume", resume_job},
    {"block-job-set-speed", set_speed},
    {"job-cancel", abort_job},
    {"job-complete", complete_job},
    {"job-dismiss", dismiss_job},
    {"job-finalize", finalize_job},
    {"job-pause", pause_job},
    {"job-resume", resume_job},
};

static json_t *control(struct qmp_call *call)
{
    unsigned i = 0;
    while (strcmp(controls[i].name, call->command->name) != 0)
        i++;
    struct job *job = find_job(call);
    if (!job)
        return NULL;
    int rc = controls[i].run(call, job);
    job_put(job);
    return rc < 0 ? NULL : qmp_done();
}

/* ------------------------------------------------------------------------- telling */

static void describe_job(void *opaque, struct job *job)
{
    struct job_info info;
    job_get_info(job, &info);
    json_t *row =
        json_pack("{s:s, s:s, s:s, s:I, s:I}", "id", info.id, "type", job_type_name(info.type),
                  "status", job_status_name(info.status), "current-progress",
                  (json_int_t)info.current, "total-progress", (json_int_t)info.total);
    if (*info.error)
        json_object_set_new(row, "error", json_string(info.error));
    json_array_append_new(opaque, row);
}

static void describe_block_job(void *opaque, struct job *job)
{
    struct job_info info;
    job_get_info(job, &info);
    if (!info.block_job)
        return;
    json_t *row = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:I, s:b, s:b, s:b, s:s, s:b, s:b}", "device", info.id, "type",
        job_type_name(info.type), "status", job_status_name(info.status), "len",
        (json_int_t)info.total, "offset", (json_int_t)info.current, "speed", (json_int_t)info.speed,
        "busy", info.busy, "paused", info.paused, "ready", info.ready, "io-status",
        info.no_space    ? "nospace"
        : info.failed_io ? "failed"
                         : "ok",
        "auto-finalize", !info.manual_finalize, "auto-dismiss", !info.manual_dismiss);
    if (info.type == JOB_MIRROR)
        json_object_set_new(row, "actively-synced", json_boolean(info.actively_synced));
    if (*info.error)
        json_object_set_new(row, "error", json_string(info.error));
    json_array_append_new(opaque, row);
}

static json_t *query_jobs(struct qmp_call *call)
{
    json_t *list = json_array();
    job_each(describe_job, list);
    return list;
}

static json_t *query_block_jobs(struct qmp_call *call)
{
    json_t *list = json_array();
    job_each(describe_block_job, list);
    return list;
}

static json_t *describe_end(const struct job_info *info)
{
    json_t *data = json_pack("{s:s, s:s, s:I, s:I, s:I}", "type", job_type_name(info->type),
                             "device", info->id, "len", (json_int_t)info->total, "offset",
                             (json_int_t)info->current, "speed", (json_int_t)info->speed);
    if (*info->error)
        json_object_set_new(data, "error", json_string(info->error));
    return data;
}

void job_event_arrived(void *opaque, const struct job_event *event)
{
    static const char *const names[] = {
        [JOB_EVENT_STATUS] = "JOB_STATUS_CHANGE",
        [JOB_EVENT_READY] = "BLOCK_JOB_READY",
        [JOB_EVENT_PENDING] = "BLOCK_JOB_PENDING",
        [JOB_EVENT_ERROR] = "BLOCK_JOB_ERROR",
        [JOB_EVENT_COMPLETED] = "BLOCK_JOB_COMPLETED",
        [JOB_EVENT_CANCELLED] = "BLOCK_JOB_CANCELLED",
    };
    const struct job_info *info = &event->info;
    json_t *data;
    if (event->kind == JOB_EVENT_STATUS)
        data = json_pack("{s:s, s:s}", "id", info->id, "status", job_status_name(info->status));
    else if (event->kind == JOB_EVENT_PENDING)
        data = json_pack("{s:s, s:s}", "type", job_type_name(info->type), "id", info->id);
    else if (event->kind == JOB_EVENT_ERROR)
        data = json_pack("{s:s, s:s, s:s}", "device", info->id, "operation",
                         event->is_read ? "read" : "write", "action",
                         job_on_error_values[event->action]);
    else
        data = describe_end(info);
    machine_emit(opaque, names[event->kind], data);
}

/* -------------------------------------------------------------------------- tables */

#define ON_ERROR(name_)                                                    \
    {                                                                      \
        name_, QMP_STRING, .optional = true, .values = job_on_error_values \
    }

static const struct qmp_argument mirror_arguments[] = {
    JOB_ARGUMENTS,
    {"target", QMP_STRING},
    {"sync", QMP_STRING, .values = mirror_sync_values},
    {"replaces", QMP_STRING, .optional = true},
    {"granularity", QMP_INTEGER, .optional = true},
    {"buf-size", QMP_INTEGER, .optional = true},
    ON_ERROR("on-source-error"),
    ON_ERROR("on-target-error"),
    {"unmap", QMP_BOOLEAN, .optional = true},
    {"copy-mode", QMP_STRING, .optional = true, .values = copy_mode_values},
    {"target-is-zero", QMP_BOOLEAN, .optional = true},
    {NULL},
};
static const struct qmp_argument commit_arguments[] = {
    JOB_ARGUMENTS,
    {"base-node", QMP_STRING, .optional = true},
    {"base", QMP_STRING, .optional = true},
    {"top-node", QMP_STRING, .optional = true},
    {"top", QMP_STRING, .optional = true},
    {"backing-file", QMP_STRING, .optional = true},
    {"backing-mask-protocol", QMP_BOOLEAN, .optional = true},
    ON_ERROR("on-error"),
    {"x-kvasir-fd", QMP_STRING, .optional = true},
    {NULL},
};
static const struct qmp_argument stream_arguments[] = {
    JOB_ARGUMENTS,
    {"base-node", QMP_STRING, .optional = true},
    {"base", QMP_STRING, .optional = true},
    {"backing-file", QMP_STRING, .optional = true},
    ON_ERROR("on-error"),
    {"x-kvasir-fd", QMP_STRING, .optional = true},
    {NULL},
};
static const struct qmp_argument backup_arguments[] = {
    JOB_ARGUMENTS,
    {"target", QMP_STRING},
    {"sync", QMP_STRING, .values = sync_values},
    {"bitmap", QMP_STRING, .optional = true},
    {"bitmap-mode", QMP_STRING, .optional = true, .values = bitmap_mode_values},
    {"compress", QMP_BOOLEAN, .optional = true},
    ON_ERROR("on-source-error"),
    ON_ERROR("on-target-error"),
    {NULL},
};
static const struct qmp_argument device_arguments[] = {
    {"device", QMP_STRING},
    {NULL},
};
static const struct qmp_argument cancel_arguments[] = {
    {"device", QMP_STRING},
    {"force", QMP_BOOLEAN, .optional = true},
    {NULL},
};
static const struct qmp_argument speed_arguments[] = {
    {"device", QMP_STRING},
    {"speed", QMP_INTEGER},
    {NULL},
};
static const struct qmp_argument id_arguments[] = {
    {"id", QMP_STRING},
    {NULL},
};
static const char *const mirror_type[] = {"mirror", NULL};
static const struct qmp_argument change_arguments[] = {
    {"id", QMP_STRING},
    {"type", QMP_STRING, .values = mirror_type},
    {"copy-mode", QMP_STRING, .values = copy_mode_values},
    {NULL},
};

const struct action_type backup_actions[] = {
    {"blockdev-backup", backup_open, backup_prepare, NULL, backup_undo},
    {NULL},
};

const struct qmp_command qmp_job_commands[] = {
    {"blockdev-backup", "the target becomes what the disk is at this moment", action_run,
     backup_arguments},
    {"blockdev-mirror", "copies a disk while it is used; then it can go on on the copy",
     blockdev_mirror, mirror_arguments},
    {"block-commit", "data of layers goes down to the one under them", block_commit,
     commit_arguments},
    {"block-stream", "data of the layers under it comes up to a layer", block_stream,
     stream_arguments},
    {"query-block-jobs", "jobs of disks", query_block_jobs},
    {"query-jobs", "all jobs", query_jobs},
    {"block-job-cancel", "ends a job; a ready one leaves its target complete", control,
     cancel_arguments},
    {"block-job-change", "from background to write-blocking", control, change_arguments},
    {"block-job-complete", "what a ready job waits for", control, device_arguments},
    {"block-job-dismiss", "forgets a job that is over", control, id_arguments},
    {"block-job-finalize", "what a pending job waits for", control, id_arguments},
    {"block-job-pause", "a job stands still", control, device_arguments},
    {"block-job-resume", "a job goes on", control, device_arguments},
    {"block-job-set-speed", "bytes a second; 0: no limit", control, speed_arguments},
    {"job-cancel", "ends a job by force", control, id_arguments},
    {"job-complete", "what a ready job waits for", control, id_arguments},
    {"job-dismiss", "forgets a job that is over", control, id_arguments},
    {"job-finalize", "what a pending job waits for", control, id_arguments},
    {"job-pause", "a job stands still", control, id_arguments},
    {"job-resume", "a job goes on", control, id_arguments},
    {NULL},
};
