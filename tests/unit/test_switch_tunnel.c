/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Headers of tunnels, whose a datagram is, and which flow a frame is of. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "base/util.h"
#include "plain_ports.h"
#include "switch/ports/tunnel_socket.h"
#include "unit.h"

#define VNI 0x123456U
#define FRAME 60
#define DATAGRAM (TUNNEL_HEADER + FRAME)

static struct plain_bridge plain;

static int set_up(void **state)
{
    plain_init(&plain);
    return 0;
}

static int tear_down(void **state)
{
    plain_destroy(&plain);
    return 0;
}

static bool reads(enum tunnel_kind kind, const uint8_t *data, size_t len, size_t frame)
{
    uint32_t vni = 0;
    size_t found = 0;
    if (!tunnel_header_read(kind, data, len, &vni, &found))
        return false;
    assert_int_equal(vni, VNI);
    assert_int_equal(found, frame);
    return true;
}

static void headers_are_those_of_the_rfcs(void **state)
{
    const uint8_t vxlan[] = {0x08, 0, 0, 0, 0x12, 0x34, 0x56, 0};
    const uint8_t geneve[] = {0, 0, 0x65, 0x58, 0x12, 0x34, 0x56, 0};
    uint8_t header[TUNNEL_HEADER];
    tunnel_header_write(TUNNEL_VXLAN, VNI, header);
    assert_memory_equal(header, vxlan, sizeof(vxlan));
    assert_true(reads(TUNNEL_VXLAN, header, 8, 8));
    tunnel_header_write(TUNNEL_GENEVE, VNI, header);
    assert_memory_equal(header, geneve, sizeof(geneve));
    assert_true(reads(TUNNEL_GENEVE, header, 8, 8));
    assert_false(reads(TUNNEL_VXLAN, header, 8, 8));
    assert_false(reads(TUNNEL_GENEVE, header, 7, 8));
}

static void vxlan_packets_with_other_bits_are_none(void **state)
{
    uint8_t header[TUNNEL_HEADER];
    for (unsigned bit = 0; bit < 64; bit++) {
        bool is_vni = bit / 8 >= 4 && bit / 8 <= 6;
        tunnel_header_write(TUNNEL_VXLAN, VNI, header);
        header[bit / 8] ^= (uint8_t)(1U << bit % 8);
        uint32_t vni;
        size_t frame;
        assert_int_equal(tunnel_header_read(TUNNEL_VXLAN, header, 8, &vni, &frame), is_vni);
    }
}

static void geneve_options_are_left_out_unless_one_is_critical(void **state)
{
    /* One of 4 bytes, one of 8, in 5 words behind the header. */
    const uint8_t good[] = {5, 0, 0x65, 0x58, 0x12, 0x34, 0x56, 0, 1, 2, 3, 1, 9, 9,
                            9, 9, 1,    2,    4,    2,    8,    8, 8, 8, 8, 8, 8, 8};
    const struct {
        unsigned at;
        uint8_t value;
    } lies[] = {
        {0, 0x45}, /* another version */
        {0, 6},    /* options behind the datagram's end */
        {0, 4},    /* the last option behind the options' end */
        {1, 0x80}, /* for control */
        {1, 0x40}, /* critical */
        {3, 0x59}, /* no Ethernet */
        {10, 0x83}, {18, 0x84}, {11, 3}, {19, 31},
    };
    uint8_t bytes[sizeof(good)];
    assert_true(reads(TUNNEL_GENEVE, good, sizeof(good), sizeof(good)));
    for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
        memcpy(bytes, good, sizeof(good));
        bytes[lies[i].at] = lies[i].value;
        assert_false(reads(TUNNEL_GENEVE, bytes, sizeof(bytes), sizeof(bytes)));
    }
    for (size_t len = 0; len < sizeof(good); len++)
        assert_false(reads(TUNNEL_GENEVE, good, len, sizeof(good)));
}

/* --- Whose it is ----------------------------------------------------------------- */

static struct tunnel_address address(const char *text)
{
    struct tunnel_address address = {{0}};
    assert_int_equal(inet_pton(AF_INET, text, address.bytes), 1);
    return address;
}

static struct tunnel_port *add_tunnel(const char *remote, const char *local, uint32_t vni)
{
    struct kv_error err;
    const struct tunnel_settings settings = {.kind = TUNNEL_VXLAN,
                                             .family = AF_INET,
                                             .remote = address(remote),
                                             .local = address(local),
                                             .vni = vni};
    struct port *port = tunnel_port_new(&settings, &err);
    assert_non_null(port);
    port->mac_limit = 64;
    memset(port->vlans.carried, 0xff, sizeof(port->vlans.carried));
    assert_int_equal(bridge_attach(plain.bridge, port), 0);
    forward_add_port(&plain.forward, port);
    return container_of(port, struct tunnel_port, port);
}

static void remove_tunnel(struct tunnel_port *tunnel)
{
    tunnel_port_stop(&tunnel->port);
    forward_remove_port(&plain.forward, &tunnel->port);
    bridge_detach(plain.bridge, &tunnel->port);
    tunnel_port_free(&tunnel->port);
}

static void arrive(struct tunnel_port *at, const char *remote, const char *local,
                   const uint8_t *data, size_t len, size_t size)
{
    struct tunnel_address from = address(remote), to = address(local);
    tunnel_socket_take(at->socket, &from, &to, data, len, size);
}

