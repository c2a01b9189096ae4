/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands of the xHCI controller (xHCI 4.6): slots, addresses, endpoints. On the loop, under the
 * lock, from xhci.c. Contexts (6.2) are of 32 bytes. */
#include <string.h>

#include "base/util.h"
#include "vmm/usb/xhci_internal.h"

#define WORDS (XHCI_CONTEXT / 4)
#define DROP_FLAGS 0 /* words of the input control context (6.2.5.1) */
#define ADD_FLAGS 1
#define COMMAND_BSR BIT(9)         /* address device: do not send the address */
#define COMMAND_DECONFIGURE BIT(9) /* configure endpoint */
#define CONTROL_ENDPOINT 1

static bool read_context(struct xhci *xhci, uint64_t base, unsigned index, uint32_t words[WORDS])
{
    uint8_t bytes[XHCI_CONTEXT];
    if (guest_mem_read(xhci->mem, base + (uint64_t)index * XHCI_CONTEXT, bytes, sizeof(bytes)) < 0)
        return false;
    for (unsigned i = 0; i < WORDS; i++)
        words[i] = (uint32_t)load_le(bytes + i * 4, 4);
    return true;
}

static bool write_context(struct xhci *xhci, uint64_t base, unsigned index,
                          const uint32_t words[WORDS])
{
    uint8_t bytes[XHCI_CONTEXT];
    for (unsigned i = 0; i < WORDS; i++)
        store_le(bytes + i * 4, words[i], 4);
    return guest_mem_write(xhci->mem, base + (uint64_t)index * XHCI_CONTEXT, bytes,
                           sizeof(bytes)) == 0;
}

void xhci_slot_clear(struct xhci_slot *slot)
{
    memset(slot, 0, sizeof(*slot));
}

static void forget_endpoint(struct xhci_slot *slot, unsigned index)
{
    slot->endpoints[index] = (struct xhci_endpoint){.state = ENDPOINT_DISABLED};
    slot->doorbells &= ~(1u << index);
}

static void disable_endpoint(struct xhci *xhci, struct xhci_slot *slot, unsigned index)
{
    if (slot->endpoints[index].state == ENDPOINT_DISABLED)
        return;
    slot->endpoints[index].state = ENDPOINT_DISABLED;
    xhci_endpoint_write(xhci, slot, index);
    forget_endpoint(slot, index);
}

static unsigned enable_endpoint(struct xhci *xhci, struct xhci_slot *slot, unsigned index,
                                uint64_t input)
{
    uint32_t words[WORDS];
    if (!read_context(xhci, input, index + 1, words))
        return CC_TRB_ERROR;
    if (words[0] >> 10 & 31) /* streams are not offered */
        return CC_PARAMETER;
    forget_endpoint(slot, index);
    slot->endpoints[index] = (struct xhci_endpoint){
        .state = ENDPOINT_RUNNING,
        .type = words[1] >> 3 & 7,
        .ring = {.dequeue = (words[2] & ~15u) | (uint64_t)words[3] << 32, .cycle = words[2] & 1},
    };
    words[0] = (words[0] & ~7u) | ENDPOINT_RUNNING;
    return write_context(xhci, slot->context, index, words) ? CC_SUCCESS : CC_TRB_ERROR;
}

/* The slot context's state and address; both are only ours to write. */
static unsigned write_slot(struct xhci *xhci, struct xhci_slot *slot, uint32_t words[WORDS],
                           enum slot_state state, unsigned address)
{
    slot->state = state;
    words[3] = (uint32_t)state << 27 | address;
    return write_context(xhci, slot->context, 0, words) ? CC_SUCCESS : CC_TRB_ERROR;
}

/* ---------------------------------------------------------------- commands */

static unsigned noop(struct xhci *xhci, const struct trb *trb, unsigned *number)
{
    return CC_SUCCESS;
}

