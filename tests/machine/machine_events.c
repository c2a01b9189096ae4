/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "machine_events.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "unit.h"

#define EVENTS_MAX 256
#define PATIENCE_S 15

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct {
    struct machine_event event;
    char reason[256];
} events[EVENTS_MAX];
static unsigned first, end, last;

void events_init(void)
{
    first = end = 0;
}

void events_clear(void)
{
    pthread_mutex_lock(&lock);
    first = end = 0;
    pthread_mutex_unlock(&lock);
}

void events_take(void *opaque, struct machine *machine, const struct machine_event *event)
{
    pthread_mutex_lock(&lock);
    if (end < EVENTS_MAX) {
        events[end].event = *event;
        snprintf(events[end].reason, sizeof(events[end].reason), "%s",
                 event->reason ? event->reason : "");
        end++;
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

struct machine_event events_expect(enum machine_event_kind kind)
{
    struct timespec until;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (first < end && events[first].event.kind != kind)
            first++;
        if (first < end || rc)
            break;
        rc = pthread_cond_timedwait(&changed, &lock, &until);
    }
    if (first == end) {
        pthread_mutex_unlock(&lock);
        fail_msg("event %d does not come", (int)kind);
    }
    last = first++;
    struct machine_event event = events[last].event;
    pthread_mutex_unlock(&lock);
    return event;
}

const char *events_reason(void)
{
    return events[last].reason;
}
