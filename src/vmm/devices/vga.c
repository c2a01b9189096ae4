/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The standard VGA of virtual machines (PCI 1234:1111, as in QEMU's
 * docs/specs/standard-vga.rst): BAR 0 is the video memory, BAR 2 has EDID and
 * registers. Its memory is the guest's like RAM: writes do not leave the guest,
 * and KVM notes which pages they reach. Only the planes' window and registers
 * are answered here, on vCPU threads; the picture is drawn on the display's
 * thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "vmm/devices/classes.h"
#include "vmm/devices/i8042.h"
#include "vmm/devices/vga_state.h"
#include "vmm/display/display.h"
#include "vmm/hex_state.h"
#include "vmm/machine/machine.h"

#define VENDOR_BOCHS 0x1234
#define DEVICE_VGA 0x1111
#define REVISION_BYTE_ORDER 2 /* has the register of that name */
#define SUBSYSTEM_VENDOR 0x1af4
#define SUBSYSTEM 0x1100
#define CLASS_VGA 0x030000

#define BAR_MEMORY 0
#define BAR_REGISTERS 2
#define REGISTERS_SIZE 4096
#define REGISTERS_EDID 0x000
#define REGISTERS_VGA 0x400 /* ports 0x3c0 to 0x3df */
#define REGISTERS_DISPI 0x500
#define REGISTERS_EXTENDED 0x600 /* size of this part, byte order */
#define LITTLE_ENDIAN_ORDER 0x1e1e1e1e

#define PORT_MONO 0x3b4
#define PORT_VGA 0x3c0
#define PORT_DISPI 0x1ce

#define ROM_DEFAULT "/usr/share/seabios/vgabios-stdvga.bin"
#define ROM_MAX KIB(128)
#define MEMORY_PAGES_MAX (MIB(64) / 4096)

struct vga_config {
    char *id, *rom;
    uint64_t memory, slot, xres, yres;
    bool keyboard;
};

static const struct option_spec vga_options[] = {
    OPTION(SIZE, struct vga_config, memory, .min = MIB(4), .max = MIB(64),
           .help = "video memory, a power of two (default 16M)"),
    OPTION(STRING, struct vga_config, rom,
           .help = "BIOS extension for SeaBIOS, path or fd:N (default: SeaBIOS' own)"),
    OPTION(UINT, struct vga_config, xres, .min = 640, .max = 2560,
           .help = "the monitor's width in pixels (default 1280)"),
    OPTION(UINT, struct vga_config, yres, .min = 480, .max = 1600,
           .help = "its height (default 800)"),
    OPTION(BOOL, struct vga_config, keyboard, .help = "PS/2 keyboard and mouse (default on)"),
    OPTION(STRING, struct vga_config, id, .help = "name of the device"),
    OPTION(UINT, struct vga_config, slot, .max = 30,
           .help = "slot of PCI bus 0; default: the first free one"),
    OPTION_END,
};

struct vga {
    struct pci_device pci;
    pthread_mutex_t lock; /* leaf: the state's registers */
    struct vga_state state;
    unsigned kvm_slot;    /* of the video memory, while its BAR is mapped */
    atomic_bool in_guest; /* KVM has it there, and notes writes */
    uint8_t edid[128];
    uint8_t *rom;
};

static struct vga *of_pci(struct pci_device *pci)
{
    return container_of(pci, struct vga, pci);
}

static struct vga *of_device(struct device *device)
{
    return container_of(device, struct vga, pci.device);
}

/* ---------------------------------------------------------------- registers */

static uint64_t ports_read(struct vga *vga, unsigned port, unsigned len)
{
    uint64_t value = 0;
    pthread_mutex_lock(&vga->lock);
    for (unsigned i = 0; i < len; i++)
        value |= (uint64_t)vga_port_read(&vga->state, port + i) << (8 * i);
    pthread_mutex_unlock(&vga->lock);
    return value;
}

