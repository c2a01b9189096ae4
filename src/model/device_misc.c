/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices with little to read, and what all devices have; see read.h. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "model/read.h"

/* ---------------------------------------------------------------- addresses */

/* "0x1f" or "31". */
static int read_address_number(struct read *r, const xmlNode *node, const char *name, unsigned max,
                               unsigned *out)
{
    const char *text = xml_attr(node, name);
    if (!text)
        return 0;
    uint64_t value = 0;
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    bool good = hex ? text[2 + strspn(text + 2, "0123456789abcdefABCDEF")] == '\0' && text[2] &&
                          strlen(text) < 12 && sscanf(text + 2, "%jx", &value) == 1
                    : xml_number(text, UINT32_MAX, &value);
    if (!good)
        return api_error_from(r->err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                              "Invalid value for attribute '%s' in element 'address': '%s'. "
                              "Expected integer value",
                              name, text);
    if (value > max)
        return api_error_from(r->err, VIR_FROM_NONE, VIR_ERR_XML_ERROR,
                              "Invalid PCI address %s='0x%jx', must be <= 0x%X", name,
                              (uintmax_t)value, max);
    *out = (unsigned)value;
    return 0;
}

static int read_pci(struct read *r, xmlNode *node, struct model_address *a)
{
    static const struct {
        const char *name;
        int digits;
        unsigned max;
    } rows[] = {
        {"domain", 4, 0xffffffff},
        {"bus", 2, 0xff},
        {"slot", 2, 0x1f},
        {"function", 1, 7},
    };
    unsigned *values[] = {&a->domain, &a->bus, &a->slot, &a->function};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        int ret = read_address_number(r, node, rows[i].name, rows[i].max, values[i]);
        if (ret < 0)
            return ret;
    }
    if (a->domain)
        return read_xml_error(r,
                              "Invalid PCI address %04x:%02x:%02x.%x. Only PCI domain 0 is "
                              "available",
                              a->domain, a->bus, a->slot, a->function);
    bool empty = !a->bus && !a->slot && !a->function;
    a->kind = empty ? MODEL_ADDRESS_NONE : MODEL_ADDRESS_PCI;
    for (unsigned i = 0; !empty && i < ARRAY_SIZE(rows); i++) {
        char text[16];
        snprintf(text, sizeof(text), "0x%0*x", rows[i].digits, *values[i]);
        if (read_set(r, node, rows[i].name, text) < 0)
            return read_no_memory(r);
    }
    return 0;
}

static int read_address(struct read *r, xmlNode *device, struct model_address *a)
{
    static const struct {
        const char *name;
        enum model_address_kind kind;
    } kinds[] = {{"pci", MODEL_ADDRESS_PCI},         {"drive", MODEL_ADDRESS_DRIVE},
                 {"usb", MODEL_ADDRESS_USB},         {"virtio-serial", MODEL_ADDRESS_VIRTIO_SERIAL},
                 {"isa", MODEL_ADDRESS_ISA},         {"ccid", MODEL_ADDRESS_OTHER},
                 {"dimm", MODEL_ADDRESS_OTHER},      {"spapr-vio", MODEL_ADDRESS_OTHER},
                 {"ccw", MODEL_ADDRESS_OTHER},       {"virtio-mmio", MODEL_ADDRESS_OTHER},
                 {"unassigned", MODEL_ADDRESS_OTHER}};
    xmlNode *node = xml_child(device, "address");
    const char *type = node ? xml_attr(node, "type") : NULL;
    if (!node)
        return 0;
    unsigned i = 0;
    while (type && i < ARRAY_SIZE(kinds) && strcmp(kinds[i].name, type) != 0)
        i++;
    if (!type || i == ARRAY_SIZE(kinds))
        return read_unsupported(r, "unknown address type '%s'", type ? type : "");
    a->kind = kinds[i].kind;
    switch (a->kind) {
    case MODEL_ADDRESS_PCI:
        return read_pci(r, node, a);
    case MODEL_ADDRESS_DRIVE:
    case MODEL_ADDRESS_VIRTIO_SERIAL: {
        int ret = read_uint(r, node, "controller", &a->controller);
        if (ret == 0)
            ret = read_uint(r, node, "bus", &a->bus);
        if (ret == 0)
            ret = read_uint(r, node, "port", &a->port);
        if (ret == 0)
            ret = read_uint(r, node, "target", &a->target);
        return ret < 0 ? ret : read_uint(r, node, "unit", &a->unit);
    }
    case MODEL_ADDRESS_ISA:
        return read_address_number(r, node, "iobase", 0xffff, &a->iobase);
    default:
        return 0;
    }
}

