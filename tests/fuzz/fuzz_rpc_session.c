/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several clients of libvirt's protocol at a time. The input is a list of steps: connect, call any
 * procedure with any arguments, stream, send descriptors, keepalive, pieces of packets, read or
 * do not, close half or all. Handlers stand for a driver: they open streams, send events and
 * descriptors, are slow, fail. "packets N" at the end says how many were sent.
 */
#include <libvirt/libvirt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "model/api_error.h"
#include "rpc/admin_procedure.h"
#include "rpc/event.h"
#include "rpc/internal.h"
#include "rpc/qemu_procedure.h"
#include "rpc/stream.h"

#include "input.h"

#define CLIENTS 4
#define PEERS 16
#define STEPS_MOST 400
#define PAYLOAD_MOST 600
#define BIG_EVENT 200000

static struct rpc_server *server;
static struct rpc_listener listeners[8];
static unsigned long long packets;

static struct {
    int fd;
    uint32_t serial;
    bool is_admin;
} clients[CLIENTS];

/* The other ends of streams, and the streams. */
static struct {
    int fd;
    struct rpc_stream *stream; /* until it ended */
} peers[PEERS];

static unsigned take_u8(struct input *in)
{
    return (unsigned)take(in, 1);
}

static void take_bytes(struct input *in, uint8_t *out, size_t len)
{
    size_t n = MIN(len, in->left);
    memcpy(out, in->data, n);
    memset(out + n, 0, len - n);
    in->data += n;
    in->left -= n;
}

/* ----------------------------------------------------------------- the driver */

static void stream_ended(void *opaque, enum rpc_stream_end how)
{
    peers[(uintptr_t)opaque].stream = NULL;
}

static int open_stream(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    uintptr_t i = 0;
    int pair[2];
    while (i < PEERS && (peers[i].fd >= 0 || peers[i].stream))
        i++;
    if (i == PEERS || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return api_error(err, VIR_ERR_OPERATION_FAILED, "no more");
    int r = rpc_stream_join_fd(call, pair[0], stream_ended, (void *)i, &peers[i].stream, err);
    if (r < 0)
        close(pair[1]);
    else
        peers[i].fd = pair[1];
    return r;
}

static int open_stream_and_fail(struct rpc_call *call, const void *args, void *ret,
                                struct kv_error *err)
{
    int r = open_stream(call, args, ret, err);
    return r < 0 ? r : api_error(err, VIR_ERR_OPERATION_FAILED, "after all");
}

static void emit(size_t len)
{
    static char text[BIG_EVENT + 1];
    memset(text, 'x', len);
    text[len] = '\0';
    wire_dom_event_detail body = {.dom = {.name = text, .id = 1}, .event = 1, .detail = 2};
    rpc_event_emit(server, RPC_EVENTS_DOMAIN, VIR_DOMAIN_EVENT_ID_LIFECYCLE, body.dom.uuid, &body);
}

static int send_event(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    emit(10);
    return 0;
}

static int give_fds(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    for (int i = 0; i < 40; i++)
        rpc_call_give_fd(call, dup(1));
    return 0;
}

static int take_fds(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    for (size_t i = 0; i < rpc_call_fds(call); i += 2)
        close(rpc_call_take_fd(call, i));
    return api_error(err, VIR_ERR_OPERATION_FAILED, "%zu descriptors", rpc_call_fds(call));
}

static int answer_much(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    REMOTE_RET(CONNECT_GET_CAPABILITIES) *out = ret;
    char *text = malloc(BIG_EVENT);
    memset(text, 'y', BIG_EVENT - 1);
    text[BIG_EVENT - 1] = '\0';
    out->capabilities = text;
    return 0;
}

static void closed(void *opaque)
{
}

static int wait_for_close(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    if (!rpc_client_off_close(rpc_call_client(call), closed, server))
        rpc_client_on_close(rpc_call_client(call), closed, server);
    return 0;
}

static int talk(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    rpc_call_start_keepalive(call);
    return 0;
}

static const struct rpc_handler handlers[] = {
    {REMOTE_PROC_DOMAIN_OPEN_CONSOLE, open_stream, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_OPEN_CHANNEL, open_stream_and_fail, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_CREATE, send_event, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_OPEN_GRAPHICS_FD, give_fds, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_CREATE_WITH_FILES, take_fds, RPC_INLINE},
    {REMOTE_PROC_CONNECT_GET_CAPABILITIES, answer_much, RPC_INLINE},
    {REMOTE_PROC_CONNECT_SUPPORTS_FEATURE, talk, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_DESTROY, wait_for_close, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_SUSPEND, send_event, 0}, /* on a worker */
    {0},
};

/* ------------------------------------------------------------------- decoding */

static void decode_as(xdrproc_t code, const uint8_t *bytes, size_t len)
{
    _Alignas(16) char value[1024] = {0};
    XDR xdr;
    xdrmem_create(&xdr, (char *)(uintptr_t)bytes, (u_int)len, XDR_DECODE);
    code(&xdr, value);
    xdr_destroy(&xdr);
    xdr_free(code, value);
}

/* ---------------------------------------------------------------- the clients */

static void throw_away_answers(int fd)
{
    char answers[65536], control[CMSG_SPACE(40 * sizeof(int))];
    struct iovec iov = {answers, sizeof(answers)};
    for (;;) {
        struct msghdr message = {.msg_iov = &iov,
                                 .msg_iovlen = 1,
                                 .msg_control = control,
                                 .msg_controllen = sizeof(control)};
        if (recvmsg(fd, &message, MSG_DONTWAIT) <= 0)
            return;
        for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head;
             head = CMSG_NXTHDR(&message, head)) {
            int fds[40];
            size_t n = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(fds, CMSG_DATA(head), n * sizeof(int));
            for (size_t i = 0; i < n; i++)
                close(fds[i]);
        }
    }
}

