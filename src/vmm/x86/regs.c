/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers of a vCPU when its machine is switched on and when it is reset
 * (Intel SDM volume 3, 10.1; AMD APM volume 2, 14.1). KVM makes a vCPU in the
 * reset state, so the first start only sets what differs from it; a later reset
 * sets everything. Called by the machine with the vCPU outside the guest.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/boot.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/hyperv.h"
#include "vmm/x86/layout.h"

#define CR0_PE BIT(0)
#define CR0_ET BIT(4)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)
#define CR4_PAE BIT(5)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define APIC_BASE_BSP BIT(8)
#define APIC_BASE_ENABLE BIT(11)
#define RFLAGS_FIXED BIT(1)

#define MSR_IA32_MISC_ENABLE 0x1a0
#define MISC_ENABLE_FAST_STRING BIT(0)
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ENABLED_WRITE_BACK (BIT(11) | 6)
#define PAT_AT_RESET UINT64_C(0x0007040600070406)

/*
 * MSRs a guest may have changed, with their values after a reset. The time
 * stamp counter runs on: nothing minds, and all vCPUs stay in step. KVM's own
 * ones stop the host from writing into memory that the next kernel uses.
 */
static const struct kvm_msr_entry reset_msrs[] = {
    {.index = MSR_IA32_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING},
    {.index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLED_WRITE_BACK},
    {.index = 0x277, .data = PAT_AT_RESET},
    {.index = 0x6e0}, /* TSC deadline */
    {.index = 0x174}, /* SYSENTER CS, ESP, EIP */
    {.index = 0x175},
    {.index = 0x176},
    {.index = 0xc0000081}, /* STAR, LSTAR, CSTAR, FMASK, KERNEL_GS_BASE, TSC_AUX */
    {.index = 0xc0000082},
    {.index = 0xc0000083},
    {.index = 0xc0000084},
    {.index = 0xc0000102},
    {.index = 0xc0000103},
    {.index = 0x48},       /* SPEC_CTRL */
    {.index = 0xc001011f}, /* AMD's VIRT_SPEC_CTRL */
    {.index = 0xda0},      /* XSS */
    {.index = 0x1d9},      /* DEBUGCTL */
    {.index = 0x38f},      /* PERF_GLOBAL_CTRL */
    {.index = 0x186},      /* PERFEVTSEL0 to 3 */
    {.index = 0x187},
    {.index = 0x188},
    {.index = 0x189},
    {.index = 0xc0010200}, /* AMD's PERF_CTL0 to 5 */
    {.index = 0xc0010202},
    {.index = 0xc0010204},
    {.index = 0xc0010206},
    {.index = 0xc0010208},
    {.index = 0xc001020a},
    {.index = 0x4b564d00}, /* KVM: wall clock, system time */
    {.index = 0x4b564d01},
    {.index = 0x4b564d02}, /* async page faults, steal time, PV EOI, poll control, async PF INT */
    {.index = 0x4b564d03},
    {.index = 0x4b564d04},
    {.index = 0x4b564d05, .data = 1},
    {.index = 0x4b564d06},
    {.index = 0x11}, /* KVM: the old numbers of wall clock and system time */
    {.index = 0x12},
};
#define FIRST_MSRS 2 /* of them differ from what KVM makes */

/* KVM stops at the first MSR that this host or this guest's CPUID has not; those are skipped. */
static int set_msrs(struct vcpu *vcpu, const struct kvm_msr_entry *list, unsigned count,
                    struct kv_error *err)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entries[ARRAY_SIZE(reset_msrs)];
    } msrs;

    for (unsigned done = 0; done < count;) {
        msrs.head = (struct kvm_msrs){.nmsrs = count - done};
        memcpy(msrs.entries, list + done, (count - done) * sizeof(*list));
        int n = ioctl(vcpu->fd, KVM_SET_MSRS, &msrs);
        if (n < 0)
            return kv_error_errno(err, KV_ERR_KVM, errno, "vCPU %u: KVM_SET_MSRS", vcpu->index);
        done += (unsigned)n + 1;
    }
    return 0;
}

