/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Storage pools: lists, facts, life. Definitions from files. */
#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/edit.h"
#include "cli/line.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "cli/xml.h"

static const char *const states[] = {"inactive", "building", "running", "degraded", "inaccessible"};

static const char *size_text(struct cli *cli, uint64_t bytes)
{
    const char *unit;
    double size = size_pretty(bytes, &unit);
    return cli_text(cli, "%.2lf %s", size, unit);
}

static int type_flags(struct cli *cli, unsigned *flags)
{
    static const char *const types[] = {"dir",     "fs",   "netfs",    "logical",     "disk",
                                        "iscsi",   "scsi", "mpath",    "rbd",         "sheepdog",
                                        "gluster", "zfs",  "vstorage", "iscsi-direct"};
    const char *text = NULL;
    int r = arg_text(cli, "type", &text);
    char *words = r > 0 ? cli_text(cli, "%s", text) : NULL;
    for (char *word; (word = strsep(&words, ","));) {
        size_t i = 0;
        while (i < ARRAY_SIZE(types) && strcmp(types[i], word) != 0)
            i++;
        if (i == ARRAY_SIZE(types))
            return cli_error(cli, "Invalid pool type '%s'", word);
        *flags |= VIR_CONNECT_LIST_STORAGE_POOLS_DIR << i;
    }
    return r < 0 ? -1 : 0;
}

static int by_name(const void *a, const void *b)
{
    return strcasecmp(((const wire_pool *)a)->name, ((const wire_pool *)b)->name);
}

static const char *autostart_of(struct cli *cli, const wire_pool *pool)
{
    const REMOTE_RET(STORAGE_POOL_GET_AUTOSTART) *start =
        CALL(cli, STORAGE_POOL_GET_AUTOSTART, .pool = *pool);
    return !start ? "no autostart" : start->autostart ? "yes" : "no";
}

static const char *persistent_of(struct cli *cli, const wire_pool *pool)
{
    const REMOTE_RET(STORAGE_POOL_IS_PERSISTENT) *kept =
        CALL(cli, STORAGE_POOL_IS_PERSISTENT, .pool = *pool);
    return !kept ? "unknown" : kept->persistent ? "yes" : "no";
}

static void detailed_row(struct cli *cli, struct table *table, const wire_pool *pool)
{
    const REMOTE_RET(STORAGE_POOL_GET_INFO) *info = CALL(cli, STORAGE_POOL_GET_INFO, .pool = *pool);
    const char *state = info && info->state < ARRAY_SIZE(states) ? states[info->state] : "unknown";
    bool sizes = info && info->state == VIR_STORAGE_POOL_RUNNING;
    TABLE_ROW(cli, table, pool->name, state, autostart_of(cli, pool), persistent_of(cli, pool),
              sizes ? size_text(cli, info->capacity) : "-",
              sizes ? size_text(cli, info->allocation) : "-",
              sizes ? size_text(cli, info->available) : "-");
}

static void plain_row(struct cli *cli, struct table *table, const wire_pool *pool)
{
    const REMOTE_RET(STORAGE_POOL_IS_ACTIVE) *active =
        CALL(cli, STORAGE_POOL_IS_ACTIVE, .pool = *pool);
    TABLE_ROW(cli, table, pool->name, active && active->active ? "active" : "inactive",
              autostart_of(cli, pool));
}

int pool_list(struct cli *cli)
{
    static const struct arg_flag filters[] = {
        {"autostart", VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART},
        {"no-autostart", VIR_CONNECT_LIST_STORAGE_POOLS_NO_AUTOSTART},
        {"persistent", VIR_CONNECT_LIST_STORAGE_POOLS_PERSISTENT},
        {"transient", VIR_CONNECT_LIST_STORAGE_POOLS_TRANSIENT},
        {NULL},
    };
    bool details = arg_on(cli, "details"), uuid = arg_on(cli, "uuid"), name = arg_on(cli, "name");
    if (arg_exclusive(cli, "details", "uuid") < 0 || arg_exclusive(cli, "details", "name") < 0)
        return -1;
    unsigned flags = VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE;
    if (arg_on(cli, "inactive"))
        flags = VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE;
    if (arg_on(cli, "all"))
        flags = VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE | VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE;
    flags |= arg_flags(cli, filters);
    if (type_flags(cli, &flags) < 0)
        return -1;
    const REMOTE_RET(CONNECT_LIST_ALL_STORAGE_POOLS) *got =
        CALL(cli, CONNECT_LIST_ALL_STORAGE_POOLS, .want_list = 1, .flags = flags);
    if (!got)
        return cli_error(cli, "Failed to list pools");
    wire_pool *list = got->pools.pools_val;
    if (got->pools.pools_len)
        qsort(list, got->pools.pools_len, sizeof(*list), by_name);
    out_array(cli);
    struct table *table = details ? TABLE(cli, "Name", "State", "Autostart", "Persistent",
                                          "Capacity", "Allocation", "Available")
                                  : TABLE(cli, "Name", "State", "Autostart");
    for (unsigned i = 0; i < got->pools.pools_len; i++) {
        if (uuid || name) {
            const char *text = uuid_to_text(cli, list[i].uuid);
            out_item(cli);
            if (uuid)
                out_key(cli, "uuid", "%s", text);
            if (name)
                out_key(cli, "name", "%s", list[i].name);
            if (uuid)
                out_print(cli, name ? "%-36s%c" : "%s%c", text, name ? ' ' : '\n');
            if (name)
                out_print(cli, "%-20s\n", list[i].name);
        } else if (details) {
            detailed_row(cli, table, &list[i]);
        } else {
            plain_row(cli, table, &list[i]);
        }
    }
    return uuid || name ? 0 : table_print(cli, table);
}

