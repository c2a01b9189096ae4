/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest whose devices come and go: it does what the DSDT's methods do for an operating system
 * (src/vmm/x86/acpi_pci_slots.c) and says what it saw, "new SLOT works" or "gone SLOT". Single
 * letters on COM1 change how it answers:
 *
 *   r  refuses the next request      i  ignores requests     a  answers them again
 *   q  switches off
 */
#include "health.h"
#include "hotplug.h"

#define COM1 0x3f8
#define COM1_LSR 0x3fd
#define PM1_STATUS 0x600
#define POWER_BUTTON (1u << 8)

static struct vdev device;
static struct ring rings[VDEV_QUEUES];
static enum { ANSWER, REFUSE, IGNORE } mood;

/* The device in a slot, whatever its kind. */
static bool find_in_slot(unsigned slot)
{
    for (const struct device_kind *kind = device_kinds; kind->type; kind++) {
        device.ring = rings;
        for (unsigned n = 0; vdev_find(&device, kind->type, n); n++) {
            if (device.devfn == slot << 3)
                return true;
        }
    }
    return false;
}

static void greet(unsigned slot)
{
    const char *why = "no virtio device is there";
    bool works = find_in_slot(slot) && vdev_works(&device, &why);
    if (works)
        print("new %u works\n", slot);
    else
        print("new %u: %s\n", slot, why);
}

static void let_go(unsigned slot)
{
    if (mood == REFUSE) {
        outl(HOTPLUG_OST, slot | NOTIFY_EJECT << 8 | OST_BUSY << 16);
        print("refused %u\n", slot);
        mood = ANSWER;
        return;
    }
    if (find_in_slot(slot))
        vdev_reset(&device);
    outl(HOTPLUG_EJECT, 1u << slot);
    print(pci_read(slot << 3, 0, 4) == UINT32_MAX ? "gone %u\n" : "still there %u\n", slot);
}

static void look(void)
{
    outb(GPE0_STATUS, GPE_HOTPLUG);
    uint32_t up = inl(HOTPLUG_UP), down = inl(HOTPLUG_DOWN);
    for (unsigned slot = 0; slot < 32; slot++) {
        if (up & 1u << slot)
            greet(slot);
        if (down & 1u << slot && mood != IGNORE)
            let_go(slot);
    }
}

void payload_main(void)
{
    print("ready\n");
    for (;;) {
        if (inw(PM1_STATUS) & POWER_BUTTON)
            finish();
        if (inb(GPE0_STATUS) & GPE_HOTPLUG)
            look();
        char c = inb(COM1_LSR) & 1 ? (char)inb(COM1) : 0;
        if (c == 'q')
            finish();
        if (c == 'r')
            mood = REFUSE;
        if (c == 'i')
            mood = IGNORE;
        if (c == 'a')
            mood = ANSWER;
        if (c)
            print("%s\n", mood == REFUSE ? "refusing" : mood == IGNORE ? "ignoring" : "answering");
    }
}
