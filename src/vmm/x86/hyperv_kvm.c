/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hyper-V enlightenments in KVM: what this host's offers, switching on, and the MSRs at a reset.
 * Called by cpuid.c and regs.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/hyperv.h"

/* NULL: KVM has none. */
static struct kvm_cpuid2 *fetch_offered(const struct kvm *kvm, const struct vcpu *vcpu)
{
    enum { ROOM = 32 };
    struct kvm_cpuid2 *offered =
        calloc(1, sizeof(*offered) + ROOM * sizeof(struct kvm_cpuid_entry2));
    if (!offered)
        return NULL;
    offered->nent = ROOM;
    if (ioctl(kvm->fd, KVM_GET_SUPPORTED_HV_CPUID, offered) < 0) {
        offered->nent = ROOM;
        if (ioctl(vcpu->fd, KVM_GET_SUPPORTED_HV_CPUID, offered) < 0) {
            free(offered);
            return NULL;
        }
    }
    return offered;
}

int x86_hyperv_prepare(struct machine *machine, struct kvm_cpuid2 *cpuid, struct kv_error *err)
{
    const struct hyperv_config *config = &machine->config.hyperv;
    if (!x86_hyperv_is_on(config))
        return 0;
    cleanup_free struct kvm_cpuid2 *offered = fetch_offered(&machine->kvm, &machine->vcpus[0]);
    return x86_hyperv_fit(cpuid, offered, config, machine->vcpu_count, err);
}

static int enable(const struct vcpu *vcpu, uint32_t capability)
{
    struct kvm_enable_cap cap = {.cap = capability, .args = {1}};
    return ioctl(vcpu->fd, KVM_ENABLE_CAP, &cap) < 0 ? -errno : 0;
}

int x86_hyperv_enable(struct vcpu *vcpu, struct kv_error *err)
{
    struct machine *machine = vcpu->machine;
    if (!x86_hyperv_is_on(&machine->config.hyperv))
        return 0;
    const struct kvm_cpuid_entry2 *features =
        x86_cpuid_find(machine->x86.cpuid, X86_HYPERV_LEAF_FEATURES, 0);
    bool synic = features && features->eax & X86_HYPERV_SYNIC;
    /* The guest's own pages hold messages and events, so KVM has to empty them. */
    int rc = synic ? enable(vcpu, KVM_CAP_HYPERV_SYNIC) : 0;
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_KVM, -rc, "vCPU %u: Hyper-V's interrupt controller",
                              vcpu->index);
    /* Without it (before Linux 5.14) a guest can also use what its CPUID does not show. */
    if (kvm_check_extension(&machine->kvm, KVM_CAP_HYPERV_ENFORCE_CPUID))
        rc = enable(vcpu, KVM_CAP_HYPERV_ENFORCE_CPUID);
    return rc < 0 ? kv_error_errno(err, KV_ERR_KVM, -rc, "vCPU %u: limits of Hyper-V", vcpu->index)
                  : 0;
}

int x86_hyperv_reset(struct vcpu *vcpu, struct kv_error *err)
{
    /* TLFS, appendix on MSRs: identity, hypercall page, time page, APIC assist, then the synthetic
     * timers and the interrupt controller (sources masked). */
    static const struct {
        uint32_t first, count;
        uint64_t value;
    } ranges[] = {
        {0x400000b0, 8, 0}, {0x40000090, 16, BIT(16)}, {0x40000080, 1, 0}, {0x40000082, 2, 0},
        {0x40000073, 1, 0}, {0x40000021, 1, 0},        {0x40000106, 3, 0}, {0x40000000, 2, 0},
    };
    if (!x86_hyperv_is_on(&vcpu->machine->config.hyperv))
        return 0;
    for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++) {
        for (uint32_t msr = ranges[i].first; msr < ranges[i].first + ranges[i].count; msr++) {
            struct {
                struct kvm_msrs head;
                struct kvm_msr_entry entry;
            } one = {{.nmsrs = 1}, {.index = msr, .data = ranges[i].value}};
            /* 0: the guest's CPUID has not this one. */
            if (ioctl(vcpu->fd, KVM_SET_MSRS, &one) < 0)
                return kv_error_errno(err, KV_ERR_KVM, errno, "vCPU %u: Hyper-V's MSR 0x%" PRIx32,
                                      vcpu->index, msr);
        }
    }
    return 0;
}
