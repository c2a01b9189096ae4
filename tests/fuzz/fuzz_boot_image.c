/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: kernels that lie. The first byte says what the file is made
 * from: the input alone, or a good bzImage or ELF file with bytes of the
 * input patched over its headers. What loads must start inside memory, and its
 * initrd must lie inside memory beside it.
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <string.h>

#include "require.h"
#include "x86_machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILE_SIZE 8192
#define PHNUM 3
#define NOTE_OFFSET 0x180
#define MEMORY MIB(64)

/* Replaces a few bytes of the file. */
struct patch {
    uint16_t offset;
    uint8_t len; /* 1 to 8, and in the upper bits how far the value is shifted */
    uint8_t value[5];
} __attribute__((packed));

struct header {
    uint8_t kind, initrd;
    uint16_t file_size, cmdline;
} __attribute__((packed));

static struct machine *machines[2];
static int kernel, initrd;
static uint8_t file[FILE_SIZE];
static char cmdline[70000];

static void build(void)
{
    machines[0] = test_machine(MEMORY, 0, 1);
    machines[1] = test_machine(MEMORY, MEMORY, 4);
    kernel = memfd_create("kernel", MFD_CLOEXEC);
    initrd = memfd_create("initrd", MFD_CLOEXEC);
    require(kernel >= 0 && initrd >= 0);
    for (unsigned i = 0; i < 2; i++)
        machines[i]->config.kernel_fd = kernel;
}

static void good_bzimage(void)
{
    struct setup_header header = {
        .setup_sects = 1,
        .syssize = 4096 / 16,
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
        .init_size = 0x200000,
    };
    memcpy(file + 0x1f1, &header, sizeof(header));
}

static void good_elf(void)
{
    static const uint32_t note[] = {4, 4, 18, 0x006e6558, 0x100100}; /* "Xen", PHYS32_ENTRY */
    Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_EXEC,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_entry = 0x100000,
        .e_phoff = sizeof(header),
        .e_ehsize = sizeof(header),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = PHNUM,
    };
    Elf64_Phdr segments[PHNUM] = {
        {.p_type = PT_LOAD,
         .p_offset = 0x200,
         .p_paddr = 0x100000,
         .p_filesz = 0x400,
         .p_memsz = 0x1000,
         .p_flags = PF_R | PF_X},
        {.p_type = PT_LOAD,
         .p_offset = 0x600,
         .p_paddr = 0x200000,
         .p_filesz = 0x200,
         .p_memsz = 0x200,
         .p_flags = PF_R | PF_W},
        {.p_type = PT_NOTE,
         .p_offset = NOTE_OFFSET,
         .p_filesz = sizeof(note),
         .p_memsz = sizeof(note)},
    };
    memcpy(file, &header, sizeof(header));
    memcpy(file + sizeof(header), segments, sizeof(segments));
    memcpy(file + NOTE_OFFSET, note, sizeof(note));
}

/* Returns the file's size. */
static size_t make_file(const struct header *header, const uint8_t *data, size_t size)
{
    memset(file, 0, sizeof(file));
    if (header->kind % 3 == 0) {
        size = MIN(size, sizeof(file));
        memcpy(file, data, size);
        return size;
    }
    if (header->kind % 3 == 1)
        good_bzimage();
    else
        good_elf();
    struct patch patch;
    for (; size >= sizeof(patch); data += sizeof(patch), size -= sizeof(patch)) {
        memcpy(&patch, data, sizeof(patch));
        /* Headers of both formats lie in the first KiB. */
        uint8_t *to = file + patch.offset % 1024;
        uint64_t value = load_le(patch.value, 5) << (patch.len >> 3) % 32;
        store_le(to, value, 1u << (patch.len & 3));
    }
    return header->file_size % 16 ? sizeof(file) : header->file_size % sizeof(file);
}

static bool overlap(const struct machine *m, const struct boot_params *zero)
{
    uint64_t at = zero->hdr.ramdisk_image | (uint64_t)zero->ext_ramdisk_image << 32;
    uint64_t len = zero->hdr.ramdisk_size | (uint64_t)zero->ext_ramdisk_size << 32;
    if (len == 0)
        return false;
    require(guest_mem_range(&m->mem, at, len) != NULL);
    return range_within(m->x86.boot.entry, 1, at, len) || at < MIB(1);
}

static void check(const struct machine *m)
{
    require(guest_mem_range(&m->mem, m->x86.boot.entry, 1) != NULL);
    if (m->x86.boot.protocol == X86_BOOT_LINUX64)
        require(
            !overlap(m, guest_mem_range(&m->mem, LAYOUT_ZERO_PAGE, sizeof(struct boot_params))));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct header header;
    struct kv_error err = {0};
    if (!machines[0])
        build();
    if (size < sizeof(header))
        return 0;
    memcpy(&header, data, sizeof(header));
    struct machine *m = machines[header.kind >> 7];
    size_t len = make_file(&header, data + sizeof(header), size - sizeof(header));
    require(pwrite(kernel, file, len, 0) == (ssize_t)len && ftruncate(kernel, (off_t)len) == 0);
    m->config.initrd_fd = header.initrd & 1 ? initrd : -1;
    /* Of small ones a few bytes, of large ones more than memory. */
    uint64_t initrd_size = (uint64_t)(header.initrd >> 4) << (header.initrd & 2 ? 24 : 4);
    if (header.initrd & 1)
        require(ftruncate(initrd, header.initrd & 2 ? (off_t)MAX(initrd_size, MEMORY) + 1
                                                    : (off_t)initrd_size) == 0);
    size_t words = header.kind & 0x40 ? header.cmdline : header.cmdline % 64;
    memset(cmdline, 'c', words);
    cmdline[words] = '\0';
    m->config.cmdline = cmdline;
    m->x86.loaded = false;
    int rc = x86_load_boot(m, &err);
    require(rc == 0 || (err.code && err.message[0]));
    if (rc == 0)
        check(m);
    return 0;
}
