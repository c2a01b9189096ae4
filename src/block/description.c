/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptions of images in JSON or option syntax; see description.h. */
#include "block/description.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/util.h"

#define DEPTH_MAX 32

static int conflict(const char *name, struct kv_error *err)
{
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                        "the description gives '%s' both a value and members", name);
}

/* object["a.b.c"] = value becomes object["a"]["b"]["c"]. Takes the reference of value. */
static int put(json_t *object, const char *name, json_t *value, struct kv_error *err)
{
    const char *at = name;
    for (int depth = 0; depth < DEPTH_MAX; depth++) {
        const char *dot = strchr(at, '.');
        if (!dot) {
            if (json_object_get(object, at)) {
                json_decref(value);
                return conflict(name, err);
            }
            return json_object_set_new(object, at, value) < 0 ? -ENOMEM : 0;
        }
        cleanup_free char *head = strndup(at, (size_t)(dot - at));
        json_t *next = head ? json_object_get(object, head) : NULL;
        if (head && !next) {
            next = json_object();
            json_object_set_new(object, head, next);
        }
        if (!json_is_object(next)) {
            json_decref(value);
            return conflict(name, err);
        }
        object = next;
        at = dot + 1;
    }
    json_decref(value);
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s': too many levels", name);
}

static int expand(json_t **out, const json_t *flat, struct kv_error *err)
{
    const char *name;
    json_t *value, *result = json_object();
    int rc = result ? 0 : -ENOMEM;
    json_object_foreach ((json_t *)flat, name, value) {
        json_t *member = NULL;
        if (rc == 0 && json_is_object(value))
            rc = expand(&member, value, err);
        else
            member = json_incref(value);
        if (rc == 0)
            rc = put(result, name, member, err);
    }
    if (rc < 0) {
        json_decref(result);
        return rc;
    }
    *out = result;
    return 0;
}

int description_parse(json_t **out, const char *text, struct kv_error *err)
{
    json_error_t where;
    json_t *flat = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(flat)) {
        json_decref(flat);
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "Could not parse the JSON options: %s",
                            flat ? "an object is expected" : where.text);
    }
    int rc = expand(out, flat, err);
    json_decref(flat);
    return rc;
}

/* The next "name=value" of text, without its comma; ",," is one comma of a value. */
static char *next_option(const char **text)
{
    char *option = malloc(strlen(*text) + 1), *to = option;
    const char *from = *text;
    if (!option)
        return NULL;
    for (; *from; from++) {
        if (*from == ',') {
            if (from[1] != ',')
                break;
            from++;
        }
        *to++ = *from;
    }
    *to = '\0';
    *text = *from ? from + 1 : from;
    return option;
}

int description_from_options(json_t **out, const char *text, struct kv_error *err)
{
    json_t *result = json_object();
    int rc = result ? 0 : -ENOMEM;
    while (rc == 0 && *text) {
        cleanup_free char *option = next_option(&text);
        char *equals = option ? strchr(option, '=') : NULL;
        if (!equals) {
            rc = kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s': expected NAME=VALUE",
                              option ? option : text);
            break;
        }
        *equals = '\0';
        rc = put(result, option, json_string(equals + 1), err);
    }
    if (rc < 0) {
        json_decref(result);
        return rc;
    }
    *out = result;
    return 0;
}

/* ---------------------------------------------------------------------- members */

const json_t *description_member(const json_t *description, const char *name)
{
    for (const char *dot; description && (dot = strchr(name, '.')); name = dot + 1)
        description = json_object_getn(description, name, (size_t)(dot - name));
    return json_object_get(description, name);
}

const char *description_text(const json_t *description, const char *name)
{
    return json_string_value(description_member(description, name));
}

static bool read_number(const json_t *value, uint64_t *out)
{
    if (json_is_string(value))
        return parse_size(json_string_value(value), out) == 0;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

bool description_number(const json_t *description, const char *name, uint64_t *out)
{
    return read_number(description_member(description, name), out);
}

static bool read_bool(const json_t *value, bool *out)
{
    if (json_is_string(value))
        return parse_bool(json_string_value(value), out) == 0;
    if (json_is_boolean(value))
        *out = json_is_true(value);
    return json_is_boolean(value);
}

bool description_bool(const json_t *description, const char *name, bool *out)
{
    return read_bool(description_member(description, name), out);
}

/* ---------------------------------------------------------------------- checking */

/* What every driver's description may say. */
static const struct block_key common_keys[] = {
    {"auto-read-only", BLOCK_KEY_BOOL},
    {"cache.direct", BLOCK_KEY_BOOL},
    {"cache.no-flush", BLOCK_KEY_BOOL},
    {"detect-zeroes", BLOCK_KEY_TEXT},
    {"discard", BLOCK_KEY_ANY},
    {"driver", BLOCK_KEY_TEXT},
    {"filename", BLOCK_KEY_TEXT},
    {"force-share", BLOCK_KEY_BOOL},
    {"node-name", BLOCK_KEY_TEXT},
    {"read-only", BLOCK_KEY_BOOL},
    {NULL, 0},
};

/* And what every format and filter may. */
static const struct block_key format_keys[] = {
    {"file", BLOCK_KEY_ANY},
    {NULL, 0},
};

/* The key that name is, or NULL; *inside: keys begin with "name.". */
static const struct block_key *find_key(const struct block_key *keys, const char *name,
                                        bool *inside)
{
    size_t len = strlen(name);
    for (; keys && keys->name; keys++) {
        if (strncmp(keys->name, name, len) != 0)
            continue;
        if (!keys->name[len])
            return keys;
        *inside |= keys->name[len] == '.';
    }
    return NULL;
}

static int check_type(const struct block_key *key, const json_t *value, struct kv_error *err)
{
    uint64_t number;
    bool boolean;
    const char *expected = NULL;
    if (key->type == BLOCK_KEY_TEXT && !json_is_string(value))
        expected = "string";
    else if (key->type == BLOCK_KEY_NUMBER && !read_number(value, &number))
        expected = "uint64";
    else if (key->type == BLOCK_KEY_BOOL && !read_bool(value, &boolean))
        expected = "boolean";
    return expected
               ? kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                              "Invalid parameter type for '%s', expected: %s", key->name, expected)
               : 0;
}

