/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: images of all formats, in memory. An input takes one of the
 * images that qemu-img made when the program started (or is the image itself),
 * changes some of its bytes, has checksums corrected if it says so, opens it,
 * reads it, asks where things lie, and works on it where the format can be
 * written. Nothing may fail but with an error, and no image may take more than
 * 64 MiB of memory.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/util.h"
#include "block/drivers.h"
#include "block/memory.h"
#include "require.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAGE 4096u
#define MEMORY_MAX MIB(64)
#define READ_MAX KIB(256)
#define BASES_MAX 40
#define FILES_MAX 4
#define PATCHES_MAX 24

struct page {
    uint64_t offset;
    uint8_t bytes[PAGE];
};

/* A file of an image, without its holes. */
struct file {
    char name[64];
    uint64_t size;
    struct page *pages;
    size_t count;
    size_t *metadata, metadata_count; /* pages that are not one byte all over */
};

/* Made by a shell command in a folder of its own; "image" is what is opened, others lie beside. */
static struct base {
    const char *format, *command;
    struct file files[FILES_MAX];
    unsigned count;
} bases[BASES_MAX] = {
#define CREATE "qemu-img create -q -f "
#define WRITE(format)                                                                     \
    " && qemu-io -f " format " -c 'write -P 7 64k 20k' -c 'write -P 9 1M 512' -c 'write " \
    "-z 512k 64k' image"
    {"qcow2", CREATE "qcow2 image 2M" WRITE("qcow2")},
    {"qcow2", CREATE "qcow2 -o cluster_size=4k image 2M" WRITE("qcow2")},
    {"qcow2", CREATE "qcow2 -o cluster_size=512,refcount_bits=1 image 2M" WRITE("qcow2")},
    {"qcow2", CREATE "qcow2 -o cluster_size=4k,compat=0.10 image 2M" WRITE("qcow2")},
    {"qcow2",
     CREATE "qcow2 -o cluster_size=16k,extended_l2=on,refcount_bits=64 image 2M" WRITE("qcow2")},
    {"qcow2", CREATE "qcow2 -o cluster_size=4k image 2M" WRITE(
                  "qcow2") " && qemu-img snapshot -c one image && qemu-io -f qcow2 -c 'write -P 3 "
                           "64k 4k' image && qemu-img snapshot -c two image"},
    {"qcow2", CREATE "qcow2 -o cluster_size=4k image 2M" WRITE(
                  "qcow2") " && qemu-img bitmap --add -g 4k image one && qemu-io -f qcow2 -c "
                           "'write -P 3 64k 4k' image"},
    {"qcow2", CREATE "raw raw 2M && qemu-io -f raw -c 'write -P 7 64k 20k' raw && qemu-img convert "
                     "-c -O qcow2 -o cluster_size=4k raw image && rm raw"},
    {"qcow2", CREATE "raw raw 2M && qemu-io -f raw -c 'write -P 7 64k 20k' raw && qemu-img convert "
                     "-c -O qcow2 -o cluster_size=4k,compression_type=zstd raw image && rm raw"},
    {"qcow2", CREATE "qcow2 -o cluster_size=4k below 1M && qemu-io -f qcow2 -c 'write -P 1 0 8k' "
                     "below && " CREATE "qcow2 -b below -F qcow2 image 2M"},
    {"qcow2", CREATE "qcow2 -o cluster_size=4k,lazy_refcounts=on image 2M" WRITE("qcow2")},
    {"qcow2", CREATE "qcow2 -o cluster_size=4k,data_file=data,data_file_raw=on image 1M"},
    {"vmdk", CREATE "vmdk image 2M" WRITE("vmdk")},
    {"vmdk", CREATE "vmdk -o zeroed_grain=on image 2M" WRITE("vmdk")},
    {"vmdk", CREATE "vmdk -o subformat=monolithicFlat image.vmdk 1M && mv image.vmdk image"},
    {"vmdk", CREATE "vmdk -o subformat=twoGbMaxExtentSparse image.vmdk 1M && mv image.vmdk image"},
    {"vmdk", CREATE "vmdk -o subformat=twoGbMaxExtentFlat image.vmdk 1M && mv image.vmdk image"},
    {"vmdk", CREATE "raw raw 2M && qemu-io -f raw -c 'write -P 7 64k 20k' raw && qemu-img convert "
                    "-O vmdk -o subformat=streamOptimized raw image && rm raw"},
    {"vmdk", CREATE "vmdk below 1M && qemu-io -f vmdk -c 'write -P 1 0 8k' below && " CREATE
                    "vmdk -b below -F vmdk image 1M"},
    {"vdi", CREATE "vdi image 3M" WRITE("vdi")},
    {"vdi", CREATE "vdi -o static=on image 2M" WRITE("vdi")},
    {"vpc", CREATE "vpc image 5M" WRITE("vpc")},
    {"vpc", CREATE "vpc -o subformat=fixed image 2M" WRITE("vpc")},
    {"vhdx", CREATE "vhdx -o block_size=1M image 3M" WRITE("vhdx")},
    {"vhdx", CREATE "vhdx -o subformat=fixed,block_size=1M image 2M" WRITE("vhdx")},
};
static unsigned base_count;

