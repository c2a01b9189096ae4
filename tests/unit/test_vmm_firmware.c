/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Firmware's configuration through its ports, and the script that places ACPI tables. */
#include "unit.h"

#include <endian.h>
#include <stdlib.h>

#include "fake_machine.h"
#include "vmm/devices/fw_cfg.h"
#include "vmm/devices/pm.h"
#include "vmm/devices/vmgenid.h"
#include "vmm/x86/acpi_tables.h"
#include "vmm/x86/firmware.h"
#include "vmm/x86/layout.h"

#define SELECTOR PORT_FW_CFG
#define DATA (PORT_FW_CFG + 1)
#define DMA_HIGH (PORT_FW_CFG + 4)
#define DMA_LOW (PORT_FW_CFG + 8)
#define ACCESS 0x1000 /* where accesses are described in guest memory */
#define BUFFER 0x2000
#define ERROR 1
#define READ 2
#define SKIP 4
#define SELECT 8
#define WRITE 16

static struct fake_machine fake;
static struct fw_cfg *fw_cfg;

static int setup(void **state)
{
    fake_machine_init(&fake);
    fake.machine.config.firmware_fd = 0; /* the generation ID waits for its place */
    assert_int_equal(pm_create(&fake.machine, NULL), 0);
    assert_int_equal(vmgenid_create(&fake.machine, NULL), 0);
    assert_int_equal(fw_cfg_create(&fake.machine, &fw_cfg, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    fake_machine_destroy(&fake);
    return 0;
}

static void read_item(unsigned item, void *data, size_t len)
{
    uint8_t *bytes = data;
    port_write(&fake, SELECTOR, item, 2);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)port_read(&fake, DATA, 1);
}

/* Returns what the control field says afterwards. */
static uint32_t dma(uint32_t control, uint32_t len, uint64_t address)
{
    uint32_t words[2] = {htobe32(control), htobe32(len)};
    uint64_t where = htobe64(address);
    guest_mem_write(&fake.machine.mem, ACCESS, words, sizeof(words));
    guest_mem_write(&fake.machine.mem, ACCESS + 8, &where, sizeof(where));
    port_write(&fake, DMA_HIGH, 0, 4);
    port_write(&fake, DMA_LOW, htobe32(ACCESS), 4);
    guest_mem_read(&fake.machine.mem, ACCESS, words, 4);
    return be32toh(words[0]);
}

/* Number and size of a file, as the directory has it. */
static unsigned find_file(const char *name, uint32_t *size)
{
    uint8_t directory[4 + 32 * 64];
    read_item(FW_CFG_FILE_DIR, directory, sizeof(directory));
    uint32_t count;
    memcpy(&count, directory, 4);
    for (unsigned i = 0; i < be32toh(count); i++) {
        const uint8_t *entry = directory + 4 + i * 64;
        uint16_t item;
        if (strcmp((const char *)entry + 8, name) != 0)
            continue;
        memcpy(size, entry, 4);
        memcpy(&item, entry + 4, 2);
        *size = be32toh(*size);
        return be16toh(item);
    }
    return 0;
}

static void *read_file(const char *name, uint32_t *size)
{
    unsigned item = find_file(name, size);
    assert_true(item >= 0x20);
    uint8_t *bytes = malloc(*size);
    read_item(item, bytes, *size);
    return bytes;
}

static void items_are_read_byte_by_byte_and_end_in_zeros(void **state)
{
    uint8_t bytes[6];
    read_item(FW_CFG_SIGNATURE, bytes, 6);
    assert_memory_equal(bytes, "QEMU\0\0", 6);
    read_item(FW_CFG_ID, bytes, 1);
    assert_int_equal(bytes[0], 3);
    /* Numbers of the architecture's own, and others that are not there. */
    static const unsigned absent[] = {0x8000, 0x8001, 0x3f, 0xffff};
    for (unsigned i = 0; i < ARRAY_SIZE(absent); i++) {
        read_item(absent[i], bytes, 2);
        assert_int_equal(bytes[0] | bytes[1], 0);
    }
    assert_int_equal(fw_cfg_set(fw_cfg, FW_CFG_NB_CPUS, "\4\0", 2), 0);
    read_item(FW_CFG_NB_CPUS | 0x4000, bytes, 2);
    assert_int_equal(bytes[0], 4);
    assert_int_equal(port_read(&fake, DATA, 2), 0);
}

static void files_have_names_and_a_second_one_of_a_name_replaces_the_first(void **state)
{
    uint32_t size;
    assert_int_equal(find_file("a", &size), 0);
    assert_int_equal(fw_cfg_set_file(fw_cfg, "a", "first", 5), 0);
    assert_int_equal(fw_cfg_set_file(fw_cfg, "b", "other", 5), 0);
    assert_int_equal(fw_cfg_set_file(fw_cfg, "a", "longer one", 10), 0);
    char *text = read_file("a", &size);
    assert_int_equal(size, 10);
    assert_memory_equal(text, "longer one", 10);
    free(text);
    char name[FW_CFG_NAME_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[FW_CFG_NAME_MAX + 1] = '\0';
    assert_int_equal(fw_cfg_set_file(fw_cfg, name, "", 0), -28);
    for (unsigned i = 0; i < 30; i++) {
        snprintf(name, sizeof(name), "file %u", i);
        assert_int_equal(fw_cfg_set_file(fw_cfg, name, &i, sizeof(i)), 0);
    }
    assert_int_equal(fw_cfg_set_file(fw_cfg, "one too many", "", 0), -28);
    assert_int_equal(find_file("file 29", &size), 0x20 + 31);
}

static void dma_reads_skips_and_fills_up_with_zeros(void **state)
{
    uint8_t bytes[12];
    uint32_t size;
    assert_int_equal(port_read(&fake, DMA_HIGH, 4), htobe32(0x51454d55));
    assert_int_equal(port_read(&fake, DMA_LOW, 4), htobe32(0x20434647));
    fw_cfg_set_file(fw_cfg, "f", "0123456789", 10);
    unsigned item = find_file("f", &size);
    assert_int_equal(dma(item << 16 | SELECT | READ, 4, BUFFER), 0);
    assert_int_equal(dma(SKIP, 3, 0), 0);
    memset(guest_mem_range(&fake.machine.mem, BUFFER + 4, 9), 0xee, 9);
    assert_int_equal(dma(READ, 8, BUFFER + 4), 0);
    guest_mem_read(&fake.machine.mem, BUFFER, bytes, sizeof(bytes));
    assert_memory_equal(bytes, "0123789\0\0\0\0\0", 12);
    guest_mem_read(&fake.machine.mem, BUFFER + 12, bytes, 1);
    assert_int_equal(bytes[0], 0xee);
    save_reset_load(device_find(&fake.machine, "fw-cfg"));
}

static void dma_outside_of_memory_is_an_error_and_moves_nothing(void **state)
{
    assert_int_equal(dma(SELECT | READ, 4, FAKE_MEMORY_SIZE - 2), ERROR);
    assert_int_equal(dma(SELECT | READ, UINT32_MAX, BUFFER), ERROR);
    assert_int_equal(dma(SELECT | READ, 4, UINT64_MAX - 1), ERROR);
    assert_int_equal(dma(SELECT | SKIP, UINT32_MAX, 0), 0);
    assert_int_equal(dma(SKIP, UINT32_MAX, 0), 0);
    assert_int_equal(dma(READ, 4, BUFFER), 0); /* zeros, far behind the end */
    port_write(&fake, DMA_LOW, htobe32(FAKE_MEMORY_SIZE - 8), 4);
    port_write(&fake, DMA_HIGH, UINT32_MAX, 4);
    port_write(&fake, DMA_LOW, UINT32_MAX, 4);
    abuse_ports(&fake, PORT_FW_CFG, 12);
}

static uint64_t written;

static void note_written(void *opaque, const uint8_t *data)
{
    written = load_le(data, 8);
}

static void only_a_file_for_it_can_be_written(void **state)
{
    uint32_t size;
    uint64_t value = htole64(UINT64_C(0x1122334455667788));
    fw_cfg_set_writable(fw_cfg, "w", 8, note_written, NULL);
    fw_cfg_set_file(fw_cfg, "r", "12345678", 8);
    unsigned item = find_file("w", &size);
    guest_mem_write(&fake.machine.mem, BUFFER, &value, 8);
    assert_int_equal(dma(item << 16 | SELECT | WRITE, 8, BUFFER), 0);
    assert_true(written == le64toh(value));
    assert_int_equal(dma(item << 16 | SELECT | WRITE, 9, BUFFER), ERROR);
    assert_int_equal(dma(WRITE, 8, BUFFER), 0); /* the failed one did not move on */
    assert_int_equal(dma(WRITE, 1, BUFFER), ERROR);
    assert_int_equal(dma(item << 16 | SELECT | WRITE, 8, FAKE_MEMORY_SIZE), ERROR);
    assert_int_equal(dma(find_file("r", &size) << 16 | SELECT | WRITE, 8, BUFFER), ERROR);
}

/* ---------------------------------------------------------------- ACPI */

#define AREA 0x40000 /* where this firmware puts the tables */
#define RSDP 0x30000

static void assert_sums_to_zero(const uint8_t *p, size_t len)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += p[i];
    assert_int_equal(sum, 0);
}

enum loader { SEABIOS, OVMF };

/* What the firmware does with one command. */
static void carry_out(enum loader loader, const uint8_t *command, uint8_t *area, uint8_t *rsdp)
{
    const char *first = (const char *)command + 4, *second = first + 56;
    uint8_t *file = strcmp(first, "etc/acpi/rsdp") == 0 ? rsdp : area;
    uint8_t sum = 0;
    switch (load_le(command, 4)) {
    case 1:
        assert_true(strcmp(first, "etc/acpi/rsdp") == 0 || strcmp(first, "etc/acpi/tables") == 0);
        break;
    case 2: {
        uint8_t *at = file + load_le(command + 116, 4);
        assert_string_equal(second, "etc/acpi/tables");
        store_le(at, load_le(at, command[120]) + AREA, command[120]);
        break;
    }
    case 3:
        for (uint64_t i = 0; i < load_le(command + 68, 4); i++)
            sum = (uint8_t)(sum + file[load_le(command + 64, 4) + i]);
        if (loader == OVMF) /* it does not look at what is there */
            file[load_le(command + 60, 4)] = 0;
        file[load_le(command + 60, 4)] -= sum;
        break;
    case 4: {
        uint32_t size;
        uint64_t address = htole64(AREA + load_le(command + 120, 4));
        guest_mem_write(&fake.machine.mem, BUFFER, &address, 8);
        assert_int_equal(dma(find_file(first, &size) << 16 | SELECT | WRITE, 8, BUFFER), 0);
        break;
    }
    default:
        fail();
    }
}

static void link_tables(enum loader loader)
{
    struct kv_error err = {0};
    uint32_t area_size, rsdp_size, script_size;
    struct vcpu vcpu = {.machine = &fake.machine};
    fake.machine.vcpu_count = 1;
    fake.machine.vcpus = &vcpu;
    fake.machine.config.cpus = (struct cpus_config){1, 1, 1, 1, 1, 1};
    assert_int_equal(acpi_give_to_firmware(&fake.machine, fw_cfg, &err), 0);
    uint8_t *area = read_file("etc/acpi/tables", &area_size);
    uint8_t *rsdp = read_file("etc/acpi/rsdp", &rsdp_size);
    uint8_t *script = read_file("etc/table-loader", &script_size);
    assert_int_equal(script_size % 128, 0);
    for (uint32_t i = 0; i < script_size; i += 128)
        carry_out(loader, script + i, area, rsdp);

    assert_int_equal(rsdp_size, ACPI_RSDP_SIZE);
    assert_sums_to_zero(rsdp, 20);
    assert_sums_to_zero(rsdp, ACPI_RSDP_SIZE);
    const uint8_t *xsdt = area + load_le(rsdp + ACPI_RSDP_XSDT, 8) - AREA;
    assert_memory_equal(xsdt, "XSDT", 4);
    assert_sums_to_zero(xsdt, load_le(xsdt + 4, 4));
    const uint8_t *fadt = area + load_le(xsdt + 36, 8) - AREA;
    assert_memory_equal(fadt, "FACP", 4);
    assert_sums_to_zero(fadt, load_le(fadt + 4, 4));
    assert_memory_equal(area + load_le(fadt + 132, 8) - AREA, "FACS", 4);
    const uint8_t *dsdt = area + load_le(fadt + 140, 8) - AREA;
    assert_memory_equal(dsdt, "DSDT", 4);
    assert_sums_to_zero(dsdt, load_le(dsdt + 4, 4));

    /* The DSDT tells the guest where the generation ID is, the script told us. */
    uint8_t address[4], bytes[VMGENID_BYTES], seen[VMGENID_BYTES];
    store_le(address, AREA + ACPI_VMGENID, 4);
    assert_non_null(memmem(dsdt, load_le(dsdt + 4, 4), address, 4));
    vmgenid_bytes(&fake.machine, bytes);
    assert_memory_equal(area + ACPI_VMGENID, bytes, sizeof(bytes));
    vmgenid_change(&fake.machine, NULL, NULL);
    vmgenid_bytes(&fake.machine, bytes);
    guest_mem_read(&fake.machine.mem, AREA + ACPI_VMGENID, seen, sizeof(seen));
    assert_memory_equal(seen, bytes, sizeof(bytes));
    free(area);
    free(rsdp);
    free(script);
    fake.machine.vcpus = NULL;
    fake.machine.vcpu_count = 0;
}

static void seabios_links_the_tables_wherever_it_puts_them(void **state)
{
    link_tables(SEABIOS);
}

static void ovmf_links_the_tables_wherever_it_puts_them(void **state)
{
    link_tables(OVMF);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(items_are_read_byte_by_byte_and_end_in_zeros),
        T(files_have_names_and_a_second_one_of_a_name_replaces_the_first),
        T(dma_reads_skips_and_fills_up_with_zeros),
        T(dma_outside_of_memory_is_an_error_and_moves_nothing),
        T(only_a_file_for_it_can_be_written),
        T(seabios_links_the_tables_wherever_it_puts_them),
        T(ovmf_links_the_tables_wherever_it_puts_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
