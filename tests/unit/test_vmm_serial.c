/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Serial and debug ports, with the test at the other end of the line. */
#include <linux/serial_reg.h>
#include <stdlib.h>
#include <string.h>

#include "fake_machine.h"
#include "unit.h"
#include "vmm/chardev.h"
#include "vmm/devices/classes.h"
#include "vmm/x86/layout.h"

/* The chardev of the test: takes what it has room for. */
struct chardev {
    const struct chardev_ops *ops;
    void *opaque;
    char out[4096];
    size_t out_len, room;
    unsigned accepts;
};

static struct chardev *line; /* the one opened last */
static struct fake_machine fake;

int chardev_open(struct chardev **out, const char *spec, struct loop *loop, struct kv_error *err)
{
    *out = line = calloc(1, sizeof(*line));
    line->room = sizeof(line->out);
    return 0;
}

void chardev_free(struct chardev *chardev)
{
    free(chardev);
}

void chardev_set_label(struct chardev *chardev, const char *label)
{
}

void chardev_attach(struct chardev *chardev, const struct chardev_ops *ops, void *opaque)
{
    chardev->ops = ops;
    chardev->opaque = opaque;
}

size_t chardev_write(struct chardev *chardev, const void *bytes, size_t len)
{
    size_t n = MIN(len, chardev->room);
    memcpy(chardev->out + chardev->out_len, bytes, n);
    chardev->out_len += n;
    chardev->room -= n;
    return n;
}

int chardev_set_log(struct chardev *chardev, const char *fds, uint64_t size, struct kv_error *err)
{
    return 0;
}

void chardev_accept_input(struct chardev *chardev)
{
    chardev->accepts++;
}

struct config {
    const char *chardev, *id, *log_fds;
    uint64_t log_size;
};

static int setup(void **state)
{
    fake_machine_init(&fake);
    return serial_class.create(&fake.machine, &(struct config){.chardev = "null"}, NULL);
}

static int teardown(void **state)
{
    fake_machine_destroy(&fake);
    return 0;
}

static uint8_t in(unsigned reg)
{
    return (uint8_t)port_read(&fake, (uint16_t)(PORT_COM1 + reg), 1);
}

static void out(unsigned reg, uint8_t value)
{
    port_write(&fake, (uint16_t)(PORT_COM1 + reg), value, 1);
}

static void receive(const char *text)
{
    assert_true(line->ops->can_receive(line->opaque) >= strlen(text));
    line->ops->receive(line->opaque, (const uint8_t *)text, strlen(text));
}