/* A word goes to an index and its data. */
static void ports_write(struct vga *vga, unsigned port, uint64_t value, unsigned len)
{
    pthread_mutex_lock(&vga->lock);
    for (unsigned i = 0; i < len; i++)
        vga_port_write(&vga->state, port + i, (uint8_t)(value >> (8 * i)));
    pthread_mutex_unlock(&vga->lock);
}

static uint64_t vga_ports_read(void *opaque, uint64_t offset, unsigned len)
{
    return ports_read(opaque, PORT_VGA + (unsigned)offset, len);
}

static void vga_ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    ports_write(opaque, PORT_VGA + (unsigned)offset, value, len);
}

static uint64_t mono_ports_read(void *opaque, uint64_t offset, unsigned len)
{
    return ports_read(opaque, PORT_MONO + (unsigned)offset, len);
}

static void mono_ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    ports_write(opaque, PORT_MONO + (unsigned)offset, value, len);
}

static uint64_t dispi_read(struct vga *vga, unsigned index)
{
    pthread_mutex_lock(&vga->lock);
    uint64_t value = vga_dispi_read(&vga->state, index);
    pthread_mutex_unlock(&vga->lock);
    return value;
}

static void dispi_write(struct vga *vga, unsigned index, uint64_t value)
{
    pthread_mutex_lock(&vga->lock);
    vga_dispi_write(&vga->state, index, (uint16_t)value);
    pthread_mutex_unlock(&vga->lock);
}

/* Ports 0x1ce: index; 0x1cf and 0x1d0: data. Words only. */
static uint64_t dispi_ports_read(void *opaque, uint64_t offset, unsigned len)
{
    struct vga *vga = opaque;
    if (len != 2)
        return UINT64_MAX;
    return offset ? dispi_read(vga, vga->state.regs.dispi_index) : vga->state.regs.dispi_index;
}

static void dispi_ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct vga *vga = opaque;
    if (len != 2)
        return;
    if (offset == 0)
        vga->state.regs.dispi_index = (uint16_t)value;
    else
        dispi_write(vga, vga->state.regs.dispi_index, value);
}

static uint64_t registers_read(void *opaque, uint64_t offset, unsigned len)
{
    struct vga *vga = opaque;
    if (range_within(offset, len, REGISTERS_EDID, sizeof(vga->edid)))
        return load_le(vga->edid + offset, len);
    if (range_within(offset, len, REGISTERS_VGA, 0x20) && len <= 2)
        return ports_read(vga, PORT_VGA + (unsigned)(offset - REGISTERS_VGA), len);
    if (range_within(offset, len, REGISTERS_DISPI, 2 * DISPI_COUNT) && len == 2)
        return dispi_read(vga, (unsigned)(offset - REGISTERS_DISPI) / 2);
    if (offset == REGISTERS_EXTENDED && len == 4)
        return 8;
    if (offset == REGISTERS_EXTENDED + 4 && len == 4)
        return LITTLE_ENDIAN_ORDER;
    return offset < REGISTERS_VGA ? 0 : UINT64_MAX;
}

static void registers_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct vga *vga = opaque;
    if (range_within(offset, len, REGISTERS_VGA, 0x20) && len <= 2)
        ports_write(vga, PORT_VGA + (unsigned)(offset - REGISTERS_VGA), value, len);
    else if (range_within(offset, len, REGISTERS_DISPI, 2 * DISPI_COUNT) && len == 2)
        dispi_write(vga, (unsigned)(offset - REGISTERS_DISPI) / 2, value);
}

/* ---------------------------------------------------------------- memory */

static uint64_t window_read(void *opaque, uint64_t offset, unsigned len)
{
    struct vga *vga = opaque;
    uint64_t value = 0;
    pthread_mutex_lock(&vga->lock);
    for (unsigned i = 0; i < len; i++)
        value |= (uint64_t)vga_window_read(&vga->state, (uint32_t)offset + i) << (8 * i);
    pthread_mutex_unlock(&vga->lock);
    return value;
}

