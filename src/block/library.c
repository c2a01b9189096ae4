/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared libraries that are loaded when an image needs them. */
#include "block/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "block/block.h"

static int load(struct library *library, struct kv_error *err)
{
    if (block_is_sealed())
        return kv_error_set(err, KV_ERR_BLOCK, EACCES,
                            "%s need the library %s, which a jailed process loads only for disks "
                            "that it was started with",
                            library->purpose, library->soname);
    void *handle = dlopen(library->soname, RTLD_NOW | RTLD_LOCAL);
    if (!handle && library->alternative)
        handle = dlopen(library->alternative, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return kv_error_set(err, KV_ERR_BLOCK, ENOENT,
                            "%s need the library %s (Debian's package %s), which cannot be "
                            "loaded: %s",
                            library->purpose, library->soname, library->package, dlerror());
    for (const struct library_symbol *symbol = library->symbols; symbol->name; symbol++) {
        void *address = dlsym(handle, symbol->name);
        if (!address) {
            dlclose(handle);
            return kv_error_set(err, KV_ERR_BLOCK, ENOSYS,
                                "%s need the function %s, which this %s does not have",
                                library->purpose, symbol->name, library->soname);
        }
        memcpy(symbol->pointer, &address, sizeof(address));
    }
    library->loaded = true;
    return 0;
}

int library_load(struct library *library, struct kv_error *err)
{
    pthread_mutex_lock(&library->lock);
    int r = library->loaded ? 0 : load(library, err);
    pthread_mutex_unlock(&library->lock);
    return r;
}
