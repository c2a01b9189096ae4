/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What qemu-img does not make of the formats that are imported: differencing
 * VHD and VHDX images, a VHDX log to be replayed, ESX's VMDK files; and chains,
 * splits and descriptors that ask for too much. Made by changing images of
 * qemu-img, or by hand.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/util.h"
#include "block/driver.h"
#include "block/memory.h"
#include "image_files.h"
#include "unit.h"

static int try_open(struct block_node **out, const char *path, const char *format,
                    struct kv_error *err)
{
    const struct block_open_options options = {.path = path, .format = format, .readonly = true};
    *err = (struct kv_error){0};
    return block_open(out, &options, err);
}

static struct block_node *open_image(const char *path, const char *format)
{
    struct kv_error err;
    struct block_node *node = NULL;
    if (try_open(&node, path, format, &err) < 0)
        fail_msg("%s", err.message);
    return node;
}

/* All bytes of the range are value. */
static void assert_filled(struct block_node *node, uint64_t offset, uint64_t len, uint8_t value)
{
    uint8_t *bytes = malloc(len);
    assert_int_equal(block_pread(node, offset, bytes, len), 0);
    for (uint64_t i = 0; i < len; i++) {
        if (bytes[i] != value)
            fail_msg("byte %llu is %u and not %u", (unsigned long long)(offset + i), bytes[i],
                     value);
    }
    free(bytes);
}

static void assert_status(struct block_node *node, uint64_t offset, uint64_t len, unsigned flags)
{
    struct block_extent extent;
    assert_int_equal(block_status(node, offset, block_get_info(node)->size - offset, &extent), 0);
    assert_int_equal(extent.len, len);
    assert_int_equal(extent.flags & ~(unsigned)BLOCK_STATUS_OFFSET, flags);
}

#define HERE (BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED)

/* ---------------------------------------------------- files that are changed */

static void change(const char *name, uint64_t offset, const void *bytes, size_t len)
{
    int fd = open(image_path(name), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, (off_t)offset), len);
    close(fd);
}

static void look_at(const char *name, uint64_t offset, void *bytes, size_t len)
{
    int fd = open(image_path(name), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, bytes, len, (off_t)offset), len);
    close(fd);
}

static size_t utf16(uint8_t *to, const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        store_le(to + 2 * i, (uint8_t)text[i], 2);
    return 2 * len;
}

/* --------------------------------------------------------------------- chains */

static void a_vmdk_child_shows_its_parent_where_it_has_nothing(void **state)
{
    image_run("cd %s && qemu-img create -q -f vmdk below.vmdk 4M && qemu-io -f vmdk -c "
              "'write -P 1 0 4M' below.vmdk && qemu-img create -q -f vmdk -b below.vmdk -F vmdk "
              "above.vmdk && qemu-io -f vmdk -c 'write -P 2 1M 64k' above.vmdk",
              image_path(""));
    struct block_node *node = open_image(image_path("above.vmdk"), NULL);
    assert_string_equal(node->driver->backing_path(node), "below.vmdk");
    assert_string_equal(node->driver->backing_format(node), "vmdk");
    assert_string_equal(block_format(block_backing(node)), "vmdk");
    assert_filled(node, 0, MIB(1), 1);
    assert_filled(node, MIB(1), KIB(64), 2);
    assert_filled(node, MIB(1) + KIB(64), MIB(2), 1);
    assert_status(node, 0, MIB(1), 0);
    assert_status(node, MIB(1), KIB(64), HERE);
    block_close(node);
}

static void a_parent_that_was_changed_is_refused(void **state)
{
    struct kv_error err;
    struct block_node *node;
    image_run("qemu-io -f vmdk -c 'write -P 3 0 512' %s", image_path("below.vmdk"));
    assert_int_equal(try_open(&node, image_path("above.vmdk"), NULL, &err), -EINVAL);
    assert_non_null(strstr(err.message, "changed since"));
    const struct block_open_options alone = {
        .path = image_path("above.vmdk"), .readonly = true, .no_backing = true};
    assert_int_equal(block_open(&node, &alone, NULL), 0);
    assert_filled(node, 0, MIB(1), 0);
    assert_filled(node, MIB(1), KIB(64), 2);
    block_close(node);
}

static void set_vhd_checksum(uint8_t *bytes, size_t len, size_t at)
{
    uint32_t sum = 0;
    memset(bytes + at, 0, 4);
    for (size_t i = 0; i < len; i++)
        sum += bytes[i];
    store_be(bytes + at, ~sum, 4);
}

