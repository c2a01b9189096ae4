/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a planned machine: the monitor's process, the connection to it, the
 * guest's first instruction. Also makes and frees struct machine, for
 * reattach.c as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "daemon/machine/machine_internal.h"
#include "daemon/machine/plan.h"
#include "model/api_error.h"

#define START_TIMEOUT_MS 300000 /* memory may have to be touched first */
#define LOG_MAX MIB(2)          /* then the log of earlier runs is put aside */

/* -------------------------------------------------------------- struct machine */

static struct machine *find_by_uuid(struct machine_host *host, const char *uuid)
{
    list_for_each (pos, &host->machines) {
        struct machine *machine = list_entry(pos, struct machine, node);
        if (strcmp(machine->uuid, uuid) == 0)
            return machine;
    }
    return NULL;
}

int machine_new(struct machine **out, struct machine_host *host, const char *uuid, const char *name,
                int id, machine_event_fn *event, void *opaque, struct kv_error *err)
{
    struct machine *machine = calloc(1, sizeof(*machine));
    if (!machine)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    *machine = (struct machine){.host = host, .id = id, .event = event, .opaque = opaque};
    machine->uuid = strdup(uuid);
    machine->name = strdup(name);
    if (asprintf(&machine->control_path, "%s/%s.qmp", host->run_dir, uuid) < 0)
        machine->control_path = NULL;
    if (asprintf(&machine->log_path, "%s/%s.log", host->log_dir, name) < 0)
        machine->log_path = NULL;
    for (unsigned i = 0; i < MACHINE_PROCESSES; i++) {
        machine->processes[i] = PROCESS_INIT;
        machine->deaths[i] = LOOP_SOURCE_INIT;
    }
    list_init(&machine->sessions);
    list_init(&machine->node);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&machine->lock, NULL);
    pthread_cond_init(&machine->changed, &attr);
    pthread_condattr_destroy(&attr);
    machine->state = MACHINE_PAUSED;
    machine->pause = MACHINE_PAUSE_STARTING;
    machine->lifecycle[VIR_DOMAIN_LIFECYCLE_REBOOT] = VIR_DOMAIN_LIFECYCLE_ACTION_RESTART;

    bool complete = machine->uuid && machine->name && machine->control_path && machine->log_path;
    complete = machine_agent_init(&machine->agent) == 0 && complete;
    pthread_mutex_lock(&host->lock);
    bool taken = complete && find_by_uuid(host, uuid);
    if (complete && !taken)
        list_add_tail(&host->machines, &machine->node);
    pthread_mutex_unlock(&host->lock);
    if (!complete || taken) {
        machine_delete(machine);
        return taken ? api_error(err, VIR_ERR_OPERATION_INVALID, "domain is already running")
                     : api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    *out = machine;
    return 0;
}

void machine_delete(struct machine *machine)
{
    pthread_mutex_lock(&machine->host->lock);
    list_del(&machine->node);
    pthread_mutex_unlock(&machine->host->lock);
    monitor_free(machine->monitor);
    for (unsigned i = 0; i < MACHINE_PROCESSES; i++)
        process_close(&machine->processes[i]);
    record_free(&machine->record);
    machine_agent_destroy(&machine->agent);
    pthread_mutex_destroy(&machine->lock);
    pthread_cond_destroy(&machine->changed);
    free(machine->uuid);
    free(machine->name);
    free(machine->control_path);
    free(machine->log_path);
    free(machine);
}

void machine_free(struct machine *machine)
{
    if (!machine)
        return;
    machine_unwatch(machine);
    pthread_mutex_lock(&machine->lock);
    if (machine->dead)
        record_undo_all(&machine->record);
    pthread_mutex_unlock(&machine->lock);
    machine_delete(machine);
}

/* ------------------------------------------------------------------ the process */

/* One file takes the log of all runs; the one before it is kept when it has grown. */
static int open_log(struct machine *machine, struct kv_error *err)
{
    struct stat st;
    if (stat(machine->log_path, &st) == 0 && st.st_size > (off_t)LOG_MAX) {
        cleanup_free char *old = NULL;
        if (asprintf(&old, "%s.0", machine->log_path) >= 0)
            rename(machine->log_path, old);
    }
    cleanup_fd int fd =
        open(machine->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, errno, "log '%s'", machine->log_path);
    char line[128];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    size_t n = strftime(line, sizeof(line), "%Y-%m-%d %H:%M:%S+0000: starting up\n", &utc);
    fd_write_all(fd, line, n);
    machine->log_start = fstat(fd, &st) == 0 ? st.st_size : 0;
    return take_fd(&fd);
}

static int write_config(const json_t *config, struct kv_error *err)
{
    cleanup_free char *text = json_dumps(config, JSON_COMPACT);
    cleanup_fd int fd = memfd_create("kvasir-config", MFD_CLOEXEC);
    int rc = fd < 0 ? -errno : text ? fd_write_all(fd, text, strlen(text)) : -ENOMEM;
    if (rc == 0 && lseek(fd, 0, SEEK_SET) < 0)
        rc = -errno;
    return rc < 0 ? kv_error_errno(err, KV_ERR_CONTROL, -rc, "configuration of the monitor")
                  : take_fd(&fd);
}

/* Before the monitor executes: whoever comes after us finds it. */
static int note_process(void *opaque, const struct process *process, struct kv_error *err)
{
    struct plan *plan = opaque;
    char path[512], text[16];
    int n = snprintf(text, sizeof(text), "%d\n", process->pid);
    snprintf(path, sizeof(path), "%s/%s.pid", plan->host->run_dir, plan->uuid);
    int rc =
        record_add_undo(&plan->record, json_pack("{s:s, s:s}", "kind", "file", "path", path), err);
    if (rc < 0)
        return rc;
    cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    rc = fd < 0 ? -errno : fd_write_all(fd, text, (size_t)n);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, -rc, "pid file '%s'", path);
    return record_set(&plan->record, "process", record_describe_process(process), err);
}

