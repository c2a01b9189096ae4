/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's end of the port com.redhat.spice.0: what spice-vdagent in a guest
 * speaks with, for the clipboard alone.
 */
#ifndef KV_VMM_DISPLAY_VDAGENT_H
#define KV_VMM_DISPLAY_VDAGENT_H

#include "vmm/chardev.h"
#include "vmm/display/clipboard.h"

#define VDAGENT "vdagent" /* a port's chardev by this name is one */
#define VDAGENT_PORT "com.redhat.spice.0"

/* A port's chardev, which loop serves, between a guest's agent and the clipboard. */
int vdagent_open(struct chardev **out, struct clipboard *clipboard, struct loop *loop,
                 struct kv_error *err);

#endif
