/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connection tracking; see conntrack.h. Sequence numbers are not looked at. */
#include "switch/filter/conntrack.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/mman.h>

#include "base/util.h"

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

#define ICMPV4_ECHO_REPLY 0
#define ICMPV4_ECHO 8
#define ICMPV6_ECHO 128
#define ICMPV6_ECHO_REPLY 129

/* Seconds without a packet, of TCP by state (RFC 5382 has the least), of the others before and
 * after the first answer (RFC 4787, 5508). */
static const uint32_t tcp_timeouts[] = {
    [CONNECTION_NEW] = 60,      [CONNECTION_REPLIED] = 60, [CONNECTION_ESTABLISHED] = 86400,
    [CONNECTION_CLOSING] = 240, [CONNECTION_CLOSED] = 10,
};
#define UNANSWERED_S 30
#define ANSWERED_S 120

static size_t size_of(const struct conntrack *conntrack)
{
    return (conntrack->mask + 1ULL) * sizeof(*conntrack->buckets);
}

int conntrack_init(struct conntrack *conntrack, unsigned entries, struct kv_error *err)
{
    *conntrack = (struct conntrack){.mask = entries / CONNTRACK_BUCKET - 1};
    int rc = flow_secret_make(&conntrack->secret);
    if (rc == 0) {
        /* Pages that no connection is in take no memory. */
        void *map = mmap(NULL, size_of(conntrack), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        rc = map == MAP_FAILED ? -errno : 0;
        conntrack->buckets = rc == 0 ? map : NULL;
    }
    return rc < 0 ? kv_error_errno(err, KV_ERR_NET, -rc, "table of %u connections", entries) : 0;
}

void conntrack_free(struct conntrack *conntrack)
{
    if (conntrack->buckets)
        munmap(conntrack->buckets, size_of(conntrack));
    conntrack->buckets = NULL;
}

/* --- Tuples ------------------------------------------------------------------- */

static bool has_ports(uint8_t protocol)
{
    return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

static bool is_icmp(const struct flow_key *key)
{
    return key->protocol == (key->type == FLOW_TYPE_IPV6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

static void make_tuple(struct conntrack_tuple *tuple, unsigned port,
                       enum filter_direction direction, const struct flow_key *key)
{
    bool from_local = direction == FILTER_IN;
    *tuple = (struct conntrack_tuple){.port = (uint16_t)port,
                                      .vlan = key->vlan,
                                      .protocol = key->protocol,
                                      .ipv6 = key->type == FLOW_TYPE_IPV6};
    memcpy(tuple->local, from_local ? key->from : key->to, sizeof(tuple->local));
    memcpy(tuple->remote, from_local ? key->to : key->from, sizeof(tuple->remote));
    if (is_icmp(key)) {
        tuple->local_port = key->icmp_id;
    } else if (has_ports(key->protocol)) {
        tuple->local_port = from_local ? key->from_port : key->to_port;
        tuple->remote_port = from_local ? key->to_port : key->from_port;
    }
}

#define TUPLE_WORDS (sizeof(struct conntrack_tuple) / sizeof(uint64_t))
_Static_assert(sizeof(struct conntrack_tuple) == 48, "no padding, which would be compared");

static uint64_t tuple_word(const struct conntrack_tuple *tuple, unsigned i)
{
    return load_le((const uint8_t *)tuple + i * 8, 8);
}

static uint64_t hash_tuple(const struct conntrack *conntrack, const struct conntrack_tuple *tuple)
{
    uint64_t hash = 0;
    for (unsigned i = 0; i < TUPLE_WORDS; i++)
        hash = flow_hash_add(hash, tuple_word(tuple, i), &conntrack->secret);
    return hash;
}

static bool is_tuple(const struct conntrack_tuple *a, const struct conntrack_tuple *b)
{
    uint64_t differ = 0;
    for (unsigned i = 0; i < TUPLE_WORDS; i++)
        differ |= tuple_word(a, i) ^ tuple_word(b, i);
    return differ == 0;
}

/* --- Looking ------------------------------------------------------------------ */

static struct conntrack_bucket *bucket_of(const struct conntrack *conntrack, uint64_t hash,
                                          unsigned which)
{
    return &conntrack->buckets[(which ? hash >> 32 : hash) & conntrack->mask];
}

static bool is_expired(const struct connection *connection, uint32_t now_s)
{
    return (int32_t)(now_s - connection->expires_s) > 0;
}

static struct connection *find(const struct conntrack *conntrack,
                               const struct conntrack_tuple *tuple, uint32_t now_s)
{
    uint64_t hash = hash_tuple(conntrack, tuple);
    for (unsigned which = 0; which < 2; which++) {
        struct conntrack_bucket *bucket = bucket_of(conntrack, hash, which);
        for (unsigned i = 0; i < CONNTRACK_BUCKET; i++) {
            struct connection *connection = &bucket->slots[i];
            if (connection->state != CONNECTION_FREE && is_tuple(&connection->tuple, tuple) &&
                !is_expired(connection, now_s))
                return connection;
        }
    }
    return NULL;
}

/* Errors about a packet; redirects are none (RFC 792, RFC 4443). */
static bool is_error(const struct flow_key *key)
{
    if (!is_icmp(key))
        return false;
    if (key->type == FLOW_TYPE_IPV6)
        return key->from_port >= 1 && key->from_port <= 4;
    return key->from_port == 3 || key->from_port == 11 || key->from_port == 12;
}

static void look_at_quoted(const struct conntrack *conntrack, unsigned port,
                           enum filter_direction direction, const struct flow_key *key,
                           const struct flow_headers *headers, uint32_t now_s,
                           struct tracked *tracked)
{
    struct flow_key quoted;
    if (!flow_key_read_quoted(&quoted, headers, key))
        return;
    /* Who hears of the error sent the packet. */
    make_tuple(&tracked->tuple, port, direction == FILTER_IN ? FILTER_OUT : FILTER_IN, &quoted);
    tracked->connection = find(conntrack, &tracked->tuple, now_s);
    if (tracked->connection)
        tracked->kind = TRACKING_RELATED;
}

static bool is_echo(const struct flow_key *key)
{
    return key->from_port == (key->type == FLOW_TYPE_IPV6 ? ICMPV6_ECHO : ICMPV4_ECHO);
}

static bool is_echo_reply(const struct flow_key *key)
{
    return key->from_port == (key->type == FLOW_TYPE_IPV6 ? ICMPV6_ECHO_REPLY : ICMPV4_ECHO_REPLY);
}

static bool is_no_tcp(unsigned flags)
{
    return (flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)) == 0 ||
           (flags & TCP_SYN && flags & (TCP_FIN | TCP_RST));
}

/* What a packet without a connection is. */
static enum tracking first_of(const struct flow_key *key)
{
    if (is_icmp(key))
        return is_echo(key) ? TRACKING_NEW : TRACKING_NONE;
    /* The end of a connection that nobody knows is no beginning. */
    if (key->protocol == IPPROTO_TCP && key->tcp_flags & (TCP_RST | TCP_FIN))
        return TRACKING_NONE;
    return TRACKING_NEW;
}

void conntrack_look(const struct conntrack *conntrack, unsigned port,
                    enum filter_direction direction, const struct flow_key *key,
                    const struct flow_headers *headers, uint32_t now_s, struct tracked *tracked)
{
    *tracked = (struct tracked){.kind = TRACKING_NONE};
    if (key->type != FLOW_TYPE_IPV4 && key->type != FLOW_TYPE_IPV6)
        return;
    if (is_error(key)) {
        look_at_quoted(conntrack, port, direction, key, headers, now_s, tracked);
        return;
    }
    if (is_icmp(key) && !is_echo(key) && !is_echo_reply(key))
        return;
    if (key->protocol == IPPROTO_TCP && is_no_tcp(key->tcp_flags)) {
        tracked->kind = TRACKING_INVALID;
        return;
    }
    make_tuple(&tracked->tuple, port, direction, key);
    struct connection *connection = find(conntrack, &tracked->tuple, now_s);
    bool begins = key->protocol == IPPROTO_TCP && (key->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
    tracked->connection = connection;
    if (!connection || (begins && connection->state == CONNECTION_CLOSED))
        tracked->kind = first_of(key);
    /* Who asked does not answer, nor the other way. */
    else if (is_icmp(key) && is_echo(key) != (connection->origin == direction))
        tracked->kind = TRACKING_NONE;
    else
        tracked->kind = TRACKING_KNOWN;
}

/* --- Coming and going --------------------------------------------------------- */

void conntrack_forget(struct conntrack *conntrack, struct connection *connection)
{
    connection->state = CONNECTION_FREE;
    connection->version++;
    conntrack->used_by[connection->tuple.port]--;
}

static void forget_expired(struct conntrack *conntrack, struct conntrack_bucket *bucket,
                           uint32_t now_s)
{
    for (unsigned i = 0; i < CONNTRACK_BUCKET; i++) {
        struct connection *connection = &bucket->slots[i];
        if (connection->state != CONNECTION_FREE && is_expired(connection, now_s))
            conntrack_forget(conntrack, connection);
    }
}

/* Of two that nobody answered, the one to make room: the port's own rather, the older one. */
static bool is_better_victim(const struct connection *candidate, const struct connection *victim,
                             unsigned port)
{
    if (!victim)
        return true;
    bool own = candidate->tuple.port == port, has_own = victim->tuple.port == port;
    if (own != has_own)
        return own;
    return (int32_t)(candidate->expires_s - victim->expires_s) < 0;
}

/* A free place in the two buckets, or that of a connection that nobody answered: at its limit a
 * port gives up its own only. NULL: there is none. */
static struct connection *make_room(struct conntrack *conntrack, uint64_t hash, unsigned port,
                                    unsigned limit, uint32_t now_s)
{
    struct connection *place = NULL, *victim = NULL;
    /* Those that expired elsewhere are found little by little. */
    forget_expired(conntrack, &conntrack->buckets[conntrack->hand++ & conntrack->mask], now_s);
    for (unsigned which = 0; which < 2; which++) {
        struct conntrack_bucket *bucket = bucket_of(conntrack, hash, which);
        forget_expired(conntrack, bucket, now_s);
        for (unsigned i = 0; i < CONNTRACK_BUCKET; i++) {
            struct connection *connection = &bucket->slots[i];
            if (connection->state == CONNECTION_FREE)
                place = place ? place : connection;
            else if (connection->state == CONNECTION_NEW &&
                     is_better_victim(connection, victim, port))
                victim = connection;
        }
    }
    bool full = conntrack->used_by[port] >= limit;
    if (place && !full)
        return place;
    if (!victim || (full && victim->tuple.port != port))
        return NULL;
    conntrack_forget(conntrack, victim);
    return victim;
}

bool conntrack_add(struct conntrack *conntrack, struct tracked *tracked,
                   enum filter_direction direction, const struct flow_key *key, unsigned limit,
                   uint32_t now_s)
{
    bool tcp = key->protocol == IPPROTO_TCP;
    unsigned port = tracked->tuple.port;
    if (tracked->connection)
        conntrack_forget(conntrack, tracked->connection);
    tracked->connection =
        make_room(conntrack, hash_tuple(conntrack, &tracked->tuple), port, limit, now_s);
    if (!tracked->connection)
        return false;
    conntrack->used_by[port]++;
    *tracked->connection = (struct connection){
        .tuple = tracked->tuple,
        .expires_s = now_s + (tcp ? tcp_timeouts[CONNECTION_NEW] : UNANSWERED_S),
        .state = CONNECTION_NEW,
        .origin = (uint8_t)direction,
        .loose = tcp && (key->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN,
        .version = tracked->connection->version + 1,
    };
    return true;
}

bool conntrack_put(struct conntrack *conntrack, const struct connection *connection)
{
    uint64_t hash = hash_tuple(conntrack, &connection->tuple);
    for (unsigned which = 0; which < 2; which++) {
        struct conntrack_bucket *bucket = bucket_of(conntrack, hash, which);
        for (unsigned i = 0; i < CONNTRACK_BUCKET; i++) {
            if (bucket->slots[i].state != CONNECTION_FREE)
                continue;
            uint32_t version = bucket->slots[i].version + 1;
            bucket->slots[i] = *connection;
            bucket->slots[i].version = version;
            conntrack->used_by[connection->tuple.port]++;
            return true;
        }
    }
    return false;
}

static void see_tcp(struct connection *connection, enum filter_direction direction, unsigned flags,
                    uint32_t now_s)
{
    bool asks = direction == connection->origin;
    if (connection->state == CONNECTION_CLOSED)
        return;
    if (flags & TCP_RST) {
        connection->state = CONNECTION_CLOSED;
    } else if (flags & TCP_FIN) {
        connection->closing |= (uint8_t)BIT(direction);
        connection->state = connection->closing == (BIT(FILTER_IN) | BIT(FILTER_OUT))
                                ? CONNECTION_CLOSED
                                : CONNECTION_CLOSING;
    } else if (connection->state == CONNECTION_NEW && !asks && flags & TCP_ACK) {
        if (connection->loose)
            connection->state = CONNECTION_ESTABLISHED;
        else if (flags & TCP_SYN)
            connection->state = CONNECTION_REPLIED;
    } else if (connection->state == CONNECTION_REPLIED && asks && flags & TCP_ACK) {
        connection->state = CONNECTION_ESTABLISHED;
    }
    connection->expires_s = now_s + tcp_timeouts[connection->state];
}

static void see_any(struct connection *connection, enum filter_direction direction, uint32_t now_s)
{
    if (direction != connection->origin)
        connection->state = CONNECTION_ESTABLISHED;
    connection->expires_s =
        now_s + (connection->state == CONNECTION_NEW ? UNANSWERED_S : ANSWERED_S);
}

void conntrack_seen(struct connection *connection, enum filter_direction direction,
                    const struct flow_key *key, uint32_t now_s)
{
    uint8_t state = connection->state, closing = connection->closing;
    if (key->protocol == IPPROTO_TCP)
        see_tcp(connection, direction, key->tcp_flags, now_s);
    else
        see_any(connection, direction, now_s);
    if (connection->state != state || connection->closing != closing)
        connection->version++;
}

void conntrack_forget_port(struct conntrack *conntrack, unsigned port)
{
    for (uint64_t b = 0; conntrack->used_by[port] && b <= conntrack->mask; b++) {
        for (unsigned i = 0; i < CONNTRACK_BUCKET; i++) {
            struct connection *connection = &conntrack->buckets[b].slots[i];
            if (connection->state != CONNECTION_FREE && connection->tuple.port == port)
                conntrack_forget(conntrack, connection);
        }
    }
}

void conntrack_origin_key(const struct connection *connection, enum filter_direction direction,
                          const struct flow_key *key, struct flow_key *origin)
{
    *origin = *key;
    if (connection->origin == direction)
        return;
    memcpy(origin->to_mac, key->from_mac, 6);
    memcpy(origin->from_mac, key->to_mac, 6);
    memcpy(origin->to, key->from, sizeof(origin->to));
    memcpy(origin->from, key->to, sizeof(origin->from));
    if (is_icmp(key)) {
        origin->from_port = key->type == FLOW_TYPE_IPV6 ? ICMPV6_ECHO : ICMPV4_ECHO;
        return;
    }
    origin->from_port = key->to_port;
    origin->to_port = key->from_port;
}
