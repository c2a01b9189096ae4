/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of the xHCI controller: xhci.c is the function, its registers and its
 * life; xhci_ring.c reads rings and writes events; xhci_command.c carries out
 * the command ring; xhci_transfer.c the endpoints.
 *
 * Registers are written on vCPU threads and only note what is to be done; guest
 * memory is read and written on the loop alone, a few blocks at a time, so that
 * rings without an end hold up nobody. All of it under the lock.
 */
#ifndef KV_VMM_USB_XHCI_INTERNAL_H
#define KV_VMM_USB_XHCI_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/loop.h"
#include "vmm/usb/xhci.h"

#define XHCI_SLOTS 8
#define XHCI_ENDPOINTS 32 /* by their device context index, 1 to 31 */
#define XHCI_CONTEXT 32   /* bytes */

/* Transfer request blocks (6.4). */
enum trb_type {
    TRB_NORMAL = 1,
    TRB_SETUP = 2,
    TRB_DATA = 3,
    TRB_STATUS = 4,
    TRB_LINK = 6,
    TRB_EVENT_DATA = 7,
    TRB_NOOP = 8,
    TRB_ENABLE_SLOT = 9,
    TRB_DISABLE_SLOT = 10,
    TRB_ADDRESS_DEVICE = 11,
    TRB_CONFIGURE_ENDPOINT = 12,
    TRB_EVALUATE_CONTEXT = 13,
    TRB_RESET_ENDPOINT = 14,
    TRB_STOP_ENDPOINT = 15,
    TRB_SET_DEQUEUE = 16,
    TRB_RESET_DEVICE = 17,
    TRB_NOOP_COMMAND = 23,
    TRB_TRANSFER_EVENT = 32,
    TRB_COMMAND_COMPLETION = 33,
    TRB_PORT_STATUS_CHANGE = 34,
};
#define TRB_SIZE 16
#define TRB_CYCLE BIT(0)
#define TRB_TOGGLE BIT(1)       /* link */
#define TRB_EVENT_DATA_F BIT(2) /* in events: the parameter is what the guest gave */
#define TRB_ISP BIT(2)          /* event on a short packet */
#define TRB_CHAIN BIT(4)
#define TRB_IOC BIT(5)
#define TRB_IMMEDIATE BIT(6)
#define TRB_LENGTH 0x1ffff

/* Completion codes (6.4.5). */
enum xhci_code {
    CC_SUCCESS = 1,
    CC_DATA_BUFFER = 2,
    CC_BABBLE = 3,
    CC_TRB_ERROR = 5,
    CC_STALL = 6,
    CC_NO_SLOTS = 9,
    CC_SLOT_NOT_ENABLED = 11,
    CC_ENDPOINT_NOT_ENABLED = 12,
    CC_SHORT_PACKET = 13,
    CC_PARAMETER = 17,
    CC_CONTEXT_STATE = 19,
    CC_RING_STOPPED = 24,
};

struct trb {
    uint64_t param, at;
    uint32_t status, control;
};

static inline unsigned trb_type(const struct trb *trb)
{
    return trb->control >> 10 & 63;
}

struct xhci_ring {
    uint64_t dequeue;
    uint32_t cycle;
};

enum endpoint_state {
    ENDPOINT_DISABLED,
    ENDPOINT_RUNNING,
    ENDPOINT_HALTED,
    ENDPOINT_STOPPED,
    ENDPOINT_ERROR,
};

struct xhci_endpoint {
    struct xhci_ring ring;
    uint32_t state, type; /* as in the context (6.2.3) */
    uint32_t edtla;       /* bytes since the last event data block */
    uint32_t len, done;   /* of what the device has for the host */
    uint32_t in_transfer; /* an interrupt transfer's blocks are under way */
};

enum slot_state { SLOT_ENABLED = 0, SLOT_DEFAULT = 1, SLOT_ADDRESSED = 2, SLOT_CONFIGURED = 3 };

