/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options by table; see options.h. */
#include "base/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/util.h"

#define MAX_SPECS 64

static int find(const struct option_spec *specs, const char *name)
{
    for (int i = 0; specs[i].name; i++) {
        if (strcmp(specs[i].name, name) == 0)
            return i;
    }
    return -1;
}

static int refuse_unknown(const struct option_spec *specs, const char *what, const char *name,
                          struct kv_error *err)
{
    char known[320] = "";
    size_t len = 0;
    for (int i = 0; specs[i].name && len < sizeof(known); i++)
        len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s", i ? ", " : "",
                                specs[i].name);
    return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s: unknown option '%s'; known are: %s", what,
                        name, known);
}

static int refuse_value(const struct option_spec *spec, const char *what, const char *value,
                        const char *accepted, struct kv_error *err)
{
    return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s: option '%s' cannot be '%s'; accepted: %s",
                        what, spec->name, value, accepted);
}

static int set_number(const struct option_spec *spec, const char *what, uint64_t number,
                      const char *shown, void *field, struct kv_error *err)
{
    if (number < spec->min || (spec->max && number > spec->max)) {
        char accepted[96];
        if (spec->max)
            snprintf(accepted, sizeof(accepted), "%" PRIu64 " to %" PRIu64, spec->min, spec->max);
        else
            snprintf(accepted, sizeof(accepted), "%" PRIu64 " or more", spec->min);
        return refuse_value(spec, what, shown, accepted, err);
    }
    *(uint64_t *)field = number;
    return 0;
}

static int set_enum(const struct option_spec *spec, const char *what, const char *value,
                    void *field, struct kv_error *err)
{
    char accepted[200] = "";
    size_t len = 0;
    for (int i = 0; spec->values[i]; i++) {
        if (strcmp(spec->values[i], value) == 0) {
            *(int *)field = i;
            return 0;
        }
        if (len < sizeof(accepted))
            len += (size_t)snprintf(accepted + len, sizeof(accepted) - len, "%s%s", i ? ", " : "",
                                    spec->values[i]);
    }
    return refuse_value(spec, what, value, accepted, err);
}

static int set_int(const struct option_spec *spec, const char *what, const char *value, void *field,
                   struct kv_error *err)
{
    uint64_t size, max = spec->max ? spec->max : INT64_MAX;
    bool negative = *value == '-';
    char accepted[96];
    if (parse_u64(value + (negative || *value == '+'), &size) < 0 || size > max) {
        snprintf(accepted, sizeof(accepted), "-%" PRIu64 " to %" PRIu64, max, max);
        return refuse_value(spec, what, value, accepted, err);
    }
    *(int64_t *)field = negative ? -(int64_t)size : (int64_t)size;
    return 0;
}

int options_set_text(const struct option_spec *spec, const char *what, const char *value, void *out,
                     struct kv_error *err)
{
    void *field = (char *)out + spec->offset;
    uint64_t number;

    switch (spec->type) {
    case OPTION_STRING: {
        char *copy = strdup(value);
        if (!copy)
            return kv_error_set(err, KV_ERR_CONFIG, ENOMEM, "%s: out of memory", what);
        free(*(char **)field);
        *(char **)field = copy;
        return 0;
    }
    case OPTION_BOOL:
        if (parse_bool(value, field) < 0)
            return refuse_value(spec, what, value, "on, off", err);
        return 0;
    case OPTION_UINT:
        if (parse_u64(value, &number) < 0)
            return refuse_value(spec, what, value, "a number", err);
        return set_number(spec, what, number, value, field, err);
    case OPTION_INT:
        return set_int(spec, what, value, field, err);
    case OPTION_SIZE:
        if (parse_size(value, &number) < 0)
            return refuse_value(spec, what, value, "bytes, with a suffix such as K, M, G or T",
                                err);
        return set_number(spec, what, number, value, field, err);
    case OPTION_ENUM:
        return set_enum(spec, what, value, field, err);
    case OPTION_MAC:
        if (parse_mac(value, field) < 0)
            return refuse_value(spec, what, value, "six bytes such as 52:54:00:12:34:56", err);
        return 0;
    case OPTION_FD:
        if (parse_u64(value, &number) < 0 || number > INT32_MAX)
            return refuse_value(spec, what, value, "the number of an open descriptor", err);
        *(int *)field = (int)number;
        return 0;
    }
    return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s: option '%s' has no type", what,
                        spec->name);
}

