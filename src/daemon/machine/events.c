/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The monitor's events, on the machines' loop thread: they move the machine's
 * state, carry out what the domain wants at a power-off, reboot or crash, and
 * go on to the owner.
 */
#include <string.h>
#include <sys/time.h>

#include "base/log.h"
#include "base/util.h"
#include "daemon/machine/machine_internal.h"

void machine_report(struct machine *machine, const struct machine_event *event)
{
    struct machine_event copy = *event;
    if (!copy.realtime_us) {
        struct timeval now;
        gettimeofday(&now, NULL);
        copy.realtime_us = now.tv_sec * INT64_C(1000000) + now.tv_usec;
    }
    if (machine->event)
        machine->event(machine->opaque, machine, &copy);
}

static const char *string_member(const json_t *data, const char *name)
{
    const char *text = json_string_value(json_object_get(data, name));
    return text ? text : "";
}

/* ---------------------------------------------------------------- run states */

static const struct {
    const char *run_state; /* of query-status */
    enum machine_state state;
    enum machine_pause pause;
} states[] = {
    {"running", MACHINE_RUNNING, MACHINE_PAUSE_NONE},
    {"prelaunch", MACHINE_PAUSED, MACHINE_PAUSE_USER},
    {"paused", MACHINE_PAUSED, MACHINE_PAUSE_USER},
    {"shutdown", MACHINE_SHUTDOWN, MACHINE_PAUSE_SHUTDOWN},
    {"internal-error", MACHINE_PAUSED, MACHINE_PAUSE_FAILED},
    {"io-error", MACHINE_PAUSED, MACHINE_PAUSE_IO_ERROR},
    {"guest-panicked", MACHINE_CRASHED, MACHINE_PAUSE_PANIC},
    {"watchdog", MACHINE_PAUSED, MACHINE_PAUSE_WATCHDOG},
};

static void set_state(struct machine *machine, enum machine_state state, enum machine_pause pause)
{
    pthread_mutex_lock(&machine->lock);
    if (!machine->dead) {
        machine->state = state;
        machine->pause = pause;
    }
    pthread_cond_broadcast(&machine->changed);
    pthread_mutex_unlock(&machine->lock);
}

/* Takes over what the monitor says; returns why it stands still. */
static enum machine_pause apply_run_state(struct machine *machine, const char *run_state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(states); i++) {
        if (strcmp(states[i].run_state, run_state) != 0)
            continue;
        set_state(machine, states[i].state, states[i].pause);
        return states[i].pause;
    }
    return MACHINE_PAUSE_NONE;
}

/* ---------------------------------------------------------- lifecycle actions */

json_t *machine_lifecycle_options(const unsigned lifecycle[MACHINE_LIFECYCLE])
{
    unsigned poweroff = lifecycle[VIR_DOMAIN_LIFECYCLE_POWEROFF];
    unsigned reboot = lifecycle[VIR_DOMAIN_LIFECYCLE_REBOOT];
    unsigned crash = lifecycle[VIR_DOMAIN_LIFECYCLE_CRASH];
    bool keep = poweroff != VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY ||
                (reboot == VIR_DOMAIN_LIFECYCLE_ACTION_PRESERVE);
    return json_pack("{s:s, s:s, s:s}", "shutdown", keep ? "pause" : "poweroff", "reboot",
                     reboot == VIR_DOMAIN_LIFECYCLE_ACTION_RESTART ? "reset" : "shutdown", "panic",
                     crash == VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY ? "shutdown" : "pause");
}

/* With the lock held. */
static void forget_reboot(struct machine *machine)
{
    machine->reboot_pending = false;
    json_t *options = machine_lifecycle_options(machine->lifecycle);
    record_set(&machine->record, "reboot-pending", json_false(), NULL);
    monitor_send(machine->monitor, "set-action", options, NULL, NULL);
}

/* Kept in the record, so that the next daemon ends what this one began. The command only asks for
 * the reset; the guest goes on when its event comes. */
void machine_begin_restart(struct machine *machine)
{
    set_state(machine, MACHINE_PAUSED, MACHINE_PAUSE_STARTING);
    pthread_mutex_lock(&machine->lock);
    machine->restarting = true;
    record_set(&machine->record, "restarting", json_true(), NULL);
    if (machine->reboot_pending)
        forget_reboot(machine);
    pthread_mutex_unlock(&machine->lock);
    monitor_send(machine->monitor, "system_reset", NULL, NULL, NULL);
}

