/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts. A random workload runs on a qcow2 image whose file is recorded;
 * then, for many points in time, the file is made as it may be after a cut
 * there: what was written before the file's last flush is there, of what came
 * after any part, in any order, torn at sectors. Each such image must open, have
 * no corruption (leaks are allowed), hold what the guest's last completed
 * flush had promised, and have a dirty bitmap that shows what changed or says
 * that it does not know.
 *
 * usage: crash_qcow2 [--points N] [--seed N] [--verbose]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/driver.h"
#include "block/filter_record.h"
#include "block/memory.h"
#include "crash_model.h"
#include "qcow2_inspect.h"

#define RECORDED                                                                    \
    "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"record\",\"log\":\"crash\"," \
    "\"file\":{\"driver\":\"memory\",\"filename\":\"memory:live\"}}}"
#define OPS 60            /* of one workload */
#define POINTS_OF_ONE 120 /* crash points of one workload */

/* --------------------------------------------------------------- workload */

struct shape {
    unsigned cluster_bits, refcount_bits;
    bool lazy, extended;
};

static void fail(const char *what, int rc, const struct kv_error *err)
{
    fprintf(stderr, "crash_qcow2: %s: %s %s\n", what, strerror(-rc), err ? err->message : "");
    exit(2);
}

static void create_image(const struct shape *shape)
{
    char options[200];
    struct kv_error err = {0};
    const struct block_driver *driver = block_driver_find("qcow2");
    cleanup_free void *config = calloc(1, driver->create_config_size);
    if (driver->create_defaults)
        driver->create_defaults(config);
    snprintf(options, sizeof(options), "size=%" PRIu64 ",cluster_size=%u,refcount_bits=%u%s%s",
             DISK, 1u << shape->cluster_bits, shape->refcount_bits,
             shape->lazy ? ",lazy_refcounts=on" : "", shape->extended ? ",extended_l2=on" : "");
    int rc = options_parse_text(driver->create_options, "-o", NULL, options, config, &err);
    if (rc == 0)
        rc = driver->create("memory:live", config, &err);
    options_free(driver->create_options, config);
    if (rc < 0)
        fail(options, rc, &err);
}

static struct block_node *open_image(const char *description)
{
    struct block_node *node;
    struct kv_error err = {0};
    int rc =
        block_open(&node, &(struct block_open_options){.path = description, .discard = true}, &err);
    if (rc < 0)
        fail(description, rc, &err);
    return node;
}

static void write_some(struct block_node *node, size_t since, uint32_t first, uint32_t count,
                       unsigned flags)
{
    cleanup_free uint8_t *bytes = calloc(count, SECTOR);
    uint32_t tag = model_new_tag();
    for (uint32_t i = 0; i < count; i++)
        fill(bytes + (size_t)i * SECTOR, first + i, tag);
    int rc = block_pwrite(node, (uint64_t)first * SECTOR, bytes, (uint64_t)count * SECTOR, flags);
    if (rc < 0)
        fail("write", rc, NULL);
    for (uint32_t i = 0; i < count; i++)
        note_version(since, first + i, tag, true);
}

static void clear_some(struct block_node *node, size_t since, uint32_t first, uint32_t count,
                       bool discard)
{
    uint64_t offset = (uint64_t)first * SECTOR, len = (uint64_t)count * SECTOR;
    int rc = discard ? block_discard(node, offset, len)
                     : block_write_zeroes(node, offset, len, percent(50) ? BLOCK_UNMAP : 0);
    if (rc < 0)
        fail("zero", rc, NULL);
    for (uint32_t i = 0; i < count; i++)
        note_version(since, first + i, 0, !discard);
}

/* Whole clusters, each stored compressed. */
static void compress_some(struct block_node *node, size_t since)
{
    uint32_t sectors = block_get_info(node)->cluster_size / SECTOR;
    uint32_t cluster = (uint32_t)below(SECTORS / sectors);
    uint32_t count = 1 + (uint32_t)below(4);
    count = MIN(count, (uint32_t)SECTORS / sectors - cluster);
    for (uint32_t i = 0; i < count; i++)
        write_some(node, since, (cluster + i) * sectors, sectors, BLOCK_COMPRESSED);
}

/* The part of the disk that is looked at stays. */
static void resize(struct block_node *node)
{
    struct kv_error err = {0};
    uint64_t size = DISK + below(percent(50) ? 8 : 16384) * SECTOR;
    int rc = block_resize(node, size, &err);
    if (rc < 0)
        fail("resize", rc, &err);
}

/* -------------------------------------------------------------- snapshots */

