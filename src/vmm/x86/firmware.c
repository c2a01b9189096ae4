/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Firmware; see firmware.h. Memory behind the image's copy below 1 MiB is plain
 * RAM: the host bridge's PAM registers, with which firmware makes it writable
 * and write-protects it again, are stored and have no effect.
 */
#include "vmm/x86/firmware.h"

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <linux/kvm.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/parse.h"
#include "block/driver.h"
#include "vmm/devices/flash.h"
#include "vmm/devices/fw_cfg.h"
#include "vmm/devices/i8042.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/layout.h"
#include "vmm/x86/smbios.h"

#define IMAGE_UNIT KIB(4) /* an image has a multiple of that */

#define E820_RAM 1

struct firmware {
    uint8_t *rom; /* read-only from now on */
    size_t size;
    struct fw_cfg *fw_cfg;
};

/* As firmware expects them: packed, little-endian. */
struct e820_entry {
    uint64_t base, size;
    uint32_t type;
} __attribute__((packed));

static const char *image_name(const struct machine *machine)
{
    return machine->config.firmware ? machine->config.firmware : "inherited descriptor";
}

static int read_image(struct machine *machine, struct firmware *firmware, struct kv_error *err)
{
    const char *name = image_name(machine);
    int fd = machine->config.firmware_fd;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return kv_error_errno(err, KV_ERR_BOOT, errno, "firmware '%s'", name);
    uint64_t size = (uint64_t)st.st_size;
    if (size == 0 || size % IMAGE_UNIT || size > LAYOUT_ROM_MAX)
        return kv_error_set(err, KV_ERR_BOOT, EINVAL,
                            "firmware '%s' has %llu bytes; accepted: a multiple of 4 KiB up to "
                            "16 MiB",
                            name, (unsigned long long)size);
    void *rom = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (rom == MAP_FAILED)
        return kv_error_errno(err, KV_ERR_BOOT, errno, "firmware '%s'", name);
    firmware->rom = rom;
    firmware->size = size;
    int rc = fd_pread_all(fd, rom, size, 0);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BOOT, -rc, "firmware '%s': reading it", name);
    mprotect(rom, size, PROT_READ);
    return 0;
}

/* Builds that keep their variables behind system management mode; what the distribution calls them
 * (links of other names lead to them). Those that hide it are noticed when they ask for its memory
 * (pci_host.c). */
static int refuse_smm(struct machine *machine, struct kv_error *err)
{
    char link[40], target[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", machine->config.firmware_fd);
    ssize_t len = readlink(link, target, sizeof(target) - 1);
    if (len <= 0)
        return 0;
    target[len] = '\0';
    const char *file = strrchr(target, '/');
    if (!file || !strstr(file, ".secboot."))
        return 0;
    return kv_error_set(err, KV_ERR_BOOT, ENOTSUP,
                        "firmware '%s' is '%s', which needs system management mode; accepted: a "
                        "build without it, such as OVMF_CODE_4M.fd",
                        image_name(machine), target);
}

/* The variables lie just below the image, where OVMF's own image of both has them. */
static int create_flash(struct machine *machine, const struct firmware *firmware,
                        struct kv_error *err)
{
    const struct machine_config *c = &machine->config;
    const char *name = c->nvram ? c->nvram : "inherited descriptor";
    struct stat st;
    if (c->nvram_fd < 0)
        return 0;
    if (fstat(c->nvram_fd, &st) < 0)
        return kv_error_errno(err, KV_ERR_BOOT, errno, "nvram '%s'", name);
    uint64_t size = (uint64_t)st.st_size, max = LAYOUT_ROM_MAX - firmware->size;
    if (size == 0 || size % FLASH_BLOCK || size > max)
        return kv_error_set(err, KV_ERR_BOOT, EINVAL,
                            "nvram '%s' has %llu bytes; accepted: a multiple of 4 KiB up to %llu "
                            "beside this firmware (a copy of its template, such as "
                            "OVMF_VARS_4M.fd)",
                            name, (unsigned long long)size, (unsigned long long)max);
    int rc = image_lock(c->nvram_fd, name, false, false, err);
    if (rc < 0) {
        kv_error_prefix(err, "nvram");
        return rc;
    }
    return flash_create(machine,
                        &(struct flash_config){.name = name,
                                               .fd = c->nvram_fd,
                                               .base = LAYOUT_ROM_END - firmware->size - size,
                                               .size = (uint32_t)size},
                        err);
}

int firmware_create(struct machine *machine, struct kv_error *err)
{
    struct firmware *firmware = calloc(1, sizeof(*firmware));
    if (!firmware)
        return kv_error_set(err, KV_ERR_BOOT, ENOMEM, "firmware: out of memory");
    machine->x86.firmware = firmware;
    int rc = refuse_smm(machine, err);
    if (rc == 0)
        rc = read_image(machine, firmware, err);
    if (rc < 0)
        return rc;
    rc = machine_settle(machine, err); /* memory slots are given one after the other */
    if (rc < 0)
        return rc;
    rc = kvm_add_memory(&machine->kvm, LAYOUT_ROM_END - firmware->size, firmware->size,
                        firmware->rom, KVM_MEM_READONLY);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BOOT, -rc, "firmware '%s': KVM takes no read-only memory",
                              image_name(machine));
    rc = create_flash(machine, firmware, err);
    if (rc == 0)
        rc = pci_lpc_create(machine, err);
    return rc < 0 ? rc : fw_cfg_create(machine, &firmware->fw_cfg, err);
}

