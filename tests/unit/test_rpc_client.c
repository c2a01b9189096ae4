/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libkvasir inside: URIs, and what it makes of servers that keep to nothing. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/client/uri.h"
#include "unit.h"

static struct kvasir_error err;

/* ---------------------------------------------------------------------------- URIs */

static void uris_are_taken_apart(void **state)
{
    struct uri uri;
    assert_int_equal(uri_parse("qemu:///system", &uri, &err), 0);
    assert_int_equal(uri.transport, TRANSPORT_UNIX);
    assert_string_equal(uri.name, "qemu:///system");
    assert_false(uri.session);
    assert_null(uri.host);
    uri_free(&uri);

    assert_int_equal(uri_parse("kvasir:///session", &uri, &err), 0);
    assert_string_equal(uri.name, "qemu:///session");
    assert_true(uri.session && uri.ours);
    uri_free(&uri);

    assert_int_equal(
        uri_parse("qemu+ssh://me@[fe80::1]:2222/system?keyfile=/a%20b&no_tty=1&x=%41;y", &uri,
                  &err),
        0);
    assert_int_equal(uri.transport, TRANSPORT_SSH);
    assert_string_equal(uri.user, "me");
    assert_string_equal(uri.host, "fe80::1");
    assert_string_equal(uri.port, "2222");
    assert_string_equal(uri.keyfile, "/a b");
    assert_true(uri.no_tty);
    /* What is not about the way goes to the server, as it was written. */
    assert_string_equal(uri.name, "qemu:///system?x=%41&y");
    uri_free(&uri);

    assert_int_equal(uri_parse("qemu://far/system?no_verify=0", &uri, &err), 0);
    assert_int_equal(uri.transport, TRANSPORT_TLS);
    assert_false(uri.no_verify);
    uri_free(&uri);

    assert_int_equal(uri_parse("test+unix:///default?socket=/s&name=test:///x#part", &uri, &err),
                     0);
    assert_string_equal(uri.name, "test:///x");
    assert_string_equal(uri.socket, "/s");
    uri_free(&uri);
}

static void wrong_uris_are_refused_with_the_reason(void **state)
{
    static const struct {
        const char *uri, *words;
    } rows[] = {
        {"qemu", "has to look like"},
        {"://x/", "driver's name"},
        {"QEMU:///system", "driver's name"},
        {"qemu;rm:///system", "driver's name"},
        {"qemu+smoke:///system", "transports are"},
        {"qemu+tcp://h:99999/system", "port"},
        {"qemu+tcp://h:1x/system", "port"},
        {"qemu+tcp://[::1/system", "']' is missing"},
        {"qemu+unix://host/system", "unix socket is on this host"},
        {"qemu+ext:///system", "?command="},
        {"qemu:///system?socket=a%00b", "parameter's value"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct uri uri;
        assert_true(uri_parse(rows[i].uri, &uri, &err) < 0);
        assert_int_equal(err.code, KVASIR_ERR_INVALID_ARG);
        assert_non_null(strstr(err.message, rows[i].words));
        assert_null(uri.driver);
    }
}

/* ------------------------------------------------------------------- a false server */

struct peer {
    struct kvasir_conn *conn;
    int fd; /* the server's end */
};

static struct peer connect_peer(void)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    struct peer peer = {conn_new(&err), pair[1]};
    assert_non_null(peer.conn);
    assert_int_equal(conn_use_fd(peer.conn, pair[0], &err), 0);
    return peer;
}

static void end_peer(struct peer *peer)
{
    kvasir_close(peer->conn);
    close(peer->fd);
}

static void say(struct peer *peer, struct packet_header header, const void *payload, size_t len)
{
    uint8_t head[PACKET_HEAD];
    header.version = 1;
    packet_put_head(head, &header, len);
    assert_int_equal(write(peer->fd, head, sizeof(head)), sizeof(head));
    assert_int_equal(write(peer->fd, payload, len), len);
}

static struct packet_header reply_to(uint32_t serial, int procedure)
{
    return (struct packet_header){.program = KVASIR_PROGRAM_REMOTE,
                                  .procedure = procedure,
                                  .serial = serial,
                                  .type = PACKET_REPLY};
}

