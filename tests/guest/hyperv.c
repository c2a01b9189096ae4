/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hyper-V as the guest sees it (TLFS 2.4, 3, 12): leaves, identity, hypercall page, vCPU number,
 * clock. Ends by resetting the machine through Hyper-V's MSR. Needs --hyperv with time, vpindex,
 * synic and reset on a KVM that has them.
 */
#include "payload.h"

#define MSR_GUEST_OS_ID 0x40000000u
#define MSR_HYPERCALL 0x40000001u
#define MSR_VP_INDEX 0x40000002u
#define MSR_RESET 0x40000003u
#define MSR_TIME_REF_COUNT 0x40000020u
#define MSR_SCONTROL 0x40000080u
#define HYPERCALL_POST_MESSAGE 0x5cu
#define HYPERCALL_NONE 0x3ffu
#define STATUS_INVALID_CODE 2u

static uint8_t page[4096] __attribute__((aligned(4096)));

struct regs {
    uint32_t a, b, c, d;
};

static struct regs cpuid(uint32_t leaf)
{
    struct regs r;
    __asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(0));
    return r;
}

static uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

static void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

/* By the page that KVM filled: RCX says which, RDX and R8 where the parameters are. */
static uint64_t hypercall(uint64_t code)
{
    uint64_t result;
    register uint64_t output __asm__("r8") = 0;
    __asm__ volatile("call *%[page]"
                     : "=a"(result), "+c"(code), "+r"(output)
                     : [page] "r"(page), "d"(0)
                     : "r9", "r10", "r11", "memory");
    return result & 0xffff;
}

void payload_main(void)
{
    struct regs hyperv = cpuid(0x40000000), interface = cpuid(0x40000001);
    struct regs kvm = cpuid(0x40000100), features = cpuid(0x40000003), hints = cpuid(0x40000004);
    result("vendor is Microsoft's",
           hyperv.b == 0x7263694d && hyperv.c == 0x666f736f && hyperv.d == 0x76482074 &&
               hyperv.a >= 0x40000005,
           "not so");
    result("interface is Hv#1", interface.a == 0x31237648, "not so");
    result("KVM is behind it", kvm.b == 0x4b4d564b && kvm.a == 0x40000101, "not so");
    result("features are those asked for", (features.a & 0x2e6) == 0x2e6 && !(features.a & 1),
           "not so");
    result("spinlocks are as asked for", hints.b == 8191, "not so");

    wrmsr(MSR_GUEST_OS_ID, 0x8100000000000000ull);
    wrmsr(MSR_HYPERCALL, (uintptr_t)page | 1);
    result("hypercall page is filled", page[0] != 0 && rdmsr(MSR_HYPERCALL) & 1, "not so");
    result("an unknown hypercall is refused", hypercall(HYPERCALL_NONE) == STATUS_INVALID_CODE,
           "not so");
    wrmsr(MSR_SCONTROL, 1);
    result("a message to nobody is refused", hypercall(HYPERCALL_POST_MESSAGE) != 0, "not so");
    result("vCPU has its number", rdmsr(MSR_VP_INDEX) == 0, "not so");
    uint64_t before = rdmsr(MSR_TIME_REF_COUNT);
    pause_us(1000);
    result("clock counts 100 ns", rdmsr(MSR_TIME_REF_COUNT) - before >= 5000, "not so");
    print("resetting\n");
    wrmsr(MSR_RESET, 1);
    result("the machine was reset", false, "not so");
    finish();
}
