/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures that join a stream with a guest's console or channel. */
#include <errno.h>
#include <string.h>

#include "daemon/domain/call.h"
#include "daemon/domain/live.h"
#include "rpc/stream.h"

/* Copies the alias of the one wanted: by its alias, or the first one. */
static int find_chardev(const struct model_chardev *list, unsigned count, const char *name,
                        bool by_target, char alias[64])
{
    for (unsigned i = 0; i < count; i++) {
        const char *own = by_target ? list[i].name : NULL;
        if (!list[i].device.alias)
            continue;
        if (!name || strcmp(list[i].device.alias, name) == 0 || (own && strcmp(own, name) == 0)) {
            snprintf(alias, 64, "%s", list[i].device.alias);
            return 0;
        }
    }
    return -ENOENT;
}

static int open_stream(struct rpc_call *call, struct domain *domain, const char *name, bool channel,
                       unsigned flags, struct kv_error *err)
{
    cleanup_live struct domain_live *live = domain_live_get(domain, err);
    if (!live)
        return -EINVAL;
    char alias[64];
    pthread_mutex_lock(&domain->lock);
    const struct model_domain *d = live->document;
    int ret = -ENOENT;
    if (channel) {
        ret = find_chardev(d->channels, d->channel_count, name, true, alias);
    } else {
        ret = find_chardev(d->consoles, d->console_count, name, false, alias);
        if (ret)
            ret = find_chardev(d->serials, d->serial_count, name, false, alias);
    }
    pthread_mutex_unlock(&domain->lock);
    if (ret)
        return channel ? api_error(err, VIR_ERR_INTERNAL_ERROR, "cannot find channel %s",
                                   name ? name : "")
                       : api_error(err, VIR_ERR_INTERNAL_ERROR, "cannot find character device %s",
                                   name ? name : "");
    int fd = -1;
    ret = machine_open_console(live->machine, alias, flags, &fd, err);
    return ret ? ret : rpc_stream_join_fd(call, fd, NULL, NULL, NULL, err);
}

CALL(open_console)
{
    const REMOTE_ARGS(DOMAIN_OPEN_CONSOLE) *in = args;
    if (call_check_flags(call, in->flags, VIR_DOMAIN_CONSOLE_FORCE | VIR_DOMAIN_CONSOLE_SAFE, err))
        return -EINVAL;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    unsigned flags = (in->flags & VIR_DOMAIN_CONSOLE_FORCE ? MACHINE_CONSOLE_FORCE : 0) |
                     (in->flags & VIR_DOMAIN_CONSOLE_SAFE ? MACHINE_CONSOLE_SAFE : 0);
    return open_stream(call, domain, in->dev_name ? *in->dev_name : NULL, false, flags, err);
}

CALL(open_channel)
{
    const REMOTE_ARGS(DOMAIN_OPEN_CHANNEL) *in = args;
    if (call_check_flags(call, in->flags, VIR_DOMAIN_CHANNEL_FORCE, err))
        return -EINVAL;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    unsigned flags = in->flags & VIR_DOMAIN_CHANNEL_FORCE ? MACHINE_CONSOLE_FORCE : 0;
    return open_stream(call, domain, in->name ? *in->name : NULL, true, flags, err);
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_OPEN_CONSOLE, open_console, 0},
    {REMOTE_PROC_DOMAIN_OPEN_CHANNEL, open_channel, 0},
};
const struct call_rows call_console_rows = {rows, ARRAY_SIZE(rows)};
