/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of processors as people write and read them. */
#include "cli/cpumap.h"

unsigned cpumap_len(int cpus)
{
    return cpus > 0 ? ((unsigned)cpus + 7) / 8 : 1;
}

static bool has(const char *map, unsigned len, unsigned cpu)
{
    return cpu / 8 < len && ((unsigned char)map[cpu / 8] >> cpu % 8 & 1);
}

const char *cpumap_letters(struct cli *cli, const char *map, unsigned len, int cpus)
{
    char *out = cli_alloc(cli, (size_t)MAX(cpus, 0) + 1);
    for (int i = 0; i < cpus; i++)
        out[i] = has(map, len, (unsigned)i) ? 'y' : '-';
    return out;
}

const char *cpumap_ranges(struct cli *cli, const char *map, unsigned len, int cpus)
{
    char *out = cli_alloc(cli, 12 * (size_t)MAX(cpus, 1) + 1), *to = out;
    for (int i = 0; i < cpus; i++) {
        if (!has(map, len, (unsigned)i))
            continue;
        int first = i;
        while (i + 1 < cpus && has(map, len, (unsigned)i + 1))
            i++;
        to += sprintf(to, "%s%d", to == out ? "" : ",", first);
        if (i > first)
            to += sprintf(to, "-%d", i);
    }
    return out;
}

static bool set_range(char *map, const char *text, int cpus)
{
    bool on = *text != '^';
    char *end;
    text += !on;
    long first = strtol(text, &end, 10);
    if (end == text || first < 0)
        return false;
    long last = first;
    if (*end == '-') {
        text = end + 1;
        last = strtol(text, &end, 10);
        if (end == text)
            return false;
    }
    if (*end || last < first || last >= (long)(8 * cpumap_len(cpus)))
        return false;
    for (long i = first; i <= last; i++) {
        unsigned bit = 1u << i % 8, byte = (unsigned char)map[i / 8];
        map[i / 8] = (char)(on ? byte | bit : byte & ~bit);
    }
    return true;
}

char *cpumap_parse(struct cli *cli, const char *text, int cpus, unsigned *len)
{
    *len = cpumap_len(cpus);
    char *map = cli_alloc(cli, *len);
    if (strcmp(text, "r") == 0)
        text = cli_text(cli, "0-%d", cpus - 1);
    char *words = cli_text(cli, "%s", text);
    for (char *word; (word = strsep(&words, ","));)
        if (!set_range(map, word, cpus))
            return NULL;
    return map;
}
