/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a machine is to be: the scalar options in one struct, described by one
 * table, and the devices as parsed configurations of their classes in the order
 * given. Filled by the command line and by --config (JSON, the same names).
 */
#ifndef KV_VMM_MACHINE_CONFIG_H
#define KV_VMM_MACHINE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/options.h"

struct device_class;

struct device_config {
    const struct device_class *class;
    void *config; /* class->config_size bytes, owned */
};

/* Memory options (--memory size=,...). */
struct memory_config {
    uint64_t size;          /* bytes; multiple of 1 MiB, at least 2 MiB, 64 MiB for Linux */
    bool prealloc;          /* touch every page before the start */
    bool lock;              /* and keep them from being swapped out */
    int hugepages;          /* enum memory_hugepages */
    uint64_t hugepage_size; /* 2 MiB or 1 GiB; for explicit huge pages */
    bool shared;            /* always mapped shared; kept for the option's sake */
    char *host_nodes;       /* NUMA nodes to bind to, "0-1,3"; NULL: none */
    int policy;             /* enum memory_policy */
};

enum memory_hugepages {
    HUGEPAGES_TRANSPARENT, /* where a tmpfs can be mounted or the host has shmem_enabled */
    HUGEPAGES_OFF,         /* madvise(MADV_NOHUGEPAGE) */
    HUGEPAGES_EXPLICIT,    /* MFD_HUGETLB */
};

enum memory_policy {
    MEMORY_POLICY_DEFAULT,
    MEMORY_POLICY_BIND,
    MEMORY_POLICY_INTERLEAVE,
    MEMORY_POLICY_PREFERRED,
};

/* Virtual CPUs (--cpus count=,sockets=,cores=,threads=). */
struct cpus_config {
    uint64_t count;                         /* from the start */
    uint64_t max;                           /* with those that are plugged later */
    uint64_t sockets, dies, cores, threads; /* 0: chosen so that the product is max */
};

/* What the real-time clock shows at first (--rtc). */
struct rtc_config {
    int base;       /* enum rtc_base */
    char *timezone; /* such as Europe/Paris: its local time; NULL: as base says */
    int64_t offset; /* seconds that are added; machine_config_check() adds those of local time */
};

enum rtc_base {
    RTC_UTC,
    RTC_LOCALTIME, /* by TZ, or as the host has it */
};

/* Hyper-V enlightenments (--hyperv), named as in libvirt; all off: the guest sees KVM only. */
struct hyperv_config {
    bool passthrough; /* all that this host's KVM has */
    bool relaxed, vapic, vpindex, runtime, time, synic, stimer, stimer_direct, reset, frequencies,
        reenlightenment, tlbflush, ipi, crash;
    uint64_t spinlocks; /* tries before the hypervisor is told; 0: never */
    char *vendor_id;    /* up to 12 bytes; NULL: Microsoft's */
};

/* A guest NUMA node (--numa). */
struct numa_config {
    char *cpus; /* "0-1" */
    uint64_t memory;
};
#define NUMA_NODES_MAX 16

struct machine_config {
    char *name;
    char *uuid;
    struct memory_config memory;
    struct cpus_config cpus;
    struct hyperv_config hyperv;
    struct rtc_config rtc;
    unsigned numa_count;
    struct numa_config numa[NUMA_NODES_MAX];

    char *firmware, *nvram, *kernel, *initrd, *cmdline; /* paths; cmdline text */
    /* Inherited instead of a path; -1: none. */
    int firmware_fd, nvram_fd, kernel_fd, initrd_fd;

    int kvm_fd; /* inherited /dev/kvm; -1: opened here */

    bool paused;        /* start stopped (-S) */
    bool no_reboot;     /* a guest's reset ends the process */
    bool no_shutdown;   /* a guest's power-off leaves the process, stopped */
    int on_panic;       /* enum panic_action */
    uint64_t iothreads; /* number of I/O threads */
    char *vmgenid;      /* UUID or "auto"; NULL: auto */
    bool hotplug;       /* devices may come and go while it runs */
    bool jail;          /* --no-jail clears it */

    unsigned device_count;
    struct device_config *devices;
};

enum panic_action {
    PANIC_SHUTDOWN,
    PANIC_PAUSE,
    PANIC_NONE,
};

extern const char *const memory_policy_names[]; /* by enum memory_policy, NULL at the end */
extern const char *const panic_action_names[];  /* by enum panic_action, NULL at the end */
extern const struct option_spec memory_config_options[], cpus_config_options[],
    hyperv_config_options[], rtc_config_options[], numa_config_options[];

void machine_config_init(struct machine_config *config);
void machine_config_free(struct machine_config *config);

/* Appends a device; takes config over. 0 or -errno with err filled. */
int machine_config_add_device(struct machine_config *config, const struct device_class *class,
                              void *device, struct kv_error *err);

/* A device of the class with this option is asked for. */
bool machine_config_has(const struct machine_config *config, const char *option);

/* No kernel is given: CPUs start at the reset vector. */
static inline bool machine_boots_firmware(const struct machine_config *config)
{
    return config->firmware || config->firmware_fd >= 0;
}

/* Checks what no single option can: sizes, counts, contradictions; fills in what was left to
 * choose (topology). */
int machine_config_check(struct machine_config *config, struct kv_error *err);

#endif
