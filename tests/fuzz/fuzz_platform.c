/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a guest that reads and writes ports, config space, BARs and
 * MSI-X tables of a machine without KVM, while devices interrupt, are saved,
 * loaded and reset. Each 12 bytes of input are one act. Whatever it does, the
 * functions must keep their identity and a reset must bring all BARs back.
 */

#include "base/log.h"
#include "fake_machine.h"
#include "fake_pci.h"
#include "require.h"
#include "vmm/devices/classes.h"
#include "vmm/devices/fw_cfg.h"
#include "vmm/devices/i8042.h"
#include "vmm/devices/pm.h"
#include "vmm/devices/pvpanic.h"
#include "vmm/devices/rtc.h"
#include "vmm/devices/vmgenid.h"
#include "vmm/pci/pci_internal.h"
#include "vmm/x86/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUNCTIONS 3
#define VECTORS 5
#define TABLE 0x1000
#define PBA 0x2000
#define BAR_SIZE 0x4000

struct act {
    uint8_t kind, width;
    uint16_t where;
    uint64_t value;
} __attribute__((packed));

static struct fake_machine fake;
static struct fake_pci pci;
static struct pci_device functions[FUNCTIONS];
static int64_t now_ns = INT64_C(1709251199) * 1000000000;

static const struct {
    uint16_t first, count;
} port_ranges[] = {
    {PORT_COM1, 8},          {PORT_COM3, 8}, {PORT_RTC, 2},      {PORT_I8042_DATA, 1},
    {PORT_I8042_COMMAND, 1}, {0x92, 1},      {PORT_PM_BASE, 12}, {PORT_GPE0, GPE0_BYTES},
    {PORT_PVPANIC, 1},       {0xcf8, 8},     {PORT_DEBUGCON, 1}, {LAYOUT_PCI_IO_BASE, 64},
    {PORT_FW_CFG, 12},
};

static int64_t fuzz_clock(void)
{
    return now_ns;
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned len)
{
    if (offset >= PBA)
        return pci_msix_pba_read(opaque, offset - PBA, len);
    return offset >= TABLE ? pci_msix_table_read(opaque, offset - TABLE, len) : 0;
}

static void bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    if (offset >= TABLE && offset < PBA)
        pci_msix_table_write(opaque, offset - TABLE, value, len);
}

static const struct bus_ops bar_ops = {.read = bar_read, .write = bar_write};

static void build_functions(void)
{
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        struct pci_identity identity = {.vendor = 0x1af4,
                                        .device = (uint16_t)(0x1041 + i),
                                        .class_code = 0xff0000,
                                        .intx = true};
        pci_device_init(&functions[i], &identity, NULL);
        strcpy(functions[i].device.id, "function");
        pci_bar_init(&functions[i], 0, BAR_SIZE, i != 1, i == 0, &bar_ops, &functions[i]);
        pci_bar_init_io(&functions[i], 4, 32, &bar_ops, &functions[i]);
        require(pci_msix_init(&functions[i], VECTORS, 0, TABLE, PBA) == 0);
        require(pci_plug(&pci.bus, &functions[i], -1, NULL) == 0);
    }
}

static void nothing_written(void *opaque, const uint8_t *data)
{
}

static void build_firmware_configuration(void)
{
    static const uint8_t bytes[100] = {1, 2, 3};
    struct fw_cfg *fw_cfg;
    require(fw_cfg_create(&fake.machine, &fw_cfg, NULL) == 0);
    require(fw_cfg_set_file(fw_cfg, "etc/e820", bytes, sizeof(bytes)) == 0);
    require(fw_cfg_set_writable(fw_cfg, "etc/vmgenid_addr", 8, nothing_written, NULL) == 0);
}

static void build(void)
{
    struct { /* as the device's own */
        const char *chardev, *id, *log_fds;
        uint64_t log_size;
    } line = {.chardev = "null"};
    require(serial_class.config_size <= sizeof(line) && debugcon_class.config_size <= sizeof(line));
    log_level = LOG_ERROR;
    fake_machine_init(&fake);
    fake_pci_init(&pci);
    pci.bus.mmio = &fake.machine.mmio;
    pci.bus.pio = &fake.machine.pio;
    require(pm_create(&fake.machine, NULL) == 0 && i8042_create(&fake.machine, NULL) == 0);
    require(rtc_create_with_clock(&fake.machine, fuzz_clock, NULL) == 0);
    require(pvpanic_create(&fake.machine, NULL) == 0 && vmgenid_create(&fake.machine, NULL) == 0);
    for (unsigned i = 0; i < 3; i++)
        require(serial_class.create(&fake.machine, &line, NULL) == 0);
    require(debugcon_class.create(&fake.machine, &line, NULL) == 0);
    build_firmware_configuration();
    require(pci_bus_map_config(&pci.bus, NULL) == 0);
    build_functions();
}

