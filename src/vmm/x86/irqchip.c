/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupt controllers and timer that live in KVM, set back to their state
 * after power-on (Intel 8259A, 82093AA and 8254 data sheets). Called at a
 * machine's reset with the vCPUs outside the guest; at the start they are fresh.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "vmm/machine/machine.h"
#include "vmm/x86/layout.h"
#include "vmm/x86/x86.h"

#define REDIRECTION_MASKED BIT(16)
#define PIT_MODE_NONE 0xff /* how KVM marks a channel that was never set */
#define PIT_COUNT_FULL 0x10000

/* Which lines of the two 8259s may be level-triggered: not timer, keyboard, cascade; not RTC, FPU.
 */
#define ELCR_MASK_MASTER 0xf8
#define ELCR_MASK_SLAVE 0xde

static int set_chip(struct machine *machine, struct kvm_irqchip *chip, struct kv_error *err)
{
    if (ioctl(machine->kvm.vm_fd, KVM_SET_IRQCHIP, chip) < 0)
        return kv_error_errno(err, KV_ERR_KVM, errno, "KVM_SET_IRQCHIP of controller %u",
                              chip->chip_id);
    return 0;
}

static int reset_pit(struct machine *machine, struct kv_error *err)
{
    struct kvm_pit_state2 pit;

    if (ioctl(machine->kvm.vm_fd, KVM_GET_PIT2, &pit) < 0)
        return kv_error_errno(err, KV_ERR_KVM, errno, "KVM_GET_PIT2");
    for (unsigned i = 0; i < ARRAY_SIZE(pit.channels); i++)
        pit.channels[i] = (struct kvm_pit_channel_state){
            .count = PIT_COUNT_FULL, .mode = PIT_MODE_NONE, .gate = i != 2};
    if (ioctl(machine->kvm.vm_fd, KVM_SET_PIT2, &pit) < 0)
        return kv_error_errno(err, KV_ERR_KVM, errno, "KVM_SET_PIT2");
    return 0;
}

int x86_reset_irqchip(struct machine *machine, struct kv_error *err)
{
    struct kvm_irqchip master = {.chip_id = KVM_IRQCHIP_PIC_MASTER};
    struct kvm_irqchip slave = {.chip_id = KVM_IRQCHIP_PIC_SLAVE};
    struct kvm_irqchip ioapic = {.chip_id = KVM_IRQCHIP_IOAPIC};

    master.chip.pic.elcr_mask = ELCR_MASK_MASTER;
    slave.chip.pic.elcr_mask = ELCR_MASK_SLAVE;
    ioapic.chip.ioapic.base_address = LAYOUT_IOAPIC_BASE;
    for (unsigned pin = 0; pin < GSI_IOAPIC_PINS; pin++)
        ioapic.chip.ioapic.redirtbl[pin].bits = REDIRECTION_MASKED;
    int rc = set_chip(machine, &master, err);
    if (rc == 0)
        rc = set_chip(machine, &slave, err);
    if (rc == 0)
        rc = set_chip(machine, &ioapic, err);
    return rc < 0 ? rc : reset_pit(machine, err);
}
