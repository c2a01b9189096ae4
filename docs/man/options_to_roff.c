/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes a manual page: the prose of a template, and in place of its lines
 * @OPTIONS@, @DEVICES@ and @VERSION@ what the program's own tables say. The
 * build runs it: options_to_roff TEMPLATE >PAGE.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "vmm/device.h"
#include "vmm/options/settings.h"

/* Plain text, so that roff takes nothing in it for a request. */
static void put_text(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '-')
            fputs("\\-", stdout);
        else if (text[i] == '\\')
            fputs("\\e", stdout);
        else if (i == 0 && (text[i] == '.' || text[i] == '\''))
            printf("\\&%c", text[i]);
        else
            putchar(text[i]);
    }
}

static void put_line(const char *before, const char *text, const char *after)
{
    fputs(before, stdout);
    put_text(text, strlen(text));
    fputs(after, stdout);
}

static void put_item(const char *names, const char *help)
{
    put_line(".TP\n\\fB", names + strspn(names, " "), "\\fR\n");
    put_line("", help ? help : "", "\n");
}

/* The lines of options_help(): "      NAME=SHAPE  what it is for". */
static void put_fields(const struct option_spec *fields)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        exit(1);
    options_help(fields, stream);
    fclose(stream);
    puts(".RS");
    for (char *next, *line = strtok_r(text, "\n", &next); line;
         line = strtok_r(NULL, "\n", &next)) {
        line += strspn(line, " ");
        char *help = strstr(line, "  ");
        if (help) {
            *help = '\0';
            help += 2;
        }
        put_item(line, help);
    }
    puts(".RE");
    free(text);
}

static void put_section(enum settings_section section)
{
    put_line(".SS ", settings_section_titles[section], "\n");
    for (const struct setting *row = settings_table; row->spec.name; row++) {
        char names[128];
        if (row->section != section)
            continue;
        settings_names(names, sizeof(names), row);
        put_item(names, row->spec.help);
        if (row->fields)
            put_fields(row->fields);
    }
}

static void put_devices(void)
{
    for (const struct device_class *const *class = device_classes; *class; class ++) {
        char names[96];
        snprintf(names, sizeof(names), "--%s %s%s%s", (*class)->option,
                 (*class)->implied ? "[" : "", (*class)->implied ? (*class)->implied : "",
                 (*class)->implied ? "=]VALUE,OPTION=VALUE,..." : "OPTION=VALUE,...");
        put_item(names, (*class)->help);
        put_fields((*class)->options);
    }
}

static void put_options(void)
{
    for (int section = SECTION_MACHINE; section <= SECTION_INFORMATION; section++)
        put_section((enum settings_section)section);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *line;
        void (*put)(void);
    } parts[] = {{"@OPTIONS@\n", put_options}, {"@DEVICES@\n", put_devices}};
    char line[512];
    FILE *template = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (!template) {
        fputs("usage: options_to_roff TEMPLATE\n", stderr);
        return 1;
    }
    while (fgets(line, sizeof(line), template)) {
        bool done = false;
        for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]) && !done; i++) {
            done = strcmp(line, parts[i].line) == 0;
            if (done)
                parts[i].put();
        }
        char *version = strstr(line, "@VERSION@");
        if (version)
            printf("%.*s%s%s", (int)(version - line), line, KVASIR_VERSION,
                   version + strlen("@VERSION@"));
        else if (!done)
            fputs(line, stdout);
    }
    fclose(template);
    return ferror(stdout) ? 1 : 0;
}
