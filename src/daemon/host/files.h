/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small files of proc(5) and sysfs. */
#ifndef KV_DAEMON_HOST_FILES_H
#define KV_DAEMON_HOST_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The first line of the file, without its end, cut at size - 1 bytes; the path is formatted. 0, or
 * -errno (and an empty text). */
int file_read_line(char *out, size_t size, const char *path, ...)
    __attribute__((format(printf, 3, 4)));

/* A number in a file; fallback when it cannot be read. */
uint64_t file_read_number(uint64_t fallback, const char *path, ...)
    __attribute__((format(printf, 2, 3)));

/* A list such as "0-3,8": bit n of set, which has so many bits. Returns how many are set, or
 * -errno. */
int file_read_list(uint8_t *set, unsigned bits, const char *path, ...)
    __attribute__((format(printf, 3, 4)));

/* The value of "Name:   123 kB" in a file such as /proc/meminfo, in KiB; false: not there. */
bool file_find_kib(const char *path, const char *name, uint64_t *out);

static inline bool bit_get(const uint8_t *set, unsigned n)
{
    return set[n / 8] >> (n % 8) & 1;
}

#endif
