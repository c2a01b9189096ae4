/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists interfaces from sysfs and describes them; see interface.h. */
#include "daemon/interface/interface.h"

#include <dirent.h>
#include <errno.h>
#include <libvirt/libvirt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/util.h"
#include "daemon/host/files.h"
#include "model/api_error.h"
#include "model/xml.h"

#define NET "/sys/class/net"
#define NAME_SIZE 64
#define DEPTH_MAX 4 /* bridges of bonds of VLANs ... */

struct interface {
    char name[NAME_SIZE], mac[NAME_SIZE];
    bool active;
};

static int no_memory(struct kv_error *err)
{
    return api_error_from(err, VIR_FROM_INTERFACE, VIR_ERR_NO_MEMORY, NULL);
}

static bool is_up(const char *name)
{
    char state[32];
    return file_read_line(state, sizeof(state), NET "/%s/operstate", name) == 0 &&
           (strcmp(state, "up") == 0 || strcmp(state, "unknown") == 0);
}

/* All of them, by name. *out is free()d by the caller. Returns how many, or -errno. */
static int list(struct interface **out, struct kv_error *err)
{
    struct dirent **entries;
    int n = scandir(NET, &entries, NULL, alphasort), count = 0;
    if (n < 0)
        return api_error_from(err, VIR_FROM_INTERFACE, VIR_ERR_SYSTEM_ERROR, NET ": %s",
                              strerror(errno));
    struct interface *all = calloc((size_t)n + 1, sizeof(*all));
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        char kind[16];
        if (all && *name != '.' && strlen(name) < NAME_SIZE &&
            file_read_line(kind, sizeof(kind), NET "/%s/type", name) == 0) {
            struct interface *one = &all[count++];
            snprintf(one->name, sizeof(one->name), "%s", name);
            file_read_line(one->mac, sizeof(one->mac), NET "/%s/address", name);
            one->active = is_up(name);
        }
        free(entries[i]);
    }
    free(entries);
    *out = all;
    return all ? count : no_memory(err);
}

/* The interface of that name, which came from a client: only names that the kernel lists are used
 * in paths. */
static int find(const char *name, struct interface *out, struct kv_error *err)
{
    struct interface *all;
    int n = list(&all, err), r = -ENOENT;
    if (n < 0)
        return n;
    for (int i = 0; i < n && r < 0; i++) {
        if (strcmp(all[i].name, name) == 0) {
            *out = all[i];
            r = 0;
        }
    }
    free(all);
    return r == 0 ? 0
                  : api_error_from(err, VIR_FROM_INTERFACE, VIR_ERR_NO_INTERFACE,
                                   "couldn't find interface named '%s'", name);
}

static int fill(wire_iface *out, const struct interface *from, struct kv_error *err)
{
    out->name = strdup(from->name);
    out->mac = strdup(from->mac);
    return out->name && out->mac ? 0 : no_memory(err);
}

/* ------------------------------------------------------------------ descriptions */

static bool has(const char *name, const char *part)
{
    char path[256];
    snprintf(path, sizeof(path), NET "/%s/%s", name, part);
    return access(path, F_OK) == 0;
}

static int describe(struct buffer *out, const char *name, unsigned depth);

/* The members of a bridge or bond: each is described inside. */
static int describe_members(struct buffer *out, const char *name, const char *element,
                            const char *folder, unsigned depth)
{
    char path[256];
    struct dirent **entries;
    int r = buffer_printf(out, "%*s<%s>\n", (int)depth * 4 + 2, "", element);
    snprintf(path, sizeof(path), NET "/%s/%s", name, folder);
    int n = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        const char *member = entries[i]->d_name;
        if (strncmp(member, "lower_", 6) == 0)
            member += 6;
        else if (strcmp(folder, "brif") != 0)
            member = ".";
        if (r == 0 && *member != '.' && depth < DEPTH_MAX)
            r = describe(out, member, depth + 1);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return r < 0 ? r : buffer_printf(out, "%*s</%s>\n", (int)depth * 4 + 2, "", element);
}

