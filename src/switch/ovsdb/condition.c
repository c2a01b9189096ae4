/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conditions; see condition.h. */
#include "switch/ovsdb/condition.h"

#include <stdlib.h>

#include "base/util.h"

enum comparison {
    ONLY_NUMBERS = 1, /* not for sets and maps, nor for anything but numbers */
    ANY_COUNT = 2,    /* the value may have fewer or more elements than the column */
};

struct condition_function {
    const char *name;
    unsigned flags;
    bool (*holds)(const struct datum *column, const struct datum *value,
                  const struct column_type *type);
};

/* How a column's number lies to the value's; an empty column has none, and is neither. */
static bool orders(const struct datum *column, const struct datum *value, bool less, bool equal)
{
    if (column->count != 1)
        return false;
    int64_t x = column->keys->integer, y = value->keys->integer;
    return x == y ? equal : (x < y) == less;
}

static bool is_less(const struct datum *column, const struct datum *value,
                    const struct column_type *type)
{
    return orders(column, value, true, false);
}

static bool is_at_most(const struct datum *column, const struct datum *value,
                       const struct column_type *type)
{
    return orders(column, value, true, true);
}

static bool is_at_least(const struct datum *column, const struct datum *value,
                        const struct column_type *type)
{
    return orders(column, value, false, true);
}

static bool is_more(const struct datum *column, const struct datum *value,
                    const struct column_type *type)
{
    return orders(column, value, false, false);
}

static bool is_equal(const struct datum *column, const struct datum *value,
                     const struct column_type *type)
{
    return datum_compare(column, value, type) == 0;
}

static bool differs(const struct datum *column, const struct datum *value,
                    const struct column_type *type)
{
    return datum_compare(column, value, type) != 0;
}

static bool includes(const struct datum *column, const struct datum *value,
                     const struct column_type *type)
{
    return datum_includes_all(value, column, type);
}

static bool excludes(const struct datum *column, const struct datum *value,
                     const struct column_type *type)
{
    return datum_excludes_all(value, column, type);
}

static const struct condition_function functions[] = {
    {"<", ONLY_NUMBERS, is_less},
    {"<=", ONLY_NUMBERS, is_at_most},
    {"==", 0, is_equal},
    {"!=", 0, differs},
    {">=", ONLY_NUMBERS, is_at_least},
    {">", ONLY_NUMBERS, is_more},
    {"includes", ANY_COUNT, includes},
    {"excludes", ANY_COUNT, excludes},
};

static json_t *parse_one(struct condition *condition, const struct table *table, const json_t *json,
                         struct uuid_names *names)
{
    if (json_is_boolean(json)) {
        *condition = (struct condition){.constant = true, .holds = json_is_true(json)};
        return NULL;
    }
    const char *name = json_string_value(json_array_get(json, 0));
    const char *function = json_string_value(json_array_get(json, 1));
    int column = name ? ovsdb_find_column(table, name) : -1;
    if (json_array_size(json) != 3 || !name || !function)
        return ovsdb_error("syntax error", "a condition is [column, function, value]");
    if (column < 0)
        return ovsdb_error("unknown column", "No column %.100s in table %s.", name, table->name);
    condition->column = (unsigned)column;
    for (unsigned i = 0; i < ARRAY_SIZE(functions); i++) {
        if (strcmp(functions[i].name, function) == 0)
            condition->function = &functions[i];
    }
    if (!condition->function)
        return ovsdb_error("unknown function", "No function named %.100s.", function);
    const struct column_type *type = &table->columns[column].type;
    unsigned flags = condition->function->flags;
    if (flags & ONLY_NUMBERS && (type->key->type != ATOM_INTEGER || type->value || type->max != 1))
        return ovsdb_error("syntax error", "Type of column %s is not one that %s compares.", name,
                           function);
    json_t *error =
        datum_from_json(&condition->value, type, json_array_get(json, 2), flags & ANY_COUNT, names);
    if (!error && flags & ONLY_NUMBERS && condition->value.count != 1)
        error = ovsdb_error("syntax error", "%s compares with one number", function);
    return error;
}

json_t *conditions_parse(struct conditions *conditions, const struct table *table,
                         const json_t *where, struct uuid_names *names)
{
    *conditions = (struct conditions){.table = table};
    if (where && !json_is_array(where))
        return ovsdb_error("syntax error", "\"where\" is a list of conditions");
    size_t count = json_array_size(where);
    conditions->list = calloc(count + 1, sizeof(*conditions->list));
    if (!conditions->list)
        abort();
    json_t *error = NULL;
    while (!error && conditions->count < count) {
        unsigned i = conditions->count++;
        error = parse_one(&conditions->list[i], table, json_array_get(where, i), names);
    }
    return error;
}

void conditions_free(struct conditions *conditions)
{
    for (unsigned i = 0; i < conditions->count; i++) {
        struct condition *condition = &conditions->list[i];
        datum_free(&condition->value, &conditions->table->columns[condition->column].type);
    }
    free(conditions->list);
    *conditions = (struct conditions){0};
}

bool conditions_match(const struct conditions *conditions, const struct datum *datums)
{
    for (unsigned i = 0; i < conditions->count; i++) {
        const struct condition *condition = &conditions->list[i];
        const struct column_type *type = &conditions->table->columns[condition->column].type;
        bool holds = condition->constant ? condition->holds
                                         : condition->function->holds(&datums[condition->column],
                                                                      &condition->value, type);
        if (!holds)
            return false;
    }
    return true;
}

bool conditions_name_row(const struct conditions *conditions, const struct database *db,
                         struct row **row)
{
    for (unsigned i = 0; i < conditions->count; i++) {
        const struct condition *condition = &conditions->list[i];
        if (condition->constant || condition->column != COLUMN_UUID ||
            condition->function->holds != is_equal)
            continue;
        *row = database_find(db, conditions->table, &condition->value.keys->uuid);
        if (*row && !conditions_match(conditions, (*row)->now))
            *row = NULL;
        return true;
    }
    return false;
}