/* The dynamic image becomes a differencing one, of whose first block only some sectors are here. */
static void make_vhd_child(void)
{
    uint8_t footer[512], header[1024], bitmap[512] = {0}, table[4];
    uint8_t parent[512], path[256];
    look_at("below.vhd", 0, parent, sizeof(parent));
    look_at("above.vhd", 0, footer, sizeof(footer));
    look_at("above.vhd", 512, header, sizeof(header));
    store_be(footer + 60, 4, 4);
    set_vhd_checksum(footer, sizeof(footer), 64);
    memcpy(header + 40, parent + 68, 16);
    size_t len = utf16(path, ".\\below.vhd");
    /* Where the path lies: in the header's reserved end there is no room, so behind the table. */
    store_be(header + 576, 0x57327275, 4);
    store_be(header + 576 + 8, len, 4);
    store_be(header + 576 + 16, 1536 + 256, 8);
    set_vhd_checksum(header, sizeof(header), 36);
    change("above.vhd", 0, footer, sizeof(footer));
    change("above.vhd", 512, header, sizeof(header));
    change("above.vhd", 1536 + 256, path, len);
    look_at("above.vhd", 1536, table, sizeof(table));
    uint64_t sector = (uint64_t)table[0] << 24 | table[1] << 16 | table[2] << 8 | table[3];
    bitmap[0] = 0x80; /* sector 0 */
    bitmap[1] = 0x03; /* sectors 14 and 15 */
    change("above.vhd", sector * 512, bitmap, sizeof(bitmap));
}

static void of_a_vhd_child_the_bitmap_says_which_sectors_are_its_own(void **state)
{
    image_run("cd %s && qemu-img create -q -f vpc -o force_size below.vhd 8M && qemu-io -f vpc -c "
              "'write -P 1 0 8M' below.vhd && qemu-img create -q -f vpc -o force_size above.vhd 8M "
              "&& qemu-io -f vpc -c 'write -P 2 0 1M' above.vhd",
              image_path(""));
    make_vhd_child();
    struct block_node *node = open_image(image_path("above.vhd"), NULL);
    assert_string_equal(node->driver->backing_path(node), "below.vhd");
    assert_filled(node, 0, 512, 2);
    assert_filled(node, 512, 13 * 512, 1);
    assert_filled(node, 14 * 512, 1024, 2);
    assert_filled(node, 16 * 512, MIB(8) - 16 * 512, 1);
    assert_status(node, 0, 512, HERE);
    assert_status(node, 700, 14 * 512 - 700, 0);
    assert_status(node, 16 * 512, MIB(8) - 16 * 512, 0);
    block_close(node);

    struct kv_error err;
    uint8_t footer[512];
    look_at("below.vhd", 0, footer, sizeof(footer));
    footer[70]++;
    set_vhd_checksum(footer, sizeof(footer), 64);
    change("below.vhd", 0, footer, sizeof(footer));
    assert_int_equal(try_open(&node, image_path("above.vhd"), NULL, &err), -EINVAL);
    assert_non_null(strstr(err.message, "UUID"));
}

/* ----------------------------------------------------------------------- VHDX */

static const uint8_t bat_guid[16] = {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
                                     0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08};
static const uint8_t metadata_guid[16] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                          0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};
static const uint8_t parameters_guid[16] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                            0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b};
static const uint8_t locator_guid[16] = {0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45,
                                         0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c};
static const uint8_t locator_type[16] = {0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a,
                                         0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13};

static uint64_t vhdx_region(const char *name, const uint8_t guid[16])
{
    uint8_t table[256];
    look_at(name, KIB(192), table, sizeof(table));
    for (unsigned i = 0; i < load_le(table + 8, 4); i++) {
        if (memcmp(table + 16 + 32 * i, guid, 16) == 0)
            return load_le(table + 16 + 32 * i + 16, 8);
    }
    fail();
    return 0;
}

static void set_crc(uint8_t *bytes, size_t len)
{
    memset(bytes + 4, 0, 4);
    store_le(bytes + 4, crc32c(0, bytes, len), 4);
}

#define LOG_ENTRY 8192u

/*
 * As after a crash: the block table is the old one, and the log has two entries for it. They are
 * QEMU's, which makes a log of its own for each; here they become one.
 */