static unsigned enable_slot(struct xhci *xhci, const struct trb *trb, unsigned *number)
{
    unsigned limit = MIN(xhci->s.config & 0xff, XHCI_SLOTS);
    for (unsigned i = 1; i <= limit; i++) {
        if (xhci->s.slots[i].enabled)
            continue;
        xhci_slot_clear(&xhci->s.slots[i]);
        xhci->s.slots[i].enabled = true;
        *number = i;
        return CC_SUCCESS;
    }
    return CC_NO_SLOTS;
}

static unsigned disable_slot(struct xhci *xhci, const struct trb *trb, unsigned *number)
{
    xhci_slot_clear(&xhci->s.slots[*number]);
    return CC_SUCCESS;
}

static bool port_is_taken(const struct xhci *xhci, unsigned port, const struct xhci_slot *but)
{
    for (unsigned i = 1; i <= XHCI_SLOTS; i++) {
        const struct xhci_slot *slot = &xhci->s.slots[i];
        if (slot != but && slot->enabled && slot->port == port)
            return true;
    }
    return false;
}

static unsigned address_device(struct xhci *xhci, const struct trb *trb, unsigned *number)
{
    struct xhci_slot *slot = &xhci->s.slots[*number];
    uint64_t input = trb->param & ~UINT64_C(15);
    uint32_t control[WORDS], words[WORDS];
    uint8_t pointer[8];
    if (!read_context(xhci, input, 0, control) || !read_context(xhci, input, 1, words) ||
        guest_mem_read(xhci->mem, xhci->s.dcbaap + *number * 8u, pointer, 8) < 0)
        return CC_TRB_ERROR;
    if (control[DROP_FLAGS] || control[ADD_FLAGS] != 3)
        return CC_PARAMETER;
    unsigned port = words[1] >> 16 & 0xff;
    if (words[0] & 0xfffff || port == 0 || port > XHCI_PORTS || !xhci->devices[port] ||
        port_is_taken(xhci, port, slot))
        return CC_PARAMETER;
    slot->context = load_le(pointer, 8) & ~UINT64_C(63);
    slot->port = port;
    unsigned code = enable_endpoint(xhci, slot, CONTROL_ENDPOINT, input);
    if (code != CC_SUCCESS)
        return code;
    bool addressed = !(trb->control & COMMAND_BSR);
    return write_slot(xhci, slot, words, addressed ? SLOT_ADDRESSED : SLOT_DEFAULT,
                      addressed ? *number : 0);
}

static unsigned deconfigure(struct xhci *xhci, struct xhci_slot *slot, unsigned number)
{
    uint32_t words[WORDS];
    for (unsigned i = CONTROL_ENDPOINT + 1; i < XHCI_ENDPOINTS; i++)
        disable_endpoint(xhci, slot, i);
    if (!read_context(xhci, slot->context, 0, words))
        return CC_TRB_ERROR;
    words[0] = (words[0] & ~(31u << 27)) | 1u << 27;
    return write_slot(xhci, slot, words, SLOT_ADDRESSED, number);
}

static unsigned configure_endpoint(struct xhci *xhci, const struct trb *trb, unsigned *number)
{
    struct xhci_slot *slot = &xhci->s.slots[*number];
    uint64_t input = trb->param & ~UINT64_C(15);
    uint32_t control[WORDS], given[WORDS], words[WORDS];
    if (slot->state < SLOT_ADDRESSED)
        return CC_CONTEXT_STATE;
    if (trb->control & COMMAND_DECONFIGURE)
        return deconfigure(xhci, slot, *number);
    if (!read_context(xhci, input, 0, control) || !read_context(xhci, input, 1, given) ||
        !read_context(xhci, slot->context, 0, words))
        return CC_TRB_ERROR;
    if (control[DROP_FLAGS] & 3 || (control[ADD_FLAGS] & 3) != 1)
        return CC_PARAMETER;
    for (unsigned i = CONTROL_ENDPOINT + 1; i < XHCI_ENDPOINTS; i++) {
        unsigned code = CC_SUCCESS;
        if (control[DROP_FLAGS] >> i & 1)
            disable_endpoint(xhci, slot, i);
        if (control[ADD_FLAGS] >> i & 1)
            code = enable_endpoint(xhci, slot, i, input);
        if (code != CC_SUCCESS)
            return code;
    }
    words[0] = (words[0] & ~(31u << 27)) | (given[0] & 31u << 27);
    return write_slot(xhci, slot, words, SLOT_CONFIGURED, *number);
}

