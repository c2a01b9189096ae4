/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hyper-V's leaves: KVM's own make room, and nothing is shown that KVM does not have. */
#include "unit.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

#include "base/util.h"
#include "vmm/machine/config.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/hyperv.h"

#define ENTRIES 8

static struct kvm_cpuid2 *list_of(const struct kvm_cpuid_entry2 *entries, unsigned count)
{
    struct kvm_cpuid2 *list =
        calloc(1, sizeof(*list) + (ENTRIES + X86_HYPERV_LEAVES) * sizeof(struct kvm_cpuid_entry2));
    memcpy(list->entries, entries, count * sizeof(*entries));
    list->nent = count;
    return list;
}

static struct kvm_cpuid2 *plain(void)
{
    static const struct kvm_cpuid_entry2 entries[] = {
        {.function = 0, .eax = 0x1f},
        {.function = 0x40000000, .eax = 0x40000010, .ebx = 0x4b4d564b},
        {.function = 0x40000001, .eax = 0x01007efb},
        {.function = 0x40000010, .eax = 2450000},
    };
    return list_of(entries, ARRAY_SIZE(entries));
}

static struct kvm_cpuid2 *offer(uint32_t features_eax, uint32_t features_edx, uint32_t hints)
{
    const struct kvm_cpuid_entry2 entries[] = {
        {.function = 0x40000003, .eax = features_eax, .edx = features_edx},
        {.function = 0x40000004, .eax = hints},
    };
    return list_of(entries, ARRAY_SIZE(entries));
}

static void without_an_enlightenment_nothing_changes(void **state)
{
    struct kvm_cpuid2 *list = plain(), *before = plain();
    struct hyperv_config config = {0};
    struct kv_error err = {0};
    assert_int_equal(x86_hyperv_fit(list, NULL, &config, 2, &err), 0);
    assert_int_equal(list->nent, before->nent);
    assert_memory_equal(list->entries, before->entries, before->nent * sizeof(*list->entries));
    free(list);
    free(before);
}

static void leaves_say_what_was_asked_for_and_kvms_stand_behind(void **state)
{
    struct kvm_cpuid2 *list = plain(), *offered = offer(0x2e7f, BIT(8) | BIT(10), 0xc2c);
    struct hyperv_config config = {.relaxed = true,
                                   .vapic = true,
                                   .time = true,
                                   .frequencies = true,
                                   .spinlocks = 8191,
                                   .vendor_id = (char *)"KVM Hv"};
    struct kv_error err = {0};
    assert_int_equal(x86_hyperv_fit(list, offered, &config, 200, &err), 0);
    assert_null(x86_cpuid_find(list, 0x40000010, 0));
    assert_int_equal(x86_cpuid_find(list, 0x40000100, 0)->eax, 0x40000101);
    assert_int_equal(x86_cpuid_find(list, 0x40000100, 0)->ebx, 0x4b4d564b);
    assert_int_equal(x86_cpuid_find(list, 0x40000101, 0)->eax, 0x01007efb);
    const struct kvm_cpuid_entry2 *e = x86_cpuid_find(list, 0x40000000, 0);
    assert_int_equal(e->eax, 0x40000005);
    assert_memory_equal(&e->ebx, "KVM Hv\0\0\0\0\0\0", 12);
    assert_int_equal(x86_cpuid_find(list, 0x40000001, 0)->eax, 0x31237648);
    e = x86_cpuid_find(list, 0x40000003, 0);
    assert_int_equal(e->eax, 0xa32); /* hypercalls, APIC, clock, frequencies */
    assert_int_equal(e->edx, BIT(8));
    e = x86_cpuid_find(list, 0x40000004, 0);
    assert_int_equal(e->eax, 0x28);
    assert_int_equal(e->ebx, 8191);
    assert_int_equal(x86_cpuid_find(list, 0x40000005, 0)->eax, 200);
    free(list);
    free(offered);
}

static void what_kvm_does_not_have_is_refused_by_name_or_left_out_of_passthrough(void **state)
{
    struct kvm_cpuid2 *list = plain(), *offered = offer(0x22, 0, 0x20);
    struct hyperv_config config = {.relaxed = true, .ipi = true};
    struct kv_error err = {0};
    assert_int_equal(x86_hyperv_fit(list, offered, &config, 1, &err), -ENOTSUP);
    assert_non_null(strstr(err.message, "'ipi'"));
    assert_int_equal(x86_hyperv_fit(list, NULL, &config, 1, &err), -ENOTSUP);
    assert_int_equal(x86_cpuid_find(list, 0x40000000, 0)->ebx, 0x4b4d564b);
    config = (struct hyperv_config){.passthrough = true};
    assert_int_equal(x86_hyperv_fit(list, offered, &config, 1, &err), 0);
    assert_int_equal(x86_cpuid_find(list, 0x40000003, 0)->eax, 0x20);
    assert_int_equal(x86_cpuid_find(list, 0x40000004, 0)->eax, 0x20);
    assert_int_equal(x86_cpuid_find(list, 0x40000004, 0)->ebx, UINT32_MAX);
    free(list);
    free(offered);
}

static void options_that_need_others_say_which(void **state)
{
    static const struct {
        struct hyperv_config config;
        const char *message;
    } rows[] = {
        {{.synic = true}, "synic needs vpindex"},
        {{.synic = true, .vpindex = true, .stimer = true}, "stimer needs time"},
        {{.stimer_direct = true}, "stimer-direct needs stimer"},
        {{.tlbflush = true}, "tlbflush needs vpindex"},
        {{.vendor_id = (char *)"thirteen bytes"}, "accepted: 1 to 12"},
        {{.vendor_id = (char *)""}, "accepted: 1 to 12"},
    };
    const struct hyperv_config right = {.synic = true,
                                        .vpindex = true,
                                        .stimer = true,
                                        .time = true,
                                        .vendor_id = (char *)"twelve bytes"};
    struct kv_error err = {0};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(x86_hyperv_check(&rows[i].config, &err), -EINVAL);
        assert_non_null(strstr(err.message, rows[i].message));
    }
    assert_int_equal(x86_hyperv_check(&right, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_an_enlightenment_nothing_changes),
        cmocka_unit_test(leaves_say_what_was_asked_for_and_kvms_stand_behind),
        cmocka_unit_test(what_kvm_does_not_have_is_refused_by_name_or_left_out_of_passthrough),
        cmocka_unit_test(options_that_need_others_say_which),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
