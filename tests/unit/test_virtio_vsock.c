/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-vsock between a driver over fake memory and unix sockets in a folder of its own. */
#include <errno.h>
#include <linux/virtio_vsock.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "device_driver.h"
#include "unit.h"
#include "vmm/virtio/vsock.h"

#define RX 0
#define TX 1
#define EVENT 2
#define RING 64
#define HEADER sizeof(struct virtio_vsock_hdr)
#define RX_BUFFER 4096
#define GUEST_CID 7
#define GUEST_BUFFER 65536 /* credit that the guest gives */
#define DEVICE_BUFFER 65536
#define GUEST_PORT 1234

static struct device_driver d;
static char folder[64], path[80];
static uint64_t tx_area;
static unsigned tx_next;

static int setup(void **state)
{
    driver_set_up(&d);
    strcpy(folder, "/tmp/kvasir-vsock-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/v", folder);
    struct vsock_config config;
    struct kv_error err = {0};
    vsock_config_defaults(&config);
    config.guest_cid = GUEST_CID;
    config.path = path;
    if (vsock_create(&d.dev, &config, &d.mem, &d.threads[0].loop, &err) < 0)
        fail_msg("%s", err.message);
    tx_area = driver_alloc(&d, RING * 8192);
    tx_next = 0;
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    driver_tear_down(&d);
    snprintf(command, sizeof(command), "%s/v_99", folder);
    unlink(command);
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

static void add_rx(uint64_t gpa)
{
    struct vring_buffer b = {.gpa = gpa, .len = RX_BUFFER, .in = true};
    driver_add(&d, RX, &b, 1, gpa);
}

static void start_with(bool packed, unsigned rx_buffers)
{
    driver_start(&d, 0, packed, 3, RING);
    for (unsigned i = 0; i < rx_buffers; i++)
        add_rx(driver_alloc(&d, RX_BUFFER));
}

static void reap_tx(void)
{
    uint64_t token;
    uint32_t written;
    while (vring_driver_get(&d.rings[TX], &token, &written))
        assert_int_equal(written, 0);
}

static void send_raw(const struct virtio_vsock_hdr *header, size_t header_len, const void *payload,
                     size_t len)
{
    uint64_t token;
    uint32_t written;
    reap_tx();
    while (d.rings[TX].free_count < 2)
        assert_true(driver_wait(&d, TX, &token, &written));
    uint64_t gpa = tx_area + (tx_next++ % RING) * 8192;
    memcpy(driver_at(&d, gpa), header, header_len);
    if (len)
        memcpy((uint8_t *)driver_at(&d, gpa) + HEADER, payload, len);
    struct vring_buffer b[2] = {{.gpa = gpa, .len = (uint32_t)header_len},
                                {.gpa = gpa + HEADER, .len = (uint32_t)len}};
    driver_add(&d, TX, b, len ? 2 : 1, 0);
}

static struct virtio_vsock_hdr make_header(unsigned op, uint32_t host_port, uint32_t len,
                                           uint32_t fwd_cnt)
{
    return (struct virtio_vsock_hdr){
        .src_cid = GUEST_CID,
        .dst_cid = 2,
        .src_port = GUEST_PORT,
        .dst_port = host_port,
        .len = len,
        .type = VIRTIO_VSOCK_TYPE_STREAM,
        .op = (uint16_t)op,
        .buf_alloc = GUEST_BUFFER,
        .fwd_cnt = fwd_cnt,
    };
}

static void guest_sends(unsigned op, uint32_t host_port, const void *payload, size_t len,
                        uint32_t fwd_cnt)
{
    struct virtio_vsock_hdr header = make_header(op, host_port, (uint32_t)len, fwd_cnt);
    if (op == VIRTIO_VSOCK_OP_SHUTDOWN)
        header.flags = 3;
    send_raw(&header, sizeof(header), payload, len);
}

/* The next packet for the guest; its buffer is given back at once, after a copy. */
static struct virtio_vsock_hdr guest_gets(uint8_t *payload)
{
    struct virtio_vsock_hdr header;
    uint64_t token;
    uint32_t written;
    assert_true(driver_wait(&d, RX, &token, &written));
    memcpy(&header, driver_at(&d, token), sizeof(header));
    assert_int_equal(written, HEADER + header.len);
    assert_int_equal(header.src_cid, 2);
    assert_int_equal(header.dst_cid, GUEST_CID);
    if (payload)
        memcpy(payload, (uint8_t *)driver_at(&d, token) + HEADER, header.len);
    add_rx(token);
    return header;
}

static void expect_op(unsigned op, uint32_t host_port)
{
    struct virtio_vsock_hdr header = guest_gets(NULL);
    assert_int_equal(header.op, op);
    assert_int_equal(header.src_port, host_port);
    assert_int_equal(header.dst_port, GUEST_PORT);
}

/* A host program that asks for the guest's port. */
static int host_asks(const char *line)
{
    int fd = fd_connect_unix(path);
    assert_true(fd >= 0);
    fd_set_nonblocking(fd, false);
    struct timeval patience = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(write(fd, line, strlen(line)), (ssize_t)strlen(line));
    return fd;
}

/* A whole connection from the host; returns its descriptor. */
static int host_connects(uint32_t *host_port)
{
    char line[32] = "", want[32];
    int fd = host_asks("CONNECT 1234\n");
    struct virtio_vsock_hdr header = guest_gets(NULL);
    assert_int_equal(header.op, VIRTIO_VSOCK_OP_REQUEST);
    assert_int_equal(header.dst_port, GUEST_PORT);
    *host_port = header.src_port;
    guest_sends(VIRTIO_VSOCK_OP_RESPONSE, *host_port, NULL, 0, 0);
    snprintf(want, sizeof(want), "OK %u\n", *host_port);
    assert_int_equal(fd_read_all(fd, line, strlen(want)), 0);
    assert_string_equal(line, want);
    return fd;
}

static int listen_at(const char *suffix)
{
    char name[96];
    struct kv_error err = {0};
    snprintf(name, sizeof(name), "%s_%s", path, suffix);
    int fd = fd_listen_unix(name, &err);
    assert_true(fd >= 0);
    return fd;
}

static int accept_one(int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    struct timeval patience = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

static void a_host_program_reaches_the_guest(void **state)
{
    uint32_t port;
    char text[16];
    start_with(false, 16);
    int fd = host_connects(&port);
    assert_int_equal(write(fd, "ping", 4), 4);
    struct virtio_vsock_hdr header = guest_gets((uint8_t *)text);
    assert_int_equal(header.op, VIRTIO_VSOCK_OP_RW);
    assert_int_equal(header.len, 4);
    assert_memory_equal(text, "ping", 4);
    guest_sends(VIRTIO_VSOCK_OP_RW, port, "pong!", 5, 4);
    assert_int_equal(fd_read_all(fd, text, 5), 0);
    assert_memory_equal(text, "pong!", 5);
    close(fd);
    header = guest_gets(NULL);
    assert_int_equal(header.op, VIRTIO_VSOCK_OP_SHUTDOWN);
    assert_int_equal(header.flags, 3);
    guest_sends(VIRTIO_VSOCK_OP_SHUTDOWN, port, NULL, 0, 4);
    expect_op(VIRTIO_VSOCK_OP_RST, port);
}

static void a_guest_reaches_a_host_program(void **state)
{
    char text[16];
    start_with(true, 16);
    int listener = listen_at("99");
    guest_sends(VIRTIO_VSOCK_OP_REQUEST, 99, NULL, 0, 0);
    int fd = accept_one(listener);
    expect_op(VIRTIO_VSOCK_OP_RESPONSE, 99);
    guest_sends(VIRTIO_VSOCK_OP_RW, 99, "hello", 5, 0);
    assert_int_equal(fd_read_all(fd, text, 5), 0);
    assert_memory_equal(text, "hello", 5);
    guest_sends(VIRTIO_VSOCK_OP_SHUTDOWN, 99, NULL, 0, 0);
    expect_op(VIRTIO_VSOCK_OP_RST, 99);
    assert_int_equal(read(fd, text, 1), 0);
    close(fd);
    close(listener);
}

static void a_port_where_nobody_listens_is_refused(void **state)
{
    start_with(false, 4);
    guest_sends(VIRTIO_VSOCK_OP_REQUEST, 98, NULL, 0, 0);
    expect_op(VIRTIO_VSOCK_OP_RST, 98);
    uint32_t port;
    int fd = host_asks("CONNECT 1234\n");
    port = guest_gets(NULL).src_port;
    guest_sends(VIRTIO_VSOCK_OP_RST, port, NULL, 0, 0);
    char c;
    assert_int_equal(read(fd, &c, 1), 0);
    close(fd);
}

static void nonsense_instead_of_connect_closes_the_connection(void **state)
{
    static const char *const lines[] = {
        "HELLO 1234\n",
        "CONNECT\n",
        "CONNECT x\n",
        "CONNECT 99999999999\n",
        "CONNECT 1234 and something that is longer than any such line can be\n",
        "\n",
    };
    char c;
    start_with(false, 4);
    for (unsigned i = 0; i < ARRAY_SIZE(lines); i++) {
        int fd = host_asks(lines[i]);
        assert_true(read(fd, &c, 1) <= 0);
        assert_true(errno != EAGAIN);
        close(fd);
    }
    assert_true(driver_nothing_comes(&d, RX));
}

static void bytes_behind_the_connect_line_belong_to_the_guest(void **state)
{
    char text[16];
    start_with(false, 4);
    int fd = host_asks("CONNECT 1234\nearly");
    uint32_t port = guest_gets(NULL).src_port;
    guest_sends(VIRTIO_VSOCK_OP_RESPONSE, port, NULL, 0, 0);
    assert_int_equal(guest_gets((uint8_t *)text).len, 5);
    assert_memory_equal(text, "early", 5);
    close(fd);
}

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 167 ^ i >> 9);
}

