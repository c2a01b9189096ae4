/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 16550A serial port (National Semiconductor PC16550D datasheet). Bytes leave
 * at once through a chardev; when that takes no more, they stay in the
 * transmitter's FIFO and its "empty" bit stays low, so that nothing is lost.
 * Registers are used by vCPU threads, input comes on the chardev's loop.
 */
#include <errno.h>
#include <linux/serial_reg.h>
#include <stdlib.h>

#include "vmm/chardev.h"
#include "vmm/devices/classes.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/layout.h"

#define SERIAL_PORTS_MAX 4
#define SERIAL_REGISTERS 8
#define FIFO_SIZE 16

#define IER_MASK (UART_IER_RDI | UART_IER_THRI | UART_IER_RLSI | UART_IER_MSI)
#define IIR_FIFO_ENABLED 0xc0
#define MCR_MASK (UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT1 | UART_MCR_OUT2 | UART_MCR_LOOP)
/* The other end is always ready, whoever it is. */
#define MSR_READY (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)
#define MSR_LINES 0xf0
#define DIVISOR_DEFAULT 12 /* 9600 baud */

struct fifo {
    uint8_t bytes[FIFO_SIZE];
    unsigned first, count;
};

struct serial_config {
    char *chardev, *id;
    char *log_fds;
    uint64_t log_size;
};

struct serial {
    struct device device;
    unsigned number; /* 0 to 3: COM1 to COM4 */
    struct chardev *chardev;
    pthread_mutex_t lock; /* everything below */
    bool irq_high;
    uint16_t divisor;
    uint8_t ier, fcr, lcr, mcr, msr, scr;
    bool overrun;
    bool thr_event; /* the transmitter became empty and the guest was not told yet */
    struct fifo rx, tx;
    uint64_t tx_bytes, rx_bytes, tx_waits;
};

static const struct {
    uint16_t port;
    uint8_t gsi;
} com_ports[SERIAL_PORTS_MAX] = {
    {PORT_COM1, GSI_COM1},
    {PORT_COM2, GSI_COM2},
    {PORT_COM3, GSI_COM1},
    {PORT_COM4, GSI_COM2},
};

/* COM1 and COM3 share a line, as do COM2 and COM4: how many hold it high. */
static struct {
    pthread_mutex_t lock;
    unsigned users[GSI_COM1 + 1];
} shared_lines = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void fifo_push(struct fifo *fifo, uint8_t byte)
{
    fifo->bytes[(fifo->first + fifo->count++) % FIFO_SIZE] = byte;
}

static uint8_t fifo_pop(struct fifo *fifo)
{
    uint8_t byte = fifo->bytes[fifo->first];
    fifo->first = (fifo->first + 1) % FIFO_SIZE;
    fifo->count--;
    return byte;
}

static bool fifo_enabled(const struct serial *s)
{
    return s->fcr & UART_FCR_ENABLE_FIFO;
}

static unsigned fifo_capacity(const struct serial *s)
{
    return fifo_enabled(s) ? FIFO_SIZE : 1;
}

static bool loops_back(const struct serial *s)
{
    return s->mcr & UART_MCR_LOOP;
}

/* How many received bytes raise the interrupt at once (fewer do so as a timeout). */
static unsigned rx_trigger(const struct serial *s)
{
    static const uint8_t levels[] = {1, 4, 8, 14};
    return fifo_enabled(s) ? levels[s->fcr >> 6] : 1;
}

/* What is pending, by the datasheet's priorities. */
static uint8_t interrupt_id(const struct serial *s)
{
    if ((s->ier & UART_IER_RLSI) && s->overrun)
        return UART_IIR_RLSI;
    if ((s->ier & UART_IER_RDI) && s->rx.count)
        return s->rx.count >= rx_trigger(s) ? UART_IIR_RDI : UART_IIR_RX_TIMEOUT;
    if ((s->ier & UART_IER_THRI) && s->thr_event)
        return UART_IIR_THRI;
    if ((s->ier & UART_IER_MSI) && (s->msr & UART_MSR_ANY_DELTA))
        return UART_IIR_MSI;
    return UART_IIR_NO_INT;
}

static void update_irq(struct serial *s)
{
    bool high = interrupt_id(s) != UART_IIR_NO_INT;
    if (high == s->irq_high)
        return;
    s->irq_high = high;
    unsigned gsi = com_ports[s->number].gsi;
    struct irq_line line = machine_irq_line(s->device.machine, gsi);
    pthread_mutex_lock(&shared_lines.lock);
    if (high && shared_lines.users[gsi]++ == 0)
        irq_set(&line, true);
    else if (!high && --shared_lines.users[gsi] == 0)
        irq_set(&line, false);
    pthread_mutex_unlock(&shared_lines.lock);
}

