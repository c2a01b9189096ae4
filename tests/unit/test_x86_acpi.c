/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI tables: found from the RSDP on, sound, and readable by the reference disassembler. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>

#include "vmm/devices/cpu_hotplug.h"
#include "vmm/pci/pci_hotplug.h"
#include "x86_machine.h"

static const uint8_t *at(struct machine *m, uint64_t gpa, uint64_t len)
{
    const uint8_t *p = guest_mem_range(&m->mem, gpa, len);
    assert_non_null(p);
    assert_in_range(gpa, LAYOUT_ACPI_BASE, LAYOUT_ACPI_BASE + LAYOUT_ACPI_SIZE - len);
    return p;
}

static void assert_sums_to_zero(const uint8_t *p, size_t len)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += p[i];
    assert_int_equal(sum, 0);
}

static const uint8_t *xsdt(struct machine *m)
{
    uint64_t rsdp = 0;
    struct kv_error err = {0};
    assert_int_equal(x86_acpi_build(m, &rsdp, &err), 0);
    const uint8_t *r = at(m, rsdp, 36);
    assert_memory_equal(r, "RSD PTR ", 8);
    assert_sums_to_zero(r, 20);
    assert_sums_to_zero(r, 36);
    return at(m, load_le(r + 24, 8), 36);
}

/* The table with a signature, checked; NULL when there is none. */
static const uint8_t *find_table(struct machine *m, const char *signature)
{
    const uint8_t *x = xsdt(m), *found = NULL;
    for (size_t i = 36; i < load_le(x + 4, 4); i += 8) {
        uint64_t address = load_le(x + i, 8);
        const uint8_t *t = at(m, address, load_le(at(m, address, 36) + 4, 4));
        assert_sums_to_zero(t, load_le(t + 4, 4));
        if (memcmp(t, signature, 4) == 0)
            found = t;
    }
    return found;
}

static const uint8_t *dsdt(struct machine *m)
{
    const uint8_t *fadt = find_table(m, "FACP");
    assert_int_equal(load_le(fadt + 40, 4), load_le(fadt + 140, 8));
    uint64_t address = load_le(fadt + 140, 8);
    const uint8_t *t = at(m, address, load_le(at(m, address, 36) + 4, 4));
    assert_sums_to_zero(t, load_le(t + 4, 4));
    return t;
}

static bool contains(const uint8_t *table, const char *text)
{
    return memmem(table, load_le(table + 4, 4), text, strlen(text)) != NULL;
}

static void every_table_is_reachable_and_sound(void **state)
{
    struct machine *m = test_machine(MIB(128), 0, 2);
    assert_non_null(find_table(m, "FACP"));
    assert_non_null(find_table(m, "APIC"));
    assert_non_null(find_table(m, "MCFG"));
    assert_null(find_table(m, "SRAT"));
    assert_memory_equal(dsdt(m), "DSDT", 4);
    test_machine_free(m);
}

static void the_generation_id_is_left_alone(void **state)
{
    struct machine *m = test_machine(MIB(128), 0, 1);
    uint8_t id[16];
    memset(id, 0x5a, sizeof(id));
    guest_mem_write(&m->mem, LAYOUT_VMGENID, id, sizeof(id));
    xsdt(m);
    assert_memory_equal(guest_mem_range(&m->mem, LAYOUT_VMGENID, 16), id, 16);
    test_machine_free(m);
}