static void a_datagram_is_the_tunnels_with_its_addresses_and_network(void **state)
{
    struct kv_error err;
    uint8_t datagram[DATAGRAM];
    struct tunnel_port *any = add_tunnel("192.0.2.1", "0.0.0.0", VNI);
    struct tunnel_port *own = add_tunnel("192.0.2.1", "127.0.0.1", VNI);
    struct tunnel_port *other = add_tunnel("192.0.2.2", "0.0.0.0", VNI);
    struct tunnel_port *again = add_tunnel("192.0.2.1", "0.0.0.0", VNI);
    assert_int_equal(tunnel_port_start(&any->port, &err), 0);
    assert_int_equal(tunnel_port_start(&own->port, &err), 0);
    assert_int_equal(tunnel_port_start(&other->port, &err), 0);
    assert_int_equal(tunnel_port_start(&again->port, &err), -EEXIST);
    tunnel_header_write(TUNNEL_VXLAN, VNI, datagram);
    plain_frame(datagram + TUNNEL_HEADER, 0xff, 9, 0);
    arrive(any, "192.0.2.1", "198.51.100.1", datagram, DATAGRAM, DATAGRAM);
    arrive(any, "192.0.2.1", "127.0.0.1", datagram, DATAGRAM, DATAGRAM);
    arrive(any, "192.0.2.2", "127.0.0.1", datagram, DATAGRAM, DATAGRAM);
    assert_int_equal(any->port.counters.in_frames, 1);
    assert_int_equal(own->port.counters.in_frames, 1);
    assert_int_equal(other->port.counters.in_frames, 1);
    assert_int_equal(plain.ports[0].sent_count, 3);
    arrive(any, "192.0.2.3", "127.0.0.1", datagram, DATAGRAM, DATAGRAM);
    datagram[6]++;
    arrive(any, "192.0.2.1", "127.0.0.1", datagram, DATAGRAM, DATAGRAM);
    datagram[0] = 0;
    arrive(any, "192.0.2.1", "127.0.0.1", datagram, DATAGRAM, DATAGRAM);
    assert_int_equal(any->socket->unknown, 2);
    assert_int_equal(any->socket->malformed, 1);
    assert_int_equal(plain.ports[0].sent_count, 3);
    remove_tunnel(any);
    remove_tunnel(again);
    remove_tunnel(own);
    remove_tunnel(other);
}

static void a_train_is_taken_apart(void **state)
{
    struct kv_error err;
    uint8_t train[100 * DATAGRAM];
    struct tunnel_port *tunnel = add_tunnel("192.0.2.1", "0.0.0.0", VNI);
    assert_int_equal(tunnel_port_start(&tunnel->port, &err), 0);
    for (unsigned i = 0; i < 100; i++) {
        tunnel_header_write(TUNNEL_VXLAN, VNI, train + i * DATAGRAM);
        plain_frame(train + i * DATAGRAM + TUNNEL_HEADER, 0xff, i, 0);
    }
    /* The last is cut to nothing but its header. */
    arrive(tunnel, "192.0.2.1", "127.0.0.1", train, sizeof(train) - FRAME, DATAGRAM);
    assert_int_equal(tunnel->port.counters.in_frames, 99);
    assert_int_equal(tunnel->port.counters.drops[DROP_MALFORMED], 1);
    for (unsigned i = 0; i < 99; i++)
        assert_int_equal(plain_take(&plain.ports[1])->bytes[11], i);
    remove_tunnel(tunnel);
}

/* --- Flows ------------------------------------------------------------------------- */

static struct tunnel_inner look(const uint8_t *bytes, size_t len)
{
    static const struct flow_secret secret = {{1, 2}};
    struct frame frame;
    frame_set_bytes(&frame, bytes, len);
    return tunnel_look_inside(&frame, &secret);
}

static void frames_of_a_connection_are_one_flow(void **state)
{
    /* IPv4, UDP from 1000 to 2000. */
    uint8_t ip[42] = {2, 0, 0,   0, 0,    1,    2,        0,           0,          0,
                      0, 2, 8,   0, 0x45, 0xb8, [22] = 7, IPPROTO_UDP, [26] = 192, 0,
                      2, 1, 192, 0, 2,    2,    3,        0xe8,        7,          0xd0};
    struct tunnel_inner first = look(ip, sizeof(ip));
    assert_true(first.ip && first.tos == 0xb8 && first.hops == 7);
    ip[19]++; /* another identification */
    assert_int_equal(look(ip, sizeof(ip)).flow, first.flow);
    ip[35]++;
    uint64_t other_port = look(ip, sizeof(ip)).flow;
    assert_int_not_equal(other_port, first.flow);
    /* A fragment has no ports, nor has a packet that is cut short. */
    ip[20] = 0x20;
    uint64_t fragment = look(ip, sizeof(ip)).flow;
    assert_int_not_equal(fragment, other_port);
    ip[35]++;
    assert_int_equal(look(ip, sizeof(ip)).flow, fragment);
    for (size_t len = FRAME_BYTES_MIN; len < sizeof(ip); len++)
        look(ip, len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_those_of_the_rfcs),
        cmocka_unit_test(vxlan_packets_with_other_bits_are_none),
        cmocka_unit_test(geneve_options_are_left_out_unless_one_is_critical),
        cmocka_unit_test_setup_teardown(a_datagram_is_the_tunnels_with_its_addresses_and_network,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_train_is_taken_apart, set_up, tear_down),
        cmocka_unit_test(frames_of_a_connection_are_one_flow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
