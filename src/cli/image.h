/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image build: what describes the image that is made (image_build.c reads it from the options),
 * its disk (image_disk.c) and the system on it (image_debian.c).
 */
#ifndef KV_CLI_IMAGE_H
#define KV_CLI_IMAGE_H

#include "cli/cli.h"

/* The disk: a GPT, a partition for GRUB's BIOS part, one for UEFI, the root. In bytes. */
#define IMAGE_BIOS_START MIB(1)
#define IMAGE_BIOS_SIZE MIB(1)
#define IMAGE_ESP_START MIB(2)
#define IMAGE_ESP_SIZE MIB(64)
#define IMAGE_ROOT_START (IMAGE_ESP_START + IMAGE_ESP_SIZE)
#define IMAGE_TAIL MIB(1) /* the GPT's other copy */

struct image {
    const char *file; /* to make */
    uint64_t size;
    const char *suite, *mirror, *packages, *hostname, *user, *root_password, *kernel;
    const char *ssh_key; /* the text; NULL: none */
    char root_uuid[37];
    uint32_t esp_id;

    /* Files without a name: the disk, GRUB's BIOS part (first sector, then the rest), its UEFI
     * program. */
    int disk, bios, uefi;
};

/* Numbers of those descriptors in tools, high: mmdebstrap's own stay below 10, as dash wants it. */
enum {
    IMAGE_FD_DISK = 60,
    IMAGE_FD_BIOS,
    IMAGE_FD_UEFI,
};

/* Each: 0, or negative (told). */
int image_make_partitions(struct cli *cli, const struct image *image);
int image_add_loaders(struct cli *cli, const struct image *image);
int image_install_debian(struct cli *cli, const struct image *image);
/* kvasir-img: from the source (its options and name; NULL ends them) to file, whole or not at all.
 */
int image_convert(struct cli *cli, const char *const *source, const char *format, const char *file,
                  int disk);

#endif
