/* SPDX-License-Identifier: GPL-2.0-or-later */
/* WebSocket around a VNC session: the request, frames both ways, and what breaks the rules. */
#include <string.h>

#include "unit.h"
#include "vnc_session.h"

/* The example of RFC 6455 1.3. */
static const char request[] =
    "GET /websockify HTTP/1.1\r\nHost: localhost:5700\r\nUpgrade: WebSocket\r\n"
    "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Protocol: chat, binary\r\nSec-WebSocket-Version: 13\r\n\r\n";
static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                             "Connection: Upgrade\r\n"
                             "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                             "Sec-WebSocket-Protocol: binary\r\n\r\n";
#define ANSWER (sizeof(answer) - 1)
static const uint8_t greeting[] = {
    0x82, VNC_VERSION_LEN, 'R', 'F', 'B', ' ', '0', '0', '3', '.', '0', '0', '8', '\n'};

static struct session session;
static uint8_t bytes[64 * 1024];

static int setup(void **state)
{
    assert_int_equal(vnc_websocket_load(NULL), 0);
    session_init(&session);
    session.kind = VNC_WEBSOCKET;
    session_connect(&session);
    return 0;
}

static int teardown(void **state)
{
    session_destroy(&session);
    return 0;
}

static size_t receive(void)
{
    return session_receive(&session, bytes, sizeof(bytes));
}

static void open_session(void)
{
    assert_int_equal(receive(), 0);
    assert_true(session_send(&session, request, sizeof(request) - 1));
    assert_int_equal(receive(), ANSWER + sizeof(greeting));
    assert_memory_equal(bytes, answer, ANSWER);
    assert_memory_equal(bytes + ANSWER, greeting, sizeof(greeting));
}

/* A frame with the head's first byte, in pieces. */
static bool send_frame(uint8_t first, const void *payload, size_t len, size_t piece)
{
    static const uint8_t mask[] = {0x12, 0x00, 0xfe, 0x7f};
    uint8_t frame[256] = {first, (uint8_t)(0x80 | len), mask[0], mask[1], mask[2], mask[3]};
    for (size_t i = 0; i < len; i++)
        frame[6 + i] = ((const uint8_t *)payload)[i] ^ mask[i % 4];
    bool stays = true;
    for (size_t at = 0; stays && at < 6 + len; at += piece)
        stays = session_send(&session, frame + at, MIN(piece, 6 + len - at));
    return stays;
}

static void a_session_goes_in_frames_however_they_are_cut(void **state)
{
    static const uint8_t all[] = {1, 1};
    open_session();
    assert_true(send_frame(0x02, VNC_VERSION, 5, 1));
    assert_true(send_frame(0x80, &VNC_VERSION[5], VNC_VERSION_LEN - 5, 3));
    assert_int_equal(receive(), 4);
    assert_memory_equal(bytes, "\x82\x02\x01\x01", 4);
    assert_true(send_frame(0x82, all, sizeof(all), 100));
    size_t len = receive();
    assert_int_equal(len, bytes[1] + 2u);
    assert_int_equal(vnc_be16(bytes + 2 + 4), SESSION_WIDTH);
    const uint8_t ask[] = {3, 0, 0, 0, 0, 0, 0, SESSION_WIDTH, 0, SESSION_HEIGHT};
    assert_true(send_frame(0x82, ask, sizeof(ask), 100));
    assert_true(vnc_client_update(session.client));
    assert_true(receive() > 4u * SESSION_WIDTH * SESSION_HEIGHT);
    assert_memory_equal(bytes, "\x82\x7e", 2);
}

static void pings_are_answered_and_an_end_is_too(void **state)
{
    open_session();
    assert_true(send_frame(0x89, "hello", 5, 2));
    assert_int_equal(receive(), 7);
    assert_memory_equal(bytes, "\x8a\x05hello", 7);
    assert_true(send_frame(0x8a, "whatever", 8, 100));
    assert_false(send_frame(0x88, "\x03\xe9", 2, 100));
    assert_int_equal(receive(), 4);
    assert_memory_equal(bytes, "\x88\x02\x03\xe9", 4);
}

static void frames_against_the_rules_end_the_session(void **state)
{
    static const struct {
        uint8_t frame[14];
        uint8_t len;
        uint16_t status;
    } rows[] = {
        {{0x82, 0x01, 'R'}, 2, 1002},                                    /* not masked */
        {{0xc2, 0x81, 0, 0, 0, 0}, 6, 1002},                             /* an extension's bit */
        {{0x81, 0x81, 0, 0, 0, 0}, 6, 1003},                             /* text */
        {{0x80, 0x81, 0, 0, 0, 0}, 6, 1002},                             /* more of nothing */
        {{0x09, 0x81, 0, 0, 0, 0}, 6, 1002},                             /* a ping in parts */
        {{0x89, 0xfe, 0, 126, 0, 0, 0, 0}, 8, 1002},                     /* a long ping */
        {{0x8b, 0x80, 0, 0, 0, 0}, 6, 1002},                             /* unknown */
        {{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 14, 1002}, /* too long */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (i)
            setup(state);
        open_session();
        assert_false(session_send(&session, rows[i].frame, rows[i].len));
        assert_int_equal(receive(), 4);
        assert_memory_equal(bytes, "\x88\x02", 2);
        assert_int_equal(vnc_be16(bytes + 2), rows[i].status);
        if (i + 1 < ARRAY_SIZE(rows))
            teardown(state);
    }
}

static void what_is_no_request_for_a_websocket_is_refused(void **state)
{
    static const char *const rows[] = {
        "GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: a\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n",
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrades\r\nSec-WebSocket-Key: a\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n",
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: a\r\n"
        "Sec-WebSocket-Version: 8\r\n\r\n",
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key:\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n",
        "RFB 003.008\n\r\n\r\n",
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (i)
            setup(state);
        assert_false(session_send(&session, rows[i], strlen(rows[i])));
        assert_true(receive() > 0);
        assert_memory_equal(bytes, "HTTP/1.1 400 ", 13);
        if (i + 1 < ARRAY_SIZE(rows))
            teardown(state);
    }
}

static void a_request_without_an_end_is_not_read_for_ever(void **state)
{
    bool stays = true;
    for (unsigned i = 0; stays && i < WEBSOCKET_REQUEST_MAX + 2; i++)
        stays = SESSION_SEND(&session, 'x');
    assert_false(stays);
    assert_int_equal(receive(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_session_goes_in_frames_however_they_are_cut),
        TEST(pings_are_answered_and_an_end_is_too),
        TEST(frames_against_the_rules_end_the_session),
        TEST(what_is_no_request_for_a_websocket_is_refused),
        TEST(a_request_without_an_end_is_not_read_for_ever),
    };
    return cmocka_run_group_tests_name("vnc_websocket", tests, NULL, NULL);
}