static int set_state(struct vcpu *vcpu, unsigned long request, const char *name, const void *state,
                     struct kv_error *err)
{
    if (ioctl(vcpu->fd, request, state) < 0)
        return kv_error_errno(err, KV_ERR_KVM, errno, "vCPU %u: %s", vcpu->index, name);
    return 0;
}
#define SET_STATE(vcpu, request, state, err) set_state(vcpu, request, #request, state, err)

static struct kvm_segment segment(uint16_t selector, uint64_t base, uint32_t limit, uint8_t type)
{
    return (struct kvm_segment){
        .selector = selector, .base = base, .limit = limit, .type = type, .present = 1, .s = 1};
}

#define TYPE_DATA 3 /* read, write, accessed */
#define TYPE_CODE 11
#define TYPE_LDT 2
#define TYPE_TSS32_BUSY 11 /* in long mode the 64-bit one */

static void sregs_at_reset(const struct vcpu *vcpu, struct kvm_sregs *s)
{
    struct kvm_segment data = segment(0, 0, 0xffff, TYPE_DATA);

    *s = (struct kvm_sregs){
        .cs = segment(0xf000, 0xffff0000, 0xffff, TYPE_CODE),
        .ds = data,
        .es = data,
        .fs = data,
        .gs = data,
        .ss = data,
        .tr = segment(0, 0, 0xffff, TYPE_TSS32_BUSY),
        .ldt = segment(0, 0, 0xffff, TYPE_LDT),
        .gdt = {.limit = 0xffff},
        .idt = {.limit = 0xffff},
        .cr0 = CR0_ET | CR0_NW | CR0_CD,
        .apic_base = LAYOUT_LAPIC_BASE | APIC_BASE_ENABLE | (vcpu->index ? 0 : APIC_BASE_BSP),
    };
    s->tr.s = s->ldt.s = 0;
}

/* Flat segments; long mode on for the 64-bit protocol, protected mode without paging for PVH. */
static void sregs_for_boot(const struct vcpu *vcpu, bool long_mode, struct kvm_sregs *s)
{
    struct kvm_segment data = segment(BOOT_DS, 0, 0xffffffff, TYPE_DATA);

    sregs_at_reset(vcpu, s);
    data.db = data.g = 1;
    s->ds = s->es = s->fs = s->gs = s->ss = data;
    s->cs = segment(BOOT_CS, 0, 0xffffffff, TYPE_CODE);
    s->cs.g = 1;
    s->cs.l = long_mode;
    s->cs.db = !long_mode;
    s->tr.selector = BOOT_TSS;
    s->tr.limit = 0x67;
    s->gdt.base = LAYOUT_GDT;
    s->gdt.limit = BOOT_TSS + 16 - 1;
    s->idt.limit = 0;
    s->cr0 = CR0_PE | CR0_ET;
    if (long_mode) {
        s->cr0 |= CR0_PG;
        s->cr3 = LAYOUT_PAGE_TABLES;
        s->cr4 = CR4_PAE;
        s->efer = EFER_LME | EFER_LMA;
    }
}

static void regs_for_boot(const struct x86_boot *boot, struct kvm_regs *r)
{
    *r = (struct kvm_regs){.rip = boot->entry, .rflags = RFLAGS_FIXED, .rsp = LAYOUT_BOOT_STACK};
    if (boot->protocol == X86_BOOT_PVH)
        r->rbx = LAYOUT_PVH_INFO;
    else
        r->rsi = LAYOUT_ZERO_PAGE;
}

/* EDX after a reset is the CPU's signature. */
static void regs_at_reset(const struct vcpu *vcpu, struct kvm_regs *r)
{
    struct kvm_cpuid_entry2 *leaf = x86_cpuid_find(vcpu->machine->x86.cpuid, 1, 0);
    *r = (struct kvm_regs){.rip = 0xfff0, .rflags = RFLAGS_FIXED, .rdx = leaf ? leaf->eax : 0x600};
}

