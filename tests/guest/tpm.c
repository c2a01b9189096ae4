/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A TPM with a command response buffer (TCG PC Client Platform TPM Profile): it
 * is started and gives random numbers; each row of nonsense leaves it working.
 */
#include "payload.h"

#define BASE 0xfed40000ull
#define BUFFER (BASE + 0x80)
#define LOC_CTRL (BASE + 0x08)
#define CTRL_REQ (BASE + 0x40)
#define CTRL_STS (BASE + 0x44)
#define CTRL_CANCEL (BASE + 0x48)
#define CTRL_START (BASE + 0x4c)
#define PATIENCE_US 2000000

static const uint8_t startup[] = {0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0};
static const uint8_t get_random[] = {0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 16};

static bool wait_for_end(void)
{
    for (unsigned n = 0; n < PATIENCE_US && read32(CTRL_START); n += 10)
        pause_us(10);
    return !read32(CTRL_START);
}

static bool run(const uint8_t *command, unsigned len, uint32_t *code)
{
    write32(LOC_CTRL, 1);
    write32(CTRL_REQ, 1);
    for (unsigned i = 0; i < len; i++)
        write8(BUFFER + i, command[i]);
    write32(CTRL_START, 1);
    bool ended = wait_for_end();
    *code = __builtin_bswap32(read16(BUFFER + 6) | (uint32_t)read16(BUFFER + 8) << 16);
    return ended;
}

static bool works(void)
{
    uint32_t code;
    return run(get_random, sizeof(get_random), &code) && code == 0 && read8(BUFFER + 5) == 28;
}

static void sizes_that_cannot_be(void)
{
    static const uint32_t sizes[] = {0, 1, 9, 0xf81, 0x1000, 0x7fffffff, 0xffffffff};
    uint8_t command[sizeof(get_random)];
    uint32_t code;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memcpy(command, get_random, sizeof(command));
        for (unsigned k = 0; k < 4; k++)
            command[2 + k] = (uint8_t)(sizes[i] >> (24 - 8 * k));
        run(command, sizeof(command), &code);
    }
}

static void a_command_of_all_the_buffer(void)
{
    static const uint8_t head[] = {0x80, 2, 0, 0, 0x0f, 0x80, 0, 0, 1, 0x31};
    uint32_t code;
    for (unsigned i = 0; i < 0xf80; i += 4)
        write32(BUFFER + i, 0xffffffff);
    run(head, sizeof(head), &code);
}

static void starts_and_cancels_in_a_row(void)
{
    for (unsigned i = 0; i < 200; i++) {
        write32(CTRL_START, 1);
        write32(CTRL_CANCEL, 1);
        write32(CTRL_REQ, i & 3);
        write32(LOC_CTRL, i & 3);
    }
    wait_for_end();
}

static void the_buffer_changes_under_way(void)
{
    for (unsigned i = 0; i < sizeof(get_random); i++)
        write8(BUFFER + i, get_random[i]);
    write32(CTRL_START, 1);
    for (unsigned i = 0; i < 100; i++)
        write32(BUFFER + 2, 0xffffffff);
    wait_for_end();
}

static void every_register_at_every_width(void)
{
    uint64_t sum = 0;
    for (unsigned at = 0; at < 0x80; at++) {
        write8(BASE + at, 0xff);
        write16(BASE + at, 0xffff);
        write32(BASE + at, 0xffffffff);
        write64(BASE + at, UINT64_MAX);
        sum += read8(BASE + at) + read16(BASE + at) + read32(BASE + at) + read64(BASE + at);
    }
    write64(BASE + 0xffc, sum);
    write64(BASE + 0x7c, UINT64_MAX);
    wait_for_end();
    write32(CTRL_CANCEL, 0);
}

static const struct {
    const char *what;
    void (*misuse)(void);
} rows[] = {
    {"sizes that cannot be", sizes_that_cannot_be},
    {"a command of all the buffer", a_command_of_all_the_buffer},
    {"starts and cancels in a row", starts_and_cancels_in_a_row},
    {"the buffer changes under way", the_buffer_changes_under_way},
    {"every register at every width", every_register_at_every_width},
};

void payload_main(void)
{
    uint32_t code;
    result("it wants to be started", run(get_random, sizeof(get_random), &code) && code == 0x100,
           "another answer");
    result("it starts", run(startup, sizeof(startup), &code) && code == 0, "an error");
    result("it gives random numbers", works(), "none");
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rows[i].misuse();
        result(rows[i].what, works() && !(read32(CTRL_STS) & 1), "it works no more");
    }
    finish();
}
