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

bool input_key(struct machine *machine, unsigned code, bool down)
{
    const struct input_sinks *sinks = &machine->platform.input;
    for (unsigned i = sinks->count; i-- > 0;) {
        if (!sinks->sinks[i]->key)
            continue;
        sinks->sinks[i]->key(sinks->sinks[i]->opaque, code, down);
        return true;
    }
    return false;
}

bool input_is_absolute(struct machine *machine)
{
    const struct input_sinks *sinks = &machine->platform.input;
    for (unsigned i = 0; i < sinks->count; i++)
        if (sinks->sinks[i]->absolute)
            return true;
    return false;
}

void input_absolute(struct machine *machine, unsigned x, unsigned y, unsigned buttons)
{
    const struct input_sinks *sinks = &machine->platform.input;
    for (unsigned i = sinks->count; i-- > 0;) {
        if (!sinks->sinks[i]->absolute)
            continue;
        sinks->sinks[i]->absolute(sinks->sinks[i]->opaque, x, y, buttons);
        return;
    }
}

void input_relative(struct machine *machine, int dx, int dy, unsigned buttons)
{
    const struct input_sinks *sinks = &machine->platform.input;
    for (unsigned i = sinks->count; i-- > 0;) {
        if (!sinks->sinks[i]->relative)
            continue;
        sinks->sinks[i]->relative(sinks->sinks[i]->opaque, dx, dy, buttons);
        return;
    }
}
