/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts while a chain of three images is committed or streamed under a
 * writing guest. All three files are recorded with one order; at a cut each of
 * them has what was written before its own last flush, and any part of what came
 * after. Then the image that the guest stood on at that moment must open with
 * its chain as the headers say it, have no corruption, and hold what was
 * promised.
 *
 * usage: crash_jobs [--points N] [--seed N] [--verbose]
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/driver.h"
#include "block/job.h"
#include "block/memory.h"
#include "crash_model.h"
#include "qcow2_inspect.h"

#define POINTS_OF_ONE 60
#define OPS_MAX 150
#define OPS_AFTER 20

static const char *const names[] = {"base", "mid", "top"};
#define FILES ARRAY_SIZE(names)

static void fail(const char *what, int rc, const struct kv_error *err)
{
    fprintf(stderr, "crash_jobs: %s: %s %s\n", what, strerror(-rc), err ? err->message : "");
    exit(2);
}

/* ------------------------------------------------------------------- the chain */

static void create_image(unsigned index, unsigned cluster_bits)
{
    char options[200], path[40];
    struct kv_error err = {0};
    const struct block_driver *driver = block_driver_find("qcow2");
    cleanup_free void *config = calloc(1, driver->create_config_size);
    driver->create_defaults(config);
    int len = snprintf(options, sizeof(options), "size=%" PRIu64 ",cluster_size=%u", DISK,
                       1u << cluster_bits);
    if (index)
        snprintf(options + len, sizeof(options) - (size_t)len,
                 ",backing_file=memory:%s,backing_fmt=qcow2", names[index - 1]);
    snprintf(path, sizeof(path), "memory:%s", names[index]);
    block_memory_put(names[index], NULL, 0);
    int rc = options_parse_text(driver->create_options, "-o", NULL, options, config, &err);
    if (rc == 0)
        rc = driver->create(path, config, &err);
    options_free(driver->create_options, config);
    if (rc < 0)
        fail(options, rc, &err);
}

static struct block_node *open_path(const char *path)
{
    struct kv_error err = {0};
    struct block_node *node;
    int rc = block_open(&node, &(struct block_open_options){.path = path, .discard = true}, &err);
    if (rc < 0)
        fail(path, rc, &err);
    return node;
}

/* Each over its recorded file, all open for writing. */
static struct block_node *open_chain(void)
{
    char json[2000] = "";
    for (unsigned i = 0; i < FILES; i++) {
        char below_it[1800];
        snprintf(below_it, sizeof(below_it), "%s", json);
        snprintf(json, sizeof(json),
                 "{\"driver\":\"qcow2\",\"read-only\":false,\"discard\":\"unmap\",\"file\":{"
                 "\"driver\":\"record\",\"log\":\"%s\",\"file\":{\"driver\":\"memory\","
                 "\"filename\":\"memory:%s\"}}%s%.1700s}",
                 names[i], names[i], i ? ",\"backing\":" : "", below_it);
    }
    char path[2100];
    snprintf(path, sizeof(path), "json:%s", json);
    return open_path(path);
}

/* -------------------------------------------------------------------- the guest */

static void write_some(struct block_node *node, size_t since, uint32_t first, uint32_t count)
{
    cleanup_free uint8_t *bytes = calloc(count, SECTOR);
    uint32_t tag = model_new_tag();
    for (uint32_t i = 0; i < count; i++) {
        fill(bytes + (size_t)i * SECTOR, first + i, tag);
        note_version(since, first + i, tag, true);
    }
    int rc = block_pwrite(node, (uint64_t)first * SECTOR, bytes, (uint64_t)count * SECTOR, 0);
    if (rc < 0)
        fail("write", rc, NULL);
}

static void zero_some(struct block_node *node, size_t since, uint32_t first, uint32_t count)
{
    int rc = block_write_zeroes(node, (uint64_t)first * SECTOR, (uint64_t)count * SECTOR,
                                percent(50) ? BLOCK_UNMAP : 0);
    if (rc < 0)
        fail("zero", rc, NULL);
    for (uint32_t i = 0; i < count; i++)
        note_version(since, first + i, 0, true);
}

