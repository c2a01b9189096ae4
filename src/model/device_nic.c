/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <interface>: what a NIC is connected to, and how fast; see read.h. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/util.h"
#include "model/read.h"
#include "model/uuid.h"

static const char *const type_names[] = {
    [MODEL_NIC_BRIDGE] = "bridge", [MODEL_NIC_ETHERNET] = "ethernet",
    [MODEL_NIC_DIRECT] = "direct", [MODEL_NIC_VHOSTUSER] = "vhostuser",
    [MODEL_NIC_USER] = "user",
};

/* A lost back end is looked for, unless the document says otherwise: a switch may be restarted. */
#define VHOST_USER_RECONNECT_S 1

static int missing_source(struct read *r, const xmlNode *node)
{
    return read_xml_error(r, "interface type='%s' requires a 'source' element",
                          xml_attr(node, "type"));
}

/* ---------------------------------------------------------------- addresses */

static int hex_pair(const char *p)
{
    if (!isxdigit((unsigned char)p[0]) || !isxdigit((unsigned char)p[1]))
        return -1;
    unsigned value;
    char pair[3] = {p[0], p[1], '\0'};
    return sscanf(pair, "%x", &value) == 1 ? (int)value : -1;
}

/* "xx" in one of the last three bytes stands for any value. */
static bool parse_mac(const char *text, uint8_t mac[6])
{
    const char *p = text;
    for (unsigned i = 0; i < 6; i++) {
        int value = hex_pair(p);
        unsigned digits = 2;
        if (value < 0 && i >= 3 && strncmp(p, "xx", 2) == 0) {
            uint8_t byte;
            if (getrandom(&byte, 1, 0) != 1)
                return false;
            value = byte;
        } else if (value < 0 && isxdigit((unsigned char)p[0])) {
            unsigned one;
            char digit[2] = {p[0], '\0'};
            sscanf(digit, "%x", &one);
            value = (int)one;
            digits = 1;
        }
        if (value < 0)
            return false;
        mac[i] = (uint8_t)value;
        p += digits;
        if (*p != (i < 5 ? ':' : '\0'))
            return false;
        p++;
    }
    return true;
}

static int read_mac(struct read *r, xmlNode *node, struct model_nic *nic)
{
    xmlNode *element = xml_child(node, "mac");
    const char *text = element ? xml_attr(element, "address") : NULL;
    static const uint8_t prefix[3] = {0x52, 0x54, 0x00};
    if (text) {
        if (!parse_mac(text, nic->mac))
            return read_xml_error(r, "unable to parse mac address '%s'", text);
        if (nic->mac[0] & 1)
            return read_xml_error(r, "expected unicast mac address, found multicast '%s'", text);
    } else {
        memcpy(nic->mac, prefix, sizeof(prefix));
        if (getrandom(nic->mac + 3, 3, 0) != 3)
            return read_no_memory(r);
    }
    char address[18];
    const uint8_t *m = nic->mac;
    snprintf(address, sizeof(address), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
             m[4], m[5]);
    element = element_child(node, "mac");
    return element ? read_set(r, element, "address", address) : read_no_memory(r);
}

/* -------------------------------------------------------------- connections */

static int read_bridge(struct read *r, xmlNode *node, xmlNode *source, struct model_nic *nic)
{
    nic->source = source ? xml_attr(source, "bridge") : NULL;
    return nic->source && *nic->source ? 0 : missing_source(r, node);
}

static int read_direct(struct read *r, xmlNode *node, xmlNode *source, struct model_nic *nic)
{
    static const char *const modes[] = {"vepa", "private", "bridge", "passthrough", NULL};
    nic->source = source ? xml_attr(source, "dev") : NULL;
    if (!nic->source || !*nic->source)
        return missing_source(r, node);
    nic->mode = xml_attr(source, "mode");
    if (nic->mode && !read_is_one_of(nic->mode, modes))
        return read_unsupported(r, "unknown mode has been specified: '%s'", nic->mode);
    if (nic->mode)
        return 0;
    nic->mode = "vepa";
    return read_set(r, source, "mode", "vepa");
}

