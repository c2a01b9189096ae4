/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-input (virtio 1.2, 5.8): a keyboard, a mouse or a tablet. Whoever types
 * or points (display/input.h, any thread) adds events to a buffer; the event
 * queue's loop hands them to the guest as it has room. On the status queue the
 * guest tells which lights are on. What the device is the driver asks for
 * piece by piece, through two selectors in configuration space.
 */
#include "vmm/virtio/input.h"

#include <endian.h>
#include <errno.h>
#include <linux/input.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_input.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "vmm/machine/machine.h"

#define QUEUE_SIZE 64
#define SEGMENTS_MAX 4 /* of a buffer for 8 bytes */
#define EVENT sizeof(struct virtio_input_event)
#define BUFFER 256    /* events that wait for the guest, whole reports */
#define ROUND_MAX 256 /* of either queue, before other sources of the loop get their turn */
#define BITS_MAX (sizeof(((struct virtio_input_config *)0)->u.bitmap) * 8)

enum { QUEUE_EVENTS, QUEUE_STATUS, QUEUES };

struct input {
    struct virtio_device dev;
    struct input_sink sink;
    enum input_type type;
    struct virtio_input_config config;
    pthread_mutex_t lock; /* leaf; for what follows */
    struct virtio_input_event events[BUFFER];
    unsigned first, count;
    unsigned buttons; /* INPUT_* that the guest was told of */
    uint8_t leds;     /* bit n: LED_* n */
    uint64_t reports, dropped;
};

static struct input *of(struct virtio_device *dev)
{
    return container_of(dev, struct input, dev);
}

/* ---------------------------------------------------------------- what it is */

static const struct {
    uint8_t button; /* of input.h */
    uint16_t code;
} buttons[] = {
    {INPUT_LEFT, BTN_LEFT},
    {INPUT_RIGHT, BTN_RIGHT},
    {INPUT_MIDDLE, BTN_MIDDLE},
};

static const uint16_t mouse_axes[] = {REL_X, REL_Y, REL_WHEEL};
static const uint16_t tablet_wheel[] = {REL_WHEEL};
static const uint16_t tablet_axes[] = {ABS_X, ABS_Y};
static const uint16_t lights[] = {LED_NUML, LED_CAPSL, LED_SCROLLL};
static const uint16_t repeats[] = {REP_DELAY, REP_PERIOD};

/* Codes of an event type, for lists that are given whole. */
static const struct {
    enum input_type type;
    uint8_t event;
    uint8_t count;
    const uint16_t *codes;
} capabilities[] = {
    {INPUT_KEYBOARD, EV_LED, ARRAY_SIZE(lights), lights},
    {INPUT_KEYBOARD, EV_REP, ARRAY_SIZE(repeats), repeats},
    {INPUT_MOUSE, EV_REL, ARRAY_SIZE(mouse_axes), mouse_axes},
    {INPUT_TABLET, EV_REL, ARRAY_SIZE(tablet_wheel), tablet_wheel},
    {INPUT_TABLET, EV_ABS, ARRAY_SIZE(tablet_axes), tablet_axes},
};

static const struct {
    const char *name;
    uint16_t product; /* as QEMU's have, which udev's hardware database may know */
} identities[] = {
    [INPUT_KEYBOARD] = {"Kvasir virtio keyboard", 1},
    [INPUT_MOUSE] = {"Kvasir virtio mouse", 2},
    [INPUT_TABLET] = {"Kvasir virtio tablet", 3},
};
#define VENDOR 0x0627
#define VERSION 1

static void set_bit(struct virtio_input_config *config, unsigned bit)
{
    if (bit >= BITS_MAX)
        return;
    config->u.bitmap[bit / 8] |= (uint8_t)(1u << bit % 8);
    config->size = (uint8_t)MAX(config->size, bit / 8 + 1);
}

