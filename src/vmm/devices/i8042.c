/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PC's keyboard controller (Intel 8042 as in the IBM PS/2). It resets the
 * machine, and has a keyboard and a mouse (ps2.c) where there is a screen. Else
 * nothing is plugged in: it answers its self-tests, says so when asked for the
 * two, and FADT says that there is no such controller, so that operating
 * systems look for no keyboard behind it. Port 0x92, system control port A, is
 * the other way to the same reset line and to A20.
 */
#include "vmm/devices/i8042.h"

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"
#include "vmm/devices/ps2.h"
#include "vmm/display/input.h"
#include "vmm/hex_state.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/layout.h"

#define PORT_SYSTEM_CONTROL_A 0x92

#define STATUS_OUTPUT_FULL 0x01
#define STATUS_SYSTEM 0x04
#define STATUS_COMMAND 0x08 /* the last write went to the command port */
#define STATUS_UNLOCKED 0x10
#define STATUS_FROM_MOUSE 0x20

#define OUTPUT_NO_RESET 0x01 /* output port: low resets */
#define OUTPUT_A20 0x02
#define OUTPUT_DEFAULT 0xcf

#define CONTROL_A_RESET 0x01
#define CONTROL_A_A20 0x02

#define NOBODY 0xff /* what a port reads that no device has */

#define SELF_TEST_PASSED 0x55
#define KEYBOARD_TEST_PASSED 0x00
#define MOUSE_TEST_PASSED 0x00
#define MOUSE_TEST_FAILED 0xff
#define CONFIG_DEFAULT 0x34 /* system flag; both interfaces disabled, their interrupts too */
#define CONFIG_MASK 0x7f

enum command {
    READ_CONFIG = 0x20,
    WRITE_CONFIG = 0x60,
    DISABLE_MOUSE = 0xa7,
    ENABLE_MOUSE = 0xa8,
    TEST_MOUSE = 0xa9,
    SELF_TEST = 0xaa,
    TEST_KEYBOARD = 0xab,
    DISABLE_KEYBOARD = 0xad,
    ENABLE_KEYBOARD = 0xae,
    READ_OUTPUT_PORT = 0xd0,
    WRITE_OUTPUT_PORT = 0xd1,
    WRITE_KEYBOARD_BUFFER = 0xd2,
    WRITE_MOUSE_BUFFER = 0xd3,
    WRITE_TO_MOUSE = 0xd4,
    PULSE_FIRST = 0xf0, /* low nibble: lines that stay high */
};

#define CONFIG_KEYBOARD_IRQ 0x01
#define CONFIG_MOUSE_IRQ 0x02
#define CONFIG_KEYBOARD_OFF 0x10
#define CONFIG_MOUSE_OFF 0x20
#define CONFIG_TRANSLATE 0x40 /* scan codes of set 2 to set 1 */

struct i8042 {
    struct device device;
    pthread_mutex_t lock;
    uint8_t config, output_port;
    uint8_t command; /* waiting for its data byte; 0: none */
    uint8_t status;  /* bits above the fixed ones */
    uint8_t output;  /* what port 0x60 reads */
    uint8_t control_a;
    bool hidden;  /* constant while the machine runs, as plugged is */
    bool plugged; /* with it: */
    struct ps2_keyboard keyboard;
    struct ps2_mouse mouse;
    struct irq_line keyboard_irq, mouse_irq;
    struct input_sink sink;
};

static void put_output(struct i8042 *kbc, uint8_t byte, bool from_mouse)
{
    kbc->output = byte;
    kbc->status &= (uint8_t)~STATUS_FROM_MOUSE;
    kbc->status |= STATUS_OUTPUT_FULL | (from_mouse ? STATUS_FROM_MOUSE : 0);
}

