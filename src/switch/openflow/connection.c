/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages in and out, and agreeing on a version (1.3.5, 6.3.1); see connection.h. */
#include "switch/openflow/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

#define IN_MAX (2 * OFP_MESSAGE_MAX)
#define OUT_MAX MIB(16)      /* who does not read what he asked for loses the connection */
#define OUT_UNASKED KIB(256) /* and is told nothing else beyond this */
#define READ_SIZE 65536
#define ERROR_QUOTE 64 /* bytes of a message that is refused */
#define VERSIONS (BIT(OFP_10) | BIT(OFP_13))

/* --- Sending --------------------------------------------------------------------- */

/* Its end comes as an event. */
static void give_up(struct connection *c)
{
    c->ended = true;
    shutdown(c->source.fd, SHUT_RDWR);
}

static void flush(struct connection *c)
{
    while (c->out.len && !c->ended) {
        ssize_t n =
            send(c->source.fd, buffer_bytes(&c->out), c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0)
            give_up(c);
        else
            buffer_consume(&c->out, (size_t)n);
    }
    if (c->source.loop && !c->ended)
        loop_modify(&c->source, c->out.len ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Who snoops hears the message, unless he does not listen. */
static void show(struct openflow *openflow, const struct connection *said, const void *data,
                 size_t len)
{
    list_for_each (node, &openflow->connections) {
        struct connection *c = list_entry(node, struct connection, node);
        if (!c->snoops || c == said || !c->version || c->out.len > OUT_UNASKED)
            continue;
        if (buffer_append(&c->out, data, len) == 0)
            flush(c);
    }
}

struct wire connection_begin(struct connection *c, uint8_t type, uint32_t xid)
{
    struct openflow *openflow = c->openflow;
    struct wire wire = {.data = openflow->message, .room = sizeof(openflow->message)};
    wire_put(&wire, c->version ? c->version : OFP_13, 1);
    wire_put(&wire, type, 1);
    wire_put(&wire, 0, 2);
    wire_put(&wire, xid, 4);
    return wire;
}

void connection_end(struct connection *c, struct wire *wire)
{
    if (wire->overflow) {
        log_warning("OpenFlow of '%s': an answer is too long", c->openflow->bridge->name);
        give_up(c);
        return;
    }
    wire_patch(wire, 2, wire->len, 2);
    if (buffer_append(&c->out, wire->data, wire->len) < 0) {
        give_up(c);
        return;
    }
    flush(c);
    if (!c->snoops)
        show(c->openflow, c, wire->data, wire->len);
}

void connection_refuse(struct connection *c, const struct message *m, enum ofp_error error)
{
    struct ofp_error_code code = ofp_error_code(error, c->version);
    struct wire wire = connection_begin(c, OFPT_ERROR, m->xid);
    size_t quote = MIN(m->len, (size_t)ERROR_QUOTE - OFP_HEADER);
    wire_put(&wire, code.type, 2);
    wire_put(&wire, code.code, 2);
    wire_put(&wire, m->version, 1);
    wire_put(&wire, m->type, 1);
    wire_put(&wire, OFP_HEADER + m->len, 2);
    wire_put(&wire, m->xid, 4);
    wire_bytes(&wire, m->body, quote);
    connection_end(c, &wire);
}

/* --- Hello ------------------------------------------------------------------------ */

static void say_hello(struct connection *c)
{
    struct wire wire = connection_begin(c, OFPT_HELLO, 0);
    wire_put(&wire, OFP_HELLO_VERSION_BITMAP, 2);
    wire_put(&wire, 8, 2);
    wire_put(&wire, VERSIONS, 4);
    connection_end(c, &wire);
}

/* Versions of the other side's: the bitmap's, or those up to the header's. */
static uint32_t versions_of(const struct message *m)
{
    for (size_t at = 0; m->len - at >= 8;) {
        size_t len = load_be(m->body + at + 2, 2);
        if (load_be(m->body + at, 2) == OFP_HELLO_VERSION_BITMAP && len >= 8)
            return (uint32_t)load_be(m->body + at + 4, 4);
        if (len < 4 || ALIGN_UP(len, (size_t)8) > m->len - at)
            break;
        at += ALIGN_UP(len, (size_t)8);
    }
    return m->version >= 31 ? UINT32_MAX : (uint32_t)BIT(m->version + 1) - 1;
}

static int hear_hello(struct connection *c, const struct message *m)
{
    uint32_t common = versions_of(m) & VERSIONS;
    if (common) {
        c->version = common & BIT(OFP_13) ? OFP_13 : OFP_10;
        return 0;
    }
    c->version = m->version == OFP_10 ? OFP_10 : OFP_13;
    connection_refuse(c, m, OFP_HELLO_INCOMPATIBLE);
    return -EPROTO;
}

/* --- Requests ----------------------------------------------------------------------- */

static enum ofp_error ignore(struct connection *c, const struct message *m)
{
    return OFP_OK;
}

static enum ofp_error refuse_experimenter(struct connection *c, const struct message *m)
{
    return m->len < 8 ? OFP_BAD_LEN : OFP_BAD_EXPERIMENTER;
}

/* The same numbers in both versions, then each one's own. */
#define REQUESTS                                                                          \
    [OFPT_HELLO] = ignore, [OFPT_ERROR] = ignore, [OFPT_ECHO_REQUEST] = answer_echo,      \
    [OFPT_ECHO_REPLY] = ignore, [OFPT_EXPERIMENTER] = refuse_experimenter,                \
    [OFPT_FEATURES_REQUEST] = answer_features, [OFPT_GET_CONFIG_REQUEST] = answer_config, \
    [OFPT_SET_CONFIG] = set_config, [OFPT_PACKET_OUT] = send_packet,                      \
    [OFPT_FLOW_MOD] = change_flows

static request_fn *const requests_10[] = {
    REQUESTS,
    [OFPT10_PORT_MOD] = change_port,
    [OFPT10_STATS_REQUEST] = answer_stats,
    [OFPT10_BARRIER_REQUEST] = answer_barrier,
};

static request_fn *const requests_13[] = {
    REQUESTS,
    [OFPT13_PORT_MOD] = change_port,
    [OFPT13_MULTIPART_REQUEST] = answer_stats,
    [OFPT13_BARRIER_REQUEST] = answer_barrier,
};

static void carry_out(struct connection *c, const struct message *m)
{
    request_fn *fn = NULL;
    enum ofp_error error = OFP_BAD_TYPE;
    if (is_13(c) && m->type < ARRAY_SIZE(requests_13))
        fn = requests_13[m->type];
    else if (!is_13(c) && m->type < ARRAY_SIZE(requests_10))
        fn = requests_10[m->type];
    if (m->version != c->version && m->type != OFPT_HELLO)
        error = OFP_BAD_VERSION;
    else if (fn)
        error = fn(c, m);
    if (error != OFP_OK)
        connection_refuse(c, m, error);
}

/* --- Receiving ------------------------------------------------------------------------ */

static int take_messages(struct connection *c)
{
    while (c->in.len >= OFP_HEADER && !c->ended) {
        const uint8_t *data = buffer_bytes(&c->in);
        size_t len = load_be(data + 2, 2);
        if (len < OFP_HEADER || (!c->version && data[1] != OFPT_HELLO))
            return -EPROTO;
        if (c->in.len < len)
            break;
        const struct message m = {.version = data[0],
                                  .type = data[1],
                                  .xid = (uint32_t)load_be(data + 4, 4),
                                  .body = data + OFP_HEADER,
                                  .len = len - OFP_HEADER};
        if (!c->version) {
            if (hear_hello(c, &m) < 0)
                return -EPROTO;
        } else if (!c->snoops) {
            show(c->openflow, c, data, len);
            carry_out(c, &m);
        }
        buffer_consume(&c->in, len);
    }
    return c->ended ? -EPROTO : 0;
}

int connection_take(struct connection *c, const uint8_t *data, size_t len)
{
    if (buffer_append(&c->in, data, len) < 0)
        return -EPROTO;
    int rc = take_messages(c);
    if (c->openflow->flows.changed)
        openflow_hurry(c->openflow);
    return rc;
}

static void on_event(void *opaque, uint32_t events)
{
    struct connection *c = opaque;
    uint8_t data[READ_SIZE];
    if (events & EPOLLOUT)
        flush(c);
    ssize_t n = recv(c->source.fd, data, MIN(sizeof(data), buffer_room(&c->in)), MSG_DONTWAIT);
    if (n > 0 && connection_take(c, data, (size_t)n) < 0)
        c->ended = true;
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        c->ended = true;
    if (c->ended)
        connection_free(c);
}

/* --- Begin and end ---------------------------------------------------------------------- */

int connection_add(struct openflow *openflow, int fd, bool snoops)
{
    struct connection *c = calloc(1, sizeof(*c));
    if (!c || openflow->connection_count == CONNECTIONS_MAX) {
        free(c);
        return -EMFILE;
    }
    c->openflow = openflow;
    c->snoops = snoops;
    c->in = BUFFER_INIT(IN_MAX);
    c->out = BUFFER_INIT(OUT_MAX);
    c->source = LOOP_SOURCE_INIT;
    c->miss_len = OFP_MISS_LEN_DEFAULT;
    int rc = loop_add(openflow->loop, &c->source, fd, EPOLLIN, on_event, c);
    if (rc < 0) {
        free(c);
        return rc;
    }
    list_add_tail(&openflow->connections, &c->node);
    openflow->connection_count++;
    say_hello(c);
    return 0;
}

void connection_free(struct connection *c)
{
    list_del(&c->node);
    c->openflow->connection_count--;
    loop_remove(&c->source);
    close(c->source.fd);
    buffer_free(&c->in);
    buffer_free(&c->out);
    free(c);
}
