/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QMP server over real sockets, with commands of the test's own. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/iothread.h"
#include "unit.h"
#include "vmm/control/json_stream.h"
#include "vmm/control/qmp.h"

static json_t *capabilities(struct qmp_call *call)
{
    return qmp_negotiate(call->client) ? qmp_done() : qmp_fail(call, QMP_GENERIC_ERROR, "again");
}

static json_t *echo(struct qmp_call *call)
{
    int64_t times = 1;
    qmp_integer(call, "times", &times);
    return json_pack("{s:s, s:I}", "text", qmp_string(call, "text"), "times", (json_int_t)times);
}

static json_t *pick(struct qmp_call *call)
{
    return json_integer(qmp_enum(call, "what", -1));
}

static json_t *big(struct qmp_call *call)
{
    char text[50001];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    return json_string(text);
}

static json_t *name_fd(struct qmp_call *call)
{
    int fd = qmp_take_descriptor(call->client);
    if (fd < 0)
        return qmp_fail(call, QMP_GENERIC_ERROR, "no descriptor");
    return qmp_fd_add(call->server, "it", fd, &call->error) < 0 ? NULL : qmp_done();
}

static json_t *vanish(struct qmp_call *call)
{
    return qmp_fail(call, QMP_DEVICE_NOT_FOUND, "Device '%s' not found", "d");
}

static const struct qmp_argument echo_arguments[] = {
    {"text", QMP_STRING},
    {"times", QMP_INTEGER, .optional = true},
    {NULL},
};
static const char *const picks[] = {"red", "green", NULL};
static const struct qmp_argument pick_arguments[] = {
    {"what", QMP_STRING, .optional = true, .values = picks},
    {NULL},
};
static const struct qmp_command commands[] = {
    {"qmp_capabilities", "", capabilities},
    {"echo", "", echo, echo_arguments},
    {"pick", "", pick, pick_arguments, .open = true},
    {"big", "", big},
    {"getfd", "", name_fd},
    {"vanish", "", vanish},
    {NULL},
};
static const struct qmp_command *const tables[] = {commands, NULL};
static const struct qmp_event events[] = {
    {"TICK", ""},
    {"SLOW", "", .interval_ms = 50, .key = "id"},
    {NULL},
};

struct fixture {
    struct iothread thread;
    struct qmp_server server;
};

struct add_client {
    struct qmp_server *server;
    int fd;
};

static void add_client(void *opaque)
{
    struct add_client *add = opaque;
    qmp_server_add(add->server, add->fd);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct kv_error err;
    if (iothread_init(&f->thread, "qmp", &err) < 0 ||
        qmp_server_init(&f->server, &f->thread.loop, NULL, tables, events, -1, &err) < 0 ||
        iothread_start(&f->thread, &err) < 0)
        return -1;
    *state = f;
    return 0;
}

static void destroy(void *opaque)
{
    qmp_server_destroy(opaque);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    loop_call(&f->thread.loop, destroy, &f->server);
    iothread_stop(&f->thread);
    free(f);
    return 0;
}

/* One line from the server, parsed; NULL when it hung up or is silent for two seconds. */
static json_t *receive(int fd)
{
    static char line[1 << 17];
    size_t len = 0;
    while (len < sizeof(line)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 2000) <= 0)
            return NULL;
        ssize_t n = recv(fd, line + len, sizeof(line) - len, MSG_PEEK);
        if (n <= 0)
            return NULL;
        char *end = memchr(line + len, '\n', (size_t)n);
        size_t take = end ? (size_t)(end + 1 - (line + len)) : (size_t)n;
        if (recv(fd, line + len, take, 0) != (ssize_t)take)
            return NULL;
        len += take;
        if (end)
            return json_loadb(line, len, 0, NULL);
    }
    return NULL;
}

static void transmit(int fd, const char *text)
{
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static int raw_client(struct fixture *f)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    struct add_client add = {&f->server, pair[1]};
    loop_call(&f->thread.loop, add_client, &add);
    json_t *hello = receive(pair[0]);
    json_t *version = json_object_get(json_object_get(hello, "QMP"), "version");
    assert_true(json_is_integer(json_object_get(json_object_get(version, "qemu"), "major")));
    json_decref(hello);
    return pair[0];
}

