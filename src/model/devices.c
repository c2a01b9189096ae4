/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All devices of a domain: what libvirt adds by itself, the order it keeps, consoles that are
 * serial ports in truth, and the arrays of the view; see read.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "model/host.h"
#include "model/read.h"

/* ---------------------------------------------------------------- consoles */

static bool is_serial_console(const xmlNode *console)
{
    const char *type = xml_child_attr(console, "target", "type");
    return !type || strcmp(type, "serial") == 0;
}

/* A serial port's copy as <console>, with a console's target. */
static xmlNode *make_twin(struct read *r, xmlNode *serial)
{
    xmlNode *twin = xmlDocCopyNode(serial, serial->doc, 1);
    if (!twin)
        return NULL;
    xmlNodeSetName(twin, (const xmlChar *)"console");
    xml_remove(xml_child(twin, "target"));
    xml_remove(xml_child(twin, "address"));
    xmlNode *target = xml_add_child(twin, "target", NULL);
    const char *port = xml_child_attr(serial, "target", "port");
    if (!target || !xml_set_attr(target, "type", "serial") ||
        !xml_set_attr(target, "port", port ? port : "0")) {
        xmlFreeNode(twin);
        return NULL;
    }
    return twin;
}

/* The first console of type serial is the first serial port; when there is none of these, it
 * becomes one. */
static int pair_console(struct read *r)
{
    xmlNode *console = xml_child(r->devices, "console");
    xmlNode *serial = xml_child(r->devices, "serial");
    bool paired = console && is_serial_console(console);
    for (xmlNode *c = console ? xml_next_same(console) : NULL; c; c = xml_next_same(c)) {
        if (is_serial_console(c))
            return read_unsupported(r, "Only the first console can be a serial port");
    }
    if (!serial && !paired)
        return 0;
    if (!serial) {
        serial = xmlDocCopyNode(console, console->doc, 1);
        if (!serial)
            return read_no_memory(r);
        xmlNodeSetName(serial, (const xmlChar *)"serial");
        xml_set_attr(serial, "tty", NULL);
        xml_remove(xml_child(serial, "target"));
        xmlAddPrevSibling(console, serial);
    }
    xmlNode *twin = make_twin(r, serial);
    if (!twin)
        return read_no_memory(r);
    if (paired) {
        /* Of a live document, where it is told by both. */
        const char *tty = xml_attr(r->root, "id") ? xml_attr(console, "tty") : NULL;
        if (tty && !xml_set_attr(twin, "tty", tty)) {
            xmlFreeNode(twin);
            return read_no_memory(r);
        }
        xmlReplaceNode(console, twin);
        xmlFreeNode(console);
    } else if (console) {
        xmlAddPrevSibling(console, twin);
    } else {
        xmlAddChild(r->devices, twin);
    }
    return 0;
}

/* Ports that were not given: one above the highest; consoles count by themselves. */
static int number_ports(struct read *r, const char *name)
{
    unsigned next = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (xmlNode *n = xml_child(r->devices, name); n; n = xml_next_same(n)) {
            const char *text = xml_child_attr(n, "target", "port");
            uint64_t value;
            if (pass == 0 && text && xml_number(text, 1000, &value))
                next = MAX(next, (unsigned)value + 1);
            if (pass == 0 || text)
                continue;
            char port[16];
            snprintf(port, sizeof(port), "%u", next++);
            xmlNode *target = element_child(n, "target");
            if (!target || !xml_set_attr(target, "port", port))
                return read_no_memory(r);
        }
    }
    return 0;
}

static int number_virtio_consoles(struct read *r)
{
    unsigned next = 0;
    for (xmlNode *n = xml_child(r->devices, "console"); n; n = xml_next_same(n)) {
        if (is_serial_console(n))
            continue;
        char port[16];
        snprintf(port, sizeof(port), "%u", next++);
        xmlNode *target = xml_child(n, "target");
        if (!xml_set_attr(target, "port", port))
            return read_no_memory(r);
    }
    return 0;
}

/* -------------------------------------------------------------- controllers */

static xmlNode *find_controller(const struct read *r, const char *type, const char *index)
{
    for (xmlNode *n = xml_child(r->devices, "controller"); n; n = xml_next_same(n)) {
        const char *t = xml_attr(n, "type"), *i = xml_attr(n, "index");
        if (t && strcmp(t, type) == 0 && i && strcmp(i, index) == 0)
            return n;
    }
    return NULL;
}

