/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads synopses into options, and writes them as help shows them. See spec.h. */
#include "cli/spec.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

static const char *read_name(const char *at, char *out, size_t size)
{
    size_t n = 0;
    while (isalnum((unsigned char)*at) || *at == '-') {
        if (n + 1 < size)
            out[n++] = *at;
        at++;
    }
    out[n] = '\0';
    return at;
}

/* "<name>", "<name:number>", in front of which "[" or "{" may stand. */
static void read_data(const char *at, bool required, bool rest, struct spec_option *out)
{
    at = read_name(at, out->name, sizeof(out->name));
    out->required = required;
    out->kind = rest ? SPEC_REST : *at == ':' ? SPEC_NUMBER : SPEC_DATA;
}

static void read_named(const char *at, struct spec_option *out)
{
    at = read_name(at, out->name, sizeof(out->name));
    out->named = *at == '=';
    const char *type = strchr(at, '<');
    out->kind = *at == ']' || !type ? SPEC_SWITCH : type[1] == 'n' ? SPEC_NUMBER : SPEC_TEXT;
}

void spec_read(const char *synopsis, struct spec *out)
{
    out->n = 0;
    const char *at = synopsis;
    while (*at && out->n < SPEC_OPTIONS_MAX) {
        if (*at == ' ') {
            at++;
            continue;
        }
        struct spec_option *option = &out->options[out->n++];
        *option = (struct spec_option){.required = false};
        char open = *at;
        char close = open == '[' ? ']' : open == '{' ? '}' : '>';
        const char *end = strchr(at, close);
        if (!end)
            return;
        bool rest = strncmp(end + 1, "...", 3) == 0;
        if (open == '<')
            read_data(at + 1, true, rest, option);
        else if (at[1] == '<')
            read_data(at + 2, open == '{', rest, option);
        else
            read_named(at + 3, option);
        at = end + 1 + (rest ? 3 : 0);
    }
}

void spec_write(const struct spec *spec, char *out, unsigned size)
{
    size_t len = 0;
    bool places = false; /* names of data may be left out, which help then shows */
    out[0] = '\0';
    for (unsigned i = 0; i < spec->n && len < size; i++) {
        const struct spec_option *option = &spec->options[i];
        const char *fmt = " [--%s]";
        switch (option->kind) {
        case SPEC_SWITCH:
            break;
        case SPEC_NUMBER:
            fmt = option->required ? " <%s>" : " [--%s <number>]";
            places = places || !option->named;
            break;
        case SPEC_TEXT:
            fmt = " [--%s <string>]";
            places = places || !option->named;
            break;
        case SPEC_DATA:
            fmt = option->required ? " <%s>" : " [<%s>]";
            places = places || !option->named;
            break;
        case SPEC_REST:
            if (places)
                fmt = option->required ? " {[--%s] <string>}..." : " [[--%s] <string>]...";
            else
                fmt = option->required ? " <%s>..." : " [<%s>]...";
            break;
        }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        len += (size_t)snprintf(out + len, size - len, fmt, option->name);
#pragma GCC diagnostic pop
    }
}

/* Names of libvirt's older releases. */
static const struct {
    const char *verb, *old, *name;
} renamed[] = {
    {"migrate", "tunneled", "tunnelled"},
    {"setmaxmem", "kilobytes", "size"},
    {"setmem", "kilobytes", "size"},
    {"undefine", "delete-snapshots", "delete-storage-volume-snapshots"},
};

const char *spec_option_resolve(const char *verb, const char *option)
{
    for (size_t i = 0; i < ARRAY_SIZE(renamed); i++)
        if (strcmp(renamed[i].verb, verb) == 0 && strcmp(renamed[i].old, option) == 0)
            return renamed[i].name;
    return option;
}