/* --------------------------------------------------------------------- memory */

int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *p);

static atomic_size_t live, allowed = SIZE_MAX;

static void on_malloc(const volatile void *p, size_t size)
{
    size_t now = atomic_fetch_add(&live, size) + size;
    if (now > atomic_load(&allowed))
        abort();
}

static void on_free(const volatile void *p)
{
    if (p)
        atomic_fetch_sub(&live, __sanitizer_get_allocated_size(p));
}

/* --------------------------------------------------------------------- images */

static bool is_uniform(const uint8_t *bytes)
{
    return memcmp(bytes, bytes + 1, PAGE - 1) == 0;
}

static void load_file(struct file *file, const char *name, FILE *from)
{
    struct page page;
    size_t len;
    snprintf(file->name, sizeof(file->name), "%s", name);
    for (;; file->size += len) {
        memset(page.bytes, 0, PAGE);
        len = fread(page.bytes, 1, PAGE, from);
        if (len == 0)
            break;
        page.offset = file->size;
        if (buffer_is_zero(page.bytes, PAGE))
            continue;
        file->pages = realloc(file->pages, (file->count + 1) * sizeof(page));
        require(file->pages != NULL);
        if (!is_uniform(page.bytes)) {
            file->metadata =
                realloc(file->metadata, (file->metadata_count + 1) * sizeof(*file->metadata));
            require(file->metadata != NULL);
            file->metadata[file->metadata_count++] = file->count;
        }
        file->pages[file->count++] = page;
    }
}

/* The image first. False: the command failed; other versions of qemu-img lack an option. */
static bool make_base(struct base *base, const char *folder)
{
    char command[2048], path[600];
    snprintf(command, sizeof(command), "cd %s && rm -f * && (%s) >/dev/null 2>&1", folder,
             base->command);
    if (system(command) != 0)
        return false;
    base->count = 1;
    DIR *dir = opendir(folder);
    require(dir != NULL);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        bool is_image = strcmp(entry->d_name, "image") == 0;
        if (entry->d_name[0] == '.' || (!is_image && base->count == FILES_MAX))
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        FILE *from = fopen(path, "re");
        require(from != NULL);
        load_file(&base->files[is_image ? 0 : base->count], entry->d_name, from);
        base->count += !is_image;
        fclose(from);
    }
    closedir(dir);
    return base->files[0].size > 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char folder[] = "/tmp/kvasir-fuzz-XXXXXX", command[100];
    require(mkdtemp(folder) != NULL);
    log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
    for (unsigned i = 0; i < BASES_MAX && bases[i].command; i++) {
        if (make_base(&bases[i], folder))
            bases[base_count++] = bases[i];
        else
            fprintf(stderr, "no image by: %s\n", bases[i].command);
    }
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    require(system(command) == 0);
    __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
    return 0;
}

static struct block_node *open_memory(const char *name)
{
    char path[100];
    struct block_node *node = NULL;
    snprintf(path, sizeof(path), "memory:%s", name);
    const struct block_open_options options = {.path = path, .format = "memory"};
    require(block_open(&node, &options, NULL) == 0);
    return node;
}

static void put_files(const struct base *base)
{
    for (unsigned i = 0; i < base->count; i++) {
        const struct file *file = &base->files[i];
        require(block_memory_put(file->name, NULL, file->size) == 0);
        struct block_node *node = open_memory(file->name);
        for (size_t k = 0; k < file->count; k++) {
            uint64_t offset = file->pages[k].offset;
            require(block_pwrite(node, offset, file->pages[k].bytes, MIN(PAGE, file->size - offset),
                                 0) == 0);
        }
        block_close(node);
    }
}

/* ------------------------------------------------------------------ the input */

