/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads small files; see files.h. */
#include "daemon/host/files.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"

#define PATH_SIZE 512

static int read_line(char *out, size_t size, const char *path)
{
    out[0] = '\0';
    FILE *file = fopen(path, "re");
    if (!file)
        return -errno;
    if (!fgets(out, (int)size, file))
        out[0] = '\0';
    fclose(file);
    out[strcspn(out, "\n")] = '\0';
    return 0;
}

int file_read_line(char *out, size_t size, const char *path, ...)
{
    char full[PATH_SIZE];
    va_list args;
    va_start(args, path);
    vsnprintf(full, sizeof(full), path, args);
    va_end(args);
    return read_line(out, size, full);
}

uint64_t file_read_number(uint64_t fallback, const char *path, ...)
{
    char full[PATH_SIZE], line[64];
    uint64_t value;
    va_list args;
    va_start(args, path);
    vsnprintf(full, sizeof(full), path, args);
    va_end(args);
    return read_line(line, sizeof(line), full) == 0 && parse_u64(line, &value) == 0 ? value
                                                                                    : fallback;
}

int file_read_list(uint8_t *set, unsigned bits, const char *path, ...)
{
    char full[PATH_SIZE], line[4096];
    va_list args;
    va_start(args, path);
    vsnprintf(full, sizeof(full), path, args);
    va_end(args);
    memset(set, 0, (bits + 7) / 8);
    int r = read_line(line, sizeof(line), full), count = 0;
    if (r < 0)
        return r;
    for (char *at = line; *at;) {
        char *end;
        unsigned long first = strtoul(at, &end, 10), last = first;
        if (end == at)
            return -EINVAL;
        if (*end == '-')
            last = strtoul(end + 1, &end, 10);
        for (unsigned long n = first; n <= last && n < bits; n++) {
            set[n / 8] |= (uint8_t)(1 << (n % 8));
            count++;
        }
        at = *end == ',' ? end + 1 : end;
        if (*end && *end != ',')
            return -EINVAL;
    }
    return count;
}

bool file_find_kib(const char *path, const char *name, uint64_t *out)
{
    char line[256];
    size_t len = strlen(name);
    bool found = false;
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof(line), file)) {
        const char *at = strstr(line, name);
        unsigned long long value;
        if (at && at[len] == ':' && sscanf(at + len + 1, " %llu", &value) == 1) {
            *out = value;
            found = true;
        }
    }
    if (file)
        fclose(file);
    return found;
}
