/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A TPM 2.0 (TCG PC Client Platform TPM Profile 1.05), whose commands swtpm
 * carries out. One a machine, at LAYOUT_TPM_BASE, with one of two interfaces;
 * firmware and ACPI ask the list of devices for its type.
 */
#ifndef KV_VMM_DEVICES_TPM_H
#define KV_VMM_DEVICES_TPM_H

#include "base/loop.h"
#include "vmm/bus.h"
#include "vmm/device.h"
#include "vmm/devices/swtpm.h"

#define TPM_CRB "tpm-crb" /* types: a command response buffer ... */
#define TPM_TIS "tpm-tis" /* ... and a FIFO, as the TPM Interface Specification had it */
#define TPM_REGION_SIZE 0x1000
#define TPM_TIS_REGION_SIZE 0x5000 /* five localities have addresses */
#define TPM_CONTROL_AREA 0x40      /* of a command response buffer */
#define TPM_BUFFER 0x80
#define TPM_BUFFER_SIZE (TPM_REGION_SIZE - TPM_BUFFER) /* of commands and responses, whichever */

struct tpm;
struct tpm_registers;

struct tpm_interface {
    const char *type;
    uint32_t region_size;
    size_t saved; /* bytes of the registers */
    /* Under the TPM's lock. */
    uint64_t (*read)(struct tpm *tpm, unsigned offset, unsigned len);
    void (*write)(struct tpm *tpm, unsigned offset, uint64_t value, unsigned len);
    void (*ended)(struct tpm *tpm); /* its response is in the buffer, or it is lost; may be NULL */
    bool (*check)(const struct tpm_registers *loaded); /* may be NULL: anything is possible */
};
extern const struct tpm_interface tpm_crb, tpm_fifo;

/* The device without its machine: register accesses by tpm_bus_ops, with it as opaque. backend is
 * taken over. */
struct tpm *tpm_make(const struct tpm_interface *interface, const struct swtpm *backend,
                     struct loop *loop, struct kv_error *err);
void tpm_free(struct tpm *tpm);
extern const struct bus_ops tpm_bus_ops;
struct device *tpm_device(struct tpm *tpm);
const struct device_ops *tpm_device_ops(const struct tpm_interface *interface);

#endif
