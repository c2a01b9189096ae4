/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Boot images: where they go, what the kernel is told, and files that lie. */
#include "unit.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>

#include "x86_machine.h"

/* A bzImage of 1 KiB setup and 4 KiB kernel; a test breaks what it wants. */
struct bzimage {
    union {
        uint8_t setup[1024];
        struct {
            uint8_t before[0x1f1];
            struct setup_header header;
        } __attribute__((packed));
    };
    uint8_t kernel[4096];
};

static struct bzimage good_bzimage(void)
{
    struct bzimage b = {0};
    b.header = (struct setup_header){
        .setup_sects = 1,
        .syssize = sizeof(b.kernel) / 16,
        .boot_flag = 0xaa55,
        .jump = 0x6aeb,
        .header = 0x53726448,
        .version = 0x020f,
        .loadflags = LOADED_HIGH,
        .initrd_addr_max = 0x7fffffff,
        .kernel_alignment = 0x200000,
        .relocatable_kernel = 1,
        .xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G,
        .cmdline_size = 2047,
        .pref_address = 0x1000000,
        .init_size = 0x2000000,
    };
    memset(b.kernel, 0xc3, sizeof(b.kernel));
    return b;
}

static int load(struct machine *m, const void *data, size_t len, struct kv_error *err)
{
    m->config.kernel_fd = test_file(data, len);
    int rc = x86_open_images(m, err);
    return rc < 0 ? rc : x86_load_boot(m, err);
}

static struct boot_params *zero_page(struct machine *m)
{
    return guest_mem_range(&m->mem, LAYOUT_ZERO_PAGE, sizeof(struct boot_params));
}

static void a_bzimage_goes_to_its_preferred_address(void **state)
{
    struct machine *m = test_machine(MIB(128), 0, 1);
    struct bzimage b = good_bzimage();
    struct kv_error err = {0};
    m->config.cmdline = (char *)"console=ttyS0";
    assert_int_equal(load(m, &b, sizeof(b), &err), 0);
    assert_int_equal(m->x86.boot.protocol, X86_BOOT_LINUX64);
    assert_int_equal(m->x86.boot.entry, 0x1000200);
    assert_memory_equal(guest_mem_range(&m->mem, 0x1000000, 4096), b.kernel, 4096);
    struct boot_params *z = zero_page(m);
    assert_int_equal(z->hdr.type_of_loader, 0xff);
    assert_int_equal(z->hdr.init_size, 0x2000000);
    assert_int_equal(z->acpi_rsdp_addr, LAYOUT_RSDP);
    assert_int_equal(z->sentinel, 0);
    assert_string_equal(guest_mem_range(&m->mem, z->hdr.cmd_line_ptr, 64), "console=ttyS0");
    assert_int_equal(z->e820_entries, 5);
    assert_int_equal(z->e820_table[0].size, LAYOUT_EBDA);
    assert_int_equal(z->e820_table[3].addr, MIB(1));
    assert_int_equal(z->e820_table[3].size, MIB(127));
    test_machine_free(m);
}

static void a_kernel_that_does_not_fit_there_goes_lower(void **state)
{
    struct machine *m = test_machine(MIB(64), 0, 1);
    struct bzimage b = good_bzimage();
    struct kv_error err = {0};
    b.header.init_size = (uint32_t)MIB(60);
    assert_int_equal(load(m, &b, sizeof(b), &err), 0);
    assert_int_equal(m->x86.boot.entry, 0x200200);
    test_machine_free(m);
}

static void the_initrd_lies_on_top_below_the_kernels_limit(void **state)
{
    struct machine *m = test_machine(GIB(2) + MIB(256), 0, 1);
    struct bzimage b = good_bzimage();
    struct kv_error err = {0};
    uint8_t initrd[5000];
    memset(initrd, 0x77, sizeof(initrd));
    b.header.xloadflags = XLF_KERNEL_64;
    m->config.initrd_fd = test_file(initrd, sizeof(initrd));
    assert_int_equal(load(m, &b, sizeof(b), &err), 0);
    assert_int_equal(zero_page(m)->hdr.ramdisk_image, 0x80000000u - 8192);
    assert_int_equal(zero_page(m)->hdr.ramdisk_size, sizeof(initrd));
    assert_memory_equal(guest_mem_range(&m->mem, 0x80000000u - 8192, sizeof(initrd)), initrd,
                        sizeof(initrd));
    test_machine_free(m);
}

