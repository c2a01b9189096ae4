/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a machine tells becomes the domain's state and the clients' events, in
 * libvirt's order. Runs on the machines' loop thread: nothing here blocks.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "daemon/domain/call.h"
#include "daemon/domain/live.h"

typedef void event_fn(struct domain_live *live, struct machine *machine,
                      const struct machine_event *event);

/* How clients see each reason to stand still; event -1: it is told by other means. */
static const struct {
    uint8_t state, reason;
    int8_t event, detail;
} pauses[] = {
    [MACHINE_PAUSE_NONE] = {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_UNKNOWN,
                            VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_PAUSED},
    [MACHINE_PAUSE_USER] = {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER, VIR_DOMAIN_EVENT_SUSPENDED,
                            VIR_DOMAIN_EVENT_SUSPENDED_PAUSED},
    [MACHINE_PAUSE_IO_ERROR] = {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_IOERROR,
                                VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_IOERROR},
    [MACHINE_PAUSE_PANIC] = {VIR_DOMAIN_CRASHED, VIR_DOMAIN_CRASHED_PANICKED, -1, 0},
    [MACHINE_PAUSE_SHUTDOWN] = {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_SHUTTING_DOWN,
                                VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_PAUSED},
    [MACHINE_PAUSE_DUMP] = {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_DUMP, VIR_DOMAIN_EVENT_SUSPENDED,
                            VIR_DOMAIN_EVENT_SUSPENDED_PAUSED},
    [MACHINE_PAUSE_FAILED] = {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_UNKNOWN,
                              VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_PAUSED},
    [MACHINE_PAUSE_WATCHDOG] = {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_WATCHDOG,
                                VIR_DOMAIN_EVENT_SUSPENDED, VIR_DOMAIN_EVENT_SUSPENDED_WATCHDOG},
    [MACHINE_PAUSE_STARTING] = {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_STARTING_UP, -1, 0},
};

static void on_stop(struct domain_live *live, struct machine *machine,
                    const struct machine_event *event)
{
    enum machine_pause why = event->paused_reason;
    pthread_mutex_lock(&live->domain->lock);
    bool waits_for_start = live->starting && why == MACHINE_PAUSE_USER;
    pthread_mutex_unlock(&live->domain->lock);
    if (waits_for_start)
        return;
    if (pauses[why].event < 0)
        domain_set_state(live->domain, pauses[why].state, pauses[why].reason);
    else
        domain_set_paused(live->domains, live->domain, pauses[why].reason, pauses[why].detail);
    domain_auto_dump(live, why);
}

static void on_resume(struct domain_live *live, struct machine *machine,
                      const struct machine_event *event)
{
    pthread_mutex_lock(&live->domain->lock);
    int reason = live->starting ? VIR_DOMAIN_RUNNING_BOOTED : VIR_DOMAIN_RUNNING_UNPAUSED;
    pthread_mutex_unlock(&live->domain->lock);
    domain_set_running(live->domains, live->domain, reason, VIR_DOMAIN_EVENT_RESUMED_UNPAUSED);
}

static void on_reset(struct domain_live *live, struct machine *machine,
                     const struct machine_event *event)
{
    domain_event_plain(live->domains, live->domain, VIR_DOMAIN_EVENT_ID_REBOOT);
}

static void on_shutdown(struct domain_live *live, struct machine *machine,
                        const struct machine_event *event)
{
    pthread_mutex_lock(&live->domain->lock);
    bool told = live->shutting_down || live->destroyed || event->end == MACHINE_END_CRASHED ||
                live->domain->state == VIR_DOMAIN_CRASHED;
    live->shutting_down = true;
    pthread_mutex_unlock(&live->domain->lock);
    if (told)
        return;
    domain_set_state(live->domain, VIR_DOMAIN_SHUTDOWN, VIR_DOMAIN_SHUTDOWN_UNKNOWN);
    domain_event_lifecycle(live->domains, live->domain, VIR_DOMAIN_EVENT_SHUTDOWN,
                           event->by_guest ? VIR_DOMAIN_EVENT_SHUTDOWN_GUEST
                                           : VIR_DOMAIN_EVENT_SHUTDOWN_HOST);
}

static void on_panic(struct domain_live *live, struct machine *machine,
                     const struct machine_event *event)
{
    domain_set_state(live->domain, VIR_DOMAIN_CRASHED, VIR_DOMAIN_CRASHED_PANICKED);
    domain_event_lifecycle(live->domains, live->domain, VIR_DOMAIN_EVENT_CRASHED,
                           VIR_DOMAIN_EVENT_CRASHED_PANICKED);
}

struct action_name {
    const char *name;
    int number;
};

static int action_number(const struct action_name *actions, const char *action)
{
    for (; action && actions->name; actions++)
        if (strcmp(actions->name, action) == 0)
            return actions->number;
    return 0; /* "none" of both */
}

static const struct action_name io_error_actions[] = {
    {"ignore", VIR_DOMAIN_EVENT_IO_ERROR_NONE},
    {"stop", VIR_DOMAIN_EVENT_IO_ERROR_PAUSE},
    {"report", VIR_DOMAIN_EVENT_IO_ERROR_REPORT},
    {NULL, 0},
};

static const struct action_name watchdog_actions[] = {
    {"none", VIR_DOMAIN_EVENT_WATCHDOG_NONE},
    {"pause", VIR_DOMAIN_EVENT_WATCHDOG_PAUSE},
    {"reset", VIR_DOMAIN_EVENT_WATCHDOG_RESET},
    {"poweroff", VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF},
    {"shutdown", VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN},
    {"debug", VIR_DOMAIN_EVENT_WATCHDOG_DEBUG},
    {"inject-nmi", VIR_DOMAIN_EVENT_WATCHDOG_INJECTNMI},
    {NULL, 0},
};