static void describe_events(const struct input *input, struct virtio_input_config *config)
{
    for (unsigned code = 0; config->subsel == EV_KEY && code < BITS_MAX; code++) {
        if (input->type == INPUT_KEYBOARD && input_number_of(code))
            set_bit(config, code);
    }
    for (unsigned i = 0; config->subsel == EV_KEY && i < ARRAY_SIZE(buttons); i++) {
        if (input->type != INPUT_KEYBOARD)
            set_bit(config, buttons[i].code);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(capabilities); i++) {
        if (capabilities[i].type != input->type || capabilities[i].event != config->subsel)
            continue;
        for (unsigned k = 0; k < capabilities[i].count; k++)
            set_bit(config, capabilities[i].codes[k]);
    }
}

static void describe(const struct input *input, struct virtio_input_config *config)
{
    const char *name = identities[input->type].name;
    switch (config->select) {
    case VIRTIO_INPUT_CFG_ID_NAME:
        config->size = (uint8_t)strlen(name);
        memcpy(config->u.string, name, config->size);
        break;
    case VIRTIO_INPUT_CFG_ID_DEVIDS:
        config->size = sizeof(config->u.ids);
        config->u.ids = (struct virtio_input_devids){
            .bustype = htole16(BUS_VIRTUAL),
            .vendor = htole16(VENDOR),
            .product = htole16(identities[input->type].product),
            .version = htole16(VERSION),
        };
        break;
    case VIRTIO_INPUT_CFG_EV_BITS:
        describe_events(input, config);
        break;
    case VIRTIO_INPUT_CFG_ABS_INFO:
        if (input->type != INPUT_TABLET || config->subsel > ABS_Y)
            break;
        config->size = sizeof(config->u.abs);
        config->u.abs.max = htole32(INPUT_AXIS_MAX);
        break;
    default:
        break;
    }
}

/* Only the selectors can be written; each write changes what the rest says. */
static void config_write(struct virtio_device *dev, unsigned offset, const void *data, unsigned len)
{
    struct input *input = of(dev);
    const uint8_t *bytes = data;
    struct virtio_input_config config = {.select = input->config.select,
                                         .subsel = input->config.subsel};
    if (offset == 0)
        config.select = bytes[0];
    if (offset <= 1 && offset + len > 1)
        config.subsel = bytes[1 - offset];
    describe(input, &config);
    input->config = config;
}

/* ---------------------------------------------------------------- events */

/* Under the lock. */
static void put(struct input *input, uint16_t type, uint16_t code, int32_t value)
{
    unsigned at = (input->first + input->count++) % BUFFER;
    input->events[at] = (struct virtio_input_event){
        .type = htole16(type), .code = htole16(code), .value = htole32((uint32_t)value)};
}

#define REPORT_MAX 8 /* events of one */

/* A report of nothing but movement leaves room for buttons and keys: what is let go must be told.
 */
static bool begin(struct input *input, bool pointer, unsigned down)
{
    pthread_mutex_lock(&input->lock);
    bool movement = pointer && down == input->buttons;
    if (input->count + REPORT_MAX <= (movement ? BUFFER / 2 : BUFFER)) {
        input->reports++;
        return true;
    }
    input->dropped++;
    pthread_mutex_unlock(&input->lock);
    return false;
}

static void end(struct input *input)
{
    put(input, EV_SYN, SYN_REPORT, 0);
    pthread_mutex_unlock(&input->lock);
    virtio_queue_again(&input->dev.queues[QUEUE_EVENTS]);
}

static void put_buttons(struct input *input, unsigned down)
{
    unsigned changed = input->buttons ^ down;
    for (unsigned i = 0; i < ARRAY_SIZE(buttons); i++) {
        if (changed & buttons[i].button)
            put(input, EV_KEY, buttons[i].code, (down & buttons[i].button) != 0);
    }
    if (changed & down & (INPUT_WHEEL_UP | INPUT_WHEEL_DOWN))
        put(input, EV_REL, REL_WHEEL, changed & down & INPUT_WHEEL_UP ? 1 : -1);
    input->buttons = down;
}

