/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plain bytes of a device's state as hexadecimal text in JSON, and back. */
#ifndef KV_VMM_HEX_STATE_H
#define KV_VMM_HEX_STATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

json_t *hex_state_save(const void *bytes, size_t len);
/* False, with bytes partly filled: it is not the text of that many bytes. */
bool hex_state_load(const json_t *text, void *bytes, size_t len);

#endif
