/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: frames of any shape through what filters do with them. They are templates with bytes
 * changed, cut, in pieces. What is sent is what came, and what was looked at is sent though its
 * sender changes it; the classifier finds what a linear search finds; the table of connections
 * counts what it has.
 */
#include <netinet/in.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "frame_templates.h"
#include "input.h"
#include "require.h"
#include "switch/filter/filter.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define FRAMES_MAX 16  /* of an input */
#define MATCHES 24     /* of the classifier */
#define CONNECTIONS 64 /* room */
#define PAUSE_S 200000 /* between inputs: no connection lasts so long */

static struct forward forward;
static struct bridge *bridge;
static struct port ports[2];
static struct filter filters[2];
static struct port_security security;
static struct classifier *classifier;
static struct flow_match matches[MATCHES];

/* Parts of the templates' keys, so that much matches. */
static void make_matches(void)
{
    classifier = classifier_new(NULL);
    require(classifier != NULL);
    for (unsigned i = 0; i < MATCHES; i++) {
        struct flow_match *match = &matches[i];
        require(packet_key(&frame_templates[i % FRAME_TEMPLATES], &match->key));
        for (size_t b = 0; b < sizeof(match->key); b++) {
            uint8_t care = (b / 4 + i) % 3 == 0 ? (uint8_t)(0xff << i % 5) : 0;
            ((uint8_t *)&match->mask)[b] = care;
            ((uint8_t *)&match->key)[b] &= care;
        }
        require(classifier_add(classifier, match, i, match) == 0);
    }
}

static struct acl *make_acl(bool stateful)
{
    struct kv_error err;
    json_t *object = json_pack(
        "{s:s, s:s, s:b, s:[{s:s, s:s, s:s}, {s:s, s:s, s:s, s:s}, {s:s, s:s}]}", "name", "x",
        "default", "deny", "stateful", stateful, "rules", "action", "allow", "direction", "in",
        "from", "10.0.0.0/24,fd00::/64", "action", "deny", "protocol", "tcp", "to-ports", "1-1000",
        "direction", "out", "action", "allow", "type", "arp");
    struct acl *acl = acl_new(object, &err);
    require(acl != NULL);
    json_decref(object);
    return acl;
}

/* Small enough that it is full now and then, and always the same. */
static void renew_tables(void)
{
    static const struct flow_secret secret = {{11, 13}};
    struct filter_tables *tables = bridge->tables;
    conntrack_free(&tables->conntrack);
    require(conntrack_init(&tables->conntrack, CONNECTIONS, NULL) == 0);
    tables->conntrack.secret = tables->fragments.secret = secret;
    memset(tables->fragments.sets, 0, sizeof(tables->fragments.sets));
    forward.now_s = 1000;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct kv_error err;
    log_level = LOG_ERROR;
    frame_templates_make();
    make_matches();
    bridge = bridge_new(&forward, "br0", 64, 300, &err);
    require(bridge && bridge_prepare_filters(bridge, &err) == 0);
    security = (struct port_security){.dhcp_guard = true, .router_guard = true};
    require(port_security_parse(&security, "02:00:00:00:00:01", "10.0.0.0/24,fd00::/64", &err) ==
            0);
    for (unsigned i = 0; i < 2; i++) {
        filters[i] = (struct filter){.acl = make_acl(i == 0), .connections = CONNECTIONS / 2};
        ports[i] = (struct port){.filter = &filters[i], .forward = &forward};
        require(bridge_attach(bridge, &ports[i]) == 0);
    }
    filters[0].security = &security;
    renew_tables();
    return 0;
}

static unsigned gather(const struct frame *frame, uint8_t *to)
{
    unsigned len = FRAME_HEAD;
    memcpy(to, frame->head, FRAME_HEAD);
    for (unsigned i = 0; i < frame->rest_count; i++) {
        memcpy(to + len, frame->rest[i].iov_base, frame->rest[i].iov_len);
        len += (unsigned)frame->rest[i].iov_len;
    }
    return len;
}

