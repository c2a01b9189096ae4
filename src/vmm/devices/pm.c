/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI fixed hardware (ACPI 6.4 4.8): PM1 event and control registers, the PM
 * timer, the power button, and GPE0. There is no SMI: ACPI mode is always on.
 * Registers are read and written by vCPU threads; the button is pressed on the
 * control thread, and there the timer's overflow is waited for.
 */
#include "vmm/devices/pm.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/layout.h"

#define PM_SIZE (PORT_PM_TIMER + 4 - PORT_PM_BASE)
#define PM1_STATUS 0
#define PM1_ENABLE 2
#define PM1_CONTROL (PORT_PM1_CONTROL - PORT_PM_BASE)
#define PM_TIMER (PORT_PM_TIMER - PORT_PM_BASE)
#define GPE_HALF (GPE0_BYTES / 2) /* status bytes, then enable bytes */

#define TMR_STS BIT(0)
#define PWRBTN_STS BIT(8)
#define PM1_STATUS_MASK (TMR_STS | BIT(4) | BIT(5) | PWRBTN_STS | BIT(9) | BIT(10) | BIT(15))
#define PM1_ENABLE_MASK (TMR_STS | BIT(5) | PWRBTN_STS | BIT(9) | BIT(10))
#define SCI_EN BIT(0)
#define SLP_TYP_SHIFT 10
#define SLP_TYP_MASK (7u << SLP_TYP_SHIFT)
#define SLP_EN BIT(13)
#define PM1_CONTROL_MASK (BIT(1) | SLP_TYP_MASK) /* what is kept; SLP_EN is write-only */

#define NS_PER_S INT64_C(1000000000)

struct pm {
    struct device device;
    pthread_mutex_t lock; /* everything below but timer and work, which are the control thread's */
    struct irq_line sci;
    uint16_t status, enable, control;
    uint8_t gpe_status[GPE_HALF], gpe_enable[GPE_HALF];
    bool running;
    int64_t base_ns;     /* while running: when the timer stood at base_ticks */
    uint64_t base_ticks; /* more than the register's 32 bits */
    uint64_t overflows;  /* changes of the timer's top bit already reported */
    struct loop_timer timer;
    struct loop_work rearm;
};

static uint64_t ns_to_ticks(uint64_t ns)
{
    return (uint64_t)((unsigned __int128)ns * PM_TIMER_HZ / NS_PER_S);
}

static uint64_t ticks_now(const struct pm *pm)
{
    if (!pm->running)
        return pm->base_ticks;
    return pm->base_ticks + ns_to_ticks((uint64_t)(clock_monotonic_ns() - pm->base_ns));
}

/* Each change of the top bit counts as one overflow. */
static void note_overflow(struct pm *pm)
{
    uint64_t overflows = ticks_now(pm) >> 31;
    if (overflows != pm->overflows)
        pm->status |= TMR_STS;
    pm->overflows = overflows;
}

static void update_sci(struct pm *pm)
{
    bool high = pm->status & pm->enable;
    for (unsigned i = 0; i < GPE_HALF; i++)
        high |= pm->gpe_status[i] & pm->gpe_enable[i];
    irq_set(&pm->sci, high);
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned len)
{
    struct pm *pm = opaque;
    uint8_t image[PM_SIZE + 8] = {0};
    pthread_mutex_lock(&pm->lock);
    note_overflow(pm);
    store_le(image + PM1_STATUS, pm->status, 2);
    store_le(image + PM1_ENABLE, pm->enable, 2);
    store_le(image + PM1_CONTROL, pm->control | SCI_EN, 2);
    store_le(image + PM_TIMER, ticks_now(pm), 4);
    pthread_mutex_unlock(&pm->lock);
    return load_le(image + offset, len);
}

static void enter_sleep(struct pm *pm)
{
    unsigned type = (pm->control & SLP_TYP_MASK) >> SLP_TYP_SHIFT;
    if (type == PM1_SLP_TYP_S5)
        machine_request(pm->device.machine, REQUEST_GUEST_SHUTDOWN);
    else
        log_guest("%s: sleep type %u is unknown; only S5 (%u) is there", pm->device.id, type,
                  PM1_SLP_TYP_S5);
}

/* Byte i of a register of which mask may be written. */
static void write_byte(uint16_t *reg, uint16_t mask, unsigned i, uint8_t byte)
{
    uint16_t part = (uint16_t)(mask & (0xff << 8 * i));
    *reg = (uint16_t)((*reg & ~part) | ((byte << 8 * i) & part));
}

