/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values out of a domain's document, with libvirt's words when they are wrong; see read.h. */
#include "model/read.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/util.h"
#include "model/size.h"

#define CPUSET_MAX 4096

int read_no_memory(struct read *r)
{
    return api_error(r->err, VIR_ERR_NO_MEMORY, NULL);
}

#define DETAIL(detail, fmt)                         \
    char detail[sizeof(r->err->message)];           \
    do {                                            \
        va_list ap;                                 \
        va_start(ap, fmt);                          \
        vsnprintf(detail, sizeof(detail), fmt, ap); \
        va_end(ap);                                 \
    } while (0)

int read_xml_error(struct read *r, const char *fmt, ...)
{
    DETAIL(detail, fmt);
    return api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_XML_ERROR, "%s", detail);
}

int read_unsupported(struct read *r, const char *fmt, ...)
{
    DETAIL(detail, fmt);
    return api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_CONFIG_UNSUPPORTED, "%s", detail);
}

int read_refuse(struct read *r, const xmlNode *node, const char *attribute, const char *fmt, ...)
{
    DETAIL(detail, fmt);
    char path[200];
    xml_path(path, sizeof(path), node);
    const char *at = attribute ? "/@" : "", *name = attribute ? attribute : "";
    if (!(r->flags & MODEL_PARSE_STORED))
        return api_error(r->err, VIR_ERR_CONFIG_UNSUPPORTED, "%s%s%s: %s", path, at, name, detail);
    if (!r->d->refusal)
        r->d->refusal = arena_printf(r->d->arena, "%s%s%s: %s", path, at, name, detail);
    return r->d->refusal ? 0 : read_no_memory(r);
}

int read_left_out(struct read *r, const xmlNode *node, const char *why)
{
    struct model_domain *d = r->d;
    if (d->left_out_count == r->left_out_capacity) {
        unsigned capacity = MAX(8u, r->left_out_capacity * 2);
        const char **list = arena_alloc(d->arena, capacity * sizeof(*list));
        if (!list)
            return read_no_memory(r);
        if (d->left_out_count)
            memcpy(list, d->left_out, d->left_out_count * sizeof(*list));
        d->left_out = list;
        r->left_out_capacity = capacity;
    }
    char path[200];
    xml_path(path, sizeof(path), node);
    const char *line = arena_printf(d->arena, "%s: %s", path, why);
    if (!line)
        return read_no_memory(r);
    ((const char **)d->left_out)[d->left_out_count++] = line;
    return 0;
}

/* --------------------------------------------------------------- attributes */

static int invalid_value(struct read *r, const xmlNode *node, const char *name, const char *value,
                         const char *expected)
{
    return api_error_from(r->err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                          "Invalid value for attribute '%s' in element '%s': '%s'.%s", name,
                          xml_name(node), value, expected);
}

bool read_is_one_of(const char *text, const char *const *values)
{
    for (; *values; values++) {
        if (strcmp(*values, text) == 0)
            return true;
    }
    return false;
}

int read_choice(struct read *r, const xmlNode *node, const char *name, const char *const *values,
                const char **out)
{
    const char *value = node ? xml_attr(node, name) : NULL;
    if (!value)
        return 0;
    if (!read_is_one_of(value, values))
        return invalid_value(r, node, name, value, "");
    *out = value;
    return 0;
}

int read_u64(struct read *r, const xmlNode *node, const char *name, uint64_t *out)
{
    const char *value = node ? xml_attr(node, name) : NULL;
    if (!value || xml_number(value, UINT64_MAX, out))
        return 0;
    return invalid_value(r, node, name, value, " Expected non-negative integer value");
}

int read_uint(struct read *r, const xmlNode *node, const char *name, unsigned *out)
{
    const char *value = node ? xml_attr(node, name) : NULL;
    uint64_t number;
    if (!value)
        return 0;
    if (!xml_number(value, UINT32_MAX, &number))
        return invalid_value(r, node, name, value, " Expected non-negative integer value");
    *out = (unsigned)number;
    return 0;
}

int read_positive(struct read *r, const xmlNode *node, const char *name, unsigned *out)
{
    unsigned number = 1;
    int ret = read_uint(r, node, name, &number);
    if (ret < 0)
        return ret;
    if (number == 0)
        return api_error_from(r->err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                              "Invalid value for attribute '%s' in element '%s': Zero is not "
                              "permitted",
                              name, xml_name(node));
    if (node && xml_attr(node, name))
        *out = number;
    return 0;
}

int read_switch(struct read *r, const xmlNode *node, const char *name, enum model_switch *out)
{
    static const char *const values[] = {"on", "off", NULL};
    const char *value = NULL;
    int ret = read_choice(r, node, name, values, &value);
    if (ret == 0 && value)
        *out = value[1] == 'n' ? MODEL_SWITCH_ON : MODEL_SWITCH_OFF;
    return ret;
}

