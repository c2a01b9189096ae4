/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vCPU's registers and the instruction it is at, as JSON: for logs and the control socket. */
#include <stdio.h>
#include <sys/ioctl.h>

#include "base/util.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/machine/machine.h"

#define INSTRUCTION_BYTES 16

static void set_hex(json_t *object, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "0x%llx", (unsigned long long)value);
    json_object_set_new(object, name, json_string(text));
}

static void describe_general(json_t *out, const struct kvm_regs *r)
{
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"rip", r->rip}, {"rflags", r->rflags}, {"rax", r->rax}, {"rbx", r->rbx}, {"rcx", r->rcx},
        {"rdx", r->rdx}, {"rsi", r->rsi},       {"rdi", r->rdi}, {"rsp", r->rsp}, {"rbp", r->rbp},
        {"r8", r->r8},   {"r9", r->r9},         {"r10", r->r10}, {"r11", r->r11}, {"r12", r->r12},
        {"r13", r->r13}, {"r14", r->r14},       {"r15", r->r15},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
        set_hex(out, fields[i].name, fields[i].value);
}

static void describe_system(json_t *out, const struct kvm_sregs *s)
{
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"cr0", s->cr0},           {"cr2", s->cr2},           {"cr3", s->cr3},
        {"cr4", s->cr4},           {"efer", s->efer},         {"cs", s->cs.selector},
        {"cs-base", s->cs.base},   {"ss", s->ss.selector},    {"ds", s->ds.selector},
        {"es", s->es.selector},    {"fs-base", s->fs.base},   {"gs-base", s->gs.base},
        {"gdt-base", s->gdt.base}, {"idt-base", s->idt.base}, {"apic-base", s->apic_base},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
        set_hex(out, fields[i].name, fields[i].value);
}

static void describe_instruction(json_t *out, struct vcpu *vcpu, uint64_t linear)
{
    struct kvm_translation translation = {.linear_address = linear};
    char text[3 * INSTRUCTION_BYTES + 1] = "";
    uint8_t bytes[INSTRUCTION_BYTES];

    if (ioctl(vcpu->fd, KVM_TRANSLATE, &translation) < 0 || !translation.valid)
        return;
    unsigned count = (unsigned)MIN((uint64_t)sizeof(bytes), 4096 - (linear & 4095));
    if (guest_mem_read(&vcpu->machine->mem, translation.physical_address, bytes, count) < 0)
        return;
    for (unsigned i = 0; i < count; i++)
        snprintf(text + 3 * i, 4, "%02x%s", bytes[i], i + 1 < count ? " " : "");
    json_object_set_new(out, "instruction-bytes", json_string(text));
}

json_t *vcpu_describe(struct vcpu *vcpu)
{
    struct kvm_regs regs;
    struct kvm_sregs sregs;

    if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 || ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
        return NULL;
    json_t *out = json_object();
    describe_general(out, &regs);
    describe_system(out, &sregs);
    describe_instruction(out, vcpu, sregs.cs.base + regs.rip);
    return out;
}
