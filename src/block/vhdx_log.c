/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log of a VHDX image ([MS-VHDX] 2.3): metadata is written there first, so
 * after a crash the file is right only together with it. Since the image is not
 * written, the log is not carried out but kept as patches over what is read.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "block/vhdx.h"

#define LOG_SIZE_MAX MIB(64)
#define ENTRY_HEADER 64u
#define DESCRIPTOR 32u
/* How many times the log may be gone through in search of what is good of it. */
#define EFFORT_FACTOR 16u

/* The header of an entry, at the start of a log sector. */
struct entry {
    uint64_t at; /* in the log */
    uint64_t len, tail;
    uint64_t sequence;
    uint64_t flushed; /* the file was at least so long */
    uint32_t descriptors;
    enum { UNCHECKED, GOOD, BAD } state;
};

struct vhdx_log {
    const struct block_node *node;
    struct vhdx *vhdx;
    uint64_t offset, len; /* in the file */
    struct entry *entries;
    size_t count;
    uint64_t effort; /* bytes that may still be checked */
};

static int damaged(const struct vhdx_log *log, const struct entry *entry, const char *what,
                   struct kv_error *err)
{
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                        "'%s': the VHDX log must be replayed, but its entry %" PRIu64 " %s",
                        log->node->name, entry->sequence, what);
}

/* A sector of the log, which is a ring. */
static int read_sector(const struct vhdx_log *log, uint64_t at, uint8_t *sector)
{
    return block_pread(log->vhdx->file, log->offset + at % log->len, sector, VHDX_LOG_SECTOR);
}

/* ------------------------------------------------- finding what has to be replayed */

static bool parse_entry(const struct vhdx_log *log, uint64_t at, const uint8_t *header,
                        const uint8_t guid[16], struct entry *out)
{
    *out = (struct entry){
        .at = at,
        .len = load_le(header + 8, 4),
        .tail = load_le(header + 12, 4),
        .sequence = load_le(header + 16, 8),
        .descriptors = (uint32_t)load_le(header + 24, 4),
        .flushed = load_le(header + 48, 8),
    };
    return memcmp(header, "loge", 4) == 0 && memcmp(header + 32, guid, 16) == 0 && out->len &&
           out->len % VHDX_LOG_SECTOR == 0 && out->len <= log->len &&
           out->tail % VHDX_LOG_SECTOR == 0 && out->tail < log->len && out->sequence &&
           ENTRY_HEADER + (uint64_t)out->descriptors * DESCRIPTOR <= out->len;
}

static int collect_entries(struct vhdx_log *log, const uint8_t guid[16])
{
    log->entries = calloc(log->len / VHDX_LOG_SECTOR, sizeof(*log->entries));
    if (!log->entries)
        return -ENOMEM;
    for (uint64_t at = 0; at < log->len; at += VHDX_LOG_SECTOR) {
        uint8_t header[ENTRY_HEADER];
        int rc = block_pread(log->vhdx->file, log->offset + at, header, sizeof(header));
        if (rc < 0)
            return rc;
        log->count += parse_entry(log, at, header, guid, &log->entries[log->count]);
    }
    return 0;
}

