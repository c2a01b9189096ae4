/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What pools' and volumes' documents have in common (private to src/model). */
#ifndef KV_MODEL_STORAGE_READ_H
#define KV_MODEL_STORAGE_READ_H

#include "model/api_error.h"
#include "model/element.h"
#include "model/storage.h"
#include "model/xml.h"

#define storage_error(err, code, ...) api_error_from(err, VIR_FROM_STORAGE, code, __VA_ARGS__)

/* <permissions> of both. */
#define STORAGE_PERMISSIONS                                                     \
    ACTED("permissions", NULL,                                                  \
          WITH(ACTED("mode", NULL), ACTED("owner", NULL), ACTED("group", NULL), \
               ACTED("label", NULL)))

/* Parses text and holds it to the table. *out: for xmlFreeDoc(). */
int storage_document(xmlDoc **out, const char *xml, const char *what, const struct element *row,
                     struct kv_error *err);

/* The label is copied. */
int storage_read_permissions(struct model_permissions *out, const xmlNode *target,
                             struct kv_error *err);
void storage_permissions_init(struct model_permissions *permissions);

/* Both put lines with the indentation that libvirt has there. */
int storage_put_permissions(struct buffer *out, const struct model_permissions *permissions,
                            const char *indent);
/* <name>text</name>, escaped. */
int storage_put_text(struct buffer *out, const char *indent, const char *name, const char *text);

/* A copy of the child's text; *out stays NULL when there is none or it is empty. */
int storage_copy_text(char **out, const xmlNode *node, const char *child, struct kv_error *err);

#endif
