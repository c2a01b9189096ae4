/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hyper-V enlightenments by table: the option, its bits in CPUID, what it needs. KVM carries them
 * out (hyperv_kvm.c); only a reset and a crash come to the monitor, as system events (vcpu.c).
 * Called by config.c.
 */
#include "vmm/x86/hyperv.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "vmm/machine/config.h"

/* TLFS 2.4: CPUID leaves; LEAF_FEATURES is in the header. */
#define LEAF_VENDOR 0x40000000u
#define LEAF_INTERFACE 0x40000001u
#define LEAF_VERSION 0x40000002u
#define LEAF_FEATURES X86_HYPERV_LEAF_FEATURES
#define LEAF_HINTS 0x40000004u
#define LEAF_LIMITS 0x40000005u
#define INTERFACE_HV1 0x31237648u /* "Hv#1" */
#define VENDOR_DEFAULT "Microsoft Hv"
/* What Windows Server 2016 says of itself: 10.0, build 14393. */
#define VERSION_BUILD 14393u
#define VERSION_MAJOR_MINOR 0x000a0000u
#define SPINLOCK_NEVER UINT32_MAX /* "never notify the hypervisor" */
#define VPS_MIN 64u

#define KVM_LEAF_SIGNATURE 0x40000000u
#define KVM_LEAF_TIMING 0x40000010u
#define KVM_LEAVES_MOVED 0x100u

#define FEATURES_HYPERCALL_MSRS BIT(5)
#define HINT_EX_MASKS BIT(11) /* processors beyond 64 in sets */

enum word { FEATURES_EAX, FEATURES_EDX, HINTS_EAX, WORDS };

struct enlightenment {
    const char *name;
    size_t field; /* bool of struct hyperv_config */
    uint32_t bits[WORDS];
    const char *needs[2];
};

#define ROW(name_, field_, ...)                                    \
    {                                                              \
        name_, offsetof(struct hyperv_config, field_), __VA_ARGS__ \
    }

static const struct enlightenment enlightenments[] = {
    ROW("relaxed", relaxed, {[HINTS_EAX] = BIT(5)}),
    ROW("vapic", vapic, {[FEATURES_EAX] = BIT(4), [HINTS_EAX] = BIT(3)}),
    ROW("vpindex", vpindex, {[FEATURES_EAX] = BIT(6)}),
    ROW("runtime", runtime, {[FEATURES_EAX] = BIT(0)}),
    ROW("time", time, {[FEATURES_EAX] = BIT(1) | BIT(9)}),
    ROW("synic", synic, {[FEATURES_EAX] = X86_HYPERV_SYNIC}, {"vpindex"}),
    ROW("stimer", stimer, {[FEATURES_EAX] = BIT(3)}, {"synic", "time"}),
    ROW("stimer-direct", stimer_direct, {[FEATURES_EDX] = BIT(19)}, {"stimer"}),
    ROW("reset", reset, {[FEATURES_EAX] = BIT(7)}),
    ROW("frequencies", frequencies, {[FEATURES_EAX] = BIT(11), [FEATURES_EDX] = BIT(8)}),
    ROW("reenlightenment", reenlightenment, {[FEATURES_EAX] = BIT(13)}, {"time"}),
    ROW("tlbflush", tlbflush, {[HINTS_EAX] = BIT(2) | HINT_EX_MASKS}, {"vpindex"}),
    ROW("ipi", ipi, {[HINTS_EAX] = BIT(10) | HINT_EX_MASKS}, {"vpindex"}),
    ROW("crash", crash, {[FEATURES_EDX] = BIT(10)}),
};

static bool is_on(const struct hyperv_config *config, const struct enlightenment *row)
{
    return *(const bool *)((const char *)config + row->field);
}

static bool name_is_on(const struct hyperv_config *config, const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(enlightenments); i++) {
        if (strcmp(enlightenments[i].name, name) == 0)
            return is_on(config, &enlightenments[i]);
    }
    return false;
}

bool x86_hyperv_is_on(const struct hyperv_config *config)
{
    for (unsigned i = 0; i < ARRAY_SIZE(enlightenments); i++) {
        if (is_on(config, &enlightenments[i]))
            return true;
    }
    return config->passthrough || config->spinlocks || config->vendor_id;
}

int x86_hyperv_check(const struct hyperv_config *config, struct kv_error *err)
{
    for (unsigned i = 0; i < ARRAY_SIZE(enlightenments) && !config->passthrough; i++) {
        const struct enlightenment *row = &enlightenments[i];
        for (unsigned n = 0; is_on(config, row) && n < ARRAY_SIZE(row->needs); n++) {
            if (row->needs[n] && !name_is_on(config, row->needs[n]))
                return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "--hyperv: %s needs %s", row->name,
                                    row->needs[n]);
        }
    }
    if (config->vendor_id && (!*config->vendor_id || strlen(config->vendor_id) > 12))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "--hyperv: vendor-id '%s' has %zu bytes; accepted: 1 to 12",
                            config->vendor_id, strlen(config->vendor_id));
    return 0;
}