struct xhci_slot {
    uint32_t enabled, state, port; /* port 0: no device yet */
    uint32_t doorbells;            /* endpoints that may have work */
    uint64_t context;              /* guest address of the device context */
    struct xhci_endpoint endpoints[XHCI_ENDPOINTS];
    /* Of the control endpoint: */
    uint32_t in_control, executed, stalled;
    uint8_t setup[8], data[USB_CONTROL_MAX];
    uint8_t report[USB_REPORT_MAX]; /* of the interrupt transfer under way */
};

/* What the guest can notice; plain, for saving. */
struct xhci_state {
    uint32_t command, status, notification, config;
    uint64_t dcbaap, command_pointer;
    struct xhci_ring command_ring;
    uint32_t command_running, command_stop, command_doorbell;
    uint32_t iman, imod, erst_size;
    uint64_t erst, erdp;
    /* The event ring's only segment, once it was looked up. */
    uint64_t events;
    uint32_t events_size, event_index, event_cycle;
    uint32_t ports[XHCI_PORTS];             /* PORTSC */
    uint32_t port_events;                   /* bit n: port n + 1 has news */
    struct xhci_slot slots[XHCI_SLOTS + 1]; /* by number; 0 is not used */
};

struct xhci {
    struct pci_device pci;
    struct guest_mem *mem;
    struct loop *loop;
    struct loop_work work;
    struct loop_timer timer; /* armed: there is more to do than fits into one go */
    pthread_mutex_t lock;
    bool paused;
    atomic_uint woken;                          /* ports whose device has news */
    struct usb_device *devices[XHCI_PORTS + 1]; /* by number */
    struct xhci_state s;
    uint64_t commands, transfers, failures;
};

/* USBCMD, USBSTS, IMAN, ERDP. */
#define CMD_RUN BIT(0)
#define CMD_RESET BIT(1)
#define CMD_INTERRUPTS BIT(2)
#define CMD_SAVE BIT(8)
#define CMD_RESTORE BIT(9)
#define STS_HALTED BIT(0)
#define STS_EVENT BIT(3)
#define STS_PORT BIT(4)
#define STS_RESTORE_ERROR BIT(10)
#define STS_ERROR BIT(12)
#define IMAN_PENDING BIT(0)
#define IMAN_ENABLE BIT(1)
#define ERDP_BUSY BIT(3)

/* xhci.c */
/* The guest gave something that no controller can work with: stopped until it resets. */
void xhci_die(struct xhci *xhci, const char *why);
/* NULL: the device is another one. */
struct xhci *xhci_of(struct device *device);
/* With its device, if there is one, as after power-on; index: its number less one. */
void xhci_power_on_port(struct xhci *xhci, unsigned index);
void xhci_wake(void *opaque, unsigned port);
/* Events came (news), or what interrupts depend on changed. */
void xhci_update_irq(struct xhci *xhci);

/* xhci_ring.c */
/* The next block, with links followed. 1, 0: there is none, -errno: the ring is no ring. */
int xhci_fetch(struct xhci *xhci, struct xhci_ring *ring, struct trb *trb);
/* Whether there is room for what one step may tell; false as well after xhci_die(). */
bool xhci_events_have_room(struct xhci *xhci);
void xhci_event(struct xhci *xhci, uint64_t param, uint32_t status, uint32_t control);
bool xhci_events_wait(const struct xhci *xhci);

/* xhci_command.c. True: something was done. */
bool xhci_command_step(struct xhci *xhci);
/* Slot and endpoints are forgotten. */
void xhci_slot_clear(struct xhci_slot *slot);

/* xhci_transfer.c */
bool xhci_transfer_step(struct xhci *xhci, unsigned slot, unsigned endpoint);
/* Context in guest memory as endpoint has it (state and dequeue pointer). */
void xhci_endpoint_write(struct xhci *xhci, const struct xhci_slot *slot, unsigned endpoint);
void xhci_endpoint_ring(struct xhci *xhci, unsigned slot, unsigned endpoint);

#endif
