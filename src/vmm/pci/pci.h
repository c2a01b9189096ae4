/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI: one root bus behind a q35-shaped host bridge, reached by ports
 * 0xcf8/0xcfc and by ECAM (PCI Express Base 7.2.2). A device is config space
 * with masks, BARs that map bus regions, capabilities and MSI-X (PCI 3.0
 * 6.8.2), plus a table of operations.
 *
 * Config space of one device is under its lock; operations are called with the
 * lock held on a vCPU thread. What interrupts need is under irq_lock instead, a
 * leaf lock: an I/O thread may raise an interrupt while a vCPU holds the
 * device's lock and waits for that very thread.
 */
#ifndef KV_VMM_PCI_PCI_H
#define KV_VMM_PCI_PCI_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/bus.h"
#include "vmm/device.h"

#define PCI_SLOTS 32
#define PCI_SLOT_LPC 31   /* kept free: where q35 firmware looks for the ICH9's LPC bridge */
#define PCI_FUNCTIONS 256 /* devfn values of one bus */
#define PCI_CONFIG_SIZE 256
#define PCI_BARS 6
#define PCI_MSIX_VECTORS_MAX 2048
#define PCI_DEVFN(slot, fn) (((slot) << 3) | (fn))

/* What the machine does for the bus; a test gives its own. Any thread. */
struct pci_platform_ops {
    /* Makes a write to eventfd deliver the message; *gsi is -1 at first and names the route
     * afterwards; call again with it to change the message. 0 or -errno. */
    int (*msi_connect)(void *opaque, int *gsi, int eventfd, uint64_t address, uint32_t data);
    void (*msi_disconnect)(void *opaque, int gsi, int eventfd);
    /* The route is no longer needed (it is disconnected by then). May be NULL. */
    void (*msi_release)(void *opaque, int gsi);
    /* Delivers one message now. */
    void (*msi_send)(void *opaque, uint64_t address, uint32_t data);
    /* Drives a level-triggered line. */
    void (*set_line)(void *opaque, unsigned gsi, bool high);
    /* A guest's write of any value and width to address signals eventfd (add) or no longer does. */
    int (*ioeventfd)(void *opaque, bool add, uint64_t address, int eventfd);
    /* The guest asked for a reset through port 0xcf9. May be NULL. */
    void (*reset)(void *opaque);
};

/* What msix_changed says when it means every vector. */
#define PCI_MSIX_ALL (~0u)

struct pci_device;

struct pci_device_ops {
    /* After a guest wrote config space [offset, offset + len), masks already applied. */
    void (*config_written)(struct pci_device *dev, unsigned offset, unsigned len);
    /* Before a guest reads; may refresh bytes of config[]. */
    void (*config_read)(struct pci_device *dev, unsigned offset, unsigned len);
    /* A BAR became visible at address, or went away (mapped false). */
    void (*bar_changed)(struct pci_device *dev, unsigned bar, bool mapped, uint64_t address);
    /* A vector was (un)masked or its message changed, or all of them (PCI_MSIX_ALL). */
    void (*msix_changed)(struct pci_device *dev, unsigned vector);
};

struct pci_bar {
    uint64_t size; /* 0: not there; else a power of two, 16 B (I/O) or 4 KiB (memory) at least */
    bool io, is_64bit, prefetchable;
    const struct bus_ops *ops;
    void *opaque;
    uint64_t initial; /* where it was placed when it was plugged; reset brings it back there */
    bool mapped;
    uint64_t address; /* while mapped */
};

/* Under irq_lock. */
struct pci_msix_vector {
    uint64_t address;
    uint32_t data, control; /* control bit 0: masked */
    bool pending;           /* raised while masked; the eventfd's count may say so too */
    int gsi;                /* KVM route, -1 before the first connection */
    int eventfd;            /* made by pci_msix_init(), constant */
    atomic_bool connected;  /* the kernel delivers what is written to eventfd */
};

