/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The database's server without sockets: requests in, answers and notifications out. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "switch/ovsdb/monitor.h"
#include "switch/ovsdb/server.h"
#include "switch/ovsdb/store.h"
#include "switch/ovsdb/transact.h"
#include "unit.h"

struct world {
    struct database db;
    struct ovsdb_server server;
    struct ovsdb_client *client, *other;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    struct kv_error err;
    database_init(&world->db);
    ovsdb_server_init(&world->server, NULL, &world->db, -1, &err);
    world->client = ovsdb_client_new(&world->server);
    world->other = ovsdb_client_new(&world->server);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    ovsdb_server_destroy(&world->server);
    database_free(&world->db);
    free(world);
    return 0;
}

static void say(struct ovsdb_client *client, const char *text)
{
    json_t *message = json_loads(text, 0, NULL);
    assert_non_null(message);
    ovsdb_client_request(client, message, NULL);
    json_decref(message);
}

/* The next message that the client got, or NULL. */
static json_t *hear(struct ovsdb_client *client)
{
    if (!client->out.len)
        return NULL;
    json_t *message = json_loadb((const char *)buffer_bytes(&client->out), client->out.len,
                                 JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(message);
    char *text = json_dumps(message, JSON_COMPACT);
    buffer_consume(&client->out, strlen(text));
    free(text);
    return message;
}

static void expect(struct ovsdb_client *client, const char *text)
{
    json_t *message = hear(client), *wanted = json_loads(text, 0, NULL);
    assert_non_null(message);
    assert_non_null(wanted);
    if (!json_equal(message, wanted)) {
        char *found = json_dumps(message, JSON_COMPACT);
        fail_msg("'%s' where '%s' was expected", found, text);
    }
    json_decref(message);
    json_decref(wanted);
}

static void expect_silence(struct ovsdb_client *client)
{
    assert_int_equal(client->out.len, 0);
}

/* Carries out operations; the results, as JSON. */
static json_t *transact(struct ovsdb_client *client, const char *operations)
{
    char *text = NULL;
    assert_true(asprintf(&text,
                         "{\"id\":1,\"method\":\"transact\",\"params\":[\"Open_vSwitch\",%s]}",
                         operations) > 0);
    say(client, text);
    free(text);
    json_t *answer = hear(client), *result = json_incref(json_object_get(answer, "result"));
    assert_non_null(result);
    json_decref(answer);
    return result;
}

/* The error of the operation, "" for none. */
static void expect_error(struct world *world, const char *operations, unsigned place,
                         const char *error)
{
    json_t *results = transact(world->client, operations);
    const char *found = json_string_value(json_object_get(json_array_get(results, place), "error"));
    assert_string_equal(found ? found : "", error);
    json_decref(results);
}

static size_t rows(struct world *world, const char *table)
{
    size_t count = 0;
    database_each (&world->db, ovsdb_find_table(table), row)
        count++;
    return count;
}

/* A root with the bridge br0 and its port p, whose interface is p, too. */
#define NAMED(name) "[\"named-uuid\",\"" name "\"]"
#define SMALL                                                                                    \
    "{\"op\":\"insert\",\"table\":\"Open_vSwitch\",\"row\":{\"bridges\":" NAMED(                 \
        "b") "}},"                                                                               \
             "{\"op\":\"insert\",\"table\":\"Bridge\",\"uuid-name\":\"b\","                      \
             "\"row\":{\"name\":\"br0\",\"ports\":" NAMED(                                       \
                 "p") "}},"                                                                      \
                      "{\"op\":\"insert\",\"table\":\"Port\",\"uuid-name\":\"p\","               \
                      "\"row\":{\"name\":\"p\",\"interfaces\":" NAMED(                           \
                          "i") "}},"                                                             \
                               "{\"op\":\"insert\",\"table\":\"Interface\",\"uuid-name\":\"i\"," \
                               "\"row\":{\"name\":\"p\"}}"

static void what_nothing_refers_to_goes(void **state)
{
    struct world *world = *state;
    expect_error(world, SMALL, 4, "");
    assert_int_equal(rows(world, "Bridge") + rows(world, "Port") + rows(world, "Interface"), 3);
    expect_error(world, "{\"op\":\"insert\",\"table\":\"Mirror\",\"row\":{}}", 1, "");
    assert_int_equal(rows(world, "Mirror"), 0);
    expect_error(world, "{\"op\":\"insert\",\"table\":\"QoS\",\"row\":{}}", 1, "");
    assert_int_equal(rows(world, "QoS"), 1);
    expect_error(world,
                 "{\"op\":\"update\",\"table\":\"Open_vSwitch\",\"where\":[],"
                 "\"row\":{\"bridges\":[\"set\",[]]}}",
                 1, "");
    assert_int_equal(rows(world, "Bridge") + rows(world, "Port") + rows(world, "Interface"), 0);
}

static void a_weak_reference_goes_with_its_row(void **state)
{
    struct world *world = *state;
    expect_error(world, SMALL, 4, "");
    expect_error(
        world,
        "{\"op\":\"insert\",\"table\":\"Interface\",\"uuid-name\":\"i\","
        "\"row\":{\"name\":\"q\"}},"
        "{\"op\":\"insert\",\"table\":\"Port\",\"uuid-name\":\"p\",\"row\":"
        "{\"name\":\"q\",\"interfaces\":" NAMED(
            "i") "}},"
                 "{\"op\":\"insert\",\"table\":\"Mirror\",\"uuid-name\":\"m\",\"row\":"
                 "{\"select_src_port\":" NAMED(
                     "p") "}},"
                          "{\"op\":\"mutate\",\"table\":\"Bridge\",\"where\":[],\"mutations\":"
                          "[[\"ports\",\"insert\"," NAMED("p") "],[\"mirrors\",\"insert\"," NAMED(
                              "m") "]]}",
        4, "");
    assert_int_equal(rows(world, "Mirror"), 1);
    json_t *results = transact(world->client, "{\"op\":\"select\",\"table\":\"Port\",\"where\":"
                                              "[[\"name\",\"==\",\"q\"]],\"columns\":[\"_uuid\"]}");
    json_t *uuid = json_object_get(
        json_array_get(json_object_get(json_array_get(results, 0), "rows"), 0), "_uuid");
    char *text = NULL;
    assert_true(asprintf(&text,
                         "{\"op\":\"mutate\",\"table\":\"Bridge\",\"where\":[],\"mutations\":"
                         "[[\"ports\",\"delete\",[\"uuid\",\"%s\"]]]}",
                         json_string_value(json_array_get(uuid, 1))) > 0);
    expect_error(world, text, 1, "");
    free(text);
    json_decref(results);
    database_each (&world->db, ovsdb_find_table("Mirror"), mirror)
        assert_int_equal(row_get(mirror, "select_src_port")->count, 0);
    assert_int_equal(rows(world, "Port"), 1);
}

static void what_breaks_a_rule_changes_nothing(void **state)
{
    struct world *world = *state;
    static const struct {
        const char *operations, *error;
        unsigned place;
    } wrong[] = {
        {"{\"op\":\"insert\",\"table\":\"QoS\",\"row\":{}},{\"op\":\"abort\"}", "aborted", 1},
        {"{\"op\":\"insert\",\"table\":\"QoS\",\"row\":{}},{\"op\":\"nothing\"}", "syntax error",
         1},
        {"{\"op\":\"delete\",\"table\":\"Port\",\"where\":[]}", "referential integrity violation",
         1},
        {"{\"op\":\"insert\",\"table\":\"Open_vSwitch\",\"row\":{}}", "constraint violation", 1},
        {"{\"op\":\"insert\",\"table\":\"Port\",\"row\":{\"name\":\"x\"}}",
         "referential integrity violation", 1},
        {"{\"op\":\"insert\",\"table\":\"Queue\",\"row\":{\"dscp\":64}}", "constraint violation",
         0},
        {"{\"op\":\"update\",\"table\":\"Bridge\",\"where\":[],\"row\":{\"fail_mode\":\"x\"}}",
         "constraint violation", 0},
        {"{\"op\":\"update\",\"table\":\"Bridge\",\"where\":[],\"row\":{\"name\":\"x\"}}",
         "constraint violation", 0},
        {"{\"op\":\"update\",\"table\":\"Bridge\",\"where\":[],"
         "\"row\":{\"_uuid\":[\"uuid\",\"00000000-0000-4000-8000-000000000000\"]}}",
         "constraint violation", 0},
        {"{\"op\":\"update\",\"table\":\"Port\",\"where\":[],\"row\":{\"tag\":"
         "[\"set\",[1,2]]}}",
         "constraint violation", 0},
        {"{\"op\":\"update\",\"table\":\"Port\",\"where\":[],\"row\":{\"trunks\":"
         "[\"set\",[1,1]]}}",
         "syntax error", 0},
        {"{\"op\":\"mutate\",\"table\":\"Open_vSwitch\",\"where\":[],\"mutations\":"
         "[[\"next_cfg\",\"+=\",9223372036854775807],[\"next_cfg\",\"+=\",1]]}",
         "range error", 0},
        {"{\"op\":\"mutate\",\"table\":\"Open_vSwitch\",\"where\":[],\"mutations\":"
         "[[\"next_cfg\",\"%=\",0]]}",
         "domain error", 0},
        {"{\"op\":\"commit\",\"durable\":true}", "not supported", 0},
        {"{\"op\":\"insert\",\"table\":\"QoS\",\"row\":{},\"more\":1}", "syntax error", 0},
        {"{\"op\":\"assert\",\"lock\":\"l\"}", "not owner", 0},
    };
    static const char everything[] = "{\"op\":\"select\",\"table\":\"Bridge\",\"where\":[]},"
                                     "{\"op\":\"select\",\"table\":\"Port\",\"where\":[]},"
                                     "{\"op\":\"select\",\"table\":\"QoS\",\"where\":[]},"
                                     "{\"op\":\"select\",\"table\":\"Open_vSwitch\",\"where\":[]}";
    expect_error(world, SMALL, 4, "");
    json_t *before = transact(world->client, everything);
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        expect_error(world, wrong[i].operations, wrong[i].place, wrong[i].error);
        json_t *after = transact(world->client, everything);
        assert_true(json_equal(before, after));
        json_decref(after);
    }
    json_decref(before);
}

