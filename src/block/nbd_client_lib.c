/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads libnbd when it is first needed; see nbd_client.h. */
#include "block/library.h"
#include "block/nbd_client.h"

static struct nbd_library functions;

static const struct library_symbol symbols[] = {
#define X(function) {"nbd_" #function, &functions.function},
    NBD_LIBRARY(X)
#undef X
        {NULL, NULL},
};

static struct library library = LIBRARY("libnbd.so.0", "libnbd0", "NBD images", symbols);

int nbd_library_get(const struct nbd_library **out, struct kv_error *err)
{
    int rc = library_load(&library, err);
    if (rc == 0)
        *out = &functions;
    return rc;
}
