/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The documents of devices; see nodedev.h. */
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/parse.h"
#include "base/util.h"
#include "daemon/host/files.h"
#include "daemon/nodedev/nodedev.h"
#include "model/xml.h"

#define SECTOR 512 /* in which sysfs gives sizes */

/* Collects the document; what fails once is remembered. */
struct writer {
    struct buffer out;
    bool failed;
};

/* "<name>text</name>", escaped; nothing for an empty text. */
static void put(struct writer *to, int indent, const char *name, const char *text)
{
    if (*text)
        to->failed |= buffer_printf(&to->out, "%*s<%s>", indent, "", name) < 0 ||
                      xml_escape(&to->out, text) < 0 ||
                      buffer_printf(&to->out, "</%s>\n", name) < 0;
}

static void put_raw(struct writer *to, const char *text)
{
    to->failed |= buffer_printf(&to->out, "%s", text) < 0;
}

/* An element whose text is a file's. */
static void put_file(struct writer *to, int indent, const char *name,
                     const struct node_device *device, const char *file)
{
    char text[256];
    if (file_read_line(text, sizeof(text), "%s/%s", device->path, file) == 0) {
        size_t len = strlen(text);
        while (len && text[len - 1] == ' ')
            text[--len] = '\0';
        put(to, indent, name, text);
    }
}

static void put_number(struct writer *to, const char *name, uint64_t number)
{
    char text[32];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    put(to, 4, name, text);
}

static void describe_system(struct writer *to, const struct node_device *device)
{
    const struct node_device dmi = {.path = "/sys/class/dmi/id"};
    put_file(to, 4, "product", &dmi, "product_name");
    put_raw(to, "    <hardware>\n");
    put_file(to, 6, "vendor", &dmi, "sys_vendor");
    put_file(to, 6, "version", &dmi, "product_version");
    put_file(to, 6, "serial", &dmi, "product_serial");
    put_file(to, 6, "uuid", &dmi, "product_uuid");
    put_raw(to, "    </hardware>\n    <firmware>\n");
    put_file(to, 6, "vendor", &dmi, "bios_vendor");
    put_file(to, 6, "version", &dmi, "bios_version");
    put_file(to, 6, "release_date", &dmi, "bios_date");
    put_raw(to, "    </firmware>\n");
}

/* <vendor id='0x8086'/>, from a file that holds the number. */
static void put_id(struct writer *to, const struct node_device *device, const char *name,
                   const char *file, const char *prefix)
{
    char text[32];
    if (file_read_line(text, sizeof(text), "%s/%s", device->path, file) == 0 && *text)
        to->failed |= buffer_printf(&to->out, "    <%s id='%s%s'/>\n", name, prefix, text) < 0;
}

static void describe_pci(struct writer *to, const struct node_device *device)
{
    unsigned domain, bus, slot, function;
    char target[512], path[640];
    put_file(to, 4, "class", device, "class");
    if (sscanf(device->entry, "%x:%x:%x.%u", &domain, &bus, &slot, &function) == 4) {
        put_number(to, "domain", domain);
        put_number(to, "bus", bus);
        put_number(to, "slot", slot);
        put_number(to, "function", function);
    }
    put_id(to, device, "product", "device", "");
    put_id(to, device, "vendor", "vendor", "");
    snprintf(path, sizeof(path), "%s/iommu_group", device->path);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n > 0) {
        target[n] = '\0';
        to->failed |= buffer_printf(&to->out,
                                    "    <iommuGroup number='%s'>\n      <address domain='0x%04x' "
                                    "bus='0x%02x' slot='0x%02x' function='0x%u'/>\n"
                                    "    </iommuGroup>\n",
                                    basename(target), domain, bus, slot, function) < 0;
    }
}

static void describe_usb(struct writer *to, const struct node_device *device)
{
    put_number(to, "bus", file_read_number(0, "%s/busnum", device->path));
    put_number(to, "device", file_read_number(0, "%s/devnum", device->path));
    put_id(to, device, "product", "idProduct", "0x");
    put_id(to, device, "vendor", "idVendor", "0x");
}

static void describe_net(struct writer *to, const struct node_device *device)
{
    char state[32];
    put(to, 4, "interface", device->entry);
    put_file(to, 4, "address", device, "address");
    if (file_read_line(state, sizeof(state), "%s/operstate", device->path) == 0)
        to->failed |= buffer_printf(&to->out, "    <link state='%s'/>\n", state) < 0;
    if (file_read_number(0, "%s/type", device->path) == 1)
        put_raw(to, "    <capability type='80203'/>\n");
}

static void describe_storage(struct writer *to, const struct node_device *device)
{
    char path[128];
    snprintf(path, sizeof(path), "/dev/%s", device->entry);
    put(to, 4, "block", path);
    bool rom = strncmp(device->entry, "sr", 2) == 0;
    put(to, 4, "drive_type", rom ? "cdrom" : "disk");
    put_file(to, 4, "model", device, "device/model");
    put_file(to, 4, "vendor", device, "device/vendor");
    put_file(to, 4, "serial", device, "serial");
    uint64_t sectors = file_read_number(0, "%s/size", device->path);
    put_number(to, "size", sectors * SECTOR);
    put_number(to, "logical_block_size",
               file_read_number(SECTOR, "%s/queue/logical_block_size", device->path));
    put_number(to, "num_blocks",
               sectors * SECTOR /
                   MAX(file_read_number(SECTOR, "%s/queue/logical_block_size", device->path), 1u));
}

static void describe_scsi_host(struct writer *to, const struct node_device *device)
{
    uint64_t number;
    if (strncmp(device->entry, "host", 4) == 0 && parse_u64(device->entry + 4, &number) == 0)
        put_number(to, "host", number);
    put_file(to, 4, "unique_id", device, "unique_id");
}

char *node_device_describe(const struct node_device *device)
{
    static void (*const by_kind[NODE_KINDS])(struct writer *, const struct node_device *) = {
        [NODE_SYSTEM] = describe_system,   [NODE_PCI] = describe_pci,
        [NODE_USB] = describe_usb,         [NODE_NET] = describe_net,
        [NODE_STORAGE] = describe_storage, [NODE_SCSI_HOST] = describe_scsi_host,
    };
    struct writer to = {.out = BUFFER_INIT(0)};
    char path[640], driver[512];
    put_raw(&to, "<device>\n");
    put(&to, 2, "name", device->name);
    put(&to, 2, "path", device->path);
    put(&to, 2, "parent", device->parent);
    snprintf(path, sizeof(path), "%s/driver", device->path);
    ssize_t n = *device->path ? readlink(path, driver, sizeof(driver) - 1) : -1;
    if (n > 0) {
        driver[n] = '\0';
        put_raw(&to, "  <driver>\n");
        put(&to, 4, "name", basename(driver));
        put_raw(&to, "  </driver>\n");
    }
    to.failed |= buffer_printf(&to.out, "  <capability type='%s'>\n",
                               node_kinds[device->kind].capability) < 0;
    by_kind[device->kind](&to, device);
    put_raw(&to, "  </capability>\n</device>\n");
    char *text = to.failed ? NULL : xml_take(&to.out);
    buffer_free(&to.out);
    return text;
}
