/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For fuzz targets of virtio devices: fake guest memory, a driver that writes
 * rings without minding the rules, and the device's loop turned by hand, so
 * that everything happens on one thread in the order of the input.
 */
#ifndef KV_TESTS_BAD_DRIVER_H
#define KV_TESTS_BAD_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "vmm/virtio/virtio.h"

#define FUZZ_MEMORY (1u << 20)
#define FUZZ_QUEUES 8
#define FUZZ_RING 16
#define FUZZ_DATA 0x10000 /* addresses from here on hold no ring */

/* One act of an input. */
struct fuzz_act {
    uint8_t kind, queue;
    uint16_t small;
    uint64_t value;
} __attribute__((packed));

struct fuzz_device {
    struct loop loop;
    uint8_t *memory;
    struct guest_mem mem;
    struct virtio_device *dev;
    unsigned queue_count;
    bool ready[VIRTIO_QUEUES_MAX]; /* further ones than FUZZ_QUEUES never are */
    bool packed;
    struct {
        uint16_t slot, avail;
        bool wrap;
    } rings[FUZZ_QUEUES];
};

/* Kinds of acts that every device has; a target's own begin behind them. */
enum {
    FUZZ_POKE,       /* 8 bytes anywhere in memory, rings included */
    FUZZ_DESCRIPTOR, /* the next slot of a ring, as the value says */
    FUZZ_AVAILABLE,  /* split: one more available head */
    FUZZ_ADD_OUT,    /* a proper chain of one buffer ... */
    FUZZ_ADD_IN,     /* ... of either direction, kicked */
    FUZZ_KICK,
    FUZZ_TURN,    /* the loop delivers what happened */
    FUZZ_RESTART, /* reset, features and rings anew */
    FUZZ_PAUSE,   /* stop and start again */
    FUZZ_OWN,
};

void fuzz_device_init(struct fuzz_device *f);
/* Carries out an act of the kinds above. */
void fuzz_device_act(struct fuzz_device *f, const struct fuzz_act *act);
/* Makes a chain of one buffer available. */
void fuzz_device_add(struct fuzz_device *f, unsigned queue, uint32_t gpa, uint32_t len, bool in,
                     bool more);
void fuzz_device_kick(struct fuzz_device *f, unsigned queue);
void fuzz_device_turn(struct fuzz_device *f);
void fuzz_device_restart(struct fuzz_device *f, uint64_t features, uint16_t unready);
/*
 * A whole input: a restart with features from its first byte (low: features it always has), then
 * act by act of kinds below `kinds`, then one turn of the loop.
 */
void fuzz_device_input(struct fuzz_device *f, const uint8_t *data, size_t size, uint64_t low,
                       unsigned kinds, void (*run)(const struct fuzz_act *act));
/* Reset; nothing may be left in flight. */
void fuzz_device_end(struct fuzz_device *f);

#endif
