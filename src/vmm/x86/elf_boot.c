/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 64-bit ELF images (System V ABI, chapters 4 and 5): Linux's vmlinux and
 * bare-metal programs. With a Xen note of type PHYS32_ENTRY they start by the
 * PVH protocol (Xen docs/misc/pvh), else at e_entry by the 64-bit Linux boot
 * protocol. Called by boot.c. The file is not trusted.
 */
#include <elf.h>
#include <errno.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/boot.h"
#include "vmm/x86/layout.h"
#include "vmm/x86/memory_map.h"

#define SEGMENTS_MAX 64
#define NOTES_MAX KIB(64)
#define NOTE_PHYS32_ENTRY 18 /* XEN_ELFNOTE_PHYS32_ENTRY */

struct elf_file {
    struct boot_load *load;
    Elf64_Ehdr header;
    Elf64_Phdr segments[SEGMENTS_MAX];
    unsigned count;
};

bool elf_is_image(const uint8_t head[BOOT_HEAD_SIZE])
{
    return memcmp(head, ELFMAG, SELFMAG) == 0;
}

static int read_headers(struct elf_file *elf, const uint8_t *head, struct kv_error *err)
{
    const char *name = elf->load->kernel.name;
    const Elf64_Ehdr *h = &elf->header;

    memcpy(&elf->header, head, sizeof(elf->header));
    if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB ||
        h->e_machine != EM_X86_64)
        return kv_error_set(err, KV_ERR_BOOT, ENOEXEC,
                            "%s: ELF class %u, byte order %u, machine %u; 64-bit little-endian "
                            "x86-64 is supported",
                            name, h->e_ident[EI_CLASS], h->e_ident[EI_DATA], h->e_machine);
    if (h->e_type != ET_EXEC)
        return kv_error_set(err, KV_ERR_BOOT, ENOEXEC,
                            "%s: ELF type %u; an executable at fixed addresses (type 2) is needed",
                            name, h->e_type);
    if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum == 0 || h->e_phnum > SEGMENTS_MAX)
        return kv_error_set(err, KV_ERR_BOOT, ENOEXEC,
                            "%s: %u program headers of %u bytes; 1 to %u of %zu are supported",
                            name, h->e_phnum, h->e_phentsize, SEGMENTS_MAX, sizeof(Elf64_Phdr));
    uint64_t bytes = h->e_phnum * sizeof(Elf64_Phdr);
    if (!range_within(h->e_phoff, bytes, 0, elf->load->kernel.size))
        return kv_error_set(err, KV_ERR_BOOT, ENOEXEC,
                            "%s: program headers at 0x%llx lie behind the file's end (0x%llx)",
                            name, (unsigned long long)h->e_phoff,
                            (unsigned long long)elf->load->kernel.size);
    int rc = fd_pread_all(elf->load->kernel.fd, elf->segments, bytes, h->e_phoff);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BOOT, -rc, "%s: reading program headers", name);
    elf->count = h->e_phnum;
    return 0;
}

static bool loads(const Elf64_Phdr *p)
{
    return p->p_type == PT_LOAD && p->p_memsz;
}

static int check_segment(const struct elf_file *elf, unsigned n, struct kv_error *err)
{
    const struct boot_load *load = elf->load;
    const Elf64_Phdr *p = &elf->segments[n];

    if (p->p_filesz > p->p_memsz || !range_within(p->p_offset, p->p_filesz, 0, load->kernel.size))
        return kv_error_set(err, KV_ERR_BOOT, ENOEXEC,
                            "%s: segment %u takes 0x%llx bytes at 0x%llx of the file for 0x%llx "
                            "bytes of memory; the file has 0x%llx",
                            load->kernel.name, n, (unsigned long long)p->p_filesz,
                            (unsigned long long)p->p_offset, (unsigned long long)p->p_memsz,
                            (unsigned long long)load->kernel.size);
    if (p->p_paddr < MIB(1) ||
        !range_within(p->p_paddr, p->p_memsz, 0, load->machine->memory.low_size))
        return kv_error_set(
            err, KV_ERR_BOOT, ENOEXEC,
            "%s: segment %u goes to 0x%llx, 0x%llx bytes; memory for it is 0x100000 "
            "to 0x%llx",
            load->kernel.name, n, (unsigned long long)p->p_paddr, (unsigned long long)p->p_memsz,
            (unsigned long long)load->machine->memory.low_size);
    for (unsigned i = 0; i < n; i++) {
        const Elf64_Phdr *q = &elf->segments[i];
        if (loads(q) && ranges_overlap(p->p_paddr, p->p_memsz, q->p_paddr, q->p_memsz))
            return kv_error_set(err, KV_ERR_BOOT, ENOEXEC, "%s: segments %u and %u overlap",
                                load->kernel.name, i, n);
    }
    return 0;
}