static void names_are_of_one_row_in_an_index(void **state)
{
    struct world *world = *state;
    static const char twice[] = "{\"op\":\"insert\",\"table\":\"Flow_Sample_Collector_Set\","
                                "\"row\":{\"id\":%d,\"bridge\":[\"uuid\",\"%s\"]}}";
    char uuid[UUID_TEXT], text[300];
    expect_error(world, SMALL, 4, "");
    database_each (&world->db, ovsdb_find_table("Bridge"), bridge)
        uuid_format(&bridge->uuid, uuid);
    snprintf(text, sizeof(text), twice, 1, uuid);
    expect_error(world, text, 1, "");
    expect_error(world, text, 1, "constraint violation");
    snprintf(text, sizeof(text), twice, 2, uuid);
    expect_error(world, text, 1, "");
}

static void monitors_tell_what_changed(void **state)
{
    struct world *world = *state;
    char uuid[UUID_TEXT], text[400];
    expect_error(world,
                 "{\"op\":\"insert\",\"table\":\"QoS\",\"row\":{\"type\":\"a\",\"external_ids\":"
                 "[\"map\",[[\"k\",\"v\"],[\"l\",\"w\"]]]}}",
                 1, "");
    database_each (&world->db, ovsdb_find_table("QoS"), row)
        uuid_format(&row->uuid, uuid);
    say(world->other, "{\"id\":1,\"method\":\"monitor\",\"params\":[\"Open_vSwitch\",\"m\","
                      "{\"QoS\":{\"columns\":[\"type\",\"external_ids\"]}}]}");
    snprintf(text, sizeof(text),
             "{\"id\":1,\"error\":null,\"result\":{\"QoS\":{\"%s\":{\"new\":{\"type\":\"a\","
             "\"external_ids\":[\"map\",[[\"k\",\"v\"],[\"l\",\"w\"]]]}}}}}",
             uuid);
    expect(world->other, text);
    say(world->other,
        "{\"id\":2,\"method\":\"monitor_cond\",\"params\":[\"Open_vSwitch\",2,"
        "{\"QoS\":[{\"columns\":[\"type\",\"external_ids\"],\"select\":{\"initial\":false},"
        "\"where\":[[\"type\",\"!=\",\"b\"]]}]}]}");
    expect(world->other, "{\"id\":2,\"error\":null,\"result\":{}}");
    expect_error(world,
                 "{\"op\":\"mutate\",\"table\":\"QoS\",\"where\":[],\"mutations\":"
                 "[[\"external_ids\",\"delete\",[\"set\",[\"k\"]]],"
                 "[\"external_ids\",\"insert\",[\"map\",[[\"n\",\"x\"]]]]]}",
                 1, "");
    snprintf(text, sizeof(text),
             "{\"id\":null,\"method\":\"update\",\"params\":[\"m\",{\"QoS\":{\"%s\":{\"old\":"
             "{\"external_ids\":[\"map\",[[\"k\",\"v\"],[\"l\",\"w\"]]]},\"new\":{\"type\":\"a\","
             "\"external_ids\":[\"map\",[[\"l\",\"w\"],[\"n\",\"x\"]]]}}}}]}",
             uuid);
    expect(world->other, text);
    snprintf(text, sizeof(text),
             "{\"id\":null,\"method\":\"update2\",\"params\":[2,{\"QoS\":{\"%s\":{\"modify\":"
             "{\"external_ids\":[\"map\",[[\"k\",\"v\"],[\"n\",\"x\"]]]}}}}]}",
             uuid);
    expect(world->other, text);
    /* A column that nobody asked for. */
    expect_error(world,
                 "{\"op\":\"mutate\",\"table\":\"QoS\",\"where\":[],\"mutations\":"
                 "[[\"other_config\",\"insert\",[\"map\",[[\"n\",\"x\"]]]]]}",
                 1, "");
    expect_silence(world->other);
    say(world->other, "{\"id\":3,\"method\":\"monitor_cancel\",\"params\":[\"m\"]}");
    expect(world->other, "{\"id\":3,\"error\":null,\"result\":{}}");
    /* Out of what the condition names, as if it were deleted. */
    expect_error(world,
                 "{\"op\":\"update\",\"table\":\"QoS\",\"where\":[],\"row\":{\"type\":\"b\"}}", 1,
                 "");
    snprintf(text, sizeof(text),
             "{\"id\":null,\"method\":\"update2\",\"params\":[2,{\"QoS\":{\"%s\":"
             "{\"delete\":null}}}]}",
             uuid);
    expect(world->other, text);
    expect_error(world,
                 "{\"op\":\"update\",\"table\":\"QoS\",\"where\":[],\"row\":{\"type\":\"c\","
                 "\"external_ids\":[\"map\",[]]}}",
                 1, "");
    snprintf(text, sizeof(text),
             "{\"id\":null,\"method\":\"update2\",\"params\":[2,{\"QoS\":{\"%s\":{\"insert\":"
             "{\"type\":\"c\"}}}}]}",
             uuid);
    expect(world->other, text);
}