int pool_info(struct cli *cli)
{
    const wire_pool *pool = lookup_pool(cli, "pool");
    if (!pool)
        return -1;
    out_field(cli, 15, "Name:", "%s", pool->name);
    out_field(cli, 15, "UUID:", "%s", uuid_to_text(cli, pool->uuid));
    const REMOTE_RET(STORAGE_POOL_GET_INFO) *info = CALL(cli, STORAGE_POOL_GET_INFO, .pool = *pool);
    if (!info)
        return -1;
    out_field(cli, 15, "State:", "%s",
              info->state < ARRAY_SIZE(states) ? states[info->state] : "unknown");
    out_field(cli, 15, "Persistent:", "%s", persistent_of(cli, pool));
    out_field(cli, 15, "Autostart:", "%s", autostart_of(cli, pool));
    if (info->state != VIR_STORAGE_POOL_RUNNING && info->state != VIR_STORAGE_POOL_DEGRADED)
        return 0;
    const struct {
        const char *label;
        uint64_t bytes;
    } sizes[] = {{"Capacity:", info->capacity},
                 {"Allocation:", info->allocation},
                 {"Available:", info->available}};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
        out_field(cli, 15, sizes[i].label, "%s",
                  arg_on(cli, "bytes") ? cli_text(cli, "%llu", (unsigned long long)sizes[i].bytes)
                                       : size_text(cli, sizes[i].bytes));
    return 0;
}

/* Verbs that do one thing to a pool. */
static const struct {
    const char *verb, *done, *failed;
    struct kvasir_procedure (*describe)(void);
    bool flags; /* the procedure has them */
} actions[] = {
    {"pool-build", "built", "build", kvasir_describe_STORAGE_POOL_BUILD, true},
    {"pool-delete", "deleted", "delete", kvasir_describe_STORAGE_POOL_DELETE, true},
    {"pool-destroy", "destroyed", "destroy", kvasir_describe_STORAGE_POOL_DESTROY, false},
    {"pool-refresh", "refreshed", "refresh", kvasir_describe_STORAGE_POOL_REFRESH, true},
    {"pool-start", "started", "start", kvasir_describe_STORAGE_POOL_CREATE, true},
    {"pool-undefine", "has been undefined", "undefine", kvasir_describe_STORAGE_POOL_UNDEFINE,
     false},
};

static unsigned build_flags(const struct cli *cli)
{
    static const struct arg_flag build[] = {
        {"no-overwrite", VIR_STORAGE_POOL_BUILD_NO_OVERWRITE},
        {"overwrite", VIR_STORAGE_POOL_BUILD_OVERWRITE},
        {NULL},
    };
    static const struct arg_flag start[] = {
        {"build", VIR_STORAGE_POOL_CREATE_WITH_BUILD},
        {"overwrite", VIR_STORAGE_POOL_CREATE_WITH_BUILD_OVERWRITE},
        {"no-overwrite", VIR_STORAGE_POOL_CREATE_WITH_BUILD_NO_OVERWRITE},
        {NULL},
    };
    bool starts = strcmp(cli->command->verb->name, "pool-build") != 0;
    return arg_flags(cli, starts ? start : build);
}

