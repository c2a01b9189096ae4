/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest for a USB controller; see usb_guest.h. */
#include "usb_guest.h"

#include <stdlib.h>

#include "base/log.h"

#define CONTEXT 32
#define SETUP_BLOCK(in, len) \
    (TRB_SETUP << 10 | (uint32_t)TRB_IMMEDIATE | ((len) ? (in) ? 3u << 16 : 2u << 16 : 0))

static void require(bool condition)
{
    if (!condition)
        abort();
}

void usb_guest_init(struct usb_guest *g)
{
    static const struct xhci_config config;
    memset(g, 0, sizeof(*g));
    log_level = LOG_ERROR;
    fake_pci_init(&g->pci);
    g->memory = aligned_alloc(4096, USB_MEMORY);
    memset(g->memory, 0, USB_MEMORY);
    const struct guest_mem_region region = {.size = USB_MEMORY, .hva = g->memory, .fd = -1};
    require(guest_mem_add(&g->mem, &region) == 0 && loop_init(&g->loop, NULL) == 0);
    require(xhci_create(&g->xhci, &config, NULL, &g->pci.bus, &g->mem, &g->loop, NULL) == 0);
    for (unsigned port = USB_KEYBOARD_PORT; port <= USB_TABLET_PORT; port++) {
        g->devices[port] = usb_hid_create((enum input_type)(INPUT_KEYBOARD + port - 1));
        require(xhci_add(g->xhci, g->devices[port], port, NULL) == 0);
    }
    pci_config_write(&g->xhci->pci, 0x10, USB_BAR, 4);
    pci_config_write(&g->xhci->pci, 4, 6, 2);
}

void usb_guest_destroy(struct usb_guest *g)
{
    struct device *device = xhci_device(g->xhci);
    device->ops->free(device);
    loop_destroy(&g->loop);
    fake_pci_destroy(&g->pci);
    free(g->memory);
}

uint32_t usb_read(struct usb_guest *g, unsigned offset)
{
    return (uint32_t)fake_read(&g->pci.mmio, USB_BAR + offset, 4);
}

void usb_write(struct usb_guest *g, unsigned offset, uint32_t value)
{
    fake_write(&g->pci.mmio, USB_BAR + offset, value, 4);
}

static void stop(void *opaque)
{
    loop_stop(opaque);
}

void usb_turn(struct usb_guest *g)
{
    struct loop_timer timer = {0};
    loop_timer_arm(&g->loop, &timer, 0, stop, &g->loop);
    loop_run(&g->loop);
    loop_timer_cancel(&timer);
}

void usb_start(struct usb_guest *g)
{
    usb_write(g, 0x40, CMD_RESET);
    memset(g->memory, 0, USB_DATA);
    memset(g->rings, 0, sizeof(g->rings));
    g->commands.at = USB_COMMANDS;
    g->events.at = USB_EVENTS;
    g->commands.index = g->events.index = 0;
    g->commands.cycle = g->events.cycle = 1;
    store_le(g->memory + USB_ERST, USB_EVENTS, 8);
    store_le(g->memory + USB_ERST + 8, USB_EVENT_BLOCKS, 4);
    usb_write(g, 0x78, XHCI_SLOTS);
    usb_write(g, 0x70, USB_DCBAA);
    usb_write(g, 0x58, USB_COMMANDS | 1);
    usb_write(g, 0x1028, 1);
    usb_write(g, 0x1038, USB_EVENTS);
    usb_write(g, 0x1030, USB_ERST);
    usb_write(g, 0x1020, IMAN_ENABLE);
    usb_write(g, 0x40, CMD_RUN | CMD_INTERRUPTS);
    usb_turn(g);
}

bool usb_event(struct usb_guest *g, struct trb *event)
{
    const uint8_t *block = g->memory + USB_EVENTS + g->events.index * TRB_SIZE;
    event->control = (uint32_t)load_le(block + 12, 4);
    if ((event->control & 1) != g->events.cycle)
        return false;
    event->param = load_le(block, 8);
    event->status = (uint32_t)load_le(block + 8, 4);
    if (++g->events.index == USB_EVENT_BLOCKS) {
        g->events.index = 0;
        g->events.cycle ^= 1;
    }
    usb_write(g, 0x1038, USB_EVENTS + g->events.index * TRB_SIZE + ERDP_BUSY);
    return true;
}

static void put(struct usb_guest *g, uint64_t at, unsigned *index, unsigned *cycle, uint64_t param,
                uint32_t status, uint32_t control)
{
    uint8_t *block = g->memory + at + *index * TRB_SIZE;
    store_le(block, param, 8);
    store_le(block + 8, status, 4);
    store_le(block + 12, control | *cycle, 4);
    if (++*index < USB_RING_BLOCKS)
        return;
    store_le(block + 16, at, 8);
    store_le(block + 28, TRB_LINK << 10 | TRB_TOGGLE | *cycle, 4);
    *index = 0;
    *cycle ^= 1;
}