int read_device_common(struct read *r, xmlNode *node, enum model_device_kind kind,
                       struct model_device *device)
{
    device->kind = kind;
    device->node = node;
    device->slot = -1;
    device->alias = xml_child_attr(node, "alias", "name");
    xmlNode *boot = xml_child(node, "boot"), *rom = xml_child(node, "rom");
    int ret = read_positive(r, boot, "order", &device->boot_order);
    if (ret == 0)
        ret = read_address(r, node, &device->address);
    if (ret == 0 && rom && xml_attr(rom, "bar") && strcmp(xml_attr(rom, "bar"), "on") == 0)
        ret = read_refuse(r, rom, "bar", "'on': the BIOS takes ROMs another way");
    return ret;
}

/* ------------------------------------------------------------ small devices */

static int check_virtio_model(struct read *r, const xmlNode *node, const char *what)
{
    static const char *const known[] = {"virtio", "virtio-transitional", "virtio-non-transitional",
                                        NULL};
    const char *model = xml_attr(node, "model");
    if (!model)
        return read_xml_error(r, "missing %s device model", what);
    if (!read_is_one_of(model, known))
        return read_unsupported(r, "unknown %s model '%s'", what, model);
    if (strcmp(model, "virtio-transitional") == 0)
        return read_refuse(r, node, "model",
                           "'%s': 'virtio' and 'virtio-non-transitional' are accepted", model);
    return 0;
}

int read_rng(struct read *r, xmlNode *node, struct model_rng *rng)
{
    static const char *const backends[] = {"random", "egd", "builtin", NULL};
    int ret = read_device_common(r, node, MODEL_RNG, &rng->device);
    if (ret == 0)
        ret = check_virtio_model(r, node, "RNG");
    if (ret < 0)
        return ret;
    xmlNode *backend = xml_child(node, "backend"), *rate = xml_child(node, "rate");
    const char *model = backend ? xml_attr(backend, "model") : NULL;
    if (!backend)
        return read_xml_error(r, "only one RNG backend is supported");
    if (!model || !read_is_one_of(model, backends))
        return read_unsupported(r, "unknown RNG backend model '%s'", model ? model : "");
    if (strcmp(model, "egd") == 0)
        return read_refuse(r, backend, "model", "'egd': 'random' and 'builtin' are accepted");
    if (*model == 'r') {
        if (!*xml_text(backend) && !xml_set_text(backend, "/dev/random"))
            return read_no_memory(r);
        rng->path = xml_text(backend);
    }
    if (!rate)
        return 0;
    rng->period = 1000;
    ret = read_u64(r, rate, "bytes", &rng->bytes);
    if (ret == 0)
        ret = read_positive(r, rate, "period", &rng->period);
    if (ret == 0 && rng->bytes == 0)
        ret = read_xml_error(r, "invalid RNG rate bytes value");
    return ret;
}

int read_panic(struct read *r, xmlNode *node, struct model_panic *panic)
{
    static const char *const models[] = {"default", "isa",     "pseries", "hyperv",
                                         "s390",    "pvpanic", NULL};
    int ret = read_device_common(r, node, MODEL_PANIC, &panic->device);
    const char *model = xml_attr(node, "model");
    if (ret < 0)
        return ret;
    if (model && !read_is_one_of(model, models))
        return read_unsupported(r, "unknown panic model '%s'", model);
    if (!model || strcmp(model, "default") == 0)
        ret = read_set(r, node, "model", "isa");
    else if (strcmp(model, "hyperv") == 0)
        r->d->hyperv.crash = true;
    else if (strcmp(model, "isa") != 0)
        ret = read_refuse(r, node, "model", "'%s': 'isa' and 'hyperv' are accepted", model);
    panic->model = xml_attr(node, "model");
    if (ret == 0 && panic->device.address.kind == MODEL_ADDRESS_ISA &&
        panic->device.address.iobase != 0x505)
        ret = read_refuse(r, xml_child(node, "address"), "iobase", "0x%x: 0x505 is accepted",
                          panic->device.address.iobase);
    return ret;
}