static void megabytes_go_to_the_guest_within_its_credit(void **state)
{
    enum { TOTAL = 2 << 20 };
    uint32_t port, taken = 0, told = 0;
    uint8_t chunk[65536], payload[RX_BUFFER];
    size_t written = 0;
    start_with(true, 32);
    int fd = host_connects(&port);
    fd_set_nonblocking(fd, true);
    while (taken < TOTAL) {
        size_t n = MIN(sizeof(chunk), TOTAL - written);
        for (size_t i = 0; i < n; i++)
            chunk[i] = pattern(written + i);
        ssize_t rc = n ? write(fd, chunk, n) : 0;
        written += rc > 0 ? (size_t)rc : 0;
        struct virtio_vsock_hdr header = guest_gets(payload);
        for (unsigned i = 0; header.op == VIRTIO_VSOCK_OP_RW && i < header.len; i++)
            assert_int_equal(payload[i], pattern(taken + i));
        taken += header.len;
        assert_true(taken - told <= GUEST_BUFFER);
        if (taken - told > GUEST_BUFFER - RX_BUFFER ||
            header.op == VIRTIO_VSOCK_OP_CREDIT_REQUEST) {
            guest_sends(VIRTIO_VSOCK_OP_CREDIT_UPDATE, port, NULL, 0, taken);
            told = taken;
        }
    }
    close(fd);
}

