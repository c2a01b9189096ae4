/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a machine's threads run and how much its disks may use (cputune and iotune of its domain),
 * before the guest's first instruction and when it is changed later; limits.c has the group.
 */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/util.h"
#include "daemon/machine/machine_internal.h"
#include "daemon/machine/tune.h"
#include "model/api_error.h"
#include "model/domain.h"

#define CPU_WORDS (CPU_SETSIZE / 64)

/* -------------------------------------------------------------------- affinity */

/* Without a list: where the daemon itself may run. */
static int pin(pid_t tid, const char *list, struct kv_error *err)
{
    uint64_t words[CPU_WORDS] = {0};
    cpu_set_t set;
    if (tid <= 0)
        return api_error(err, VIR_ERR_OPERATION_FAILED,
                         "a thread that is to be pinned does not say its number");
    if (list && parse_bitmap(list, words, CPU_WORDS) < 0)
        return api_error(err, VIR_ERR_INVALID_ARG, "Failed to parse bitmap '%s'", list);
    CPU_ZERO(&set);
    for (unsigned cpu = 0; list && cpu < CPU_SETSIZE; cpu++) {
        if (words[cpu / 64] & BIT(cpu % 64))
            CPU_SET(cpu, &set);
    }
    if (!list)
        sched_getaffinity(getpid(), sizeof(set), &set);
    return sched_setaffinity(tid, sizeof(set), &set) < 0
               ? kv_error_errno(err, KV_ERR_CONTROL, errno, "cannot set CPU affinity on process %d",
                                tid)
               : 0;
}

static const char *find_pin(const struct model_pin *pins, unsigned count, unsigned id,
                            const char *fallback)
{
    for (unsigned i = 0; i < count; i++) {
        if (pins[i].id == id)
            return pins[i].cpuset;
    }
    return fallback;
}

/* The monitor's other threads, and those that it starts later from them. */
static int pin_all(struct machine *machine, const char *list, struct kv_error *err)
{
    char path[64];
    int rc = 0;
    for (unsigned i = 0; list && i < MACHINE_PROCESSES; i++) {
        if (!machine->processes[i].pid)
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task", machine->processes[i].pid);
        DIR *dir = opendir(path);
        struct dirent *entry;
        while (dir && rc == 0 && (entry = readdir(dir))) {
            pid_t tid = atoi(entry->d_name);
            rc = tid ? pin(tid, list, err) : 0;
            rc = rc == -ESRCH ? 0 : rc; /* it ended meanwhile */
        }
        if (dir)
            closedir(dir);
    }
    return rc;
}

static int pin_vcpus(struct machine *machine, const struct model_domain *domain,
                     struct kv_error *err)
{
    struct machine_vcpu *vcpus;
    unsigned count;
    int rc = machine_query_vcpus(machine, NULL, &vcpus, &count, err);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; rc == 0 && i < count; i++)
        rc = pin(vcpus[i].tid,
                 find_pin(domain->cputune.vcpupins, domain->cputune.vcpupin_count, vcpus[i].index,
                          domain->cpuset),
                 err);
    free(vcpus);
    return rc;
}

static int pin_iothreads(struct machine *machine, const struct model_domain *domain,
                         struct kv_error *err)
{
    struct machine_iothread *threads;
    unsigned count;
    int rc = machine_query_iothreads(machine, domain, &threads, &count, err);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; rc == 0 && i < count; i++)
        rc = pin(threads[i].tid,
                 find_pin(domain->cputune.iothreadpins, domain->cputune.iothreadpin_count,
                          threads[i].id, domain->cpuset),
                 err);
    free(threads);
    return rc;
}

int machine_set_affinity(struct machine *machine, const struct model_domain *domain,
                         struct kv_error *err)
{
    const struct model_cputune *tune = &domain->cputune;
    if (!domain->cpuset && !tune->emulatorpin && !tune->vcpupin_count && !tune->iothreadpin_count)
        return 0;
    int rc = pin_all(machine, tune->emulatorpin ? tune->emulatorpin : domain->cpuset, err);
    if (rc == 0)
        rc = pin_vcpus(machine, domain, err);
    return rc < 0 ? rc : pin_iothreads(machine, domain, err);
}

/* ----------------------------------------------------------------------- disks */

static const struct {
    const char *name; /* of block_set_io_throttle */
    size_t offset;    /* in struct model_iotune */
    bool required;
} throttle_arguments[] = {
#define LIMIT(name, field)                                                           \
    {name, offsetof(struct model_iotune, field), true},                              \
        {name "_max", offsetof(struct model_iotune, field##_max), false},            \
    {                                                                                \
        name "_max_length", offsetof(struct model_iotune, field##_max_length), false \
    }
    LIMIT("bps", total_bytes_sec),
    LIMIT("bps_rd", read_bytes_sec),
    LIMIT("bps_wr", write_bytes_sec),
    LIMIT("iops", total_iops_sec),
    LIMIT("iops_rd", read_iops_sec),
    LIMIT("iops_wr", write_iops_sec),
    {"iops_size", offsetof(struct model_iotune, size_iops_sec), false},
};

static uint64_t iotune_field(const struct model_iotune *tune, size_t offset)
{
    return *(const uint64_t *)((const char *)tune + offset);
}

/* Options of the start have limits and bursts; what else there is goes this way. */
static bool options_suffice(const struct model_iotune *tune)
{
    return !tune->size_iops_sec && !tune->total_bytes_sec_max_length &&
           !tune->read_bytes_sec_max_length && !tune->write_bytes_sec_max_length &&
           !tune->total_iops_sec_max_length && !tune->read_iops_sec_max_length &&
           !tune->write_iops_sec_max_length;
}

int machine_throttle_disk(struct machine *machine, const struct model_disk *disk,
                          struct kv_error *err)
{
    const char *alias = disk->device.alias ? disk->device.alias : disk->target;
    json_t *arguments = json_pack("{s:s}", "device", alias);
    for (unsigned k = 0; k < ARRAY_SIZE(throttle_arguments); k++) {
        uint64_t value = iotune_field(&disk->iotune, throttle_arguments[k].offset);
        if (value || throttle_arguments[k].required)
            json_object_set_new(arguments, throttle_arguments[k].name,
                                json_integer((json_int_t)value));
    }
    if (disk->iotune.group)
        json_object_set_new(arguments, "group", json_string(disk->iotune.group));
    return machine_qmp(machine, "block_set_io_throttle", arguments, NULL, err);
}

static int throttle_disks(struct machine *machine, const struct model_domain *domain,
                          struct kv_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < domain->disk_count; i++) {
        if (!options_suffice(&domain->disks[i].iotune))
            rc = machine_throttle_disk(machine, &domain->disks[i], err);
    }
    return rc;
}

/* ---------------------------------------------------------------------- balloon */

static int set_first_balloon(struct machine *machine, const struct model_domain *domain,
                             struct kv_error *err)
{
    const struct model_memballoon *balloon = domain->memballoon;
    if (!balloon || balloon->none || !domain->current_memory_kib ||
        domain->current_memory_kib >= domain->memory_kib)
        return 0;
    return machine_set_balloon(machine, domain->current_memory_kib * 1024, err);
}

int machine_tune(struct machine *machine, const struct model_domain *domain, struct kv_error *err)
{
    int rc = machine_set_affinity(machine, domain, err);
    if (rc == 0)
        rc = machine_set_limits(machine, NULL, domain, err);
    if (rc == 0)
        rc = throttle_disks(machine, domain, err);
    return rc < 0 ? rc : set_first_balloon(machine, domain, err);
}
