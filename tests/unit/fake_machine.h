/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What platform devices ask of a machine, without KVM: buses, a loop, some
 * memory, interrupt lines and requests that are written down. Stands in for
 * machine/machine.c, machine/device.c and machine/run_state.c.
 */
#ifndef KV_TESTS_FAKE_MACHINE_H
#define KV_TESTS_FAKE_MACHINE_H

#include "vmm/machine/machine.h"

#define FAKE_MEMORY_SIZE MIB(1)

struct fake_machine {
    struct machine machine;
    bool lines[32];
    unsigned edges[32]; /* changes from low to high */
    unsigned requests;  /* bits, since they were last cleared */
};

/* One at a time. */
void fake_machine_init(struct fake_machine *fake);
/* Frees the devices too, the last created first; no region may be left on the buses. */
void fake_machine_destroy(struct fake_machine *fake);

uint64_t port_read(struct fake_machine *fake, uint16_t port, unsigned len);
void port_write(struct fake_machine *fake, uint16_t port, uint64_t value, unsigned len);

/* Lets the control thread's loop run for a while. */
void fake_machine_run(struct fake_machine *fake, int64_t ns);

/* Every width at every offset of a range of ports, written with all ones and zeroes and read. */
void abuse_ports(struct fake_machine *fake, uint16_t first, unsigned count);

/* The state saved as text and taken back by the same device after a reset. */
void save_reset_load(struct device *dev);

#endif
