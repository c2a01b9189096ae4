/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Takes samples of the frames that come in at a bridge: one in N by chance, its first bytes and
 * what became of it, into a ring for the control thread. A bridge has as many samplers as want its
 * frames (sflow.h); without one it loses no time. Made and freed by the control thread, else the
 * forwarding thread's. Random skips as sFlow version 5, 3.1 has them.
 */
#ifndef KV_SWITCH_MONITOR_SAMPLER_H
#define KV_SWITCH_MONITOR_SAMPLER_H

#include "base/list.h"
#include "base/util.h"
#include "switch/monitor/ring.h"
#include "switch/ports/port.h"

#define SAMPLE_BYTES_MAX 256 /* of collectors */
#define SAMPLE_SLOTS 1024

/* What became of a frame, beside going out at the port of that number. */
#define SAMPLE_DROPPED UINT32_C(0x40000000) /* or'ed with enum port_drop */
#define SAMPLE_FLOODED UINT32_C(0x80000000) /* or'ed with to how many ports */

struct sample {
    uint32_t in_port, out; /* numbers of ports (struct port) */
    uint32_t pool;         /* frames that the sampler has seen */
    uint32_t frame_bytes;
    uint16_t vlan;
    uint8_t priority;
    bool tagged;      /* bytes have a tag */
    uint16_t len;     /* of bytes */
    int64_t taken_ns; /* CLOCK_MONOTONIC */
    uint8_t bytes[];  /* as many as the sampler keeps */
};
/* Of a ring, for a sampler that keeps so many bytes of a frame. */
#define SAMPLE_SLOT(bytes) ALIGN_UP(sizeof(struct sample) + (bytes), _Alignof(struct sample))

struct sampler {
    struct list node; /* among the bridge's */
    struct ring *ring;
    uint32_t one_in;
    uint16_t bytes; /* of a frame that are kept: as many as the ring's slots have room for */
    uint32_t skip;  /* frames until the next one that is taken */
    uint32_t pool;
    uint64_t random; /* not 0 */
};

struct bridge;

/* On the forwarding thread. */
void sampler_add(struct sampler *sampler, struct bridge *bridge);
void sampler_remove(struct sampler *sampler, struct bridge *bridge);

/* The frame is the one that a sampler of the bridge waits for: bridge->sample_in frames have come
 * since the last one. out: what becomes of it. */
void sampler_take(struct bridge *bridge, const struct port *from, const struct frame *frame,
                  uint32_t out);

#endif
