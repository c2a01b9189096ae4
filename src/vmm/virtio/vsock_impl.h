/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of virtio-vsock, shared by vsock*.c only. Everything belongs to the device's loop. */
#ifndef KV_VMM_VIRTIO_VSOCK_IMPL_H
#define KV_VMM_VIRTIO_VSOCK_IMPL_H

#include <linux/virtio_vsock.h>

#include "base/buffer.h"
#include "base/list.h"
#include "base/util.h"
#include "vmm/jail/broker.h"
#include "vmm/virtio/vsock.h"

#define VSOCK_HOST_CID 2
#define VSOCK_HEADER sizeof(struct virtio_vsock_hdr)
#define VSOCK_PAYLOAD_MAX KIB(64)
#define VSOCK_BUFFER KIB(64)   /* bytes that a guest may send ahead on a connection */
#define VSOCK_CONNECTIONS 1024 /* of one device, in whatever state */
#define VSOCK_RESETS 256       /* answers to packets of no connection that may wait */
#define VSOCK_BUCKETS 256      /* of the connection table */
#define VSOCK_SEGMENTS 128     /* of one chain */
#define VSOCK_BATCH 128        /* packets before other sources of the loop get their turn */
#define VSOCK_FIRST_HOST_PORT (1U << 30)
#define VSOCK_SHUTDOWN_BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

#define VSOCK_HANDSHAKE_NS INT64_C(10000000000) /* until the host program wrote its CONNECT */
#define VSOCK_CONNECT_NS INT64_C(5000000000)    /* until the guest answered a request */
#define VSOCK_CLOSE_NS INT64_C(8000000000)      /* until the guest gave a closed connection up */

enum vsock_state {
    VSOCK_HANDSHAKE, /* a host program connected and says where to; in no table */
    VSOCK_REQUESTED, /* the guest was asked, or will be */
    VSOCK_OPENING,   /* the guest asked; the broker connects */
    VSOCK_OPEN,
    VSOCK_CLOSING, /* the host program is gone, the guest was told or will be */
    VSOCK_DOOMED,  /* only the reset is still to be sent */
};

/* Packets that wait for a receive buffer, sent in this order. */
enum vsock_pending {
    VSOCK_SEND_RESET = 1 << 0,
    VSOCK_SEND_REQUEST = 1 << 1,
    VSOCK_SEND_RESPONSE = 1 << 2,
    VSOCK_SEND_SHUTDOWN = 1 << 3,
    VSOCK_SEND_CREDIT = 1 << 4,
    VSOCK_ASK_CREDIT = 1 << 5,
};

struct vsock;

struct vsock_conn {
    struct list node;  /* of its bucket, or of the handshakes */
    struct list ready; /* of vsock.ready, while it has something for the guest */
    struct vsock *vs;
    enum vsock_state state;
    uint32_t guest_port, host_port;
    uint32_t serial; /* tells it from an earlier one with the same ports */
    int fd;          /* the host's end, or -1 */
    struct loop_source source;
    struct loop_timer timer;
    bool readable;  /* the last read did not say EAGAIN */
    bool hung_up;   /* the host program closed both directions */
    bool host_done; /* it will send nothing more, and the guest was told or will be */
    unsigned pending;
    unsigned shutdown; /* VIRTIO_VSOCK_SHUTDOWN_* flags that the guest sent */
    bool write_shut;   /* the host program was told that nothing more comes */

    /* To the guest (5.10.6.3): what it can take and has taken, as it said; what was sent. */
    uint32_t peer_buf_alloc, peer_fwd_cnt, sent;
    bool credit_asked;
    /* From the guest: bytes handed to the host program, and that count as last told. */
    uint32_t forwarded, told_forwarded;
    struct buffer out; /* received and not handed over yet */
};

struct vsock_reset {
    uint32_t guest_port, host_port;
    uint16_t type;
};

struct vsock {
    struct virtio_device dev;
    struct virtio_vsock_config config;
    struct loop *loop;
    struct virtio_queue *rx, *tx, *event; /* named as the guest sees them */
    bool rx_running, tx_running;
    bool lost_connections; /* restored: the guest must be told (5.10.6.7) */
    struct loop_timer rx_timer, tx_timer;

    char *path;
    int listen_fd;
    bool bound; /* we made the file at path */
    struct loop_source listener, answers;
    struct loop_timer accept_timer;
    struct broker broker;

    struct list buckets[VSOCK_BUCKETS];
    struct list handshakes;
    struct list ready;
    unsigned conn_count;
    uint32_t next_host_port, next_serial;
    struct vsock_reset resets[VSOCK_RESETS]; /* a queue */
    unsigned reset_first, reset_count;

    atomic_uint_fast64_t opened, refused, dropped, rx_packets, tx_packets, rx_bytes, tx_bytes;
    atomic_uint current;
};

static inline struct vsock *vsock_of(struct virtio_device *dev)
{
    return container_of(dev, struct vsock, dev);
}

static inline void vsock_count(atomic_uint_fast64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* vsock_packet.c */
void vsock_rx_run(struct vsock *vs);
void vsock_tx_run(struct vsock *vs);
void vsock_event_run(struct vsock *vs);

/* vsock_conn.c */
struct vsock_conn *vsock_conn_new(struct vsock *vs, enum vsock_state state); /* or NULL */
void vsock_conn_enter(struct vsock_conn *conn, uint32_t guest_port, uint32_t host_port);
struct vsock_conn *vsock_conn_find(struct vsock *vs, uint32_t guest_port, uint32_t host_port);
void vsock_conn_free(struct vsock_conn *conn);
/* Ends it; the guest, if it knows of the connection, is told with a reset. */
void vsock_conn_doom(struct vsock_conn *conn);
/* Puts it into the ready list when it has something for the guest. */
void vsock_conn_schedule(struct vsock_conn *conn);
/* It has a descriptor now, which is watched from here on. */
int vsock_conn_watch(struct vsock_conn *conn, int fd);
/* One packet that the guest sent for it, with payload iov; may free it. */
void vsock_conn_packet(struct vsock_conn *conn, const struct virtio_vsock_hdr *header,
                       struct iovec *payload, unsigned count);
/* A guest's request for a connection that does not exist yet. */
void vsock_conn_request(struct vsock *vs, const struct virtio_vsock_hdr *header);
/* The next packet for the guest into header and up to room bytes of payload at iov. True: there is
 * one. May free conn, which is off the ready list. */
bool vsock_conn_next_packet(struct vsock_conn *conn, struct virtio_vsock_hdr *header,
                            struct iovec *iov, unsigned count, uint64_t room);

/* vsock_host.c */
int vsock_host_open(struct vsock *vs, const struct vsock_config *config, struct kv_error *err);
void vsock_host_close(struct vsock *vs);
void vsock_host_handshake(struct vsock_conn *conn);

#endif