static void on_watchdog(struct domain_live *live, struct machine *machine,
                        const struct machine_event *event)
{
    domain_event_watchdog(live->domains, live->domain,
                          action_number(watchdog_actions, event->action));
}

static void on_io_error(struct domain_live *live, struct machine *machine,
                        const struct machine_event *event)
{
    char path[4096] = "";
    pthread_mutex_lock(&live->domain->lock);
    for (unsigned i = 0; event->alias && i < live->document->disk_count; i++) {
        const struct model_disk *disk = &live->document->disks[i];
        if (disk->device.alias && strcmp(disk->device.alias, event->alias) == 0)
            snprintf(path, sizeof(path), "%s", disk->image.path ? disk->image.path : "");
    }
    pthread_mutex_unlock(&live->domain->lock);
    domain_event_io_error(live->domains, live->domain, path, event->alias ? event->alias : "",
                          action_number(io_error_actions, event->action),
                          event->reason ? event->reason : "");
}

static void on_balloon(struct domain_live *live, struct machine *machine,
                       const struct machine_event *event)
{
    uint64_t kib = event->bytes >> 10;
    pthread_mutex_lock(&live->domain->lock);
    model_domain_set_memory(live->document, live->document->memory_kib, kib, NULL);
    domain_text_changed(live->domains, live->domain, DOMAIN_TEXT_LIVE);
    pthread_mutex_unlock(&live->domain->lock);
    domain_event_balloon(live->domains, live->domain, kib);
}

static void on_rtc_change(struct domain_live *live, struct machine *machine,
                          const struct machine_event *event)
{
    /* The monitor counts from the clock as it began. */
    domain_event_rtc(live->domains, live->domain,
                     event->seconds + live->document->clock.adjustment);
}

static void on_channel(struct domain_live *live, struct machine *machine,
                       const struct machine_event *event)
{
    bool agent = false;
    pthread_mutex_lock(&live->domain->lock);
    for (unsigned i = 0; event->alias && i < live->document->channel_count; i++) {
        struct model_chardev *channel = &live->document->channels[i];
        if (!channel->device.alias || strcmp(channel->device.alias, event->alias) != 0)
            continue;
        if (model_channel_is_open(channel) == event->open)
            continue;
        model_channel_set_state(live->document, channel, event->open);
        domain_text_changed(live->domains, live->domain, DOMAIN_TEXT_LIVE);
        agent = channel->name && strcmp(channel->name, MACHINE_AGENT_CHANNEL) == 0;
    }
    pthread_mutex_unlock(&live->domain->lock);
    if (agent)
        domain_event_agent(live->domains, live->domain,
                           event->open
                               ? VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED
                               : VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED,
                           VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_CHANNEL);
}

static void on_viewer(struct domain_live *live, struct machine *machine,
                      const struct machine_event *event)
{
    domain_event_graphics(live->domains, live->domain, event);
}

static void on_tray(struct domain_live *live, struct machine *machine,
                    const struct machine_event *event)
{
    pthread_mutex_lock(&live->domain->lock);
    for (unsigned i = 0; i < live->document->disk_count; i++) {
        struct model_disk *disk = &live->document->disks[i];
        if (disk->device.alias && strcmp(disk->device.alias, event->alias) == 0)
            model_disk_set_tray(disk, event->open);
    }
    domain_text_changed(live->domains, live->domain, DOMAIN_TEXT_LIVE);
    pthread_mutex_unlock(&live->domain->lock);
    domain_event_tray(live->domains, live->domain, event->alias,
                      event->open ? VIR_DOMAIN_EVENT_TRAY_CHANGE_OPEN
                                  : VIR_DOMAIN_EVENT_TRAY_CHANGE_CLOSE);
}

static void on_unplugged(struct domain_live *live, struct machine *machine,
                         const struct machine_event *event)
{
    domain_device_left(live, event->alias);
}

static void on_unplug_refused(struct domain_live *live, struct machine *machine,
                              const struct machine_event *event)
{
    domain_event_device(live->domains, live->domain, VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
                        event->alias);
}

static void on_died(struct domain_live *live, struct machine *machine,
                    const struct machine_event *event)
{
    if (event->end == MACHINE_END_FAILED)
        log_warning("domain '%s': its monitor ended: %s", machine_get_name(machine),
                    event->reason ? event->reason : "no reason known");
    domain_live_died(live, event->end);
}

static event_fn *const handlers[] = {
    [MACHINE_EVENT_STOP] = on_stop,           [MACHINE_EVENT_RESUME] = on_resume,
    [MACHINE_EVENT_RESET] = on_reset,         [MACHINE_EVENT_SHUTDOWN] = on_shutdown,
    [MACHINE_EVENT_PANIC] = on_panic,         [MACHINE_EVENT_IO_ERROR] = on_io_error,
    [MACHINE_EVENT_BALLOON] = on_balloon,     [MACHINE_EVENT_RTC_CHANGE] = on_rtc_change,
    [MACHINE_EVENT_CHANNEL] = on_channel,     [MACHINE_EVENT_WATCHDOG] = on_watchdog,
    [MACHINE_EVENT_VIEWER] = on_viewer,       [MACHINE_EVENT_TRAY] = on_tray,
    [MACHINE_EVENT_UNPLUGGED] = on_unplugged, [MACHINE_EVENT_UNPLUG_REFUSED] = on_unplug_refused,
    [MACHINE_EVENT_DIED] = on_died,
};

void domain_machine_event(void *opaque, struct machine *machine, const struct machine_event *event)
{
    struct domain_live *live = opaque;
    if ((size_t)event->kind < ARRAY_SIZE(handlers) && handlers[event->kind])
        handlers[event->kind](live, machine, event);
}
