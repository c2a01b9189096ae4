/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hyper-V enlightenments: what KVM does of Microsoft's hypervisor interface (Hypervisor Top Level
 * Functional Specification 6.0b, chapters 2, 3, 11 and 12), offered to the guest through CPUID so
 * that Windows uses paravirtual clocks, timers and hints. Private to x86/.
 */
#ifndef KV_VMM_X86_HYPERV_H
#define KV_VMM_X86_HYPERV_H

#include <stdbool.h>

#include "base/error.h"

struct hyperv_config;
struct kvm_cpuid2;
struct machine;
struct vcpu;

#define X86_HYPERV_LEAF_FEATURES 0x40000003u
#define X86_HYPERV_SYNIC BIT(2) /* in its EAX */

/* The leaves that x86_hyperv_fit() adds at most. */
#define X86_HYPERV_LEAVES 6

/* Whether anything is on, so that the guest sees Hyper-V. */
bool x86_hyperv_is_on(const struct hyperv_config *config);

/* Which options need which others; before there is a machine. -EINVAL names them. */
int x86_hyperv_check(const struct hyperv_config *config, struct kv_error *err);

/*
 * Moves KVM's own leaves from 0x40000000 to 0x40000100 and puts Hyper-V's there; nothing when no
 * enlightenment is on. offered: what KVM_GET_SUPPORTED_HV_CPUID says, NULL: KVM has nothing. The
 * list has room for X86_HYPERV_LEAVES more. -ENOTSUP names what this host's KVM does not have.
 */
int x86_hyperv_fit(struct kvm_cpuid2 *cpuid, const struct kvm_cpuid2 *offered,
                   const struct hyperv_config *config, unsigned vcpus, struct kv_error *err);

/* Asks KVM what it offers, then as x86_hyperv_fit(). Once a machine. */
int x86_hyperv_prepare(struct machine *machine, struct kvm_cpuid2 *cpuid, struct kv_error *err);

/* Switches on in KVM what the CPUID says; before KVM_SET_CPUID2. */
int x86_hyperv_enable(struct vcpu *vcpu, struct kv_error *err);

/* MSRs as after power-on. */
int x86_hyperv_reset(struct vcpu *vcpu, struct kv_error *err);

#endif
