/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The Internet checksum (RFC 1071). Sums are of 16-bit words in network order, kept as the machine
 * loads them, which RFC 1071, 2(B) allows. */
#ifndef KV_SWITCH_FORWARD_CHECKSUM_H
#define KV_SWITCH_FORWARD_CHECKSUM_H

#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The bytes added to a sum. Only the last piece of what is summed may have an odd length. */
static inline uint64_t checksum_add(uint64_t sum, const void *data, size_t len)
{
    const uint8_t *from = data;
    uint64_t low = 0, high = 0;
    uint8_t tail[8] = {0};
    for (; len >= 8; len -= 8, from += 8) {
        uint64_t word;
        memcpy(&word, from, sizeof(word));
        low += word & UINT32_MAX;
        high += word >> 32;
    }
    memcpy(tail, from, len);
    uint64_t word;
    memcpy(&word, tail, sizeof(word));
    return sum + low + high + (word & UINT32_MAX) + (word >> 32);
}

/* A number in the machine's order, as a word of what is summed. */
static inline uint64_t checksum_add_number(uint64_t sum, uint32_t number)
{
    return sum + htonl(number);
}

static inline uint16_t checksum_fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* As it is stored in a header. */
static inline uint16_t checksum_of(uint64_t sum)
{
    return (uint16_t)~checksum_fold(sum);
}

#endif