static int client(struct fixture *f)
{
    int fd = raw_client(f);
    transmit(fd, "{\"execute\": \"qmp_capabilities\"}");
    json_t *answer = receive(fd);
    assert_true(json_is_object(json_object_get(answer, "return")));
    json_decref(answer);
    return fd;
}

static void expect_error(int fd, const char *request, const char *class, const char *word)
{
    transmit(fd, request);
    json_t *answer = receive(fd);
    json_t *error = json_object_get(answer, "error");
    assert_non_null(error);
    assert_string_equal(json_string_value(json_object_get(error, "class")), class);
    assert_non_null(strstr(json_string_value(json_object_get(error, "desc")), word));
    json_decref(answer);
}

static void expect_text(int fd, const char *text)
{
    json_t *answer = receive(fd);
    json_t *result = json_object_get(answer, "return");
    assert_non_null(result);
    assert_string_equal(json_string_value(json_object_get(result, "text")), text);
    json_decref(answer);
}

static void ids_of_any_kind_come_back(void **state)
{
    static const char *const ids[] = {"7", "\"x\"", "{\"a\": [1, null]}", "null"};
    int fd = client(*state);
    for (unsigned i = 0; i < 4; i++) {
        char request[128];
        snprintf(request, sizeof(request),
                 "{\"execute\":\"echo\",\"arguments\":{\"text\":\"a\"},\"id\":%s}\n", ids[i]);
        transmit(fd, request);
        json_t *answer = receive(fd);
        json_t *id = json_loads(ids[i], JSON_DECODE_ANY, NULL);
        assert_true(json_equal(json_object_get(answer, "id"), id));
        json_decref(id);
        json_decref(answer);
    }
    close(fd);
}

static void nothing_works_before_negotiation(void **state)
{
    int fd = raw_client(*state);
    expect_error(fd, "{\"execute\":\"echo\"}", "CommandNotFound", "qmp_capabilities");
    close(fd);
}

static void wrong_requests_are_refused_by_name(void **state)
{
    static const struct {
        const char *request, *class, *word;
    } cases[] = {
        {"{\"execute\":\"nothing\"}", "CommandNotFound", "nothing"},
        {"{\"execute\":\"vanish\"}", "DeviceNotFound", "'d'"},
        {"{\"execute\":\"echo\"}", "GenericError", "'text' is missing"},
        {"{\"execute\":\"echo\",\"arguments\":{\"text\":1}}", "GenericError", "expected: string"},
        {"{\"execute\":\"echo\",\"arguments\":{\"text\":\"\",\"times\":1.5}}", "GenericError",
         "expected: integer"},
        {"{\"execute\":\"echo\",\"arguments\":{\"text\":\"\",\"more\":1}}", "GenericError",
         "'more' is unexpected"},
        {"{\"execute\":\"big\",\"arguments\":{\"x\":1}}", "GenericError", "'x' is unexpected"},
        {"{\"execute\":\"pick\",\"arguments\":{\"what\":\"blue\"}}", "GenericError",
         "'what' does not accept value 'blue'"},
        {"{\"execute\":\"big\",\"arguments\":[]}", "GenericError", "'arguments' must be"},
        {"{\"execute\":3}", "GenericError", "'execute' must be"},
        {"{\"run\":\"big\"}", "GenericError", "'run' is unexpected"},
        {"{}", "GenericError", "lacks member 'execute'"},
        {"[1]", "GenericError", "must be a JSON object"},
        {"{\"execute\":\"big\",\"execute\":\"big\"}", "GenericError", "JSON parse error"},
        {"{\"a\":}", "GenericError", "JSON parse error"},
        {"hello world\n", "GenericError", "JSON parse error"},
        {"{\"a\":\"\xff", "GenericError", "JSON parse error"},
    };
    int fd = client(*state);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_error(fd, cases[i].request, cases[i].class, cases[i].word);
    transmit(fd, "{\"execute\":\"echo\",\"arguments\":{\"text\":\"alive\"}}");
    expect_text(fd, "alive");
    close(fd);
}

