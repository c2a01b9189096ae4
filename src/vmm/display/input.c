/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where keys and pointers go; see input.h. */
#include "vmm/display/input.h"

#include "base/util.h"
#include "vmm/machine/machine.h"

void input_add(struct machine *machine, const struct input_sink *sink)
{
    struct input_sinks *sinks = &machine->platform.input;
    if (sinks->count < ARRAY_SIZE(sinks->sinks))
        sinks->sinks[sinks->count++] = sink;
}

enum kind { KEYS, POSITIONS, MOVEMENTS };

static bool takes(const struct input_sink *sink, enum kind kind)
{
    const bool has[] = {
        [KEYS] = sink->key != NULL,
        [POSITIONS] = sink->absolute != NULL,
        [MOVEMENTS] = sink->relative != NULL,
    };
    return has[kind] && (!sink->active || sink->active(sink->opaque));
}

static const struct input_sink *find(const struct machine *machine, enum kind kind)
{
    const struct input_sinks *sinks = &machine->platform.input;
    for (unsigned i = sinks->count; i-- > 0;) {
        if (takes(sinks->sinks[i], kind))
            return sinks->sinks[i];
    }
    return NULL;
}

bool input_key(struct machine *machine, unsigned code, bool down)
{
    const struct input_sink *sink = find(machine, KEYS);
    if (sink)
        sink->key(sink->opaque, code, down);
    return sink;
}

unsigned input_lights(struct machine *machine)
{
    const struct input_sink *sink = find(machine, KEYS);
    return sink && sink->lights ? sink->lights(sink->opaque) : 0;
}

unsigned input_of_led_bits(unsigned bits)
{
    return (bits & 1 ? INPUT_NUM_LOCK : 0) | (bits & 2 ? INPUT_CAPS_LOCK : 0) |
           (bits & 4 ? INPUT_SCROLL_LOCK : 0);
}

bool input_is_absolute(struct machine *machine)
{
    return find(machine, POSITIONS);
}

void input_absolute(struct machine *machine, unsigned x, unsigned y, unsigned buttons)
{
    const struct input_sink *sink = find(machine, POSITIONS);
    if (sink)
        sink->absolute(sink->opaque, x, y, buttons);
}

void input_relative(struct machine *machine, int dx, int dy, unsigned buttons)
{
    const struct input_sink *sink = find(machine, MOVEMENTS);
    if (sink)
        sink->relative(sink->opaque, dx, dy, buttons);
}
