/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Volumes of pools: lists, facts, making and removing. */
#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "cli/xml.h"

static const char *type_text(int type)
{
    static const char *const types[] = {"file", "block", "dir", "net", "net-dir", "ploop"};
    return type >= 0 && (size_t)type < ARRAY_SIZE(types) ? types[type] : "unknown";
}

static const char *size_text(struct cli *cli, uint64_t bytes)
{
    const char *unit;
    double size = size_pretty(bytes, &unit);
    return cli_text(cli, "%.2lf %s", size, unit);
}

static int by_name(const void *a, const void *b)
{
    return strcasecmp(((const wire_volume *)a)->name, ((const wire_volume *)b)->name);
}

int volume_list(struct cli *cli)
{
    const wire_pool *pool = lookup_pool(cli, "pool");
    const REMOTE_RET(STORAGE_POOL_LIST_ALL_VOLUMES) *got =
        pool ? CALL(cli, STORAGE_POOL_LIST_ALL_VOLUMES, .pool = *pool, .want_list = 1) : NULL;
    if (!got)
        return pool ? cli_error(cli, "Failed to list volumes") : -1;
    wire_volume *list = got->vols.vols_val;
    if (got->vols.vols_len)
        qsort(list, got->vols.vols_len, sizeof(*list), by_name);
    bool details = arg_on(cli, "details");
    struct table *table = details ? TABLE(cli, "Name", "Path", "Type", "Capacity", "Allocation")
                                  : TABLE(cli, "Name", "Path");
    for (unsigned i = 0; i < got->vols.vols_len; i++) {
        const REMOTE_RET(STORAGE_VOL_GET_PATH) *path =
            CALL(cli, STORAGE_VOL_GET_PATH, .volume = list[i]);
        const char *text = path ? path->name : "-";
        const REMOTE_RET(STORAGE_VOL_GET_INFO) *info =
            details ? CALL(cli, STORAGE_VOL_GET_INFO, .volume = list[i]) : NULL;
        if (details)
            TABLE_ROW(cli, table, list[i].name, text, info ? type_text(info->type) : "unknown",
                      info ? size_text(cli, info->capacity) : "-",
                      info ? size_text(cli, info->allocation) : "-");
        else
            TABLE_ROW(cli, table, list[i].name, text);
    }
    return table_print(cli, table);
}

int volume_info(struct cli *cli)
{
    bool physical = arg_on(cli, "physical"), bytes = arg_on(cli, "bytes");
    const wire_volume *volume = lookup_volume(cli, "vol", "pool");
    if (!volume)
        return -1;
    const REMOTE_RET(STORAGE_VOL_GET_INFO) *info =
        physical ? CALL(cli, STORAGE_VOL_GET_INFO_FLAGS, .volume = *volume,
                        .flags = VIR_STORAGE_VOL_GET_PHYSICAL)
                 : CALL(cli, STORAGE_VOL_GET_INFO, .volume = *volume);
    if (!info)
        return -1;
    out_field(cli, 15, "Name:", "%s", volume->name);
    out_field(cli, 15, "Type:", "%s", type_text(info->type));
    const char *label = physical ? "Physical:" : "Allocation:";
    if (bytes) {
        out_field(cli, 15, "Capacity:", "%llu bytes", (unsigned long long)info->capacity);
        out_field(cli, 15, label, "%llu bytes", (unsigned long long)info->allocation);
    } else {
        out_field(cli, 15, "Capacity:", "%s", size_text(cli, info->capacity));
        out_field(cli, 15, label, "%s", size_text(cli, info->allocation));
    }
    return 0;
}

int volume_xml(struct cli *cli)
{
    const wire_volume *volume = lookup_volume(cli, "vol", "pool");
    const REMOTE_RET(STORAGE_VOL_GET_XML_DESC) *xml =
        volume ? CALL(cli, STORAGE_VOL_GET_XML_DESC, .volume = *volume) : NULL;
    return xml ? xml_print(cli, xml->xml) : -1;
}

int volume_key(struct cli *cli)
{
    const wire_volume *volume = lookup_volume(cli, "vol", "pool");
    return volume ? out_value(cli, "key", "%s", volume->key) : -1;
}