static int load_segment(const struct elf_file *elf, const Elf64_Phdr *p, struct kv_error *err)
{
    struct boot_load *load = elf->load;
    struct guest_mem *mem = &load->machine->mem;
    uint8_t *to = guest_mem_range(mem, p->p_paddr, p->p_memsz);

    if (!to)
        return kv_error_set(err, KV_ERR_BOOT, EFAULT, "%s: 0x%llx is not guest memory",
                            load->kernel.name, (unsigned long long)p->p_paddr);
    int rc = fd_pread_all(load->kernel.fd, to, p->p_filesz, p->p_offset);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BOOT, -rc, "%s: reading it", load->kernel.name);
    /* New memory is zero as it is, and stays untouched. */
    if (load->machine->x86.loaded)
        memset(to + p->p_filesz, 0, p->p_memsz - p->p_filesz);
    guest_mem_mark_dirty(mem, p->p_paddr, p->p_memsz);
    return 0;
}

static int load_segments(struct elf_file *elf, struct kv_error *err)
{
    struct boot_load *load = elf->load;

    for (unsigned i = 0; i < elf->count; i++) {
        int rc = loads(&elf->segments[i]) ? check_segment(elf, i, err) : 0;
        if (rc < 0)
            return rc;
    }
    load->kernel_base = UINT64_MAX;
    for (unsigned i = 0; i < elf->count; i++) {
        const Elf64_Phdr *p = &elf->segments[i];
        int rc = loads(p) ? load_segment(elf, p, err) : 0;
        if (rc < 0)
            return rc;
        if (loads(p)) {
            load->kernel_base = MIN(load->kernel_base, p->p_paddr);
            load->kernel_end = MAX(load->kernel_end, p->p_paddr + p->p_memsz);
        }
    }
    if (load->kernel_end == 0)
        return kv_error_set(err, KV_ERR_BOOT, ENOEXEC, "%s: there is no segment to load",
                            load->kernel.name);
    return 0;
}

/* True when notes hold the entry; a malformed note ends the search. */
static bool find_entry_note(const uint8_t *notes, uint64_t size, uint64_t align, uint64_t *entry)
{
    while (size >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr note;
        memcpy(&note, notes, sizeof(note));
        notes += sizeof(note);
        size -= sizeof(note);
        uint64_t name_room = ALIGN_UP((uint64_t)note.n_namesz, align);
        uint64_t desc_room = ALIGN_UP((uint64_t)note.n_descsz, align);
        if (name_room > size || note.n_descsz > size - name_room)
            return false;
        if (note.n_type == NOTE_PHYS32_ENTRY && note.n_namesz == 4 && !memcmp(notes, "Xen", 4) &&
            (note.n_descsz == 4 || note.n_descsz == 8)) {
            *entry = load_le(notes + name_room, note.n_descsz);
            return true;
        }
        uint64_t all = MIN(name_room + desc_room, size);
        notes += all;
        size -= all;
    }
    return false;
}

/* 1 and *entry when the file has a PVH entry, 0 when not. */
static int find_pvh_entry(const struct elf_file *elf, uint64_t *entry, struct kv_error *err)
{
    const struct boot_image *file = &elf->load->kernel;

    for (unsigned i = 0; i < elf->count; i++) {
        const Elf64_Phdr *p = &elf->segments[i];
        if (p->p_type != PT_NOTE || p->p_filesz == 0)
            continue;
        if (p->p_filesz > NOTES_MAX || !range_within(p->p_offset, p->p_filesz, 0, file->size))
            return kv_error_set(err, KV_ERR_BOOT, ENOEXEC,
                                "%s: notes of 0x%llx bytes at 0x%llx; up to 64 KiB inside the "
                                "file's 0x%llx are supported",
                                file->name, (unsigned long long)p->p_filesz,
                                (unsigned long long)p->p_offset, (unsigned long long)file->size);
        cleanup_free uint8_t *notes = malloc(p->p_filesz);
        if (!notes)
            return kv_error_errno(err, KV_ERR_BOOT, ENOMEM, "%s: notes", file->name);
        int rc = fd_pread_all(file->fd, notes, p->p_filesz, p->p_offset);
        if (rc < 0)
            return kv_error_errno(err, KV_ERR_BOOT, -rc, "%s: reading notes", file->name);
        if (find_entry_note(notes, p->p_filesz, p->p_align == 8 ? 8 : 4, entry) ||
            (p->p_align == 8 && find_entry_note(notes, p->p_filesz, 4, entry)))
            return 1;
    }
    return 0;
}