static void flush_all(struct block_node *node)
{
    size_t begin = model_versions();
    int rc = block_flush(node);
    if (rc < 0)
        fail("flush", rc, NULL);
    model_promise(record_order(), begin);
}

static void do_something(struct block_node *node)
{
    size_t since = record_order();
    uint32_t first = (uint32_t)below(SECTORS), count = 1 + (uint32_t)below(percent(20) ? 512 : 64);
    unsigned kind = (unsigned)below(100);
    count = MIN(count, (uint32_t)SECTORS - first);
    if (kind < 65)
        write_some(node, since, first, count);
    else if (kind < 80)
        zero_some(node, since, first, count);
    else
        flush_all(node);
}

/* What each layer has before anything is recorded. */
static void fill_layers(void)
{
    for (unsigned i = 0; i < FILES; i++) {
        char path[40];
        snprintf(path, sizeof(path), "memory:%s", names[i]);
        struct block_node *node = open_path(path);
        for (int n = 0; n < 12; n++)
            write_some(node, 0, (uint32_t)below(SECTORS - 200), 1 + (uint32_t)below(200));
        if (i)
            zero_some(node, 0, (uint32_t)below(SECTORS - 200), 1 + (uint32_t)below(200));
        block_close(node);
    }
    model_promise(0, model_versions());
}

/* ---------------------------------------------------------------------- the job */

static const struct {
    const char *what;
    int top, base; /* layers from the top; base -1: none */
    bool commit;
    const char *stands_on; /* what the guest stands on afterwards */
} kinds[] = {
    {"commit of the active image into its backing file", 0, 1, true, "mid"},
    {"commit of the active image into the lowest", 0, 2, true, "base"},
    {"commit of the middle", 1, 2, true, "top"},
    {"stream of everything", 0, -1, false, "top"},
    {"stream down to the lowest", 0, 2, false, "top"},
    {"stream of the middle", 1, -1, false, "top"},
};

static struct block_node *layer(struct block_node *top, int depth)
{
    struct block_node *node = depth < 0 ? NULL : top;
    while (node && depth--)
        node = block_backing(node);
    return node;
}

static struct job *start(struct block_node *top, unsigned kind)
{
    struct kv_error err = {0};
    struct block_node *from = layer(top, kinds[kind].top), *base = layer(top, kinds[kind].base);
    const struct job_options job = {.id = "job", .speed = percent(70) ? MIB(16) : 0};
    const struct commit_options commit = {.job = job, .top = from, .base = base, .base_fd = -1};
    const struct stream_options stream = {.job = job, .node = from, .base = base, .node_fd = -1};
    int rc = kinds[kind].commit ? commit_start(&commit, &err) : stream_start(&stream, &err);
    if (rc < 0)
        fail(kinds[kind].what, rc, &err);
    return job_find("job");
}

/* Positions between which the guest went to another image: before the first it stood on the old
 * one, from the second on it stands on the new one. */
static uint64_t left_at;

static void note_pivot(void *opaque)
{
    const struct block_root *root = opaque;
    if (block_root_name(root)[0])
        left_at = record_order();
}

static bool is_over(struct job *job)
{
    struct job_info info;
    job_get_info(job, &info);
    if (info.status == JOB_READY && percent(30))
        job_complete(job, NULL);
    if (info.error[0])
        fail(info.error, -EIO, NULL);
    return info.status == JOB_NULL;
}

