/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The procedures on secrets. What is persistent is on disk before the reply. */
#include <errno.h>
#include <libvirt/libvirt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/secret/internal.h"
#include "daemon/state/state.h"
#include "model/api_error.h"
#include "model/uuid.h"
#include "rpc/event.h"

#define LIST_MAX 16384

static int no_memory(struct kv_error *err)
{
    return api_error_from(err, VIR_FROM_SECRET, VIR_ERR_NO_MEMORY, NULL);
}

static int fill(wire_secret *out, const struct secret_config *config, struct kv_error *err)
{
    memcpy(out->uuid, config->uuid, sizeof(out->uuid));
    out->usage_type = config->usage_type;
    out->usage_id = strdup(config->usage_id);
    return out->usage_id ? 0 : no_memory(err);
}

/* With the lock. */
static struct secret *find(struct secrets *secrets, const void *uuid, struct kv_error *err)
{
    struct secret *secret = secret_by_uuid(secrets, uuid);
    char text[UUID_TEXT];
    if (secret)
        return secret;
    uuid_format(uuid, text);
    api_error_from(err, VIR_FROM_SECRET, VIR_ERR_NO_SECRET, "no secret with matching uuid '%s'",
                   text);
    return NULL;
}

/* With the lock. What is persistent of it, as it is in memory. */
static int store(struct secrets *secrets, const struct secret *secret, struct kv_error *err)
{
    char uuid[UUID_TEXT];
    if (secret->config.ephemeral)
        return 0;
    char *document = secret_config_format(&secret->config);
    if (!document)
        return no_memory(err);
    uuid_format(secret->config.uuid, uuid);
    struct state_object object = {
        .kind = STATE_SECRET,
        .name = uuid,
        .document = document,
        .extra = secret->value,
        .extra_len = secret->value_len,
    };
    memcpy(object.uuid, secret->config.uuid, sizeof(object.uuid));
    int r = state_put(secrets->daemon->state, &object, err);
    free(document);
    return r;
}

static void tell(struct secrets *secrets, const struct secret_config *config, int id, int event)
{
    struct wire_secret secret = {.usage_type = config->usage_type, .usage_id = config->usage_id};
    memcpy(secret.uuid, config->uuid, sizeof(secret.uuid));
    const REMOTE_RET(SECRET_EVENT_LIFECYCLE) lifecycle = {.secret = secret, .event = event};
    const REMOTE_RET(SECRET_EVENT_VALUE_CHANGED) changed = {.secret = secret};
    rpc_event_emit(secrets->daemon->server, RPC_EVENTS_SECRET, id, config->uuid,
                   id == VIR_SECRET_EVENT_ID_LIFECYCLE ? (const void *)&lifecycle : &changed);
}

/* ------------------------------------------------------------------ define, undefine */

/* With the lock. The rules by which a document may take the place of another. */
static int check_place(struct secrets *secrets, const struct secret_config *config,
                       const struct secret *old, struct kv_error *err)
{
    char text[UUID_TEXT];
    const struct secret *same = secret_by_usage(secrets, config->usage_type, config->usage_id);
    if (same && same != old) {
        uuid_format(same->config.uuid, text);
        return api_error_from(err, VIR_FROM_SECRET, VIR_ERR_INTERNAL_ERROR,
                              "a secret with UUID %s already defined for use with %s", text,
                              config->usage_id);
    }
    if (!old)
        return secrets->count < LIST_MAX
                   ? 0
                   : api_error_from(err, VIR_FROM_SECRET, VIR_ERR_OPERATION_FAILED,
                                    "%d secrets are defined, more are not possible", LIST_MAX);
    if (old->config.usage_type != config->usage_type ||
        strcmp(old->config.usage_id, config->usage_id) != 0) {
        uuid_format(config->uuid, text);
        return api_error_from(err, VIR_FROM_SECRET, VIR_ERR_INTERNAL_ERROR,
                              "a secret with UUID %s is already defined for use with %s", text,
                              old->config.usage_id);
    }
    if (old->config.private && !config->private)
        return api_error_from(err, VIR_FROM_SECRET, VIR_ERR_INTERNAL_ERROR,
                              "cannot change private flag on existing secret");
    return 0;
}