int read_memballoon(struct read *r, xmlNode *node, struct model_memballoon *balloon)
{
    static const char *const models[] = {
        "virtio", "xen", "none", "virtio-transitional", "virtio-non-transitional", NULL};
    const char *model = NULL;
    int ret = read_device_common(r, node, MODEL_MEMBALLOON, &balloon->device);
    if (ret == 0)
        ret = read_choice(r, node, "model", models, &model);
    if (ret < 0)
        return ret;
    if (!model)
        return api_error_from(r->err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                              "Missing required attribute 'model' in element 'memballoon'");
    balloon->none = strcmp(model, "none") == 0;
    if (strcmp(model, "xen") == 0 || strcmp(model, "virtio-transitional") == 0)
        ret = read_refuse(r, node, "model", "'%s': 'virtio' and 'none' are accepted", model);
    xmlNode *stats = xml_child(node, "stats");
    if (ret == 0)
        ret = read_uint(r, stats, "period", &balloon->stats_period);
    if (ret == 0)
        ret = read_switch(r, node, "autodeflate", &balloon->autodeflate);
    return ret < 0 ? ret : read_switch(r, node, "freePageReporting", &balloon->free_page_reporting);
}

int read_vsock(struct read *r, xmlNode *node, struct model_vsock *vsock)
{
    int ret = read_device_common(r, node, MODEL_VSOCK, &vsock->device);
    if (ret == 0 && !xml_attr(node, "model"))
        ret = read_set(r, node, "model", "virtio");
    if (ret == 0)
        ret = check_virtio_model(r, node, "vsock");
    xmlNode *cid = element_child(node, "cid");
    if (ret == 0 && !cid)
        ret = read_no_memory(r);
    bool automatic = ret == 0 && !xml_attr(cid, "address");
    if (ret == 0)
        ret = read_yes_no(r, cid, "auto", &automatic);
    if (ret == 0)
        ret = read_uint(r, cid, "address", &vsock->cid);
    if (ret < 0)
        return ret;
    automatic |= !xml_attr(cid, "address");
    vsock->automatic = automatic;
    if (xml_attr(cid, "address") && vsock->cid < 3)
        return read_unsupported(r, "guest CIDs must be >= 3");
    return read_set(r, cid, "auto", automatic ? "yes" : "no");
}

int read_watchdog(struct read *r, xmlNode *node, struct model_watchdog *watchdog)
{
    static const char *const models[] = {"i6300esb", "ib700", "diag288", "itco", NULL};
    static const char *const actions[] = {"reset", "shutdown", "poweroff",   "pause",
                                          "none",  "dump",     "inject-nmi", NULL};
    const char *model = xml_attr(node, "model");
    int ret = read_device_common(r, node, MODEL_WATCHDOG, &watchdog->device);
    if (ret < 0)
        return ret;
    if (!model || !read_is_one_of(model, models))
        return read_unsupported(r, "unknown watchdog model '%s'", model ? model : "");
    if (strcmp(model, "i6300esb") != 0)
        return read_refuse(r, node, "model", "'%s': 'i6300esb' is accepted", model);
    watchdog->action = xml_attr(node, "action");
    if (watchdog->action && !read_is_one_of(watchdog->action, actions))
        return read_unsupported(r, "unknown watchdog action '%s'", watchdog->action);
    if (watchdog->action)
        return 0;
    watchdog->action = "reset";
    return read_set(r, node, "action", "reset");
}

/* --------------------------------------------- what the guest runs without */

