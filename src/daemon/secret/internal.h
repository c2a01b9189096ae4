/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the secret driver share. */
#ifndef KV_DAEMON_SECRET_INTERNAL_H
#define KV_DAEMON_SECRET_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>

#include "base/list.h"
#include "daemon/secret/secret.h"

#define SECRET_VALUE_MAX 65536

/* What a document says. Texts are owned. */
struct secret_config {
    uint8_t uuid[16];
    bool has_uuid, ephemeral, private;
    int usage_type; /* VIR_SECRET_USAGE_TYPE_* */
    char *usage_id; /* "" without a usage */
    char *description;
};

struct secret {
    struct list node;
    struct secret_config config;
    uint8_t *value; /* NULL: not set */
    size_t value_len;
};

struct secrets {
    pthread_mutex_t lock; /* for the list and all that is in it */
    struct list all;
    unsigned count;
    struct daemon *daemon;
};

/* config.c */
int secret_config_parse(struct secret_config *out, const char *xml, struct kv_error *err);
char *secret_config_format(const struct secret_config *config); /* NULL: memory */
void secret_config_free(struct secret_config *config);
/* VIR_SECRET_USAGE_TYPE_*, or -1. */
int secret_usage_type(const char *name);

/* handlers.c */
extern const struct rpc_handler secret_handlers[];

/* With the lock. NULL: none. */
struct secret *secret_by_uuid(struct secrets *secrets, const void *uuid);
struct secret *secret_by_usage(struct secrets *secrets, int usage_type, const char *usage_id);

#endif
