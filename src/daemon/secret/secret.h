/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Secrets: passphrases that documents name by uuid or by what they are for, so that these do not
 * contain them. Definitions and values are in the state; those of ephemeral secrets only in
 * memory. A private secret's value is given to no client, only to the daemon itself.
 */
#ifndef KV_DAEMON_SECRET_SECRET_H
#define KV_DAEMON_SECRET_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/driver.h"

extern const struct daemon_driver secret_driver;

/*
 * For the daemon: the value of the secret with that uuid (as text) or, when uuid is NULL, of that
 * usage ("ceph", "volume", "iscsi", "tls", "vtpm") and usage id. *value is a copy to wipe
 * (secret_wipe) and free. VIR_ERR_NO_SECRET when there is none or it has no value. Any thread,
 * while the driver is started.
 */
int secret_find_value(const char *uuid, const char *usage, const char *usage_id, uint8_t **value,
                      size_t *len, struct kv_error *err);

/* The same as text in base64, to wipe and free. */
int secret_find_base64(const char *uuid, const char *usage, const char *usage_id, char **text,
                       struct kv_error *err);

/* Bytes as base64 text, to wipe and free(). */
int secret_base64(const void *bytes, size_t len, char **text, struct kv_error *err);

/* Overwrites and frees. NULL is harmless. */
void secret_wipe(void *value, size_t len);

#endif
