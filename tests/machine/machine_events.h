/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Collects machines' events and waits for the next of a kind. */
#ifndef KV_TESTS_MACHINE_EVENTS_H
#define KV_TESTS_MACHINE_EVENTS_H

#include "daemon/machine/machine.h"

void events_init(void);
void events_clear(void);
machine_event_fn events_take;

/* The next event of that kind, those before it are dropped; fails after seconds without it. */
struct machine_event events_expect(enum machine_event_kind kind);

/* Of the event that was returned last. */
const char *events_reason(void);

#endif
