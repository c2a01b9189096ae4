/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Figures of a running machine: from its monitor, /proc and /sys; see machine.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"
#include "model/domain.h"

#define STAT_UTIME (14 - 3) /* proc(5), less what stands before the state */
#define STAT_STIME (15 - 3)
#define STAT_PROCESSOR (39 - 3)

static uint64_t number(const json_t *object, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(object, name));
    return value < 0 ? 0 : (uint64_t)value;
}

static void copy_text(char *out, size_t size, const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    snprintf(out, size, "%s", text ? text : "");
}

/* A list of the monitor's as an array of structs. */
static int fill_list(const json_t *list, size_t item_size, void *out, unsigned *count,
                     struct kv_error *err)
{
    size_t n = json_array_size(list);
    void *items = calloc(MAX(n, (size_t)1), item_size);
    if (!items)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    *(void **)out = items;
    *count = (unsigned)n;
    return 0;
}

/* --------------------------------------------------------------------- questions */

enum question {
    QUERY_CPUS,
    QUERY_BALLOON,
    QUERY_GUEST_STATS,
    QUERY_MEMORY_SIZE,
    QUERY_BLOCK,
    QUERY_BLOCKSTATS,
    QUERY_METRICS,
    QUESTIONS,
};

/* A machine has a balloon, or it has its memory. */
static const struct {
    const char *command;
    unsigned asked_for; /* MACHINE_ASK_* */
    bool with_balloon, without_balloon;
} questions[QUESTIONS] = {
    [QUERY_CPUS] = {"query-cpus-fast", MACHINE_ASK_VCPUS, true, true},
    [QUERY_BALLOON] = {"query-balloon", MACHINE_ASK_MEMORY, true, false},
    [QUERY_GUEST_STATS] = {"qom-get", MACHINE_ASK_MEMORY, true, false},
    [QUERY_MEMORY_SIZE] = {"query-memory-size-summary", MACHINE_ASK_MEMORY, false, true},
    [QUERY_BLOCK] = {"query-block", MACHINE_ASK_DISKS, true, true},
    [QUERY_BLOCKSTATS] = {"query-blockstats", MACHINE_ASK_DISKS, true, true},
    [QUERY_METRICS] = {"x-kvasir-metrics", MACHINE_ASK_NICS, true, true},
};

struct machine_asked {
    struct machine *machine;
    struct monitor_call *calls[QUESTIONS];
};

static bool has_balloon(struct machine *machine)
{
    pthread_mutex_lock(&machine->lock);
    bool there = *record_string(&machine->record, "balloon");
    pthread_mutex_unlock(&machine->lock);
    return there;
}

static json_t *arguments_of(struct machine *machine, enum question question)
{
    if (question != QUERY_GUEST_STATS)
        return NULL;
    pthread_mutex_lock(&machine->lock);
    json_t *path =
        json_sprintf("/machine/peripheral/%s", record_string(&machine->record, "balloon"));
    pthread_mutex_unlock(&machine->lock);
    return json_pack("{s:o, s:s}", "path", path, "property", "guest-stats");
}

struct machine_asked *machine_ask(struct machine *machine, unsigned wanted)
{
    struct machine_asked *asked = calloc(1, sizeof(*asked));
    if (!asked || machine_check_alive(machine, NULL) < 0) {
        free(asked);
        return NULL;
    }
    bool balloon = has_balloon(machine);
    asked->machine = machine;
    for (unsigned i = 0; i < QUESTIONS; i++) {
        bool fits = balloon ? questions[i].with_balloon : questions[i].without_balloon;
        if (fits && (questions[i].asked_for & wanted))
            asked->calls[i] = monitor_begin(machine->monitor, questions[i].command,
                                            arguments_of(machine, (enum question)i));
    }
    return asked;
}

/* The answer to a question that was asked already, or that is asked now. */
static int take(struct machine *machine, struct machine_asked *asked, enum question question,
                json_t **out, struct kv_error *err)
{
    const char *command = questions[question].command;
    struct monitor_call *call = asked ? asked->calls[question] : NULL;
    if (!call)
        return machine_qmp(machine, command, arguments_of(machine, question), out, err);
    asked->calls[question] = NULL;
    return monitor_finish(machine->monitor, call, command, out, 0, err);
}