static int read_vhostuser(struct read *r, xmlNode *node, xmlNode *source, struct model_nic *nic)
{
    static const char *const modes[] = {"server", "client", NULL};
    if (!source)
        return missing_source(r, node);
    const char *type = xml_attr(source, "type");
    nic->socket = xml_attr(source, "path");
    if (!type || strcmp(type, "unix") != 0)
        return read_unsupported(r, "Type='%s' unsupported for <interface type='vhostuser'>",
                                type ? type : "");
    if (!nic->socket || !*nic->socket)
        return read_xml_error(r, "No <source> 'path' attribute specified with "
                                 "<interface type='vhostuser'/>");
    int ret = read_choice(r, source, "mode", modes, &nic->mode);
    if (ret == 0 && !nic->mode)
        ret = read_xml_error(r, "No <source> 'mode' attribute specified with "
                                "<interface type='vhostuser'/>");
    if (ret == 0 && *nic->mode == 's' && xml_child(source, "reconnect"))
        ret = read_unsupported(r, "'reconnect' attribute unsupported 'server' mode for "
                                  "<interface type='vhostuser'>");
    nic->reconnect = VHOST_USER_RECONNECT_S;
    return ret < 0 ? ret : read_reconnect(r, source, &nic->reconnect);
}

static int read_ethernet(struct read *r, xmlNode *node, xmlNode *source, struct model_nic *nic)
{
    nic->managed = true;
    return read_yes_no(r, xml_child(node, "target"), "managed", &nic->managed);
}

static int read_addresses(struct read *r, xmlNode *node, struct model_nic *nic)
{
    unsigned n = xml_count(node, "ip");
    struct model_nic_address *list = arena_alloc(r->d->arena, (n + 1) * sizeof(*list));
    if (!list)
        return read_no_memory(r);
    nic->addresses = list;
    for (xmlNode *c = xml_child(node, "ip"); c; c = xml_next_same(c)) {
        struct model_nic_address *a = &list[nic->address_count++];
        static const char *const families[] = {"ipv4", "ipv6", NULL};
        const char *family = NULL;
        a->address = xml_attr(c, "address");
        if (!a->address)
            return read_xml_error(r, "Missing required address in <ip>");
        int ret = read_choice(r, c, "family", families, &family);
        if (ret == 0)
            ret = read_uint(r, c, "prefix", &a->prefix);
        if (ret < 0)
            return ret;
        a->ipv6 = family ? family[3] == '6' : strchr(a->address, ':') != NULL;
        if (a->prefix > (a->ipv6 ? 128u : 32u))
            return read_xml_error(r, "Invalid prefix value '%u' in <ip>", a->prefix);
    }
    return 0;
}

static int read_range(struct read *r, const xmlNode *forward, const xmlNode *range,
                      struct model_port_forward *f)
{
    static const char *const protocols[] = {"tcp", "udp", NULL};
    const char *protocol = NULL;
    int ret = read_choice(r, forward, "proto", protocols, &protocol);
    if (ret < 0)
        return ret;
    if (!protocol)
        return api_error_from(r->err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                              "Missing required attribute 'proto' in element 'portForward'");
    f->udp = *protocol == 'u';
    f->address = xml_attr(forward, "address");
    f->device = xml_attr(forward, "dev");
    ret = read_positive(r, range, "start", &f->start);
    if (ret == 0)
        ret = read_positive(r, range, "end", &f->end);
    if (ret == 0)
        ret = read_positive(r, range, "to", &f->to);
    if (ret == 0)
        ret = read_yes_no(r, range, "exclude", &f->exclude);
    if (ret < 0)
        return ret;
    if (f->start > 65535 || f->end > 65535 || f->to > 65535 || (range && f->start == 0) ||
        (f->end && f->end < f->start))
        return read_xml_error(r, "a range of ports is from start to end, at most 65535");
    return 0;
}

static int read_forwards(struct read *r, xmlNode *node, struct model_nic *nic)
{
    unsigned n = 0;
    for (xmlNode *c = xml_child(node, "portForward"); c; c = xml_next_same(c))
        n += MAX(1u, xml_count(c, "range"));
    struct model_port_forward *list = arena_alloc(r->d->arena, (n + 1) * sizeof(*list));
    if (!list)
        return read_no_memory(r);
    nic->forwards = list;
    for (xmlNode *c = xml_child(node, "portForward"); c; c = xml_next_same(c)) {
        xmlNode *range = xml_child(c, "range");
        do {
            int ret = read_range(r, c, range, &list[nic->forward_count++]);
            if (ret < 0)
                return ret;
            range = range ? xml_next_same(range) : NULL;
        } while (range);
    }
    return 0;
}