struct input {
    const uint8_t *data;
    size_t size;
};

static uint64_t take(struct input *in, unsigned len)
{
    uint64_t value = 0;
    len = (unsigned)MIN(len, in->size);
    memcpy(&value, in->data, len);
    in->data += len;
    in->size -= len;
    return value;
}

/* Bytes of pages that hold more than one value: headers and tables. */
static void patch_image(struct input *in, const struct base *base)
{
    const struct file *file = &base->files[0];
    struct block_node *node = open_memory(file->name);
    unsigned count = (unsigned)take(in, 1) % PATCHES_MAX;
    for (unsigned i = 0; i < count && in->size && file->metadata_count; i++) {
        size_t page = take(in, 1) % file->metadata_count;
        uint64_t offset = file->pages[file->metadata[page]].offset + take(in, 2) % PAGE;
        unsigned len = 1u << take(in, 1) % 4;
        uint64_t value = take(in, len);
        require(block_pwrite(node, offset, &value, len, 0) == 0);
    }
    block_close(node);
}

enum {
    FIX_CHECKSUMS = 1,
    WRITABLE = 2,
    PROBE = 4,
    OTHER_FORMAT = 8,
    TO_CHECK = 16,
    REVIVE_LOG = 32,
};

static void fix_vhd(struct block_node *node, uint64_t offset, size_t len, unsigned at)
{
    uint8_t bytes[1024];
    uint32_t sum = 0;
    require(block_pread(node, offset, bytes, len) == 0);
    memset(bytes + at, 0, 4);
    for (size_t i = 0; i < len; i++)
        sum += bytes[i];
    sum = __builtin_bswap32(~sum);
    require(block_pwrite(node, offset + at, &sum, 4, 0) == 0);
}

static void fix_vhdx(struct block_node *node, uint64_t offset, size_t len)
{
    static uint8_t bytes[KIB(64)];
    require(block_pread(node, offset, bytes, len) == 0);
    memset(bytes + 4, 0, 4);
    uint32_t crc = crc32c(0, bytes, len);
    require(block_pwrite(node, offset + 4, &crc, 4, 0) == 0);
}

/* QEMU leaves the entries of its last log in the file. With their GUID in the headers that log is
 * to be replayed. */
static void revive_log(struct block_node *node)
{
    uint8_t entry[64];
    require(block_pread(node, MIB(1), entry, sizeof(entry)) == 0);
    uint64_t len = load_le(entry + 8, 4);
    if (memcmp(entry, "loge", 4) != 0 || len < 64 || len > KIB(64))
        return;
    fix_vhdx(node, MIB(1), len);
    for (unsigned i = 1; i <= 2; i++)
        require(block_pwrite(node, i * KIB(64) + 48, entry + 32, 16, 0) == 0);
}

static void fix_checksums(const struct base *base, bool log)
{
    struct block_node *node = open_memory(base->files[0].name);
    uint64_t size = block_get_info(node)->size;
    if (strcmp(base->format, "vpc") == 0) {
        const struct file *file = &base->files[0];
        fix_vhd(node, size - 512, 512, 64);
        if (file->count && memcmp(file->pages[0].bytes, "conectix", 8) == 0) {
            fix_vhd(node, 0, 512, 64);
            fix_vhd(node, 512, 1024, 36);
        }
    }
    if (strcmp(base->format, "vhdx") == 0) {
        if (log)
            revive_log(node);
        fix_vhdx(node, KIB(64), KIB(4));
        fix_vhdx(node, KIB(128), KIB(4));
        fix_vhdx(node, KIB(192), KIB(64));
        fix_vhdx(node, KIB(256), KIB(64));
    }
    block_close(node);
}

/* --------------------------------------------------------------------- the use */

static uint8_t bytes[READ_MAX];

/* Everything of a small disk; the beginning, the end and some of the middle of a large one. */
static void look(struct block_node *node)
{
    uint64_t size = block_get_info(node)->size;
    static const unsigned parts = 8;
    struct block_extent extent;
    for (unsigned i = 0; i < parts; i++) {
        uint64_t at = i == parts - 1             ? size - MIN(size, READ_MAX)
                      : size <= parts * READ_MAX ? i * READ_MAX
                                                 : size / parts * i;
        uint64_t len = at < size ? MIN(READ_MAX, size - at) : 0;
        if (len)
            block_pread(node, at, bytes, len);
    }
    uint64_t at = 0;
    for (unsigned i = 0; i < 100 && at < size; i++) {
        if (block_status_above(node, NULL, at, size - at, &extent) < 0)
            break;
        require(extent.len > 0 && extent.len <= size - at);
        at += extent.len;
    }
    const struct block_driver *driver = node->driver;
    if (driver->specific_info)
        json_decref(driver->specific_info(node));
    if (driver->bitmaps_info)
        json_decref(driver->bitmaps_info(node));
    if (driver->backing_path)
        driver->backing_path(node);
    if (driver->backing_format)
        driver->backing_format(node);
    block_allocated_size(node);
}

