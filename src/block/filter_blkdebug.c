/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter "blkdebug": makes requests fail, for tests of what is above it.
 *
 *   {"driver": "blkdebug", "image": {...}, "inject-error": [
 *     {"event": "none", "iotype": "write", "errno": 28, "sector": 8, "once": true, "skip": 2}]}
 *
 * Members are QEMU's. iotype (one or an array): read, write, write-zeroes,
 * discard, flush, block-status; sector (512 bytes): only requests that touch
 * it; errno: 5; once: the rule ends with its first failure. The events that
 * stand for a kind of request are known; those of formats' insides are not.
 * skip is ours: so many matching requests go through first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "block/drivers.h"
#include "block/filter.h"

#define RULES_MAX 64u

enum {
    IO_READ = 1,
    IO_WRITE = 2,
    IO_WRITE_ZEROES = 4,
    IO_DISCARD = 8,
    IO_FLUSH = 16,
    IO_BLOCK_STATUS = 32,
    IO_DEFAULT = IO_READ | IO_WRITE | IO_WRITE_ZEROES | IO_DISCARD | IO_FLUSH,
};

static const struct {
    const char *name;
    unsigned types;
} io_types[] = {
    {"read", IO_READ},       {"write", IO_WRITE}, {"write-zeroes", IO_WRITE_ZEROES},
    {"discard", IO_DISCARD}, {"flush", IO_FLUSH}, {"block-status", IO_BLOCK_STATUS},
};

static const struct {
    const char *name;
    unsigned types;
} events[] = {
    {"none", ~0u},
    {"read_aio", IO_READ},
    {"write_aio", IO_WRITE},
    {"pwritev", IO_WRITE},
    {"pwritev_zero", IO_WRITE_ZEROES},
    {"flush_to_os", IO_FLUSH},
    {"flush_to_disk", IO_FLUSH},
};

struct rule {
    unsigned types;
    int64_t sector; /* -1: any */
    int error;      /* positive errno */
    bool once;
    uint64_t skip; /* matching requests that still go through */
    bool over;
};

struct blkdebug {
    pthread_mutex_t lock; /* rules */
    struct rule *rules;
    size_t count;
};

/* ---------------------------------------------------------------- description */

static int bad_rule(const struct block_node *node, struct kv_error *err, const char *member,
                    const char *accepted)
{
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s': inject-error: '%s' must be %s",
                        node->name, member, accepted);
}

static unsigned io_type(const json_t *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(io_types); i++) {
        if (json_is_string(name) && strcmp(json_string_value(name), io_types[i].name) == 0)
            return io_types[i].types;
    }
    return 0;
}

static int parse_types(const struct block_node *node, const json_t *object, struct rule *rule,
                       struct kv_error *err)
{
    const json_t *types = json_object_get(object, "iotype"),
                 *event = json_object_get(object, "event");
    static const char accepted[] =
        "read, write, write-zeroes, discard, flush, block-status, or an array of these";
    rule->types = types ? io_type(types) : IO_DEFAULT;
    for (size_t i = 0; i < json_array_size(types); i++) {
        unsigned type = io_type(json_array_get(types, i));
        if (!type)
            return bad_rule(node, err, "iotype", accepted);
        rule->types |= type;
    }
    if (!rule->types)
        return bad_rule(node, err, "iotype", accepted);
    for (unsigned i = 0; event && i < ARRAY_SIZE(events); i++) {
        if (json_is_string(event) && strcmp(json_string_value(event), events[i].name) == 0) {
            rule->types &= events[i].types;
            return 0;
        }
    }
    if (event)
        return bad_rule(node, err, "event",
                        "none, read_aio, write_aio, pwritev, pwritev_zero, flush_to_os or "
                        "flush_to_disk");
    return 0;
}

static int parse_rule(const struct block_node *node, const json_t *object, struct rule *rule,
                      struct kv_error *err)
{
    static const char *const known[] = {"event", "iotype", "errno",      "sector",
                                        "once",  "skip",   "immediately"};
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return bad_rule(node, err, "inject-error", "an array of objects");
    json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
        unsigned i = 0;
        while (i < ARRAY_SIZE(known) && strcmp(known[i], key) != 0)
            i++;
        if (i == ARRAY_SIZE(known))
            return bad_rule(node, err, key,
                            "left out; event, iotype, errno, sector, once, skip and immediately "
                            "are known");
    }
    const json_t *number = json_object_get(object, "errno");
    const json_t *sector = json_object_get(object, "sector"),
                 *skip = json_object_get(object, "skip");
    rule->error = number ? (int)json_integer_value(number) : EIO;
    rule->sector = sector ? json_integer_value(sector) : -1;
    rule->skip = skip ? (uint64_t)json_integer_value(skip) : 0;
    rule->once = json_is_true(json_object_get(object, "once"));
    if (rule->error < 1 || rule->error > 4095)
        return bad_rule(node, err, "errno", "a number from 1 to 4095");
    if ((sector && !json_is_integer(sector)) || rule->sector < -1 || rule->sector > INT64_MAX / 512)
        return bad_rule(node, err, "sector", "the number of a sector of 512 bytes, or -1 for any");
    if ((skip && !json_is_integer(skip)) || rule->skip > INT64_MAX)
        return bad_rule(node, err, "skip", "a number of requests");
    return parse_types(node, object, rule, err);
}