/* What is given of a context takes the place of bits that are set in mask. */
static unsigned change_context(struct xhci *xhci, const struct xhci_slot *slot, uint64_t input,
                               unsigned index, const uint32_t mask[3])
{
    uint32_t given[WORDS], words[WORDS];
    if (!read_context(xhci, input, index + 1, given) ||
        !read_context(xhci, slot->context, index, words))
        return CC_TRB_ERROR;
    for (unsigned i = 0; i < 3; i++)
        words[i] = (words[i] & ~mask[i]) | (given[i] & mask[i]);
    return write_context(xhci, slot->context, index, words) ? CC_SUCCESS : CC_TRB_ERROR;
}

static unsigned evaluate_context(struct xhci *xhci, const struct trb *trb, unsigned *number)
{
    static const uint32_t of_slot[3] = {0, 0xffff, 0xffc00000}, of_control[3] = {0, 0xffff0000, 0};
    const struct xhci_slot *slot = &xhci->s.slots[*number];
    uint64_t input = trb->param & ~UINT64_C(15);
    uint32_t control[WORDS];
    unsigned code = CC_SUCCESS;
    if (slot->state < SLOT_DEFAULT)
        return CC_CONTEXT_STATE;
    if (!read_context(xhci, input, 0, control))
        return CC_TRB_ERROR;
    if (control[DROP_FLAGS] || control[ADD_FLAGS] & ~3u)
        return CC_PARAMETER;
    if (control[ADD_FLAGS] & 1)
        code = change_context(xhci, slot, input, 0, of_slot);
    if (code == CC_SUCCESS && control[ADD_FLAGS] & 2)
        code = change_context(xhci, slot, input, CONTROL_ENDPOINT, of_control);
    return code;
}

/* Endpoint commands: its index is in the block. */
static struct xhci_endpoint *endpoint_of(struct xhci *xhci, const struct trb *trb, unsigned number)
{
    struct xhci_slot *slot = &xhci->s.slots[number];
    struct xhci_endpoint *endpoint = &slot->endpoints[trb->control >> 16 & 31];
    return endpoint->state == ENDPOINT_DISABLED ? NULL : endpoint;
}

static unsigned settle(struct xhci *xhci, const struct trb *trb, unsigned number,
                       struct xhci_endpoint *endpoint)
{
    struct xhci_slot *slot = &xhci->s.slots[number];
    unsigned index = trb->control >> 16 & 31;
    endpoint->in_transfer = false;
    slot->doorbells &= ~(1u << index);
    xhci_endpoint_write(xhci, slot, index);
    return CC_SUCCESS;
}

static unsigned reset_endpoint(struct xhci *xhci, const struct trb *trb, unsigned *number)
{
    struct xhci_endpoint *endpoint = endpoint_of(xhci, trb, *number);
    if (!endpoint)
        return CC_ENDPOINT_NOT_ENABLED;
    if (endpoint->state != ENDPOINT_HALTED)
        return CC_CONTEXT_STATE;
    endpoint->state = ENDPOINT_STOPPED;
    return settle(xhci, trb, *number, endpoint);
}

static unsigned stop_endpoint(struct xhci *xhci, const struct trb *trb, unsigned *number)
{
    struct xhci_endpoint *endpoint = endpoint_of(xhci, trb, *number);
    if (!endpoint)
        return CC_ENDPOINT_NOT_ENABLED;
    if (endpoint->state != ENDPOINT_RUNNING)
        return CC_CONTEXT_STATE;
    endpoint->state = ENDPOINT_STOPPED;
    return settle(xhci, trb, *number, endpoint);
}

