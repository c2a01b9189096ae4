/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Networks, filters, devices, interfaces, secrets, pools, volumes, snapshots by their names. */
#include "cli/objects.h"

#include <libvirt/virterror.h>

#include "cli/args.h"

#define UUID_TEXT_LEN 36
#define TEXT(text) ((char *)(uintptr_t)(text))

static const char *option_text(struct cli *cli, const char *option)
{
    const char *text = NULL;
    return arg_text(cli, option, &text) > 0 ? text : NULL;
}

/* A call whose argument is a UUID. */
#define CALL_UUID(cli, NAME, uuid_)                                        \
    ({                                                                     \
        REMOTE_ARGS(NAME) in_;                                             \
        memcpy(in_.uuid, uuid_, sizeof(in_.uuid));                         \
        const struct kvasir_procedure by_uuid_ = kvasir_describe_##NAME(); \
        (REMOTE_RET(NAME) *)cli_call(cli, &by_uuid_, &in_);                \
    })

static bool is_uuid(const char *text, wire_uuid uuid)
{
    return strlen(text) == UUID_TEXT_LEN && uuid_from_text(text, uuid);
}

const wire_network *lookup_network(struct cli *cli, bool by_uuid)
{
    const char *name = option_text(cli, "network");
    wire_uuid uuid;
    if (!name)
        return NULL;
    if (is_uuid(name, uuid)) {
        const REMOTE_RET(NETWORK_LOOKUP_BY_UUID) *found =
            CALL_UUID(cli, NETWORK_LOOKUP_BY_UUID, uuid);
        if (found)
            return &found->net;
    }
    const REMOTE_RET(NETWORK_LOOKUP_BY_NAME) *found =
        by_uuid ? NULL : CALL(cli, NETWORK_LOOKUP_BY_NAME, .name = TEXT(name));
    if (found)
        return &found->net;
    cli_error(cli, "failed to get network '%s'", name);
    return NULL;
}

const wire_nwfilter *lookup_nwfilter(struct cli *cli)
{
    const char *name = option_text(cli, "nwfilter");
    wire_uuid uuid;
    if (!name)
        return NULL;
    if (is_uuid(name, uuid)) {
        const REMOTE_RET(NWFILTER_LOOKUP_BY_UUID) *found =
            CALL_UUID(cli, NWFILTER_LOOKUP_BY_UUID, uuid);
        if (found)
            return &found->nwfilter;
    }
    const REMOTE_RET(NWFILTER_LOOKUP_BY_NAME) *found =
        CALL(cli, NWFILTER_LOOKUP_BY_NAME, .name = TEXT(name));
    if (found)
        return &found->nwfilter;
    cli_error(cli, "failed to get nwfilter '%s'", name);
    return NULL;
}

const wire_binding *lookup_binding(struct cli *cli)
{
    const char *name = option_text(cli, "binding");
    const REMOTE_RET(NWFILTER_BINDING_LOOKUP_BY_PORT_DEV) *found =
        name ? CALL(cli, NWFILTER_BINDING_LOOKUP_BY_PORT_DEV, .name = TEXT(name)) : NULL;
    if (found)
        return &found->nwfilter;
    if (name)
        cli_error(cli, "failed to get nwfilter binding '%s'", name);
    return NULL;
}

const wire_snapshot *lookup_snapshot(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const char *name = domain ? option_text(cli, "snapshotname") : NULL;
    if (domain && !name) {
        const REMOTE_RET(DOMAIN_SNAPSHOT_CURRENT) *current =
            arg_on(cli, "current") ? CALL(cli, DOMAIN_SNAPSHOT_CURRENT, .dom = *domain) : NULL;
        if (!arg_on(cli, "current"))
            cli_error(cli, "--%s or --current is required", "snapshotname");
        return current ? &current->snap : NULL;
    }
    const REMOTE_RET(DOMAIN_SNAPSHOT_LOOKUP_BY_NAME) *found =
        name ? CALL(cli, DOMAIN_SNAPSHOT_LOOKUP_BY_NAME, .dom = *domain, .name = TEXT(name)) : NULL;
    return found ? &found->snap : NULL;
}

const wire_checkpoint *lookup_checkpoint(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const char *name = domain ? option_text(cli, "checkpointname") : NULL;
    if (domain && !name)
        cli_error(cli, "--%s is required", "checkpointname");
    const REMOTE_RET(DOMAIN_CHECKPOINT_LOOKUP_BY_NAME) *found =
        name ? CALL(cli, DOMAIN_CHECKPOINT_LOOKUP_BY_NAME, .dom = *domain, .name = TEXT(name))
             : NULL;
    return found ? &found->checkpoint : NULL;
}

const wire_device *lookup_node_device(struct cli *cli)
{
    const char *name = option_text(cli, "device");
    if (!name)
        return NULL;
    const REMOTE_RET(NODE_DEVICE_LOOKUP_BY_NAME) *found =
        CALL(cli, NODE_DEVICE_LOOKUP_BY_NAME, .name = TEXT(name));
    if (found)
        return &found->dev;
    cli_error(cli, "Could not find matching device '%s'", name);
    return NULL;
}

