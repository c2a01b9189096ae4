/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small NVMe driver, polled, and what no driver does: nonsense in registers,
 * doorbells, queues and lists of pages. Each row ends with a sign of life: after
 * a reset of the controller the disk's first block is read again.
 */
#include "payload.h"

#define ENTRIES 8u
#define PAGE 4096u
#define REG_CC 0x14
#define REG_CSTS 0x1c
#define DOORBELLS 0x1000
#define ENABLE 0x460001u
#define READY 1u
#define FATAL 2u
#define NOWHERE 0x700000000000ull

struct command {
    uint8_t opcode, flags;
    uint16_t cid;
    uint32_t nsid;
    uint64_t reserved, metadata, prp1, prp2;
    uint32_t cdw[6];
};

struct completion {
    uint32_t result, reserved;
    uint16_t sq_head, sq_id, cid;
    volatile uint16_t status;
};

static struct command commands[2][PAGE / sizeof(struct command)] __attribute__((aligned(4096)));
static struct completion ends[2][PAGE / sizeof(struct completion)] __attribute__((aligned(4096)));
static uint64_t list[PAGE / 8] __attribute__((aligned(4096)));
static uint8_t data[2 * PAGE] __attribute__((aligned(4096)));
static uint64_t bar;
static uint16_t tail[2], head[2];

static uint64_t at(const volatile void *p)
{
    return (uint64_t)(uintptr_t)p;
}

static bool wait_for(uint32_t mask, uint32_t value)
{
    for (unsigned n = 0; n < 200000; n++) {
        if ((read32(bar + REG_CSTS) & mask) == value)
            return true;
        pause_us(10);
    }
    return false;
}

/* The status, without its phase; -1: no end came. */
static int run(unsigned queue, const struct command *command)
{
    struct completion *end = &ends[queue][head[queue]];
    uint16_t before = end->status & 1;
    commands[queue][tail[queue]] = *command;
    tail[queue] = (uint16_t)((tail[queue] + 1) % ENTRIES);
    barrier();
    write32(bar + DOORBELLS + 8 * queue, tail[queue]);
    for (unsigned n = 0; n < 200000; n++) {
        if ((end->status & 1) != before) {
            head[queue] = (uint16_t)((head[queue] + 1) % ENTRIES);
            write32(bar + DOORBELLS + 8 * queue + 4, head[queue]);
            return end->status >> 1;
        }
        if (read32(bar + REG_CSTS) & FATAL)
            return -1;
        pause_us(10);
    }
    return -1;
}

static bool start(void)
{
    const struct command cq = {
        .opcode = 5, .prp1 = at(ends[1]), .cdw = {(ENTRIES - 1) << 16 | 1, 1}};
    const struct command sq = {
        .opcode = 1, .prp1 = at(commands[1]), .cdw = {(ENTRIES - 1) << 16 | 1, 1 << 16 | 1}};
    write32(bar + REG_CC, 0);
    if (!wait_for(READY | FATAL, 0))
        return false;
    memset(ends, 0, sizeof(ends));
    memset(tail, 0, sizeof(tail));
    memset(head, 0, sizeof(head));
    write32(bar + 0x24, (ENTRIES - 1) << 16 | (ENTRIES - 1));
    write64(bar + 0x28, at(commands[0]));
    write64(bar + 0x30, at(ends[0]));
    write32(bar + REG_CC, ENABLE);
    return wait_for(READY | FATAL, READY) && run(0, &cq) == 0 && run(0, &sq) == 0;
}

static bool works(void)
{
    const struct command read = {.opcode = 2, .nsid = 1, .prp1 = at(data)};
    memset(data, 0, 512);
    return start() && run(1, &read) == 0 && memcmp(data, "KVASIR", 6) == 0;
}

/* ----------------------------------------------------------------------- rows */

static bool every_register_and_width(void)
{
    for (unsigned offset = 0; offset < 0x40; offset++) {
        write8(bar + offset, 0xff);
        write16(bar + offset, 0xffff);
        read64(bar + offset);
        write64(bar + offset, UINT64_MAX);
    }
    return true;
}

static bool doorbells_of_no_queue(void)
{
    for (unsigned offset = DOORBELLS + 16; offset < DOORBELLS + 0x1000; offset += 4)
        write32(bar + offset, 0xffffffff);
    return !(read32(bar + REG_CSTS) & FATAL);
}

static bool doorbell_behind_the_end(void)
{
    write32(bar + DOORBELLS + 8, ENTRIES);
    return wait_for(FATAL, FATAL);
}

static bool completion_head_behind_the_end(void)
{
    write32(bar + DOORBELLS + 4, 0xffff);
    return wait_for(FATAL, FATAL);
}

static bool queues_that_are_no_memory(void)
{
    write32(bar + REG_CC, 0);
    wait_for(READY, 0);
    write64(bar + 0x28, NOWHERE);
    write64(bar + 0x30, NOWHERE);
    write32(bar + REG_CC, ENABLE);
    wait_for(READY, READY);
    write32(bar + DOORBELLS, 1);
    return wait_for(FATAL, FATAL);
}

