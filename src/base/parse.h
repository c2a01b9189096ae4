/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values out of text. Each function returns 0 or -EINVAL/-ERANGE and leaves *out alone on error. */
#ifndef KV_BASE_PARSE_H
#define KV_BASE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal, or hexadecimal behind 0x. */
int parse_u64(const char *text, uint64_t *out);

/* A number of bytes with an optional suffix B, K, M, G, T, P, E (powers of 1024, any case, an
 * optional "iB" behind it); a fraction is allowed before a suffix ("1.5G"). */
int parse_size(const char *text, uint64_t *out);

/* on, yes, true, 1; off, no, false, 0. */
int parse_bool(const char *text, bool *out);

/* Six hexadecimal bytes joined by ':' (or '-'). */
int parse_mac(const char *text, uint8_t mac[6]);

/* xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, bytes in the order written. */
int parse_uuid(const char *text, uint8_t uuid[16]);

/* A list such as "0-3,8": bit n of set[n / 64]. -ERANGE when a number is not below 64 * words, of
 * which PARSE_BITMAP_WORDS are possible. */
#define PARSE_BITMAP_WORDS 1024
int parse_bitmap(const char *text, uint64_t *set, unsigned words);

/* The same the other way, in its shortest form; cut where it does not fit. */
void format_bitmap(const uint64_t *set, unsigned words, char *out, size_t size);

#endif
