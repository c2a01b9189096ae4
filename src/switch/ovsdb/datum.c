/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Atoms, sets and maps; see datum.h. Memory for them is small, and without it the process ends. */
#include "switch/ovsdb/datum.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/parse.h"
#include "base/util.h"

#define NAME_MAX_LENGTH 255

json_t *ovsdb_error(const char *error, const char *fmt, ...)
{
    char details[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(details, sizeof(details), fmt, args);
    va_end(args);
    /* A name that was cut within a character is no UTF-8. */
    json_t *text = json_string(details);
    return json_pack("{s:s, s:o}", "error", error, "details", text ? text : json_string(""));
}

void uuid_generate(struct uuid *uuid)
{
    while (getrandom(uuid->bytes, sizeof(uuid->bytes), 0) != sizeof(uuid->bytes))
        ;
    uuid->bytes[6] = (uuid->bytes[6] & 0x0f) | 0x40; /* RFC 4122, 4.4 */
    uuid->bytes[8] = (uuid->bytes[8] & 0x3f) | 0x80;
}

void uuid_format(const struct uuid *uuid, char text[UUID_TEXT])
{
    char *to = text;
    for (unsigned i = 0; i < sizeof(uuid->bytes); i++)
        to += sprintf(to, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", uuid->bytes[i]);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        abort();
    return memory;
}

/* --- Atoms ----------------------------------------------------------------- */

static char *copy_string(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

static void atom_default(union atom *atom, const struct base_type *base)
{
    memset(atom, 0, sizeof(*atom));
    if (base->type == ATOM_STRING)
        atom->string = copy_string(base->values ? base->values[0] : "");
}

static void atom_clone(union atom *to, const union atom *from, const struct base_type *base)
{
    *to = *from;
    if (base->type == ATOM_STRING)
        to->string = copy_string(from->string);
}

static int atom_compare(const union atom *a, const union atom *b, const struct base_type *base)
{
    switch (base->type) {
    case ATOM_INTEGER:
        return (a->integer > b->integer) - (a->integer < b->integer);
    case ATOM_BOOLEAN:
        return a->boolean - b->boolean;
    case ATOM_STRING:
        return strcmp(a->string, b->string);
    case ATOM_UUID:
        return memcmp(&a->uuid, &b->uuid, sizeof(a->uuid));
    }
    return 0;
}

static json_t *atom_to_json(const union atom *atom, const struct base_type *base)
{
    char text[UUID_TEXT];
    switch (base->type) {
    case ATOM_INTEGER:
        return json_integer(atom->integer);
    case ATOM_BOOLEAN:
        return json_boolean(atom->boolean);
    case ATOM_STRING:
        return json_string(atom->string);
    case ATOM_UUID:
        uuid_format(&atom->uuid, text);
        return json_pack("[s, s]", "uuid", text);
    }
    return NULL;
}

json_t *atom_check(const union atom *atom, const struct base_type *base)
{
    if (base->type == ATOM_INTEGER && (atom->integer < base->min || atom->integer > base->max))
        return ovsdb_error("constraint violation", "%lld is not in the valid range %lld to %lld",
                           (long long)atom->integer, (long long)base->min, (long long)base->max);
    if (base->type != ATOM_STRING || !base->values)
        return NULL;
    char list[200];
    size_t len = 0;
    for (unsigned i = 0; base->values[i]; i++) {
        if (strcmp(base->values[i], atom->string) == 0)
            return NULL;
        if (len < sizeof(list))
            len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "",
                                    base->values[i]);
    }
    return ovsdb_error("constraint violation", "%.100s is not one of the allowed values (%s)",
                       atom->string, list);
}

/* An <id>: what a row may be called in a transaction. */
static bool is_id(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
    return len && len <= NAME_MAX_LENGTH && !text[len] && (text[0] < '0' || text[0] > '9');
}

static json_t *named_uuid(struct uuid *uuid, const char *name, struct uuid_names *names)
{
    char text[UUID_TEXT];
    if (!names || !is_id(name))
        return ovsdb_error("syntax error", "named-uuid \"%.100s\" is not possible here", name);
    const char *known = json_string_value(json_object_get(names->uuids, name));
    if (known) {
        parse_uuid(known, uuid->bytes);
        return NULL;
    }
    uuid_generate(uuid);
    uuid_format(uuid, text);
    json_object_set_new(names->uuids, name, json_string(text));
    return NULL;
}

static json_t *uuid_from_json(struct uuid *uuid, const json_t *json, struct uuid_names *names)
{
    const char *kind = json_string_value(json_array_get(json, 0));
    const char *text = json_string_value(json_array_get(json, 1));
    if (kind && text && json_array_size(json) == 2) {
        if (strcmp(kind, "uuid") == 0 && parse_uuid(text, uuid->bytes) == 0)
            return NULL;
        if (strcmp(kind, "named-uuid") == 0)
            return named_uuid(uuid, text, names);
    }
    return ovsdb_error("syntax error", "[\"uuid\", ...] or [\"named-uuid\", ...] was expected");
}

static json_t *atom_from_json(union atom *atom, const struct base_type *base, const json_t *json,
                              struct uuid_names *names)
{
    static const char *const names_of[] = {"an integer", "true or false", "a string", "a UUID"};
    memset(atom, 0, sizeof(*atom));
    if (base->type == ATOM_INTEGER && json_is_integer(json))
        atom->integer = json_integer_value(json);
    else if (base->type == ATOM_BOOLEAN && json_is_boolean(json))
        atom->boolean = json_is_true(json);
    else if (base->type == ATOM_STRING && json_is_string(json))
        atom->string = copy_string(json_string_value(json));
    else if (base->type == ATOM_UUID && json_is_array(json))
        return uuid_from_json(&atom->uuid, json, names);
    else
        return ovsdb_error("syntax error", "%s was expected", names_of[base->type]);
    json_t *error = atom_check(atom, base);
    if (error && base->type == ATOM_STRING)
        free(atom->string);
    return error;
}

static void free_atoms(union atom *atoms, unsigned count, bool strings)
{
    for (unsigned i = 0; strings && i < count; i++)
        free(atoms[i].string);
    free(atoms);
}

/* --- Datums ---------------------------------------------------------------- */

static void allocate_atoms(struct datum *datum, const struct column_type *type, unsigned count)
{
    datum->count = 0;
    datum->keys = allocate(count, sizeof(union atom));
    datum->values = type->value ? allocate(count, sizeof(union atom)) : NULL;
}

static void datum_init_one(struct datum *datum)
{
    datum->count = 1;
    datum->keys = allocate(1, sizeof(union atom));
    datum->values = NULL;
}

void datum_init_default(struct datum *datum, const struct column_type *type)
{
    allocate_atoms(datum, type, 1);
    if (type->min == 0)
        return;
    datum->count = 1;
    atom_default(datum->keys, type->key);
    if (type->value)
        atom_default(datum->values, type->value);
}

void datum_init_uuid(struct datum *datum, const struct uuid *uuid)
{
    datum_init_one(datum);
    datum->keys->uuid = *uuid;
}

void datum_init_integer(struct datum *datum, int64_t value)
{
    datum_init_one(datum);
    datum->keys->integer = value;
}

void datum_init_boolean(struct datum *datum, bool value)
{
    datum_init_one(datum);
    datum->keys->boolean = value;
}

void datum_init_string(struct datum *datum, const char *value)
{
    datum_init_one(datum);
    datum->count = value != NULL;
    if (value)
        datum->keys->string = copy_string(value);
}

static void append(struct datum *to, const struct datum *from, unsigned place,
                   const struct column_type *type)
{
    atom_clone(&to->keys[to->count], &from->keys[place], type->key);
    if (type->value)
        atom_clone(&to->values[to->count], &from->values[place], type->value);
    to->count++;
}

void datum_clone(struct datum *datum, const struct datum *from, const struct column_type *type)
{
    allocate_atoms(datum, type, from->count);
    for (unsigned i = 0; i < from->count; i++)
        append(datum, from, i, type);
}

void datum_free(struct datum *datum, const struct column_type *type)
{
    if (datum->keys)
        free_atoms(datum->keys, datum->count, type->key->type == ATOM_STRING);
    if (datum->values)
        free_atoms(datum->values, datum->count, type->value->type == ATOM_STRING);
    memset(datum, 0, sizeof(*datum));
}

size_t datum_bytes(const struct datum *datum, const struct column_type *type)
{
    size_t bytes = (size_t)datum->count * (type->value ? 2 : 1) * sizeof(union atom);
    for (unsigned i = 0; i < datum->count; i++) {
        if (type->key->type == ATOM_STRING)
            bytes += strlen(datum->keys[i].string) + 1;
        if (type->value && type->value->type == ATOM_STRING)
            bytes += strlen(datum->values[i].string) + 1;
    }
    return bytes;
}

/* --- JSON ------------------------------------------------------------------ */

/* ["map", [...]] or ["set", [...]]: the list; NULL: something else. */
static const json_t *list_of(const json_t *json, const char *kind)
{
    const char *found = json_string_value(json_array_get(json, 0));
    const json_t *list = json_array_get(json, 1);
    return found && strcmp(found, kind) == 0 && json_array_size(json) == 2 && json_is_array(list)
               ? list
               : NULL;
}

static json_t *append_json(struct datum *datum, const struct column_type *type, const json_t *json,
                           struct uuid_names *names)
{
    union atom key;
    const json_t *first = type->value ? json_array_get(json, 0) : json;
    if (type->value && json_array_size(json) != 2)
        return ovsdb_error("syntax error", "a pair of key and value was expected");
    json_t *error = atom_from_json(&key, type->key, first, names);
    if (error)
        return error;
    if (type->value) {
        error = atom_from_json(&datum->values[datum->count], type->value, json_array_get(json, 1),
                               names);
        if (error) {
            if (type->key->type == ATOM_STRING)
                free(key.string);
            return error;
        }
    }
    datum->keys[datum->count++] = key;
    return NULL;
}

json_t *datum_check_count(const struct datum *datum, const struct column_type *type)
{
    if (datum->count >= type->min && datum->count <= type->max)
        return NULL;
    if (type->max == OVSDB_UNLIMITED)
        return ovsdb_error("constraint violation", "%u values are there; %u or more are possible",
                           datum->count, type->min);
    return ovsdb_error("constraint violation", "%u values are there; %u to %u are possible",
                       datum->count, type->min, type->max);
}

json_t *datum_from_json(struct datum *datum, const struct column_type *type, const json_t *json,
                        bool any_count, struct uuid_names *names)
{
    const json_t *list = list_of(json, type->value ? "map" : "set");
    json_t *error = NULL;
    if (type->value && !list)
        return ovsdb_error("syntax error", "[\"map\", [...]] was expected");
    size_t count = list ? json_array_size(list) : 1;
    allocate_atoms(datum, type, (unsigned)count);
    for (size_t i = 0; !error && i < count; i++)
        error = append_json(datum, type, list ? json_array_get(list, i) : json, names);
    if (!error && !datum_sort(datum, type))
        error =
            ovsdb_error("syntax error", "a %s has an element twice", type->value ? "map" : "set");
    if (!error && !any_count)
        error = datum_check_count(datum, type);
    if (error)
        datum_free(datum, type);
    return error;
}

json_t *datum_to_json(const struct datum *datum, const struct column_type *type)
{
    if (!type->value && datum->count == 1)
        return atom_to_json(datum->keys, type->key);
    json_t *list = json_array();
    for (unsigned i = 0; i < datum->count; i++) {
        json_t *element = atom_to_json(&datum->keys[i], type->key);
        if (type->value)
            element = json_pack("[o, o]", element, atom_to_json(&datum->values[i], type->value));
        json_array_append_new(list, element);
    }
    return json_pack("[s, o]", type->value ? "map" : "set", list);
}

/* --- Comparing ------------------------------------------------------------- */

static int compare_at(const struct datum *a, unsigned i, const struct datum *b, unsigned j,
                      const struct column_type *type)
{
    int order = atom_compare(&a->keys[i], &b->keys[j], type->key);
    return order || !type->value ? order : atom_compare(&a->values[i], &b->values[j], type->value);
}

int datum_compare(const struct datum *a, const struct datum *b, const struct column_type *type)
{
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    for (unsigned i = 0; i < a->count; i++) {
        int order = compare_at(a, i, b, i, type);
        if (order)
            return order;
    }
    return 0;
}

int datum_find(const struct datum *datum, const struct column_type *type, const union atom *key)
{
    unsigned low = 0, high = datum->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        int order = atom_compare(&datum->keys[middle], key, type->key);
        if (order == 0)
            return (int)middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

const char *datum_map_get(const struct datum *datum, const char *key)
{
    for (unsigned i = 0; i < datum->count; i++) {
        if (strcmp(datum->keys[i].string, key) == 0)
            return datum->values[i].string;
    }
    return NULL;
}

/* Whether element i of a is in b. */
static bool is_in(const struct datum *a, unsigned i, const struct datum *b,
                  const struct column_type *type)
{
    int place = datum_find(b, type, &a->keys[i]);
    return place >= 0 && compare_at(a, i, b, (unsigned)place, type) == 0;
}

bool datum_includes_all(const struct datum *a, const struct datum *b,
                        const struct column_type *type)
{
    for (unsigned i = 0; i < a->count; i++) {
        if (!is_in(a, i, b, type))
            return false;
    }
    return true;
}

bool datum_excludes_all(const struct datum *a, const struct datum *b,
                        const struct column_type *type)
{
    for (unsigned i = 0; i < a->count; i++) {
        if (is_in(a, i, b, type))
            return false;
    }
    return true;
}

/* --- Changing -------------------------------------------------------------- */

struct sorting {
    const struct datum *datum;
    const struct column_type *type;
};

static int compare_places(const void *a, const void *b, void *opaque)
{
    const struct sorting *sorting = opaque;
    return atom_compare(&sorting->datum->keys[*(const unsigned *)a],
                        &sorting->datum->keys[*(const unsigned *)b], sorting->type->key);
}

bool datum_sort(struct datum *datum, const struct column_type *type)
{
    struct sorting sorting = {datum, type};
    struct datum sorted;
    unsigned *places = allocate(datum->count, sizeof(*places));
    bool unique = true;
    for (unsigned i = 0; i < datum->count; i++)
        places[i] = i;
    qsort_r(places, datum->count, sizeof(*places), compare_places, &sorting);
    allocate_atoms(&sorted, type, datum->count);
    for (unsigned i = 0; i < datum->count; i++) {
        sorted.keys[i] = datum->keys[places[i]];
        if (type->value)
            sorted.values[i] = datum->values[places[i]];
        if (i && atom_compare(&sorted.keys[i - 1], &sorted.keys[i], type->key) == 0)
            unique = false;
    }
    sorted.count = datum->count;
    free(places);
    free(datum->keys);
    free(datum->values);
    *datum = sorted;
    return unique;
}

void datum_union(struct datum *datum, const struct datum *more, const struct column_type *type)
{
    struct datum all;
    unsigned i = 0, j = 0;
    allocate_atoms(&all, type, datum->count + more->count);
    while (i < datum->count || j < more->count) {
        int order = i == datum->count  ? 1
                    : j == more->count ? -1
                                       : atom_compare(&datum->keys[i], &more->keys[j], type->key);
        if (order <= 0)
            append(&all, datum, i++, type);
        else
            append(&all, more, j, type);
        j += order >= 0;
    }
    datum_free(datum, type);
    *datum = all;
}

void datum_subtract(struct datum *datum, const struct datum *less, const struct column_type *type,
                    bool keys_only)
{
    struct datum rest;
    allocate_atoms(&rest, type, datum->count);
    for (unsigned i = 0; i < datum->count; i++) {
        bool goes =
            keys_only ? datum_find(less, type, &datum->keys[i]) >= 0 : is_in(datum, i, less, type);
        if (!goes)
            append(&rest, datum, i, type);
    }
    datum_free(datum, type);
    *datum = rest;
}

void datum_remove_at(struct datum *datum, const struct column_type *type, unsigned place)
{
    if (type->key->type == ATOM_STRING)
        free(datum->keys[place].string);
    if (type->value && type->value->type == ATOM_STRING)
        free(datum->values[place].string);
    datum->count--;
    for (unsigned i = place; i < datum->count; i++) {
        datum->keys[i] = datum->keys[i + 1];
        if (type->value)
            datum->values[i] = datum->values[i + 1];
    }
}
