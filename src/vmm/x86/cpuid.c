/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPUID of the guest: what KVM supports on this host, with the configured
 * topology, the timing leaf and the bits that KVM leaves to its user. Fetched
 * once a machine, because KVM asks the host's CPU for each leaf, which is slow
 * inside another virtual machine. Called by regs.c.
 */
#include "vmm/x86/cpuid.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "vmm/kvm/vcpu.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/hyperv.h"

#define ENTRIES_FIRST 120 /* room for what today's hosts have */
#define ENTRIES_MAX 1024

#define KVM_LEAF_BASE 0x40000000
#define KVM_LEAF_TIMING 0x40000010
#define APIC_BUS_KHZ 1000000 /* KVM's local APIC counts nanoseconds */

#define LEAF1_ECX_X2APIC BIT(21)
#define LEAF1_ECX_TSC_DEADLINE BIT(24)
#define LEAF1_ECX_OSXSAVE BIT(27)
#define LEAF1_ECX_HYPERVISOR BIT(31)
#define LEAF1_EDX_HTT BIT(28)
#define EXT1_ECX_CMP_LEGACY BIT(1)
#define EXT1_ECX_TOPOEXT BIT(22)
#define EXT1_EDX_GIB_PAGES BIT(26)

#define LEVEL_SMT 1
#define LEVEL_CORE 2
#define LEVEL_DIE 5

static unsigned bits_for(uint64_t count)
{
    unsigned bits = 0;
    while (BIT(bits) < count)
        bits++;
    return bits;
}

struct x86_topology x86_topology(const struct machine *machine)
{
    const struct cpus_config *c = &machine->config.cpus;
    struct x86_topology t = {
        .threads = c->threads ? (unsigned)c->threads : 1,
        .cores = c->cores ? (unsigned)c->cores : 1,
        .dies = c->dies ? (unsigned)c->dies : 1,
    };
    t.core_shift = bits_for(t.threads);
    t.die_shift = t.core_shift + bits_for(t.cores);
    t.package_shift = t.die_shift + bits_for(t.dies);
    return t;
}

uint32_t x86_apic_id(const struct machine *machine, unsigned index)
{
    struct x86_topology t = x86_topology(machine);
    unsigned thread = index % t.threads, rest = index / t.threads;
    unsigned core = rest % t.cores;
    rest /= t.cores;
    unsigned die = rest % t.dies, package = rest / t.dies;
    return package << t.package_shift | die << t.die_shift | core << t.core_shift | thread;
}

struct kvm_cpuid_entry2 *x86_cpuid_find(struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index)
{
    for (unsigned i = 0; i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 *e = &cpuid->entries[i];
        if (e->function == function &&
            (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index))
            return e;
    }
    return NULL;
}

static void remove_leaf(struct kvm_cpuid2 *cpuid, uint32_t function)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < cpuid->nent; i++) {
        if (cpuid->entries[i].function != function)
            cpuid->entries[kept++] = cpuid->entries[i];
    }
    cpuid->nent = kept;
}

static struct kvm_cpuid_entry2 *append(struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index,
                                       bool indexed)
{
    struct kvm_cpuid_entry2 *e = &cpuid->entries[cpuid->nent++];
    *e = (struct kvm_cpuid_entry2){
        .function = function,
        .index = index,
        .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
    };
    return e;
}

/* A level of the extended topology leaves: shift to the next level's ID, CPUs inside. */
static void append_level(struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t index, unsigned type,
                         unsigned shift, unsigned cpus)
{
    struct kvm_cpuid_entry2 *e = append(cpuid, function, index, true);
    e->eax = shift;
    e->ebx = cpus;
    e->ecx = index | type << 8;
}

/* Leaves 0xB and 0x1F. The former knows no dies: to it a package's cores are all alike. */
static void fit_extended_topology(struct kvm_cpuid2 *cpuid, const struct x86_topology *t)
{
    struct kvm_cpuid_entry2 *max = x86_cpuid_find(cpuid, 0, 0);
    bool has_dies = t->dies > 1 && max && max->eax >= 0x1f;
    unsigned package = t->threads * t->cores * t->dies;

    remove_leaf(cpuid, 0xb);
    remove_leaf(cpuid, 0x1f);
    append_level(cpuid, 0xb, 0, LEVEL_SMT, t->core_shift, t->threads);
    append_level(cpuid, 0xb, 1, LEVEL_CORE, t->package_shift, package);
    append_level(cpuid, 0xb, 2, 0, 0, 0);
    if (max && max->eax < 0xb)
        max->eax = 0xb;
    if (!has_dies)
        return;
    append_level(cpuid, 0x1f, 0, LEVEL_SMT, t->core_shift, t->threads);
    append_level(cpuid, 0x1f, 1, LEVEL_CORE, t->die_shift, t->threads * t->cores);
    append_level(cpuid, 0x1f, 2, LEVEL_DIE, t->package_shift, package);
    append_level(cpuid, 0x1f, 3, 0, 0, 0);
}

