/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nonsense for the USB controller (xHCI): each row breaks its registers, rings
 * or contexts in one way; after a reset a command must be carried out.
 */
#include "payload.h"

#define BLOCKS 64
#define WAIT_US 20000
#define NOOP (23u << 10)
#define LINK (6u << 10)
#define TOGGLE 2u

struct block {
    uint64_t param;
    uint32_t status, control;
};

static struct block commands[BLOCKS] __attribute__((aligned(4096)));
static struct block events[BLOCKS] __attribute__((aligned(4096)));
static struct block transfers[BLOCKS] __attribute__((aligned(4096)));
static uint64_t slots[256] __attribute__((aligned(4096)));
static uint32_t input[33][8] __attribute__((aligned(4096)));
static uint32_t contexts[32][8] __attribute__((aligned(4096)));
static uint64_t table[2] __attribute__((aligned(64)));
static uint64_t bar;
static unsigned next;

static uint64_t at(const void *p)
{
    return (uint64_t)(uintptr_t)p;
}

static void start(void)
{
    write32(bar + 0x40, 2);
    memset(commands, 0, sizeof(commands));
    memset(events, 0, sizeof(events));
    memset(transfers, 0, sizeof(transfers));
    memset(input, 0, sizeof(input));
    memset(contexts, 0, sizeof(contexts));
    next = 0;
    table[0] = at(events);
    table[1] = BLOCKS;
    slots[1] = at(contexts);
    write32(bar + 0x78, 8);
    write64(bar + 0x70, at(slots));
    write64(bar + 0x58, at(commands) | 1);
    write32(bar + 0x1028, 1);
    write64(bar + 0x1038, at(events));
    write64(bar + 0x1030, at(table));
    write32(bar + 0x40, 1);
}

static void put(uint64_t param, uint32_t control)
{
    commands[next].param = param;
    barrier();
    *(volatile uint32_t *)&commands[next++].control = control | 1;
}

/* The completion of the command that lies there; 0: none came. */
static unsigned completion(unsigned index)
{
    for (unsigned waited = 0; waited < 50 * WAIT_US; waited += 10) {
        for (unsigned i = 0; i < BLOCKS; i++) {
            volatile struct block *event = &events[i];
            if ((event->control >> 10 & 63) == 33 && event->param == at(&commands[index]))
                return event->status >> 24;
        }
        pause_us(10);
    }
    return 0;
}

static unsigned command(uint64_t param, uint32_t control)
{
    put(param, control);
    write32(bar + 0x2000, 0);
    return completion(next - 1);
}

static bool addressed(void)
{
    if (command(0, 9 << 10) != 1)
        return false;
    input[0][1] = 3;
    input[1][0] = 1u << 27;
    input[1][1] = 1 << 16;
    input[2][1] = 64u << 16 | 4 << 3;
    input[2][2] = (uint32_t)at(transfers) | 1;
    return command(at(input), 11 << 10 | 1u << 24) == 1;
}

/* ---------------------------------------------------------------- rows */

static bool command_ring_elsewhere(void)
{
    write64(bar + 0x58, 0xfffffffffffff000 | 1);
    write32(bar + 0x2000, 0);
    return true;
}

static bool command_ring_of_links(void)
{
    put(at(commands), LINK);
    write32(bar + 0x2000, 0);
    return true;
}

static bool command_ring_without_an_end(void)
{
    for (unsigned i = 0; i < 20; i++)
        put(0, NOOP);
    put(at(commands), LINK);
    write32(bar + 0x2000, 0);
    pause_us(1000);
    write32(bar + 0x58, 4);
    return true;
}

static bool every_command_with_everything_set(void)
{
    for (unsigned type = 0; type < 64 && next < BLOCKS - 1; type++) {
        if (type != 6)
            put(UINT64_MAX, 0xff1f0200 | type << 10);
    }
    write32(bar + 0x2000, 0);
    return true;
}

static bool event_ring_elsewhere(void)
{
    table[0] = 0xffffffffffffffc0;
    write64(bar + 0x1030, at(table));
    write32(bar + 0x2000, 0);
    return true;
}

static bool event_table_elsewhere(void)
{
    write64(bar + 0x1030, UINT64_MAX);
    write32(bar + 0x1028, 0xffff);
    write32(bar + 0x2000, 0);
    return true;
}

