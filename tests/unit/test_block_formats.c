/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images of other products, made by qemu-img: our reading equals the disk that
 * went in, byte for byte and however it is cut in pieces, and our block status
 * says what qemu-img map says. Skipped where qemu-img is not installed.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "block/driver.h"
#include "image_files.h"
#include "unit.h"

#define DISK_SIZE (MIB(24) + 512 * 77)

static uint8_t *disk; /* DISK_SIZE bytes: what went into the images */

struct image {
    const char *title, *format, *options;
    const char *map; /* NULL: as qemu-img's; else why it is not compared */
};

static const struct image images[] = {
    {"VDI, dynamic", "vdi", "static=off", NULL},
    {"VDI, static", "vdi", "static=on", NULL},
    {"VHD, dynamic", "vpc", "subformat=dynamic,force_size=on", NULL},
    {"VHD, sized by its geometry", "vpc", "subformat=dynamic", NULL},
    {"VHD, fixed", "vpc", "subformat=fixed,force_size=on", NULL},
    {"VHDX, dynamic", "vhdx", "subformat=dynamic", "qemu-img says that all is data"},
    {"VHDX, fixed", "vhdx", "subformat=fixed,block_size=1M", "qemu-img says that all is data"},
    {"VMDK, sparse", "vmdk", "subformat=monolithicSparse", NULL},
    {"VMDK, sparse with zeroed grains", "vmdk", "subformat=monolithicSparse,zeroed_grain=on", NULL},
    {"VMDK, flat", "vmdk", "subformat=monolithicFlat", NULL},
    {"VMDK, split sparse", "vmdk", "subformat=twoGbMaxExtentSparse", NULL},
    {"VMDK, split flat", "vmdk", "subformat=twoGbMaxExtentFlat", NULL},
    {"VMDK, stream optimized", "vmdk", "subformat=streamOptimized", NULL},
    {"VHDX, small blocks", "vhdx", "block_size=1M", "qemu-img says that all is data"},
};

static struct block_node *open_image(const char *name, const char *format)
{
    struct kv_error err = {0};
    struct block_node *node = NULL;
    struct block_open_options options = {
        .path = image_path(name), .format = format, .readonly = true};
    if (block_open(&node, &options, &err) < 0)
        fail_msg("%s", err.message);
    return node;
}

static const char *image_name(unsigned i)
{
    static char name[32];
    snprintf(name, sizeof(name), "image%u", i);
    return name;
}

/* ------------------------------------------------------------------ contents */

/* The whole in large pieces, then pieces of any length at any place. */
static void compare_contents(struct block_node *node)
{
    uint8_t *bytes = malloc(MIB(2));
    uint64_t size = block_get_info(node)->size;
    assert_true(size >= DISK_SIZE && size < DISK_SIZE + MIB(1));
    for (uint64_t at = 0; at < DISK_SIZE; at += MIB(2)) {
        uint64_t len = MIN(MIB(2), DISK_SIZE - at);
        assert_int_equal(block_pread(node, at, bytes, len), 0);
        assert_memory_equal(bytes, disk + at, len);
    }
    for (int i = 0; i < 500; i++) {
        uint64_t len = 1 + (uint64_t)random() % (i % 10 ? 5000 : MIB(2) - 1);
        uint64_t at = (uint64_t)random() % (DISK_SIZE - len);
        assert_int_equal(block_pread(node, at, bytes, len), 0);
        assert_memory_equal(bytes, disk + at, len);
    }
    free(bytes);
}

static void images_read_as_the_disks_they_were_made_of(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(images); i++) {
        print_message("    %s\n", images[i].title);
        bool probed = strcmp(images[i].title, "VHD, fixed") != 0;
        struct block_node *node = open_image(image_name(i), probed ? NULL : images[i].format);
        assert_string_equal(block_format(node), images[i].format);
        compare_contents(node);
        block_close(node);
    }
}

/* --------------------------------------------------------------------- status */