static void megabytes_go_to_the_host_within_the_credit_given(void **state)
{
    enum { TOTAL = 2 << 20 };
    uint32_t port, sent = 0, seen = 0, fwd = 0;
    uint8_t chunk[4096];
    start_with(false, 32);
    int fd = host_connects(&port);
    fd_set_nonblocking(fd, true);
    while (seen < TOTAL) {
        while (sent < TOTAL && sent - fwd + sizeof(chunk) <= DEVICE_BUFFER) {
            for (size_t i = 0; i < sizeof(chunk); i++)
                chunk[i] = pattern(sent + i);
            guest_sends(VIRTIO_VSOCK_OP_RW, port, chunk, sizeof(chunk), 0);
            sent += sizeof(chunk);
        }
        ssize_t n = read(fd, chunk, sizeof(chunk));
        for (ssize_t i = 0; i < n; i++)
            assert_int_equal(chunk[i], pattern(seen + (size_t)i));
        seen += n > 0 ? (uint32_t)n : 0;
        uint64_t token;
        uint32_t written;
        while (vring_driver_get(&d.rings[RX], &token, &written)) {
            struct virtio_vsock_hdr header;
            memcpy(&header, driver_at(&d, token), sizeof(header));
            assert_int_equal(header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
            assert_int_equal(header.buf_alloc, DEVICE_BUFFER);
            fwd = header.fwd_cnt;
            add_rx(token);
        }
    }
    assert_true(fwd >= TOTAL - DEVICE_BUFFER);
    close(fd);
}

static void a_guest_that_sends_beyond_its_credit_is_reset(void **state)
{
    static uint8_t chunk[4096];
    uint32_t port;
    start_with(false, 16);
    int fd = host_connects(&port);
    /* Nobody reads at the host: its socket fills up, then the device's own buffer. */
    for (unsigned i = 0; i < 400; i++) {
        guest_sends(VIRTIO_VSOCK_OP_RW, port, chunk, sizeof(chunk), 0);
        uint64_t token;
        uint32_t written;
        struct virtio_vsock_hdr header = {0};
        if (vring_driver_get(&d.rings[RX], &token, &written)) {
            memcpy(&header, driver_at(&d, token), sizeof(header));
            add_rx(token);
        }
        if (header.op == VIRTIO_VSOCK_OP_RST) {
            close(fd);
            return;
        }
    }
    fail_msg("more than a megabyte was taken for a program that reads nothing");
}

static void a_half_close_lets_the_other_direction_finish(void **state)
{
    uint32_t port;
    char text[8];
    start_with(true, 16);
    int fd = host_connects(&port);
    shutdown(fd, SHUT_WR);
    struct virtio_vsock_hdr header = guest_gets(NULL);
    assert_int_equal(header.op, VIRTIO_VSOCK_OP_SHUTDOWN);
    assert_int_equal(header.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
    guest_sends(VIRTIO_VSOCK_OP_RW, port, "still", 5, 0);
    assert_int_equal(fd_read_all(fd, text, 5), 0);
    guest_sends(VIRTIO_VSOCK_OP_SHUTDOWN, port, NULL, 0, 0);
    expect_op(VIRTIO_VSOCK_OP_RST, port);
    assert_int_equal(read(fd, text, 1), 0);
    close(fd);
}

static void what_the_guest_sent_before_closing_arrives(void **state)
{
    static uint8_t chunk[4096];
    uint32_t port;
    size_t seen = 0;
    start_with(false, 16);
    int fd = host_connects(&port);
    for (unsigned i = 0; i < 16; i++)
        guest_sends(VIRTIO_VSOCK_OP_RW, port, chunk, sizeof(chunk), 0);
    guest_sends(VIRTIO_VSOCK_OP_SHUTDOWN, port, NULL, 0, 0);
    ssize_t n;
    while ((n = read(fd, chunk, sizeof(chunk))) > 0)
        seen += (size_t)n;
    assert_int_equal(n, 0);
    assert_int_equal(seen, 16 * sizeof(chunk));
    close(fd);
}

static void packets_of_no_connection_are_answered_with_a_reset(void **state)
{
    static const unsigned ops[] = {
        VIRTIO_VSOCK_OP_RW,
        VIRTIO_VSOCK_OP_RESPONSE,
        VIRTIO_VSOCK_OP_CREDIT_UPDATE,
        VIRTIO_VSOCK_OP_SHUTDOWN,
        VIRTIO_VSOCK_OP_CREDIT_REQUEST,
        VIRTIO_VSOCK_OP_INVALID,
        4711,
    };
    start_with(false, 16);
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        guest_sends(ops[i], 50 + i, NULL, 0, 0);
        expect_op(VIRTIO_VSOCK_OP_RST, 50 + i);
    }
    guest_sends(VIRTIO_VSOCK_OP_RST, 60, NULL, 0, 0);
    assert_true(driver_nothing_comes(&d, RX));
}

static void other_socket_types_are_answered_with_a_reset(void **state)
{
    start_with(false, 4);
    struct virtio_vsock_hdr header = make_header(VIRTIO_VSOCK_OP_REQUEST, 99, 0, 0);
    header.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
    send_raw(&header, sizeof(header), NULL, 0);
    struct virtio_vsock_hdr answer = guest_gets(NULL);
    assert_int_equal(answer.op, VIRTIO_VSOCK_OP_RST);
    assert_int_equal(answer.type, VIRTIO_VSOCK_TYPE_SEQPACKET);
}

static void malformed_packets_are_dropped(void **state)
{
    start_with(true, 8);
    struct virtio_vsock_hdr header = make_header(VIRTIO_VSOCK_OP_REQUEST, 99, 0, 0);
    send_raw(&header, 20, NULL, 0);
    header.src_cid = GUEST_CID + 1;
    send_raw(&header, sizeof(header), NULL, 0);
    header = make_header(VIRTIO_VSOCK_OP_REQUEST, 99, 0, 0);
    header.dst_cid = 3;
    send_raw(&header, sizeof(header), NULL, 0);
    header = make_header(VIRTIO_VSOCK_OP_RW, 99, 0xffffffff, 0);
    send_raw(&header, sizeof(header), "x", 1);
    header = make_header(VIRTIO_VSOCK_OP_RW, 99, 2, 0);
    send_raw(&header, sizeof(header), "x", 1);
    assert_true(driver_nothing_comes(&d, RX));
    json_t *metrics = json_object();
    d.dev->ops->metrics(d.dev, metrics);
    assert_int_equal(json_integer_value(json_object_get(metrics, "dropped")), 5);
    json_decref(metrics);
    assert_false(atomic_load(&d.dev->needs_reset));
}

static void packets_that_do_not_fit_the_state_reset_the_connection(void **state)
{
    uint32_t port;
    char c;
    static const unsigned ops[] = {VIRTIO_VSOCK_OP_REQUEST, VIRTIO_VSOCK_OP_RESPONSE, 200};
    start_with(false, 8);
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        int fd = host_connects(&port);
        guest_sends(ops[i], port, NULL, 0, 0);
        expect_op(VIRTIO_VSOCK_OP_RST, port);
        assert_int_equal(read(fd, &c, 1), 0);
        close(fd);
    }
}

