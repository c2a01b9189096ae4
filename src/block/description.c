/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptions of images in JSON or option syntax; see description.h. */
#include "block/description.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

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

static json_t *typed(const char *value)
{
    if (strcmp(value, "on") == 0 || strcmp(value, "off") == 0)
        return json_boolean(strcmp(value, "on") == 0);
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    return *value && !*end && errno == 0 ? json_integer(number) : json_string(value);
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
        rc = put(result, option, typed(equals + 1), err);
    }
    if (rc < 0) {
        json_decref(result);
        return rc;
    }
    *out = result;
    return 0;
}

static int take_bool(const json_t *object, const char *name, bool *to, struct kv_error *err)
{
    const json_t *value = json_object_get(object, name);
    if (!value)
        return 0;
    if (!json_is_boolean(value))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s' is true or false", name);
    *to = json_is_true(value);
    return 0;
}

static int take_discard(const json_t *description, bool *discard, struct kv_error *err)
{
    const json_t *value = json_object_get(description, "discard");
    if (!value)
        return 0;
    const char *word = json_string_value(value);
    if (json_is_boolean(value))
        word = json_is_true(value) ? "unmap" : "ignore";
    if (!word || (strcmp(word, "unmap") != 0 && strcmp(word, "ignore") != 0))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'discard' is ignore or unmap");
    *discard = strcmp(word, "unmap") == 0;
    return 0;
}

static int take_cache(const json_t *description, enum block_cache *cache, struct kv_error *err)
{
    const json_t *value = json_object_get(description, "cache");
    if (!value)
        return 0;
    bool direct = *cache == BLOCK_CACHE_NONE || *cache == BLOCK_CACHE_DIRECTSYNC;
    bool no_flush = *cache == BLOCK_CACHE_UNSAFE;
    bool through = *cache == BLOCK_CACHE_WRITETHROUGH || *cache == BLOCK_CACHE_DIRECTSYNC;
    int rc = json_is_object(value)
                 ? 0
                 : kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                "'cache' is an object with 'direct' and 'no-flush'");
    if (rc == 0)
        rc = take_bool(value, "direct", &direct, err);
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
