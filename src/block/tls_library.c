/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads what servers' TLS takes of GnuTLS; see tls_library.h. */
#include "block/tls_library.h"

#include "block/library.h"

struct tls_library tls_lib;

static const struct library_symbol symbols[] = {
#define TLS_LIBRARY_SYMBOL(name) {"gnutls_" #name, &tls_lib.name},
    TLS_LIBRARY_FUNCTIONS(TLS_LIBRARY_SYMBOL)
#undef TLS_LIBRARY_SYMBOL
        {NULL, NULL},
};

static struct library library = LIBRARY("libgnutls.so.30", "libgnutls30", "TLS", symbols);

int tls_library_load(struct kv_error *err)
{
    return library_load(&library, err);
}
