/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filter "record"; see filter_record.h. */
#include "block/filter_record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/util.h"
#include "block/description.h"
#include "block/drivers.h"

struct record_log {
    struct list link; /* in logs; under logs_lock */
    char *name;
    pthread_mutex_t lock; /* entries */
    struct record_entry *entries;
    size_t count, capacity;
};

static pthread_mutex_t logs_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list logs = {&logs, &logs};
static atomic_uint_fast64_t order;

static struct record_log *find_log(const char *name)
{
    list_for_each (pos, &logs) {
        struct record_log *log = list_entry(pos, struct record_log, link);
        if (strcmp(log->name, name) == 0)
            return log;
    }
    return NULL;
}

struct record_log *record_log_create(const char *name)
{
    struct record_log *log = calloc(1, sizeof(*log));
    if (!log || !(log->name = strdup(name))) {
        free(log);
        return NULL;
    }
    pthread_mutex_init(&log->lock, NULL);
    pthread_mutex_lock(&logs_lock);
    bool taken = find_log(name);
    list_init(&log->link);
    if (!taken)
        list_add_tail(&logs, &log->link);
    pthread_mutex_unlock(&logs_lock);
    if (!taken)
        return log;
    record_log_free(log);
    return NULL;
}

void record_log_free(struct record_log *log)
{
    if (!log)
        return;
    pthread_mutex_lock(&logs_lock);
    list_del(&log->link);
    pthread_mutex_unlock(&logs_lock);
    for (size_t i = 0; i < log->count; i++)
        free(log->entries[i].bytes);
    free(log->entries);
    pthread_mutex_destroy(&log->lock);
    free(log->name);
    free(log);
}

const struct record_entry *record_log_entries(const struct record_log *log, size_t *count)
{
    *count = log->count;
    return log->entries;
}

size_t record_log_count(struct record_log *log)
{
    pthread_mutex_lock(&log->lock);
    size_t count = log->count;
    pthread_mutex_unlock(&log->lock);
    return count;
}

uint64_t record_order(void)
{
    return atomic_load(&order);
}

/* Takes bytes over. Called with the lock held, so that the log has the order of the file. */
static int note(struct record_log *log, struct record_entry entry)
{
    if (log->count == log->capacity) {
        size_t capacity = MAX(log->capacity * 2, (size_t)256);
        struct record_entry *more = realloc(log->entries, capacity * sizeof(*more));
        if (!more) {
            free(entry.bytes);
            return -ENOMEM;
        }
        log->entries = more;
        log->capacity = capacity;
    }
    entry.order = atomic_fetch_add(&order, 1);
    log->entries[log->count++] = entry;
    return 0;
}

/* ------------------------------------------------------------------- driver */

static int record_open(struct block_node *node, const struct block_open_options *options,
                       struct kv_error *err)
{
    const char *name = description_text(options->description, "log");
    pthread_mutex_lock(&logs_lock);
    node->state = name ? find_log(name) : NULL;
    pthread_mutex_unlock(&logs_lock);
    if (!node->state)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': there is no log '%s'; the filter 'record' is for tests, which "
                            "make one first",
                            node->name, name ? name : "");
    node->info = node->file->info;
    return 0;
}

static void record_close(struct block_node *node)
{
}

static int record_get_size(struct block_node *node, uint64_t *size, struct kv_error *err)
{
    *size = block_size(node->file);
    return 0;
}

static int record_resize(struct block_node *node, uint64_t size, struct kv_error *err)
{
    struct record_log *log = node->state;
    pthread_mutex_lock(&log->lock);
    int rc = block_resize(node->file, size, err);
    if (rc == 0)
        rc = note(log, (struct record_entry){.kind = RECORD_RESIZE, .len = size});
    pthread_mutex_unlock(&log->lock);
    return rc;
}

static int record_preadv(struct block_node *node, uint64_t offset, uint64_t len,
                         const struct iovec *iov, unsigned count)
{
    return block_preadv(node->file, offset, len, iov, count);
}

static int record_pwritev(struct block_node *node, uint64_t offset, uint64_t len,
                          const struct iovec *iov, unsigned count, unsigned flags)
{
    struct record_log *log = node->state;
    struct record_entry entry = {
        .kind = RECORD_WRITE, .offset = offset, .len = len, .bytes = malloc(len)};
    if (!entry.bytes)
        return -ENOMEM;
    iov_to_buffer(iov, count, 0, entry.bytes, len);
    pthread_mutex_lock(&log->lock);
    int rc = block_pwritev(node->file, offset, len, iov, count, flags);
    if (rc == 0)
        rc = note(log, entry);
    else
        free(entry.bytes);
    if (rc == 0 && (flags & BLOCK_FUA))
        rc = note(log, (struct record_entry){.kind = RECORD_FLUSH});
    pthread_mutex_unlock(&log->lock);
    return rc;
}

static int record_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len,
                               unsigned flags)
{
    struct record_log *log = node->state;
    pthread_mutex_lock(&log->lock);
    int rc = block_write_zeroes(node->file, offset, len, flags);
    if (rc == 0)
        rc = note(log, (struct record_entry){.kind = RECORD_ZERO, .offset = offset, .len = len});
    pthread_mutex_unlock(&log->lock);
    return rc;
}

/* What is discarded may read as anything; as zeros is the worst for who still needs it. */
static int record_discard(struct block_node *node, uint64_t offset, uint64_t len)
{
    return record_write_zeroes(node, offset, len, BLOCK_UNMAP);
}

static int record_flush(struct block_node *node)
{
    struct record_log *log = node->state;
    pthread_mutex_lock(&log->lock);
    int rc = block_flush(node->file);
    if (rc == 0)
        rc = note(log, (struct record_entry){.kind = RECORD_FLUSH});
    pthread_mutex_unlock(&log->lock);
    return rc;
}

static int record_status(struct block_node *node, uint64_t offset, uint64_t len,
                         struct block_extent *out)
{
    return block_status(node->file, offset, len, out);
}

static const struct block_key record_keys[] = {{"log", BLOCK_KEY_TEXT}, {NULL, 0}};

const struct block_driver block_record_driver = {
    .name = "record",
    .keys = record_keys,
    .is_filter = true,
    .open = record_open,
    .close = record_close,
    .get_size = record_get_size,
    .resize = record_resize,
    .preadv = record_preadv,
    .pwritev = record_pwritev,
    .write_zeroes = record_write_zeroes,
    .discard = record_discard,
    .flush = record_flush,
    .status = record_status,
};
