/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A capture: the frames that come in at a bridge go into a pipe as pcapng, each once, with a
 * comment of what became of it. The forwarding thread hands their first bytes over as samples and
 * never waits: what the control thread, or who reads the pipe, has no time for is left out and
 * counted. It ends with so many frames, with the bridge, or when nobody reads any more. For the
 * control thread.
 */
#ifndef KV_SWITCH_MONITOR_CAPTURE_H
#define KV_SWITCH_MONITOR_CAPTURE_H

#include "base/error.h"
#include "base/loop.h"
#include "switch/forward/bridge.h"

#define CAPTURE_BYTES_MIN 64
#define CAPTURE_BYTES_MAX 3800 /* of a frame: its block goes into a pipe as a whole (pipe(7)) */
#define CAPTURES_MAX 16        /* of a bridge */

struct capture_settings {
    const struct port *port; /* frames that come in there, and that go out; NULL: all */
    uint64_t count;          /* frames after which it ends; 0: never */
    unsigned bytes;          /* of each */
};

/* Takes the pipe over when it succeeds. -errno with err. */
int capture_start(struct bridge *bridge, struct loop *loop, const struct capture_settings *settings,
                  int fd, struct kv_error *err);
void capture_stop_all(struct bridge *bridge);
/* The port goes: those that are of it end. */
void capture_forget_port(const struct port *port);

#endif
