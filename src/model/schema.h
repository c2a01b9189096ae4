/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Validation against the schemas that libvirt's packages install, where they are. */
#ifndef KV_MODEL_SCHEMA_H
#define KV_MODEL_SCHEMA_H

#include <libxml/tree.h>

#include "base/error.h"

/* kind: "domain", "secret", ... VIR_ERR_XML_INVALID_SCHEMA with the first complaint; 0 when no
 * schema is installed: our own checks are stricter. May be called by several threads. */
int schema_validate(xmlDoc *doc, const char *kind, struct kv_error *err);

#endif
