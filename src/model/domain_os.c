/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a domain boots and which features its machine has; see read.h. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "model/host.h"
#include "model/read.h"

static int read_type(struct read *r, xmlNode *os)
{
    static const char *const others[] = {"linux", "xen", "exe", "uml", "xenpvh", NULL};
    static const char *const arches[] = {"i686",  "aarch64", "armv7l",   "ppc64", "ppc64le",
                                         "s390x", "riscv64", "mips64el", NULL};
    struct model_domain *d = r->d;
    xmlNode *node = os ? xml_child(os, "type") : NULL;
    if (!node || !*xml_text(node))
        return read_xml_error(r, "an os <type> must be specified");
    const char *type = xml_text(node), *arch = xml_attr(node, "arch");
    if (read_is_one_of(type, others))
        return api_error(r->err, VIR_ERR_CONFIG_UNSUPPORTED,
                         "Emulator '%s' does not support os type '%s'",
                         model_host_emulator(d->host), type);
    if (strcmp(type, "hvm") != 0)
        return read_unsupported(r, "unknown OS type '%s'", type);
    if (arch && read_is_one_of(arch, arches))
        return api_error(r->err, VIR_ERR_CONFIG_UNSUPPORTED, "No emulator found for arch '%s'",
                         arch);
    if (arch && strcmp(arch, "x86_64") != 0)
        return read_unsupported(r, "Unknown architecture %s", arch);
    const char *machine = xml_attr(node, "machine");
    d->machine = model_host_machine(machine ? machine : "pc");
    if (!d->machine)
        return api_error(r->err, VIR_ERR_CONFIG_UNSUPPORTED,
                         "Emulator '%s' does not support machine type '%s'",
                         model_host_emulator(d->host), machine);
    int ret = arch ? 0 : read_set(r, node, "arch", "x86_64");
    if (ret == 0)
        ret = read_set(r, node, "machine", d->machine);
    d->machine = xml_attr(node, "machine");
    return ret;
}

static bool any_device_boots(const struct read *r)
{
    xmlNode *devices = xml_child(r->root, "devices");
    for (xmlNode *n = devices ? xml_first(devices) : NULL; n; n = xml_next(n)) {
        if (xml_child(n, "boot"))
            return true;
    }
    return false;
}

static int read_boot(struct read *r, xmlNode *os)
{
    static const char *const devs[] = {"fd", "hd", "cdrom", "network", NULL};
    bool devices = any_device_boots(r);
    for (xmlNode *n = xml_child(os, "boot"); n; n = xml_next_same(n)) {
        const char *dev = NULL;
        int ret = read_choice(r, n, "dev", devs, &dev);
        if (ret < 0)
            return ret;
        if (!dev)
            return api_error_from(r->err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                                  "Missing required attribute 'dev' in element 'boot'");
        if (devices)
            return read_unsupported(r, "per-device boot elements cannot be used together with "
                                       "os/boot elements");
        for (unsigned i = 0; devs[i] && r->d->boot_count < MODEL_BOOTS; i++) {
            if (strcmp(devs[i], dev) == 0)
                r->d->boots[r->d->boot_count++] = (enum model_boot)i;
        }
    }
    if (devices || xml_child(os, "boot"))
        return 0;
    r->d->boots[r->d->boot_count++] = MODEL_BOOT_DISK;
    xmlNode *boot = xml_add_child(os, "boot", NULL);
    return boot ? read_set(r, boot, "dev", "hd") : read_no_memory(r);
}

/* What BIOS and UEFI are asked for and cannot do. */
static int check_firmware(struct read *r, const xmlNode *os)
{
    const xmlNode *menu = xml_child(os, "bootmenu"), *bios = xml_child(os, "bios");
    const char *enabled = menu ? xml_attr(menu, "enable") : NULL;
    const char *serial = bios ? xml_attr(bios, "useserial") : NULL;
    const char *timeout = bios ? xml_attr(bios, "rebootTimeout") : NULL;
    if (enabled && strcmp(enabled, "yes") == 0)
        return read_refuse(r, menu, "enable", "'yes': a boot menu is not supported");
    if (serial && strcmp(serial, "no") == 0)
        return read_refuse(
            r, bios, "useserial",
            "'no': the firmware's console is the first serial port; 'yes' is accepted");
    if (timeout && strcmp(timeout, "-1") != 0)
        return read_refuse(r, bios, "rebootTimeout",
                           "'%s': firmware does not boot again by itself; '-1' is accepted",
                           timeout);
    return 0;
}