static void make_vhdx_with_log(const char *name)
{
    uint8_t bat[4096], header[4096], entry[LOG_ENTRY], guid[16];
    image_run("qemu-img create -q -f vhdx -o block_size=1M %s 8M", image_path(name));
    uint64_t at = vhdx_region(name, bat_guid);
    look_at(name, at, bat, sizeof(bat));
    image_run("qemu-io -f vhdx -c 'write -P 5 1M 1M' -c 'write -P 6 3M 1M' -c abort %s 2>&1; true",
              image_path(name));
    change(name, at, bat, sizeof(bat));
    for (unsigned i = 0; i < 2; i++) {
        look_at(name, MIB(1) + i * LOG_ENTRY, entry, sizeof(entry));
        assert_memory_equal(entry, "loge", 4);
        assert_int_equal(load_le(entry + 8, 4), LOG_ENTRY);
        if (i == 0)
            memcpy(guid, entry + 32, sizeof(guid));
        memcpy(entry + 32, guid, sizeof(guid));
        store_le(entry + 12, 0, 4); /* both end a sequence that begins with the first */
        set_crc(entry, sizeof(entry));
        change(name, MIB(1) + i * LOG_ENTRY, entry, sizeof(entry));
    }
    for (unsigned i = 1; i <= 2; i++) {
        look_at(name, i * KIB(64), header, sizeof(header));
        memcpy(header + 48, guid, sizeof(guid));
        set_crc(header, sizeof(header));
        change(name, i * KIB(64), header, sizeof(header));
    }
}

static void what_a_vhdx_log_holds_is_seen_without_writing_it(void **state)
{
    make_vhdx_with_log("log.vhdx");
    image_run("cp %s %s", image_path("log.vhdx"), image_path("same.vhdx"));
    struct block_node *node = open_image(image_path("log.vhdx"), NULL);
    assert_filled(node, 0, MIB(1), 0);
    assert_filled(node, MIB(1), MIB(1), 5);
    assert_filled(node, MIB(2), MIB(1), 0);
    assert_filled(node, MIB(3), MIB(1), 6);
    assert_status(node, MIB(1), MIB(1), HERE);
    block_close(node);
    image_run("cmp %s %s", image_path("log.vhdx"), image_path("same.vhdx"));
    /* And it is what QEMU makes of it. */
    image_run("qemu-img check -q -r all %s; qemu-io -f vhdx -c 'read -P 5 1M 1M' -c "
              "'read -P 6 3M 1M' %s",
              image_path("same.vhdx"), image_path("same.vhdx"));
}

static void a_log_entry_that_was_not_finished_does_not_count(void **state)
{
    uint8_t byte;
    make_vhdx_with_log("torn.vhdx");
    look_at("torn.vhdx", MIB(1) + LOG_ENTRY + KIB(4) + 100, &byte, 1);
    byte++;
    change("torn.vhdx", MIB(1) + LOG_ENTRY + KIB(4) + 100, &byte, 1);
    struct block_node *node = open_image(image_path("torn.vhdx"), NULL);
    assert_filled(node, MIB(1), MIB(1), 5);
    assert_filled(node, MIB(3), MIB(1), 0);
    block_close(node);
}

