/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes typed parameters of options, and prints lists of them. */
#include "cli/params.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "cli/args.h"
#include "cli/output.h"

static wire_param *add(struct cli *cli, struct param_list *list, const char *field, int type)
{
    wire_param *more = cli_alloc(cli, (list->n + 1) * sizeof(*more));
    if (list->n)
        memcpy(more, list->list, list->n * sizeof(*more));
    list->list = more;
    wire_param *param = &more[list->n++];
    param->field = (char *)(uintptr_t)field;
    param->value.type = type;
    return param;
}

void param_list_add_int(struct cli *cli, struct param_list *list, const char *field, int value)
{
    add(cli, list, field, KVASIR_PARAM_INT)->value.wire_param_value_u.i = value;
}

void param_list_add_uint(struct cli *cli, struct param_list *list, const char *field,
                         unsigned value)
{
    add(cli, list, field, KVASIR_PARAM_UINT)->value.wire_param_value_u.ui = value;
}

void param_list_add_bool(struct cli *cli, struct param_list *list, const char *field, bool value)
{
    add(cli, list, field, KVASIR_PARAM_BOOLEAN)->value.wire_param_value_u.b = value;
}

static void add_u64(struct cli *cli, struct param_list *list, const char *field, uint64_t value)
{
    add(cli, list, field, KVASIR_PARAM_ULLONG)->value.wire_param_value_u.ul = value;
}

/* Below zero is no limit. 1: given, 0: not, negative: told. */
static int read_kib(struct cli *cli, const char *option, uint64_t *kib)
{
    const char *text = arg_raw(cli, option);
    if (!text)
        return 0;
    if (strtoll(text, NULL, 10) < 0) {
        *kib = VIR_DOMAIN_MEMORY_PARAM_UNLIMITED;
        return 1;
    }
    int r = size_from_text(text, kib, 1024, UINT64_MAX);
    if (r < 0) {
        cli_error(cli, "Unable to parse integer parameter %s", option);
        return -1;
    }
    *kib /= 1024;
    return 1;
}

static int read_one(struct cli *cli, const struct param_option *option, struct param_list *out)
{
    const char *text = NULL;
    uint64_t number = 0;
    unsigned small = 0;
    int r;
    switch (option->kind) {
    case PARAM_UINT:
        r = arg_uint(cli, option->option, &small);
        if (r > 0)
            param_list_add_uint(cli, out, option->field, small);
        break;
    case PARAM_U64:
        r = arg_u64(cli, option->option, &number);
        if (r > 0)
            add_u64(cli, out, option->field, number);
        break;
    case PARAM_KIB:
        r = read_kib(cli, option->option, &number);
        if (r > 0)
            add_u64(cli, out, option->field, number);
        break;
    case PARAM_SIZE:
        r = arg_size(cli, option->option, &number, 1, UINT64_MAX);
        if (r > 0)
            add_u64(cli, out, option->field, number);
        break;
    default:
        r = arg_text(cli, option->option, &text);
        if (r > 0)
            add(cli, out, option->field, KVASIR_PARAM_STRING)->value.wire_param_value_u.s =
                (char *)(uintptr_t)text;
        break;
    }
    return r;
}

int param_list_read(struct cli *cli, const struct param_option *options, struct param_list *out)
{
    *out = (struct param_list){.n = 0};
    for (; options->option; options++)
        if (read_one(cli, options, out) < 0)
            return -1;
    return 0;
}

int param_list_add_as(struct cli *cli, struct param_list *list, const wire_param *like,
                      const char *text)
{
    char *end;
    errno = 0;
    wire_param *param = add(cli, list, like->field, like->value.type);
    switch (like->value.type) {
    case KVASIR_PARAM_INT:
    case KVASIR_PARAM_BOOLEAN:
        param->value.wire_param_value_u.i = (int)strtol(text, &end, 10);
        break;
    case KVASIR_PARAM_UINT:
        param->value.wire_param_value_u.ui = (unsigned)strtoul(text, &end, 10);
        break;
    case KVASIR_PARAM_LLONG:
        param->value.wire_param_value_u.l = strtoll(text, &end, 10);
        break;
    case KVASIR_PARAM_ULLONG:
        param->value.wire_param_value_u.ul = strtoull(text, &end, 10);
        break;
    case KVASIR_PARAM_DOUBLE:
        param->value.wire_param_value_u.d = strtod(text, &end);
        break;
    default:
        param->value.wire_param_value_u.s = (char *)(uintptr_t)text;
        return 0;
    }
    if (errno || end == text || *end)
        return cli_fail(cli, VIR_ERR_INVALID_ARG,
                        "invalid argument: Invalid value for field '%s': '%s'", like->field, text);
    return 0;
}

void param_list_print(struct cli *cli, const wire_param *params, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        out_param(cli, 15, &params[i]);
}