/* The words of KVM's list that say what there is. */
static void offered_words(const struct kvm_cpuid2 *offered, uint32_t words[WORDS])
{
    memset(words, 0, WORDS * sizeof(*words));
    for (unsigned i = 0; offered && i < offered->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &offered->entries[i];
        if (e->function == LEAF_FEATURES) {
            words[FEATURES_EAX] = e->eax;
            words[FEATURES_EDX] = e->edx;
        } else if (e->function == LEAF_HINTS) {
            words[HINTS_EAX] = e->eax;
        }
    }
}

static bool is_offered(const struct enlightenment *row, const uint32_t offered[WORDS])
{
    for (unsigned w = 0; w < WORDS; w++) {
        if (row->bits[w] & ~offered[w])
            return false;
    }
    return true;
}

static int choose(const struct hyperv_config *config, const uint32_t offered[WORDS],
                  uint32_t words[WORDS], struct kv_error *err)
{
    memset(words, 0, WORDS * sizeof(*words));
    words[FEATURES_EAX] = FEATURES_HYPERCALL_MSRS;
    for (unsigned i = 0; i < ARRAY_SIZE(enlightenments); i++) {
        const struct enlightenment *row = &enlightenments[i];
        bool there = is_offered(row, offered);
        if (is_on(config, row) && !there)
            return kv_error_set(err, KV_ERR_KVM, ENOTSUP, "--hyperv: this host's KVM has no '%s'",
                                row->name);
        if (!is_on(config, row) && !(config->passthrough && there))
            continue;
        for (unsigned w = 0; w < WORDS; w++)
            words[w] |= row->bits[w];
    }
    return 0;
}

/* A guest looks for KVM at each 0x100 from 0x40000000 on, and for Hyper-V at the first only. */
static void move_kvm_leaves(struct kvm_cpuid2 *cpuid)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 e = cpuid->entries[i];
        if (e.function == KVM_LEAF_TIMING)
            continue;
        if (e.function == KVM_LEAF_SIGNATURE)
            e.eax = LEAF_INTERFACE + KVM_LEAVES_MOVED;
        if (e.function == LEAF_VENDOR || e.function == LEAF_INTERFACE)
            e.function += KVM_LEAVES_MOVED;
        cpuid->entries[kept++] = e;
    }
    cpuid->nent = kept;
}

static void append(struct kvm_cpuid2 *cpuid, uint32_t function, uint32_t eax, uint32_t ebx,
                   uint32_t ecx, uint32_t edx)
{
    cpuid->entries[cpuid->nent++] = (struct kvm_cpuid_entry2){
        .function = function, .eax = eax, .ebx = ebx, .ecx = ecx, .edx = edx};
}

int x86_hyperv_fit(struct kvm_cpuid2 *cpuid, const struct kvm_cpuid2 *offered,
                   const struct hyperv_config *config, unsigned vcpus, struct kv_error *err)
{
    uint32_t there[WORDS], words[WORDS];
    if (!x86_hyperv_is_on(config))
        return 0;
    offered_words(offered, there);
    if (!(there[FEATURES_EAX] & FEATURES_HYPERCALL_MSRS))
        return kv_error_set(err, KV_ERR_KVM, ENOTSUP,
                            "--hyperv: this host's KVM has no Hyper-V enlightenments");
    int rc = choose(config, there, words, err);
    if (rc < 0)
        return rc;
    char vendor[13] = VENDOR_DEFAULT;
    if (config->vendor_id)
        snprintf(vendor, sizeof(vendor), "%s", config->vendor_id);
    uint32_t name[3];
    memset(vendor + strlen(vendor), 0, sizeof(vendor) - strlen(vendor));
    memcpy(name, vendor, sizeof(name));

    move_kvm_leaves(cpuid);
    append(cpuid, LEAF_VENDOR, LEAF_LIMITS, name[0], name[1], name[2]);
    append(cpuid, LEAF_INTERFACE, INTERFACE_HV1, 0, 0, 0);
    append(cpuid, LEAF_VERSION, VERSION_BUILD, VERSION_MAJOR_MINOR, 0, 0);
    append(cpuid, LEAF_FEATURES, words[FEATURES_EAX], 0, 0, words[FEATURES_EDX]);
    append(cpuid, LEAF_HINTS, words[HINTS_EAX],
           config->spinlocks ? (uint32_t)config->spinlocks : SPINLOCK_NEVER, 0, 0);
    append(cpuid, LEAF_LIMITS, MAX(vcpus, VPS_MIN), 0, 0, 0);
    return 0;
}
