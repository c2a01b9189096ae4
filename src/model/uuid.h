/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UUIDs as libvirt reads and writes them. */
#ifndef KV_MODEL_UUID_H
#define KV_MODEL_UUID_H

#include <stdint.h>

#define UUID_TEXT 37 /* with the zero */

/* Hexadecimal digits in any case, dashes between bytes and blanks around allowed. -EINVAL. */
int uuid_parse(const char *text, uint8_t uuid[16]);
void uuid_format(const uint8_t uuid[16], char text[UUID_TEXT]);
/* Random (RFC 4122, version 4). */
void uuid_generate(uint8_t uuid[16]);

#endif
