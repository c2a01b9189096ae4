/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text or JSON of what a verb found. See output.h. */
#include "cli/output.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <unistd.h>

struct output {
    json_t *root;    /* object or array */
    json_t *current; /* object that fields go to; borrowed */
    json_t *item;    /* object of the list, above current */
};

bool out_coloured(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fd) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

void out_begin(struct cli *cli)
{
    if (!cli->json)
        return;
    cli->output = calloc(1, sizeof(*cli->output));
    if (!cli->output)
        abort();
    cli->output->root = cli->output->current = cli->output->item = json_object();
}

void out_end(struct cli *cli, bool print)
{
    if (!cli->output)
        return;
    if (print && !cli->printed) {
        json_dumpf(cli->output->root, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    cli->printed = false;
    json_decref(cli->output->root);
    free(cli->output);
    cli->output = NULL;
}

void out_array(struct cli *cli)
{
    if (!cli->json || json_is_array(cli->output->root))
        return;
    json_t *array = json_array();
    json_decref(cli->output->root);
    cli->output->root = array;
    cli->output->current = cli->output->item = NULL;
}

void out_item(struct cli *cli)
{
    if (!cli->json)
        return;
    out_array(cli);
    json_t *item = json_object();
    json_array_append_new(cli->output->root, item);
    cli->output->current = cli->output->item = item;
}

void out_below(struct cli *cli, const char *key)
{
    if (!cli->json)
        return;
    struct output *out = cli->output;
    out->current = out->item;
    if (!key)
        return;
    out->current = json_object_get(out->item, key);
    if (!out->current) {
        out->current = json_object();
        json_object_set_new(out->item, key, out->current);
    }
}

/* "Max memory:" becomes max_memory, "CPU(s):" cpus. */
static char *key_of(struct cli *cli, const char *label)
{
    char *key = cli_text(cli, "%s", label), *out = key;
    for (const char *p = label; *p; p++) {
        if (isalnum((unsigned char)*p))
            *out++ = (char)tolower((unsigned char)*p);
        else if (*p != '(' && *p != ')' && *p != '\'' && out > key && out[-1] != '_')
            *out++ = '_';
    }
    while (out > key && out[-1] == '_')
        out--;
    *out = '\0';
    return key;
}

/* Whole numbers stay numbers; "-" is how tables say that there is nothing. */
static json_t *value_of(const char *text)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    bool plain = *text == '0' ? !text[1] : *text == '-' ? isdigit((unsigned char)text[1]) : true;
    if (*text && !*end && !errno && plain && !isspace((unsigned char)*text) && *text != '+')
        return json_integer(number);
    if (strcmp(text, "-") == 0)
        return json_null();
    json_t *string = json_string(text);
    return string ? string : json_stringn_nocheck("", 0);
}

static void put_key(struct cli *cli, const char *label, const char *text)
{
    if (!cli->output->current)
        out_item(cli);
    json_object_set_new(cli->output->current, key_of(cli, label), value_of(text));
}

__attribute__((format(printf, 2, 0))) static char *format(struct cli *cli, const char *fmt,
                                                          va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    char *text = cli_alloc(cli, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, fmt, args);
    return text;
}

#define FORMAT(cli, fmt)                       \
    ({                                         \
        va_list args_;                         \
        va_start(args_, fmt);                  \
        char *text_ = format(cli, fmt, args_); \
        va_end(args_);                         \
        text_;                                 \
    })

void out_print(struct cli *cli, const char *fmt, ...)
{
    if (cli->json)
        return;
    va_list args;
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
}

int out_done(struct cli *cli, const char *fmt, ...)
{
    const char *text = FORMAT(cli, fmt);
    if (cli->json)
        put_key(cli, "message", text);
    else if (!cli->quiet)
        puts(text);
    return 0;
}

int out_phrase(struct cli *cli, const char *fmt, ...)
{
    const char *text = FORMAT(cli, fmt);
    if (cli->json)
        put_key(cli, "message", text);
    else if (!cli->quiet)
        fputs(text, stdout);
    return 0;
}

int out_value(struct cli *cli, const char *key, const char *fmt, ...)
{
    const char *text = FORMAT(cli, fmt);
    if (cli->json)
        put_key(cli, key, text);
    else
        puts(text);
    return 0;
}

int out_document(struct cli *cli, const char *key, const char *text)
{
    if (cli->json)
        json_object_set_new(cli->output->current, key, json_string(text));
    else
        fputs(text, stdout);
    return 0;
}

void out_field(struct cli *cli, int columns, const char *label, const char *fmt, ...)
{
    const char *text = FORMAT(cli, fmt);
    if (cli->json)
        put_key(cli, label, text);
    else
        printf("%-*s %s\n", columns, label, text);
}

void out_key(struct cli *cli, const char *key, const char *fmt, ...)
{
    if (cli->json)
        put_key(cli, key, FORMAT(cli, fmt));
}

double size_pretty(uint64_t bytes, const char **unit)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned n = 0;
    double size = (double)bytes;
    while (n + 1 < ARRAY_SIZE(units) && bytes >> (10 * (n + 1)))
        n++;
    *unit = units[n];
    return size / (double)BIT(10 * n);
}

char *param_text(struct cli *cli, const wire_param *param)
{
    const wire_param_value *value = &param->value;
    switch (value->type) {
    case KVASIR_PARAM_INT:
        return cli_text(cli, "%d", value->wire_param_value_u.i);
    case KVASIR_PARAM_UINT:
        return cli_text(cli, "%u", value->wire_param_value_u.ui);
    case KVASIR_PARAM_LLONG:
        return cli_text(cli, "%lld", (long long)value->wire_param_value_u.l);
    case KVASIR_PARAM_ULLONG:
        return cli_text(cli, "%llu", (unsigned long long)value->wire_param_value_u.ul);
    case KVASIR_PARAM_DOUBLE:
        return cli_text(cli, "%f", value->wire_param_value_u.d);
    case KVASIR_PARAM_BOOLEAN:
        return cli_text(cli, "%s", value->wire_param_value_u.b ? "yes" : "no");
    default:
        return value->wire_param_value_u.s;
    }
}

const wire_param *param_find(const wire_param *params, unsigned n, const char *field)
{
    for (unsigned i = 0; i < n; i++)
        if (strcmp(params[i].field, field) == 0)
            return &params[i];
    return NULL;
}

void out_param(struct cli *cli, int columns, const wire_param *param)
{
    const char *text = param_text(cli, param);
    if (cli->json)
        put_key(cli, param->field, text);
    else
        printf("%-*s: %s\n", columns, param->field, text);
}
