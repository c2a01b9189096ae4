/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables of fixed form (ACPI 6.5, chapter 5.2; PCI Firmware 3.3 for
 * MCFG), built in one buffer (acpi_tables.h). For a kernel that is booted
 * directly they are copied to LAYOUT_ACPI_BASE at power-on and reset; firmware
 * gets them with the places of all pointers (acpi_loader.c).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "vmm/devices/i8042.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/acpi_aml.h"
#include "vmm/x86/acpi_dsdt.h"
#include "vmm/x86/acpi_tables.h"
#include "vmm/x86/layout.h"

#define OEM_ID "KVASIR"
#define OEM_TABLE_ID "KVASIR  "
#define CREATOR_ID "KVSR"
#define HEADER_SIZE 36
#define VCPU_SET_WORDS 16 /* 1024 vCPUs */

struct acpi {
    struct machine *machine;
    uint64_t base; /* address of the area that out is */
    struct aml out;
    struct acpi_links *links;
    uint64_t listed[ACPI_TABLES_MAX]; /* addresses, for the XSDT */
    unsigned listed_count;
};

uint8_t acpi_checksum(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint8_t sum = 0;
    while (len--)
        sum += *p++;
    return (uint8_t)-sum;
}

/* Begins a table on a 16-byte boundary; returns where. Its length and checksum come at the end. */
static size_t table_begin(struct acpi *acpi, const char *signature, unsigned revision)
{
    struct aml *out = &acpi->out;
    static const uint8_t zero[16];
    aml_bytes(out, zero, ALIGN_UP(out->len, 16) - out->len);
    size_t start = out->len;
    aml_bytes(out, signature, 4);
    aml_number(out, 0, 4);
    aml_number(out, revision, 1);
    aml_number(out, 0, 1);
    aml_bytes(out, OEM_ID, 6);
    aml_bytes(out, OEM_TABLE_ID, 8);
    aml_number(out, 1, 4);
    aml_bytes(out, CREATOR_ID, 4);
    aml_number(out, 1, 4);
    return start;
}

static uint64_t table_end(struct acpi *acpi, size_t start)
{
    if (acpi->out.failed)
        return 0;
    uint8_t *table = acpi->out.data + start;
    size_t len = acpi->out.len - start;
    store_le(table + 4, len, 4);
    table[9] = acpi_checksum(table, len);
    struct acpi_links *links = acpi->links;
    links->tables[links->table_count++] = (struct acpi_table){(uint32_t)start, (uint32_t)len};
    return acpi->base + start;
}

static void table_end_listed(struct acpi *acpi, size_t start)
{
    acpi->listed[acpi->listed_count++] = table_end(acpi, start);
}

static void note_pointer(struct acpi *acpi, size_t at, unsigned bytes)
{
    struct acpi_links *links = acpi->links;
    links->pointers[links->pointer_count++] = (struct acpi_pointer){(uint32_t)at, (uint8_t)bytes};
}

/* An address in the area. */
static void pointer(struct acpi *acpi, uint64_t address, unsigned bytes)
{
    note_pointer(acpi, acpi->out.len, bytes);
    aml_number(&acpi->out, address, bytes);
}

static uint64_t build_dsdt(struct acpi *acpi)
{
    size_t start = table_begin(acpi, "DSDT", 2);
    size_t generation_id = acpi_dsdt_body(&acpi->out, acpi->machine, acpi->base + ACPI_VMGENID);
    if (generation_id)
        note_pointer(acpi, generation_id, 4);
    return table_end(acpi, start);
}

/* A generic address in I/O space (5.2.3.2); access: 1 byte, 2 word, 3 dword. */
static void io_address(struct aml *out, uint16_t port, unsigned bytes, unsigned access)
{
    aml_number(out, port ? 1 : 0, 1);
    aml_number(out, port ? bytes * 8 : 0, 1);
    aml_number(out, 0, 1);
    aml_number(out, port ? access : 0, 1);
    aml_number(out, port, 8);
}

#define FADT_WBINVD BIT(0)
#define FADT_PROC_C1 BIT(2)
#define FADT_SLP_BUTTON BIT(5)  /* no fixed sleep button */
#define FADT_FIX_RTC BIT(6)     /* no RTC wake status in the fixed registers */
#define FADT_TMR_VAL_EXT BIT(8) /* the PM timer has 32 bits */
#define FADT_RESET_REG BIT(10)
#define BOOT_LEGACY_DEVICES BIT(0)
#define BOOT_8042 BIT(1)
#define BOOT_NO_VGA BIT(2)
#define BOOT_NO_ASPM BIT(4)
#define RESET_VALUE 6 /* to port 0xcf9: hard reset */
#define NO_C2_LATENCY 0xfff
#define NO_C3_LATENCY 0xfff
#define CMOS_CENTURY 0x32

