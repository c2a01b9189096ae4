/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a machine may use of the host: cputune, memtune and blkiotune of its domain in its control
 * group (the kernel's cgroup-v2 document). Limits of single kinds of threads are in threaded groups
 * below it: "vcpu0", ..., "iothread1", ..., and "emulator" for all others.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "daemon/machine/cgroup.h"
#include "daemon/machine/machine_internal.h"
#include "daemon/machine/tune.h"
#include "model/api_error.h"
#include "model/domain.h"

#define PERIOD_DEFAULT 100000 /* microseconds */

enum limit_kind { WEIGHT, CPU_MAX, HARD, SOFT, SWAP, IO, LIMITS };

static const struct {
    const char *file, *none, *what;
} kinds[LIMITS] = {
    [WEIGHT] = {"cpu.weight", "100", "CPU tuning"},
    [CPU_MAX] = {"cpu.max", "max", "CPU tuning"},
    [HARD] = {"memory.max", "max", "Memory tuning"},
    [SOFT] = {"memory.high", "max", "Memory tuning"},
    [SWAP] = {"memory.swap.max", "max", "Memory tuning"},
    [IO] = {"io.weight", "default 100", "I/O tuning"},
};

/* As text for the kernel; empty: none. */
struct limits {
    char text[LIMITS][48];
};

static int not_here(const char *what, struct kv_error *err)
{
    return api_error(err, VIR_ERR_CONFIG_UNSUPPORTED, "%s is not available on this host", what);
}

static int write_limit(const char *group, const char *file, const char *text, const char *what,
                       struct kv_error *err)
{
    if (!*group)
        return not_here(what, err);
    int rc = cgroup_write(group, file, text);
    if (rc == -ENOENT)
        return not_here(what, err);
    return rc < 0 ? kv_error_errno(err, KV_ERR_CONTROL, -rc, "Unable to write '%s' to '%s/%s'",
                                   text, group, file)
                  : 0;
}

static void quota_text(char text[48], int64_t quota, uint64_t period)
{
    if (quota > 0)
        snprintf(text, 48, "%" PRId64 " %" PRIu64, quota, period ? period : PERIOD_DEFAULT);
}

static void bytes_text(char text[48], uint64_t kib)
{
    if (kib)
        snprintf(text, 48, "%" PRIu64, kib * 1024);
}

static void limits_of(struct limits *out, const struct model_domain *domain)
{
    const struct model_cputune *tune = &domain->cputune;
    *out = (struct limits){0};
    if (tune->shares)
        snprintf(out->text[WEIGHT], sizeof(out->text[WEIGHT]), "%" PRIu64, tune->shares);
    quota_text(out->text[CPU_MAX], tune->global_quota, tune->global_period);
    bytes_text(out->text[HARD], domain->hard_limit_kib);
    bytes_text(out->text[SOFT], domain->soft_limit_kib);
    /* libvirt's counts memory as well, the kernel's does not. */
    if (domain->swap_hard_limit_kib > domain->hard_limit_kib)
        bytes_text(out->text[SWAP], domain->swap_hard_limit_kib - domain->hard_limit_kib);
    if (domain->blkio_weight)
        snprintf(out->text[IO], sizeof(out->text[IO]), "default %u", domain->blkio_weight);
}

/* ------------------------------------------------------------ kinds of threads */

struct thread_limits {
    const char *group;
    char vcpu[48], iothread[48], emulator[48];
};

static void thread_limits_of(struct thread_limits *out, const char *group,
                             const struct model_domain *domain)
{
    const struct model_cputune *tune = &domain->cputune;
    *out = (struct thread_limits){.group = group};
    quota_text(out->vcpu, tune->quota, tune->period);
    quota_text(out->iothread, tune->iothread_quota, tune->iothread_period);
    quota_text(out->emulator, tune->emulator_quota, tune->emulator_period);
}

static bool any_thread_limit(const struct thread_limits *limits)
{
    return limits->vcpu[0] || limits->iothread[0] || limits->emulator[0];
}

/* A threaded group below the machine's with that limit; the thread goes there. */
static int limit_thread(const char *group, const char *name, pid_t tid, const char *limit,
                        struct kv_error *err)
{
    char path[600], number[16];
    snprintf(path, sizeof(path), "%s/%s", group, name);
    snprintf(number, sizeof(number), "%d", tid);
    int rc = cgroup_create_threaded(group, path);
    if (rc == -ENOENT)
        return not_here("CPU tuning", err);
    if (rc == 0)
        rc = cgroup_write(path, "cgroup.threads", number);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, -rc, "group '%s' of thread %d", path, tid);
    return write_limit(path, "cpu.max", *limit ? limit : "max", "CPU tuning", err);
}