static void a_large_initrd_goes_above_4_gib_if_the_kernel_can(void **state)
{
    for (unsigned can = 0; can < 2; can++) {
        struct machine *m = test_machine(MIB(128), MIB(256), 1);
        struct bzimage b = good_bzimage();
        struct kv_error err = {0};
        if (!can)
            b.header.xloadflags = XLF_KERNEL_64;
        m->config.initrd_fd = test_file("x", 1);
        assert_int_equal(ftruncate(m->config.initrd_fd, (off_t)MIB(100)), 0);
        assert_int_equal(load(m, &b, sizeof(b), &err), can ? 0 : -ENOMEM);
        if (can) {
            assert_int_equal(zero_page(m)->ext_ramdisk_image, 1);
            assert_int_equal(zero_page(m)->hdr.ramdisk_image, MIB(156));
        } else {
            assert_non_null(strstr(err.message, "do not fit"));
        }
        test_machine_free(m);
    }
}

static void an_initrd_never_overlaps_the_kernel(void **state)
{
    struct machine *m = test_machine(MIB(64), 0, 1);
    struct bzimage b = good_bzimage();
    struct kv_error err = {0};
    b.header.init_size = (uint32_t)MIB(48); /* ends where memory ends */
    m->config.initrd_fd = test_file("x", 1);
    assert_int_equal(ftruncate(m->config.initrd_fd, (off_t)MIB(10)), 0);
    assert_int_equal(load(m, &b, sizeof(b), &err), 0);
    assert_int_equal(zero_page(m)->hdr.ramdisk_image, MIB(6));
    test_machine_free(m);
}

/* What is wrong with a file, and a word of the message about it. */
#define REFUSED(name_, change_, message_)                 \
    static void name_(void **state)                       \
    {                                                     \
        struct machine *m = test_machine(MIB(128), 0, 1); \
        struct bzimage b = good_bzimage();                \
        struct kv_error err = {0};                        \
        size_t len = sizeof(b);                           \
        change_;                                          \
        assert_true(load(m, &b, len, &err) < 0);          \
        if (!strstr(err.message, message_))               \
            fail_msg("message is: %s", err.message);      \
        test_machine_free(m);                             \
    }

REFUSED(an_empty_file_is_refused, len = 0, "neither")
REFUSED(a_short_file_is_refused, len = 0x203, "neither")
REFUSED(a_file_cut_in_the_setup_is_refused, len = 0x220, "setup header ends")
REFUSED(a_file_cut_in_the_kernel_is_refused, len -= 100, "cut short")
REFUSED(a_wrong_magic_is_refused, b.header.header = 0x12345678, "neither")
REFUSED(a_wrong_boot_flag_is_refused, b.header.boot_flag = 0, "boot flag")
REFUSED(an_old_protocol_is_refused, b.header.version = 0x0204, "protocol 2.04; 2.12 or newer")
REFUSED(a_32_bit_kernel_is_refused, b.header.xloadflags = 0, "64-bit")
REFUSED(a_zimage_is_refused, b.header.loadflags = 0, "zImage")
REFUSED(a_kernel_larger_than_its_file_is_refused, b.header.syssize = 0xffffffff, "cut short")
REFUSED(a_kernel_of_no_bytes_is_refused, b.header.syssize = 0, "cut short")
REFUSED(a_kernel_larger_than_memory_is_refused, b.header.init_size = 0xffffffff, "memory ends")
REFUSED(a_header_beyond_the_zero_page_is_refused, b.header.jump = 0xffeb, "setup header ends")
REFUSED(a_wrapping_preferred_address_is_refused, b.header.pref_address = UINT64_MAX - 100;
        b.header.relocatable_kernel = 0, "memory ends")
REFUSED(an_alignment_that_is_no_power_of_two_is_refused, b.header.pref_address = 0;
        b.header.kernel_alignment = 3, "memory ends")
