/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads and writes what is in front of a packet's payload; see packet.h. */
#include "rpc/packet.h"

#include <errno.h>

int packet_parse(const uint8_t *bytes, size_t len, size_t max, struct packet *out)
{
    if (len < 4)
        return 0;
    size_t packet_len = packet_get_u32(bytes);
    if (packet_len < PACKET_HEAD || packet_len > max)
        return -EPROTO;
    if (len < PACKET_HEAD)
        return 0;
    struct packet packet = {
        .header =
            {
                .program = packet_get_u32(bytes + 4),
                .version = packet_get_u32(bytes + 8),
                .procedure = (int32_t)packet_get_u32(bytes + 12),
                .type = packet_get_u32(bytes + 16),
                .serial = packet_get_u32(bytes + 20),
                .status = packet_get_u32(bytes + 24),
            },
        .payload = bytes + PACKET_HEAD,
        .payload_len = packet_len - PACKET_HEAD,
        .total = packet_len,
    };
    if (packet.header.type > PACKET_STREAM_HOLE || packet.header.status > PACKET_CONTINUE)
        return -EPROTO;
    if (packet.header.type == PACKET_CALL_FDS || packet.header.type == PACKET_REPLY_FDS) {
        if (packet.payload_len < 4)
            return -EPROTO;
        if (len < PACKET_HEAD + 4)
            return 0;
        packet.fds = packet_get_u32(packet.payload);
        if (packet.fds > PACKET_FDS_MAX)
            return -EPROTO;
        packet.payload += 4;
        packet.payload_len -= 4;
        packet.total += packet.fds;
    }
    if (len < packet.total)
        return 0;
    *out = packet;
    return 1;
}

void packet_put_head(uint8_t *out, const struct packet_header *header, size_t payload_len)
{
    packet_put_u32(out, (uint32_t)(PACKET_HEAD + payload_len));
    packet_put_u32(out + 4, header->program);
    packet_put_u32(out + 8, header->version);
    packet_put_u32(out + 12, (uint32_t)header->procedure);
    packet_put_u32(out + 16, header->type);
    packet_put_u32(out + 20, header->serial);
    packet_put_u32(out + 24, header->status);
}
