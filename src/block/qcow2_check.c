/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checking and repairing a qcow2 image: the refcounts on disk against those
 * counted (qcow2_count.c), then COPIED flags against refcounts. Leaks and
 * refcounts that are too low are repaired in place; when refcount blocks are
 * missing or damaged all of them are made anew and switched to at once.
 */
#include "block/qcow2_check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"

void qcow2_check_say(const struct qcow2_check *check, const char *fmt, ...)
{
    char line[320];
    va_list args;
    if (!check->say)
        return;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    check->say(check->opaque, line);
}

/* ---------------------------------------------------------------- comparing */

static bool has_block(const struct qcow2_refmap *map, uint64_t index)
{
    return index < map->count && map->blocks[index];
}

/* One cluster's refcount, which differs. Fixed in disk's block where that is wanted. */
static void tell_difference(struct qcow2_check *check, struct qcow2_refmap *disk, unsigned fix,
                            uint64_t cluster, uint64_t is, uint64_t should)
{
    const struct qcow2 *s = check->s;
    struct block_check_result *result = check->result;
    uint64_t *fixed = NULL;
    if (is == 0)
        check->rebuild = true;
    else if (is > should && (fix & BLOCK_FIX_LEAKS))
        fixed = &result->leaks_fixed;
    else if (is < should && (fix & BLOCK_FIX_ERRORS))
        fixed = &result->corruptions_fixed;
    qcow2_check_say(check, "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
                    fixed         ? "Repairing"
                    : is < should ? "ERROR"
                                  : "Leaked",
                    cluster, is, should);
    if (fixed) {
        struct qcow2_refblock *block = disk->blocks[cluster >> s->refblock_bits];
        qcow2_refcount_store(block->data, s->refcount_order, cluster & (BIT(s->refblock_bits) - 1),
                             should);
        block->dirty = true;
        (*fixed)++;
    } else if (is < should) {
        result->corruptions++;
    } else {
        result->leaks++;
    }
}

static void tell_unknown(struct qcow2_check *check, uint64_t first, uint64_t count, int rc)
{
    for (uint64_t i = 0; i < count; i++)
        qcow2_check_say(check, "Can't get refcount for cluster %" PRIu64 ": %s", first + i,
                        strerror(-rc));
    check->result->check_errors += count;
}

/* Whether a block of the disk's and the counted one say the same; NULL: all 0. *last: the last
 * refcount that is not 0, if there is one. */
static bool says_the_same(const struct qcow2 *s, const uint8_t *is, const uint8_t *should,
                          uint64_t *last)
{
    size_t len = s->cluster_size;
    if (!is || !should)
        return buffer_is_zero(is ? is : should, len);
    if (memcmp(is, should, len) != 0)
        return false;
    while (len && !is[len - 1])
        len--;
    uint64_t i =
        MIN(BIT(s->refblock_bits), (len * 8 + BIT(s->refcount_order) - 1) >> s->refcount_order);
    while (i-- > 0) {
        if (qcow2_refcount_load(is, s->refcount_order, i)) {
            *last = i;
            break;
        }
    }
    return true;
}

/* All clusters of the file and those beyond that are counted, by refcount blocks, so that what has
 * none costs nothing. */
