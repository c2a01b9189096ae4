/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Storage as libvirt's documents have it: pools (directories of images) and volumes (the files and
 * directories in them). Read within bounds, with libvirt's words for what is wrong; what no row of
 * the tables knows is refused, so that nothing that somebody asked for is silently missing.
 */
#ifndef KV_MODEL_STORAGE_H
#define KV_MODEL_STORAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/error.h"

#define STORAGE_UNSET (-1) /* of mode, owner, group: nothing was said */

struct model_permissions {
    int64_t mode, owner, group; /* STORAGE_UNSET */
    char *label;                /* NULL: none */
};

/* Texts are owned unless they are const. */
struct model_pool {
    uint8_t uuid[16];
    char *name;
    char *path; /* without doubled slashes and one at the end */
    struct model_permissions permissions;
    uint64_t capacity, allocation, available; /* bytes; not read, only written */
};

/*
 * *out: for model_pool_free(). A uuid that is missing is made up. VIR_ERR_CONFIG_UNSUPPORTED for
 * the types of pools that are not directories.
 */
int model_pool_parse(struct model_pool **out, const char *xml, struct kv_error *err);
char *model_pool_format(const struct model_pool *pool); /* NULL: memory */
void model_pool_free(struct model_pool *pool);          /* NULL is fine */

struct model_volume_times {
    struct timespec access, change, modification, birth;
};

/* What a volume is to be, or is. */
struct model_volume {
    char *name;
    char *path; /* its key as well */
    int type;   /* VIR_STORAGE_VOL_FILE, VIR_STORAGE_VOL_DIR */
    const char *format;
    uint64_t capacity, allocation, physical; /* bytes */
    bool has_capacity, has_allocation, has_physical;
    struct model_permissions permissions;
    bool has_times;
    struct model_volume_times times;
    char *compat; /* "0.10", "1.1"; NULL: not said, or not qcow2 */
    bool has_features, lazy_refcounts, extended_l2;
    uint64_t cluster_size; /* bytes; 0: not said */
    bool nocow;
    bool luks; /* encrypted, with the passphrase in the secret of that uuid or usage */
    char *secret_uuid, *secret_usage;
    char *backing_path;
    const char *backing_format; /* NULL: not said */
};

enum model_volume_parse_flags {
    MODEL_VOLUME_NO_CAPACITY = 1, /* it may be missing: it comes from elsewhere */
};

/* *out: for model_volume_free(). Paths in the document are not read: the name decides. */
int model_volume_parse(struct model_volume **out, const char *xml, unsigned flags,
                       struct kv_error *err);
char *model_volume_format(const struct model_volume *volume); /* NULL: memory */
void model_volume_clear(struct model_volume *volume);         /* frees what it owns */
void model_volume_free(struct model_volume *volume);          /* NULL is fine */

/* The formats that libvirt knows of volumes, and 'vhdx'; NULL at the end. */
extern const char *const model_volume_formats[];
/* One of them, or NULL. */
const char *model_volume_format_find(const char *name);

/* Takes doubled slashes and one at the end out, as libvirt does before it compares paths. */
void model_path_tidy(char *path);

/* What libvirt's types of pools are called, in its order; NULL at the end. */
extern const char *const model_pool_types[];

/* virConnectGetStoragePoolCapabilities(); NULL: memory. */
char *model_pool_capabilities(void);

#endif
