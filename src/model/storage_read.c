/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of pools' and volumes' documents; see storage_read.h. */
#include "model/storage_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int storage_document(xmlDoc **out, const char *xml, const char *what, const struct element *row,
                     struct kv_error *err)
{
    int r = xml_parse(out, xml, strlen(xml), what, row->name, err);
    if (r < 0)
        return r;
    const struct element_check check = {.tolerant = false};
    r = element_apply(row, xmlDocGetRootElement(*out), &check, err);
    if (r < 0) {
        err->from = VIR_FROM_STORAGE;
        xmlFreeDoc(*out);
    }
    return r;
}

int storage_copy_text(char **out, const xmlNode *node, const char *child, struct kv_error *err)
{
    const char *text = xml_child_text(node, child);
    if (!text || !*text)
        return 0;
    free(*out);
    *out = strdup(text);
    return *out ? 0 : storage_error(err, VIR_ERR_NO_MEMORY, NULL);
}

void storage_permissions_init(struct model_permissions *permissions)
{
    *permissions = (struct model_permissions){
        .mode = STORAGE_UNSET, .owner = STORAGE_UNSET, .group = STORAGE_UNSET};
}

static int read_mode(int64_t *mode, const char *text, struct kv_error *err)
{
    char *end;
    if (!text)
        return 0;
    errno = 0;
    unsigned long value = strtoul(text, &end, 8);
    if (errno || end == text || *end || value & ~07777UL)
        return storage_error(err, VIR_ERR_XML_ERROR, "malformed octal mode");
    *mode = (int64_t)value;
    return 0;
}

/* -1 means that nothing is said. */
static int read_id(int64_t *id, const char *text, const char *what, struct kv_error *err)
{
    if (!text)
        return 0;
    if (!xml_integer(text, id) || *id < STORAGE_UNSET || *id >= UINT32_MAX)
        return storage_error(err, VIR_ERR_XML_ERROR, "malformed %s element", what);
    return 0;
}

int storage_read_permissions(struct model_permissions *out, const xmlNode *target,
                             struct kv_error *err)
{
    const xmlNode *node = target ? xml_child(target, "permissions") : NULL;
    if (!node)
        return 0;
    int r = read_mode(&out->mode, xml_child_text(node, "mode"), err);
    if (r == 0)
        r = read_id(&out->owner, xml_child_text(node, "owner"), "owner", err);
    if (r == 0)
        r = read_id(&out->group, xml_child_text(node, "group"), "group", err);
    return r < 0 ? r : storage_copy_text(&out->label, node, "label", err);
}

/* File names are bytes, and headers of images hold any: what XML cannot show becomes '?'. */
static int put_shown(struct buffer *out, const char *text)
{
    bool utf8 = xmlCheckUTF8((const xmlChar *)text);
    char *shown = strdup(text);
    if (!shown)
        return -ENOMEM;
    for (char *p = shown; *p; p++) {
        unsigned char byte = (unsigned char)*p;
        if ((byte < ' ' && !strchr("\t\r\n", byte)) || (byte >= 0x80 && !utf8))
            *p = '?';
    }
    int r = xml_escape(out, shown);
    free(shown);
    return r;
}

int storage_put_text(struct buffer *out, const char *indent, const char *name, const char *text)
{
    int r = buffer_printf(out, "%s<%s>", indent, name);
    if (r == 0)
        r = put_shown(out, text);
    return r < 0 ? r : buffer_printf(out, "</%s>\n", name);
}

int storage_put_permissions(struct buffer *out, const struct model_permissions *permissions,
                            const char *indent)
{
    if (permissions->mode == STORAGE_UNSET && permissions->owner == STORAGE_UNSET &&
        permissions->group == STORAGE_UNSET && !permissions->label)
        return 0;
    int r = buffer_printf(out, "%s<permissions>\n", indent);
    if (r == 0 && permissions->mode != STORAGE_UNSET)
        r = buffer_printf(out, "%s  <mode>0%03o</mode>\n", indent, (unsigned)permissions->mode);
    if (r == 0 && permissions->owner != STORAGE_UNSET)
        r = buffer_printf(out, "%s  <owner>%u</owner>\n", indent, (unsigned)permissions->owner);
    if (r == 0 && permissions->group != STORAGE_UNSET)
        r = buffer_printf(out, "%s  <group>%u</group>\n", indent, (unsigned)permissions->group);
    if (r == 0)
        r = buffer_printf(out, "%s", indent);
    if (r == 0 && permissions->label)
        r = storage_put_text(out, "  ", "label", permissions->label);
    return r < 0 ? r : buffer_printf(out, "%s</permissions>\n", permissions->label ? indent : "");
}
