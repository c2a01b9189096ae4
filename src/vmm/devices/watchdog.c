/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A watchdog, as that of Intel's 6300ESB controller hub (datasheet, chapter
 * 14), which guests have drivers for: a PCI function with two timers that run
 * one after the other. The guest restarts them now and then; when the second
 * one ends, what the configuration says is done.
 *
 * Registers are written on vCPU threads, the timer runs on the control thread:
 * what both look at is under the lock.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "vmm/devices/classes.h"
#include "vmm/machine/machine.h"
#include "vmm/pci/pci.h"

#define VENDOR_INTEL 0x8086
#define DEVICE_6300ESB 0x25ab
#define CLASS_SYSTEM_OTHER 0x088000
#define BAR_SIZE 4096

/* Config space. */
#define CONFIG_WORD 0x60
#define CONFIG_NO_OUTPUT BIT(5) /* the second timer's end has no consequence */
#define CONFIG_MEGAHERTZ BIT(2) /* one tick a microsecond instead of a millisecond */
#define CONFIG_BITS (CONFIG_NO_OUTPUT | CONFIG_MEGAHERTZ | 3U)
#define LOCK_BYTE 0x68
#define LOCK_FREE_RUNNING BIT(2)
#define LOCK_ENABLE BIT(1)
#define LOCK_LOCKED BIT(0) /* the byte stays as it is until a reset */
#define LOCK_BITS 7U

/* Memory. */
#define TIMER1 0x0
#define TIMER2 0x4
#define RELOAD 0xc
#define TIMER_BITS 0xfffffU
#define RELOAD_RESTART BIT(8)
#define RELOAD_TIMED_OUT BIT(9) /* since the last time a 1 was written */
#define UNLOCK_FIRST 0x80
#define UNLOCK_SECOND 0x86

/* The timers count the PCI clock's 33 MHz, divided. */
#define CLOCK_HZ UINT64_C(33000000)

enum watchdog_action { RESET, SHUTDOWN, POWEROFF, PAUSE, DEBUG, NONE, INJECT_NMI };
static const char *const actions[] = {
    [RESET] = "reset", [SHUTDOWN] = "shutdown", [POWEROFF] = "poweroff",     [PAUSE] = "pause",
    [DEBUG] = "debug", [NONE] = "none",         [INJECT_NMI] = "inject-nmi", NULL,
};

struct watchdog_config {
    char *id;
    uint64_t slot;
    int action;
};

static const struct option_spec watchdog_options[] = {
    OPTION(ENUM, struct watchdog_config, action, .help = "what is done when the guest is silent",
           .values = actions),
    OPTION(STRING, struct watchdog_config, id, .help = "name of the device"),
    OPTION(UINT, struct watchdog_config, slot, .max = 30,
           .help = "slot of PCI bus 0; default: the first free one"),
    OPTION_END,
};

struct watchdog {
    struct pci_device pci;
    enum watchdog_action action;
    struct loop_work changed; /* the timer is to be set anew */
    struct loop_timer timer;  /* control thread */

    pthread_mutex_t lock; /* leaf; everything below */
    uint32_t preload[2];
    unsigned stage;  /* of the two timers */
    unsigned unlock; /* how many of the two words came */
    bool timed_out;
    uint16_t config;
    uint8_t lock_byte;
    bool running, frozen;
    int64_t deadline_ns; /* while running; while frozen: what is left */
};

static struct watchdog *of_pci(struct pci_device *pci)
{
    return container_of(pci, struct watchdog, pci);
}

static struct watchdog *of_device(struct device *device)
{
    return container_of(device, struct watchdog, pci.device);
}

static void power_on(struct watchdog *dog)
{
    dog->preload[0] = dog->preload[1] = TIMER_BITS;
    dog->stage = dog->unlock = 0;
    dog->config = dog->lock_byte = 0;
    dog->running = false;
}

/* --- Time. With the lock. ------------------------------------------------ */

static int64_t length_ns(const struct watchdog *dog)
{
    uint64_t divider = dog->config & CONFIG_MEGAHERTZ ? 1 << 5 : 1 << 15;
    uint64_t ticks = (uint64_t)dog->preload[dog->stage] * divider;
    return (int64_t)((__uint128_t)ticks * 1000000000 / CLOCK_HZ);
}

static void begin_stage(struct watchdog *dog, unsigned stage)
{
    dog->stage = stage;
    dog->running = true;
    dog->deadline_ns = length_ns(dog) + (dog->frozen ? 0 : clock_monotonic_ns());
}

static void post_change(struct watchdog *dog)
{
    if (dog->pci.device.machine)
        loop_post(&dog->pci.device.machine->loop, &dog->changed);
}

/* --- The end. Control thread, without the lock. -------------------------- */

