/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <controller>: which of them the machine has, and what their drivers may say; see read.h. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "model/read.h"

struct controller_type {
    const char *name;
    bool refused;
    const char *left_out; /* why; NULL: acted on */
    const struct drive_bus *bus;
    /* Of those that disks are at, without a disk as well. */
    int (*read)(struct read *r, xmlNode *node, struct model_controller *c);
};

#define NO_DISK_ON_IT "a controller without a disk; disks are on virtio, SATA, SCSI and NVMe"

static int read_scsi(struct read *r, xmlNode *node, struct model_controller *c);
static int read_usb(struct read *r, xmlNode *node, struct model_controller *c);
static int read_nvme(struct read *r, xmlNode *node, struct model_controller *c);

static const struct controller_type controller_types[] = {
    {"pci", false, NULL, NULL, NULL},
    {"virtio-serial", false, NULL, NULL, NULL},
    {"usb", false, "nothing is on it; inputs are on qemu-xhci and nec-xhci", NULL, read_usb},
    {"ide", false, NO_DISK_ON_IT, NULL, NULL},
    {"sata", false, NO_DISK_ON_IT, &drive_buses[MODEL_DISK_SATA], NULL},
    {"scsi", false, NULL, &drive_buses[MODEL_DISK_SCSI], read_scsi},
    {"nvme", false, NULL, &drive_buses[MODEL_DISK_NVME], read_nvme},
    {"fdc", false, NO_DISK_ON_IT, NULL, NULL},
    {"isa", false, NO_DISK_ON_IT, NULL, NULL},
    {"ccid", true, NULL, NULL, NULL},
    {"xenbus", true, NULL, NULL, NULL},
};

static const struct controller_type *find_controller_type(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(controller_types); i++) {
        if (strcmp(controller_types[i].name, name) == 0)
            return &controller_types[i];
    }
    return NULL;
}

static int read_pci_controller(struct read *r, xmlNode *node, struct model_controller *c)
{
    static const char *const roots[] = {"pci-root", "pcie-root", NULL};
    static const char *const ports[] = {"pcie-root-port",
                                        "pcie-switch-upstream-port",
                                        "pcie-switch-downstream-port",
                                        "pcie-to-pci-bridge",
                                        "dmi-to-pci-bridge",
                                        "pci-bridge",
                                        NULL};
    static const char *const others[] = {"pci-expander-bus", "pcie-expander-bus", NULL};
    if (!c->model)
        return read_xml_error(r, "Missing required attribute 'model' in element 'controller'");
    if (read_is_one_of(c->model, others))
        return read_refuse(r, node, "model", "'%s': 'pcie-root-port' is accepted", c->model);
    bool root = read_is_one_of(c->model, roots);
    if (!root && !read_is_one_of(c->model, ports))
        return read_unsupported(r, "Unknown model type '%s'", c->model);
    if (root && c->index)
        return api_error(r->err, VIR_ERR_XML_ERROR,
                         "pci-root and pcie-root controllers should have index 0");
    const char *wanted = strncmp(r->d->machine, "pc-i440fx", 9) == 0 ? "pci-root" : "pcie-root";
    if (c->index == 0 && strcmp(c->model, wanted) != 0)
        return api_error(r->err, VIR_ERR_XML_ERROR,
                         "The PCI controller with index='0' must be model='%s' for this machine "
                         "type, but model='%s' was found instead",
                         wanted, c->model);
    return root ? 0 : read_left_out(r, node, "devices are directly on bus 0");
}

/* An index that was not given: the first that no controller of the type has. */
static int choose_index(struct read *r, xmlNode *node, const struct model_controller *c)
{
    bool used[CONTROLLERS_MAX] = {false};
    for (xmlNode *n = xml_child(r->devices, "controller"); n; n = xml_next_same(n)) {
        const char *type = xml_attr(n, "type"), *text = xml_attr(n, "index");
        uint64_t value;
        if (type && text && strcmp(type, c->type) == 0 &&
            xml_number(text, CONTROLLERS_MAX - 1, &value))
            used[value] = true;
    }
    unsigned index = 0;
    while (index < CONTROLLERS_MAX - 1 && used[index])
        index++;
    char text[16];
    snprintf(text, sizeof(text), "%u", index);
    return read_set(r, node, "index", text);
}

static bool has_disks(const struct read *r, const struct drive_bus *bus,
                      const struct model_controller *c)
{
    for (xmlNode *n = xml_child(r->devices, "disk"); bus && n; n = xml_next_same(n)) {
        if (disk_controller(n, bus) == (int)c->index)
            return true;
    }
    return false;
}

static int read_scsi_driver(struct read *r, const xmlNode *node, struct model_controller *c)
{
    enum model_switch ioeventfd = MODEL_SWITCH_ABSENT;
    unsigned queues = 1;
    int ret = read_positive(r, node, "queues", &queues);
    if (ret == 0 && queues != 1)
        ret = read_refuse(r, node, "queues", "'%u': a SCSI controller has 1", queues);
    if (ret == 0)
        ret = read_positive(r, node, "cmd_per_lun", &c->cmd_per_lun);
    if (ret == 0)
        ret = read_positive(r, node, "max_sectors", &c->max_sectors);
    if (ret == 0)
        ret = read_switch(r, node, "ioeventfd", &ioeventfd);
    if (ret == 0 && ioeventfd == MODEL_SWITCH_OFF)
        ret = read_refuse(r, node, "ioeventfd", "'off': it is always on");
    if (ret == 0)
        ret = read_uint(r, node, "iothread", &c->iothread);
    return ret < 0 ? ret : check_iothread(r, "Controller", c->iothread);
}

