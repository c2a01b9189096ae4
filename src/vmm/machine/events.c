/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP events on their way from any thread to the control thread, which sends
 * them. The queue between is bounded: a guest can cause events faster than
 * anybody fetches them.
 */
#include <sys/time.h>

#include "base/log.h"
#include "vmm/control/control.h"
#include "vmm/machine/machine.h"

#define PENDING_MAX 1024

static json_t *make_event(const char *name, json_t *data)
{
    struct timeval now;
    gettimeofday(&now, NULL);
    json_t *event = json_pack("{s:s, s:{s:I, s:I}}", "event", name, "timestamp", "seconds",
                              (json_int_t)now.tv_sec, "microseconds", (json_int_t)now.tv_usec);
    if (data)
        json_object_set_new(event, "data", data);
    return event;
}

static void deliver(void *opaque)
{
    struct machine *machine = opaque;
    pthread_mutex_lock(&machine->events_lock);
    json_t *events = machine->events;
    machine->events = NULL;
    pthread_mutex_unlock(&machine->events_lock);

    size_t i;
    json_t *event;
    json_array_foreach (events, i, event)
        control_broadcast(machine->control, json_incref(event));
    json_decref(events);
}

void machine_emit(struct machine *machine, const char *event, json_t *data)
{
    if (!machine || !machine->control) {
        json_decref(data);
        return;
    }
    json_t *message = make_event(event, data);
    bool dropped = false;
    pthread_mutex_lock(&machine->events_lock);
    if (!machine->events)
        machine->events = json_array();
    if (json_array_size(machine->events) < PENDING_MAX) {
        json_array_append_new(machine->events, message);
    } else {
        json_decref(message);
        dropped = true;
    }
    machine->events_work.fn = deliver;
    machine->events_work.opaque = machine;
    pthread_mutex_unlock(&machine->events_lock);
    if (dropped)
        log_guest("event %s is dropped: %d wait already", event, PENDING_MAX);
    /* What the control thread itself causes goes out before the answer to the command that it is
     * carrying out. */
    if (loop_is_mine(&machine->loop))
        deliver(machine);
    else
        loop_post(&machine->loop, &machine->events_work);
}
