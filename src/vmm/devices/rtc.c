/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PC's real-time clock, a Motorola MC146818 behind ports 0x70 and 0x71,
 * with 128 bytes of CMOS memory in which firmware looks for memory sizes. It
 * shows the host's time in UTC plus an offset, at first that of the configuration,
 * which a guest changes by setting its clock.
 *
 * Flags in register C are computed when somebody looks. Only while an interrupt
 * is enabled and not yet pending does a timer of the control thread look too.
 */
#include "vmm/devices/rtc.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "vmm/devices/rtc_calendar.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/layout.h"

#define CMOS_SIZE 128
#define CMOS_INDEX_MASK 0x7f /* bit 7 of port 0x70 masks NMIs on a PC; not here */

#define A_UPDATE_IN_PROGRESS 0x80
#define A_DIVIDER_RESET 0x60 /* both bits: the clock stands still */
#define A_RATE 0x0f
#define A_DEFAULT 0x26 /* 32768 Hz, 1024 interrupts a second */
#define B_SET 0x80     /* updates are held while the guest writes the time */
#define B_PERIODIC 0x40
#define B_ALARM 0x20
#define B_UPDATE 0x10
#define B_SQUARE_WAVE 0x08
#define B_DEFAULT RTC_B_24H
#define C_REQUEST 0x80
#define C_PERIODIC B_PERIODIC
#define C_ALARM B_ALARM
#define C_UPDATE B_UPDATE
#define C_EVENTS (C_PERIODIC | C_ALARM | C_UPDATE)
#define D_VALID 0x80

#define NS_PER_S INT64_C(1000000000)
#define OFFSET_MAX_S (INT64_C(1) << 40) /* beyond what calendar registers can say */
#define UPDATE_WARNING_NS 244000 /* how long before a second's end UPDATE_IN_PROGRESS shows */
#define ALARM_LOOKBACK_S 86400   /* every alarm comes once a day */
/* No faster than this, so that a guest cannot keep the control thread busy. */
#define PERIODIC_MIN_NS 122070

struct rtc {
    struct device device;
    pthread_mutex_t lock; /* everything below but timer and work, which are the control thread's */
    int64_t (*realtime_ns)(void);
    struct irq_line irq;
    uint8_t index;
    uint8_t cmos[CMOS_SIZE];
    int64_t offset_s; /* the guest's time minus the host's */
    int64_t seen_ns;  /* the host's time up to which events are in register C */
    struct loop_timer timer;
    struct loop_work rearm;
};

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Only whole seconds are shifted: within a second, guest and host agree. */
static int64_t guest_seconds(const struct rtc *rtc, int64_t host_ns)
{
    return floor_div(host_ns, NS_PER_S) + rtc->offset_s;
}

/* Nanoseconds since the last multiple of period. */
static int64_t phase(int64_t ns, int64_t period)
{
    return ns - floor_div(ns, period) * period;
}

static bool stands_still(const struct rtc *rtc)
{
    return (rtc->cmos[RTC_B] & B_SET) || (rtc->cmos[RTC_A] & A_DIVIDER_RESET) == A_DIVIDER_RESET;
}

/* Nanoseconds between periodic events; 0: none. */
static int64_t period_ns(const struct rtc *rtc)
{
    unsigned rate = rtc->cmos[RTC_A] & A_RATE;
    if (rate == 0)
        return 0;
    if (rate <= 2)
        rate += 7; /* 256 and 128 Hz */
    return NS_PER_S * (1 << (rate - 1)) / 32768;
}

static void update_irq(struct rtc *rtc)
{
    bool high = rtc->cmos[RTC_C] & rtc->cmos[RTC_B] & C_EVENTS;
    rtc->cmos[RTC_C] &= (uint8_t)~C_REQUEST;
    rtc->cmos[RTC_C] |= high ? C_REQUEST : 0;
    irq_set(&rtc->irq, high);
}