/* Marks it as a child of below.vhdx, with some sectors of its second block its own. */
static void make_vhdx_child(void)
{
    uint8_t table[512], item[512] = {0}, header[4096], guid[16];
    uint64_t metadata = vhdx_region("above.vhdx", metadata_guid);
    uint64_t bat = vhdx_region("above.vhdx", bat_guid);
    char linkage[64];
    look_at("above.vhdx", metadata, table, sizeof(table));
    uint64_t count = load_le(table + 10, 2);
    for (uint64_t i = 1; i <= count; i++) {
        if (memcmp(table + 32 * i, parameters_guid, 16) == 0)
            change("above.vhdx", metadata + load_le(table + 32 * i + 16, 4) + 4, "\2", 1);
    }
    /* The newer of the parent's headers. */
    uint64_t sequences[2];
    for (unsigned i = 0; i < 2; i++) {
        look_at("below.vhdx", KIB(64) * (i + 1), header, sizeof(header));
        sequences[i] = load_le(header + 8, 8);
    }
    look_at("below.vhdx", sequences[1] > sequences[0] ? KIB(128) : KIB(64), header, sizeof(header));
    memcpy(guid, header + 32, 16);
    snprintf(linkage, sizeof(linkage), "{%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x}",
             (unsigned)load_le(guid, 4), (unsigned)load_le(guid + 4, 2),
             (unsigned)load_le(guid + 6, 2), guid[8], guid[9], guid[10], guid[11], guid[12],
             guid[13], guid[14], guid[15]);
    const char *texts[][2] = {{"relative_path", ".\\below.vhdx"}, {"parent_linkage", linkage}};
    memcpy(item, locator_type, 16);
    store_le(item + 18, 2, 2);
    size_t end = 20 + 2 * 12;
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned k = 0; k < 2; k++) {
            size_t len = utf16(item + end, texts[i][k]);
            store_le(item + 20 + 12 * i + 4 * k, end, 4);
            store_le(item + 20 + 12 * i + 8 + 2 * k, len, 2);
            end += len;
        }
    }
    uint8_t *entry = table + 32 * (count + 1);
    memset(entry, 0, 32);
    memcpy(entry, locator_guid, 16);
    store_le(entry + 16, KIB(128), 4);
    store_le(entry + 20, end, 4);
    store_le(entry + 24, 4, 4);
    store_le(table + 10, count + 1, 2);
    change("above.vhdx", metadata, table, sizeof(table));
    change("above.vhdx", metadata + KIB(128), item, end);

    /* The bitmap goes to the end of the file; 4096 blocks of 1 MiB are a chunk. */
    uint8_t bytes[8], *bitmap = calloc(1, MIB(1));
    int fd = open(image_path("above.vhdx"), O_RDWR | O_CLOEXEC);
    uint64_t size = ALIGN_UP((uint64_t)lseek(fd, 0, SEEK_END), MIB(1));
    close(fd);
    bitmap[2048 / 8] = 0x05; /* sectors 2048 and 2050: the second block begins there */
    change("above.vhdx", size, bitmap, MIB(1));
    free(bitmap);
    store_le(bytes, size | 6, 8);
    change("above.vhdx", bat + 4096 * 8, bytes, 8);
    look_at("above.vhdx", bat + 8, bytes, 8);
    bytes[0] = (uint8_t)((bytes[0] & ~7) | 7);
    change("above.vhdx", bat + 8, bytes, 8);
}

static void of_a_vhdx_child_the_bitmap_says_which_sectors_are_its_own(void **state)
{
    struct kv_error err;
    uint8_t header[4096];
    image_run("cd %s && qemu-img create -q -f vhdx -o block_size=1M below.vhdx 4M && qemu-io -f "
              "vhdx -c 'write -P 1 0 4M' below.vhdx && qemu-img create -q -f vhdx -o "
              "block_size=1M,block_state_zero=off above.vhdx 4M && qemu-io -f vhdx -c 'write -P 2 "
              "1M 2M' above.vhdx",
              image_path(""));
    make_vhdx_child();
    struct block_node *node = open_image(image_path("above.vhdx"), NULL);
    assert_string_equal(node->driver->backing_path(node), "below.vhdx");
    assert_filled(node, 0, MIB(1), 1);
    assert_filled(node, MIB(1), 512, 2);
    assert_filled(node, MIB(1) + 512, 512, 1);
    assert_filled(node, MIB(1) + 1024, 512, 2);
    assert_filled(node, MIB(1) + 1536, MIB(1) - 1536, 1);
    assert_filled(node, MIB(2), MIB(1), 2);
    assert_filled(node, MIB(3), MIB(1), 1);
    assert_status(node, 0, MIB(1), 0);
    assert_status(node, MIB(1) + 10, 502, HERE);
    assert_status(node, MIB(1) + 1536, MIB(1) - 1536, 0);
    block_close(node);

    for (unsigned i = 1; i <= 2; i++) {
        look_at("below.vhdx", i * KIB(64), header, sizeof(header));
        header[32]++;
        set_crc(header, sizeof(header));
        change("below.vhdx", i * KIB(64), header, sizeof(header));
    }
    assert_int_equal(try_open(&node, image_path("above.vhdx"), NULL, &err), -EINVAL);
    assert_non_null(strstr(err.message, "changed since"));
}

/* ----------------------------------------------------------------------- VMDK */

