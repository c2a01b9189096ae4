/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Endpoints of the xHCI controller (xHCI 4.11): the control endpoint's stages,
 * and interrupt transfers towards the host. A step takes one block of a ring.
 * On the loop, under the lock, from xhci.c.
 */
#include <string.h>

#include "base/util.h"
#include "vmm/usb/xhci_internal.h"

#define CONTROL_ENDPOINT 1
#define TYPE_INTERRUPT_IN 7
#define DATA_TO_HOST BIT(16) /* of a data block */

void xhci_endpoint_write(struct xhci *xhci, const struct xhci_slot *slot, unsigned index)
{
    const struct xhci_endpoint *endpoint = &slot->endpoints[index];
    uint64_t at = slot->context + (uint64_t)index * XHCI_CONTEXT;
    uint8_t bytes[16];
    if (guest_mem_read(xhci->mem, at, bytes, sizeof(bytes)) < 0)
        return; /* the guest took it away: nothing it could read either */
    bytes[0] = (uint8_t)((bytes[0] & ~7u) | endpoint->state);
    store_le(bytes + 8, endpoint->ring.dequeue | endpoint->ring.cycle, 8);
    guest_mem_write(xhci->mem, at, bytes, sizeof(bytes));
}

void xhci_endpoint_ring(struct xhci *xhci, unsigned number, unsigned index)
{
    if (number == 0 || number > XHCI_SLOTS || index == 0 || index >= XHCI_ENDPOINTS)
        return;
    struct xhci_slot *slot = &xhci->s.slots[number];
    if (slot->enabled && slot->endpoints[index].state != ENDPOINT_DISABLED)
        slot->doorbells |= 1u << index;
}

/* What a step works on. */
struct transfer {
    struct xhci *xhci;
    unsigned number, index;
    struct xhci_slot *slot;
    struct xhci_endpoint *endpoint;
    struct usb_device *dev;
};

static void event(const struct transfer *t, const struct trb *trb, unsigned code, uint32_t left)
{
    xhci_event(t->xhci, trb->at, code << 24 | left,
               TRB_TRANSFER_EVENT << 10 | t->index << 16 | t->number << 24);
}

static void halt(const struct transfer *t, const struct trb *trb, unsigned code,
                 enum endpoint_state state)
{
    t->endpoint->state = state;
    t->endpoint->in_transfer = false;
    t->slot->in_control = false;
    t->xhci->failures++;
    xhci_endpoint_write(t->xhci, t->slot, t->index);
    event(t, trb, code, trb->status & TRB_LENGTH);
}

static void tell(const struct transfer *t, const struct trb *trb)
{
    if (trb->control & TRB_IOC)
        event(t, trb, CC_SUCCESS, 0);
}

/* The guest's own word, with how much came since the last one. */
static void event_data(const struct transfer *t, const struct trb *trb)
{
    if (trb->control & TRB_IOC)
        xhci_event(t->xhci, trb->param,
                   (unsigned)CC_SUCCESS << 24 | (t->endpoint->edtla & 0xffffff),
                   (uint32_t)TRB_EVENT_DATA_F | TRB_TRANSFER_EVENT << 10 | t->index << 16 |
                       t->number << 24);
    t->endpoint->edtla = 0;
}

/* The next part of what the device has goes into the block's buffer. False: it could not. */
static bool to_host(const struct transfer *t, const struct trb *trb, const uint8_t *data)
{
    struct xhci_endpoint *endpoint = t->endpoint;
    uint32_t room = trb->status & TRB_LENGTH;
    uint32_t part = MIN(room, endpoint->len - endpoint->done);
    if (part && guest_mem_write(t->xhci->mem, trb->param, data + endpoint->done, part) < 0) {
        halt(t, trb, CC_DATA_BUFFER, ENDPOINT_HALTED);
        return false;
    }
    endpoint->done += part;
    endpoint->edtla += part;
    if (part < room && trb->control & (TRB_IOC | TRB_ISP))
        event(t, trb, CC_SHORT_PACKET, room - part);
    else
        tell(t, trb);
    return true;
}

/* ---------------------------------------------------------------- control */

static struct usb_setup setup_of(const struct xhci_slot *slot)
{
    const uint8_t *bytes = slot->setup;
    return (struct usb_setup){
        .request_type = bytes[0],
        .request = bytes[1],
        .value = (uint16_t)load_le(bytes + 2, 2),
        .index = (uint16_t)load_le(bytes + 4, 2),
        .length = (uint16_t)load_le(bytes + 6, 2),
    };
}

static void execute(const struct transfer *t)
{
    struct xhci_slot *slot = t->slot;
    struct usb_setup setup = setup_of(slot);
    int rc = t->dev->ops->control(t->dev, &setup, slot->data, t->endpoint->len);
    slot->executed = true;
    slot->stalled |= rc < 0;
    t->endpoint->done = 0;
    t->endpoint->len = rc < 0 ? 0 : (uint32_t)MIN(rc, (int)MIN(setup.length, USB_CONTROL_MAX));
}

static void setup_stage(const struct transfer *t, const struct trb *trb)
{
    struct xhci_slot *slot = t->slot;
    if (!(trb->control & TRB_IMMEDIATE) || (trb->status & TRB_LENGTH) != sizeof(slot->setup)) {
        halt(t, trb, CC_TRB_ERROR, ENDPOINT_ERROR);
        return;
    }
    store_le(slot->setup, trb->param, 8);
    slot->in_control = true;
    slot->executed = slot->stalled = false;
    t->endpoint->len = t->endpoint->done = t->endpoint->edtla = 0;
    struct usb_setup setup = setup_of(slot);
    if (setup.request_type & USB_TO_HOST && setup.length)
        execute(t);
    tell(t, trb);
}

