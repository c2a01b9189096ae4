/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The floor for "exec to first guest instruction": a program that does only
 * the ioctls which any monitor of a PC needs (VM, interrupt controllers, timer,
 * 128 MiB of memory, one vCPU with CPUID and registers), runs a guest that
 * writes one byte to COM1, passes the byte on and ends. No options, no devices,
 * no threads, nothing checked that need not be.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY (128u << 20)
#define ENTRY 0x100000u

static const uint8_t guest[] = {
    0x66, 0xba, 0xf8, 0x03, /* mov dx, 0x3f8 */
    0xb0, 'K',              /* mov al, 'K' */
    0xee,                   /* out dx, al */
    0xf4,                   /* hlt */
};

static int do_ioctl(int fd, unsigned long request, void *arg, const char *name)
{
    int rc = ioctl(fd, request, arg);
    if (rc < 0)
        err(1, "%s", name);
    return rc;
}

static void set_registers(int vcpu)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rip = ENTRY, .rflags = 2};
    do_ioctl(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
    struct kvm_segment flat = {
        .limit = 0xffffffff, .present = 1, .db = 1, .s = 1, .g = 1, .type = 3, .selector = 16};
    sregs.ds = sregs.es = sregs.ss = flat;
    flat.type = 11;
    flat.selector = 8;
    sregs.cs = flat;
    sregs.cr0 |= 1;
    do_ioctl(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
    do_ioctl(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
}

int main(void)
{
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[128];
    } cpuid = {.head.nent = 128};
    uint64_t identity_map = 0xfeffc000;
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};

    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        err(1, "/dev/kvm");
    int vm = do_ioctl(kvm, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
    do_ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map, "KVM_SET_IDENTITY_MAP_ADDR");
    do_ioctl(vm, KVM_SET_TSS_ADDR, (void *)0xfeffd000, "KVM_SET_TSS_ADDR");
    do_ioctl(vm, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");
    do_ioctl(vm, KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2");

    uint8_t *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        err(1, "memory");
    struct kvm_userspace_memory_region region = {.memory_size = MEMORY,
                                                 .userspace_addr = (uintptr_t)memory};
    do_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");
    memcpy(memory + ENTRY, guest, sizeof(guest));

    int vcpu = do_ioctl(vm, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU");
    int size = do_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE");
    struct kvm_run *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED)
        err(1, "kvm_run");
    do_ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid, "KVM_GET_SUPPORTED_CPUID");
    do_ioctl(vcpu, KVM_SET_CPUID2, &cpuid, "KVM_SET_CPUID2");
    set_registers(vcpu);

    do_ioctl(vcpu, KVM_RUN, NULL, "KVM_RUN");
    if (run->exit_reason != KVM_EXIT_IO || run->io.port != 0x3f8)
        errx(1, "unexpected exit %u", run->exit_reason);
    if (write(1, (uint8_t *)run + run->io.data_offset, 1) != 1)
        err(1, "write");
    pause(); /* as a monitor would stay; whoever measures ends it */
    return 0;
}