static bool event_dequeue_beside_the_ring(void)
{
    write64(bar + 0x1038, at(events) - 16);
    write32(bar + 0x2000, 0);
    return true;
}

static bool an_event_ring_that_is_never_read(void)
{
    for (unsigned i = 0; i < BLOCKS - 1; i++)
        put(0, NOOP);
    put(at(commands), LINK);
    write32(bar + 0x2000, 0);
    pause_us(1000);
    return true;
}

static bool every_doorbell(void)
{
    for (unsigned slot = 0; slot < 256; slot++) {
        for (unsigned target = 0; target < 256; target += 5)
            write32(bar + 0x2000 + slot * 4, target | 0xffff0000);
    }
    return true;
}

static bool contexts_elsewhere(void)
{
    if (!addressed())
        return false;
    slots[1] = UINT64_MAX;
    write64(bar + 0x70, UINT64_MAX);
    return command(at(input), 11 << 10 | 1u << 24) != 1 &&
           command(UINT64_MAX - 40, 12 << 10 | 1u << 24) != 1;
}

static bool transfer_ring_elsewhere(void)
{
    input[2][3] = 0xffffffff;
    if (!addressed())
        return false;
    write32(bar + 0x2004, 1);
    return true;
}

static bool transfers_of_every_type(void)
{
    if (!addressed())
        return false;
    for (unsigned i = 0; i < BLOCKS; i++) {
        transfers[i].param = i % 3 ? UINT64_MAX - i : at(contexts);
        transfers[i].status = UINT32_MAX;
        transfers[i].control = i << 10 | (i * 0x10030u & 0xffff03ff) | 0x31;
    }
    for (unsigned i = 0; i < 40; i++) {
        write32(bar + 0x2004, 1);
        pause_us(20);
    }
    return true;
}

static bool setup_that_asks_for_64_kib(void)
{
    if (!addressed())
        return false;
    transfers[0] = (struct block){0xffff000001000680, 8, 2 << 10 | 0x41};
    transfers[1] = (struct block){at(contexts), 0x1ffff, 3 << 10 | 1 << 16 | 0x21};
    transfers[2] = (struct block){0, 0, 4 << 10 | 0x21};
    write32(bar + 0x2004, 1);
    pause_us(1000);
    return true;
}

static bool every_register(void)
{
    static const uint64_t values[] = {UINT64_MAX, 0, 0x5555555555555555};
    for (unsigned v = 0; v < 3; v++) {
        for (unsigned offset = 0; offset < 0x3ff8; offset += offset < 0x500 ? 4 : 60) {
            write64(bar + offset, values[v]);
            write8(bar + offset + 1, (uint8_t)values[v]);
            read64(bar + offset);
            read16(bar + offset + 3);
        }
    }
    return true;
}

static const struct {
    const char *what;
    bool (*misuse)(void);
} rows[] = {
    {"command ring that is not in memory", command_ring_elsewhere},
    {"command ring of links", command_ring_of_links},
    {"command ring without an end", command_ring_without_an_end},
    {"every command with everything set", every_command_with_everything_set},
    {"event ring that is not in memory", event_ring_elsewhere},
    {"event ring's table that is not in memory", event_table_elsewhere},
    {"event ring's dequeue pointer beside it", event_dequeue_beside_the_ring},
    {"event ring that is never read", an_event_ring_that_is_never_read},
    {"every doorbell", every_doorbell},
    {"contexts that are not in memory", contexts_elsewhere},
    {"transfer ring that is not in memory", transfer_ring_elsewhere},
    {"transfers of every type", transfers_of_every_type},
    {"setup that asks for 64 KiB", setup_that_asks_for_64_kib},
    {"every register", every_register},
};

void payload_main(void)
{
    int devfn = pci_find(0x1b36, 0x000d, 0);
    if (devfn < 0) {
        result("the USB controller", false, "it is not there");
        finish();
    }
    pci_write((unsigned)devfn, 4, 6, 2);
    bar = pci_bar((unsigned)devfn, 0);
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        start();
        bool done = rows[i].misuse();
        pause_us(200);
        start();
        bool works = command(0, NOOP) == 1 && addressed();
        result(rows[i].what, done && works,
               done ? "it does not work after it" : "it did not come so far");
    }
    finish();
}