/* <firmware><feature>: what the image must be able to do. */
static int check_firmware_features(struct read *r, const xmlNode *os)
{
    const xmlNode *firmware = xml_child(os, "firmware");
    for (const xmlNode *n = firmware ? xml_child(firmware, "feature") : NULL; n;
         n = xml_next_same(n)) {
        bool enabled = false;
        int ret = read_yes_no(r, n, "enabled", &enabled);
        if (ret == 0 && enabled)
            ret = read_refuse(r, n, "enabled",
                              "'yes': secure boot wants UEFI with system management mode, which is "
                              "not supported; 'no' is accepted");
        if (ret < 0)
            return ret;
    }
    return 0;
}

/* The image and its variables, where they are not named: as the host's descriptors say. */
static int choose_uefi(struct read *r, xmlNode *loader, xmlNode *nvram)
{
    const struct model_host *host = r->d->host;
    struct model_uefi uefi = {.needs_smm = false};
    const char *path = xml_text(loader);
    char vars[PATH_MAX];
    if (*path && *xml_text(nvram) && xml_attr(nvram, "template"))
        return 0;
    bool known = model_host_uefi(host, *path ? path : NULL, &uefi);
    if (!known && !*path)
        return r->flags & MODEL_PARSE_STORED
                   ? 0
                   : api_error(r->err, VIR_ERR_OPERATION_FAILED,
                               "Unable to find 'efi' firmware that is compatible with the current "
                               "configuration; package ovmf has one");
    if (known && uefi.needs_smm)
        return read_refuse(r, loader, NULL,
                           "'%s' needs system management mode, which is not supported; a build "
                           "without it is accepted, such as OVMF_CODE_4M.fd",
                           path);
    if (!*path && !xml_set_text(loader, uefi.code))
        return read_no_memory(r);
    if (known && !xml_attr(nvram, "template") && !xml_set_attr(nvram, "template", uefi.vars))
        return read_no_memory(r);
    model_host_nvram(host, r->d->name, vars);
    return *xml_text(nvram) || xml_set_text(nvram, vars) ? 0 : read_no_memory(r);
}

static int read_uefi(struct read *r, xmlNode *os)
{
    xmlNode *loader = xml_child(os, "loader"), *nvram = xml_child(os, "nvram");
    const char *readonly = loader ? xml_attr(loader, "readonly") : NULL;
    const char *secure = loader ? xml_attr(loader, "secure") : NULL;
    if (r->d->kernel)
        return read_refuse(r, loader ? loader : os, NULL, "a <kernel> is booted without firmware");
    if (secure && strcmp(secure, "yes") == 0)
        return read_refuse(r, loader, "secure",
                           "'yes': system management mode is not supported; 'no' is accepted");
    if (readonly && strcmp(readonly, "no") == 0)
        return read_refuse(r, loader, "readonly",
                           "'no': variables are in the file of <nvram>, the image is never "
                           "written; 'yes' is accepted");
    if (!loader)
        loader = xml_add_child(os, "loader", "");
    if (!nvram)
        nvram = xml_add_child(os, "nvram", "");
    if (!loader || !nvram || !xml_set_attr(loader, "readonly", "yes") ||
        !xml_set_attr(loader, "type", "pflash"))
        return read_no_memory(r);
    int ret = choose_uefi(r, loader, nvram);
    r->d->loader = *xml_text(loader) ? xml_text(loader) : NULL;
    r->d->nvram = *xml_text(nvram) ? xml_text(nvram) : NULL;
    r->d->nvram_template = xml_attr(nvram, "template");
    return ret < 0 ? ret : check_firmware(r, os);
}

static int read_loader(struct read *r, xmlNode *os)
{
    static const char *const firmwares[] = {"bios", "efi", NULL}, *const types[] = {"rom", "pflash",
                                                                                    NULL};
    const xmlNode *loader = xml_child(os, "loader");
    const char *firmware = NULL, *type = NULL;
    int ret = read_choice(r, os, "firmware", firmwares, &firmware);
    if (ret == 0)
        ret = read_choice(r, loader, "type", types, &type);
    if (ret == 0)
        ret = check_firmware_features(r, os);
    if (ret < 0)
        return ret;
    bool efi = firmware && strcmp(firmware, "efi") == 0;
    if (efi && type && strcmp(type, "rom") == 0)
        return read_refuse(r, loader, "type", "'rom': UEFI is in flash; 'pflash' is accepted");
    if (efi || (type && strcmp(type, "pflash") == 0))
        return read_uefi(r, os);
    const char *secure = loader ? xml_attr(loader, "secure") : NULL;
    const char *path = loader ? xml_text(loader) : "";
    if (secure && strcmp(secure, "yes") == 0)
        return read_refuse(r, loader, "secure", "'yes': a BIOS does not verify what it boots");
    if (xml_child(os, "nvram"))
        return read_refuse(r, xml_child(os, "nvram"), NULL,
                           "a BIOS has no variables; <os firmware='efi'> or <loader "
                           "type='pflash'> is accepted");
    if (*path && r->d->kernel)
        return read_refuse(r, loader, NULL, "a <kernel> is booted without firmware");
    r->d->loader = *path ? path : NULL;
    return r->d->kernel ? 0 : check_firmware(r, os);
}