static uint8_t line_status(const struct serial *s)
{
    return (uint8_t)((s->rx.count ? UART_LSR_DR : 0) | (s->overrun ? UART_LSR_OE : 0) |
                     (s->tx.count ? 0 : UART_LSR_THRE | UART_LSR_TEMT));
}

/* The modem lines as they are now; changes are noted in the low half of the register. */
static void set_modem_lines(struct serial *s, uint8_t lines)
{
    uint8_t changed = (s->msr ^ lines) & MSR_LINES;
    uint8_t delta = changed >> 4;
    if ((changed & UART_MSR_RI) && (lines & UART_MSR_RI))
        delta &= (uint8_t)~UART_MSR_TERI; /* only the trailing edge of RI counts */
    s->msr = lines | (s->msr & UART_MSR_ANY_DELTA) | delta;
}

static uint8_t modem_lines(const struct serial *s)
{
    if (!loops_back(s))
        return MSR_READY;
    return (uint8_t)((s->mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
                     (s->mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
                     (s->mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
                     (s->mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0));
}

static void receive_byte(struct serial *s, uint8_t byte)
{
    if (s->rx.count >= fifo_capacity(s)) {
        s->overrun = true;
        return;
    }
    fifo_push(&s->rx, byte);
    s->rx_bytes++;
}

/* Gives the transmitter's bytes to the chardev, as many as it takes. */
static void drain_tx(struct serial *s)
{
    bool waited = s->tx.count;
    while (s->tx.count) {
        uint8_t *at = s->tx.bytes + s->tx.first;
        unsigned run = MIN(s->tx.count, FIFO_SIZE - s->tx.first);
        size_t taken = chardev_write(s->chardev, at, run);
        s->tx_bytes += taken;
        s->tx.first = (s->tx.first + (unsigned)taken) % FIFO_SIZE;
        s->tx.count -= (unsigned)taken;
        if (taken < run)
            break;
    }
    if (s->tx.count)
        s->tx_waits++;
    else if (waited)
        s->thr_event = true;
}

static void transmit(struct serial *s, uint8_t byte)
{
    s->thr_event = false;
    if (loops_back(s)) {
        receive_byte(s, byte);
        s->thr_event = true;
        return;
    }
    if (s->tx.count >= fifo_capacity(s))
        return; /* the guest did not wait for "empty": as in hardware, the byte is gone */
    fifo_push(&s->tx, byte);
    drain_tx(s);
}

static void write_fcr(struct serial *s, uint8_t value)
{
    bool toggled = (value ^ s->fcr) & UART_FCR_ENABLE_FIFO;
    if (toggled || (value & UART_FCR_CLEAR_RCVR))
        s->rx = (struct fifo){0};
    if ((toggled || (value & UART_FCR_CLEAR_XMIT)) && s->tx.count) {
        s->tx = (struct fifo){0};
        s->thr_event = true;
    }
    s->fcr = value & (UART_FCR_ENABLE_FIFO | UART_FCR_DMA_SELECT | UART_FCR_TRIGGER_MASK);
    if (!fifo_enabled(s))
        s->fcr = 0;
}

static void write_ier(struct serial *s, uint8_t value)
{
    uint8_t risen = (uint8_t)(value & ~s->ier);
    s->ier = value & IER_MASK;
    if ((risen & UART_IER_THRI) && !s->tx.count)
        s->thr_event = true;
}

static uint8_t read_register(struct serial *s, unsigned reg)
{
    bool latch = s->lcr & UART_LCR_DLAB;
    uint8_t value;
    switch (reg) {
    case UART_RX:
        if (latch)
            return (uint8_t)s->divisor;
        return s->rx.count ? fifo_pop(&s->rx) : 0;
    case UART_IER:
        return latch ? (uint8_t)(s->divisor >> 8) : s->ier;
    case UART_IIR:
        value = interrupt_id(s);
        if (value == UART_IIR_THRI)
            s->thr_event = false;
        return value | (fifo_enabled(s) ? IIR_FIFO_ENABLED : 0);
    case UART_LCR:
        return s->lcr;
    case UART_MCR:
        return s->mcr;
    case UART_LSR:
        value = line_status(s);
        s->overrun = false;
        return value;
    case UART_MSR:
        value = s->msr;
        s->msr &= MSR_LINES;
        return value;
    default:
        return s->scr;
    }
}

static void write_register(struct serial *s, unsigned reg, uint8_t value)
{
    bool latch = s->lcr & UART_LCR_DLAB;
    switch (reg) {
    case UART_TX:
        if (latch)
            s->divisor = (uint16_t)((s->divisor & 0xff00) | value);
        else
            transmit(s, value);
        break;
    case UART_IER:
        if (latch)
            s->divisor = (uint16_t)((s->divisor & 0x00ff) | value << 8);
        else
            write_ier(s, value);
        break;
    case UART_FCR:
        write_fcr(s, value);
        break;
    case UART_LCR:
        s->lcr = value;
        break;
    case UART_MCR:
        s->mcr = value & MCR_MASK;
        set_modem_lines(s, modem_lines(s));
        break;
    case UART_LSR:
    case UART_MSR:
        break; /* read-only */
    default:
        s->scr = value;
        break;
    }
}

/* A wider access is one to each of the registers it covers, as on the ISA bus. */
static uint64_t serial_read(void *opaque, uint64_t offset, unsigned len)
{
    struct serial *s = opaque;
    uint64_t value = 0;
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < len; i++)
        value |= (uint64_t)read_register(s, (unsigned)offset + i) << 8 * i;
    update_irq(s);
    bool room = s->rx.count < fifo_capacity(s) && !loops_back(s);
    pthread_mutex_unlock(&s->lock);
    if (offset == UART_RX && room)
        chardev_accept_input(s->chardev);
    return value;
}

static void serial_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct serial *s = opaque;
    pthread_mutex_lock(&s->lock);
    bool had_room = s->rx.count < fifo_capacity(s) && !loops_back(s);
    for (unsigned i = 0; i < len; i++)
        write_register(s, (unsigned)offset + i, (uint8_t)(value >> 8 * i));
    update_irq(s);
    bool room = s->rx.count < fifo_capacity(s) && !loops_back(s);
    pthread_mutex_unlock(&s->lock);
    if (room && !had_room)
        chardev_accept_input(s->chardev);
}

static const struct bus_ops serial_regs = {.read = serial_read, .write = serial_write};

static size_t chardev_can_receive(void *opaque)
{
    struct serial *s = opaque;
    pthread_mutex_lock(&s->lock);
    size_t room = loops_back(s) ? 0 : fifo_capacity(s) - MIN(s->rx.count, fifo_capacity(s));
    pthread_mutex_unlock(&s->lock);
    return room;
}

static void chardev_receive(void *opaque, const uint8_t *bytes, size_t len)
{
    struct serial *s = opaque;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < len; i++)
        receive_byte(s, bytes[i]);
    update_irq(s);
    pthread_mutex_unlock(&s->lock);
}

