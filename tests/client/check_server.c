/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libkvasir against a server, by its public header alone. tests/client/test_client.py runs it
 * with the server's URIs in the environment:
 *   CLIENT_URI, CLIENT_RO_URI   read-write and read-only
 *   CLIENT_XML                  a file with a domain that can be defined; %s is its name
 *   CLIENT_LIFE                 a domain that is defined there, shut off, and may be started
 *   CLIENT_LIFE_URI             its connection
 */
#include <kvasir/kvasir.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

#define PATIENCE_MS 20000

static struct kvasir_error err;

#define assert_done(r)                                           \
    do {                                                         \
        if ((r) < 0) {                                           \
            print_error("code %d: %s\n", err.code, err.message); \
            fail();                                              \
        }                                                        \
    } while (0)

static struct kvasir_conn *open_by(const char *variable, unsigned flags)
{
    struct kvasir_conn *conn;
    const char *uri = getenv(variable);
    assert_non_null(uri);
    assert_done(kvasir_open(uri, flags, NULL, &conn, &err));
    return conn;
}

static char *xml_of(const char *name)
{
    char format[8192] = "", *xml;
    FILE *file = fopen(getenv("CLIENT_XML"), "r");
    assert_non_null(file);
    size_t n = fread(format, 1, sizeof(format) - 1, file);
    assert_true(n > 0);
    fclose(file);
    char *at = strstr(format, "%s");
    assert_non_null(at);
    *at = '\0';
    assert_true(asprintf(&xml, "%s%s%s", format, name, at + 2) > 0);
    return xml;
}

static struct kvasir_domain *define(struct kvasir_conn *conn, const char *name)
{
    struct kvasir_domain *domain;
    char *xml = xml_of(name);
    assert_done(kvasir_domain_define(conn, xml, 0, &domain, &err));
    free(xml);
    return domain;
}

static void the_server_tells_who_it_is(void **state)
{
    struct kvasir_conn *conn = open_by("CLIENT_URI", 0);
    struct kvasir_node_info info;
    unsigned long hypervisor, library;
    char *text;
    assert_done(kvasir_conn_type(conn, &text, &err));
    assert_string_equal(text, "QEMU");
    free(text);
    assert_done(kvasir_conn_uri(conn, &text, &err));
    assert_string_equal(text, "qemu:///system");
    free(text);
    assert_done(kvasir_conn_hostname(conn, &text, &err));
    assert_true(*text);
    free(text);
    assert_done(kvasir_conn_capabilities(conn, &text, &err));
    assert_non_null(strstr(text, "<capabilities>"));
    free(text);
    assert_done(kvasir_conn_versions(conn, NULL, &library, &err));
    assert_true(library >= 6000000);
    assert_true(kvasir_version() >= 1000);
    /* libvirtd has none while QEMU is not installed. */
    if (kvasir_conn_versions(conn, &hypervisor, NULL, &err) == 0)
        assert_true(hypervisor > 0);
    assert_done(kvasir_conn_node_info(conn, &info, &err));
    assert_true(info.cpus > 0 && info.memory_kib > 1024 && info.model[0]);
    assert_true(kvasir_conn_is_alive(conn) && kvasir_conn_is_secure(conn));
    kvasir_close(conn);
}

