/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The client library with a server that says what the input says. An even first byte: the rest is
 * the server's bytes as they are. An odd one: the rest is a list of packets, each a byte for the
 * kind, two for a length, and a payload; the numbers in their heads are those that the client
 * waits for, so that payloads are looked at.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/client/uri.h"

enum record {
    SEND_REPLY, /* to the call that comes next */
    SEND_REPLY_ERROR,
    SEND_REPLY_FDS,
    SEND_EVENT, /* which: the payload's first byte */
    SEND_STREAM,
    SEND_STREAM_HOLE,
    SEND_STREAM_END,
    SEND_STREAM_ERROR,
    SEND_PING,
    RECORDS,
};

/* What the client asks below, in this order: serials are 1, 2, ... */
static const int script[] = {
    REMOTE_PROC_CONNECT_LIST_ALL_DOMAINS,
    REMOTE_PROC_CONNECT_GET_ALL_DOMAIN_STATS,
    REMOTE_PROC_CONNECT_LIST_ALL_STORAGE_POOLS,
    REMOTE_PROC_CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY,
    REMOTE_PROC_DOMAIN_LOOKUP_BY_NAME,
    REMOTE_PROC_DOMAIN_OPEN_CONSOLE,
};
#define STREAM_SERIAL 6

static int server; /* its end */

static void send_packet(struct packet_header header, const uint8_t *payload, size_t len)
{
    /* An event begins with the number of the callback that it is for. */
    uint8_t head[PACKET_HEAD + 4] = {0};
    size_t number = header.type == PACKET_MESSAGE && header.program != KEEPALIVE_PROGRAM ? 4 : 0;
    packet_put_head(head, &header, len + number);
    if (send(server, head, PACKET_HEAD + number, MSG_NOSIGNAL) < 0 ||
        send(server, payload, len, MSG_NOSIGNAL) < 0)
        return;
}

static void send_record(enum record kind, uint32_t *serial, const uint8_t *payload, size_t len)
{
    struct packet_header header = {.program = KVASIR_PROGRAM_REMOTE, .version = 1};
    switch (kind) {
    case SEND_REPLY:
    case SEND_REPLY_ERROR:
    case SEND_REPLY_FDS:
        if (*serial >= ARRAY_SIZE(script))
            return;
        header.procedure = script[(*serial)++];
        header.serial = *serial;
        header.type = kind == SEND_REPLY_FDS ? PACKET_REPLY_FDS : PACKET_REPLY;
        header.status = kind == SEND_REPLY_ERROR ? PACKET_ERROR : PACKET_OK;
        break;
    case SEND_EVENT:
        header.type = PACKET_MESSAGE;
        header.procedure = len ? 300 + payload[0] : 0;
        payload += len > 0;
        len -= len > 0;
        break;
    case SEND_PING:
        header = (struct packet_header){KEEPALIVE_PROGRAM, 1, KEEPALIVE_PING, PACKET_MESSAGE, 0, 0};
        break;
    default:
        header.procedure = REMOTE_PROC_DOMAIN_OPEN_CONSOLE;
        header.serial = STREAM_SERIAL;
        header.type = kind == SEND_STREAM_HOLE ? PACKET_STREAM_HOLE : PACKET_STREAM;
        header.status = kind == SEND_STREAM_END     ? PACKET_OK
                        : kind == SEND_STREAM_ERROR ? PACKET_ERROR
                                                    : PACKET_CONTINUE;
    }
    send_packet(header, payload, len);
}

static void send_records(const uint8_t *data, size_t size)
{
    uint32_t serial = 0;
    while (size >= 3) {
        size_t len = data[1] | (size_t)data[2] << 8;
        len = MIN(len, size - 3);
        send_record(data[0] % RECORDS, &serial, data + 3, len);
        data += 3 + len;
        size -= 3 + len;
    }
}