static int describe(struct buffer *out, const char *name, unsigned depth)
{
    int indent = (int)depth * 4;
    char mac[NAME_SIZE], state[32];
    bool bridge = has(name, "bridge"), bond = has(name, "bonding");
    uint64_t mtu = file_read_number(1500, NET "/%s/mtu", name);
    uint64_t speed = file_read_number(0, NET "/%s/speed", name);
    file_read_line(mac, sizeof(mac), NET "/%s/address", name);
    file_read_line(state, sizeof(state), NET "/%s/operstate", name);
    int r = buffer_printf(out, "%*s<interface type='%s' name='", indent, "",
                          bridge ? "bridge"
                          : bond ? "bond"
                                 : "ethernet");
    if (r == 0)
        r = xml_escape(out, name);
    if (r == 0)
        r = buffer_printf(out, "'>\n%*s<mac address='%s'/>\n%*s<mtu size='%llu'/>\n", indent + 2,
                          "", mac, indent + 2, "", (unsigned long long)mtu);
    if (r == 0 && speed && speed < 10000000)
        r = buffer_printf(out, "%*s<link speed='%llu' state='%s'/>\n", indent + 2, "",
                          (unsigned long long)speed, state);
    else if (r == 0)
        r = buffer_printf(out, "%*s<link state='%s'/>\n", indent + 2, "", state);
    if (r == 0 && bridge)
        r = describe_members(out, name, "bridge", "brif", depth);
    else if (r == 0 && bond)
        r = describe_members(out, name, "bond", "", depth);
    return r < 0 ? r : buffer_printf(out, "%*s</interface>\n", indent, "");
}

/* ----------------------------------------------------------------------- handlers */

static int get_xml(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(INTERFACE_GET_XML_DESC) *in = args;
    REMOTE_RET(INTERFACE_GET_XML_DESC) *out = ret;
    struct interface found;
    struct buffer text = BUFFER_INIT(0);
    if (rpc_call_check_flags(call, VIR_FROM_INTERFACE, in->flags, VIR_INTERFACE_XML_INACTIVE, err) <
        0)
        return -EINVAL;
    int r = find(in->iface.name, &found, err);
    if (r < 0)
        return r;
    out->xml = describe(&text, found.name, 0) == 0 ? xml_take(&text) : NULL;
    buffer_free(&text);
    return out->xml ? 0 : no_memory(err);
}

static int lookup_name(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(INTERFACE_LOOKUP_BY_NAME) *in = args;
    REMOTE_RET(INTERFACE_LOOKUP_BY_NAME) *out = ret;
    struct interface found;
    int r = find(in->name, &found, err);
    return r < 0 ? r : fill(&out->iface, &found, err);
}

static int lookup_mac(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(INTERFACE_LOOKUP_BY_MAC_STRING) *in = args;
    REMOTE_RET(INTERFACE_LOOKUP_BY_MAC_STRING) *out = ret;
    const struct interface *found = NULL;
    struct interface *all;
    unsigned matches = 0;
    int n = list(&all, err);
    if (n < 0)
        return n;
    for (int i = 0; i < n; i++) {
        if (*in->mac && strcasecmp(all[i].mac, in->mac) == 0) {
            found = &all[i];
            matches++;
        }
    }
    int r = matches == 1 ? fill(&out->iface, found, err)
            : matches    ? api_error_from(err, VIR_FROM_INTERFACE, VIR_ERR_MULTIPLE_INTERFACES,
                                          "%u have the address '%s'", matches, in->mac)
                         : api_error_from(err, VIR_FROM_INTERFACE, VIR_ERR_NO_INTERFACE,
                                          "couldn't find interface with MAC address '%s'", in->mac);
    free(all);
    return r;
}

static int is_active(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(INTERFACE_IS_ACTIVE) *in = args;
    REMOTE_RET(INTERFACE_IS_ACTIVE) *out = ret;
    struct interface found;
    int r = find(in->iface.name, &found, err);
    out->active = r == 0 && found.active;
    return r;
}

