/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AHCI (1.3.1), as Intel's ICH9 has it: a SATA controller with six ports for
 * disks and CD-ROMs. Control thread.
 */
#ifndef KV_VMM_STORAGE_AHCI_H
#define KV_VMM_STORAGE_AHCI_H

#include "vmm/storage/drive.h"

struct ahci;
struct guest_mem;
struct loop;
struct machine;
struct pci_bus;

#define AHCI_PORTS 6

/* A controller on the bus; slot 0: the first free one. Its ports are served by loop. machine may be
 * NULL (tests). */
int ahci_create(struct ahci **out, struct machine *machine, struct pci_bus *bus,
                struct guest_mem *mem, struct loop *loop, const char *id, uint64_t slot,
                struct kv_error *err);

/* Connects a drive to the port that config names. Before the machine runs. */
int ahci_add(struct ahci *ahci, const struct drive_config *config, struct kv_error *err);

/* The same to the controller that config names, which is made when it names none and none is there
 * that has a port free. */
int ahci_attach(struct machine *machine, const struct drive_config *config, struct kv_error *err);

#endif