struct pci_msix {
    unsigned count; /* 0: no MSI-X */
    unsigned cap;   /* offset of the capability */
    bool enabled, function_masked;
    struct pci_msix_vector *vectors;
};

/* Under irq_lock. */
struct pci_msi {
    unsigned cap; /* offset of the capability; 0: no MSI */
    bool enabled;
    uint64_t address;
    uint32_t data;
};

/* What firmware may boot from behind one function. */
struct pci_boot_unit {
    unsigned index; /* as boot_index of the device */
    char path[48];  /* behind the function's own in firmware's names, "/drive@0/disk@0" */
};

/* Code for BIOS firmware, handed over by fw_cfg. */
struct pci_rom {
    uint8_t *data; /* NULL: none */
    size_t size;
};

struct pci_bus;

struct pci_device {
    struct device device;
    struct pci_bus *bus; /* NULL while not plugged; changed under both locks */
    uint8_t devfn;
    unsigned boot_index; /* when firmware tries to boot from it, 1 first; 0: not given */
    struct pci_rom rom;
    const struct pci_boot_unit *boot_units; /* instead of boot_index, for controllers */
    unsigned boot_unit_count;
    const struct pci_device_ops *ops;
    bool removable;       /* may leave a running machine (pci_hotplug.h) */
    struct list leaving;  /* pci_hotplug.c's */
    pthread_mutex_t lock; /* recursive */
    pthread_mutex_t irq_lock;
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t write_mask[PCI_CONFIG_SIZE]; /* bits a guest may change */
    uint8_t clear_mask[PCI_CONFIG_SIZE]; /* bits that a written 1 clears */
    unsigned next_cap;                   /* where the next capability goes */
    unsigned last_cap;
    struct pci_bar bars[PCI_BARS];
    struct pci_msix msix;
    struct pci_msi msi;
    /* Under irq_lock: what the device asks for, whether the command register forbids it, and what
     * the line was told. */
    bool intx_high, intx_disabled, intx_driven;
};

struct pci_identity {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint32_t class_code; /* 24 bits: base class, subclass, interface */
    uint8_t revision;
    bool intx; /* has interrupt pin A */
};

#define PCI_INTX_LINES 8

struct pci_bus {
    struct bus *mmio, *pio;
    const struct pci_platform_ops *platform;
    void *platform_opaque;
    pthread_mutex_t lock;
    struct pci_device *devices[PCI_FUNCTIONS];
    uint32_t config_address; /* last value of port 0xcf8; under lock */
    uint8_t reset_control;   /* port 0xcf9; under lock */
    pthread_mutex_t intx_lock;
    unsigned intx_users[PCI_INTX_LINES]; /* devices that hold the line high; under intx_lock */
    uint64_t ecam_base, ecam_size;
    /* Windows that BARs are placed in when they are plugged; ACPI's _CRS says the same. A guest may
     * move a BAR within [mmio32_base, mmio32_limit), to mmio64_base and above, or to any port from
     * 0x1000 on that nobody else has. */
    uint64_t mmio32_base, mmio32_end, mmio32_limit;
    uint64_t mmio64_base, mmio64_end;
    uint64_t io_base, io_end;
};

/* The host bridge (00:00.0) and the two ways into config space, on the machine's bus. Puts its
 * device into the machine's list. */
struct machine;
int pci_host_create(struct machine *machine, struct kv_error *err);

/* The LPC bridge at 00:1f.0, by which firmware finds the power management's ports. Machines that
 * boot a kernel directly have none. */
int pci_lpc_create(struct machine *machine, struct kv_error *err);

/* ECAM and the windows are as layout.h has them; change them before anything is mapped. */
void pci_bus_init(struct pci_bus *bus, struct bus *mmio, struct bus *pio,
                  const struct pci_platform_ops *platform, void *opaque);
void pci_bus_destroy(struct pci_bus *bus);