static int limit_vcpus(struct machine *machine, const struct thread_limits *limits,
                       struct kv_error *err)
{
    struct machine_vcpu *vcpus;
    unsigned count;
    char name[24];
    int rc = machine_query_vcpus(machine, NULL, &vcpus, &count, err);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        snprintf(name, sizeof(name), "vcpu%u", vcpus[i].index);
        rc = limit_thread(limits->group, name, vcpus[i].tid, limits->vcpu, err);
    }
    free(vcpus);
    return rc;
}

static int limit_iothreads(struct machine *machine, const struct model_domain *domain,
                           const struct thread_limits *limits, struct kv_error *err)
{
    struct machine_iothread *threads;
    unsigned count;
    char name[24];
    int rc = machine_query_iothreads(machine, domain, &threads, &count, err);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        snprintf(name, sizeof(name), "iothread%u", threads[i].id);
        rc = limit_thread(limits->group, name, threads[i].tid, limits->iothread, err);
    }
    free(threads);
    return rc;
}

/* All that are still in the machine's own group; what they start later is limited with them. */
static int limit_emulator(const struct thread_limits *limits, struct kv_error *err)
{
    char path[600];
    int tid, rc = 0;
    snprintf(path, sizeof(path), "%s/cgroup.threads", limits->group);
    FILE *file = fopen(path, "re");
    while (file && rc == 0 && fscanf(file, "%d", &tid) == 1)
        rc = limit_thread(limits->group, "emulator", tid, limits->emulator, err);
    if (file)
        fclose(file);
    return rc;
}

static int set_thread_limits(struct machine *machine, const char *group,
                             const struct model_domain *old, const struct model_domain *domain,
                             struct kv_error *err)
{
    struct thread_limits before = {0}, limits;
    if (old)
        thread_limits_of(&before, group, old);
    thread_limits_of(&limits, group, domain);
    if (!any_thread_limit(&before) && !any_thread_limit(&limits))
        return 0;
    if (!*group)
        return not_here("CPU tuning", err);
    int rc = limit_vcpus(machine, &limits, err);
    if (rc == 0)
        rc = limit_iothreads(machine, domain, &limits, err);
    return rc < 0 ? rc : limit_emulator(&limits, err);
}

int machine_set_limits(struct machine *machine, const struct model_domain *old,
                       const struct model_domain *domain, struct kv_error *err)
{
    struct limits before = {0}, limits;
    pthread_mutex_lock(&machine->lock);
    cleanup_free char *group = strdup(record_string(&machine->record, "cgroup"));
    pthread_mutex_unlock(&machine->lock);
    if (!group)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    if (old)
        limits_of(&before, old);
    limits_of(&limits, domain);
    for (unsigned i = 0; i < LIMITS; i++) {
        if (strcmp(before.text[i], limits.text[i]) == 0)
            continue;
        const char *text = limits.text[i][0] ? limits.text[i] : kinds[i].none;
        int rc = write_limit(group, kinds[i].file, text, kinds[i].what, err);
        if (rc < 0)
            return rc;
    }
    return set_thread_limits(machine, group, old, domain, err);
}