void usb_put_command(struct usb_guest *g, uint64_t param, uint32_t control)
{
    put(g, g->commands.at, &g->commands.index, &g->commands.cycle, param, 0, control);
}

void usb_put(struct usb_guest *g, unsigned slot, unsigned ring, uint64_t param, uint32_t status,
             uint32_t control)
{
    put(g, g->rings[slot][ring].at, &g->rings[slot][ring].index, &g->rings[slot][ring].cycle, param,
        status, control);
}

unsigned usb_command(struct usb_guest *g, uint64_t param, uint32_t control, unsigned *slot)
{
    struct trb event;
    usb_put_command(g, param, control);
    usb_write(g, 0x2000, 0);
    usb_turn(g);
    while (usb_event(g, &event)) {
        if (trb_type(&event) != TRB_COMMAND_COMPLETION)
            continue;
        if (slot)
            *slot = event.control >> 24;
        return event.status >> 24;
    }
    return 0;
}

static void set_context(struct usb_guest *g, unsigned index, uint32_t a, uint32_t b, uint64_t c)
{
    uint8_t *words = g->memory + USB_INPUT + index * CONTEXT;
    memset(words, 0, CONTEXT);
    store_le(words, a, 4);
    store_le(words + 4, b, 4);
    store_le(words + 8, c, 8);
}

static void new_ring(struct usb_guest *g, unsigned slot, unsigned ring)
{
    g->rings[slot][ring].at = USB_RINGS + slot * 0x2000u + ring * 0x1000u;
    g->rings[slot][ring].index = 0;
    g->rings[slot][ring].cycle = 1;
    memset(g->memory + g->rings[slot][ring].at, 0, 0x1000);
}

unsigned usb_address(struct usb_guest *g, unsigned port)
{
    unsigned slot = 0;
    usb_write(g, 0x440 + (port - 1) * 16, BIT(4) | BIT(9));
    if (usb_command(g, 0, TRB_ENABLE_SLOT << 10, &slot) != CC_SUCCESS || slot > XHCI_SLOTS)
        return 0;
    store_le(g->memory + USB_DCBAA + slot * 8, USB_CONTEXTS + slot * 0x400u, 8);
    new_ring(g, slot, 0);
    set_context(g, 0, 0, 3, 0);
    set_context(g, 1, 1u << 27 | 1u << 20, port << 16, 0);
    set_context(g, 2, 0, 64u << 16 | 4 << 3 | 3 << 1, g->rings[slot][0].at | 1);
    unsigned code = usb_command(g, USB_INPUT, TRB_ADDRESS_DEVICE << 10 | slot << 24, NULL);
    return code == CC_SUCCESS ? slot : 0;
}

bool usb_configure(struct usb_guest *g, unsigned slot)
{
    uint32_t left;
    new_ring(g, slot, 1);
    set_context(g, 0, 0, 1 | 1 << 3, 0);
    set_context(g, 1, 3u << 27 | 1u << 20, 0, 0);
    set_context(g, 4, 6 << 16, 8u << 16 | 7 << 3 | 3 << 1, g->rings[slot][1].at | 1);
    return usb_command(g, USB_INPUT, TRB_CONFIGURE_ENDPOINT << 10 | slot << 24, NULL) ==
               CC_SUCCESS &&
           usb_control(g, slot, 0x0009, 1, 0, &left) == CC_SUCCESS;
}

unsigned usb_control(struct usb_guest *g, unsigned slot, unsigned request, unsigned value,
                     unsigned length, uint32_t *left)
{
    struct trb event;
    bool in = request & 0x8000;
    unsigned code = 0;
    uint64_t setup =
        request >> 8 | (request & 0xff) << 8 | (uint64_t)value << 16 | (uint64_t)length << 48;
    usb_put(g, slot, 0, setup, 8, SETUP_BLOCK(in, length));
    if (length)
        usb_put(g, slot, 0, USB_DATA, length,
                TRB_DATA << 10 | (uint32_t)TRB_ISP | (in ? 1u << 16 : 0));
    usb_put(g, slot, 0, 0, 0, TRB_STATUS << 10 | (uint32_t)TRB_IOC | (in ? 0 : 1u << 16));
    usb_write(g, 0x2000 + slot * 4, 1);
    usb_turn(g);
    *left = 0;
    while (usb_event(g, &event)) {
        if (trb_type(&event) != TRB_TRANSFER_EVENT)
            continue;
        code = event.status >> 24;
        if (code == CC_SHORT_PACKET)
            *left = event.status & 0xffffff;
    }
    return code;
}
