/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts. A random workload runs on a qcow2 image whose file is recorded;
 * then, for many points in time, the file is made as it may be after a cut
 * there: what was written before the file's last flush is there, of what came
 * after any part, in any order, torn at sectors. Each such image must open, have
 * no corruption (leaks are allowed), and hold what the guest's last completed
 * flush had promised.
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
#include "qcow2_inspect.h"

#define SECTOR 512u
#define DISK MIB(2)
#define SECTORS (DISK / SECTOR)
#define OPS 60            /* of one workload */
#define POINTS_OF_ONE 120 /* crash points of one workload */
#define TORN_PERCENT 20

/* --------------------------------------------------------- random numbers */

static uint64_t random_state;

static uint64_t random_u64(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t below(uint64_t bound)
{
    return random_u64() % bound;
}

static bool percent(unsigned chance)
{
    return below(100) < chance;
}

/* ------------------------------------------------------------------ model */

/* What a sector may hold: every value since the last flush, and the one at it. */
struct version {
    size_t since; /* entries of the log when the operation began */
    uint32_t sector;
    uint32_t tag; /* 0: zeros */
    bool decides; /* once promised, nothing older may come back; a discard decides nothing */
};

static struct version *versions;
static size_t version_count, version_capacity;
/* Flushes that were promised: log's length at the end of each, versions' length at its begin. */
static struct {
    size_t log, versions;
} flushes[OPS + 2];
static unsigned flush_count;
static uint32_t next_tag;

static void note_version(size_t since, uint32_t sector, uint32_t tag, bool decides)
{
    if (version_count == version_capacity) {
        version_capacity = MAX(2 * version_capacity, (size_t)65536);
        versions = realloc(versions, version_capacity * sizeof(*versions));
        if (!versions)
            abort();
    }
    versions[version_count++] = (struct version){since, sector, tag, decides};
}

/* A sector's bytes say who wrote them and where. */
static void fill(uint8_t *bytes, uint32_t sector, uint32_t tag)
{
    memset(bytes, (int)(tag * 37 + 11), SECTOR);
    memcpy(bytes, &tag, sizeof(tag));
    memcpy(bytes + 4, &sector, sizeof(sector));
    memcpy(bytes + SECTOR - 4, &tag, sizeof(tag));
}

static bool holds(const uint8_t *bytes, uint32_t sector, uint32_t tag)
{
    uint8_t expected[SECTOR] = {0};
    if (tag)
        fill(expected, sector, tag);
    return memcmp(bytes, expected, SECTOR) == 0;
}

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
    uint32_t tag = ++next_tag;
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
    size_t begin = version_count;
    int rc = block_flush(node);
    if (rc < 0)
        fail("flush", rc, NULL);
    flushes[flush_count].log = record_log_count(log);
    flushes[flush_count++].versions = begin;
}

static void run_workload(struct record_log *log)
{
    struct block_node *node =
        open_image("json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"record\",\"log\":\"crash\","
                   "\"file\":{\"driver\":\"memory\",\"filename\":\"memory:live\"}}}");
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
        } else {
            flush_all(node, log);
        }
    }
    if (percent(50))
        block_close(node);
    else
        flush_all(node, log), block_close(node);
}

/* ----------------------------------------------------------------- replay */

struct file {
    uint8_t *bytes;
    size_t len, capacity;
};

static void reach(struct file *file, size_t len)
{
    if (len > file->capacity) {
        file->bytes = realloc(file->bytes, len * 2);
        if (!file->bytes)
            abort();
        memset(file->bytes + file->capacity, 0, len * 2 - file->capacity);
        file->capacity = len * 2;
    }
    file->len = MAX(file->len, len);
}

static void apply(struct file *file, const struct record_entry *entry, bool torn)
{
    if (entry->kind == RECORD_FLUSH)
        return;
    if (entry->kind == RECORD_RESIZE) {
        if (entry->len > file->len) {
            reach(file, entry->len);
        } else {
            memset(file->bytes + entry->len, 0, file->len - entry->len);
            file->len = entry->len;
        }
        return;
    }
    reach(file, entry->offset + entry->len);
    for (uint64_t done = 0; done < entry->len;) {
        uint64_t at = entry->offset + done;
        uint64_t part = MIN(SECTOR - at % SECTOR, entry->len - done);
        if (torn && percent(50))
            ;
        else if (entry->kind == RECORD_ZERO)
            memset(file->bytes + at, 0, part);
        else
            memcpy(file->bytes + at, entry->bytes + done, part);
        done += part;
    }
}