/*
 * Revision 6.5 of the FADT (5.2.9). There is no SMI port: the machine is always
 * in ACPI mode. An 8042 without a keyboard is not announced, since only its
 * reset line exists and probing it would cost the kernel time.
 */
static void build_fadt(struct acpi *acpi, uint64_t dsdt)
{
    struct aml *out = &acpi->out;

    size_t start = table_begin(acpi, "FACP", 6);
    pointer(acpi, acpi->base + ACPI_FACS, 4);
    pointer(acpi, dsdt, 4);
    aml_number(out, 0, 1); /* reserved */
    aml_number(out, 0, 1); /* preferred power profile: unspecified */
    aml_number(out, GSI_SCI, 2);
    aml_number(out, 0, 4); /* SMI command port */
    aml_number(out, 0, 4); /* ACPI enable and disable, S4BIOS, P-state values */
    aml_number(out, PORT_PM1_EVENT, 4);
    aml_number(out, 0, 4);
    aml_number(out, PORT_PM1_CONTROL, 4);
    aml_number(out, 0, 4);
    aml_number(out, 0, 4); /* PM2 control */
    aml_number(out, PORT_PM_TIMER, 4);
    aml_number(out, PORT_GPE0, 4);
    aml_number(out, 0, 4); /* GPE1 */
    aml_number(out, 4, 1); /* lengths: PM1 event, PM1 control, PM2, timer, GPE0, GPE1 */
    aml_number(out, 2, 1);
    aml_number(out, 0, 1);
    aml_number(out, 4, 1);
    aml_number(out, GPE0_BYTES, 1);
    aml_number(out, 0, 1);
    aml_number(out, 0, 1); /* GPE1 base */
    aml_number(out, 0, 1); /* _CST */
    aml_number(out, NO_C2_LATENCY, 2);
    aml_number(out, NO_C3_LATENCY, 2);
    aml_number(out, 0, 4); /* flush size and stride */
    aml_number(out, 0, 2); /* duty cycle */
    aml_number(out, 0, 2); /* day and month alarm */
    aml_number(out, CMOS_CENTURY, 1);
    aml_number(out,
               BOOT_LEGACY_DEVICES | BOOT_NO_ASPM |
                   (acpi->machine->platform.display ? 0 : BOOT_NO_VGA) |
                   (i8042_is_plugged(acpi->machine) ? BOOT_8042 : 0),
               2);
    aml_number(out, 0, 1);
    aml_number(out,
               FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC | FADT_TMR_VAL_EXT |
                   FADT_RESET_REG,
               4);
    io_address(out, PORT_RESET, 1, 1);
    aml_number(out, RESET_VALUE, 1);
    aml_number(out, 0, 2); /* ARM boot flags */
    aml_number(out, 5, 1); /* minor version */
    pointer(acpi, acpi->base + ACPI_FACS, 8);
    pointer(acpi, dsdt, 8);
    io_address(out, PORT_PM1_EVENT, 4, 2);
    io_address(out, 0, 0, 0);
    io_address(out, PORT_PM1_CONTROL, 2, 2);
    io_address(out, 0, 0, 0);
    io_address(out, 0, 0, 0);
    io_address(out, PORT_PM_TIMER, 4, 3);
    io_address(out, PORT_GPE0, GPE0_BYTES, 1);
    io_address(out, 0, 0, 0); /* GPE1 */
    io_address(out, 0, 0, 0); /* sleep control, sleep status */
    io_address(out, 0, 0, 0);
    aml_bytes(out, "Kvasir\0\0", 8); /* hypervisor vendor */
    table_end_listed(acpi, start);
}

static void interrupt_override(struct aml *out, unsigned irq, unsigned gsi, unsigned flags)
{
    aml_number(out, 2, 1);
    aml_number(out, 10, 1);
    aml_number(out, 0, 1); /* ISA */
    aml_number(out, irq, 1);
    aml_number(out, gsi, 4);
    aml_number(out, flags, 2);
}

#define MPS_AS_BUS 0
#define MPS_ACTIVE_HIGH_LEVEL 0xd

/*
 * 5.2.12. APIC IDs stay below 255 (cpuid.c), so the short form of an entry
 * serves all. The timer's interrupt 0 is at pin 0, where KVM puts it by itself.
 */