static void compare(struct qcow2_check *check, struct qcow2_refmap *counted,
                    struct qcow2_refmap *disk, unsigned fix)
{
    const struct qcow2 *s = check->s;
    uint64_t clusters = MAX(qcow2_clusters(s, check->file_len), (uint64_t)1), highest = 0;
    uint64_t blocks = MAX(counted->count, s->reftable_entries);
    for (uint64_t b = 0; b < blocks; b++) {
        uint64_t first = b << s->refblock_bits, unused;
        int rc = first < clusters ? qcow2_refmap_get(disk, first, &unused) : 0;
        if (rc < 0)
            tell_unknown(check, first, MIN(BIT(s->refblock_bits), clusters - first), rc);
        if (rc < 0 || (!has_block(disk, b) && !has_block(counted, b)))
            continue;
        const uint8_t *on_disk =
            has_block(disk, b) && first < clusters ? disk->blocks[b]->data : NULL;
        const uint8_t *in_count = has_block(counted, b) ? counted->blocks[b]->data : NULL;
        uint64_t last = UINT64_MAX;
        if ((!on_disk && !in_count) || ((!on_disk || first + BIT(s->refblock_bits) <= clusters) &&
                                        says_the_same(s, on_disk, in_count, &last))) {
            highest = last == UINT64_MAX ? highest : first + last;
            continue;
        }
        for (uint64_t i = 0; i < BIT(s->refblock_bits); i++) {
            uint64_t cluster = first + i, is = 0, should = 0;
            if (on_disk && cluster < clusters)
                is = qcow2_refcount_load(on_disk, s->refcount_order, i);
            if (in_count)
                should = qcow2_refcount_load(in_count, s->refcount_order, i);
            if (is || should)
                highest = cluster;
            if (is != should)
                tell_difference(check, disk, fix, cluster, is, should);
        }
    }
    check->result->image_end_offset = (highest + 1) << s->cluster_bits;
}

/* ---------------------------------------------------------------- repairing refcounts */

static int write_repaired(struct qcow2_check *check, const struct qcow2_refmap *disk)
{
    struct qcow2 *s = check->s;
    int rc = 0;
    for (uint64_t i = 0; i < disk->count && rc == 0; i++) {
        const struct qcow2_refblock *block = disk->blocks[i];
        if (block && block->dirty)
            rc = qcow2_file_write(s, block->place, block->data, s->cluster_size);
    }
    if (rc == 0)
        rc = block_flush(s->file);
    return rc < 0 ? rc : qcow2_reload(s, NULL);
}

/* A second look, which says nothing. */
static int look_again(struct qcow2_check *check, struct block_check_result *result)
{
    struct qcow2_check quiet = {
        .s = check->s, .result = result, .file_len = block_size(check->s->file)};
    struct qcow2_refmap counted, disk = {0};
    int rc = qcow2_refmap_init(&counted, check->s, false, NULL);
    if (rc == 0)
        rc = qcow2_refmap_init(&disk, check->s, true, NULL);
    if (rc == 0)
        rc = qcow2_count(&quiet, &counted, true);
    if (rc == 0)
        compare(&quiet, &counted, &disk, 0);
    qcow2_refmap_free(&counted);
    qcow2_refmap_free(&disk);
    return rc;
}

static void note_fixed(uint64_t *left, uint64_t *fixed, uint64_t now)
{
    if (now < *left)
        *fixed += *left - now;
    *left = now;
}

/* All refcount blocks anew, out of the references of everything else. */
static int rebuild(struct qcow2_check *check, struct kv_error *err)
{
    struct qcow2 *s = check->s;
    struct block_check_result ignored = {0}, after = {0};
    struct qcow2_check quiet = {.s = s, .result = &ignored, .file_len = check->file_len};
    struct qcow2_refmap counted;
    qcow2_check_say(check, "Rebuilding refcount structure");
    int rc = qcow2_refmap_init(&counted, s, false, err);
    if (rc == 0)
        rc = qcow2_count(&quiet, &counted, false);
    if (rc == 0)
        rc = qcow2_refmap_commit(&counted, &s->header, err);
    qcow2_refmap_free(&counted);
    if (rc == 0)
        rc = look_again(check, &after);
    if (rc < 0)
        return rc;
    check->file_len = block_size(s->file);
    check->result->check_errors = after.check_errors;
    note_fixed(&check->result->corruptions, &check->result->corruptions_fixed, after.corruptions);
    note_fixed(&check->result->leaks, &check->result->leaks_fixed, after.leaks);
    check->result->image_end_offset = after.image_end_offset;
    return 0;
}

/* ---------------------------------------------------------------- COPIED flags */

struct flags {
    struct qcow2_check *check;
    struct qcow2_refmap disk;
    bool repair;
    uint64_t *l2;
    uint64_t fixed; /* in l2, not written yet */
};

static bool flag_is_wrong(uint64_t entry, uint64_t refcount)
{
    return (refcount == 1) != ((entry & QCOW2_COPIED) != 0);
}