/* Out of nested virtualization, whatever depth the guest was in. */
static int reset_nested(struct vcpu *vcpu, struct kv_error *err)
{
    struct kvm_cpuid2 *cpuid = vcpu->machine->x86.cpuid;
    struct kvm_cpuid_entry2 *leaf1 = x86_cpuid_find(cpuid, 1, 0);
    struct kvm_cpuid_entry2 *ext1 = x86_cpuid_find(cpuid, 0x80000001, 0);
    struct kvm_nested_state state = {.size = sizeof(state)};

    if (leaf1 && leaf1->ecx & BIT(5)) {
        state.format = KVM_STATE_NESTED_FORMAT_VMX;
        state.hdr.vmx.vmxon_pa = state.hdr.vmx.vmcs12_pa = UINT64_MAX;
    } else if (ext1 && ext1->ecx & BIT(2)) {
        state.format = KVM_STATE_NESTED_FORMAT_SVM;
        state.flags = KVM_STATE_NESTED_GIF_SET;
    } else {
        return 0;
    }
    if (ioctl(vcpu->fd, KVM_SET_NESTED_STATE, &state) < 0 && errno != ENOTTY)
        return kv_error_errno(err, KV_ERR_KVM, errno, "vCPU %u: KVM_SET_NESTED_STATE", vcpu->index);
    return 0;
}

/* FPU, vector and extended states in their initial configuration: nothing in the header's bitmap,
 * x87 and SSE control words as after reset. */
static int reset_fpu(struct vcpu *vcpu, struct kv_error *err)
{
    struct kvm_cpuid_entry2 *leaf1 = x86_cpuid_find(vcpu->machine->x86.cpuid, 1, 0);
    struct kvm_fpu fpu = {.fcw = 0x37f, .mxcsr = 0x1f80};
    struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = 1}}};

    if (leaf1 && leaf1->ecx & BIT(26)) {
        int size = ioctl(vcpu->machine->kvm.vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
        cleanup_free struct kvm_xsave *xsave =
            calloc(1, (size_t)MAX(size, (int)sizeof(struct kvm_xsave)));
        if (!xsave)
            return kv_error_errno(err, KV_ERR_KVM, ENOMEM, "vCPU %u: extended state", vcpu->index);
        xsave->region[6] = fpu.mxcsr; /* checked although the bitmap leaves it out */
        int rc = SET_STATE(vcpu, KVM_SET_XSAVE, xsave, err);
        if (rc == 0)
            rc = SET_STATE(vcpu, KVM_SET_XCRS, &xcrs, err);
        if (rc < 0)
            return rc;
    }
    return SET_STATE(vcpu, KVM_SET_FPU, &fpu, err);
}

static int reset_events(struct vcpu *vcpu, struct kv_error *err)
{
    struct kvm_vcpu_events now, none = {0};
    struct kvm_debugregs debug = {.dr6 = 0xffff0ff0, .dr7 = 0x400};

    if (ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &now) < 0)
        return kv_error_errno(err, KV_ERR_KVM, errno, "vCPU %u: KVM_GET_VCPU_EVENTS", vcpu->index);
    none.flags = now.flags;
    int rc = SET_STATE(vcpu, KVM_SET_VCPU_EVENTS, &none, err);
    return rc < 0 ? rc : SET_STATE(vcpu, KVM_SET_DEBUGREGS, &debug, err);
}

/* Offsets in the APIC's page (Intel SDM volume 3, table 11-1). */
#define APIC_ID 0x20
#define APIC_VERSION 0x30
#define APIC_DFR 0xe0
#define APIC_SPIV 0xf0
#define APIC_LVT_FIRST 0x320 /* timer, thermal, counters, LINT0, LINT1, error */
#define APIC_LVT_LINT0 0x350
#define APIC_LVT_LAST 0x370
#define LVT_MASKED 0x10000
#define LVT_EXTINT 0x700