static size_t last_flush_before(const struct record_entry *entries, size_t point)
{
    while (point && entries[point - 1].kind != RECORD_FLUSH)
        point--;
    return point;
}

/* The file after a cut behind the first `point` entries. */
static void make_crashed(struct file *file, const struct file *base,
                         const struct record_entry *entries, size_t point)
{
    size_t safe = last_flush_before(entries, point);
    file->len = 0;
    memset(file->bytes, 0, file->capacity);
    reach(file, base->len);
    memcpy(file->bytes, base->bytes, base->len);
    for (size_t i = 0; i < safe; i++)
        apply(file, &entries[i], false);
    size_t rest = point - safe;
    cleanup_free size_t *order = calloc(rest + 1, sizeof(*order));
    for (size_t i = 0; i < rest; i++) {
        size_t j = below(i + 1);
        order[i] = order[j];
        order[j] = safe + i;
    }
    unsigned survival = (unsigned)below(101);
    bool in_order = percent(30);
    for (size_t i = 0; i < rest; i++) {
        if (percent(survival))
            apply(file, &entries[in_order ? safe + i : order[i]], percent(TORN_PERCENT));
    }
}

/* ------------------------------------------------------------------ check */

static bool verbose;
static uint64_t failures;

static void complain(size_t point, const char *what)
{
    if (failures++ < 20 || verbose)
        fprintf(stderr, "crash_qcow2: cut behind write %zu: %s\n", point, what);
}

/* allowed[sector]: tags that it may hold, a short list built from the versions. */
static void check_content(const uint8_t *disk, size_t point)
{
    static uint32_t found[SECTORS];
    static bool good[SECTORS];
    size_t promised = 0;
    char text[120];
    for (unsigned i = 0; i < flush_count; i++) {
        if (flushes[i].log <= point)
            promised = flushes[i].versions;
    }
    memset(good, 0, sizeof(good));
    for (uint32_t s = 0; s < SECTORS; s++) {
        memcpy(&found[s], disk + (size_t)s * SECTOR, sizeof(found[s]));
        good[s] = holds(disk + (size_t)s * SECTOR, s, 0); /* until a promise says otherwise */
    }
    for (size_t i = 0; i < version_count && versions[i].since <= point; i++) {
        const struct version *v = &versions[i];
        bool same = holds(disk + (size_t)v->sector * SECTOR, v->sector, v->tag);
        good[v->sector] = same || (good[v->sector] && !(v->decides && i < promised));
    }
    for (uint32_t s = 0; s < SECTORS; s++) {
        if (good[s])
            continue;
        snprintf(text, sizeof(text), "sector %u holds %u, which it must not", s, found[s]);
        complain(point, text);
        return;
    }
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

static void copy_live(struct file *file)
{
    file->len = 0;
    reach(file, (size_t)block_memory_length("live"));
    block_memory_get("live", 0, file->bytes, file->len);
}

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
    version_count = flush_count = next_tag = 0;
    memset(snapshots, 0, sizeof(snapshots));
    block_memory_put("live", NULL, 0);
    create_image(&shape);
    copy_live(&base);
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
    uint64_t points = 20000, seed = 1, done = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (i + 1 < argc && strcmp(argv[i], "--points") == 0)
            points = strtoull(argv[++i], NULL, 0);
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[++i], NULL, 0);
        else {
            fprintf(stderr, "usage: crash_qcow2 [--points N] [--seed N] [--verbose]\n");
            return 2;
        }
    }
    for (uint64_t round = 0; done < points; round++) {
        random_state = seed << 32 | round;
        done += run_one(points - done);
    }
    free(versions);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", done - failures, failures);
    return failures ? 1 : 0;
}