#define SNAPSHOTS 3

static struct {
    bool taken;
    uint32_t tags[SECTORS];
} snapshots[SNAPSHOTS];

static void take_snapshot(struct block_node *node, unsigned which)
{
    struct kv_error err = {0};
    struct block_snapshot snapshot = {.icount = UINT64_MAX};
    static uint8_t disk[DISK];
    snprintf(snapshot.name, sizeof(snapshot.name), "s%u", which);
    int rc = node->driver->snapshots->create(node, &snapshot, &err);
    if (rc == -ERANGE)
        return; /* refcounts of few bits count few snapshots */
    if (rc == 0)
        rc = block_pread(node, 0, disk, DISK);
    if (rc < 0)
        fail("snapshot", rc, &err);
    snapshots[which].taken = true;
    for (uint32_t s = 0; s < SECTORS; s++)
        memcpy(&snapshots[which].tags[s], disk + (size_t)s * SECTOR, sizeof(uint32_t));
}

static void remove_snapshot(struct block_node *node, unsigned which)
{
    char name[8];
    struct kv_error err = {0};
    snprintf(name, sizeof(name), "s%u", which);
    int rc = node->driver->snapshots->remove(node, name, &err);
    if (rc < 0)
        fail("removal of a snapshot", rc, &err);
    snapshots[which].taken = false;
}

static void apply_snapshot(struct block_node *node, size_t since, unsigned which)
{
    char name[8];
    struct kv_error err = {0};
    snprintf(name, sizeof(name), "s%u", which);
    int rc = node->driver->snapshots->apply(node, name, &err);
    if (rc == -ERANGE)
        return;
    if (rc < 0)
        fail("going back to a snapshot", rc, &err);
    for (uint32_t s = 0; s < SECTORS; s++)
        note_version(since, s, snapshots[which].tags[s], true);
}

static bool any_snapshot(void)
{
    return snapshots[0].taken || snapshots[1].taken || snapshots[2].taken;
}

static void use_snapshot(struct block_node *node, size_t since)
{
    unsigned which = (unsigned)below(SNAPSHOTS);
    if (!snapshots[which].taken)
        take_snapshot(node, which);
    else if (percent(50))
        remove_snapshot(node, which);
    else
        apply_snapshot(node, since, which);
}

static void flush_all(struct block_node *node, struct record_log *log)
{
    size_t begin = model_versions();
    int rc = block_flush(node);
    if (rc < 0)
        fail("flush", rc, NULL);
    model_promise(record_log_count(log), begin);
}

/* ---------------------------------------------------------------- bitmaps */

#define BITMAP "changed"

/* One that is never cleared; it is stored whenever the image is closed. */
static struct {
    size_t versions; /* how many there were when it began to record; SIZE_MAX: it did not */
    size_t promised; /* entries of the log from which on the image must have it */
} bitmap;

static struct block_node *use_bitmap(struct block_node *node, struct record_log *log)
{
    struct kv_error err = {0};
    if (bitmap.versions == SIZE_MAX) {
        uint32_t granularity = 512u << below(8);
        size_t before = model_versions();
        int rc = node->driver->bitmaps->add(node, BITMAP, granularity, true, &err);
        if (rc < 0)
            fail("bitmap", rc, &err);
        bitmap.versions = before;
        return node;
    }
    flush_all(node, log);
    block_close(node);
    bitmap.promised = MIN(bitmap.promised, record_log_count(log));
    return open_image(RECORDED);
}

static void run_workload(struct record_log *log)
{
    struct block_node *node = open_image(RECORDED);
    for (unsigned i = 0; i < OPS; i++) {
        size_t since = record_log_count(log);
        uint32_t longest = percent(20) ? 1024 : 64;
        uint32_t first = (uint32_t)below(SECTORS), count = 1 + (uint32_t)below(longest);
        if (percent(40)) { /* whole clusters, mostly of a small part of the disk */
            first = (uint32_t)below(SECTORS / 8) & ~127u;
            count = 128;
        }
        count = MIN(count, (uint32_t)SECTORS - first);
        unsigned kind = (unsigned)below(100);
        if (kind < 45) {
            write_some(node, since, first, count, percent(5) ? BLOCK_FUA : 0);
        } else if (kind < 51) {
            compress_some(node, since);
        } else if (kind < 53) {
            if (!any_snapshot())
                resize(node);
        } else if (kind < 58) {
            use_snapshot(node, since);
        } else if (kind < 67) {
            clear_some(node, since, first, count, false);
        } else if (kind < 79) {
            clear_some(node, since, first, count, true);
        } else if (kind < 82) {
            node = use_bitmap(node, log);
        } else {
            flush_all(node, log);
        }
    }
    if (percent(50))
        block_close(node);
    else
        flush_all(node, log), block_close(node);
}