static unsigned set_dequeue(struct xhci *xhci, const struct trb *trb, unsigned *number)
{
    struct xhci_endpoint *endpoint = endpoint_of(xhci, trb, *number);
    if (!endpoint)
        return CC_ENDPOINT_NOT_ENABLED;
    if (endpoint->state != ENDPOINT_STOPPED && endpoint->state != ENDPOINT_ERROR)
        return CC_CONTEXT_STATE;
    if (trb->status >> 16) /* streams are not offered */
        return CC_TRB_ERROR;
    endpoint->ring = (struct xhci_ring){trb->param & ~UINT64_C(15), trb->param & 1};
    endpoint->state = ENDPOINT_STOPPED;
    return settle(xhci, trb, *number, endpoint);
}

static unsigned reset_device(struct xhci *xhci, const struct trb *trb, unsigned *number)
{
    struct xhci_slot *slot = &xhci->s.slots[*number];
    uint32_t words[WORDS];
    if (slot->state < SLOT_ADDRESSED)
        return CC_CONTEXT_STATE;
    for (unsigned i = CONTROL_ENDPOINT + 1; i < XHCI_ENDPOINTS; i++)
        disable_endpoint(xhci, slot, i);
    if (!read_context(xhci, slot->context, 0, words))
        return CC_TRB_ERROR;
    struct usb_device *dev = xhci->devices[slot->port];
    dev->ops->reset(dev);
    words[0] = (words[0] & ~(31u << 27)) | 1u << 27;
    return write_slot(xhci, slot, words, SLOT_DEFAULT, 0);
}

static const struct {
    uint8_t type;
    bool of_slot; /* which must be enabled */
    unsigned (*run)(struct xhci *xhci, const struct trb *trb, unsigned *number);
} commands[] = {
    {TRB_NOOP_COMMAND, false, noop},
    {TRB_ENABLE_SLOT, false, enable_slot},
    {TRB_DISABLE_SLOT, true, disable_slot},
    {TRB_ADDRESS_DEVICE, true, address_device},
    {TRB_CONFIGURE_ENDPOINT, true, configure_endpoint},
    {TRB_EVALUATE_CONTEXT, true, evaluate_context},
    {TRB_RESET_ENDPOINT, true, reset_endpoint},
    {TRB_STOP_ENDPOINT, true, stop_endpoint},
    {TRB_SET_DEQUEUE, true, set_dequeue},
    {TRB_RESET_DEVICE, true, reset_device},
};

static unsigned run(struct xhci *xhci, const struct trb *trb, unsigned *number)
{
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        if (commands[i].type != trb_type(trb))
            continue;
        if (!commands[i].of_slot)
            return commands[i].run(xhci, trb, number);
        *number = trb->control >> 24;
        if (*number == 0 || *number > XHCI_SLOTS || !xhci->s.slots[*number].enabled)
            return CC_SLOT_NOT_ENABLED;
        return commands[i].run(xhci, trb, number);
    }
    return CC_TRB_ERROR;
}

static void complete(struct xhci *xhci, uint64_t at, unsigned code, unsigned number)
{
    xhci_event(xhci, at, code << 24, TRB_COMMAND_COMPLETION << 10 | number << 24);
}

bool xhci_command_step(struct xhci *xhci)
{
    struct xhci_state *s = &xhci->s;
    struct trb trb;
    unsigned number = 0;
    if (s->command_stop) {
        s->command_stop = s->command_running = s->command_doorbell = false;
        complete(xhci, s->command_ring.dequeue, CC_RING_STOPPED, 0);
        return true;
    }
    if (!s->command_running || !s->command_doorbell)
        return false;
    int rc = xhci_fetch(xhci, &s->command_ring, &trb);
    if (rc < 0)
        xhci_die(xhci, "its command ring is not in memory, or an endless chain of links");
    if (rc <= 0) {
        s->command_doorbell = false;
        return false;
    }
    unsigned code = run(xhci, &trb, &number);
    xhci->commands++;
    xhci->failures += code != CC_SUCCESS;
    complete(xhci, trb.at, code, number);
    return true;
}
