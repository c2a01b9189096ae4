/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The protocol "memory": a file of sparse pages that grows as it is written.
 * For tests and fuzzing, which open images from it without touching a disk.
 * Pages that were never written, or were discarded, are holes.
 */
#include "block/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/drivers.h"

#define PAGE 4096u
#define SECTOR 512u
#define PREFIX "memory:"
#define SIZE_MAXIMUM ((uint64_t)INT64_MAX - PAGE)

struct page {
    uint64_t number; /* offset / PAGE */
    uint8_t *bytes;  /* NULL: a hole (or an empty slot) */
    bool taken;
};

struct memory {
    struct list link; /* in files; under files_lock */
    char *name;
    unsigned references; /* the list's and those of nodes; under files_lock */

    pthread_rwlock_t lock; /* of what follows */
    uint64_t size;         /* bytes */
    uint64_t limit;        /* bytes of pages */
    struct page *pages;    /* open addressing; a slot once taken stays so until the table grows */
    size_t slots, taken;   /* slots: a power of two or 0 */
    size_t filled;         /* slots with bytes */
};

static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list files = {&files, &files};

/* ------------------------------------------------------------------ pages */

static size_t slot_of(const struct memory *memory, uint64_t number)
{
    size_t mask = memory->slots - 1;
    size_t at = (size_t)((number * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & mask;
    while (memory->pages[at].taken && memory->pages[at].number != number)
        at = (at + 1) & mask;
    return at;
}

/* Its bytes; NULL: a hole. */
static uint8_t *find_page(const struct memory *memory, uint64_t number)
{
    return memory->slots ? memory->pages[slot_of(memory, number)].bytes : NULL;
}

static int grow_table(struct memory *memory)
{
    size_t old_slots = memory->slots;
    struct page *old = memory->pages;
    size_t wanted = 16;
    while (wanted < memory->filled * 4)
        wanted *= 2;
    struct page *pages = calloc(wanted, sizeof(*pages));
    if (!pages)
        return -ENOMEM;
    memory->pages = pages;
    memory->slots = wanted;
    memory->taken = memory->filled;
    for (size_t i = 0; i < old_slots; i++) {
        if (old[i].bytes)
            memory->pages[slot_of(memory, old[i].number)] = old[i];
    }
    free(old);
    return 0;
}

/* A zeroed page where there is none. NULL: *rc says why. */
static uint8_t *make_page(struct memory *memory, uint64_t number, int *rc)
{
    uint8_t *bytes = find_page(memory, number);
    if (bytes)
        return bytes;
    *rc = (memory->filled + 1) * (uint64_t)PAGE > memory->limit ? -ENOSPC : 0;
    if (*rc == 0 && (memory->taken + 1) * 2 > memory->slots)
        *rc = grow_table(memory);
    if (*rc < 0)
        return NULL;
    bytes = calloc(1, PAGE);
    if (!bytes) {
        *rc = -ENOMEM;
        return NULL;
    }
    struct page *page = &memory->pages[slot_of(memory, number)];
    memory->taken += !page->taken;
    memory->filled++;
    *page = (struct page){number, bytes, true};
    return bytes;
}

static void drop_page(struct memory *memory, uint64_t number)
{
    struct page *page = memory->slots ? &memory->pages[slot_of(memory, number)] : NULL;
    if (!page || !page->bytes)
        return;
    free(page->bytes);
    page->bytes = NULL;
    memory->filled--;
}

static void drop_pages_from(struct memory *memory, uint64_t first)
{
    for (size_t i = 0; i < memory->slots; i++) {
        if (memory->pages[i].bytes && memory->pages[i].number >= first)
            drop_page(memory, memory->pages[i].number);
    }
}

/* The lock is held, for writing where something changes. Ranges may lie beyond the end. */

static void read_range(const struct memory *memory, uint64_t offset, const struct iovec *iov,
                       unsigned count, uint64_t len)
{
    for (uint64_t done = 0; done < len;) {
        uint64_t in_page = (offset + done) % PAGE, part = MIN(len - done, PAGE - in_page);
        const uint8_t *bytes = find_page(memory, (offset + done) / PAGE);
        iov_from_buffer(iov, count, done, bytes ? bytes + in_page : NULL, part);
        done += part;
    }
}

static int write_range(struct memory *memory, uint64_t offset, const struct iovec *iov,
                       unsigned count, uint64_t len)
{
    for (uint64_t done = 0; done < len;) {
        int rc = 0;
        uint64_t in_page = (offset + done) % PAGE, part = MIN(len - done, PAGE - in_page);
        uint8_t *bytes = make_page(memory, (offset + done) / PAGE, &rc);
        if (!bytes)
            return rc;
        iov_to_buffer(iov, count, done, bytes + in_page, part);
        done += part;
        memory->size = MAX(memory->size, offset + done);
    }
    return 0;
}

/* Many pages at once are looked for in the table, not one by one. */
static void zero_range(struct memory *memory, uint64_t offset, uint64_t len)
{
    for (size_t i = 0; i < memory->slots; i++) {
        const struct page *page = &memory->pages[i];
        uint64_t start = page->number * PAGE;
        if (!page->bytes || !ranges_overlap(offset, len, start, PAGE))
            continue;
        uint64_t from = MAX(offset, start), to = MIN(offset + len, start + PAGE);
        if (to - from == PAGE)
            drop_page(memory, page->number);
        else
            memset(page->bytes + (from - start), 0, to - from);
    }
}

static void set_size(struct memory *memory, uint64_t size)
{
    if (size < memory->size) {
        zero_range(memory, size, memory->size - size);
        drop_pages_from(memory, (size + PAGE - 1) / PAGE);
    }
    memory->size = size;
}

/* ------------------------------------------------------------ files by name */

static struct memory *find_file(const char *name)
{
    list_for_each (pos, &files) {
        struct memory *memory = list_entry(pos, struct memory, link);
        if (strcmp(memory->name, name) == 0)
            return memory;
    }
    return NULL;
}

/* A reference, or NULL. */
static struct memory *get_file(const char *name)
{
    pthread_mutex_lock(&files_lock);
    struct memory *memory = find_file(name);
    if (memory)
        memory->references++;
    pthread_mutex_unlock(&files_lock);
    return memory;
}

static void put_file(struct memory *memory)
{
    if (!memory)
        return;
    pthread_mutex_lock(&files_lock);
    bool last = --memory->references == 0;
    pthread_mutex_unlock(&files_lock);
    if (!last)
        return;
    drop_pages_from(memory, 0);
    pthread_rwlock_destroy(&memory->lock);
    free(memory->pages);
    free(memory->name);
    free(memory);
}

/* A reference to the file, which is made if it is not there. NULL: out of memory. */
static struct memory *make_file(const char *name)
{
    pthread_mutex_lock(&files_lock);
    struct memory *memory = find_file(name);
    if (!memory) {
        memory = calloc(1, sizeof(*memory));
        char *copy = memory ? strdup(name) : NULL;
        if (!copy) {
            free(memory);
            memory = NULL;
        } else {
            *memory = (struct memory){.name = copy, .references = 1, .limit = UINT64_MAX};
            pthread_rwlock_init(&memory->lock, NULL);
            list_add_tail(&files, &memory->link);
        }
    }
    if (memory)
        memory->references++;
    pthread_mutex_unlock(&files_lock);
    return memory;
}

const char *block_memory_name(const char *path)
{
    return strncmp(path, PREFIX, strlen(PREFIX)) == 0 ? path + strlen(PREFIX) : NULL;
}

int block_memory_put(const char *name, const void *bytes, uint64_t len)
{
    struct memory *memory = make_file(name);
    struct iovec iov = {.iov_base = (void *)bytes, .iov_len = len};
    if (!memory)
        return -ENOMEM;
    pthread_rwlock_wrlock(&memory->lock);
    drop_pages_from(memory, 0);
    memory->size = 0;
    int rc = bytes ? write_range(memory, 0, &iov, 1, len) : 0;
    if (rc == 0)
        memory->size = len;
    pthread_rwlock_unlock(&memory->lock);
    put_file(memory);
    return rc;
}

int block_memory_get(const char *name, uint64_t offset, void *bytes, uint64_t len)
{
    struct memory *memory = get_file(name);
    struct iovec iov = {.iov_base = bytes, .iov_len = len};
    if (!memory)
        return -ENOENT;
    pthread_rwlock_rdlock(&memory->lock);
    read_range(memory, offset, &iov, 1, len);
    pthread_rwlock_unlock(&memory->lock);
    put_file(memory);
    return 0;
}

int64_t block_memory_length(const char *name)
{
    struct memory *memory = get_file(name);
    if (!memory)
        return -ENOENT;
    pthread_rwlock_rdlock(&memory->lock);
    int64_t len = (int64_t)memory->size;
    pthread_rwlock_unlock(&memory->lock);
    put_file(memory);
    return len;
}

int block_memory_limit(const char *name, uint64_t bytes)
{
    struct memory *memory = get_file(name);
    if (!memory)
        return -ENOENT;
    pthread_rwlock_wrlock(&memory->lock);
    memory->limit = bytes;
    pthread_rwlock_unlock(&memory->lock);
    put_file(memory);
    return 0;
}

void block_memory_remove(const char *name)
{
    pthread_mutex_lock(&files_lock);
    struct memory *memory = find_file(name);
    if (memory)
        list_del(&memory->link);
    pthread_mutex_unlock(&files_lock);
    put_file(memory);
}

/* -------------------------------------------------------------- the driver */

static int memory_get_size(struct block_node *node, uint64_t *size, struct kv_error *err)
{
    struct memory *memory = node->state;
    pthread_rwlock_rdlock(&memory->lock);
    *size = ALIGN_UP(memory->size, SECTOR);
    pthread_rwlock_unlock(&memory->lock);
    return 0;
}

static int memory_open(struct block_node *node, const struct block_open_options *options,
                       struct kv_error *err)
{
    const char *path = options->path ? options->path : "";
    const char *name = block_memory_name(path);
    struct memory *memory = get_file(name ? name : path);
    if (!memory)
        return kv_error_set(err, KV_ERR_BLOCK, ENOENT,
                            "'%s': there is no such file in this process's memory", node->name);
    node->state = memory;
    memory_get_size(node, &node->info.size, err);
    node->info.request_alignment = 1;
    node->info.logical_block = node->info.physical_block = SECTOR;
    node->info.readonly = options->readonly;
    node->info.can_discard = options->discard && !options->readonly;
    node->info.can_write_zeroes = !options->readonly;
    node->info.growable = !options->readonly;
    node->info.discard_alignment = PAGE;
    node->info.volatile_cache =
        options->cache == BLOCK_CACHE_WRITEBACK || options->cache == BLOCK_CACHE_NONE;
    return 0;
}

static void memory_close(struct block_node *node)
{
    put_file(node->state);
}

static int memory_resize(struct block_node *node, uint64_t size, struct kv_error *err)
{
    struct memory *memory = node->state;
    if (size > SIZE_MAXIMUM)
        return kv_error_set(err, KV_ERR_BLOCK, EFBIG, "'%s' cannot be made %" PRIu64 " bytes",
                            node->name, size);
    pthread_rwlock_wrlock(&memory->lock);
    set_size(memory, size);
    pthread_rwlock_unlock(&memory->lock);
    return 0;
}

static int64_t memory_allocated_size(const struct block_node *node)
{
    struct memory *memory = node->state;
    pthread_rwlock_rdlock(&memory->lock);
    int64_t bytes = (int64_t)(memory->filled * PAGE);
    pthread_rwlock_unlock(&memory->lock);
    return bytes;
}

static int memory_preadv(struct block_node *node, uint64_t offset, uint64_t len,
                         const struct iovec *iov, unsigned count)
{
    struct memory *memory = node->state;
    pthread_rwlock_rdlock(&memory->lock);
    read_range(memory, offset, iov, count, len);
    pthread_rwlock_unlock(&memory->lock);
    return 0;
}

static int memory_pwritev(struct block_node *node, uint64_t offset, uint64_t len,
                          const struct iovec *iov, unsigned count, unsigned flags)
{
    struct memory *memory = node->state;
    if (flags & BLOCK_COMPRESSED)
        return -ENOTSUP;
    if (offset > SIZE_MAXIMUM || len > SIZE_MAXIMUM - offset)
        return -EFBIG;
    pthread_rwlock_wrlock(&memory->lock);
    int rc = write_range(memory, offset, iov, count, len);
    pthread_rwlock_unlock(&memory->lock);
    return rc;
}

static int memory_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len,
                               unsigned flags)
{
    struct memory *memory = node->state;
    if (offset > SIZE_MAXIMUM || len > SIZE_MAXIMUM - offset)
        return -EFBIG;
    pthread_rwlock_wrlock(&memory->lock);
    zero_range(memory, offset, len);
    memory->size = MAX(memory->size, offset + len);
    pthread_rwlock_unlock(&memory->lock);
    return 0;
}

static int memory_discard(struct block_node *node, uint64_t offset, uint64_t len)
{
    return memory_write_zeroes(node, offset, len, 0);
}

static int memory_flush(struct block_node *node)
{
    return 0;
}

/* Where the pages that follow offset begin to be (or not to be) of the other kind. */
static uint64_t status_end(const struct memory *memory, uint64_t offset, uint64_t end, bool data)
{
    uint64_t at = ALIGN_DOWN(offset, PAGE) + PAGE;
    if (data) {
        while (at < end && find_page(memory, at / PAGE))
            at += PAGE;
        return MIN(at, end);
    }
    for (size_t i = 0; i < memory->slots; i++) {
        uint64_t start = memory->pages[i].number * PAGE;
        if (memory->pages[i].bytes && start > offset)
            end = MIN(end, start);
    }
    return end;
}

static int memory_status(struct block_node *node, uint64_t offset, uint64_t len,
                         struct block_extent *out)
{
    struct memory *memory = node->state;
    pthread_rwlock_rdlock(&memory->lock);
    bool data = find_page(memory, offset / PAGE) != NULL;
    out->len = status_end(memory, offset, offset + len, data) - offset;
    pthread_rwlock_unlock(&memory->lock);
    out->flags = BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET |
                 (data ? BLOCK_STATUS_DATA : BLOCK_STATUS_ZERO);
    out->host_offset = offset;
    out->file = node;
    return 0;
}

static const char *const memory_prefixes[] = {PREFIX, NULL};

const struct block_driver block_memory_driver = {
    .name = "memory",
    .is_protocol = true,
    .prefixes = memory_prefixes,
    .open = memory_open,
    .close = memory_close,
    .get_size = memory_get_size,
    .resize = memory_resize,
    .allocated_size = memory_allocated_size,
    .preadv = memory_preadv,
    .pwritev = memory_pwritev,
    .write_zeroes = memory_write_zeroes,
    .discard = memory_discard,
    .flush = memory_flush,
    .status = memory_status,
};
