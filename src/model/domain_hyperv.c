/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <features><hyperv>: enlightenments for Windows, by table. Called by domain_os.c. */
#include <stddef.h>
#include <string.h>

#include "base/util.h"
#include "model/read.h"

#define SPINLOCKS_MIN 4095
#define VENDOR_MAX 12

static const struct {
    const char *name;
    size_t field; /* bool of struct model_hyperv */
} plain[] = {
    {"relaxed", offsetof(struct model_hyperv, relaxed)},
    {"vapic", offsetof(struct model_hyperv, vapic)},
    {"vpindex", offsetof(struct model_hyperv, vpindex)},
    {"runtime", offsetof(struct model_hyperv, runtime)},
    {"synic", offsetof(struct model_hyperv, synic)},
    {"stimer", offsetof(struct model_hyperv, stimer)},
    {"reset", offsetof(struct model_hyperv, reset)},
    {"frequencies", offsetof(struct model_hyperv, frequencies)},
    {"reenlightenment", offsetof(struct model_hyperv, reenlightenment)},
    {"tlbflush", offsetof(struct model_hyperv, tlbflush)},
    {"ipi", offsetof(struct model_hyperv, ipi)},
};

static int read_state(struct read *r, const xmlNode *node, bool *on)
{
    enum model_switch state = MODEL_SWITCH_ABSENT;
    int ret = read_switch(r, node, "state", &state);
    if (ret == 0 && state == MODEL_SWITCH_ABSENT)
        ret = read_xml_error(r, "missing 'state' attribute for HyperV Enlightenment feature '%s'",
                             (const char *)node->name);
    *on = state == MODEL_SWITCH_ON;
    return ret;
}

static int read_spinlocks(struct read *r, const xmlNode *node, uint64_t *retries)
{
    bool given = xml_attr(node, "retries");
    int ret = read_u64(r, node, "retries", retries);
    if (ret == 0 && !given)
        ret = read_xml_error(r, "missing HyperV spinlock retry count");
    if (ret == 0 && (*retries < SPINLOCKS_MIN || *retries > UINT32_MAX))
        ret = read_xml_error(r, "HyperV spinlock retry count must be at least %d", SPINLOCKS_MIN);
    return ret;
}

static int read_vendor(struct read *r, const xmlNode *node, const char **vendor)
{
    *vendor = xml_attr(node, "value");
    if (!*vendor || !**vendor)
        return read_xml_error(r, "missing 'value' attribute for HyperV feature 'vendor_id'");
    if (strlen(*vendor) > VENDOR_MAX)
        return read_xml_error(r, "HyperV vendor_id value must not be more than %d characters.",
                              VENDOR_MAX);
    if (strchr(*vendor, ','))
        return read_xml_error(r, "HyperV vendor_id value is invalid");
    return 0;
}

static int read_one(struct read *r, const xmlNode *node, struct model_hyperv *hyperv)
{
    const char *name = (const char *)node->name;
    bool on = false;
    int ret = read_state(r, node, &on);
    if (ret < 0 || !on)
        return ret;
    if (strcmp(name, "spinlocks") == 0)
        return read_spinlocks(r, node, &hyperv->spinlocks);
    if (strcmp(name, "vendor_id") == 0)
        return read_vendor(r, node, &hyperv->vendor_id);
    for (unsigned i = 0; i < ARRAY_SIZE(plain); i++) {
        if (strcmp(plain[i].name, name) == 0)
            *(bool *)((char *)hyperv + plain[i].field) = true;
    }
    const xmlNode *direct = hyperv->stimer ? xml_child(node, "direct") : NULL;
    if (strcmp(name, "stimer") == 0 && direct)
        return read_state(r, direct, &hyperv->stimer_direct);
    /* Nested virtualization of Hyper-V, and interrupts without the monitor's help. */
    if (strcmp(name, "evmcs") == 0 || strcmp(name, "avic") == 0)
        return read_refuse(r, node, "state", "'on': this is not supported; 'off' is accepted");
    return 0;
}

int read_hyperv(struct read *r, const xmlNode *node)
{
    static const char *const modes[] = {"custom", "passthrough", NULL};
    struct model_hyperv *hyperv = &r->d->hyperv;
    const char *mode = NULL;
    int ret = read_choice(r, node, "mode", modes, &mode);
    hyperv->passthrough = mode && strcmp(mode, "passthrough") == 0;
    for (const xmlNode *n = node ? xml_first(node) : NULL; ret == 0 && n; n = xml_next(n))
        ret = read_one(r, n, hyperv);
    return ret;
}