static int read_user(struct read *r, xmlNode *node, xmlNode *source, struct model_nic *nic)
{
    static const char *const backends[] = {"default", "passt", NULL};
    const char *type = NULL;
    xmlNode *backend = xml_child(node, "backend");
    int ret = read_choice(r, backend, "type", backends, &type);
    if (ret < 0)
        return ret;
    nic->backend_log = backend ? xml_attr(backend, "logFile") : NULL;
    nic->backend_device = source ? xml_attr(source, "dev") : NULL;
    ret = read_addresses(r, node, nic);
    return ret < 0 ? ret : read_forwards(r, node, nic);
}

typedef int read_connection_fn(struct read *r, xmlNode *node, xmlNode *source,
                               struct model_nic *nic);

static read_connection_fn *const connections[] = {
    [MODEL_NIC_BRIDGE] = read_bridge, [MODEL_NIC_ETHERNET] = read_ethernet,
    [MODEL_NIC_DIRECT] = read_direct, [MODEL_NIC_VHOSTUSER] = read_vhostuser,
    [MODEL_NIC_USER] = read_user,
};

static int read_connection(struct read *r, xmlNode *node, struct model_nic *nic)
{
    static const char *const all[] = {
        "ethernet", "vhostuser", "server",  "client", "mcast", "udp",  "network", "bridge",
        "internal", "direct",    "hostdev", "user",   "vdpa",  "null", "vds",     NULL};
    const char *type = NULL;
    xmlNode *source = xml_child(node, "source");
    int ret = read_choice(r, node, "type", all, &type);
    if (ret < 0)
        return ret;
    if (!type) {
        type = "user";
        if (read_set(r, node, "type", type) < 0)
            return read_no_memory(r);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(type_names); i++) {
        if (strcmp(type, type_names[i]) == 0) {
            nic->type = (enum model_nic_type)i;
            return connections[i](r, node, source, nic);
        }
    }
    nic->type = MODEL_NIC_USER;
    if (strcmp(type, "network") == 0 && (!source || !xml_attr(source, "network")))
        return missing_source(r, node);
    return read_refuse(r, node, "type",
                       "'%s': 'bridge', 'direct', 'ethernet', 'user' and 'vhostuser' are accepted",
                       type);
}

/* ------------------------------------------------------- ports of a switch */

static int read_virtualport(struct read *r, xmlNode *node, struct model_nic *nic)
{
    static const char *const known[] = {"none",        "802.1Qbg", "802.1Qbh",
                                        "openvswitch", "midonet",  NULL};
    xmlNode *port = xml_child(node, "virtualport");
    if (!port)
        return 0;
    nic->virtualport = xml_attr(port, "type");
    if (!nic->virtualport || !read_is_one_of(nic->virtualport, known))
        return api_error_from(r->err, VIR_FROM_NONE, VIR_ERR_CONFIG_UNSUPPORTED,
                              "unknown virtualport type %s",
                              nic->virtualport ? nic->virtualport : "");
    if (strcmp(nic->virtualport, "openvswitch") != 0)
        return read_refuse(r, port, "type", "'%s': 'openvswitch' is accepted", nic->virtualport);
    if (nic->type != MODEL_NIC_BRIDGE)
        return read_unsupported(r,
                                "<virtualport> element unsupported for type='%s' in interface's "
                                "<interface> element",
                                xml_attr(node, "type"));
    xmlNode *parameters = element_child(port, "parameters");
    if (!parameters)
        return read_no_memory(r);
    if (!xml_attr(parameters, "interfaceid")) {
        uint8_t uuid[16];
        char text[UUID_TEXT];
        uuid_generate(uuid);
        uuid_format(uuid, text);
        if (read_set(r, parameters, "interfaceid", text) < 0)
            return read_no_memory(r);
    }
    nic->interface_id = xml_attr(parameters, "interfaceid");
    nic->profile_id = xml_attr(parameters, "profileid");
    uint8_t uuid[16];
    if (uuid_parse(nic->interface_id, uuid) < 0)
        return read_xml_error(r, "cannot parse interfaceid parameter as a uuid");
    return 0;
}

