/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The MC146818's time formats (its datasheet, "time, calendar and alarm
 * locations"): BCD or binary, 12 or 24 hours with the afternoon in bit 7.
 * Used by rtc.c.
 */
#include "vmm/devices/rtc_calendar.h"

#include <time.h>

#define AFTERNOON 0x80
#define ALARM_ANY 0xc0
#define SECONDS_PER_DAY 86400

static uint8_t encode(const uint8_t *cmos, int value)
{
    if (cmos[RTC_B] & RTC_B_BINARY)
        return (uint8_t)value;
    return (uint8_t)(value / 10 << 4 | value % 10);
}

static int decode(const uint8_t *cmos, uint8_t value)
{
    if (cmos[RTC_B] & RTC_B_BINARY)
        return value;
    return (value >> 4) * 10 + (value & 15);
}

static uint8_t encode_hour(const uint8_t *cmos, int hour)
{
    if (cmos[RTC_B] & RTC_B_24H)
        return encode(cmos, hour);
    uint8_t value = encode(cmos, hour % 12 ? hour % 12 : 12);
    return hour >= 12 ? value | AFTERNOON : value;
}

static int decode_hour(const uint8_t *cmos, uint8_t value)
{
    if (cmos[RTC_B] & RTC_B_24H)
        return decode(cmos, value);
    int hour = decode(cmos, value & ~AFTERNOON) % 12;
    return value & AFTERNOON ? hour + 12 : hour;
}

void rtc_calendar_store(uint8_t *cmos, int64_t seconds)
{
    time_t time = seconds;
    struct tm tm;
    if (!gmtime_r(&time, &tm))
        return; /* the year does not fit into an int */
    int year = tm.tm_year + 1900;
    cmos[RTC_SECONDS] = encode(cmos, tm.tm_sec);
    cmos[RTC_MINUTES] = encode(cmos, tm.tm_min);
    cmos[RTC_HOURS] = encode_hour(cmos, tm.tm_hour);
    cmos[RTC_WEEKDAY] = encode(cmos, tm.tm_wday + 1); /* Sunday is 1 */
    cmos[RTC_DAY] = encode(cmos, tm.tm_mday);
    cmos[RTC_MONTH] = encode(cmos, tm.tm_mon + 1);
    cmos[RTC_YEAR] = encode(cmos, year % 100);
    cmos[RTC_CENTURY] = encode(cmos, year / 100);
}

int64_t rtc_calendar_load(const uint8_t *cmos)
{
    struct tm tm = {
        .tm_sec = decode(cmos, cmos[RTC_SECONDS]),
        .tm_min = decode(cmos, cmos[RTC_MINUTES]),
        .tm_hour = decode_hour(cmos, cmos[RTC_HOURS]),
        .tm_mday = decode(cmos, cmos[RTC_DAY]),
        .tm_mon = decode(cmos, cmos[RTC_MONTH]) - 1,
        .tm_year = decode(cmos, cmos[RTC_CENTURY]) * 100 + decode(cmos, cmos[RTC_YEAR]) - 1900,
    };
    return timegm(&tm);
}

static bool field_matches(uint8_t alarm, uint8_t now)
{
    return (alarm & ALARM_ANY) == ALARM_ANY || alarm == now;
}

bool rtc_alarm_matches(const uint8_t *cmos, int64_t seconds)
{
    int64_t in_day = ((seconds % SECONDS_PER_DAY) + SECONDS_PER_DAY) % SECONDS_PER_DAY;
    return field_matches(cmos[RTC_SECONDS_ALARM], encode(cmos, (int)(in_day % 60))) &&
           field_matches(cmos[RTC_MINUTES_ALARM], encode(cmos, (int)(in_day / 60 % 60))) &&
           field_matches(cmos[RTC_HOURS_ALARM], encode_hour(cmos, (int)(in_day / 3600)));
}
