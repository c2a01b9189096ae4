/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VM generation ID: tells a guest that it was cloned or rolled back. */
#ifndef KV_VMM_DEVICES_VMGENID_H
#define KV_VMM_DEVICES_VMGENID_H

#include <stdint.h>

#include "base/error.h"

struct machine;

#define VMGENID_TEXT 37 /* with the final zero */
#define VMGENID_BYTES 16

int vmgenid_create(struct machine *machine, struct kv_error *err);

/* Control thread. The identifier as text, for query-vm-generation-id; -ENOENT without the device.
 */
int vmgenid_text(struct machine *machine, char text[VMGENID_TEXT]);

/* Control thread: a new one (guid NULL or "auto": random), and the guest is told. */
int vmgenid_change(struct machine *machine, const char *guid, struct kv_error *err);

/* The identifier as it lies in guest memory; zeros without the device. */
void vmgenid_bytes(struct machine *machine, uint8_t bytes[VMGENID_BYTES]);

/* Where it lies from now on; 0: nowhere. Nothing is written. Any thread. */
void vmgenid_place(struct machine *machine, uint64_t gpa);

#endif