static void fadt_describes_the_fixed_hardware(void **state)
{
    struct machine *m = test_machine(MIB(128), 0, 1);
    const uint8_t *fadt = find_table(m, "FACP");
    assert_int_equal(load_le(fadt + 4, 4), 276);
    assert_int_equal(load_le(fadt + 46, 2), GSI_SCI);
    assert_int_equal(load_le(fadt + 56, 4), PORT_PM1_EVENT);
    assert_int_equal(load_le(fadt + 76, 4), PORT_PM_TIMER);
    assert_int_equal(load_le(fadt + 80, 4), PORT_GPE0);
    assert_int_equal(fadt[92], GPE0_BYTES);
    assert_int_equal(load_le(fadt + 120, 8), PORT_RESET);
    assert_int_equal(fadt[128], 6);
    assert_int_equal(load_le(fadt + 152, 8), PORT_PM1_EVENT);
    assert_int_equal(load_le(fadt + 176, 8), PORT_PM1_CONTROL);
    assert_int_equal(load_le(fadt + 212, 8), PORT_PM_TIMER);
    assert_int_equal(load_le(fadt + 224, 8), PORT_GPE0);
    assert_memory_equal(at(m, load_le(fadt + 132, 8), 64), "FACS", 4);
    test_machine_free(m);
}

/* MADT entries of one type. */
static unsigned count_entries(const uint8_t *madt, uint8_t type)
{
    unsigned n = 0;
    for (size_t i = 44; i < load_le(madt + 4, 4); i += madt[i + 1]) {
        assert_true(madt[i + 1] >= 2);
        n += madt[i] == type;
    }
    return n;
}

static void madt_lists_every_vcpu(void **state)
{
    struct machine *m = test_machine(MIB(128), 0, 254);
    const uint8_t *madt = find_table(m, "APIC");
    assert_int_equal(count_entries(madt, 0), 254);
    assert_int_equal(count_entries(madt, 1), 1);
    assert_int_equal(madt[44 + 8 * 253 + 3], 253);
    test_machine_free(m);
}

static void numa_nodes_split_memory_around_the_hole(void **state)
{
    struct machine *m = test_machine(GIB(2), GIB(2), 4);
    m->config.numa_count = 2;
    m->config.numa[0].cpus = (char *)"0-1";
    m->config.numa[0].memory = GIB(3);
    m->config.numa[1].cpus = (char *)"2,3";
    m->config.numa[1].memory = GIB(1);
    const uint8_t *srat = find_table(m, "SRAT");
    assert_non_null(srat);
    const uint8_t *e = srat + 48; /* two CPUs, then the node's memory below and above the hole */
    assert_int_equal(e[0], 0);
    e += 32;
    assert_int_equal(load_le(e + 8, 8), 0);
    assert_int_equal(load_le(e + 16, 8), GIB(2));
    e += 40;
    assert_int_equal(load_le(e + 8, 8), GIB(4));
    assert_int_equal(load_le(e + 16, 8), GIB(1));
    e += 40 + 32;
    assert_int_equal(e[2], 1);
    assert_int_equal(load_le(e + 8, 8), GIB(5));
    assert_ptr_equal(e + 40, srat + load_le(srat + 4, 4));
    const uint8_t *slit = find_table(m, "SLIT");
    assert_memory_equal(slit + 44, "\x0a\x14\x14\x0a", 4);
    test_machine_free(m);
}

static void a_malformed_cpu_list_is_refused(void **state)
{
    struct machine *m = test_machine(MIB(128), 0, 1);
    struct kv_error err = {0};
    uint64_t rsdp;
    m->config.numa_count = 1;
    m->config.numa[0].cpus = (char *)"0-x";
    assert_int_equal(x86_acpi_build(m, &rsdp, &err), -EINVAL);
    assert_non_null(strstr(err.message, "0-x"));
    test_machine_free(m);
}

static void absent_devices_are_not_described(void **state)
{
    struct machine *m = test_machine(MIB(128), 0, 1);
    assert_false(contains(dsdt(m), "VGEN"));
    assert_false(contains(dsdt(m), "COM1"));
    assert_false(contains(dsdt(m), "QEMU0001"));
    assert_false(contains(dsdt(m), "MSFT0101"));
    assert_null(find_table(m, "TPM2"));
    test_machine_free(m);
}

#define DEVICES 6

