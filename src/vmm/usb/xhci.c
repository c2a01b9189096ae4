/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xHCI (eXtensible Host Controller Interface 1.0): the PCI function, its
 * registers (chapter 5), what its loop does, and its life as a device. One
 * interrupter, no streams, no scratchpad; devices are at full speed. Made by
 * xhci_class.c.
 */
#include "vmm/usb/xhci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "vmm/hex_state.h"
#include "vmm/usb/xhci_internal.h"

#define BAR 0
#define BAR_SIZE 0x4000
#define OPERATIONAL 0x40
#define PORTS_AT 0x440
#define PORTS_END (PORTS_AT + XHCI_PORTS * 16)
#define RUNTIME 0x1000
#define DOORBELLS 0x2000
#define MSIX_TABLE 0x3000
#define MSIX_PBA 0x3800
#define PROTOCOLS_AT 0x20
#define STEPS_MAX 64 /* at a time */
#define MICROFRAME_NS 125000

/* PORTSC (5.4.8). */
#define PORT_CONNECTED BIT(0)
#define PORT_ENABLED BIT(1)
#define PORT_RESET BIT(4)
#define PORT_LINK_SHIFT 5
#define PORT_LINK (15u << PORT_LINK_SHIFT)
#define PORT_POWER BIT(9)
#define PORT_FULL_SPEED BIT(10)
#define PORT_LINK_WRITE BIT(16)
#define PORT_CONNECT_CHANGE BIT(17)
#define PORT_RESET_CHANGE BIT(21)
#define PORT_LINK_CHANGE BIT(22)
#define PORT_CHANGES (127u << 17)
#define PORT_STORED (7u << 25 | 3u << 14) /* wake on ..., indicators */
enum { LINK_U0 = 0, LINK_U3 = 3, LINK_RX_DETECT = 5, LINK_POLLING = 7, LINK_RESUME = 15 };

static struct xhci *of_device(struct device *device)
{
    return container_of(container_of(device, struct pci_device, device), struct xhci, pci);
}

void xhci_update_irq(struct xhci *xhci)
{
    struct xhci_state *s = &xhci->s;
    bool wanted = s->iman & IMAN_PENDING && s->iman & IMAN_ENABLE && s->command & CMD_INTERRUPTS;
    bool msix = __atomic_load_n(&xhci->pci.msix.enabled, __ATOMIC_RELAXED);
    pci_intx_set(&xhci->pci, wanted && !msix);
    if (!wanted || !msix)
        return;
    s->iman &= ~(uint32_t)IMAN_PENDING;
    pci_msix_notify(&xhci->pci, 0);
}

void xhci_die(struct xhci *xhci, const char *why)
{
    struct xhci_state *s = &xhci->s;
    if (s->status & STS_ERROR)
        return;
    log_guest("xhci: %s; the controller needs a reset", why);
    s->command &= ~(uint32_t)CMD_RUN;
    s->status |= (uint32_t)(STS_ERROR | STS_HALTED);
    s->command_running = false;
}

/* ---------------------------------------------------------------- ports */

static void port_changed(struct xhci *xhci, unsigned index, uint32_t change)
{
    xhci->s.ports[index] |= change;
    xhci->s.port_events |= 1u << index;
    xhci->s.status |= (uint32_t)STS_PORT;
}

static void set_link(struct xhci *xhci, unsigned index, unsigned link)
{
    uint32_t *port = &xhci->s.ports[index];
    *port = (*port & ~PORT_LINK) | link << PORT_LINK_SHIFT;
}

void xhci_power_on_port(struct xhci *xhci, unsigned index)
{
    struct usb_device *dev = xhci->devices[index + 1];
    xhci->s.ports[index] = (uint32_t)PORT_POWER;
    set_link(xhci, index, dev ? LINK_POLLING : LINK_RX_DETECT);
    if (!dev)
        return;
    dev->ops->reset(dev);
    xhci->s.ports[index] |= (uint32_t)(PORT_CONNECTED | PORT_FULL_SPEED);
    port_changed(xhci, index, (uint32_t)PORT_CONNECT_CHANGE);
}

