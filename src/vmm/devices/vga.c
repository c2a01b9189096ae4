/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VGA behind a PCI device's BARs, as in QEMU's docs/specs/standard-vga.rst:
 * BAR 0 is the video memory, BAR 2 has EDID and registers. Its memory is the
 * guest's like RAM: writes do not leave the guest, and KVM notes which pages
 * they reach. Only the planes' window and registers are answered here, on vCPU
 * threads; the picture is drawn on the display's thread. The PCI device is
 * vga_pci.c's, or virtio-gpu's.
 */
#include "vmm/devices/vga.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmm/devices/vga_state.h"
#include "vmm/display/display.h"
#include "vmm/hex_state.h"
#include "vmm/machine/machine.h"

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

#define MEMORY_PAGES_MAX (MIB(64) / 4096)

struct vga {
    struct machine *machine;
    const char *id;       /* of the PCI device */
    pthread_mutex_t lock; /* leaf: the state's registers */
    struct vga_state state;
    unsigned kvm_slot;    /* of the video memory, while its BAR is mapped */
    atomic_bool in_guest; /* KVM has it there, and notes writes */
    uint8_t edid[128];
    struct pci_rom rom; /* until the PCI device has it */
};

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
    return memory ? &vga->machine->mmio : &vga->machine->pio;
}

void vga_bar_changed(struct vga *vga, unsigned bar, bool mapped, uint64_t address)
{
    struct machine *machine = vga->machine;
    if (bar != BAR_MEMORY || machine->kvm.vm_fd <= 0)
        return;
    if (!mapped && !atomic_exchange(&vga->in_guest, false))
        return;
    int rc = kvm_set_memory(&machine->kvm, vga->kvm_slot, address, mapped ? vga->state.size : 0,
                            vga->state.memory, KVM_MEM_LOG_DIRTY_PAGES);
    if (rc < 0)
        log_guest("%s: KVM does not take its memory at 0x%llx: %s", vga->id,
                  (unsigned long long)address, strerror(-rc));
    atomic_store(&vga->in_guest, mapped && rc == 0);
    atomic_store(&vga->state.touched, true);
}

/* ---------------------------------------------------------------- picture */

static bool any_page(const uint64_t *dirty, size_t pages)
{
    for (size_t i = 0; i < (pages + 63) / 64; i++)
        if (dirty[i])
            return true;
    return false;
}

void vga_show(struct vga *vga, bool everything, struct display *display)
{
    struct machine *machine = vga->machine;
    uint64_t dirty[MEMORY_PAGES_MAX / 64] = {0};
    bool touched = atomic_exchange(&vga->state.touched, false) || everything;
    if (atomic_load(&vga->in_guest) && kvm_dirty_log(&machine->kvm, vga->kvm_slot, dirty) < 0)
        touched = true; /* it is being moved */
    if (!touched && !any_page(dirty, vga->state.size / 4096))
        return;
    pthread_mutex_lock(&vga->lock);
    struct vga_regs regs = vga->state.regs;
    pthread_mutex_unlock(&vga->lock);
    vga_draw(&regs, vga->state.memory, vga->state.size, touched ? NULL : dirty, display);
}

/* ---------------------------------------------------------------- the machine's hooks */

void vga_reset(struct vga *vga)
{
    pthread_mutex_lock(&vga->lock);
    vga_state_reset(&vga->state);
    memset(vga->state.memory, 0, vga->state.size);
    pthread_mutex_unlock(&vga->lock);
}

/* Registers as text; video memory is a file like guest memory. */
json_t *vga_save(struct vga *vga)
{
    pthread_mutex_lock(&vga->lock);
    struct vga_regs regs = vga->state.regs;
    pthread_mutex_unlock(&vga->lock);
    return hex_state_save(&regs, sizeof(regs));
}

int vga_load(struct vga *vga, const json_t *state, struct kv_error *err)
{
    struct vga_regs regs;
    if (!hex_state_load(state, &regs, sizeof(regs)))
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': its state is not that of a VGA", vga->id);
    regs.dispi[DISPI_XRES] = MIN(regs.dispi[DISPI_XRES], (uint16_t)VGA_WIDTH_MAX);
    regs.dispi[DISPI_YRES] = MIN(regs.dispi[DISPI_YRES], (uint16_t)VGA_HEIGHT_MAX);
    if (regs.dispi[DISPI_BPP] > 32)
        regs.dispi[DISPI_BPP] = 8;
    pthread_mutex_lock(&vga->lock);
    vga->state.regs = regs;
    atomic_store(&vga->state.touched, true);
    pthread_mutex_unlock(&vga->lock);
    return 0;
}

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
static int read_rom(struct vga *vga, const char *path, const char *usual, struct kv_error *err)
{
    if (!path && access(usual, R_OK) < 0) {
        log_warning("vga: no BIOS extension at %s", usual);
        return 0;
    }
    return pci_rom_read(&vga->rom, path ? path : usual, err);
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

int vga_create(struct vga **out, struct machine *machine, const struct vga_config *config,
               const char *usual_rom, struct kv_error *err)
{
    struct vga *vga = calloc(1, sizeof(*vga));
    if (!vga)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "vga: out of memory");
    vga->machine = machine;
    pthread_mutex_init(&vga->lock, NULL);
    int rc = map_memory(vga, config->memory, err);
    if (rc == 0 && machine_boots_firmware(&machine->config))
        rc = read_rom(vga, config->rom, usual_rom, err);
    if (rc == 0)
        rc = machine_settle(machine, err); /* slots are given one after the other */
    if (rc == 0) {
        vga->kvm_slot = kvm_new_slot(&machine->kvm);
        vga_state_reset(&vga->state);
        vga_make_edid(vga->edid, (unsigned)config->xres, (unsigned)config->yres);
        rc = map_regions(vga, err);
    }
    if (rc < 0)
        vga_free(vga);
    else
        *out = vga;
    return rc;
}

void vga_join(struct vga *vga, struct pci_device *pci)
{
    vga->id = pci->device.id;
    pci->rom = vga->rom;
    vga->rom = (struct pci_rom){0};
    pci_bar_init(pci, BAR_MEMORY, vga->state.size, false, true, &memory_ops, vga);
    pci_bar_init(pci, BAR_REGISTERS, REGISTERS_SIZE, false, false, &registers_ops, vga);
}

void vga_free(struct vga *vga)
{
    for (size_t i = 0; i < ARRAY_SIZE(regions); i++)
        bus_unmap(bus_of(vga, regions[i].memory), regions[i].base);
    pthread_mutex_destroy(&vga->lock);
    if (vga->state.memory)
        munmap(vga->state.memory, vga->state.size);
    free(vga->rom.data);
    free(vga);
}