void machine_asked_free(struct machine_asked *asked)
{
    for (unsigned i = 0; asked && i < QUESTIONS; i++)
        if (asked->calls[i])
            monitor_finish(asked->machine->monitor, asked->calls[i], questions[i].command, NULL, 0,
                           NULL);
    free(asked);
}

/* ----------------------------------------------------------------------- threads */

static void read_thread(pid_t tid, struct machine_vcpu *vcpu)
{
    long long fields[PROCESS_FIELDS];
    char path[64];
    uint64_t tick = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    vcpu->host_cpu = -1;
    snprintf(path, sizeof(path), "%d", tid);
    int n = process_read_stat(path, fields);
    if (n > STAT_STIME) {
        vcpu->user_ns = (uint64_t)fields[STAT_UTIME] * tick;
        vcpu->system_ns = (uint64_t)fields[STAT_STIME] * tick;
        vcpu->time_ns = vcpu->user_ns + vcpu->system_ns;
    }
    if (n > STAT_PROCESSOR)
        vcpu->host_cpu = (int)fields[STAT_PROCESSOR];
    /* Finer where the kernel has it: "ran waited slices", in nanoseconds. */
    snprintf(path, sizeof(path), "/proc/%d/schedstat", tid);
    FILE *file = fopen(path, "re");
    uint64_t ran, waited;
    if (file && fscanf(file, "%" SCNu64 " %" SCNu64, &ran, &waited) == 2) {
        vcpu->time_ns = MAX(ran, vcpu->time_ns);
        vcpu->wait_ns = waited;
    }
    if (file)
        fclose(file);
}

static void read_exits(const json_t *stats, struct machine_vcpu *vcpu)
{
    const struct {
        const char *name;
        uint64_t *figure;
    } figures[] = {
        {"exits", &vcpu->exits},           {"halt_exits", &vcpu->halt_exits},
        {"io_exits", &vcpu->io_exits},     {"irq_exits", &vcpu->irq_exits},
        {"mmio_exits", &vcpu->mmio_exits}, {"signal_exits", &vcpu->signal_exits},
    };
    for (size_t i = 0; i < ARRAY_SIZE(figures); i++)
        *figures[i].figure =
            json_object_get(stats, figures[i].name) ? number(stats, figures[i].name) : UINT64_MAX;
}

int machine_query_vcpus(struct machine *machine, struct machine_asked *asked,
                        struct machine_vcpu **vcpus, unsigned *count, struct kv_error *err)
{
    json_t *list;
    int rc = take(machine, asked, QUERY_CPUS, &list, err);
    if (rc < 0)
        return rc;
    rc = fill_list(list, sizeof(**vcpus), vcpus, count, err);
    for (unsigned i = 0; rc == 0 && i < *count; i++) {
        const json_t *item = json_array_get(list, i);
        struct machine_vcpu *vcpu = &(*vcpus)[i];
        vcpu->index = (unsigned)number(item, "cpu-index");
        vcpu->tid = (pid_t)number(item, "thread-id");
        vcpu->host_cpu = -1;
        read_exits(json_object_get(item, "x-kvasir-stats"), vcpu);
        if (vcpu->tid)
            read_thread(vcpu->tid, vcpu);
    }
    json_decref(list);
    return rc;
}

/* The monitor's are numbered as the domain lists them; of a domain without any it has one of its
 * own. */
int machine_query_iothreads(struct machine *machine, const struct model_domain *domain,
                            struct machine_iothread **iothreads, unsigned *count,
                            struct kv_error *err)
{
    json_t *list;
    int rc = machine_qmp(machine, "query-iothreads", NULL, &list, err);
    if (rc < 0)
        return rc;
    rc = fill_list(list, sizeof(**iothreads), iothreads, count, err);
    *count = rc == 0 ? MIN(*count, domain->iothreads) : 0;
    for (unsigned i = 0; rc == 0 && i < *count; i++)
        (*iothreads)[i] = (struct machine_iothread){
            .id = domain->iothread_ids[i],
            .tid = (pid_t)number(json_array_get(list, i), "thread-id"),
        };
    json_decref(list);
    return rc;
}

int machine_query_cpu_time(struct machine *machine, struct machine_cpu_time *out,
                           struct kv_error *err)
{
    *out = (struct machine_cpu_time){.total_ns = 0};
    int rc = machine_check_alive(machine, err);
    for (unsigned i = 0; rc == 0 && i < MACHINE_PROCESSES; i++) {
        uint64_t user, system;
        if (!machine->processes[i].pid || process_times(machine->processes[i].pid, &user, &system))
            continue;
        out->user_ns += user;
        out->system_ns += system;
    }
    out->total_ns = out->user_ns + out->system_ns;
    return rc;
}