static void reset_all(void)
{
    list_for_each (pos, &fake.machine.devices) {
        struct device *dev = list_entry(pos, struct device, node);
        if (dev->ops->reset)
            dev->ops->reset(dev);
    }
    for (unsigned i = 0; i < FUNCTIONS; i++)
        pci_device_reset(&functions[i]);
}

static void save_and_load_all(void)
{
    list_for_each (pos, &fake.machine.devices) {
        struct device *dev = list_entry(pos, struct device, node);
        if (dev->ops->save)
            save_reset_load(dev);
    }
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        json_t *state = pci_device_save(&functions[i]);
        pci_device_reset(&functions[i]);
        require(pci_device_load(&functions[i], state, NULL) == 0);
        json_decref(state);
    }
}

/* Where an access to memory goes: into a BAR, into a function's config space, or anywhere. */
static uint64_t memory_address(const struct act *act)
{
    const struct pci_device *dev = &functions[act->where % FUNCTIONS];
    unsigned offset = act->where / 4;
    switch (act->kind >> 4) {
    case 0:
        return dev->bars[0].mapped ? dev->bars[0].address + offset % BAR_SIZE : 0;
    case 1:
        return pci.bus.ecam_base + ((uint64_t)dev->devfn << 12) + offset % 4096;
    default:
        return act->value * 0x1000 + offset;
    }
}

static uint16_t port(const struct act *act)
{
    unsigned range = act->where % ARRAY_SIZE(port_ranges);
    return (uint16_t)(port_ranges[range].first +
                      act->where / ARRAY_SIZE(port_ranges) % port_ranges[range].count);
}

static void perform(const struct act *act)
{
    unsigned len = 1u << act->width % 4;
    struct pci_device *dev = &functions[act->where % FUNCTIONS];
    switch (act->kind & 15) {
    case 0:
    case 1:
        fake_write(&fake.machine.pio, port(act), act->value, len);
        break;
    case 2:
        fake_read(&fake.machine.pio, port(act), len);
        break;
    case 3:
    case 4:
        fake_write(&fake.machine.mmio, memory_address(act), act->value, len);
        break;
    case 5:
        fake_read(&fake.machine.mmio, memory_address(act), len);
        break;
    case 6:
        pci_config_write(dev, act->where / 4 % 256, (uint32_t)act->value, len);
        break;
    case 7:
        pci_config_read(dev, act->where / 4, len);
        break;
    case 8:
        pci_msix_notify(dev, act->value % (VECTORS + 1));
        break;
    case 9:
        pci_intx_set(dev, act->value & 1);
        break;
    case 10:
        now_ns += (int64_t)(act->value % (UINT64_C(1) << 50));
        now_ns %= INT64_C(4000000000) * 1000000000;
        break;
    case 11:
        pm_gpe_raise(&fake.machine, (unsigned)act->value);
        break;
    case 12:
        fake.machine.platform.power_button(fake.machine.platform.power_button_opaque);
        break;
    case 13:
        if (act->value % 8 == 0)
            save_and_load_all();
        break;
    case 14:
        pci_unplug(dev);
        require(pci_plug(&pci.bus, dev, -1, NULL) == 0);
        break;
    default:
        reset_all();
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool built;
    if (!built)
        build();
    built = true;
    for (size_t at = 0; at + sizeof(struct act) <= size; at += sizeof(struct act)) {
        struct act act;
        memcpy(&act, data + at, sizeof(act));
        perform(&act);
    }
    reset_all();
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        require(pci_config_read(&functions[i], 0, 4) == (0x10411af4 + (i << 16)));
        require(!functions[i].bars[0].mapped && !functions[i].bars[4].mapped);
        require(pci_bar_address(&functions[i], 0) == functions[i].bars[0].initial);
    }
    for (unsigned i = 0; i < FAKE_CONNECTIONS_MAX; i++)
        require(pci.connections[i].eventfd == 0);
    return 0;
}