/* With the lock. Takes config over. */
static int put(struct secrets *secrets, struct secret_config *config, struct kv_error *err)
{
    struct secret *old = secret_by_uuid(secrets, config->uuid);
    int r = check_place(secrets, config, old, err);
    struct secret *secret = r < 0 ? NULL : old ? old : calloc(1, sizeof(*secret));
    if (!secret)
        return r < 0 ? r : no_memory(err);
    struct secret_config before = secret->config;
    secret->config = *config;
    r = store(secrets, secret, err);
    if (r == 0 && old && config->ephemeral && !before.ephemeral)
        r = state_delete(secrets->daemon->state, STATE_SECRET, config->uuid, err);
    if (r < 0) {
        secret->config = before;
        if (!old)
            free(secret);
        return r;
    }
    if (old) {
        secret_config_free(&before);
    } else {
        list_add_tail(&secrets->all, &secret->node);
        secrets->count++;
    }
    *config = (struct secret_config){.usage_id = NULL};
    return 0;
}

static int define_xml(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(SECRET_DEFINE_XML) *in = args;
    REMOTE_RET(SECRET_DEFINE_XML) *out = ret;
    struct secrets *secrets = rpc_call_opaque(call);
    struct secret_config config;
    int r = rpc_call_check_flags(call, VIR_FROM_SECRET, in->flags, VIR_SECRET_DEFINE_VALIDATE, err);
    if (r == 0)
        r = secret_config_parse(&config, in->xml, err);
    if (r < 0)
        return r;
    if (!config.has_uuid)
        uuid_generate(config.uuid);
    pthread_mutex_lock(&secrets->lock);
    r = fill(&out->secret, &config, err);
    if (r == 0)
        r = put(secrets, &config, err);
    if (r == 0)
        tell(secrets, &secret_by_uuid(secrets, out->secret.uuid)->config,
             VIR_SECRET_EVENT_ID_LIFECYCLE, VIR_SECRET_EVENT_DEFINED);
    pthread_mutex_unlock(&secrets->lock);
    secret_config_free(&config);
    return r;
}

static int undefine(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(SECRET_UNDEFINE) *in = args;
    struct secrets *secrets = rpc_call_opaque(call);
    pthread_mutex_lock(&secrets->lock);
    struct secret *secret = find(secrets, in->secret.uuid, err);
    int r = !secret ? -ENOENT
            : secret->config.ephemeral
                ? 0
                : state_delete(secrets->daemon->state, STATE_SECRET, secret->config.uuid, err);
    if (r == 0) {
        tell(secrets, &secret->config, VIR_SECRET_EVENT_ID_LIFECYCLE, VIR_SECRET_EVENT_UNDEFINED);
        list_del(&secret->node);
        secrets->count--;
        secret_wipe(secret->value, secret->value_len);
        secret_config_free(&secret->config);
        free(secret);
    }
    pthread_mutex_unlock(&secrets->lock);
    return r;
}

/* --------------------------------------------------------------- documents and values */

static int get_xml(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(SECRET_GET_XML_DESC) *in = args;
    REMOTE_RET(SECRET_GET_XML_DESC) *out = ret;
    struct secrets *secrets = rpc_call_opaque(call);
    if (rpc_call_check_flags(call, VIR_FROM_SECRET, in->flags, 0, err) < 0)
        return -EINVAL;
    pthread_mutex_lock(&secrets->lock);
    const struct secret *secret = find(secrets, in->secret.uuid, err);
    if (secret)
        out->xml = secret_config_format(&secret->config);
    pthread_mutex_unlock(&secrets->lock);
    return !secret ? -ENOENT : out->xml ? 0 : no_memory(err);
}