static void domains_are_defined_listed_found_and_undefined(void **state)
{
    struct kvasir_conn *conn = open_by("CLIENT_URI", 0);
    struct kvasir_domain *one = define(conn, "one"), *two = define(conn, "two"), *found, **list;
    struct kvasir_domain_info info;
    char text[KVASIR_UUID_TEXT_SIZE], *xml;
    uint8_t uuid[16];
    size_t n;
    int number, reason;

    assert_done(kvasir_domain_list(conn, KVASIR_LIST_INACTIVE, &list, &n, &err));
    assert_true(n >= 2);
    assert_null(list[n]);
    kvasir_domains_free(list);

    assert_done(kvasir_domain_lookup_by_name(conn, "one", &found, &err));
    assert_string_equal(kvasir_domain_name(found), "one");
    assert_int_equal(kvasir_domain_id(found), -1);
    assert_memory_equal(kvasir_domain_uuid(found), kvasir_domain_uuid(one), 16);
    kvasir_domain_free(found);
    kvasir_uuid_format(kvasir_domain_uuid(two), text);
    assert_int_equal(kvasir_uuid_parse(text, uuid), 0);
    assert_done(kvasir_domain_lookup_by_uuid(conn, uuid, &found, &err));
    assert_string_equal(kvasir_domain_name(found), "two");
    kvasir_domain_free(found);

    assert_done(kvasir_domain_xml(one, 0, &xml, &err));
    assert_non_null(strstr(xml, "<name>one</name>"));
    free(xml);
    assert_done(kvasir_domain_info(one, &info, &err));
    assert_int_equal(info.state, KVASIR_DOMAIN_SHUTOFF);
    assert_int_equal(info.max_memory_kib, 65536);
    assert_int_equal(info.vcpus, 1);
    assert_done(kvasir_domain_state(one, &number, &reason, &err));
    assert_int_equal(number, KVASIR_DOMAIN_SHUTOFF);
    assert_done(kvasir_domain_is_persistent(one, &number, &err));
    assert_int_equal(number, 1);
    assert_done(kvasir_domain_is_active(one, &number, &err));
    assert_int_equal(number, 0);
    assert_done(kvasir_domain_set_autostart(one, 1, &err));
    assert_done(kvasir_domain_autostart(one, &number, &err));
    assert_int_equal(number, 1);
    assert_done(kvasir_domain_set_autostart(one, 0, &err));

    assert_done(kvasir_domain_undefine(one, 0, &err));
    assert_done(kvasir_domain_undefine(two, 0, &err));
    assert_true(kvasir_domain_info(one, &info, &err) < 0);
    assert_int_equal(err.code, KVASIR_ERR_NO_DOMAIN);
    kvasir_domain_free(one);
    kvasir_domain_free(two);
    kvasir_close(conn);
}

static void errors_of_the_server_arrive_whole(void **state)
{
    struct kvasir_conn *conn = open_by("CLIENT_URI", 0);
    struct kvasir_domain *domain;
    assert_int_equal(kvasir_domain_lookup_by_name(conn, "nobody", &domain, &err), -2 /* ENOENT */);
    assert_int_equal(err.code, KVASIR_ERR_NO_DOMAIN);
    assert_int_equal(err.domain, 10); /* VIR_FROM_QEMU */
    assert_int_equal(err.level, 2);
    assert_string_equal(err.message, "Domain not found: no domain with matching name 'nobody'");
    assert_true(kvasir_domain_define(conn, "<network/>", 0, &domain, &err) < 0);
    assert_int_equal(err.code, KVASIR_ERR_XML_ERROR);
    assert_true(kvasir_domain_lookup_by_id(conn, 99999, &domain, NULL) < 0);
    /* The connection is as good as before. */
    assert_true(kvasir_conn_is_alive(conn));
    kvasir_close(conn);
}

static void who_may_only_read_changes_nothing(void **state)
{
    struct kvasir_conn *conn = open_by("CLIENT_RO_URI", KVASIR_OPEN_READ_ONLY);
    struct kvasir_domain *domain, **list;
    size_t n;
    char *xml = xml_of("three");
    assert_done(kvasir_domain_list(conn, 0, &list, &n, &err));
    kvasir_domains_free(list);
    assert_true(kvasir_domain_define(conn, xml, 0, &domain, &err) < 0);
    assert_int_equal(err.code, KVASIR_ERR_OPERATION_DENIED);
    free(xml);
    kvasir_close(conn);
}

static void what_outlives_its_connection_only_fails(void **state)
{
    struct kvasir_conn *conn = open_by("CLIENT_URI", 0);
    struct kvasir_domain *domain = define(conn, "one"), *more = kvasir_domain_ref(domain);
    char *xml;
    kvasir_domain_free(more);
    assert_done(kvasir_domain_undefine(domain, 0, &err));
    kvasir_close(conn);
    assert_true(kvasir_domain_xml(domain, 0, &xml, &err) < 0);
    assert_int_equal(err.code, KVASIR_ERR_INVALID_CONN);
    assert_string_equal(kvasir_domain_name(domain), "one");
    kvasir_domain_free(domain);
}

/* ------------------------------------------------------------------------- events */

struct seen {
    int n;
    struct {
        char name[32];
        int event, detail;
    } list[16];
};

static void note(struct kvasir_conn *conn, const struct kvasir_event *event, void *opaque)
{
    struct seen *seen = opaque;
    assert_int_equal(event->event_class, KVASIR_EVENTS_DOMAIN);
    assert_string_equal(event->name, "lifecycle");
    assert_true(kvasir_domain_conn(event->domain) == conn);
    assert_true(seen->n < 16);
    snprintf(seen->list[seen->n].name, sizeof(seen->list[0].name), "%s",
             kvasir_domain_name(event->domain));
    seen->list[seen->n].event =
        (int)kvasir_param_number(event->params, event->n_params, "event", -1);
    seen->list[seen->n++].detail =
        (int)kvasir_param_number(event->params, event->n_params, "detail", -1);
}

