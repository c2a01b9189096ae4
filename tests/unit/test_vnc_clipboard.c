/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Texts copied between viewers and a guest's agent: vdagent's port on one side, VNC on the other.
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/util.h"
#include "unit.h"
#include "vmm/display/vdagent.h"
#include "vnc_session.h"

/* spice/vd_agent.h */
#define TEXT 4
#define CAPABILITIES 6
#define GRAB 7
#define REQUEST 8
#define SELECTION (1u << 6)
#define CRLF (1u << 9)

/* The extended clipboard's first word. */
#define X_TEXT 1u
#define X_CAPABILITIES (1u << 24)
#define X_REQUEST (1u << 25)
#define X_NOTIFY (1u << 27)
#define X_PROVIDE (1u << 28)

static struct session session;
static struct chardev *port;
static uint8_t bytes[4 * CLIPBOARD_MAX];

/* What the guest received, without the chunks' heads. */
static struct buffer guest;
static size_t room;

static size_t can_receive(void *opaque)
{
    return room;
}

static void receive(void *opaque, const uint8_t *data, size_t len)
{
    assert_true(len <= room);
    assert_int_equal(buffer_append(&guest, data, len), 0);
}

static const struct chardev_ops device = {.can_receive = can_receive, .receive = receive};

static void stop(void *opaque)
{
    loop_stop(opaque);
}

/* Both sides' loops do what is to do. */
static void turn(void)
{
    struct loop *loops[] = {&session.fake.machine.loop, &session.vnc.display->thread.loop};
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(loops); i++) {
        struct loop *loop = loops[i % ARRAY_SIZE(loops)];
        struct loop_timer timer = {0};
        loop_timer_arm(loop, &timer, 2000000, stop, loop);
        loop_run(loop);
    }
}

static int setup(void **state)
{
    struct machine *machine = &session.fake.machine;
    session_init(&session);
    assert_int_equal(vnc_zlib_load(NULL), 0);
    machine->platform.clipboard = clipboard_create();
    assert_int_equal(vdagent_open(&port, machine->platform.clipboard, &machine->loop, NULL), 0);
    room = SIZE_MAX;
    chardev_attach(port, &device, NULL);
    session_log_in(&session);
    return 0;
}

static int teardown(void **state)
{
    chardev_free(port);
    vnc_end(&session.vnc);
    clipboard_free(session.fake.machine.platform.clipboard);
    session.vnc.clipboard = NULL;
    session_destroy(&session);
    buffer_free(&guest);
    return 0;
}

/* ---------------------------------------------------------------- the guest's agent */

static void say(uint32_t type, const void *body, size_t len)
{
    uint8_t head[28];
    store_le(head, 1, 4);
    store_le(head + 4, 20 + len, 4);
    store_le(head + 8, 1, 4);
    store_le(head + 12, type, 4);
    store_le(head + 16, 0, 8);
    store_le(head + 24, len, 4);
    assert_int_equal(chardev_write(port, head, sizeof(head)), sizeof(head));
    assert_int_equal(chardev_write(port, body, len), len);
}

