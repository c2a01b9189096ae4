/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Secrets by name: passphrases that the options of encrypted images refer to
 * (`key-secret=sec0`). Filled from `--object secret,id=sec0,...` before images
 * are opened; any thread.
 */
#ifndef KV_BLOCK_SECRET_H
#define KV_BLOCK_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Adds what an object's options say: "id=sec0,data=TEXT" or "id=sec0,file=PATH", with
 * "format=raw|base64". A leading "secret," or "qom-type=secret," is fine. -EEXIST: the id is
 * taken.
 */
int secret_add_text(const char *text, struct kv_error *err);
/* The bytes are copied. */
int secret_add(const char *id, const void *data, size_t len, struct kv_error *err);

/* A copy for the caller, given back by secret_release(). -ENOENT: no such id. */
int secret_get(const char *id, uint8_t **data, size_t *len, struct kv_error *err);
/* Wipes and frees. NULL is fine. */
void secret_release(uint8_t *data, size_t len);

/* Wipes and forgets one. */
void secret_remove(const char *id);
/* Wipes and forgets all. */
void secret_clear(void);

#endif
