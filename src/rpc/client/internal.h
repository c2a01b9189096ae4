/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of libkvasir share. One thread uses a connection at a time; nothing here locks.
 *
 * A connection's bytes pass through layers: the socket, TLS, SASL. Packets that came whole are
 * sorted (receive.c): replies go to the call that waits, stream packets to their stream, events
 * wait for kvasir_conn_process(). The server is not trusted: all that it can make us keep is
 * bounded, and who breaks the protocol is disconnected.
 */
#ifndef KV_RPC_CLIENT_INTERNAL_H
#define KV_RPC_CLIENT_INTERNAL_H

#include <kvasir/kvasir.h>
#include <libvirt/virterror.h>
#include <stdbool.h>

#include "base/buffer.h"
#include "base/list.h"
#include "rpc/client/call.h"
#include "rpc/packet.h"

#define EVENTS_HIGH MIB(32)    /* events that nobody processed: the connection ends */
#define STREAM_IN_HIGH MIB(1)  /* unread bytes of a stream: process() does not listen any more */
#define STREAM_IN_MOST MIB(64) /* calls that wait have to listen; then the stream is given up */
#define STREAM_OUT_HIGH MIB(1) /* unsent bytes beyond which a stream's sender waits */
#define READ_SIZE (64u << 10)  /* bytes of one read */
#define SERVER_FDS_MAX PACKET_FDS_MAX /* descriptors that came and belong to no packet yet */

struct layer;

/* read and write: bytes, 0 (read: the end), -EAGAIN, -errno. pending: bytes are there that poll()
 * does not know of. */
struct layer_ops {
    ssize_t (*read)(struct layer *layer, void *bytes, size_t len);
    ssize_t (*write)(struct layer *layer, const void *bytes, size_t len);
    bool (*pending)(struct layer *layer);
    void (*free)(struct layer *layer);
};

struct layer {
    const struct layer_ops *ops;
    struct layer *below; /* NULL: the socket's own */
};

/* A call that was sent. */
struct call_slot {
    struct list node;
    uint32_t serial, program;
    int procedure;
    bool done;
    struct packet_header header; /* of the reply */
    uint8_t *payload;            /* of the reply */
    size_t payload_len;
    int fds[PACKET_FDS_MAX];
    size_t n_fds;
};

struct queued_event {
    struct list node;
    uint32_t program;
    int procedure;
    size_t len;
    uint8_t body[];
};

struct registration {
    struct list node;
    int number;   /* ours */
    int callback; /* the server's */
    int event_class, id;
    kvasir_event_fn *fn;
    void *opaque;
};

struct kvasir_stream {
    struct list node; /* of the connection, while its packets are wanted */
    struct kvasir_conn *conn;
    uint32_t serial, program;
    int procedure;
    struct list in; /* struct stream_chunk */
    size_t in_bytes;
    bool at_end;             /* the server has no more to send */
    bool finishing;          /* we said that we are done */
    bool confirmed;          /* the server answered that */
    struct kvasir_error why; /* code 0: nothing failed */
};

/* A descriptor to be sent behind byte `at` of all that was ever put into out. */
struct out_fd {
    uint64_t at;
    int fd;
};

enum transport {
    TRANSPORT_AUTO,
    TRANSPORT_UNIX,
    TRANSPORT_TCP,
    TRANSPORT_TLS,
    TRANSPORT_SSH,
    TRANSPORT_EXT,
};

struct kvasir_conn {
    unsigned refs;
    int fd;      /* -1: it has ended */
    pid_t child; /* ssh or another program between us and the server; 0: none */
    enum transport transport;
    struct layer *top;
    bool encrypted; /* TLS or SASL */
    bool lost;      /* it ended by itself; why says how */
    struct kvasir_error why;
    int lost_reason; /* enum kvasir_close_reason */

    struct buffer in, out;
    uint64_t out_total; /* bytes that were ever put into out */
    struct out_fd out_fds[PACKET_FDS_MAX];
    size_t n_out_fds;
    int in_fds[SERVER_FDS_MAX];
    size_t n_in_fds;

    uint32_t serial;     /* of the last call */
    struct list calls;   /* struct call_slot */
    struct list streams; /* struct kvasir_stream */
    struct list events;  /* struct queued_event */
    size_t events_bytes;
    struct list registrations;
    int last_registration;

    unsigned ping_interval, ping_count, pings;
    int64_t heard_at; /* ms of the monotonic clock */

    kvasir_close_fn *on_close;
    void *on_close_opaque;
};

/* ---- conn.c: life and bytes ---- */

struct kvasir_conn *conn_new(struct kvasir_error *err);
struct kvasir_conn *conn_ref(struct kvasir_conn *conn);
void conn_unref(struct kvasir_conn *conn);

/* Takes fd over as the lowest layer. 0 or -errno. */
int conn_use_fd(struct kvasir_conn *conn, int fd, struct kvasir_error *err);

/* The connection is over: remembers why, lets go of the socket. Calls and streams fail from now
 * on. */
