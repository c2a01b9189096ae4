/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that press keys. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "vmm/control/commands.h"
#include "vmm/display/input.h"
#include "vmm/machine/machine.h"

#define KEYS_MAX 16
#define EVENTS_MAX 64
#define HOLD_DEFAULT_MS 100
#define HOLD_MAX_MS 10000

/* Keys that are held down; control thread. */
static struct {
    struct machine *machine;
    struct loop_timer timer;
    unsigned codes[KEYS_MAX], count;
} held;

static void release(void *opaque)
{
    while (held.count)
        input_key(held.machine, held.codes[--held.count], false);
}

/* {"type": "qcode", "data": "a"} or {"type": "number", "data": 30}. 0: neither. */
static unsigned code_of(const json_t *key)
{
    const char *type = json_string_value(json_object_get(key, "type"));
    const json_t *data = json_object_get(key, "data");
    if (type && strcmp(type, "qcode") == 0 && json_is_string(data))
        return input_of_name(json_string_value(data));
    if (type && strcmp(type, "number") == 0 && json_is_integer(data))
        return input_of_number((unsigned)json_integer_value(data));
    return 0;
}

static json_t *send_key(struct qmp_call *call)
{
    const json_t *keys = json_object_get(call->arguments, "keys");
    int64_t hold_ms = HOLD_DEFAULT_MS;
    unsigned codes[KEYS_MAX], count = 0;
    qmp_integer(call, "hold-time", &hold_ms);
    if (hold_ms < 0 || hold_ms > HOLD_MAX_MS || json_array_size(keys) > KEYS_MAX)
        return qmp_fail(call, QMP_GENERIC_ERROR,
                        "at most %d keys can be held, and for %d ms at most", KEYS_MAX,
                        HOLD_MAX_MS);
    for (size_t i = 0; i < json_array_size(keys); i++) {
        codes[count] = code_of(json_array_get(keys, i));
        if (!codes[count++])
            return qmp_fail(call, QMP_GENERIC_ERROR,
                            "keys[%zu] is no key; accepted: {\"type\": \"qcode\", \"data\": "
                            "\"a\"}, {\"type\": \"number\", \"data\": 30}",
                            i);
    }
    release(NULL);
    held.machine = call->machine;
    for (unsigned i = 0; i < count; i++) {
        if (!input_key(call->machine, codes[i], true))
            return qmp_fail(call, QMP_GENERIC_ERROR, "the machine has no keyboard");
        held.codes[held.count++] = codes[i];
    }
    loop_timer_arm(&call->machine->loop, &held.timer, hold_ms * 1000000, release, NULL);
    return qmp_done();
}

static const struct qmp_argument send_key_arguments[] = {
    {"keys", QMP_ARRAY},
    {"hold-time", QMP_INTEGER, .optional = true},
    {NULL},
};

/* ---------------------------------------------------------------- input-send-event */

enum event_kind { EVENT_KEY, EVENT_BUTTON, EVENT_MOVEMENT, EVENT_POSITION, EVENT_KINDS };
static const char *const event_names[] = {"key", "btn", "rel", "abs"};

struct event {
    enum event_kind kind;
    unsigned code; /* of the key; bit of the button; 0 or 1 of the axis */
    bool down;
    int value; /* on the axis */
};

/* Where the pointer is and what is pressed; control thread. */
static struct {
    unsigned buttons, position[2];
} pointer;

static bool find_name(const char *const *names, size_t count, const char *name, unsigned *index)
{
    for (*index = 0; name && *index < count; ++*index) {
        if (strcmp(names[*index], name) == 0)
            return true;
    }
    return false;
}

static bool parse_event(const json_t *from, struct event *event)
{
    static const char *const buttons[] = {"left", "middle", "right", "wheel-up", "wheel-down"};
    static const char *const axes[] = {"x", "y"};
    const char *type = json_string_value(json_object_get(from, "type"));
    const json_t *data = json_object_get(from, "data"), *value = json_object_get(data, "value");
    const json_t *down = json_object_get(data, "down");
    unsigned kind, index;
    if (!find_name(event_names, EVENT_KINDS, type, &kind))
        return false;
    *event = (struct event){.kind = (enum event_kind)kind, .down = json_is_true(down)};
    if (kind == EVENT_KEY) {
        event->code = code_of(json_object_get(data, "key"));
        return event->code && json_is_boolean(down);
    }
    if (kind == EVENT_BUTTON) {
        const char *name = json_string_value(json_object_get(data, "button"));
        bool found = find_name(buttons, ARRAY_SIZE(buttons), name, &index);
        event->code = found ? 1u << index : 0; /* in the order of enum input_button */
        return found && json_is_boolean(down);
    }
    const char *axis = json_string_value(json_object_get(data, "axis"));
    json_int_t number = json_integer_value(value);
    event->value = (int)number;
    return find_name(axes, ARRAY_SIZE(axes), axis, &event->code) && json_is_integer(value) &&
           number <= INPUT_AXIS_MAX && number >= (kind == EVENT_POSITION ? 0 : -INPUT_AXIS_MAX);
}

/* Keys go at once; what the pointer does is one report. */
static void send_events(struct machine *machine, const struct event *events, unsigned count)
{
    int moved[2] = {0};
    bool positioned = false, pointed = false;
    for (unsigned i = 0; i < count; i++) {
        const struct event *event = &events[i];
        pointed |= event->kind != EVENT_KEY;
        positioned |= event->kind == EVENT_POSITION;
        if (event->kind == EVENT_KEY)
            input_key(machine, event->code, event->down);
        else if (event->kind == EVENT_MOVEMENT)
            moved[event->code] += event->value;
        else if (event->kind == EVENT_POSITION)
            pointer.position[event->code] = (unsigned)event->value;
        else
            pointer.buttons =
                event->down ? pointer.buttons | event->code : pointer.buttons & ~event->code;
    }
    bool movement = moved[0] || moved[1];
    if (positioned || (pointed && !movement && input_is_absolute(machine)))
        input_absolute(machine, pointer.position[0], pointer.position[1], pointer.buttons);
    if (movement || (pointed && !positioned && !input_is_absolute(machine)))
        input_relative(machine, moved[0], moved[1], pointer.buttons);
}

static json_t *input_send_event(struct qmp_call *call)
{
    const json_t *list = json_object_get(call->arguments, "events");
    struct event events[EVENTS_MAX];
    size_t count = json_array_size(list);
    if (count > EVENTS_MAX)
        return qmp_fail(call, QMP_GENERIC_ERROR, "%zu events; at most %d are possible", count,
                        EVENTS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!parse_event(json_array_get(list, i), &events[i]))
            return qmp_fail(call, QMP_GENERIC_ERROR,
                            "events[%zu] is no event; accepted: type key with down and key, btn "
                            "with down and button, rel and abs with axis x or y and a value of at "
                            "most %d",
                            i, INPUT_AXIS_MAX);
    }
    send_events(call->machine, events, (unsigned)count);
    return qmp_done();
}

static const struct qmp_argument input_send_event_arguments[] = {
    {"events", QMP_ARRAY},
    {NULL},
};

const struct qmp_command qmp_input_commands[] = {
    {"input-send-event", "presses keys and moves pointers", input_send_event,
     input_send_event_arguments},
    {"send-key", "presses keys together and releases them", send_key, send_key_arguments},
    {NULL},
};