static void window_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct vga *vga = opaque;
    pthread_mutex_lock(&vga->lock);
    for (unsigned i = 0; i < len; i++)
        vga_window_write(&vga->state, (uint32_t)offset + i, (uint8_t)(value >> (8 * i)));
    pthread_mutex_unlock(&vga->lock);
}

/* Where KVM does not take the BAR's memory (something of its own is there), each access comes here
 * instead. */
static uint64_t memory_read(void *opaque, uint64_t offset, unsigned len)
{
    struct vga *vga = opaque;
    return load_le(vga->state.memory + offset, len);
}

static void memory_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct vga *vga = opaque;
    store_le(vga->state.memory + offset, value, len);
    atomic_store(&vga->state.touched, true);
}

static const struct bus_ops vga_ports_ops = {vga_ports_read, vga_ports_write};
static const struct bus_ops mono_ports_ops = {mono_ports_read, mono_ports_write};
static const struct bus_ops dispi_ports_ops = {dispi_ports_read, dispi_ports_write};
static const struct bus_ops registers_ops = {registers_read, registers_write};
static const struct bus_ops window_ops = {window_read, window_write};
static const struct bus_ops memory_ops = {memory_read, memory_write};

static const struct {
    bool memory;
    uint64_t base, size;
    const char *name;
    const struct bus_ops *ops;
} regions[] = {
    {false, PORT_MONO, 8, "vga-mono", &mono_ports_ops},
    {false, PORT_VGA, 0x20, "vga", &vga_ports_ops},
    {false, PORT_DISPI, 4, "vga-dispi", &dispi_ports_ops},
    {true, VGA_WINDOW_BASE, VGA_WINDOW_SIZE, "vga-window", &window_ops},
};

static struct bus *bus_of(struct vga *vga, bool memory)
{
    struct machine *machine = vga->pci.device.machine;
    return memory ? &machine->mmio : &machine->pio;
}

/* On a vCPU thread, with the PCI device's lock. */
static void bar_changed(struct pci_device *pci, unsigned bar, bool mapped, uint64_t address)
{
    struct vga *vga = of_pci(pci);
    struct machine *machine = pci->device.machine;
    if (bar != BAR_MEMORY || machine->kvm.vm_fd <= 0)
        return;
    if (!mapped && !atomic_exchange(&vga->in_guest, false))
        return;
    int rc = kvm_set_memory(&machine->kvm, vga->kvm_slot, address, mapped ? vga->state.size : 0,
                            vga->state.memory, KVM_MEM_LOG_DIRTY_PAGES);
    if (rc < 0)
        log_guest("%s: KVM does not take its memory at 0x%llx: %s", pci->device.id,
                  (unsigned long long)address, strerror(-rc));
    atomic_store(&vga->in_guest, mapped && rc == 0);
    atomic_store(&vga->state.touched, true);
}

static const struct pci_device_ops pci_ops = {.bar_changed = bar_changed};

/* ---------------------------------------------------------------- picture */

static bool any_page(const uint64_t *dirty, size_t pages)
{
    for (size_t i = 0; i < (pages + 63) / 64; i++)
        if (dirty[i])
            return true;
    return false;
}

/* On the display's thread. */
static void draw(void *opaque, bool everything)
{
    struct vga *vga = opaque;
    struct machine *machine = vga->pci.device.machine;
    uint64_t dirty[MEMORY_PAGES_MAX / 64] = {0};
    bool touched = atomic_exchange(&vga->state.touched, false) || everything;
    if (atomic_load(&vga->in_guest) && kvm_dirty_log(&machine->kvm, vga->kvm_slot, dirty) < 0)
        touched = true; /* it is being moved */
    if (!touched && !any_page(dirty, vga->state.size / 4096))
        return;
    pthread_mutex_lock(&vga->lock);
    struct vga_regs regs = vga->state.regs;
    pthread_mutex_unlock(&vga->lock);
    vga_draw(&regs, vga->state.memory, vga->state.size, touched ? NULL : dirty,
             machine->platform.display);
}