void conn_lose(struct kvasir_conn *conn, int reason, int code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Copies why the connection ended. Negative. */
int conn_tell_lost(const struct kvasir_conn *conn, struct kvasir_error *err);

/* Queues a packet. The header's serial is to be filled. 0 or negative with err filled. */
int conn_send(struct kvasir_conn *conn, const struct packet_header *header, const void *payload,
              size_t len, const int *fds, size_t n_fds, struct kvasir_error *err);

/* Writes what the socket takes. */
void conn_flush(struct kvasir_conn *conn);

/* Waits up to timeout_ms (-1: for ever) for the socket, then reads and writes what is possible and
 * sorts packets. 1: something came or went, 0: not, negative: the connection is over. */
int conn_pump(struct kvasir_conn *conn, int timeout_ms, bool listen);

/* Whether a stream holds so much that the server is not listened to. */
bool conn_is_held(const struct kvasir_conn *conn);

int64_t now_ms(void);

/* ---- receive.c ---- */

/* Sorts all packets that are whole. Loses the connection when there is something else. */
void receive_packets(struct kvasir_conn *conn);

/* ---- call.c ---- */

/* XDR of a value into new memory. 0 or negative with err filled. */
int call_encode(xdrproc_t code, const void *value, void **bytes, size_t *len,
                struct kvasir_error *err);

/* XDR into a zeroed value; freed again when the bytes are not right. */
int call_decode(xdrproc_t code, const void *bytes, size_t len, void *value,
                struct kvasir_error *err);

/* The payload of a reply with status error. Negative. */
int call_server_error(const void *payload, size_t len, struct kvasir_error *err);

/* ---- error.c ---- */

int error_no_memory(struct kvasir_error *err);
int error_errno(struct kvasir_error *err, int number, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int error_invalid(struct kvasir_error *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- stream.c ---- */

struct kvasir_stream *stream_new(struct kvasir_conn *conn, const struct kvasir_procedure *procedure,
                                 uint32_t serial, struct kvasir_error *err);
/* A packet of a stream; -ENOMEM ends the connection. */
int stream_packet(struct kvasir_conn *conn, const struct packet *packet);

/* ---- parts.c: arguments put together piece by piece, for tables of procedures ---- */

struct parts {
    struct buffer bytes;
    int failed; /* 0 or negative: told by parts_call() */
};
#define PARTS_INIT ((struct parts){.bytes = BUFFER_INIT(PACKET_MAX)})

void parts_put_u32(struct parts *parts, uint32_t value);
void parts_put_u64(struct parts *parts, uint64_t value);
void parts_put_text(struct parts *parts, const char *text);
void parts_put_opt_text(struct parts *parts, const char *text); /* NULL: absent */
void parts_put(struct parts *parts, xdrproc_t code, const void *value);

/* Calls a procedure of the remote program; frees the parts. ret (zeroed, may be NULL) is decoded
 * by code. */
int parts_call(struct kvasir_conn *conn, struct parts *parts, int procedure, xdrproc_t code,
               void *ret, struct kvasir_error *err);

/* ---- domain.c, object.c: handles ---- */

/* Take over what the wire's struct holds, also when they fail (NULL, err filled). */
struct kvasir_domain *domain_take(struct kvasir_conn *conn, wire_domain *wire,
                                  struct kvasir_error *err);
struct kvasir_object *object_take(struct kvasir_conn *conn, int kind, void *wire,
                                  struct kvasir_error *err);

/* The wire's struct of an object and its coder. */
const void *object_wire(const struct kvasir_object *object, xdrproc_t *code);

/* ---- event.c ---- */

/* Whether anybody could want it. */
bool event_is_known(const struct kvasir_conn *conn, const struct packet_header *header);

/* Calls who registered. */
void event_deliver(struct kvasir_conn *conn, const struct queued_event *event);

/* ---- layers ---- */

struct uri;

/* Blocks for the handshake. tls.c loads GnuTLS. */
int tls_start(struct kvasir_conn *conn, const struct uri *uri, struct kvasir_error *err);

/* Proves who the user is by SASL; sasl.c loads libsasl2. */
int sasl_authenticate(struct kvasir_conn *conn, const struct uri *uri,
                      const struct kvasir_auth *auth, struct kvasir_error *err);

/* ---- open: connect.c (sockets), spawn.c (ssh, programs, session daemons) ---- */

int connect_socket(struct kvasir_conn *conn, const struct uri *uri, unsigned flags,
                   struct kvasir_error *err);
int connect_inet(struct kvasir_conn *conn, const char *host, const char *port,
                 struct kvasir_error *err);
int spawn_ssh(struct kvasir_conn *conn, const struct uri *uri, bool read_only,
              struct kvasir_error *err);
int spawn_program(struct kvasir_conn *conn, char *const argv[], struct kvasir_error *err);
int spawn_session_daemon(const struct uri *uri, struct kvasir_error *err);

#endif
