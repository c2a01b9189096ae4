/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers of a TPM with a FIFO (TCG PC Client Platform TPM Profile 1.05,
 * 6.5.2; drivers call it TIS), locality 0 alone, without interrupts. A command's
 * bytes are written into one register and the response's are read from it; the
 * buffer in between is tpm.c's. One whose process is gone responds to everything
 * with a failure. See tpm_internal.h.
 */
#include <string.h>

#include "base/util.h"
#include "vmm/devices/tpm_internal.h"

#define LOCALITY_SIZE 0x1000

enum fifo_register {
    ACCESS = 0x00,
    INTERFACE_CAPABILITY = 0x14,
    STS = 0x18,
    DATA = 0x24,
    INTERFACE_ID = 0x30,
    EXTENDED_DATA = 0x80, /* 64 bytes, each the same as DATA */
    VENDOR_AND_DEVICE = 0xf00,
    REVISION = 0xf04,
};
#define EXTENDED_DATA_SIZE 64

#define ACCESS_NOT_ESTABLISHED BIT(0) /* no dynamic launch happened */
#define ACCESS_REQUEST BIT(1)
#define ACCESS_ACTIVE BIT(5) /* written: given up */
#define ACCESS_VALID BIT(7)

#define STS_RETRY BIT(1) /* the response from its beginning */
#define STS_EXPECT BIT(3)
#define STS_DATA BIT(4)
#define STS_GO BIT(5)
#define STS_READY BIT(6)
#define STS_VALID BIT(7)
#define STS_BURST 8 /* shift: how many bytes may be written or read at once */
#define STS_CANCEL BIT(24)
#define STS_FAMILY_2 BIT(26)

#define CAPABILITY (3U << 28 | 3U << 9) /* version 1.3 for TPM 2.0; transfers of 64 bytes */
#define IDENTITY (1U << 13)             /* a FIFO, locality 0 alone */
#define DEVICE_AND_VENDOR (1U << 16 | TPM_VENDOR_IBM)

enum fifo_state { FIFO_IDLE, FIFO_READY, FIFO_RECEIVING, FIFO_RUNNING, FIFO_COMPLETE, FIFO_STATES };

/* How long the command in the buffer says it is; where that cannot be, its header is all. */
static uint32_t command_size(const struct tpm_registers *regs)
{
    uint32_t size = swtpm_message_size(regs->buffer);
    return size < SWTPM_HEADER || size > TPM_BUFFER_SIZE ? SWTPM_HEADER : size;
}

static bool expects(const struct tpm_registers *regs)
{
    return regs->fifo.len < SWTPM_HEADER || regs->fifo.len < command_size(regs);
}

static uint32_t status(const struct tpm *tpm)
{
    const struct tpm_registers *regs = &tpm->regs;
    uint32_t burst = TPM_BUFFER_SIZE - regs->fifo.len, bits = 0;
    switch (regs->fifo.state) {
    case FIFO_READY:
        bits = STS_READY;
        break;
    case FIFO_RECEIVING:
        bits = expects(regs) ? STS_EXPECT : 0;
        break;
    case FIFO_COMPLETE:
        burst = regs->fifo.len - regs->fifo.at;
        bits = burst ? STS_DATA : 0;
        break;
    default:
        burst = 0;
        break;
    }
    return (uint32_t)(bits | STS_VALID | STS_FAMILY_2 | burst << STS_BURST);
}

static void make_ready(struct tpm *tpm)
{
    tpm->regs.fifo.state = FIFO_READY;
    tpm->regs.fifo.len = tpm->regs.fifo.at = 0;
}

/* By its response, or by the failure that stands for one. */
static void ended(struct tpm *tpm)
{
    static const uint8_t failure[SWTPM_HEADER] = {0x80, 1, [5] = SWTPM_HEADER, [8] = 1, 1};
    struct tpm_registers *regs = &tpm->regs;
    if (tpm->lost)
        memcpy(regs->buffer, failure, sizeof(failure));
    regs->fifo.state = FIFO_COMPLETE;
    regs->fifo.len = (uint16_t)command_size(regs);
    regs->fifo.at = 0;
    if (regs->fifo.aborted)
        make_ready(tpm);
    regs->fifo.aborted = false;
}

static void go(struct tpm *tpm)
{
    tpm->regs.fifo.state = FIFO_RUNNING;
    if (tpm->lost)
        ended(tpm);
    else
        tpm_start_command(tpm);
}