static const char wait_for_c[] =
    "{\"id\":7,\"method\":\"transact\",\"params\":[\"Open_vSwitch\",{\"op\":\"wait\","
    "\"table\":\"QoS\",\"where\":[],\"columns\":[\"type\"],\"until\":\"==\","
    "\"rows\":[{\"type\":\"c\"}]},{\"op\":\"comment\",\"comment\":\"then\"}]}";

static void a_transaction_waits_for_what_another_client_does(void **state)
{
    struct world *world = *state;
    say(world->other, wait_for_c);
    expect_silence(world->other);
    expect_error(world, "{\"op\":\"insert\",\"table\":\"QoS\",\"row\":{\"type\":\"b\"}}", 1, "");
    expect_silence(world->other);
    expect_error(world,
                 "{\"op\":\"update\",\"table\":\"QoS\",\"where\":[],\"row\":{\"type\":\"c\"}}", 1,
                 "");
    expect(world->other, "{\"id\":7,\"error\":null,\"result\":[{},{}]}");
}

static void a_transaction_that_waits_is_cancelled(void **state)
{
    struct world *world = *state;
    say(world->client, wait_for_c);
    say(world->client, "{\"id\":null,\"method\":\"cancel\",\"params\":[8]}");
    expect_silence(world->client);
    say(world->client, "{\"id\":null,\"method\":\"cancel\",\"params\":[7]}");
    expect(world->client, "{\"id\":7,\"error\":\"canceled\",\"result\":null}");
    for (unsigned i = 0; i < CLIENT_WAITING_MAX; i++)
        say(world->client, wait_for_c);
    expect_silence(world->client);
    say(world->client, wait_for_c);
    json_t *answer = hear(world->client);
    assert_true(json_is_null(json_object_get(answer, "result")));
    json_decref(answer);
}

