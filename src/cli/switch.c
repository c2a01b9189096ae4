/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * switch show, switch ports, switch fdb, fdb-add and fdb-remove: what kvasir-switchd does, asked at
 * its control socket (docs/switch.md), one JSON object a line. The daemon has no part in it.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "cli/args.h"
#include "cli/output.h"
#include "cli/switch.h"
#include "cli/verbs.h"

#define DEFAULT_SOCKET "/run/kvasir/switch.sock"
#define PATIENCE_S 10

struct link {
    FILE *file; /* NULL: none */
    const char *path;
};

static void hang_up(struct link *link)
{
    if (link->file)
        fclose(link->file);
}

/* The next line as an object, a new reference; NULL: there is none. */
static json_t *hear(struct link *link)
{
    char *line = NULL;
    size_t room = 0;
    json_t *said = getline(&line, &room, link->file) > 0 ? json_loads(line, 0, NULL) : NULL;
    free(line);
    return said;
}

/* What a command returns, a new reference; NULL: told why not. fd: goes along, or -1. */
static json_t *ask(struct cli *cli, struct link *link, const char *command, json_t *arguments,
                   int fd)
{
    json_t *request =
        json_pack("{s:s, s:o}", "execute", command, "arguments", arguments ?: json_object());
    cleanup_free char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    json_t *answer = NULL;
    /* The descriptor comes with what precedes the line. */
    bool sent = fd < 0 || fd_send(fileno(link->file), " ", 1, &fd, 1) == 1;
    if (sent && text && fd_write_all(fileno(link->file), text, strlen(text)) == 0 &&
        fd_write_all(fileno(link->file), "\n", 1) == 0)
        answer = hear(link);
    json_t *result = json_incref(json_object_get(answer, "return"));
    if (!result) {
        const char *why =
            json_string_value(json_object_get(json_object_get(answer, "error"), "desc"));
        cli_error(cli, "%s",
                  why ? why : cli_text(cli, "no answer of the switch at '%s'", link->path));
    }
    json_decref(answer);
    return result;
}

/* Negative: told. */
static int call(struct cli *cli, struct link *link)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    *link = (struct link){.path = DEFAULT_SOCKET};
    if (arg_text(cli, "socket", &link->path) < 0)
        return -1;
    int fd = fd_connect_unix(link->path);
    if (fd < 0) {
        cli_error(cli, "no switch at '%s': %s", link->path, strerror(-fd));
        cli_hint(cli, "'kvasir-switchd --control %s' is one, --socket names another", link->path);
        return -1;
    }
    fd_set_nonblocking(fd, false);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    link->file = fdopen(fd, "r");
    if (!link->file) {
        close(fd);
        return cli_error(cli, "%s", strerror(errno));
    }
    json_decref(hear(link)); /* the greeting */
    json_t *done = ask(cli, link, "qmp_capabilities", NULL, -1);
    json_decref(done);
    return done ? 0 : -1;
}

json_t *switch_ask_with(struct cli *cli, const char *command, json_t *arguments, int fd)
{
    struct link link;
    json_t *answer = NULL;
    if (call(cli, &link) == 0)
        answer = ask(cli, &link, command, json_incref(arguments), fd);
    hang_up(&link);
    json_decref(arguments);
    return answer;
}

json_t *switch_ask(struct cli *cli, const char *command, json_t *arguments)
{
    return switch_ask_with(cli, command, arguments, -1);
}

int switch_list(struct cli *cli, const char *command, json_t *arguments, struct table *table,
                void (*add)(struct cli *cli, struct table *table, const json_t *item))
{
    json_t *list = switch_ask(cli, command, arguments);
    for (size_t i = 0; i < json_array_size(list); i++)
        add(cli, table, json_array_get(list, i));
    bool got = list;
    json_decref(list);
    return got ? table_print(cli, table) : -1;
}

json_t *switch_collect(struct cli *cli, const char *const *names, size_t count)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++) {
        const char *value = NULL;
        if (arg_text(cli, names[i], &value) < 0) {
            json_decref(object);
            return NULL;
        }
        if (value)
            json_object_set_new(object, names[i], json_string(value));
    }
    return object;
}

int switch_done(struct cli *cli, json_t *answer, const char *what, const char *name)
{
    json_decref(answer);
    return answer ? out_done(cli, "%s '%s'", what, name) : -1;
}