REFUSED(a_long_command_line_is_refused, b.header.cmdline_size = 3;
        m->config.cmdline = (char *)"quiet", "takes up to 3")

static void linux_needs_64_mib(void **state)
{
    struct machine *m = test_machine(MIB(63), 0, 1);
    struct bzimage b = good_bzimage();
    struct kv_error err = {0};
    assert_int_equal(load(m, &b, sizeof(b), &err), -EINVAL);
    assert_non_null(strstr(err.message, "64 MiB"));
    test_machine_free(m);
}

static void an_image_that_is_no_regular_file_is_refused(void **state)
{
    struct machine *m = test_machine(MIB(64), 0, 1);
    struct kv_error err = {0};
    m->config.kernel = (char *)"/dev/zero";
    assert_int_equal(x86_open_images(m, &err), -EINVAL);
    assert_non_null(strstr(err.message, "/dev/zero"));
    test_machine_free(m);
}

static void a_missing_image_is_named(void **state)
{
    struct machine *m = test_machine(MIB(64), 0, 1);
    struct kv_error err = {0};
    m->config.kernel = (char *)"/nonexistent/kernel";
    assert_int_equal(x86_open_images(m, &err), -ENOENT);
    assert_non_null(strstr(err.message, "/nonexistent/kernel"));
    test_machine_free(m);
}

/* An ELF file with two segments and room for a note. */
struct elf_image {
    Elf64_Ehdr header;
    Elf64_Phdr segments[3];
    struct {
        Elf64_Nhdr header;
        char name[4];
        uint32_t entry;
    } note;
    uint8_t text[256];
};

static struct elf_image good_elf(bool pvh)
{
    struct elf_image e = {0};
    e.header = (Elf64_Ehdr){
        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_EXEC,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_entry = 0xffffffff80100010,
        .e_phoff = offsetof(struct elf_image, segments),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 3,
    };
    e.segments[0] = (Elf64_Phdr){
        .p_type = PT_LOAD,
        .p_offset = offsetof(struct elf_image, text),
        .p_vaddr = 0xffffffff80100000,
        .p_paddr = 0x100000,
        .p_filesz = sizeof(e.text),
        .p_memsz = 0x1000,
    };
    e.segments[1] = (Elf64_Phdr){.p_type = PT_LOAD, .p_paddr = 0x101000, .p_memsz = 0x1000};
    e.segments[2] = (Elf64_Phdr){
        .p_type = pvh ? PT_NOTE : PT_NULL,
        .p_offset = offsetof(struct elf_image, note),
        .p_filesz = sizeof(e.note),
        .p_align = 4,
    };
    e.note.header = (Elf64_Nhdr){.n_namesz = 4, .n_descsz = 4, .n_type = 18};
    memcpy(e.note.name, "Xen", 4);
    e.note.entry = 0x100020;
    memset(e.text, 0x90, sizeof(e.text));
    return e;
}

static void an_elf_file_boots_in_2_mib_at_its_physical_entry(void **state)
{
    struct machine *m = test_machine(MIB(2), 0, 1);
    struct elf_image e = good_elf(false);
    struct kv_error err = {0};
    assert_int_equal(load(m, &e, sizeof(e), &err), 0);
    assert_int_equal(m->x86.boot.protocol, X86_BOOT_LINUX64);
    assert_int_equal(m->x86.boot.entry, 0x100010);
    assert_memory_equal(guest_mem_range(&m->mem, 0x100000, 256), e.text, 256);
    test_machine_free(m);
}