/* The APIC is back in xAPIC mode by then: its ID is the register's top byte. */
static int reset_lapic(struct vcpu *vcpu, struct kv_error *err)
{
    struct kvm_lapic_state now, fresh = {0};

    if (ioctl(vcpu->fd, KVM_GET_LAPIC, &now) < 0)
        return kv_error_errno(err, KV_ERR_KVM, errno, "vCPU %u: KVM_GET_LAPIC", vcpu->index);
    memcpy(fresh.regs + APIC_VERSION, now.regs + APIC_VERSION, 4);
    store_le(fresh.regs + APIC_ID, (uint64_t)x86_apic_id(vcpu->machine, vcpu->index) << 24, 4);
    store_le(fresh.regs + APIC_DFR, 0xffffffff, 4);
    store_le(fresh.regs + APIC_SPIV, 0xff, 4);
    for (unsigned lvt = APIC_LVT_FIRST; lvt <= APIC_LVT_LAST; lvt += 0x10)
        store_le(fresh.regs + lvt, LVT_MASKED, 4);
    if (vcpu->index == 0)
        store_le(fresh.regs + APIC_LVT_LINT0, LVT_EXTINT, 4);
    return SET_STATE(vcpu, KVM_SET_LAPIC, &fresh, err);
}

int x86_vcpu_init(struct vcpu *vcpu, struct kv_error *err)
{
    int rc = x86_cpuid_prepare(vcpu, err);
    if (rc == 0)
        rc = x86_hyperv_enable(vcpu, err);
    if (rc == 0)
        rc = x86_cpuid_apply(vcpu, err);
    if (rc == 0)
        rc = set_msrs(vcpu, reset_msrs, FIRST_MSRS, err);
    return rc;
}

/* General and system registers: vCPU 0 at the entry, others as after reset. */
static int set_registers(struct vcpu *vcpu, struct kv_error *err)
{
    const struct x86_boot *boot = &vcpu->machine->x86.boot;
    bool at_entry = vcpu->index == 0 && boot->protocol != X86_BOOT_RESET_VECTOR;
    struct kvm_sregs sregs;
    struct kvm_regs regs;

    if (at_entry) {
        sregs_for_boot(vcpu, boot->protocol == X86_BOOT_LINUX64, &sregs);
        regs_for_boot(boot, &regs);
    } else if (vcpu->powered) {
        sregs_at_reset(vcpu, &sregs);
        regs_at_reset(vcpu, &regs);
    } else {
        return 0; /* as KVM made it */
    }
    int rc = SET_STATE(vcpu, KVM_SET_SREGS, &sregs, err);
    return rc < 0 ? rc : SET_STATE(vcpu, KVM_SET_REGS, &regs, err);
}

int x86_vcpu_reset(struct vcpu *vcpu, struct kv_error *err)
{
    struct kvm_mp_state mp_state = {.mp_state = vcpu->index ? KVM_MP_STATE_UNINITIALIZED
                                                            : KVM_MP_STATE_RUNNABLE};

    if (!vcpu->powered) {
        int rc = set_registers(vcpu, err);
        vcpu->powered = rc == 0;
        return rc;
    }
    int rc = reset_nested(vcpu, err);
    if (rc == 0)
        rc = reset_events(vcpu, err);
    if (rc == 0)
        rc = set_registers(vcpu, err);
    if (rc == 0)
        rc = reset_fpu(vcpu, err);
    if (rc == 0)
        rc = set_msrs(vcpu, reset_msrs, ARRAY_SIZE(reset_msrs), err);
    if (rc == 0)
        rc = x86_hyperv_reset(vcpu, err);
    if (rc == 0)
        rc = reset_lapic(vcpu, err);
    return rc < 0 ? rc : SET_STATE(vcpu, KVM_SET_MP_STATE, &mp_state, err);
}
