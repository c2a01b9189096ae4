/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks of pcapng files (draft-ietf-opsawg-pcapng): the section's header, an interface for each
 * port with its name, and frames with when and where they came in and what became of them. Numbers
 * are in network order, which the section's header tells. For capture.c.
 */
#ifndef KV_SWITCH_MONITOR_PCAPNG_H
#define KV_SWITCH_MONITOR_PCAPNG_H

#include "base/wire.h"

/* Beside its bytes and its comment a frame's block takes so much at most. */
#define PCAPNG_FRAME_EXTRA 64

void pcapng_section(struct wire *wire, const char *program);
/* Interfaces are numbered in their order, from 0. Times are in nanoseconds. */
void pcapng_interface(struct wire *wire, const char *name, uint32_t snap);

struct pcapng_frame {
    uint32_t interface;
    uint64_t when_ns; /* since 1970 */
    const uint8_t *bytes;
    uint32_t len, frame_len; /* that are here, that there were */
    const char *comment;
};
void pcapng_frame(struct wire *wire, const struct pcapng_frame *frame);

/* How many frames there were at the interface, and how many of them are missing. */
void pcapng_statistics(struct wire *wire, uint32_t interface, uint64_t when_ns, uint64_t frames,
                       uint64_t missing);

#endif
