/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A firmware image that uses the flash of its variables as OVMF does, and as
 * nobody should, prints "ok NAME" or "not ok NAME" on COM1, and switches the
 * machine off. The last block counts the runs: each clears one more bit of its
 * first byte. For machines whose variables' file has 64 KiB.
 */
#include <stdbool.h>
#include <stdint.h>

#define ROM 0xffffc000u
#define SIZE 0x10000u
#define BLOCK 0x1000u
#define COUNTER (SIZE - BLOCK)

void rom_main(void);

static volatile uint8_t *const flash = (volatile uint8_t *)(ROM - SIZE);

static void outb(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void outw(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static void put(const char *text)
{
    while (*text)
        outb(0x3f8, (uint8_t)*text++);
}

static void program(uint32_t offset, uint8_t value)
{
    flash[offset] = 0x10;
    flash[offset] = value;
}

static void erase(uint32_t offset)
{
    flash[offset] = 0x20;
    flash[offset] = 0xd0;
}

static void show_array(void)
{
    flash[0] = 0xff;
}

static bool all_are(uint32_t offset, uint32_t len, uint8_t value)
{
    for (uint32_t i = 0; i < len; i++)
        if (flash[offset + i] != value)
            return false;
    return true;
}

static bool is_flash(void)
{
    uint8_t original = flash[1];
    flash[1] = 0x50;
    flash[1] = 0x70;
    uint8_t status = flash[1];
    show_array();
    return status == 0 && flash[1] == original;
}

static bool erases_a_block(void)
{
    erase(BLOCK + 5);
    show_array();
    return all_are(BLOCK, BLOCK, 0xff);
}

static bool programs_bytes(void)
{
    erase(BLOCK);
    for (uint32_t i = 0; i < 64; i++)
        program(BLOCK + i, (uint8_t)i);
    show_array();
    for (uint32_t i = 0; i < 64; i++)
        if (flash[BLOCK + i] != i)
            return false;
    return all_are(BLOCK + 64, 64, 0xff);
}

static bool answers_a_query(void)
{
    flash[0x55] = 0x98;
    bool good = flash[0x10] == 'Q' && flash[0x11] == 'R' && flash[0x12] == 'Y';
    show_array();
    return good;
}

static bool survives_every_command(void)
{
    for (uint32_t command = 0; command < 256; command++) {
        flash[2 * BLOCK + command] = (uint8_t)command;
        (void)flash[command];
        *(volatile uint16_t *)(flash + 3 * BLOCK + command) = (uint16_t)(command << 8 | command);
        (void)*(volatile uint32_t *)(flash + SIZE - 4);
    }
    show_array();
    show_array();
    return is_flash();
}

static bool survives_wide_and_crossing_accesses(void)
{
    for (uint32_t at = 2 * BLOCK - 8; at < 2 * BLOCK; at++) {
        *(volatile uint32_t *)(flash + at) = 0x40404040;
        *(volatile uint32_t *)(flash + at) = 0x12345678;
        (void)*(volatile uint32_t *)(flash + at);
    }
    *(volatile uint32_t *)(flash + SIZE - 2) = 0x10101010; /* into the image behind it */
    show_array();
    show_array();
    return is_flash();
}

static bool changes_between_commands_and_memory(void)
{
    for (uint32_t i = 0; i < 8; i++) {
        erase(4 * BLOCK);
        show_array();
        if (!all_are(4 * BLOCK, 64, 0xff)) /* often enough to be memory again */
            return false;
        program(4 * BLOCK + 1, (uint8_t)i);
        show_array();
        if (flash[4 * BLOCK + 1] != i)
            return false;
    }
    return true;
}

static bool the_image_cannot_be_written(void)
{
    volatile uint8_t *image = (volatile uint8_t *)ROM;
    uint8_t before = *image;
    *image = (uint8_t)~before;
    return *image == before;
}

static void count_run(void)
{
    uint8_t counter = flash[COUNTER];
    char digit[] = "0\n";
    for (uint8_t bits = counter; !(bits & 1); bits >>= 1)
        digit[0]++;
    program(COUNTER, (uint8_t)(counter << 1));
    show_array();
    put("runs before: ");
    put(digit);
}

void rom_main(void)
{
    static const struct {
        const char *name;
        bool (*test)(void);
    } tests[] = {
        {"it is flash", is_flash},
        {"erases a block", erases_a_block},
        {"programs bytes", programs_bytes},
        {"answers a query", answers_a_query},
        {"survives every command", survives_every_command},
        {"survives wide and crossing accesses", survives_wide_and_crossing_accesses},
        {"changes between commands and memory", changes_between_commands_and_memory},
        {"the image cannot be written", the_image_cannot_be_written},
    };
    count_run();
    for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        put(tests[i].test() ? "ok " : "not ok ");
        put(tests[i].name);
        put("\n");
    }
    put("done\n");
    outw(0x604, 0x2000);
}