static bool pages_of_another_size(void)
{
    write32(bar + REG_CC, 0);
    wait_for(READY, 0);
    write32(bar + REG_CC, ENABLE | 0xf << 7);
    return wait_for(FATAL, FATAL);
}

static bool refused(const struct command *command)
{
    return run(1, command) > 0;
}

static bool every_opcode(void)
{
    for (unsigned opcode = 10; opcode < 256; opcode++) {
        const struct command command = {.opcode = (uint8_t)opcode, .nsid = 1, .prp1 = at(data)};
        if (!refused(&command))
            return false;
    }
    return true;
}

static bool blocks_beyond_the_end(void)
{
    const struct command far = {.opcode = 2, .nsid = 1, .prp1 = at(data), .cdw = {0, 0x80000000u}};
    const struct command wraps = {
        .opcode = 1, .nsid = 1, .prp1 = at(data), .cdw = {0xffffffff, 0xffffffff, 0xffff}};
    return refused(&far) && refused(&wraps);
}

static bool pages_that_are_no_memory(void)
{
    const struct command first = {.opcode = 2, .nsid = 1, .prp1 = NOWHERE};
    const struct command second = {
        .opcode = 2, .nsid = 1, .prp1 = at(data), .prp2 = NOWHERE, .cdw = {0, 0, 15}};
    const struct command third = {
        .opcode = 2, .nsid = 1, .prp1 = at(data), .prp2 = NOWHERE, .cdw = {0, 0, 63}};
    return refused(&first) && refused(&second) && refused(&third);
}

/* Its last entry leads to itself, but each list has fewer pages to go. */
static bool a_list_that_is_its_own_next(void)
{
    for (unsigned i = 0; i < PAGE / 8; i++)
        list[i] = at(list);
    const struct command command = {.opcode = 2,
                                    .nsid = 1,
                                    .prp1 = at(data),
                                    .prp2 = at(&list[PAGE / 8 - 1]),
                                    .cdw = {0, 0, 255}};
    return run(1, &command) >= 0;
}

static bool queues_that_may_not_be(void)
{
    for (unsigned i = 0; i < 64; i++) {
        const struct command command = {.opcode = (uint8_t)(i & 1 ? 1 : 5),
                                        .prp1 = i & 2 ? NOWHERE + 1 : at(list),
                                        .cdw = {(i & 4 ? 0xffffu : 0) << 16 | i * 1021 % 65536,
                                                i << 28 | (i & 8 ? 0xffff0001u : 0)}};
        if (i * 1021 % 65536 != 0 && run(0, &command) == 0)
            return false;
    }
    return true;
}

static bool a_queue_removed_with_commands_in_it(void)
{
    const struct command flush = {.opcode = 0, .nsid = 1};
    const struct command removal = {.opcode = 0, .cdw = {1}};
    for (unsigned i = 0; i < ENTRIES - 1; i++)
        commands[1][i] = flush;
    barrier();
    write32(bar + DOORBELLS + 8, (tail[1] + ENTRIES - 1) % ENTRIES);
    return run(0, &removal) == 0;
}

static bool a_reset_amid_transfers(void)
{
    const struct command write = {
        .opcode = 1, .nsid = 1, .prp1 = at(data), .prp2 = at(data + PAGE), .cdw = {64, 0, 15}};
    for (unsigned i = 0; i < ENTRIES; i++)
        commands[1][i] = write;
    barrier();
    write32(bar + DOORBELLS + 8, (tail[1] + ENTRIES - 1) % ENTRIES);
    write32(bar + REG_CC, 0);
    return wait_for(READY, 0);
}

static const struct {
    const char *what;
    bool (*misuse)(void);
} rows[] = {
    {"every register, with every width", every_register_and_width},
    {"doorbells of queues that are not there", doorbells_of_no_queue},
    {"a doorbell behind the queue's end", doorbell_behind_the_end},
    {"a head of completions behind the end", completion_head_behind_the_end},
    {"queues that are no memory", queues_that_are_no_memory},
    {"pages of another size", pages_of_another_size},
    {"every opcode", every_opcode},
    {"blocks beyond the end", blocks_beyond_the_end},
    {"pages that are no memory", pages_that_are_no_memory},
    {"a list that is its own next", a_list_that_is_its_own_next},
    {"queues that may not be", queues_that_may_not_be},
    {"a queue removed with commands in it", a_queue_removed_with_commands_in_it},
    {"a reset amid transfers", a_reset_amid_transfers},
};

void payload_main(void)
{
    int devfn = pci_find(0x1b36, 0x0010, 0);
    result("the controller is there", devfn >= 0, "no function");
    if (devfn < 0)
        finish();
    pci_write((unsigned)devfn, 4, 6, 2);
    bar = pci_bar((unsigned)devfn, 0);
    result("a block is read", works(), "it is not what the disk has");
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool good = rows[i].misuse();
        result(rows[i].what, works() && good, good ? "no sign of life" : "not as it should be");
    }
    finish();
}
