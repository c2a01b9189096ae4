/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports of Open vSwitch, through ovs-vsctl(8). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "daemon/machine/net/net.h"
#include "daemon/machine/process.h"
#include "model/api_error.h"

#define ARGUMENTS_MAX 40
#define PATIENCE_MS 15000 /* ovs-vsctl itself gives up earlier */

struct arguments {
    const char *argv[ARGUMENTS_MAX + 1];
    char *owned[ARGUMENTS_MAX];
    unsigned count, owned_count;
    bool failed;
};

static void add(struct arguments *arguments, const char *text)
{
    if (arguments->count < ARGUMENTS_MAX)
        arguments->argv[arguments->count++] = text;
    else
        arguments->failed = true;
}

__attribute__((format(printf, 2, 3))) static void add_text(struct arguments *arguments,
                                                           const char *fmt, ...)
{
    va_list ap;
    char *text;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0) {
        arguments->failed = true;
        return;
    }
    arguments->owned[arguments->owned_count++] = text;
    add(arguments, text);
}

static void free_arguments(struct arguments *arguments)
{
    for (unsigned i = 0; i < arguments->owned_count; i++)
        free(arguments->owned[i]);
}

static struct arguments begin(void)
{
    struct arguments arguments = {.count = 0};
    add(&arguments, "ovs-vsctl");
    add(&arguments, "--timeout=10");
    return arguments;
}

static int run(struct arguments *arguments, struct kv_error *err)
{
    return arguments->failed ? api_error(err, VIR_ERR_NO_MEMORY, NULL)
                             : process_run(arguments->argv, PATIENCE_MS, err);
}

/* The database's words for VLANs: an access port, or a trunk with or without a native VLAN. */
static void add_vlans(struct arguments *arguments, const struct net_ovs_spec *spec)
{
    struct buffer tags = BUFFER_INIT(0);
    if (!spec->vlan_count)
        return;
    for (unsigned i = 0; i < spec->vlan_count; i++)
        buffer_printf(&tags, "%s%u", i ? "," : "", spec->vlans[i]);
    buffer_append(&tags, "", 1);
    const char *list = (const char *)buffer_bytes(&tags);
    if (spec->native_vlan)
        add_text(arguments, "tag=%u", spec->native_vlan);
    if (spec->trunk || spec->vlan_count > 1)
        add_text(arguments, "trunks=%s", list);
    else
        add_text(arguments, "tag=%s", list);
    buffer_free(&tags);
}

static void add_id(struct arguments *arguments, const char *name, const char *value)
{
    if (!value)
        return;
    add_text(arguments, "external-ids:%s=\"%s\"", name, value);
}

int net_add_ovs_port(const struct net_ovs_spec *spec, struct kv_error *err)
{
    struct arguments arguments = begin();
    const char *const head[] = {"--", "--if-exists", "del-port",   spec->name,
                                "--", "add-port",    spec->bridge, spec->name};
    for (unsigned i = 0; i < ARRAY_SIZE(head); i++)
        add(&arguments, head[i]);
    add_vlans(&arguments, spec);
    const char *const set[] = {"--", "set", "Interface", spec->name};
    for (unsigned i = 0; i < ARRAY_SIZE(set); i++)
        add(&arguments, set[i]);
    add_id(&arguments, "attached-mac", spec->mac);
    add_id(&arguments, "iface-id", spec->interface_id);
    add_id(&arguments, "vm-id", spec->machine_uuid);
    add_id(&arguments, "port-profile", spec->profile_id);
    add_id(&arguments, "iface-status", "active");
    int rc = run(&arguments, err);
    free_arguments(&arguments);
    if (rc < 0)
        kv_error_prefix(err, "port '%s' of Open vSwitch bridge '%s'", spec->name, spec->bridge);
    return rc;
}

void net_remove_ovs_port(const char *name)
{
    struct kv_error err = {0};
    struct arguments arguments = begin();
    add(&arguments, "--if-exists");
    add(&arguments, "del-port");
    add(&arguments, name);
    if (run(&arguments, &err) < 0)
        log_warning("port '%s' of Open vSwitch is left behind: %s", name, err.message);
    free_arguments(&arguments);
}
