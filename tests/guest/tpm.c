/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A TPM with a command response buffer, or with a FIFO (TCG PC Client Platform
 * TPM Profile): it is started and gives random numbers; each row of nonsense
 * leaves it working.
 */
#include "payload.h"

#define BASE 0xfed40000ull
#define BUFFER (BASE + 0x80)
#define LOC_CTRL (BASE + 0x08)
#define CTRL_REQ (BASE + 0x40)
#define CTRL_STS (BASE + 0x44)
#define CTRL_CANCEL (BASE + 0x48)
#define CTRL_START (BASE + 0x4c)
#define ACCESS BASE
#define STS (BASE + 0x18)
#define STS_DATA 0x10
#define STS_GO 0x20
#define STS_READY 0x40
#define STS_CANCEL (1u << 24)
#define DATA (BASE + 0x24)
#define INTERFACE (BASE + 0x30) /* low bits: 0 a FIFO, 1 a buffer */
#define HEADER 10
#define PATIENCE_US 2000000

static const uint8_t startup[] = {0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0};
static const uint8_t get_random[] = {0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 16};

static bool wait_for_end(void)
{
    for (unsigned n = 0; n < PATIENCE_US && read32(CTRL_START); n += 10)
        pause_us(10);
    return !read32(CTRL_START);
}

static uint8_t answer[HEADER]; /* of the last response */

/* Also where the locality was given up: then all bits of the registers are 1. */
static uint32_t take_response(void)
{
    unsigned n = 0;
    write8(ACCESS, 2);
    while (n < PATIENCE_US && !(read32(STS) & STS_DATA)) {
        pause_us(10);
        n += 10;
    }
    for (unsigned i = 0; read32(STS) & STS_DATA; i++) {
        uint8_t byte = read8(DATA);
        if (i < HEADER)
            answer[i] = byte;
    }
    return (uint32_t)answer[6] << 24 | (uint32_t)answer[7] << 16 | (uint32_t)answer[8] << 8 |
           answer[9];
}

static bool run_fifo(const uint8_t *command, unsigned len, uint32_t *code)
{
    memset(answer, 0xff, sizeof(answer));
    write8(ACCESS, 2);
    write32(STS, STS_READY);
    for (unsigned n = 0; n < PATIENCE_US && !(read32(STS) & STS_READY); n += 10)
        pause_us(10);
    for (unsigned i = 0; i < len; i++)
        write8(DATA, command[i]);
    write32(STS, STS_GO);
    *code = take_response();
    return answer[0] == 0x80;
}

static bool run_buffer(const uint8_t *command, unsigned len, uint32_t *code)
{
    write32(LOC_CTRL, 1);
    write32(CTRL_REQ, 1);
    for (unsigned i = 0; i < len; i++)
        write8(BUFFER + i, command[i]);
    write32(CTRL_START, 1);
    bool ended = wait_for_end();
    for (unsigned i = 0; i < HEADER; i++)
        answer[i] = read8(BUFFER + i);
    *code = __builtin_bswap32(read16(BUFFER + 6) | (uint32_t)read16(BUFFER + 8) << 16);
    return ended;
}

static bool is_fifo(void)
{
    return (read32(INTERFACE) & 0xf) == 0;
}

static bool run(const uint8_t *command, unsigned len, uint32_t *code)
{
    return is_fifo() ? run_fifo(command, len, code) : run_buffer(command, len, code);
}

static bool works(void)
{
    uint32_t code;
    return run(get_random, sizeof(get_random), &code) && code == 0 && answer[5] == 28;
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

/* ---------------------------------------------------------------- of a FIFO */

static void more_bytes_than_the_command_has(void)
{
    write8(ACCESS, 2);
    write32(STS, STS_READY);
    for (unsigned i = 0; i < 0x400; i++)
        write32(DATA, 0xffffffff);
    write32(STS, STS_GO);
    take_response();
}

static void goes_and_ends_in_a_row(void)
{
    for (unsigned i = 0; i < 32; i++) {
        for (unsigned k = 0; k < sizeof(get_random); k++)
            write8(DATA, get_random[k]);
        write32(STS, i & 1 ? STS_GO : STS_READY);
        write32(STS, i & 2 ? STS_CANCEL : STS_GO);
        write8(ACCESS, i & 4 ? 2 : 0x20);
        write32(STS, STS_READY);
    }
}

static void every_address_of_all_localities(void)
{
    uint64_t sum = 0;
    for (unsigned at = 0; at < 0x5000; at += 61) {
        write64(BASE + at, UINT64_MAX);
        write8(BASE + at, 0xff);
        sum += read64(BASE + at) + read16(BASE + at);
    }
    write64(BASE + 0xffc, sum);
}

struct misuse {
    const char *what;
    void (*misuse)(void);
};

static const struct misuse fifo_rows[] = {
    {"sizes that cannot be", sizes_that_cannot_be},
    {"more bytes than the command has", more_bytes_than_the_command_has},
    {"goes and ends in a row", goes_and_ends_in_a_row},
    {"every address of all localities", every_address_of_all_localities},
};

static const struct misuse rows[] = {
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
    const struct misuse *row = is_fifo() ? fifo_rows : rows;
    unsigned count =
        is_fifo() ? sizeof(fifo_rows) / sizeof(fifo_rows[0]) : sizeof(rows) / sizeof(rows[0]);
    for (unsigned i = 0; i < count; i++) {
        row[i].misuse();
        result(row[i].what, works() && (is_fifo() || !(read32(CTRL_STS) & 1)), "it works no more");
    }
    finish();
}