/* The guest is off, the monitor holds it: on with what the domain wants then. */
static void carry_out(struct machine *machine, unsigned action)
{
    switch (action) {
    case VIR_DOMAIN_LIFECYCLE_ACTION_RESTART:
        machine_begin_restart(machine);
        break;
    case VIR_DOMAIN_LIFECYCLE_ACTION_PRESERVE:
        break;
    default:
        monitor_send(machine->monitor, "quit", NULL, NULL, NULL);
        break;
    }
}

/* What to do now that the guest is off for this reason. */
static unsigned choose_action(struct machine *machine, const char *reason)
{
    static const struct {
        const char *reason;
        int type;
    } types[] = {
        {"guest-shutdown", VIR_DOMAIN_LIFECYCLE_POWEROFF},
        {"guest-reset", VIR_DOMAIN_LIFECYCLE_REBOOT},
        {"guest-panic", VIR_DOMAIN_LIFECYCLE_CRASH},
    };
    if (machine->reboot_pending && strcmp(reason, "guest-shutdown") == 0)
        return VIR_DOMAIN_LIFECYCLE_ACTION_RESTART;
    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        if (strcmp(types[i].reason, reason) == 0)
            return machine->lifecycle[types[i].type];
    }
    return VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY;
}

/* ---------------------------------------------------------------------- events */

static void on_shutdown(struct machine *machine, const json_t *data, struct machine_event *event)
{
    const char *reason = string_member(data, "reason");
    bool panic = strcmp(reason, "guest-panic") == 0, guest = strncmp(reason, "guest-", 6) == 0;
    event->kind = MACHINE_EVENT_SHUTDOWN;
    event->by_guest = guest;
    event->end = panic ? MACHINE_END_CRASHED : guest ? MACHINE_END_SHUTDOWN : MACHINE_END_DESTROYED;
    pthread_mutex_lock(&machine->lock);
    machine->off = true;
    if (!machine->end_known) {
        machine->end_known = true;
        machine->end = event->end;
    }
    event->end = machine->end;
    bool restarts = machine->reboot_pending;
    unsigned action = choose_action(machine, reason);
    restarts &= action == VIR_DOMAIN_LIFECYCLE_ACTION_RESTART;
    pthread_mutex_unlock(&machine->lock);
    set_state(machine, panic ? MACHINE_CRASHED : MACHINE_SHUTDOWN, MACHINE_PAUSE_SHUTDOWN);
    if (guest)
        carry_out(machine, action);
    /* A reboot that was asked for looks like one. */
    if (!restarts)
        machine_report(machine, event);
}

static void report_stop(struct machine *machine, enum machine_pause pause)
{
    struct machine_event event = {.kind = MACHINE_EVENT_STOP, .paused_reason = pause};
    machine_report(machine, &event);
}

static void stop_explained(void *opaque, const json_t *result)
{
    struct machine *machine = opaque;
    if (result)
        report_stop(machine, apply_run_state(machine, string_member(result, "status")));
}

static void on_stop(struct machine *machine, const json_t *data, struct machine_event *event)
{
    pthread_mutex_lock(&machine->lock);
    enum machine_pause pause = machine->expected_pause;
    machine->expected_pause = MACHINE_PAUSE_NONE;
    bool off = machine->off;
    pthread_mutex_unlock(&machine->lock);
    if (off)
        return; /* the guest's power-off said it */
    if (pause == MACHINE_PAUSE_NONE) {
        monitor_send(machine->monitor, "query-status", NULL, stop_explained, machine);
        return;
    }
    set_state(machine, pause == MACHINE_PAUSE_PANIC ? MACHINE_CRASHED : MACHINE_PAUSED, pause);
    report_stop(machine, pause);
}

static void end_restart(struct machine *machine)
{
    pthread_mutex_lock(&machine->lock);
    if (machine->restarting)
        record_set(&machine->record, "restarting", json_false(), NULL);
    machine->restarting = false;
    pthread_cond_broadcast(&machine->changed);
    pthread_mutex_unlock(&machine->lock);
}

static void on_resume(struct machine *machine, const json_t *data, struct machine_event *event)
{
    set_state(machine, MACHINE_RUNNING, MACHINE_PAUSE_NONE);
    end_restart(machine);
    event->kind = MACHINE_EVENT_RESUME;
    machine_report(machine, event);
}

static void on_reset(struct machine *machine, const json_t *data, struct machine_event *event)
{
    pthread_mutex_lock(&machine->lock);
    machine->off = false;
    machine->end_known = false;
    machine_agent_forget(machine);
    if (machine->state != MACHINE_RUNNING && !machine->dead)
        machine->state = MACHINE_PAUSED;
    bool restarting = machine->restarting;
    if (machine->reboot_pending)
        forget_reboot(machine);
    pthread_mutex_unlock(&machine->lock);
    if (restarting)
        monitor_send(machine->monitor, "cont", NULL, NULL, NULL);
    event->kind = MACHINE_EVENT_RESET;
    event->by_guest = json_is_true(json_object_get(data, "guest"));
    machine_report(machine, event);
}

