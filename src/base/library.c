/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared libraries that are loaded when they are needed; see library.h. */
#include "base/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

static int load(struct library *library, struct kv_error *err)
{
    void *handle = dlopen(library->soname, RTLD_NOW | RTLD_LOCAL);
    if (!handle && library->alternative)
        handle = dlopen(library->alternative, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return kv_error_set(err, KV_ERR_BASE, ENOENT,
                            "%s need the library %s (Debian's package %s), which cannot be "
                            "loaded: %s",
                            library->purpose, library->soname, library->package, dlerror());
    for (const struct library_symbol *symbol = library->symbols; symbol->name; symbol++) {
        void *address = dlsym(handle, symbol->name);
        if (!address) {
            dlclose(handle);
            return kv_error_set(err, KV_ERR_BASE, ENOSYS,
                                "%s need the function %s, which this %s does not have",
                                library->purpose, symbol->name, library->soname);
        }
        memcpy(symbol->pointer, &address, sizeof(address));
    }
    library->loaded = true;
    return 0;
}

int library_open(struct library *library, struct kv_error *err)
{
    pthread_mutex_lock(&library->lock);
    int r = library->loaded ? 0 : load(library, err);
    pthread_mutex_unlock(&library->lock);
    return r;
}

bool library_is_open(struct library *library)
{
    pthread_mutex_lock(&library->lock);
    bool loaded = library->loaded;
    pthread_mutex_unlock(&library->lock);
    return loaded;
}
