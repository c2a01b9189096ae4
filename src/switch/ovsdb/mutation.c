/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mutations: arithmetic on numbers, elements into and out of sets and maps; see condition.h. */
#include "switch/ovsdb/condition.h"

#include "base/util.h"

/* --- Arithmetic ------------------------------------------------------------ */

/* False: the result is no 64-bit number. */
static bool add(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static bool subtract(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_sub_overflow(a, b, out);
}

static bool multiply(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static bool divide(int64_t a, int64_t b, int64_t *out)
{
    if (a == INT64_MIN && b == -1)
        return false;
    *out = a / b;
    return true;
}

static bool modulo(int64_t a, int64_t b, int64_t *out)
{
    *out = b == -1 ? 0 : a % b;
    return true;
}

static const struct arithmetic {
    const char *name;
    bool (*calculate)(int64_t a, int64_t b, int64_t *out);
    bool divides;
} arithmetics[] = {
    {"+=", add}, {"-=", subtract}, {"*=", multiply}, {"/=", divide, true}, {"%=", modulo, true},
};

static json_t *calculate(struct datum *datum, const struct column_type *type,
                         const struct arithmetic *arithmetic, const json_t *json)
{
    int64_t by = json_integer_value(json);
    if (type->key->type != ATOM_INTEGER || type->value || !json_is_integer(json))
        return ovsdb_error("syntax error", "%s is for numbers", arithmetic->name);
    if (arithmetic->divides && by == 0)
        return ovsdb_error("domain error", "Division by zero.");
    for (unsigned i = 0; i < datum->count; i++) {
        if (!arithmetic->calculate(datum->keys[i].integer, by, &datum->keys[i].integer))
            return ovsdb_error("range error", "Result of \"%s\" operation is out of range.",
                               arithmetic->name);
        json_t *error = atom_check(&datum->keys[i], type->key);
        if (error)
            return error;
    }
    return datum_sort(datum, type) ? NULL
                                   : ovsdb_error("constraint violation",
                                                 "Result of \"%s\" operation contains "
                                                 "duplicates.",
                                                 arithmetic->name);
}

/* --- Elements -------------------------------------------------------------- */

static json_t *add_elements(struct datum *datum, const struct column_type *type, const json_t *json,
                            struct uuid_names *names)
{
    struct datum more;
    json_t *error = datum_from_json(&more, type, json, true, names);
    if (error)
        return error;
    datum_union(datum, &more, type);
    datum_free(&more, type);
    return NULL;
}

/* What goes from a map may be said by its keys only. */
static json_t *remove_elements(struct datum *datum, const struct column_type *type,
                               const json_t *json, struct uuid_names *names)
{
    const char *kind = json_string_value(json_array_get(json, 0));
    bool keys_only = type->value && !(kind && strcmp(kind, "map") == 0);
    struct column_type given = *type;
    struct datum less;
    if (keys_only)
        given.value = NULL;
    json_t *error = datum_from_json(&less, &given, json, true, names);
    if (error)
        return error;
    datum_subtract(datum, &less, type, keys_only);
    datum_free(&less, &given);
    return NULL;
}

static json_t *change(struct datum *datum, const struct column_type *type, const char *mutator,
                      const json_t *json, struct uuid_names *names)
{
    for (unsigned i = 0; i < ARRAY_SIZE(arithmetics); i++) {
        if (strcmp(arithmetics[i].name, mutator) == 0)
            return calculate(datum, type, &arithmetics[i], json);
    }
    bool is_insert = strcmp(mutator, "insert") == 0;
    if (!is_insert && strcmp(mutator, "delete") != 0)
        return ovsdb_error("unknown mutator", "No mutator named %.100s.", mutator);
    if (!type->value && type->min == 1 && type->max == 1)
        return ovsdb_error("syntax error", "%s is for sets and maps", mutator);
    return is_insert ? add_elements(datum, type, json, names)
                     : remove_elements(datum, type, json, names);
}

json_t *mutation_apply(struct database *db, struct row *row, const json_t *mutation,
                       struct uuid_names *names)
{
    const char *name = json_string_value(json_array_get(mutation, 0));
    const char *mutator = json_string_value(json_array_get(mutation, 1));
    int column = name ? ovsdb_find_column(row->table, name) : -1;
    if (json_array_size(mutation) != 3 || !name || !mutator)
        return ovsdb_error("syntax error", "a mutation is [column, mutator, value]");
    if (column < 0)
        return ovsdb_error("unknown column", "No column %.100s in table %s.", name,
                           row->table->name);
    if (row->table->columns[column].immutable)
        return ovsdb_error("constraint violation", "Cannot mutate immutable column %s in table %s.",
                           name, row->table->name);
    const struct column_type *type = &row->table->columns[column].type;
    struct datum *datum = database_change(db, row, (unsigned)column);
    json_t *error = change(datum, type, mutator, json_array_get(mutation, 2), names);
    return error ? error : datum_check_count(datum, type);
}