static void reset_port(struct xhci *xhci, unsigned index)
{
    struct usb_device *dev = xhci->devices[index + 1];
    if (!dev)
        return;
    dev->ops->reset(dev);
    xhci->s.ports[index] |= (uint32_t)PORT_ENABLED;
    set_link(xhci, index, LINK_U0);
    port_changed(xhci, index, (uint32_t)PORT_RESET_CHANGE);
}

/* Asleep and awake again (4.15). */
static void move_link(struct xhci *xhci, unsigned index, unsigned wanted)
{
    unsigned link = (xhci->s.ports[index] & PORT_LINK) >> PORT_LINK_SHIFT;
    if (!(xhci->s.ports[index] & PORT_ENABLED))
        return;
    if (wanted == LINK_U3 && link == LINK_U0) {
        set_link(xhci, index, LINK_U3);
    } else if (wanted == LINK_RESUME && link == LINK_U3) {
        set_link(xhci, index, LINK_RESUME);
    } else if (wanted == LINK_U0 && (link == LINK_U3 || link == LINK_RESUME)) {
        set_link(xhci, index, LINK_U0);
        port_changed(xhci, index, (uint32_t)PORT_LINK_CHANGE);
    }
}

static void write_port(struct xhci *xhci, unsigned index, uint32_t value)
{
    uint32_t *port = &xhci->s.ports[index];
    *port &= ~(value & PORT_CHANGES);
    *port = (*port & ~PORT_STORED) | (value & PORT_STORED);
    if (value & PORT_RESET) {
        reset_port(xhci, index);
        return;
    }
    if (value & PORT_ENABLED)
        *port &= ~(uint32_t)PORT_ENABLED;
    if (value & PORT_LINK_WRITE)
        move_link(xhci, index, (value & PORT_LINK) >> PORT_LINK_SHIFT);
}

/* ---------------------------------------------------------------- the loop */

static bool has_work(const struct xhci *xhci)
{
    const struct xhci_state *s = &xhci->s;
    bool work = s->port_events || s->command_stop || (s->command_running && s->command_doorbell);
    for (unsigned i = 1; !work && i <= XHCI_SLOTS; i++)
        work = s->slots[i].doorbells;
    return work && s->command & CMD_RUN;
}

static bool tell_port(struct xhci *xhci)
{
    struct xhci_state *s = &xhci->s;
    if (!s->port_events)
        return false;
    unsigned index = (unsigned)__builtin_ctz(s->port_events);
    s->port_events &= ~(1u << index);
    xhci_event(xhci, (uint64_t)(index + 1) << 24, (unsigned)CC_SUCCESS << 24,
               TRB_PORT_STATUS_CHANGE << 10);
    return true;
}

static void transfer(struct xhci *xhci)
{
    for (unsigned i = 1; i <= XHCI_SLOTS; i++) {
        struct xhci_slot *slot = &xhci->s.slots[i];
        if (!slot->doorbells)
            continue;
        unsigned index = (unsigned)__builtin_ctz(slot->doorbells);
        if (!xhci_transfer_step(xhci, i, index))
            slot->doorbells &= ~(1u << index);
        return;
    }
}

/* Devices that have news: what endpoints they go through is the guest's choice. */
static void ring_woken(struct xhci *xhci)
{
    unsigned woken = atomic_exchange(&xhci->woken, 0);
    for (unsigned i = 1; woken && i <= XHCI_SLOTS; i++) {
        struct xhci_slot *slot = &xhci->s.slots[i];
        for (unsigned k = 2; k < XHCI_ENDPOINTS && woken >> slot->port & 1; k++) {
            if (slot->endpoints[k].state == ENDPOINT_RUNNING)
                xhci_endpoint_ring(xhci, i, k);
        }
    }
}

static void serve(void *opaque)
{
    struct xhci *xhci = opaque;
    unsigned steps = 0;
    pthread_mutex_lock(&xhci->lock);
    if (!xhci->paused)
        ring_woken(xhci);
    while (!xhci->paused && steps < STEPS_MAX && has_work(xhci) && xhci_events_have_room(xhci)) {
        if (!tell_port(xhci) && !xhci_command_step(xhci))
            transfer(xhci);
        steps++;
    }
    if (steps == STEPS_MAX && !xhci->timer.loop)
        loop_timer_arm(xhci->loop, &xhci->timer, 0, serve, xhci);
    pthread_mutex_unlock(&xhci->lock);
}