/* The first of a type that did not say its index and may have 0. */
static xmlNode *find_unnumbered(const struct read *r, const char *type)
{
    for (xmlNode *n = xml_child(r->devices, "controller"); n; n = xml_next_same(n)) {
        const char *t = xml_attr(n, "type"), *model = xml_attr(n, "model");
        bool root = model && (strcmp(model, "pci-root") == 0 || strcmp(model, "pcie-root") == 0);
        if (t && strcmp(t, type) == 0 && !xml_attr(n, "index") &&
            (root || strcmp(type, "pci") != 0))
            return n;
    }
    return NULL;
}

/* The controller of an index: there already, written without an index, or a new one. */
static int add_controller(struct read *r, const char *type, const char *index, const char *model)
{
    if (find_controller(r, type, index))
        return 0;
    xmlNode *node = find_unnumbered(r, type);
    if (node)
        return xml_set_attr(node, "index", index) ? 0 : read_no_memory(r);
    node = xml_add_child(r->devices, "controller", NULL);
    if (!node || !xml_set_attr(node, "type", type) || !xml_set_attr(node, "index", index) ||
        !xml_set_attr(node, "model", model))
        return read_no_memory(r);
    return 0;
}

/* A device of a kind that is read otherwise: SPICE's channel belongs to its display. */
static bool is_left_out(const xmlNode *node)
{
    const char *type = xml_is(node, "channel") ? xml_attr(node, "type") : NULL;
    return type && strcmp(type, "spicevmc") == 0;
}

static bool needs_virtio_serial(const struct read *r)
{
    for (xmlNode *n = xml_child(r->devices, "channel"); n; n = xml_next_same(n)) {
        if (!is_left_out(n))
            return true;
    }
    for (xmlNode *n = xml_child(r->devices, "console"); n; n = xml_next_same(n)) {
        if (!is_serial_console(n))
            return true;
    }
    return false;
}

/* Inputs that say no other controller; one that there is keeps its model. */
static bool needs_usb(const struct read *r)
{
    for (xmlNode *n = xml_child(r->devices, "controller"); n; n = xml_next_same(n)) {
        const char *type = xml_attr(n, "type");
        if (type && strcmp(type, "usb") == 0)
            return false;
    }
    for (xmlNode *n = xml_child(r->devices, "input"); n; n = xml_next_same(n)) {
        const char *type = xml_attr(n, "type"), *bus = xml_attr(n, "bus");
        if (bus ? strcmp(bus, "usb") == 0 : type && strcmp(type, "tablet") == 0)
            return screen_is_there(r->devices);
    }
    return false;
}

/* Those that disks are at, by their address or by their name's place. */
static int add_drive_controllers(struct read *r, const struct drive_bus *bus)
{
    int ret = 0;
    for (xmlNode *n = xml_child(r->devices, "disk"); n && ret == 0; n = xml_next_same(n)) {
        char text[12];
        int index = disk_controller(n, bus);
        snprintf(text, sizeof(text), "%d", index);
        if (index >= 0)
            ret = add_controller(r, bus->name, text, bus->model);
    }
    return ret;
}

static int add_controllers(struct read *r)
{
    bool pc = strncmp(r->d->machine, "pc-i440fx", 9) == 0;
    int ret = add_controller(r, "pci", "0", pc ? "pci-root" : "pcie-root");
    if (ret == 0 && needs_usb(r))
        ret = add_controller(r, "usb", "0", "qemu-xhci");
    if (ret == 0 && needs_virtio_serial(r))
        ret = add_controller(r, "virtio-serial", "0", NULL);
    for (unsigned i = 0; ret == 0 && i < MODEL_DISK_BUSES; i++) {
        if (drive_buses[i].name)
            ret = add_drive_controllers(r, &drive_buses[i]);
    }
    return ret;
}

/* ------------------------------------------------------------------- others */

static int add_memballoon(struct read *r)
{
    if (xml_child(r->devices, "memballoon"))
        return 0;
    xmlNode *node = xml_add_child(r->devices, "memballoon", NULL);
    return node ? read_set(r, node, "model", "virtio") : read_no_memory(r);
}

/* Length first: vdz stands before vdaa. */
static int compare_targets(const void *a, const void *b)
{
    const char *x = xml_child_attr(*(xmlNode *const *)a, "target", "dev");
    const char *y = xml_child_attr(*(xmlNode *const *)b, "target", "dev");
    x = x ? x : "";
    y = y ? y : "";
    size_t n = strlen(x), m = strlen(y);
    return n != m ? (n < m ? -1 : 1) : strcmp(x, y);
}