static int read_vlan(struct read *r, xmlNode *node, struct model_nic *nic)
{
    xmlNode *vlan = xml_child(node, "vlan");
    if (!vlan)
        return 0;
    unsigned n = xml_count(vlan, "tag");
    unsigned *tags = arena_alloc(r->d->arena, (n + 1) * sizeof(*tags));
    if (!tags)
        return read_no_memory(r);
    nic->vlans = tags;
    if (n == 0)
        return read_xml_error(r,
                              "missing tag id - each <vlan> must have at least one <tag id='n'/> "
                              "subelement");
    for (xmlNode *c = xml_child(vlan, "tag"); c; c = xml_next_same(c)) {
        static const char *const modes[] = {"tagged", "untagged", NULL};
        const char *mode = NULL;
        unsigned id = 0;
        int ret = read_uint(r, c, "id", &id);
        if (ret == 0)
            ret = read_choice(r, c, "nativeMode", modes, &mode);
        if (ret < 0)
            return ret;
        if (id > 4095)
            return read_xml_error(r, "vlan tag id %u too large (maximum 4095)", id);
        if (mode)
            nic->vlan_native = id;
        tags[nic->vlan_count++] = id;
    }
    int ret = read_yes_no(r, vlan, "trunk", &nic->vlan_trunk);
    if (ret < 0)
        return ret;
    nic->vlan_trunk |= n > 1;
    if (nic->vlan_trunk && !xml_attr(vlan, "trunk") && read_set(r, vlan, "trunk", "yes") < 0)
        return read_no_memory(r);
    if (nic->virtualport)
        return 0;
    return read_unsupported(r,
                            "an interface of type '%s' is requesting a vlan tag, but that is "
                            "not supported for this type of connection",
                            xml_attr(node, "type"));
}

static int read_isolated(struct read *r, xmlNode *node, struct model_nic *nic)
{
    int ret = read_yes_no(r, xml_child(node, "port"), "isolated", &nic->isolated);
    if (ret < 0 || !nic->isolated || (nic->type == MODEL_NIC_BRIDGE && !nic->virtualport))
        return ret;
    return read_unsupported(r, "interface type='%s' does not support port isolation",
                            xml_attr(node, "type"));
}

/* ---------------------------------------------------------------- bandwidth */

static int read_rate(struct read *r, const xmlNode *node, struct model_bandwidth *out)
{
    if (!node)
        return 0;
    static const char *const names[] = {"average", "peak", "burst", "floor"};
    uint64_t *values[] = {&out->average, &out->peak, &out->burst, &out->floor};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        const char *text = xml_attr(node, names[i]);
        if (text && !xml_number(text, UINT64_C(1) << 50, values[i]))
            return api_error_from(r->err, VIR_FROM_NONE, VIR_ERR_CONFIG_UNSUPPORTED,
                                  "could not convert bandwidth %s value '%s'", names[i], text);
    }
    if (!out->average && !out->floor)
        return api_error_from(r->err, VIR_FROM_NONE, VIR_ERR_XML_DETAIL,
                              "Missing mandatory average or floor attributes");
    if (out->floor)
        return read_unsupported(r, "floor attribute is not supported for this config");
    return 0;
}

/* ---------------------------------------------------------------------- ROM */

static int read_rom(struct read *r, xmlNode *node, struct model_nic *nic)
{
    xmlNode *rom = xml_child(node, "rom");
    bool enabled = true;
    int ret = read_yes_no(r, rom, "enabled", &enabled);
    if (ret < 0)
        return ret;
    nic->rom = rom ? xml_attr(rom, "file") : NULL;
    nic->no_rom = !enabled;
    if (nic->rom && nic->no_rom)
        return read_unsupported(r, "ROM tuning is not supported when ROM is disabled");
    if (nic->rom && r->d->nvram)
        return read_refuse(r, rom, "file", "'%s': UEFI boots from the network by its own drivers",
                           nic->rom);
    return 0;
}

/* ------------------------------------------------------------------- driver */

static int check_ring(struct read *r, const char *name, unsigned size)
{
    if (size && (size < 64 || size > 1024 || (size & (size - 1))))
        return read_unsupported(r, "%s is %u; powers of two from 64 to 1024 are supported", name,
                                size);
    return 0;
}