static int read_audio(struct read *r, const xmlNode *node)
{
    const char *type = xml_attr(node, "type");
    if (type && (strcmp(type, "none") == 0 || strcmp(type, "spice") == 0))
        return 0;
    return read_refuse(r, node, "type", "'%s': sound is not supported; 'none' is accepted",
                       type ? type : "");
}

static int read_redirdev(struct read *r, const xmlNode *node)
{
    const char *type = xml_attr(node, "type");
    if (type && strcmp(type, "spicevmc") == 0)
        return 0;
    return read_refuse(r, node, "type", "'%s': USB is not supported; 'spicevmc' is left out",
                       type ? type : "");
}

/* The guest's end of a display's clipboard. */
static int read_spice_channel(struct read *r, const xmlNode *node)
{
    return read_left_out(r, node, "there is no display that it would belong to");
}

int read_carried(struct read *r, xmlNode *node)
{
    static const struct {
        const char *name;
        int (*read)(struct read *r, const xmlNode *node);
    } rows[] = {
        {"audio", read_audio},
        {"redirdev", read_redirdev},
        {"channel", read_spice_channel},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (xml_is(node, rows[i].name))
            return rows[i].read(r, node);
    }
    return 0;
}

void domain_strip_left_out(xmlNode *root)
{
    static const char *const sounds[] = {"sound", "audio", "redirdev", NULL};
    xmlNode *devices = xml_child(root, "devices"), *next = NULL;
    bool screen = devices && screen_is_there(devices);
    for (xmlNode *n = devices ? xml_first(devices) : NULL; n; n = next) {
        const char *type = xml_attr(n, "type"), *bus = xml_attr(n, "bus");
        bool clipboard = xml_is(n, "channel") && type && strcmp(type, "spicevmc") == 0;
        bool input = xml_is(n, "input") && bus && strcmp(bus, "virtio") != 0 &&
                     !(screen && strcmp(bus, "ps2") == 0) && !usb_input_is_there(devices, n);
        next = xml_next(n);
        if (clipboard || input || read_is_one_of(xml_name(n), sounds))
            xml_remove(n);
    }
}

/* Where no model is named, libvirt's choice. */
int read_tpm(struct read *r, xmlNode *node, struct model_tpm *tpm)
{
    static const char *const models[] = {"tpm-tis",         "tpm-crb",        "tpm-spapr",
                                         "spapr-tpm-proxy", "tpm-tis-device", NULL};
    static const char *const types[] = {"passthrough", "emulator", "external", NULL};
    static const char *const versions[] = {"default", "1.2", "2.0", NULL};
    const char *model = "tpm-tis", *type = NULL, *version = NULL;
    int ret = read_device_common(r, node, MODEL_TPM, &tpm->device);
    xmlNode *backend = xml_child(node, "backend");
    if (ret == 0 && xml_next_same(node))
        ret = read_unsupported(r, "only a single TPM non-proxy device is supported");
    if (ret == 0 && !backend)
        return read_xml_error(r, "missing TPM device backend");
    if (ret == 0)
        ret = read_choice(r, node, "model", models, &model);
    if (ret == 0 && strcmp(model, "tpm-crb") != 0 && strcmp(model, "tpm-tis") != 0)
        ret = read_refuse(r, node, "model", "'%s': 'tpm-crb' and 'tpm-tis' are accepted", model);
    if (ret == 0)
        ret = read_choice(r, backend, "type", types, &type);
    if (ret == 0 && (!type || strcmp(type, "emulator") != 0))
        ret = read_refuse(r, backend, "type", "'%s': 'emulator' is accepted", type ? type : "");
    if (ret == 0)
        ret = read_choice(r, backend, "version", versions, &version);
    if (ret == 0 && version && strcmp(version, "1.2") == 0)
        ret = read_refuse(r, backend, "version", "'1.2': '2.0' is accepted");
    if (ret == 0)
        ret = read_yes_no(r, backend, "persistent_state", &tpm->persistent);
    if (ret == 0)
        ret = read_set(r, node, "model", model);
    tpm->model = xml_attr(node, "model");
    return ret < 0 ? ret : read_set(r, backend, "version", "2.0");
}