static void a_pvh_note_starts_the_file_in_32_bit_mode(void **state)
{
    struct machine *m = test_machine(MIB(16), 0, 1);
    struct elf_image e = good_elf(true);
    struct kv_error err = {0};
    m->config.cmdline = (char *)"hello";
    m->config.initrd_fd = test_file("initrd", 6);
    assert_int_equal(load(m, &e, sizeof(e), &err), 0);
    assert_int_equal(m->x86.boot.protocol, X86_BOOT_PVH);
    assert_int_equal(m->x86.boot.entry, 0x100020);
    const uint8_t *start = guest_mem_range(&m->mem, LAYOUT_PVH_INFO, 4096);
    assert_int_equal(load_le(start, 4), 0x336ec578);
    assert_int_equal(load_le(start + 4, 4), 1);
    assert_int_equal(load_le(start + 12, 4), 1);
    const uint8_t *module = guest_mem_range(&m->mem, load_le(start + 16, 8), 32);
    assert_memory_equal(guest_mem_range(&m->mem, load_le(module, 8), 6), "initrd", 6);
    assert_int_equal(load_le(module + 8, 8), 6);
    assert_string_equal(guest_mem_range(&m->mem, load_le(start + 24, 8), 6), "hello");
    assert_int_equal(load_le(start + 32, 8), LAYOUT_RSDP);
    assert_int_equal(load_le(start + 48, 4), 5);
    const uint8_t *map = guest_mem_range(&m->mem, load_le(start + 40, 8), 5 * 24);
    assert_int_equal(load_le(map + 3 * 24, 8), MIB(1));
    assert_int_equal(load_le(map + 3 * 24 + 8, 8), MIB(15));
    assert_int_equal(load_le(map + 3 * 24 + 16, 4), 1);
    test_machine_free(m);
}

static void a_second_load_clears_what_must_be_zero(void **state)
{
    struct machine *m = test_machine(MIB(2), 0, 1);
    struct elf_image e = good_elf(false);
    struct kv_error err = {0};
    assert_int_equal(load(m, &e, sizeof(e), &err), 0);
    memset(guest_mem_range(&m->mem, 0x100000, 0x2000), 0xff, 0x2000);
    assert_int_equal(x86_load_boot(m, &err), 0);
    const uint8_t *p = guest_mem_range(&m->mem, 0x100000, 0x2000);
    assert_memory_equal(p, e.text, 256);
    for (unsigned i = 256; i < 0x2000; i++)
        assert_int_equal(p[i], 0);
    test_machine_free(m);
}

#define ELF_REFUSED(name_, change_, message_)           \
    static void name_(void **state)                     \
    {                                                   \
        struct machine *m = test_machine(MIB(2), 0, 1); \
        struct elf_image e = good_elf(true);            \
        struct kv_error err = {0};                      \
        size_t len = sizeof(e);                         \
        change_;                                        \
        assert_true(load(m, &e, len, &err) < 0);        \
        if (!strstr(err.message, message_))             \
            fail_msg("message is: %s", err.message);    \
        test_machine_free(m);                           \
    }

ELF_REFUSED(an_elf_header_alone_is_refused, len = sizeof(Elf64_Ehdr), "file's end")
ELF_REFUSED(a_32_bit_elf_file_is_refused, e.header.e_ident[EI_CLASS] = ELFCLASS32, "64-bit")
ELF_REFUSED(an_elf_file_for_another_cpu_is_refused, e.header.e_machine = EM_AARCH64, "machine 183")
ELF_REFUSED(a_shared_object_is_refused, e.header.e_type = ET_DYN, "type 3")
ELF_REFUSED(too_many_segments_are_refused, e.header.e_phnum = 0xffff, "program headers")
ELF_REFUSED(no_segments_are_refused, e.header.e_phnum = 0, "program headers")
ELF_REFUSED(program_headers_behind_the_end_are_refused, e.header.e_phoff = UINT64_MAX - 8,
            "file's end")
ELF_REFUSED(a_segment_behind_the_files_end_is_refused, e.segments[0].p_offset = UINT64_MAX - 8,
            "segment 0")
ELF_REFUSED(a_segment_larger_in_file_than_in_memory_is_refused, e.segments[0].p_memsz = 8,
            "segment 0")
ELF_REFUSED(a_segment_outside_memory_is_refused, e.segments[1].p_paddr = MIB(2) - 8, "segment 1")
ELF_REFUSED(a_wrapping_segment_is_refused, e.segments[1].p_paddr = UINT64_MAX - 8, "segment 1")
ELF_REFUSED(a_segment_in_the_first_mib_is_refused, e.segments[1].p_paddr = 0x7000, "segment 1")
ELF_REFUSED(a_huge_segment_is_refused, e.segments[1].p_memsz = UINT64_MAX, "segment 1")
ELF_REFUSED(overlapping_segments_are_refused, e.segments[1].p_paddr = 0x100800, "overlap")
ELF_REFUSED(an_entry_outside_all_segments_is_refused, e.note.entry = 0x200000, "entry 0x200000")
ELF_REFUSED(notes_behind_the_files_end_are_refused, e.segments[2].p_filesz = 4096, "notes")
ELF_REFUSED(notes_of_absurd_size_are_refused, e.segments[2].p_filesz = UINT64_MAX, "notes")