static uint32_t replace_bits(uint32_t value, unsigned low, unsigned width, uint32_t field)
{
    uint32_t mask = ((1u << width) - 1) << low;
    return (value & ~mask) | (field << low & mask);
}

/* CPUs that share a cache of a level: first and second are a core's own, others the die's. */
static unsigned cache_sharing(unsigned level, const struct x86_topology *t)
{
    return level <= 2 ? 1u << t->core_shift : 1u << t->die_shift;
}

static void fit_leaf1(struct kvm_cpuid_entry2 *e, const struct x86_topology *t,
                      const struct x86_cpuid_timing *timing)
{
    unsigned logical = 1u << t->package_shift;
    e->ebx = replace_bits(e->ebx, 16, 8, MIN(logical, 255u));
    e->ecx |= LEAF1_ECX_HYPERVISOR | LEAF1_ECX_X2APIC;
    e->ecx &= (uint32_t)~LEAF1_ECX_OSXSAVE; /* KVM keeps it in step with CR4 */
    if (timing->tsc_deadline)
        e->ecx |= LEAF1_ECX_TSC_DEADLINE;
    if (logical > 1)
        e->edx |= LEAF1_EDX_HTT;
    else
        e->edx &= (uint32_t)~LEAF1_EDX_HTT;
}

static void fit_entry(struct kvm_cpuid_entry2 *e, const struct x86_topology *t,
                      const struct x86_cpuid_timing *timing)
{
    unsigned package = t->threads * t->cores * t->dies;

    switch (e->function) {
    case 0x1:
        fit_leaf1(e, t, timing);
        break;
    case 0x4:
        if ((e->eax & 0x1f) == 0)
            break;
        e->eax = replace_bits(e->eax, 14, 12, cache_sharing((e->eax >> 5) & 7, t) - 1);
        e->eax = replace_bits(e->eax, 26, 6, (1u << (t->package_shift - t->core_shift)) - 1);
        break;
    case 0x80000001:
        if (package > 1)
            e->ecx |= EXT1_ECX_CMP_LEGACY;
        else
            e->ecx &= (uint32_t)~EXT1_ECX_CMP_LEGACY;
        break;
    case 0x80000008:
        e->ecx = replace_bits(e->ecx, 0, 8, MIN(package, 256u) - 1);
        e->ecx = replace_bits(e->ecx, 12, 4, t->package_shift);
        break;
    case 0x8000001d:
        if ((e->eax & 0x1f) == 0)
            break;
        e->eax = replace_bits(e->eax, 14, 12, cache_sharing((e->eax >> 5) & 7, t) - 1);
        break;
    default:
        break;
    }
}

/* Intel CPUs have no CmpLegacy, and KVM offers AMD's topology leaves on AMD alone. */
static bool is_amd_like(struct kvm_cpuid2 *cpuid)
{
    struct kvm_cpuid_entry2 *e = x86_cpuid_find(cpuid, 0, 0);
    return e && (e->ebx == 0x68747541 /* Auth */ || e->ebx == 0x6f677948 /* Hygo */);
}

static void fit_hypervisor_leaves(struct kvm_cpuid2 *cpuid, const struct x86_cpuid_timing *timing)
{
    struct kvm_cpuid_entry2 *base = x86_cpuid_find(cpuid, KVM_LEAF_BASE, 0);

    remove_leaf(cpuid, KVM_LEAF_TIMING);
    if (!base || !timing->tsc_khz)
        return;
    base->eax = MAX(base->eax, (uint32_t)KVM_LEAF_TIMING);
    struct kvm_cpuid_entry2 *e = append(cpuid, KVM_LEAF_TIMING, 0, false);
    e->eax = timing->tsc_khz;
    e->ebx = APIC_BUS_KHZ;
}

