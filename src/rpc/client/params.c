/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Typed parameters, and UUIDs as text. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "rpc/client/internal.h"

static void copy_param(struct kvasir_param *out, const wire_param *in)
{
    *out = (struct kvasir_param){.name = in->field, .type = in->value.type};
    switch (out->type) {
    case KVASIR_PARAM_INT:
        out->value.i = in->value.wire_param_value_u.i;
        break;
    case KVASIR_PARAM_UINT:
        out->value.u = in->value.wire_param_value_u.ui;
        break;
    case KVASIR_PARAM_LLONG:
        out->value.l = in->value.wire_param_value_u.l;
        break;
    case KVASIR_PARAM_ULLONG:
        out->value.ul = in->value.wire_param_value_u.ul;
        break;
    case KVASIR_PARAM_DOUBLE:
        out->value.d = in->value.wire_param_value_u.d;
        break;
    case KVASIR_PARAM_BOOLEAN:
        out->value.i = in->value.wire_param_value_u.b;
        break;
    default:
        out->value.s = in->value.wire_param_value_u.s;
    }
}

struct kvasir_param *kvasir_params_from_wire(const wire_param *wire, unsigned n,
                                             struct kvasir_error *err)
{
    struct kvasir_param *params = calloc((size_t)n + 1, sizeof(*params));
    if (!params) {
        error_no_memory(err);
        return NULL;
    }
    for (unsigned i = 0; i < n; i++)
        copy_param(&params[i], &wire[i]);
    return params;
}

const struct kvasir_param *kvasir_param_find(const struct kvasir_param *params, size_t n,
                                             const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(params[i].name, name) == 0)
            return &params[i];
    }
    return NULL;
}

int64_t kvasir_param_number(const struct kvasir_param *params, size_t n, const char *name,
                            int64_t fallback)
{
    const struct kvasir_param *param = kvasir_param_find(params, n, name);
    switch (param ? param->type : 0) {
    case KVASIR_PARAM_INT:
    case KVASIR_PARAM_BOOLEAN:
        return param->value.i;
    case KVASIR_PARAM_UINT:
        return param->value.u;
    case KVASIR_PARAM_LLONG:
        return param->value.l;
    case KVASIR_PARAM_ULLONG:
        return param->value.ul > INT64_MAX ? INT64_MAX : (int64_t)param->value.ul;
    default:
        return fallback;
    }
}

const char *kvasir_param_text(const struct kvasir_param *params, size_t n, const char *name)
{
    const struct kvasir_param *param = kvasir_param_find(params, n, name);
    return param && param->type == KVASIR_PARAM_STRING ? param->value.s : NULL;
}

void kvasir_uuid_format(const uint8_t uuid[16], char out[KVASIR_UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = digits[uuid[i] >> 4];
        *out++ = digits[uuid[i] & 15];
    }
    *out = '\0';
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int kvasir_uuid_parse(const char *text, uint8_t uuid[16])
{
    uint8_t bytes[16];
    for (size_t i = 0; i < 16; i++) {
        while (*text == '-')
            text++;
        int high = digit(*text);
        int low = high < 0 ? -1 : digit(text[1]);
        if (low < 0)
            return -EINVAL;
        bytes[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    if (*text)
        return -EINVAL;
    memcpy(uuid, bytes, sizeof(bytes));
    return 0;
}