static int set_value(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(SECRET_SET_VALUE) *in = args;
    struct secrets *secrets = rpc_call_opaque(call);
    size_t len = in->value.value_len;
    if (rpc_call_check_flags(call, VIR_FROM_SECRET, in->flags, 0, err) < 0)
        return -EINVAL;
    uint8_t *value = malloc(len ? len : 1);
    if (!value)
        return no_memory(err);
    if (len)
        memcpy(value, in->value.value_val, len);
    pthread_mutex_lock(&secrets->lock);
    struct secret *secret = find(secrets, in->secret.uuid, err);
    int r = secret ? 0 : -ENOENT;
    if (secret) {
        uint8_t *before = secret->value;
        size_t before_len = secret->value_len;
        secret->value = value;
        secret->value_len = len;
        r = store(secrets, secret, err);
        value = r < 0 ? secret->value : before;
        len = r < 0 ? len : before_len;
        if (r < 0) {
            secret->value = before;
            secret->value_len = before_len;
        } else {
            tell(secrets, &secret->config, VIR_SECRET_EVENT_ID_VALUE_CHANGED, 0);
        }
    }
    pthread_mutex_unlock(&secrets->lock);
    secret_wipe(value, len);
    return r;
}

static int get_value(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(SECRET_GET_VALUE) *in = args;
    REMOTE_RET(SECRET_GET_VALUE) *out = ret;
    struct secrets *secrets = rpc_call_opaque(call);
    int r = 0;
    if (rpc_call_check_flags(call, VIR_FROM_SECRET, in->flags, 0, err) < 0)
        return -EINVAL;
    pthread_mutex_lock(&secrets->lock);
    const struct secret *secret = find(secrets, in->secret.uuid, err);
    if (!secret) {
        r = -ENOENT;
    } else if (secret->config.private) {
        r = api_error_from(err, VIR_FROM_SECRET, VIR_ERR_INVALID_SECRET, "secret is private");
    } else if (!secret->value) {
        r = api_error_from(err, VIR_FROM_SECRET, VIR_ERR_NO_SECRET, "secret does not have a value");
    } else {
        out->value.value_val = malloc(secret->value_len ? secret->value_len : 1);
        if (out->value.value_val) {
            memcpy(out->value.value_val, secret->value, secret->value_len);
            out->value.value_len = (u_int)secret->value_len;
        } else {
            r = no_memory(err);
        }
    }
    pthread_mutex_unlock(&secrets->lock);
    return r;
}

/* ----------------------------------------------------------------------------- finding */

static int lookup_uuid(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(SECRET_LOOKUP_BY_UUID) *in = args;
    REMOTE_RET(SECRET_LOOKUP_BY_UUID) *out = ret;
    struct secrets *secrets = rpc_call_opaque(call);
    pthread_mutex_lock(&secrets->lock);
    const struct secret *secret = find(secrets, in->uuid, err);
    int r = secret ? fill(&out->secret, &secret->config, err) : -ENOENT;
    pthread_mutex_unlock(&secrets->lock);
    return r;
}

static int lookup_usage(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(SECRET_LOOKUP_BY_USAGE) *in = args;
    REMOTE_RET(SECRET_LOOKUP_BY_USAGE) *out = ret;
    struct secrets *secrets = rpc_call_opaque(call);
    pthread_mutex_lock(&secrets->lock);
    const struct secret *secret = secret_by_usage(secrets, in->usage_type, in->usage_id);
    int r = secret ? fill(&out->secret, &secret->config, err)
                   : api_error_from(err, VIR_FROM_SECRET, VIR_ERR_NO_SECRET,
                                    "no secret with matching usage '%s'", in->usage_id);
    pthread_mutex_unlock(&secrets->lock);
    return r;
}

static int count(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    REMOTE_RET(CONNECT_NUM_OF_SECRETS) *out = ret;
    struct secrets *secrets = rpc_call_opaque(call);
    pthread_mutex_lock(&secrets->lock);
    out->num = (int)secrets->count;
    pthread_mutex_unlock(&secrets->lock);
    return 0;
}

