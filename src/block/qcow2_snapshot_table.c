/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The snapshot table of a qcow2 image: entries of variable length, read and
 * checked as a whole, written anew as a whole. Called by qcow2_snapshot.c and
 * qcow2_check.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "block/qcow2_snapshot.h"

#define EXTRA_MAX 1024u
#define EXTRA_KNOWN 24u /* bytes of extra data that we understand */

struct disk_entry {
    uint64_t l1_offset;
    uint32_t l1_size;
    uint16_t id_len, name_len;
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_nsec;
    uint32_t vm_state_size, extra_len;
} __attribute__((packed));

struct disk_extra {
    uint64_t vm_state_size, disk_size, icount;
} __attribute__((packed));

_Static_assert(sizeof(struct disk_entry) == 40, "qcow2 snapshot table entry");
_Static_assert(sizeof(struct disk_extra) == EXTRA_KNOWN, "qcow2 snapshot extra data");

void qcow2_snapshot_clear(struct qcow2_snapshot *snapshot)
{
    free(snapshot->id);
    free(snapshot->name);
    free(snapshot->extra);
    *snapshot = (struct qcow2_snapshot){0};
}

void qcow2_snapshots_free(struct qcow2_snapshot *snapshots, uint32_t count)
{
    for (uint32_t i = 0; i < count && snapshots; i++)
        qcow2_snapshot_clear(&snapshots[i]);
    free(snapshots);
}

static uint64_t entry_size(const struct qcow2_snapshot *sn)
{
    return ALIGN_UP(sizeof(struct disk_entry) + EXTRA_KNOWN + sn->extra_len + strlen(sn->id) +
                        strlen(sn->name),
                    (uint64_t)8);
}

uint64_t qcow2_snapshots_size(const struct qcow2_snapshot *snapshots, uint32_t count)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < count; i++)
        size += entry_size(&snapshots[i]);
    return size;
}

/* ------------------------------------------------------------------ reading */

static void take_extra(const struct qcow2 *s, struct qcow2_snapshot *sn, const uint8_t *extra,
                       uint32_t len)
{
    struct disk_extra known;
    memset(&known, 0, sizeof(known));
    memcpy(&known, extra, MIN(len, sizeof(known)));
    if (len >= 8)
        sn->vm_state_size = be64toh(known.vm_state_size);
    sn->disk_size = len >= 16 ? be64toh(known.disk_size) : s->header.size;
    sn->icount = len >= 24 ? be64toh(known.icount) : UINT64_MAX;
}

/* The entry at *offset of the file, behind which *offset is set. */
static int read_entry(struct qcow2 *s, uint64_t *offset, struct qcow2_snapshot *sn)
{
    struct disk_entry disk;
    int rc = qcow2_file_read(s->file, *offset, &disk, sizeof(disk));
    if (rc < 0)
        return rc;
    uint32_t extra_len = be32toh(disk.extra_len);
    uint32_t id_len = be16toh(disk.id_len), name_len = be16toh(disk.name_len);
    if (extra_len > EXTRA_MAX)
        return -EFBIG;
    uint64_t len = (uint64_t)extra_len + id_len + name_len;
    cleanup_free uint8_t *rest = malloc(len + 1);
    if (!rest)
        return -ENOMEM;
    rc = qcow2_file_read(s->file, *offset + sizeof(disk), rest, len);
    if (rc < 0)
        return rc;
    sn->l1_offset = be64toh(disk.l1_offset);
    sn->l1_size = be32toh(disk.l1_size);
    sn->date_sec = be32toh(disk.date_sec);
    sn->date_nsec = be32toh(disk.date_nsec);
    sn->vm_clock_nsec = be64toh(disk.vm_clock_nsec);
    sn->vm_state_size = be32toh(disk.vm_state_size);
    take_extra(s, sn, rest, extra_len);
    sn->id = strndup((const char *)rest + extra_len, id_len);
    sn->name = strndup((const char *)rest + extra_len + id_len, name_len);
    if (extra_len > EXTRA_KNOWN) {
        sn->extra_len = extra_len - EXTRA_KNOWN;
        sn->extra = malloc(sn->extra_len);
        if (sn->extra)
            memcpy(sn->extra, rest + EXTRA_KNOWN, sn->extra_len);
    }
    *offset = ALIGN_UP(*offset + sizeof(disk) + len, (uint64_t)8);
    return sn->id && sn->name && (!sn->extra_len || sn->extra) ? 0 : -ENOMEM;
}