/* Returns true when the byte sets SLP_EN. */
static bool pm_write_byte(struct pm *pm, unsigned offset, uint8_t byte)
{
    switch (offset) {
    case PM1_STATUS:
    case PM1_STATUS + 1:
        pm->status &= (uint16_t) ~(byte << 8 * (offset - PM1_STATUS));
        return false;
    case PM1_ENABLE:
    case PM1_ENABLE + 1:
        write_byte(&pm->enable, PM1_ENABLE_MASK, offset - PM1_ENABLE, byte);
        return false;
    case PM1_CONTROL:
    case PM1_CONTROL + 1:
        write_byte(&pm->control, PM1_CONTROL_MASK, offset - PM1_CONTROL, byte);
        return offset != PM1_CONTROL && (byte & SLP_EN >> 8);
    default:
        return false; /* the timer is read-only */
    }
}

static void pm_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct pm *pm = opaque;
    bool sleep = false;
    pthread_mutex_lock(&pm->lock);
    note_overflow(pm);
    uint16_t enable = pm->enable;
    for (unsigned i = 0; i < len; i++)
        sleep |= pm_write_byte(pm, (unsigned)offset + i, (uint8_t)(value >> 8 * i));
    bool rearm = (enable ^ pm->enable) & TMR_STS;
    update_sci(pm);
    pthread_mutex_unlock(&pm->lock);
    if (rearm)
        loop_post(&pm->device.machine->loop, &pm->rearm);
    if (sleep)
        enter_sleep(pm);
}

static const struct bus_ops pm_regs = {.read = pm_read, .write = pm_write};

static uint64_t gpe_read(void *opaque, uint64_t offset, unsigned len)
{
    struct pm *pm = opaque;
    uint8_t image[GPE0_BYTES];
    pthread_mutex_lock(&pm->lock);
    memcpy(image, pm->gpe_status, GPE_HALF);
    memcpy(image + GPE_HALF, pm->gpe_enable, GPE_HALF);
    pthread_mutex_unlock(&pm->lock);
    return load_le(image + offset, len);
}

static void gpe_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct pm *pm = opaque;
    pthread_mutex_lock(&pm->lock);
    for (uint64_t i = 0, at = offset; i < len; i++, at++) {
        uint8_t byte = (uint8_t)(value >> 8 * i);
        if (at < GPE_HALF)
            pm->gpe_status[at] &= (uint8_t)~byte;
        else
            pm->gpe_enable[at - GPE_HALF] = byte;
    }
    update_sci(pm);
    pthread_mutex_unlock(&pm->lock);
}

static const struct bus_ops gpe_regs = {.read = gpe_read, .write = gpe_write};

void pm_gpe_raise(struct machine *machine, unsigned bit)
{
    struct pm *pm = machine->platform.pm;
    if (!pm || bit >= GPE_HALF * 8)
        return;
    pthread_mutex_lock(&pm->lock);
    pm->gpe_status[bit / 8] |= (uint8_t)BIT(bit % 8);
    update_sci(pm);
    pthread_mutex_unlock(&pm->lock);
}

static void press_power_button(void *opaque)
{
    struct pm *pm = opaque;
    pthread_mutex_lock(&pm->lock);
    pm->status |= PWRBTN_STS;
    update_sci(pm);
    pthread_mutex_unlock(&pm->lock);
}

/* Control thread: waits for the timer's next overflow while the guest wants to hear of it. */
static void wait_for_overflow(void *opaque)
{
    struct pm *pm = opaque;
    pthread_mutex_lock(&pm->lock);
    note_overflow(pm);
    update_sci(pm);
    bool wanted = pm->running && (pm->enable & TMR_STS);
    uint64_t left = BIT(31) - (ticks_now(pm) & (BIT(31) - 1));
    pthread_mutex_unlock(&pm->lock);
    if (wanted)
        loop_timer_arm(&pm->device.machine->loop, &pm->timer,
                       (int64_t)(left + 1) * NS_PER_S / PM_TIMER_HZ, wait_for_overflow, pm);
    else
        loop_timer_cancel(&pm->timer);
}

static struct pm *to_pm(struct device *dev)
{
    return container_of(dev, struct pm, device);
}

/* Time stands still for the guest while it is paused. */
static void set_running(struct pm *pm, bool on)
{
    pthread_mutex_lock(&pm->lock);
    if (on != pm->running) {
        pm->base_ticks = ticks_now(pm);
        pm->base_ns = clock_monotonic_ns();
        pm->running = on;
    }
    pthread_mutex_unlock(&pm->lock);
    wait_for_overflow(pm);
}

static void pm_quiesce(struct device *dev)
{
    set_running(to_pm(dev), false);
}

