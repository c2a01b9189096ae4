/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the machine asks of its architecture: CPUID and registers for each
 * vCPU, boot images into memory, ACPI tables. arm64 would offer the same set.
 */
#ifndef KV_VMM_X86_X86_H
#define KV_VMM_X86_X86_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct kvm_cpuid2;
struct machine;
struct vcpu;

/* Where the first instruction is and what the registers say there; filled by x86_load_boot(). */
struct x86_boot {
    enum {
        X86_BOOT_RESET_VECTOR, /* firmware: CPUs start as after reset */
        X86_BOOT_LINUX64,      /* Linux boot protocol, 64-bit: rsi = zero page */
        X86_BOOT_PVH,          /* 32-bit, ebx = struct hvm_start_info */
    } protocol;
    uint64_t entry;
};

/* What this folder keeps in a machine; all zero at first, freed by x86_close_images(). Control
 * thread. */
struct x86 {
    struct x86_boot boot;
    struct firmware *firmware; /* NULL: a kernel is booted directly */
    bool loaded;               /* memory held images before: what must be zero needs clearing */
    struct kvm_cpuid2 *cpuid;  /* of the machine; each vCPU adds its APIC ID */
};

/* Loads kernel, initrd, command line and ACPI tables into guest memory; at power-on and at every
 * reset. Reads the images from descriptors that stay open for that. */
int x86_load_boot(struct machine *machine, struct kv_error *err);

/* Opens the images named by the configuration, once, before the jail. */
int x86_open_images(struct machine *machine, struct kv_error *err);
void x86_close_images(struct machine *machine);

/* CPUID, MSRs and LAPIC of a new vCPU (once), and its registers at power-on and reset: vCPU 0 at
 * the boot entry, the others waiting for INIT-SIPI. */
int x86_vcpu_init(struct vcpu *vcpu, struct kv_error *err);
int x86_vcpu_reset(struct vcpu *vcpu, struct kv_error *err);

/* Interrupt controllers and timer in KVM as after power-on; at a reset, before the vCPUs'. */
int x86_reset_irqchip(struct machine *machine, struct kv_error *err);

/* APIC ID of vCPU index for the configured topology. */
uint32_t x86_apic_id(const struct machine *machine, unsigned index);

/* Builds the ACPI tables (acpi_tables.c) at LAYOUT_ACPI_BASE; *rsdp becomes the RSDP's address. */
int x86_acpi_build(struct machine *machine, uint64_t *rsdp, struct kv_error *err);

#endif
