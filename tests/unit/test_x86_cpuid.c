/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUID: topology leaves that agree with each other and with the APIC IDs. */
#include "unit.h"

#include <linux/kvm.h>

#include "vmm/x86/cpuid.h"
#include "x86_machine.h"

#define ENTRIES 16
#define AMD 0x68747541u
#define INTEL 0x756e6547u

static struct kvm_cpuid2 *make_list(uint32_t vendor)
{
    struct kvm_cpuid2 *c =
        calloc(1, sizeof(*c) + (ENTRIES + X86_CPUID_EXTRA) * sizeof(struct kvm_cpuid_entry2));
    const struct kvm_cpuid_entry2 entries[] = {
        {.function = 0, .eax = 0x1f, .ebx = vendor},
        {.function = 1, .ebx = 0xff020800, .ecx = (uint32_t)BIT(27)},
        {.function = 4, .index = 0, .flags = 1, .eax = 0xfc004121},
        {.function = 4, .index = 3, .flags = 1, .eax = 0xfc004163},
        {.function = 0xb, .index = 0, .flags = 1, .edx = 77},
        {.function = 0x40000000, .eax = 0x40000001},
        {.function = 0x40000001, .eax = 0x01007efb},
        {.function = 0x80000001, .ecx = (uint32_t)BIT(22)},
        {.function = 0x80000008, .ecx = 0x7001},
        {.function = 0x8000001d, .index = 3, .flags = 1, .eax = 0x4163},
        {.function = 0x8000001e, .eax = 99},
        {.function = 0x80000026, .index = 0, .flags = 1, .eax = 1},
    };
    memcpy(c->entries, entries, sizeof(entries));
    c->nent = ARRAY_SIZE(entries);
    return c;
}

static struct machine *machine_of(unsigned sockets, unsigned dies, unsigned cores, unsigned threads)
{
    struct machine *m = test_machine(MIB(2), 0, sockets * dies * cores * threads);
    m->config.cpus =
        (struct cpus_config){m->vcpu_count, m->vcpu_count, sockets, dies, cores, threads};
    return m;
}

static void apic_ids_have_a_field_for_each_level(void **state)
{
    struct machine *m = machine_of(2, 2, 3, 2);
    assert_int_equal(x86_apic_id(m, 0), 0);
    assert_int_equal(x86_apic_id(m, 1), 1);
    assert_int_equal(x86_apic_id(m, 2), 2);
    assert_int_equal(x86_apic_id(m, 6), 8);   /* second die */
    assert_int_equal(x86_apic_id(m, 12), 16); /* second package */
    assert_int_equal(x86_apic_id(m, 23), 16 + 8 + 4 + 1);
    test_machine_free(m);
}

static void one_cpu_needs_no_apic_id_bits(void **state)
{
    struct machine *m = machine_of(4, 1, 1, 1);
    assert_int_equal(x86_topology(m).package_shift, 0);
    assert_int_equal(x86_apic_id(m, 3), 3);
    test_machine_free(m);
}