/* fw_cfg is in the machine's list of devices, and freed with them. */
void firmware_free(struct machine *machine)
{
    struct firmware *firmware = machine->x86.firmware;
    if (!firmware)
        return;
    if (firmware->rom)
        munmap(firmware->rom, firmware->size);
    free(firmware);
    machine->x86.firmware = NULL;
}

static int copy_below_1mib(struct machine *machine, const struct firmware *firmware)
{
    size_t len = MIN(firmware->size, (size_t)LAYOUT_ROM_LOW_MAX);
    return guest_mem_write(&machine->mem, LAYOUT_ROM_LOW_END - len,
                           firmware->rom + firmware->size - len, len);
}

static int set_u16(struct fw_cfg *fw_cfg, unsigned item, unsigned value)
{
    uint16_t bytes = htole16((uint16_t)value);
    return fw_cfg_set(fw_cfg, item, &bytes, sizeof(bytes));
}

static int describe_cpus(struct machine *machine, struct fw_cfg *fw_cfg)
{
    unsigned last = x86_apic_id(machine, machine->vcpu_count - 1);
    int rc = set_u16(fw_cfg, FW_CFG_NB_CPUS, vcpu_present_count(machine));
    return rc < 0 ? rc : set_u16(fw_cfg, FW_CFG_MAX_CPUS, last + 1);
}

static int describe_memory(struct machine *machine, struct fw_cfg *fw_cfg)
{
    const struct memory *memory = &machine->memory;
    struct e820_entry map[2] = {
        {0, htole64(memory->low_size), htole32(E820_RAM)},
        {htole64(LAYOUT_HIGH_BASE), htole64(memory->high_size), htole32(E820_RAM)},
    };
    return fw_cfg_set_file(fw_cfg, "etc/e820", map, sizeof(map[0]) * (memory->high_size ? 2 : 1));
}

static int describe_identity(struct machine *machine, struct fw_cfg *fw_cfg)
{
    uint8_t uuid[16];
    if (!machine->config.uuid || parse_uuid(machine->config.uuid, uuid) < 0)
        return 0;
    return fw_cfg_set(fw_cfg, FW_CFG_UUID, uuid, sizeof(uuid));
}

/* The first serial port is the console of firmware that has no screen. */
static int describe_console(struct machine *machine, struct fw_cfg *fw_cfg)
{
    uint16_t port = htole16(PORT_COM1);
    list_for_each (pos, &machine->devices) {
        if (strcmp(list_entry(pos, struct device, node)->ops->type, "serial") == 0)
            return fw_cfg_set_file(fw_cfg, "etc/sercon-port", &port, sizeof(port));
    }
    return 0;
}

/* ---------------------------------------------------------------- boot order */

/* Open Firmware's names of what stands at an address of the PCI bus, as SeaBIOS composes them. */
static const struct {
    uint8_t base_class;
    const char *node, *unit;
} boot_nodes[] = {
    {0x01, "scsi", "/disk@0,0"},
    {0x02, "ethernet", "/ethernet-phy@0"},
};

struct boot_candidate {
    struct list node; /* by index */
    unsigned index;
    const struct pci_device *dev;
    const char *unit; /* behind the device's own path; NULL: of its class */
};

static int add_candidate(struct list *order, unsigned index, const struct pci_device *dev,
                         const char *unit)
{
    struct list *pos = order->next;
    if (index == 0)
        return 0;
    struct boot_candidate *candidate = calloc(1, sizeof(*candidate));
    if (!candidate)
        return -ENOMEM;
    *candidate = (struct boot_candidate){.index = index, .dev = dev, .unit = unit};
    while (pos != order && list_entry(pos, struct boot_candidate, node)->index <= index)
        pos = pos->next;
    list_add_tail(pos, &candidate->node);
    return 0;
}