void xhci_wake(void *opaque, unsigned port)
{
    struct xhci *xhci = opaque;
    atomic_fetch_or(&xhci->woken, 1u << port);
    loop_post(xhci->loop, &xhci->work);
}

/* ---------------------------------------------------------------- registers */

static void reset_controller(struct xhci *xhci)
{
    memset(&xhci->s, 0, sizeof(xhci->s));
    xhci->s.status = (uint32_t)STS_HALTED;
    for (unsigned i = 0; i < XHCI_PORTS; i++)
        xhci_power_on_port(xhci, i);
    xhci_update_irq(xhci);
}

/* Capabilities, and the protocols of ports (5.3, 7.2). */
static const uint32_t capabilities[] = {
    OPERATIONAL | 0x100 << 16,
    XHCI_SLOTS | 1 << 8 | (uint32_t)XHCI_PORTS << 24,
    15, /* isochronous threshold; the event ring has one segment */
    0,
    1 | PROTOCOLS_AT / 4 << 16, /* 64-bit addresses */
    DOORBELLS,
    RUNTIME,
    0,
    0x02000402, /* protocol, the next is 16 bytes on; USB 2.0 */
    0x20425355,
    XHCI_USB2_PORTS << 8 | 1,
    0,
    0x03000002, /* USB 3.0 */
    0x20425355,
    XHCI_USB3_PORTS << 8 | (XHCI_USB2_PORTS + 1),
    0,
};

static uint32_t frame_index(void)
{
    return (uint32_t)(clock_monotonic_ns() / MICROFRAME_NS) & 0x3fff;
}

static uint32_t read_word(const struct xhci *xhci, unsigned offset)
{
    const struct xhci_state *s = &xhci->s;
    if (offset < sizeof(capabilities))
        return capabilities[offset / 4];
    if (offset >= PORTS_AT && offset < PORTS_END)
        return offset % 16 ? 0 : s->ports[(offset - PORTS_AT) / 16];
    switch (offset) {
    case OPERATIONAL + 0x00:
        return s->command;
    case OPERATIONAL + 0x04:
        return s->status;
    case OPERATIONAL + 0x08:
        return 1; /* pages of 4 KiB */
    case OPERATIONAL + 0x14:
        return s->notification;
    case OPERATIONAL + 0x18:
        return s->command_running << 3;
    case OPERATIONAL + 0x30:
        return (uint32_t)s->dcbaap;
    case OPERATIONAL + 0x34:
        return (uint32_t)(s->dcbaap >> 32);
    case OPERATIONAL + 0x38:
        return s->config;
    case RUNTIME:
        return frame_index();
    case RUNTIME + 0x20:
        return s->iman;
    case RUNTIME + 0x24:
        return s->imod;
    case RUNTIME + 0x28:
        return s->erst_size;
    case RUNTIME + 0x30:
        return (uint32_t)s->erst;
    case RUNTIME + 0x34:
        return (uint32_t)(s->erst >> 32);
    case RUNTIME + 0x38:
        return (uint32_t)s->erdp;
    case RUNTIME + 0x3c:
        return (uint32_t)(s->erdp >> 32);
    default:
        return 0;
    }
}

static void set_low(uint64_t *to, uint32_t value)
{
    *to = (*to & ~UINT64_C(0xffffffff)) | value;
}

static void set_high(uint64_t *to, uint32_t value)
{
    *to = (*to & 0xffffffff) | (uint64_t)value << 32;
}

static void write_command(struct xhci *xhci, uint32_t value)
{
    struct xhci_state *s = &xhci->s;
    if (value & CMD_RESET) {
        reset_controller(xhci);
        return;
    }
    if (value & CMD_RESTORE) /* nothing was kept: the guest sets it up anew */
        s->status |= (uint32_t)STS_RESTORE_ERROR;
    if (s->status & STS_ERROR)
        value &= ~(uint32_t)CMD_RUN;
    s->command = value & (uint32_t)(CMD_RUN | CMD_INTERRUPTS | BIT(3) | BIT(10) | BIT(11));
    if (value & CMD_RUN) {
        s->status &= ~(uint32_t)STS_HALTED;
    } else {
        s->status |= (uint32_t)STS_HALTED;
        s->command_running = false;
    }
    xhci_update_irq(xhci);
}