static void pm_resume(struct device *dev)
{
    set_running(to_pm(dev), true);
}

static void pm_reset(struct device *dev)
{
    struct pm *pm = to_pm(dev);
    pthread_mutex_lock(&pm->lock);
    pm->status = pm->enable = pm->control = 0;
    memset(pm->gpe_status, 0, sizeof(pm->gpe_status));
    memset(pm->gpe_enable, 0, sizeof(pm->gpe_enable));
    update_sci(pm);
    pthread_mutex_unlock(&pm->lock);
    wait_for_overflow(pm);
}

static json_t *pm_save(struct device *dev)
{
    struct pm *pm = to_pm(dev);
    pthread_mutex_lock(&pm->lock);
    json_t *state = json_pack("{s:i, s:i, s:i, s:I, s:I, s:I, s:I}", "status", pm->status, "enable",
                              pm->enable, "control", pm->control, "gpe-status",
                              (json_int_t)load_le(pm->gpe_status, GPE_HALF), "gpe-enable",
                              (json_int_t)load_le(pm->gpe_enable, GPE_HALF), "ticks",
                              (json_int_t)ticks_now(pm), "overflows", (json_int_t)pm->overflows);
    pthread_mutex_unlock(&pm->lock);
    return state;
}

static int pm_load(struct device *dev, const json_t *state, struct kv_error *err)
{
    struct pm *pm = to_pm(dev);
    int status, enable, control;
    json_int_t gpe_status, gpe_enable, ticks, overflows;
    if (json_unpack((json_t *)state, "{s:i, s:i, s:i, s:I, s:I, s:I, s:I}", "status", &status,
                    "enable", &enable, "control", &control, "gpe-status", &gpe_status, "gpe-enable",
                    &gpe_enable, "ticks", &ticks, "overflows", &overflows) < 0)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': a register is missing in its state", dev->id);
    pthread_mutex_lock(&pm->lock);
    pm->status = (uint16_t)status & PM1_STATUS_MASK;
    pm->enable = (uint16_t)enable & PM1_ENABLE_MASK;
    pm->control = (uint16_t)control & PM1_CONTROL_MASK;
    store_le(pm->gpe_status, (uint64_t)gpe_status, GPE_HALF);
    store_le(pm->gpe_enable, (uint64_t)gpe_enable, GPE_HALF);
    pm->base_ticks = (uint64_t)ticks;
    pm->base_ns = clock_monotonic_ns();
    pm->overflows = (uint64_t)overflows;
    update_sci(pm);
    pthread_mutex_unlock(&pm->lock);
    return 0;
}

static void pm_free(struct device *dev)
{
    struct pm *pm = to_pm(dev);
    struct machine *machine = dev->machine;
    loop_timer_cancel(&pm->timer);
    bus_unmap(&machine->pio, PORT_PM_BASE);
    bus_unmap(&machine->pio, PORT_GPE0);
    machine->platform.pm = NULL;
    machine->platform.power_button = NULL;
    pthread_mutex_destroy(&pm->lock);
    free(pm);
}

static const struct device_ops pm_ops = {
    .type = "acpi-pm",
    .quiesce = pm_quiesce,
    .resume = pm_resume,
    .reset = pm_reset,
    .save = pm_save,
    .load = pm_load,
    .free = pm_free,
};

int pm_create(struct machine *machine, struct kv_error *err)
{
    struct pm *pm = calloc(1, sizeof(*pm));
    if (!pm)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "power management: out of memory");
    pthread_mutex_init(&pm->lock, NULL);
    pm->sci = machine_irq_line(machine, GSI_SCI);
    pm->base_ns = clock_monotonic_ns();
    pm->running = true;
    pm->rearm = (struct loop_work){.fn = wait_for_overflow, .opaque = pm};
    int rc = device_register(machine, &pm->device, &pm_ops, "acpi-pm", err);
    if (rc < 0) {
        free(pm);
        return rc;
    }
    machine->platform.pm = pm;
    machine->platform.power_button = press_power_button;
    machine->platform.power_button_opaque = pm;
    rc = bus_map(&machine->pio,
                 &(struct bus_region){.base = PORT_PM_BASE,
                                      .size = PM_SIZE,
                                      .ops = &pm_regs,
                                      .opaque = pm,
                                      .name = "acpi-pm"},
                 err);
    if (rc == 0)
        rc = bus_map(&machine->pio,
                     &(struct bus_region){.base = PORT_GPE0,
                                          .size = GPE0_BYTES,
                                          .ops = &gpe_regs,
                                          .opaque = pm,
                                          .name = "acpi-gpe0"},
                     err);
    return rc; /* on error the machine frees its devices, this one too */
}
