/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checksums that are completed and segments that are cut where a port does not take them undone,
 * and passed on where it does; headers that lie. What comes out is judged by sums of its own, over
 * all that a checksum covers.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/util.h"
#include "switch/forward/offload.h"
#include "switch_guest.h"
#include "unit.h"

#define PAYLOAD_MAX 65000
#define SENT_MAX 600
#define SEQUENCE 0xfffffc00U /* passes its end on the way */

struct sent {
    struct frame_offload offload;
    size_t len;
    uint8_t bytes[2048];
};

static struct sent sent[SENT_MAX];
static unsigned sent_count;
static struct port receiver;

static void keep(struct port *port, const struct frame *frames)
{
    for (unsigned i = 0; i < port->pending_count; i++) {
        const struct frame *frame = &frames[port->pending[i]];
        struct sent *s = &sent[sent_count++];
        assert_true(sent_count <= SENT_MAX && frame->rest_bytes + FRAME_HEAD <= sizeof(s->bytes));
        s->offload = frame->offload;
        memcpy(s->bytes, frame->head, FRAME_HEAD);
        s->len = FRAME_HEAD;
        for (unsigned k = 0; k < frame->rest_count; k++) {
            memcpy(s->bytes + s->len, frame->rest[k].iov_base, frame->rest[k].iov_len);
            s->len += frame->rest[k].iov_len;
        }
        assert_int_equal(s->len, FRAME_HEAD + frame->rest_bytes);
    }
}

static const struct port_ops keeping = {.send = keep};

static int set_up(void **state)
{
    sent_count = 0;
    receiver = (struct port){.ops = &keeping};
    return 0;
}

static void put16(uint8_t *at, unsigned number)
{
    at[0] = (uint8_t)(number >> 8);
    at[1] = (uint8_t)number;
}

static unsigned get16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
    return get16(at) << 16 | get16(at + 2);
}