static int list_uuids(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(CONNECT_LIST_SECRETS) *in = args;
    REMOTE_RET(CONNECT_LIST_SECRETS) *out = ret;
    struct secrets *secrets = rpc_call_opaque(call);
    int r = 0;
    if (in->maxuuids < 0 || in->maxuuids > LIST_MAX)
        return api_error_from(err, VIR_FROM_SECRET, VIR_ERR_INVALID_ARG, "too many secrets '%d'",
                              in->maxuuids);
    out->uuids.uuids_val = calloc((size_t)in->maxuuids + 1, sizeof(wire_text));
    if (!out->uuids.uuids_val)
        return no_memory(err);
    pthread_mutex_lock(&secrets->lock);
    list_for_each (node, &secrets->all) {
        if (out->uuids.uuids_len == (u_int)in->maxuuids)
            break;
        char *text = malloc(UUID_TEXT);
        if (!text) {
            r = no_memory(err);
            break;
        }
        uuid_format(list_entry(node, struct secret, node)->config.uuid, text);
        out->uuids.uuids_val[out->uuids.uuids_len++] = text;
    }
    pthread_mutex_unlock(&secrets->lock);
    return r;
}

/* Each pair of flags leaves out those that are not so; both or none leave out nothing. */
static bool is_wanted(const struct secret_config *config, unsigned flags)
{
    unsigned kind =
        flags & (VIR_CONNECT_LIST_SECRETS_EPHEMERAL | VIR_CONNECT_LIST_SECRETS_NO_EPHEMERAL);
    unsigned access =
        flags & (VIR_CONNECT_LIST_SECRETS_PRIVATE | VIR_CONNECT_LIST_SECRETS_NO_PRIVATE);
    unsigned kind_is = config->ephemeral ? VIR_CONNECT_LIST_SECRETS_EPHEMERAL
                                         : VIR_CONNECT_LIST_SECRETS_NO_EPHEMERAL;
    unsigned access_is =
        config->private ? VIR_CONNECT_LIST_SECRETS_PRIVATE : VIR_CONNECT_LIST_SECRETS_NO_PRIVATE;
    return (!kind || (kind & kind_is)) && (!access || (access & access_is));
}

static int list_all(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(CONNECT_LIST_ALL_SECRETS) *in = args;
    REMOTE_RET(CONNECT_LIST_ALL_SECRETS) *out = ret;
    struct secrets *secrets = rpc_call_opaque(call);
    int r = rpc_call_check_flags(call, VIR_FROM_SECRET, in->flags, 15, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&secrets->lock);
    out->secrets.secrets_val = calloc(secrets->count + 1, sizeof(wire_secret));
    if (!out->secrets.secrets_val)
        r = no_memory(err);
    list_for_each (node, &secrets->all) {
        const struct secret *secret = list_entry(node, struct secret, node);
        if (r < 0 || !is_wanted(&secret->config, in->flags))
            continue;
        out->result++;
        if (in->want_list)
            r = fill(&out->secrets.secrets_val[out->secrets.secrets_len++], &secret->config, err);
    }
    pthread_mutex_unlock(&secrets->lock);
    return r;
}

const struct rpc_handler secret_handlers[] = {
    {REMOTE_PROC_CONNECT_NUM_OF_SECRETS, count, 0},
    {REMOTE_PROC_CONNECT_LIST_SECRETS, list_uuids, 0},
    {REMOTE_PROC_CONNECT_LIST_ALL_SECRETS, list_all, 0},
    {REMOTE_PROC_SECRET_LOOKUP_BY_UUID, lookup_uuid, 0},
    {REMOTE_PROC_SECRET_LOOKUP_BY_USAGE, lookup_usage, 0},
    {REMOTE_PROC_SECRET_DEFINE_XML, define_xml, 0},
    {REMOTE_PROC_SECRET_UNDEFINE, undefine, 0},
    {REMOTE_PROC_SECRET_GET_XML_DESC, get_xml, 0},
    {REMOTE_PROC_SECRET_SET_VALUE, set_value, 0},
    {REMOTE_PROC_SECRET_GET_VALUE, get_value, 0},
    {0},
};
