/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looks up and converts what was given to the verb that runs. */
#include "cli/args.h"

#include <ctype.h>
#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "cli/line.h"

static const struct cli_option *find(const struct cli *cli, const char *name)
{
    const struct cli_command *command = cli->command;
    for (unsigned i = 0; i < command->n; i++)
        if (strcmp(command->spec.options[command->options[i].index].name, name) == 0)
            return &command->options[i];
    return NULL;
}

bool arg_on(const struct cli *cli, const char *name)
{
    return find(cli, name);
}

const char *arg_raw(const struct cli *cli, const char *name)
{
    const struct cli_option *option = find(cli, name);
    return option ? option->value : NULL;
}

const char *arg_rest(const struct cli *cli, const char *name, unsigned n)
{
    const struct cli_command *command = cli->command;
    for (unsigned i = 0; i < command->n; i++)
        if (strcmp(command->spec.options[command->options[i].index].name, name) == 0 && n-- == 0)
            return command->options[i].value;
    return NULL;
}

int arg_text_or_empty(struct cli *cli, const char *name, const char **out)
{
    const char *value = arg_raw(cli, name);
    if (value)
        *out = value;
    return value ? 1 : 0;
}

int arg_text(struct cli *cli, const char *name, const char **out)
{
    int r = arg_text_or_empty(cli, name, out);
    if (r > 0 && !**out)
        return cli_error(cli, "Failed to get option '%s': Option argument is empty", name);
    return r;
}

static int bad_number(struct cli *cli, const char *name, const char *value)
{
    return cli_error(cli, "Numeric value '%s' for <%s> option is malformed or out of range", value,
                     name);
}

int arg_i64(struct cli *cli, const char *name, int64_t *out)
{
    const char *value = arg_raw(cli, name);
    if (!value)
        return 0;
    char *end;
    errno = 0;
    int64_t number = strtoll(value, &end, 10);
    if (errno || end == value || *end)
        return bad_number(cli, name, value);
    *out = number;
    return 1;
}

int arg_int(struct cli *cli, const char *name, int *out)
{
    int64_t number;
    int r = arg_i64(cli, name, &number);
    if (r > 0 && number != (int)number)
        return bad_number(cli, name, arg_raw(cli, name));
    if (r > 0)
        *out = (int)number;
    return r;
}

int arg_timeout(struct cli *cli, int *seconds)
{
    int r = arg_int(cli, "timeout", seconds);
    if (r > 0 && (*seconds < 1 || *seconds > INT32_MAX / 1000))
        return bad_number(cli, "timeout", arg_raw(cli, "timeout"));
    return r;
}

static int read_u64(struct cli *cli, const char *name, bool wraps, uint64_t *out)
{
    const char *value = arg_raw(cli, name);
    if (!value)
        return 0;
    char *end;
    errno = 0;
    uint64_t number = strtoull(value, &end, 10);
    if (errno || end == value || *end || (!wraps && strchr(value, '-')))
        return bad_number(cli, name, value);
    *out = number;
    return 1;
}

int arg_u64(struct cli *cli, const char *name, uint64_t *out)
{
    return read_u64(cli, name, false, out);
}

int arg_u64_wrapped(struct cli *cli, const char *name, uint64_t *out)
{
    return read_u64(cli, name, true, out);
}

int arg_uint(struct cli *cli, const char *name, unsigned *out)
{
    uint64_t number;
    int r = arg_u64(cli, name, &number);
    if (r > 0 && number != (unsigned)number)
        return bad_number(cli, name, arg_raw(cli, name));
    if (r > 0)
        *out = (unsigned)number;
    return r;
}

/* libvirt's suffixes: "b", "byte(s)", "k" and "KiB" are 1024, "KB" is 1000, and so on. */
static int suffix_scale(const char *suffix, uint64_t *scale)
{
    static const char letters[] = "kmgtpe";
    if (strcasecmp(suffix, "b") == 0 || strcasecmp(suffix, "byte") == 0 ||
        strcasecmp(suffix, "bytes") == 0) {
        *scale = 1;
        return 0;
    }
    const char *letter = *suffix ? strchr(letters, tolower((unsigned char)*suffix)) : NULL;
    uint64_t base = 0;
    if (letter && (!suffix[1] || strcasecmp(suffix + 1, "iB") == 0))
        base = 1024;
    else if (letter && strcasecmp(suffix + 1, "B") == 0)
        base = 1000;
    if (!base)
        return -EINVAL;
    for (*scale = base; letter > letters; letter--)
        *scale *= base;
    return 0;
}

/* -EINVAL: no number; -ENOENT: unknown suffix; -ERANGE. */
int size_from_text(const char *text, uint64_t *out, uint64_t scale, uint64_t max)
{
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    if (errno || end == text || *text == '-')
        return -EINVAL;
    end += strspn(end, " \t");
    if (*end && suffix_scale(end, &scale) < 0)
        return -ENOENT;
    if (__builtin_mul_overflow(number, scale, &number) || number > max)
        return -ERANGE;
    *out = number;
    return 0;
}

int size_refuse(struct cli *cli, const char *value, int r)
{
    if (r == -ENOENT)
        return cli_fail(cli, VIR_ERR_INVALID_ARG, "invalid argument: unknown suffix '%s'",
                        value + strspn(value, "0123456789 \t+"));
    if (r == -ERANGE)
        return cli_fail(cli, VIR_ERR_OVERFLOW, "numerical overflow: value too large: %s", value);
    return -1;
}

int arg_size(struct cli *cli, const char *name, uint64_t *out, uint64_t scale, uint64_t max)
{
    const char *value = arg_raw(cli, name);
    if (!value)
        return 0;
    int r = size_from_text(value, out, scale, max);
    if (r == 0)
        return 1;
    cli_error(cli, "Scaled numeric value '%s' for <%s> option is malformed or out of range", value,
              name);
    return size_refuse(cli, value, r);
}

int arg_exclusive(struct cli *cli, const char *a, const char *b)
{
    if (!arg_on(cli, a) || !arg_on(cli, b))
        return 0;
    return cli_error(cli, "Options --%s and --%s are mutually exclusive", a, b);
}

int arg_requires(struct cli *cli, const char *option, const char *needed)
{
    if (!arg_on(cli, option) || arg_on(cli, needed))
        return 0;
    return cli_error(cli, "Option --%s is required by option --%s", needed, option);
}

int arg_affect(struct cli *cli, unsigned *flags)
{
    if (arg_exclusive(cli, "current", "live") < 0 || arg_exclusive(cli, "current", "config") < 0)
        return -1;
    if (arg_on(cli, "live"))
        *flags |= VIR_DOMAIN_AFFECT_LIVE;
    if (arg_on(cli, "config"))
        *flags |= VIR_DOMAIN_AFFECT_CONFIG;
    return 0;
}

unsigned arg_flags(const struct cli *cli, const struct arg_flag *flags)
{
    unsigned bits = 0;
    for (; flags->name; flags++)
        if (arg_on(cli, flags->name))
            bits |= flags->bit;
    return bits;
}