static void act(struct watchdog *dog)
{
    struct machine *machine = dog->pci.device.machine;
    struct kv_error err = {0};
    log_guest("%s: the guest is silent; action: %s", dog->pci.device.id, actions[dog->action]);
    machine_emit(machine, "WATCHDOG", json_pack("{s:s}", "action", actions[dog->action]));
    switch (dog->action) {
    case RESET:
        machine_request(machine, REQUEST_GUEST_RESET);
        break;
    case SHUTDOWN:
        machine_request(machine, REQUEST_POWERDOWN);
        break;
    case POWEROFF:
        machine_request(machine, REQUEST_GUEST_SHUTDOWN);
        break;
    case PAUSE:
        machine_stop(machine, RUN_WATCHDOG, NULL);
        break;
    case INJECT_NMI:
        if (machine_inject_nmi(machine, &err) < 0)
            log_warning("%s: %s", dog->pci.device.id, err.message);
        break;
    default:
        break;
    }
}

static void expired(void *opaque);

static void set_timer(void *opaque)
{
    struct watchdog *dog = opaque;
    struct loop *loop = &dog->pci.device.machine->loop;
    pthread_mutex_lock(&dog->lock);
    bool runs = dog->running && !dog->frozen;
    int64_t left = dog->deadline_ns - clock_monotonic_ns();
    pthread_mutex_unlock(&dog->lock);
    if (runs)
        loop_timer_arm(loop, &dog->timer, MAX(left, INT64_C(0)), expired, dog);
    else
        loop_timer_cancel(&dog->timer);
}

static void expired(void *opaque)
{
    struct watchdog *dog = opaque;
    bool over = false;
    pthread_mutex_lock(&dog->lock);
    if (dog->running && !dog->frozen && clock_monotonic_ns() >= dog->deadline_ns) {
        bool second = dog->stage == 1, endless = dog->lock_byte & LOCK_FREE_RUNNING;
        over = second && !endless && !(dog->config & CONFIG_NO_OUTPUT);
        if (over) {
            power_on(dog);
            dog->timed_out = true;
        } else if (second && !endless) {
            dog->running = false;
        } else {
            begin_stage(dog, !second);
        }
    }
    pthread_mutex_unlock(&dog->lock);
    set_timer(dog);
    if (over)
        act(dog);
}

/* --- Registers ---------------------------------------------------------- */

static uint64_t dog_read(void *opaque, uint64_t offset, unsigned len)
{
    struct watchdog *dog = opaque;
    pthread_mutex_lock(&dog->lock);
    uint64_t value = offset == RELOAD && dog->timed_out ? RELOAD_TIMED_OUT : 0;
    pthread_mutex_unlock(&dog->lock);
    return value;
}

/* With the lock, after both words: one write of a timer or of the reload register. */
static void write_unlocked(struct watchdog *dog, uint64_t offset, uint32_t value)
{
    if (offset == TIMER1 || offset == TIMER2)
        dog->preload[offset / 4] = value & TIMER_BITS;
    if (offset != RELOAD)
        return;
    if (value & RELOAD_TIMED_OUT)
        dog->timed_out = false;
    if (value & RELOAD_RESTART && dog->running)
        begin_stage(dog, 0);
}

static void dog_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct watchdog *dog = opaque;
    pthread_mutex_lock(&dog->lock);
    if (offset == RELOAD && value == UNLOCK_FIRST) {
        dog->unlock = 1;
    } else if (offset == RELOAD && value == UNLOCK_SECOND && dog->unlock == 1) {
        dog->unlock = 2;
    } else if (dog->unlock == 2) {
        write_unlocked(dog, offset, (uint32_t)value);
        dog->unlock = 0;
    }
    pthread_mutex_unlock(&dog->lock);
    post_change(dog);
}

static const struct bus_ops bar_ops = {.read = dog_read, .write = dog_write};

static void show_config(struct watchdog *dog)
{
    store_le(dog->pci.config + CONFIG_WORD, dog->config, 2);
    dog->pci.config[LOCK_BYTE] = dog->lock_byte;
}

static void config_written(struct pci_device *pci, unsigned offset, unsigned len)
{
    struct watchdog *dog = of_pci(pci);
    if (!ranges_overlap(offset, len, CONFIG_WORD, 2) && !ranges_overlap(offset, len, LOCK_BYTE, 1))
        return;
    pthread_mutex_lock(&dog->lock);
    dog->config = (uint16_t)load_le(pci->config + CONFIG_WORD, 2) & CONFIG_BITS;
    if (!(dog->lock_byte & LOCK_LOCKED)) {
        bool before = dog->lock_byte & LOCK_ENABLE;
        dog->lock_byte = pci->config[LOCK_BYTE] & LOCK_BITS;
        bool enabled = dog->lock_byte & LOCK_ENABLE;
        if (enabled && !before)
            begin_stage(dog, 0);
        dog->running = dog->running && enabled;
    }
    show_config(dog);
    pthread_mutex_unlock(&dog->lock);
    post_change(dog);
}

static const struct pci_device_ops pci_ops = {.config_written = config_written};

/* --- The machine's hooks: control thread -------------------------------- */

/* A guest that stands still is not silent. */
static void freeze(struct device *device, bool frozen)
{
    struct watchdog *dog = of_device(device);
    int64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&dog->lock);
    if (dog->frozen != frozen)
        dog->deadline_ns += frozen ? -now : now;
    dog->frozen = frozen;
    pthread_mutex_unlock(&dog->lock);
    set_timer(dog);
}