int read_yes_no(struct read *r, const xmlNode *node, const char *name, bool *out)
{
    static const char *const values[] = {"yes", "no", NULL};
    const char *value = NULL;
    int ret = read_choice(r, node, name, values, &value);
    if (ret == 0 && value)
        *out = value[0] == 'y';
    return ret;
}

int read_reconnect(struct read *r, const xmlNode *source, unsigned *seconds)
{
    const xmlNode *reconnect = source ? xml_child(source, "reconnect") : NULL;
    bool enabled = false;
    if (!reconnect)
        return 0;
    *seconds = 0;
    int ret = read_yes_no(r, reconnect, "enabled", &enabled);
    return ret == 0 && enabled ? read_uint(r, reconnect, "timeout", seconds) : ret;
}

int read_child_number(struct read *r, const xmlNode *node, const char *child, uint64_t max,
                      const char *what, uint64_t *out)
{
    const char *text = node ? xml_child_text(node, child) : NULL;
    if (!text || xml_number(text, max, out))
        return 0;
    return read_xml_error(r, "%s", what);
}

/* -------------------------------------------------------------------- sizes */

int read_scale(struct read *r, const char *unit, uint64_t value, uint64_t *bytes)
{
    return size_scale(unit, value, bytes, r->err);
}

int read_size_kib(struct read *r, xmlNode *node, uint64_t *kib)
{
    uint64_t value, bytes;
    const char *unit = xml_attr(node, "unit");
    if (!xml_number(xml_text(node), UINT64_MAX, &value))
        return api_error_from(r->err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                              "Invalid value '%s' for element or attribute './%s[1]'",
                              xml_text(node), xml_name(node));
    int ret = read_scale(r, unit ? unit : "KiB", value, &bytes);
    if (ret < 0)
        return ret;
    *kib = ALIGN_UP(bytes, UINT64_C(1024)) / 1024;
    char text[24];
    snprintf(text, sizeof(text), "%ju", (uintmax_t)*kib);
    return xml_set_text(node, text) && xml_set_attr(node, "unit", "KiB") ? 0 : read_no_memory(r);
}

/* ------------------------------------------------------------------ cpusets */

struct cpuset {
    uint64_t words[CPUSET_MAX / 64];
};

static bool parse_one(const char **p, unsigned *out)
{
    unsigned value = 0;
    const char *begin = *p;
    for (; isdigit((unsigned char)**p); (*p)++) {
        value = value * 10 + (unsigned)(**p - '0');
        if (value >= CPUSET_MAX)
            return false;
    }
    *out = value;
    return *p > begin;
}

static const char *skip_blank(const char *p)
{
    return p + strspn(p, " \t\r\n");
}

static bool parse_cpuset(const char *text, struct cpuset *set)
{
    memset(set, 0, sizeof(*set));
    const char *p = skip_blank(text);
    while (*p) {
        bool without = *p == '^';
        unsigned first, last;
        p += without;
        if (!parse_one(&p, &first))
            return false;
        last = first;
        p = skip_blank(p);
        if (*p == '-' && !without) {
            p = skip_blank(p + 1);
            if (!parse_one(&p, &last) || last < first)
                return false;
            p = skip_blank(p);
        }
        for (unsigned i = first; i <= last; i++) {
            if (without)
                set->words[i / 64] &= ~BIT(i % 64);
            else
                set->words[i / 64] |= BIT(i % 64);
        }
        if (*p == ',')
            p = skip_blank(p + 1);
        else if (*p)
            return false;
    }
    return true;
}

int read_cpuset(struct read *r, xmlNode *node, const char *name, const char **out)
{
    const char *text = xml_attr(node, name);
    if (!text)
        return 0;
    struct cpuset set;
    char shortest[CPUSET_MAX * 5];
    if (!parse_cpuset(text, &set))
        return api_error_from(r->err, VIR_FROM_NONE, VIR_ERR_INVALID_ARG,
                              "Failed to parse bitmap '%s'", text);
    format_bitmap(set.words, ARRAY_SIZE(set.words), shortest, sizeof(shortest));
    if (!*shortest)
        return api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_XML_ERROR,
                              "Invalid value of '%s': %s", name, text);
    if (!xml_set_attr(node, name, shortest))
        return read_no_memory(r);
    *out = xml_attr(node, name);
    return 0;
}

/* ----------------------------------------------------------------- changing */

int read_set(struct read *r, xmlNode *node, const char *name, const char *value)
{
    return xml_set_attr(node, name, value) ? 0 : read_no_memory(r);
}
