/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest tells of itself through its agent: users, system, clock zone, names, file systems,
 * disks, interfaces (virDomainGetGuestInfo, GetFSInfo, InterfaceAddresses, GetHostname). All of it
 * is a claim of the guest's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/domain/agent.h"

#define FIELD_SIZE VIR_TYPED_PARAM_FIELD_LENGTH

/* The lists that clients' libraries take. */
#define FILESYSTEMS_MAX 256
#define ALIASES_MAX 256
#define INTERFACES_MAX 2048
#define ADDRESSES_MAX 2048
#define INFO_PARAMS_MAX 2048

/* ------------------------------------------------------------------ parameters */

__attribute__((format(printf, 3, 4))) static void add_text(struct params *p, const char *value,
                                                           const char *fmt, ...)
{
    char field[FIELD_SIZE];
    va_list ap;
    if (!value)
        return;
    va_start(ap, fmt);
    vsnprintf(field, sizeof(field), fmt, ap);
    va_end(ap);
    params_add_text(p, field, value);
}

__attribute__((format(printf, 3, 4))) static void add_count(struct params *p, size_t value,
                                                            const char *fmt, ...)
{
    char field[FIELD_SIZE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(field, sizeof(field), fmt, ap);
    va_end(ap);
    params_add_uint(p, field, (unsigned)value);
}

/* A number that is there and not negative. */
static void add_bytes(struct params *p, const json_t *value, const char *what, size_t i)
{
    char field[FIELD_SIZE];
    snprintf(field, sizeof(field), "fs.%zu.%s", i, what);
    if (json_is_integer(value) && json_integer_value(value) >= 0)
        params_add_ullong(p, field, (uint64_t)json_integer_value(value));
}

/* Each kind of information: its agent's command, and the parameters made of the answer. An answer
 * of the wrong shape fails. The document's lock is not held. */
typedef int info_fn(struct agent *agent, const json_t *got, struct params *p);

static int add_users(struct agent *agent, const json_t *got, struct params *p)
{
    size_t i;
    json_t *user;
    add_count(p, json_array_size(got), "user.count");
    json_array_foreach ((json_t *)(uintptr_t)got, i, user) {
        const json_t *since = json_object_get(user, "login-time");
        const char *name = agent_text(user, "user");
        char field[FIELD_SIZE];
        if (!name || !json_is_number(since))
            return -EPROTO;
        add_text(p, name, "user.%zu.name", i);
        add_text(p, agent_text(user, "domain"), "user.%zu.domain", i);
        double ms = json_number_value(since) * 1000;
        snprintf(field, sizeof(field), "user.%zu.login-time", i);
        params_add_ullong(p, field, ms > 0 && ms < 1e18 ? (uint64_t)ms : 0);
    }
    return 0;
}

static int add_os(struct agent *agent, const json_t *got, struct params *p)
{
    static const char *const names[] = {
        "id",      "name",    "pretty-name", "version",        "version-id",
        "machine", "variant", "variant-id",  "kernel-release", "kernel-version"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        add_text(p, agent_text(got, names[i]), "os.%s", names[i]);
    return json_is_object(got) ? 0 : -EPROTO;
}

static int add_timezone(struct agent *agent, const json_t *got, struct params *p)
{
    const json_t *offset = json_object_get(got, "offset");
    if (!json_is_integer(offset))
        return -EPROTO;
    add_text(p, agent_text(got, "zone"), "timezone.name");
    params_add_int(p, "timezone.offset", (int)json_integer_value(offset));
    return 0;
}

static int add_hostname(struct agent *agent, const json_t *got, struct params *p)
{
    const char *name = agent_text(got, "host-name");
    add_text(p, name, "hostname");
    return name ? 0 : -EPROTO;
}

/* ----------------------------------------------------------------------- disks */

static bool is_at(const struct model_device *device, const json_t *pci)
{
    json_int_t slot = json_integer_value(json_object_get(pci, "slot"));
    json_int_t bus = json_integer_value(json_object_get(pci, "bus"));
    if (device->address.kind == MODEL_ADDRESS_PCI && device->address.bus == bus &&
        device->address.slot == slot)
        return true;
    return bus == 0 && device->slot >= 0 && device->slot == slot;
}

static bool is_unit(const struct model_domain *d, const struct model_disk *disk,
                    const json_t *where)
{
    const struct model_address *a = &disk->device.address;
    const json_t *pci = json_object_get(where, "pci-controller");
    if (a->kind != MODEL_ADDRESS_DRIVE)
        return is_at(&disk->device, pci);
    if (json_integer_value(json_object_get(where, "bus")) != a->bus ||
        json_integer_value(json_object_get(where, "target")) != a->target ||
        json_integer_value(json_object_get(where, "unit")) != a->unit)
        return false;
    for (unsigned i = 0; i < d->controller_count; i++) {
        const struct model_controller *c = &d->controllers[i];
        if (c->real && c->index == a->controller && is_at(&c->device, pci))
            return true;
    }
    return false;
}

/* The target ("vda") of the disk at an address as the guest sees it; "": it is none of ours. */
static void find_disk(struct agent *agent, const json_t *where, char target[32])
{
    target[0] = '\0';
    pthread_mutex_lock(&agent->domain->lock);
    const struct model_domain *d = agent->live->document;
    for (unsigned i = 0; where && i < d->disk_count && !target[0]; i++)
        if (is_unit(d, &d->disks[i], where))
            snprintf(target, 32, "%s", d->disks[i].target);
    pthread_mutex_unlock(&agent->domain->lock);
}

static int add_filesystems(struct agent *agent, const json_t *got, struct params *p)
{
    size_t i, k, count = json_array_size(got);
    json_t *disk;
    add_count(p, count, "fs.count");
    for (i = 0; i < count; i++) {
        const json_t *fs = json_array_get(got, count - 1 - i); /* in the order of mounting */
        const char *name = agent_text(fs, "name"), *point = agent_text(fs, "mountpoint"),
                   *type = agent_text(fs, "type");
        json_t *disks = json_object_get(fs, "disk");
        if (!name || !point || !type)
            return -EPROTO;
        add_text(p, name, "fs.%zu.name", i);
        add_text(p, point, "fs.%zu.mountpoint", i);
        add_text(p, type, "fs.%zu.fstype", i);
        add_bytes(p, json_object_get(fs, "total-bytes"), "total-bytes", i);
        add_bytes(p, json_object_get(fs, "used-bytes"), "used-bytes", i);
        add_count(p, json_array_size(disks), "fs.%zu.disk.count", i);
        json_array_foreach (disks, k, disk) {
            char target[32];
            find_disk(agent, disk, target);
            add_text(p, target[0] ? target : NULL, "fs.%zu.disk.%zu.alias", i, k);
            add_text(p, agent_text(disk, "serial"), "fs.%zu.disk.%zu.serial", i, k);
            add_text(p, agent_text(disk, "dev"), "fs.%zu.disk.%zu.device", i, k);
        }
    }
    return 0;
}

static int add_disks(struct agent *agent, const json_t *got, struct params *p)
{
    size_t i, k;
    json_t *disk, *other;
    add_count(p, json_array_size(got), "disk.count");
    json_array_foreach ((json_t *)(uintptr_t)got, i, disk) {
        char field[FIELD_SIZE], target[32];
        json_t *others = json_object_get(disk, "dependencies"),
               *where = json_object_get(disk, "address");
        if (!agent_text(disk, "name") || !json_is_boolean(json_object_get(disk, "partition")))
            return -EPROTO;
        add_text(p, agent_text(disk, "name"), "disk.%zu.name", i);
        snprintf(field, sizeof(field), "disk.%zu.partition", i);
        params_add_bool(p, field, json_is_true(json_object_get(disk, "partition")));
        if (json_array_size(others))
            add_count(p, json_array_size(others), "disk.%zu.dependency.count", i);
        json_array_foreach (others, k, other)
            add_text(p, json_string_value(other), "disk.%zu.dependency.%zu.name", i, k);
        find_disk(agent, where, target);
        add_text(p, agent_text(where, "serial"), "disk.%zu.serial", i);
        add_text(p, target[0] ? target : NULL, "disk.%zu.alias", i);
        add_text(p, agent_text(disk, "alias"), "disk.%zu.guest_alias", i);
    }
    return 0;
}

static int add_interfaces(struct agent *agent, const json_t *got, struct params *p)
{
    size_t i, k;
    json_t *nic, *address;
    add_count(p, json_array_size(got), "if.count");
    json_array_foreach ((json_t *)(uintptr_t)got, i, nic) {
        json_t *list = json_object_get(nic, "ip-addresses");
        if (!agent_text(nic, "name"))
            return -EPROTO;
        add_text(p, agent_text(nic, "name"), "if.%zu.name", i);
        add_text(p, agent_text(nic, "hardware-address"), "if.%zu.hwaddr", i);
        add_count(p, json_array_size(list), "if.%zu.addr.count", i);
        json_array_foreach (list, k, address) {
            add_text(p, agent_text(address, "ip-address-type"), "if.%zu.addr.%zu.type", i, k);
            add_text(p, agent_text(address, "ip-address"), "if.%zu.addr.%zu.addr", i, k);
            add_count(p, (size_t)json_integer_value(json_object_get(address, "prefix")),
                      "if.%zu.addr.%zu.prefix", i, k);
        }
    }
    return 0;
}

static const struct {
    unsigned type;
    const char *command;
    info_fn *add;
} kinds[] = {
    {VIR_DOMAIN_GUEST_INFO_USERS, "guest-get-users", add_users},
    {VIR_DOMAIN_GUEST_INFO_OS, "guest-get-osinfo", add_os},
    {VIR_DOMAIN_GUEST_INFO_TIMEZONE, "guest-get-timezone", add_timezone},
    {VIR_DOMAIN_GUEST_INFO_HOSTNAME, "guest-get-host-name", add_hostname},
    {VIR_DOMAIN_GUEST_INFO_FILESYSTEM, "guest-get-fsinfo", add_filesystems},
    {VIR_DOMAIN_GUEST_INFO_DISKS, "guest-get-disks", add_disks},
    {VIR_DOMAIN_GUEST_INFO_INTERFACES, "guest-network-get-interfaces", add_interfaces},
};

static unsigned all_kinds(void)
{
    unsigned all = 0;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        all |= kinds[i].type;
    return all;
}

/* Without a choice of the client's, kinds that the agent does not know are left out. */
static int collect(struct agent *agent, unsigned types, struct params *p, struct kv_error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        cleanup_json json_t *got = NULL;
        if (types && !(types & kinds[i].type))
            continue;
        int rc = agent_run(agent, kinds[i].command, NULL, &got, err);
        if (rc == -EOPNOTSUPP && agent->answered && !types)
            continue;
        if (rc)
            return rc;
        if (kinds[i].add(agent, got, p) || p->n > INFO_PARAMS_MAX)
            return agent_malformed(kinds[i].command, err);
    }
    return 0;
}

CALL(get_guest_info)
{
    const REMOTE_ARGS(DOMAIN_GET_GUEST_INFO) *in = args;
    REMOTE_RET(DOMAIN_GET_GUEST_INFO) *out = ret;
    cleanup_agent struct agent agent = {0};
    struct params p = PARAMS_INIT;
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    if (in->types & ~all_kinds())
        return api_error(err, VIR_ERR_INVALID_ARG, "unsupported guest information types '0x%x'",
                         in->types & ~all_kinds());
    if (agent_open(&agent, call, &in->dom, err))
        return -EINVAL;
    if (collect(&agent, in->types, &p, err)) {
        params_free(&p);
        return -EINVAL;
    }
    return params_give(&p, &out->params.params_val, &out->params.params_len, err);
}

CALL(get_hostname)
{
    const REMOTE_ARGS(DOMAIN_GET_HOSTNAME) *in = args;
    REMOTE_RET(DOMAIN_GET_HOSTNAME) *out = ret;
    const unsigned lease = VIR_DOMAIN_GET_HOSTNAME_LEASE, agent = VIR_DOMAIN_GET_HOSTNAME_AGENT;
    static const char command[] = "guest-get-host-name";
    cleanup_json json_t *got = NULL;
    if (call_check_flags(call, in->flags, lease | agent, err))
        return -EINVAL;
    if ((in->flags & lease) && (in->flags & agent))
        return api_error(err, VIR_ERR_INVALID_ARG,
                         "flags 'VIR_DOMAIN_GET_HOSTNAME_LEASE' and "
                         "'VIR_DOMAIN_GET_HOSTNAME_AGENT' in %s are mutually exclusive",
                         rpc_call_procedure(call)->name);
    if (in->flags & lease) /* no network of ours gives any */
        return api_error(err, VIR_ERR_NO_HOSTNAME, "no hostname found for domain %s", in->dom.name);
    if (agent_ask(call, &in->dom, command, NULL, &got, err))
        return -EINVAL;
    const char *name = agent_text(got, "host-name");
    return name ? call_text(&out->hostname, name, err) : agent_malformed(command, err);
}

/* -------------------------------------------------------------------- GetFSInfo */

static int fill_filesystem(struct agent *agent, wire_filesystem *out, const json_t *fs,
                           struct kv_error *err)
{
    static const char command[] = "guest-get-fsinfo";
    const char *name = agent_text(fs, "name"), *point = agent_text(fs, "mountpoint"),
               *type = agent_text(fs, "type");
    json_t *disks = json_object_get(fs, "disk"), *disk;
    size_t i;
    if (!name || !point || !type || json_array_size(disks) > ALIASES_MAX)
        return agent_malformed(command, err);
    out->dev_aliases.dev_aliases_val = calloc(json_array_size(disks) + 1, sizeof(wire_text));
    if (!out->dev_aliases.dev_aliases_val || call_text(&out->name, name, err) ||
        call_text(&out->mountpoint, point, err) || call_text(&out->fstype, type, err))
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    json_array_foreach (disks, i, disk) {
        char target[32];
        find_disk(agent, disk, target);
        if (!target[0])
            continue;
        if (call_text(&out->dev_aliases.dev_aliases_val[out->dev_aliases.dev_aliases_len], target,
                      err))
            return -ENOMEM;
        out->dev_aliases.dev_aliases_len++;
    }
    return 0;
}

CALL(get_fsinfo)
{
    const REMOTE_ARGS(DOMAIN_GET_FSINFO) *in = args;
    REMOTE_RET(DOMAIN_GET_FSINFO) *out = ret;
    static const char command[] = "guest-get-fsinfo";
    cleanup_agent struct agent agent = {0};
    cleanup_json json_t *got = NULL;
    if (call_check_flags(call, in->flags, 0, err) || agent_open(&agent, call, &in->dom, err) ||
        agent_run(&agent, command, NULL, &got, err))
        return -EINVAL;
    size_t count = json_array_size(got);
    if (!json_is_array(got) || count > FILESYSTEMS_MAX)
        return agent_malformed(command, err);
    out->info.info_val = calloc(count + 1, sizeof(wire_filesystem));
    if (!out->info.info_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    /* In the order of mounting. */
    for (size_t i = count; i-- > 0;) {
        wire_filesystem *fs = &out->info.info_val[out->info.info_len++];
        *fs = (wire_filesystem){.name = NULL};
        if (fill_filesystem(&agent, fs, json_array_get(got, i), err))
            return -EINVAL;
    }
    out->result = out->info.info_len;
    return 0;
}

/* ----------------------------------------------------------- InterfaceAddresses */

/* "eth0:1" is another name of eth0: its addresses are that one's. */
static wire_interface_addresses *find_interface(REMOTE_RET(DOMAIN_INTERFACE_ADDRESSES) * out,
                                                const char *name, size_t len)
{
    for (unsigned i = 0; i < out->ifaces.ifaces_len; i++) {
        wire_interface_addresses *found = &out->ifaces.ifaces_val[i];
        if (strncmp(found->name, name, len) == 0 && !found->name[len])
            return found;
    }
    return NULL;
}

static int add_addresses(wire_interface_addresses *to, const json_t *list, struct kv_error *err)
{
    static const char command[] = "guest-network-get-interfaces";
    size_t more = json_array_size(list), i;
    json_t *from;
    if (more > ADDRESSES_MAX || to->addrs.addrs_len + more > ADDRESSES_MAX)
        return agent_malformed(command, err);
    wire_ip_address *grown =
        realloc(to->addrs.addrs_val, (to->addrs.addrs_len + more + 1) * sizeof(*grown));
    if (!grown)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    to->addrs.addrs_val = grown;
    json_array_foreach ((json_t *)(uintptr_t)list, i, from) {
        const char *type = agent_text(from, "ip-address-type"),
                   *text = agent_text(from, "ip-address");
        const json_t *prefix = json_object_get(from, "prefix");
        if (!type || !text || !json_is_integer(prefix) || json_integer_value(prefix) < 0 ||
            json_integer_value(prefix) > 128)
            return agent_malformed(command, err);
        wire_ip_address *address = &grown[to->addrs.addrs_len];
        *address = (wire_ip_address){.type = strcmp(type, "ipv6") == 0 ? VIR_IP_ADDR_TYPE_IPV6
                                                                       : VIR_IP_ADDR_TYPE_IPV4,
                                     .prefix = (unsigned)json_integer_value(prefix)};
        if (call_text(&address->addr, text, err))
            return -ENOMEM;
        to->addrs.addrs_len++;
    }
    return 0;
}

static int add_interface(REMOTE_RET(DOMAIN_INTERFACE_ADDRESSES) * out, const json_t *nic,
                         struct kv_error *err)
{
    const char *name = agent_text(nic, "name"), *mac = agent_text(nic, "hardware-address");
    if (!name)
        return agent_malformed("guest-network-get-interfaces", err);
    size_t len = strcspn(name, ":");
    wire_interface_addresses *to = find_interface(out, name, len);
    if (!to) {
        to = &out->ifaces.ifaces_val[out->ifaces.ifaces_len];
        *to = (wire_interface_addresses){.name = strndup(name, len)};
        if (!to->name)
            return api_error(err, VIR_ERR_NO_MEMORY, NULL);
        out->ifaces.ifaces_len++;
        if (mac &&
            (!(to->hwaddr = calloc(1, sizeof(*to->hwaddr))) || call_text(to->hwaddr, mac, err)))
            return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    return add_addresses(to, json_object_get(nic, "ip-addresses"), err);
}

static int ask_for_addresses(struct rpc_call *call, const wire_domain *dom,
                             REMOTE_RET(DOMAIN_INTERFACE_ADDRESSES) * out, struct kv_error *err)
{
    static const char command[] = "guest-network-get-interfaces";
    cleanup_json json_t *got = NULL;
    size_t i;
    json_t *nic;
    int rc = agent_ask(call, dom, command, NULL, &got, err);
    if (rc)
        return rc;
    if (!json_is_array(got) || json_array_size(got) > INTERFACES_MAX)
        return agent_malformed(command, err);
    out->ifaces.ifaces_val = calloc(json_array_size(got) + 1, sizeof(wire_interface_addresses));
    if (!out->ifaces.ifaces_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    json_array_foreach (got, i, nic)
        if (add_interface(out, nic, err))
            return -EINVAL;
    return 0;
}

CALL(interface_addresses)
{
    const REMOTE_ARGS(DOMAIN_INTERFACE_ADDRESSES) *in = args;
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    if (!domain || domain_check_active(domain, err))
        return -EINVAL;
    switch (in->source) {
    case VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE:
        return 0; /* no network of ours gives any */
    case VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT:
        return ask_for_addresses(call, &in->dom, ret, err);
    case VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP:
        return api_error(err, VIR_ERR_ARGUMENT_UNSUPPORTED,
                         "addresses are not learned from the host's ARP table");
    default:
        return api_error(err, VIR_ERR_ARGUMENT_UNSUPPORTED, "Unknown IP address data source %d",
                         (int)in->source);
    }
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_GET_GUEST_INFO, get_guest_info, 0},
    {REMOTE_PROC_DOMAIN_GET_HOSTNAME, get_hostname, 0},
    {REMOTE_PROC_DOMAIN_GET_FSINFO, get_fsinfo, 0},
    {REMOTE_PROC_DOMAIN_INTERFACE_ADDRESSES, interface_addresses, 0},
};
const struct call_rows call_guest_rows = {rows, ARRAY_SIZE(rows)};