static const struct display_device_ops display_ops = {.draw = draw};

/* ---------------------------------------------------------------- the machine's hooks */

static void reset(struct device *device)
{
    struct vga *vga = of_device(device);
    pthread_mutex_lock(&vga->pci.lock);
    pci_device_reset(&vga->pci);
    pthread_mutex_unlock(&vga->pci.lock);
    pthread_mutex_lock(&vga->lock);
    vga_state_reset(&vga->state);
    memset(vga->state.memory, 0, vga->state.size);
    pthread_mutex_unlock(&vga->lock);
}

/* Registers as text; video memory is a file like guest memory. */
static json_t *save(struct device *device)
{
    struct vga *vga = of_device(device);
    pthread_mutex_lock(&vga->lock);
    struct vga_regs regs = vga->state.regs;
    pthread_mutex_unlock(&vga->lock);
    return json_pack("{s:o, s:o}", "pci", pci_device_save(&vga->pci), "registers",
                     hex_state_save(&regs, sizeof(regs)));
}

static int load(struct device *device, const json_t *state, struct kv_error *err)
{
    struct vga *vga = of_device(device);
    struct vga_regs regs;
    const json_t *pci = json_object_get(state, "pci");
    if (!pci || !hex_state_load(json_object_get(state, "registers"), &regs, sizeof(regs)))
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': its state is not that of a VGA", device->id);
    regs.dispi[DISPI_XRES] = MIN(regs.dispi[DISPI_XRES], (uint16_t)VGA_WIDTH_MAX);
    regs.dispi[DISPI_YRES] = MIN(regs.dispi[DISPI_YRES], (uint16_t)VGA_HEIGHT_MAX);
    if (regs.dispi[DISPI_BPP] > 32)
        regs.dispi[DISPI_BPP] = 8;
    pthread_mutex_lock(&vga->lock);
    vga->state.regs = regs;
    atomic_store(&vga->state.touched, true);
    pthread_mutex_unlock(&vga->lock);
    return pci_device_load(&vga->pci, pci, err);
}

static void free_device(struct device *device)
{
    struct vga *vga = of_device(device);
    struct machine *machine = device->machine;
    if (machine->platform.display)
        display_free(machine);
    pci_unplug(&vga->pci);
    for (size_t i = 0; i < ARRAY_SIZE(regions); i++)
        bus_unmap(bus_of(vga, regions[i].memory), regions[i].base);
    pci_device_destroy(&vga->pci);
    pthread_mutex_destroy(&vga->lock);
    if (vga->state.memory)
        munmap(vga->state.memory, vga->state.size);
    free(vga->rom);
    free(vga);
}

static const struct device_ops device_ops = {
    .type = "vga",
    .reset = reset,
    .save = save,
    .load = load,
    .free = free_device,
};

/* ---------------------------------------------------------------- creation */

static int map_memory(struct vga *vga, uint64_t size, struct kv_error *err)
{
    if (size & (size - 1))
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "memory of %llu bytes is not possible; accepted: 4, 8, 16, 32 or "
                            "64 MiB",
                            (unsigned long long)size);
    cleanup_fd int fd = memfd_create("video-memory", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        return kv_error_errno(err, KV_ERR_DEVICE, errno, "video memory");
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return kv_error_errno(err, KV_ERR_DEVICE, errno, "video memory");
    madvise(memory, size, MADV_DONTDUMP);
    vga->state.memory = memory;
    vga->state.size = size;
    return 0;
}

/* Without one that was asked for there is no VGA; without the default one there is a VGA that
 * SeaBIOS shows nothing on, which operating systems and OVMF do not need. */
