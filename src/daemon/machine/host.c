/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all machines of a daemon share: directories, the loop thread, the records on disk. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "daemon/machine/cgroup.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

#define RECORD_SUFFIX ".json"
#define UUID_LEN 36
#define UNWANTED_GRACE_MS 2000

static void *run_loop(void *opaque)
{
    struct machine_host *host = opaque;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    loop_run(&host->loop);
    return NULL;
}

/* Every part of the path that is missing. */
static int make_directory(const char *path, mode_t mode, struct kv_error *err)
{
    char part[PATH_MAX];
    if ((size_t)snprintf(part, sizeof(part), "%s", path) >= sizeof(part))
        return api_error(err, VIR_ERR_INVALID_ARG, "directory '%.100s...' is too long", path);
    for (char *at = part + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        mkdir(part, 0755);
        *at = '/';
    }
    struct stat st;
    if (mkdir(part, mode) == 0 || (stat(part, &st) == 0 && S_ISDIR(st.st_mode)))
        return 0;
    return kv_error_errno(err, KV_ERR_CONTROL, errno, "directory '%s'", path);
}

/* Where this program lies, there the monitor is, too; else PATH decides. */
static char *find_monitor(const char *given)
{
    char own[PATH_MAX], *path = NULL;
    if (given)
        return strdup(given);
    ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
    if (n > 0) {
        own[n] = '\0';
        *strrchr(own, '/') = '\0';
        if (asprintf(&path, "%s/kvasir-vmm", own) >= 0 && access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return strdup("kvasir-vmm");
}

static void free_strings(struct machine_host *host)
{
    free(host->run_dir);
    free(host->log_dir);
    free(host->vmm_path);
    free(host->user);
    free(host->tpm_dir);
    free(host->vnc_tls_dir);
    free(host->cgroup);
}

int machine_host_create(struct machine_host **out, const struct machine_host_config *config,
                        struct kv_error *err)
{
    int rc = make_directory(config->run_dir, 0700, err);
    if (rc == 0)
        rc = make_directory(config->log_dir, 0700, err);
    if (rc < 0)
        return rc;
    struct machine_host *host = calloc(1, sizeof(*host));
    if (!host)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    host->run_dir = strdup(config->run_dir);
    host->log_dir = strdup(config->log_dir);
    host->vmm_path = find_monitor(config->vmm_path);
    host->user = config->user ? strdup(config->user) : NULL;
    host->session = config->session;
    host->tpm_dir = strdup(config->tpm_dir ? config->tpm_dir : config->run_dir);
    host->vnc_tls_dir = config->vnc_tls_dir ? strdup(config->vnc_tls_dir) : NULL;
    host->vnc_tls_verify = config->vnc_tls_verify;
    host->cgroup = cgroup_find_parent(config->cgroup);
    list_init(&host->machines);
    pthread_mutex_init(&host->lock, NULL);
    rc = loop_init(&host->loop, err);
    if (rc == 0) {
        int code = pthread_create(&host->thread, NULL, run_loop, host);
        if (code)
            loop_destroy(&host->loop);
        rc = code ? kv_error_errno(err, KV_ERR_CONTROL, code, "thread of the machines") : 0;
    }
    if (rc < 0) {
        free_strings(host);
        pthread_mutex_destroy(&host->lock);
        free(host);
        return rc;
    }
    pthread_setname_np(host->thread, "machines");
    *out = host;
    return 0;
}

void machine_host_free(struct machine_host *host)
{
    if (!host)
        return;
    loop_stop(&host->loop);
    pthread_join(host->thread, NULL);
    loop_destroy(&host->loop);
    pthread_mutex_destroy(&host->lock);
    free_strings(host);
    free(host);
}

/* --------------------------------------------------------------------- records */

/* Ends a machine's processes, the one in the jail first: it holds the disks. */
static void end_processes(struct process *outer)
{
    struct process inner;
    bool jailed = process_open_child(&inner, outer) == 0;
    process_signal(outer, SIGTERM);
    if (!process_wait(outer, UNWANTED_GRACE_MS) && jailed)
        process_signal(&inner, SIGKILL);
    process_end(outer, UNWANTED_GRACE_MS);
    if (jailed)
        process_end(&inner, UNWANTED_GRACE_MS);
}

int machine_record_kill(struct machine_host *host, const char *uuid, struct kv_error *err)
{
    struct record record;
    struct process process;
    int rc = record_load(&record, host->run_dir, uuid, err);
    if (rc < 0)
        return rc;
    if (record_open_process(json_object_get(record.json, "process"), &process) == 0)
        end_processes(&process);
    record_undo_all(&record);
    record_free(&record);
    return 0;
}

struct scan {
    struct machine_host *host;
    void (*fn)(void *opaque, const struct machine_record *record);
    void *opaque;
};

/* A machine whose start was not finished when the daemon died never became anybody's. */
static bool is_alive(const struct record *record)
{
    struct process process;
    if (record_open_process(json_object_get(record->json, "process"), &process) < 0)
        return false;
    bool alive = json_is_true(json_object_get(record->json, "started"));
    if (!alive)
        end_processes(&process);
    process_close(&process);
    return alive;
}

static void scan_record(const struct scan *scan, const char *uuid)
{
    struct record record;
    struct kv_error err = {0};
    char reason[256] = "", path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s" RECORD_SUFFIX, scan->host->run_dir, uuid);
    if (record_load(&record, scan->host->run_dir, uuid, &err) < 0) {
        log_warning("%s; it is removed", err.message);
        unlink(path);
        return;
    }
    bool alive = is_alive(&record);
    struct machine_record found = {
        .uuid = uuid,
        .name = record_string(&record, "name"),
        .id = (int)json_integer_value(json_object_get(record.json, "id")),
        .alive = alive,
        .end = MACHINE_END_FAILED,
        .reason = reason,
        .document = record_string(&record, "document"),
    };
    if (!alive) {
        machine_last_words(record_string(&record, "log"),
                           json_integer_value(json_object_get(record.json, "log-start")), reason,
                           sizeof(reason));
        /* Nothing in the log: it ended in order. */
        found.end = reason[0] ? MACHINE_END_FAILED : MACHINE_END_SHUTDOWN;
        record_undo_all(&record);
    }
    scan->fn(scan->opaque, &found);
    record_free(&record);
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

int machine_host_scan(struct machine_host *host,
                      void (*fn)(void *opaque, const struct machine_record *record), void *opaque,
                      struct kv_error *err)
{
    struct scan scan = {host, fn, opaque};
    struct dirent **names;
    int count = scandir(host->run_dir, &names, NULL, alphasort);
    if (count < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, errno, "directory '%s'", host->run_dir);
    for (int i = 0; i < count; i++) {
        char *name = names[i]->d_name, path[PATH_MAX];
        size_t len = strlen(name);
        snprintf(path, sizeof(path), "%s/%s", host->run_dir, name);
        if (ends_with(name, ".new")) {
            unlink(path); /* of a record that was being written */
        } else if (ends_with(name, RECORD_SUFFIX) && len == UUID_LEN + strlen(RECORD_SUFFIX)) {
            name[UUID_LEN] = '\0';
            scan_record(&scan, name);
        }
        free(names[i]);
    }
    free(names);
    return 0;
}