int pool_action(struct cli *cli)
{
    size_t i = 0;
    while (strcmp(actions[i].verb, cli->command->verb->name) != 0)
        i++;
    if (arg_exclusive(cli, "overwrite", "no-overwrite") < 0)
        return -1;
    const wire_pool *pool = lookup_pool(cli, "pool");
    if (!pool)
        return -1;
    const struct kvasir_procedure procedure = actions[i].describe();
    const wire_pool_flags in = {.pool = *pool, .flags = build_flags(cli)};
    if (!cli_call(cli, &procedure, actions[i].flags ? (const void *)&in : pool))
        return cli_error(cli, "Failed to %s pool %s", actions[i].failed, pool->name);
    return out_done(cli, "Pool %s %s", pool->name, actions[i].done);
}

int pool_autostart(struct cli *cli)
{
    const wire_pool *pool = lookup_pool(cli, "pool");
    bool on = !arg_on(cli, "disable");
    if (!pool)
        return -1;
    if (!CALL(cli, STORAGE_POOL_SET_AUTOSTART, .pool = *pool, .autostart = on))
        return cli_error(cli,
                         on ? "failed to mark pool %s as autostarted"
                            : "failed to unmark pool %s as autostarted",
                         pool->name);
    return out_done(cli, on ? "Pool %s marked as autostarted" : "Pool %s unmarked as autostarted",
                    pool->name);
}

int pool_xml(struct cli *cli)
{
    const wire_pool *pool = lookup_pool(cli, "pool");
    unsigned flags = arg_on(cli, "inactive") ? VIR_STORAGE_XML_INACTIVE : 0;
    const REMOTE_RET(STORAGE_POOL_GET_XML_DESC) *xml =
        pool ? CALL(cli, STORAGE_POOL_GET_XML_DESC, .pool = *pool, .flags = flags) : NULL;
    return xml ? xml_print(cli, xml->xml) : -1;
}

int pool_name(struct cli *cli)
{
    const wire_pool *pool = lookup_pool_by(cli, "pool", false, true);
    return pool ? out_value(cli, "name", "%s", pool->name) : -1;
}

int pool_uuid(struct cli *cli)
{
    const wire_pool *pool = lookup_pool_by(cli, "pool", true, false);
    return pool ? out_value(cli, "uuid", "%s", uuid_to_text(cli, pool->uuid)) : -1;
}

int pool_capabilities(struct cli *cli)
{
    const REMOTE_RET(CONNECT_GET_STORAGE_POOL_CAPABILITIES) *got =
        CALL(cli, CONNECT_GET_STORAGE_POOL_CAPABILITIES);
    if (!got)
        return cli_error(cli, "failed to get storage pool capabilities");
    xml_print(cli, got->capabilities);
    out_print(cli, "\n");
    return 0;
}

/* pool-define, pool-create: from a file; pool-define-as, pool-create-as: described here. */
static int define(struct cli *cli, char *xml, const char *from, const char *what)
{
    bool starts = strncmp(cli->command->verb->name, "pool-create", 11) == 0;
    unsigned flags = starts                    ? build_flags(cli)
                     : arg_on(cli, "validate") ? VIR_STORAGE_POOL_DEFINE_VALIDATE
                                               : 0;
    const REMOTE_RET(STORAGE_POOL_DEFINE_XML) *got =
        starts ? CALL(cli, STORAGE_POOL_CREATE_XML, .xml = xml, .flags = flags)
               : CALL(cli, STORAGE_POOL_DEFINE_XML, .xml = xml, .flags = flags);
    if (!got)
        return cli_error(cli, "Failed to %s pool %s%s", starts ? "create" : "define", what, from);
    if (*what)
        return out_done(cli, "Pool %s %s from %s", got->pool.name, starts ? "created" : "defined",
                        from);
    return out_done(cli, "Pool %s %s", from, starts ? "created" : "defined");
}

int pool_define(struct cli *cli)
{
    const char *file = NULL;
    if (arg_text(cli, "file", &file) < 0)
        return -1;
    char *xml = read_text_file(cli, file);
    return xml ? define(cli, xml, file, "from ") : -1;
}

/* An element of the source with one attribute, when the option was given. */
static const char *source_part(struct cli *cli, const char *option, const char *fmt)
{
    const char *value = arg_raw(cli, option);
    const char *hole = strstr(fmt, "%s");
    return value ? cli_text(cli, "    %.*s%s%s\n", (int)(hole - fmt), fmt, xml_escape(cli, value),
                            hole + 2)
                 : "";
}