static bool member(const json_t *entry, const char *name)
{
    return json_is_true(json_object_get(entry, name));
}

/* One entry of qemu-img's map, which may be several extents of ours. */
static void compare_entry(struct block_node *node, const json_t *entry, bool has_offset)
{
    uint64_t at = (uint64_t)json_integer_value(json_object_get(entry, "start"));
    uint64_t end = at + (uint64_t)json_integer_value(json_object_get(entry, "length"));
    uint64_t host = (uint64_t)json_integer_value(json_object_get(entry, "offset"));
    while (at < end) {
        struct block_extent extent;
        assert_int_equal(block_status_above(node, NULL, at, end - at, &extent), 0);
        assert_int_equal(!!(extent.flags & BLOCK_STATUS_DATA), member(entry, "data"));
        assert_int_equal(!!(extent.flags & BLOCK_STATUS_ZERO), member(entry, "zero"));
        assert_int_equal(!!(extent.flags & BLOCK_STATUS_ALLOCATED), member(entry, "present"));
        assert_int_equal(!!(extent.flags & BLOCK_STATUS_OFFSET), has_offset);
        assert_true(!has_offset || extent.host_offset == host);
        at += extent.len;
        host += extent.len;
    }
}

static void compare_map(struct block_node *node, unsigned image)
{
    char *text = image_output("qemu-img map --output=json -f %s %s", images[image].format,
                              image_path(image_name(image)));
    json_t *map = json_loads(text, 0, NULL), *entry;
    size_t i;
    assert_true(json_array_size(map) > 1);
    json_array_foreach (map, i, entry)
        compare_entry(node, entry, json_object_get(entry, "offset") != NULL);
    json_decref(map);
    free(text);
}

/* What is said to be a hole reads as zeros, what is said to lie somewhere lies there. */
static void compare_status_with_contents(struct block_node *node)
{
    for (uint64_t at = 0; at < DISK_SIZE;) {
        struct block_extent extent;
        assert_int_equal(block_status(node, at, DISK_SIZE - at, &extent), 0);
        if ((extent.flags & BLOCK_STATUS_ZERO) || !(extent.flags & BLOCK_STATUS_ALLOCATED))
            assert_true(buffer_is_zero(disk + at, extent.len));
        if (extent.flags & BLOCK_STATUS_OFFSET) {
            uint8_t *bytes = malloc(extent.len);
            uint64_t there = block_get_info(extent.file)->size - extent.host_offset;
            uint64_t len = MIN(extent.len, there);
            assert_int_equal(block_pread(extent.file, extent.host_offset, bytes, len), 0);
            assert_memory_equal(bytes, disk + at, len);
            free(bytes);
        }
        at += extent.len;
    }
}

static void block_status_says_what_qemu_img_says(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(images); i++) {
        print_message("    %s\n", images[i].title);
        struct block_node *node = open_image(image_name(i), images[i].format);
        compare_status_with_contents(node);
        if (!images[i].map)
            compare_map(node, i);
        block_close(node);
    }
}

/* ---------------------------------------------------------------------- info */

static void images_are_described_as_qemu_img_describes_them(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(images); i++) {
        char *text = image_output("qemu-img info --output=json -f %s %s", images[i].format,
                                  image_path(image_name(i)));
        json_t *info = json_loads(text, 0, NULL);
        struct block_node *node = open_image(image_name(i), images[i].format);
        const struct block_info *ours = block_get_info(node);
        assert_int_equal(ours->size, json_integer_value(json_object_get(info, "virtual-size")));
        assert_int_equal(ours->cluster_size,
                         json_integer_value(json_object_get(info, "cluster-size")));
        assert_int_equal(block_allocated_size(node),
                         json_integer_value(json_object_get(info, "actual-size")));
        json_t *theirs = json_object_get(json_object_get(info, "format-specific"), "data");
        assert_int_equal(theirs != NULL, node->driver->specific_info != NULL);
        if (theirs) {
            json_t *specific = node->driver->specific_info(node);
            assert_true(json_equal(specific, theirs));
            json_decref(specific);
        }
        block_close(node);
        json_decref(info);
        free(text);
    }
}