static void run_workload(unsigned kind)
{
    struct kv_error err = {0};
    struct block_root *root;
    struct block_node *top = open_chain();
    int rc = block_root_create(&root, top, "guest", BLOCK_USE_WRITE, &err);
    if (rc < 0)
        fail("root", rc, &err);
    left_at = UINT64_MAX;
    block_root_set_changed(root, note_pivot, root);
    for (uint64_t i = below(15); i; i--)
        do_something(top);
    struct job *job = start(top, kind);
    int after = OPS_AFTER;
    for (int i = 0; i < OPS_MAX || after > 0; i++) {
        struct block_node *node = block_root_enter(root);
        do_something(node);
        block_root_leave(root);
        if (!job || is_over(job)) {
            job_put(job);
            job = NULL;
            if (after-- <= 0)
                break;
        } else if (i > OPS_MAX) {
            usleep(1000); /* little is noted while the job is waited for */
        }
        if (i > OPS_MAX && job)
            job_complete(job, NULL), job_set_speed(job, 0, NULL);
        if (model_versions() > 3000000)
            fail("the job does not end", -ETIMEDOUT, NULL);
    }
    block_root_free(root);
    block_close(top);
}

/* ------------------------------------------------------------------------ checks */

static bool files_are_sound(const struct file *files, size_t point)
{
    for (unsigned i = 0; i < FILES; i++) {
        struct qcow2_findings findings;
        char text[640];
        qcow2_inspect(files[i].bytes, files[i].len, &findings);
        if (!findings.corruptions)
            continue;
        snprintf(text, sizeof(text), "%s: %" PRIu64 " corruptions: %s", names[i],
                 findings.corruptions, findings.first);
        complain(point, text);
        return false;
    }
    return true;
}

static void check_point(const struct file *files, size_t point, const char *stands_on)
{
    static uint8_t disk[DISK];
    struct kv_error err = {0};
    struct block_node *node;
    char path[40], text[640];
    if (!files_are_sound(files, point))
        return;
    for (unsigned i = 0; i < FILES; i++)
        block_memory_put(names[i], files[i].bytes, files[i].len);
    snprintf(path, sizeof(path), "memory:%s", stands_on);
    int rc = block_open(
        &node, &(struct block_open_options){.path = path, .format = "qcow2", .readonly = true},
        &err);
    if (rc == 0) {
        rc = block_pread(node, 0, disk, DISK);
        block_close(node);
    }
    if (rc == 0) {
        check_content(disk, point);
        return;
    }
    snprintf(text, sizeof(text), "it cannot be read: %s %s", strerror(-rc), err.message);
    complain(point, text);
}

static size_t entries_before(const struct record_log *log, uint64_t position,
                             const struct record_entry **entries)
{
    size_t count, n = 0;
    *entries = record_log_entries(log, &count);
    while (n < count && (*entries)[n].order < position)
        n++;
    return n;
}

static uint64_t run_one(uint64_t wanted)
{
    static struct file before[FILES], crashed[FILES];
    struct record_log *logs[FILES];
    unsigned kind = (unsigned)below(ARRAY_SIZE(kinds)), bits = percent(50) ? 12 : 16;
    uint64_t done = 0, failed = failures;
    model_reset();
    for (unsigned i = 0; i < FILES; i++) {
        create_image(i, bits);
        logs[i] = record_log_create(names[i]);
    }
    fill_layers();
    for (unsigned i = 0; i < FILES; i++) {
        copy_live(&before[i], names[i]);
        reach(&crashed[i], before[i].len);
    }
    uint64_t first = record_order();
    run_workload(kind);
    uint64_t last = record_order();
    for (; done < MIN(wanted, (uint64_t)POINTS_OF_ONE); done++) {
        uint64_t point = first + below(last - first + 1);
        for (unsigned i = 0; i < FILES; i++) {
            const struct record_entry *entries;
            size_t n = entries_before(logs[i], point, &entries);
            make_crashed(&crashed[i], &before[i], entries, n);
        }
        check_point(crashed, point, point >= left_at ? kinds[kind].stands_on : "top");
    }
    if (failures > failed)
        fprintf(stderr, "  %s, clusters of 2^%u bytes, writes %" PRIu64 " to %" PRIu64 "\n",
                kinds[kind].what, bits, first, last);
    for (unsigned i = 0; i < FILES; i++) {
        record_log_free(logs[i]);
        block_memory_remove(names[i]);
    }
    return done;
}

int main(int argc, char **argv)
{
    return crash_main(argc, argv, run_one);
}