void x86_cpuid_fit(struct kvm_cpuid2 *cpuid, const struct x86_topology *topology,
                   const struct x86_cpuid_timing *timing)
{
    bool amd = is_amd_like(cpuid);

    /* AMD's newest topology leaf would tell the host's. */
    remove_leaf(cpuid, 0x80000026);
    fit_extended_topology(cpuid, topology);
    for (unsigned i = 0; i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 *e = &cpuid->entries[i];
        if (amd || e->function < 0x80000000)
            fit_entry(e, topology, timing);
    }
    fit_hypervisor_leaves(cpuid, timing);
}

void x86_cpuid_set_apic_id(struct kvm_cpuid2 *cpuid, const struct x86_topology *t, uint32_t apic_id)
{
    struct kvm_cpuid_entry2 *ext1 = x86_cpuid_find(cpuid, 0x80000001, 0);
    bool topoext = ext1 && ext1->ecx & EXT1_ECX_TOPOEXT;

    for (unsigned i = 0; i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 *e = &cpuid->entries[i];
        if (e->function == 0x1) {
            e->ebx = replace_bits(e->ebx, 24, 8, apic_id);
        } else if (e->function == 0xb || e->function == 0x1f) {
            e->edx = apic_id;
        } else if (e->function == 0x8000001e && topoext) {
            uint32_t in_package = apic_id & ((1u << t->package_shift) - 1);
            e->eax = apic_id;
            e->ebx = (in_package >> t->core_shift & 0xff) | (t->threads - 1) << 8;
            e->ecx = (apic_id >> t->die_shift & 0xff) | (t->dies - 1) << 8;
            e->edx = 0;
        }
    }
}

static int fetch_supported(struct machine *machine, struct kv_error *err)
{
    for (unsigned room = ENTRIES_FIRST; room <= ENTRIES_MAX; room *= 2) {
        struct kvm_cpuid2 *cpuid =
            calloc(1, sizeof(*cpuid) + (room + X86_CPUID_EXTRA + X86_HYPERV_LEAVES) *
                                           sizeof(struct kvm_cpuid_entry2));
        if (!cpuid)
            return kv_error_errno(err, KV_ERR_KVM, ENOMEM, "CPUID");
        cpuid->nent = room;
        if (ioctl(machine->kvm.fd, KVM_GET_SUPPORTED_CPUID, cpuid) == 0) {
            machine->x86.cpuid = cpuid;
            return 0;
        }
        int error = errno;
        free(cpuid);
        if (error != E2BIG)
            return kv_error_errno(err, KV_ERR_KVM, error, "KVM_GET_SUPPORTED_CPUID");
    }
    return kv_error_set(err, KV_ERR_KVM, E2BIG, "KVM offers more than %u CPUID entries",
                        ENTRIES_MAX);
}

int x86_cpuid_prepare(struct vcpu *first, struct kv_error *err)
{
    struct machine *machine = first->machine;

    if (machine->x86.cpuid)
        return 0;
    int rc = fetch_supported(machine, err);
    if (rc < 0)
        return rc;
    int khz = ioctl(first->fd, KVM_GET_TSC_KHZ);
    struct x86_cpuid_timing timing = {
        .tsc_deadline = kvm_check_extension(&machine->kvm, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
        .tsc_khz = khz > 0 ? (uint32_t)khz : 0,
    };
    struct x86_topology topology = x86_topology(machine);
    x86_cpuid_fit(machine->x86.cpuid, &topology, &timing);
    return x86_hyperv_prepare(machine, machine->x86.cpuid, err);
}

int x86_cpuid_apply(struct vcpu *vcpu, struct kv_error *err)
{
    struct machine *machine = vcpu->machine;
    struct x86_topology topology = x86_topology(machine);
    uint32_t apic_id = x86_apic_id(machine, vcpu->index);

    if (apic_id > X86_APIC_ID_MAX)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "vCPU %u gets APIC ID %u with %u dies of %u cores of %u threads; up "
                            "to %u are supported",
                            vcpu->index, apic_id, topology.dies, topology.cores, topology.threads,
                            X86_APIC_ID_MAX);
    x86_cpuid_set_apic_id(machine->x86.cpuid, &topology, apic_id);
    if (ioctl(vcpu->fd, KVM_SET_CPUID2, machine->x86.cpuid) < 0)
        return kv_error_errno(err, KV_ERR_KVM, errno, "vCPU %u: KVM_SET_CPUID2", vcpu->index);
    return 0;
}

bool x86_cpu_has_gib_pages(const struct machine *machine)
{
    struct kvm_cpuid_entry2 *e =
        machine->x86.cpuid ? x86_cpuid_find(machine->x86.cpuid, 0x80000001, 0) : NULL;
    return e && e->edx & EXT1_EDX_GIB_PAGES;
}
