/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a USB controller with a keyboard, a mouse and a tablet. A guest
 * writes its registers and its memory as it likes, gives commands and transfers
 * whose frame is right, pauses and resets, while somebody types and points. A
 * controller that is started properly after all that must work.
 */
#include "acts.h"
#include "usb_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    REGISTER,
    POKE,
    COMMAND,
    ADDRESS,
    CONTROL,
    TRANSFER,
    DOORBELL,
    TURN,
    EVENTS,
    TYPE,
    POINT,
    PAUSE,
    RESET,
    CONFIG,
    KINDS,
};

static struct usb_guest g;

static void place(void)
{
    pci_config_write(&g.xhci->pci, 4, 0, 2);
    pci_config_write(&g.xhci->pci, 0x10, USB_BAR, 4);
    pci_config_write(&g.xhci->pci, 4, 6, 2);
}

static void point(const struct act *act)
{
    const struct input_sink *sink =
        usb_hid_sink(g.devices[act->a & 1 ? USB_TABLET_PORT : USB_MOUSE_PORT]);
    if (sink->absolute)
        sink->absolute(sink->opaque, act->b & 0x7fff, act->value & 0x7fff,
                       (unsigned)(act->value >> 32));
    else
        sink->relative(sink->opaque, (int)act->value, (int16_t)act->b,
                       (unsigned)(act->value >> 32));
}

/* Most addresses that are given lie where something is. */
static uint64_t address(uint64_t value)
{
    return value & BIT(62) ? value : value % (USB_MEMORY + 64);
}

static void run(const struct act *act)
{
    const struct input_sink *keyboard = usb_hid_sink(g.devices[USB_KEYBOARD_PORT]);
    unsigned slot = 1 + act->a % XHCI_SLOTS;
    struct trb event;
    uint32_t left;
    switch (act->kind % KINDS) {
    case REGISTER:
        fake_write(&g.pci.mmio, USB_BAR + act->b % 0x4000, act->value, 1u << (act->a & 3));
        fake_read(&g.pci.mmio, USB_BAR + act->b % 0x4000, 1u << (act->a >> 2 & 3));
        break;
    case POKE:
        store_le(g.memory + (act->b * 4u) % (USB_DATA - 8), act->value, 8);
        break;
    case COMMAND:
        usb_put_command(&g, address(act->value),
                        (9 + act->a % 16u) << 10 | (act->b & 31u) << 16 | (act->b & 32u) << 4 |
                            slot << 24);
        usb_write(&g, 0x2000, 0);
        break;
    case ADDRESS:
        slot = usb_address(&g, 1 + act->a % XHCI_PORTS);
        if (slot && act->b & 1)
            usb_configure(&g, slot);
        break;
    case CONTROL:
        if (g.rings[slot][0].at)
            usb_control(&g, slot, (unsigned)act->value & 0xffff,
                        (unsigned)(act->value >> 16) & 0xffff, act->b, &left);
        break;
    case TRANSFER:
        if (!g.rings[slot][act->b & 1].at)
            break;
        usb_put(&g, slot, act->b & 1, address(act->value), (uint32_t)(act->value >> 40),
                (uint32_t)act->b << 6 | (act->a & 0x34));
        usb_write(&g, 0x2000 + slot * 4, act->b & 1 ? 3 : 1);
        break;
    case DOORBELL:
        usb_write(&g, 0x2000 + slot * 4, (uint32_t)act->value);
        break;
    case TURN:
        usb_turn(&g);
        break;
    case EVENTS:
        for (unsigned i = 0; i < act->a && usb_event(&g, &event); i++)
            ;
        break;
    case TYPE:
        keyboard->key(keyboard->opaque, act->b, act->a & 1);
        break;
    case POINT:
        point(act);
        break;
    case PAUSE:
        acts_pause(xhci_device(g.xhci), act->a & 1);
        break;
    case RESET:
        if (act->a & 1)
            usb_start(&g);
        else
            xhci_device(g.xhci)->ops->reset(xhci_device(g.xhci));
        place();
        break;
    default:
        pci_config_write(&g.xhci->pci, act->b % 256, (uint32_t)act->value, 1u << act->a % 3);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!g.xhci)
        usb_guest_init(&g);
    place();
    usb_start(&g);
    acts_run(data, size, run);
    usb_turn(&g);
    place();
    usb_start(&g);
    unsigned slot = usb_address(&g, USB_KEYBOARD_PORT);
    require(slot && usb_configure(&g, slot));
    return 0;
}