static void add_device(struct machine *m, struct device *dev, const char *type, const char *id)
{
    struct device_ops *ops = calloc(1, sizeof(*ops));
    ops->type = type;
    *dev = (struct device){.ops = ops, .machine = m};
    strcpy(dev->id, id);
    list_add_tail(&m->devices, &dev->node);
}

static void describe_all(struct machine *m, struct device devices[DEVICES])
{
    add_device(m, &devices[0], "serial", "serial0");
    add_device(m, &devices[1], "serial", "console");
    add_device(m, &devices[2], "vmgenid", "vmgenid");
    add_device(m, &devices[3], "pvpanic", "pvpanic");
    add_device(m, &devices[4], "rtc", "rtc");
    add_device(m, &devices[5], "tpm-crb", "tpm0");
}

static void forget_all(struct device devices[DEVICES])
{
    for (unsigned i = 0; i < DEVICES; i++)
        free((void *)devices[i].ops);
}

static void present_devices_are_described(void **state)
{
    struct machine *m = test_machine(MIB(128), 0, 1);
    struct device devices[DEVICES];
    describe_all(m, devices);
    assert_true(contains(dsdt(m), "VGEN"));
    assert_true(contains(dsdt(m), "COM1"));
    assert_true(contains(dsdt(m), "COM2"));
    assert_false(contains(dsdt(m), "COM3"));
    assert_true(contains(dsdt(m), "QEMU0001"));
    assert_true(contains(dsdt(m), "_E05"));
    assert_true(contains(dsdt(m), "MSFT0101"));
    const uint8_t *tpm2 = find_table(m, "TPM2");
    assert_int_equal(load_le(tpm2 + 4, 4), 64);
    assert_int_equal(load_le(tpm2 + 40, 8), 0xfed40040);
    assert_int_equal(load_le(tpm2 + 48, 4), 7);
    test_machine_free(m);
    forget_all(devices);
}

/* The last two of four vCPUs are plugged later. */
static void make_two_pluggable(struct machine *m, struct device *hotplug)
{
    static const struct device_ops ops = {.type = CPU_HOTPLUG_TYPE};
    m->config.cpus.count = 2;
    m->vcpus[2].absent = m->vcpus[3].absent = true;
    *hotplug = (struct device){.ops = &ops};
    list_add_tail(&m->devices, &hotplug->node);
}

static void places_for_vcpus_are_listed_and_have_methods(void **state)
{
    struct machine *m = test_machine(MIB(128), 0, 4);
    assert_null(memmem(dsdt(m), load_le(dsdt(m) + 4, 4), "_EJ0", 4));
    struct device hotplug;
    make_two_pluggable(m, &hotplug);
    const uint8_t *madt = find_table(m, "APIC");
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(load_le(madt + 44 + 8 * i + 4, 4), i < 2 ? 1 : 2);
    const uint8_t *body = dsdt(m), *at = body, *end = body + load_le(body + 4, 4);
    unsigned ejected = 0;
    while ((at = memmem(at, (size_t)(end - at), "_EJ0", 4))) {
        ejected++;
        at += 4;
    }
    assert_int_equal(ejected, 2);
    m->vcpus[3].absent = false;
    assert_int_equal(load_le(find_table(m, "APIC") + 44 + 8 * 3 + 4, 4), 1);
    test_machine_free(m);
}

/* Compiles what it decompiles, warnings being errors; 6035 is about QEMU's name of the generation
 * ID device, which guests know. */