static void blkdebug_close(struct block_node *node)
{
    struct blkdebug *debug = node->state;
    pthread_mutex_destroy(&debug->lock);
    free(debug->rules);
    free(debug);
}

static int blkdebug_open(struct block_node *node, const struct block_open_options *options,
                         struct kv_error *err)
{
    const json_t *rules = json_object_get(options->description, "inject-error");
    if (rules && (!json_is_array(rules) || json_array_size(rules) > RULES_MAX))
        return bad_rule(node, err, "inject-error", "an array of at most 64 objects");
    struct blkdebug *debug = calloc(1, sizeof(*debug));
    struct rule *table = calloc(json_array_size(rules) + 1, sizeof(*table));
    if (!debug || !table) {
        free(debug);
        free(table);
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    }
    pthread_mutex_init(&debug->lock, NULL);
    debug->rules = table;
    node->state = debug;
    node->info = node->file->info;
    for (size_t i = 0; i < json_array_size(rules); i++) {
        int rc = parse_rule(node, json_array_get(rules, i), &table[i], err);
        if (rc < 0) {
            blkdebug_close(node);
            return rc;
        }
        debug->count++;
    }
    return 0;
}

/* ------------------------------------------------------------------- requests */

/* -errno when a rule wants that. len 0: the request has no place. */
static int inject(struct block_node *node, unsigned type, uint64_t offset, uint64_t len)
{
    struct blkdebug *debug = node->state;
    int error = 0;
    pthread_mutex_lock(&debug->lock);
    for (size_t i = 0; i < debug->count && !error; i++) {
        struct rule *rule = &debug->rules[i];
        bool here =
            rule->sector < 0 || ranges_overlap(offset, len, (uint64_t)rule->sector * 512, 512);
        if (rule->over || !(rule->types & type) || !here)
            continue;
        if (rule->skip) {
            rule->skip--;
            continue;
        }
        error = rule->error;
        rule->over = rule->once;
    }
    pthread_mutex_unlock(&debug->lock);
    return -error;
}

static int blkdebug_preadv(struct block_node *node, uint64_t offset, uint64_t len,
                           const struct iovec *iov, unsigned count)
{
    int rc = inject(node, IO_READ, offset, len);
    return rc < 0 ? rc : block_preadv(node->file, offset, len, iov, count);
}

static int blkdebug_pwritev(struct block_node *node, uint64_t offset, uint64_t len,
                            const struct iovec *iov, unsigned count, unsigned flags)
{
    int rc = inject(node, IO_WRITE, offset, len);
    return rc < 0 ? rc : block_pwritev(node->file, offset, len, iov, count, flags);
}

static int blkdebug_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len,
                                 unsigned flags)
{
    int rc = inject(node, IO_WRITE_ZEROES, offset, len);
    return rc < 0 ? rc : block_write_zeroes(node->file, offset, len, flags);
}

static int blkdebug_discard(struct block_node *node, uint64_t offset, uint64_t len)
{
    int rc = inject(node, IO_DISCARD, offset, len);
    return rc < 0 ? rc : block_discard(node->file, offset, len);
}

static int blkdebug_flush(struct block_node *node)
{
    int rc = inject(node, IO_FLUSH, 0, 0);
    return rc < 0 ? rc : block_flush(node->file);
}

static int blkdebug_status(struct block_node *node, uint64_t offset, uint64_t len,
                           struct block_extent *out)
{
    int rc = inject(node, IO_BLOCK_STATUS, offset, len);
    return rc < 0 ? rc : block_status(node->file, offset, len, out);
}

static const struct block_key blkdebug_keys[] = {
    {"image", BLOCK_KEY_ANY},
    {"inject-error", BLOCK_KEY_ANY},
    {NULL, 0},
};

const struct block_driver block_blkdebug_driver = {
    .name = "blkdebug",
    .keys = blkdebug_keys,
    .is_filter = true,
    .open = blkdebug_open,
    .close = blkdebug_close,
    .get_size = filter_get_size,
    .resize = filter_resize,
    .preadv = blkdebug_preadv,
    .pwritev = blkdebug_pwritev,
    .write_zeroes = blkdebug_write_zeroes,
    .discard = blkdebug_discard,
    .flush = blkdebug_flush,
    .flush_is_deep = true,
    .status = blkdebug_status,
};