/* The output buffer takes the next byte, and the lines follow from it. */
static void update(struct i8042 *kbc)
{
    if (!kbc->plugged)
        return;
    if (!(kbc->status & STATUS_OUTPUT_FULL)) {
        if (ps2_pending(&kbc->keyboard.queue) && !(kbc->config & CONFIG_KEYBOARD_OFF))
            put_output(kbc, ps2_take(&kbc->keyboard.queue), false);
        else if (ps2_pending(&kbc->mouse.queue) && !(kbc->config & CONFIG_MOUSE_OFF))
            put_output(kbc, ps2_take(&kbc->mouse.queue), true);
    }
    bool full = kbc->status & STATUS_OUTPUT_FULL, mouse = kbc->status & STATUS_FROM_MOUSE;
    irq_set(&kbc->keyboard_irq, full && !mouse && kbc->config & CONFIG_KEYBOARD_IRQ);
    irq_set(&kbc->mouse_irq, full && mouse && kbc->config & CONFIG_MOUSE_IRQ);
}

/* The buffer was read: a next byte is a new edge. */
static void lower_lines(struct i8042 *kbc)
{
    if (!kbc->plugged)
        return;
    irq_set(&kbc->keyboard_irq, false);
    irq_set(&kbc->mouse_irq, false);
}

static uint8_t byte_read(struct i8042 *kbc, unsigned port)
{
    switch (port) {
    case PORT_I8042_DATA:
        if (kbc->status & STATUS_OUTPUT_FULL)
            lower_lines(kbc);
        kbc->status &= (uint8_t) ~(STATUS_OUTPUT_FULL | STATUS_FROM_MOUSE);
        return kbc->output;
    case PORT_I8042_COMMAND:
        if (kbc->hidden && !kbc->plugged)
            return NOBODY;
        return kbc->status | STATUS_UNLOCKED |
               (kbc->config & STATUS_SYSTEM); /* the same bit in both registers */
    default:
        return (uint8_t)((kbc->control_a & ~CONTROL_A_A20) |
                         (kbc->output_port & OUTPUT_A20 ? CONTROL_A_A20 : 0));
    }
}

/* Each returns true when the machine is to be reset. */
static bool command_write(struct i8042 *kbc, uint8_t command)
{
    kbc->status |= STATUS_COMMAND;
    kbc->command = 0;
    if (command >= PULSE_FIRST)
        return !(command & OUTPUT_NO_RESET);
    switch ((enum command)command) {
    case READ_CONFIG:
        put_output(kbc, kbc->config, false);
        break;
    case DISABLE_MOUSE:
        kbc->config |= CONFIG_MOUSE_OFF;
        break;
    case ENABLE_MOUSE:
        kbc->config &= (uint8_t)~CONFIG_MOUSE_OFF;
        break;
    case TEST_MOUSE:
        put_output(kbc, kbc->plugged ? MOUSE_TEST_PASSED : MOUSE_TEST_FAILED, false);
        break;
    case SELF_TEST:
        kbc->config = CONFIG_DEFAULT;
        put_output(kbc, SELF_TEST_PASSED, false);
        break;
    case TEST_KEYBOARD:
        put_output(kbc, KEYBOARD_TEST_PASSED, false);
        break;
    case DISABLE_KEYBOARD:
        kbc->config |= CONFIG_KEYBOARD_OFF;
        break;
    case ENABLE_KEYBOARD:
        kbc->config &= (uint8_t)~CONFIG_KEYBOARD_OFF;
        break;
    case READ_OUTPUT_PORT:
        put_output(kbc, kbc->output_port, false);
        break;
    case WRITE_CONFIG:
    case WRITE_OUTPUT_PORT:
    case WRITE_KEYBOARD_BUFFER:
    case WRITE_MOUSE_BUFFER:
    case WRITE_TO_MOUSE:
        kbc->command = command;
        break;
    default:
        break; /* nothing known: nobody answers */
    }
    return false;
}

static bool data_write(struct i8042 *kbc, uint8_t byte)
{
    uint8_t command = kbc->command;
    kbc->status &= (uint8_t)~STATUS_COMMAND;
    kbc->command = 0;
    switch (command) {
    case WRITE_CONFIG:
        kbc->config = byte & CONFIG_MASK;
        return false;
    case WRITE_OUTPUT_PORT:
        kbc->output_port = byte | OUTPUT_NO_RESET;
        return !(byte & OUTPUT_NO_RESET);
    case WRITE_KEYBOARD_BUFFER:
    case WRITE_MOUSE_BUFFER:
        put_output(kbc, byte, command == WRITE_MOUSE_BUFFER);
        return false;
    case WRITE_TO_MOUSE:
        if (kbc->plugged)
            ps2_mouse_write(&kbc->mouse, byte);
        return false;
    default:
        if (kbc->plugged)
            ps2_keyboard_write(&kbc->keyboard, byte);
        return false;
    }
}

