/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that takes vCPUs which are plugged and gives up those that it is asked for, through the
 * registers that ACPI's methods use (vmm/devices/cpu_hotplug.h):
 *
 *   plugged N    it was told of vCPU N      awake N   which ran, once woken
 *   silent N     or did not                 gave N    it gave vCPU N up
 *   kept N       it told that it keeps it
 *
 * Letters on COM1: k  keeps what it is asked for from now on   g  gives it up
 *                  w  wakes vCPU 1 though nobody plugged it     r  resets the machine
 *                  h  writes at random to all registers, then says "written"
 * The power button switches it off.
 */
#include "payload.h"

#define COM1 0x3f8
#define COM1_LSR 0x3fd
#define PM1_STATUS 0x600
#define POWER_BUTTON (1u << 8)
#define GPE0 0x620
#define GPE_CPU 0x04
#define RESET_CONTROL 0xcf9
#define REGISTERS 0xfed50000u
#define CPUS 4
#define PRESENT 0x01
#define INSERTED 0x02
#define WANTED_BACK 0x04
#define EJECT 0x08
#define REFUSED 0x10

#define APIC_ICR_LOW 0xfee00300u
#define APIC_ICR_HIGH 0xfee00310u
#define APIC_SPURIOUS 0xfee000f0u
#define ICR_INIT 0x4500u
#define ICR_STARTUP 0x4600u
#define ICR_BUSY 0x1000u

/* Real mode: lock incl %cs:0x100; cli; 1: hlt; jmp 1b */
static const uint8_t first_steps[] = {0x2e, 0xf0, 0x66, 0xff, 0x06, 0x00,
                                      0x01, 0xfa, 0xf4, 0xeb, 0xfd};
#define STEPS_PAGE 0x40
#define STEPS (STEPS_PAGE << 12)
#define COUNTER (STEPS + 0x100)

static void send(unsigned cpu, uint32_t command)
{
    write32(APIC_ICR_HIGH, cpu << 24);
    write32(APIC_ICR_LOW, command);
    while (read32(APIC_ICR_LOW) & ICR_BUSY)
        ;
}

static void wake(unsigned cpu)
{
    uint32_t before = read32(COUNTER);
    send(cpu, ICR_INIT);
    pause_us(2000);
    for (unsigned i = 0; i < 2; i++) {
        send(cpu, ICR_STARTUP | STEPS_PAGE);
        for (unsigned tries = 0; read32(COUNTER) == before && tries < 200; tries++)
            pause_us(500);
    }
    print(read32(COUNTER) == before ? "silent %u\n" : "awake %u\n", cpu);
}

static void look_at_events(bool keep)
{
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        uint8_t flags = read8(REGISTERS + cpu);
        if (flags & INSERTED) {
            write8(REGISTERS + cpu, INSERTED);
            print("plugged %u\n", cpu);
            wake(cpu);
        }
        if (flags & WANTED_BACK) {
            write8(REGISTERS + cpu, WANTED_BACK);
            write8(REGISTERS + cpu, keep ? REFUSED : EJECT);
            bool there = read8(REGISTERS + cpu) & PRESENT;
            print(there ? "kept %u\n" : "gave %u\n", cpu);
        }
    }
}

static void write_at_random(void)
{
    uint32_t seed = 1;
    for (unsigned i = 0; i < 3000; i++) {
        seed = seed * 1664525 + 1013904223;
        uint32_t at = REGISTERS + (seed >> 24) % (CPUS + 4);
        if (seed & 1 << 20)
            write8(at, (uint8_t)(seed >> 8));
        else
            write32(at, seed);
        (void)read32(REGISTERS + (seed >> 16) % 8);
    }
    print("written\n");
}

void payload_main(void)
{
    bool keep = false;
    memcpy((void *)(uintptr_t)STEPS, first_steps, sizeof(first_steps));
    write32(COUNTER, 0);
    write32(APIC_SPURIOUS, 0x1ff); /* enabled */
    print("ready\n");
    for (;;) {
        if (inw(PM1_STATUS) & POWER_BUTTON)
            finish();
        if (inb(GPE0) & GPE_CPU) {
            outb(GPE0, GPE_CPU);
            look_at_events(keep);
        }
        if (!(inb(COM1_LSR) & 1))
            continue;
        switch (inb(COM1)) {
        case 'k':
            keep = true;
            break;
        case 'g':
            keep = false;
            break;
        case 'w':
            wake(1);
            break;
        case 'h':
            write_at_random();
            break;
        case 'r':
            outb(RESET_CONTROL, 6);
            break;
        default:
            break;
        }
    }
}