/* Counts the ones that are (not) active and, unless names is NULL, lists up to max of them. */
static int count_names(bool active, char **names, int max, u_int *listed, struct kv_error *err)
{
    struct interface *all;
    int n = list(&all, err), count = 0, r = 0;
    for (int i = 0; i < n && r == 0; i++) {
        if (all[i].active != active)
            continue;
        count++;
        if (!names || (int)*listed == max)
            continue;
        names[*listed] = strdup(all[i].name);
        if (names[*listed])
            ++*listed;
        else
            r = no_memory(err);
    }
    if (n >= 0)
        free(all);
    return n < 0 ? n : r < 0 ? r : count;
}

static int count_some(bool active, void *ret, struct kv_error *err)
{
    wire_num *out = ret;
    out->num = count_names(active, NULL, 0, NULL, err);
    return out->num < 0 ? out->num : 0;
}

static int list_some(bool active, const void *args, void *ret, struct kv_error *err)
{
    const wire_maxnames *in = args;
    wire_names *out = ret;
    if (in->maxnames < 0 || in->maxnames > 16384)
        return api_error_from(err, VIR_FROM_INTERFACE, VIR_ERR_INVALID_ARG,
                              "too many interfaces '%d'", in->maxnames);
    out->names.names_val = calloc((size_t)in->maxnames + 1, sizeof(wire_text));
    if (!out->names.names_val)
        return no_memory(err);
    int r = count_names(active, out->names.names_val, in->maxnames, &out->names.names_len, err);
    return MIN(r, 0);
}

static int count_active(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    return count_some(true, ret, err);
}

static int count_defined(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    return count_some(false, ret, err);
}

static int list_active(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    return list_some(true, args, ret, err);
}

static int list_defined(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    return list_some(false, args, ret, err);
}

static int list_all(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(CONNECT_LIST_ALL_INTERFACES) *in = args;
    REMOTE_RET(CONNECT_LIST_ALL_INTERFACES) *out = ret;
    const unsigned both = VIR_CONNECT_LIST_INTERFACES_ACTIVE | VIR_CONNECT_LIST_INTERFACES_INACTIVE;
    unsigned wanted = in->flags ? in->flags : both;
    struct interface *all;
    if (rpc_call_check_flags(call, VIR_FROM_INTERFACE, in->flags, both, err) < 0)
        return -EINVAL;
    int n = list(&all, err), r = MIN(n, 0);
    out->ifaces.ifaces_val = n < 0 ? NULL : calloc((size_t)n + 1, sizeof(wire_iface));
    for (int i = 0; i < n && r == 0; i++) {
        unsigned is = all[i].active ? VIR_CONNECT_LIST_INTERFACES_ACTIVE
                                    : VIR_CONNECT_LIST_INTERFACES_INACTIVE;
        if (!out->ifaces.ifaces_val)
            r = no_memory(err);
        else if (wanted & is) {
            out->result++;
            if (in->want_list)
                r = fill(&out->ifaces.ifaces_val[out->ifaces.ifaces_len++], &all[i], err);
        }
    }
    if (n >= 0)
        free(all);
    return r;
}

static const struct rpc_handler handlers[] = {
    {REMOTE_PROC_CONNECT_NUM_OF_INTERFACES, count_active, 0},
    {REMOTE_PROC_CONNECT_LIST_INTERFACES, list_active, 0},
    {REMOTE_PROC_CONNECT_NUM_OF_DEFINED_INTERFACES, count_defined, 0},
    {REMOTE_PROC_CONNECT_LIST_DEFINED_INTERFACES, list_defined, 0},
    {REMOTE_PROC_CONNECT_LIST_ALL_INTERFACES, list_all, 0},
    {REMOTE_PROC_INTERFACE_LOOKUP_BY_NAME, lookup_name, 0},
    {REMOTE_PROC_INTERFACE_LOOKUP_BY_MAC_STRING, lookup_mac, 0},
    {REMOTE_PROC_INTERFACE_GET_XML_DESC, get_xml, 0},
    {REMOTE_PROC_INTERFACE_IS_ACTIVE, is_active, 0},
    {0},
};

const struct daemon_driver interface_driver = {
    .name = "interface",
    .handlers = handlers,
};