/* Brings register C up to date. */
static void note_events(struct rtc *rtc)
{
    int64_t now = rtc->realtime_ns(), period = period_ns(rtc);
    uint8_t events = 0;
    if (period && floor_div(now, period) != floor_div(rtc->seen_ns, period))
        events |= C_PERIODIC;
    int64_t second = guest_seconds(rtc, now), seen = guest_seconds(rtc, rtc->seen_ns);
    if (!stands_still(rtc) && second != seen) {
        events |= C_UPDATE;
        if (!(rtc->cmos[RTC_C] & C_ALARM)) {
            int64_t from = MAX(seen, second - ALARM_LOOKBACK_S);
            for (int64_t s = from + 1; s <= second && !(events & C_ALARM); s++)
                if (rtc_alarm_matches(rtc->cmos, s))
                    events |= C_ALARM;
        }
    }
    rtc->seen_ns = now;
    rtc->cmos[RTC_C] |= events;
    update_irq(rtc);
}

/* Nanoseconds until an event that is enabled can come; -1: nothing to wait for. */
static int64_t next_event_ns(const struct rtc *rtc)
{
    uint8_t enabled = rtc->cmos[RTC_B], pending = rtc->cmos[RTC_C];
    if (pending & C_REQUEST)
        return -1; /* the guest reads register C first */
    int64_t now = rtc->realtime_ns(), wait = -1, period = period_ns(rtc);
    if ((enabled & (B_ALARM | B_UPDATE)) && !stands_still(rtc))
        wait = NS_PER_S - phase(now, NS_PER_S);
    if ((enabled & B_PERIODIC) && period) {
        int64_t tick = period - phase(now, period);
        wait = wait < 0 ? tick : MIN(wait, tick);
    }
    return wait < 0 ? wait : MAX(wait, PERIODIC_MIN_NS);
}

/* Control thread. */
static void look_at_clock(void *opaque)
{
    struct rtc *rtc = opaque;
    pthread_mutex_lock(&rtc->lock);
    note_events(rtc);
    int64_t wait = next_event_ns(rtc);
    pthread_mutex_unlock(&rtc->lock);
    if (wait >= 0)
        loop_timer_arm(&rtc->device.machine->loop, &rtc->timer, wait, look_at_clock, rtc);
    else
        loop_timer_cancel(&rtc->timer);
}

static bool is_calendar(unsigned index)
{
    return index == RTC_SECONDS || index == RTC_MINUTES || index == RTC_HOURS ||
           (index >= RTC_WEEKDAY && index <= RTC_YEAR) || index == RTC_CENTURY;
}

static void show_time(struct rtc *rtc)
{
    if (!stands_still(rtc))
        rtc_calendar_store(rtc->cmos, guest_seconds(rtc, rtc->realtime_ns()));
}

/* The calendar registers hold the time that it is now. */
static void take_time(struct rtc *rtc)
{
    int64_t before = rtc->offset_s;
    rtc->seen_ns = rtc->realtime_ns();
    rtc->offset_s = rtc_calendar_load(rtc->cmos) - floor_div(rtc->seen_ns, NS_PER_S);
    if (rtc->offset_s != before)
        machine_emit(rtc->device.machine, "RTC_CHANGE",
                     json_pack("{s:I, s:s}", "offset",
                               (json_int_t)(rtc->offset_s - rtc->device.machine->config.rtc.offset),
                               "qom-path", "/machine/unattached/rtc"));
}

static uint8_t cmos_read(struct rtc *rtc, bool *rearm)
{
    unsigned index = rtc->index;
    if (is_calendar(index))
        show_time(rtc);
    if (index == RTC_A) {
        bool soon = phase(rtc->realtime_ns(), NS_PER_S) >= NS_PER_S - UPDATE_WARNING_NS;
        return rtc->cmos[RTC_A] | (soon && !stands_still(rtc) ? A_UPDATE_IN_PROGRESS : 0);
    }
    if (index == RTC_C) {
        note_events(rtc);
        uint8_t value = rtc->cmos[RTC_C];
        rtc->cmos[RTC_C] = 0;
        update_irq(rtc);
        *rearm = rtc->cmos[RTC_B] & C_EVENTS;
        return value;
    }
    return rtc->cmos[index];
}