static void topology_leaves_follow_the_configuration(void **state)
{
    struct machine *m = machine_of(1, 2, 3, 2);
    struct x86_topology t = x86_topology(m);
    struct kvm_cpuid2 *c = make_list(AMD);
    x86_cpuid_fit(c, &t, &(struct x86_cpuid_timing){.tsc_deadline = true, .tsc_khz = 2450000});
    x86_cpuid_set_apic_id(c, &t, 13);

    const struct kvm_cpuid_entry2 *e = x86_cpuid_find(c, 1, 0);
    assert_int_equal(e->ebx >> 24, 13);
    assert_int_equal(e->ebx >> 16 & 0xff, 16);
    assert_true(e->ecx & BIT(31));
    assert_true(e->ecx & BIT(24));
    assert_true(e->ecx & BIT(21));
    assert_false(e->ecx & BIT(27));
    assert_true(e->edx & BIT(28));
    e = x86_cpuid_find(c, 0xb, 0);
    assert_int_equal(e->eax, 1);
    assert_int_equal(e->ebx, 2);
    assert_int_equal(e->ecx, 0x100);
    assert_int_equal(e->edx, 13);
    e = x86_cpuid_find(c, 0xb, 1);
    assert_int_equal(e->eax, 4);
    assert_int_equal(e->ebx, 12);
    assert_int_equal(e->ecx, 0x201);
    e = x86_cpuid_find(c, 0x1f, 2);
    assert_int_equal(e->eax, 4);
    assert_int_equal(e->ecx, 0x502);
    e = x86_cpuid_find(c, 0x80000008, 0);
    assert_int_equal(e->ecx & 0xff, 11);
    assert_int_equal(e->ecx >> 12 & 0xf, 4);
    e = x86_cpuid_find(c, 0x8000001d, 3);
    assert_int_equal(e->eax >> 14 & 0xfff, 7); /* the die's threads share the last level */
    e = x86_cpuid_find(c, 0x8000001e, 0);
    assert_int_equal(e->eax, 13);
    assert_int_equal(e->ebx, 0x106);
    assert_int_equal(e->ecx, 0x101);
    assert_null(x86_cpuid_find(c, 0x80000026, 0));
    free(c);
    test_machine_free(m);
}

static void the_timing_leaf_appears_when_the_frequency_is_known(void **state)
{
    struct machine *m = machine_of(1, 1, 1, 1);
    struct x86_topology t = x86_topology(m);
    struct kvm_cpuid2 *c = make_list(INTEL);
    x86_cpuid_fit(c, &t, &(struct x86_cpuid_timing){.tsc_khz = 0});
    assert_null(x86_cpuid_find(c, 0x40000010, 0));
    assert_int_equal(x86_cpuid_find(c, 0x40000000, 0)->eax, 0x40000001);
    x86_cpuid_fit(c, &t, &(struct x86_cpuid_timing){.tsc_khz = 2450000});
    assert_int_equal(x86_cpuid_find(c, 0x40000010, 0)->eax, 2450000);
    assert_int_equal(x86_cpuid_find(c, 0x40000000, 0)->eax, 0x40000010);
    free(c);
    test_machine_free(m);
}

static void intel_caches_are_shared_inside_the_package(void **state)
{
    struct machine *m = machine_of(2, 1, 4, 2);
    struct x86_topology t = x86_topology(m);
    struct kvm_cpuid2 *c = make_list(INTEL);
    x86_cpuid_fit(c, &t, &(struct x86_cpuid_timing){0});
    const struct kvm_cpuid_entry2 *e = x86_cpuid_find(c, 4, 0);
    assert_int_equal(e->eax >> 14 & 0xfff, 1);
    assert_int_equal(e->eax >> 26, 3);
    assert_int_equal(x86_cpuid_find(c, 4, 3)->eax >> 14 & 0xfff, 7);
    /* What AMD alone has stays as KVM gives it. */
    assert_int_equal(x86_cpuid_find(c, 0x80000008, 0)->ecx, 0x7001);
    free(c);
    test_machine_free(m);
}

static void a_single_cpu_has_no_hyperthreading(void **state)
{
    struct machine *m = machine_of(1, 1, 1, 1);
    struct x86_topology t = x86_topology(m);
    struct kvm_cpuid2 *c = make_list(AMD);
    x86_cpuid_fit(c, &t, &(struct x86_cpuid_timing){0});
    assert_false(x86_cpuid_find(c, 1, 0)->edx & BIT(28));
    assert_false(x86_cpuid_find(c, 0x80000001, 0)->ecx & BIT(1));
    assert_int_equal(x86_cpuid_find(c, 0xb, 0)->ebx, 1);
    free(c);
    test_machine_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(apic_ids_have_a_field_for_each_level),
        cmocka_unit_test(one_cpu_needs_no_apic_id_bits),
        cmocka_unit_test(topology_leaves_follow_the_configuration),
        cmocka_unit_test(the_timing_leaf_appears_when_the_frequency_is_known),
        cmocka_unit_test(intel_caches_are_shared_inside_the_package),
        cmocka_unit_test(a_single_cpu_has_no_hyperthreading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
