/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A column's value (RFC 7047, 5.1: <value>): a set of atoms, or a map from atoms to atoms, sorted
 * by key. One atom is a set of one.
 *
 * Errors of the database are the JSON objects that clients get: functions return NULL, or a new
 * reference to {"error": ..., "details": ...}.
 */
#ifndef KV_SWITCH_OVSDB_DATUM_H
#define KV_SWITCH_OVSDB_DATUM_H

#include <stddef.h>
#include <string.h>

#include "switch/ovsdb/schema.h"

#define UUID_TEXT 37 /* with the end */

struct uuid {
    uint8_t bytes[16];
};

union atom {
    int64_t integer;
    bool boolean;
    char *string; /* owned */
    struct uuid uuid;
};

struct datum {
    unsigned count;
    union atom *keys, *values; /* values NULL: no map */
};

json_t *ovsdb_error(const char *error, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void uuid_generate(struct uuid *uuid);
void uuid_format(const struct uuid *uuid, char text[UUID_TEXT]);
static inline bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* Names that a transaction gave to rows it inserts: {"name": "uuid"}; a name that is used first
 * gets its UUID there. NULL: names are not possible. */
struct uuid_names {
    json_t *uuids;
};

/* What a column has when nobody said: as many default atoms as it must have. */
void datum_init_default(struct datum *datum, const struct column_type *type);
void datum_init_uuid(struct datum *datum, const struct uuid *uuid);
void datum_init_integer(struct datum *datum, int64_t value);
void datum_init_boolean(struct datum *datum, bool value);
/* NULL: the empty set. */
void datum_init_string(struct datum *datum, const char *value);
void datum_clone(struct datum *datum, const struct datum *from, const struct column_type *type);
void datum_free(struct datum *datum, const struct column_type *type);
/* Bytes that it takes, about. */
size_t datum_bytes(const struct datum *datum, const struct column_type *type);

/* json: a <value>. Checks atoms; the number of them, too, unless any_count. */
json_t *datum_from_json(struct datum *datum, const struct column_type *type, const json_t *json,
                        bool any_count, struct uuid_names *names);
json_t *datum_to_json(const struct datum *datum, const struct column_type *type);
/* How many there are. */
json_t *datum_check_count(const struct datum *datum, const struct column_type *type);
/* One atom. */
json_t *atom_check(const union atom *atom, const struct base_type *base);

int datum_compare(const struct datum *a, const struct datum *b, const struct column_type *type);
/* Whether each element of a is in b, or none is. */
bool datum_includes_all(const struct datum *a, const struct datum *b,
                        const struct column_type *type);
bool datum_excludes_all(const struct datum *a, const struct datum *b,
                        const struct column_type *type);

/* The key's place, or -1. */
int datum_find(const struct datum *datum, const struct column_type *type, const union atom *key);
/* Of a map from string to string: NULL when the key is not there. */
const char *datum_map_get(const struct datum *datum, const char *key);

/* Adds the elements of more whose keys are not there. */
void datum_union(struct datum *datum, const struct datum *more, const struct column_type *type);
/* Removes the elements that less has; with keys_only: with other values, too. */
void datum_subtract(struct datum *datum, const struct datum *less, const struct column_type *type,
                    bool keys_only);
void datum_remove_at(struct datum *datum, const struct column_type *type, unsigned place);
/* After keys were changed in place: false when two are the same now. */
bool datum_sort(struct datum *datum, const struct column_type *type);

#endif