/* Register A or B: the clock may start or stop, formats and interrupts may change. */
static void control_write(struct rtc *rtc, unsigned index, uint8_t value)
{
    note_events(rtc);
    show_time(rtc);
    bool stood = stands_still(rtc);
    rtc->cmos[index] = value;
    if (stood && !stands_still(rtc))
        take_time(rtc);
    update_irq(rtc);
}

static void cmos_write(struct rtc *rtc, uint8_t value, bool *rearm)
{
    unsigned index = rtc->index;
    if (is_calendar(index)) {
        show_time(rtc);
        rtc->cmos[index] = value;
        if (!stands_still(rtc))
            take_time(rtc);
    } else if (index == RTC_A) {
        control_write(rtc, index, value & (uint8_t)~A_UPDATE_IN_PROGRESS);
        *rearm = true;
    } else if (index == RTC_B) {
        /* Holding updates ends the update interrupt (datasheet, register B). */
        control_write(rtc, index, value & B_SET ? value & (uint8_t)~B_UPDATE : value);
        *rearm = true;
    } else if (index == RTC_SECONDS_ALARM || index == RTC_MINUTES_ALARM ||
               index == RTC_HOURS_ALARM) {
        note_events(rtc);
        rtc->cmos[index] = value;
    } else if (index != RTC_C && index != RTC_D) {
        rtc->cmos[index] = value;
    }
}

/* Two ports, each a byte wide: of anything wider the low byte counts. */
static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned len)
{
    struct rtc *rtc = opaque;
    bool rearm = false;
    if (offset == 0)
        return UINT64_MAX; /* the index is write-only */
    pthread_mutex_lock(&rtc->lock);
    uint8_t value = cmos_read(rtc, &rearm);
    pthread_mutex_unlock(&rtc->lock);
    if (rearm)
        loop_post(&rtc->device.machine->loop, &rtc->rearm);
    return value;
}

static void rtc_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct rtc *rtc = opaque;
    bool rearm = false;
    pthread_mutex_lock(&rtc->lock);
    if (offset == 0)
        rtc->index = value & CMOS_INDEX_MASK;
    else
        cmos_write(rtc, (uint8_t)value, &rearm);
    pthread_mutex_unlock(&rtc->lock);
    if (rearm)
        loop_post(&rtc->device.machine->loop, &rtc->rearm);
}

static const struct bus_ops rtc_regs = {.read = rtc_read, .write = rtc_write};

/* Where PC firmware expects the sizes of memory and the number of CPUs. */
static void fill_cmos(struct rtc *rtc, const struct machine *machine)
{
    uint64_t low = machine->memory.low_size, high = machine->memory.high_size;
    uint64_t extended_kib = low > MIB(1) ? (low - MIB(1)) >> 10 : 0;
    uint64_t above_16m = low > MIB(16) ? (low - MIB(16)) >> 16 : 0;
    uint8_t *cmos = rtc->cmos;
    cmos[RTC_A] = A_DEFAULT;
    cmos[RTC_B] = B_DEFAULT;
    cmos[RTC_D] = D_VALID;
    store_le(cmos + 0x15, 640, 2); /* KiB of base memory */
    store_le(cmos + 0x17, MIN(extended_kib, 0xffffu), 2);
    store_le(cmos + 0x30, MIN(extended_kib, 0xffffu), 2);
    store_le(cmos + 0x34, MIN(above_16m, 0xffffu), 2);    /* 64 KiB units from 16 MiB on */
    store_le(cmos + 0x5b, MIN(high >> 16, 0xffffffu), 3); /* 64 KiB units from 4 GiB on */
}

/* Other processors: BIOSes wait until so many have come up. */
static void fill_cpu_count(struct rtc *rtc)
{
    rtc->cmos[0x5f] = (uint8_t)(MAX(vcpu_present_count(rtc->device.machine), 1u) - 1);
}

static struct rtc *to_rtc(struct device *dev)
{
    return container_of(dev, struct rtc, device);
}