static void on_powerdown(struct machine *machine, const json_t *data, struct machine_event *event)
{
    event->kind = MACHINE_EVENT_POWERDOWN;
    machine_report(machine, event);
}

static void expect_pause(struct machine *machine, enum machine_pause pause)
{
    pthread_mutex_lock(&machine->lock);
    machine->expected_pause = pause;
    pthread_mutex_unlock(&machine->lock);
}

static void on_panic(struct machine *machine, const json_t *data, struct machine_event *event)
{
    bool pauses = strcmp(string_member(data, "action"), "pause") == 0;
    if (pauses)
        expect_pause(machine, MACHINE_PAUSE_PANIC);
    event->kind = MACHINE_EVENT_PANIC;
    machine_report(machine, event);
    if (pauses &&
        machine->lifecycle[VIR_DOMAIN_LIFECYCLE_CRASH] == VIR_DOMAIN_LIFECYCLE_ACTION_RESTART)
        carry_out(machine, VIR_DOMAIN_LIFECYCLE_ACTION_RESTART);
}

static void on_internal_error(struct machine *machine, const json_t *data,
                              struct machine_event *event)
{
    expect_pause(machine, MACHINE_PAUSE_FAILED);
}

static void on_io_error(struct machine *machine, const json_t *data, struct machine_event *event)
{
    event->kind = MACHINE_EVENT_IO_ERROR;
    event->alias = string_member(data, "device");
    event->action = string_member(data, "action");
    event->reason = json_is_true(json_object_get(data, "nospace")) ? "enospc" : "";
    if (strcmp(event->action, "stop") == 0)
        expect_pause(machine, MACHINE_PAUSE_IO_ERROR);
    machine_report(machine, event);
}

static void on_balloon(struct machine *machine, const json_t *data, struct machine_event *event)
{
    event->kind = MACHINE_EVENT_BALLOON;
    event->bytes = (uint64_t)json_integer_value(json_object_get(data, "actual"));
    machine_report(machine, event);
}

static void on_rtc_change(struct machine *machine, const json_t *data, struct machine_event *event)
{
    event->kind = MACHINE_EVENT_RTC_CHANGE;
    event->seconds = json_integer_value(json_object_get(data, "offset"));
    machine_report(machine, event);
}

static void on_channel(struct machine *machine, const json_t *data, struct machine_event *event)
{
    event->kind = MACHINE_EVENT_CHANNEL;
    event->alias = string_member(data, "id");
    event->open = json_is_true(json_object_get(data, "open"));
    machine_agent_opened(machine, event->alias, event->open);
    machine_report(machine, event);
}

static void channels_explained(void *opaque, const json_t *result)
{
    size_t i;
    json_t *chardev;
    json_array_foreach ((json_t *)result, i, chardev) {
        struct machine_event event = {.kind = MACHINE_EVENT_CHANNEL,
                                      .alias = string_member(chardev, "label"),
                                      .open =
                                          json_is_true(json_object_get(chardev, "frontend-open"))};
        machine_agent_opened(opaque, event.alias, event.open);
        machine_report(opaque, &event);
    }
}

void machine_ask_channels(struct machine *machine)
{
    monitor_send(machine->monitor, "query-chardev", NULL, channels_explained, machine);
}

static void on_tray(struct machine *machine, const json_t *data, struct machine_event *event)
{
    event->kind = MACHINE_EVENT_TRAY;
    event->alias = string_member(data, "device");
    event->open = json_is_true(json_object_get(data, "tray-open"));
    machine_report(machine, event);
}

static void on_deleted(struct machine *machine, const json_t *data, struct machine_event *event)
{
    event->kind = MACHINE_EVENT_UNPLUGGED;
    event->alias = string_member(data, "device");
    if (!machine_note_unplug(machine, event->alias, MACHINE_UNPLUG_GONE))
        machine_report(machine, event);
}

static void on_unplug_refused(struct machine *machine, const json_t *data,
                              struct machine_event *event)
{
    event->kind = MACHINE_EVENT_UNPLUG_REFUSED;
    event->alias = string_member(data, "device");
    machine_report(machine, event);
    machine_note_unplug(machine, event->alias, MACHINE_UNPLUG_REFUSED);
}

static void on_watchdog(struct machine *machine, const json_t *data, struct machine_event *event)
{
    event->kind = MACHINE_EVENT_WATCHDOG;
    event->action = string_member(data, "action");
    if (strcmp(event->action, "pause") == 0)
        expect_pause(machine, MACHINE_PAUSE_WATCHDOG);
    machine_report(machine, event);
}

