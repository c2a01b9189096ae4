/* SPDX-License-Identifier: GPL-2.0-or-later */
/* switch acl, switch acl-set, switch acl-remove, switch filter, switch trace: what the switch lets
 * through (docs/switch.md). */
#include "base/util.h"
#include "cli/args.h"
#include "cli/output.h"
#include "cli/switch.h"
#include "cli/verbs.h"

/* --- ACLs ----------------------------------------------------------------------- */

/* What is not said is told as it is meant. */
static const char *text_or(struct cli *cli, const json_t *object, const char *key,
                           const char *otherwise)
{
    return json_object_get(object, key) ? switch_text_of(cli, object, key) : otherwise;
}

static void add_acl(struct cli *cli, struct table *table, const json_t *acl)
{
    TABLE_ROW(cli, table, switch_text_of(cli, acl, "name"),
              cli_text(cli, "%zu", json_array_size(json_object_get(acl, "rules"))),
              text_or(cli, acl, "default", "allow"),
              json_is_true(json_object_get(acl, "stateful")) ? "yes" : "no");
}

/* "protocol tcp, to @web, to-ports 80" */
static const char *match_of(struct cli *cli, json_t *rule)
{
    static const char *const others[] = {"action", "direction", "priority",
                                         "log",    "frames",    "bytes"};
    const char *key, *text = "";
    json_t *value;
    json_object_foreach (rule, key, value) {
        bool other = false;
        for (size_t i = 0; i < ARRAY_SIZE(others); i++)
            other |= strcmp(key, others[i]) == 0;
        if (!other)
            text = cli_text(cli, "%s%s%s %s", text, *text ? ", " : "", key,
                            switch_text_of(cli, rule, key));
    }
    return *text ? text : "anything";
}

static void add_rule(struct cli *cli, struct table *table, const char *number, json_t *rule)
{
    TABLE_ROW(cli, table, number, switch_text_of(cli, rule, "action"),
              text_or(cli, rule, "direction", "both"), text_or(cli, rule, "priority", "0"),
              match_of(cli, rule), switch_text_of(cli, rule, "frames"),
              switch_text_of(cli, rule, "bytes"));
}

/* What no rule, or a connection that was allowed, decided in each direction. */
static void add_others(struct cli *cli, struct table *table, const json_t *acl, const char *key,
                       const char *action)
{
    static const char *const directions[] = {"in", "out"};
    const json_t *both = json_object_get(acl, key);
    for (size_t i = 0; both && i < ARRAY_SIZE(directions); i++) {
        const json_t *counters = json_object_get(both, directions[i]);
        TABLE_ROW(cli, table, "-", action, directions[i], "-", key,
                  switch_text_of(cli, counters, "frames"), switch_text_of(cli, counters, "bytes"));
    }
}

static void add_rules(struct cli *cli, struct table *table, const json_t *acl)
{
    const json_t *rules = json_object_get(acl, "rules");
    for (size_t i = 0; i < json_array_size(rules); i++)
        add_rule(cli, table, cli_text(cli, "%zu", i), json_array_get(rules, i));
    add_others(cli, table, acl, "answers", "allow");
    add_others(cli, table, acl, "unmatched", text_or(cli, acl, "default", "allow"));
}

int switch_acl(struct cli *cli)
{
    const char *name = NULL;
    if (arg_text(cli, "acl", &name) < 0)
        return -1;
    if (!name)
        return switch_list(cli, "query-acls", NULL,
                           TABLE(cli, "ACL", "Rules", "Default", "Stateful"), add_acl);
    return switch_list(
        cli, "query-acls", json_pack("{s:s}", "name", name),
        TABLE(cli, "Rule", "Action", "Direction", "Priority", "Matches", "Frames", "Bytes"),
        add_rules);
}

int switch_acl_set(struct cli *cli)
{
    const char *file;
    json_error_t where;
    if (arg_text(cli, "file", &file) < 0)
        return -1;
    json_t *acl = json_load_file(file, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(acl)) {
        json_decref(acl);
        return acl ? cli_error(cli, "'%s': a JSON object is expected", file)
                   : cli_error(cli, "'%s', line %d: %s", file, where.line, where.text);
    }
    const char *name = cli_text(cli, "%s", switch_text_of(cli, acl, "name"));
    return switch_done(cli, switch_ask(cli, "set-acl", acl), "ACL is set:", name);
}

int switch_acl_remove(struct cli *cli)
{
    const char *name;
    if (arg_text(cli, "acl", &name) < 0)
        return -1;
    return switch_done(cli, switch_ask(cli, "remove-acl", json_pack("{s:s}", "name", name)),
                       "ACL is removed:", name);
}

/* --- Filters, traces ---------------------------------------------------------------- */

int switch_filter(struct cli *cli)
{
    static const char *const names[] = {"port", "acl", "macs", "addresses", "connections"};
    static const char *const guards[] = {"dhcp-guard", "router-guard"};
    json_t *filter = switch_collect(cli, names, ARRAY_SIZE(names));
    if (!filter)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(guards); i++) {
        if (arg_on(cli, guards[i]))
            json_object_set_new(filter, guards[i], json_true());
    }
    const char *what =
        json_object_size(filter) > 1 ? "Filter is set of port" : "No filter any more at port";
    const char *port = cli_text(cli, "%s", switch_text_of(cli, filter, "port"));
    return switch_done(cli, switch_ask(cli, "set-filter", filter), what, port);
}

int switch_trace(struct cli *cli)
{
    static const char *const names[] = {"port",      "type",      "protocol",  "from",   "to",
                                        "from-port", "to-port",   "from-mac",  "to-mac", "vlan",
                                        "icmp-type", "icmp-code", "tcp-flags", "dscp"};
    json_t *frame = switch_collect(cli, names, ARRAY_SIZE(names));
    json_t *answer = frame ? switch_ask(cli, "trace", frame) : NULL;
    if (!answer)
        return -1;
    const json_t *steps = json_object_get(answer, "steps");
    const json_t *receivers = json_object_get(answer, "sent-to");
    const json_t *dropped = json_object_get(answer, "dropped");
    struct table *table = TABLE(cli, "Table", "Port", "Result");
    for (size_t i = 0; i < json_array_size(steps); i++) {
        const json_t *step = json_array_get(steps, i);
        TABLE_ROW(cli, table, switch_text_of(cli, step, "table"), switch_text_of(cli, step, "port"),
                  switch_text_of(cli, step, "result"));
    }
    for (size_t i = 0; i < json_array_size(receivers); i++)
        TABLE_ROW(cli, table, "sent",
                  cli_text(cli, "%s", json_string_value(json_array_get(receivers, i))), "-");
    if (dropped)
        TABLE_ROW(cli, table, "dropped", switch_text_of(cli, dropped, "at"),
                  switch_text_of(cli, dropped, "why"));
    json_decref(answer);
    return table_print(cli, table);
}