static void from_host(const struct transfer *t, const struct trb *trb)
{
    struct xhci_endpoint *endpoint = t->endpoint;
    uint32_t len = trb->status & TRB_LENGTH;
    uint8_t immediate[8], *to = t->slot->data + endpoint->len;
    bool fits = len <= USB_CONTROL_MAX - endpoint->len;
    t->slot->stalled |= !fits;
    if (trb->control & TRB_IMMEDIATE && fits && len <= sizeof(immediate)) {
        store_le(immediate, trb->param, 8);
        memcpy(to, immediate, len);
    } else if (fits && guest_mem_read(t->xhci->mem, trb->param, to, len) < 0) {
        halt(t, trb, CC_DATA_BUFFER, ENDPOINT_HALTED);
        return;
    }
    endpoint->len += fits ? len : 0;
    endpoint->edtla += len;
    tell(t, trb);
}

static void data_stage(const struct transfer *t, const struct trb *trb)
{
    bool in = t->slot->setup[0] & USB_TO_HOST;
    if (!t->slot->in_control || (in && !t->slot->executed) ||
        (trb_type(trb) == TRB_DATA && in != ((trb->control & DATA_TO_HOST) != 0)))
        halt(t, trb, CC_TRB_ERROR, ENDPOINT_ERROR);
    else if (t->slot->stalled)
        halt(t, trb, CC_STALL, ENDPOINT_HALTED);
    else if (in)
        to_host(t, trb, t->slot->data);
    else
        from_host(t, trb);
}

static void status_stage(const struct transfer *t, const struct trb *trb)
{
    if (!t->slot->in_control) {
        halt(t, trb, CC_TRB_ERROR, ENDPOINT_ERROR);
        return;
    }
    if (!t->slot->executed && !t->slot->stalled)
        execute(t);
    t->slot->in_control = false;
    t->xhci->transfers++;
    if (t->slot->stalled)
        halt(t, trb, CC_STALL, ENDPOINT_HALTED);
    else
        tell(t, trb);
}

static void control_block(const struct transfer *t, const struct trb *trb)
{
    switch (trb_type(trb)) {
    case TRB_SETUP:
        setup_stage(t, trb);
        break;
    case TRB_DATA:
    case TRB_NORMAL:
        data_stage(t, trb);
        break;
    case TRB_STATUS:
        status_stage(t, trb);
        break;
    case TRB_EVENT_DATA:
        event_data(t, trb);
        break;
    case TRB_NOOP:
        tell(t, trb);
        break;
    default:
        halt(t, trb, CC_TRB_ERROR, ENDPOINT_ERROR);
        break;
    }
}

/* ---------------------------------------------------------------- interrupt */

static void interrupt_block(const struct transfer *t, const struct trb *trb)
{
    struct xhci_endpoint *endpoint = t->endpoint;
    unsigned type = trb_type(trb);
    if (type == TRB_EVENT_DATA)
        event_data(t, trb);
    else if (type == TRB_NOOP)
        tell(t, trb);
    else if (type != TRB_NORMAL) {
        halt(t, trb, CC_TRB_ERROR, ENDPOINT_ERROR);
        return;
    } else if (!to_host(t, trb, t->slot->report)) {
        return;
    }
    if (trb->control & TRB_CHAIN || !endpoint->in_transfer)
        return;
    endpoint->in_transfer = false;
    t->xhci->transfers++;
    if (endpoint->done < endpoint->len)
        halt(t, trb, CC_BABBLE, ENDPOINT_HALTED);
}

/* A transfer begins when both have something: the guest a block, the device a report. */
static bool begin_interrupt(const struct transfer *t, const struct trb *trb)
{
    struct xhci_endpoint *endpoint = t->endpoint;
    unsigned type = trb_type(trb);
    if (endpoint->in_transfer || type != TRB_NORMAL)
        return true;
    int rc = endpoint->type == TYPE_INTERRUPT_IN && t->index & 1
                 ? t->dev->ops->interrupt(t->dev, t->index / 2, t->slot->report)
                 : -1;
    if (rc == 0)
        return false;
    endpoint->len = rc < 0 ? 0 : (uint32_t)MIN(rc, USB_REPORT_MAX);
    endpoint->done = 0;
    endpoint->in_transfer = rc > 0;
    if (rc < 0)
        halt(t, trb, CC_STALL, ENDPOINT_HALTED);
    return rc > 0;
}

bool xhci_transfer_step(struct xhci *xhci, unsigned number, unsigned index)
{
    struct xhci_slot *slot = &xhci->s.slots[number];
    struct transfer t = {
        .xhci = xhci,
        .number = number,
        .index = index,
        .slot = slot,
        .endpoint = &slot->endpoints[index],
        .dev = xhci->devices[slot->port],
    };
    struct xhci_ring ring = t.endpoint->ring;
    struct trb trb = {.at = ring.dequeue};
    if (!t.dev || (t.endpoint->state != ENDPOINT_RUNNING && t.endpoint->state != ENDPOINT_STOPPED))
        return false;
    if (t.endpoint->state == ENDPOINT_STOPPED) {
        t.endpoint->state = ENDPOINT_RUNNING;
        xhci_endpoint_write(xhci, slot, index);
    }
    int rc = xhci_fetch(xhci, &ring, &trb);
    if (rc < 0)
        halt(&t, &trb, CC_TRB_ERROR, ENDPOINT_ERROR);
    if (rc <= 0)
        return false;
    if (index != CONTROL_ENDPOINT && !begin_interrupt(&t, &trb))
        return false;
    t.endpoint->ring = ring;
    if (index == CONTROL_ENDPOINT)
        control_block(&t, &trb);
    else
        interrupt_block(&t, &trb);
    return true;
}
