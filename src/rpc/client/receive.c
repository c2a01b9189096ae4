/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Packets of the server: replies go to the calls that wait, stream packets to their streams,
 * events into a queue, questions of keepalive are answered. What comes is not trusted.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "rpc/client/internal.h"

static void broken(struct kvasir_conn *conn, const char *what)
{
    conn_lose(conn, KVASIR_CLOSE_ERROR, VIR_ERR_RPC, "the server broke the protocol: %s", what);
}

static struct call_slot *find_slot(struct kvasir_conn *conn, const struct packet_header *header)
{
    list_for_each (node, &conn->calls) {
        struct call_slot *slot = list_entry(node, struct call_slot, node);
        if (slot->serial == header->serial && slot->program == header->program &&
            slot->procedure == header->procedure && !slot->done)
            return slot;
    }
    return NULL;
}

/* Gives the packet's descriptors, which came first, to *slot, or closes them. */
static int take_fds(struct kvasir_conn *conn, const struct packet *packet, struct call_slot *slot)
{
    if (packet->fds > conn->n_in_fds)
        return -EPROTO;
    for (size_t i = 0; i < packet->fds; i++) {
        if (slot)
            slot->fds[slot->n_fds++] = conn->in_fds[i];
        else
            close(conn->in_fds[i]);
    }
    conn->n_in_fds -= packet->fds;
    memmove(conn->in_fds, conn->in_fds + packet->fds, conn->n_in_fds * sizeof(int));
    return 0;
}

static void take_reply(struct kvasir_conn *conn, const struct packet *packet)
{
    struct call_slot *slot = find_slot(conn, &packet->header);
    if (!slot) {
        broken(conn, "a reply to nothing that was asked");
        return;
    }
    slot->payload = malloc(packet->payload_len + 1);
    if (!slot->payload) {
        conn_lose(conn, KVASIR_CLOSE_ERROR, VIR_ERR_NO_MEMORY, "out of memory");
        return;
    }
    if (packet->payload_len)
        memcpy(slot->payload, packet->payload, packet->payload_len);
    slot->payload_len = packet->payload_len;
    slot->header = packet->header;
    if (take_fds(conn, packet, slot) < 0) {
        broken(conn, "descriptors that did not come");
        return;
    }
    slot->done = true;
}

static void take_keepalive(struct kvasir_conn *conn, const struct packet *packet)
{
    static const struct packet_header pong = {KEEPALIVE_PROGRAM, 1, KEEPALIVE_PONG,
                                              PACKET_MESSAGE,    0, PACKET_OK};
    /* Somebody who only asks and never reads is not answered for ever. */
    if (packet->header.procedure == KEEPALIVE_PING && conn->out.len < STREAM_OUT_HIGH)
        conn_send(conn, &pong, NULL, 0, NULL, 0, NULL);
}

static void take_event(struct kvasir_conn *conn, const struct packet *packet)
{
    if (!event_is_known(conn, &packet->header))
        return;
    size_t len = sizeof(struct queued_event) + packet->payload_len;
    if (len > EVENTS_HIGH - MIN(conn->events_bytes, EVENTS_HIGH)) {
        broken(conn, "more events than can be kept");
        return;
    }
    struct queued_event *event = malloc(len);
    if (!event) {
        conn_lose(conn, KVASIR_CLOSE_ERROR, VIR_ERR_NO_MEMORY, "out of memory");
        return;
    }
    event->program = packet->header.program;
    event->procedure = packet->header.procedure;
    event->len = len;
    if (packet->payload_len)
        memcpy(event->body, packet->payload, packet->payload_len);
    list_add_tail(&conn->events, &event->node);
    conn->events_bytes += len;
}

static void take_packet(struct kvasir_conn *conn, const struct packet *packet)
{
    switch (packet->header.type) {
    case PACKET_REPLY:
    case PACKET_REPLY_FDS:
        take_reply(conn, packet);
        return;
    case PACKET_STREAM:
    case PACKET_STREAM_HOLE:
        if (stream_packet(conn, packet) < 0)
            conn_lose(conn, KVASIR_CLOSE_ERROR, VIR_ERR_NO_MEMORY, "out of memory");
        return;
    case PACKET_MESSAGE:
        if (packet->header.program == KEEPALIVE_PROGRAM)
            take_keepalive(conn, packet);
        else
            take_event(conn, packet);
        return;
    default:
        broken(conn, "a call");
    }
}

void receive_packets(struct kvasir_conn *conn)
{
    struct packet packet;
    int r;
    while (conn->fd >= 0 &&
           (r = packet_parse(buffer_bytes(&conn->in), conn->in.len, PACKET_MAX, &packet)) != 0) {
        if (r < 0) {
            broken(conn, "no packet of libvirt's protocol");
            return;
        }
        size_t total = packet.total;
        take_packet(conn, &packet);
        buffer_consume(&conn->in, total);
    }
}