static void a_malformed_note_is_no_entry(void **state)
{
    struct machine *m = test_machine(MIB(2), 0, 1);
    struct elf_image e = good_elf(true);
    struct kv_error err = {0};
    e.note.header.n_descsz = 0xfffffff0;
    assert_int_equal(load(m, &e, sizeof(e), &err), 0);
    assert_int_equal(m->x86.boot.protocol, X86_BOOT_LINUX64);
    test_machine_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bzimage_goes_to_its_preferred_address),
        cmocka_unit_test(a_kernel_that_does_not_fit_there_goes_lower),
        cmocka_unit_test(the_initrd_lies_on_top_below_the_kernels_limit),
        cmocka_unit_test(a_large_initrd_goes_above_4_gib_if_the_kernel_can),
        cmocka_unit_test(an_initrd_never_overlaps_the_kernel),
        cmocka_unit_test(an_empty_file_is_refused),
        cmocka_unit_test(a_short_file_is_refused),
        cmocka_unit_test(a_file_cut_in_the_setup_is_refused),
        cmocka_unit_test(a_file_cut_in_the_kernel_is_refused),
        cmocka_unit_test(a_wrong_magic_is_refused),
        cmocka_unit_test(a_wrong_boot_flag_is_refused),
        cmocka_unit_test(an_old_protocol_is_refused),
        cmocka_unit_test(a_32_bit_kernel_is_refused),
        cmocka_unit_test(a_zimage_is_refused),
        cmocka_unit_test(a_kernel_larger_than_its_file_is_refused),
        cmocka_unit_test(a_kernel_of_no_bytes_is_refused),
        cmocka_unit_test(a_kernel_larger_than_memory_is_refused),
        cmocka_unit_test(a_header_beyond_the_zero_page_is_refused),
        cmocka_unit_test(a_wrapping_preferred_address_is_refused),
        cmocka_unit_test(an_alignment_that_is_no_power_of_two_is_refused),
        cmocka_unit_test(a_long_command_line_is_refused),
        cmocka_unit_test(linux_needs_64_mib),
        cmocka_unit_test(an_image_that_is_no_regular_file_is_refused),
        cmocka_unit_test(a_missing_image_is_named),
        cmocka_unit_test(an_elf_file_boots_in_2_mib_at_its_physical_entry),
        cmocka_unit_test(a_pvh_note_starts_the_file_in_32_bit_mode),
        cmocka_unit_test(a_second_load_clears_what_must_be_zero),
        cmocka_unit_test(an_elf_header_alone_is_refused),
        cmocka_unit_test(a_32_bit_elf_file_is_refused),
        cmocka_unit_test(an_elf_file_for_another_cpu_is_refused),
        cmocka_unit_test(a_shared_object_is_refused),
        cmocka_unit_test(too_many_segments_are_refused),
        cmocka_unit_test(no_segments_are_refused),
        cmocka_unit_test(program_headers_behind_the_end_are_refused),
        cmocka_unit_test(a_segment_behind_the_files_end_is_refused),
        cmocka_unit_test(a_segment_larger_in_file_than_in_memory_is_refused),
        cmocka_unit_test(a_segment_outside_memory_is_refused),
        cmocka_unit_test(a_wrapping_segment_is_refused),
        cmocka_unit_test(a_segment_in_the_first_mib_is_refused),
        cmocka_unit_test(a_huge_segment_is_refused),
        cmocka_unit_test(overlapping_segments_are_refused),
        cmocka_unit_test(an_entry_outside_all_segments_is_refused),
        cmocka_unit_test(notes_behind_the_files_end_are_refused),
        cmocka_unit_test(notes_of_absurd_size_are_refused),
        cmocka_unit_test(a_malformed_note_is_no_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