/* Maps ports 0xcf8 to 0xcff and, when ecam_size is not 0, the ECAM window. */
int pci_bus_map_config(struct pci_bus *bus, struct kv_error *err);

/* Interrupt of pin A of a slot: GSI 16 + slot % 8 in APIC mode, as the DSDT's _PRT says. */
unsigned pci_intx_gsi(unsigned slot);

/* Sets up everything but dev->device. */
void pci_device_init(struct pci_device *dev, const struct pci_identity *identity,
                     const struct pci_device_ops *ops);
/* After pci_unplug() and machine_synchronize(); frees what MSI-X holds too. */
void pci_device_destroy(struct pci_device *dev);

/* From a file, or "fd:N", which is closed; before the jail. The device that it is put into frees
 * it. */
int pci_rom_read(struct pci_rom *rom, const char *path, struct kv_error *err);

/* Before the device is plugged. */
void pci_bar_init(struct pci_device *dev, unsigned bar, uint64_t size, bool is_64bit,
                  bool prefetchable, const struct bus_ops *ops, void *opaque);

/* As pci_bar_init(), for ports: 16 to 256 of them. */
void pci_bar_init_io(struct pci_device *dev, unsigned bar, uint32_t size, const struct bus_ops *ops,
                     void *opaque);

/* Appends a capability of len bytes (its first two are filled in); returns its offset. */
unsigned pci_add_capability(struct pci_device *dev, uint8_t id, unsigned len);

#define PCI_MSIX_ENTRY_SIZE 16

/* MSI-X with count vectors; table and pending bits lie in bar at the given offsets, and the BAR's
 * own ops pass accesses there to the functions below, with offsets relative to the table and to the
 * pending bits. 0 or -errno. */
int pci_msix_init(struct pci_device *dev, unsigned count, unsigned bar, uint32_t table_offset,
                  uint32_t pba_offset);
void pci_msix_destroy(struct pci_device *dev);
uint64_t pci_msix_table_read(struct pci_device *dev, uint64_t offset, unsigned len);
void pci_msix_table_write(struct pci_device *dev, uint64_t offset, uint64_t value, unsigned len);
uint64_t pci_msix_pba_read(struct pci_device *dev, uint64_t offset, unsigned len);

/* Raises vector now, or when it is unmasked. Any thread; out of range does nothing. */
void pci_msix_notify(struct pci_device *dev, unsigned vector);

/* An eventfd whose writing raises vector; stays with the device. While the vector is masked or
 * MSI-X is off, writes are kept pending as the specification asks. -1 when out of range. */
int pci_msix_eventfd(struct pci_device *dev, unsigned vector);

/* MSI with one message. Before the device is plugged. */
void pci_msi_init(struct pci_device *dev);
/* Sends the message if the guest has enabled it. Any thread. */
bool pci_msi_notify(struct pci_device *dev);

/* Drives pin A (level). Any thread. */
void pci_intx_set(struct pci_device *dev, bool high);

/* Places the device at slot (or the first free one with -1), assigns its BARs and lets the guest
 * see it. Before the machine runs, and for hotplug. 0, -EEXIST, -ENOSPC. */
int pci_plug(struct pci_bus *bus, struct pci_device *dev, int slot, struct kv_error *err);
void pci_unplug(struct pci_device *dev);

/* Config space as the guest sees it; also used by both ways in. */
uint32_t pci_config_read(struct pci_device *dev, unsigned offset, unsigned len);
void pci_config_write(struct pci_device *dev, unsigned offset, uint32_t value, unsigned len);

/* Back to power-on: command register, BAR addresses, MSI-X. Called by the owner's reset. */
void pci_device_reset(struct pci_device *dev);

/* What config space, BARs and MSI-X hold, for the owner's save and load. */
json_t *pci_device_save(struct pci_device *dev);
int pci_device_load(struct pci_device *dev, const json_t *state, struct kv_error *err);

#endif