static int run_monitor(struct machine *machine, struct plan *plan, struct kv_error *err)
{
    const char *argv[] = {plan->host->vmm_path, "--config", "-", NULL};
    cleanup_fd int log = open_log(machine, err);
    cleanup_fd int config = log < 0 ? -1 : write_config(plan->config, err);
    if (log < 0 || config < 0)
        return log < 0 ? log : config;
    json_object_set_new(plan->record.json, "log", json_string(machine->log_path));
    json_object_set_new(plan->record.json, "log-start", json_integer(machine->log_start));
    const struct process_spec spec = {
        .argv = argv,
        .fds = plan->fds,
        .fd_count = plan->fd_count,
        .in = config,
        .out = log,
        .err = log,
        .cgroup = plan->cgroup,
    };
    return process_start(&machine->processes[0], &spec, note_process, plan, err);
}

static int add_process_options(struct machine *machine, struct plan *plan, struct kv_error *err)
{
    int fd = plan_listen(plan, machine->control_path, err);
    if (fd < 0)
        return fd;
    int rc = plan_set(plan, "control", plan_fd_text(plan, fd, err), err);
    if (rc == 0)
        rc = plan_set(plan, "paused", json_true(), err);
    if (rc == 0 && plan->host->user && geteuid() == 0)
        rc = plan_set(plan, "user", json_string(plan->host->user), err);
    if (rc < 0)
        return rc;
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, errno, "/dev/kvm cannot be opened");
    rc = plan_add_fd(plan, kvm, err);
    return rc < 0 ? rc : plan_set(plan, "kvm-fd", json_integer(kvm), err);
}

/* The reason that the monitor itself gave beats what was seen of it. */
static void explain_failure(struct machine *machine, int code, struct kv_error *err)
{
    char words[256];
    if (code == -ETIMEDOUT || !process_wait(&machine->processes[0], 1000))
        return;
    machine_last_words(machine->log_path, machine->log_start, words, sizeof(words));
    api_error(err, VIR_ERR_INTERNAL_ERROR, "process exited while connecting to monitor: %s",
              words[0] ? words : "it gave no reason");
}

/* The names of the terminals that the monitor made, for consoles and for the live document. */
static int note_terminals(struct machine *machine, struct kv_error *err)
{
    json_t *list, *item, *facts = json_object_get(machine->record.json, "chardevs");
    size_t i;
    int rc = monitor_call(machine->monitor, "query-chardev", NULL, &list, 0, err);
    if (rc < 0)
        return rc;
    if (!facts) {
        facts = json_object();
        json_object_set_new(machine->record.json, "chardevs", facts);
    }
    json_array_foreach (list, i, item) {
        const char *label = json_string_value(json_object_get(item, "label"));
        const char *name = json_string_value(json_object_get(item, "filename"));
        if (!label || !name || strncmp(name, "pty:", 4) != 0)
            continue; /* what was opened here is known */
        json_object_set_new(facts, label, json_pack("{s:s, s:s}", "type", "pty", "path", name + 4));
        if (!json_object_get(machine->record.json, "first-console"))
            json_object_set_new(machine->record.json, "first-console", json_string(label));
    }
    json_decref(list);
    const char *twin;
    json_object_foreach (json_object_get(machine->record.json, "twins"), twin, item)
        json_object_set(facts, twin, json_object_get(facts, json_string_value(item)));
    return 0;
}

/* Nobody else knows the machine yet, so its fields need no lock until it is watched. */
static int bring_up(struct machine *machine, struct plan *plan, struct kv_error *err)
{
    int rc = add_process_options(machine, plan, err);
    if (rc == 0)
        rc = run_monitor(machine, plan, err);
    if (rc < 0)
        return rc;
    plan_give_away(plan);
    machine->record = plan->record;
    plan->record = (struct record){.path = NULL};
    machine_agent_restore(machine);
    struct monitor_handler handler = machine_handler(machine);
    rc = monitor_connect(&machine->monitor, machine->control_path, &machine->processes[0],
                         START_TIMEOUT_MS, &machine->host->loop, &handler, err);
    if (rc < 0) {
        explain_failure(machine, rc, err);
        return rc;
    }
    process_open_child(&machine->processes[1], &machine->processes[0]);
    pthread_mutex_lock(&machine->lock);
    rc = note_terminals(machine, err);
    if (rc == 0)
        rc = record_set(&machine->record, "started", json_true(), err);
    machine->pause = MACHINE_PAUSE_USER;
    pthread_mutex_unlock(&machine->lock);
    return rc < 0 ? rc : machine_watch(machine, err);
}

static void end_processes(struct machine *machine)
{
    machine_unwatch(machine);
    process_signal(&machine->processes[1], SIGKILL);
    if (machine->processes[0].pidfd >= 0)
        process_end(&machine->processes[0], machine->processes[1].pidfd >= 0 ? 1000 : 0);
    process_wait(&machine->processes[1], -1);
}

int machine_launch(struct machine **out, struct plan *plan, bool paused, struct kv_error *err)
{
    struct machine *machine = plan->machine;
    int rc = bring_up(machine, plan, err);
    if (rc == 0 && !paused)
        rc = machine_cont(machine, err);
    if (rc < 0) {
        end_processes(machine);
        if (machine->record.json)
            record_undo_all(&machine->record);
        plan_abort(plan);
        return rc;
    }
    plan_free(plan);
    *out = machine;
    return 0;
}