static void check_l2_flags(struct flags *f)
{
    struct qcow2_check *check = f->check;
    const struct qcow2 *s = check->s;
    for (uint64_t i = 0; i < s->cluster_size / 8; i += s->l2_entry_size / 8) {
        uint64_t entry = be64toh(f->l2[i]), offset = entry & QCOW2_OFFSET_MASK, refcount = 1;
        if ((entry & QCOW2_COMPRESSED) || (!offset && !s->has_data_file) ||
            (s->has_data_file && !offset && !(entry & QCOW2_COPIED)))
            continue;
        if (!s->has_data_file &&
            qcow2_refmap_get(&f->disk, offset >> s->cluster_bits, &refcount) < 0)
            continue;
        if (!flag_is_wrong(entry, refcount))
            continue;
        qcow2_check_say(check,
                        "%s OFLAG_COPIED data cluster: l2_entry=%" PRIx64 " refcount=%" PRIu64,
                        f->repair ? "Repairing" : "ERROR", entry, refcount);
        check->result->corruptions++;
        f->l2[i] = htobe64(entry ^ QCOW2_COPIED);
        f->fixed++;
    }
}

static int write_l2_flags(struct flags *f, uint64_t table)
{
    struct qcow2 *s = f->check->s;
    if (!f->fixed || !f->repair)
        return 0;
    int rc = qcow2_metadata_at(s, table, s->cluster_size)
                 ? -EIO
                 : qcow2_file_write(s, table, f->l2, s->cluster_size);
    if (rc < 0) {
        qcow2_check_say(f->check, "ERROR: Could not write L2 table: %s", strerror(-rc));
        f->check->result->check_errors++;
        return rc;
    }
    f->check->result->corruptions -= f->fixed;
    f->check->result->corruptions_fixed += f->fixed;
    return 0;
}

static int check_l1_flag(struct flags *f, uint32_t index)
{
    struct qcow2_check *check = f->check;
    struct qcow2 *s = check->s;
    uint64_t entry = s->l1[index], refcount;
    int rc = qcow2_refmap_get(&f->disk, (entry & QCOW2_OFFSET_MASK) >> s->cluster_bits, &refcount);
    if (rc < 0 || !flag_is_wrong(entry, refcount))
        return 0;
    qcow2_check_say(check,
                    "%s OFLAG_COPIED L2 cluster: l1_index=%" PRIu32 " l1_entry=%" PRIx64
                    " refcount=%" PRIu64,
                    f->repair ? "Repairing" : "ERROR", index, entry, refcount);
    check->result->corruptions++;
    if (!f->repair)
        return 0;
    uint64_t fixed = htobe64(entry ^ QCOW2_COPIED);
    rc = qcow2_file_write(s, s->header.l1_offset + (uint64_t)index * 8, &fixed, sizeof(fixed));
    if (rc < 0) {
        check->result->check_errors++;
        return rc;
    }
    check->result->corruptions--;
    check->result->corruptions_fixed++;
    return 0;
}

static int check_flags(struct flags *f)
{
    struct qcow2_check *check = f->check;
    const struct qcow2 *s = check->s;
    uint64_t fixed_before = check->result->corruptions_fixed;
    int rc = 0;
    for (uint32_t i = 0; i < s->header.l1_size && rc == 0; i++) {
        uint64_t table = s->l1[i] & QCOW2_OFFSET_MASK;
        if (!table || qcow2_in_cluster(s, table) || table >= check->file_len)
            continue;
        rc = check_l1_flag(f, i);
        f->fixed = 0;
        if (rc == 0 && qcow2_file_read(s->file, table, f->l2, s->cluster_size) < 0) {
            qcow2_check_say(check, "ERROR: I/O error in check_oflag_copied");
            check->result->check_errors++;
            continue;
        }
        check_l2_flags(f);
        if (rc == 0)
            rc = write_l2_flags(f, table);
    }
    if (rc == 0 && check->result->corruptions_fixed != fixed_before) {
        rc = block_flush(check->s->file);
        if (rc == 0)
            rc = qcow2_reload(check->s, NULL);
    }
    return rc;
}

