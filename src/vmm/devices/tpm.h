/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A TPM 2.0 with a command response buffer (TCG PC Client Platform TPM Profile
 * 1.05, 6.5.3), whose commands swtpm carries out. One a machine, at
 * LAYOUT_TPM_BASE; firmware and ACPI ask the list of devices for its type.
 */
#ifndef KV_VMM_DEVICES_TPM_H
#define KV_VMM_DEVICES_TPM_H

#include "base/loop.h"
#include "vmm/bus.h"
#include "vmm/device.h"
#include "vmm/devices/swtpm.h"

#define TPM_TYPE "tpm-crb"
#define TPM_REGION_SIZE 0x1000
#define TPM_CONTROL_AREA 0x40
#define TPM_BUFFER 0x80
#define TPM_BUFFER_SIZE (TPM_REGION_SIZE - TPM_BUFFER)
#define TPM_START_BY_CRB 7 /* start method in the table TPM2 */

/* The device without its machine: register accesses by tpm_bus_ops, with it as opaque. backend is
 * taken over. */
struct tpm;
struct tpm *tpm_make(const struct swtpm *backend, struct loop *loop, struct kv_error *err);
void tpm_free(struct tpm *tpm);
extern const struct bus_ops tpm_bus_ops;
struct device *tpm_device(struct tpm *tpm);
extern const struct device_ops tpm_device_ops;

#endif