/* The pointer counts while the ring stands still; else only what stops it does. */
static void write_command_ring(struct xhci *xhci, uint32_t value, bool high)
{
    struct xhci_state *s = &xhci->s;
    if (s->command_running) {
        s->command_stop |= !high && value & 6;
        return;
    }
    if (high)
        set_high(&s->command_pointer, value);
    else
        set_low(&s->command_pointer, value);
    s->command_ring =
        (struct xhci_ring){s->command_pointer & ~UINT64_C(63), s->command_pointer & 1};
}

/* The next event looks the event ring up anew. */
static void forget_segment(struct xhci_state *s)
{
    s->events_size = s->event_index = 0;
}

static void write_dequeue(struct xhci *xhci, uint32_t value)
{
    struct xhci_state *s = &xhci->s;
    uint32_t busy = (uint32_t)s->erdp & (uint32_t)ERDP_BUSY & ~value;
    set_low(&s->erdp, (value & ~(uint32_t)ERDP_BUSY) | busy);
    if (busy || !xhci_events_wait(xhci))
        return;
    /* More came than the guest has seen. */
    s->erdp |= ERDP_BUSY;
    s->iman |= (uint32_t)IMAN_PENDING;
    xhci_update_irq(xhci);
}

static void ring_doorbell(struct xhci *xhci, unsigned number, uint32_t value)
{
    struct xhci_state *s = &xhci->s;
    if (!(s->command & CMD_RUN))
        return;
    if (number)
        xhci_endpoint_ring(xhci, number, value & 0xff);
    else
        s->command_running = s->command_doorbell = true;
}

static void write_word(struct xhci *xhci, unsigned offset, uint32_t value)
{
    struct xhci_state *s = &xhci->s;
    if (offset >= DOORBELLS && offset <= DOORBELLS + 4 * XHCI_SLOTS) {
        ring_doorbell(xhci, (offset - DOORBELLS) / 4, value);
        return;
    }
    if (offset >= PORTS_AT && offset < PORTS_END) {
        if (offset % 16 == 0)
            write_port(xhci, (offset - PORTS_AT) / 16, value);
        return;
    }
    switch (offset) {
    case OPERATIONAL + 0x00:
        write_command(xhci, value);
        break;
    case OPERATIONAL + 0x04:
        s->status &= ~(value & (uint32_t)(BIT(2) | STS_EVENT | STS_PORT | STS_RESTORE_ERROR));
        break;
    case OPERATIONAL + 0x14:
        s->notification = value & 0xffff;
        break;
    case OPERATIONAL + 0x18:
    case OPERATIONAL + 0x1c:
        write_command_ring(xhci, value, offset & 4);
        break;
    case OPERATIONAL + 0x30:
        set_low(&s->dcbaap, value & ~63u);
        break;
    case OPERATIONAL + 0x34:
        set_high(&s->dcbaap, value);
        break;
    case OPERATIONAL + 0x38:
        s->config = value & 0xff;
        break;
    case RUNTIME + 0x20:
        s->iman = (s->iman & (uint32_t)IMAN_PENDING & ~value) | (value & (uint32_t)IMAN_ENABLE);
        xhci_update_irq(xhci);
        break;
    case RUNTIME + 0x24:
        s->imod = value;
        break;
    case RUNTIME + 0x28:
        s->erst_size = value & 0xffff;
        forget_segment(s);
        break;
    case RUNTIME + 0x30:
        set_low(&s->erst, value & ~63u);
        forget_segment(s);
        break;
    case RUNTIME + 0x34:
        set_high(&s->erst, value);
        forget_segment(s);
        break;
    case RUNTIME + 0x38:
        write_dequeue(xhci, value);
        break;
    case RUNTIME + 0x3c:
        set_high(&s->erdp, value);
        break;
    default:
        break;
    }
}

static bool in_msix(uint64_t offset)
{
    return offset >= MSIX_TABLE;
}

