/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the server share.
 *
 * Threads: "loop" is for the loop's thread alone, "lock" for whoever holds the struct's lock.
 * Order of locks: service, events, client; the pool's and post_lock are innermost.
 * A client's memory lives as long as somebody holds a reference: the loop (until its socket is
 * closed), each call, each stream, whoever took one.
 */
#ifndef KV_RPC_INTERNAL_H
#define KV_RPC_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/list.h"
#include "rpc/packet.h"
#include "rpc/pool.h"
#include "rpc/reply.h"
#include "rpc/server.h"

#define OUT_HIGH MIB(4)      /* a client that leaves so much unread is not listened to */
#define EVENTS_HIGH MIB(16)  /* and if these are events, disconnected */
#define WAITING_CALLS_MAX 64 /* of a client, beyond those that are being carried out */
#define WAITING_BYTES_MAX MIB(64)
#define IN_BYTES_MAX MIB(256) /* sent by all clients together and not yet carried out */
#define IN_BYTES_FREE KIB(64) /* of a client, whatever the others sent */
#define CLOSERS_MAX 65536
#define STREAMS_MAX 64 /* of a client */

struct tls_session;
struct tls_context;
struct sasl_session;
struct sasl_settings;

/* Something to be done on the loop's thread; embedded in what it is about. */
struct server_task {
    struct list node;
    void (*fn)(struct server_task *task);
};

/* A handler with what it was registered with. */
struct rpc_slot {
    rpc_handler_fn *fn;
    void *opaque;
    unsigned flags;
};

struct rpc_program {
    uint32_t number, version;
    const struct rpc_procedure *rows; /* by number; rows without a name are none */
    size_t n_rows;
    struct rpc_slot *slots; /* n_rows of them */
};

#define SERVICE_PROGRAMS 2

/* A group of sockets with its own clients, workers and limits: "libvirtd" and "admin". */
struct rpc_service {
    struct rpc_server *server;
    const char *name;
    struct rpc_program *programs[SERVICE_PROGRAMS];
    struct pool *pool;
    pthread_mutex_t lock;
    struct list clients;             /* lock; changed by the loop */
    unsigned n_clients;              /* lock */
    unsigned n_strangers;            /* lock: of these, unproved or still in TLS's handshake */
    struct rpc_client_limits limits; /* lock */
    struct list listeners;           /* loop */
    uint64_t next_id;                /* loop */
};

struct rpc_listener {
    struct list node;
    struct rpc_service *service;
    uv_poll_t poll;
    int fd;
    enum rpc_transport transport;
    enum rpc_auth auth;
    bool read_only;
    bool open;  /* clients are let in: not as many as are allowed */
    char *path; /* to remove at the end; NULL: none, or not ours */
};

struct rpc_server {
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t tick; /* once a second */
    uv_timer_t patience;
    uv_signal_t signals[2];
    struct rpc_service services[RPC_SERVICES];
    struct rpc_program remote, qemu, admin;

    pthread_mutex_t post_lock;
    struct list posted; /* post_lock: clients with something for the loop */
    struct list tasks;  /* post_lock */

    pthread_mutex_t events_lock;
    struct list registrations; /* events_lock */
    atomic_uint *wanted;       /* by event, how many registered */
    atomic_size_t out_bytes;   /* of all clients: unread */
    atomic_size_t in_bytes;    /* of all clients: parts of packets, and calls not yet carried out */
    atomic_uint later;         /* jobs of rpc_server_run_later() under way */
    unsigned keepalive_interval, keepalive_count;
    struct tls_context *tls;
    struct sasl_settings *sasl;
    atomic_bool stopping;
    bool ending;              /* loop: no more is read */
    bool no_files;            /* loop: nobody is let in until a client leaves, or a second later */
    atomic_uint idle_timeout; /* seconds without clients after which to end; 0: never */
    atomic_uint inhibited;    /* reasons not to end then */
    unsigned idle_for;
    uint8_t scratch[128 << 10]; /* loop: what was just received */
};

/* Why a client is posted to the loop. */
enum post {
    POST_WRITE = 1 << 0,  /* something is left to write */
    POST_RESUME = 1 << 1, /* it may be listened to again */
    POST_CLOSE = 1 << 2,
};

