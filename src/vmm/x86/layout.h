/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest-physical addresses, ports and interrupt numbers of the machine: shaped
 * like q35 so that stock firmware finds things where it expects them.
 */
#ifndef KV_VMM_X86_LAYOUT_H
#define KV_VMM_X86_LAYOUT_H

#include "base/util.h"

/* Memory below 4 GiB: all of it up to 2.75 GiB, else 2 GiB and the rest from 4 GiB on. */
#define LAYOUT_LOW_MAX UINT64_C(0xb0000000)
#define LAYOUT_LOW_SPLIT UINT64_C(0x80000000)
#define LAYOUT_HIGH_BASE UINT64_C(0x100000000)

#define LAYOUT_ECAM_BASE UINT64_C(0xb0000000)
#define LAYOUT_ECAM_SIZE MIB(256) /* buses 0 to 255 */
/* Highest bus that tables announce: kernels probe every slot of each bus up to it, an exit each. */
#define LAYOUT_PCI_LAST_BUS 0
#define LAYOUT_MMIO32_BASE UINT64_C(0xc0000000)
#define LAYOUT_MMIO32_END UINT64_C(0xfe000000)
#define LAYOUT_IOAPIC_BASE UINT64_C(0xfec00000)
#define LAYOUT_TPM_BASE UINT64_C(0xfed40000)
#define LAYOUT_CPU_HOTPLUG_BASE UINT64_C(0xfed50000) /* devices/cpu_hotplug.h */
#define LAYOUT_LAPIC_BASE UINT64_C(0xfee00000)
/* KVM's own pages on Intel: identity map (1 page) and TSS (3 pages). */
#define LAYOUT_IDENTITY_MAP UINT64_C(0xfeffc000)
#define LAYOUT_TSS UINT64_C(0xfeffd000)
/* 64-bit BARs: from the first 1 GiB boundary behind memory, at least here. */
#define LAYOUT_MMIO64_MIN UINT64_C(0x800000000)
#define LAYOUT_MMIO64_SIZE GIB(32)

#define LAYOUT_PCI_IO_BASE 0xc000
#define LAYOUT_PCI_IO_END 0x10000

/* First megabyte, when Linux is booted directly. */
#define LAYOUT_GDT 0x500
#define LAYOUT_PVH_INFO 0x6000
#define LAYOUT_ZERO_PAGE 0x7000
#define LAYOUT_BOOT_STACK 0x8ff0
#define LAYOUT_PAGE_TABLES 0x9000 /* PML4, PDPT, then page directories */
#define LAYOUT_CMDLINE 0x20000
#define LAYOUT_CMDLINE_MAX 0x10000
#define LAYOUT_EBDA 0x9fc00
#define LAYOUT_ACPI_BASE 0xe0000 /* RSDP and tables */
#define LAYOUT_ACPI_SIZE 0x10000
#define LAYOUT_SMBIOS_BASE 0xf0000 /* where kernels look for the entry point */
#define LAYOUT_SMBIOS_SIZE 0x10000
/* In that area, and wherever firmware puts it: */
#define ACPI_RSDP 0
#define ACPI_VMGENID 0x28 /* 16 bytes, written by their device alone */
#define ACPI_FACS 0x40
#define ACPI_TABLES 0x80
#define LAYOUT_RSDP (LAYOUT_ACPI_BASE + ACPI_RSDP)
#define LAYOUT_VMGENID (LAYOUT_ACPI_BASE + ACPI_VMGENID)
#define LAYOUT_KERNEL 0x100000

/* Where a VGA, if there is one, has its window and not the memory. */
#define LAYOUT_VGA_WINDOW 0xa0000
#define LAYOUT_VGA_WINDOW_END 0xc0000

/* Firmware: the whole image ends at 4 GiB; its last part lies below 1 MiB, too. */
#define LAYOUT_ROM_END UINT64_C(0x100000000)
#define LAYOUT_ROM_MAX MIB(16) /* KVM's own pages are below */
#define LAYOUT_ROM_LOW_END 0x100000
#define LAYOUT_ROM_LOW_MAX KIB(128)

/* Ports. */
#define PORT_I8042_DATA 0x60
#define PORT_I8042_COMMAND 0x64
#define PORT_RTC 0x70
#define PORT_DEBUG_E9 0xe9
#define PORT_COM1 0x3f8
#define PORT_COM2 0x2f8
#define PORT_COM3 0x3e8
#define PORT_COM4 0x2e8
#define PORT_DEBUGCON 0x402
#define PORT_PVPANIC 0x505
#define PORT_FW_CFG 0x510  /* 12 bytes: selector, data, DMA address from 0x514 on */
#define PORT_PM_BASE 0x600 /* PM1 event 0x600, control 0x604, timer 0x608 */
#define PORT_PM1_EVENT 0x600
#define PORT_PM1_CONTROL 0x604
#define PM1_SLP_TYP_S5 0 /* SLP_TYP in PM1 control that means off; OVMF has it built in */
#define PORT_PM_TIMER 0x608
#define PORT_GPE0 0x620 /* 16 bytes: 64 status bits, 64 enable bits */
#define GPE0_BYTES 16
#define PORT_SMI 0x630         /* SMI enable, then status, 4 bytes each */
#define PORT_PCI_HOTPLUG 0x640 /* pci/pci_hotplug.h */
#define PORTS_PCI_HOTPLUG 16
#define PORT_PCI_CONFIG_ADDRESS 0xcf8
#define PORT_RESET 0xcf9
#define PORT_PCI_CONFIG_DATA 0xcfc

/* GPE0 status bits. */
#define GPE_PCI_HOTPLUG 1
#define GPE_CPU_HOTPLUG 2
#define GPE_VMGENID 5

/* GSIs. */
#define GSI_KEYBOARD 1
#define GSI_COM2 3
#define GSI_COM1 4
#define GSI_RTC 8
#define GSI_SCI 9
#define GSI_MOUSE 12
#define GSI_PCI_FIRST 16 /* 8 of them, INTA of slot n is 16 + n % 8 */
#define GSI_IOAPIC_PINS 24

#endif