/* Registers are 32 bits; other accesses are put together of them. */
static uint64_t bar_read(void *opaque, uint64_t offset, unsigned len)
{
    struct xhci *xhci = opaque;
    if (in_msix(offset))
        return offset < MSIX_PBA ? pci_msix_table_read(&xhci->pci, offset - MSIX_TABLE, len)
                                 : pci_msix_pba_read(&xhci->pci, offset - MSIX_PBA, len);
    unsigned word = (unsigned)offset & ~3u, shift = 8 * (offset & 3);
    pthread_mutex_lock(&xhci->lock);
    uint64_t value = read_word(xhci, word);
    if (shift + 8 * len > 32)
        value |= (uint64_t)read_word(xhci, word + 4) << 32;
    pthread_mutex_unlock(&xhci->lock);
    return value >> shift;
}

/* What is smaller than a register, or lies across two, writes nothing. */
static void bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct xhci *xhci = opaque;
    if (in_msix(offset)) {
        if (offset < MSIX_PBA)
            pci_msix_table_write(&xhci->pci, offset - MSIX_TABLE, value, len);
        return;
    }
    if (offset & 3 || len < 4)
        return;
    pthread_mutex_lock(&xhci->lock);
    write_word(xhci, (unsigned)offset, (uint32_t)value);
    if (len == 8)
        write_word(xhci, (unsigned)offset + 4, (uint32_t)(value >> 32));
    bool work = has_work(xhci);
    pthread_mutex_unlock(&xhci->lock);
    if (work)
        loop_post(xhci->loop, &xhci->work);
}

static const struct bus_ops bar_ops = {.read = bar_read, .write = bar_write};

/* ---------------------------------------------------------------- life */

static void pause_on_loop(void *opaque)
{
    struct xhci *xhci = opaque;
    xhci->paused = true;
    loop_timer_cancel(&xhci->timer);
}

static void xhci_quiesce(struct device *device)
{
    struct xhci *xhci = of_device(device);
    loop_call(xhci->loop, pause_on_loop, xhci);
}

static void resume_on_loop(void *opaque)
{
    struct xhci *xhci = opaque;
    xhci->paused = false;
    serve(xhci);
}

static void xhci_resume(struct device *device)
{
    struct xhci *xhci = of_device(device);
    loop_call(xhci->loop, resume_on_loop, xhci);
}

static void xhci_reset(struct device *device)
{
    struct xhci *xhci = of_device(device);
    pthread_mutex_lock(&xhci->lock);
    reset_controller(xhci);
    pthread_mutex_unlock(&xhci->lock);
    pci_device_reset(&xhci->pci);
}

static json_t *xhci_save(struct device *device)
{
    struct xhci *xhci = of_device(device);
    json_t *devices = json_array();
    pthread_mutex_lock(&xhci->lock);
    for (unsigned i = 0; i <= XHCI_PORTS; i++) {
        struct usb_device *dev = xhci->devices[i];
        json_array_append_new(devices, dev ? dev->ops->save(dev) : json_null());
    }
    json_t *registers = hex_state_save(&xhci->s, sizeof(xhci->s));
    pthread_mutex_unlock(&xhci->lock);
    return json_pack("{s:o, s:o, s:o}", "pci", pci_device_save(&xhci->pci), "registers", registers,
                     "devices", devices);
}

/* What indexes and lengths are made of. */
static bool is_sane(const struct xhci *xhci, const struct xhci_state *s)
{
    bool sane = s->event_index < MAX(s->events_size, 1u) && s->events_size <= 4096 &&
                s->event_cycle < 2 && !(s->port_events >> XHCI_PORTS);
    for (unsigned i = 0; i <= XHCI_SLOTS; i++) {
        const struct xhci_slot *slot = &s->slots[i];
        sane = sane && slot->port <= XHCI_PORTS && !(slot->doorbells & 1) &&
               (slot->state < SLOT_ADDRESSED || xhci->devices[slot->port]);
        for (unsigned k = 0; k < XHCI_ENDPOINTS; k++) {
            const struct xhci_endpoint *endpoint = &slot->endpoints[k];
            unsigned max = k < 2 ? USB_CONTROL_MAX : USB_REPORT_MAX;
            sane = sane && endpoint->len <= max && endpoint->done <= endpoint->len;
        }
    }
    return sane;
}