/* ------------------------------------------------------------------------ memory */

static uint64_t resident_bytes(pid_t pid)
{
    char path[64];
    uint64_t size, resident = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%" SCNu64 " %" SCNu64, &size, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static const struct {
    const char *name; /* of QEMU's guest-stats */
    size_t offset;
} guest_stats[] = {
    {"stat-swap-in", offsetof(struct machine_memory, swap_in)},
    {"stat-swap-out", offsetof(struct machine_memory, swap_out)},
    {"stat-major-faults", offsetof(struct machine_memory, major_faults)},
    {"stat-minor-faults", offsetof(struct machine_memory, minor_faults)},
    {"stat-free-memory", offsetof(struct machine_memory, unused)},
    {"stat-total-memory", offsetof(struct machine_memory, available)},
    {"stat-available-memory", offsetof(struct machine_memory, usable)},
    {"stat-disk-caches", offsetof(struct machine_memory, disk_caches)},
    {"stat-htlb-pgalloc", offsetof(struct machine_memory, hugetlb_pgalloc)},
    {"stat-htlb-pgfail", offsetof(struct machine_memory, hugetlb_pgfail)},
};

static void set_guest_stats(struct machine_memory *out, const json_t *stats)
{
    for (unsigned i = 0; i < ARRAY_SIZE(guest_stats); i++) {
        const json_t *value = json_object_get(json_object_get(stats, "stats"), guest_stats[i].name);
        uint64_t *field = (uint64_t *)((char *)out + guest_stats[i].offset);
        /* The monitor says -1 for what the guest did not tell. */
        *field = value && json_integer_value(value) >= 0 ? (uint64_t)json_integer_value(value)
                                                         : UINT64_MAX;
    }
    out->last_update = number(stats, "last-update");
}

int machine_query_memory(struct machine *machine, struct machine_asked *asked,
                         struct machine_memory *out, struct kv_error *err)
{
    json_t *answer = NULL;
    int rc = machine_check_alive(machine, err);
    if (rc < 0)
        return rc;
    *out = (struct machine_memory){.actual = 0};
    set_guest_stats(out, NULL);
    for (unsigned i = 0; i < MACHINE_PROCESSES; i++) {
        if (machine->processes[i].pid)
            out->rss += resident_bytes(machine->processes[i].pid);
    }
    if (!has_balloon(machine)) {
        rc = take(machine, asked, QUERY_MEMORY_SIZE, &answer, err);
        if (rc == 0)
            out->actual = number(answer, "base-memory");
        json_decref(answer);
        return rc;
    }
    rc = take(machine, asked, QUERY_BALLOON, &answer, err);
    if (rc < 0)
        return rc;
    out->actual = number(answer, "actual");
    json_decref(answer);
    /* Before the guest's driver is there it has no statistics; that is no failure. */
    if (take(machine, asked, QUERY_GUEST_STATS, &answer, NULL) == 0) {
        set_guest_stats(out, answer);
        json_decref(answer);
    }
    return 0;
}

/* ------------------------------------------------------------------------- disks */

/* How large the image's file or device is. */
static uint64_t physical_size(struct machine *machine, const char *alias)
{
    uint64_t bytes = 0;
    struct stat st;
    pthread_mutex_lock(&machine->lock);
    const char *path =
        json_string_value(json_object_get(json_object_get(machine->record.json, "disks"), alias));
    cleanup_fd int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
    pthread_mutex_unlock(&machine->lock);
    if (fd < 0 || fstat(fd, &st) < 0)
        return 0;
    if (S_ISREG(st.st_mode))
        return (uint64_t)st.st_size;
    return ioctl(fd, BLKGETSIZE64, &bytes) < 0 ? 0 : bytes;
}

static void read_disk(struct machine *machine, const json_t *item, struct machine_disk *disk)
{
    const json_t *image = json_object_get(json_object_get(item, "inserted"), "image");
    copy_text(disk->alias, sizeof(disk->alias), item, "device");
    disk->capacity = number(image, "virtual-size");
    disk->allocation = number(image, "actual-size");
    disk->physical = physical_size(machine, disk->alias);
    disk->has_backing = json_object_get(image, "backing-image");
    const char *status = json_string_value(json_object_get(item, "io-status"));
    disk->io_error = status && strcmp(status, "ok") != 0;
}

