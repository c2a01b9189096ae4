/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The <secret> document: read, and written as libvirt writes it. */
#include <libvirt/libvirt.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/parse.h"
#include "base/util.h"
#include "daemon/secret/internal.h"
#include "model/api_error.h"
#include "model/uuid.h"
#include "model/xml.h"

/* By VIR_SECRET_USAGE_TYPE_*: the name, and the element that holds what it is for. */
static const struct usage {
    const char *name, *element;
} usages[] = {
    [VIR_SECRET_USAGE_TYPE_NONE] = {"none", NULL},
    [VIR_SECRET_USAGE_TYPE_VOLUME] = {"volume", "volume"},
    [VIR_SECRET_USAGE_TYPE_CEPH] = {"ceph", "name"},
    [VIR_SECRET_USAGE_TYPE_ISCSI] = {"iscsi", "target"},
    [VIR_SECRET_USAGE_TYPE_TLS] = {"tls", "name"},
    [VIR_SECRET_USAGE_TYPE_VTPM] = {"vtpm", "name"},
};

int secret_usage_type(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(usages); i++) {
        if (strcmp(usages[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

static int parse_flag(const xmlNode *root, const char *name, bool *out, struct kv_error *err)
{
    const char *value = xml_attr(root, name);
    if (!value)
        return 0;
    *out = strcmp(value, "yes") == 0;
    return *out || strcmp(value, "no") == 0
               ? 0
               : api_error_from(err, VIR_FROM_SECRET, VIR_ERR_XML_ERROR,
                                "invalid value of '%s': '%s' instead of yes or no", name, value);
}

static int parse_usage(struct secret_config *out, const xmlNode *usage, struct kv_error *err)
{
    const char *type = xml_attr(usage, "type");
    out->usage_type = type ? secret_usage_type(type) : -1;
    if (out->usage_type < 0)
        return api_error_from(err, VIR_FROM_SECRET, VIR_ERR_XML_ERROR,
                              "unknown secret usage type '%s'", type ? type : "");
    const char *element = usages[out->usage_type].element;
    const char *id = element ? xml_child_text(usage, element) : "";
    if (!id || (element && !*id))
        return api_error_from(err, VIR_FROM_SECRET, VIR_ERR_XML_ERROR,
                              "%s usage specified, but %s is missing", type, element);
    out->usage_id = strdup(id);
    return out->usage_id ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

/* An element that is not acted on would be an owner's wish that nobody carries out. */
static int check_elements(const xmlNode *root, struct kv_error *err)
{
    static const char *const known[] = {"uuid", "description", "usage"};
    for (const xmlNode *node = xml_first(root); node; node = xml_next(node)) {
        size_t i = 0;
        while (i < ARRAY_SIZE(known) && !xml_is(node, known[i]))
            i++;
        if (i == ARRAY_SIZE(known))
            return api_error_from(err, VIR_FROM_SECRET, VIR_ERR_CONFIG_UNSUPPORTED,
                                  "/secret/%s is not known", xml_name(node));
    }
    return 0;
}

static int parse_root(struct secret_config *out, const xmlNode *root, struct kv_error *err)
{
    const char *uuid = xml_child_text(root, "uuid"), *text = xml_child_text(root, "description");
    const xmlNode *usage = xml_child(root, "usage");
    int r = check_elements(root, err);
    if (r == 0)
        r = parse_flag(root, "ephemeral", &out->ephemeral, err);
    if (r == 0)
        r = parse_flag(root, "private", &out->private, err);
    if (r < 0)
        return r;
    out->has_uuid = uuid != NULL;
    if (uuid && uuid_parse(uuid, out->uuid) < 0)
        return api_error_from(err, VIR_FROM_SECRET, VIR_ERR_INTERNAL_ERROR,
                              "malformed uuid element '%s'", uuid);
    if (text)
        out->description = strdup(text);
    if (usage)
        return parse_usage(out, usage, err);
    out->usage_id = strdup("");
    return out->usage_id ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

int secret_config_parse(struct secret_config *out, const char *xml, struct kv_error *err)
{
    xmlDoc *document;
    *out = (struct secret_config){.usage_type = VIR_SECRET_USAGE_TYPE_NONE};
    int r = xml_parse(&document, xml, strlen(xml), "(definition_of_secret)", "secret", err);
    if (r < 0)
        return r;
    r = parse_root(out, xmlDocGetRootElement(document), err);
    xmlFreeDoc(document);
    if (r < 0)
        secret_config_free(out);
    return r;
}

static int put_element(struct buffer *out, const char *indent, const char *name, const char *text)
{
    int r = buffer_printf(out, "%s<%s>", indent, name);
    if (r == 0)
        r = xml_escape(out, text);
    return r < 0 ? r : buffer_printf(out, "</%s>\n", name);
}

char *secret_config_format(const struct secret_config *config)
{
    const struct usage *usage = &usages[config->usage_type];
    struct buffer out = BUFFER_INIT(0);
    char uuid[UUID_TEXT];
    uuid_format(config->uuid, uuid);
    int r = buffer_printf(&out, "<secret ephemeral='%s' private='%s'>\n",
                          config->ephemeral ? "yes" : "no", config->private ? "yes" : "no");
    if (r == 0)
        r = put_element(&out, "  ", "uuid", uuid);
    if (r == 0 && config->description)
        r = put_element(&out, "  ", "description", config->description);
    if (r == 0 && usage->element) {
        r = buffer_printf(&out, "  <usage type='%s'>\n", usage->name);
        if (r == 0)
            r = put_element(&out, "    ", usage->element, config->usage_id);
        if (r == 0)
            r = buffer_printf(&out, "  </usage>\n");
    }
    if (r == 0)
        r = buffer_printf(&out, "</secret>\n");
    char *text = r == 0 ? xml_take(&out) : NULL;
    buffer_free(&out);
    return text;
}

void secret_config_free(struct secret_config *config)
{
    free(config->usage_id);
    free(config->description);
    *config = (struct secret_config){.usage_type = VIR_SECRET_USAGE_TYPE_NONE};
}