static void build_madt(struct acpi *acpi)
{
    struct aml *out = &acpi->out;

    size_t start = table_begin(acpi, "APIC", 5);
    aml_number(out, LAYOUT_LAPIC_BASE, 4);
    aml_number(out, 1, 4); /* there are 8259s too */
    for (unsigned i = 0; i < acpi->machine->vcpu_count; i++) {
        aml_number(out, 0, 1);
        aml_number(out, 8, 1);
        aml_number(out, i, 1);
        aml_number(out, x86_apic_id(acpi->machine, i), 1);
        aml_number(out, vcpu_is_present(&acpi->machine->vcpus[i]) ? 1 : 2,
                   4); /* or plugged later */
    }
    aml_number(out, 1, 1);
    aml_number(out, 12, 1);
    aml_number(out, 0, 1); /* I/O APIC's ID */
    aml_number(out, 0, 1);
    aml_number(out, LAYOUT_IOAPIC_BASE, 4);
    aml_number(out, 0, 4); /* its first GSI */
    interrupt_override(out, GSI_SCI, GSI_SCI, MPS_ACTIVE_HIGH_LEVEL);
    aml_number(out, 4, 1); /* NMI at LINT1 of every local APIC */
    aml_number(out, 6, 1);
    aml_number(out, 0xff, 1);
    aml_number(out, MPS_AS_BUS, 2);
    aml_number(out, 1, 1);
    table_end_listed(acpi, start);
}

static void build_mcfg(struct acpi *acpi)
{
    struct aml *out = &acpi->out;

    size_t start = table_begin(acpi, "MCFG", 1);
    aml_number(out, 0, 8);
    aml_number(out, LAYOUT_ECAM_BASE, 8);
    aml_number(out, 0, 2); /* segment */
    aml_number(out, 0, 1); /* first and last bus */
    aml_number(out, LAYOUT_PCI_LAST_BUS, 1);
    aml_number(out, 0, 4);
    table_end_listed(acpi, start);
}

static void memory_affinity(struct aml *out, unsigned node, uint64_t base, uint64_t size)
{
    aml_number(out, 1, 1);
    aml_number(out, 40, 1);
    aml_number(out, node, 4);
    aml_number(out, 0, 2);
    aml_number(out, base, 8);
    aml_number(out, size, 8);
    aml_number(out, 0, 4);
    aml_number(out, 1, 4); /* enabled */
    aml_number(out, 0, 8);
}

static void cpu_affinity(struct aml *out, unsigned node, uint32_t apic_id)
{
    aml_number(out, 0, 1);
    aml_number(out, 16, 1);
    aml_number(out, node & 0xff, 1);
    aml_number(out, apic_id, 1);
    aml_number(out, 1, 4); /* enabled */
    aml_number(out, 0, 1); /* SAPIC EID */
    aml_number(out, node >> 8, 3);
    aml_number(out, 0, 4); /* clock domain */
}

/* The part of a node's memory that is [offset, offset + size) of the machine's, around the hole. */
static void node_memory(struct acpi *acpi, unsigned node, uint64_t offset, uint64_t size)
{
    uint64_t low = acpi->machine->memory.low_size;

    if (offset < low) {
        uint64_t part = MIN(size, low - offset);
        memory_affinity(&acpi->out, node, offset, part);
        offset += part;
        size -= part;
    }
    if (size)
        memory_affinity(&acpi->out, node, LAYOUT_HIGH_BASE + (offset - low), size);
}

/* 5.2.16: which CPUs and which memory belong together. */
static int build_srat(struct acpi *acpi, struct kv_error *err)
{
    const struct machine_config *c = &acpi->machine->config;
    struct aml *out = &acpi->out;
    uint64_t offset = 0;

    size_t start = table_begin(acpi, "SRAT", 3);
    aml_number(out, 1, 4);
    aml_number(out, 0, 8);
    for (unsigned node = 0; node < c->numa_count; node++) {
        uint64_t set[VCPU_SET_WORDS] = {0};
        const char *cpus = c->numa[node].cpus;
        if (cpus && parse_bitmap(cpus, set, VCPU_SET_WORDS) < 0)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                                "NUMA node %u: '%s' is no list of vCPUs such as 0-1,3", node, cpus);
        for (unsigned i = 0; i < acpi->machine->vcpu_count; i++) {
            if (set[i / 64] & BIT(i % 64))
                cpu_affinity(out, node, x86_apic_id(acpi->machine, i));
        }
        node_memory(acpi, node, offset, c->numa[node].memory);
        offset += c->numa[node].memory;
    }
    table_end_listed(acpi, start);
    return 0;
}

/* 5.2.17: 10 to itself, 20 to every other node. */
static void build_slit(struct acpi *acpi)
{
    unsigned nodes = acpi->machine->config.numa_count;

    size_t start = table_begin(acpi, "SLIT", 1);
    aml_number(&acpi->out, nodes, 8);
    for (unsigned i = 0; i < nodes * nodes; i++)
        aml_number(&acpi->out, i / nodes == i % nodes ? 10 : 20, 1);
    table_end_listed(acpi, start);
}