static struct machine_address viewer_address(const json_t *data, const char *name)
{
    const json_t *address = json_object_get(data, name);
    return (struct machine_address){
        .family = string_member(address, "family"),
        .node = string_member(address, "host"),
        .service = string_member(address, "service"),
    };
}

static void on_viewer(struct machine *machine, const json_t *data, struct machine_event *event,
                      enum machine_viewer_phase phase)
{
    event->kind = MACHINE_EVENT_VIEWER;
    event->phase = phase;
    event->local = viewer_address(data, "server");
    event->remote = viewer_address(data, "client");
    event->auth = string_member(json_object_get(data, "server"), "auth");
    machine_report(machine, event);
}

static void on_connected(struct machine *machine, const json_t *data, struct machine_event *event)
{
    on_viewer(machine, data, event, MACHINE_VIEWER_CONNECTED);
}

static void on_initialized(struct machine *machine, const json_t *data, struct machine_event *event)
{
    on_viewer(machine, data, event, MACHINE_VIEWER_INITIALIZED);
}

static void on_disconnected(struct machine *machine, const json_t *data,
                            struct machine_event *event)
{
    on_viewer(machine, data, event, MACHINE_VIEWER_DISCONNECTED);
}

/* passt ended by itself: the guest sees its cable unplugged. */
static void on_lost_network(struct machine *machine, const json_t *data,
                            struct machine_event *event)
{
    log_warning("machine '%s': the network of interface '%s' is gone: passt ended", machine->name,
                string_member(data, "netdev-id"));
}

static const struct {
    const char *name;
    void (*handle)(struct machine *machine, const json_t *data, struct machine_event *event);
} handlers[] = {
    {"BALLOON_CHANGE", on_balloon},
    {"BLOCK_IO_ERROR", on_io_error},
    {"DEVICE_DELETED", on_deleted},
    {"DEVICE_TRAY_MOVED", on_tray},
    {"DEVICE_UNPLUG_GUEST_ERROR", on_unplug_refused},
    {"GUEST_PANICKED", on_panic},
    {"KVASIR_INTERNAL_ERROR", on_internal_error},
    {"NETDEV_STREAM_DISCONNECTED", on_lost_network},
    {"POWERDOWN", on_powerdown},
    {"RESET", on_reset},
    {"RESUME", on_resume},
    {"RTC_CHANGE", on_rtc_change},
    {"SHUTDOWN", on_shutdown},
    {"STOP", on_stop},
    {"VNC_CONNECTED", on_connected},
    {"VNC_DISCONNECTED", on_disconnected},
    {"VNC_INITIALIZED", on_initialized},
    {"VSERPORT_CHANGE", on_channel},
    {"WATCHDOG", on_watchdog},
};

static void on_event(void *opaque, const char *name, const json_t *data, int64_t realtime_us)
{
    struct machine *machine = opaque;
    for (unsigned i = 0; i < ARRAY_SIZE(handlers); i++) {
        struct machine_event event = {.realtime_us = realtime_us};
        if (strcmp(handlers[i].name, name) == 0)
            handlers[i].handle(machine, data, &event);
    }
}

struct monitor_handler machine_handler(struct machine *machine)
{
    return (struct monitor_handler){.event = on_event, .opaque = machine};
}

struct catch_up {
    struct machine *machine;
    const char *run_state;
};

static void catch_up_now(void *opaque)
{
    struct catch_up *catch_up = opaque;
    struct machine *machine = catch_up->machine;
    apply_run_state(machine, catch_up->run_state);
    bool off = strcmp(catch_up->run_state, "shutdown") == 0;
    bool panicked = strcmp(catch_up->run_state, "guest-panicked") == 0;
    bool stopped = strcmp(catch_up->run_state, "paused") == 0;
    pthread_mutex_lock(&machine->lock);
    machine->off = off;
    bool restarting = machine->restarting;
    unsigned action = off ? choose_action(machine, "guest-shutdown")
                          : machine->lifecycle[VIR_DOMAIN_LIFECYCLE_CRASH];
    pthread_mutex_unlock(&machine->lock);
    if (strcmp(catch_up->run_state, "running") == 0)
        end_restart(machine);
    else if (restarting && stopped)
        monitor_send(machine->monitor, "cont", NULL, NULL, NULL);
    else if (restarting && (off || panicked))
        machine_begin_restart(machine);
    else if (off || (panicked && action == VIR_DOMAIN_LIFECYCLE_ACTION_RESTART))
        carry_out(machine, action);
}

void machine_catch_up(struct machine *machine, const char *run_state)
{
    struct catch_up catch_up = {machine, run_state};
    loop_call(&machine->host->loop, catch_up_now, &catch_up);
}
