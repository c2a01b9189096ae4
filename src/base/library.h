/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shared libraries that are loaded when something first needs them, so that a process that never
 * does carries none of them.
 */
#ifndef KV_BASE_LIBRARY_H
#define KV_BASE_LIBRARY_H

#include <pthread.h>
#include <stdbool.h>

#include "base/error.h"

struct library_symbol {
    const char *name;
    void *pointer; /* to the function pointer that is filled */
};

struct library {
    const char *soname, *alternative;     /* alternative: another build of it, or NULL */
    const char *package;                  /* of Debian and Ubuntu, for messages */
    const char *purpose;                  /* for messages: "compressed clusters of type zstd" */
    const struct library_symbol *symbols; /* name NULL at the end */
    pthread_mutex_t lock;
    bool loaded;
};

/* `static struct library x = LIBRARY("libz.so.1", "zlib1g", "compressed images", symbols)` */
#define LIBRARY(soname_, package_, purpose_, symbols_)                                            \
    {                                                                                             \
        .soname = (soname_), .package = (package_), .purpose = (purpose_), .symbols = (symbols_), \
        .lock = PTHREAD_MUTEX_INITIALIZER                                                         \
    }

/* Loads it and fills its pointers, once; it stays loaded. Any thread. -ENOENT with err filled:
 * it is not installed; -ENOSYS: it is too old. */
int library_open(struct library *library, struct kv_error *err);

bool library_is_open(struct library *library);

#endif
