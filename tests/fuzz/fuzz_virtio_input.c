/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fuzz target: virtio-input between a driver that breaks every rule and somebody who types, points
 * and asks what the device is. */
#include <stdlib.h>

#include "bad_driver.h"
#include "vmm/virtio/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    TYPES_OR_POINTS = FUZZ_OWN,
    SELECTS,
    KINDS,
};

static struct fuzz_device devices[3], *f;

static void build(void)
{
    for (int type = INPUT_KEYBOARD; type <= INPUT_TABLET; type++) {
        fuzz_device_init(&devices[type]);
        if (virtio_input_create(&devices[type].dev, (enum input_type)type, &devices[type].mem,
                                &devices[type].loop, NULL) < 0)
            abort();
    }
}

static void type_or_point(const struct input_sink *sink, const struct fuzz_act *act)
{
    if (sink->key)
        sink->key(sink->opaque, act->small, act->value & 1);
    else if (sink->absolute)
        sink->absolute(sink->opaque, act->small & INPUT_AXIS_MAX, act->value & INPUT_AXIS_MAX,
                       (unsigned)(act->value >> 32));
    else
        sink->relative(sink->opaque, (int)act->small - 32768, (int16_t)act->value,
                       (unsigned)(act->value >> 32));
}

static void run(const struct fuzz_act *act)
{
    const struct input_sink *sink = virtio_input_sink(f->dev);
    unsigned len = 1u << (act->queue & 3);
    if (act->kind == TYPES_OR_POINTS) {
        type_or_point(sink, act);
        return;
    }
    if (act->kind == SELECTS) {
        if (act->small % 140u + len <= f->dev->config_size)
            f->dev->ops->config_write(f->dev, act->small % 140u, &act->value, len);
        return;
    }
    fuzz_device_act(f, act);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!devices[0].dev)
        build();
    if (size == 0)
        return 0;
    f = &devices[data[0] % 3];
    fuzz_device_input(f, data + 1, size - 1, 0, KINDS, run);
    fuzz_device_end(f);
    return 0;
}