int pool_define_as(struct cli *cli)
{
    const char *name = NULL, *type = NULL, *target = NULL;
    if (arg_text(cli, "name", &name) < 0 || arg_text(cli, "type", &type) < 0 ||
        arg_text(cli, "target", &target) < 0)
        return -1;
    static const char *const adapter[] = {"adapter-name",
                                          "adapter-wwnn",
                                          "adapter-wwpn",
                                          "adapter-parent",
                                          "adapter-parent-wwnn",
                                          "adapter-parent-wwpn",
                                          "adapter-parent-fabric-wwn"};
    for (size_t i = 0; i < ARRAY_SIZE(adapter); i++)
        if (arg_raw(cli, adapter[i]))
            return cli_error(cli, "--%s: pools of SCSI adapters are defined with 'pool-define'",
                             adapter[i]);
    const char *auth = "";
    if (arg_raw(cli, "auth-type") && arg_raw(cli, "auth-username"))
        auth = cli_text(cli, "    <auth type='%s' username='%s'>\n  %s%s    </auth>\n",
                        xml_escape(cli, arg_raw(cli, "auth-type")),
                        xml_escape(cli, arg_raw(cli, "auth-username")),
                        source_part(cli, "secret-usage", "<secret usage='%s'/>"),
                        source_part(cli, "secret-uuid", "<secret uuid='%s'/>"));
    const char *source =
        cli_text(cli, "%s%s%s%s%s%s%s%s", source_part(cli, "source-host", "<host name='%s'/>"),
                 source_part(cli, "source-path", "<dir path='%s'/>"),
                 source_part(cli, "source-dev", "<device path='%s'/>"),
                 source_part(cli, "source-initiator", "<initiator><iqn name='%s'/></initiator>"),
                 auth, source_part(cli, "source-name", "<name>%s</name>"),
                 source_part(cli, "source-format", "<format type='%s'/>"),
                 source_part(cli, "source-protocol-ver", "<protocol ver='%s'/>"));
    char *xml = cli_text(cli, "<pool type='%s'>\n  <name>%s</name>\n%s%s%s%s</pool>\n",
                         xml_escape(cli, type), xml_escape(cli, name),
                         *source ? "  <source>\n" : "", source, *source ? "  </source>\n" : "",
                         target ? cli_text(cli, "  <target>\n    <path>%s</path>\n  </target>\n",
                                           xml_escape(cli, target))
                                : "");
    if (arg_on(cli, "print-xml"))
        return out_document(cli, "xml", xml);
    return define(cli, xml, name, "");
}

static char *get_definition(struct cli *cli, void *opaque)
{
    const wire_pool *pool = opaque;
    const REMOTE_RET(STORAGE_POOL_GET_XML_DESC) *xml =
        CALL(cli, STORAGE_POOL_GET_XML_DESC, .pool = *pool, .flags = VIR_STORAGE_XML_INACTIVE);
    return xml ? xml->xml : NULL;
}

static const char *put_definition(struct cli *cli, void *opaque, char *xml)
{
    const REMOTE_RET(STORAGE_POOL_DEFINE_XML) *got = CALL(cli, STORAGE_POOL_DEFINE_XML, .xml = xml);
    return got ? got->pool.name : NULL;
}

int pool_edit(struct cli *cli)
{
    const wire_pool *pool = lookup_pool(cli, "pool");
    if (!pool)
        return -1;
    return edit_definition(cli, &(struct edit){.kind = "Pool",
                                               .name = pool->name,
                                               .get = get_definition,
                                               .put = put_definition,
                                               .opaque = (void *)(uintptr_t)pool});
}

/* find-storage-pool-sources reads the description of where to look, ...-as makes it. */
int pool_find_sources(struct cli *cli)
{
    const char *type = NULL, *file = NULL, *host = NULL, *port = NULL, *initiator = NULL;
    char *where = NULL;
    if (arg_text(cli, "type", &type) < 0 || arg_text(cli, "srcSpec", &file) < 0 ||
        arg_text(cli, "host", &host) < 0 || arg_text(cli, "port", &port) < 0 ||
        arg_text(cli, "initiator", &initiator) < 0)
        return -1;
    if (file && !(where = read_text_file(cli, file)))
        return -1;
    if (host)
        where = cli_text(
            cli, "<source>\n  <host name='%s'%s/>\n%s</source>\n", xml_escape(cli, host),
            port ? cli_text(cli, " port='%s'", xml_escape(cli, port)) : "",
            initiator ? cli_text(cli, "  <initiator>\n    <iqn name='%s'/>\n  </initiator>\n",
                                 xml_escape(cli, initiator))
                      : "");
    const REMOTE_RET(CONNECT_FIND_STORAGE_POOL_SOURCES) *found =
        CALL(cli, CONNECT_FIND_STORAGE_POOL_SOURCES, .type = (char *)(uintptr_t)type,
             .src_spec = where ? &where : NULL);
    if (!found)
        return cli_error(cli, "Failed to find any %s pool sources", type);
    return out_document(cli, "xml", found->xml);
}