const char *switch_text_of(struct cli *cli, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_integer(value))
        return cli_text(cli, "%lld", (long long)json_integer_value(value));
    return json_is_string(value) ? cli_text(cli, "%s", json_string_value(value)) : "-";
}

/* "10", or "10,20-29 native 1", or "all". */
static const char *vlans_of(struct cli *cli, const json_t *port)
{
    if (json_object_get(port, "tag"))
        return switch_text_of(cli, port, "tag");
    const char *trunks = switch_text_of(cli, port, "trunks");
    if (strcmp(trunks, "0-4094") == 0)
        trunks = "all";
    if (!json_object_get(port, "native"))
        return trunks;
    return cli_text(cli, "%s native %s", trunks, switch_text_of(cli, port, "native"));
}

static void add_bridge(struct cli *cli, struct table *table, const json_t *bridge)
{
    const json_t *ports = json_object_get(bridge, "ports");
    const char *name = switch_text_of(cli, bridge, "name");
    if (json_array_size(ports) == 0)
        TABLE_ROW(cli, table, name, "-", "-", "-", "-", "-", "-");
    for (size_t i = 0; i < json_array_size(ports); i++) {
        const json_t *port = json_array_get(ports, i), *mirror = json_object_get(port, "mirror");
        TABLE_ROW(cli, table, name, switch_text_of(cli, port, "name"),
                  switch_text_of(cli, port, "type"),
                  json_is_true(json_object_get(port, "up")) ? "up" : "down", vlans_of(cli, port),
                  switch_text_of(cli, port, "macs"), switch_text_of(cli, mirror, "to"));
    }
}

int switch_show(struct cli *cli)
{
    return switch_list(
        cli, "query-bridges", NULL,
        TABLE(cli, "Bridge", "Port", "Type", "State", "VLANs", "MACs", "Mirrored to"), add_bridge);
}

/* "no-buffer 12, vlan 3" */
static const char *drops_of(struct cli *cli, const json_t *port)
{
    json_t *drops = json_object_get(port, "drops"), *count;
    const char *why, *text = "";
    json_object_foreach (drops, why, count)
        text = cli_text(cli, "%s%s%s %lld", text, *text ? ", " : "", why,
                        (long long)json_integer_value(count));
    return *text ? text : "-";
}

static void add_counters(struct cli *cli, struct table *table, const json_t *port)
{
    TABLE_ROW(cli, table, switch_text_of(cli, port, "bridge"), switch_text_of(cli, port, "name"),
              switch_text_of(cli, port, "in-frames"), switch_text_of(cli, port, "in-bytes"),
              switch_text_of(cli, port, "out-frames"), switch_text_of(cli, port, "out-bytes"),
              drops_of(cli, port));
}

int switch_ports(struct cli *cli)
{
    return switch_list(
        cli, "query-statistics", NULL,
        TABLE(cli, "Bridge", "Port", "Frames in", "Bytes in", "Frames out", "Bytes out", "Dropped"),
        add_counters);
}

static void add_mac(struct cli *cli, struct table *table, const json_t *mac)
{
    TABLE_ROW(cli, table, switch_text_of(cli, mac, "mac"), switch_text_of(cli, mac, "vlan"),
              switch_text_of(cli, mac, "port"),
              json_is_true(json_object_get(mac, "static")) ? "static"
                                                           : switch_text_of(cli, mac, "age"));
}

int switch_fdb(struct cli *cli)
{
    const char *bridge;
    if (arg_text(cli, "bridge", &bridge) < 0)
        return -1;
    return switch_list(cli, "query-macs", json_pack("{s:s}", "bridge", bridge),
                       TABLE(cli, "MAC", "VLAN", "Port", "Age"), add_mac);
}

static int change_mac(struct cli *cli, const char *command, const char *what)
{
    static const char *const names[] = {"port", "mac", "vlan"};
    json_t *mac = switch_collect(cli, names, ARRAY_SIZE(names));
    if (!mac)
        return -1;
    const char *address = switch_text_of(cli, mac, "mac");
    return switch_done(cli, switch_ask(cli, command, mac), what, address);
}

int switch_fdb_add(struct cli *cli)
{
    return change_mac(cli, "add-mac", "Address is added:");
}

int switch_fdb_remove(struct cli *cli)
{
    return change_mac(cli, "remove-mac", "Address is removed:");
}