static void choices_are_numbered_and_open_commands_take_what_they_do_not_know(void **state)
{
    static const struct {
        const char *arguments;
        int answer;
    } cases[] = {{"{\"what\":\"red\"}", 0},
                 {"{\"what\":\"green\", \"more\":[1]}", 1},
                 {"{\"more\":{}}", -1}};
    int fd = client(*state);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char request[128];
        snprintf(request, sizeof(request), "{\"execute\":\"pick\",\"arguments\":%s}",
                 cases[i].arguments);
        transmit(fd, request);
        json_t *answer = receive(fd);
        assert_int_equal(json_integer_value(json_object_get(answer, "return")), cases[i].answer);
        json_decref(answer);
    }
    close(fd);
}

static void requests_need_no_separator_and_may_come_in_pieces(void **state)
{
    static const char two[] = "{\"execute\":\"echo\",\"arguments\":{\"text\":\"{[\\\"\"}}"
                              "{\"execute\":\"echo\",\"arguments\":{\"text\":\"b\"}}";
    int fd = client(*state);
    transmit(fd, two);
    expect_text(fd, "{[\"");
    expect_text(fd, "b");
    for (const char *c = two; *c; c++)
        assert_int_equal(fd_write_all(fd, c, 1), 0);
    expect_text(fd, "{[\"");
    expect_text(fd, "b");
    close(fd);
}

static void a_huge_request_is_refused_and_the_client_stays(void **state)
{
    size_t len = JSON_STREAM_MAX_BYTES + 100;
    char *text = malloc(len + 1);
    memset(text, 'y', len);
    memcpy(text, "{\"a\":\"", 6);
    text[len] = 0;
    int fd = client(*state);
    transmit(fd, text);
    json_t *answer = receive(fd);
    assert_non_null(json_object_get(answer, "error"));
    json_decref(answer);
    transmit(fd, "\n{\"execute\":\"echo\",\"arguments\":{\"text\":\"alive\"}}");
    expect_text(fd, "alive");
    free(text);
    close(fd);
}

static void deep_nesting_is_refused(void **state)
{
    int fd = client(*state);
    char text[JSON_STREAM_MAX_DEPTH + 3];
    memset(text, '[', sizeof(text) - 1);
    text[JSON_STREAM_MAX_DEPTH + 1] = '\n';
    text[JSON_STREAM_MAX_DEPTH + 2] = 0;
    expect_error(fd, text, "GenericError", "deeper");
    transmit(fd, "{\"execute\":\"echo\",\"arguments\":{\"text\":\"alive\"}}");
    expect_text(fd, "alive");
    close(fd);
}

static void descriptors_arrive_with_their_request(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);
    expect_error(fd, "{\"execute\":\"getfd\"}", "GenericError", "no descriptor");
    int sent = open("/dev/null", O_RDONLY);
    static const char request[] = "{\"execute\":\"getfd\"}";
    assert_int_equal(fd_send(fd, request, sizeof(request) - 1, &sent, 1), sizeof(request) - 1);
    close(sent);
    json_t *answer = receive(fd);
    assert_non_null(json_object_get(answer, "return"));
    json_decref(answer);
    int got = qmp_fd_take(&f->server, "it");
    assert_true(got >= 0);
    assert_int_equal(fcntl(got, F_GETFD), FD_CLOEXEC);
    close(got);
    close(fd);
}

static json_t *event(const char *name, const char *id)
{
    return json_pack("{s:s, s:{s:i, s:i}, s:{s:s}}", "event", name, "timestamp", "seconds", 1,
                     "microseconds", 2, "data", "id", id);
}

static void broadcast(void *opaque)
{
    struct qmp_server *server = opaque;
    qmp_server_broadcast(server, event("TICK", "a"));
}