static int sort_disks(struct read *r)
{
    unsigned n = xml_count(r->devices, "disk"), i = 0;
    if (n < 2)
        return 0;
    xmlNode **list = arena_alloc(r->d->arena, n * sizeof(*list));
    if (!list)
        return read_no_memory(r);
    for (xmlNode *c = xml_child(r->devices, "disk"); c; c = xml_next_same(c))
        list[i++] = c;
    qsort(list, n, sizeof(*list), compare_targets);
    xmlNode *before = xml_child(r->devices, "disk");
    if (before != list[0]) {
        xmlUnlinkNode(list[0]);
        xmlAddPrevSibling(before, list[0]);
    }
    for (i = 1; i < n; i++) {
        if (list[i - 1]->next == list[i])
            continue;
        xmlUnlinkNode(list[i]);
        xmlAddNextSibling(list[i - 1], list[i]);
    }
    return 0;
}

static int read_emulator(struct read *r)
{
    const char *ours = model_host_emulator(r->d->host);
    xmlNode *node = element_child(r->devices, "emulator");
    if (!node || (!*xml_text(node) && !xml_set_text(node, ours)))
        return read_no_memory(r);
    r->d->emulator = xml_text(node);
    const char *base = strrchr(r->d->emulator, '/');
    base = base ? base + 1 : r->d->emulator;
    if (strcmp(base, "kvasir-vmm") == 0 || r->flags & MODEL_PARSE_STORED)
        return 0;
    /* Clients that were written for QEMU name its program; the machine is ours all the same. */
    if (strncmp(base, "qemu-system-x86_64", 18) == 0 || strcmp(base, "kvm") == 0 ||
        strcmp(base, "qemu-kvm") == 0) {
        int ret = xml_set_text(node, ours) ? 0 : read_no_memory(r);
        r->d->emulator = xml_text(node);
        return ret;
    }
    return read_refuse(r, node, NULL, "'%s': '%s' is accepted", r->d->emulator, ours);
}

int complete_devices(struct read *r)
{
    int ret = read_emulator(r);
    if (ret == 0)
        ret = sort_disks(r);
    if (ret == 0)
        ret = number_ports(r, "serial");
    if (ret == 0)
        ret = pair_console(r);
    if (ret == 0)
        ret = number_ports(r, "serial");
    if (ret == 0)
        ret = number_virtio_consoles(r);
    if (ret == 0)
        ret = complete_screen(r);
    if (ret == 0)
        ret = add_controllers(r);
    return ret < 0 ? ret : add_memballoon(r);
}

/* --------------------------------------------------------------------- view */

/* A kind of device: its element, its array in the view, and who reads one. */
struct device_table {
    const char *name;
    size_t size;
    size_t array, count; /* offsets in struct model_domain; count 0: a single one */
    int (*read)(struct read *r, xmlNode *node, void *device);
};

#define READER(name, type)                                             \
    static int name##_any(struct read *r, xmlNode *node, void *device) \
    {                                                                  \
        return name(r, node, (type *)device);                          \
    }
READER(read_disk, struct model_disk)
READER(read_controller, struct model_controller)
READER(read_nic, struct model_nic)
READER(read_chardev, struct model_chardev)
READER(read_rng, struct model_rng)
READER(read_panic, struct model_panic)
READER(read_memballoon, struct model_memballoon)
READER(read_vsock, struct model_vsock)
READER(read_tpm, struct model_tpm)
READER(read_watchdog, struct model_watchdog)
READER(read_graphics, struct model_graphics)
READER(read_video, struct model_video)
READER(read_input, struct model_input)