static void chardev_writable(void *opaque)
{
    struct serial *s = opaque;
    pthread_mutex_lock(&s->lock);
    drain_tx(s);
    update_irq(s);
    pthread_mutex_unlock(&s->lock);
}

static const struct chardev_ops serial_chardev_ops = {
    .can_receive = chardev_can_receive,
    .receive = chardev_receive,
    .writable = chardev_writable,
};

static struct serial *to_serial(struct device *dev)
{
    return container_of(dev, struct serial, device);
}

static void reset_registers(struct serial *s)
{
    s->divisor = DIVISOR_DEFAULT;
    s->ier = s->fcr = s->lcr = s->scr = 0;
    s->mcr = UART_MCR_OUT2;
    s->msr = MSR_READY;
    s->overrun = s->thr_event = false;
    s->rx = s->tx = (struct fifo){0};
}

static void serial_reset(struct device *dev)
{
    struct serial *s = to_serial(dev);
    pthread_mutex_lock(&s->lock);
    reset_registers(s);
    update_irq(s);
    pthread_mutex_unlock(&s->lock);
    chardev_accept_input(s->chardev);
}

static json_t *save_fifo(const struct fifo *fifo)
{
    json_t *bytes = json_array();
    for (unsigned i = 0; i < fifo->count; i++)
        json_array_append_new(bytes, json_integer(fifo->bytes[(fifo->first + i) % FIFO_SIZE]));
    return bytes;
}

static json_t *serial_save(struct device *dev)
{
    struct serial *s = to_serial(dev);
    pthread_mutex_lock(&s->lock);
    json_t *state =
        json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:b, s:o, s:o}", "divisor", s->divisor,
                  "ier", s->ier, "fcr", s->fcr, "lcr", s->lcr, "mcr", s->mcr, "msr", s->msr, "scr",
                  s->scr, "overrun", s->overrun, "thr-event", s->thr_event, "rx", save_fifo(&s->rx),
                  "tx", save_fifo(&s->tx));
    pthread_mutex_unlock(&s->lock);
    return state;
}