static void a_split_disk_is_one_disk(void **state)
{
    image_run("qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse %s 5G && qemu-io -f "
              "vmdk -c 'write -P 1 2147352576 256k' -c 'write -P 2 4294836224 256k' -c "
              "'write -P 3 5368643584 64k' %s",
              image_path("split.vmdk"), image_path("split.vmdk"));
    struct block_node *node = open_image(image_path("split.vmdk"), NULL);
    json_t *info = node->driver->specific_info(node);
    assert_int_equal(json_array_size(json_object_get(info, "extents")), 3);
    json_decref(info);
    assert_int_equal(block_get_info(node)->size, GIB(5));
    assert_filled(node, GIB(2) - KIB(192), KIB(64), 0);
    assert_filled(node, GIB(2) - KIB(128), KIB(256), 1);
    assert_filled(node, GIB(4) - KIB(128), KIB(256), 2);
    assert_filled(node, GIB(5) - KIB(64), KIB(64), 3);
    assert_status(node, GIB(2) - MIB(1), MIB(1) - KIB(128), 0);
    assert_status(node, GIB(2), KIB(128), HERE);
    block_close(node);

    struct kv_error err;
    assert_int_equal(try_open(&node, image_path("split-s001.vmdk"), NULL, &err), -EINVAL);
    assert_non_null(strstr(err.message, "describes them all"));
}

static void put_descriptor(const char *extents)
{
    char text[2000];
    int len = snprintf(text, sizeof(text),
                       "# Disk DescriptorFile\r\nversion=1\r\nCID=12345678\r\n"
                       "parentCID=ffffffff\r\ncreateType=\"custom\"\r\n\r\n%s\r\n",
                       extents);
    assert_int_equal(block_memory_put("dir/disk.vmdk", text, (uint64_t)len), 0);
}

static void a_descriptor_names_files_beside_itself_only(void **state)
{
    static const char *const names[] = {
        "/etc/passwd", "../secret", "a/../../secret", "..", "json:{}", "nbd://host/export", "C:/x",
    };
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        char line[200];
        struct kv_error err;
        struct block_node *node;
        snprintf(line, sizeof(line), "RW 1 FLAT \"%s\" 0", names[i]);
        put_descriptor(line);
        assert_int_equal(try_open(&node, "memory:dir/disk.vmdk", NULL, &err), -EACCES);
        assert_non_null(strstr(err.message, names[i]));
    }
}

static void malformed_descriptors_are_refused_with_the_line(void **state)
{
    static const struct {
        const char *lines, *message;
    } bad[] = {
        {"", "names no extent"},
        {"RW 0 ZERO", "RW 0 ZERO"},
        {"RW x FLAT \"a\" 0", "RW x FLAT"},
        {"RW 99999999999999999999 ZERO", "malformed"},
        {"RW 1 FLAT \"a 0", "malformed"},
        {"RW 1 FLAT \"\" 0", "malformed"},
        {"RW 1 PMEM \"a\" 0", "type PMEM"},
        {"NOACCESS 1 FLAT \"a\" 0", "access NOACCESS"},
        {"RW 1 FLAT \"missing\" 0", "missing"},
        {"RW 100 FLAT \"short\" 0", "wants 51200"},
        {"RW 100 SPARSE \"short\"", "no sparse VMDK file"},
        {"RW 140737488355328 ZERO\r\nRW 140737488355328 ZERO", "larger than"},
    };
    block_memory_put("dir/short", NULL, 51200 - 512);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct kv_error err;
        struct block_node *node;
        put_descriptor(bad[i].lines);
        assert_true(try_open(&node, "memory:dir/disk.vmdk", NULL, &err) < 0);
        if (!strstr(err.message, bad[i].message))
            fail_msg("'%s' says '%s'", bad[i].lines, err.message);
    }
    block_memory_remove("dir/short");
}

/* ESX's copy-on-write file: 4096 entries a table, grains of one sector here. */
static void put_cowd(void)
{
    uint8_t *file = calloc(1, KIB(64));
    memcpy(file, "COWD", 4);
    store_le(file + 4, 1, 4);
    store_le(file + 12, 8192, 4); /* sectors of the disk */
    store_le(file + 16, 1, 4);    /* sectors of a grain */
    store_le(file + 20, 4, 4);    /* the directory's sector */
    store_le(file + 24, 2, 4);
    store_le(file + 4 * 512 + 4, 8, 4);       /* second table */
    store_le(file + 8 * 512 + 4 * 3, 100, 4); /* its grain 3 */
    memset(file + 100 * 512, 7, 512);
    block_memory_put("dir/cow.vmdk", file, KIB(64));
    free(file);
}