static int64_t current_connections(void)
{
    json_t *metrics = json_object();
    d.dev->ops->metrics(d.dev, metrics);
    int64_t n = json_integer_value(json_object_get(metrics, "connections"));
    json_decref(metrics);
    return n;
}

static bool at_the_limit(void *opaque)
{
    return current_connections() == 1024;
}

static void connections_are_limited(void **state)
{
    start_with(false, 0);
    struct virtio_vsock_hdr header = make_header(VIRTIO_VSOCK_OP_REQUEST, 97, 0, 0);
    for (unsigned i = 0; i < 2000; i++) {
        header.src_port = 10000 + i;
        send_raw(&header, sizeof(header), NULL, 0);
    }
    assert_true(driver_wait_for(at_the_limit, NULL));
    driver_reset(&d);
    assert_int_equal(current_connections(), 0);
}

static bool is_failed(void *opaque)
{
    return atomic_load(&d.dev->needs_reset);
}

static void a_receive_buffer_without_room_for_a_header_breaks_until_a_reset(void **state)
{
    uint32_t port;
    start_with(false, 0);
    struct vring_buffer b = {.gpa = driver_alloc(&d, 43), .len = 43, .in = true};
    driver_add(&d, RX, &b, 1, 0);
    guest_sends(VIRTIO_VSOCK_OP_RW, 50, NULL, 0, 0);
    assert_true(driver_wait_for(is_failed, NULL));
    driver_reset(&d);
    start_with(false, 8);
    close(host_connects(&port));
}