static int collect_candidates(struct machine *machine, struct list *order)
{
    int rc = 0;
    for (unsigned i = 0; i < PCI_FUNCTIONS && rc == 0; i++) {
        const struct pci_device *dev = machine->pci.devices[i];
        if (!dev)
            continue;
        rc = add_candidate(order, dev->boot_index, dev, NULL);
        for (unsigned unit = 0; unit < dev->boot_unit_count && rc == 0; unit++)
            rc = add_candidate(order, dev->boot_units[unit].index, dev, dev->boot_units[unit].path);
    }
    return rc;
}

static void print_boot_path(FILE *out, const struct boot_candidate *candidate)
{
    const struct pci_device *dev = candidate->dev;
    for (unsigned i = 0; i < ARRAY_SIZE(boot_nodes); i++) {
        if (dev->config[PCI_CLASS_DEVICE + 1] != boot_nodes[i].base_class)
            continue;
        fprintf(out, "/pci@i0cf8/%s@%x", boot_nodes[i].node, dev->devfn >> 3u);
        if (dev->devfn & 7u)
            fprintf(out, ",%x", dev->devfn & 7u);
        fprintf(out, "%s\n", candidate->unit ? candidate->unit : boot_nodes[i].unit);
    }
}

/* A path a line. */
static int give_boot_order(struct fw_cfg *fw_cfg, const struct list *order)
{
    cleanup_free char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return -ENOMEM;
    list_for_each (pos, order)
        print_boot_path(out, list_entry(pos, struct boot_candidate, node));
    if (fclose(out) != 0)
        return -ENOMEM;
    return fw_cfg_set_file(fw_cfg, "bootorder", text, len + 1);
}

static int describe_boot_order(struct machine *machine, struct fw_cfg *fw_cfg)
{
    struct list order;
    list_init(&order);
    int rc = collect_candidates(machine, &order);
    if (rc == 0 && !list_empty(&order))
        rc = give_boot_order(fw_cfg, &order);
    while (!list_empty(&order)) {
        struct list *first = order.next;
        list_del(first);
        free(list_entry(first, struct boot_candidate, node));
    }
    return rc;
}

/* SeaBIOS prefers a file of this name to the ROM of the device. */
static int describe_option_roms(struct machine *machine, struct fw_cfg *fw_cfg)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < PCI_FUNCTIONS; i++) {
        const struct pci_device *dev = machine->pci.devices[i];
        char name[FW_CFG_NAME_MAX + 1];
        if (!dev || !dev->rom.data)
            continue;
        snprintf(name, sizeof(name), "pci%04x,%04x.rom",
                 (unsigned)load_le(dev->config + PCI_VENDOR_ID, 2),
                 (unsigned)load_le(dev->config + PCI_DEVICE_ID, 2));
        rc = fw_cfg_set_file(fw_cfg, name, dev->rom.data, dev->rom.size);
    }
    return rc;
}

/* ---------------------------------------------------------------- border */

int firmware_load(struct machine *machine, struct kv_error *err)
{
    struct firmware *firmware = machine->x86.firmware;
    struct fw_cfg *fw_cfg = firmware->fw_cfg;

    if (machine->config.nvram_fd >= 0)
        i8042_hide(machine);
    machine->x86.boot = (struct x86_boot){.protocol = X86_BOOT_RESET_VECTOR};
    if (copy_below_1mib(machine, firmware) < 0)
        return kv_error_set(err, KV_ERR_BOOT, EFAULT, "firmware '%s' does not lie in guest memory",
                            image_name(machine));
    int rc = describe_cpus(machine, fw_cfg);
    if (rc == 0)
        rc = describe_memory(machine, fw_cfg);
    if (rc == 0)
        rc = describe_identity(machine, fw_cfg);
    if (rc == 0)
        rc = describe_console(machine, fw_cfg);
    if (rc == 0)
        rc = describe_boot_order(machine, fw_cfg);
    if (rc == 0)
        rc = describe_option_roms(machine, fw_cfg);
    if (rc == 0)
        rc = set_u16(fw_cfg, FW_CFG_BOOT_MENU, 0);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BOOT, -rc, "firmware configuration");
    rc = smbios_give_to_firmware(machine, fw_cfg, err);
    return rc < 0 ? rc : acpi_give_to_firmware(machine, fw_cfg, err);
}