static const void *search(const struct flow_key *key)
{
    for (unsigned i = MATCHES; i-- > 0;) {
        uint64_t differ = 0;
        for (unsigned w = 0; w < FLOW_KEY_WORDS; w++)
            differ |= (flow_key_word(key, w) & flow_key_word(&matches[i].mask, w)) ^
                      flow_key_word(&matches[i].key, w);
        if (!differ)
            return &matches[i];
    }
    return NULL;
}

static void change(struct packet *p, struct input *in)
{
    for (uint64_t n = take(in, 1) % 8; n; n--) {
        unsigned at = (unsigned)take(in, 1) % p->len;
        p->bytes[at] = (uint8_t)take(in, 1);
    }
    uint64_t cut = take(in, 1);
    if (cut >= FRAME_BYTES_MIN)
        p->len = (unsigned)MIN(cut, p->len);
}

static void pass(struct input *in)
{
    static struct packet p;
    static uint8_t came[PACKET_MAX], sent[PACKET_MAX];
    static struct flow_burst *burst;
    struct iovec iov[FRAME_SEGMENTS_MAX];
    struct frame frame;
    static struct flow_key keys[2];
    struct filter_verdict verdict;
    burst = &bridge->tables->burst;
    p = frame_templates[take(in, 1) % FRAME_TEMPLATES];
    change(&p, in);
    uint64_t how = take(in, 1);
    struct port *port = &ports[how & 1];
    unsigned index = how >> 1 & 1;
    packet_frame(&p, &frame, iov, (unsigned)(how >> 2));
    memcpy(came, p.bytes, p.len);
    flow_headers_keep(burst, index, &frame);
    require(gather(&frame, sent) == p.len && memcmp(sent, came, p.len) == 0);
    memset(p.bytes + FRAME_HEAD, 0xee, p.len - FRAME_HEAD);
    gather(&frame, sent);
    require(memcmp(sent, came, MIN(p.len, FLOW_HEADERS_MAX)) == 0);
    struct flow_key *key = &keys[index];
    struct filter_frame known = {key, &burst->headers[index]};
    const struct flow_shape *shape = burst->headers[!index].shape;
    struct flow_masked masked;
    if (shape)
        flow_headers_mask(&masked, &burst->headers[!index], shape);
    bool repeats = shape && flow_headers_repeat(&burst->headers[index], shape, &masked);
    if (!flow_key_read(key, &burst->headers[index], &frame, port->index)) {
        require(!repeats);
        known.key = NULL;
    } else {
        require(classifier_find(classifier, key) == search(key));
        keys[!index].in_port = key->in_port;
        require(!repeats || memcmp(&keys[0], &keys[1], sizeof(keys[0])) == 0);
    }
    filter_check(port, how & 0x80 ? FILTER_OUT : FILTER_IN, &known, &verdict);
    require(known.key || !verdict.allowed);
}

static void count_connections(void)
{
    const struct conntrack *conntrack = &bridge->tables->conntrack;
    unsigned counts[2] = {0};
    for (unsigned b = 0; b <= conntrack->mask; b++) {
        for (unsigned i = 0; i < CONNTRACK_BUCKET; i++) {
            const struct connection *connection = &conntrack->buckets[b].slots[i];
            if (connection->state != CONNECTION_FREE)
                counts[connection->tuple.port]++;
        }
    }
    for (unsigned i = 0; i < 2; i++)
        require(conntrack->used_by[i] == counts[i] && counts[i] <= CONNECTIONS / 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    forward.now_s += PAUSE_S;
    if (forward.now_s > INT32_MAX - 2 * PAUSE_S)
        renew_tables();
    /* What the last input kept shall not repeat. */
    bridge->tables->burst.headers[0].shape = bridge->tables->burst.headers[1].shape = NULL;
    for (unsigned i = 0; i < FRAMES_MAX && in.left; i++) {
        pass(&in);
        forward.now_s += (uint32_t)take(&in, 1) % 64;
    }
    count_connections();
    return 0;
}
