/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of secrets: read from the state at the start, looked up, values for the daemon. */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <libvirt/libvirt.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/secret/internal.h"
#include "daemon/state/state.h"
#include "model/api_error.h"
#include "model/uuid.h"

/* The one that runs, for secret_find_value(). Set before calls are served. */
static struct secrets *running;

void secret_wipe(void *value, size_t len)
{
    if (value)
        explicit_bzero(value, len);
    free(value);
}

struct secret *secret_by_uuid(struct secrets *secrets, const void *uuid)
{
    list_for_each (node, &secrets->all) {
        struct secret *secret = list_entry(node, struct secret, node);
        if (memcmp(secret->config.uuid, uuid, sizeof(secret->config.uuid)) == 0)
            return secret;
    }
    return NULL;
}

struct secret *secret_by_usage(struct secrets *secrets, int usage_type, const char *usage_id)
{
    list_for_each (node, &secrets->all) {
        struct secret *secret = list_entry(node, struct secret, node);
        if (usage_type != VIR_SECRET_USAGE_TYPE_NONE && secret->config.usage_type == usage_type &&
            strcmp(secret->config.usage_id, usage_id) == 0)
            return secret;
    }
    return NULL;
}

static int copy_value(const struct secret *secret, uint8_t **value, size_t *len)
{
    *value = malloc(secret->value_len ? secret->value_len : 1);
    if (!*value)
        return -ENOMEM;
    memcpy(*value, secret->value, secret->value_len);
    *len = secret->value_len;
    return 0;
}

int secret_find_value(const char *uuid, const char *usage, const char *usage_id, uint8_t **value,
                      size_t *len, struct kv_error *err)
{
    struct secrets *secrets = running;
    uint8_t bytes[16];
    int r = -ENOENT;
    if (!secrets || (uuid && uuid_parse(uuid, bytes) < 0) || (!uuid && (!usage || !usage_id)))
        return api_error_from(err, VIR_FROM_SECRET, VIR_ERR_NO_SECRET,
                              "no secret with matching uuid '%s'", uuid ? uuid : "");
    pthread_mutex_lock(&secrets->lock);
    const struct secret *secret =
        uuid ? secret_by_uuid(secrets, bytes)
             : secret_by_usage(secrets, secret_usage_type(usage), usage_id);
    if (secret && secret->value)
        r = copy_value(secret, value, len);
    pthread_mutex_unlock(&secrets->lock);
    if (r == -ENOMEM)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    return r == 0 ? 0
                  : api_error_from(err, VIR_FROM_SECRET, VIR_ERR_NO_SECRET,
                                   secret ? "secret '%s' does not have a value"
                                          : "no secret '%s' is defined",
                                   uuid ? uuid : usage_id);
}

int secret_find_base64(const char *uuid, const char *usage, const char *usage_id, char **text,
                       struct kv_error *err)
{
    uint8_t *value;
    size_t len;
    int r = secret_find_value(uuid, usage, usage_id, &value, &len, err);
    if (r < 0)
        return r;
    r = secret_base64(value, len, text, err);
    secret_wipe(value, len);
    return r;
}

int secret_base64(const void *bytes, size_t len, char **text, struct kv_error *err)
{
    const gnutls_datum_t plain = {(unsigned char *)(uintptr_t)bytes, (unsigned)len};
    gnutls_datum_t encoded;
    if (gnutls_base64_encode2(&plain, &encoded) < 0)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    *text = malloc(encoded.size + (size_t)1);
    if (*text) {
        memcpy(*text, encoded.data, encoded.size);
        (*text)[encoded.size] = '\0';
    }
    explicit_bzero(encoded.data, encoded.size);
    gnutls_free(encoded.data);
    return *text ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

static void free_secret(struct secret *secret)
{
    secret_wipe(secret->value, secret->value_len);
    secret_config_free(&secret->config);
    free(secret);
}

static int load_one(void *opaque, const struct state_object *object)
{
    struct secrets *secrets = opaque;
    struct kv_error err = {0};
    struct secret *secret = calloc(1, sizeof(*secret));
    if (!secret)
        return -ENOMEM;
    if (secret_config_parse(&secret->config, object->document, &err) < 0) {
        log_error("secret '%s': %s", object->name, err.message);
        free(secret);
        return 0;
    }
    memcpy(secret->config.uuid, object->uuid, sizeof(secret->config.uuid));
    secret->value = object->extra_len ? malloc(object->extra_len) : NULL;
    if (secret->value) {
        memcpy(secret->value, object->extra, object->extra_len);
        secret->value_len = object->extra_len;
    }
    list_add_tail(&secrets->all, &secret->node);
    secrets->count++;
    return 0;
}

static void stop(void *opaque)
{
    struct secrets *secrets = opaque;
    running = NULL;
    list_for_each_safe (node, &secrets->all)
        free_secret(list_entry(node, struct secret, node));
    pthread_mutex_destroy(&secrets->lock);
    free(secrets);
}

static int start(struct daemon *daemon, void **opaque, struct kv_error *err)
{
    struct secrets *secrets = calloc(1, sizeof(*secrets));
    if (!secrets)
        return kv_error_errno(err, KV_ERR_BASE, ENOMEM, "secrets");
    pthread_mutex_init(&secrets->lock, NULL);
    list_init(&secrets->all);
    secrets->daemon = daemon;
    int r = state_each(daemon->state, STATE_SECRET, load_one, secrets, err);
    if (r < 0) {
        stop(secrets);
        return r;
    }
    running = secrets;
    *opaque = secrets;
    return 0;
}

const struct daemon_driver secret_driver = {
    .name = "secret",
    .handlers = secret_handlers,
    .start = start,
    .stop = stop,
};
