/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VGA for a PCI device to have: a device of its own (vga_pci.c), or virtio-gpu's other half. */
#ifndef KV_VMM_DEVICES_VGA_H
#define KV_VMM_DEVICES_VGA_H

#include "vmm/pci/pci.h"

#define VGA_CLASS_CODE 0x030000

struct display;
struct machine;
struct vga;

enum vga_model { VGA_STANDARD, VGA_VIRTIO };

struct vga_config {
    char *id, *rom;
    uint64_t memory, slot, xres, yres;
    int model;
    bool keyboard;
};

/* Its ports and its window answer from now on. usual_rom: of SeaBIOS, where config names none. */
int vga_create(struct vga **out, struct machine *machine, const struct vga_config *config,
               const char *usual_rom, struct kv_error *err);
/* Puts BARs 0 and 2 and the ROM into a PCI device that is not plugged yet; the device passes its
 * BARs' changes on (vCPU threads, with its lock). */
void vga_join(struct vga *vga, struct pci_device *pci);
void vga_bar_changed(struct vga *vga, unsigned bar, bool mapped, uint64_t address);
/* After the PCI device was unplugged and the display has ended. */
void vga_free(struct vga *vga);

/* Brings the picture up to date. On the display's thread. */
void vga_show(struct vga *vga, bool everything, struct display *display);

/* The machine's hooks. */
void vga_reset(struct vga *vga);
json_t *vga_save(struct vga *vga);
int vga_load(struct vga *vga, const json_t *state, struct kv_error *err);

#endif
