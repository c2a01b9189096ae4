/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every device has, whatever its bus: a name, a place in the machine's
 * list, and hooks for pausing, resetting, describing and leaving. A kind of
 * device is one row in device_classes[] (machine/device_table.c): its option,
 * its configuration struct and its create function.
 */
#ifndef KV_VMM_DEVICE_H
#define KV_VMM_DEVICE_H

#include <jansson.h>

#include "base/error.h"
#include "base/list.h"
#include "base/options.h"

struct machine;
struct device;

/* All optional; called on the control thread with the vCPUs outside the guest unless it says so. */
struct device_ops {
    const char *type; /* "virtio-blk", "serial", ... */
    /* No I/O is in flight and guest memory is left alone when it returns; undone by resume. */
    void (*quiesce)(struct device *dev);
    void (*resume)(struct device *dev);
    /* Back to the state after power-on. */
    void (*reset)(struct device *dev);
    /* A JSON description of everything the guest could notice; load takes it back into a freshly
     * created device. Between quiesce and resume. */
    json_t *(*save)(struct device *dev);
    int (*load)(struct device *dev, const json_t *state, struct kv_error *err);
    /* Adds this device's counters to the object. While the machine runs. */
    void (*metrics)(struct device *dev, json_t *out);
    /* Frees the struct around dev; it is off its bus and out of the list. */
    void (*free)(struct device *dev);
};

struct device {
    struct list node; /* machine's list, in order of creation */
    const struct device_ops *ops;
    struct machine *machine; /* NULL in unit tests and fuzzers */
    char id[64];             /* unique; from the id option or made from the type and a number */
};

/* One kind of device, as configuration names it. */
struct device_class {
    const char *option;  /* "disk": --disk on the command line, "disk": [...] in JSON */
    const char *implied; /* first bare value goes to this option, or NULL */
    const char *help;
    const struct option_spec *options;
    size_t config_size;
    void (*defaults)(void *config); /* may be NULL: all zero; fd fields need -1 */
    /* Opens what it needs (it runs before the jail closes) but starts no thread. */
    int (*create)(struct machine *machine, const void *config, struct kv_error *err);
    unsigned max; /* how many may be given; 0: no limit */
    /* Why a running machine cannot get the device of this configuration; NULL: it can. Its
     * descriptors are taken over by create, also on failure. NULL: it never gets one. */
    const char *(*plug_obstacle)(const void *config);
};

extern const struct device_class *const device_classes[]; /* NULL at the end */

const struct device_class *device_class_find(const char *option);

/* Puts dev into the machine's list. id NULL: made from the type. -EEXIST for a doubled id. */
int device_register(struct machine *machine, struct device *dev, const struct device_ops *ops,
                    const char *id, struct kv_error *err);
void device_unregister(struct device *dev);
struct device *device_find(struct machine *machine, const char *id);

#endif