static bool is_active(void *opaque)
{
    struct input *input = opaque;
    return atomic_load(&input->dev.status) & VIRTIO_CONFIG_S_DRIVER_OK &&
           !atomic_load(&input->dev.needs_reset);
}

static void key(void *opaque, unsigned code, bool down)
{
    struct input *input = opaque;
    if (!begin(input, false, 0))
        return;
    put(input, EV_KEY, (uint16_t)code, down);
    end(input);
}

static void absolute(void *opaque, unsigned x, unsigned y, unsigned down)
{
    struct input *input = opaque;
    if (!begin(input, true, down))
        return;
    put(input, EV_ABS, ABS_X, (int32_t)x);
    put(input, EV_ABS, ABS_Y, (int32_t)y);
    put_buttons(input, down);
    end(input);
}

static void relative(void *opaque, int dx, int dy, unsigned down)
{
    struct input *input = opaque;
    if (!begin(input, true, down))
        return;
    if (dx)
        put(input, EV_REL, REL_X, dx);
    if (dy)
        put(input, EV_REL, REL_Y, dy);
    put_buttons(input, down);
    end(input);
}

static unsigned lights_on(void *opaque)
{
    struct input *input = opaque;
    pthread_mutex_lock(&input->lock);
    unsigned bits = input->leds;
    pthread_mutex_unlock(&input->lock);
    return input_of_led_bits(bits);
}

/* ---------------------------------------------------------------- queues */

static bool take(struct input *input, struct virtio_input_event *event)
{
    pthread_mutex_lock(&input->lock);
    bool some = input->count > 0;
    if (some) {
        *event = input->events[input->first];
        input->first = (input->first + 1) % BUFFER;
        input->count--;
    }
    pthread_mutex_unlock(&input->lock);
    return some;
}

/* One buffer is filled, and given back empty when it is too short. False: nothing more to do. */
static bool give_event(struct input *input, struct virtqueue *ring)
{
    struct virtio_input_event event;
    struct iovec iov[SEGMENTS_MAX];
    struct virtqueue_chain chain = {.iov = iov, .iov_max = SEGMENTS_MAX};
    if (virtqueue_pop(ring, &chain) <= 0)
        return false;
    if (chain.in_bytes < EVENT) {
        virtqueue_push(ring, &chain, 0);
        return true;
    }
    if (!take(input, &event)) {
        virtqueue_unpop(ring, &chain);
        return false;
    }
    virtqueue_write_in(&chain, 0, &event, EVENT);
    virtqueue_push(ring, &chain, EVENT);
    return true;
}

static bool take_status(struct input *input, struct virtqueue *ring)
{
    struct virtio_input_event event;
    struct iovec iov[SEGMENTS_MAX];
    struct virtqueue_chain chain = {.iov = iov, .iov_max = SEGMENTS_MAX};
    if (virtqueue_pop(ring, &chain) <= 0)
        return false;
    if (virtqueue_read_out(&chain, 0, &event, EVENT) == EVENT && le16toh(event.type) == EV_LED &&
        le16toh(event.code) <= LED_SCROLLL) {
        uint8_t bit = (uint8_t)(1u << le16toh(event.code));
        pthread_mutex_lock(&input->lock);
        input->leds = (uint8_t)(event.value ? input->leds | bit : input->leds & ~bit);
        pthread_mutex_unlock(&input->lock);
    }
    virtqueue_push(ring, &chain, 0);
    return true;
}

static bool has_events(struct input *input)
{
    pthread_mutex_lock(&input->lock);
    bool some = input->count > 0;
    pthread_mutex_unlock(&input->lock);
    return some;
}

