/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calendar registers of an MC146818 and the seconds they stand for. */
#ifndef KV_VMM_DEVICES_RTC_CALENDAR_H
#define KV_VMM_DEVICES_RTC_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/devices/rtc.h"

enum rtc_register {
    RTC_SECONDS = 0,
    RTC_SECONDS_ALARM = 1,
    RTC_MINUTES = 2,
    RTC_MINUTES_ALARM = 3,
    RTC_HOURS = 4,
    RTC_HOURS_ALARM = 5,
    RTC_WEEKDAY = 6,
    RTC_DAY = 7,
    RTC_MONTH = 8,
    RTC_YEAR = 9,
    RTC_A = 10,
    RTC_B = 11,
    RTC_C = 12,
    RTC_D = 13,
};

/* Register B: how the registers count. */
#define RTC_B_24H 0x02
#define RTC_B_BINARY 0x04

/* Writes the calendar registers of cmos for seconds since 1970 (years 0 to 9999), in the format
 * that its register B says. */
void rtc_calendar_store(uint8_t *cmos, int64_t seconds);

/* The opposite; what is no date counts on (32 January is 1 February). */
int64_t rtc_calendar_load(const uint8_t *cmos);

/* True when the alarm registers (0xc0 and above: any) meet this second. */
bool rtc_alarm_matches(const uint8_t *cmos, int64_t seconds);

#endif