/* -------------------------------------------------------------------- refusals */

static void images_are_not_opened_for_writing(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(images); i++) {
        struct kv_error err = {0};
        struct block_node *node;
        struct block_open_options options = {.path = image_path(image_name(i)),
                                             .format = images[i].format};
        assert_int_equal(block_open(&node, &options, &err), -EROFS);
        assert_non_null(strstr(err.message, "kvasir-img convert"));
    }
}

/* Headers and tables with other bytes: opened or refused with a message, read or an error. */
static void damaged_images_are_refused_or_read_with_errors(void **state)
{
    uint8_t *bytes = malloc(KIB(64));
    unsigned refused = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(images); i++) {
        for (int round = 0; round < 60; round++) {
            struct kv_error err = {0};
            struct block_node *node;
            uint8_t saved, value = (uint8_t)random();
            int fd = open(image_path(image_name(i)), O_RDWR | O_CLOEXEC);
            off_t end = lseek(fd, 0, SEEK_END);
            off_t at = random() % MIN(end, round % 2 ? 4096 : 512);
            assert_int_equal(pread(fd, &saved, 1, at), 1);
            assert_int_equal(pwrite(fd, &value, 1, at), 1);
            struct block_open_options options = {
                .path = image_path(image_name(i)), .format = images[i].format, .readonly = true};
            int rc = block_open(&node, &options, &err);
            assert_true(rc == 0 || (err.message[0] && err.code == -rc));
            refused += rc < 0;
            if (rc == 0) {
                uint64_t size = block_get_info(node)->size;
                for (uint64_t from = 0; from + KIB(64) <= MIN(size, MIB(32)); from += KIB(64)) {
                    struct block_extent extent;
                    rc = block_pread(node, from, bytes, KIB(64));
                    assert_true(rc == 0 || rc == -EIO);
                    rc = block_status(node, from, size - from, &extent);
                    assert_true(rc == 0 || rc == -EIO);
                }
                block_close(node);
            }
            assert_int_equal(pwrite(fd, &saved, 1, at), 1);
            close(fd);
        }
    }
    assert_true(refused > 0);
    free(bytes);
}

/* ----------------------------------------------------------------------- setup */

static int make_disk(void **state)
{
    if (image_setup() < 0)
        return -1;
    srandom(5);
    disk = calloc(1, DISK_SIZE);
    for (int i = 0; i < 50; i++) {
        uint64_t len = (1 + (uint64_t)random() % (i % 5 ? 16 : 600)) * 512;
        uint64_t at = (uint64_t)random() % ((DISK_SIZE - len) / 512) * 512;
        /* Leave a part in the middle empty. */
        if (ranges_overlap(at, len, MIB(10), MIB(6)))
            continue;
        for (uint64_t k = 0; k < len; k++)
            disk[at + k] = (uint8_t)(random() >> 7);
    }
    memset(disk + DISK_SIZE - 512, 0x5a, 512);
    image_write("disk.raw", disk, DISK_SIZE);
    for (unsigned i = 0; i < ARRAY_SIZE(images); i++)
        image_run("qemu-img convert -t unsafe -f raw -O %s -o %s %s %s", images[i].format,
                  images[i].options, image_path("disk.raw"), image_path(image_name(i)));
    return 0;
}

static int remove_all(void **state)
{
    free(disk);
    image_teardown();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_read_as_the_disks_they_were_made_of),
        cmocka_unit_test(block_status_says_what_qemu_img_says),
        cmocka_unit_test(images_are_described_as_qemu_img_describes_them),
        cmocka_unit_test(images_are_not_opened_for_writing),
        cmocka_unit_test(damaged_images_are_refused_or_read_with_errors),
    };
    if (!image_tools_are_there())
        return 77;
    return cmocka_run_group_tests(tests, make_disk, remove_all);
}
