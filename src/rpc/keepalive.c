/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libvirt's keepalive program: whoever asks gets an answer; clients that can are asked when they
 * were silent for long, and disconnected when they stay silent. */
#include "rpc/internal.h"

static void say(struct rpc_client *client, enum keepalive_procedure what)
{
    uint8_t packet[PACKET_HEAD];
    const struct packet_header header = {.program = KEEPALIVE_PROGRAM,
                                         .version = 1,
                                         .procedure = what,
                                         .type = PACKET_MESSAGE,
                                         .status = PACKET_OK};
    packet_put_head(packet, &header, 0);
    client_send(client, packet, sizeof(packet), NULL, 0, 0);
}

void keepalive_packet(struct rpc_client *client, const struct packet *packet)
{
    if (packet->header.procedure == KEEPALIVE_PING)
        say(client, KEEPALIVE_PONG);
}

bool keepalive_tick(struct rpc_client *client, int64_t now_ms)
{
    struct rpc_server *server = client->server;
    int64_t silence = (now_ms - client->heard_at) / 1000;
    int64_t interval = server->keepalive_interval;
    if (!client->keepalive || !interval || silence < interval * ((int64_t)client->pings + 1))
        return true;
    if (client->pings >= server->keepalive_count)
        return false;
    client->pings++;
    say(client, KEEPALIVE_PING);
    return true;
}
