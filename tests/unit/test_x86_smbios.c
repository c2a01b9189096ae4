/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS tables as dmidecode reads them. */
#include "unit.h"
#include "x86_machine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/devices/classes.h"
#include "vmm/x86/acpi_tables.h"
#include "vmm/x86/smbios.h"

#define DEVICES_MAX 300

static struct device_config devices[DEVICES_MAX];
static struct smbios_config configs[DEVICES_MAX];

static int ask(struct machine *m, struct smbios_config config, struct kv_error *err)
{
    unsigned i = m->config.device_count++;
    configs[i] = config;
    devices[i] = (struct device_config){.class = &smbios_class, .config = &configs[i]};
    m->config.devices = devices;
    return smbios_class.create(m, &configs[i], err);
}

/* What dmidecode says of the tables with the given options. */
static const char *decode(struct machine *m, const char *options)
{
    static char text[1 << 20];
    char path[] = "/tmp/kvasir-smbios-XXXXXX", command[200];
    uint8_t head[32] = {0};
    struct buffer tables;
    assert_int_equal(smbios_build(m, &tables, NULL), 0);
    smbios_write_anchor(head, sizeof(head), tables.len);
    int fd = mkstemp(path);
    assert_int_equal(write(fd, head, sizeof(head)), sizeof(head));
    assert_int_equal(write(fd, buffer_bytes(&tables), tables.len), tables.len);
    close(fd);
    buffer_free(&tables);
    snprintf(command, sizeof(command), "/usr/sbin/dmidecode --from-dump %s %s 2>&1", path, options);
    FILE *pipe = popen(command, "r");
    text[fread(text, 1, sizeof(text) - 1, pipe)] = '\0';
    assert_int_equal(pclose(pipe), 0);
    unlink(path);
    return text;
}

static void expect(const char *text, const char *words)
{
    if (!strstr(text, words))
        fail_msg("not there: '%s'; there is: %s", words, text);
}

static void a_machine_has_the_structures_that_guests_want(void **state)
{
    struct machine *m = test_machine(GIB(2), GIB(38), 8);
    m->config.uuid = (char *)"c7a5fdbd-edaf-9455-926a-d65c16db1809";
    m->config.cpus =
        (struct cpus_config){.count = 8, .sockets = 2, .dies = 1, .cores = 2, .threads = 2};
    const char *text = decode(m, "");
    expect(text, "SMBIOS 3.0.0 present.");
    expect(text, "UUID: c7a5fdbd-edaf-9455-926a-d65c16db1809");
    expect(text, "Manufacturer: Kvasir");
    expect(text, "Socket Designation: CPU 1");
    expect(text, "Core Count: 2");
    expect(text, "Thread Count: 4");
    expect(text, "Maximum Capacity: 40 GB");
    expect(text, "Number Of Devices: 3");
    expect(text, "Locator: DIMM 2");
    expect(text, "Size: 8 GB");
    expect(text, "Range Size: 38 GB");
    expect(text, "Status: No errors detected");
    expect(text, "End Of Table");
    assert_null(strstr(text, "Base Board"));
    assert_null(strstr(text, "OEM Strings"));
    assert_null(strstr(text, "nvalid"));
    assert_null(strstr(text, "OUT OF SPEC"));
    test_machine_free(m);
}

static void texts_are_those_that_were_asked_for(void **state)
{
    struct machine *m = test_machine(MIB(128), 0, 1);
    static const struct smbios_config asked[] = {
        {.type = 0,
         .vendor = (char *)"V",
         .version = (char *)"1.x",
         .date = (char *)"02/03/2024",
         .release = (char *)"4.21"},
        {.type = 1,
         .manufacturer = (char *)"Some, Maker",
         .product = (char *)"P",
         .version = (char *)"S-V",
         .serial = (char *)"S-1",
         .sku = (char *)"SKU-1",
         .family = (char *)"Fam"},
        {.type = 2, .product = (char *)"Board", .asset = (char *)"A-2", .location = (char *)"Here"},
        {.type = 3, .serial = (char *)"C-3", .asset = (char *)"A-3", .sku = (char *)"SKU-3"},
        {.type = 11, .value = (char *)"first=1"},
        {.type = 11, .value = (char *)"second=2"},
    };
    static const char *const words[] = {"Vendor: V",
                                        "Release Date: 02/03/2024",
                                        "BIOS Revision: 4.21",
                                        "Some, Maker",
                                        "Version: S-V",
                                        "Serial Number: S-1",
                                        "SKU Number: S",
                                        "Family: Fam",
                                        "Product Name: Board",
                                        "Asset Tag: A-2",
                                        "Location In Chassis: Her",
                                        "Type: Motherboard",
                                        "Asset Tag: A-3",
                                        "SKU Number: SKU-3",
                                        "String 1: first=1",
                                        "String 2: second"};
    for (unsigned i = 0; i < ARRAY_SIZE(asked); i++)
        assert_int_equal(ask(m, asked[i], NULL), 0);
    const char *text = decode(m, "");
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        expect(text, words[i]);
    assert_null(strstr(text, "nvalid"));
    test_machine_free(m);
}