static int xhci_load(struct device *device, const json_t *state, struct kv_error *err)
{
    struct xhci *xhci = of_device(device);
    const json_t *devices = json_object_get(state, "devices");
    struct xhci_state *s = malloc(sizeof(*s));
    bool good =
        s && hex_state_load(json_object_get(state, "registers"), s, sizeof(*s)) && is_sane(xhci, s);
    pthread_mutex_lock(&xhci->lock);
    for (unsigned i = 0; good && i <= XHCI_PORTS; i++) {
        struct usb_device *dev = xhci->devices[i];
        const json_t *of_dev = json_array_get(devices, i);
        good = dev ? dev->ops->load(dev, of_dev) : json_is_null(of_dev);
    }
    if (good)
        xhci->s = *s;
    pthread_mutex_unlock(&xhci->lock);
    free(s);
    if (!good)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': the state is not that of this USB controller with these "
                            "devices",
                            device->id);
    return pci_device_load(&xhci->pci, json_object_get(state, "pci"), err);
}

static void xhci_metrics(struct device *device, json_t *out)
{
    struct xhci *xhci = of_device(device);
    pthread_mutex_lock(&xhci->lock);
    json_object_set_new(out, "commands", json_integer((json_int_t)xhci->commands));
    json_object_set_new(out, "transfers", json_integer((json_int_t)xhci->transfers));
    json_object_set_new(out, "failures", json_integer((json_int_t)xhci->failures));
    pthread_mutex_unlock(&xhci->lock);
}

static void leave_loop(void *opaque)
{
    struct xhci *xhci = opaque;
    loop_timer_cancel(&xhci->timer);
    loop_unpost(xhci->loop, &xhci->work);
}

static void xhci_free(struct device *device)
{
    struct xhci *xhci = of_device(device);
    pci_unplug(&xhci->pci);
    loop_call(xhci->loop, leave_loop, xhci);
    for (unsigned i = 0; i <= XHCI_PORTS; i++) {
        if (xhci->devices[i])
            xhci->devices[i]->ops->free(xhci->devices[i]);
    }
    pci_device_destroy(&xhci->pci);
    pthread_mutex_destroy(&xhci->lock);
    free(xhci);
}

static const struct device_ops xhci_ops = {
    .type = "xhci",
    .quiesce = xhci_quiesce,
    .resume = xhci_resume,
    .reset = xhci_reset,
    .save = xhci_save,
    .load = xhci_load,
    .metrics = xhci_metrics,
    .free = xhci_free,
};

struct device *xhci_device(struct xhci *xhci)
{
    return &xhci->pci.device;
}

struct xhci *xhci_of(struct device *device)
{
    return device->ops == &xhci_ops ? of_device(device) : NULL;
}

int xhci_create(struct xhci **out, const struct xhci_config *config, struct machine *machine,
                struct pci_bus *bus, struct guest_mem *mem, struct loop *loop, struct kv_error *err)
{
    struct pci_identity identity = {
        .vendor = 0x1b36,
        .device = 0x000d,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
        .class_code = 0x0c0330, /* serial bus, USB, xHCI */
        .revision = 1,
        .intx = true,
    };
    struct kv_error local = {0};
    struct xhci *xhci = calloc(1, sizeof(*xhci));
    if (!xhci)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "USB controller: out of memory");
    if (config->model == XHCI_MODEL_NEC) {
        identity.vendor = 0x1033;
        identity.device = 0x0194;
        identity.revision = 3;
    }
    xhci->mem = mem;
    xhci->loop = loop;
    xhci->work = (struct loop_work){.fn = serve, .opaque = xhci};
    pthread_mutex_init(&xhci->lock, NULL);
    pci_device_init(&xhci->pci, &identity, NULL);
    reset_controller(xhci);
    pci_bar_init(&xhci->pci, BAR, BAR_SIZE, false, false, &bar_ops, xhci);
    int rc = pci_msix_init(&xhci->pci, 1, BAR, MSIX_TABLE, MSIX_PBA);
    if (rc < 0)
        kv_error_errno(&local, KV_ERR_DEVICE, -rc, "USB controller: MSI-X");
    if (rc == 0)
        rc = device_register(machine, &xhci->pci.device, &xhci_ops, config->id, &local);
    if (rc == 0) {
        rc = pci_plug(bus, &xhci->pci, config->slot ? (int)config->slot : -1, &local);
        if (rc < 0)
            device_unregister(&xhci->pci.device);
    }
    if (rc < 0) {
        xhci_free(&xhci->pci.device);
        if (err)
            *err = local;
        return rc;
    }
    *out = xhci;
    return 0;
}