static struct entry *entry_at(const struct vhdx_log *log, uint64_t at)
{
    size_t low = 0, high = log->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (log->entries[middle].at < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low < log->count && log->entries[low].at == at ? &log->entries[low] : NULL;
}

/* Its checksum, which counts as zero itself. -ELOOP: too much was checked already. */
static int check_entry(struct vhdx_log *log, struct entry *entry)
{
    if (log->effort < entry->len)
        return -ELOOP;
    log->effort -= entry->state == UNCHECKED ? entry->len : VHDX_LOG_SECTOR;
    uint8_t sector[VHDX_LOG_SECTOR];
    uint32_t crc = 0, wanted = 0;
    for (uint64_t done = 0; entry->state == UNCHECKED && done < entry->len;
         done += sizeof(sector)) {
        int rc = read_sector(log, entry->at + done, sector);
        if (rc < 0)
            return rc;
        if (done == 0) {
            wanted = (uint32_t)load_le(sector + 4, 4);
            memset(sector + 4, 0, 4);
        }
        crc = crc32c(crc, sector, sizeof(sector));
    }
    if (entry->state == UNCHECKED)
        entry->state = crc == wanted ? GOOD : BAD;
    return 0;
}

/* 1: the entries from head's tail to head itself are all there and good. */
static int check_sequence(struct vhdx_log *log, const struct entry *head)
{
    uint64_t at = head->tail, total = 0, sequence = 0;
    for (;;) {
        struct entry *entry = entry_at(log, at);
        if (!entry || (sequence && entry->sequence != sequence + 1))
            return 0;
        int rc = check_entry(log, entry);
        total += entry->len;
        if (rc < 0 || entry->state == BAD || total > log->len)
            return rc;
        if (entry == head)
            return 1;
        sequence = entry->sequence;
        at = (at + entry->len) % log->len;
    }
}

struct ranked {
    struct entry *entry;
};

static int by_sequence_falling(const void *a, const void *b)
{
    const struct ranked *left = a, *right = b;
    uint64_t l = left->entry->sequence, r = right->entry->sequence;
    return l < r ? 1 : l > r ? -1 : 0;
}

/* The newest entry that ends a good sequence. *out NULL: there is none, nothing to replay. */
static int find_head(struct vhdx_log *log, struct entry **out)
{
    cleanup_free struct ranked *order = calloc(log->count + 1, sizeof(struct ranked));
    if (!order)
        return -ENOMEM;
    for (size_t i = 0; i < log->count; i++)
        order[i].entry = &log->entries[i];
    qsort(order, log->count, sizeof(struct ranked), by_sequence_falling);
    *out = NULL;
    for (size_t i = 0; i < log->count; i++) {
        int rc = check_sequence(log, order[i].entry);
        if (rc < 0)
            return rc;
        if (rc == 1) {
            *out = order[i].entry;
            return 0;
        }
    }
    return 0;
}

/* ------------------------------------------------------------------ replaying it */

static struct vhdx_patch *add_patch(struct vhdx *vhdx, uint64_t offset, uint64_t len)
{
    size_t count = vhdx->patch_count;
    if (count == 0 || is_power_of_two(count)) {
        struct vhdx_patch *grown = realloc(vhdx->patches, 2 * (count + 1) * sizeof(*grown));
        if (!grown)
            return NULL;
        vhdx->patches = grown;
    }
    vhdx->patches[count] = (struct vhdx_patch){.offset = offset, .len = len};
    return &vhdx->patches[vhdx->patch_count++];
}

/* The sector's own first 8 and last 4 bytes are the log's; the data's are in the descriptor. */
static int add_data(struct vhdx_log *log, const struct entry *entry, const uint8_t *descriptor,
                    uint64_t at, struct kv_error *err)
{
    cleanup_free uint8_t *data = malloc(VHDX_LOG_SECTOR);
    struct vhdx_patch *patch =
        data ? add_patch(log->vhdx, load_le(descriptor + 16, 8), VHDX_LOG_SECTOR) : NULL;
    if (!patch)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", log->node->name);
    int rc = read_sector(log, at, data);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': VHDX log", log->node->name);
    uint64_t sequence = load_le(data + 4, 4) << 32 | load_le(data + VHDX_LOG_SECTOR - 4, 4);
    if (memcmp(data, "data", 4) != 0 || sequence != entry->sequence)
        return damaged(log, entry, "has data of another one", err);
    memcpy(data, descriptor + 8, 8);
    memcpy(data + VHDX_LOG_SECTOR - 4, descriptor + 4, 4);
    patch->data = take_ptr(data);
    return 0;
}

static int replay_entry(struct vhdx_log *log, const struct entry *entry, struct kv_error *err)
{
    uint8_t sector[VHDX_LOG_SECTOR];
    uint64_t head = ALIGN_UP(ENTRY_HEADER + (uint64_t)entry->descriptors * DESCRIPTOR,
                             (uint64_t)VHDX_LOG_SECTOR);
    uint64_t data_at = head;
    for (uint64_t i = 0; i < entry->descriptors; i++) {
        uint64_t at = ENTRY_HEADER + i * DESCRIPTOR;
        if (i == 0 || at % VHDX_LOG_SECTOR == 0) {
            int rc =
                read_sector(log, entry->at + ALIGN_DOWN(at, (uint64_t)VHDX_LOG_SECTOR), sector);
            if (rc < 0)
                return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': VHDX log", log->node->name);
        }
        const uint8_t *descriptor = sector + at % VHDX_LOG_SECTOR;
        uint64_t offset = load_le(descriptor + 16, 8), len = load_le(descriptor + 8, 8);
        bool is_data = memcmp(descriptor, "desc", 4) == 0;
        if ((!is_data && memcmp(descriptor, "zero", 4) != 0) ||
            load_le(descriptor + 24, 8) != entry->sequence || offset % VHDX_LOG_SECTOR)
            return damaged(log, entry, "has a malformed descriptor", err);
        if (is_data && data_at + VHDX_LOG_SECTOR > entry->len)
            return damaged(log, entry, "has fewer data sectors than descriptors", err);
        if (!is_data && (len % VHDX_LOG_SECTOR || len > INT64_MAX || offset > INT64_MAX))
            return damaged(log, entry, "zeroes an impossible range", err);
        if (!is_data && !add_patch(log->vhdx, offset, len))
            return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", log->node->name);
        if (!is_data)
            continue;
        int rc = add_data(log, entry, descriptor, entry->at + data_at, err);
        if (rc < 0)
            return rc;
        data_at += VHDX_LOG_SECTOR;
    }
    return 0;
}

static int replay(struct vhdx_log *log, const struct entry *head, struct kv_error *err)
{
    if (head->flushed > block_size(log->vhdx->file))
        return damaged(log, head, "says that the file was longer than it is now", err);
    const struct entry *entry = entry_at(log, head->tail);
    int rc = replay_entry(log, entry, err);
    while (rc == 0 && entry != head) {
        entry = entry_at(log, (entry->at + entry->len) % log->len);
        rc = replay_entry(log, entry, err);
    }
    return rc;
}

int vhdx_replay_log(const struct block_node *node, struct vhdx *vhdx, const uint8_t guid[16],
                    uint64_t offset, uint64_t len, struct kv_error *err)
{
    struct vhdx_log log = {.node = node, .vhdx = vhdx, .offset = offset, .len = len};
    struct entry *head = NULL;
    if (len == 0 || len % MIB(1) || len > LOG_SIZE_MAX || offset % MIB(1) ||
        !range_within(offset, len, 0, block_size(vhdx->file)))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': VHDX header: a log of %" PRIu64 " bytes at %" PRIu64
                            "; multiples of 1 MiB inside the file, up to 64 MiB, are supported",
                            node->name, len, offset);
    log.effort = len * EFFORT_FACTOR;
    int rc = collect_entries(&log, guid);
    if (rc == 0)
        rc = find_head(&log, &head);
    if (rc < 0)
        kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': the VHDX log cannot be searched", node->name);
    else if (head)
        rc = replay(&log, head, err);
    free(log.entries);
    return rc;
}

/* ------------------------------------------------------------------------- patches */

void vhdx_patch(const struct import *import, uint64_t offset, const struct iovec *iov,
                unsigned count, uint64_t iov_offset, uint64_t len)
{
    const struct vhdx *vhdx = container_of(import, const struct vhdx, import);
    for (size_t i = 0; i < vhdx->patch_count; i++) {
        const struct vhdx_patch *patch = &vhdx->patches[i];
        if (!ranges_overlap(offset, len, patch->offset, patch->len))
            continue;
        uint64_t from = MAX(offset, patch->offset);
        uint64_t to = MIN(offset + len, patch->offset + patch->len);
        iov_from_buffer(iov, count, iov_offset + (from - offset),
                        patch->data ? patch->data + (from - patch->offset) : NULL, to - from);
    }
}

bool vhdx_is_patched(const struct import *import, uint64_t offset, uint64_t len)
{
    const struct vhdx *vhdx = container_of(import, const struct vhdx, import);
    for (size_t i = 0; i < vhdx->patch_count; i++) {
        if (ranges_overlap(offset, len, vhdx->patches[i].offset, vhdx->patches[i].len))
            return true;
    }
    return false;
}
