/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest for one USB controller with a keyboard, a mouse and a tablet on it, on one thread: fake
 * memory, a fake PCI platform, and a driver that does things properly. */
#ifndef KV_TESTS_USB_GUEST_H
#define KV_TESTS_USB_GUEST_H

#include "fake_pci.h"
#include "vmm/usb/xhci_internal.h"

#define USB_MEMORY MIB(1)
#define USB_BAR UINT64_C(0xe0000000)
#define USB_DCBAA 0x1000
#define USB_COMMANDS 0x2000
#define USB_ERST 0x3000
#define USB_EVENTS 0x4000
#define USB_INPUT 0x6000    /* context */
#define USB_CONTEXTS 0x8000 /* of slot n: at n * 0x400 */
#define USB_RINGS 0x10000   /* of slot n: at n * 0x2000, control, then 0x1000 on the other */
#define USB_DATA 0x40000
#define USB_RING_BLOCKS 32 /* and a link */
#define USB_EVENT_BLOCKS 32

enum { USB_KEYBOARD_PORT = 1, USB_MOUSE_PORT, USB_TABLET_PORT };

struct usb_guest {
    struct fake_pci pci;
    struct loop loop;
    uint8_t *memory;
    struct guest_mem mem;
    struct xhci *xhci;
    struct usb_device *devices[4]; /* by port */
    struct {
        uint64_t at;
        unsigned index, cycle;
    } commands, events, rings[XHCI_SLOTS + 1][2]; /* of the control endpoint, of endpoint 3 */
};

void usb_guest_init(struct usb_guest *g);
void usb_guest_destroy(struct usb_guest *g);

uint32_t usb_read(struct usb_guest *g, unsigned offset);
void usb_write(struct usb_guest *g, unsigned offset, uint32_t value);
void usb_turn(struct usb_guest *g);

/* Reset, rings and tables in place, running. */
void usb_start(struct usb_guest *g);
/* The oldest event that was not seen; false: there is none. */
bool usb_event(struct usb_guest *g, struct trb *event);
/* A block on a ring, with the cycle bit; the doorbell is another matter. */
void usb_put_command(struct usb_guest *g, uint64_t param, uint32_t control);
void usb_put(struct usb_guest *g, unsigned slot, unsigned ring, uint64_t param, uint32_t status,
             uint32_t control);
/* Carries out a command; its completion code, and the slot in *slot (may be NULL). 0: no answer. */
unsigned usb_command(struct usb_guest *g, uint64_t param, uint32_t control, unsigned *slot);
/* Port reset, a slot, an address. 0: it did not work. */
unsigned usb_address(struct usb_guest *g, unsigned port);
/* Configured, its endpoint 3 (interrupt, to the host) in place. */
bool usb_configure(struct usb_guest *g, unsigned slot);
/* A control request; data goes from or to USB_DATA. The completion code of the stage that ended it;
 * *left: what of its length did not come. */
unsigned usb_control(struct usb_guest *g, unsigned slot, unsigned request, unsigned value,
                     unsigned length, uint32_t *left);

#endif
