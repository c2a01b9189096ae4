/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that press keys. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/control/commands.h"
#include "vmm/display/input.h"
#include "vmm/machine/machine.h"

#define KEYS_MAX 16
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

const struct qmp_command qmp_input_commands[] = {
    {"send-key", "presses keys together and releases them", send_key, send_key_arguments},
    {NULL},
};
