/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures that find domains and list them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/domain/call.h"
#include "rpc/reply.h"

static int found(struct domain *domain, wire_domain *out, struct kv_error *err)
{
    if (wire_domain_fill(out, domain))
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    return 0;
}

CALL(lookup_by_id)
{
    const REMOTE_ARGS(DOMAIN_LOOKUP_BY_ID) *in = args;
    REMOTE_RET(DOMAIN_LOOKUP_BY_ID) *out = ret;
    cleanup_domain struct domain *domain = domains_by_id(call_domains(call), in->id);
    if (!domain)
        return api_error(err, VIR_ERR_NO_DOMAIN, "no domain with matching id %d", in->id);
    return found(domain, &out->dom, err);
}

CALL(lookup_by_name)
{
    const REMOTE_ARGS(DOMAIN_LOOKUP_BY_NAME) *in = args;
    REMOTE_RET(DOMAIN_LOOKUP_BY_NAME) *out = ret;
    cleanup_domain struct domain *domain = domains_by_name(call_domains(call), in->name);
    if (!domain)
        return api_error(err, VIR_ERR_NO_DOMAIN, "no domain with matching name '%s'", in->name);
    return found(domain, &out->dom, err);
}

CALL(lookup_by_uuid)
{
    const REMOTE_ARGS(DOMAIN_LOOKUP_BY_UUID) *in = args;
    REMOTE_RET(DOMAIN_LOOKUP_BY_UUID) *out = ret;
    const uint8_t *uuid = (const uint8_t *)in->uuid;
    char text[40];
    cleanup_domain struct domain *domain = domains_by_uuid(call_domains(call), uuid);
    if (!domain)
        return api_error(err, VIR_ERR_NO_DOMAIN, "no domain with matching uuid '%s'",
                         uuid_text(uuid, text));
    return found(domain, &out->dom, err);
}

/* VIR_CONNECT_LIST_DOMAINS_* come in groups: of each group that has a flag set, one must fit. */
static unsigned facts_of(const struct domain *d)
{
    unsigned state = d->state == VIR_DOMAIN_RUNNING   ? VIR_CONNECT_LIST_DOMAINS_RUNNING
                     : d->state == VIR_DOMAIN_PAUSED  ? VIR_CONNECT_LIST_DOMAINS_PAUSED
                     : d->state == VIR_DOMAIN_SHUTOFF ? VIR_CONNECT_LIST_DOMAINS_SHUTOFF
                                                      : VIR_CONNECT_LIST_DOMAINS_OTHER;
    unsigned fits = state | VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE |
                    VIR_CONNECT_LIST_DOMAINS_NO_SNAPSHOT | VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT;
    fits |= d->live ? VIR_CONNECT_LIST_DOMAINS_ACTIVE : VIR_CONNECT_LIST_DOMAINS_INACTIVE;
    fits |=
        d->persistent ? VIR_CONNECT_LIST_DOMAINS_PERSISTENT : VIR_CONNECT_LIST_DOMAINS_TRANSIENT;
    fits |=
        d->autostart ? VIR_CONNECT_LIST_DOMAINS_AUTOSTART : VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART;
    return fits;
}

static const unsigned groups[] = {
    VIR_CONNECT_LIST_DOMAINS_ACTIVE | VIR_CONNECT_LIST_DOMAINS_INACTIVE,
    VIR_CONNECT_LIST_DOMAINS_PERSISTENT | VIR_CONNECT_LIST_DOMAINS_TRANSIENT,
    VIR_CONNECT_LIST_DOMAINS_RUNNING | VIR_CONNECT_LIST_DOMAINS_PAUSED |
        VIR_CONNECT_LIST_DOMAINS_SHUTOFF | VIR_CONNECT_LIST_DOMAINS_OTHER,
    VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE | VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE,
    VIR_CONNECT_LIST_DOMAINS_AUTOSTART | VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART,
    VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT | VIR_CONNECT_LIST_DOMAINS_NO_SNAPSHOT,
    VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT | VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT,
};

bool domain_fits_list(const struct domain *domain, unsigned flags)
{
    if (!flags)
        return true;
    unsigned fits = facts_of(domain);
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
        if ((flags & groups[i]) && !(flags & groups[i] & fits))
            return false;
    return true;
}

unsigned domain_list_flags(void)
{
    unsigned all = 0;
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
        all |= groups[i];
    return all;
}

/* Goes through the visible domains that fit, with the list's and each domain's lock. */
static int each(struct domains *domains, unsigned flags,
                int (*fn)(void *opaque, const struct domain *domain), void *opaque)
{
    int ret = 0;
    pthread_mutex_lock(&domains->lock);
    for (size_t i = 0; i < domains->count; i++) {
        struct domain *d = domains->all[i];
        domain_fetch_ahead(domains->all, domains->count, i);
        pthread_mutex_lock(&d->lock);
        if (d->visible && domain_fits_list(d, flags))
            ret = fn(opaque, d);
        pthread_mutex_unlock(&d->lock);
        if (ret)
            break;
    }
    pthread_mutex_unlock(&domains->lock);
    return ret;
}

static int count_one(void *opaque, const struct domain *domain)
{
    ++*(unsigned *)opaque;
    return 0;
}

/* How many domains there are at most, invisible ones counted. */
static size_t count_all(struct domains *domains)
{
    pthread_mutex_lock(&domains->lock);
    size_t count = domains->count;
    pthread_mutex_unlock(&domains->lock);
    return count;
}

#define LIST_MAX 16384 /* of the protocol */