/* Adapters of hardware that there was: guests get the one for virtual machines, which is also what
 * they get who did not choose. */
static int read_scsi(struct read *r, xmlNode *node, struct model_controller *c)
{
    static const char *const known[] = {
        "auto",     "buslogic",    "lsilogic",   "lsisas1068",          "vmpvscsi",
        "ibmvscsi", "virtio-scsi", "lsisas1078", "virtio-transitional", "ncr53c90",
        "dc390",    "am53c974",    NULL};
    int ret = 0;
    if (!c->model || strcmp(c->model, "auto") == 0) {
        ret = read_set(r, node, "model", "virtio-scsi");
        c->model = "virtio-scsi";
    } else if (strcmp(c->model, "virtio-scsi") != 0 &&
               strcmp(c->model, "virtio-non-transitional") != 0) {
        if (!read_is_one_of(c->model, known))
            return read_unsupported(r, "Unknown model type '%s'", c->model);
        if (!c->real)
            return read_left_out(r, node, NO_DISK_ON_IT);
        ret =
            read_refuse(r, node, "model",
                        "'%s': 'virtio-scsi' and 'virtio-non-transitional' are accepted", c->model);
    }
    c->real = true;
    return ret < 0 ? ret : read_scsi_driver(r, xml_child(node, "driver"), c);
}

/* ---------------------------------------------------------------------- USB */

static const char *const usb_models[] = {"qemu-xhci", "nec-xhci", NULL};

static bool is_at(const xmlNode *input, uint64_t index)
{
    const char *type = xml_attr(input, "type"), *bus = xml_attr(input, "bus");
    const char *at = xml_child_attr(input, "address", "bus");
    uint64_t number = 0;
    bool usb = bus ? strcmp(bus, "usb") == 0 : type && strcmp(type, "tablet") == 0;
    return usb && (!at || xml_number(at, CONTROLLERS_MAX - 1, &number)) && number == index;
}

bool usb_inputs_are_there(const xmlNode *devices, unsigned index)
{
    bool model = false, input = false;
    for (const xmlNode *n = xml_child(devices, "controller"); n; n = xml_next_same(n)) {
        const char *type = xml_attr(n, "type"), *at = xml_attr(n, "index");
        const char *is = xml_attr(n, "model");
        uint64_t number = 0;
        if (type && strcmp(type, "usb") == 0 &&
            (!at || xml_number(at, CONTROLLERS_MAX - 1, &number)) && number == index)
            model |= !is || read_is_one_of(is, usb_models);
    }
    for (const xmlNode *n = xml_child(devices, "input"); n && !input; n = xml_next_same(n))
        input = is_at(n, index);
    return model && input && screen_is_there(devices);
}

bool usb_input_is_there(const xmlNode *devices, const xmlNode *input)
{
    const char *at = xml_child_attr(input, "address", "bus");
    uint64_t index = 0;
    if (at && !xml_number(at, CONTROLLERS_MAX - 1, &index))
        return false;
    return is_at(input, index) && usb_inputs_are_there(devices, (unsigned)index);
}

static int read_usb(struct read *r, xmlNode *node, struct model_controller *c)
{
    if (!c->real || c->model)
        return 0;
    c->model = usb_models[0];
    return read_set(r, node, "model", c->model);
}

/* As libvirt has it since 11.5. */
static int read_nvme(struct read *r, xmlNode *node, struct model_controller *c)
{
    c->real = true;
    c->serial = xml_child_text(node, "serial");
    return 0;
}

int read_controller(struct read *r, xmlNode *node, struct model_controller *c)
{
    int ret = read_device_common(r, node, MODEL_CONTROLLER, &c->device);
    if (ret < 0)
        return ret;
    c->type = xml_attr(node, "type");
    c->model = xml_attr(node, "model");
    const struct controller_type *type = c->type ? find_controller_type(c->type) : NULL;
    if (!type)
        return api_error_from(r->err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                              "Invalid value for attribute 'type' in element 'controller': '%s'.",
                              c->type ? c->type : "");
    if (!xml_attr(node, "index"))
        ret = choose_index(r, node, c);
    if (ret == 0)
        ret = read_uint(r, node, "index", &c->index);
    if (ret < 0)
        return ret;
    for (unsigned i = 0; i < r->d->controller_count; i++) {
        const struct model_controller *other = &r->d->controllers[i];
        if (other != c && other->index == c->index && strcmp(other->type, c->type) == 0)
            return read_xml_error(r, "Multiple '%s' controllers with index '%u'", c->type,
                                  c->index);
    }
    if (type->refused)
        return read_refuse(r, node, "type",
                           "'%s': 'pci', 'sata', 'scsi', 'nvme' and 'virtio-serial' are accepted",
                           c->type);
    if (strcmp(c->type, "pci") == 0)
        return read_pci_controller(r, node, c);
    c->real = has_disks(r, type->bus, c) ||
              (type->read == read_usb && usb_inputs_are_there(r->devices, c->index));
    if (type->left_out && !c->real && !(c->model && strcmp(c->model, "none") == 0))
        return read_left_out(r, node, type->left_out);
    return type->read ? type->read(r, node, c) : 0;
}