static void say_words(uint32_t type, const uint32_t *words, unsigned count)
{
    say(type, words, count * sizeof(*words));
}
#define SAY(type, ...)                               \
    say_words(type, (const uint32_t[]){__VA_ARGS__}, \
              sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static void say_text(const char *text, size_t len)
{
    uint8_t *body = calloc(1, 8 + len);
    body[4] = 1;
    memcpy(body + 8, text, len);
    say(TEXT, body, 8 + len);
    free(body);
}

/* The next message; its body stands at bytes. */
static size_t hear(uint32_t type)
{
    struct buffer message = {0};
    do {
        assert_true(guest.len >= 8);
        size_t part = load_le(buffer_bytes(&guest) + 4, 4);
        assert_int_equal(load_le(buffer_bytes(&guest), 4), 1);
        assert_in_range(part, 1, 2048);
        buffer_consume(&guest, 8);
        assert_true(guest.len >= part);
        assert_int_equal(buffer_append(&message, buffer_bytes(&guest), part), 0);
        buffer_consume(&guest, part);
    } while (message.len < 20 + load_le(buffer_bytes(&message) + 16, 4));
    size_t len = message.len - 20;
    assert_int_equal(load_le(buffer_bytes(&message) + 4, 4), type);
    memcpy(bytes, buffer_bytes(&message) + 20, len);
    buffer_free(&message);
    return len;
}

static void agent_comes(uint32_t capabilities)
{
    chardev_set_guest_open(port, true);
    SAY(CAPABILITIES, 1, capabilities);
    turn();
    assert_int_equal(hear(CAPABILITIES), 8);
    assert_int_equal(load_le(bytes + 4, 4), 1u << 5 | SELECTION);
}

/* ---------------------------------------------------------------- the viewer */

static void copy_plain(const char *text)
{
    uint8_t head[8] = {6, [6] = (uint8_t)(strlen(text) >> 8), (uint8_t)strlen(text)};
    assert_true(session_send(&session, head, sizeof(head)));
    assert_true(session_send(&session, text, strlen(text)));
}

static void expect_cut_text(const char *text)
{
    assert_int_equal(session_receive(&session, bytes, sizeof(bytes)), 8 + strlen(text));
    assert_int_equal(bytes[0], 3);
    assert_int_equal(vnc_be32(bytes + 4), strlen(text));
    assert_memory_equal(bytes + 8, text, strlen(text));
}

static void list_extended(uint32_t actions)
{
    const int32_t list[] = {ENCODING_RAW, ENCODING_CLIPBOARD};
    session_understand(&session, list, 2);
    assert_true(vnc_client_update(session.client));
    assert_int_equal(session_receive(&session, bytes, sizeof(bytes)), 16);
    assert_int_equal((int32_t)vnc_be32(bytes + 4), -8);
    assert_true(vnc_be32(bytes + 8) & X_CAPABILITIES);
    SESSION_SEND(&session, 6, 0, 0, 0, 0xff, 0xff, 0xff, 0xf8,
                 (uint8_t)((actions | X_CAPABILITIES) >> 24), 0, 0, 1, 0, 0, 0, 16);
}

static void send_extended(uint32_t flags, const uint8_t *body, size_t len)
{
    uint32_t size = 0 - (uint32_t)(len + 4);
    const uint8_t head[12] = {6,
                              [4] = (uint8_t)(size >> 24),
                              (uint8_t)(size >> 16),
                              (uint8_t)(size >> 8),
                              (uint8_t)size,
                              (uint8_t)(flags >> 24),
                              [11] = (uint8_t)flags};
    assert_true(session_send(&session, head, sizeof(head)));
    assert_true(session_send(&session, body, len));
    assert_true(vnc_client_update(session.client));
}

static void provide(const char *text)
{
    uint8_t plain[256] = {[3] = (uint8_t)(strlen(text) + 1)}, packed[512];
    uLongf len = sizeof(packed);
    memcpy(plain + 4, text, strlen(text));
    assert_int_equal(compress(packed, &len, plain, 4 + strlen(text) + 1), Z_OK);
    send_extended(X_PROVIDE | X_TEXT, packed, len);
}

static void expect_word(uint32_t flags)
{
    assert_int_equal(session_receive(&session, bytes, sizeof(bytes)), 12);
    assert_int_equal((int32_t)vnc_be32(bytes + 4), -4);
    assert_int_equal(vnc_be32(bytes + 8), flags);
}

static void expect_provided(const char *text)
{
    uint8_t plain[256];
    uLongf len = sizeof(plain);
    size_t got = session_receive(&session, bytes, sizeof(bytes));
    assert_true(got > 12);
    assert_int_equal(vnc_be32(bytes + 8), X_PROVIDE | X_TEXT);
    assert_int_equal(uncompress(plain, &len, bytes + 12, got - 12), Z_OK);
    assert_int_equal(len, 4 + strlen(text) + 1);
    assert_int_equal(vnc_be32(plain), strlen(text) + 1);
    assert_string_equal((const char *)plain + 4, text);
}

/* ---------------------------------------------------------------- tests */

static void what_the_guest_copies_reaches_the_viewer(void **state)
{
    agent_comes(SELECTION);
    SAY(GRAB, 0, 2, 1); /* a picture, a text */
    turn();
    assert_int_equal(hear(REQUEST), 8);
    assert_int_equal(load_le(bytes + 4, 4), 1);
    say_text("gr\xc3\xbc\xc3\x9f \xe2\x82\xac", 10);
    turn();
    expect_cut_text("gr\xfc\xdf ?");
}

static void other_selections_and_texts_that_nobody_asked_for_do_not_count(void **state)
{
    agent_comes(SELECTION);
    SAY(GRAB, 1, 1);
    SAY(GRAB, 0, 2);
    say_text("pushed", 6);
    turn();
    assert_int_equal(guest.len, 0);
    assert_int_equal(session_receive(&session, bytes, sizeof(bytes)), 0);
}

static void what_the_viewer_copies_is_offered_and_sent_when_the_guest_asks(void **state)
{
    agent_comes(SELECTION);
    copy_plain("caf\xe9");
    turn();
    assert_int_equal(hear(GRAB), 8);
    SAY(REQUEST, 0, 1);
    turn();
    assert_int_equal(hear(TEXT), 8 + 5);
    assert_int_equal(load_le(bytes + 4, 4), 1);
    assert_memory_equal(bytes + 8, "caf\xc3\xa9", 5);
    assert_int_equal(session_receive(&session, bytes, sizeof(bytes)), 0);
}

static void an_agent_that_comes_later_is_offered_what_there_is(void **state)
{
    copy_plain("early");
    turn();
    assert_int_equal(guest.len, 0);
    agent_comes(0);
    assert_int_equal(hear(GRAB), 4);
    SAY(REQUEST, 1);
    turn();
    assert_int_equal(hear(TEXT), 4 + 5);
}

static void lines_end_as_each_side_has_them(void **state)
{
    agent_comes(SELECTION | CRLF);
    list_extended(X_NOTIFY);
    provide("a\r\nb");
    turn();
    hear(GRAB);
    SAY(REQUEST, 0, 1);
    turn();
    assert_int_equal(hear(TEXT), 8 + 4);
    assert_memory_equal(bytes + 8, "a\r\nb", 4);
    SAY(GRAB, 0, 1);
    turn();
    hear(REQUEST);
    say_text("c\r\nd", 4);
    turn();
    size_t len;
    unsigned number;
    char *text = clipboard_get(session.fake.machine.platform.clipboard, &len, &number);
    assert_int_equal(len, 3);
    assert_memory_equal(text, "c\nd", 3);
    free(text);
}

static void the_extended_clipboard_sends_a_text_only_when_it_is_asked_for(void **state)
{
    list_extended(X_NOTIFY);
    clipboard_put(session.fake.machine.platform.clipboard, CLIPBOARD_GUEST, "x\n\xe2\x82\xac", 5);
    turn();
    expect_word(X_NOTIFY | X_TEXT);
    send_extended(X_REQUEST | X_TEXT, NULL, 0);
    expect_provided("x\r\n\xe2\x82\xac");
    send_extended(X_NOTIFY | X_TEXT, NULL, 0);
    expect_word(X_REQUEST | X_TEXT);
}

static void a_viewer_without_notices_is_sent_what_it_takes_unasked(void **state)
{
    struct clipboard *clipboard = session.fake.machine.platform.clipboard;
    list_extended(X_REQUEST);
    clipboard_put(clipboard, CLIPBOARD_GUEST, "much more than that", 19);
    turn();
    assert_int_equal(session_receive(&session, bytes, sizeof(bytes)), 0);
    clipboard_put(clipboard, CLIPBOARD_GUEST, "little", 6);
    turn();
    expect_provided("little");
}

static void a_large_text_goes_in_chunks_as_the_guest_makes_room(void **state)
{
    char *text = malloc(CLIPBOARD_MAX);
    memset(text, 'x', CLIPBOARD_MAX);
    agent_comes(SELECTION);
    clipboard_put(session.fake.machine.platform.clipboard, CLIPBOARD_VIEWERS, text, CLIPBOARD_MAX);
    turn();
    hear(GRAB);
    room = 0;
    SAY(REQUEST, 0, 1);
    SAY(REQUEST, 0, 1);
    turn();
    assert_int_equal(guest.len, 0);
    room = SIZE_MAX;
    chardev_accept_input(port);
    turn();
    assert_int_equal(hear(TEXT), 8 + CLIPBOARD_MAX);
    assert_memory_equal(bytes + 8, text, CLIPBOARD_MAX);
    assert_int_equal(guest.len, 0);
    free(text);
}

static void what_is_too_long_or_no_text_is_dropped_and_the_next_one_counts(void **state)
{
    static const uint8_t wrong[][4] = {
        {0xc0, 0x80}, {0xed, 0xa0, 0x80}, {0xf5, 0x80, 0x80, 0x80}, {0x80}, {0xe2, 0x82}};
    struct clipboard *clipboard = session.fake.machine.platform.clipboard;
    enum clipboard_side from;
    char *text = calloc(1, 3 * CLIPBOARD_MAX);
    memset(text, 'x', 3 * CLIPBOARD_MAX);
    agent_comes(SELECTION);
    for (unsigned i = 0; i < ARRAY_SIZE(wrong) + 2; i++) {
        SAY(GRAB, 0, 1);
        turn();
        hear(REQUEST);
        if (i < ARRAY_SIZE(wrong))
            say_text((const char *)wrong[i], strnlen((const char *)wrong[i], 4));
        else
            say_text(text, i == ARRAY_SIZE(wrong) ? CLIPBOARD_MAX + 1 : 3 * CLIPBOARD_MAX);
        assert_int_equal(clipboard_number(clipboard, &from), 0);
    }
    SAY(GRAB, 0, 1);
    turn();
    hear(REQUEST);
    say_text("good", 4);
    assert_int_equal(clipboard_number(clipboard, &from), 1);
    free(text);
}

static void another_protocol_ends_the_talk_until_the_port_is_opened_anew(void **state)
{
    static const uint8_t other[28] = {1, [4] = 20, [8] = 2};
    agent_comes(SELECTION);
    chardev_write(port, other, sizeof(other));
    SAY(GRAB, 0, 1);
    turn();
    assert_int_equal(guest.len, 0);
    chardev_write(port, other, 3);
    chardev_set_guest_open(port, false);
    agent_comes(SELECTION);
    SAY(GRAB, 0, 1);
    turn();
    hear(REQUEST);
}

static void viewers_that_send_too_much_are_cut_off(void **state)
{
    assert_false(SESSION_SEND(&session, 6, 0, 0, 0, 0, 0x20, 0, 0));
    session_log_in(&session);
    list_extended(X_NOTIFY);
    assert_false(SESSION_SEND(&session, 6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff));
    session_log_in(&session);
    assert_false(SESSION_SEND(&session, 6, 0, 0, 0, 0xff, 0xff, 0xff, 0xf0));
}

static void a_packed_text_that_is_broken_or_bursts_is_not_taken(void **state)
{
    enum clipboard_side from;
    uint8_t *plain = calloc(1, 8 * CLIPBOARD_MAX), *packed = malloc(CLIPBOARD_MAX);
    uLongf len = CLIPBOARD_MAX;
    plain[1] = 0x7f;
    compress(packed, &len, plain, 8 * CLIPBOARD_MAX);
    list_extended(X_NOTIFY);
    send_extended(X_PROVIDE | X_TEXT, packed, len);
    send_extended(X_PROVIDE | X_TEXT, packed, 20);
    packed[1] ^= 0xff;
    send_extended(X_PROVIDE | X_TEXT, packed, len);
    send_extended(X_PROVIDE | X_TEXT, NULL, 0);
    assert_int_equal(clipboard_number(session.fake.machine.platform.clipboard, &from), 0);
    free(packed);
    free(plain);
}

static void without_an_agent_texts_are_dropped(void **state)
{
    struct clipboard *clipboard = session.fake.machine.platform.clipboard;
    session.fake.machine.platform.clipboard = NULL;
    copy_plain("nobody");
    assert_true(SESSION_SEND(&session, 3, 0, 0, 0, 0, 0, 0, 1, 0, 1));
    session.fake.machine.platform.clipboard = clipboard;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        TEST(what_the_guest_copies_reaches_the_viewer),
        TEST(other_selections_and_texts_that_nobody_asked_for_do_not_count),
        TEST(what_the_viewer_copies_is_offered_and_sent_when_the_guest_asks),
        TEST(an_agent_that_comes_later_is_offered_what_there_is),
        TEST(lines_end_as_each_side_has_them),
        TEST(the_extended_clipboard_sends_a_text_only_when_it_is_asked_for),
        TEST(a_viewer_without_notices_is_sent_what_it_takes_unasked),
        TEST(a_large_text_goes_in_chunks_as_the_guest_makes_room),
        TEST(what_is_too_long_or_no_text_is_dropped_and_the_next_one_counts),
        TEST(another_protocol_ends_the_talk_until_the_port_is_opened_anew),
        TEST(viewers_that_send_too_much_are_cut_off),
        TEST(a_packed_text_that_is_broken_or_bursts_is_not_taken),
        TEST(without_an_agent_texts_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