static int read_driver(struct read *r, xmlNode *node, struct model_nic *nic)
{
    static const char *const names[] = {"qemu", "vhost", NULL};
    static const char *const fixed[] = {"ioeventfd", "event_idx", NULL};
    xmlNode *driver = xml_child(node, "driver");
    int ret = read_choice(r, driver, "name", names, &nic->driver);
    for (const char *const *f = fixed; ret == 0 && *f; f++) {
        enum model_switch state = MODEL_SWITCH_ABSENT;
        ret = read_switch(r, driver, *f, &state);
        if (ret == 0 && state == MODEL_SWITCH_OFF)
            ret = read_refuse(r, driver, *f, "'off': it is always on");
    }
    if (ret == 0)
        ret = read_switch(r, driver, "packed", &nic->packed);
    if (ret == 0)
        ret = read_uint(r, driver, "queues", &nic->queues);
    if (ret == 0)
        ret = read_uint(r, driver, "rx_queue_size", &nic->rx_queue_size);
    if (ret == 0)
        ret = read_uint(r, driver, "tx_queue_size", &nic->tx_queue_size);
    if (ret == 0)
        ret = check_ring(r, "rx_queue_size", nic->rx_queue_size);
    if (ret == 0)
        ret = check_ring(r, "tx_queue_size", nic->tx_queue_size);
    return ret;
}

static int read_model(struct read *r, xmlNode *node)
{
    static const char *const legal = "abcdefghijklmnopqrstuvwxyz0123456789-_.ABCDEFGHIJKLMNOPQRSTU"
                                     "VWXYZ";
    xmlNode *model = element_child(node, "model");
    const char *type = model ? xml_attr(model, "type") : NULL;
    if (!model)
        return read_no_memory(r);
    if (!type)
        return read_set(r, model, "type", "virtio");
    if (type[strspn(type, legal)] || !*type)
        return api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_INVALID_ARG,
                              "Model name contains invalid characters");
    if (strcmp(type, "virtio") == 0 || strcmp(type, "virtio-non-transitional") == 0)
        return 0;
    return read_refuse(r, model, "type", "'%s': 'virtio' is accepted", type);
}

static int read_target(struct read *r, xmlNode *node, struct model_nic *nic)
{
    static const char *const generated[] = {"vnet", "macvtap", "macvlan", NULL};
    xmlNode *target = xml_child(node, "target");
    nic->target = target ? xml_attr(target, "dev") : NULL;
    if (!nic->target || !(r->flags & MODEL_PARSE_INACTIVE))
        return 0;
    for (const char *const *g = generated; *g; g++) {
        if (strncmp(nic->target, *g, strlen(*g)) != 0)
            continue;
        nic->target = NULL;
        xml_set_attr(target, "dev", NULL);
        if (!target->properties)
            xml_remove(target);
        break;
    }
    return 0;
}

static int read_link(struct read *r, xmlNode *node, struct model_nic *nic)
{
    const char *state = xml_child_attr(node, "link", "state");
    const char *mtu = xml_child_attr(node, "mtu", "size");
    uint64_t size = 0;
    if (state && strcmp(state, "up") != 0 && strcmp(state, "down") != 0)
        return read_unsupported(r, "unknown interface link state '%s'", state);
    nic->link_down = state && *state == 'd';
    if (mtu && !xml_number(mtu, UINT32_MAX, &size))
        return read_xml_error(r, "malformed mtu size");
    if (size && (size < 68 || size > 65521))
        return read_unsupported(r, "mtu size is %ju; 68 to 65521 are supported", (uintmax_t)size);
    nic->mtu = (unsigned)size;
    return 0;
}

int read_nic(struct read *r, xmlNode *node, struct model_nic *nic)
{
    xmlNode *bandwidth = xml_child(node, "bandwidth");
    int ret = read_device_common(r, node, MODEL_NIC, &nic->device);
    if (ret == 0)
        ret = read_mac(r, node, nic);
    if (ret == 0)
        ret = read_connection(r, node, nic);
    if (ret == 0)
        ret = read_target(r, node, nic);
    if (ret == 0)
        ret = read_virtualport(r, node, nic);
    if (ret == 0)
        ret = read_vlan(r, node, nic);
    if (ret == 0)
        ret = read_isolated(r, node, nic);
    if (ret == 0 && bandwidth)
        ret = read_rate(r, xml_child(bandwidth, "inbound"), &nic->in);
    if (ret == 0 && bandwidth)
        ret = read_rate(r, xml_child(bandwidth, "outbound"), &nic->out);
    if (ret == 0)
        ret = read_model(r, node);
    if (ret == 0)
        ret = read_driver(r, node, nic);
    if (ret == 0)
        ret = read_link(r, node, nic);
    if (ret == 0)
        ret = read_rom(r, node, nic);
    nic->script = xml_child_attr(node, "script", "path");
    return ret;
}