int qcow2_snapshots_load(struct qcow2 *s, struct kv_error *err)
{
    uint32_t count = s->header.nb_snapshots;
    uint64_t offset = s->header.snapshots_offset;
    if (s->snapshots || count == 0)
        return 0;
    struct qcow2_snapshot *snapshots = calloc(count, sizeof(*snapshots));
    int rc = snapshots ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        rc = read_entry(s, &offset, &snapshots[i]);
        if (rc == 0 && offset - s->header.snapshots_offset > QCOW2_MAX_SNAPSHOT_TABLE)
            rc = -EFBIG;
    }
    if (rc == 0) {
        s->snapshots = snapshots;
        return 0;
    }
    qcow2_snapshots_free(snapshots, count);
    return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': Could not read snapshots", s->node->name);
}

int qcow2_snapshots_copy(const struct qcow2 *s, struct qcow2_snapshot **out)
{
    uint32_t count = s->header.nb_snapshots;
    struct qcow2_snapshot *copies = calloc(count + 1, sizeof(*copies));
    bool complete = copies;
    for (uint32_t i = 0; i < count && complete; i++) {
        const struct qcow2_snapshot *from = &s->snapshots[i];
        struct qcow2_snapshot *to = &copies[i];
        *to = *from;
        to->id = strdup(from->id);
        to->name = strdup(from->name);
        to->extra = from->extra_len ? malloc(from->extra_len) : NULL;
        if (to->extra)
            memcpy(to->extra, from->extra, from->extra_len);
        complete = to->id && to->name && (to->extra || !from->extra_len);
    }
    if (!complete) {
        qcow2_snapshots_free(copies, count);
        return -ENOMEM;
    }
    *out = copies;
    return 0;
}

/* ------------------------------------------------------------------ writing */

static uint64_t put_entry(uint8_t *at, const struct qcow2_snapshot *sn)
{
    size_t id_len = strlen(sn->id), name_len = strlen(sn->name);
    struct disk_entry disk = {
        .l1_offset = htobe64(sn->l1_offset),
        .l1_size = htobe32(sn->l1_size),
        .id_len = htobe16((uint16_t)id_len),
        .name_len = htobe16((uint16_t)name_len),
        .date_sec = htobe32(sn->date_sec),
        .date_nsec = htobe32(sn->date_nsec),
        .vm_clock_nsec = htobe64(sn->vm_clock_nsec),
        .vm_state_size = htobe32((uint32_t)MIN(sn->vm_state_size, UINT32_MAX)),
        .extra_len = htobe32(EXTRA_KNOWN + sn->extra_len),
    };
    struct disk_extra extra = {htobe64(sn->vm_state_size), htobe64(sn->disk_size),
                               htobe64(sn->icount)};
    uint8_t *p = at;
    memcpy(p, &disk, sizeof(disk));
    p += sizeof(disk);
    memcpy(p, &extra, sizeof(extra));
    p += sizeof(extra);
    if (sn->extra_len)
        memcpy(p, sn->extra, sn->extra_len);
    p += sn->extra_len;
    memcpy(p, sn->id, id_len);
    memcpy(p + id_len, sn->name, name_len);
    return entry_size(sn);
}

int qcow2_snapshots_write(struct qcow2_refmap *map, const struct qcow2_snapshot *snapshots,
                          uint32_t count, uint64_t *offset)
{
    uint64_t size = qcow2_snapshots_size(snapshots, count), at = 0;
    *offset = 0;
    if (size > QCOW2_MAX_SNAPSHOT_TABLE)
        return -EFBIG;
    if (count == 0)
        return 0;
    cleanup_free uint8_t *table = calloc(1, size);
    if (!table)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        at += put_entry(table + at, &snapshots[i]);
    int rc = qcow2_refmap_alloc(map, qcow2_clusters(map->s, size), offset);
    return rc < 0 ? rc : qcow2_file_write(map->s, *offset, table, size);
}