int volume_name(struct cli *cli)
{
    const wire_volume *volume = lookup_volume_by(cli, "vol", NULL, false, true, true);
    return volume ? out_value(cli, "name", "%s", volume->name) : -1;
}

int volume_path(struct cli *cli)
{
    const wire_volume *volume = lookup_volume(cli, "vol", "pool");
    const REMOTE_RET(STORAGE_VOL_GET_PATH) *path =
        volume ? CALL(cli, STORAGE_VOL_GET_PATH, .volume = *volume) : NULL;
    return path ? out_value(cli, "path", "%s", path->name) : -1;
}

int volume_pool(struct cli *cli)
{
    const wire_volume *volume = lookup_volume_by(cli, "vol", NULL, false, true, true);
    const REMOTE_RET(STORAGE_POOL_LOOKUP_BY_VOLUME) *pool =
        volume ? CALL(cli, STORAGE_POOL_LOOKUP_BY_VOLUME, .volume = *volume) : NULL;
    if (!pool)
        return volume ? cli_error(cli, "failed to get parent pool") : -1;
    return arg_on(cli, "uuid") ? out_value(cli, "uuid", "%s", uuid_to_text(cli, pool->pool.uuid))
                               : out_value(cli, "name", "%s", pool->pool.name);
}

static unsigned create_flags(const struct cli *cli)
{
    return arg_on(cli, "prealloc-metadata") ? VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA : 0;
}

int volume_create(struct cli *cli)
{
    const wire_pool *pool = lookup_pool(cli, "pool");
    const char *file = NULL;
    if (!pool || arg_text(cli, "file", &file) < 0)
        return -1;
    char *xml = read_text_file(cli, file);
    if (!xml)
        return -1;
    const REMOTE_RET(STORAGE_VOL_CREATE_XML) *got =
        CALL(cli, STORAGE_VOL_CREATE_XML, .pool = *pool, .xml = xml, .flags = create_flags(cli));
    if (!got)
        return cli_error(cli, "Failed to create vol from %s", file);
    return out_done(cli, "Vol %s created from %s", got->volume.name, file);
}

/* The base of a new volume, by name, key or path. "" when none was asked for, NULL: told. */
static const char *backing_xml(struct cli *cli, const wire_pool *pool)
{
    const char *name = arg_raw(cli, "backing-vol"), *format = arg_raw(cli, "backing-vol-format");
    if (!name)
        return "";
    wire_text text = (char *)(uintptr_t)name;
    const REMOTE_RET(STORAGE_VOL_LOOKUP_BY_NAME) *found =
        CALL(cli, STORAGE_VOL_LOOKUP_BY_NAME, .pool = *pool, .name = text);
    if (!found)
        found = CALL(cli, STORAGE_VOL_LOOKUP_BY_KEY, .key = text);
    if (!found)
        found = CALL(cli, STORAGE_VOL_LOOKUP_BY_PATH, .path = text);
    const REMOTE_RET(STORAGE_VOL_GET_PATH) *path =
        found ? CALL(cli, STORAGE_VOL_GET_PATH, .volume = found->volume) : NULL;
    if (!path) {
        cli_error(cli, "failed to get vol '%s'", name);
        return NULL;
    }
    return cli_text(cli, "  <backingStore>\n    <path>%s</path>\n%s  </backingStore>\n",
                    xml_escape(cli, path->name),
                    format ? cli_text(cli, "    <format type='%s'/>\n", xml_escape(cli, format))
                           : "");
}

static int size_option(struct cli *cli, const char *option, uint64_t *out)
{
    const char *text = NULL;
    int r = arg_text(cli, option, &text);
    int wrong = r > 0 ? size_from_text(text, out, 1, UINT64_MAX) : 0;
    if (wrong) {
        cli_error(cli, "Malformed size %s", text);
        return size_refuse(cli, text, wrong);
    }
    return r;
}