/* RFC 1071 word by word. */
static uint32_t sum_words(const uint8_t *data, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static uint32_t fold(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

/* A frame of one flow as a guest's driver makes it. */
struct packet {
    bool tag, ipv6, udp;
    size_t ip, transport, payload; /* where they begin */
    size_t len;
    uint8_t bytes[PAYLOAD_MAX + 128];
};

static uint32_t pseudo_sum(const struct packet *p, const uint8_t *bytes, size_t transport_len)
{
    const uint8_t *ip = bytes + p->ip;
    uint32_t sum = p->ipv6 ? sum_words(ip + 8, 32) : sum_words(ip + 12, 8);
    return fold(sum + (p->udp ? IPPROTO_UDP : IPPROTO_TCP) + (uint32_t)transport_len);
}

static void make(struct packet *p, size_t payload)
{
    uint8_t *at = p->bytes;
    unsigned protocol = p->udp ? IPPROTO_UDP : IPPROTO_TCP, options = p->udp ? 0 : 12;
    size_t transport_len = (p->udp ? 8 : 20) + options + payload;
    memset(p->bytes, 0, 128);
    memset(at, 0x04, 6); /* nobody's, so that all get it */
    memset(at + 6, 0x02, 6);
    p->ip = p->tag ? 18 : 14;
    if (p->tag)
        put16(at + 12, 0x8100), put16(at + 14, 0x2007);
    put16(at + p->ip - 2, p->ipv6 ? 0x86dd : 0x0800);
    at += p->ip;
    if (p->ipv6) {
        at[0] = 0x60;
        put16(at + 4, (unsigned)transport_len);
        at[6] = (uint8_t)protocol;
        memset(at + 8, 0x35, 32);
        p->transport = p->ip + 40;
    } else {
        at[0] = 0x46; /* with four bytes of options */
        put16(at + 2, (unsigned)(24 + transport_len));
        put16(at + 4, 0xfffe);
        at[9] = (uint8_t)protocol;
        memset(at + 12, 0xc0, 8);
        p->transport = p->ip + 24;
    }
    at = p->bytes + p->transport;
    put16(at, 1000), put16(at + 2, 2000);
    if (p->udp) {
        put16(at + 4, (unsigned)transport_len);
        p->payload = p->transport + 8;
    } else {
        put16(at + 4, SEQUENCE >> 16), put16(at + 6, SEQUENCE & 0xffff);
        at[12] = 0x80;                      /* twelve bytes of options */
        at[13] = 0x80 | 0x10 | 0x08 | 0x01; /* CWR, ACK, PSH, FIN */
        p->payload = p->transport + 32;
    }
    put16(at + (p->udp ? 6 : 16), pseudo_sum(p, p->bytes, transport_len));
    p->len = p->payload + payload;
    for (size_t i = p->payload; i < p->len; i++)
        p->bytes[i] = (uint8_t)(i * 31 + i / 251);
}

static struct virtio_net_hdr header_of(const struct packet *p, unsigned gso_size)
{
    return (struct virtio_net_hdr){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = !gso_size ? 0
                    : p->udp  ? 5
                    : p->ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6
                              : VIRTIO_NET_HDR_GSO_TCPV4,
        .gso_size = (uint16_t)gso_size,
        .csum_start = (uint16_t)p->transport,
        .csum_offset = p->udp ? 6 : 16,
    };
}

#define ALL (FRAME_CSUM | FRAME_GSO | FRAME_TSO_ECN)

/* Its bytes lie in pieces of odd lengths. */
static bool read_in(struct frame *frame, const struct packet *p,
                    const struct virtio_net_hdr *header)
{
    static struct iovec pieces[3];
    frame_set_bytes(frame, p->bytes, p->len);
    size_t first = MIN(p->len - FRAME_HEAD, 33), second = MIN(p->len - FRAME_HEAD - first, 77);
    uint8_t *rest = (uint8_t *)p->bytes + FRAME_HEAD;
    pieces[0] = (struct iovec){rest, first};
    pieces[1] = (struct iovec){rest + first, second};
    pieces[2] = (struct iovec){rest + first + second, p->len - FRAME_HEAD - first - second};
    frame->rest = pieces;
    frame->rest_count = 3;
    frame->tagged = p->tag;
    frame->vlan = p->tag ? 7 : 0;
    frame->service = false;
    return offload_read(frame, header, ALL);
}

static void send_one(const struct frame *frame)
{
    receiver.pending[0] = 0;
    receiver.pending_count = 1;
    offload_send(&receiver, frame);
}

static void assert_checksums(const struct packet *p, const struct sent *s)
{
    assert_int_equal(s->offload.undone, 0);
    if (!p->ipv6)
        assert_int_equal(sum_words(s->bytes + p->ip, 24), 0xffff);
    uint32_t sum = sum_words(s->bytes + p->transport, s->len - p->transport);
    assert_int_equal(fold(sum + pseudo_sum(p, s->bytes, s->len - p->transport)), 0xffff);
}

static void assert_segment(const struct packet *p, const struct sent *s, unsigned number,
                           size_t offset, size_t part)
{
    const uint8_t *ip = s->bytes + p->ip, *transport = s->bytes + p->transport;
    bool last = offset + part == p->len - p->payload;
    assert_int_equal(s->len, p->payload + part);
    assert_memory_equal(s->bytes, p->bytes, p->ip);
    assert_memory_equal(s->bytes + p->payload, p->bytes + p->payload + offset, part);
    if (p->ipv6) {
        assert_int_equal(get16(ip + 4), s->len - p->transport);
    } else {
        assert_int_equal(get16(ip + 2), s->len - p->ip);
        assert_int_equal(get16(ip + 4), (uint16_t)(0xfffe + number));
    }
    if (p->udp) {
        assert_int_equal(get16(transport + 4), part + 8);
    } else {
        assert_int_equal(get32(transport + 4), (uint32_t)(SEQUENCE + offset));
        assert_int_equal(transport[13], 0x10 | (last ? 0x09 : 0) | (number ? 0 : 0x80));
    }
    assert_checksums(p, s);
}

static void cut_and_check(struct packet *p, size_t payload, unsigned gso_size)
{
    struct frame frame;
    make(p, payload);
    const struct virtio_net_hdr header = header_of(p, gso_size);
    set_up(NULL);
    assert_true(read_in(&frame, p, &header));
    send_one(&frame);
    unsigned number = 0;
    for (size_t offset = 0; offset < payload; offset += gso_size, number++)
        assert_segment(p, &sent[number], number, offset, MIN(gso_size, payload - offset));
    assert_int_equal(sent_count, number);
    assert_int_equal(receiver.counters.drops[DROP_SEGMENTS], 0);
}

static void segments_are_cut_of_every_kind_of_frame(void **state)
{
    static struct packet p;
    for (unsigned kind = 0; kind < 8; kind++) {
        p.tag = kind & 1;
        p.ipv6 = kind & 2;
        p.udp = kind & 4;
        cut_and_check(&p, PAYLOAD_MAX, 1448);
        cut_and_check(&p, 4344, 1448);
        cut_and_check(&p, 4345, 1448);
        cut_and_check(&p, 1, 1448);
        cut_and_check(&p, 10001, 501);
    }
}

static void a_checksum_alone_is_completed(void **state)
{
    static struct packet p;
    struct frame frame;
    for (unsigned kind = 0; kind < 8; kind++) {
        p.tag = kind & 1;
        p.ipv6 = true;
        p.udp = kind & 2;
        make(&p, 100 + kind / 4);
        const struct virtio_net_hdr header = header_of(&p, 0);
        set_up(NULL);
        assert_true(read_in(&frame, &p, &header));
        send_one(&frame);
        assert_int_equal(sent_count, 1);
        assert_int_equal(sent[0].len, p.len);
        assert_checksums(&p, &sent[0]);
    }
}

/* 0 in the field of UDP would say that there is no checksum. */
static void a_checksum_of_zero_is_written_as_its_other_form(void **state)
{
    static struct packet p = {.ipv6 = true, .udp = true};
    struct frame frame;
    make(&p, 2);
    const struct virtio_net_hdr header = header_of(&p, 0);
    memset(p.bytes + p.payload, 0, 2);
    put16(p.bytes + p.payload, 0xffff - sum_words(p.bytes + p.transport, 10));
    assert_true(read_in(&frame, &p, &header));
    send_one(&frame);
    assert_int_equal(get16(sent[0].bytes + p.transport + 6), 0xffff);
}

static void frames_keep_their_order_whatever_is_done_to_them(void **state)
{
    static struct packet long_, plain;
    static struct frame frames[FRAME_BURST];
    make(&long_, 3000);
    make(&plain, 10);
    const struct virtio_net_hdr header = header_of(&long_, 1000);
    assert_true(read_in(&frames[0], &long_, &header));
    for (unsigned i = 0; i < FRAME_BURST; i++) {
        if (i % 2)
            frame_set_bytes(&frames[i], plain.bytes, plain.len);
        else
            frames[i] = frames[0];
        receiver.pending[i] = (uint8_t)i;
    }
    receiver.pending_count = FRAME_BURST;
    offload_send(&receiver, frames);
    assert_int_equal(sent_count, 2 * FRAME_BURST);
    for (unsigned i = 0; i < sent_count; i++)
        assert_int_equal(sent[i].len, i % 4 == 3 ? plain.len : long_.payload + 1000);
}

static void what_a_port_takes_is_left_to_it(void **state)
{
    static struct packet p = {.ipv6 = true};
    struct frame frame;
    make(&p, 1500);
    const struct virtio_net_hdr header = header_of(&p, 1000);
    assert_true(read_in(&frame, &p, &header));
    receiver.takes = FRAME_CSUM | FRAME_TSO6;
    send_one(&frame);
    assert_int_equal(sent_count, 1);
    assert_int_equal(sent[0].offload.undone, FRAME_CSUM | FRAME_TSO6);
    assert_int_equal(sent[0].len, p.len);
    sent_count = 0;
    receiver.takes = FRAME_CSUM | FRAME_TSO4;
    send_one(&frame);
    assert_int_equal(sent_count, 2);
}

static void a_tag_moves_what_the_header_points_to(void **state)
{
    static struct packet p;
    struct frame frame;
    struct virtio_net_hdr out;
    make(&p, 3000);
    const struct virtio_net_hdr header = header_of(&p, 1000);
    assert_true(read_in(&frame, &p, &header));
    offload_write(&receiver, &frame, FRAME_HEAD, &out);
    assert_int_equal(out.csum_start, p.transport);
    assert_int_equal(out.hdr_len, p.transport + 20);
    offload_write(&receiver, &frame, FRAME_HEAD_MAX, &out);
    assert_int_equal(out.csum_start, p.transport + 4);
    assert_int_equal(out.gso_size, 1000);
    assert_int_equal(out.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
    offload_write(&receiver, &frame, FRAME_TYPE_OFFSET, &out);
    assert_int_equal(out.csum_start, p.transport - 4);
}

/* --- Lies --------------------------------------------------------------------- */

static void headers_with_impossible_numbers_are_refused(void **state)
{
    static struct packet p;
    struct frame frame;
    make(&p, 3000);
    const struct virtio_net_hdr good = header_of(&p, 1000);
    struct virtio_net_hdr lies[12];
    for (unsigned i = 0; i < ARRAY_SIZE(lies); i++)
        lies[i] = good;
    lies[0].csum_start = 13;
    lies[1].csum_start = (uint16_t)(p.len - 16);
    lies[2].csum_start = 0xffff;
    lies[3].csum_offset = 0xffff;
    lies[4].csum_offset = 6;
    lies[5].gso_size = 0;
    lies[6].gso_size = 5;
    lies[7].gso_type = VIRTIO_NET_HDR_GSO_UDP;
    lies[8].gso_type = VIRTIO_NET_HDR_GSO_ECN;
    lies[9].gso_type = 0x7f;
    lies[10].flags = 0;
    lies[11].gso_type = 5;
    for (unsigned i = 0; i < ARRAY_SIZE(lies); i++)
        assert_false(read_in(&frame, &p, &lies[i]));
    assert_true(read_in(&frame, &p, &good));
    assert_false(offload_read(&frame, &good, FRAME_CSUM));
    assert_false(offload_read(&frame, &good, FRAME_TSO4));
}

static void frames_that_are_not_what_their_header_says_are_dropped(void **state)
{
    static struct packet p;
    struct frame frame;
    const struct {
        size_t at;
        uint8_t value;
    } lies[] = {
        {12, 0x86},      /* neither IPv4 nor IPv6 */
        {14, 0x45},      /* TCP would begin earlier */
        {14, 0x41},      /* shorter than a header */
        {23, 17},        /* UDP */
        {38 + 12, 0x40}, /* a TCP header that is too short */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
        make(&p, 3000);
        const struct virtio_net_hdr header = header_of(&p, 1000);
        p.bytes[lies[i].at] = lies[i].value;
        assert_true(read_in(&frame, &p, &header));
        send_one(&frame);
        assert_int_equal(sent_count, 0);
        assert_int_equal(receiver.counters.drops[DROP_SEGMENTS], i + 1);
    }
    /* Options that reach to the frame's end and beyond. */
    make(&p, 5);
    const struct virtio_net_hdr header = header_of(&p, 1000);
    p.bytes[p.transport + 12] = 0xf0;
    assert_true(read_in(&frame, &p, &header));
    send_one(&frame);
    assert_int_equal(sent_count, 0);
}

/* --- Guests ------------------------------------------------------------------------ */

static struct switch_bench bench;
static struct switch_guest able, other, plain_guest;
static uint8_t got[FRAME_BYTES_MAX];

static void start(struct switch_guest *g, bool packed, uint64_t offloads)
{
    switch_guest_init(g, &bench, packed, GUEST_BUFFER);
    g->offloads = offloads;
    switch_guest_start(g);
}

static int guests(void **state)
{
    switch_bench_init(&bench);
    start(&able, false, GUEST_OFFLOADS);
    start(&other, true, GUEST_OFFLOADS);
    start(&plain_guest, false, 0);
    return 0;
}

static int no_guests(void **state)
{
    switch_guest_destroy(&able, &bench);
    switch_guest_destroy(&other, &bench);
    switch_guest_destroy(&plain_guest, &bench);
    switch_bench_destroy(&bench);
    return 0;
}

static void send_segments(struct packet *p, size_t payload)
{
    make(p, payload);
    const struct virtio_net_hdr header = header_of(p, 1448);
    switch_guest_send_with(&able, &header, p->bytes, (unsigned)p->len);
    switch_step(&bench);
}

static void long_segments_pass_between_guests_that_take_them(void **state)
{
    static struct packet p;
    struct virtio_net_hdr header;
    for (unsigned kind = 0; kind < 2; kind++) {
        p.ipv6 = kind;
        send_segments(&p, PAYLOAD_MAX);
        assert_int_equal(switch_guest_receive(&other, got, sizeof(got)), p.len);
        assert_memory_equal(got, p.bytes, p.len);
        memcpy(&header, other.header, sizeof(header));
        assert_int_equal(header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
        assert_int_equal(header.gso_type,
                         p.ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4);
        assert_int_equal(header.gso_size, 1448);
        assert_int_equal(header.csum_start, p.transport);
        assert_int_equal(header.csum_offset, 16);
        assert_int_equal(other.vp->port.counters.out_frames, kind + 1);
        while (switch_guest_receive(&plain_guest, got, sizeof(got)))
            continue;
    }
    assert_int_equal(able.vp->port.counters.drops[DROP_MALFORMED], 0);
    assert_int_equal(other.vp->port.counters.drops[DROP_TOO_LONG], 0);
}

static void a_tag_that_is_put_in_moves_the_checksum(void **state)
{
    static struct packet p;
    struct virtio_net_hdr header;
    able.vp->port.vlans =
        (struct port_vlans){.access = true, .native = 7, .untagged = 7, .carried = {BIT(7)}};
    send_segments(&p, 20000);
    assert_int_equal(switch_guest_receive(&other, got, sizeof(got)), p.len + FRAME_TAG_LEN);
    memcpy(&header, other.header, sizeof(header));
    assert_int_equal(header.csum_start, p.transport + FRAME_TAG_LEN);
    assert_int_equal(get16(got + 14), 7);
    assert_memory_equal(got + 16, p.bytes + 12, p.len - 12);
}

static void a_guest_that_takes_no_segments_gets_them_cut(void **state)
{
    static struct packet p;
    static struct sent s;
    send_segments(&p, 20000);
    unsigned number = 0;
    for (size_t offset = 0; offset < 20000; offset += 1448, number++) {
        s.len = switch_guest_receive(&plain_guest, s.bytes, sizeof(s.bytes));
        assert_segment(&p, &s, number, offset, MIN((size_t)1448, 20000 - offset));
        for (unsigned i = 0; i < GUEST_HEADER - 2; i++)
            assert_int_equal(plain_guest.header[i], 0);
    }
    assert_int_equal(switch_guest_receive(&plain_guest, got, sizeof(got)), 0);
}

static void headers_of_guests_that_lie_cost_the_frame_alone(void **state)
{
    static struct packet p;
    make(&p, 3000);
    struct virtio_net_hdr lie = header_of(&p, 1000);
    lie.csum_start = 0xfff0;
    switch_guest_send_with(&able, &lie, p.bytes, (unsigned)p.len);
    switch_step(&bench);
    assert_int_equal(able.vp->port.counters.drops[DROP_MALFORMED], 1);
    assert_int_equal(switch_guest_receive(&other, got, sizeof(got)), 0);
    send_segments(&p, 3000);
    assert_int_equal(switch_guest_receive(&other, got, sizeof(got)), p.len);
}

static void headers_of_guests_without_offloads_mean_nothing(void **state)
{
    static struct packet p;
    make(&p, 1000);
    struct virtio_net_hdr lie;
    memset(&lie, 0xff, sizeof(lie));
    switch_guest_send_with(&plain_guest, &lie, p.bytes, (unsigned)p.len);
    switch_step(&bench);
    assert_int_equal(switch_guest_receive(&able, got, sizeof(got)), p.len);
    for (unsigned i = 0; i < GUEST_HEADER - 2; i++)
        assert_int_equal(able.header[i], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(segments_are_cut_of_every_kind_of_frame, set_up),
        cmocka_unit_test_setup(a_checksum_alone_is_completed, set_up),
        cmocka_unit_test_setup(a_checksum_of_zero_is_written_as_its_other_form, set_up),
        cmocka_unit_test_setup(frames_keep_their_order_whatever_is_done_to_them, set_up),
        cmocka_unit_test_setup(what_a_port_takes_is_left_to_it, set_up),
        cmocka_unit_test_setup(a_tag_moves_what_the_header_points_to, set_up),
        cmocka_unit_test_setup(headers_with_impossible_numbers_are_refused, set_up),
        cmocka_unit_test_setup(frames_that_are_not_what_their_header_says_are_dropped, set_up),
#define WITH_GUESTS(name) cmocka_unit_test_setup_teardown(name, guests, no_guests)
        WITH_GUESTS(long_segments_pass_between_guests_that_take_them),
        WITH_GUESTS(a_tag_that_is_put_in_moves_the_checksum),
        WITH_GUESTS(a_guest_that_takes_no_segments_gets_them_cut),
        WITH_GUESTS(headers_of_guests_that_lie_cost_the_frame_alone),
        WITH_GUESTS(headers_of_guests_without_offloads_mean_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
