/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Help texts, all out of the tables, and the guess at what a wrong name was meant to be. */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "vmm/device.h"
#include "vmm/options/settings.h"

#define NAME_COLUMNS 36
#define NAME_MAX_LENGTH 32

const char *const settings_section_titles[] = {
    [SECTION_MACHINE] = "Machine",         [SECTION_BOOT] = "Boot",
    [SECTION_BEHAVIOUR] = "Behaviour",     [SECTION_PROCESS] = "Process",
    [SECTION_INFORMATION] = "Information",
};

static const char *shape_of(const struct setting *row)
{
    static const char *const shapes[] = {
        [OPTION_STRING] = "TEXT", [OPTION_UINT] = "N",  [OPTION_INT] = "[-]N",
        [OPTION_SIZE] = "SIZE",   [OPTION_MAC] = "MAC", [OPTION_FD] = "FD",
    };
    return row->shape ? row->shape : shapes[row->spec.type];
}

void settings_names(char *out, size_t size, const struct setting *row)
{
    int n = snprintf(out, size, "  %s%c%s--%s", row->letter ? "-" : "",
                     row->letter ? row->letter : ' ', row->letter ? ", " : "   ", row->spec.name);
    size_t len = MIN((size_t)n, size - 1);
    if (row->spec.type == OPTION_ENUM) {
        for (int i = 0; row->spec.values && row->spec.values[i] && len < size; i++)
            len +=
                (size_t)snprintf(out + len, size - len, "%s%s", i ? "|" : " ", row->spec.values[i]);
    } else if (row->kind != SETTING_VALUE || row->spec.type != OPTION_BOOL || row->shape) {
        snprintf(out + len, size - len, " %s", shape_of(row));
    }
}

static void print_line(FILE *to, const char *names, const char *help)
{
    if (strlen(names) < NAME_COLUMNS)
        fprintf(to, "%-*s%s\n", NAME_COLUMNS, names, help);
    else
        fprintf(to, "%s\n%*s%s\n", names, NAME_COLUMNS, "", help);
}

static void help_section(enum settings_section section, FILE *to)
{
    fprintf(to, "\n%s:\n", settings_section_titles[section]);
    for (const struct setting *row = settings_table; row->spec.name; row++) {
        char names[128];
        if (row->section != section)
            continue;
        settings_names(names, sizeof(names), row);
        print_line(to, names, row->spec.help);
    }
}

static void help_devices(FILE *to)
{
    fputs("\nDevices (repeatable; --help NAME lists the options):\n", to);
    for (const struct device_class *const *class = device_classes; *class; class ++) {
        char names[128];
        snprintf(names, sizeof(names), "     --%s %sOPTION=VALUE,...", (*class)->option,
                 (*class)->implied ? "VALUE," : "");
        print_line(to, names, (*class)->help ? (*class)->help : "");
    }
}

static void help_all(FILE *to)
{
    fputs("Usage: kvasir-vmm [OPTION]...\n"
          "Runs one virtual machine on KVM.\n",
          to);
    help_section(SECTION_MACHINE, to);
    help_section(SECTION_BOOT, to);
    help_devices(to);
    for (int s = SECTION_BEHAVIOUR; s <= SECTION_INFORMATION; s++)
        help_section((enum settings_section)s, to);
    fputs("\nSizes take the suffixes K, M, G and T. A comma in a value is written twice.\n"
          "A configuration file is a JSON object with the same names; repeatable options are\n"
          "arrays, KEY=VALUE options objects. The command line adds to it and overrides it.\n"
          "\nExit status: 0 the guest switched off or the process was asked to quit,\n"
          "1 the machine could not be started, 2 wrong options, 3 the guest panicked,\n"
          "4 the guest or the host failed (internal error), 128+N ended by signal N.\n",
          to);
}

static int help_fields(const char *name, const char *help, const char *implied,
                       const struct option_spec *fields, FILE *to)
{
    fprintf(to, "--%s OPTION=VALUE,...  %s\n", name, help ? help : "");
    if (implied)
        fprintf(to, "    '%s=' may be left out in front\n", implied);
    options_help(fields, to);
    return 0;
}

int settings_help(const char *topic, FILE *to)
{
    if (!topic) {
        help_all(to);
        return 0;
    }
    topic += strspn(topic, "-");
    const struct setting *row = settings_find(topic);
    const struct device_class *class = device_class_find(topic);
    if (row && row->fields)
        return help_fields(topic, row->spec.help, row->implied, row->fields, to);
    if (row) {
        char names[128];
        settings_names(names, sizeof(names), row);
        print_line(to, names, row->spec.help);
        return 0;
    }
    return class ? help_fields(topic, class->help, class->implied, class->options, to) : -ENOENT;
}

/* Edits (insert, delete, replace, swap neighbours) that make b out of a. */
static unsigned distance(const char *a, const char *b)
{
    unsigned rows[3][NAME_MAX_LENGTH + 1];
    size_t la = strlen(a), lb = strlen(b);
    if (la > NAME_MAX_LENGTH || lb > NAME_MAX_LENGTH)
        return NAME_MAX_LENGTH;
    for (size_t j = 0; j <= lb; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        unsigned *now = rows[i % 3], *before = rows[(i - 1) % 3], *older = rows[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned best = before[j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN(best, before[j] + 1);
            best = MIN(best, now[j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, older[j - 2] + 1);
            now[j] = best;
        }
    }
    return rows[la % 3][lb];
}

static void consider(const char *name, const char *known, const char **best,
                     unsigned *best_distance)
{
    unsigned d = distance(name, known);
    if (d < *best_distance) {
        *best = known;
        *best_distance = d;
    }
}

const char *settings_nearest(const char *name)
{
    const char *best = NULL;
    unsigned best_distance = (unsigned)MAX(strlen(name) / 3, (size_t)1) + 1;
    for (const struct setting *row = settings_table; row->spec.name; row++)
        consider(name, row->spec.name, &best, &best_distance);
    for (const struct device_class *const *class = device_classes; *class; class ++)
        consider(name, (*class)->option, &best, &best_distance);
    return best;
}