/* The time and the memory are on a battery; only interrupts are reset. */
static void rtc_reset(struct device *dev)
{
    struct rtc *rtc = to_rtc(dev);
    pthread_mutex_lock(&rtc->lock);
    show_time(rtc);
    bool stood = stands_still(rtc);
    rtc->index = 0;
    fill_cpu_count(rtc);
    rtc->cmos[RTC_A] = A_DEFAULT;
    rtc->cmos[RTC_B] &= (uint8_t) ~(C_EVENTS | B_SQUARE_WAVE | B_SET);
    rtc->cmos[RTC_C] = 0;
    if (stood)
        take_time(rtc);
    rtc->seen_ns = rtc->realtime_ns();
    update_irq(rtc);
    pthread_mutex_unlock(&rtc->lock);
    look_at_clock(rtc);
}

/* The host's time goes on while the guest is paused, and so does the guest's. */
static void rtc_resume(struct device *dev)
{
    look_at_clock(to_rtc(dev));
}

static json_t *rtc_save(struct device *dev)
{
    struct rtc *rtc = to_rtc(dev);
    pthread_mutex_lock(&rtc->lock);
    json_t *cmos = json_array();
    for (unsigned i = 0; i < CMOS_SIZE; i++)
        json_array_append_new(cmos, json_integer(rtc->cmos[i]));
    json_t *state =
        json_pack("{s:i, s:I, s:I, s:o}", "index", rtc->index, "offset", (json_int_t)rtc->offset_s,
                  "seen", (json_int_t)rtc->seen_ns, "cmos", cmos);
    pthread_mutex_unlock(&rtc->lock);
    return state;
}

static int rtc_load(struct device *dev, const json_t *state, struct kv_error *err)
{
    struct rtc *rtc = to_rtc(dev);
    const json_t *cmos = json_object_get(state, "cmos");
    int index;
    json_int_t offset, seen;
    if (json_array_size(cmos) != CMOS_SIZE ||
        json_unpack((json_t *)state, "{s:i, s:I, s:I}", "index", &index, "offset", &offset, "seen",
                    &seen) < 0 ||
        offset < -OFFSET_MAX_S || offset > OFFSET_MAX_S)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': its state is not index, offset and 128 bytes", dev->id);
    pthread_mutex_lock(&rtc->lock);
    for (unsigned i = 0; i < CMOS_SIZE; i++)
        rtc->cmos[i] = (uint8_t)json_integer_value(json_array_get(cmos, i));
    rtc->index = (uint8_t)index & CMOS_INDEX_MASK;
    rtc->offset_s = offset;
    rtc->seen_ns = seen;
    update_irq(rtc);
    pthread_mutex_unlock(&rtc->lock);
    return 0;
}

static void rtc_free(struct device *dev)
{
    struct rtc *rtc = to_rtc(dev);
    loop_timer_cancel(&rtc->timer);
    bus_unmap(&dev->machine->pio, PORT_RTC);
    pthread_mutex_destroy(&rtc->lock);
    free(rtc);
}

static const struct device_ops rtc_ops = {
    .type = "rtc",
    .resume = rtc_resume,
    .reset = rtc_reset,
    .save = rtc_save,
    .load = rtc_load,
    .free = rtc_free,
};

int rtc_create_with_clock(struct machine *machine, int64_t (*realtime_ns)(void),
                          struct kv_error *err)
{
    struct rtc *rtc = calloc(1, sizeof(*rtc));
    if (!rtc)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "real-time clock: out of memory");
    pthread_mutex_init(&rtc->lock, NULL);
    rtc->realtime_ns = realtime_ns;
    rtc->irq = machine_irq_line(machine, GSI_RTC);
    rtc->rearm = (struct loop_work){.fn = look_at_clock, .opaque = rtc};
    rtc->seen_ns = rtc->realtime_ns();
    rtc->offset_s = machine->config.rtc.offset;
    fill_cmos(rtc, machine);
    int rc = device_register(machine, &rtc->device, &rtc_ops, "rtc", err);
    if (rc == 0)
        fill_cpu_count(rtc);
    if (rc < 0) {
        free(rtc);
        return rc;
    }
    return bus_map(&machine->pio,
                   &(struct bus_region){
                       .base = PORT_RTC, .size = 2, .ops = &rtc_regs, .opaque = rtc, .name = "rtc"},
                   err);
}

static int64_t host_realtime_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int rtc_create(struct machine *machine, struct kv_error *err)
{
    return rtc_create_with_clock(machine, host_realtime_ns, err);
}