static void events_reach_every_negotiated_client(void **state)
{
    struct fixture *f = *state;
    int a = client(f), b = client(f), silent = raw_client(f);
    loop_call(&f->thread.loop, broadcast, &f->server);
    for (unsigned i = 0; i < 2; i++) {
        json_t *got = receive(i ? b : a);
        assert_string_equal(json_string_value(json_object_get(got, "event")), "TICK");
        json_decref(got);
    }
    struct pollfd p = {.fd = silent, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 50), 0);
    close(a);
    close(b);
    close(silent);
}

static void broadcast_slow(void *opaque)
{
    struct qmp_server *server = opaque;
    static const char *const ids[] = {"a", "b", "a", "a"};
    for (unsigned i = 0; i < 4; i++) {
        json_t *e = event("SLOW", ids[i]);
        json_object_set_new(json_object_get(e, "data"), "n", json_integer(i));
        qmp_server_broadcast(server, e);
    }
}

static void frequent_events_are_held_to_the_newest_of_an_interval(void **state)
{
    static const int expected[] = {0, 1, 3};
    struct fixture *f = *state;
    int fd = client(f);
    loop_call(&f->thread.loop, broadcast_slow, &f->server);
    for (unsigned i = 0; i < 3; i++) {
        json_t *got = receive(fd);
        json_t *n = json_object_get(json_object_get(got, "data"), "n");
        assert_int_equal(json_integer_value(n), expected[i]);
        json_decref(got);
    }
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 150), 0);
    close(fd);
}

static void flood(void *opaque)
{
    struct qmp_server *server = opaque;
    char text[5001];
    memset(text, 'z', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    for (unsigned i = 0; i < 1000; i++)
        qmp_server_broadcast(server, event("TICK", text));
}

static void a_client_that_never_reads_is_dropped_and_others_are_not(void **state)
{
    struct fixture *f = *state;
    int lazy = client(f);
    loop_call(&f->thread.loop, flood, &f->server);
    for (unsigned i = 0; i < 500 && f->server.client_count; i++)
        usleep(10000); /* it goes when the loop gets to it */
    assert_int_equal(f->server.client_count, 0);
    int fd = client(f);
    transmit(fd, "{\"execute\":\"echo\",\"arguments\":{\"text\":\"alive\"}}");
    expect_text(fd, "alive");
    close(lazy);
    close(fd);
}

static void answers_wait_for_a_client_that_reads_late(void **state)
{
    int fd = client(*state);
    for (unsigned i = 0; i < 200; i++)
        transmit(fd, "{\"execute\":\"big\"}");
    for (unsigned i = 0; i < 200; i++) {
        json_t *answer = receive(fd);
        assert_int_equal(json_string_length(json_object_get(answer, "return")), 50000);
        json_decref(answer);
    }
    close(fd);
}

static void a_request_is_done_although_its_client_hangs_up(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);
    int sent = open("/dev/null", O_RDONLY);
    static const char request[] = "{\"execute\":\"getfd\"}";
    fd_send(fd, request, sizeof(request) - 1, &sent, 1);
    close(sent);
    close(fd);
    int got = -1;
    for (unsigned i = 0; i < 100 && got < 0; i++) {
        usleep(10000);
        got = qmp_fd_take(&f->server, "it");
    }
    assert_true(got >= 0);
    close(got);
}

#define with_server(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_server(ids_of_any_kind_come_back),
        with_server(nothing_works_before_negotiation),
        with_server(wrong_requests_are_refused_by_name),
        with_server(choices_are_numbered_and_open_commands_take_what_they_do_not_know),
        with_server(requests_need_no_separator_and_may_come_in_pieces),
        with_server(a_huge_request_is_refused_and_the_client_stays),
        with_server(deep_nesting_is_refused),
        with_server(descriptors_arrive_with_their_request),
        with_server(events_reach_every_negotiated_client),
        with_server(frequent_events_are_held_to_the_newest_of_an_interval),
        with_server(a_client_that_never_reads_is_dropped_and_others_are_not),
        with_server(answers_wait_for_a_client_that_reads_late),
        with_server(a_request_is_done_although_its_client_hangs_up),
    };
    return cmocka_run_group_tests_name("qmp", tests, NULL, NULL);
}
