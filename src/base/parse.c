/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values out of text; see parse.h. */
#include "base/parse.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/util.h"

int parse_u64(const char *text, uint64_t *out)
{
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    if (!isxdigit((unsigned char)text[hex ? 2 : 0]))
        return -EINVAL;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(hex ? text + 2 : text, &end, hex ? 16 : 10);
    if (*end)
        return -EINVAL;
    if (errno == ERANGE)
        return -ERANGE;
    *out = v;
    return 0;
}

int parse_size(const char *text, uint64_t *out)
{
    static const char suffixes[] = "BKMGTPE";
    uint64_t scaled;

    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        return parse_u64(text, out);
    if (!isdigit((unsigned char)text[0]))
        return -EINVAL;
    char *end;
    errno = 0;
    uint64_t whole = strtoull(text, &end, 10);
    if (errno == ERANGE)
        return -ERANGE;
    const char *fraction = NULL;
    if (*end == '.') {
        fraction = end + 1;
        if (!isdigit((unsigned char)*fraction))
            return -EINVAL;
        for (end++; isdigit((unsigned char)*end); end++)
            ;
    }
    unsigned shift = 0;
    if (*end) {
        const char *s = strchr(suffixes, toupper((unsigned char)*end));
        if (!s)
            return -EINVAL;
        shift = 10 * (unsigned)(s - suffixes);
        end++;
        if (shift && (strcasecmp(end, "iB") == 0 || strcasecmp(end, "B") == 0))
            end += strlen(end);
    }
    if (*end || (fraction && shift == 0))
        return -EINVAL;
    if (__builtin_mul_overflow(whole, UINT64_C(1) << shift, &scaled))
        return -ERANGE;
    uint64_t numerator = 0, denominator = 1;
    for (; fraction && isdigit((unsigned char)*fraction); fraction++) {
        if (denominator > UINT64_C(1000000000000000))
            continue; /* digits beyond the fifteenth are below a byte */
        numerator = numerator * 10 + (uint64_t)(*fraction - '0');
        denominator *= 10;
    }
    uint64_t part = (uint64_t)(((unsigned __int128)numerator << shift) / denominator);
    if (__builtin_add_overflow(scaled, part, &scaled))
        return -ERANGE;
    *out = scaled;
    return 0;
}

int parse_bool(const char *text, bool *out)
{
    static const char *const yes[] = {"on", "yes", "true", "1"};
    static const char *const no[] = {"off", "no", "false", "0"};
    for (unsigned i = 0; i < ARRAY_SIZE(yes); i++) {
        bool on = strcasecmp(text, yes[i]) == 0;
        if (on || strcasecmp(text, no[i]) == 0) {
            *out = on;
            return 0;
        }
    }
    return -EINVAL;
}

/* Value of one hexadecimal digit, or -1. */
static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int hex_byte(const char *text)
{
    int hi = hex_digit(text[0]);
    int lo = hi < 0 ? -1 : hex_digit(text[1]);
    return lo < 0 ? -1 : hi << 4 | lo;
}

int parse_mac(const char *text, uint8_t mac[6])
{
    uint8_t bytes[6];
    if (strlen(text) != 17)
        return -EINVAL;
    for (unsigned i = 0; i < 6; i++) {
        int b = hex_byte(text + 3 * i);
        char separator = text[3 * i + 2];
        if (b < 0 || (i < 5 && separator != ':' && separator != '-'))
            return -EINVAL;
        bytes[i] = (uint8_t)b;
    }
    memcpy(mac, bytes, sizeof(bytes));
    return 0;
}

int parse_uuid(const char *text, uint8_t uuid[16])
{
    uint8_t bytes[16];
    if (strlen(text) != 36)
        return -EINVAL;
    for (unsigned i = 0, pos = 0; i < 16; i++, pos += 2) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            if (text[pos++] != '-')
                return -EINVAL;
        }
        int b = hex_byte(text + pos);
        if (b < 0)
            return -EINVAL;
        bytes[i] = (uint8_t)b;
    }
    memcpy(uuid, bytes, sizeof(bytes));
    return 0;
}

int parse_bitmap(const char *text, uint64_t *set, unsigned words)
{
    uint64_t bits[PARSE_BITMAP_WORDS];
    if (words == 0 || words > ARRAY_SIZE(bits))
        return -EINVAL;
    memset(bits, 0, sizeof(bits));
    while (*text) {
        char *end;
        if (!isdigit((unsigned char)*text))
            return -EINVAL;
        unsigned long long first = strtoull(text, &end, 10), last = first;
        if (*end == '-') {
            if (!isdigit((unsigned char)end[1]))
                return -EINVAL;
            last = strtoull(end + 1, &end, 10);
        }
        if (last < first)
            return -EINVAL;
        if (last >= 64ull * words)
            return -ERANGE;
        for (unsigned long long n = first; n <= last; n++)
            bits[n / 64] |= BIT(n % 64);
        if (*end == ',' && end[1])
            end++;
        else if (*end)
            return -EINVAL;
        text = end;
    }
    memcpy(set, bits, words * sizeof(*set));
    return 0;
}

void format_bitmap(const uint64_t *set, unsigned words, char *out, size_t size)
{
    size_t len = 0;
    unsigned count = 64 * words, last;
    out[0] = '\0';
    for (unsigned i = 0; i < count && len < size; i = last + 1) {
        last = i;
        if (!(set[i / 64] & BIT(i % 64)))
            continue;
        while (last + 1 < count && set[(last + 1) / 64] & BIT((last + 1) % 64))
            last++;
        len += (size_t)snprintf(out + len, size - len, last > i ? "%s%u-%u" : "%s%u",
                                len ? "," : "", i, last);
    }
}
