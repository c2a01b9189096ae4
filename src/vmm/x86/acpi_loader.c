/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables for firmware: it decides where they lie. Each file it is given
 * is placed, linked and summed up by the commands of another file,
 * "etc/table-loader" (QEMU's table loader, as SeaBIOS' romfile_loader and
 * OVMF's AcpiPlatformDxe carry it out). The generation ID lies among the
 * tables, and firmware writes back where that is.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "vmm/devices/fw_cfg.h"
#include "vmm/devices/vmgenid.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/acpi_tables.h"
#include "vmm/x86/firmware.h"
#include "vmm/x86/layout.h"

#define TABLES_FILE "etc/acpi/tables"
#define RSDP_FILE "etc/acpi/rsdp"
#define LOADER_FILE "etc/table-loader"
#define VMGENID_FILE "etc/vmgenid_addr"
#define FILE_BYTES 56

#define AREA_ALIGN 4096 /* the FACS wants 64 */
#define RSDP_ALIGN 16

enum { ALLOCATE = 1, ADD_POINTER = 2, ADD_CHECKSUM = 3, WRITE_POINTER = 4 };
enum { ZONE_HIGH = 1, ZONE_FIRST_MIB = 2 };

/* Little-endian. */
struct command {
    uint32_t kind;
    union {
        struct {
            char file[FILE_BYTES];
            uint32_t align;
            uint8_t zone;
        } __attribute__((packed)) allocate;
        struct {
            char in[FILE_BYTES], to[FILE_BYTES];
            uint32_t at;
            uint8_t bytes;
        } __attribute__((packed)) pointer;
        struct {
            char file[FILE_BYTES];
            uint32_t at, start, len;
        } __attribute__((packed)) checksum;
        struct {
            char in[FILE_BYTES], to[FILE_BYTES];
            uint32_t at, to_at;
            uint8_t bytes;
        } __attribute__((packed)) write_pointer;
        uint8_t bytes[124];
    };
};

struct script {
    struct command commands[4 + ACPI_POINTERS_MAX + ACPI_TABLES_MAX + 4];
    unsigned count;
};

static struct command *append(struct script *script, uint32_t kind)
{
    struct command *command = &script->commands[script->count++];
    command->kind = htole32(kind);
    return command;
}

static void allocate(struct script *script, const char *file, uint32_t align, uint8_t zone)
{
    struct command *command = append(script, ALLOCATE);
    strcpy(command->allocate.file, file);
    command->allocate.align = htole32(align);
    command->allocate.zone = zone;
}

static void add_pointer(struct script *script, const char *in, uint32_t at, uint8_t bytes)
{
    struct command *command = append(script, ADD_POINTER);
    strcpy(command->pointer.in, in);
    strcpy(command->pointer.to, TABLES_FILE);
    command->pointer.at = htole32(at);
    command->pointer.bytes = bytes;
}

static void add_checksum(struct script *script, const char *file, uint32_t at, uint32_t start,
                         uint32_t len)
{
    struct command *command = append(script, ADD_CHECKSUM);
    strcpy(command->checksum.file, file);
    command->checksum.at = htole32(at);
    command->checksum.start = htole32(start);
    command->checksum.len = htole32(len);
}

static void report_generation_id(struct script *script)
{
    struct command *command = append(script, WRITE_POINTER);
    strcpy(command->write_pointer.in, VMGENID_FILE);
    strcpy(command->write_pointer.to, TABLES_FILE);
    command->write_pointer.to_at = htole32(ACPI_VMGENID);
    command->write_pointer.bytes = 8;
}

static void generation_id_placed(void *opaque, const uint8_t *data)
{
    vmgenid_place(opaque, load_le(data, 8));
}

/* For tables whose sums are made once they are linked. */
static void clear_sums(uint8_t *tables, const struct acpi_links *links, uint8_t *rsdp)
{
    for (unsigned i = 0; i < links->table_count; i++)
        tables[links->tables[i].start + 9] = 0;
    rsdp[ACPI_RSDP_CHECKSUM] = 0;
}

static void write_script(struct script *script, const struct acpi_links *links)
{
    allocate(script, RSDP_FILE, RSDP_ALIGN, ZONE_FIRST_MIB);
    allocate(script, TABLES_FILE, AREA_ALIGN, ZONE_HIGH);
    for (unsigned i = 0; i < links->pointer_count; i++)
        add_pointer(script, TABLES_FILE, links->pointers[i].at, links->pointers[i].bytes);
    /* The bytes of the sums are 0 until now: SeaBIOS subtracts from them, OVMF overwrites them. */
    for (unsigned i = 0; i < links->table_count; i++)
        add_checksum(script, TABLES_FILE, links->tables[i].start + 9, links->tables[i].start,
                     links->tables[i].len);
    add_pointer(script, RSDP_FILE, ACPI_RSDP_XSDT, 8);
    add_checksum(script, RSDP_FILE, ACPI_RSDP_CHECKSUM, 0, ACPI_RSDP_SIZE);
    report_generation_id(script);
}

int acpi_give_to_firmware(struct machine *machine, struct fw_cfg *fw_cfg, struct kv_error *err)
{
    struct acpi_area area;
    int rc = acpi_build_area(machine, 0, &area, err);
    cleanup_free uint8_t *data = area.data;
    cleanup_free struct script *script = calloc(1, sizeof(*script));
    uint8_t rsdp[ACPI_RSDP_SIZE];
    if (rc < 0)
        return rc;
    if (!script)
        return kv_error_errno(err, KV_ERR_BOOT, ENOMEM, "ACPI tables");
    vmgenid_bytes(machine, data + ACPI_VMGENID);
    vmgenid_place(machine, 0);
    acpi_write_rsdp(rsdp, area.xsdt);
    clear_sums(data, &area.links, rsdp);
    write_script(script, &area.links);
    rc = fw_cfg_set_file(fw_cfg, TABLES_FILE, data, area.len);
    if (rc == 0)
        rc = fw_cfg_set_file(fw_cfg, RSDP_FILE, rsdp, sizeof(rsdp));
    if (rc == 0)
        rc = fw_cfg_set_writable(fw_cfg, VMGENID_FILE, 8, generation_id_placed, machine);
    if (rc == 0)
        rc = fw_cfg_set_file(fw_cfg, LOADER_FILE, script->commands,
                             script->count * sizeof(script->commands[0]));
    return rc < 0 ? kv_error_errno(err, KV_ERR_BOOT, -rc, "firmware's ACPI tables") : 0;
}
