/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk of an image that is built: the partition table by sfdisk, the file system for UEFI by
 * mtools, and GRUB's BIOS part where grub-bios-setup would write it. The disk is a file; no loop
 * device and no mount is needed.
 */
#include <endian.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "cli/image.h"
#include "cli/tool.h"

#define SECTOR 512
#define CODE_BYTES 440 /* of the first sector; the table of partitions is behind it */
/* Where GRUB's first sectors say what to load: boot.img the sector of the next one (8 bytes), that
 * one, at its end, the sector where the rest begins. */
#define BOOT_NEXT 0x5c
#define CORE_REST 0x1f4

#define ON_DISK "/proc/self/fd/60"
#define UEFI_PROGRAM "/proc/self/fd/62"

static int run_on_disk(struct cli *cli, const struct image *image, const char *input,
                       const char *const *words)
{
    static const char *const environment[] = {"MTOOLS_SKIP_CHECK=1", NULL};
    const struct tool tool = {
        .words = words,
        .environment = environment,
        .input = input,
        .fds = {{image->disk, IMAGE_FD_DISK}, {image->uefi, IMAGE_FD_UEFI}},
        .nfds = 2,
    };
    return tool_run(cli, &tool);
}

int image_make_partitions(struct cli *cli, const struct image *image)
{
    const char *table = cli_text(
        cli,
        "label: gpt\nunit: sectors\n"
        "start=%llu, size=%llu, type=21686148-6449-6E6F-744E-656564454649, name=bios\n"
        "start=%llu, size=%llu, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=efi\n"
        "start=%llu, size=%llu, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root\n",
        (unsigned long long)IMAGE_BIOS_START / SECTOR, (unsigned long long)IMAGE_BIOS_SIZE / SECTOR,
        (unsigned long long)IMAGE_ESP_START / SECTOR, (unsigned long long)IMAGE_ESP_SIZE / SECTOR,
        (unsigned long long)IMAGE_ROOT_START / SECTOR,
        (unsigned long long)(image->size - IMAGE_ROOT_START - IMAGE_TAIL) / SECTOR);
    const char *const words[] = {"sfdisk", "--quiet", "--wipe", "never", ON_DISK, NULL};
    return run_on_disk(cli, image, table, words);
}

/* The loader that firmware starts when its variables name none: EFI/BOOT/BOOTX64.EFI. */
static int add_uefi(struct cli *cli, const struct image *image)
{
    const char *drive = cli_text(cli, ON_DISK "@@%llu", (unsigned long long)IMAGE_ESP_START);
    const char *sectors = cli_text(cli, "%llu", (unsigned long long)IMAGE_ESP_SIZE / SECTOR);
    const char *id = cli_text(cli, "%08X", image->esp_id);
    const char *const format[] = {"mformat", "-i", drive, "-T", sectors, "-h", "64", "-s",
                                  "32",      "-N", id,    "-v", "EFI",   "::", NULL};
    const char *const folders[] = {"mmd", "-i", drive, "::/EFI", "::/EFI/BOOT", NULL};
    const char *const copy[] = {"mcopy", "-i", drive, UEFI_PROGRAM, "::/EFI/BOOT/BOOTX64.EFI",
                                NULL};
    return run_on_disk(cli, image, NULL, format) < 0 || run_on_disk(cli, image, NULL, folders) < 0
               ? -1
               : run_on_disk(cli, image, NULL, copy);
}

static void put_le64(unsigned char *at, uint64_t value)
{
    value = htole64(value);
    memcpy(at, &value, sizeof(value));
}

static int add_bios(struct cli *cli, const struct image *image)
{
    struct stat st;
    if (fstat(image->bios, &st) < 0)
        return cli_error(cli, "GRUB's BIOS part: %s", strerror(errno));
    if (st.st_size < 2 * SECTOR || (uint64_t)st.st_size > SECTOR + IMAGE_BIOS_SIZE)
        return cli_error(cli, "GRUB's BIOS part has %lld bytes; 1024 to %llu were expected",
                         (long long)st.st_size, (unsigned long long)(SECTOR + IMAGE_BIOS_SIZE));
    size_t size = (size_t)st.st_size;
    cleanup_free unsigned char *boot = malloc(size);
    int r = boot ? fd_pread_all(image->bios, boot, size, 0) : -ENOMEM;
    if (r < 0)
        return cli_error(cli, "GRUB's BIOS part: %s", strerror(-r));
    unsigned char *core = boot + SECTOR;
    put_le64(boot + BOOT_NEXT, IMAGE_BIOS_START / SECTOR);
    put_le64(core + CORE_REST, IMAGE_BIOS_START / SECTOR + 1);
    if (pwrite(image->disk, boot, CODE_BYTES, 0) != CODE_BYTES ||
        pwrite(image->disk, core, size - SECTOR, (off_t)IMAGE_BIOS_START) !=
            (ssize_t)(size - SECTOR))
        return cli_error(cli, "GRUB's BIOS part could not be written: %s", strerror(errno));
    return 0;
}

int image_add_loaders(struct cli *cli, const struct image *image)
{
    return add_uefi(cli, image) < 0 ? -1 : add_bios(cli, image);
}

int image_convert(struct cli *cli, const char *const *source, const char *format, const char *file,
                  int disk)
{
    const char *program = tool_own(cli, "kvasir-img");
    const char *words[16], *part = cli_text(cli, "%s.part", file);
    size_t n = 0;
    if (!program)
        return -1;
    words[n++] = program;
    words[n++] = "convert";
    words[n++] = "-O";
    words[n++] = format;
    while (*source && n + 2 < ARRAY_SIZE(words))
        words[n++] = *source++;
    words[n++] = part;
    words[n] = NULL;
    const struct tool tool = {
        .words = words, .fds = {{disk, IMAGE_FD_DISK}}, .nfds = disk < 0 ? 0 : 1};
    if (tool_run(cli, &tool) < 0) {
        unlink(part);
        return -1;
    }
    if (rename(part, file) < 0) {
        cli_error(cli, "'%s' cannot become '%s': %s", part, file, strerror(errno));
        unlink(part);
        return -1;
    }
    return 0;
}