static void bytes_written_leave_at_once(void **state)
{
    for (const char *p = "hello"; *p; p++) {
        assert_int_equal(in(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
        out(UART_TX, (uint8_t)*p);
    }
    assert_int_equal(line->out_len, 5);
    assert_memory_equal(line->out, "hello", 5);
}

static void the_transmitter_stays_busy_until_the_other_end_takes_the_byte(void **state)
{
    line->room = 1;
    out(UART_IER, UART_IER_THRI);
    out(UART_TX, 'a');
    assert_int_equal(in(UART_IIR), UART_IIR_THRI);
    out(UART_TX, 'b');
    assert_int_equal(in(UART_LSR), 0);
    assert_int_equal(in(UART_IIR), UART_IIR_NO_INT);
    assert_false(fake.lines[GSI_COM1]);
    line->room = 8;
    line->ops->writable(line->opaque);
    assert_true(fake.lines[GSI_COM1]);
    assert_int_equal(in(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
    assert_memory_equal(line->out, "ab", 2);
}

static void a_full_fifo_of_output_survives_a_stalled_line_in_order(void **state)
{
    out(UART_FCR, UART_FCR_ENABLE_FIFO);
    line->room = 0;
    for (unsigned i = 0; i < 20; i++) /* four more than fit: they are lost, as in hardware */
        out(UART_TX, (uint8_t)('a' + i));
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(in(UART_LSR)&UART_LSR_THRE, 0);
        line->room = 1;
        line->ops->writable(line->opaque);
    }
    assert_int_equal(in(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
    assert_int_equal(line->out_len, 16);
    assert_memory_equal(line->out, "abcdefghijklmnop", 16);
}

static void enabling_the_transmit_interrupt_raises_it_again(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        out(UART_IER, UART_IER_THRI);
        assert_true(fake.lines[GSI_COM1]);
        assert_int_equal(in(UART_IIR), UART_IIR_THRI);
        assert_false(fake.lines[GSI_COM1]);
        assert_int_equal(in(UART_IIR), UART_IIR_NO_INT);
        out(UART_IER, 0);
    }
    assert_int_equal(fake.edges[GSI_COM1], 2);
}

static void input_is_paced_by_the_fifo(void **state)
{
    assert_int_equal(line->ops->can_receive(line->opaque), 1);
    out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_8);
    assert_int_equal(line->ops->can_receive(line->opaque), 16);
    out(UART_IER, UART_IER_RDI);
    receive("0123");
    assert_true(fake.lines[GSI_COM1]);
    assert_int_equal(in(UART_IIR), 0xc0 | UART_IIR_RX_TIMEOUT);
    receive("456789abcdef");
    assert_int_equal(in(UART_IIR), 0xc0 | UART_IIR_RDI);
    assert_int_equal(line->ops->can_receive(line->opaque), 0);
    unsigned accepts = line->accepts;
    for (const char *p = "0123456789abcdef"; *p; p++) {
        assert_int_equal(in(UART_LSR)&UART_LSR_DR, UART_LSR_DR);
        assert_int_equal(in(UART_RX), *p);
    }
    assert_true(line->accepts > accepts);
    assert_int_equal(in(UART_LSR)&UART_LSR_DR, 0);
    assert_false(fake.lines[GSI_COM1]);
    assert_int_equal(in(UART_RX), 0);
}

static void interrupts_come_in_the_order_of_their_priority(void **state)
{
    out(UART_MCR, UART_MCR_LOOP);
    in(UART_MSR);
    out(UART_TX, 'x');
    out(UART_TX, 'y'); /* overruns the only place */
    out(UART_MCR, UART_MCR_LOOP | UART_MCR_RTS);
    out(UART_IER, 0x0f);
    assert_int_equal(in(UART_IIR), UART_IIR_RLSI);
    assert_int_equal(in(UART_LSR)&UART_LSR_OE, UART_LSR_OE);
    assert_int_equal(in(UART_IIR), UART_IIR_RDI);
    assert_int_equal(in(UART_RX), 'x');
    assert_int_equal(in(UART_IIR), UART_IIR_THRI);
    assert_int_equal(in(UART_IIR), UART_IIR_MSI);
    assert_int_equal(in(UART_MSR), UART_MSR_CTS | UART_MSR_DCTS);
    assert_int_equal(in(UART_IIR), UART_IIR_NO_INT);
    assert_false(fake.lines[GSI_COM1]);
}

static void loopback_ties_modem_outputs_to_inputs(void **state)
{
    static const struct {
        uint8_t mcr, msr;
    } wires[] = {{UART_MCR_RTS, UART_MSR_CTS},
                 {UART_MCR_DTR, UART_MSR_DSR},
                 {UART_MCR_OUT1, UART_MSR_RI},
                 {UART_MCR_OUT2, UART_MSR_DCD}};
    for (unsigned i = 0; i < ARRAY_SIZE(wires); i++) {
        out(UART_MCR, UART_MCR_LOOP | wires[i].mcr);
        assert_int_equal(in(UART_MSR)&0xf0, wires[i].msr);
    }
    out(UART_TX, 'z');
    assert_int_equal(in(UART_RX), 'z');
    assert_int_equal(line->out_len, 0);
    assert_int_equal(line->ops->can_receive(line->opaque), 0);
    unsigned accepts = line->accepts;
    out(UART_MCR, 0);
    assert_true(line->accepts > accepts);
    assert_int_equal(in(UART_MSR)&0xf0, UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
}

static void a_driver_finds_a_16550a(void **state)
{
    out(UART_SCR, 0x5a);
    assert_int_equal(in(UART_SCR), 0x5a);
    out(UART_IER, 0xff);
    assert_int_equal(in(UART_IER), 0x0f);
    out(UART_IER, 0);
    out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR7_64BYTE);
    assert_int_equal(in(UART_IIR) >> 5, 6);
    out(UART_LCR, UART_LCR_DLAB);
    out(UART_DLL, 0x34);
    out(UART_DLM, 0x12);
    assert_int_equal(in(UART_DLL) | in(UART_DLM) << 8, 0x1234);
    out(UART_LCR, UART_LCR_WLEN8);
    assert_int_equal(in(UART_LCR), UART_LCR_WLEN8);
    assert_int_equal(in(UART_IER), 0);
    out(UART_FCR, 0);
    assert_int_equal(in(UART_IIR), UART_IIR_NO_INT);
}

static void com1_and_com3_share_their_line(void **state)
{
    struct chardev *first = line;
    struct config config = {.chardev = "null"};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(serial_class.create(&fake.machine, &config, NULL), 0);
    struct kv_error err;
    assert_int_equal(serial_class.create(&fake.machine, &config, &err), -28);
    out(UART_IER, UART_IER_THRI);
    port_write(&fake, PORT_COM3 + UART_IER, UART_IER_THRI, 1);
    port_read(&fake, PORT_COM3 + UART_IIR, 1);
    assert_true(fake.lines[GSI_COM1]);
    assert_false(fake.lines[GSI_COM2]);
    in(UART_IIR);
    assert_false(fake.lines[GSI_COM1]);
    port_write(&fake, PORT_COM4 + UART_IER, UART_IER_THRI, 1);
    assert_true(fake.lines[GSI_COM2]);
    port_write(&fake, PORT_COM4, 'q', 1);
    assert_int_equal(first->out_len, 0);
    assert_int_equal(line->out[0], 'q');
}

static void serial_state_survives_saving_and_abuse(void **state)
{
    struct device *dev = device_find(&fake.machine, "serial");
    out(UART_FCR, UART_FCR_ENABLE_FIFO);
    out(UART_IER, UART_IER_RDI);
    receive("keep");
    line->room = 0;
    out(UART_TX, '1');
    line->room = 10;
    save_reset_load(dev);
    assert_true(fake.lines[GSI_COM1]);
    assert_memory_equal(line->out, "1", 1);
    for (const char *p = "keep"; *p; p++)
        assert_int_equal(in(UART_RX), *p);
    assert_int_equal(dev->ops->load(dev, NULL, NULL), -22);
    for (unsigned i = 0; i < 256; i++) {
        out(UART_LCR, (uint8_t)i);
        out(UART_MCR, (uint8_t)(i * 7));
        line->out_len = 0;
        line->room = i % 3 ? sizeof(line->out) : 0;
        abuse_ports(&fake, PORT_COM1, 8);
    }
    dev->ops->reset(dev);
    assert_int_equal(in(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
    assert_int_equal(in(UART_IER), 0);
    assert_false(fake.lines[GSI_COM1]);
}

static void the_debug_port_says_that_it_is_there_and_passes_bytes_on(void **state)
{
    assert_int_equal(port_read(&fake, PORT_DEBUGCON, 1), 0xff);
    struct config config = {.chardev = "null"};
    assert_int_equal(debugcon_class.create(&fake.machine, &config, NULL), 0);
    assert_int_equal(port_read(&fake, PORT_DEBUGCON, 1), 0xe9);
    port_write(&fake, PORT_DEBUGCON, 'o', 1);
    port_write(&fake, PORT_DEBUG_E9, 'k', 1);
    assert_memory_equal(line->out, "ok", 2);
    line->room = 0;
    port_write(&fake, PORT_DEBUG_E9, '!', 1);
    assert_int_equal(line->out_len, 2);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(bytes_written_leave_at_once),
        T(the_transmitter_stays_busy_until_the_other_end_takes_the_byte),
        T(a_full_fifo_of_output_survives_a_stalled_line_in_order),
        T(enabling_the_transmit_interrupt_raises_it_again),
        T(input_is_paced_by_the_fifo),
        T(interrupts_come_in_the_order_of_their_priority),
        T(loopback_ties_modem_outputs_to_inputs),
        T(a_driver_finds_a_16550a),
        T(com1_and_com3_share_their_line),
        T(serial_state_survives_saving_and_abuse),
        T(the_debug_port_says_that_it_is_there_and_passes_bytes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
