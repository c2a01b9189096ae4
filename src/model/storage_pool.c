/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <pool>: read and written; and what is told of the kinds of pools. See storage.h. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "model/storage_read.h"
#include "model/uuid.h"

const char *const model_pool_types[] = {
    "dir",   "fs",  "netfs",    "logical", "disk", "iscsi",    "iscsi-direct", "scsi",
    "mpath", "rbd", "sheepdog", "gluster", "zfs",  "vstorage", NULL,
};

/* clang-format off */
static const struct element pool_element =
    ACTED("pool", "type",
          WITH(ACTED("name", NULL), ACTED("uuid", NULL), CARRIED("capacity", "unit"),
               CARRIED("allocation", "unit"), CARRIED("available", "unit"),
               ROW(CARRIED, "source", .attributes = NULL),
               ACTED("target", NULL, WITH(ACTED("path", NULL), STORAGE_PERMISSIONS))));
/* clang-format on */

/* ------------------------------------------------------------------- reading */

/* Before the table is asked: other types have other elements. */
static int check_type(const char *xml, struct kv_error *err)
{
    xmlDoc *document;
    int r = xml_parse(&document, xml, strlen(xml), "(storage_pool_definition)", "pool", err);
    if (r < 0)
        return r;
    const char *type = xml_attr(xmlDocGetRootElement(document), "type");
    const char *const *known = model_pool_types;
    while (type && *known && strcmp(*known, type) != 0)
        known++;
    if (!type)
        r = api_error_from(err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                           "Missing required attribute 'type' in element 'pool'");
    else if (!*known)
        r = api_error_from(err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                           "Invalid value for attribute 'type' in element 'pool': '%s'.", type);
    else if (strcmp(type, "dir") != 0)
        r = storage_error(err, VIR_ERR_CONFIG_UNSUPPORTED,
                          "storage pools of type '%s'; those of type 'dir' are supported", type);
    xmlFreeDoc(document);
    return r;
}

static int check_name(const char *name, struct kv_error *err)
{
    if (!name || !*name)
        return storage_error(err, VIR_ERR_XML_ERROR, "missing pool source name element");
    if (strchr(name, '/'))
        return storage_error(err, VIR_ERR_XML_ERROR, "name %s cannot contain '/'", name);
    for (const char *p = name; *p; p++) {
        if (iscntrl((unsigned char)*p))
            return api_error_from(err, VIR_FROM_XML, VIR_ERR_XML_DETAIL, "invalid char in name: %c",
                                  *p);
    }
    return 0;
}

static int read_uuid(struct model_pool *pool, const char *text, struct kv_error *err)
{
    if (!text) {
        uuid_generate(pool->uuid);
        return 0;
    }
    return uuid_parse(text, pool->uuid) == 0
               ? 0
               : storage_error(err, VIR_ERR_XML_ERROR, "malformed uuid element");
}

void model_path_tidy(char *path)
{
    char *to = path;
    for (const char *from = path; *from; from++) {
        if (*from != '/' || from == path || from[-1] != '/')
            *to++ = *from;
    }
    if (to > path + 1 && to[-1] == '/')
        to--;
    *to = '\0';
}

static int read_path(struct model_pool *pool, const xmlNode *target, struct kv_error *err)
{
    int r = target ? storage_copy_text(&pool->path, target, "path", err) : 0;
    if (r < 0)
        return r;
    if (!pool->path)
        return storage_error(err, VIR_ERR_XML_ERROR, "missing storage pool target path");
    if (*pool->path != '/')
        return storage_error(err, VIR_ERR_INVALID_ARG, "path '%s' is not absolute", pool->path);
    model_path_tidy(pool->path);
    return 0;
}

static int read_pool(struct model_pool *pool, const xmlNode *root, struct kv_error *err)
{
    const char *name = xml_child_text(root, "name");
    const xmlNode *target = xml_child(root, "target");
    storage_permissions_init(&pool->permissions);
    int r = check_name(name, err);
    if (r == 0)
        r = storage_copy_text(&pool->name, root, "name", err);
    if (r == 0)
        r = read_uuid(pool, xml_child_text(root, "uuid"), err);
    if (r == 0)
        r = read_path(pool, target, err);
    return r < 0 ? r : storage_read_permissions(&pool->permissions, target, err);
}

int model_pool_parse(struct model_pool **out, const char *xml, struct kv_error *err)
{
    xmlDoc *document;
    int r = check_type(xml, err);
    if (r == 0)
        r = storage_document(&document, xml, "(storage_pool_definition)", &pool_element, err);
    if (r < 0)
        return r;
    struct model_pool *pool = calloc(1, sizeof(*pool));
    r = pool ? read_pool(pool, xmlDocGetRootElement(document), err)
             : storage_error(err, VIR_ERR_NO_MEMORY, NULL);
    xmlFreeDoc(document);
    if (r < 0)
        model_pool_free(pool);
    else
        *out = pool;
    return r;
}

void model_pool_free(struct model_pool *pool)
{
    if (!pool)
        return;
    free(pool->name);
    free(pool->path);
    free(pool->permissions.label);
    free(pool);
}

/* ------------------------------------------------------------------- writing */

char *model_pool_format(const struct model_pool *pool)
{
    struct buffer out = BUFFER_INIT(0);
    char uuid[UUID_TEXT];
    uuid_format(pool->uuid, uuid);
    int r = buffer_printf(&out, "<pool type='dir'>\n");
    if (r == 0)
        r = storage_put_text(&out, "  ", "name", pool->name);
    if (r == 0)
        r = buffer_printf(&out,
                          "  <uuid>%s</uuid>\n"
                          "  <capacity unit='bytes'>%" PRIu64 "</capacity>\n"
                          "  <allocation unit='bytes'>%" PRIu64 "</allocation>\n"
                          "  <available unit='bytes'>%" PRIu64 "</available>\n"
                          "  <source>\n  </source>\n"
                          "  <target>\n",
                          uuid, pool->capacity, pool->allocation, pool->available);
    if (r == 0)
        r = storage_put_text(&out, "    ", "path", pool->path);
    if (r == 0)
        r = storage_put_permissions(&out, &pool->permissions, "    ");
    if (r == 0)
        r = buffer_printf(&out, "  </target>\n</pool>\n");
    if (r == 0)
        return xml_take(&out);
    buffer_free(&out);
    return NULL;
}

static int put_directory_pool(struct buffer *out)
{
    int r = buffer_printf(out, "  <pool type='dir' supported='yes'>\n"
                               "    <volOptions>\n"
                               "      <defaultFormat type='raw'/>\n"
                               "      <enum name='targetFormatType'>\n");
    for (const char *const *name = model_volume_formats; *name && r == 0; name++)
        r = buffer_printf(out, "        <value>%s</value>\n", *name);
    return r < 0 ? r
                 : buffer_printf(out, "      </enum>\n"
                                      "    </volOptions>\n"
                                      "  </pool>\n");
}

char *model_pool_capabilities(void)
{
    struct buffer out = BUFFER_INIT(0);
    int r = buffer_printf(&out, "<storagepoolCapabilities>\n");
    if (r == 0)
        r = put_directory_pool(&out);
    for (const char *const *type = model_pool_types + 1; *type && r == 0; type++)
        r = buffer_printf(&out, "  <pool type='%s' supported='no'>\n  </pool>\n", *type);
    if (r == 0)
        r = buffer_printf(&out, "</storagepoolCapabilities>\n");
    if (r == 0)
        return xml_take(&out);
    buffer_free(&out);
    return NULL;
}