static void stop(void *opaque)
{
    loop_stop(opaque);
}

static void a_wait_ends_with_its_time(void **state)
{
    struct world *world = *state;
    struct kv_error err;
    struct loop loop;
    struct loop_timer timer = {0};
    char text[200] = {0};
    int pair[2];
    assert_int_equal(loop_init(&loop, &err), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    world->server.loop = &loop;
    world->client->fd = pair[0];
    say(world->client, "{\"id\":7,\"method\":\"transact\",\"params\":[\"Open_vSwitch\",{\"op\":"
                       "\"wait\",\"timeout\":20,\"table\":\"QoS\",\"where\":[],\"columns\":"
                       "[\"type\"],\"until\":\"==\",\"rows\":[{\"type\":\"c\"}]}]}");
    expect_silence(world->client);
    loop_timer_arm(&loop, &timer, 200000000, stop, &loop);
    loop_run(&loop);
    assert_true(recv(pair[1], text, sizeof(text) - 1, MSG_DONTWAIT) > 0);
    assert_non_null(strstr(text, "timed out"));
    close(pair[1]);
    world->server.loop = NULL;
    loop_destroy(&loop);
}

static void locks_go_from_one_to_the_next(void **state)
{
    struct world *world = *state;
    static const char lock[] = "{\"id\":1,\"method\":\"lock\",\"params\":[\"l\"]}";
    say(world->client, lock);
    expect(world->client, "{\"id\":1,\"error\":null,\"result\":{\"locked\":true}}");
    say(world->other, lock);
    expect(world->other, "{\"id\":1,\"error\":null,\"result\":{\"locked\":false}}");
    expect_error(world, "{\"op\":\"assert\",\"lock\":\"l\"}", 0, "");
    say(world->client, "{\"id\":2,\"method\":\"unlock\",\"params\":[\"l\"]}");
    expect(world->other, "{\"id\":null,\"method\":\"locked\",\"params\":[\"l\"]}");
    expect(world->client, "{\"id\":2,\"error\":null,\"result\":{}}");
    expect_error(world, "{\"op\":\"assert\",\"lock\":\"l\"}", 0, "not owner");
    say(world->client, "{\"id\":3,\"method\":\"steal\",\"params\":[\"l\"]}");
    expect(world->other, "{\"id\":null,\"method\":\"stolen\",\"params\":[\"l\"]}");
    expect(world->client, "{\"id\":3,\"error\":null,\"result\":{\"locked\":true}}");
    ovsdb_client_free(world->client);
    expect(world->other, "{\"id\":null,\"method\":\"locked\",\"params\":[\"l\"]}");
    world->client = ovsdb_client_new(&world->server);
}

static void methods_are_answered_or_refused(void **state)
{
    struct world *world = *state;
    say(world->client, "{\"id\":\"x\",\"method\":\"echo\",\"params\":[1,\"a\"]}");
    expect(world->client, "{\"id\":\"x\",\"error\":null,\"result\":[1,\"a\"]}");
    say(world->client, "{\"id\":1,\"method\":\"set_db_change_aware\",\"params\":[true]}");
    expect(world->client, "{\"id\":1,\"error\":null,\"result\":{}}");
    say(world->client, "{\"id\":1,\"method\":\"convert\",\"params\":[]}");
    expect(world->client, "{\"id\":1,\"error\":\"unknown method\",\"result\":null}");
    say(world->client, "{\"id\":null,\"method\":\"convert\",\"params\":[]}");
    expect_silence(world->client);
    say(world->client, "{\"id\":1,\"method\":\"echo\"}");
    assert_true(world->client->dead);
}

static void a_client_that_does_not_read_is_given_up(void **state)
{
    struct world *world = *state;
    say(world->other, "{\"id\":1,\"method\":\"monitor\",\"params\":[\"Open_vSwitch\",1,"
                      "{\"QoS\":{}}]}");
    char *text = calloc(1, (1 << 20) + 200);
    int len = sprintf(text, "{\"op\":\"insert\",\"table\":\"QoS\",\"row\":{\"type\":\"");
    memset(text + len, 'x', 1 << 20);
    strcpy(text + len + (1 << 20), "\"}}");
    for (unsigned i = 0; i < (SERVER_OUT_MAX >> 20) + 1; i++)
        expect_error(world, text, 1, "");
    assert_true(world->other->dead);
    /* What clients may store has an end, too. */
    for (unsigned i = rows(world, "QoS"); i < DATABASE_BYTES_MAX >> 20; i++) {
        json_t *results = transact(world->client, text);
        json_decref(results);
    }
    expect_error(world, text, 1, "resources exhausted");
    assert_true(rows(world, "QoS") < DATABASE_BYTES_MAX >> 20);
    free(text);
}

static void one_message_cannot_take_all_memory(void **state)
{
    struct world *world = *state;
    static const char mutate[] = "{\"op\":\"mutate\",\"table\":\"QoS\",\"where\":[],\"mutations\":"
                                 "[[\"external_ids\",\"delete\",[\"set\",[\"k\"]]]]},";
    unsigned count = (TRANSACT_BYTES_MAX >> 19) + 1;
    size_t size = 1 << 19;
    char *text = calloc(1, size + count * sizeof(mutate) + 100);
    int len = sprintf(text, "{\"op\":\"insert\",\"table\":\"QoS\",\"row\":{\"type\":\"");
    memset(text + len, 'x', size);
    strcpy(text + len + size, "\"}}");
    expect_error(world, text, 1, "");
    char *end = text;
    for (unsigned i = 0; i < count; i++)
        end = stpcpy(end, mutate);
    strcpy(end, "{\"op\":\"comment\",\"comment\":\"\"}");
    expect_error(world, text, (TRANSACT_BYTES_MAX >> 19) - 1, "resources exhausted");
    assert_int_equal(rows(world, "QoS"), 1);
    free(text);
}

static void the_file_has_what_was_committed(void **state)
{
    struct world *world = *state;
    struct store *store;
    struct kv_error err;
    struct database again;
    char folder[] = "/tmp/kvasir-ovsdb-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/db", folder);
    assert_int_equal(store_open(&store, path, &world->db, &err), 0);
    expect_error(world, SMALL, 4, "");
    expect_error(world, "{\"op\":\"insert\",\"table\":\"QoS\",\"row\":{\"type\":\"x\"}}", 1, "");
    expect_error(world, "{\"op\":\"delete\",\"table\":\"QoS\",\"where\":[]}", 1, "");
    expect_error(world,
                 "{\"op\":\"update\",\"table\":\"Interface\",\"where\":[],\"row\":"
                 "{\"ofport\":3,\"mac_in_use\":\"m\"}}",
                 1, "");
    /* A disk that is full: the client hears of it, and nothing has changed. */
    struct rlimit limit, old;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = 1;
    setrlimit(RLIMIT_FSIZE, &limit);
    expect_error(world, "{\"op\":\"insert\",\"table\":\"QoS\",\"row\":{\"type\":\"x\"}}", 1,
                 "I/O error");
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(rows(world, "QoS"), 0);
    store_close(store);
    database_init(&again);
    assert_int_equal(store_open(&store, path, &again, &err), 0);
    database_each (&again, ovsdb_find_table("Interface"), row) {
        assert_string_equal(row_string(row, "name"), "p");
        assert_int_equal(row_get(row, "ofport")->keys->integer, 3);
        assert_int_equal(row_get(row, "mac_in_use")->count, 0);
    }
    assert_int_equal(again.row_count, 4);
    store_close(store);
    database_free(&again);
    unlink(path);
    /* A file of somebody else's. */
    FILE *other = fopen(path, "w");
    fputs("a text of somebody else's that is no database at all", other);
    fclose(other);
    database_init(&again);
    assert_true(store_open(&store, path, &again, &err) < 0);
    database_free(&again);
    unlink(path);
    rmdir(folder);
    world->db.watcher_count = 1;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_nothing_refers_to_goes),
        TEST(a_weak_reference_goes_with_its_row),
        TEST(what_breaks_a_rule_changes_nothing),
        TEST(names_are_of_one_row_in_an_index),
        TEST(monitors_tell_what_changed),
        TEST(a_transaction_waits_for_what_another_client_does),
        TEST(a_transaction_that_waits_is_cancelled),
        TEST(a_wait_ends_with_its_time),
        TEST(locks_go_from_one_to_the_next),
        TEST(methods_are_answered_or_refused),
        TEST(a_client_that_does_not_read_is_given_up),
        TEST(one_message_cannot_take_all_memory),
        TEST(the_file_has_what_was_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