static void kick(struct virtio_device *dev, struct virtio_queue *queue)
{
    struct input *input = of(dev);
    bool events = queue->index == QUEUE_EVENTS;
    unsigned rounds = 0;
    if (queue->index >= QUEUES)
        return;
    do {
        while (rounds < ROUND_MAX && (!events || has_events(input)) &&
               (events ? give_event : take_status)(input, &queue->ring))
            rounds++;
    } while (rounds < ROUND_MAX && (!events || has_events(input)) &&
             virtqueue_enable_kick(&queue->ring));
    if (virtio_queue_broken(queue))
        return;
    virtio_queue_notify(queue);
    if (rounds == ROUND_MAX)
        virtio_queue_again(queue);
}

/* ---------------------------------------------------------------- life */

static void reset(struct virtio_device *dev)
{
    struct input *input = of(dev);
    pthread_mutex_lock(&input->lock);
    input->first = input->count = input->buttons = input->leds = 0;
    pthread_mutex_unlock(&input->lock);
    input->config = (struct virtio_input_config){0};
}

static json_t *save(struct virtio_device *dev)
{
    struct input *input = of(dev);
    return json_pack("{s:i, s:i}", "buttons", (int)input->buttons, "leds", input->leds);
}

static int load(struct virtio_device *dev, const json_t *state, struct kv_error *err)
{
    struct input *input = of(dev);
    input->buttons = (unsigned)json_integer_value(json_object_get(state, "buttons"));
    input->leds = (uint8_t)json_integer_value(json_object_get(state, "leds"));
    return 0;
}

static void metrics(struct virtio_device *dev, json_t *out)
{
    struct input *input = of(dev);
    pthread_mutex_lock(&input->lock);
    json_object_set_new(out, "reports", json_integer((json_int_t)input->reports));
    json_object_set_new(out, "dropped", json_integer((json_int_t)input->dropped));
    json_object_set_new(out, "leds", json_integer(input->leds));
    pthread_mutex_unlock(&input->lock);
}

static void input_free(struct virtio_device *dev)
{
    struct input *input = of(dev);
    virtio_device_destroy(dev);
    pthread_mutex_destroy(&input->lock);
    free(input);
}

static const struct virtio_device_ops input_ops = {
    .device_id = VIRTIO_ID_INPUT,
    .config_write = config_write,
    .kick = kick,
    .reset = reset,
    .save = save,
    .load = load,
    .metrics = metrics,
    .free = input_free,
};

int virtio_input_create(struct virtio_device **out, enum input_type type, struct guest_mem *mem,
                        struct loop *loop, struct kv_error *err)
{
    static const uint16_t sizes[] = {QUEUE_SIZE, QUEUE_SIZE};
    struct input *input = calloc(1, sizeof(*input));
    if (!input)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "virtio-input: out of memory");
    int rc = virtio_device_init(&input->dev, &input_ops, "virtio-input", 0, &input->config,
                                sizeof(input->config), QUEUES, sizes, mem, loop, err);
    if (rc < 0) {
        free(input);
        return rc;
    }
    pthread_mutex_init(&input->lock, NULL);
    input->type = type;
    input->sink = (struct input_sink){
        .opaque = input,
        .active = is_active,
        .key = type == INPUT_KEYBOARD ? key : NULL,
        .absolute = type == INPUT_TABLET ? absolute : NULL,
        .relative = type == INPUT_MOUSE ? relative : NULL,
        .lights = type == INPUT_KEYBOARD ? lights_on : NULL,
    };
    *out = &input->dev;
    return 0;
}

const struct input_sink *virtio_input_sink(struct virtio_device *dev)
{
    return &of(dev)->sink;
}

int virtio_input_attach(struct machine *machine, const struct input_config *config,
                        struct kv_error *err)
{
    struct virtio_device *dev;
    int rc = virtio_input_create(&dev, (enum input_type)config->type, &machine->mem,
                                 machine_pick_loop(machine), err);
    if (rc == 0)
        rc = virtio_pci_create(machine, dev, config->id, config->slot, err);
    if (rc == 0)
        input_add(machine, &of(dev)->sink);
    return rc;
}
