/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-gpu as a machine's screen: the device class "gpu", and the way in for
 * a VGA that shares the PCI device (vga_pci.c). See gpu.h.
 */
#include "base/util.h"
#include "vmm/devices/i8042.h"
#include "vmm/devices/vga.h"
#include "vmm/machine/machine.h"
#include "vmm/virtio/classes.h"
#include "vmm/virtio/gpu_internal.h"

static const struct option_spec gpu_options[] = {
    OPTION(UINT, struct gpu_config, xres, .min = GPU_WIDTH_MIN, .max = GPU_WIDTH_MAX,
           .help = "the monitor's width in pixels (default 1280)"),
    OPTION(UINT, struct gpu_config, yres, .min = GPU_HEIGHT_MIN, .max = GPU_HEIGHT_MAX,
           .help = "its height (default 800)"),
    OPTION(SIZE, struct gpu_config, memory, .min = MIB(16), .max = GIB(1),
           .help = "what the guest's pictures may take of the host's memory (default 256M)"),
    OPTION(BOOL, struct gpu_config, keyboard, .help = "PS/2 keyboard and mouse (default on)"),
    OPTION(STRING, struct gpu_config, id, .help = "name of the device"),
    OPTION(UINT, struct gpu_config, slot, .max = 30, .help = VIRTIO_PCI_SLOT_HELP),
    OPTION_END,
};

/* ---------------------------------------------------------------- beside a VGA */

static void join(struct virtio_device *dev, struct pci_device *pci)
{
    vga_join(gpu_of(dev)->vga, pci);
}

static void bar_changed(struct virtio_device *dev, unsigned bar, bool mapped, uint64_t address)
{
    vga_bar_changed(gpu_of(dev)->vga, bar, mapped, address);
}

static void reset(struct virtio_device *dev)
{
    vga_reset(gpu_of(dev)->vga);
}

static json_t *save(struct virtio_device *dev)
{
    return vga_save(gpu_of(dev)->vga);
}

static int load(struct virtio_device *dev, const json_t *state, struct kv_error *err)
{
    return vga_load(gpu_of(dev)->vga, state, err);
}

static const struct virtio_companion vga_companion = {
    .class_code = VGA_CLASS_CODE,
    .join = join,
    .bar_changed = bar_changed,
    .reset = reset,
    .save = save,
    .load = load,
};

int virtio_gpu_attach(struct machine *machine, const struct gpu_config *config, struct vga *vga,
                      struct kv_error *err)
{
    struct virtio_device *dev;
    int rc = virtio_gpu_create(&dev, config, &machine->mem, err);
    if (rc < 0) {
        if (vga)
            vga_free(vga);
        return rc;
    }
    gpu_of(dev)->vga = vga;
    dev->companion = vga ? &vga_companion : NULL;
    rc = display_create(machine, &virtio_gpu_display_ops, dev, err);
    if (rc < 0) {
        dev->ops->free(dev);
        return rc;
    }
    dev->machine = machine;
    virtio_gpu_show(dev, machine->platform.display, &machine->platform.display->thread.loop);
    return virtio_pci_create(machine, dev, config->id, config->slot, err);
}

static int create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct gpu_config *config = opaque;
    int rc = virtio_gpu_attach(machine, config, NULL, err);
    if (rc == 0 && config->keyboard)
        i8042_plug(machine);
    return rc;
}

static void defaults(void *opaque)
{
    *(struct gpu_config *)opaque = (struct gpu_config){
        .xres = 1280, .yres = 800, .memory = GPU_MEMORY_DEFAULT, .keyboard = true};
}

const struct device_class virtio_gpu_class = {
    .option = "gpu",
    .help = "a screen (virtio-gpu) that firmware shows nothing on; --vga model=virtio is both",
    .options = gpu_options,
    .config_size = sizeof(struct gpu_config),
    .defaults = defaults,
    .create = create,
    .max = 1,
};
