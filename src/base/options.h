/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options by table. A struct's fields are described once; the same table reads
 * "key=value,key=value" (command line) and a JSON object (configuration file,
 * control socket), writes help, and refuses unknown, doubled or malformed
 * options by name, saying what would be accepted.
 */
#ifndef KV_BASE_OPTIONS_H
#define KV_BASE_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

enum option_type {
    OPTION_STRING, /* char *, allocated; options_free() frees it */
    OPTION_BOOL,   /* bool */
    OPTION_UINT,   /* uint64_t within [min, max] (max 0: no bound) */
    OPTION_INT,    /* int64_t within [-max, max] (max 0: no bound) */
    OPTION_SIZE,   /* uint64_t bytes; text may carry a suffix; bounds as UINT */
    OPTION_ENUM,   /* int: index into values */
    OPTION_MAC,    /* uint8_t[6] */
    OPTION_FD,     /* int: an inherited descriptor's number */
};

struct option_spec {
    const char *name;
    enum option_type type;
    size_t offset;             /* of the field in the struct */
    const char *help;          /* one line */
    bool required;             /* must be given */
    uint64_t min, max;         /* UINT, INT, SIZE */
    const char *const *values; /* ENUM: names, NULL at the end */
};

/* The table ends with an entry whose name is NULL. */
#define OPTION(type_, struct_, field_, ...)                                                       \
    {                                                                                             \
        .name = #field_, .type = OPTION_##type_, .offset = offsetof(struct_, field_), __VA_ARGS__ \
    }
/* For a name that is no C identifier ("guest-cid") or differs from the field's. */
#define OPTION_NAMED(name_, type_, struct_, field_, ...)                                        \
    {                                                                                           \
        .name = name_, .type = OPTION_##type_, .offset = offsetof(struct_, field_), __VA_ARGS__ \
    }
#define OPTION_END   \
    {                \
        .name = NULL \
    }

/*
 * Both fill the fields that are given and leave the others (set defaults
 * first; strings must be NULL or allocated). what names the option in
 * messages, such as "--disk". A first element without '=' goes to the option
 * whose name is implied (may be NULL). ",," in a value stands for ",". On
 * error the struct may be partly filled; call options_free() either way.
 */
int options_parse_text(const struct option_spec *specs, const char *what, const char *implied,
                       const char *text, void *out, struct kv_error *err);
int options_parse_json(const struct option_spec *specs, const char *what, const json_t *object,
                       void *out, struct kv_error *err);

/* One option, whose name is known already. */
int options_set_text(const struct option_spec *spec, const char *what, const char *value, void *out,
                     struct kv_error *err);
int options_set_json(const struct option_spec *spec, const char *what, const json_t *value,
                     void *out, struct kv_error *err);

/* How the option is written: "name=SIZE", "name=on|off". */
void options_help_one(const struct option_spec *spec, FILE *to);

/* Frees the strings and sets them to NULL. */
void options_free(const struct option_spec *specs, void *out);

/* Appends one line an option, indented, to a stream. */
void options_help(const struct option_spec *specs, FILE *to);

#endif
