/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interfaces of a running domain: what an update may change, which is the state of the link, and
 * the MAC address of one that is to be put into several documents. See domain.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/buffer.h"
#include "base/util.h"
#include "model/change.h"
#include "model/read.h"

/* What of an interface stays as it is while it runs; libvirt's names. A text that the update does
 * not give stays, too, where optional says so. */
static const struct {
    const char *name;
    size_t offset;
    size_t size; /* 0: a text */
    bool optional;
} kept_fields[] = {
#define TEXT(name, field, ...)                                  \
    {                                                           \
        name, offsetof(struct model_nic, field), 0, __VA_ARGS__ \
    }
#define VALUE(name, field)                                                              \
    {                                                                                   \
        name, offsetof(struct model_nic, field), sizeof(((struct model_nic *)0)->field) \
    }
    VALUE("network interface type", type),
    VALUE("network interface mac address", mac),
    TEXT("network interface source", source, false),
    TEXT("network interface mode", mode, false),
    TEXT("network interface socket", socket, false),
    VALUE("network interface reconnect", reconnect),
    TEXT("network interface target", target, true),
    TEXT("network interface script", script, false),
    TEXT("network interface virtualport", virtualport, false),
    TEXT("network interface virtualport", interface_id, true),
    TEXT("network interface virtualport", profile_id, false),
    VALUE("network interface vlan", vlan_count),
    VALUE("network interface vlan", vlan_native),
    VALUE("network interface port isolation", isolated),
    TEXT("network interface driver", driver, false),
    VALUE("network interface driver", packed),
    VALUE("network interface driver", queues),
    VALUE("network interface driver", rx_queue_size),
    VALUE("network interface driver", tx_queue_size),
    VALUE("network device boot index setting", device.boot_order),
    TEXT("network device alias", device.alias, true),
    VALUE("guest address", device.address),
    TEXT("network device rom", rom, false),
    VALUE("network device rom", no_rom),
    VALUE("network MTU", mtu),
    VALUE("network interface bandwidth", in),
    VALUE("network interface bandwidth", out),
    VALUE("network interface port forwards", forward_count),
    VALUE("network interface addresses", address_count),
};

static bool same_text(const char *a, const char *b, bool optional)
{
    return a && b ? strcmp(a, b) == 0 : a == b || (optional && !b);
}

int model_nic_check_live(struct model_domain *domain, const struct model_domain *was,
                         struct model_nic *nic, struct kv_error *err)
{
    const struct model_device *device = model_domain_find_alias(was, nic->device.alias);
    if (!device || device->kind != MODEL_NIC)
        return api_error(err, VIR_ERR_DEVICE_MISSING, "no device found with alias %s",
                         nic->device.alias);
    const struct model_nic *old = (const struct model_nic *)device;
    for (size_t i = 0; i < ARRAY_SIZE(kept_fields); i++) {
        const char *a = (const char *)old + kept_fields[i].offset,
                   *b = (const char *)nic + kept_fields[i].offset;
        bool same = kept_fields[i].size
                        ? memcmp(a, b, kept_fields[i].size) == 0
                        : same_text(*(const char *const *)a, *(const char *const *)b,
                                    kept_fields[i].optional);
        if (!same)
            return api_error(err, VIR_ERR_OPERATION_UNSUPPORTED, "cannot modify %s",
                             kept_fields[i].name);
    }
    bool lost = old->target && !nic->target;
    return lost && model_nic_set_target(domain, nic, old->target) < 0
               ? api_error(err, VIR_ERR_NO_MEMORY, NULL)
               : 0;
}

static bool add_mac(xmlNode *nic)
{
    uint8_t m[3];
    char address[18];
    if (getrandom(m, sizeof(m), 0) != sizeof(m))
        return false;
    snprintf(address, sizeof(address), "52:54:00:%02x:%02x:%02x", m[0], m[1], m[2]);
    xmlNode *mac = xml_child(nic, "mac");
    mac = mac ? mac : xml_add_child(nic, "mac", NULL);
    return mac && xml_set_attr(mac, "address", address);
}

int model_device_complete(const char *xml, size_t len, char **out, struct kv_error *err)
{
    xmlDoc *doc;
    *out = NULL;
    int ret = xml_parse(&doc, xml, len, "(device_definition)", NULL, err);
    if (ret < 0)
        return ret;
    xmlNode *root = xmlDocGetRootElement(doc);
    if (xml_is(root, "interface") && !xml_child_attr(root, "mac", "address")) {
        struct buffer text = BUFFER_INIT(XML_LENGTH_MAX);
        if (add_mac(root) && xml_format(&text, root, 0) == 0)
            *out = xml_take(&text);
        buffer_free(&text);
        if (!*out)
            ret = api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    xmlFreeDoc(doc);
    return ret;
}
