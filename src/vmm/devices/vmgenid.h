/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VM generation ID: tells a guest that it was cloned or rolled back. */
#ifndef KV_VMM_DEVICES_VMGENID_H
#define KV_VMM_DEVICES_VMGENID_H

#include "base/error.h"

struct machine;

#define VMGENID_TEXT 37 /* with the final zero */

int vmgenid_create(struct machine *machine, struct kv_error *err);

/* Control thread. The identifier as text, for query-vm-generation-id; -ENOENT without the device.
 */
int vmgenid_text(struct machine *machine, char text[VMGENID_TEXT]);

/* Control thread: a new one (guid NULL or "auto": random), and the guest is told. */
int vmgenid_change(struct machine *machine, const char *guid, struct kv_error *err);

#endif