int options_set_json(const struct option_spec *spec, const char *what, const json_t *value,
                     void *out, struct kv_error *err)
{
    void *field = (char *)out + spec->offset;

    if (json_is_string(value))
        return options_set_text(spec, what, json_string_value(value), out, err);
    if (json_is_boolean(value) && spec->type == OPTION_BOOL) {
        *(bool *)field = json_is_true(value);
        return 0;
    }
    char shown[24];
    if (json_is_integer(value) && spec->type == OPTION_INT) {
        snprintf(shown, sizeof(shown), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return set_int(spec, what, shown, field, err);
    }
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        uint64_t number = (uint64_t)json_integer_value(value);
        snprintf(shown, sizeof(shown), "%" PRIu64, number);
        if (spec->type == OPTION_UINT || spec->type == OPTION_SIZE)
            return set_number(spec, what, number, shown, field, err);
        if (spec->type == OPTION_FD)
            return options_set_text(spec, what, shown, out, err);
    }
    static const char *const expected[] = {
        [OPTION_STRING] = "a string",
        [OPTION_BOOL] = "true or false",
        [OPTION_UINT] = "a number",
        [OPTION_INT] = "a number",
        [OPTION_SIZE] = "bytes, as number or string",
        [OPTION_ENUM] = "a string",
        [OPTION_MAC] = "a string",
        [OPTION_FD] = "a descriptor's number",
    };
    cleanup_free char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    return refuse_value(spec, what, text ? text : "?", expected[spec->type], err);
}

static int check_required(const struct option_spec *specs, const char *what, uint64_t seen,
                          struct kv_error *err)
{
    for (int i = 0; specs[i].name; i++) {
        if (specs[i].required && !(seen & BIT(i)))
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s: option '%s' is missing (%s)", what,
                                specs[i].name, specs[i].help);
    }
    return 0;
}

static int mark_seen(const struct option_spec *specs, const char *what, int i, uint64_t *seen,
                     struct kv_error *err)
{
    if (i >= MAX_SPECS || (*seen & BIT(i)))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s: option '%s' is given twice", what,
                            specs[i].name);
    *seen |= BIT(i);
    return 0;
}

/* Cuts the next element off *text into *element (allocated), undoing ",,". */
static int next_element(const char **text, char **element)
{
    char *out = malloc(strlen(*text) + 1);
    if (!out)
        return -ENOMEM;
    size_t len = 0;
    const char *p = *text;
    for (; *p; p++) {
        if (*p == ',') {
            if (p[1] != ',')
                break;
            p++;
        }
        out[len++] = *p;
    }
    out[len] = '\0';
    *text = *p ? p + 1 : p;
    *element = out;
    return 0;
}

int options_parse_text(const struct option_spec *specs, const char *what, const char *implied,
                       const char *text, void *out, struct kv_error *err)
{
    uint64_t seen = 0;
    for (bool first = true; *text; first = false) {
        cleanup_free char *element = NULL;
        if (next_element(&text, &element) < 0)
            return kv_error_set(err, KV_ERR_CONFIG, ENOMEM, "%s: out of memory", what);
        char *value = strchr(element, '=');
        const char *name = element;
        int i;
        if (!value && first && implied) {
            name = implied;
            value = element;
        } else if (value) {
            *value++ = '\0';
        }
        i = find(specs, name);
        if (i < 0)
            return refuse_unknown(specs, what, name, err);
        if (!value && specs[i].type == OPTION_BOOL)
            value = (char *)"on";
        if (!value)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s: option '%s' needs a value", what,
                                name);
        int rc = mark_seen(specs, what, i, &seen, err);
        if (rc == 0)
            rc = options_set_text(&specs[i], what, value, out, err);
        if (rc < 0)
            return rc;
    }
    return check_required(specs, what, seen, err);
}

int options_parse_json(const struct option_spec *specs, const char *what, const json_t *object,
                       void *out, struct kv_error *err)
{
    if (!json_is_object(object))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s: expected a JSON object", what);
    uint64_t seen = 0;
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)object, name, value) {
        int i = find(specs, name);
        if (i < 0)
            return refuse_unknown(specs, what, name, err);
        int rc = mark_seen(specs, what, i, &seen, err);
        if (rc == 0)
            rc = options_set_json(&specs[i], what, value, out, err);
        if (rc < 0)
            return rc;
    }
    return check_required(specs, what, seen, err);
}

void options_free(const struct option_spec *specs, void *out)
{
    for (int i = 0; specs[i].name; i++) {
        if (specs[i].type != OPTION_STRING)
            continue;
        char **field = (char **)((char *)out + specs[i].offset);
        free(*field);
        *field = NULL;
    }
}

void options_help_one(const struct option_spec *spec, FILE *to)
{
    static const char *const shapes[] = {
        [OPTION_STRING] = "TEXT", [OPTION_BOOL] = "on|off", [OPTION_UINT] = "N",
        [OPTION_INT] = "[-]N",    [OPTION_SIZE] = "SIZE",   [OPTION_ENUM] = "",
        [OPTION_MAC] = "MAC",     [OPTION_FD] = "FD",
    };
    fprintf(to, "%s=", spec->name);
    if (spec->type == OPTION_ENUM) {
        for (int i = 0; spec->values[i]; i++)
            fprintf(to, "%s%s", i ? "|" : "", spec->values[i]);
    } else {
        fputs(shapes[spec->type], to);
    }
}

void options_help(const struct option_spec *specs, FILE *to)
{
    for (int i = 0; specs[i].name; i++) {
        fputs("      ", to);
        options_help_one(&specs[i], to);
        fprintf(to, "  %s%s\n", specs[i].help ? specs[i].help : "",
                specs[i].required ? " (required)" : "");
    }
}