static void what_a_type_does_not_have_is_refused(void **state)
{
    static const struct {
        struct smbios_config config;
        const char *words;
    } rows[] = {
        {{.type = 4, .version = (char *)"x"}, "type 4; accepted: 0, 1, 2, 3, 11"},
        {{.type = 1, .asset = (char *)"x"}, "has no asset; accepted: manufacturer"},
        {{.type = 11, .serial = (char *)"x"}, "has no serial"},
        {{.type = 0, .release = (char *)"4"}, "release '4'"},
        {{.type = 0, .release = (char *)"4.256"}, "release '4.256'"},
        {{.type = 0, .release = (char *)"4.2x"}, "release '4.2x'"},
        {{.type = 0, .release = (char *)"-1.2"}, "release '-1.2'"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct machine *m = test_machine(MIB(128), 0, 1);
        struct kv_error err = {0};
        assert_true(ask(m, rows[i].config, &err) < 0);
        expect(err.message, rows[i].words);
        test_machine_free(m);
    }
    struct machine *m = test_machine(MIB(128), 0, 1);
    struct kv_error err = {0};
    assert_int_equal(ask(m, (struct smbios_config){.type = 3}, &err), 0);
    assert_int_equal(ask(m, (struct smbios_config){.type = 3}, &err), -EEXIST);
    test_machine_free(m);
}

static void tables_that_do_not_fit_are_refused(void **state)
{
    static char large[70000];
    struct machine *m = test_machine(MIB(128), 0, 1);
    struct kv_error err = {0};
    struct buffer tables;
    memset(large, 'x', sizeof(large) - 1);
    assert_int_equal(ask(m, (struct smbios_config){.type = 11, .value = large}, &err), 0);
    assert_true(smbios_build(m, &tables, &err) < 0);
    buffer_free(&tables);
    m->config.device_count = 0;
    for (unsigned i = 0; i < 256; i++)
        assert_int_equal(ask(m, (struct smbios_config){.type = 11, .value = (char *)"x"}, &err), 0);
    assert_true(smbios_build(m, &tables, &err) < 0);
    buffer_free(&tables);
    m->config.device_count = 255;
    expect(decode(m, "-t 11"), "String 255: x");
    test_machine_free(m);
}

static void the_largest_machine_has_them_too(void **state)
{
    struct machine *m = test_machine(GIB(2), GIB(2), 254);
    m->memory.size = GIB(16384);
    m->memory.high_size = GIB(16382);
    m->config.cpus.sockets = 254;
    m->config.cpus.cores = 1;
    const char *text = decode(m, "");
    expect(text, "CPU 253");
    expect(text, "DIMM 255");
    expect(text, "Size: 64 GB");
    expect(text, "Maximum Capacity: 16 TB");
    expect(text, "Range Size: 16382 GB");
    m->memory.size = GIB(4);
    test_machine_free(m);
}

/* As Linux does (dmi_scan.c): each 16 bytes from 0xf0000 on. */
static void a_kernel_finds_them_in_memory(void **state)
{
    struct machine *m = test_machine(MIB(128), 0, 1);
    assert_int_equal(smbios_place(m, NULL), 0);
    const uint8_t *bios = guest_mem_range(&m->mem, 0xf0000, 0x10000);
    unsigned at = 0;
    while (at < 0x10000 && memcmp(bios + at, "_SM3_", 5) != 0)
        at += 16;
    assert_true(at < 0x10000);
    assert_int_equal(acpi_checksum(bios + at, SMBIOS_ANCHOR_SIZE), 0);
    uint64_t tables = load_le(bios + at + SMBIOS_ANCHOR_TABLES, 8);
    assert_in_range(tables, 0xf0000 + at + SMBIOS_ANCHOR_SIZE, 0xfffff);
    const uint8_t *first = guest_mem_range(&m->mem, tables, 24);
    assert_int_equal(first[0], 0);
    assert_int_equal(first[1], 24);
    test_machine_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_machine_has_the_structures_that_guests_want),
        cmocka_unit_test(texts_are_those_that_were_asked_for),
        cmocka_unit_test(what_a_type_does_not_have_is_refused),
        cmocka_unit_test(tables_that_do_not_fit_are_refused),
        cmocka_unit_test(the_largest_machine_has_them_too),
        cmocka_unit_test(a_kernel_finds_them_in_memory),
    };
    return cmocka_run_group_tests_name("x86_smbios", tests, NULL, NULL);
}