static void load_fifo(struct fifo *fifo, const json_t *bytes)
{
    *fifo = (struct fifo){0};
    for (size_t i = 0; i < MIN(json_array_size(bytes), (size_t)FIFO_SIZE); i++)
        fifo_push(fifo, (uint8_t)json_integer_value(json_array_get(bytes, i)));
}

static int serial_load(struct device *dev, const json_t *state, struct kv_error *err)
{
    struct serial *s = to_serial(dev);
    int divisor, ier, fcr, lcr, mcr, msr, scr, overrun, thr_event;
    json_t *rx, *tx;
    if (json_unpack((json_t *)state, "{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:b, s:o, s:o}",
                    "divisor", &divisor, "ier", &ier, "fcr", &fcr, "lcr", &lcr, "mcr", &mcr, "msr",
                    &msr, "scr", &scr, "overrun", &overrun, "thr-event", &thr_event, "rx", &rx,
                    "tx", &tx) < 0)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': a register is missing in its state", dev->id);
    pthread_mutex_lock(&s->lock);
    s->divisor = (uint16_t)divisor;
    s->ier = (uint8_t)ier & IER_MASK;
    s->fcr = (uint8_t)fcr;
    s->lcr = (uint8_t)lcr;
    s->mcr = (uint8_t)mcr & MCR_MASK;
    s->msr = (uint8_t)msr;
    s->scr = (uint8_t)scr;
    s->overrun = overrun;
    s->thr_event = thr_event;
    load_fifo(&s->rx, rx);
    load_fifo(&s->tx, tx);
    drain_tx(s);
    update_irq(s);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static void serial_metrics(struct device *dev, json_t *out)
{
    struct serial *s = to_serial(dev);
    pthread_mutex_lock(&s->lock);
    json_object_set_new(out, "tx-bytes", json_integer((json_int_t)s->tx_bytes));
    json_object_set_new(out, "rx-bytes", json_integer((json_int_t)s->rx_bytes));
    json_object_set_new(out, "tx-waits", json_integer((json_int_t)s->tx_waits));
    pthread_mutex_unlock(&s->lock);
}

static void serial_free(struct device *dev)
{
    struct serial *s = to_serial(dev);
    bus_unmap(&dev->machine->pio, com_ports[s->number].port);
    chardev_free(s->chardev);
    pthread_mutex_lock(&s->lock);
    reset_registers(s);
    update_irq(s);
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static const struct device_ops serial_ops = {
    .type = "serial",
    .reset = serial_reset,
    .save = serial_save,
    .load = serial_load,
    .metrics = serial_metrics,
    .free = serial_free,
};

static unsigned count_serial_ports(struct machine *machine)
{
    unsigned count = 0;
    list_for_each (pos, &machine->devices)
        count += list_entry(pos, struct device, node)->ops == &serial_ops;
    return count;
}

static int serial_create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct serial_config *config = opaque;
    unsigned number = count_serial_ports(machine);
    if (number >= SERIAL_PORTS_MAX)
        return kv_error_set(err, KV_ERR_DEVICE, ENOSPC, "at most %d serial ports are possible",
                            SERIAL_PORTS_MAX);
    struct serial *s = calloc(1, sizeof(*s));
    if (!s)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "serial port: out of memory");
    pthread_mutex_init(&s->lock, NULL);
    s->number = number;
    reset_registers(s);
    int rc = chardev_open(&s->chardev, config->chardev, &machine->loop, err);
    if (rc == 0)
        rc = chardev_set_log(s->chardev, config->log_fds, config->log_size, err);
    if (rc == 0)
        rc = device_register(machine, &s->device, &serial_ops, config->id, err);
    if (rc < 0) {
        chardev_free(s->chardev);
        free(s);
        return rc;
    }
    chardev_set_label(s->chardev, s->device.id);
    chardev_attach(s->chardev, &serial_chardev_ops, s);
    return bus_map(&machine->pio,
                   &(struct bus_region){.base = com_ports[number].port,
                                        .size = SERIAL_REGISTERS,
                                        .ops = &serial_regs,
                                        .opaque = s,
                                        .name = s->device.id},
                   err);
}

static const struct option_spec serial_options[] = {
    OPTION(STRING, struct serial_config, chardev,
           .help = "the other end: stdio, null, file:PATH, pty, unix:PATH, fd:N", .required = true),
    OPTION(STRING, struct serial_config, id, .help = "name of the device (serial0, ...)"),
    LOG_OPTIONS(struct serial_config),
    OPTION_END,
};

const struct device_class serial_class = {
    .option = "serial",
    .implied = "chardev",
    .help = "16550A serial port; the first is COM1",
    .options = serial_options,
    .config_size = sizeof(struct serial_config),
    .create = serial_create,
    .max = SERIAL_PORTS_MAX,
};
