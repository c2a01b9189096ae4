/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a guest was promised, and files after a power cut; see crash_model.h. */
#include "crash_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/memory.h"

#define TORN_PERCENT 20

/* --------------------------------------------------------- random numbers */

uint64_t random_state;

static uint64_t random_u64(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t below(uint64_t bound)
{
    return random_u64() % bound;
}

bool percent(unsigned chance)
{
    return below(100) < chance;
}

/* ------------------------------------------------------------------ model */

static struct version *versions;
static size_t version_count, version_capacity;
static struct {
    size_t log, versions;
} flushes[FLUSHES_MAX];
static unsigned flush_count;
static uint32_t next_tag;

void model_reset(void)
{
    version_count = flush_count = next_tag = 0;
}

uint32_t model_new_tag(void)
{
    return ++next_tag;
}

size_t model_versions(void)
{
    return version_count;
}

void model_promise(size_t position, size_t upto)
{
    if (flush_count == FLUSHES_MAX)
        abort();
    flushes[flush_count].log = position;
    flushes[flush_count++].versions = upto;
}

void note_version(size_t since, uint32_t sector, uint32_t tag, bool decides)
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
void fill(uint8_t *bytes, uint32_t sector, uint32_t tag)
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

/* ----------------------------------------------------------------- replay */

void reach(struct file *file, size_t len)
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

void make_crashed(struct file *file, const struct file *base, const struct record_entry *entries,
                  size_t point)
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

bool verbose;
uint64_t failures;

void complain(size_t point, const char *what)
{
    if (failures++ < 20 || verbose)
        fprintf(stderr, "cut behind write %zu: %s\n", point, what);
}

/* allowed[sector]: tags that it may hold, a short list built from the versions. */
void check_content(const uint8_t *disk, size_t point)
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

/* ------------------------------------------------------------------- main */

void copy_live(struct file *file, const char *name)
{
    file->len = 0;
    reach(file, (size_t)block_memory_length(name));
    block_memory_get(name, 0, file->bytes, file->len);
}

bool written_after(const uint8_t *disk, uint32_t sector, size_t upto)
{
    uint32_t tag;
    memcpy(&tag, disk + (size_t)sector * SECTOR, sizeof(tag));
    if (!tag)
        return false;
    for (size_t i = 0; i < version_count; i++) {
        if (versions[i].sector == sector && versions[i].tag == tag)
            return i >= upto;
    }
    return false;
}

int crash_main(int argc, char **argv, uint64_t (*run_one)(uint64_t wanted))
{
    uint64_t points = 20000, seed = 1, done = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0) {
            verbose = true;
        } else if (i + 1 < argc && strcmp(argv[i], "--points") == 0) {
            points = strtoull(argv[++i], NULL, 0);
        } else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[++i], NULL, 0);
        } else {
            fprintf(stderr, "usage: %s [--points N] [--seed N] [--verbose]\n", argv[0]);
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