static void run_iasl(const uint8_t *table, const char *name, const char *expected)
{
    char dir[] = "/tmp/kvasir-acpi-XXXXXX", command[300], text[65536] = "";
    assert_non_null(mkdtemp(dir));
    snprintf(command, sizeof(command), "%s/%s.aml", dir, name);
    FILE *f = fopen(command, "w");
    assert_non_null(f);
    fwrite(table, 1, load_le(table + 4, 4), f);
    fclose(f);
    snprintf(command, sizeof(command),
             "cd %s && iasl -d %s.aml 2>&1 && iasl -we -vw 6035 %s.dsl 2>&1 && cat %s.dsl", dir,
             name, name, name);
    f = popen(command, "r");
    assert_non_null(f);
    size_t len = fread(text, 1, sizeof(text) - 1, f);
    text[len] = 0;
    while (fgetc(f) != EOF)
        continue;
    int status = pclose(f);
    if (status != 0)
        print_error("%s: %s\n", name, text);
    assert_int_equal(status, 0);
    assert_null(strstr(text, "Invalid"));
    if (expected)
        assert_non_null(strstr(text, expected));
    snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

static void the_reference_compiler_accepts_every_table(void **state)
{
    struct device devices[DEVICES];
    if (system("iasl -v >/dev/null 2>&1") != 0)
        skip();
    struct machine *m = test_machine(GIB(2), GIB(2), 4);
    describe_all(m, devices);
    m->config.numa_count = 2;
    m->config.numa[0].cpus = (char *)"0-1";
    m->config.numa[1].cpus = (char *)"2-3";
    m->config.numa[0].memory = m->config.numa[1].memory = GIB(2);
    run_iasl(dsdt(m), "dsdt", "QWordMemory");
    struct device hotplug;
    make_two_pluggable(m, &hotplug);
    run_iasl(dsdt(m), "hotplug", "_OST");
    run_iasl(find_table(m, "FACP"), "facp", NULL);
    run_iasl(find_table(m, "APIC"), "apic", NULL);
    run_iasl(find_table(m, "MCFG"), "mcfg", NULL);
    run_iasl(find_table(m, "SRAT"), "srat", NULL);
    run_iasl(find_table(m, "SLIT"), "slit", NULL);
    test_machine_free(m);
    forget_all(devices);
}

static void only_slots_whose_devices_may_leave_are_described(void **state)
{
    struct machine *m = test_machine(MIB(128), 0, 1);
    struct kv_error err = {0};
    assert_false(contains(dsdt(m), "_EJ0"));
    bus_init(&m->pio, "port");
    pci_bus_init(&m->pci, &m->mmio, &m->pio, NULL, NULL);
    assert_int_equal(pci_hotplug_create(m, &err), 0);
    struct pci_device stays = {.removable = false}, leaves = {.removable = true};
    m->pci.devices[PCI_DEVFN(3, 0)] = &stays;
    m->pci.devices[PCI_DEVFN(4, 0)] = &leaves;
    assert_true(contains(dsdt(m), "_E01"));
    assert_false(contains(dsdt(m), "S00_"));
    assert_false(contains(dsdt(m), "S03_"));
    assert_true(contains(dsdt(m), "S04_"));
    assert_true(contains(dsdt(m), "S1E_"));
    assert_false(contains(dsdt(m), "S1F_"));
    if (system("iasl -v >/dev/null 2>&1") == 0)
        run_iasl(dsdt(m), "dsdt", "_OST");
    struct device *dev = device_find(m, "acpi-pci-hotplug");
    device_unregister(dev);
    dev->ops->free(dev);
    pci_bus_destroy(&m->pci);
    bus_destroy(&m->pio);
    test_machine_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_table_is_reachable_and_sound),
        cmocka_unit_test(the_generation_id_is_left_alone),
        cmocka_unit_test(fadt_describes_the_fixed_hardware),
        cmocka_unit_test(madt_lists_every_vcpu),
        cmocka_unit_test(numa_nodes_split_memory_around_the_hole),
        cmocka_unit_test(a_malformed_cpu_list_is_refused),
        cmocka_unit_test(absent_devices_are_not_described),
        cmocka_unit_test(present_devices_are_described),
        cmocka_unit_test(places_for_vcpus_are_listed_and_have_methods),
        cmocka_unit_test(the_reference_compiler_accepts_every_table),
        cmocka_unit_test(only_slots_whose_devices_may_leave_are_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
