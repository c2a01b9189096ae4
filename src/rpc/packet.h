/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Packets of libvirt's protocol: a length of 4 bytes that counts itself, a header of 24, a
 * payload; all numbers big-endian. A packet with descriptors says in its payload's first 4
 * bytes how many; each follows the packet with one byte of its own.
 */
#ifndef KV_RPC_PACKET_H
#define KV_RPC_PACKET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PACKET_HEAD 28                   /* length and header */
#define PACKET_MAX (4 + (32u << 20))     /* a whole packet */
#define PACKET_MAX_UNPROVED (512u << 10) /* of a client that has not proved who it is */
#define PACKET_FDS_MAX 32
#define STREAM_DATA_MAX 262120 /* bytes of a stream in one packet */

#define KEEPALIVE_PROGRAM 0x6b656570u
enum keepalive_procedure {
    KEEPALIVE_PING = 1,
    KEEPALIVE_PONG = 2,
};

enum packet_type {
    PACKET_CALL,
    PACKET_REPLY,
    PACKET_MESSAGE, /* an event, or keepalive */
    PACKET_STREAM,
    PACKET_CALL_FDS,
    PACKET_REPLY_FDS,
    PACKET_STREAM_HOLE,
};

enum packet_status {
    PACKET_OK,
    PACKET_ERROR,
    PACKET_CONTINUE, /* of a stream: not its end */
};

struct packet_header {
    uint32_t program, version;
    int32_t procedure;
    uint32_t type; /* enum packet_type */
    uint32_t serial;
    uint32_t status; /* enum packet_status */
};

/* A packet at the beginning of what was received. */
struct packet {
    struct packet_header header;
    const uint8_t *payload; /* behind the number of descriptors, if there is one */
    size_t payload_len;
    uint32_t fds;
    size_t total; /* bytes, with those of the descriptors */
};

/* Looks at the first of len bytes. 1: *out is a packet that is all there; 0: more has to come;
 * -EPROTO: no packet of the protocol, or one longer than max. */
int packet_parse(const uint8_t *bytes, size_t len, size_t max, struct packet *out);

/* Writes the 28 bytes in front of a payload of payload_len bytes. */
void packet_put_head(uint8_t *out, const struct packet_header *header, size_t payload_len);

static inline uint32_t packet_get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void packet_put_u32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

#endif