struct bounded {
    size_t max;
    int (*fn)(void *opaque, const struct domain *domain);
    void *opaque;
};

static int at_most(void *opaque, const struct domain *domain)
{
    struct bounded *b = opaque;
    if (b->max == 0)
        return 1;
    b->max--;
    return b->fn(b->opaque, domain);
}

/* Runs fn for at most max domains. Negative when fn failed. */
static int each_bounded(struct domains *domains, unsigned flags, size_t max,
                        int (*fn)(void *opaque, const struct domain *domain), void *opaque)
{
    struct bounded b = {max, fn, opaque};
    int result = each(domains, flags, at_most, &b);
    return result < 0 ? result : 0;
}

struct listing {
    struct rpc_reply *reply;
    unsigned count;
};

static int add_domain(void *opaque, const struct domain *domain)
{
    struct listing *listing = opaque;
    reply_domain(listing->reply, domain->name, domain->uuid, domain->id);
    listing->count++;
    return 0;
}

CALL(list_all)
{
    const REMOTE_ARGS(CONNECT_LIST_ALL_DOMAINS) *in = args;
    REMOTE_RET(CONNECT_LIST_ALL_DOMAINS) *out = ret;
    struct domains *domains = call_domains(call);
    if (call_check_flags(call, in->flags, domain_list_flags(), err))
        return -EINVAL;
    if (!in->want_list)
        return each(domains, in->flags, count_one, &out->result);
    size_t count = count_all(domains);
    if (count > LIST_MAX)
        return api_error(err, VIR_ERR_RPC, "Too many domains '%zu' for limit '%d'", count,
                         LIST_MAX);
    struct listing listing = {.reply = rpc_call_reply(call)};
    size_t place = reply_place(listing.reply);
    each_bounded(domains, in->flags, count, add_domain, &listing);
    reply_u32_at(listing.reply, place, listing.count);
    reply_u32(listing.reply, listing.count);
    return 0;
}

CALL(num_of_domains)
{
    REMOTE_RET(CONNECT_NUM_OF_DOMAINS) *out = ret;
    unsigned count = 0;
    each(call_domains(call), VIR_CONNECT_LIST_DOMAINS_ACTIVE, count_one, &count);
    out->num = (int)count;
    return 0;
}

CALL(num_of_defined_domains)
{
    REMOTE_RET(CONNECT_NUM_OF_DEFINED_DOMAINS) *out = ret;
    unsigned count = 0;
    each(call_domains(call), VIR_CONNECT_LIST_DOMAINS_INACTIVE, count_one, &count);
    out->num = (int)count;
    return 0;
}

static int add_id(void *opaque, const struct domain *domain)
{
    REMOTE_RET(CONNECT_LIST_DOMAINS) *out = opaque;
    out->ids.ids_val[out->ids.ids_len++] = domain->id;
    return 0;
}

static int check_max(int max, struct kv_error *err)
{
    if (max >= 0 && max <= LIST_MAX)
        return 0;
    return api_error(err, VIR_ERR_RPC, "%s",
                     max < 0 ? "a negative number of domains is asked for"
                             : "more domains are asked for than the protocol lists");
}

CALL(list_domains)
{
    const REMOTE_ARGS(CONNECT_LIST_DOMAINS) *in = args;
    REMOTE_RET(CONNECT_LIST_DOMAINS) *out = ret;
    if (check_max(in->maxids, err))
        return -EINVAL;
    out->ids.ids_val = calloc((size_t)in->maxids + 1, sizeof(int));
    if (!out->ids.ids_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    return each_bounded(call_domains(call), VIR_CONNECT_LIST_DOMAINS_ACTIVE, (size_t)in->maxids,
                        add_id, out);
}

static int add_name(void *opaque, const struct domain *domain)
{
    REMOTE_RET(CONNECT_LIST_DEFINED_DOMAINS) *out = opaque;
    wire_text *name = &out->names.names_val[out->names.names_len];
    *name = strdup(domain->name);
    if (!*name)
        return -1;
    out->names.names_len++;
    return 0;
}

CALL(list_defined_domains)
{
    const REMOTE_ARGS(CONNECT_LIST_DEFINED_DOMAINS) *in = args;
    REMOTE_RET(CONNECT_LIST_DEFINED_DOMAINS) *out = ret;
    if (check_max(in->maxnames, err))
        return -EINVAL;
    out->names.names_val = calloc((size_t)in->maxnames + 1, sizeof(wire_text));
    if (!out->names.names_val || each_bounded(call_domains(call), VIR_CONNECT_LIST_DOMAINS_INACTIVE,
                                              (size_t)in->maxnames, add_name, out))
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    return 0;
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_LOOKUP_BY_ID, lookup_by_id, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_LOOKUP_BY_NAME, lookup_by_name, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_LOOKUP_BY_UUID, lookup_by_uuid, RPC_INLINE},
    {REMOTE_PROC_CONNECT_LIST_ALL_DOMAINS, list_all, 0},
    {REMOTE_PROC_CONNECT_NUM_OF_DOMAINS, num_of_domains, RPC_INLINE},
    {REMOTE_PROC_CONNECT_NUM_OF_DEFINED_DOMAINS, num_of_defined_domains, RPC_INLINE},
    {REMOTE_PROC_CONNECT_LIST_DOMAINS, list_domains, 0},
    {REMOTE_PROC_CONNECT_LIST_DEFINED_DOMAINS, list_defined_domains, 0},
};
const struct call_rows call_list_rows = {rows, ARRAY_SIZE(rows)};