static void look_at_event(struct kvasir_conn *conn, const struct kvasir_event *event, void *opaque)
{
    size_t *sum = opaque;
    for (size_t i = 0; i < event->n_params; i++)
        *sum += event->params[i].type == KVASIR_PARAM_STRING ? strlen(event->params[i].value.s)
                                                             : strlen(event->params[i].name);
    *sum += event->domain ? strlen(kvasir_domain_name(event->domain)) : 0;
}

static void read_stream(struct kvasir_stream *stream)
{
    char bytes[100];
    uint64_t hole;
    ssize_t n;
    while ((n = kvasir_stream_receive(stream, bytes, sizeof(bytes), 0, NULL)) != 0) {
        if (n == -ENODATA && kvasir_stream_receive_hole(stream, &hole, NULL) == 0)
            continue;
        if (n < 0)
            break;
    }
    kvasir_stream_send(stream, bytes, 10, 0, NULL);
    kvasir_stream_finish(stream, NULL);
    kvasir_stream_free(stream);
}

/* As if all had been registered, so that every kind of event is looked at. */
static void register_all(struct kvasir_conn *conn, size_t *sum)
{
    for (int class = KVASIR_EVENTS_DOMAIN; class <= KVASIR_EVENTS_SECRET; class ++) {
        for (int id = 0; kvasir_event_name(class, id); id++) {
            struct registration *one = calloc(1, sizeof(*one));
            if (!one)
                abort();
            *one = (struct registration){
                .callback = 0, .event_class = class, .id = id, .fn = look_at_event, .opaque = sum};
            list_add_tail(&conn->registrations, &one->node);
        }
    }
}

static void ask(struct kvasir_conn *conn)
{
    struct kvasir_domain **domains, *domain = NULL;
    struct kvasir_object **pools;
    struct kvasir_stats *stats;
    struct kvasir_stream *stream;
    struct kvasir_error err;
    size_t n, sum = 0;
    if (kvasir_domain_list(conn, 0, &domains, &n, &err) == 0)
        kvasir_domains_free(domains);
    if (kvasir_domain_stats(conn, NULL, 0, 0, 0, &stats, &n, &err) == 0) {
        for (size_t i = 0; i < n; i++)
            kvasir_param_number(stats[i].params, stats[i].n_params, "state.state", 0);
        kvasir_stats_free(stats, n);
    }
    if (kvasir_object_list(conn, KVASIR_POOL, 0, &pools, &n, &err) == 0)
        kvasir_objects_free(pools);
    kvasir_event_register(conn, KVASIR_EVENTS_DOMAIN, KVASIR_EVENT_TUNABLE, NULL, NULL,
                          look_at_event, &sum, &err);
    register_all(conn, &sum);
    kvasir_domain_lookup_by_name(conn, "name", &domain, &err);
    if (domain && kvasir_domain_open_console(domain, NULL, 0, &stream, &err) == 0)
        read_stream(stream);
    kvasir_domain_free(domain);
    while (kvasir_conn_process(conn, &err) == 0)
        continue;
}

static void parse_uri(const uint8_t *data, size_t size)
{
    char text[256];
    struct uri uri;
    size = MIN(size, sizeof(text) - 1);
    memcpy(text, data, size);
    text[size] = '\0';
    if (uri_parse(text, &uri, NULL) == 0)
        uri_free(&uri);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int pair[2];
    if (size < 1)
        return 0;
    parse_uri(data + 1, size - 1);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        abort();
    struct kvasir_conn *conn = conn_new(NULL);
    if (!conn || conn_use_fd(conn, pair[0], NULL) < 0)
        abort();
    server = pair[1];
    if (data[0] & 1)
        send_records(data + 1, size - 1);
    else if (send(server, data + 1, size - 1, MSG_NOSIGNAL) < 0)
        abort();
    shutdown(server, SHUT_WR);
    ask(conn);
    kvasir_close(conn);
    close(server);
    return 0;
}