static bool is_loaded(const struct elf_file *elf, uint64_t address)
{
    for (unsigned i = 0; i < elf->count; i++) {
        const Elf64_Phdr *p = &elf->segments[i];
        if (loads(p) && range_within(address, 1, p->p_paddr, p->p_memsz))
            return true;
    }
    return false;
}

/* e_entry may be a virtual address of a segment that is linked elsewhere than it is loaded. */
static uint64_t physical_entry(const struct elf_file *elf)
{
    uint64_t entry = elf->header.e_entry;
    if (is_loaded(elf, entry))
        return entry;
    for (unsigned i = 0; i < elf->count; i++) {
        const Elf64_Phdr *p = &elf->segments[i];
        if (loads(p) && range_within(entry, 1, p->p_vaddr, p->p_memsz))
            return entry - p->p_vaddr + p->p_paddr;
    }
    return entry;
}

int elf_load(struct boot_load *load, const uint8_t head[BOOT_HEAD_SIZE], struct kv_error *err)
{
    struct elf_file elf = {.load = load};
    uint64_t entry = 0;

    int rc = read_headers(&elf, head, err);
    if (rc == 0)
        rc = load_segments(&elf, err);
    if (rc < 0)
        return rc;
    rc = find_pvh_entry(&elf, &entry, err);
    if (rc < 0)
        return rc;
    bool pvh = rc == 1;
    if (!pvh)
        entry = physical_entry(&elf);
    if (!is_loaded(&elf, entry))
        return kv_error_set(err, KV_ERR_BOOT, ENOEXEC, "%s: entry 0x%llx lies in no segment",
                            load->kernel.name, (unsigned long long)entry);
    load->boot = (struct x86_boot){pvh ? X86_BOOT_PVH : X86_BOOT_LINUX64, entry};
    load->header.version = 0x020f;
    load->header.loadflags = LOADED_HIGH;
    load->header.kernel_alignment = (uint32_t)MIB(2);
    load->initrd_limit = LAYOUT_HIGH_BASE;
    return 0;
}

/* struct hvm_start_info, version 1, and what it points to, in this order in memory. */
struct pvh_memmap_entry {
    uint64_t base, size;
    uint32_t type, reserved;
};

struct pvh_module {
    uint64_t address, size, cmdline, reserved;
};

struct pvh_start {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, cmdline, rsdp, memmap;
    uint32_t memmap_count, reserved;
    struct pvh_module initrd;
    struct pvh_memmap_entry map[MEMORY_MAP_MAX];
};

#define PVH_MAGIC 0x336ec578

int pvh_write_start_info(struct boot_load *load, struct kv_error *err)
{
    struct memory_range map[MEMORY_MAP_MAX];
    struct pvh_start start = {
        .magic = PVH_MAGIC,
        .version = 1,
        .module_count = load->initrd_size ? 1 : 0,
        .modules = load->initrd_size ? LAYOUT_PVH_INFO + offsetof(struct pvh_start, initrd) : 0,
        .cmdline = LAYOUT_CMDLINE,
        .rsdp = load->rsdp,
        .memmap = LAYOUT_PVH_INFO + offsetof(struct pvh_start, map),
        .memmap_count = x86_memory_map(load->machine, map),
        .initrd = {.address = load->initrd, .size = load->initrd_size},
    };
    for (unsigned i = 0; i < start.memmap_count; i++)
        start.map[i] = (struct pvh_memmap_entry){
            .base = map[i].base, .size = map[i].size, .type = map[i].type};
    return boot_write(load->machine, LAYOUT_PVH_INFO, &start, sizeof(start), "PVH start info", err);
}