static void calls_may_be_answered_in_another_order(void **state)
{
    struct peer peer = connect_peer();
    const struct kvasir_procedure autostart = kvasir_describe_DOMAIN_GET_AUTOSTART();
    char nobody[] = "nobody";
    const wire_dom args = {.dom = {.name = nobody}};
    wire_autostart ret = {0};
    uint32_t first, second;
    assert_int_equal(kvasir_call_begin(peer.conn, &autostart, &args, &first, &err), 0);
    assert_int_equal(kvasir_call_begin(peer.conn, &autostart, &args, &second, &err), 0);
    say(&peer, reply_to(second, REMOTE_PROC_DOMAIN_GET_AUTOSTART), "\0\0\0\2", 4);
    say(&peer, reply_to(first, REMOTE_PROC_DOMAIN_GET_AUTOSTART), "\0\0\0\1", 4);
    assert_int_equal(kvasir_call_finish(peer.conn, &autostart, first, &ret, &err), 0);
    assert_int_equal(ret.autostart, 1);
    assert_int_equal(kvasir_call_finish(peer.conn, &autostart, second, &ret, &err), 0);
    assert_int_equal(ret.autostart, 2);
    assert_true(kvasir_call_finish(peer.conn, &autostart, second, &ret, &err) < 0);
    end_peer(&peer);
}

static void a_reply_that_cannot_be_decoded_is_an_error_of_that_call_only(void **state)
{
    struct peer peer = connect_peer();
    char *text;
    /* A text that says it is longer than there are bytes; a text within bounds. */
    say(&peer, reply_to(1, REMOTE_PROC_CONNECT_GET_TYPE), "\0\0\1\0QEMU", 8);
    assert_int_equal(kvasir_conn_type(peer.conn, &text, &err), -EPROTO);
    assert_int_equal(err.code, KVASIR_ERR_RPC);
    assert_null(text);
    say(&peer, reply_to(2, REMOTE_PROC_CONNECT_GET_TYPE), "\0\0\0\4QEMU", 8);
    assert_int_equal(kvasir_conn_type(peer.conn, &text, &err), 0);
    assert_string_equal(text, "QEMU");
    free(text);
    end_peer(&peer);
}

static void lists_longer_than_the_protocol_allows_are_refused(void **state)
{
    struct peer peer = connect_peer();
    struct kvasir_domain **domains;
    size_t n;
    say(&peer, reply_to(1, REMOTE_PROC_CONNECT_LIST_ALL_DOMAINS), "\xff\xff\xff\xff\0\0\0\0", 8);
    assert_int_equal(kvasir_domain_list(peer.conn, 0, &domains, &n, &err), -EPROTO);
    end_peer(&peer);
}