/* TCG ACPI Specification 1.3, 7.3; without the optional area for a log of what was started: a
 * kernel that finds none there takes the log that UEFI has. */
static void build_tpm2(struct acpi *acpi, const struct acpi_tpm *tpm)
{
    struct aml *out = &acpi->out;

    size_t start = table_begin(acpi, "TPM2", 4);
    aml_number(out, 0, 2); /* a client's platform */
    aml_number(out, 0, 2);
    aml_number(out, tpm->control_area, 8);
    aml_number(out, tpm->start_method, 4);
    aml_number(out, 0, 8); /* parameters of the start method, 12 bytes */
    aml_number(out, 0, 4);
    table_end_listed(acpi, start);
}

static uint64_t build_xsdt(struct acpi *acpi)
{
    size_t start = table_begin(acpi, "XSDT", 1);
    for (unsigned i = 0; i < acpi->listed_count; i++)
        pointer(acpi, acpi->listed[i], 8);
    return table_end(acpi, start);
}

void acpi_write_rsdp(uint8_t rsdp[ACPI_RSDP_SIZE], uint64_t xsdt)
{
    memset(rsdp, 0, ACPI_RSDP_SIZE);
    memcpy(rsdp, "RSD PTR ", 8);
    memcpy(rsdp + 9, OEM_ID, 6);
    rsdp[15] = 2;
    store_le(rsdp + 20, ACPI_RSDP_SIZE, 4);
    store_le(rsdp + ACPI_RSDP_XSDT, xsdt, 8);
    rsdp[8] = acpi_checksum(rsdp, 20);
    rsdp[ACPI_RSDP_CHECKSUM] = acpi_checksum(rsdp, ACPI_RSDP_SIZE);
}

/* What lies in front of the tables. The FACS (5.2.10) has no checksum. */
static void begin_area(struct aml *out)
{
    uint8_t head[ACPI_TABLES] = {0};
    memcpy(head + ACPI_FACS, "FACS", 4);
    head[ACPI_FACS + 4] = ACPI_TABLES - ACPI_FACS; /* its length */
    head[ACPI_FACS + 32] = 2;                      /* version */
    aml_bytes(out, head, sizeof(head));
}

int acpi_build_area(struct machine *machine, uint64_t base, struct acpi_area *area,
                    struct kv_error *err)
{
    struct acpi acpi = {.machine = machine, .base = base, .links = &area->links};

    *area = (struct acpi_area){0};
    begin_area(&acpi.out);
    uint64_t dsdt = build_dsdt(&acpi);
    build_fadt(&acpi, dsdt);
    build_madt(&acpi);
    build_mcfg(&acpi);
    int rc = 0;
    if (machine->config.numa_count) {
        rc = build_srat(&acpi, err);
        build_slit(&acpi);
    }
    if (acpi_find_tpm(machine))
        build_tpm2(&acpi, acpi_find_tpm(machine));
    area->xsdt = build_xsdt(&acpi);
    area->data = acpi.out.data;
    area->len = acpi.out.len;
    if (rc == 0 && acpi.out.failed)
        rc = kv_error_errno(err, KV_ERR_BOOT, ENOMEM, "ACPI tables");
    if (rc == 0 && area->len > LAYOUT_ACPI_SIZE)
        rc = kv_error_set(err, KV_ERR_BOOT, ENOSPC,
                          "ACPI tables take %zu bytes; there is room for %d", area->len,
                          LAYOUT_ACPI_SIZE);
    if (rc == 0)
        acpi_write_rsdp(area->data + ACPI_RSDP, area->xsdt);
    return rc;
}

int x86_acpi_build(struct machine *machine, uint64_t *rsdp, struct kv_error *err)
{
    struct acpi_area area;
    int rc = acpi_build_area(machine, LAYOUT_ACPI_BASE, &area, err);
    cleanup_free uint8_t *data = area.data;
    if (rc < 0)
        return rc;
    /* The generation ID is not ours. */
    if (guest_mem_write(&machine->mem, LAYOUT_ACPI_BASE, data, ACPI_VMGENID) < 0 ||
        guest_mem_write(&machine->mem, LAYOUT_ACPI_BASE + ACPI_FACS, data + ACPI_FACS,
                        area.len - ACPI_FACS) < 0)
        return kv_error_set(err, KV_ERR_BOOT, EFAULT, "ACPI tables do not lie in guest memory");
    *rsdp = LAYOUT_ACPI_BASE + ACPI_RSDP;
    return 0;
}