static bool is_mac(const char *text)
{
    return strlen(text) == 17 && text[2] == ':' && text[5] == ':';
}

const wire_iface *lookup_interface_by(struct cli *cli, const char *option, bool name, bool mac)
{
    const char *text = option_text(cli, option);
    if (!text)
        return NULL;
    const REMOTE_RET(INTERFACE_LOOKUP_BY_NAME) *found = NULL;
    if (name)
        found = CALL(cli, INTERFACE_LOOKUP_BY_NAME, .name = TEXT(text));
    if (!found && mac && (!name || is_mac(text)))
        found = CALL(cli, INTERFACE_LOOKUP_BY_MAC_STRING, .mac = TEXT(text));
    if (found)
        return &found->iface;
    cli_error(cli, "failed to get interface '%s'", text);
    return NULL;
}

const wire_iface *lookup_interface(struct cli *cli)
{
    return lookup_interface_by(cli, arg_raw(cli, "interface") ? "interface" : "bridge", true, true);
}

const wire_secret *lookup_secret(struct cli *cli)
{
    const char *text = option_text(cli, "secret");
    wire_uuid uuid;
    if (!text)
        return NULL;
    if (!uuid_from_text(text, uuid)) {
        cli_error(cli, "failed to get secret '%s'", text);
        cli_fail(cli, VIR_ERR_INVALID_ARG,
                 "uuidstr in virSecretLookupByUUIDString must be a valid UUID");
        return NULL;
    }
    const REMOTE_RET(SECRET_LOOKUP_BY_UUID) *found = CALL_UUID(cli, SECRET_LOOKUP_BY_UUID, uuid);
    if (found)
        return &found->secret;
    cli_error(cli, "failed to get secret '%s'", text);
    return NULL;
}

const wire_pool *lookup_pool_by(struct cli *cli, const char *option, bool name, bool by_uuid)
{
    const char *text = option_text(cli, option);
    wire_uuid uuid;
    if (!text)
        return NULL;
    const REMOTE_RET(STORAGE_POOL_LOOKUP_BY_NAME) *found = NULL;
    if (by_uuid && is_uuid(text, uuid))
        found = CALL_UUID(cli, STORAGE_POOL_LOOKUP_BY_UUID, uuid);
    if (!found && name)
        found = CALL(cli, STORAGE_POOL_LOOKUP_BY_NAME, .name = TEXT(text));
    if (found)
        return &found->pool;
    cli_error(cli, "failed to get pool '%s'", text);
    return NULL;
}

const wire_pool *lookup_pool(struct cli *cli, const char *option)
{
    return lookup_pool_by(cli, option, true, true);
}

/* A volume found by its key or path, but in another pool than asked for. */
static bool in_pool(struct cli *cli, const wire_volume *volume, const wire_pool *pool,
                    const char *text)
{
    if (!pool || strcmp(volume->pool, pool->name) == 0)
        return true;
    cli_forget_error(cli);
    cli_error(cli, "Requested volume '%s' is not in pool '%s'", text, pool->name);
    return false;
}

const wire_volume *lookup_volume_by(struct cli *cli, const char *option, const char *pool_option,
                                    bool name, bool key, bool path)
{
    const char *text = option_text(cli, option);
    if (!text)
        return NULL;
    const wire_pool *pool = NULL;
    if (pool_option && arg_raw(cli, pool_option)) {
        pool = lookup_pool(cli, pool_option);
        if (!pool)
            return NULL;
        const REMOTE_RET(STORAGE_POOL_IS_ACTIVE) *active =
            CALL(cli, STORAGE_POOL_IS_ACTIVE, .pool = *pool);
        if (!active || active->active != 1) {
            cli_error(cli, "pool '%s' is not active", arg_raw(cli, pool_option));
            return NULL;
        }
    }
    const REMOTE_RET(STORAGE_VOL_LOOKUP_BY_NAME) *found = NULL;
    if (pool && name)
        found = CALL(cli, STORAGE_VOL_LOOKUP_BY_NAME, .pool = *pool, .name = TEXT(text));
    if (!found && key)
        found = CALL(cli, STORAGE_VOL_LOOKUP_BY_KEY, .key = TEXT(text));
    if (!found && path)
        found = CALL(cli, STORAGE_VOL_LOOKUP_BY_PATH, .path = TEXT(text));
    if (found)
        return in_pool(cli, &found->volume, pool, text) ? &found->volume : NULL;
    if (pool || !pool_option)
        cli_error(cli, "failed to get vol '%s'", text);
    else
        cli_error(cli, "failed to get vol '%s', specifying --%s might help", text, pool_option);
    return NULL;
}

const wire_volume *lookup_volume(struct cli *cli, const char *option, const char *pool_option)
{
    return lookup_volume_by(cli, option, pool_option, true, true, true);
}
