/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Samples of frames; see sampler.h. */
#include "switch/monitor/sampler.h"

#include "base/util.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"

/* 1 to 2 N - 1, N in the middle (xorshift64*). */
static uint32_t next_skip(struct sampler *sampler)
{
    sampler->random ^= sampler->random >> 12;
    sampler->random ^= sampler->random << 25;
    sampler->random ^= sampler->random >> 27;
    uint64_t random = sampler->random * UINT64_C(0x2545f4914f6cdd1d) >> 32;
    return 1 + (uint32_t)(random * (2 * (uint64_t)sampler->one_in - 1) >> 32);
}

/* When the first of the samplers wants a frame. */
static void wait_for_next(struct bridge *bridge)
{
    bridge->sample_in = bridge->sample_every = 0;
    list_for_each (node, &bridge->samplers) {
        uint32_t skip = list_entry(node, struct sampler, node)->skip;
        if (bridge->sample_in == 0 || skip < bridge->sample_in)
            bridge->sample_in = skip;
    }
    bridge->sample_every = bridge->sample_in;
}

static void pass(struct sampler *sampler, uint32_t frames)
{
    sampler->skip -= frames;
    sampler->pool += frames;
}

/* So many frames went by since the last look. */
static void count(struct bridge *bridge, uint32_t frames)
{
    list_for_each (node, &bridge->samplers)
        pass(list_entry(node, struct sampler, node), frames);
}

void sampler_add(struct sampler *sampler, struct bridge *bridge)
{
    count(bridge, bridge->sample_every - bridge->sample_in);
    sampler->skip = next_skip(sampler);
    list_add_tail(&bridge->samplers, &sampler->node);
    wait_for_next(bridge);
}

void sampler_remove(struct sampler *sampler, struct bridge *bridge)
{
    count(bridge, bridge->sample_every - bridge->sample_in);
    list_del(&sampler->node);
    wait_for_next(bridge);
}

void sampler_take(struct bridge *bridge, const struct port *from, const struct frame *frame,
                  uint32_t out)
{
    count(bridge, bridge->sample_every);
    list_for_each (node, &bridge->samplers) {
        struct sampler *sampler = list_entry(node, struct sampler, node);
        if (sampler->skip != 0)
            continue;
        sampler->skip = next_skip(sampler);
        struct sample *sample = ring_reserve(sampler->ring);
        if (!sample)
            continue;
        sample->in_port = from->number;
        sample->out = out;
        sample->pool = sampler->pool;
        sample->frame_bytes = FRAME_HEAD + frame->rest_bytes;
        sample->taken_ns = bridge->forward->now_ns;
        sample->vlan = frame->vlan;
        sample->tagged = frame->tagged;
        sample->priority = frame->tagged ? frame->head[14] >> 5 : 0;
        sample->len = (uint16_t)frame_read(frame, sample->bytes, sampler->bytes);
        ring_publish(sampler->ring);
    }
    wait_for_next(bridge);
}