static int read_rom(struct vga *vga, const char *path, struct kv_error *err)
{
    struct stat st;
    int inherited;
    cleanup_fd int fd = path && sscanf(path, "fd:%d", &inherited) == 1
                            ? inherited
                            : open(path ? path : ROM_DEFAULT, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && !path) {
        log_warning("%s: no BIOS extension at " ROM_DEFAULT, vga->pci.device.id);
        return 0;
    }
    if (fd < 0 || fstat(fd, &st) < 0)
        return kv_error_errno(err, KV_ERR_DEVICE, errno, "rom '%s'", path);
    if (st.st_size < 512 || (uint64_t)st.st_size > ROM_MAX)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "rom '%s' has %lld bytes; accepted: 512 bytes to 128 KiB", path,
                            (long long)st.st_size);
    vga->rom = malloc((size_t)st.st_size);
    if (!vga->rom)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "rom '%s': out of memory", path);
    int rc = fd_pread_all(fd, vga->rom, (size_t)st.st_size, 0);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_DEVICE, -rc, "rom '%s': reading it", path);
    vga->pci.rom = vga->rom;
    vga->pci.rom_size = (size_t)st.st_size;
    return 0;
}

static int map_regions(struct vga *vga, struct kv_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(regions); i++)
        rc = bus_map(bus_of(vga, regions[i].memory),
                     &(struct bus_region){.base = regions[i].base,
                                          .size = regions[i].size,
                                          .ops = regions[i].ops,
                                          .opaque = vga,
                                          .name = regions[i].name},
                     err);
    return rc;
}

/* The rest of creation, once the struct is whole enough for free_device(). */
static int finish(struct machine *machine, struct vga *vga, const struct vga_config *config,
                  struct kv_error *err)
{
    int rc = map_memory(vga, config->memory, err);
    if (rc == 0 && machine_boots_firmware(&machine->config))
        rc = read_rom(vga, config->rom, err);
    if (rc == 0)
        rc = machine_settle(machine, err); /* slots are given one after the other */
    if (rc < 0)
        return rc;
    vga->kvm_slot = kvm_new_slot(&machine->kvm);
    vga_state_reset(&vga->state);
    vga_make_edid(vga->edid, (unsigned)config->xres, (unsigned)config->yres);
    pci_bar_init(&vga->pci, BAR_MEMORY, vga->state.size, false, true, &memory_ops, vga);
    pci_bar_init(&vga->pci, BAR_REGISTERS, REGISTERS_SIZE, false, false, &registers_ops, vga);
    rc = display_create(machine, &display_ops, vga, err);
    if (rc == 0)
        rc = map_regions(vga, err);
    if (rc == 0)
        rc = pci_plug(&machine->pci, &vga->pci, config->slot ? (int)config->slot : -1, err);
    if (rc == 0 && config->keyboard)
        i8042_plug(machine);
    return rc;
}

static int vga_create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct vga_config *config = opaque;
    static const struct pci_identity identity = {
        .vendor = VENDOR_BOCHS,
        .device = DEVICE_VGA,
        .subsystem_vendor = SUBSYSTEM_VENDOR,
        .subsystem = SUBSYSTEM,
        .class_code = CLASS_VGA,
        .revision = REVISION_BYTE_ORDER,
    };
    struct vga *vga = calloc(1, sizeof(*vga));
    if (!vga)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "vga: out of memory");
    pthread_mutex_init(&vga->lock, NULL);
    pci_device_init(&vga->pci, &identity, &pci_ops);
    int rc = device_register(machine, &vga->pci.device, &device_ops, config->id, err);
    if (rc == 0) {
        rc = finish(machine, vga, config, err);
        if (rc < 0)
            device_unregister(&vga->pci.device);
    }
    if (rc < 0)
        free_device(&vga->pci.device);
    return rc;
}

static void vga_defaults(void *opaque)
{
    *(struct vga_config *)opaque =
        (struct vga_config){.memory = MIB(16), .xres = 1280, .yres = 800, .keyboard = true};
}

const struct device_class vga_class = {
    .option = "vga",
    .implied = "memory",
    .help = "a screen (standard VGA)",
    .options = vga_options,
    .config_size = sizeof(struct vga_config),
    .defaults = vga_defaults,
    .create = vga_create,
    .max = 1,
};