static void a_reset_closes_every_connection(void **state)
{
    uint32_t port;
    char c;
    start_with(false, 8);
    int fd = host_connects(&port);
    driver_reset(&d);
    assert_int_equal(read(fd, &c, 1), 0);
    close(fd);
    fd = host_asks("CONNECT 1234\n");
    assert_true(read(fd, &c, 1) <= 0); /* no driver */
    close(fd);
}

static void a_restored_guest_is_told_that_its_connections_are_gone(void **state)
{
    uint64_t token;
    uint32_t written;
    start_with(false, 4);
    virtio_device_stop(d.dev);
    assert_int_equal(d.dev->ops->load(d.dev, NULL, NULL), 0);
    struct vring_buffer b = {.gpa = driver_alloc(&d, 4), .len = 4, .in = true};
    memset(driver_at(&d, b.gpa), 0xff, 4);
    driver_add(&d, EVENT, &b, 1, 0);
    virtio_device_start(d.dev, d.ready);
    assert_true(driver_wait(&d, EVENT, &token, &written));
    assert_int_equal(written, 4);
    assert_int_equal(load_le(driver_at(&d, b.gpa), 4), VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
}

#define VSOCK_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        VSOCK_TEST(a_host_program_reaches_the_guest),
        VSOCK_TEST(a_guest_reaches_a_host_program),
        VSOCK_TEST(a_port_where_nobody_listens_is_refused),
        VSOCK_TEST(nonsense_instead_of_connect_closes_the_connection),
        VSOCK_TEST(bytes_behind_the_connect_line_belong_to_the_guest),
        VSOCK_TEST(megabytes_go_to_the_guest_within_its_credit),
        VSOCK_TEST(megabytes_go_to_the_host_within_the_credit_given),
        VSOCK_TEST(a_guest_that_sends_beyond_its_credit_is_reset),
        VSOCK_TEST(a_half_close_lets_the_other_direction_finish),
        VSOCK_TEST(what_the_guest_sent_before_closing_arrives),
        VSOCK_TEST(packets_of_no_connection_are_answered_with_a_reset),
        VSOCK_TEST(other_socket_types_are_answered_with_a_reset),
        VSOCK_TEST(malformed_packets_are_dropped),
        VSOCK_TEST(packets_that_do_not_fit_the_state_reset_the_connection),
        VSOCK_TEST(connections_are_limited),
        VSOCK_TEST(a_receive_buffer_without_room_for_a_header_breaks_until_a_reset),
        VSOCK_TEST(a_reset_closes_every_connection),
        VSOCK_TEST(a_restored_guest_is_told_that_its_connections_are_gone),
    };
    return cmocka_run_group_tests_name("virtio_vsock", tests, NULL, NULL);
}