int volume_create_as(struct cli *cli)
{
    const wire_pool *pool = lookup_pool(cli, "pool");
    const char *name = NULL, *format = arg_raw(cli, "format");
    uint64_t capacity = 0, allocation = 0;
    if (!pool || arg_text(cli, "name", &name) < 0 || size_option(cli, "capacity", &capacity) < 0)
        return -1;
    int allocated = size_option(cli, "allocation", &allocation);
    const char *backing = allocated < 0 ? NULL : backing_xml(cli, pool);
    if (!backing)
        return -1;
    char *xml =
        cli_text(cli, "<volume>\n  <name>%s</name>\n  <capacity>%llu</capacity>\n%s%s%s</volume>\n",
                 xml_escape(cli, name), (unsigned long long)capacity,
                 allocated ? cli_text(cli, "  <allocation>%llu</allocation>\n",
                                      (unsigned long long)allocation)
                           : "",
                 format ? cli_text(cli, "  <target>\n    <format type='%s'/>\n  </target>\n",
                                   xml_escape(cli, format))
                        : "",
                 backing);
    if (arg_on(cli, "print-xml"))
        return out_document(cli, "xml", xml);
    if (!CALL(cli, STORAGE_VOL_CREATE_XML, .pool = *pool, .xml = xml, .flags = create_flags(cli)))
        return cli_error(cli, "Failed to create vol %s", name);
    return out_done(cli, "Vol %s created", name);
}

int volume_delete(struct cli *cli)
{
    const wire_volume *volume = lookup_volume(cli, "vol", "pool");
    unsigned flags = arg_on(cli, "delete-snapshots") ? VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS : 0;
    const char *name = arg_raw(cli, "vol");
    if (!volume)
        return -1;
    if (!CALL(cli, STORAGE_VOL_DELETE, .volume = *volume, .flags = flags))
        return cli_error(cli, "Failed to delete vol %s", name);
    return out_done(cli, "Vol %s deleted", name);
}

int volume_resize(struct cli *cli)
{
    static const struct arg_flag flags_of[] = {
        {"allocate", VIR_STORAGE_VOL_RESIZE_ALLOCATE},
        {"delta", VIR_STORAGE_VOL_RESIZE_DELTA},
        {"shrink", VIR_STORAGE_VOL_RESIZE_SHRINK},
        {NULL},
    };
    const wire_volume *volume = lookup_volume(cli, "vol", "pool");
    const char *text = NULL;
    uint64_t capacity;
    unsigned flags = arg_flags(cli, flags_of);
    if (!volume || arg_text(cli, "capacity", &text) < 0)
        return -1;
    bool negative = *text == '-';
    if (negative && !(flags & VIR_STORAGE_VOL_RESIZE_SHRINK))
        return cli_error(cli, "negative size requires --shrink");
    if (size_from_text(text + negative, &capacity, 1, UINT64_MAX) < 0)
        return cli_error(cli, "Malformed size %s", text);
    bool delta = flags & VIR_STORAGE_VOL_RESIZE_DELTA;
    if (!CALL(cli, STORAGE_VOL_RESIZE, .volume = *volume, .capacity = capacity, .flags = flags))
        return cli_error(cli, "Failed to change size of volume '%s' %s %s", volume->name,
                         delta ? "by" : "to", text);
    return out_done(cli, "Size of volume '%s' successfully changed %s %s", volume->name,
                    delta ? "by" : "to", text);
}

int volume_wipe(struct cli *cli)
{
    static const char *const algorithms[] = {"zero",    "nnsa",     "dod",       "bsi",
                                             "gutmann", "schneier", "pfitzner7", "pfitzner33",
                                             "random",  "trim"};
    const wire_volume *volume = lookup_volume(cli, "vol", "pool");
    const char *name = NULL;
    size_t i = 0;
    if (!volume || arg_text(cli, "algorithm", &name) < 0)
        return -1;
    while (name && i < ARRAY_SIZE(algorithms) && strcmp(algorithms[i], name) != 0)
        i++;
    if (i == ARRAY_SIZE(algorithms))
        return cli_error(cli, "Unsupported algorithm '%s'", name);
    bool done =
        name ? CALL(cli, STORAGE_VOL_WIPE_PATTERN, .volume = *volume, .algorithm = (u_int)i) != NULL
             : CALL(cli, STORAGE_VOL_WIPE, .volume = *volume) != NULL;
    if (!done)
        return cli_error(cli, "Failed to wipe vol %s", volume->name);
    return out_done(cli, "Vol %s wiped", volume->name);
}
