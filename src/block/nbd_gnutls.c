/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads what the NBD server's TLS takes of GnuTLS; see nbd_gnutls.h. */
#include "block/nbd_gnutls.h"

#include "block/library.h"

struct nbd_gnutls tls_lib;

static const struct library_symbol symbols[] = {
#define NBD_GNUTLS_SYMBOL(name) {"gnutls_" #name, &tls_lib.name},
    NBD_GNUTLS_FUNCTIONS(NBD_GNUTLS_SYMBOL)
#undef NBD_GNUTLS_SYMBOL
        {NULL, NULL},
};

static struct library library =
    LIBRARY("libgnutls.so.30", "libgnutls30", "TLS of the NBD server", symbols);

int nbd_gnutls_load(struct kv_error *err)
{
    return library_load(&library, err);
}