static void run(void)
{
    uv_run(&server->loop, UV_RUN_NOWAIT);
}

static void put(int client, const uint8_t *bytes, size_t len, unsigned fds)
{
    char control[CMSG_SPACE(40 * sizeof(int))] = {0};
    struct iovec iov = {(void *)(uintptr_t)bytes, len};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (clients[client].fd < 0 || !len)
        return;
    if (fds) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(fds * sizeof(int));
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        *head = (struct cmsghdr){CMSG_LEN(fds * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        for (unsigned i = 0; i < fds; i++)
            memcpy(CMSG_DATA(head) + i * sizeof(int), &(int){1}, sizeof(int));
    }
    ssize_t n = sendmsg(clients[client].fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)n;
}

static void connect_client(int client, unsigned kind)
{
    int pair[2];
    if (clients[client].fd >= 0)
        close(clients[client].fd);
    clients[client].fd = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        abort();
    struct rpc_client *made = client_new(&listeners[kind % ARRAY_SIZE(listeners)], pair[0]);
    if (!made)
        abort();
    clients[client].fd = pair[1];
    clients[client].serial = 1;
    clients[client].is_admin = kind % ARRAY_SIZE(listeners) >= 6;
}

static uint32_t take_procedure(struct input *in, int client, unsigned *program)
{
    static const uint32_t favourites[] = {
        REMOTE_PROC_DOMAIN_OPEN_CONSOLE,
        REMOTE_PROC_DOMAIN_OPEN_CHANNEL,
        REMOTE_PROC_DOMAIN_CREATE,
        REMOTE_PROC_DOMAIN_OPEN_GRAPHICS_FD,
        REMOTE_PROC_DOMAIN_CREATE_WITH_FILES,
        REMOTE_PROC_CONNECT_GET_CAPABILITIES,
        REMOTE_PROC_CONNECT_SUPPORTS_FEATURE,
        REMOTE_PROC_DOMAIN_DESTROY,
        REMOTE_PROC_DOMAIN_SUSPEND,
        REMOTE_PROC_CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY,
        REMOTE_PROC_CONNECT_DOMAIN_EVENT_REGISTER,
        REMOTE_PROC_CONNECT_DOMAIN_EVENT_DEREGISTER,
        REMOTE_PROC_CONNECT_DOMAIN_EVENT_REGISTER_ANY,
        REMOTE_PROC_AUTH_LIST,
        REMOTE_PROC_AUTH_SASL_INIT,
        REMOTE_PROC_AUTH_SASL_START,
        REMOTE_PROC_AUTH_SASL_STEP,
        REMOTE_PROC_CONNECT_REGISTER_CLOSE_CALLBACK,
    };
    unsigned which = take_u8(in);
    *program = clients[client].is_admin ? ADMIN_PROGRAM : REMOTE_PROGRAM;
    if (which < 128 && clients[client].is_admin)
        return which % ADMIN_PROC_END;
    if (which < 128)
        return favourites[which % ARRAY_SIZE(favourites)];
    *program = which < 200 ? REMOTE_PROGRAM : which < 225 ? ADMIN_PROGRAM : QEMU_PROGRAM;
    return (uint32_t)take(in, 2) % (which < 200 ? REMOTE_PROC_END + 4 : 32);
}

/* Zeros are arguments that nearly every procedure decodes; the administration's begin with a name.
 */
static size_t take_payload(struct input *in, uint8_t *out)
{
    static const uint8_t named[] = "\0\0\0\x08libvirtd\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0";
    unsigned len = take_u8(in);
    switch (len >> 6) {
    case 0:
        memset(out, 0, 64);
        return 64;
    case 1:
        memcpy(out, named, sizeof(named) - 1);
        take_bytes(in, out + 12, len & 7); /* over what follows the name */
        return sizeof(named) - 1;
    default:
        len = len >= 250 ? PAYLOAD_MOST : len & 63;
        take_bytes(in, out, len);
        return len;
    }
}

/* A packet of any kind, whole, or cut into pieces. */
static void send_packet(struct input *in, int client, unsigned type, unsigned fds)
{
    uint8_t packet[PACKET_HEAD + 4 + PAYLOAD_MOST + 64] = {0};
    unsigned program, status = type == PACKET_CALL ? PACKET_OK : take_u8(in) % 4;
    uint32_t procedure = take_procedure(in, client, &program);
    size_t before = fds ? 4 : 0, len = take_payload(in, packet + PACKET_HEAD + before);
    if (fds)
        packet_put_u32(packet + PACKET_HEAD, fds);
    struct packet_header header = {
        .program = program,
        .version = 1,
        .procedure = (int32_t)procedure,
        .type = type,
        .serial = type == PACKET_CALL ? ++clients[client].serial
                                      : clients[client].serial - take_u8(in) % 3,
        .status = status,
    };
    if (program == REMOTE_PROGRAM && procedure < REMOTE_PROC_END &&
        remote_procedures[procedure].name) {
        decode_as(remote_procedures[procedure].args_code, packet + PACKET_HEAD, len);
        decode_as(remote_procedures[procedure].ret_code, packet + PACKET_HEAD, len);
    }
    packet_put_head(packet, &header, len + before);
    size_t total = PACKET_HEAD + before + len, first = take_u8(in) % 4 ? total : total / 2;
    put(client, packet, first, 0);
    if (first < total) {
        run();
        put(client, packet + first, total - first, 0);
    }
    for (unsigned i = 0; i < fds; i += 8)
        put(client, packet, MIN(fds - i, 8u), MIN(fds - i, 8u)); /* bytes of any value */
    packets++;
}

static void keepalive(struct input *in, int client)
{
    uint8_t packet[PACKET_HEAD];
    struct packet_header header = {.program = KEEPALIVE_PROGRAM,
                                   .version = 1,
                                   .procedure = take_u8(in) % 4,
                                   .type = PACKET_MESSAGE,
                                   .status = PACKET_OK};
    packet_put_head(packet, &header, 0);
    put(client, packet, sizeof(packet), 0);
    packets++;
}

static void raw_bytes(struct input *in, int client)
{
    uint8_t bytes[256];
    size_t len = take_u8(in);
    take_bytes(in, bytes, len);
    put(client, bytes, len, 0);
    packets++;
}

/* Time goes by, for keepalive and for those who do not prove who they are. */
static void let_time_pass(unsigned seconds)
{
    for (int i = 0; i < RPC_SERVICES; i++) {
        list_for_each_safe (node, &server->services[i].clients) {
            struct rpc_client *client = list_entry(node, struct rpc_client, node);
            int64_t now = (int64_t)uv_now(&server->loop) + seconds * 1000LL;
            if (!keepalive_tick(client, now))
                client_close(client);
        }
    }
}

static void touch_peer(struct input *in)
{
    static const char much[65536];
    unsigned which = take_u8(in), peer = which % PEERS;
    struct kv_error why = {0};
    api_error(&why, VIR_ERR_OPERATION_FAILED, "enough");
    switch (which / PEERS % 4) {
    case 0:
        if (peers[peer].fd >= 0)
            close(peers[peer].fd);
        peers[peer].fd = -1;
        break;
    case 1:
        if (peers[peer].fd >= 0)
            throw_away_answers(peers[peer].fd);
        break;
    case 2:
        if (peers[peer].fd >= 0 && send(peers[peer].fd, much, sizeof(much), MSG_NOSIGNAL) < 0)
            return;
        break;
    default:
        if (peers[peer].stream)
            rpc_stream_abort(peers[peer].stream, &why);
    }
}

static void step(struct input *in)
{
    unsigned what = take_u8(in);
    int client = (int)(what >> 6) % CLIENTS;
    switch (what & 31) {
    case 0:
    case 1:
        connect_client(client, take_u8(in));
        break;
    case 2:
        raw_bytes(in, client);
        break;
    case 3:
    case 4:
    case 5:
        send_packet(in, client, PACKET_STREAM, 0);
        break;
    case 6:
        send_packet(in, client, PACKET_STREAM_HOLE, 0);
        break;
    case 7:
        send_packet(in, client, PACKET_CALL_FDS, 1 + take_u8(in) % 33);
        break;
    case 8:
        send_packet(in, client, PACKET_REPLY + take_u8(in) % 6, 0);
        break;
    case 9:
        keepalive(in, client);
        break;
    case 10:
    case 11:
        if (clients[client].fd >= 0)
            throw_away_answers(clients[client].fd);
        break;
    case 12:
        if (clients[client].fd >= 0)
            shutdown(clients[client].fd, take_u8(in) & 1 ? SHUT_WR : SHUT_RD);
        break;
    case 13:
        if (clients[client].fd >= 0)
            close(clients[client].fd);
        clients[client].fd = -1;
        break;
    case 14:
        emit(take_u8(in) & 1 ? BIG_EVENT : 20);
        break;
    case 15:
        let_time_pass(take_u8(in));
        break;
    case 16:
    case 17:
        touch_peer(in);
        break;
    case 18:
    case 19:
    case 20:
    case 21:
        run();
        break;
    default:
        send_packet(in, client, PACKET_CALL, 0);
    }
}

static bool somebody_is_served(void)
{
    return server->services[RPC_SERVICE_MAIN].n_clients ||
           server->services[RPC_SERVICE_ADMIN].n_clients || atomic_load(&server->later);
}

static void end_all(void)
{
    for (int i = 0; i < CLIENTS; i++) {
        if (clients[i].fd >= 0)
            close(clients[i].fd);
        clients[i].fd = -1;
    }
    while (somebody_is_served())
        run();
    for (int i = 0; i < RPC_SERVICES; i++)
        pool_drain(server->services[i].pool);
    run();
    for (int i = 0; i < PEERS; i++) {
        if (peers[i].fd >= 0)
            close(peers[i].fd);
        peers[i].fd = -1;
        if (peers[i].stream)
            abort(); /* of a client that is gone */
    }
    if (server->out_bytes)
        abort();
}

static void say_packets(void)
{
    fprintf(stderr, "packets %llu\n", packets);
}

static void set_up(void)
{
    struct kv_error err;
    log_level = LOG_ERROR;
    signal(SIGPIPE, SIG_IGN);
    atexit(say_packets);
    if (rpc_server_new(&server, &rpc_server_defaults, &err) < 0 ||
        rpc_server_register(server, handlers, NULL, &err) < 0)
        abort();
    rpc_server_set_sasl(server, NULL, &err);
    /* These would write files and start threads. */
    server->admin.slots[ADMIN_PROC_CONNECT_SET_LOGGING_OUTPUTS].fn = NULL;
    server->admin.slots[ADMIN_PROC_SERVER_SET_THREADPOOL_PARAMETERS].fn = NULL;
    for (unsigned kind = 0; kind < ARRAY_SIZE(listeners); kind++) {
        listeners[kind] = (struct rpc_listener){
            .service = &server->services[kind >= 6 ? RPC_SERVICE_ADMIN : RPC_SERVICE_MAIN],
            .transport = RPC_UNIX,
            .auth = kind == 4 || kind == 5 ? RPC_AUTH_SASL : RPC_AUTH_NONE,
            .read_only = kind == 3 || kind == 5,
        };
    }
    for (int i = 0; i < CLIENTS; i++)
        clients[i].fd = -1;
    for (int i = 0; i < PEERS; i++)
        peers[i].fd = -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    if (!server)
        set_up();
    connect_client(0, 0);
    for (int i = 0; i < STEPS_MOST && in.left; i++)
        step(&in);
    end_all();
    return 0;
}
