/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory: what the host gives for it, and what it takes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "vmm/machine/memory.h"

#define SHMEM_ENABLED "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

static void make(struct memory *memory, int hugepages)
{
    struct memory_config config = {.size = MIB(64), .hugepages = hugepages};
    struct guest_mem mem = {0};
    struct kv_error err = {0};

    int rc = memory_create(memory, &config, &mem, &err);
    if (rc < 0)
        fail_msg("%s", err.message);
    assert_int_equal((uintptr_t)memory->base % MIB(2), 0);
}

static uint64_t held(const struct memory *memory)
{
    struct stat st;
    assert_int_equal(fstat(memory->fd, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

/* Whether this process may mount a tmpfs and the host has not denied its huge pages. */
static bool huge_pages_possible(void)
{
    char setting[128] = "";
    FILE *file = fopen(SHMEM_ENABLED, "r");
    if (file) {
        size_t n = fread(setting, 1, sizeof(setting) - 1, file);
        setting[n] = '\0';
        fclose(file);
    }
    int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
    if (fs >= 0)
        close(fs);
    return file && fs >= 0 && !strstr(setting, "[deny]");
}

static void nothing_is_held_before_it_is_touched(void **state)
{
    (void)state;
    struct memory memory;
    make(&memory, HUGEPAGES_TRANSPARENT);
    assert_int_equal(held(&memory), 0);
    memory_destroy(&memory);
}

static void a_touch_takes_a_huge_page_unless_they_are_off(void **state)
{
    (void)state;
    struct memory memory;
    if (!huge_pages_possible())
        skip();
    make(&memory, HUGEPAGES_TRANSPARENT);
    memory.base[MIB(5)] = 1;
    assert_int_equal(held(&memory), MIB(2));
    memory_destroy(&memory);
    make(&memory, HUGEPAGES_OFF);
    memory.base[MIB(5)] = 1;
    assert_int_equal(held(&memory), 4096);
    memory_destroy(&memory);
}

static void what_is_discarded_reads_as_zeros_and_the_rest_stays(void **state)
{
    (void)state;
    struct memory memory;
    make(&memory, HUGEPAGES_TRANSPARENT);
    memset(memory.base + MIB(4), 7, MIB(2));
    assert_int_equal(memory_discard(&memory, MIB(4) + 4096, 8192), 0);
    assert_int_equal(memory.base[MIB(4) + 4095], 7);
    assert_int_equal(memory.base[MIB(4) + 4096], 0);
    assert_int_equal(memory.base[MIB(4) + 12287], 0);
    assert_int_equal(memory.base[MIB(4) + 12288], 7);
    assert_int_equal(memory_discard(&memory, MIB(64), 4096), -EFAULT);
    memory_destroy(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_held_before_it_is_touched),
        cmocka_unit_test(a_touch_takes_a_huge_page_unless_they_are_off),
        cmocka_unit_test(what_is_discarded_reads_as_zeros_and_the_rest_stays),
    };
    return cmocka_run_group_tests_name("guest memory", tests, NULL, NULL);
}
