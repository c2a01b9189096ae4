/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Booting an image: boot.c opens the files and does what all protocols share,
 * linux_boot.c reads a bzImage and writes the zero page, elf_boot.c reads ELF
 * files and writes PVH's start info. Private to x86/.
 */
#ifndef KV_VMM_X86_BOOT_H
#define KV_VMM_X86_BOOT_H

#include <asm/bootparam.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/x86/x86.h"

struct machine;

/* An image file; size is taken anew at each load. */
struct boot_image {
    int fd;
    uint64_t size;
    char name[300]; /* "kernel '/x'", for messages */
};

/* What a load is working on. */
struct boot_load {
    struct machine *machine;
    struct boot_image kernel;
    struct x86_boot boot;             /* the result */
    struct setup_header header;       /* of the bzImage; of nothing but defaults for ELF */
    uint64_t kernel_base, kernel_end; /* memory the kernel needs to itself */
    uint64_t initrd_limit;            /* first address the initrd may not reach */
    bool initrd_anywhere;             /* the kernel takes it above 4 GiB too */
    uint64_t cmdline_max;             /* bytes without the final zero */
    uint64_t initrd, initrd_size;     /* where it lies; size 0: none */
    uint64_t rsdp;
};

#define BOOT_HEAD_SIZE 4096 /* bytes of the file that decide what it is */

/* A Linux kernel is given no less than this. */
#define BOOT_LINUX_MEMORY_MIN MIB(64)

/* head: the first bytes of the file, zeroes behind its end. */
bool elf_is_image(const uint8_t head[BOOT_HEAD_SIZE]);
bool linux_is_image(const uint8_t head[BOOT_HEAD_SIZE]);

/* Read the kernel into guest memory and fill boot, header, kernel_*, initrd_* limits. */
int elf_load(struct boot_load *load, const uint8_t head[BOOT_HEAD_SIZE], struct kv_error *err);
int linux_load(struct boot_load *load, const uint8_t head[BOOT_HEAD_SIZE], struct kv_error *err);

/* Write what the kernel is handed: zero page or start info. initrd and rsdp are known by then. */
int linux_write_zero_page(struct boot_load *load, struct kv_error *err);
int pvh_write_start_info(struct boot_load *load, struct kv_error *err);

/* GDT and, for 64-bit mode, identity page tables of the first 4 GiB (boot_tables.c). */
int boot_write_gdt(struct machine *machine, struct kv_error *err);
int boot_write_page_tables(struct machine *machine, struct kv_error *err);

/* Selectors in that GDT, as the Linux boot protocol fixes them. */
#define BOOT_CS 0x10
#define BOOT_DS 0x18
#define BOOT_TSS 0x20

/* Copies into guest memory; an error names what. */
int boot_write(struct machine *machine, uint64_t gpa, const void *data, size_t len,
               const char *what, struct kv_error *err);

#endif