static int refuse_member(const struct block_driver *driver, const char *name, const json_t *value,
                         struct kv_error *err)
{
    /* The first of the members inside is named, as it would be in the flat form. */
    void *inside = json_object_iter((json_t *)(uintptr_t)value);
    return kv_error_set(
        err, KV_ERR_BLOCK, EINVAL,
        driver->is_protocol ? "Block protocol '%s' doesn't support the option '%s%s%s'"
                            : "Block format '%s' does not support the option '%s%s%s'",
        driver->name, name, inside ? "." : "", inside ? json_object_iter_key(inside) : "");
}

static int check_members(const json_t *object, const char *prefix,
                         const struct block_driver *driver, int depth, struct kv_error *err)
{
    const struct block_key *const tables[] = {common_keys, driver->keys,
                                              driver->is_protocol ? NULL : format_keys};
    const char *member;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)object, member, value) {
        const struct block_key *key = NULL;
        bool inside = false;
        cleanup_free char *name = NULL;
        if (asprintf(&name, "%s%s", prefix, member) < 0) {
            name = NULL;
            return -ENOMEM;
        }
        for (unsigned i = 0; !key && i < ARRAY_SIZE(tables); i++)
            key = find_key(tables[i], name, &inside);
        int rc = 0;
        if (key) {
            rc = check_type(key, value, err);
        } else if (inside && json_is_object(value) && depth < DEPTH_MAX) {
            cleanup_free char *deeper = NULL;
            if (asprintf(&deeper, "%s.", name) < 0) {
                deeper = NULL;
                return -ENOMEM;
            }
            rc = check_members(value, deeper, driver, depth + 1, err);
        } else {
            rc = refuse_member(driver, name, value, err);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

int description_check(const json_t *description, const struct block_driver *driver,
                      struct kv_error *err)
{
    return check_members(description, "", driver, 0, err);
}

/* ----------------------------------------------------------------- common members */

static int take_bool(const json_t *description, const char *name, bool *to, struct kv_error *err)
{
    return !description_member(description, name) || description_bool(description, name, to)
               ? 0
               : kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s' is true or false", name);
}

static int take_discard(const json_t *description, bool *discard, struct kv_error *err)
{
    const json_t *value = json_object_get(description, "discard");
    if (!value)
        return 0;
    const char *word = json_string_value(value);
    if (json_is_boolean(value))
        word = json_is_true(value) ? "unmap" : "ignore";
    bool unmap = word && (strcmp(word, "unmap") == 0 || strcmp(word, "on") == 0);
    if (!unmap && (!word || (strcmp(word, "ignore") != 0 && strcmp(word, "off") != 0)))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'discard' is ignore or unmap");
    *discard = unmap;
    return 0;
}

static int take_cache(const json_t *description, enum block_cache *cache, struct kv_error *err)
{
    const json_t *value = json_object_get(description, "cache");
    if (!value)
        return 0;
    bool direct = block_cache_is_direct(*cache);
    bool no_flush = *cache == BLOCK_CACHE_UNSAFE;
    bool through = *cache == BLOCK_CACHE_WRITETHROUGH || *cache == BLOCK_CACHE_DIRECTSYNC;
    int rc = json_is_object(value)
                 ? take_bool(value, "direct", &direct, err)
                 : kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                "'cache' is an object with 'direct' and 'no-flush'");
    if (rc == 0)
        rc = take_bool(value, "no-flush", &no_flush, err);
    if (rc == 0)
        *cache = no_flush  ? BLOCK_CACHE_UNSAFE
                 : direct  ? (through ? BLOCK_CACHE_DIRECTSYNC : BLOCK_CACHE_NONE)
                 : through ? BLOCK_CACHE_WRITETHROUGH
                           : BLOCK_CACHE_WRITEBACK;
    return rc;
}

static int take_aio(const json_t *description, enum block_aio *aio, struct kv_error *err)
{
    const char *word = json_string_value(json_object_get(description, "aio"));
    if (!word)
        return 0;
    if (strcmp(word, "io_uring") == 0)
        *aio = BLOCK_AIO_IO_URING;
    else if (strcmp(word, "threads") == 0)
        *aio = BLOCK_AIO_THREADS;
    else
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'aio' is io_uring or threads, not '%s'",
                            word);
    return 0;
}

int description_apply(const json_t *description, struct block_open_options *options,
                      struct kv_error *err)
{
    int rc = take_bool(description, "read-only", &options->readonly, err);
    if (rc == 0)
        rc = take_bool(description, "force-share", &options->unlocked, err);
    if (rc == 0)
        rc = take_discard(description, &options->discard, err);
    if (rc == 0)
        rc = take_cache(description, &options->cache, err);
    return rc < 0 ? rc : take_aio(description, &options->aio, err);
}