static int check_all_flags(struct qcow2_check *check, unsigned fix)
{
    const struct block_check_result *r = check->result;
    struct flags f = {.check = check, .l2 = malloc(check->s->cluster_size)};
    /* With leaks alone to repair only where refcounts are known to be right. */
    f.repair = (fix & BLOCK_FIX_ERRORS) ||
               ((fix & BLOCK_FIX_LEAKS) && !r->check_errors && !r->corruptions && !r->leaks);
    int rc = f.l2 ? qcow2_refmap_init(&f.disk, check->s, true, NULL) : -ENOMEM;
    if (rc == 0)
        rc = check_flags(&f);
    qcow2_refmap_free(&f.disk);
    free(f.l2);
    return rc;
}

/* ---------------------------------------------------------------- border */

static int repair_in_place(struct qcow2_check *check, struct qcow2_refmap *counted,
                           struct qcow2_refmap *disk, const struct block_check_result *before)
{
    struct block_check_result *r = check->result;
    if (!r->leaks && !r->corruptions)
        return 0;
    r->leaks = before->leaks;
    r->corruptions = before->corruptions;
    compare(check, counted, disk, check->fix);
    return write_repaired(check, disk);
}

static int check_refcounts(struct qcow2_check *check, struct kv_error *err)
{
    struct qcow2_refmap counted = {0}, disk = {0};
    struct block_check_result before;
    int rc = qcow2_refmap_init(&counted, check->s, false, err);
    if (rc == 0)
        rc = qcow2_refmap_init(&disk, check->s, true, err);
    if (rc == 0)
        rc = qcow2_count(check, &counted, true);
    if (rc == 0) {
        before = *check->result;
        compare(check, &counted, &disk, 0);
        /* What could not be read is not known to be unused. */
        bool sure = before.check_errors == 0;
        if (check->rebuild && (check->fix & BLOCK_FIX_ERRORS))
            rc = sure ? rebuild(check, err) : 0;
        else if (check->rebuild && check->fix)
            qcow2_check_say(check, "ERROR need to rebuild refcount structures");
        else if (check->fix && sure)
            rc = repair_in_place(check, &counted, &disk, &before);
        if (check->rebuild && check->fix && !(check->fix & BLOCK_FIX_ERRORS))
            rc = -EIO;
    }
    qcow2_refmap_free(&counted);
    qcow2_refmap_free(&disk);
    return rc;
}

static int clear_marks(struct qcow2_check *check)
{
    struct qcow2 *s = check->s;
    const struct block_check_result *r = check->result;
    uint64_t marks = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT;
    if (!check->fix || r->check_errors || r->corruptions)
        return 0;
    atomic_store(&s->corrupt, false);
    s->node->info.needs_repair = false;
    if (!s->v3 || !(s->header.incompatible & marks))
        return 0;
    return qcow2_header_set_features(s, s->header.incompatible & ~marks, s->header.compatible,
                                     s->header.autoclear);
}

int qcow2_check(struct block_node *node, unsigned fix, struct block_check_result *out,
                void (*say)(void *opaque, const char *line), void *opaque, struct kv_error *err)
{
    struct qcow2 *s = qcow2_of(node);
    *out = (struct block_check_result){0};
    if (fix && s->readonly)
        return kv_error_set(err, KV_ERR_BLOCK, EROFS, "'%s' is read-only and cannot be repaired",
                            node->name);
    struct qcow2_check check = {.s = s, .fix = fix, .result = out, .say = say, .opaque = opaque};
    struct kv_error why = {0};
    qcow2_exclusive_begin(s);
    int rc = s->readonly || !atomic_load(&s->modified) ? 0 : qcow2_settle(s);
    check.file_len = block_size(s->file);
    if (rc == 0)
        rc = check_refcounts(&check, &why);
    if (rc == 0)
        rc = check_all_flags(&check, fix);
    if (rc == 0)
        rc = clear_marks(&check);
    qcow2_exclusive_end(s);
    if (rc < 0 && why.code)
        return kv_error_set(err, KV_ERR_BLOCK, -rc, "Check failed: %s", why.message);
    return rc < 0 ? kv_error_errno(err, KV_ERR_BLOCK, -rc, "Check failed") : 0;
}