int read_os(struct read *r)
{
    struct model_domain *d = r->d;
    xmlNode *os = xml_child(r->root, "os");
    int ret = read_type(r, os);
    if (ret == 0)
        ret = read_boot(r, os);
    if (ret < 0)
        return ret;
    static const char *const texts[] = {"kernel", "initrd", "cmdline"};
    for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
        xmlNode *node = xml_child(os, texts[i]);
        if (node && !*xml_text(node))
            xml_remove(node);
    }
    d->kernel = xml_child_text(os, "kernel");
    d->initrd = xml_child_text(os, "initrd");
    d->cmdline = xml_child_text(os, "cmdline");
    ret = read_smbios(r, os);
    return ret < 0 ? ret : read_loader(r, os);
}

/* ----------------------------------------------------------------- features */

/* The values that are what the machine is anyway; others are refused. */
struct fixed {
    const char *name, *attribute;
    const char *missing; /* what a missing attribute means; NULL: nothing */
    const char *accepted;
    const char *why;
};

static int check_fixed(struct read *r, const xmlNode *node, const struct fixed *rows, size_t count)
{
    for (size_t i = 0; node && i < count; i++) {
        const xmlNode *n = xml_child(node, rows[i].name);
        const char *value = n ? xml_attr(n, rows[i].attribute) : NULL;
        if (n && !value)
            value = rows[i].missing;
        if (!value || strcmp(value, rows[i].accepted) == 0)
            continue;
        if (rows[i].missing && strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
            return api_error_from(r->err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                                  "Invalid value for attribute '%s' in element '%s': '%s'.",
                                  rows[i].attribute, rows[i].name, value);
        int ret = read_refuse(r, n, rows[i].attribute, "'%s': %s; '%s' is accepted", value,
                              rows[i].why, rows[i].accepted);
        if (ret < 0)
            return ret;
    }
    return 0;
}

int read_features(struct read *r)
{
    static const struct fixed rows[] = {
        {"hap", "state", "on", "on", "nested paging is always used"},
        {"pvspinlock", "state", "on", "on", "guests always see KVM's spin locks"},
        {"pmu", "state", "on", "on", "the guest sees the counters that KVM offers"},
        {"vmport", "state", "on", "off", "there is no such port"},
        {"smm", "state", "on", "off", "system management mode is not supported"},
        {"vmcoreinfo", "state", "on", "off", "there is no such device"},
        {"ioapic", "driver", NULL, "kvm", "the interrupt controllers are KVM's"},
        {"msrs", "unknown", NULL, "fault", "unknown registers fault"},
        {"apic", "eoi", NULL, "on", "KVM's paravirtual EOI is always offered"},
    };
    static const struct fixed kvm_rows[] = {
        {"hidden", "state", "on", "off", "guests always see KVM"},
        {"hint-dedicated", "state", "on", "off", "this is not supported"},
        {"poll-control", "state", "on", "off", "this is not supported"},
        {"pv-ipi", "state", "on", "on", "guests always see what KVM offers"},
        {"dirty-ring", "state", "on", "off", "this is not supported"},
    };
    struct model_domain *d = r->d;
    xmlNode *node = xml_child(r->root, "features");
    if (!node)
        return 0;
    d->acpi = xml_child(node, "acpi") ? MODEL_SWITCH_ON : MODEL_SWITCH_ABSENT;
    d->apic = xml_child(node, "apic") ? MODEL_SWITCH_ON : MODEL_SWITCH_ABSENT;
    d->pae = xml_child(node, "pae") ? MODEL_SWITCH_ON : MODEL_SWITCH_ABSENT;
    int ret = check_fixed(r, node, rows, ARRAY_SIZE(rows));
    if (ret == 0)
        ret = check_fixed(r, xml_child(node, "kvm"), kvm_rows, ARRAY_SIZE(kvm_rows));
    return ret < 0 ? ret : read_hyperv(r, xml_child(node, "hyperv"));
}