/* Bytes that could not be written at once. */
struct rpc_out {
    struct list node;
    size_t len, done;
    unsigned n_fds, fds_done;
    int fds[PACKET_FDS_MAX];
    unsigned flags; /* enum send_flags */
    uint8_t bytes[];
};

struct rpc_closer {
    struct list node;
    struct pool_job job;
    struct rpc_server *server;
    void (*fn)(void *opaque);
    void *opaque;
};

struct rpc_client {
    struct list node; /* service's lock */
    struct list posted_node;
    unsigned posted; /* post_lock: enum post */
    atomic_uint refs;
    struct rpc_server *server;
    struct rpc_service *service;
    uint64_t id;
    int64_t connected_at; /* seconds since 1970 */
    enum rpc_transport transport;
    enum rpc_auth auth;
    bool read_only;
    pid_t pid;
    uid_t uid;
    gid_t gid;
    char *address; /* "127.0.0.1:41234"; NULL of unix sockets */
    char *x509_name, *sasl_user;
    atomic_bool proved;  /* who it is */
    atomic_bool asked;   /* its user is asked for a password, and has time */
    bool is_stranger;    /* service's lock: counted in n_strangers */
    atomic_bool goodbye; /* it said that it closes */

    int fd;            /* -1 once closed; lock for writing from other threads */
    uv_poll_t poll;    /* loop */
    int polled;        /* loop: enum uv_poll_event */
    struct buffer in;  /* loop: what is not yet a whole packet, or must wait */
    size_t in_counted; /* loop: of it, in the server's in_bytes */
    int in_fds[PACKET_FDS_MAX];
    unsigned n_in_fds;
    bool feeding;        /* loop: packets are being looked at */
    atomic_bool held;    /* not listened to for now */
    struct list waiting; /* loop: calls beyond the limit */
    unsigned n_waiting;
    size_t waiting_bytes;
    atomic_uint in_flight;
    struct list streams; /* lock; workers add, the loop removes */
    unsigned n_streams;  /* lock */
    struct tls_session *tls;
    struct sasl_session *sasl;
    bool direct;                  /* any thread may write */
    bool keepalive;               /* asked for */
    int64_t heard_at, arrived_at; /* ms of the loop's clock */
    unsigned pings;

    pthread_mutex_t lock;
    struct list out; /* lock: struct rpc_out */
    size_t out_bytes;
    bool closed;
    struct list closers;
    unsigned n_closers;
    bool close_callback; /* it wants to be told when we end */
    bool legacy_events;
    int next_callback;
    unsigned n_registrations; /* events_lock */
};

struct rpc_call {
    struct pool_job job;
    struct list node; /* in the client's waiting calls */
    struct rpc_client *client;
    const struct rpc_program *program;
    const struct rpc_procedure *row;
    const struct rpc_slot *slot;
    struct packet_header header;
    int in_fds[PACKET_FDS_MAX];
    unsigned n_in_fds;
    int out_fds[PACKET_FDS_MAX];
    unsigned n_out_fds;
    struct rpc_stream *stream; /* opened by the handler, not yet running */
    bool starts_sasl;
    void (*afterwards)(void *opaque); /* NULL: nothing */
    void *afterwards_opaque;
    bool on_loop;            /* it is carried out by the loop's thread */
    struct rpc_reply *reply; /* written by the handler; NULL: it fills ret */
    const uint8_t *payload;
    size_t payload_len;
    uint8_t copy[];
};

/* server.c */
void server_post_task(struct rpc_server *server, struct server_task *task); /* any thread */

/* admin.c */
extern const struct rpc_handler admin_handlers[];

/* client.c */
struct rpc_client *client_new(struct rpc_listener *listener, int fd);
enum send_flags {
    SEND_ENDS_CALL = 1 << 0,   /* when it is written, one call less is in flight */
    SEND_EVENT = 1 << 1,       /* nobody asked for it now: bounded */
    SEND_STARTS_SASL = 1 << 2, /* what follows it goes through SASL's protection */
};
/* Any thread. Written at once as far as possible, the rest queued. fds are closed then. 0, or
 * -errno when the client is gone or has too much unread. */
