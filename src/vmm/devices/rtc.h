/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Real-time clock and CMOS memory. */
#ifndef KV_VMM_DEVICES_RTC_H
#define KV_VMM_DEVICES_RTC_H

#include <stdint.h>

#include "base/error.h"

struct machine;

/* The century's register, for the FADT. */
#define RTC_CENTURY 0x32

int rtc_create(struct machine *machine, struct kv_error *err);

/* As rtc_create(), with another source of time: nanoseconds since 1970, UTC. */
int rtc_create_with_clock(struct machine *machine, int64_t (*realtime_ns)(void),
                          struct kv_error *err);

#endif
