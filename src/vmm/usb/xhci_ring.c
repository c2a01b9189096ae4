/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rings of the xHCI controller (xHCI 4.9): blocks that the guest gives, and the event ring. On the
 * loop, under the lock. */
#include <errno.h>
#include <stdatomic.h>

#include "base/util.h"
#include "vmm/usb/xhci_internal.h"

#define LINKS_MAX 8     /* behind each other; a ring of nothing else is none */
#define EVENTS_A_STEP 2 /* at most */
#define SEGMENT_MIN 16  /* blocks (6.5) */
#define SEGMENT_MAX 4096

static int read_trb(struct xhci *xhci, uint64_t at, struct trb *trb)
{
    uint8_t bytes[TRB_SIZE];
    /* The cycle bit first: what it says is there has to be read behind it. */
    const uint32_t *control = at & 15 ? NULL : guest_mem_range(xhci->mem, at, TRB_SIZE);
    if (!control)
        return -EFAULT;
    trb->control = __atomic_load_n(control + 3, __ATOMIC_ACQUIRE);
    int rc = guest_mem_read(xhci->mem, at, bytes, sizeof(bytes));
    trb->param = load_le(bytes, 8);
    trb->status = (uint32_t)load_le(bytes + 8, 4);
    trb->at = at;
    return rc;
}

int xhci_fetch(struct xhci *xhci, struct xhci_ring *ring, struct trb *trb)
{
    for (unsigned links = 0; links < LINKS_MAX; links++) {
        int rc = read_trb(xhci, ring->dequeue, trb);
        if (rc < 0)
            return rc;
        if ((trb->control & TRB_CYCLE) != ring->cycle)
            return 0;
        if (trb_type(trb) != TRB_LINK) {
            ring->dequeue += TRB_SIZE;
            return 1;
        }
        ring->dequeue = trb->param & ~UINT64_C(15);
        if (trb->control & TRB_TOGGLE)
            ring->cycle ^= 1;
    }
    return -ELOOP;
}

/* ---------------------------------------------------------------- events */

/* The table has one segment: HCSPARAMS2 says so. */
static bool find_segment(struct xhci *xhci)
{
    struct xhci_state *s = &xhci->s;
    uint8_t entry[16];
    if (s->events_size)
        return true;
    if (s->erst_size != 1 || guest_mem_read(xhci->mem, s->erst, entry, sizeof(entry)) < 0) {
        xhci_die(xhci, "its event ring's table has no entry, several, or is not in memory");
        return false;
    }
    uint64_t base = load_le(entry, 8) & ~UINT64_C(63);
    uint32_t size = (uint32_t)load_le(entry + 8, 2);
    if (size < SEGMENT_MIN || size > SEGMENT_MAX ||
        !guest_mem_range(xhci->mem, base, (uint64_t)size * TRB_SIZE)) {
        xhci_die(xhci, "its event ring is too short, too long, or not in memory");
        return false;
    }
    s->events = base;
    s->events_size = size;
    s->event_index = 0;
    s->event_cycle = 1;
    return true;
}

static uint32_t dequeue_index(const struct xhci_state *s)
{
    return (uint32_t)(((s->erdp & ~UINT64_C(15)) - s->events) / TRB_SIZE);
}

static bool dequeue_is_inside(const struct xhci_state *s)
{
    return (s->erdp & ~UINT64_C(15)) - s->events < (uint64_t)s->events_size * TRB_SIZE;
}

bool xhci_events_have_room(struct xhci *xhci)
{
    const struct xhci_state *s = &xhci->s;
    if (!find_segment(xhci))
        return false;
    if (!dequeue_is_inside(s)) {
        xhci_die(xhci, "its event ring's dequeue pointer is not in the ring");
        return false;
    }
    uint32_t room = (dequeue_index(s) + s->events_size - s->event_index - 1) % s->events_size;
    return room >= EVENTS_A_STEP;
}

bool xhci_events_wait(const struct xhci *xhci)
{
    const struct xhci_state *s = &xhci->s;
    return s->events_size && dequeue_is_inside(s) && dequeue_index(s) != s->event_index;
}

void xhci_event(struct xhci *xhci, uint64_t param, uint32_t status, uint32_t control)
{
    struct xhci_state *s = &xhci->s;
    uint64_t at = s->events + (uint64_t)s->event_index * TRB_SIZE;
    uint8_t *block = guest_mem_range(xhci->mem, at, TRB_SIZE);
    if (!block)
        return;
    store_le(block, param, 8);
    store_le(block + 8, status, 4);
    __atomic_store_n((uint32_t *)(void *)(block + 12), control | s->event_cycle, __ATOMIC_RELEASE);
    guest_mem_mark_dirty(xhci->mem, at, TRB_SIZE);
    if (++s->event_index == s->events_size) {
        s->event_index = 0;
        s->event_cycle ^= 1;
    }
    bool busy = s->erdp & ERDP_BUSY;
    s->erdp |= ERDP_BUSY;
    s->iman |= (uint32_t)IMAN_PENDING;
    s->status |= (uint32_t)STS_EVENT;
    if (!busy)
        xhci_update_irq(xhci);
}