static void write_status(struct tpm *tpm, uint32_t value)
{
    struct tpm_registers *regs = &tpm->regs;
    if (value & STS_CANCEL)
        tpm_cancel_soon(tpm);
    if (value & STS_READY && regs->fifo.state == FIFO_RUNNING) {
        regs->fifo.aborted = true;
        tpm_cancel_soon(tpm);
    } else if (value & STS_READY) {
        make_ready(tpm);
    } else if (value & STS_GO && regs->fifo.state == FIFO_RECEIVING && !expects(regs)) {
        go(tpm);
    } else if (value & STS_RETRY && regs->fifo.state == FIFO_COMPLETE) {
        regs->fifo.at = 0;
    }
}

static void put_byte(struct tpm *tpm, uint8_t byte)
{
    struct tpm_registers *regs = &tpm->regs;
    if (regs->fifo.state == FIFO_READY)
        regs->fifo.state = FIFO_RECEIVING;
    if (regs->fifo.state == FIFO_RECEIVING && expects(regs))
        regs->buffer[regs->fifo.len++] = byte;
}

static uint8_t get_byte(struct tpm *tpm)
{
    struct tpm_registers *regs = &tpm->regs;
    bool any = regs->fifo.state == FIFO_COMPLETE && regs->fifo.at < regs->fifo.len;
    return any ? regs->buffer[regs->fifo.at++] : 0xff;
}

static bool is_data(unsigned offset)
{
    return (offset >= DATA && offset < DATA + 4) ||
           (offset >= EXTENDED_DATA && offset < EXTENDED_DATA + EXTENDED_DATA_SIZE);
}

static uint32_t read_register(const struct tpm *tpm, unsigned at)
{
    bool active = tpm->regs.assigned;
    switch (at) {
    case ACCESS:
        return (uint32_t)(ACCESS_VALID | ACCESS_NOT_ESTABLISHED | (active ? ACCESS_ACTIVE : 0));
    case INTERFACE_CAPABILITY:
        return CAPABILITY;
    case STS:
        return active ? status(tpm) : UINT32_MAX;
    case INTERFACE_ID:
        return IDENTITY;
    case VENDOR_AND_DEVICE:
        return DEVICE_AND_VENDOR;
    case REVISION:
        return 1;
    default:
        return 0;
    }
}

/* Registers may be read in pieces of any width; of localities that are not there all bits are 1. */
static uint64_t fifo_read(struct tpm *tpm, unsigned offset, unsigned len)
{
    uint64_t value = 0;
    bool data = is_data(offset);
    for (unsigned i = 0; i < len; i++) {
        unsigned at = offset + i;
        uint64_t byte = 0xff;
        if (data)
            byte = tpm->regs.assigned ? get_byte(tpm) : 0xff;
        else if (at < LOCALITY_SIZE)
            byte = read_register(tpm, at & ~3U) >> 8 * (at & 3) & 0xff;
        value |= byte << 8 * i;
    }
    return value;
}

static void fifo_write(struct tpm *tpm, unsigned offset, uint64_t value, unsigned len)
{
    struct tpm_registers *regs = &tpm->regs;
    if (offset == ACCESS) {
        if (value & ACCESS_ACTIVE)
            regs->assigned = false;
        else if (value & ACCESS_REQUEST)
            regs->assigned = true;
    } else if (!regs->assigned) {
        return;
    } else if (is_data(offset)) {
        for (unsigned i = 0; i < len; i++)
            put_byte(tpm, (uint8_t)(value >> 8 * i));
    } else if (offset >= STS && offset < STS + 4) {
        write_status(tpm, (uint32_t)(value << 8 * (offset - STS)));
    }
}

/* A saved one runs no command. */
static bool check(const struct tpm_registers *loaded)
{
    return loaded->fifo.state < FIFO_STATES && loaded->fifo.state != FIFO_RUNNING &&
           loaded->fifo.len <= TPM_BUFFER_SIZE && loaded->fifo.at <= loaded->fifo.len;
}

const struct tpm_interface tpm_fifo = {
    .type = TPM_TIS,
    .region_size = TPM_TIS_REGION_SIZE,
    .saved = sizeof(struct tpm_registers),
    .read = fifo_read,
    .write = fifo_write,
    .ended = ended,
    .check = check,
};
