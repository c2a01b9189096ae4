/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtual CPU: its thread, its run loop over KVM_RUN, and how others get it
 * out of the guest. x86 registers and CPUID are set up in x86/.
 */
#ifndef KV_VMM_KVM_VCPU_H
#define KV_VMM_KVM_VCPU_H

#include <jansson.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/bus.h"

struct machine;

#define VCPU_EXIT_REASONS 48
#define VCPU_STATS 6 /* figures of KVM's own that are told */

struct vcpu {
    struct machine *machine;
    unsigned index; /* also the APIC ID's source, see x86/cpuid.h */
    int fd;
    struct kvm_run *run;
    pthread_t thread;
    atomic_int tid; /* of the thread, for pinning; 0 before it runs */
    bool started;
    bool powered; /* x86_vcpu_reset() ran before: the registers may hold anything */
    /* Under the machine's vcpu_control.lock. */
    bool absent;   /* not plugged: it stays parked */
    bool parked;   /* waits outside the guest */
    bool held;     /* stays parked until a reset, whatever the others do */
    unsigned seen; /* last synchronization it took part in */
    struct bus_cache pio_cache, mmio_cache;
    /* Counters; written by the vCPU's thread only. */
    atomic_uint_fast64_t exits[VCPU_EXIT_REASONS];
    /* Control thread: vcpu_stats.c. */
    int stats_fd; /* -1: this kernel has none */
    bool stats_found;
    uint64_t stats_at[VCPU_STATS]; /* offsets in the file; 0: not there */
};

/* How the control thread gets vCPUs out of the guest; one for the machine. */
struct vcpu_control {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool paused, stopping;
    unsigned synchronization; /* counts up; a vCPU that saw it was outside its handlers */
};

/* Creates the machine's vCPUs (descriptors and mappings, no threads). */
int vcpu_create_all(struct machine *machine, struct kv_error *err);
void vcpu_destroy_all(struct machine *machine);

/*
 * Those beyond config.cpus.count are absent at first: their threads are there and wait outside the
 * guest. A guest that wakes an absent one by its APIC wakes nobody.
 */
bool vcpu_is_present(struct vcpu *vcpu);
unsigned vcpu_present_count(struct machine *machine);

/* Control thread: as after power-on, waiting for the guest to wake it. Presence is not checked. */
int vcpu_plug(struct vcpu *vcpu, struct kv_error *err);
/* Control thread: it is outside the guest when this returns. */
void vcpu_unplug(struct vcpu *vcpu);

/* Starts the threads; they wait until vcpu_resume_all(). */
int vcpu_start_all(struct machine *machine, struct kv_error *err);
/* Ends and joins them. */
void vcpu_stop_all(struct machine *machine);

/* Control thread: all vCPUs out of KVM_RUN and out of handlers when it returns / on their way. */
void vcpu_pause_all(struct machine *machine);
void vcpu_resume_all(struct machine *machine);

/* Waits until every vCPU was outside its handlers once. Not from a vCPU thread. */
void vcpu_synchronize_all(struct machine *machine);

/* The vCPU whose thread this is goes no further after the current exit, until a reset or a resume
 * with vcpu_release_all(). Does nothing on other threads. */
void vcpu_hold_current(void);
void vcpu_release_all(struct machine *machine);

/* Paused machine: an NMI to every vCPU. 0 or -errno. */
int vcpu_inject_nmi_all(struct machine *machine);

/* The registers and the bytes at the instruction pointer, for logs and the control socket; the
 * vCPU is paused or it is its own thread. Caller owns the object. */
json_t *vcpu_describe(struct vcpu *vcpu);

/* KVM's own counters; what the kernel does not have is not in it. The descriptor is opened with the
 * vCPU. Caller owns the object. */
void vcpu_stats_open(struct vcpu *vcpu);
json_t *vcpu_stats(struct vcpu *vcpu);

const char *vcpu_exit_name(unsigned reason);

#endif
