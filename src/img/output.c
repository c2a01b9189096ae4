/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What all commands print with: messages, sizes, JSON and human objects, progress. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/util.h"
#include "img/img.h"

const char *img_program = "kvasir-img";

__attribute__((format(printf, 1, 0))) static void message(const char *fmt, va_list ap)
{
    char text[1024];
    vsnprintf(text, sizeof(text), fmt, ap);
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", img_program, text);
}

int img_error(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    message(fmt, ap);
    va_end(ap);
    return IMG_FAILED;
}

int img_usage_error(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    message(fmt, ap);
    va_end(ap);
    fprintf(stderr, "Try '%s --help' for more information\n", img_program);
    return IMG_FAILED;
}

void img_warning(const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    img_error("warning: %s", text);
}

/* ------------------------------------------------------------------- sizes */

void img_size_text(char *text, size_t size, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    unsigned unit = 0;
    /* From 1000 on in the next unit: three digits always show it. */
    for (; value >= 1000 && unit + 1 < ARRAY_SIZE(units); unit++)
        value /= 1024;
    snprintf(text, size, "%0.3g %s", value, units[unit]);
}

int img_parse_size(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;
    int rc = parse_size(text, &value);
    if (rc == -ERANGE || (rc == 0 && (value < min || value > max))) {
        if (max == UINT64_MAX)
            img_error("Invalid %s specified. Must be at least %" PRIu64 ".", what, min);
        else
            img_error("Invalid %s specified. Must be between %" PRIu64 " and %" PRIu64 ".", what,
                      min, max);
        return -ERANGE;
    }
    if (rc < 0) {
        img_error("Invalid %s specified. You may use k, M, G, T, P or E suffixes for", what);
        img_error("kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.");
        return rc;
    }
    *out = value;
    return 0;
}

int img_parse_output(const struct img_args *args, bool *json)
{
    *json = args->output && strcmp(args->output, "json") == 0;
    if (!args->output || *json || strcmp(args->output, "human") == 0)
        return 0;
    img_error("--output must be used with human or json as argument.");
    return -EINVAL;
}

/* -------------------------------------------------------------------- JSON */

static void indent_by(unsigned levels)
{
    printf("%*s", (int)(4 * levels), "");
}

static void print_json(const json_t *value, unsigned level)
{
    const char *name, *separator = "";
    json_t *member;
    size_t i;
    if (json_is_object(value)) {
        putchar('{');
        json_object_foreach ((json_t *)value, name, member) {
            printf("%s\n", separator);
            indent_by(level + 1);
            printf("\"%s\": ", name);
            print_json(member, level + 1);
            separator = ",";
        }
        putchar('\n');
        indent_by(level);
        putchar('}');
    } else if (json_is_array(value)) {
        putchar('[');
        json_array_foreach (value, i, member) {
            printf("%s\n", separator);
            indent_by(level + 1);
            print_json(member, level + 1);
            separator = ",";
        }
        putchar('\n');
        indent_by(level);
        putchar(']');
    } else {
        cleanup_free char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
        fputs(text ? text : "null", stdout);
    }
}

void img_print_json(const json_t *value)
{
    print_json(value, 0);
    putchar('\n');
}

static void print_scalar(const json_t *value)
{
    if (json_is_string(value))
        printf(" %s\n", json_string_value(value));
    else if (json_is_boolean(value))
        printf(" %s\n", json_is_true(value) ? "true" : "false");
    else if (json_is_integer(value))
        printf(" %" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
    else
        printf(" %g\n", json_real_value(value));
}

/* A member under its name, '-' shown as ' '. */
static void print_member(const char *name, const json_t *value, unsigned indent)
{
    indent_by(indent);
    for (; *name; name++)
        putchar(*name == '-' ? ' ' : *name);
    putchar(':');
    if (json_is_object(value) || json_is_array(value)) {
        putchar('\n');
        img_print_human(value, indent + 1);
    } else {
        print_scalar(value);
    }
}

void img_print_human(const json_t *value, unsigned indent)
{
    const char *name;
    json_t *member;
    size_t i;
    json_object_foreach ((json_t *)value, name, member)
        print_member(name, member, indent);
    json_array_foreach (value, i, member) {
        char number[24];
        snprintf(number, sizeof(number), "[%zu]", i);
        print_member(number, member, indent);
    }
}

/* ---------------------------------------------------------------- progress */

static void show(struct img_progress *progress, double percent)
{
    progress->shown = percent;
    printf("    (%3.2f/100%%)\r", percent);
    fflush(stdout);
}

void img_progress_begin(struct img_progress *progress, const struct img_args *args)
{
    *progress = (struct img_progress){.enabled = args->progress && !args->quiet};
    if (progress->enabled)
        show(progress, 0);
}

void img_progress_update(struct img_progress *progress, uint64_t done, uint64_t total)
{
    double percent = total ? 100.0 * (double)done / (double)total : 100.0;
    if (progress->enabled &&
        (percent >= progress->shown + 1 || (done == total && percent > progress->shown)))
        show(progress, percent);
}

void img_progress_end(struct img_progress *progress)
{
    if (!progress->enabled)
        return;
    show(progress, 100);
    putchar('\n');
    fflush(stdout);
    progress->enabled = false;
}
