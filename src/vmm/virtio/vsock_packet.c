/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rings of virtio-vsock (virtio 1.2, 5.10.6): packets from the guest are
 * checked and given to their connections, packets for the guest are taken from
 * the connections that have some, one each in turn.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "vmm/virtio/vsock_impl.h"

/* --- To the guest ------------------------------------------------------- */

static void rx_again(void *opaque)
{
    vsock_rx_run(opaque);
}

static void tx_again(void *opaque)
{
    vsock_tx_run(opaque);
}

static bool next_reset(struct vsock *vs, struct virtio_vsock_hdr *header)
{
    if (vs->reset_count == 0)
        return false;
    const struct vsock_reset *r = &vs->resets[vs->reset_first];
    *header = (struct virtio_vsock_hdr){
        .src_port = htole32(r->host_port),
        .dst_port = htole32(r->guest_port),
        .type = htole16(r->type),
        .op = htole16(VIRTIO_VSOCK_OP_RST),
    };
    vs->reset_first = (vs->reset_first + 1) % VSOCK_RESETS;
    vs->reset_count--;
    return true;
}

/* The chain's buffers behind the header. */
static unsigned behind_header(const struct virtqueue_chain *chain, unsigned first, unsigned count,
                              struct iovec *iov)
{
    unsigned n = 0;
    size_t skip = VSOCK_HEADER;
    for (unsigned i = first; i < first + count; i++) {
        struct iovec v = chain->iov[i];
        size_t cut = MIN(skip, v.iov_len);
        skip -= cut;
        if (v.iov_len > cut)
            iov[n++] = (struct iovec){(char *)v.iov_base + cut, v.iov_len - cut};
    }
    return n;
}

/* Fills one receive chain; false when nobody has anything. */
static bool send_next(struct vsock *vs, struct virtqueue_chain *chain)
{
    struct iovec iov[VSOCK_SEGMENTS];
    struct virtio_vsock_hdr header;
    bool got = next_reset(vs, &header);
    while (!got && !list_empty(&vs->ready)) {
        struct vsock_conn *conn = list_entry(vs->ready.next, struct vsock_conn, ready);
        list_del(&conn->ready);
        unsigned count = behind_header(chain, chain->out_count, chain->in_count, iov);
        got = vsock_conn_next_packet(conn, &header, iov, count, chain->in_bytes - VSOCK_HEADER);
    }
    if (!got)
        return false;
    header.src_cid = htole64(VSOCK_HOST_CID);
    header.dst_cid = vs->config.guest_cid;
    virtqueue_write_in(chain, 0, &header, sizeof(header));
    virtqueue_push(&vs->rx->ring, chain, (uint32_t)VSOCK_HEADER + le32toh(header.len));
    vsock_count(&vs->rx_packets, 1);
    vsock_count(&vs->rx_bytes, le32toh(header.len));
    return true;
}

/* Something may be there for the guest. */
static bool rx_wanted(const struct vsock *vs)
{
    return vs->reset_count || !list_empty(&vs->ready);
}

void vsock_rx_run(struct vsock *vs)
{
    if (!vs->rx_running)
        return;
    struct virtqueue *vq = &vs->rx->ring;
    struct iovec iov[VSOCK_SEGMENTS];
    bool pushed = false;
    int rc = 0;
    virtqueue_disable_kick(vq);
    for (unsigned budget = VSOCK_BATCH; rx_wanted(vs); budget--) {
        struct virtqueue_chain chain = {.iov = iov, .iov_max = VSOCK_SEGMENTS};
        if (budget == 0) {
            loop_timer_arm(vs->loop, &vs->rx_timer, 0, rx_again, vs);
            break;
        }
        rc = virtqueue_pop(vq, &chain);
        if (rc < 0 || (rc == 0 && !virtqueue_enable_kick(vq)))
            break;
        if (rc == 0) {
            virtqueue_disable_kick(vq);
            continue;
        }
        if (chain.in_bytes < VSOCK_HEADER) {
            virtqueue_unpop(vq, &chain);
            virtqueue_break(vq, "a receive buffer is smaller than a packet's header");
            break;
        }
        if (!send_next(vs, &chain)) {
            virtqueue_unpop(vq, &chain);
            break;
        }
        pushed = true;
    }
    if (pushed)
        virtio_queue_notify(vs->rx);
    virtio_queue_broken(vs->rx);
}

