/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes a manual page: the prose of a template, and in place of its lines
 * @OPTIONS@, @DEVICES@ and @VERSION@ what the program's own tables say. The
 * build runs it: options_to_roff TEMPLATE >PAGE.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roff.h"
#include "vmm/device.h"
#include "vmm/options/settings.h"

static void put_item(const char *names, const char *help)
{
    roff_put_line(".TP\n\\fB", names + strspn(names, " "), "\\fR\n");
    roff_put_line("", help ? help : "", "\n");
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
    roff_put_line(".SS ", settings_section_titles[section], "\n");
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
    static const struct roff_place places[] = {
        {"@OPTIONS@\n", put_options}, {"@DEVICES@\n", put_devices}, {NULL, NULL}};
    return roff_fill_template(argc, argv, places);
}
