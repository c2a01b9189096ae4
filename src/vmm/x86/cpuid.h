/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What CPUID tells the guest (Intel SDM volume 2 CPUID, AMD APM volume 3
 * appendix E, Linux Documentation/virt/kvm/x86/cpuid.rst), and the APIC IDs
 * that follow from the topology. Private to x86/.
 */
#ifndef KV_VMM_X86_CPUID_H
#define KV_VMM_X86_CPUID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct kvm_cpuid2;
struct kvm_cpuid_entry2;
struct machine;
struct vcpu;

/* APIC IDs 255 and up would need interrupt remapping. */
#define X86_APIC_ID_MAX 254

/* Bits of an APIC ID that number threads, cores with them, and dies with these. */
struct x86_topology {
    unsigned threads, cores, dies; /* threads a core, cores a die, dies a package */
    unsigned core_shift, die_shift, package_shift;
};

struct x86_topology x86_topology(const struct machine *machine);

/* Fetches what the host offers, once a machine, and fits it to the machine. 0 or -errno. */
int x86_cpuid_prepare(struct vcpu *first, struct kv_error *err);

/* The same for one vCPU: its APIC ID in place, given to KVM. */
int x86_cpuid_apply(struct vcpu *vcpu, struct kv_error *err);

/* After x86_cpuid_prepare(); before it, there is nothing. NULL: no such leaf. */
struct kvm_cpuid_entry2 *x86_cpuid_find(struct kvm_cpuid2 *cpuid, uint32_t function,
                                        uint32_t index);

/* 1 GiB pages; false before the CPUID is known. */
bool x86_cpu_has_gib_pages(const struct machine *machine);

/* Fits a list from KVM to a topology: what x86_cpuid_prepare() does behind the ioctls. The list has
 * room for X86_CPUID_EXTRA more entries. */
#define X86_CPUID_EXTRA 8
struct x86_cpuid_timing {
    bool tsc_deadline;
    uint32_t tsc_khz; /* 0: not known */
};
void x86_cpuid_fit(struct kvm_cpuid2 *cpuid, const struct x86_topology *topology,
                   const struct x86_cpuid_timing *timing);

/* Puts an APIC ID into a fitted list. */
void x86_cpuid_set_apic_id(struct kvm_cpuid2 *cpuid, const struct x86_topology *topology,
                           uint32_t apic_id);

#endif