static bool control_a_write(struct i8042 *kbc, uint8_t byte)
{
    bool reset = (byte & CONTROL_A_RESET) && !(kbc->control_a & CONTROL_A_RESET);
    kbc->control_a = byte;
    kbc->output_port &= (uint8_t)~OUTPUT_A20;
    kbc->output_port |= byte & CONTROL_A_A20 ? OUTPUT_A20 : 0;
    return reset;
}

/* Each port is one byte wide and a region of its own; the bus lets nothing wider in. */
static uint64_t read_port(struct i8042 *kbc, unsigned port)
{
    pthread_mutex_lock(&kbc->lock);
    uint8_t value = byte_read(kbc, port);
    update(kbc);
    pthread_mutex_unlock(&kbc->lock);
    return value;
}

static void write_port(struct i8042 *kbc, bool (*write)(struct i8042 *kbc, uint8_t byte),
                       uint64_t value)
{
    pthread_mutex_lock(&kbc->lock);
    bool reset = write(kbc, (uint8_t)value);
    update(kbc);
    pthread_mutex_unlock(&kbc->lock);
    if (reset)
        machine_request(kbc->device.machine, REQUEST_GUEST_RESET);
}

static uint64_t data_port_read(void *opaque, uint64_t offset, unsigned len)
{
    return read_port(opaque, PORT_I8042_DATA);
}

static void data_port_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    write_port(opaque, data_write, value);
}

static uint64_t command_port_read(void *opaque, uint64_t offset, unsigned len)
{
    return read_port(opaque, PORT_I8042_COMMAND);
}

static void command_port_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    write_port(opaque, command_write, value);
}

static uint64_t control_a_port_read(void *opaque, uint64_t offset, unsigned len)
{
    return read_port(opaque, PORT_SYSTEM_CONTROL_A);
}

static void control_a_port_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    write_port(opaque, control_a_write, value);
}

static const struct {
    uint16_t port;
    const char *name;
    struct bus_ops ops;
} ports[] = {
    {PORT_I8042_DATA, "i8042-data", {data_port_read, data_port_write}},
    {PORT_I8042_COMMAND, "i8042-command", {command_port_read, command_port_write}},
    {PORT_SYSTEM_CONTROL_A, "control-a", {control_a_port_read, control_a_port_write}},
};

static struct i8042 *to_i8042(struct device *dev)
{
    return container_of(dev, struct i8042, device);
}

static void i8042_reset(struct device *dev)
{
    struct i8042 *kbc = to_i8042(dev);
    pthread_mutex_lock(&kbc->lock);
    kbc->config = CONFIG_DEFAULT;
    kbc->output_port = OUTPUT_DEFAULT;
    kbc->command = kbc->status = kbc->output = kbc->control_a = 0;
    ps2_keyboard_reset(&kbc->keyboard);
    ps2_mouse_reset(&kbc->mouse);
    update(kbc);
    pthread_mutex_unlock(&kbc->lock);
}

static json_t *i8042_save(struct device *dev)
{
    struct i8042 *kbc = to_i8042(dev);
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:o}", "config", kbc->config,
                     "output-port", kbc->output_port, "command", kbc->command, "status",
                     kbc->status, "output", kbc->output, "control-a", kbc->control_a, "keyboard",
                     hex_state_save(&kbc->keyboard, sizeof(kbc->keyboard)), "mouse",
                     hex_state_save(&kbc->mouse, sizeof(kbc->mouse)));
}