/* Polls as a program with a loop of its own does. */
static void wait_for_events(struct kvasir_conn *conn, struct seen *seen, int n)
{
    while (seen->n < n) {
        struct pollfd pollfd = {kvasir_conn_fd(conn), kvasir_conn_events(conn), 0};
        int timeout = kvasir_conn_timeout(conn);
        assert_true(poll(&pollfd, 1, timeout < 0 ? PATIENCE_MS : timeout) > 0 || timeout >= 0);
        assert_done(kvasir_conn_process(conn, &err));
    }
}

static void events_come_to_those_who_registered(void **state)
{
    enum { DEFINED = 0, UNDEFINED = 1 };
    struct kvasir_conn *conn = open_by("CLIENT_URI", 0);
    struct kvasir_domain *mine = define(conn, "mine");
    struct seen all = {0}, some = {0};
    int number = kvasir_event_register(conn, KVASIR_EVENTS_DOMAIN, KVASIR_EVENT_LIFECYCLE, NULL,
                                       NULL, note, &all, &err);
    assert_done(number);
    int second = kvasir_event_register(conn, KVASIR_EVENTS_DOMAIN, KVASIR_EVENT_LIFECYCLE, mine,
                                       NULL, note, &some, &err);
    assert_done(second);

    /* Between calls of our own they wait for the loop. */
    struct kvasir_domain *other = define(conn, "other");
    assert_done(kvasir_domain_undefine(other, 0, &err));
    assert_done(kvasir_domain_undefine(mine, 0, &err));
    assert_int_equal(all.n, 0);
    wait_for_events(conn, &all, 3);
    assert_string_equal(all.list[0].name, "other");
    assert_int_equal(all.list[0].event, DEFINED);
    assert_string_equal(all.list[1].name, "other");
    assert_int_equal(all.list[1].event, UNDEFINED);
    assert_string_equal(all.list[2].name, "mine");
    wait_for_events(conn, &some, 1);
    assert_int_equal(some.n, 1);
    assert_int_equal(some.list[0].event, UNDEFINED);

    assert_done(kvasir_event_unregister(conn, number, &err));
    assert_true(kvasir_event_unregister(conn, number, &err) < 0);
    kvasir_domain_free(other);
    other = define(conn, "other");
    assert_done(kvasir_domain_undefine(other, 0, &err));
    assert_done(kvasir_conn_process(conn, &err));
    assert_int_equal(all.n, 3);
    kvasir_domain_free(mine);
    kvasir_domain_free(other);
    kvasir_close(conn);
}

static void close_here(struct kvasir_conn *conn, const struct kvasir_event *event, void *opaque)
{
    *(int *)opaque += 1;
    kvasir_close(conn);
}

static void a_callback_may_close_the_connection(void **state)
{
    struct kvasir_conn *conn = open_by("CLIENT_URI", 0);
    int called = 0;
    assert_done(kvasir_event_register(conn, KVASIR_EVENTS_DOMAIN, KVASIR_EVENT_LIFECYCLE, NULL,
                                      NULL, close_here, &called, &err));
    struct kvasir_domain *domain = define(conn, "one");
    assert_done(kvasir_domain_undefine(domain, 0, &err));
    assert_true(kvasir_conn_run(conn, PATIENCE_MS, &err) < 0);
    assert_int_equal(called, 1);
    assert_int_equal(err.code, KVASIR_ERR_INVALID_CONN);
    kvasir_domain_free(domain);
}

static void keepalive_is_agreed_upon_and_kept(void **state)
{
    struct kvasir_conn *conn = open_by("CLIENT_URI", 0);
    assert_done(kvasir_conn_set_keepalive(conn, 1, 1, &err));
    int timeout = kvasir_conn_timeout(conn);
    assert_true(timeout > 0 && timeout <= 1000);
    /* About three seconds; without an answer it would be over after two. */
    for (int i = 0; i < 12; i++)
        assert_done(kvasir_conn_run(conn, 400, &err));
    assert_true(kvasir_conn_is_alive(conn));
    kvasir_close(conn);
}

/* --------------------------------------------------------------- life of a machine */

