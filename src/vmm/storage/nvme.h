/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVM Express (1.4): a controller whose namespaces are disks. Control thread.
 */
#ifndef KV_VMM_STORAGE_NVME_H
#define KV_VMM_STORAGE_NVME_H

#include "vmm/storage/drive.h"

struct guest_mem;
struct loop;
struct machine;
struct nvme;
struct pci_bus;

#define NVME_NAMESPACES 16

/* A controller on the bus; slot 0: the first free one; serial NULL: the first disk's. machine may
 * be NULL (tests). */
int nvme_create(struct nvme **out, struct machine *machine, struct pci_bus *bus,
                struct guest_mem *mem, struct loop *loop, const char *id, uint64_t slot,
                const char *serial, struct kv_error *err);

/* Makes a disk the namespace whose number, less 1, config names as its unit. Before the machine
 * runs. */
int nvme_add(struct nvme *nvme, const struct drive_config *config, struct kv_error *err);

/* The same at the controller that config names, or the first, which is made when there is none. */
int nvme_attach(struct machine *machine, const struct drive_config *config, struct kv_error *err);

#endif