#define MANY_OF(name_, type_, field_, reader_)                                                     \
    {                                                                                              \
        .name = (name_), .size = sizeof(type_), .array = offsetof(struct model_domain, field_##s), \
        .count = offsetof(struct model_domain, field_##_count), .read = reader_##_any              \
    }
#define ONE_OF(name_, type_, field_, reader_)                                                   \
    {                                                                                           \
        .name = (name_), .size = sizeof(type_), .array = offsetof(struct model_domain, field_), \
        .read = reader_##_any                                                                   \
    }

static const struct device_table device_tables[] = {
    MANY_OF("disk", struct model_disk, disk, read_disk),
    MANY_OF("controller", struct model_controller, controller, read_controller),
    MANY_OF("interface", struct model_nic, nic, read_nic),
    MANY_OF("serial", struct model_chardev, serial, read_chardev),
    MANY_OF("console", struct model_chardev, console, read_chardev),
    MANY_OF("channel", struct model_chardev, channel, read_chardev),
    MANY_OF("rng", struct model_rng, rng, read_rng),
    MANY_OF("input", struct model_input, input, read_input),
    MANY_OF("panic", struct model_panic, panic, read_panic),
    ONE_OF("memballoon", struct model_memballoon, memballoon, read_memballoon),
    ONE_OF("vsock", struct model_vsock, vsock, read_vsock),
    ONE_OF("tpm", struct model_tpm, tpm, read_tpm),
    ONE_OF("watchdog", struct model_watchdog, watchdog, read_watchdog),
    ONE_OF("graphics", struct model_graphics, graphics, read_graphics),
    ONE_OF("video", struct model_video, video, read_video),
};

static int add_device(struct read *r, struct model_device *device)
{
    struct model_domain *d = r->d;
    if (d->device_count == r->device_capacity) {
        unsigned capacity = MAX(16u, r->device_capacity * 2);
        struct model_device **list = arena_alloc(d->arena, capacity * sizeof(*list));
        if (!list)
            return read_no_memory(r);
        if (d->device_count)
            memcpy(list, d->devices, d->device_count * sizeof(*list));
        d->devices = list;
        r->device_capacity = capacity;
    }
    d->devices[d->device_count++] = device;
    return 0;
}

static int read_table(struct read *r, const struct device_table *table)
{
    uint8_t *base = (uint8_t *)r->d;
    unsigned n = xml_count(r->devices, table->name);
    if (n == 0)
        return 0;
    uint8_t *array = arena_alloc(r->d->arena, n * table->size);
    if (!array)
        return read_no_memory(r);
    *(void **)(base + table->array) = array;
    unsigned single = 0, *count = table->count ? (unsigned *)(base + table->count) : &single;
    for (xmlNode *c = xml_child(r->devices, table->name); c; c = xml_next_same(c)) {
        if (is_left_out(c))
            continue;
        struct model_device *device = (struct model_device *)(array + *count * table->size);
        int ret = table->read(r, c, device);
        if (ret == 0)
            ret = add_device(r, device);
        if (ret < 0)
            return ret;
        (*count)++;
    }
    return 0;
}

static int read_others(struct read *r)
{
    for (xmlNode *c = xml_first(r->devices); c; c = xml_next(c)) {
        bool known = strcmp(xml_name(c), "emulator") == 0;
        for (unsigned i = 0; i < ARRAY_SIZE(device_tables); i++)
            known |= strcmp(device_tables[i].name, xml_name(c)) == 0;
        if (known && !is_left_out(c))
            continue;
        struct model_device *device = arena_alloc(r->d->arena, sizeof(*device));
        int ret = device ? read_device_common(r, c, MODEL_OTHER, device) : read_no_memory(r);
        if (ret == 0)
            ret = read_carried(r, c);
        if (ret == 0)
            ret = add_device(r, device);
        if (ret < 0)
            return ret;
    }
    return 0;
}

/* ------------------------------------------------------- devices together */

static int check_boot_orders(struct read *r)
{
    const struct model_domain *d = r->d;
    for (unsigned i = 0; i < d->device_count; i++) {
        for (unsigned j = 0; d->devices[i]->boot_order && j < i; j++) {
            if (d->devices[j]->boot_order == d->devices[i]->boot_order)
                return read_unsupported(r, "boot order '%u' used for more than one device",
                                        d->devices[i]->boot_order);
        }
    }
    return 0;
}

static int check_names(struct read *r)
{
    const struct model_domain *d = r->d;
    for (unsigned i = 0; i < d->serial_count; i++) {
        for (unsigned j = 0; j < i; j++) {
            if (d->serials[i].port == d->serials[j].port)
                return read_xml_error(r, "serial port '%u' is used twice", d->serials[i].port);
        }
    }
    for (unsigned i = 0; i < d->channel_count; i++) {
        const char *name = d->channels[i].name;
        for (unsigned j = 0; name && j < i; j++) {
            if (d->channels[j].name && strcmp(d->channels[j].name, name) == 0)
                return read_xml_error(r, "channel name '%s' is used twice", name);
        }
    }
    for (unsigned i = 0; i < d->device_count; i++) {
        const struct model_device *a = d->devices[i];
        for (unsigned j = 0; a->alias && j < i; j++) {
            const struct model_device *b = d->devices[j];
            bool twins = (a->kind == MODEL_CONSOLE && b->kind == MODEL_SERIAL) ||
                         (a->kind == MODEL_SERIAL && b->kind == MODEL_CONSOLE);
            if (b->alias && !twins && strcmp(a->alias, b->alias) == 0)
                return read_xml_error(r, "non unique alias detected: %s", a->alias);
        }
    }
    return 0;
}

int read_devices(struct read *r)
{
    int ret = complete_devices(r);
    for (unsigned i = 0; ret == 0 && i < ARRAY_SIZE(device_tables); i++)
        ret = read_table(r, &device_tables[i]);
    if (ret == 0)
        ret = read_screen(r);
    if (ret == 0)
        ret = read_others(r);
    if (ret == 0)
        ret = read_disks_together(r);
    if (ret == 0)
        ret = check_boot_orders(r);
    if (ret == 0)
        ret = check_names(r);
    return ret < 0 ? ret : assign_addresses(r);
}
