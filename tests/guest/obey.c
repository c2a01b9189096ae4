/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest for tests of what surrounds a machine. It says "ready", then does what
 * single letters on COM1 tell it, and switches off at the power button:
 *
 *   e  sends back what follows, up to a newline
 *   w  writes 1,000,000 bytes to the virtio console, see below
 *   o  opens the first port of its console device, c then closes it
 *   p  panics (pvpanic)     r  resets the machine    q  switches off
 *   d  starts its watchdog with two times 100 ms, after saying whether that had ended a guest
 * before k  restarts the watchdog's time
 *
 * The bytes of w are lines of 49 letters and digits that begin with their number.
 */
#include "virtio.h"

#define COM1 0x3f8
#define COM1_LSR 0x3fd
#define PM1_STATUS 0x600
#define POWER_BUTTON (1u << 8)
#define RESET_CONTROL 0xcf9
#define PVPANIC 0x505
#define WATCHDOG_RELOAD 0xc
#define LINES 20000u
#define LINE 50u
#define LINES_AT_ONCE 100u
#define NUMBER_DIGITS 5u
#define CONTROL_TX 3
#define MULTIPORT 2ull
#define PORT_READY 3
#define PORT_OPEN 6
#define FOREVER UINT32_MAX

static struct vdev console;
static struct ring rings[VDEV_QUEUES];
static char text[LINES_AT_ONCE * LINE];

static char get(void)
{
    while (!(inb(COM1_LSR) & 1)) {
        if (inw(PM1_STATUS) & POWER_BUTTON) {
            outw(PM1_STATUS, POWER_BUTTON);
            finish();
        }
    }
    return (char)inb(COM1);
}

static void put(char c)
{
    while (!(inb(COM1_LSR) & 0x20))
        ;
    outb(COM1, (uint8_t)c);
}

/* The console's second queue takes what the guest says (virtio 1.2, 5.3.2). */
static void say(const char *bytes, uint32_t len)
{
    uint64_t d = (uint64_t)(uintptr_t)&rings[1].desc[0];
    write64(d, (uint64_t)(uintptr_t)bytes);
    write64(d + 8, len); /* no flags */
    vdev_offer(&console, 1, 0);
    while (!vdev_wait_used(&console, 1, rings[1].avail.idx, FOREVER))
        ;
}

/* Little work a line: an emulating KVM runs about a million instructions a second. */
static void write_much(void)
{
    for (unsigned at = 0; at < sizeof(text); at++)
        text[at] = at % LINE == LINE - 1 ? '\n' : (char)('a' + at % LINE % 26);
    for (unsigned line = 0; line < LINES; line += LINES_AT_ONCE) {
        for (unsigned i = 0; i < LINES_AT_ONCE; i++) {
            unsigned number = line + i;
            for (unsigned digit = NUMBER_DIGITS; digit-- > 0; number /= 10)
                text[i * LINE + digit] = (char)('0' + number % 10);
        }
        say(text, sizeof(text));
    }
}

/* Says on the control queue whether the first port is in use (virtio 1.2, 5.3.6.2). */
static void tell_port(uint16_t event, uint16_t value)
{
    static struct {
        uint32_t id;
        uint16_t event, value;
    } message;
    message.event = event;
    message.value = value;
    struct ring *r = &rings[CONTROL_TX];
    r->desc[0].addr = (uint64_t)(uintptr_t)&message;
    r->desc[0].len = sizeof(message);
    r->desc[0].flags = 0;
    vdev_offer(&console, CONTROL_TX, 0);
    while (!vdev_wait_used(&console, CONTROL_TX, r->avail.idx, FOREVER))
        ;
}

static void open_port(void)
{
    vdev_reset(&console);
    if (!vdev_negotiate(&console, 1ull << 32 | MULTIPORT))
        return;
    for (unsigned q = 0; q < VDEV_QUEUES; q++)
        vdev_enable_queue(&console, q);
    vdev_driver_ok(&console);
    tell_port(PORT_READY, 1);
    tell_port(PORT_OPEN, 1);
}

static uint64_t watchdog;

static void watchdog_write(unsigned offset, uint16_t value)
{
    write16(watchdog + WATCHDOG_RELOAD, 0x80);
    write16(watchdog + WATCHDOG_RELOAD, 0x86);
    write16(watchdog + offset, value);
}

static void start_watchdog(void)
{
    int devfn = pci_find(0x8086, 0x25ab, 0);
    if (devfn < 0) {
        print("no watchdog\n");
        return;
    }
    pci_write((unsigned)devfn, 4, 2, 2); /* memory space */
    watchdog = pci_bar((unsigned)devfn, 0);
    print("watchdog %u\n", read16(watchdog + WATCHDOG_RELOAD) >> 9 & 1u);
    watchdog_write(0, 100);
    watchdog_write(4, 100);
    watchdog_write(WATCHDOG_RELOAD, 0x200);
    pci_write((unsigned)devfn, 0x68, 2, 1); /* enabled */
}

static void echo(void)
{
    char c;
    while ((c = get()) != '\n')
        put(c);
}

void payload_main(void)
{
    bool has_console = vdev_find(&console, VIRTIO_CONSOLE, 0);
    console.ring = rings;
    has_console = has_console && vdev_start(&console);
    print("ready\n");
    for (;;) {
        char c = get();
        if (c == 'q')
            finish();
        if (c == 'p')
            outb(PVPANIC, 1);
        if (c == 'r')
            outb(RESET_CONTROL, 6);
        if (c == 'w' && has_console)
            write_much();
        if (c == 'o' && has_console)
            open_port();
        if (c == 'c' && has_console)
            tell_port(PORT_OPEN, 0);
        if (c == 'e')
            echo();
        if (c == 'd')
            start_watchdog();
        if (c == 'k')
            watchdog_write(WATCHDOG_RELOAD, 0x100);
    }
}