static void who_breaks_the_protocol_is_disconnected(void **state)
{
    struct packet_header unasked = reply_to(7, REMOTE_PROC_CONNECT_GET_TYPE);
    struct packet_header call = reply_to(1, REMOTE_PROC_CONNECT_GET_TYPE);
    call.type = PACKET_CALL;
    struct packet_header fds = reply_to(1, REMOTE_PROC_CONNECT_GET_TYPE);
    fds.type = PACKET_REPLY_FDS;
    const struct {
        struct packet_header header;
        const char *payload, *words;
        size_t len;
    } rows[] = {
        {unasked, "", "a reply to nothing", 0},
        {call, "", "a call", 0},
        {fds, "\0\0\0\1", "descriptors that did not come", 4},
        {{.type = 99}, "", "no packet", 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct peer peer = connect_peer();
        char *text;
        say(&peer, rows[i].header, rows[i].payload, rows[i].len);
        assert_int_equal(write(peer.fd, "x", 1), 1); /* a descriptor's byte without it */
        assert_true(kvasir_conn_type(peer.conn, &text, &err) < 0);
        assert_non_null(strstr(err.message, rows[i].words));
        assert_false(kvasir_conn_is_alive(peer.conn));
        /* And stays so. */
        assert_true(kvasir_conn_type(peer.conn, &text, &err) < 0);
        assert_int_equal(err.code, KVASIR_ERR_RPC);
        end_peer(&peer);
    }
}

static void a_server_that_goes_away_ends_what_waits(void **state)
{
    struct peer peer = connect_peer();
    char *text;
    shutdown(peer.fd, SHUT_WR);
    assert_true(kvasir_conn_type(peer.conn, &text, &err) < 0);
    assert_int_equal(err.code, KVASIR_ERR_SYSTEM_ERROR);
    assert_string_equal(err.message, "End of file while reading data: Input/output error");
    assert_int_equal(kvasir_conn_timeout(peer.conn), 0);
    end_peer(&peer);
}

static int closed_for = -1;

static void note_close(struct kvasir_conn *conn, int reason, void *opaque)
{
    closed_for = reason;
}

static void a_silent_server_is_taken_for_dead(void **state)
{
    struct peer peer = connect_peer();
    struct packet_header yes = reply_to(2, REMOTE_PROC_CONNECT_SUPPORTS_FEATURE);
    say(&peer, reply_to(1, REMOTE_PROC_CONNECT_REGISTER_CLOSE_CALLBACK), "", 0);
    kvasir_conn_set_close_callback(peer.conn, note_close, NULL);
    say(&peer, yes, "\0\0\0\1", 4);
    assert_int_equal(kvasir_conn_set_keepalive(peer.conn, 1, 0, &err), 0);
    while (kvasir_conn_run(peer.conn, 5000, &err) >= 0)
        continue;
    assert_string_equal(err.message, "connection closed due to keepalive timeout");
    assert_int_equal(closed_for, KVASIR_CLOSE_KEEPALIVE);
    end_peer(&peer);
}

static void questions_of_keepalive_are_answered(void **state)
{
    struct peer peer = connect_peer();
    const struct packet_header ping = {
        .program = KEEPALIVE_PROGRAM, .procedure = KEEPALIVE_PING, .type = PACKET_MESSAGE};
    uint8_t answer[PACKET_HEAD];
    struct packet packet;
    say(&peer, ping, "", 0);
    assert_int_equal(kvasir_conn_run(peer.conn, 1000, &err), 1);
    assert_int_equal(kvasir_conn_process(peer.conn, &err), 0);
    assert_int_equal(read(peer.fd, answer, sizeof(answer)), sizeof(answer));
    assert_int_equal(packet_parse(answer, sizeof(answer), PACKET_MAX, &packet), 1);
    assert_int_equal(packet.header.procedure, KEEPALIVE_PONG);
    end_peer(&peer);
}

/* -------------------------------------------------------------------------- streams */

static struct kvasir_stream *open_stream(struct peer *peer)
{
    const struct kvasir_procedure procedure = kvasir_describe_STORAGE_VOL_DOWNLOAD();
    char word[] = "x";
    const wire_storage_vol_upload_in args = {.volume = {word, word, word}};
    struct kvasir_stream *stream;
    say(peer, reply_to(peer->conn->serial + 1, REMOTE_PROC_STORAGE_VOL_DOWNLOAD), "", 0);
    assert_int_equal(kvasir_call_stream(peer->conn, &procedure, &args, NULL, &stream, &err), 0);
    return stream;
}

static void say_stream(struct peer *peer, enum packet_type type, enum packet_status status,
                       const void *data, size_t len)
{
    struct packet_header header = reply_to(peer->conn->serial, REMOTE_PROC_STORAGE_VOL_DOWNLOAD);
    header.type = type;
    header.status = status;
    say(peer, header, data, len);
}

static void data_holes_and_the_end_come_in_order(void **state)
{
    static const char hole[] = "\0\0\0\0\0\1\0\0\0\0\0\0";
    struct peer peer = connect_peer();
    struct kvasir_stream *stream = open_stream(&peer);
    char bytes[16];
    uint64_t length;
    assert_int_equal(
        kvasir_stream_receive(stream, bytes, sizeof(bytes), KVASIR_STREAM_NO_WAIT, &err), -EAGAIN);
    say_stream(&peer, PACKET_STREAM, PACKET_CONTINUE, "hello", 5);
    say_stream(&peer, PACKET_STREAM_HOLE, PACKET_CONTINUE, hole, 12);
    say_stream(&peer, PACKET_STREAM, PACKET_CONTINUE, "end", 3);
    say_stream(&peer, PACKET_STREAM, PACKET_CONTINUE, "", 0);
    assert_int_equal(kvasir_stream_receive(stream, bytes, 3, 0, &err), 3);
    assert_int_equal(kvasir_stream_receive(stream, bytes, sizeof(bytes), 0, &err), 2);
    assert_memory_equal(bytes, "lo", 2);
    assert_int_equal(kvasir_stream_receive(stream, bytes, sizeof(bytes), 0, &err), -ENODATA);
    assert_int_equal(kvasir_stream_receive_hole(stream, &length, &err), 0);
    assert_int_equal(length, 65536);
    assert_true(kvasir_stream_receive_hole(stream, &length, &err) < 0);
    assert_int_equal(kvasir_stream_receive(stream, bytes, sizeof(bytes), 0, &err), 3);
    assert_int_equal(kvasir_stream_receive(stream, bytes, sizeof(bytes), 0, &err), 0);
    say_stream(&peer, PACKET_STREAM, PACKET_OK, "", 0);
    assert_int_equal(kvasir_stream_finish(stream, &err), 0);
    assert_int_equal(kvasir_stream_finish(stream, &err), 0);
    assert_int_equal(kvasir_stream_send(stream, "x", 1, 0, &err), -EPIPE);
    kvasir_stream_free(stream);
    end_peer(&peer);
}

static void an_error_of_the_server_ends_the_stream(void **state)
{
    /* code 1, domain 38, message "no", level 2, then nothing of the rest */
    static const char error[] = "\0\0\0\1\0\0\0\x26\0\0\0\1\0\0\0\2no\0\0\0\0\0\2"
                                "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    struct peer peer = connect_peer();
    struct kvasir_stream *stream = open_stream(&peer);
    char byte;
    say_stream(&peer, PACKET_STREAM, PACKET_CONTINUE, "a", 1);
    say_stream(&peer, PACKET_STREAM, PACKET_ERROR, error, sizeof(error) - 1);
    /* What came before it is not lost. */
    assert_int_equal(kvasir_stream_receive(stream, &byte, 1, 0, &err), 1);
    assert_true(kvasir_stream_receive(stream, &byte, 1, 0, &err) < 0);
    assert_int_equal(err.code, KVASIR_ERR_INTERNAL_ERROR);
    assert_string_equal(err.message, "no");
    assert_true(kvasir_stream_send(stream, "x", 1, 0, &err) < 0);
    assert_true(kvasir_conn_is_alive(peer.conn));
    kvasir_stream_free(stream);
    end_peer(&peer);
}

static void a_stream_that_nobody_reads_holds_the_server_back(void **state)
{
    static char block[STREAM_DATA_MAX];
    struct peer peer = connect_peer();
    struct kvasir_stream *stream = open_stream(&peer);
    assert_int_equal(fcntl(peer.fd, F_SETFL, O_NONBLOCK), 0);
    size_t blocks = 0;
    while (kvasir_conn_events(peer.conn) & POLLIN) {
        struct packet_header header = reply_to(peer.conn->serial, REMOTE_PROC_STORAGE_VOL_DOWNLOAD);
        uint8_t head[PACKET_HEAD];
        header.type = PACKET_STREAM;
        header.status = PACKET_CONTINUE;
        packet_put_head(head, &header, 1000);
        assert_int_equal(write(peer.fd, head, sizeof(head)), sizeof(head));
        assert_int_equal(write(peer.fd, block, 1000), 1000);
        assert_int_equal(kvasir_conn_process(peer.conn, &err), 0);
        assert_true(++blocks < 2000);
    }
    assert_true(blocks > 500);
    assert_int_equal(kvasir_conn_timeout(peer.conn), -1);
    size_t got = 0;
    ssize_t n;
    while ((n = kvasir_stream_receive(stream, block, sizeof(block), KVASIR_STREAM_NO_WAIT, &err)) >
           0)
        got += (size_t)n;
    assert_int_equal(n, -EAGAIN);
    assert_int_equal(got, blocks * 1000);
    assert_true(kvasir_conn_events(peer.conn) & POLLIN);
    kvasir_stream_free(stream);
    end_peer(&peer);
}

/* ---------------------------------------------------------------------- descriptors */

static void descriptors_go_with_a_byte_of_their_own(void **state)
{
    struct peer peer = connect_peer();
    const struct kvasir_procedure procedure = kvasir_describe_DOMAIN_FD_ASSOCIATE();
    char word[] = "x";
    const wire_dom_name_flags args = {.dom = {.name = word}, .name = word};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct kvasir_call_fds fds = {.send = ends, .n_send = 2};
    say(&peer, reply_to(1, REMOTE_PROC_DOMAIN_FD_ASSOCIATE), "", 0);
    assert_int_equal(kvasir_call(peer.conn, &procedure, &args, NULL, &fds, &err), 0);

    uint8_t head[PACKET_HEAD + 4], rest[256];
    assert_int_equal(recv(peer.fd, head, sizeof(head), MSG_WAITALL), sizeof(head));
    assert_int_equal(packet_get_u32(head + 16), PACKET_CALL_FDS);
    assert_int_equal(packet_get_u32(head + PACKET_HEAD), 2);
    size_t left = packet_get_u32(head) - sizeof(head);
    assert_int_equal(recv(peer.fd, rest, left, MSG_WAITALL), left);
    for (int i = 0; i < 2; i++) {
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        char byte;
        struct iovec iov = {&byte, 1};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
        assert_int_equal(recvmsg(peer.fd, &msg, 0), 1);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        assert_non_null(c);
        int fd;
        memcpy(&fd, CMSG_DATA(c), sizeof(fd));
        close(fd);
    }
    close(ends[0]);
    close(ends[1]);
    end_peer(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uris_are_taken_apart),
        cmocka_unit_test(wrong_uris_are_refused_with_the_reason),
        cmocka_unit_test(calls_may_be_answered_in_another_order),
        cmocka_unit_test(a_reply_that_cannot_be_decoded_is_an_error_of_that_call_only),
        cmocka_unit_test(lists_longer_than_the_protocol_allows_are_refused),
        cmocka_unit_test(who_breaks_the_protocol_is_disconnected),
        cmocka_unit_test(a_server_that_goes_away_ends_what_waits),
        cmocka_unit_test(a_silent_server_is_taken_for_dead),
        cmocka_unit_test(questions_of_keepalive_are_answered),
        cmocka_unit_test(data_holes_and_the_end_come_in_order),
        cmocka_unit_test(an_error_of_the_server_ends_the_stream),
        cmocka_unit_test(a_stream_that_nobody_reads_holds_the_server_back),
        cmocka_unit_test(descriptors_go_with_a_byte_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