/* ------------------------------------------------------------------ check */

/* A bitmap that says that it can be trusted shows every sector that was written since it began. */
static void check_bitmap(struct block_node *node, const uint8_t *disk, size_t point)
{
    struct block_bitmap_bits bits = {0};
    struct kv_error err = {0};
    char text[700];
    int rc = node->driver->bitmap_read(node, BITMAP, &bits, &err);
    if (rc == -ENOENT ? point < bitmap.promised : rc == -EINVAL) /* none yet, or left in use */
        return;
    if (rc < 0) {
        snprintf(text, sizeof(text), "the bitmap is lost: %s", err.message);
        complain(point, text);
        return;
    }
    for (uint32_t s = 0; s < SECTORS; s++) {
        uint64_t bit = (uint64_t)s * SECTOR / bits.granularity;
        if ((bits.bits[bit / 8] >> bit % 8 & 1) || !written_after(disk, s, bitmap.versions))
            continue;
        snprintf(text, sizeof(text), "sector %u changed, the bitmap says that it did not", s);
        complain(point, text);
        break;
    }
    free(bits.bits);
}

static void check_point(const struct file *file, size_t point)
{
    struct qcow2_findings findings;
    struct kv_error err = {0};
    struct block_node *node;
    static uint8_t disk[DISK];
    char text[640];

    qcow2_inspect(file->bytes, file->len, &findings);
    bool dirty = file->len > 80 && file->bytes[79] & 1;
    if (findings.corruptions && !dirty) {
        snprintf(text, sizeof(text), "%" PRIu64 " corruptions: %s", findings.corruptions,
                 findings.first);
        complain(point, text);
        return;
    }
    block_memory_put("crashed", file->bytes, file->len);
    int rc = block_open(
        &node,
        &(struct block_open_options){.path = "memory:crashed", .format = "qcow2", .readonly = true},
        &err);
    if (rc == 0) {
        rc = block_pread(node, 0, disk, DISK);
        if (rc == 0)
            check_bitmap(node, disk, point);
        block_close(node);
    }
    block_memory_remove("crashed");
    if (rc < 0) {
        snprintf(text, sizeof(text), "it cannot be read: %s %s", strerror(-rc), err.message);
        complain(point, text);
        return;
    }
    check_content(disk, point);
}

/* ------------------------------------------------------------------- main */

static uint64_t run_one(uint64_t wanted)
{
    static const unsigned cluster_bits[] = {9, 12, 16}, refcount_bits[] = {1, 2, 8, 16, 64};
    static struct file base, crashed;
    size_t count;
    uint64_t done = 0;
    struct shape shape = {
        .cluster_bits = cluster_bits[below(ARRAY_SIZE(cluster_bits))],
        .refcount_bits = refcount_bits[below(ARRAY_SIZE(refcount_bits))],
        .lazy = percent(25),
    };
    shape.extended = shape.cluster_bits >= 14 && percent(50);
    if (verbose)
        fprintf(stderr, "clusters of 2^%u bytes, refcounts of %u bits%s%s\n", shape.cluster_bits,
                shape.refcount_bits, shape.lazy ? ", lazy" : "",
                shape.extended ? ", extended L2" : "");
    struct record_log *log = record_log_create("crash");
    model_reset();
    memset(snapshots, 0, sizeof(snapshots));
    bitmap.versions = bitmap.promised = SIZE_MAX;
    block_memory_put("live", NULL, 0);
    create_image(&shape);
    copy_live(&base, "live");
    reach(&crashed, base.len);
    run_workload(log);
    const struct record_entry *entries = record_log_entries(log, &count);
    uint64_t before = failures;
    for (; done < MIN(wanted, (uint64_t)POINTS_OF_ONE); done++) {
        size_t point = below(count + 1);
        make_crashed(&crashed, &base, entries, point);
        check_point(&crashed, point);
    }
    if (failures > before)
        fprintf(stderr, "  clusters of 2^%u bytes, refcounts of %u bits%s%s, %zu writes\n",
                shape.cluster_bits, shape.refcount_bits, shape.lazy ? ", lazy" : "",
                shape.extended ? ", extended L2" : "", count);
    record_log_free(log);
    block_memory_remove("live");
    return done;
}

int main(int argc, char **argv)
{
    return crash_main(argc, argv, run_one);
}