static void a_machine_starts_pauses_and_is_ended(void **state)
{
    enum { STARTED = 2, SUSPENDED = 3, RESUMED = 4, STOPPED = 5 };
    struct kvasir_conn *conn = open_by("CLIENT_LIFE_URI", 0);
    struct kvasir_domain *domain, *found;
    struct kvasir_domain_info info;
    struct seen seen = {0};
    assert_done(kvasir_domain_lookup_by_name(conn, getenv("CLIENT_LIFE"), &domain, &err));
    assert_done(kvasir_event_register(conn, KVASIR_EVENTS_DOMAIN, KVASIR_EVENT_LIFECYCLE, domain,
                                      NULL, note, &seen, &err));
    assert_done(kvasir_domain_start(domain, 0, &err));
    assert_true(kvasir_domain_id(domain) > 0);
    assert_done(kvasir_domain_lookup_by_id(conn, kvasir_domain_id(domain), &found, &err));
    kvasir_domain_free(found);
    assert_true(kvasir_domain_start(domain, 0, &err) < 0);
    assert_done(kvasir_domain_suspend(domain, &err));
    assert_done(kvasir_domain_info(domain, &info, &err));
    assert_int_equal(info.state, KVASIR_DOMAIN_PAUSED);
    assert_done(kvasir_domain_resume(domain, &err));
    assert_done(kvasir_domain_info(domain, &info, &err));
    assert_int_equal(info.state, KVASIR_DOMAIN_RUNNING);
    assert_done(kvasir_domain_destroy(domain, 0, &err));
    assert_int_equal(kvasir_domain_id(domain), -1);
    while (seen.n == 0 || seen.list[seen.n - 1].event != STOPPED)
        wait_for_events(conn, &seen, seen.n + 1);
    bool paused = false, started = false;
    for (int i = 0; i < seen.n; i++) {
        started |= seen.list[i].event == STARTED;
        paused |= started && seen.list[i].event == SUSPENDED;
    }
    assert_true(started && paused);
    kvasir_domain_free(domain);
    kvasir_close(conn);
}

static void statistics_of_all_machines_come_in_one_call(void **state)
{
    struct kvasir_conn *conn = open_by("CLIENT_URI", 0);
    struct kvasir_domain *one = define(conn, "one"), *two = define(conn, "two");
    struct kvasir_domain *wanted[] = {two};
    struct kvasir_stats *stats;
    size_t n;
    assert_done(kvasir_domain_stats(conn, NULL, 0, 0, 0, &stats, &n, &err));
    assert_true(n >= 2);
    for (size_t i = 0; i < n; i++) {
        assert_non_null(kvasir_domain_name(stats[i].domain));
        assert_int_equal(kvasir_param_number(stats[i].params, stats[i].n_params, "state.state", -1),
                         KVASIR_DOMAIN_SHUTOFF);
    }
    kvasir_stats_free(stats, n);
    assert_done(kvasir_domain_stats(conn, wanted, 1, 1, 0, &stats, &n, &err));
    assert_int_equal(n, 1);
    assert_string_equal(kvasir_domain_name(stats[0].domain), "two");
    assert_int_equal(kvasir_param_number(stats[0].params, stats[0].n_params, "nothing", 77), 77);
    kvasir_stats_free(stats, n);
    assert_done(kvasir_domain_undefine(one, 0, &err));
    assert_done(kvasir_domain_undefine(two, 0, &err));
    kvasir_domain_free(one);
    kvasir_domain_free(two);
    kvasir_close(conn);
}

/* -------------------------------------------------------------------- other objects */

static void secrets_are_defined_kept_and_given_back(void **state)
{
    static const char xml[] = "<secret ephemeral='yes' private='no'>"
                              "<uuid>11111111-2222-3333-4444-555555555555</uuid>"
                              "<usage type='ceph'><name>for a test</name></usage></secret>";
    struct kvasir_conn *conn = open_by("CLIENT_URI", 0);
    struct kvasir_object *secret, *found, **list;
    size_t n, len;
    void *value;
    char *text;
    int on;
    assert_done(kvasir_object_define(conn, KVASIR_SECRET, xml, 0, &secret, &err));
    assert_int_equal(kvasir_object_kind(secret), KVASIR_SECRET);
    assert_string_equal(kvasir_object_name(secret), "for a test");
    assert_done(kvasir_secret_set_value(secret, "a\0b", 3, 0, &err));
    assert_done(kvasir_secret_value(secret, 0, &value, &len, &err));
    assert_int_equal(len, 3);
    assert_memory_equal(value, "a\0b", 3);
    free(value);
    assert_done(kvasir_object_list(conn, KVASIR_SECRET, 0, &list, &n, &err));
    assert_int_equal(n, 1);
    assert_memory_equal(kvasir_object_uuid(list[0]), kvasir_object_uuid(secret), 16);
    kvasir_objects_free(list);
    assert_done(kvasir_object_lookup(conn, KVASIR_SECRET, "11111111-2222-3333-4444-555555555555",
                                     &found, &err));
    assert_done(kvasir_object_xml(found, 0, &text, &err));
    assert_non_null(strstr(text, "for a test"));
    free(text);
    kvasir_object_free(found);
    /* What does not exist for secrets is refused before the server is asked. */
    assert_int_equal(kvasir_object_autostart(secret, &on, &err), -95 /* ENOTSUP */);
    assert_int_equal(err.code, KVASIR_ERR_NO_SUPPORT);
    assert_true(kvasir_volume_download(secret, 0, 0, 0, NULL, &err) < 0);
    assert_int_equal(err.code, KVASIR_ERR_INVALID_ARG);
    assert_done(kvasir_object_undefine(secret, &err));
    assert_true(kvasir_object_lookup(conn, KVASIR_SECRET, "11111111-2222-3333-4444-555555555555",
                                     &found, &err) < 0);
    assert_int_equal(err.code, KVASIR_ERR_NO_SECRET);
    kvasir_object_free(secret);
    kvasir_close(conn);
}

