/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What xml.c asks of xml_scan.c. */
#ifndef KV_MODEL_XML_INTERNAL_H
#define KV_MODEL_XML_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#define XML_ATTRIBUTES_MAX 256 /* of an element, with its declarations of namespaces */

/* Whether an element may have more attributes than anybody needs. In linear time. */
bool xml_has_many_attributes(const char *text, size_t len);
/* Whether the answer above can be believed. An empty text is fine. */
bool xml_encoding_is_like_ascii(const char *text, size_t len);

#endif