int client_send(struct rpc_client *client, const uint8_t *bytes, size_t len, const int *fds,
                unsigned n_fds, unsigned flags);
void client_close(struct rpc_client *client); /* loop */
void client_post(struct rpc_client *client, unsigned why);
void client_posted(struct rpc_client *client, unsigned why); /* loop */
void client_watch(struct rpc_client *client);                /* loop */
void client_call_done(struct rpc_client *client);
/* Whether so many bytes more of this client can be kept. */
bool client_may_keep(const struct rpc_client *client, size_t len);
void client_set_proved(struct rpc_client *client);
void client_is_known(struct rpc_client *client); /* if it is proved and TLS is ready */

/* dispatch.c. loop; -errno: the client is to be closed. */
int dispatch_packet(struct rpc_client *client, const struct packet *packet, int *fds);
void dispatch_waiting(struct rpc_client *client);
void dispatch_free_call(struct rpc_call *call); /* one that was queued */
int dispatch_send_error(struct rpc_client *client, const struct packet_header *header,
                        struct kv_error *err, bool ends_call);

/* reply.c. Encodes a value behind `before` bytes of the thread's room; its length or -errno. */
ssize_t reply_encode(xdrproc_t code, void *value, size_t before);
uint8_t *reply_bytes_written(void);
void reply_sent(void); /* large room is given back */

/* stream.c */
int stream_packet(struct rpc_client *client, const struct packet *packet);
void stream_attach(struct rpc_call *call);
void stream_start(struct rpc_call *call);
void stream_cancel(struct rpc_call *call);
void streams_close(struct rpc_client *client);
void streams_resume(struct rpc_client *client);
bool streams_full(struct rpc_client *client);

/* event.c */
int events_init(struct rpc_server *server);
void events_free(struct rpc_server *server);
void events_forget(struct rpc_client *client);
void events_say_goodbye(struct rpc_server *server);
extern const struct rpc_handler event_handlers[];

/* keepalive.c */
void keepalive_packet(struct rpc_client *client, const struct packet *packet);
/* Once a second. False: the client is dead. */
bool keepalive_tick(struct rpc_client *client, int64_t now_ms);

/* auth.c */
extern const struct rpc_handler auth_handlers[];

/* listen.c */
/* Whether its clients have something to prove, or a handshake before them. */
bool listener_meets_strangers(const struct rpc_listener *listener);
void listeners_update(struct rpc_server *server);
void listeners_close(struct rpc_server *server);

/* transport.c: 0 at the end, -EAGAIN, -errno. */
ssize_t transport_read(struct rpc_client *client, void *bytes, size_t len);
ssize_t transport_write(struct rpc_client *client, const void *bytes, size_t len);

ssize_t transport_raw_read(struct rpc_client *client, void *bytes, size_t len);
ssize_t transport_raw_write(struct rpc_client *client, const void *bytes, size_t len);

/* tls.c; loop. A client without TLS is ready. */
int tls_session_start(struct rpc_client *client);
ssize_t tls_session_read(struct rpc_client *client, void *bytes, size_t len);
ssize_t tls_session_write(struct rpc_client *client, const void *bytes, size_t len);
void tls_context_free(struct tls_context *context);
/* Bits of the key. */
unsigned tls_session_strength(const struct rpc_client *client);
/* Reads the files anew, for clients that connect from now on. Any thread. */
int tls_reload(struct rpc_server *server, struct kv_error *err);
bool tls_session_ready(const struct rpc_client *client);
int tls_session_wants(const struct rpc_client *client); /* enum uv_poll_event */
void tls_session_go_on(struct rpc_client *client);
void tls_session_free(struct rpc_client *client);

/* sasl.c; loop, also the handlers */
rpc_handler_fn auth_sasl_init, auth_sasl_start, auth_sasl_step;
ssize_t sasl_session_read(struct rpc_client *client, void *bytes, size_t len);
ssize_t sasl_session_write(struct rpc_client *client, const void *bytes, size_t len);
void sasl_settings_free(struct sasl_settings *settings);
void sasl_session_protect(struct rpc_client *client);
void sasl_session_free(struct rpc_client *client);

#endif
