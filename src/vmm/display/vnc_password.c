/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VNC's password (RFC 6143 7.2.2): the viewer encrypts a challenge with it, by DES. libnettle has
 * that; GnuTLS stands on it, so that it is where TLS is. See vnc.h.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/library.h"
#include "vmm/display/vnc.h"

#define DES_BLOCK 8
#define CONTEXT_SIZE 1024 /* more than any version's struct des_ctx */

static int (*des_set_key)(void *context, const uint8_t *key);
static void (*des_encrypt)(const void *context, size_t len, uint8_t *out, const uint8_t *in);

static const struct library_symbol symbols[] = {
    {"nettle_des_set_key", &des_set_key},
    {"nettle_des_encrypt", &des_encrypt},
    {NULL, NULL},
};

static struct library library =
    LIBRARY("libnettle.so.8", "libnettle8", "passwords of viewers", symbols);

int vnc_password_load(struct kv_error *err)
{
    return library_open(&library, err);
}

int vnc_respond(const char *password, const uint8_t challenge[VNC_CHALLENGE],
                uint8_t response[VNC_CHALLENGE])
{
    _Alignas(16) uint8_t context[CONTEXT_SIZE];
    uint8_t key[DES_BLOCK] = {0};
    if (!library_is_open(&library))
        return -ENOENT;
    for (unsigned i = 0; i < DES_BLOCK && password[i]; i++)
        for (unsigned bit = 0; bit < 8; bit++) /* VNC counts a key's bits from the other end */
            key[i] |= (uint8_t)(((uint8_t)password[i] >> bit & 1) << (7 - bit));
    des_set_key(context, key); /* a weak key is one as well */
    des_encrypt(context, VNC_CHALLENGE, response, challenge);
    explicit_bzero(context, sizeof(context));
    explicit_bzero(key, sizeof(key));
    return 0;
}