/* One table of 4096 grains of 4 KiB; grain 1 is zeroed, grain 2 has number 0x1001. */
static void put_sesparse(void)
{
    uint8_t *file = calloc(1, MIB(1));
    static const struct {
        unsigned at;
        uint64_t value;
    } fields[] = {{0, 0xcafebabe}, {8, 0x200000001}, {16, 32768},      {24, 8},
                  {32, 64},        {80, 1},          {128, 2},         {136, 1},
                  {144, 4},        {192, 80},        {512, 0xcafecafe}};
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
        store_le(file + fields[i].at, fields[i].value, 8);
    store_le(file + 2 * 512, UINT64_C(0x1000000000000000), 8);
    store_le(file + 4 * 512 + 8, UINT64_C(0x2000000000000000), 8);
    store_le(file + 4 * 512 + 16, UINT64_C(0x3001000000000000), 8);
    memset(file + 80 * 512 + 4096, 9, 4096);
    block_memory_put("dir/se.vmdk", file, MIB(1));
    free(file);
}

static void extents_of_all_kinds_make_one_disk(void **state)
{
    uint8_t flat[2048];
    memset(flat, 4, sizeof(flat));
    block_memory_put("dir/flat.vmdk", flat, sizeof(flat));
    put_cowd();
    put_sesparse();
    put_descriptor("RW 2 FLAT \"flat.vmdk\" 2\r\nRW 6 ZERO\r\nRDONLY 8192 VMFSSPARSE \"cow.vmdk\""
                   "\r\nRW 32768 SESPARSE \"se.vmdk\"");
    struct block_node *node = open_image("memory:dir/disk.vmdk", NULL);
    assert_int_equal(block_get_info(node)->size, (8 + 8192 + 32768) * 512);
    assert_filled(node, 0, 1024, 4);
    assert_filled(node, 1024, 6 * 512 + 4096 * 512 + 3 * 512, 0);
    assert_filled(node, (8 + 4096 + 3) * 512, 512, 7);
    assert_filled(node, (8 + 4096 + 4) * 512, 512, 0);
    uint64_t se = (8 + 8192) * 512;
    assert_filled(node, se, 8192, 0);
    assert_filled(node, se + 8192, 4096, 9);
    assert_filled(node, se + 12288, MIB(16) - 12288, 0);
    assert_status(node, 0, 1024, HERE);
    assert_status(node, 1024, 6 * 512, BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED);
    assert_status(node, se + 4096, 4096, BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED);
    block_close(node);
    block_memory_remove("dir/flat.vmdk");
    block_memory_remove("dir/cow.vmdk");
    block_memory_remove("dir/se.vmdk");
}

static void a_journal_of_esx_is_not_passed_over(void **state)
{
    struct kv_error err;
    struct block_node *node;
    put_sesparse();
    put_descriptor("RW 32768 SESPARSE \"se.vmdk\"");
    node = open_image("memory:dir/se.vmdk", "raw");
    block_close(node);
    const struct block_open_options options = {.path = "memory:dir/se.vmdk", .format = "memory"};
    assert_int_equal(block_open(&node, &options, NULL), 0);
    assert_int_equal(block_pwrite(node, 512 + 24, "\1", 1, 0), 0);
    block_close(node);
    assert_int_equal(try_open(&node, "memory:dir/disk.vmdk", NULL, &err), -ENOTSUP);
    assert_non_null(strstr(err.message, "journal"));
    block_memory_remove("dir/se.vmdk");
}

/* ----------------------------------------------------------------------- setup */

static int make_folder(void **state)
{
    return image_setup();
}

static int remove_all(void **state)
{
    block_memory_remove("dir/disk.vmdk");
    image_teardown();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vmdk_child_shows_its_parent_where_it_has_nothing),
        cmocka_unit_test(a_parent_that_was_changed_is_refused),
        cmocka_unit_test(of_a_vhd_child_the_bitmap_says_which_sectors_are_its_own),
        cmocka_unit_test(what_a_vhdx_log_holds_is_seen_without_writing_it),
        cmocka_unit_test(a_log_entry_that_was_not_finished_does_not_count),
        cmocka_unit_test(of_a_vhdx_child_the_bitmap_says_which_sectors_are_its_own),
        cmocka_unit_test(a_split_disk_is_one_disk),
        cmocka_unit_test(a_descriptor_names_files_beside_itself_only),
        cmocka_unit_test(malformed_descriptors_are_refused_with_the_line),
        cmocka_unit_test(extents_of_all_kinds_make_one_disk),
        cmocka_unit_test(a_journal_of_esx_is_not_passed_over),
    };
    if (!image_tools_are_there())
        return 77;
    return cmocka_run_group_tests(tests, make_folder, remove_all);
}