void vsock_event_run(struct vsock *vs)
{
    if (!vs->lost_connections)
        return;
    struct iovec iov[4];
    struct virtqueue_chain chain = {.iov = iov, .iov_max = ARRAY_SIZE(iov)};
    if (virtqueue_pop(&vs->event->ring, &chain) == 1) {
        struct virtio_vsock_event event = {.id = htole32(VIRTIO_VSOCK_EVENT_TRANSPORT_RESET)};
        size_t n = virtqueue_write_in(&chain, 0, &event, sizeof(event));
        virtqueue_push(&vs->event->ring, &chain, (uint32_t)n);
        virtio_queue_notify(vs->event);
        vs->lost_connections = false;
    }
    virtio_queue_broken(vs->event);
}

/* --- From the guest ----------------------------------------------------- */

static void answer_with_reset(struct vsock *vs, const struct virtio_vsock_hdr *header)
{
    if (le16toh(header->op) == VIRTIO_VSOCK_OP_RST)
        return;
    if (vs->reset_count == VSOCK_RESETS) {
        vsock_count(&vs->dropped, 1);
        return;
    }
    unsigned slot = (vs->reset_first + vs->reset_count++) % VSOCK_RESETS;
    vs->resets[slot] = (struct vsock_reset){
        .guest_port = le32toh(header->src_port),
        .host_port = le32toh(header->dst_port),
        .type = le16toh(header->type),
    };
}

static void dispatch(struct vsock *vs, const struct virtqueue_chain *chain)
{
    struct virtio_vsock_hdr header;
    struct iovec iov[VSOCK_SEGMENTS];
    if (virtqueue_read_out(chain, 0, &header, sizeof(header)) != sizeof(header) ||
        le32toh(header.len) > VSOCK_PAYLOAD_MAX ||
        le32toh(header.len) > chain->out_bytes - VSOCK_HEADER ||
        header.src_cid != vs->config.guest_cid || le64toh(header.dst_cid) != VSOCK_HOST_CID) {
        vsock_count(&vs->dropped, 1);
        return;
    }
    vsock_count(&vs->tx_packets, 1);
    vsock_count(&vs->tx_bytes, le32toh(header.len));
    if (le16toh(header.type) != VIRTIO_VSOCK_TYPE_STREAM) {
        answer_with_reset(vs, &header);
        return;
    }
    struct vsock_conn *conn =
        vsock_conn_find(vs, le32toh(header.src_port), le32toh(header.dst_port));
    if (conn) {
        unsigned count = behind_header(chain, 0, chain->out_count, iov);
        vsock_conn_packet(conn, &header, iov, count);
    } else if (le16toh(header.op) == VIRTIO_VSOCK_OP_REQUEST &&
               vs->conn_count < VSOCK_CONNECTIONS) {
        vsock_conn_request(vs, &header);
    } else {
        answer_with_reset(vs, &header);
    }
}

void vsock_tx_run(struct vsock *vs)
{
    if (!vs->tx_running)
        return;
    struct virtqueue *vq = &vs->tx->ring;
    struct iovec iov[VSOCK_SEGMENTS];
    bool pushed = false;
    virtqueue_disable_kick(vq);
    for (unsigned budget = VSOCK_BATCH;; budget--) {
        struct virtqueue_chain chain = {.iov = iov, .iov_max = VSOCK_SEGMENTS};
        if (budget == 0) {
            loop_timer_arm(vs->loop, &vs->tx_timer, 0, tx_again, vs);
            break;
        }
        int rc = virtqueue_pop(vq, &chain);
        if (rc < 0 || (rc == 0 && !virtqueue_enable_kick(vq)))
            break;
        if (rc == 0) {
            virtqueue_disable_kick(vq);
            continue;
        }
        dispatch(vs, &chain);
        virtqueue_push(vq, &chain, 0);
        pushed = true;
    }
    if (pushed)
        virtio_queue_notify(vs->tx);
    if (!virtio_queue_broken(vs->tx))
        vsock_rx_run(vs);
}