static void devices_of_the_host_are_listed(void **state)
{
    struct kvasir_conn *conn = open_by("CLIENT_URI", 0);
    struct kvasir_object **list, *found;
    char *xml;
    size_t n;
    int r = kvasir_object_list(conn, KVASIR_NODE_DEVICE, 0, &list, &n, &err);
    if (r < 0) { /* libvirtd without udev has none */
        assert_int_equal(err.code, KVASIR_ERR_NO_SUPPORT);
        kvasir_close(conn);
        return;
    }
    if (n) {
        assert_done(kvasir_object_lookup(conn, KVASIR_NODE_DEVICE, kvasir_object_name(list[0]),
                                         &found, &err));
        assert_done(kvasir_object_xml(found, 0, &xml, &err));
        assert_non_null(strstr(xml, kvasir_object_name(found)));
        free(xml);
        kvasir_object_free(found);
    }
    kvasir_objects_free(list);
    kvasir_close(conn);
}

/* ------------------------------------------------------------------- any procedure */

static void a_procedure_without_a_function_can_be_called(void **state)
{
    enum { CONNECT_GET_HOSTNAME = 59, NO_SUCH_PROCEDURE = 9999 };
    struct kvasir_conn *conn = open_by("CLIENT_URI", 0);
    char *name;
    uint8_t *reply;
    size_t len;
    assert_done(kvasir_conn_hostname(conn, &name, &err));
    assert_done(kvasir_call_bytes(conn, KVASIR_PROGRAM_REMOTE, CONNECT_GET_HOSTNAME, NULL, 0, NULL,
                                  0, (void **)&reply, &len, &err));
    assert_true(len >= 4 + strlen(name));
    assert_int_equal(reply[3], strlen(name));
    assert_memory_equal(reply + 4, name, strlen(name));
    free(reply);
    free(name);
    assert_true(kvasir_call_bytes(conn, KVASIR_PROGRAM_REMOTE, NO_SUCH_PROCEDURE, NULL, 0, NULL, 0,
                                  (void **)&reply, &len, &err) < 0);
    assert_true(err.code != 0);
    kvasir_close(conn);
}

static void what_the_server_does_not_have_is_refused_with_its_words(void **state)
{
    struct kvasir_conn *conn = open_by("CLIENT_URI", 0);
    struct kvasir_domain *domain = define(conn, "one");
    struct kvasir_stream *stream;
    assert_true(kvasir_domain_open_console(domain, NULL, 0, &stream, &err) < 0);
    assert_int_equal(err.code, KVASIR_ERR_OPERATION_INVALID);
    assert_non_null(strstr(err.message, "domain is not running"));
    assert_done(kvasir_domain_undefine(domain, 0, &err));
    kvasir_domain_free(domain);
    kvasir_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_server_tells_who_it_is),
        cmocka_unit_test(domains_are_defined_listed_found_and_undefined),
        cmocka_unit_test(errors_of_the_server_arrive_whole),
        cmocka_unit_test(who_may_only_read_changes_nothing),
        cmocka_unit_test(what_outlives_its_connection_only_fails),
        cmocka_unit_test(events_come_to_those_who_registered),
        cmocka_unit_test(a_callback_may_close_the_connection),
        cmocka_unit_test(keepalive_is_agreed_upon_and_kept),
        cmocka_unit_test(a_machine_starts_pauses_and_is_ended),
        cmocka_unit_test(statistics_of_all_machines_come_in_one_call),
        cmocka_unit_test(secrets_are_defined_kept_and_given_back),
        cmocka_unit_test(devices_of_the_host_are_listed),
        cmocka_unit_test(a_procedure_without_a_function_can_be_called),
        cmocka_unit_test(what_the_server_does_not_have_is_refused_with_its_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
