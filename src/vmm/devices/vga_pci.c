/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device class "vga": the standard VGA of virtual machines (PCI 1234:1111),
 * or with model=virtio one that is virtio-gpu as well. See vga.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/util.h"
#include "vmm/devices/classes.h"
#include "vmm/devices/i8042.h"
#include "vmm/devices/vga.h"
#include "vmm/display/display.h"
#include "vmm/machine/machine.h"
#include "vmm/virtio/gpu.h"

#define VENDOR_BOCHS 0x1234
#define DEVICE_VGA 0x1111
#define REVISION_BYTE_ORDER 2 /* has the register of that name */
#define SUBSYSTEM_VENDOR 0x1af4
#define SUBSYSTEM 0x1100

static const char *const models[] = {[VGA_STANDARD] = "std", [VGA_VIRTIO] = "virtio", NULL};
static const char *const roms[] = {
    [VGA_STANDARD] = "/usr/share/seabios/vgabios-stdvga.bin",
    [VGA_VIRTIO] = "/usr/share/seabios/vgabios-virtio.bin",
};

static const struct option_spec vga_options[] = {
    OPTION(SIZE, struct vga_config, memory, .min = MIB(4), .max = MIB(64),
           .help = "video memory, a power of two (default 16M)"),
    OPTION(ENUM, struct vga_config, model, .values = models,
           .help =
               "virtio: a VGA until the guest's driver for virtio-gpu takes over; default: std"),
    OPTION(STRING, struct vga_config, rom,
           .help = "BIOS extension for SeaBIOS, path or fd:N (default: SeaBIOS' own)"),
    OPTION(UINT, struct vga_config, xres, .min = GPU_WIDTH_MIN, .max = GPU_WIDTH_MAX,
           .help = "the monitor's width in pixels (default 1280)"),
    OPTION(UINT, struct vga_config, yres, .min = GPU_HEIGHT_MIN, .max = GPU_HEIGHT_MAX,
           .help = "its height (default 800)"),
    OPTION(BOOL, struct vga_config, keyboard, .help = "PS/2 keyboard and mouse (default on)"),
    OPTION(STRING, struct vga_config, id, .help = "name of the device"),
    OPTION(UINT, struct vga_config, slot, .max = 30,
           .help = "slot of PCI bus 0; default: the first free one"),
    OPTION_END,
};

struct vga_pci {
    struct pci_device pci;
    struct vga *vga;
};

static struct vga_pci *of_device(struct device *device)
{
    return container_of(device, struct vga_pci, pci.device);
}

static void bar_changed(struct pci_device *pci, unsigned bar, bool mapped, uint64_t address)
{
    vga_bar_changed(container_of(pci, struct vga_pci, pci)->vga, bar, mapped, address);
}

static const struct pci_device_ops pci_ops = {.bar_changed = bar_changed};

static void draw(void *opaque, bool everything)
{
    struct vga_pci *vp = opaque;
    vga_show(vp->vga, everything, vp->pci.device.machine->platform.display);
}

static const struct display_device_ops display_ops = {.draw = draw};

/* ---------------------------------------------------------------- the machine's hooks */

static void reset(struct device *device)
{
    struct vga_pci *vp = of_device(device);
    pthread_mutex_lock(&vp->pci.lock);
    pci_device_reset(&vp->pci);
    pthread_mutex_unlock(&vp->pci.lock);
    vga_reset(vp->vga);
}

static json_t *save(struct device *device)
{
    struct vga_pci *vp = of_device(device);
    return json_pack("{s:o, s:o}", "pci", pci_device_save(&vp->pci), "registers",
                     vga_save(vp->vga));
}

static int load(struct device *device, const json_t *state, struct kv_error *err)
{
    struct vga_pci *vp = of_device(device);
    const json_t *pci = json_object_get(state, "pci");
    int rc = vga_load(vp->vga, json_object_get(state, "registers"), err);
    if (rc == 0 && !pci)
        rc = kv_error_set(err, KV_ERR_DEVICE, EINVAL, "device '%s': its state lacks pci",
                          device->id);
    return rc < 0 ? rc : pci_device_load(&vp->pci, pci, err);
}

static void free_device(struct device *device)
{
    struct vga_pci *vp = of_device(device);
    pci_unplug(&vp->pci);
    if (vp->vga) {
        display_free(device->machine);
        vga_free(vp->vga);
    }
    pci_device_destroy(&vp->pci);
    free(vp);
}

static const struct device_ops device_ops = {
    .type = "vga",
    .reset = reset,
    .save = save,
    .load = load,
    .free = free_device,
};

/* ---------------------------------------------------------------- creation */

/* The rest of creation, once the struct is whole enough for free_device(). */
static int finish(struct machine *machine, struct vga_pci *vp, const struct vga_config *config,
                  struct kv_error *err)
{
    struct vga *vga;
    int rc = vga_create(&vga, machine, config, roms[VGA_STANDARD], err);
    if (rc < 0)
        return rc;
    rc = display_create(machine, &display_ops, vp, err);
    if (rc < 0) {
        vga_free(vga);
        return rc;
    }
    vp->vga = vga;
    vga_join(vga, &vp->pci);
    return pci_plug(&machine->pci, &vp->pci, config->slot ? (int)config->slot : -1, err);
}

static int create_standard(struct machine *machine, const struct vga_config *config,
                           struct kv_error *err)
{
    static const struct pci_identity identity = {
        .vendor = VENDOR_BOCHS,
        .device = DEVICE_VGA,
        .subsystem_vendor = SUBSYSTEM_VENDOR,
        .subsystem = SUBSYSTEM,
        .class_code = VGA_CLASS_CODE,
        .revision = REVISION_BYTE_ORDER,
    };
    struct vga_pci *vp = calloc(1, sizeof(*vp));
    if (!vp)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "vga: out of memory");
    pci_device_init(&vp->pci, &identity, &pci_ops);
    int rc = device_register(machine, &vp->pci.device, &device_ops, config->id, err);
    if (rc == 0) {
        rc = finish(machine, vp, config, err);
        if (rc < 0)
            device_unregister(&vp->pci.device);
    }
    if (rc < 0)
        free_device(&vp->pci.device);
    return rc;
}

static int create_virtio(struct machine *machine, const struct vga_config *config,
                         struct kv_error *err)
{
    const struct gpu_config gpu = {.id = config->id,
                                   .slot = config->slot,
                                   .xres = config->xres,
                                   .yres = config->yres,
                                   .memory = GPU_MEMORY_DEFAULT};
    struct vga *vga;
    int rc = vga_create(&vga, machine, config, roms[VGA_VIRTIO], err);
    return rc < 0 ? rc : virtio_gpu_attach(machine, &gpu, vga, err);
}

static int create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct vga_config *config = opaque;
    int rc = config->model == VGA_VIRTIO ? create_virtio(machine, config, err)
                                         : create_standard(machine, config, err);
    if (rc == 0 && config->keyboard)
        i8042_plug(machine);
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
    .create = create,
    .max = 1,
};