static int i8042_load(struct device *dev, const json_t *state, struct kv_error *err)
{
    struct i8042 *kbc = to_i8042(dev);
    int config, output_port, command, status, output, control_a;
    struct ps2_keyboard keyboard;
    struct ps2_mouse mouse;
    if (json_unpack((json_t *)state, "{s:i, s:i, s:i, s:i, s:i, s:i}", "config", &config,
                    "output-port", &output_port, "command", &command, "status", &status, "output",
                    &output, "control-a", &control_a) < 0 ||
        !hex_state_load(json_object_get(state, "keyboard"), &keyboard, sizeof(keyboard)) ||
        !hex_state_load(json_object_get(state, "mouse"), &mouse, sizeof(mouse)) ||
        keyboard.queue.count > PS2_QUEUE || mouse.queue.count > PS2_QUEUE ||
        keyboard.queue.first >= PS2_QUEUE || mouse.queue.first >= PS2_QUEUE)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': a register is missing in its state", dev->id);
    kbc->keyboard = keyboard;
    kbc->mouse = mouse;
    kbc->config = (uint8_t)config & CONFIG_MASK;
    kbc->output_port = (uint8_t)output_port | OUTPUT_NO_RESET;
    kbc->command = (uint8_t)command;
    kbc->status = (uint8_t)status & (STATUS_OUTPUT_FULL | STATUS_COMMAND | STATUS_FROM_MOUSE);
    kbc->output = (uint8_t)output;
    kbc->control_a = (uint8_t)control_a;
    return 0;
}

static void i8042_free(struct device *dev)
{
    struct i8042 *kbc = to_i8042(dev);
    for (unsigned i = 0; i < ARRAY_SIZE(ports); i++)
        bus_unmap(&dev->machine->pio, ports[i].port);
    pthread_mutex_destroy(&kbc->lock);
    free(kbc);
}

static void key(void *opaque, unsigned code, bool down)
{
    struct i8042 *kbc = opaque;
    pthread_mutex_lock(&kbc->lock);
    ps2_keyboard_key(&kbc->keyboard, code, down, kbc->config & CONFIG_TRANSLATE);
    update(kbc);
    pthread_mutex_unlock(&kbc->lock);
}

static void move(void *opaque, int dx, int dy, unsigned buttons)
{
    struct i8042 *kbc = opaque;
    pthread_mutex_lock(&kbc->lock);
    ps2_mouse_move(&kbc->mouse, dx, dy, buttons);
    update(kbc);
    pthread_mutex_unlock(&kbc->lock);
}

static unsigned lights(void *opaque)
{
    struct i8042 *kbc = opaque;
    pthread_mutex_lock(&kbc->lock);
    unsigned on = kbc->keyboard.leds; /* input.h has its bits */
    pthread_mutex_unlock(&kbc->lock);
    return on;
}

void i8042_plug(struct machine *machine)
{
    struct i8042 *kbc = machine->platform.i8042;
    kbc->plugged = true;
    kbc->keyboard_irq = machine_irq_line(machine, GSI_KEYBOARD);
    kbc->mouse_irq = machine_irq_line(machine, GSI_MOUSE);
    kbc->sink = (struct input_sink){.opaque = kbc, .key = key, .relative = move, .lights = lights};
    input_add(machine, &kbc->sink);
}

void i8042_hide(struct machine *machine)
{
    if (machine->platform.i8042)
        machine->platform.i8042->hidden = true;
}

bool i8042_is_plugged(const struct machine *machine)
{
    return machine->platform.i8042 && machine->platform.i8042->plugged;
}

static const struct device_ops i8042_ops = {
    .type = "i8042",
    .reset = i8042_reset,
    .save = i8042_save,
    .load = i8042_load,
    .free = i8042_free,
};

int i8042_create(struct machine *machine, struct kv_error *err)
{
    struct i8042 *kbc = calloc(1, sizeof(*kbc));
    if (!kbc)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "keyboard controller: out of memory");
    pthread_mutex_init(&kbc->lock, NULL);
    i8042_reset(&kbc->device);
    int rc = device_register(machine, &kbc->device, &i8042_ops, "i8042", err);
    if (rc < 0) {
        free(kbc);
        return rc;
    }
    machine->platform.i8042 = kbc;
    for (unsigned i = 0; rc == 0 && i < ARRAY_SIZE(ports); i++)
        rc = bus_map(&machine->pio,
                     &(struct bus_region){.base = ports[i].port,
                                          .size = 1,
                                          .ops = &ports[i].ops,
                                          .opaque = kbc,
                                          .name = ports[i].name},
                     err);
    return rc;
}