static void read_disk_stats(const json_t *stats, struct machine_disk *disk)
{
    disk->rd_ops = number(stats, "rd_operations");
    disk->rd_bytes = number(stats, "rd_bytes");
    disk->rd_ns = number(stats, "rd_total_time_ns");
    disk->wr_ops = number(stats, "wr_operations");
    disk->wr_bytes = number(stats, "wr_bytes");
    disk->wr_ns = number(stats, "wr_total_time_ns");
    disk->flush_ops = number(stats, "flush_operations");
    disk->flush_ns = number(stats, "flush_total_time_ns");
    disk->discard_ops = number(stats, "unmap_operations");
    disk->discard_bytes = number(stats, "unmap_bytes");
    disk->failed = number(stats, "failed_rd_operations") + number(stats, "failed_wr_operations") +
                   number(stats, "failed_flush_operations");
}

int machine_query_disks(struct machine *machine, struct machine_asked *asked,
                        struct machine_disk **disks, unsigned *count, struct kv_error *err)
{
    json_t *list, *stats;
    int rc = take(machine, asked, QUERY_BLOCK, &list, err);
    if (rc < 0)
        return rc;
    rc = take(machine, asked, QUERY_BLOCKSTATS, &stats, err);
    if (rc == 0) {
        rc = fill_list(list, sizeof(**disks), disks, count, err);
        for (unsigned i = 0; rc == 0 && i < *count; i++) {
            const json_t *row = json_array_get(stats, i);
            read_disk(machine, json_array_get(list, i), &(*disks)[i]);
            read_disk_stats(json_object_get(row, "stats"), &(*disks)[i]);
        }
        json_decref(stats);
    }
    json_decref(list);
    return rc;
}

/* -------------------------------------------------------------------------- nics */

static uint64_t sys_counter(const char *interface, const char *name)
{
    char path[128];
    uint64_t value = 0;
    snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/%s", interface, name);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%" SCNu64, &value) != 1)
        value = 0;
    if (file)
        fclose(file);
    return value;
}

static void read_nic(const json_t *metrics, struct machine_nic *nic)
{
    size_t i;
    json_t *pair, *pairs = json_object_get(metrics, "pairs");
    nic->link_up = json_is_true(json_object_get(metrics, "link"));
    json_array_foreach (pairs, i, pair) {
        const json_t *rx = json_object_get(pair, "rx"), *tx = json_object_get(pair, "tx");
        nic->rx_bytes += number(rx, "bytes");
        nic->rx_packets += number(rx, "packets");
        nic->rx_drops += number(rx, "drops");
        nic->tx_bytes += number(tx, "bytes");
        nic->tx_packets += number(tx, "packets");
        nic->tx_drops += number(tx, "drops");
    }
    if (pairs || !nic->target[0])
        return;
    /* The kernel moves the frames and counts them, seen from the host. */
    nic->rx_bytes = sys_counter(nic->target, "tx_bytes");
    nic->rx_packets = sys_counter(nic->target, "tx_packets");
    nic->rx_drops = sys_counter(nic->target, "tx_dropped");
    nic->tx_bytes = sys_counter(nic->target, "rx_bytes");
    nic->tx_packets = sys_counter(nic->target, "rx_packets");
    nic->tx_drops = sys_counter(nic->target, "rx_dropped");
}

int machine_query_nics(struct machine *machine, struct machine_asked *asked,
                       struct machine_nic **nics, unsigned *count, struct kv_error *err)
{
    json_t *metrics, *value;
    const char *alias;
    int rc = take(machine, asked, QUERY_METRICS, &metrics, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&machine->lock);
    json_t *facts = json_object_get(machine->record.json, "nics");
    *nics = calloc(MAX(json_object_size(facts), (size_t)1), sizeof(**nics));
    *count = 0;
    json_object_foreach (facts, alias, value) {
        struct machine_nic *nic = *nics ? &(*nics)[(*count)++] : NULL;
        if (!nic)
            break;
        snprintf(nic->alias, sizeof(nic->alias), "%s", alias);
        copy_text(nic->target, sizeof(nic->target), value, "target");
        read_nic(json_object_get(json_object_get(metrics, "devices"), alias), nic);
    }
    pthread_mutex_unlock(&machine->lock);
    json_decref(metrics);
    return *nics ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}