static void quiesce(struct device *device)
{
    freeze(device, true);
}

static void resume(struct device *device)
{
    freeze(device, false);
}

static void reset(struct device *device)
{
    struct watchdog *dog = of_device(device);
    pthread_mutex_lock(&dog->pci.lock);
    pci_device_reset(&dog->pci);
    pthread_mutex_lock(&dog->lock);
    power_on(dog);
    show_config(dog);
    pthread_mutex_unlock(&dog->lock);
    pthread_mutex_unlock(&dog->pci.lock);
    set_timer(dog);
}

static json_t *save(struct device *device)
{
    struct watchdog *dog = of_device(device);
    json_t *pci = pci_device_save(&dog->pci);
    pthread_mutex_lock(&dog->lock);
    json_t *state =
        json_pack("{s:o, s:[i,i], s:i, s:i, s:b, s:i, s:i, s:b, s:I}", "pci", pci, "preload",
                  (int)dog->preload[0], (int)dog->preload[1], "stage", (int)dog->stage, "unlock",
                  (int)dog->unlock, "timed-out", dog->timed_out, "config", dog->config, "lock",
                  dog->lock_byte, "running", dog->running, "left-ns", (json_int_t)dog->deadline_ns);
    pthread_mutex_unlock(&dog->lock);
    return state;
}

static int load(struct device *device, const json_t *state, struct kv_error *err)
{
    struct watchdog *dog = of_device(device);
    json_t *pci;
    int first, second, stage, unlock, timed_out, config, lock_byte, running;
    json_int_t left;
    if (json_unpack((json_t *)state, "{s:o, s:[i,i], s:i, s:i, s:b, s:i, s:i, s:b, s:I}", "pci",
                    &pci, "preload", &first, &second, "stage", &stage, "unlock", &unlock,
                    "timed-out", &timed_out, "config", &config, "lock", &lock_byte, "running",
                    &running, "left-ns", &left) < 0 ||
        stage < 0 || stage > 1 || unlock < 0 || unlock > 2)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': its state is not that of a watchdog", device->id);
    int rc = pci_device_load(&dog->pci, pci, err);
    pthread_mutex_lock(&dog->lock);
    dog->preload[0] = (uint32_t)first & TIMER_BITS;
    dog->preload[1] = (uint32_t)second & TIMER_BITS;
    dog->stage = (unsigned)stage;
    dog->unlock = (unsigned)unlock;
    dog->timed_out = timed_out;
    dog->config = (uint16_t)config & CONFIG_BITS;
    dog->lock_byte = (uint8_t)lock_byte & LOCK_BITS;
    dog->running = running;
    dog->frozen = true;
    dog->deadline_ns = left;
    pthread_mutex_unlock(&dog->lock);
    return rc;
}

static void free_device(struct device *device)
{
    struct watchdog *dog = of_device(device);
    pci_unplug(&dog->pci);
    if (device->machine) {
        loop_unpost(&device->machine->loop, &dog->changed);
        loop_timer_cancel(&dog->timer);
    }
    pci_device_destroy(&dog->pci);
    pthread_mutex_destroy(&dog->lock);
    free(dog);
}

static const struct device_ops device_ops = {
    .type = "watchdog",
    .quiesce = quiesce,
    .resume = resume,
    .reset = reset,
    .save = save,
    .load = load,
    .free = free_device,
};

static int watchdog_create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct watchdog_config *config = opaque;
    static const struct pci_identity identity = {
        .vendor = VENDOR_INTEL,
        .device = DEVICE_6300ESB,
        .class_code = CLASS_SYSTEM_OTHER,
    };
    struct watchdog *dog = calloc(1, sizeof(*dog));
    if (!dog)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "watchdog: out of memory");
    dog->action = (enum watchdog_action)config->action;
    dog->changed = (struct loop_work){.fn = set_timer, .opaque = dog};
    pthread_mutex_init(&dog->lock, NULL);
    power_on(dog);
    pci_device_init(&dog->pci, &identity, &pci_ops);
    pci_bar_init(&dog->pci, 0, BAR_SIZE, false, false, &bar_ops, dog);
    store_le(dog->pci.write_mask + CONFIG_WORD, CONFIG_BITS, 2);
    dog->pci.write_mask[LOCK_BYTE] = LOCK_BITS;
    int rc = device_register(machine, &dog->pci.device, &device_ops, config->id, err);
    if (rc == 0) {
        rc = pci_plug(&machine->pci, &dog->pci, config->slot ? (int)config->slot : -1, err);
        if (rc < 0)
            device_unregister(&dog->pci.device);
    }
    if (rc < 0)
        free_device(&dog->pci.device);
    return rc;
}

const struct device_class watchdog_class = {
    .option = "watchdog",
    .implied = "action",
    .help = "watchdog (i6300esb)",
    .options = watchdog_options,
    .config_size = sizeof(struct watchdog_config),
    .create = watchdog_create,
    .max = 1,
};