static void say_nothing(void *opaque, const char *line)
{
}

static void check(struct block_node *node, unsigned fix)
{
    struct block_check_result result = {0};
    struct kv_error err = {0};
    if (node->driver->check)
        node->driver->check(node, fix, &result, say_nothing, NULL, &err);
}

static void use_snapshots(struct block_node *node, uint64_t what)
{
    const struct block_snapshot_ops *ops = node->driver->snapshots;
    struct block_snapshot *list = NULL, one = {.name = "one"};
    struct kv_error err = {0};
    unsigned count = 0;
    if (!ops)
        return;
    if (what % 4 == 0)
        ops->create(node, &one, &err);
    else if (what % 4 == 1)
        ops->apply(node, "1", &err);
    else if (what % 4 == 2)
        ops->remove(node, "one", &err);
    if (ops->list(node, &list, &count, &err) == 0)
        free(list);
}

static void work(struct block_node *node, struct input *in)
{
    for (unsigned i = 0; i < 32 && in->size; i++) {
        uint64_t size = block_get_info(node)->size;
        uint64_t op = take(in, 1), at = take(in, 2) * 512, len = 1 + take(in, 2) * 4;
        if (op & 0x80)
            at = size - MIN(size, at);
        if (!range_within(at, len, 0, size))
            continue;
        memset(bytes, (int)op, MIN(len, sizeof(bytes)));
        switch (op % 8) {
        case 0:
        case 1:
            block_pwrite(node, at, bytes, MIN(len, sizeof(bytes)), op & 8 ? BLOCK_FUA : 0);
            break;
        case 2:
            block_write_zeroes(node, at, len, op & 8 ? BLOCK_UNMAP : 0);
            break;
        case 3:
            block_discard(node, at, len);
            break;
        case 4:
            block_flush(node);
            break;
        case 5:
            use_snapshots(node, at / 512);
            break;
        case 6:
            if (size < MIB(64))
                block_resize(node, ALIGN_UP(at + len, 512u), NULL);
            break;
        case 7:
            check(node, (unsigned)(at / 512) % 4);
            break;
        }
    }
}

static void open_and_use(const char *name, const char *format, unsigned flags, struct input *in)
{
    char path[100];
    struct kv_error err = {0};
    struct block_node *node = NULL;
    snprintf(path, sizeof(path), "memory:%s", name);
    struct block_open_options options = {
        .path = path,
        .format = flags & PROBE ? NULL : format,
        .readonly = !(flags & WRITABLE),
        .discard = true,
        .check = flags & TO_CHECK,
    };
    int rc = block_open(&node, &options, &err);
    require(rc == 0 || (rc < 0 && err.message[0]));
    if (rc < 0)
        return;
    look(node);
    if (flags & TO_CHECK)
        check(node, 0);
    if (flags & WRITABLE) {
        work(node, in);
        look(node);
    }
    block_close(node);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    unsigned which = (unsigned)take(&in, 1) % (base_count + 4), flags = (unsigned)take(&in, 1);
    unsigned other = (unsigned)take(&in, 1), formats = 0;
    while (block_driver_at(formats))
        formats++;
    atomic_store(&allowed, atomic_load(&live) + MEMORY_MAX);
    if (which >= base_count) {
        require(block_memory_put("image", in.data, in.size) == 0);
        open_and_use("image", block_driver_at(other % formats)->name, flags, &in);
        block_memory_remove("image");
    } else {
        const struct base *base = &bases[which];
        put_files(base);
        patch_image(&in, base);
        if (flags & FIX_CHECKSUMS)
            fix_checksums(base, flags & REVIVE_LOG);
        open_and_use("image",
                     flags & OTHER_FORMAT ? block_driver_at(other % formats)->name : base->format,
                     flags, &in);
        for (unsigned i = 0; i < base->count; i++)
            block_memory_remove(base->files[i].name);
    }
    atomic_store(&allowed, SIZE_MAX);
    return 0;
}
